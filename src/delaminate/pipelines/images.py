"""Shared by the verbs that open images: at a model's size or at the images' own, and as clips."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from delaminate.data import ImageSet
    from delaminate.methods import Method
    from delaminate.scene.decomposition import Decomposition

AS_THEY_ARE = (0, 0)
"""The image_size of a configuration whose canvas is that of the images."""


LARGE = 4_000_000
"""Pixels at a time from which on it is said beforehand what they take."""
BATCH_PIXELS = 2**24
"""Pixels that are taken apart at a time, unless one image has more."""
# Bytes and seconds a pixel of search: rough orders, read off single runs on one core of a shared machine, for which no
# script is kept. They serve to warn before hours or gigabytes, and may be off by a factor of two or three.
TRAIN_BYTES, TRAIN_SECONDS = 430, 15e-6
SEARCH_BYTES, HELD_BYTES = 150, 40
SEARCH_SECONDS, SPRITE_SECONDS = 0.5e-6, 0.1e-6
LIBRARY_BYTES = 600e6


def canvas(method: "Method", by: str | None) -> tuple[int, int] | None:
    """The size that images are brought to for a model; None: they are taken as they are."""
    by = by or next(iter(method.decomposers), None)
    return None if by is not None and method.takes((1, 1), by) else method.image_size


def open_images(
    data: str, size: tuple[int, int] | None, fit: str, *, like: tuple[int, int] | None = None, **how: Any
) -> "ImageSet":
    """Open images without their labels, and undo the enlargement of pixel art, which no resampling does exactly.

    Args:
        data: A folder, a clip or a built-in set.
        size: The canvas that they are brought to; None: they are taken as they are.
        fit: How they meet the canvas.
        like: Of images that are taken as they are: the size of those that the model was made from.
        how: Further words of `open_data`.
    """
    from delaminate.data import ImageSet, is_enlarged, open_data

    def opened(size: tuple[int, int] | None, **more: Any) -> ImageSet:
        found = open_data(data, size=size, fit=fit, labels=False, **(how | more))  # type: ignore[arg-type]
        return found if isinstance(found, ImageSet) else found.images

    if size is None:
        return undo_upscaling(opened(None), like)
    images = opened(size)
    if not Path(data).exists():
        return images
    factor = images.frames[0].original[0] // size[0]
    blocks = (factor * size[0], factor * size[1])
    if factor < 2 or any(frame.original != blocks for frame in images.frames):
        return images
    if not is_enlarged(opened(None, count=1).pixels, factor):
        return images
    whole = opened(None)
    return undo_upscaling(whole, size) if is_enlarged(whole.pixels, factor) else images


def undo_upscaling(images: "ImageSet", like: tuple[int, int] | None = None) -> "ImageSet":
    """Bring pixel art that was enlarged by a whole number back to its own pixels, and say so.

    Args:
        images: Of any size.
        like: The size that they have if they are images that the model knows; few images tell little by themselves.
    """
    from delaminate.data import detect_upscaling, is_enlarged, reduced

    factor = images.size[0] // like[0] if like else 0
    if like is None or images.size != (factor * like[0], factor * like[1]) or not is_enlarged(images.pixels, factor):
        factor = detect_upscaling(images.pixels)
    if factor < 2:
        return images
    typer.echo(f"The images are pixel art, enlarged {factor} times; worked on at their own size.")
    return reduced(images, factor)


def fill_size(config: Any, images: "ImageSet") -> Any:
    """Put the images' size into a configuration that takes them as they are."""
    return replace(config, image_size=images.size) if config.image_size == AS_THEY_ARE else config


def follower(images: "ImageSet") -> "Callable[[Decomposition], Decomposition]":
    """What gives the placements of a clip's next frames their tracks; other images stay as they are.

    It must be given what was found in all frames, from the first on.
    """
    from delaminate.matching.tracking import Tracker

    if images.rate is None:
        return lambda found: found
    return Tracker(frame_of=lambda number: images.batch([number])[0]).follow


def forecast_training(config: Any, images: "ImageSet") -> str | None:
    """What training by search takes where images are large; None where they are not, or nothing is searched."""
    from delaminate.methods.marionette import Config

    if not isinstance(config, Config) or not config.search_steps:
        return None
    together = min(len(images), config.search_batch)
    pixels = images.size[0] * images.size[1] * together
    if pixels <= LARGE:
        return None
    seconds = pixels * TRAIN_SECONDS * config.search_steps
    said = _forecast(pixels * TRAIN_BYTES, seconds, f"{config.search_steps} rounds on {together}", images)
    return f"{said} With --set search_batch={max(together // 4, 1)} it takes about a quarter of both."


def forecast_taking_apart(method: "Method", images: "ImageSet", batch: int) -> str | None:
    """What taking apart takes where images are large; None where they are not, or are brought to a model's size."""
    pixels = images.size[0] * images.size[1]
    if method.name != "marionette" or pixels * min(len(images), batch) <= LARGE:
        return None
    held = pixels * (SEARCH_BYTES + HELD_BYTES * min(len(images), batch))
    each = SEARCH_SECONDS + SPRITE_SECONDS * len(method.dictionary())
    return _forecast(held, pixels * len(images) * each, str(len(images)), images)


def _forecast(held: float, seconds: float, what: str, images: "ImageSet") -> str:
    height, width = images.size
    minutes = round(seconds / 60)
    time = f"{max(round(seconds), 1)} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes // 60} h"
    return (
        f"Large frames: about {(LIBRARY_BYTES + held) / 1e9:.1f} GB of memory and {time} for {what} of "
        f"{height} x {width} pixels."
    )

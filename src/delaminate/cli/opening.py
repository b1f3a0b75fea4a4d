"""Shared by the verbs that open images: at a model's size or at the images' own, and as clips."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from delaminate.data import ImageSet
    from delaminate.methods import Method
    from delaminate.scene.placements import Decomposition

AS_THEY_ARE = (0, 0)
"""The image_size of a configuration whose canvas is that of the images."""


def canvas(method: "Method", by: str | None) -> tuple[int, int] | None:
    """The size that images are brought to for a model; None: they are taken as they are."""
    return None if method.takes((1, 1), by or method.decomposers[0]) else method.image_size


def undo_upscaling(images: "ImageSet") -> "ImageSet":
    """Bring pixel art that was enlarged by a whole number back to its own pixels, and say so."""
    from delaminate.data import detect_upscaling, reduced

    factor = detect_upscaling(images.pixels)
    if factor < 2:
        return images
    typer.echo(f"The images are pixel art, enlarged {factor} times; worked on at their own size.")
    return reduced(images, factor)


def fill_size(config: Any, images: "ImageSet") -> Any:
    """Put the images' size into a configuration that takes them as they are."""
    return replace(config, image_size=images.size) if config.image_size == AS_THEY_ARE else config


def follower(images: "ImageSet") -> "Callable[[Decomposition], Decomposition]":
    """What gives the placements of a clip's next frames their tracks; other images stay as they are."""
    from delaminate.matching.tracks import Tracker

    return (lambda found: found) if images.rate is None else Tracker().follow

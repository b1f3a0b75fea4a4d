"""Images in: whatever a person has, at a model's size or at its own, with pixel art brought back to its own pixels."""

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from delaminate.data import (
    ImageSet,
    LabelledSet,
    detect_enlargement,
    fit_image,
    is_enlarged,
    open_data,
    undo_enlargement,
)
from delaminate.data.cache import cached_images, fits_in_memory
from delaminate.data.clips import is_clip
from delaminate.data.enlargement import Enlargement, enlargement_by, estimate_enlargement, explains
from delaminate.data.folders import Pictures, image_folder, load_source, open_source
from delaminate.data.margins import cut_margins, find_margins
from delaminate.data.places import is_place
from delaminate.data.reading import FITS, Fit, pixels_of
from delaminate.data.scans import straightened
from delaminate.data.sets import numbered
from delaminate.data.sources import is_source
from delaminate.data.synthetic import Split
from delaminate.data.transparency import Colour, Transparency, replace_transparency
from delaminate.engine.record import Callback, SilentCallback
from delaminate.errors import ConfigError, DataError
from delaminate.matching.tracking import Tracker
from delaminate.methods import Method
from delaminate.methods.base import Forecast
from delaminate.pipelines.image_facts import are_frames
from delaminate.scene.canvas_map import LARGEST_STEP, Blocks
from delaminate.scene.decomposition import Decomposition

AS_THEY_ARE = (0, 0)
"""The image_size of a configuration whose canvas is that of the images."""
BATCH_PIXELS = 2**24
"""Pixels that are decomposed at a time, unless one image has more."""
LIBRARY_BYTES = 600e6
"""Memory that the library itself takes, for forecasts."""

FEW = 6
"""Images that are looked at before all are read at their own size."""
NEARLY_BLACK = 24
"""Of 255: images without a lighter pixel are dark by mistake."""
FRAME_RATE = 10.0
"""Frames a second where pictures follow one another and nobody says how fast: as browsers show a GIF that does not say it."""
LEAST_KNOWN = 1.5
"""Images are looked at as enlarged ones that a model knows from this factor on."""

Zoom = tuple[float, float]
"""By how much pixel art was enlarged, down and across."""
Images = Any
"""What `open_images` takes: a path or name; an image (PIL, NumPy array or tensor); a set; or a list of images."""


@dataclass(frozen=True)
class OpenedImages:
    """Images on their canvas, and the way back to what they were made from.

    Attributes:
        images: On the canvas.
        original: Looks up an image at its own size by its position: (3, H, W) in [0, 1]; None where only the canvas is left.
        full_name: Names it for files: with its suffix, so that a.png and a.jpg do not meet.
    """

    images: ImageSet
    original: Callable[[int], Float[Tensor, "3 H W"] | None]
    full_name: Callable[[int], str]

    @property
    def blocks(self) -> Blocks | None:
        """What all originals are made of, where they are enlarged pixel art."""
        found = {canvas_map.enlarged_blocks for canvas_map in self.images.canvas_maps}
        return found.pop() if len(found) == 1 else None

    @property
    def durations(self) -> dict[str, float] | None:
        """Milliseconds that each frame of a clip is seen, by its full name."""
        if self.images.durations is None:
            return None
        return {self.full_name(index): lasted for index, lasted in enumerate(self.images.durations)}


def check_fit(fit: str) -> Fit:
    """Make sure that this is a way in which images meet a canvas.

    Raises:
        ConfigError: It is not.
    """
    if fit not in FITS:
        raise ConfigError(f"--fit {fit}: expected squash, crop or pad.")
    return fit  # type: ignore[return-value]


def open_images(
    images: Images,
    size: tuple[int, int] | None = None,
    fit: str = "squash",
    *,
    count: int | None = None,
    seed: int = 0,
    split: Split = "train",
    like: tuple[int, int] | None = None,
    transparent: Colour | None = None,
    zoom: Zoom | None = None,
    rate: float | None = None,
    straighten: bool = False,
    callback: Callback | None = None,
    cache: str | Path | None = None,
    room: Path | None = None,
) -> ImageSet:
    """Open images without their labels, and undo the enlargement of pixel art, which no resampling does exactly.

    Args:
        images: A folder, an image file, a clip, an archive (tar, zip, Parquet, Arrow) or a folder of some, an address such as
            s3://bucket/photos, or the name of a built-in set; an image: PIL, NumPy array (H, W, 3) or
            (H, W, 4), uint8 or floats in [0, 1], or tensor (3, H, W); several: an array or tensor with one more axis in front,
            a list, or an `ImageSet`.
        size: Height and width of the canvas that they are brought to; None: they are taken as they are.
        fit: How they meet the canvas: "squash", "crop" or "pad".
        count: How many of them, the first ones.
        seed, split: Which series of a drawn set, and which part.
        like: Of images that are taken as they are: the size of those that a model was made from.
        transparent: Of images that are taken as they are: the colour that stands for transparent pixels, as a model knows it;
            None: one that no opaque pixel has, if there are any: `ImageSet.transparent`. Of others, transparent is black.
        zoom: Of images that are taken as they are: by how much they were enlarged, down and across; None: it is found.
        rate: Frames a second of a clip; 0: each image stands for itself; None: as a clip's file says, and of numbered pictures
            of one size that follow one another 10.
        straighten: Of images that are taken as they are: they are scanned pages, whose skew is turned back and whose uneven
            light is evened out.
        callback: Is told what was done to them.
        cache: A folder for a cache of the decoded images, out of which they are mapped: see `data.cache`.
        room: A folder for such a cache if they would take more than a quarter of the free memory; None: they are held anyway.

    Raises:
        DataError: There are none, or they cannot be used.
        ConfigError: `fit` is unknown, or `cache` is given for images that are in no files, or are taken as they are.
    """
    return open_with_originals(
        images, size, fit, count=count, seed=seed, split=split, like=like, transparent=transparent, zoom=zoom,
        rate=rate, straighten=straighten, callback=callback, cache=cache, room=room,
    ).images  # fmt: skip


def open_with_originals(
    images: Images,
    size: tuple[int, int] | None = None,
    fit: str = "squash",
    *,
    like: tuple[int, int] | None = None,
    transparent: Colour | None = None,
    zoom: Zoom | None = None,
    rate: float | None = None,
    straighten: bool = False,
    callback: Callback | None = None,
    cache: str | Path | None = None,
    room: Path | None = None,
    **how: Any,
) -> OpenedImages:
    """Open images as `open_images` does, with the way back to the originals."""
    if rate is not None and not (isinstance(rate, int | float) and 0 <= rate < math.inf):
        raise ConfigError(f"rate: {rate!r:.40}; expected frames a second, 0 or more.")
    opened = _opened(images, size, fit, like, transparent, zoom, callback, cache, room, how)
    if rate is not None or not (isinstance(images, ImageSet | LabelledSet) or _is_built_in(images)):
        opened = replace(opened, images=_timed(opened.images, rate))
    if callback is not None and (dark := darkness(_lightest(opened.images))):
        callback.note(f"The images are {dark}")
    if not straighten or size is not None:
        return opened
    straight, said = straightened(opened.images)
    if callback is not None:
        for text in said:
            callback.note(text)
    return replace(opened, images=straight)


def _opened(
    images: Images,
    size: tuple[int, int] | None,
    fit: str,
    like: tuple[int, int] | None,
    transparent: Colour | None,
    zoom: Zoom | None,
    callback: Callback | None,
    cache: str | Path | None,
    room: Path | None,
    how: dict[str, Any],
) -> OpenedImages:
    """Images on their canvas, as they are or with their enlargement undone."""
    fit = check_fit(fit)
    source = source_of(images)
    if cache is not None and (source is None or size is None):
        raise ConfigError(
            "--cache: is for folders, archives and addresses of images that are brought to a model's size; leave it out."
        )
    if zoom is not None and size is not None:
        raise ConfigError("--zoom: this model brings images to a size of its own; leave it out.")
    chosen: Transparency = (transparent or "auto") if size is None else None
    if isinstance(images, LabelledSet):
        images = images.images
    if isinstance(images, str | Path):
        found = _from_path(
            str(images), source, size, fit, like, zoom, callback, how | {"transparent": chosen}, cache, room
        )
        _note_transparency(found, callback)
        return _with_files(found, source)
    count = how.get("count")
    if isinstance(images, ImageSet):
        some = images if count is None else images.subset(range(min(count, len(images))))
        if size is None:
            some = enlargement_undone(some, like, callback, zoom)
        if size is None or some.size == size:
            return OpenedImages(some, lambda index: None, lambda index: some.names[index])
        return _from_memory([_bytes(some, index) for index in range(len(some))], size, fit, some.names, callback)
    opened = _from_memory(_pixels(images, size is None)[:count], size, fit, None, callback, chosen)
    _note_transparency(opened.images, callback)
    return (
        opened if size is not None else replace(opened, images=enlargement_undone(opened.images, like, callback, zoom))
    )


def _is_built_in(images: Images) -> bool:
    """Whether images are a set that says itself whether it is a clip."""
    return isinstance(images, str) and not is_place(images)


def _timed(images: ImageSet, rate: float | None) -> ImageSet:
    """Images at the rate that is asked for; where none is, numbered pictures that follow one another have the usual one."""
    if rate is not None:
        return images if images.rate == (rate or None) else replace(images, rate=rate or None, durations=None)
    return replace(images, rate=FRAME_RATE) if images.rate is None and are_frames(images) else images


def darkness(lightest: int) -> str:
    """Say that images whose lightest value is this, of 255, are nearly black, and what to do; empty: they are not."""
    if not 0 < lightest <= NEARLY_BLACK:
        return ""
    return (
        f"nearly black: nothing is lighter than {lightest} of 255, as where 12 bits are stored in 16. `delaminate data prepare "
        "IMAGES --stretch --out NEW` stretches their contrast."
    )


def _lightest(images: ImageSet) -> int:
    """The lightest value of some images."""
    rows = np.linspace(0, len(images) - 1, min(len(images), 16)).astype(int)
    return max(int(images.pixels[row].amax()) for row in rows.tolist())


def source_of(images: Images) -> Pictures | None:
    """The files of images, or the members of an archive; None: they are something else."""
    if not isinstance(images, str | Path) or not is_place(images):
        return None
    if is_source(images):
        return open_source(images)
    path = Path(images)
    if is_clip(path) or (path / "data.mdb").is_file():
        return None
    return open_source(image_folder(path) if path.is_dir() else path)


def _from_path(
    data: str,
    source: Pictures | None,
    size: tuple[int, int] | None,
    fit: Fit,
    like: tuple[int, int] | None,
    zoom: Zoom | None,
    callback: Callback | None,
    how: dict[str, Any],
    cache: str | Path | None,
    room: Path | None,
) -> ImageSet:
    def opened(size: tuple[int, int] | None, pad: bool = False, count: int | None = how.get("count")) -> ImageSet:
        if source is not None:
            return load_source(source, size, fit, count, how["transparent"], pad)
        found = open_data(data, size=size, fit=fit, labels=False, pad=pad, **(how | {"count": count}))
        return found if isinstance(found, ImageSet) else found.images

    if size is None:
        if not is_place(data):  # built-in sets are what they are: only exact blocks are undone
            return enlargement_undone(opened(None), like, callback, zoom, estimate=False)
        found = opened(None, pad=True)
        _note_padding(found, callback)
        return enlargement_undone(margins_cut(found, callback), like, callback, zoom)
    count = how.get("count")
    if source is not None and cache is None and room is not None:
        cache = None if fits_in_memory(min(len(source), count or len(source)), size) else room
    if source is None or cache is None:
        images = opened(size)
    else:
        images = cached_images(
            source, size, fit, cache, count, (lambda text: None) if callback is None else callback.note
        )
    undone = _undone_to(size, images, opened, callback) if is_place(data) else None
    return images if undone is None else undone


def _undone_to(
    size: tuple[int, int], images: ImageSet, opened: Callable[..., ImageSet], callback: Callback | None
) -> ImageSet | None:
    """Images that are of a canvas's size once margins and enlargement are undone: no resampling does that exactly.

    Args:
        size: Of the canvas.
        images: Resampled to it.
        opened: Opens them at a size; None: their own.
        callback: Is told what was done.

    Returns:
        None where that is not what they are.
    """
    originals = {canvas_map.original for canvas_map in images.canvas_maps}
    height, width = next(iter(originals))
    is_enlarged = max(height / size[0], width / size[1]) >= LEAST_KNOWN
    if len(originals) > 1 or (height, width) == size or not (is_enlarged or images.rate is not None):
        return None  # only clips have margins, which may be narrow
    few = opened(None, count=min(FEW, len(images)))
    # The first frames of a clip may have wider margins than all of them.
    if is_enlarged:
        smaller = enlargement_undone(margins_cut(few)).size
        within = images.rate is not None and smaller[0] <= size[0] and smaller[1] <= size[1]
        may_fit = within or enlargement_undone(few, size).size == size
    else:
        smaller = margins_cut(few).size
        may_fit = smaller[0] <= size[0] <= height and smaller[1] <= size[1] <= width
    if not may_fit:
        return None
    all_of_them = opened(None)
    for cut in (margins_cut, lambda whole, said: whole):
        said = _Notes()
        whole = enlargement_undone(cut(all_of_them, said), size, said)
        if whole.size == size:
            break
    else:
        return None
    if callback is not None:
        for note in said.notes:
            callback.note(note)
    return whole


class _Notes(SilentCallback):
    """Remembers what is said, to say it once it is true."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def _with_files(images: ImageSet, source: Pictures | None) -> OpenedImages:
    if source is None:
        return OpenedImages(images, lambda index: None, lambda index: images.names[index])
    places = _positions(images.names, source.names)

    def original(index: int) -> Tensor:
        if images.transparent is not None:
            pixels = source.picture(places[index], alpha=True)
            return _floats(replace_transparency([pixels], images.transparent)[0][0])
        if images.canvas_maps[index].is_identity:  # the canvas has every pixel of it
            return images.batch([index])[0]
        return _floats(source.picture(places[index]))

    return OpenedImages(images, original, lambda index: source.full_name(places[index]))


def _positions(names: Sequence[str], listed: Sequence[str]) -> Sequence[int]:
    """Where images are in their source, in whose order they come; some may have been left out."""
    if len(names) == len(listed):
        return range(len(names))
    places, place = array("q"), -1
    for name in names:
        place += 1
        while listed[place] != name:
            place += 1
        places.append(place)
    return places


def _note_transparency(images: ImageSet, callback: Callback | None) -> None:
    if images.transparent is not None and callback is not None:
        callback.note("Transparent pixels stay transparent.")


def _pixels(images: Any, alpha: bool) -> list[np.ndarray]:
    """Turn an image, or several, into arrays (H, W, 3) of bytes, (H, W, 4) where a pixel is transparent and `alpha`."""
    if isinstance(images, np.ndarray | Tensor) and images.ndim == 4:
        return [pixels_of(image, alpha) for image in images]
    if isinstance(images, Sequence):
        return [pixels_of(image, alpha) for image in images]
    return [pixels_of(images, alpha)]


def _from_memory(
    arrays: list[np.ndarray],
    size: tuple[int, int] | None,
    fit: Fit,
    names: tuple[str, ...] | None,
    callback: Callback | None,
    transparent: Transparency = None,
) -> OpenedImages:
    """Bring arrays (H, W, C) of bytes to a canvas; pixel art that is that canvas enlarged is not resampled."""
    if not arrays:
        raise DataError("open_images: there is no image.")
    names = names or numbered(len(arrays))
    arrays, key = replace_transparency(arrays, transparent)
    sizes = {array.shape[:2] for array in arrays}
    if size is None and len(sizes) > 1:
        raise DataError(f"open_images: images are of the sizes {sorted(sizes)}; give one size for all.")
    height, width = next(iter(sizes))
    if size is not None and len(sizes) == 1:
        factor = height // size[0], width // size[1]
        if min(factor) >= 2 and (height, width) == (factor[0] * size[0], factor[1] * size[1]):
            whole = _from_memory(arrays, None, fit, names, None)
            few = whole.images.subset(range(min(FEW, len(arrays))))
            if enlargement_undone(few, size).size == size:
                undone = enlargement_undone(whole.images, size, callback)
                if undone.size == size:
                    return replace(whole, images=undone)
    fitted = [fit_image(array, size or (array.shape[0], array.shape[1]), fit) for array in arrays]
    pixels = torch.from_numpy(np.stack([canvas for canvas, _ in fitted])).permute(0, 3, 1, 2).contiguous()  # N 3 H W
    images = ImageSet(pixels, names, tuple(canvas_map for _, canvas_map in fitted), transparent=key)
    return OpenedImages(images, lambda index: _floats(arrays[index]), lambda index: names[index])


def _bytes(images: ImageSet, index: int) -> np.ndarray:
    return images.pixels[index].permute(1, 2, 0).cpu().numpy()


def _floats(pixels: np.ndarray) -> Float[Tensor, "3 H W"]:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def margins_cut(images: ImageSet, callback: Callback | None = None) -> ImageSet:
    """Cut uniform margins off the frames of a clip, and say so."""
    margins = find_margins(images)
    if margins is None:
        return images
    if callback is not None:
        sides = {
            "above": margins.top,
            "below": margins.bottom,
            "on the left": margins.left,
            "on the right": margins.right,
        }
        said = ", ".join(f"{len(colours)} pixels {side}" for side, colours in sides.items() if colours)
        callback.note(f"Uniform margins are left out: {said}; scenes have them again.")
    return cut_margins(images, margins)


def _note_padding(images: ImageSet, callback: Callback | None) -> None:
    if callback is not None and len({canvas_map.original for canvas_map in images.canvas_maps}) > 1:
        height, width = images.size
        callback.note(
            f"The images differ in size: padded to {width} x {height} pixels at the right and below, with the "
            "commonest colour of their borders."
        )


def enlargement_undone(
    images: ImageSet,
    like: tuple[int, int] | None = None,
    callback: Callback | None = None,
    zoom: Zoom | None = None,
    estimate: bool = True,
) -> ImageSet:
    """Bring pixel art that was enlarged back to its own pixels, and say so.

    Args:
        images: Of any size.
        like: The size that they have if they are images that the model knows; few images tell little by themselves.
        callback: Is told of it.
        zoom: By how much they were enlarged, down and across; None: it is found. (1, 1): they were not.
        estimate: Find it by majority, too, where pixels are not exact blocks of one whole factor.

    Raises:
        DataError: `zoom` is not possible.
    """
    found: int | Enlargement | None
    if zoom is not None:
        given = enlargement_by(images.pixels, zoom)
        whole = int(given.factor[0])
        exact = given.factor == (whole, whole) and given.phase == (0.0, 0.0) and is_enlarged(images.pixels, whole)
        found = whole if exact else given
    else:
        found = _find_enlargement(images, like, estimate)
    if found is None or found == 1 or (isinstance(found, Enlargement) and found.factor == (1.0, 1.0)):
        return images
    if callback is not None:
        times = f"{found} times" if isinstance(found, int) else str(found)
        callback.note(f"The images are pixel art, enlarged {times}; worked on at their own size.")
    return undo_enlargement(images, found)


def _find_enlargement(images: ImageSet, like: tuple[int, int] | None, estimate: bool) -> int | Enlargement | None:
    """The factor of images the model knows, else the exact whole one, or what most edges agree on where that is larger."""
    factor = images.size[0] // like[0] if like else 0
    if like is not None and images.size == (factor * like[0], factor * like[1]) and is_enlarged(images.pixels, factor):
        return factor
    if estimate and like is not None and min(images.size[0] / like[0], images.size[1] / like[1]) >= LEAST_KNOWN:
        known = _known_enlargement(images, like)
        if known is not None:
            return known
    factor = detect_enlargement(images.pixels)
    if not estimate:
        return factor
    estimated = estimate_enlargement(images.pixels)
    if estimated is None:
        return factor
    # Where blocks at the border are cut, the exact rule sees but a divisor: 2 for blocks of 4 of which 2 are left.
    larger = factor == 1 or all(step > factor and step % factor == 0 for step in estimated.factor)
    return estimated if larger else factor


def _known_enlargement(images: ImageSet, like: tuple[int, int]) -> Enlargement | None:
    """The enlargement that brings images to a model's size: few frames of a map in double pixels look enlarged twice as much.

    Blocks at the border may be cut, so whole factors are tried before what the sizes give.
    """
    estimated = estimate_enlargement(images.pixels)
    if estimated is not None and estimated.blocks(images.size).canvas == like:
        return estimated
    broken = images.size[0] / like[0], images.size[1] / like[1]
    for factors in ((float(math.ceil(broken[0])), float(math.ceil(broken[1]))), broken):
        if max(factors) <= LARGEST_STEP:
            known = enlargement_by(images.pixels, factors)
            if known.blocks(images.size).canvas == like and explains(images.pixels, known):
                return known
    return None


def parse_zoom(text: str) -> Zoom:
    """Read how much pixels were enlarged: one number, or height x width.

    >>> parse_zoom("3"), parse_zoom("2x3.5")
    ((3.0, 3.0), (2.0, 3.5))

    Raises:
        ConfigError: It is none.
    """
    try:
        numbers = [float(part) for part in text.lower().split("x")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(1 <= number <= LARGEST_STEP for number in numbers):
        raise ConfigError(
            f"--zoom {text}: expected a number from 1 to {LARGEST_STEP:g}, or height x width, such as 3 or 2x3."
        )
    return numbers[0], numbers[-1]


def canvas(method: Method, by: str | None) -> tuple[int, int] | None:
    """The size that images are brought to for a model; None: they are taken as they are."""
    by = by or next(iter(method.decomposers), None)
    return None if by is not None and method.accepts_size((1, 1), by) else method.image_size


def follower(images: ImageSet) -> Callable[[Decomposition], Decomposition]:
    """What gives the placements of a clip's next frames their tracks; other images stay as they are.

    It must be given what was found in all frames, from the first on.
    """
    if images.rate is None:
        return lambda found: found
    return Tracker(frame_of=lambda number: images.batch([number])[0]).follow


def forecast_text(forecast: Forecast, size: tuple[int, int]) -> str:
    """Say what a computation on large images will take."""
    height, width = size
    minutes = round(forecast.seconds / 60)
    seconds = f"{max(round(forecast.seconds), 1)} s"
    time = seconds if forecast.seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes // 60} h"
    said = (
        f"Large frames: about {(LIBRARY_BYTES + forecast.num_bytes) / 1e9:.1f} GB of memory and {time} for {forecast.what} of "
        f"{width} x {height} pixels."
    )
    return f"{said} {forecast.advice}" if forecast.advice else said

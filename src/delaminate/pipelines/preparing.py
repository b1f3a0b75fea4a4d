"""Images made ready: some frames of a clip, a part of each image, contrast stretched; written as new files, without loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt16

from delaminate.data.clips import is_clip, read_clip
from delaminate.data.folders import FolderSource, Pictures
from delaminate.data.transparency import with_alpha
from delaminate.engine.record import Callback, SilentCallback
from delaminate.errors import ConfigError, DataError
from delaminate.files import animation_bytes, json_bytes, png_bytes, write_atomic
from delaminate.pipelines.images import source_of
from delaminate.pipelines.output_folders import make_room
from delaminate.rng import numpy_stream

CLIP, IMAGES, RECORD = "clip.png", "images", "prepared.json"
"""What is written: a clip as an animated PNG, other images into a folder, and what was done."""
DARKEST, LIGHTEST = 0.001, 0.999
"""Quantiles of all values that become black and white."""
LOOKED_AT, FEW_PIXELS = 64, 100_000
"""Images whose values are looked at, spread over all, and how many values of each."""

Values = UInt8[np.ndarray, "_h _w _c"] | UInt16[np.ndarray, "_h _w"]
Crop = tuple[int, int, int, int]


@dataclass(frozen=True)
class PreparedImages:
    """What was written.

    Attributes:
        place: What the other commands take: a folder of images, or a clip.
        count: Images, or frames.
        size: Height and width in pixels; None: they differ.
        skipped: Name and reason of every file that could not be used.
    """

    place: Path
    count: int
    size: tuple[int, int] | None
    skipped: tuple[tuple[str, str], ...] = ()


def prepare_images(
    data: str | Path,
    out: str | Path,
    *,
    frames: tuple[int, int | None] = (0, None),
    crop: Crop | None = None,
    stretch: bool = False,
    overwrite: bool = False,
    callback: Callback | None = None,
) -> PreparedImages:
    """Write some images of a collection or frames of a clip, cropped and stretched, as files of their own.

        delaminate.prepare_images("clip.mp4", "level-1", frames=(120, 480), crop=(0, 16, 256, 224))

    Nothing is resampled: pixels are copied, and stretching only maps their values, all by one line. A clip becomes an
    animated PNG in which each frame is seen as long as before (equal frames in a row become one), other images become
    PNG files of 8 bits.

    Args:
        data: A folder, an archive, an address of images, or a clip.
        out: A new folder.
        frames: The first image or frame that is taken, counted from 0, and the one after the last; None: to the end.
        crop: Left, top, width and height in pixels of the part of each image that is taken; None: all of it.
        stretch: Map the darkest and the lightest values of all images (0.1 % and 99.9 %) to black and white; of greyscale of 16
            bits, all bits count.
        overwrite: Remove what an earlier call has left in `out`.
        callback: Is told how far it is: `stage("prepare", 0, count)`, then `step("prepare", done, {})`.

    Raises:
        ConfigError: `out` holds something, or `frames` or `crop` are impossible.
        DataError: There are no images, or one does not reach as far as `crop`.
    """
    place, told = Path(out), callback or SilentCallback()
    source = source_of(data)
    if source is None and not is_clip(data):
        raise DataError(f"{data}: expected a folder, an archive or an address of images, or a clip.")
    _check(frames, crop)
    _refuse_inputs(source.root if isinstance(source, FolderSource) and Path(data).is_dir() else Path(data), place)
    for held in () if (place / RECORD).exists() else (place / CLIP, place / IMAGES):
        if held.exists():
            raise ConfigError(f"{held}: is there already, and no `data prepare` wrote it. Choose another --out.")
    make_room(place, overwrite, (CLIP, IMAGES, RECORD), (RECORD,), "images that were made ready already. Use them")
    record = {
        "data": str(data), "frames": list(frames), "crop": None if crop is None else list(crop), "stretch": stretch,
    }  # fmt: skip
    write_atomic(place / RECORD, json_bytes(record))  # first: what follows is ours to remove
    write = _write_clip if source is None else _write_images
    found = write(source or data, place, frames, crop, stretch, told)  # type: ignore[arg-type]
    write_atomic(place / RECORD, json_bytes(record | {"count": found.count}))
    return found


def _refuse_inputs(data: Path, out: Path) -> None:
    """Make sure that no input lies where something is written, or would be read again.

    Raises:
        ConfigError: One does.
    """
    given, target = data.resolve(), out.resolve()
    written = (target / IMAGES, target / CLIP)
    if target.is_relative_to(given) or any(
        given.is_relative_to(each) or each.is_relative_to(given) for each in written
    ):
        raise ConfigError(f"{out}: lies among the images that are read. Choose another --out.")


def _check(frames: tuple[int, int | None], crop: Crop | None) -> None:
    first, last = frames
    if first < 0 or (last is not None and last <= first):
        raise ConfigError(f"--frames {first}:{'' if last is None else last}: expected FIRST:END with 0 <= FIRST < END.")
    if crop is not None and (min(crop[:2]) < 0 or min(crop[2:]) < 1):
        raise ConfigError(f"--crop {','.join(map(str, crop))}: expected LEFT,TOP,WIDTH,HEIGHT, within the images.")


def _cut(values: Values, crop: Crop | None, name: str) -> Values:
    """The part of an image that is taken."""
    if crop is None:
        return values
    left, top, width, height = crop
    if left + width > values.shape[1] or top + height > values.shape[0]:
        raise DataError(
            f"{name}: is {values.shape[1]} x {values.shape[0]} pixels (width, height); it has no part {crop} (left, top, "
            "width, height)."
        )
    return values[top : top + height, left : left + width]


# ---- Values -----------------------------------------------------------------------------------------------------------


def _deep(values: Values) -> UInt16[np.ndarray, " n"]:
    """Some values of an image, in 16 bits, without alpha."""
    colours = values if values.ndim == 2 else values[..., :3]
    some = colours.ravel()
    if len(some) > FEW_PIXELS:
        some = some[numpy_stream("stretch").integers(0, len(some), FEW_PIXELS)]
    return some if some.dtype == np.uint16 else some.astype(np.uint16) * 257


def _bounds(some: list[UInt16[np.ndarray, " _n"]], data: object) -> tuple[float, float]:
    """What becomes black and what white, in 16 bits."""
    values = np.concatenate(some)
    low, high = np.quantile(values, (DARKEST, LIGHTEST))
    if high <= low:  # few bright spots on one colour
        low, high = values.min(), values.max()
    if high <= low:
        raise DataError(f"{data}: all values are {low / 257:.0f} of 255; there is no contrast to stretch.")
    return float(low), float(high)


def _in_8_bits(values: Values, bounds: tuple[float, float] | None) -> UInt8[np.ndarray, "_h _w ..."]:
    """An image in 8 bits, stretched between bounds; alpha stays."""
    if bounds is None:
        return values if values.dtype == np.uint8 else np.rint(values / 257).astype(np.uint8)
    low, high = bounds
    unit = 1 if values.dtype == np.uint16 else 257
    table = np.rint(((np.arange(65536 // unit + (unit > 1)) * unit - low) / (high - low)).clip(0, 1) * 255)
    if values.ndim == 2 or values.shape[2] == 3:
        return table.astype(np.uint8)[values]
    return np.concatenate([table.astype(np.uint8)[values[..., :3]], values[..., 3:]], 2)


# ---- Writing ----------------------------------------------------------------------------------------------------------


def _write_clip(
    data: str | Path, place: Path, frames: tuple[int, int | None], crop: Crop | None, stretch: bool, callback: Callback
) -> PreparedImages:
    first, last = frames
    try:
        chosen = read_clip(data, limit=None if last is None else last - first, transparent="auto", first=first)
    except DataError as error:
        if first and "no frame can be read" in str(error):
            raise ConfigError(f"--frames {first}:{last or ''}: {data} has no frame {first}.") from error
        raise
    arrays = [_cut(each.permute(1, 2, 0).numpy(), crop, f"{data}: a frame") for each in chosen.pixels]
    bounds = _bounds([_deep(each) for each in _spread(arrays)], data) if stretch else None
    lasting = chosen.durations or (1000 / (chosen.rate or 25.0),) * len(arrays)
    callback.stage("prepare", 0, len(arrays))
    ready = []
    for number, each in enumerate(arrays, start=1):
        ready.append(_in_8_bits(each, bounds))
        if chosen.transparent is not None:
            ready[-1] = np.concatenate([ready[-1], with_alpha(each, chosen.transparent)[..., 3:]], 2)
        callback.step("prepare", number, {})
    write_atomic(place / CLIP, animation_bytes(ready, lasting))
    return PreparedImages(place / CLIP, len(ready), ready[0].shape[:2], chosen.skipped)


def _write_images(
    source: Pictures, place: Path, frames: tuple[int, int | None], crop: Crop | None, stretch: bool, callback: Callback
) -> PreparedImages:
    rows = range(len(source))[frames[0] : frames[1]]
    if not rows:
        raise ConfigError(f"--frames {frames[0]}:{frames[1] or ''}: {source.place} has {len(source)} images.")
    bounds = None
    if stretch:
        some = []
        for index in _spread(rows):
            try:
                some.append(_deep(_cut(source.values(index), crop, source.label(index))))
            except DataError:
                continue  # it is named below
        if not some:
            raise DataError(f"{source.place}: none of the images that were looked at can be read.")
        bounds = _bounds(some, source.place)
    callback.stage("prepare", 0, len(rows))
    sizes, skipped, done = set(), list(source.skipped), 0
    for number, index in enumerate(rows, start=1):
        try:
            values = source.values(index)
        except DataError as error:
            skipped.append((source.full_name(index), str(error)))
            continue
        ready = _in_8_bits(_cut(values, crop, source.label(index)), bounds)
        write_atomic(place / IMAGES / f"{source.names[index]}.png", png_bytes(ready))
        sizes.add(ready.shape[:2])
        done += 1
        callback.step("prepare", number, {})
    if not done:
        raise DataError(f"{source.place}: none of the {len(rows)} images can be read; the last, {skipped[-1][1]}")
    return PreparedImages(place / IMAGES, done, sizes.pop() if len(sizes) == 1 else None, tuple(skipped))


def _spread(some: Sequence[Any]) -> list[Any]:
    """At most `LOOKED_AT` of some, spread over all."""
    return [some[at] for at in np.linspace(0, len(some) - 1, min(len(some), LOOKED_AT)).astype(int)]

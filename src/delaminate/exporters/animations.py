"""Animations: the clip drawn again from its scenes, as GIF, APNG or WebP.

By default the objects alone, without their background, so that they can be laid over something else. APNG and WebP hold
8 bits of alpha and lose nothing else; GIF knows transparent or not (alpha below a half is not drawn) and 256 colours a
frame, which are exact where a clip, or else a frame, has no more. Equal neighbours may become one longer frame.
"""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from delaminate.exporters.files import (
    ExportResult,
    clip_size,
    frame_durations,
    premultiplied,
    straight,
    whole_durations,
)
from delaminate.files import write_atomic
from delaminate.scene.scenes import Scene

MOST_COLOURS = 255  # of a GIF's frame, besides the transparent one
CLEAR = 255  # the number of the transparent colour
LEAST_GIF = 20  # milliseconds; browsers slow down animations that ask for less
# The longest that a frame may last, in milliseconds, by the width of each format's field.
MOST_GIF, MOST_APNG, MOST_WEBP = 655_350, 65_535_000.0, 2**24 - 1

Pixels = UInt8[np.ndarray, "H W 4"]


def without_background(scene: Scene) -> Scene:
    """Leave a scene's background out."""
    if not scene.background or not scene.layers:
        return scene
    return dataclasses.replace(scene, layers=scene.layers[1:], background=False)


def _draw(scene: Scene, background: bool) -> Float[Tensor, "4 H W"]:
    """Colour times alpha, and alpha."""
    return premultiplied(scene if background else without_background(scene))


def _difference(pixels: Pixels, exact: Float[Tensor, "4 H W"]) -> float:
    """The largest difference of colour times alpha, or of alpha."""
    alpha = pixels[..., 3:] / 255
    again = np.concatenate([alpha * (pixels[..., :3] / 255), alpha], 2)
    return float(np.abs(again - exact.permute(1, 2, 0).numpy()).max(initial=0))


def _draw_frames(what: str, scenes: Sequence[Scene], background: bool) -> tuple[list[Pixels], float]:
    """Draw the frames of a clip: RGBA pixels, 0 where alpha is 0, and the largest error that their 8 bits make."""
    clip_size(what, scenes)
    frames, worst = [], 0.0
    for scene in scenes:
        exact = _draw(scene, background)
        pixels = straight(exact)
        pixels[pixels[..., 3] == 0] = 0
        frames.append(pixels)
        worst = max(worst, _difference(pixels, exact))
    return frames, worst


def _save(path: Path, kind: str, frames: Sequence[Image.Image], **options: Any) -> None:
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=list(frames[1:]), loop=0, **options)
    write_atomic(path, buffer.getvalue())


def _write(
    what: str,
    kind: str,
    scenes: Sequence[Scene],
    out: str | Path,
    background: bool,
    milliseconds: Sequence[float],
    **options: Any,
) -> ExportResult:
    frames, worst = _draw_frames(what, scenes, background)
    path = Path(out) / f"clip.{kind.lower()}"
    _save(path, kind, [Image.fromarray(pixels) for pixels in frames], duration=list(milliseconds), **options)
    return ExportResult((path,), worst)


def write_apng(
    scenes: Sequence[Scene],
    out: str | Path,
    *,
    rate: float | None = None,
    background: bool = False,
    durations: Sequence[float] | None = None,
) -> ExportResult:
    """Write the clip as `OUT/clip.png`, an animated PNG.

    Args:
        scenes: Scenes in the clip's order.
        out: The folder.
        rate: Frames per second; 10 where it is not known.
        background: With the background.
        durations: Milliseconds that each scene is seen, instead of a rate.

    Raises:
        ConfigError: There is no scene, or the rate is out of range.
        ShapeError: The scenes differ in size.
        OutputError: The file cannot be written.
    """
    milliseconds = [min(each, MOST_APNG) for each in frame_durations(len(scenes), rate, durations)]
    return _write("apng", "PNG", scenes, out, background, milliseconds, disposal=0, blend=0)


def write_webp(
    scenes: Sequence[Scene],
    out: str | Path,
    *,
    rate: float | None = None,
    background: bool = False,
    durations: Sequence[float] | None = None,
) -> ExportResult:
    """Write the clip as `OUT/clip.webp`, without loss; a frame lasts whole milliseconds. See `write_apng`."""
    milliseconds = whole_durations(frame_durations(len(scenes), rate, durations), 1, 1, MOST_WEBP)
    return _write(
        "webp", "WEBP", scenes, out, background, milliseconds, lossless=True, quality=60, method=4, exact=True
    )


def _palettes(frames: Sequence[Pixels]) -> list[Image.Image]:
    """Give frames numbered colours: one exact palette for all, else an exact one each, else the 255 that fit best."""
    shown = [pixels[pixels[..., 3] >= 128][:, :3].astype(np.int64) @ (65536, 256, 1) for pixels in frames]
    own = [np.unique(colours) for colours in shown]
    common = np.unique(np.concatenate(own))
    pictures = []
    for pixels, colours, mine in zip(frames, shown, own, strict=True):
        palette = common if len(common) <= MOST_COLOURS else mine
        seen = pixels[..., 3] >= 128
        numbers = np.full(seen.shape, CLEAR, np.uint8)
        if len(palette) <= MOST_COLOURS:
            numbers[seen] = np.searchsorted(palette, colours)
            table = np.stack([palette >> 16, palette >> 8 & 255, palette & 255], 1).astype(np.uint8)
        else:
            # The colours that are shown, in one row: what is not shown takes no part.
            row = Image.fromarray(pixels[seen][None, :, :3])
            small = row.quantize(MOST_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
            numbers[seen] = np.asarray(small)[0]
            table = np.array(small.getpalette(), np.uint8).reshape(-1, 3)[:MOST_COLOURS]
        picture = Image.fromarray(numbers, "P")
        whole = np.zeros((256, 3), np.uint8)
        whole[: len(table)] = table
        picture.putpalette(whole.tobytes())
        pictures.append(picture)
    return pictures


def write_gif(
    scenes: Sequence[Scene],
    out: str | Path,
    *,
    rate: float | None = None,
    background: bool = False,
    durations: Sequence[float] | None = None,
) -> ExportResult:
    """Write the clip as `OUT/clip.gif`; a frame lasts whole hundredths of a second, at least two. See `write_apng`."""
    milliseconds = list(whole_durations(frame_durations(len(scenes), rate, durations), 10, LEAST_GIF, MOST_GIF))
    frames, _ = _draw_frames("gif", scenes, background)
    pictures = _palettes(frames)
    path = Path(out) / "clip.gif"
    # Each frame is cleared before the next, because what moved away must not stay.
    _save(path, "GIF", pictures, duration=milliseconds, disposal=2, transparency=CLEAR, optimize=False)
    worst = 0.0
    for picture, scene in zip(pictures, scenes, strict=True):
        numbers = np.asarray(picture)
        colours = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)[numbers]
        again = np.concatenate([colours, np.where(numbers == CLEAR, 0, 255).astype(np.uint8)[..., None]], 2)
        worst = max(worst, _difference(again, _draw(scene, background)))
    return ExportResult((path,), worst)

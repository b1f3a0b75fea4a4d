"""What every exporter shares: its result, painted layers, and the way back to measure the error."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from delaminate.errors import ConfigError, OutputError, ShapeError
from delaminate.files import to_pixels, write_atomic
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.format import DURATIONS, RATES
from delaminate.scene.painting import paint, paint_whole
from delaminate.scene.scenes import Scene, SceneLayer

PALETTE = 256  # colours of an indexed PNG, the transparent one included
DEFAULT_RATE = 10.0  # frames per second of a clip that does not say


@dataclass(frozen=True)
class ExportResult:
    """What an exporter wrote.

    Attributes:
        files: Every file, in the order of writing.
        max_error: The largest difference, of 1, between a scene's composite and the composite of what was written;
            None for formats that hold no colours, whose labels are exact.
    """

    files: tuple[Path, ...]
    max_error: float | None


def write_files(out: str | Path, files: Mapping[str, bytes], max_error: float | None) -> ExportResult:
    """Write files into a folder by their names, in their order; `max_error` as in `ExportResult`.

    Raises:
        OutputError: One cannot be written.
    """
    paths = tuple(Path(out) / name for name in files)
    for path, data in zip(paths, files.values(), strict=True):
        write_atomic(path, data)
    return ExportResult(paths, max_error)


@dataclass(frozen=True, eq=False)
class Painted:
    """One layer as 8-bit pixels, hidden parts included.

    Attributes:
        layer: The scene's layer.
        pixels: RGBA of the window that the layer touches, never empty; the opacity left out unless it was asked for.
        top, left: Where the window's corner lies on the canvas.
        size: Height and width of the canvas.
    """

    layer: SceneLayer
    pixels: UInt8[np.ndarray, "h w 4"]
    top: int
    left: int
    size: tuple[int, int]

    @property
    def window(self) -> tuple[slice, slice]:
        """The part of the canvas that it covers."""
        height, width = self.pixels.shape[:2]
        return slice(max(self.top, 0), max(self.top + height, 0)), slice(max(self.left, 0), max(self.left + width, 0))

    @property
    def inside(self) -> UInt8[np.ndarray, "_h _w 4"]:
        """Those of its pixels that lie on the canvas."""
        height, width = self.size
        return self.pixels[
            max(-self.top, 0) : max(height - self.top, 0), max(-self.left, 0) : max(width - self.left, 0)
        ]

    def canvas(self) -> UInt8[np.ndarray, "H W 4"]:
        """Put the window on a transparent canvas."""
        pixels = np.zeros((*self.size, 4), np.uint8)
        pixels[self.window] = self.inside
        return pixels


def painted_layers(scene: Scene, opacity: bool = True, whole: bool = False) -> Iterator[Painted]:
    """Paint each layer by itself, back to front, hidden ones too, cut to where alpha is above 0.

    Args:
        scene: The scene.
        opacity: Multiply alpha by the layer's opacity.
        whole: Keep what lies outside the canvas of sprites that were moved by whole pixels, flipped or turned by quarters.
    """
    for layer in scene.layers:
        placement = layer.placement if opacity else replace(layer.placement, opacity=1.0)
        window = paint_whole(scene.dictionary, placement) if whole else paint(scene.dictionary, placement)
        pixels = to_pixels(torch.cat([window.rgb, window.alpha]))
        if not pixels.size:
            # Nothing of the layer lies on the canvas: one transparent pixel stands for it.
            yield Painted(layer, np.zeros((1, 1, 4), np.uint8), 0, 0, scene.size)
            continue
        rows, columns = covered(pixels)
        yield Painted(layer, pixels[rows, columns], window.top + rows.start, window.left + columns.start, scene.size)


@dataclass(frozen=True, eq=False)
class Seen:
    """Where one layer is what is seen most.

    Attributes:
        position: Of the layer, from the back.
        window: The smallest rectangle of the canvas that holds it: rows, columns.
        mask: Where in the window; never empty.
    """

    position: int
    window: tuple[slice, slice]
    mask: Bool[np.ndarray, "_h _w"]

    def whole(self, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
        """The mask on the canvas."""
        canvas = np.zeros(size, bool)
        canvas[self.window] = self.mask
        return canvas


def seen_layers(scene: Scene) -> Iterator[Seen]:
    """Say where each visible layer is what is seen most (`Decomposition.labels`), from the back.

    Backgrounds are left out, and so are layers that are nowhere seen most.
    """
    from scipy import ndimage  # here, so that the studio opens at once

    shown = Decomposition.from_scene(scene)
    labels = shown.labels()[0][0].numpy()
    visible = [position for position, layer in enumerate(scene.layers) if layer.visible]
    for label, window in enumerate(ndimage.find_objects(labels), start=1):
        if window is not None:
            yield Seen(visible[label if shown.background else label - 1], window, labels[window] == label)


def covered(pixels: UInt8[np.ndarray, "h w 4"], margin: int = 0) -> tuple[slice, slice]:
    """Find the rectangle where alpha is above 0, with a margin inside the picture; never empty."""
    alpha = pixels[..., 3] > 0
    spans = []
    for axis, count in ((1, pixels.shape[0]), (0, pixels.shape[1])):
        inside = np.flatnonzero(alpha.any(axis))
        first, last = (int(inside[0]), int(inside[-1])) if len(inside) else (0, 0)
        spans.append(slice(max(first - margin, 0), min(last + 1 + margin, count)))
    return spans[0], spans[1]


def flatten(size: tuple[int, int], layers: Sequence[Painted], opacities: Sequence[float]) -> Float[Tensor, "3 H W"]:
    """Composite painted layers back to front over black, in float64; opacity 0 for hidden ones."""
    canvas = np.zeros((*size, 3))
    for painted, opacity in zip(layers, opacities, strict=True):
        colour = painted.inside / 255
        alpha = colour[..., 3:] * opacity
        canvas[painted.window] = alpha * colour[..., :3] + (1 - alpha) * canvas[painted.window]
    return torch.from_numpy(canvas).permute(2, 0, 1)


def difference(scene: Scene, flattened: Float[Tensor, "3 H W"]) -> float:
    """Measure how far a picture is from a scene's composite at its worst pixel."""
    return float((scene.composite().double() - flattened.double()).abs().max())


def coverage(scene: Scene) -> Float[Tensor, "1 H W"]:
    """Say how much of each pixel any layer covers: 1 - prod_l (1 - alpha_l)."""
    through = torch.ones(1, *scene.size, dtype=torch.float64)
    for placement in scene.visible_placements:
        window = paint(scene.dictionary, placement)
        rows, columns = window.slices
        through[:, rows, columns] *= 1 - window.alpha.double()
    return 1 - through


def premultiplied(scene: Scene) -> Float[Tensor, "4 H W"]:
    """Flatten to colour times alpha, and alpha."""
    return torch.cat([scene.composite().double(), coverage(scene)])


def straight(flat: Float[Tensor, "4 H W"]) -> UInt8[np.ndarray, "H W 4"]:
    """Round a flattened picture to RGBA pixels whose colour is not multiplied by alpha."""
    colour = flat[:3] / flat[3:].clamp_min(1e-9)
    return to_pixels(torch.cat([colour.clamp(0, 1), flat[3:]]))


def merged(scene: Scene) -> UInt8[np.ndarray, "H W 4"]:
    """Flatten a scene to RGBA pixels."""
    return straight(premultiplied(scene))


def clip_size(what: str, scenes: Sequence[Scene]) -> tuple[int, int]:
    """Find the size that all frames of a clip have.

    Raises:
        ConfigError: There are none.
        ShapeError: They differ.
    """
    if not scenes:
        raise ConfigError(f"{what}: no scenes; a clip needs at least one frame.")
    for scene in scenes:
        if scene.size != scenes[0].size:
            raise ShapeError(
                f"{what}: {scene.name!r} is {scene.size}, {scenes[0].name!r} {scenes[0].size} (height, width); the "
                "frames of a clip need one size. Export images of different sizes to png, ora or svg."
            )
    return scenes[0].size


def frame_durations(count: int, rate: float | None, durations: Sequence[float] | None = None) -> tuple[float, ...]:
    """Say for how many milliseconds each frame of a clip is seen.

    >>> frame_durations(2, 25.0), frame_durations(2, 25.0, [40, 800])
    ((40.0, 40.0), (40.0, 800.0))

    Args:
        count: How many frames it has.
        rate: Frames per second, for all of them; 10 where None.
        durations: Milliseconds of each; None: as `rate` says.

    Raises:
        ConfigError: The rate is not between 0.01 and 1000, or there is not one duration above 0 for each frame.
    """
    milliseconds = frame_milliseconds(rate)
    if durations is None:
        return (milliseconds,) * count
    if len(durations) != count or not all(DURATIONS[0] <= each <= DURATIONS[1] for each in durations):
        raise ConfigError(
            f"durations: {len(durations)} for {count} frames; expected one each, in milliseconds, above 0."
        )
    return tuple(float(each) for each in durations)


def whole_durations(durations: Sequence[float], unit: int, least: int, most: int) -> tuple[int, ...]:
    """Round milliseconds to whole units so that no frame's beginning is off by more than rounding itself makes.

    >>> whole_durations([33.3, 33.3, 33.3], 10, 20, 655_350)
    (30, 40, 30)

    Args:
        durations: Milliseconds of each frame.
        unit: What a format counts in, in milliseconds.
        least, most: The bounds of one frame, in milliseconds.
    """
    rounded, exact, now = [], 0.0, 0
    for each in durations:
        exact += each
        step = min(max(unit * round(exact / unit) - now, least), most)
        rounded.append(step)
        now += step
    return tuple(rounded)


def frame_milliseconds(rate: float | None) -> float:
    """Turn frames per second into the milliseconds that a frame is seen; 10 frames per second where None.

    >>> frame_milliseconds(25.0), frame_milliseconds(None)
    (40.0, 100.0)

    Raises:
        ConfigError: The rate is not between 0.01 and 1000.
    """
    chosen = DEFAULT_RATE if rate is None else rate
    if not RATES[0] <= chosen <= RATES[1]:
        raise ConfigError(f"rate: {rate} frames per second; expected {RATES[0]:g} to {RATES[1]:g}.")
    return 1000 / chosen


def indexed_png_bytes(what: str, pixels: UInt8[np.ndarray, "H W 4"]) -> bytes:
    """Encode RGBA pixels as a PNG with a palette; what is transparent is colour 0.

    Raises:
        OutputError: There are more colours than a palette holds.
    """
    clear = pixels * (pixels[..., 3:] > 0)
    colours, numbers = np.unique(clear.reshape(-1, 4), axis=0, return_inverse=True)
    order = np.lexsort((*colours.T[2::-1], colours[:, 3] > 0))  # transparent first, then by red, green, blue
    if len(colours) > PALETTE:
        raise OutputError(
            f"{what}: {len(colours)} colours, the transparent one included; a palette holds {PALETTE}. Leave --indexed away."
        )
    picture = Image.fromarray(np.argsort(order)[numbers].reshape(pixels.shape[:2]).astype(np.uint8), "P")
    picture.putpalette(colours[order][:, :3].tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=colours[order][:, 3].tobytes(), bits=8)
    return buffer.getvalue()

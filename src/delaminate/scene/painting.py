"""Painting: placements become pixels, each in the window of the canvas that it can touch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from delaminate.scene.placements import NEUTRAL, Dictionary, Placement, Transform
from delaminate.scene.transforms import Padding, morphological, spline_grid


@dataclass(frozen=True)
class Window:
    """A painted part of a canvas: RGB (3, h, w) and alpha (1, h, w) with the corner at (top, left)."""

    rgb: Float[Tensor, "3 h w"]
    alpha: Float[Tensor, "1 h w"]
    top: int
    left: int

    @property
    def slices(self) -> tuple[slice, slice]:
        height, width = self.alpha.shape[1:]
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def _bounds(matrix: np.ndarray, source: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Find the rectangle (top, left, bottom, right) of the canvas that a raster can touch."""
    height, width = source
    # Bilinear sampling reaches half a pixel beyond the raster's edge.
    corners = np.array([[x, y, 1] for x in (-0.5, width + 0.5) for y in (-0.5, height + 0.5)])
    mapped = corners @ matrix.T
    if (np.sign(mapped[:, 2]) != np.sign(mapped[0, 2])).any() or np.abs(mapped[:, 2]).min() < 1e-8:
        return 0, 0, *size  # the horizon crosses the raster: look everywhere
    points = mapped[:, :2] / mapped[:, 2:]
    (left, top), (right, bottom) = np.floor(points.min(0)), np.ceil(points.max(0))
    return (
        int(np.clip(top, 0, size[0])),
        int(np.clip(left, 0, size[1])),
        int(np.clip(bottom, 0, size[0])),
        int(np.clip(right, 0, size[1])),
    )


def _apply_matrix(raster: Tensor, transform: Transform, padding: Padding) -> tuple[Tensor, int, int]:
    """Move a raster (C, h, w); return the touched window and its corner (top, left)."""
    matrix, size = transform.matrix, transform.size
    source = (raster.shape[1], raster.shape[2])
    place = transform.whole_place(source)
    if place is not None:
        column, row, orientation = place
        shown = source[::-1] if orientation & 1 else source
        covers = column <= 0 and row <= 0 and column + shown[1] >= size[1] and row + shown[0] >= size[0]
        if padding == "zeros" or covers:
            # A shift by whole pixels, flipped or turned by quarters, is a copy, exact to the bit.
            raster = raster.transpose(1, 2) if orientation & 1 else raster
            if orientation & 6:
                raster = raster.flip([axis for axis, bit in ((1, 2), (2, 4)) if orientation & bit])
            first, last = max(row, 0), max(min(row + shown[0], size[0]), max(row, 0))
            begin, end = max(column, 0), max(min(column + shown[1], size[1]), max(column, 0))
            return raster[:, first - row : last - row, begin - column : end - column], first, begin
    top_, left_, bottom, right = (0, 0, *size) if padding == "border" else _bounds(matrix, source, size)
    height, width = max(bottom - top_, 0), max(right - left_, 0)
    if height == 0 or width == 0:
        return raster.new_zeros(len(raster), 0, 0), min(top_, size[0]), min(left_, size[1])
    inverse = np.linalg.inv(matrix)
    columns = torch.arange(left_, right, dtype=torch.float64) + 0.5
    rows = torch.arange(top_, bottom, dtype=torch.float64) + 0.5
    y, x = rows[:, None], columns[None, :]
    z = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2]
    z = torch.where(z.abs() > 1e-8, z, 1.0)
    looked_x = (inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]) / z * (2 / source[1]) - 1
    looked_y = (inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]) / z * (2 / source[0]) - 1
    grid = torch.stack([looked_x, looked_y], -1).to(raster.dtype)
    out = F.grid_sample(raster[None], grid[None], mode="bilinear", padding_mode=padding, align_corners=False)
    return out[0], top_, left_


def _on_canvas(raster: Tensor, top: int, left: int, size: tuple[int, int]) -> Tensor:
    """Put a window on a transparent canvas."""
    canvas = raster.new_zeros(len(raster), *size)
    canvas[:, top : top + raster.shape[1], left : left + raster.shape[2]] = raster
    return canvas


def _apply_blocks(raster: Tensor, top: int, left: int, transform: Transform) -> tuple[Tensor, int, int]:
    """Turn every pixel of a window (C, h, w) into its block; return the blocks and their corner."""
    corner = []
    for axis, (begin, edges) in enumerate(zip((top, left), transform.blocks.edges, strict=True), start=1):
        first = min(begin, len(edges) - 1)
        last = min(begin + raster.shape[axis], len(edges) - 1)
        counts = torch.from_numpy(np.diff(edges[first : last + 1]))
        raster = raster.narrow(axis, 0, last - first).repeat_interleave(counts, axis)
        corner.append(int(edges[first]))
    return raster, corner[0], corner[1]


def paint(dictionary: Dictionary, placement: Placement) -> Window:
    """Paint one placement: only the window that it can touch (a background covers the canvas)."""
    background = placement.entry in dictionary.backgrounds
    raster = placement.raster if placement.raster is not None else dictionary.sprites[placement.entry]
    padding: Padding = "border" if background else "zeros"
    top = left = 0
    for index, transform in enumerate(placement.transforms):
        if transform.kind == "matrix":
            raster, top, left = _apply_matrix(raster, transform, padding)
            following = placement.transforms[index + 1 : index + 2]
            if following and following[0].kind != "blocks":
                raster, top, left = _on_canvas(raster, top, left, transform.size), 0, 0
            continue
        if transform.kind == "blocks":
            raster, top, left = _apply_blocks(raster, top, left, transform)
            if index < len(placement.transforms) - 1:
                raster, top, left = _on_canvas(raster, top, left, transform.size), 0, 0
            continue
        parameters = torch.tensor([transform.parameters], dtype=raster.dtype)
        if transform.kind == "morphological":
            raster = morphological(raster[None], parameters)[0]
        else:
            grid = spline_grid(parameters, transform.size)
            raster = F.grid_sample(raster[None], grid, "bilinear", padding, align_corners=False)[0]
    rgb = raster[:3]
    if placement.colour != NEUTRAL:
        gain, offset = torch.tensor(placement.colour, dtype=raster.dtype).view(2, 3, 1, 1)
        rgb = torch.addcmul(offset, rgb, gain)
    rgb = rgb.clamp(0, 1)
    return Window(rgb, raster[3:] * placement.opacity, top, left)


def paint_whole(dictionary: Dictionary, placement: Placement) -> Window:
    """Paint one placement with what lies outside the canvas, where the way there loses no pixel; else as `paint`.

    That is a sprite, no background, that was moved by whole pixels, flipped or turned by quarters. Its corner may be negative.
    """
    raster = placement.raster if placement.raster is not None else dictionary.sprites[placement.entry]
    transform = placement.transforms[0]
    plain = (
        len(placement.transforms) == 1 and transform.kind == "matrix" and placement.entry not in dictionary.backgrounds
    )
    place = transform.whole_place((raster.shape[1], raster.shape[2])) if plain else None
    if place is None:
        return paint(dictionary, placement)
    left, top, orientation = place
    height, width = (raster.shape[2], raster.shape[1]) if orientation & 1 else (raster.shape[1], raster.shape[2])
    shown = Transform.oriented(orientation, 0, 0, (height, width), (height, width))
    window = paint(dictionary, replace(placement, transforms=(shown,)))
    return replace(window, top=top, left=left)


def blank(dictionary: Dictionary, channels: int, size: tuple[int, int]) -> Float[Tensor, "C H W"]:
    """Make an empty canvas, of the sprites' type."""
    dtype = dictionary.sprites[0].dtype if len(dictionary) else torch.float32
    return torch.zeros(channels, *size, dtype=dtype)


def composite_placements(
    dictionary: Dictionary, placements: Sequence[Placement], size: tuple[int, int]
) -> Float[Tensor, "3 H W"]:
    """Paint placements, back to front, over black: `over`, window by window."""
    canvas = blank(dictionary, 3, size)
    for placement in placements:
        window = paint(dictionary, placement)
        rows, columns = window.slices
        behind = canvas[:, rows, columns]
        canvas[:, rows, columns] = window.alpha * window.rgb + (1 - window.alpha) * behind
    return canvas

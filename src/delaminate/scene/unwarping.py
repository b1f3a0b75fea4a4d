"""Unwarping: a layer that was repainted on the canvas becomes the sprite that would show it."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from delaminate.files import from_pixels
from delaminate.scene.placements import NEUTRAL, Dictionary, Placement, Transform

Pixels = UInt8[np.ndarray, "_h _w 4"]
LEAST_GAIN = 1e-3
"""Below it, a channel says nothing of the sprite's colour."""


@dataclass(frozen=True, eq=False)
class Patch:
    """A picture on a canvas: RGBA pixels and where their corner lies."""

    pixels: Pixels
    top: int
    left: int

    def within(self, top: int, left: int, height: int, width: int) -> Pixels:
        """What a rectangle of the canvas shows of it, transparent elsewhere."""
        canvas = np.zeros((height, width, 4), np.uint8)
        rows, columns = self.pixels.shape[:2]
        first, last = max(top, self.top), min(top + height, self.top + rows)
        begin, end = max(left, self.left), min(left + width, self.left + columns)
        if first < last and begin < end:
            part = self.pixels[first - self.top : last - self.top, begin - self.left : end - self.left]
            canvas[first - top : last - top, begin - left : end - left] = part
        return canvas


@dataclass(frozen=True, eq=False)
class RepaintedSprite:
    """A sprite as it has to be so that a layer shows what was painted.

    Attributes:
        raster: RGBA in [0, 1].
        left, top: Where its corner lies in the sprite as it was, in pixels: below 0 where it grew.
        exact: Pixels were copied, not read between pixels.
    """

    raster: Float[Tensor, "4 h w"]
    left: int
    top: int
    exact: bool


def repainted_sprite(
    dictionary: Dictionary, placement: Placement, before: Patch, after: Patch
) -> RepaintedSprite | None:
    """Carry what was painted on a layer back to the sprite that it shows.

    Exact where the sprite was moved by whole pixels, flipped or turned by quarters, enlarged by blocks or not: then it grows
    as far as the painting goes. Where it was scaled or turned freely, pixels of the sprite that changed are read from the
    painting bilinearly, and what lies beyond its border is left out.

    Args:
        dictionary: With the sprite as it is.
        placement: It shows a sprite.
        before: The layer as it was, its opacity left out.
        after: As it is now.

    Returns:
        The sprite; None: it is warped so that there is no way back.
    """
    kinds = [step.kind for step in placement.transforms]
    sprite = dictionary.sprites[placement.entry]
    if kinds not in (["matrix"], ["matrix", "blocks"]):
        return None
    first = placement.transforms[0]
    place = first.whole_place((sprite.shape[1], sprite.shape[2]))
    if place is None or placement.entry in dictionary.backgrounds:
        return _sampled(sprite, placement, before, after)
    if len(kinds) == 2:
        before, after = _one_a_block(placement, before), _one_a_block(placement, after)
    return _copied(sprite, placement, place, before, after)


def _one_a_block(placement: Placement, patch: Patch) -> Patch:
    """Take the middle of every block, one pixel each."""
    rows, columns = placement.transforms[1].blocks.edges
    canvas = patch.within(0, 0, *placement.transforms[1].size)
    middles = [(edges[:-1] + edges[1:]) // 2 for edges in (rows, columns)]
    return Patch(canvas[middles[0]][:, middles[1]], 0, 0)


def _turned_back(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo one of the eight orientations of `Transform.oriented`."""
    if orientation & 4:
        pixels = pixels[:, ::-1]
    if orientation & 2:
        pixels = pixels[::-1]
    return pixels.swapaxes(0, 1) if orientation & 1 else pixels


def _copied(
    sprite: Tensor, placement: Placement, place: tuple[int, int, int], before: Patch, after: Patch
) -> RepaintedSprite:
    """Pixel by pixel."""
    left, top, orientation = place
    height, width = (sprite.shape[2], sprite.shape[1]) if orientation & 1 else (sprite.shape[1], sprite.shape[2])
    rows, columns = _opaque_box(after)
    # A rectangle of the canvas that holds the sprite and the painting.
    first, begin = min(top, rows[0]), min(left, columns[0])
    box = (first, begin, max(top + height, rows[1]) - first, max(left + width, columns[1]) - begin)
    old, new = (_turned_back(patch.within(*box), orientation) for patch in (before, after))
    inside = np.zeros(box[2:], bool)
    inside[top - first :, left - begin :][:height, :width] = True
    known = np.argwhere(_turned_back(inside, orientation))[0]
    grown = torch.zeros(4, *new.shape[:2], dtype=sprite.dtype)
    grown[:, known[0] :, known[1] :][:, : sprite.shape[1], : sprite.shape[2]] = sprite
    # What of the sprite lies outside the canvas was not there to be painted.
    changed = (old != new).any(2) & ((old[..., 3] > 0) | (new[..., 3] > 0))
    painted = _without_colour(from_pixels(np.ascontiguousarray(new)).to(sprite.dtype), grown, placement)
    raster = torch.where(torch.from_numpy(changed), painted, grown)
    return RepaintedSprite(raster, -int(known[1]), -int(known[0]), True)


def _opaque_box(patch: Patch) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rows and columns of the canvas where a patch is not transparent; of no extent if there are none."""
    spans = []
    for axis, corner in ((1, patch.top), (0, patch.left)):
        inside = np.flatnonzero((patch.pixels[..., 3] > 0).any(axis))
        spans.append((corner + int(inside[0]), corner + int(inside[-1]) + 1) if len(inside) else (2**30, -(2**30)))
    return spans[0], spans[1]


def _without_colour(painted: Tensor, old: Tensor, placement: Placement) -> Tensor:
    """Undo a placement's colour; a channel that it takes away keeps its old value."""
    if placement.colour == NEUTRAL:
        return painted
    gain, offset = torch.tensor(placement.colour, dtype=painted.dtype).view(2, 3, 1, 1)
    kept = gain.abs() < LEAST_GAIN
    colour = ((painted[:3] - offset) / torch.where(kept, 1.0, gain)).clamp(0, 1)
    return torch.cat([torch.where(kept, old[:3], colour), painted[3:]])


def _sampled(sprite: Tensor, placement: Placement, before: Patch, after: Patch) -> RepaintedSprite | None:
    """Read from the canvas where each pixel of the sprite is shown."""
    size = placement.transforms[-1].size
    height, width = sprite.shape[1:]
    points = _shown_at(placement.transforms, height, width)
    if points is None:
        return None
    old, new = before.within(0, 0, *size), after.within(0, 0, *size)
    differs = ((old != new).any(2) & ((old[..., 3] > 0) | (new[..., 3] > 0))).astype(np.float64)
    picture = from_pixels(new).double()
    picture[:3] *= picture[3:]
    grid = torch.from_numpy(points) * 2 / torch.tensor([size[1], size[0]]) - 1
    stack = torch.cat([picture, torch.from_numpy(differs)[None]])[None]
    seen = F.grid_sample(stack, grid[None], "bilinear", "zeros", align_corners=False)[0].to(sprite.dtype)
    colour = seen[:3] / seen[3:4].clamp_min(1e-6)
    painted = _without_colour(torch.cat([colour.clamp(0, 1), seen[3:4].clamp(0, 1)]), sprite, placement)
    return RepaintedSprite(torch.where(seen[4] > 0.5, painted, sprite), 0, 0, False)


def _shown_at(transforms: tuple[Transform, ...], height: int, width: int) -> np.ndarray | None:
    """Where on the canvas the pixels of a raster are shown, across and down: (h, w, 2)."""
    across, down = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    points = np.stack([across, down, np.ones_like(across)], -1) @ transforms[0].matrix.T
    if (np.abs(points[..., 2]) < 1e-8).any():
        return None
    points = points[..., :2] / points[..., 2:]
    if len(transforms) == 2:
        rows, columns = transforms[1].blocks.edges
        for axis, edges in ((0, columns), (1, rows)):
            points[..., axis] = np.interp(points[..., axis], np.arange(len(edges)), edges)
    return points


def shifted_corner(placement: Placement, left: int, top: int) -> Placement:
    """Let a placement show a sprite whose corner moved to (left, top) of what it was, every pixel at its old place."""
    inner = np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
    first = placement.transforms[0]
    moved = Transform.of_matrix(first.matrix @ inner, first.size)
    return replace(placement, transforms=(moved, *placement.transforms[1:]))

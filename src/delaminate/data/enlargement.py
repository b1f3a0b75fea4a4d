"""Pixel art that was enlarged, made small again: exactly where every pixel is a block, and by majority where it nearly is."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from delaminate.data.lattice import (
    LEAST_CONTRAST,
    Lattice,
    edge_profile,
    find_lattices,
    is_ambiguous,
    kink_profile,
    pairs,
    phase_of,
)
from delaminate.data.sets import ImageSet
from delaminate.errors import DataError
from delaminate.scene.canvas_map import LARGEST_STEP, Blocks, CanvasMap

MAX_SAMPLES = 6  # images that an estimate looks at
MAX_ESTIMATE_PIXELS = 2**20  # of one of them; of larger ones every other line, or fewer
# What is accepted: the share of edges on the lattice, at least, and the share of strong edges that blocks do not explain, at
# most. Art that was never enlarged has up to 0.75 of its edges on the lattice of its tiles, but then 0.1 and more unexplained.
ACCEPTED = ((0.85, 0.3), (0.58, 0.05))
ACCEPTED_ALIKE = (0.62, 0.08)  # where both axes have one whole factor
ACCEPTED_SMOOTH = ((0.9, 0.7),)
CERTAIN = 0.95  # score beyond which interpolation need not be looked for
SMALLEST_BLURRED = 2.0  # a smaller step is believed only where nearly all edges are on it
SMALLEST_SMOOTH = 2.2
SMALLEST_NATIVE = 16  # blocks along an axis, below which nothing is believed: a tile, a toy picture of squares
SHARP = 0.6  # share of blocks of one colour beyond which the picture was not compressed with losses

FAINT = 6.0  # levels of lightness; drawings seldom have smaller steps, compression leaves many
LEAST_CHANGES = 40  # edges of what changes, below which they say nothing
CHANGES_ON_LATTICE = 0.94


@dataclass(frozen=True)
class Enlargement:
    """How pixel art was enlarged, down and across.

    Attributes:
        factor: Height and width of a pixel's block, in pixels; may be broken.
        phase: Where the first boundary between blocks lies, in [0, factor): the border may cut blocks.
        smooth: The blocks were interpolated; colours are right in their middles only.
    """

    factor: tuple[float, float]
    phase: tuple[float, float] = (0.0, 0.0)
    smooth: bool = False

    def blocks(self, size: tuple[int, int]) -> Blocks:
        """The blocks of an image of this height and width."""
        return Blocks(self.factor, self.phase, (0, 0, *size), size)

    def __str__(self) -> str:
        down, across = (f"{each:.3g}" for each in self.factor)
        return f"{down} times" if down == across else f"{down} times in height and {across} times in width"


def detect_enlargement(pixels: UInt8[Tensor, "N 3 H W"]) -> int:
    """By how much all images were blown up, each pixel an n x n block of one colour: the largest such n.

    It is the greatest common divisor of all places where a row or column differs from the one before, and of height
    and width. Images without any edge tell nothing.

    Returns:
        n >= 2, or 1 where they were not.
    """
    factor = 0
    for each in pixels:  # one by one: a clip is large
        for place in _edges(each):
            factor = math.gcd(factor, place)
        if factor == 1:
            return 1
    return math.gcd(factor, pixels.shape[2], pixels.shape[3]) if factor else 1


def is_enlarged(pixels: UInt8[Tensor, "N 3 H W"], factor: int) -> bool:
    """Whether images are made of factor x factor blocks of one colour each; images of one colour are, if their size fits."""
    if factor < 1 or pixels.shape[2] % factor or pixels.shape[3] % factor:
        return False
    return all(place % factor == 0 for each in pixels for place in _edges(each))


def _edges(pixels: UInt8[Tensor, "3 H W"]) -> list[int]:
    """Rows and columns that differ from the one before."""
    rows = (pixels[:, 1:] != pixels[:, :-1]).any(2).any(0)  # H - 1
    columns = (pixels[..., 1:] != pixels[..., :-1]).any(1).any(0)  # W - 1
    return [*(rows.nonzero()[:, 0] + 1).tolist(), *(columns.nonzero()[:, 0] + 1).tolist()]


# ---- By majority ------------------------------------------------------------------------------------------------


def estimate_enlargement(pixels: UInt8[Tensor, "N 3 H W"]) -> Enlargement | None:
    """Estimate by how much images were enlarged, each axis apart, from where most of their edges lie.

    Cut blocks, broken factors, a cursor or a window's frame on top, JPEG, video codecs and interpolation are allowed for.

    Returns:
        The largest enlargement that the edges agree on and that explains the pixels; None where there is none.
    """
    luma = _sampled_luma(pixels)
    found = _estimate(luma)
    return found if found is None or _changes_agree(luma, found) else None


def _estimate(luma: Float[Tensor, "N H W"]) -> Enlargement | None:
    """The enlargement that most edges of single images agree on."""
    thin = max(round(luma.shape[1] * luma.shape[2] / MAX_ESTIMATE_PIXELS), 1)
    across, down = luma[:, ::thin], luma.transpose(1, 2)[:, ::thin]
    sharp = _first(luma, find_lattices(edge_profile(down)), find_lattices(edge_profile(across)), False)
    if sharp is not None and sharp[1] >= CERTAIN:
        return sharp[0]
    # Kinks are at the middles of pixels; boundaries lie half a step before.
    smooth = _first(luma, find_lattices(kink_profile(down)), find_lattices(kink_profile(across)), True)
    found = smooth or sharp
    return None if found is None else found[0]


def _changes_agree(luma: Float[Tensor, "N H W"], enlargement: Enlargement) -> bool:
    """Whether what changes from image to image is made of blocks, too.

    A floor may be drawn of pixels twice as large as those of the figure that walks on it; that is its own size. Where
    compression blurs edges nothing is said.
    """
    steps = (luma[..., 1:] - luma[..., :-1]).abs()
    if len(luma) < 2 or int(((steps > 0) & (steps <= FAINT)).sum()) > 0.2 * int((steps > 0).sum()):
        return True
    change = luma[1:] - luma[:-1]
    on = total = 0
    for axis, edges in zip((1, 2), enlargement.blocks((luma.shape[1], luma.shape[2])).edges, strict=True):
        lines = (change.diff(dim=axis) != 0).sum(tuple(n for n in range(3) if n != axis))
        places = torch.from_numpy(edges[1:-1] - 1)
        on, total = on + int(lines[places].sum()), total + int(lines.sum())
    return total < LEAST_CHANGES or on >= CHANGES_ON_LATTICE * total


def _first(
    luma: Float[Tensor, "N H W"], rows: list[Lattice], columns: list[Lattice], smooth: bool
) -> tuple[Enlargement, float] | None:
    """The first of the likely enlargements that explains the pixels, with its score."""
    for pair in pairs(rows, columns):
        score = min(each.score for each in pair)
        found = _enlargement(pair, smooth)
        accepted: tuple[tuple[float, float], ...] = ACCEPTED_SMOOTH if smooth else ACCEPTED
        if not smooth and found.factor[0] == found.factor[1] == round(found.factor[0]):
            accepted = (*accepted, ACCEPTED_ALIKE)
        if min(found.factor) < (SMALLEST_SMOOTH if smooth else SMALLEST_BLURRED):
            accepted = () if smooth else accepted[:1]
        if not any(score >= least for least, _ in accepted):
            continue
        if is_ambiguous(pair[0], rows) and is_ambiguous(pair[1], columns):
            continue
        unexplained = _unexplained(luma, found)
        if any(score >= least and unexplained <= most for least, most in accepted):
            tiny = min(found.blocks((luma.shape[1], luma.shape[2])).canvas) < SMALLEST_NATIVE
            return None if tiny else (found, score)
    return None


def explains(pixels: UInt8[Tensor, "N 3 H W"], enlargement: Enlargement) -> bool:
    """Whether an enlargement that there is another reason for explains nearly all pixels at edges."""
    return _unexplained(_sampled_luma(pixels), enlargement) <= ACCEPTED[-1][1]


def enlargement_by(pixels: UInt8[Tensor, "N 3 H W"], factor: tuple[float, float]) -> Enlargement:
    """Take an enlargement whose factors are known, down and across; where its blocks begin is looked for.

    Raises:
        DataError: A factor is below 1 or too large for the images.
    """
    size = pixels.shape[2], pixels.shape[3]
    if not all(1 <= each <= min(side, LARGEST_STEP) for each, side in zip(factor, size, strict=True)):
        raise DataError(
            f"zoom: {factor[0]:g} x {factor[1]:g} for images of {size} (height, width); expected 1 to {LARGEST_STEP:g}, not "
            "more than the side."
        )
    if factor[0] == factor[1] and factor[0] == int(factor[0]) and is_enlarged(pixels, int(factor[0])):
        return Enlargement(factor)
    luma = _sampled_luma(pixels)
    profiles = edge_profile(luma.transpose(1, 2)), edge_profile(luma)
    phases = [phase_of(profile, step) for profile, step in zip(profiles, factor, strict=True)]
    return Enlargement(factor, (phases[0], phases[1]))


def _sampled_luma(pixels: UInt8[Tensor, "N 3 H W"]) -> Float[Tensor, "n H W"]:
    """Lightness of a few images, in 0..255: the channel that codecs keep sharp."""
    chosen = torch.linspace(0, len(pixels) - 1, min(len(pixels), MAX_SAMPLES)).round().long()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (pixels[chosen].float() * weights).sum(1)


def _enlargement(pair: tuple[Lattice, Lattice], smooth: bool) -> Enlargement:
    phases = []
    for each in pair:
        phase = (each.phase + (0.5 * (1 - each.step) if smooth else 0.0)) % each.step
        if each.step == round(each.step) and not smooth:
            phase = round(phase) % each.step
        phases.append(0.0 if each.step - phase < 1e-3 else float(phase))
    return Enlargement((float(pair[0].step), float(pair[1].step)), (phases[0], phases[1]), smooth)


def _unexplained(luma: Float[Tensor, "N H W"], enlargement: Enlargement) -> float:
    """Pixels that the enlargement does not explain, as a share of those at strong edges.

    A pixel is explained if it lies between the values of its own block and of the blocks next to it: blur at the boundary
    is, and a line of one pixel inside a block is not. Of interpolated blocks it has to be what interpolation gives.
    """
    rows, columns = enlargement.blocks((luma.shape[1], luma.shape[2])).edges
    middles = [torch.from_numpy((edges[:-1] + edges[1:] - 1) // 2) for edges in (rows, columns)]
    small = luma[:, middles[0]][:, :, middles[1]]
    steps = torch.zeros_like(luma)
    steps[:, :-1] = (luma[:, 1:] - luma[:, :-1]).abs()
    steps[:, :, :-1] = torch.maximum(steps[:, :, :-1], (luma[:, :, 1:] - luma[:, :, :-1]).abs())
    noticed = steps[steps > LEAST_CONTRAST]
    if not len(noticed):
        return 0.0
    typical = float(noticed[:: max(len(noticed) // 20_000, 1)].quantile(0.9))
    count = int((noticed > 0.3 * typical).sum())
    tolerance = max(LEAST_CONTRAST, 0.25 * typical)
    if enlargement.smooth:
        low = high = _between(_between(small, middles[0], luma.shape[1], 1), middles[1], luma.shape[2], 2)
    else:
        whole = _repeated(small, rows, columns)
        high = F.max_pool2d(whole[:, None], 3, 1, 1)[:, 0]
        low = -F.max_pool2d(-whole[:, None], 3, 1, 1)[:, 0]
    return float(((luma > high + tolerance) | (luma < low - tolerance)).sum()) / max(count, 1)


def _repeated(small: Tensor, rows: np.ndarray, columns: np.ndarray) -> Tensor:
    """Turn each pixel of the last two axes into its block."""
    down, across = (torch.from_numpy(np.diff(edges)) for edges in (rows, columns))
    return small.repeat_interleave(down, -2).repeat_interleave(across, -1)


def _between(values: Tensor, places: Tensor, length: int, axis: int) -> Tensor:
    """Interpolate along an axis between values at whole places."""
    if len(places) < 2:
        return values.repeat_interleave(length, axis)
    at = torch.arange(length)
    after = torch.searchsorted(places, at, right=True).clamp(1, len(places) - 1)
    part = (at - places[after - 1]) / (places[after] - places[after - 1])
    part = part.clamp(0, 1).view([-1 if each == axis else 1 for each in range(values.ndim)])
    return values.index_select(axis, after - 1) * (1 - part) + values.index_select(axis, after) * part


# ---- Undone -----------------------------------------------------------------------------------------------------


def undo_enlargement(images: ImageSet, factor: int | Enlargement) -> ImageSet:
    """Undo an enlargement: one pixel for each block. Canvas maps keep the original size, and the blocks.

    Of compressed images, a pixel is the median of what lies in the middle of its block.

    Args:
        images: A set of which `is_enlarged` says so for a whole number, or one that an estimate was made for.
        factor: 1 changes nothing.

    Raises:
        DataError: The images are not made of blocks of a whole number.
    """
    if isinstance(factor, Enlargement):
        return _undo(images, factor)
    if not is_enlarged(images.pixels, factor):
        found = detect_enlargement(images.pixels)
        raise DataError(
            f"undo_enlargement: the images were enlarged {found}-fold; asked to undo {factor}-fold. Use a divisor of {found}."
        )
    if any(each.margins is not None for each in images.canvas_maps):
        return _undo(images, Enlargement((float(factor),) * 2))
    size = images.size[0] // factor, images.size[1] // factor
    pixels = images.pixels[:, :, ::factor, ::factor].contiguous()
    maps = tuple(replace(m, canvas=size, zoom=factor if m.is_identity else 1) for m in images.canvas_maps)
    return replace(images, pixels=pixels, canvas_maps=maps)


def _undo(images: ImageSet, enlargement: Enlargement) -> ImageSet:
    blocks = enlargement.blocks(images.size)
    rows, columns = blocks.edges
    middles = [torch.from_numpy((edges[:-1] + edges[1:] - 1) // 2) for edges in (rows, columns)]
    first = images.pixels[:1]
    whole = _repeated(first[:, :, middles[0]][..., middles[1]], rows, columns)
    if enlargement.smooth or float((whole == first).all(1).float().mean()) > SHARP:
        pixels = torch.stack([each[:, middles[0]][..., middles[1]] for each in images.pixels])
    else:
        pixels = torch.stack([_medians(each, rows, columns) for each in images.pixels])
    return replace(images, pixels=pixels, canvas_maps=tuple(_of_blocks(each, blocks) for each in images.canvas_maps))


def _of_blocks(canvas_map: CanvasMap, blocks: Blocks) -> CanvasMap:
    """The map of a canvas whose pixels were blocks of the canvas before."""
    if canvas_map.is_identity:
        return CanvasMap.of_blocks(blocks)
    if canvas_map.margins is not None:
        left, top = (int(each) for each in canvas_map.box[:2])
        inner = (top, left, top + blocks.box[2], left + blocks.box[3])
        return CanvasMap.of_blocks(replace(blocks, box=inner, original=canvas_map.original), canvas_map.margins)
    # Resampled before: blocks of the canvas are no blocks of the original.
    (above, before), (rows, columns) = blocks.corner, blocks.canvas
    matrix = canvas_map.to_original
    placed = (
        matrix[0, 2] + before * matrix[0, 0], matrix[1, 2] + above * matrix[1, 1],
        columns * blocks.step[1] * matrix[0, 0], rows * blocks.step[0] * matrix[1, 1],
    )  # fmt: skip
    return CanvasMap(canvas_map.original, tuple(map(float, placed)), blocks.canvas)  # type: ignore[arg-type]


def _medians(pixels: UInt8[Tensor, "3 H W"], rows: np.ndarray, columns: np.ndarray) -> UInt8[Tensor, "3 h w"]:
    """The median of nine pixels, or fewer, in the middle half of each block."""
    places = []
    for edges in (rows, columns):
        begin, length = edges[:-1, None], np.diff(edges)[:, None]
        places.append(
            torch.from_numpy(begin + np.floor((length - 1) * np.array([[0.3, 0.5, 0.7]]) + 0.5).astype(np.int64))
        )
    down, across = places
    found = pixels[:, down.flatten()][:, :, across.flatten()]
    found = found.view(3, len(down), 3, len(across), 3).permute(0, 1, 3, 2, 4)
    return found.flatten(3).median(3).values

"""Learn sprites from frames: a sprite is a maximal pattern whose parts always occur together.

A small seed, cut out of what is unexplained, is looked up in all frames. Around its occurrences the pixels that nearly
always show the same colour belong to it. If a part of the pattern also occurs without the rest, the part becomes the
seed and the pattern is grown again; in the end every part of it occurs about as often as the whole. What recurs most is
explained first; then everything is found again with the whole dictionary, and each sprite is estimated again from what
it alone explains.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32
from scipy import ndimage
from torch import Tensor

from delaminate.matching.exact.detection import Occurrence, PlacementCost, find
from delaminate.matching.exact.fitting import ring_of
from delaminate.matching.exact.hashing import bank_of, find_windows
from delaminate.matching.exact.templates import (
    BACKGROUND,
    CLOSED,
    OPEN,
    ColourCodes,
    Frames,
    HardSprite,
    Spots,
    TemplateCorrelator,
    peaks,
)

SAMPLED = 200
"""Occurrences that are looked at, at most, to see where a pattern goes on."""
DIVIDED, EVEN = 0.75, 0.65
"""A tile is so many cells if they divide the lengths of this share of the rows; or of this, with one remainder taken away."""
HINTS = 0.7
"""Of the open pixels of a seed, the share that may seem to differ where it is looked at closely."""
LOST = 0.08
"""Of what rows of tiles explain, the share that a tile may leave, at most."""


@dataclass(frozen=True)
class RegionGrowing:
    """How patterns are grown.

    Attributes:
        seed: Side of a seed in pixels.
        reach: How far a pattern may extend from its seed, in pixels.
        match: Share of a seed's pixels that must agree; 1 minus the noise of the source.
        misfit: Share of an occurrence's open pixels that may disagree while the dictionary is not complete.
        together: A pixel belongs to a pattern if it agrees at this share of what its core does.
        alone: A part that occurs so many times as often as the whole is a pattern of its own.
        least: Occurrences that a pattern needs.
        smallest: Pixels that a pattern needs.
        sample: Occurrences that are looked at, at most.
    """

    seed: int = 7
    reach: int = 32
    match: float = 0.95
    misfit: float = 0.15
    together: float = 0.9
    alone: float = 1.12
    least: int = 4
    smallest: int = 6
    sample: int = 250


@dataclass(frozen=True, eq=False)
class SeedPatch:
    """A small window of a frame: colours, and what kind its pixels are (a closed pixel tells nothing)."""

    colour: Float32[np.ndarray, "s s 3"]
    kind: np.ndarray

    def template(self, frames: Frames) -> Tensor:
        codes = frames.codes(torch.from_numpy(self.colour)[None])
        is_open = torch.from_numpy(self.kind == OPEN)[None, None].float()
        background = torch.from_numpy(self.kind == BACKGROUND)[None, None].float()
        return torch.cat([codes * is_open, background, torch.zeros_like(is_open)], 1)

    def is_distinct(self, frames: Frames, around: np.ndarray, reach: int = 2) -> bool:
        """Whether shifting the seed by a pixel or two changes it: no flat area, no straight edge."""
        side = len(self.kind)
        for down in range(-reach, reach + 1):
            for right in range(-reach, reach + 1):
                if (down, right) != (0, 0):
                    y, x = reach + down, reach + right
                    if frames.codes.same(around[y : y + side, x : x + side], self.colour).mean() > 0.88:
                        return False
        return True


def cut_seed(frames: Frames, spot: np.ndarray, side: int) -> SeedPatch:
    index, y, x = spot
    window = slice(y, y + side), slice(x, x + side)
    return SeedPatch(frames.colour[index][window].copy(), frames.kind[index][window].copy())


def find_occurrences(
    frames: Frames, indices: list[int], seeds: list[SeedPatch], match: float, most: int = 2000
) -> list[Spots]:
    """Find where seeds of one size occur: of the pixels that are not closed, the share `match` agrees.

    Args:
        frames: Frames under explanation.
        indices: Which of them.
        seeds: What to look for.
        match: Share of pixels that agree.
        most: Candidates looked at closely in one frame, at most; a flat seed has no end of them.
    """
    if not seeds:
        return []
    known = np.stack([seed.kind != CLOSED for seed in seeds])
    if frames.codes.exact:
        looked_up = [find_windows(frames, indices, seed.colour, seed.kind, most) for seed in seeds]
        return [_agreeing(frames, s, k, spots, match) for s, k, spots in zip(seeds, known, looked_up, strict=True)]
    # A seed's codes meet codes of open pixels; its box meets both indicators, and so counts the pixels that tell.
    boxes, which = np.unique(known, axis=0, return_inverse=True)
    counting = torch.from_numpy(boxes.astype(np.float32))[:, None]
    bank = torch.cat([seed.template(frames) for seed in seeds])
    unseen = torch.zeros(len(boxes), bank.shape[1] - 2, *boxes.shape[1:])
    # Of the margin, where nothing is, no more than a seed covers if it hangs over the border.
    inside = max(frames.margin - boxes.shape[1], 0)
    window = slice(inside, frames.size[0] - inside), slice(inside, frames.size[1] - inside)
    size = window[0].stop - inside, window[1].stop - inside
    correlator = TemplateCorrelator(torch.cat([bank, torch.cat([unseen, counting, counting], 1)]), size)
    tells = torch.from_numpy(known.sum((1, 2)).astype(np.float32))[:, None, None]
    opens = torch.stack([torch.from_numpy(seed.kind == OPEN).sum() for seed in seeds])[:, None, None]
    # Codes are not exact; but what a seed has of the background, any flat area has, too.
    least, enough = 0.8 * tells, (1 - HINTS * opens / tells.clamp_min(1)).clamp_min(match - 0.25)
    found: list[list[np.ndarray]] = [[np.zeros((0, 3), np.int64)] for _ in seeds]
    for index in indices:
        maps, spectra = frames.maps(index)[:, :, *window], frames.spectra(index, size)
        value, visible = correlator(maps, spectra).split([len(seeds), len(boxes)])
        visible = visible[which.ravel()]
        ratio = torch.where(visible >= least, value / visible.clamp_min(1), 0.0)
        places = peaks(ratio, enough, reach=2) + np.array([0, inside, inside])
        for k in np.unique(places[:, 0]):
            mine = places[places[:, 0] == k][:most].copy()
            mine[:, 0] = index
            found[k].append(mine)
    return [
        _agreeing(frames, seed, seen, np.concatenate(parts), match)
        for seed, seen, parts in zip(seeds, known, found, strict=True)
    ]


def _agreeing(frames: Frames, seed: SeedPatch, seen: np.ndarray, spots: np.ndarray, match: float) -> Spots:
    """Those of some places where the pixels of a seed that are not closed agree."""
    colour, kind = frames.windows(spots, 0, 0, seed.kind.shape)
    usable = (kind != CLOSED) & seen
    agrees = (kind == seed.kind) & ((kind == BACKGROUND) | frames.codes.same(colour, seed.colour))
    return spots[(agrees & usable).sum((1, 2)) >= match * usable.sum((1, 2)).clip(1)]


@dataclass(frozen=True, eq=False)
class GrowthLevel:
    """A pattern grown from aligned windows, and how it lies to them.

    Attributes:
        pattern: The pattern.
        down, right: Its corner relative to the windows' corner.
        count: Occurrences it was grown from.
    """

    pattern: HardSprite
    down: int
    right: int
    count: int


def agree(
    frames: Frames, colour: np.ndarray, kind: np.ndarray, known: bool = False
) -> tuple[Float32[np.ndarray, "h w 3"], np.ndarray, np.ndarray]:
    """The typical colour of each aligned pixel, the share of windows that show it, and how many tell.

    Args:
        frames: Which colours are one.
        colour, kind: Of the windows, (n, h, w, 3) and (n, h, w).
        known: They surely show a thing: where the background has that colour, too, nobody can tell if the pixel is there.
    """
    hidden = torch.from_numpy(np.where((kind == OPEN)[..., None], colour, np.nan))
    typical = hidden.nanmedian(0).values.nan_to_num(0).numpy()
    alike = frames.codes.same(colour, typical) & (kind == OPEN).any(0)
    same = alike & (kind == OPEN)
    tells = (same | ((kind != CLOSED) & ~(alike & known))).sum(0)
    # The mean of those that agree is less noisy than the median.
    weight = same[..., None].astype(np.float32)
    mean = (colour * weight).sum(0) / weight.sum(0).clip(1)
    return mean.astype(np.float32), same.sum(0) / tells.clip(1), tells


def grow(frames: Frames, spots: Spots, growth: RegionGrowing) -> GrowthLevel | None:
    """Grow a pattern around the occurrences of a seed."""
    reach, side = growth.reach, growth.seed
    spots = spots[np.linspace(0, len(spots) - 1, min(len(spots), growth.sample)).astype(int)]
    colour, kind = frames.windows(spots, -reach, -reach, (2 * reach + side, 2 * reach + side))
    typical, share, tells = agree(frames, colour, kind)
    middle = np.zeros(share.shape, bool)
    middle[reach : reach + side, reach : reach + side] = True
    enough = tells >= max(3, 0.2 * len(spots))
    core = np.sort(share[middle & enough & (share > 0.5)])
    if len(core) == 0:
        return None
    support = (share >= growth.together * core[len(core) // 2]) & enough
    support = connected(support, middle)
    if support.sum() < growth.smallest:
        return None
    pattern, down, right = HardSprite.cut(typical, support)
    return GrowthLevel(pattern, down - reach, right - reach, len(spots))


def connected(support: Bool[np.ndarray, "h w"], seed: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The part of a support that hangs together with the seed, across gaps of one pixel."""
    near = ndimage.binary_dilation(support, np.ones((3, 3)))
    labels, count = ndimage.label(near, np.ones((3, 3)))
    if count == 0:
        return support & False
    votes = np.bincount(labels[seed & support], minlength=count + 1)
    votes[0] = 0
    return support & (labels == votes.argmax()) & bool(votes.any())


def refine_until_stable(
    frames: Frames, spot: np.ndarray, growth: RegionGrowing, indices: list[int], few: list[int]
) -> GrowthLevel | None:
    """Grow from a seed, and from parts of what grows, until no part occurs without the rest; then complete it."""
    seed = cut_seed(frames, spot, growth.seed)
    best, spots = None, np.zeros((0, 3), np.int64)
    for _ in range(6):
        found = find_occurrences(frames, indices, [seed], growth.match)[0]
        grown = grow(frames, found, growth) if len(found) >= growth.least else None
        if grown is None:
            break
        best, spots = grown, found
        part, count = most_frequent_part(frames, grown.pattern, growth, few)
        if part is None or count <= growth.alone * np.isin(spots[:, 0], few).sum() + 1:
            break
        seed = part
    for _ in range(4):
        if best is None:
            break
        cluster = common_continuation(frames, spots, best, growth)
        grown = grow(frames, spots[cluster], growth) if cluster is not None else None
        if grown is None:
            break
        # What goes on inside a pattern shows as holes: copies of one texture at several phases were mixed.
        mended = _holes(grown.pattern) < 0.5 * _holes(best.pattern)
        if grown.pattern.area <= best.pattern.area and not mended:
            break
        best, spots = grown, spots[cluster]
    return best


def period(pattern: HardSprite, axis: int, codes: ColourCodes) -> int:
    """By how many pixels along an axis a pattern repeats itself; 0 if it does not.

    Shape and colours must repeat, or the colours alone where the outer copies are not whole. A flat pattern is like
    itself at every shift; so some smaller shift must disagree.
    """
    turned = pattern if axis == 0 else HardSprite(pattern.colour.swapaxes(0, 1), pattern.alpha.T)
    whole_differs = part_differs = False
    found: list[tuple[int, float]] = []
    for shift in range(2, int(0.6 * turned.size[0]) + 1):
        one, other = turned.alpha[shift:], turned.alpha[:-shift]
        both = one & other
        alike = (both & codes.same(turned.colour[shift:], turned.colour[:-shift])).sum()
        whole, part = float(alike / max((one | other).sum(), 1)), float(alike / max(both.sum(), 1))
        if whole_differs and whole >= 0.94:
            found.append((shift, max(whole, part)))
        elif part_differs and part >= 0.94 and both.sum() >= 0.5 * min(one.sum(), other.sum()):
            found.append((shift, part))
        whole_differs |= whole < 0.85
        part_differs |= part < 0.85
    # What nearly repeats itself, such as blades of grass, may quite repeat itself later.
    best = max((value for _, value in found), default=0.0)
    return next((shift for shift, value in found if value >= best - 0.03), 0)


def extract_tile(frames: Frames, pattern: HardSprite, indices: list[int], price: PlacementCost) -> HardSprite:
    """Make a tile of what stands in rows: neither several tiles nor a part of one.

    Rows recur, but what they are made of recurs more freely. A pattern that repeats itself is cut to one period, at the
    phase that leaves least unexplained; any other is a cell of its own. Rows of cells are then read off the frames. A
    tile is as many cells as divide the lengths of nearly all rows that are seen to begin and to end: 3 rungs of a
    ladder, 2 spikes of a trap, 1 brick of a wall.
    """
    kept = frames.kind[indices].copy()

    def lay(cell: HardSprite) -> tuple[list[list[Occurrence]], int, float]:
        """Where a cell is found, how many pixels stay open, and the description length: these and the placements."""
        bank = bank_of([cell], frames, price)
        places = [find(frames, index, bank, rounds=1) for index in indices]
        left = int((frames.kind[indices] == OPEN).sum())
        frames.reset(indices, kept)
        return places, left, left + price.pixels * sum(map(len, places))

    for axis in (0, 1):
        shift = period(pattern, axis, frames.codes)
        if shift:
            cells = []
            for first in range(min(shift, pattern.size[axis] - shift + 1)):
                rows = slice(first, first + shift), slice(None)
                cell, _, _ = HardSprite.cut(*(each[rows[:: 1 - 2 * axis]] for each in (pattern.colour, pattern.alpha)))
                cells.append(cell)
            laid = [lay(cell) for cell in cells]
            best = int(np.argmin([length for _, _, length in laid]))
            cell, places = cells[best], laid[best][0]
        else:
            cell, (places, _, _) = pattern, lay(pattern)
            shift = _common_step(places, axis, pattern.size[axis])
            if not shift:
                continue
        rows_ = [_rows(frames, i, some, cell, axis, shift) for i, some in zip(indices, places, strict=True)]
        lengths = np.array([n for some in rows_ for n in some])
        if len(lengths) < 6:
            continue
        count = max(n for n in range(1, int(lengths.max()) + 1) if (lengths % n == 0).mean() >= DIVIDED)
        rows_of_several = lengths[lengths > 1]
        if count == 1 and len(rows_of_several) >= 6:
            # A cell alone may be another thing; and of one more than tiles have, a part may be seen where most rows end.
            longer = range(3, int(lengths.max()) + 1)
            even = (n for n in longer if np.bincount(rows_of_several % n).max() >= EVEN * len(rows_of_several))
            count = next(even, 1)
        if abs((count - 1) * shift + cell.size[axis] - pattern.size[axis]) > 1:
            # Cells need not be quite alike; so pieces of the row as it was are tried, too.
            side, row = (count - 1) * shift + cell.size[axis], slice(None)
            tiles = [_repeated(cell, axis, shift, count)]
            for first in range(0, pattern.size[axis] - side + 1, max(shift // 2, 1) if count == 1 else 1):
                piece = (slice(first, first + side), row) if axis == 0 else (row, slice(first, first + side))
                tiles.append(HardSprite.cut(pattern.colour[piece], pattern.alpha[piece])[0])
            laid = [lay(tile) for tile in tiles]
            best = int(np.argmin([length for _, _, length in laid]))
            # A tile explains nearly what the row of tiles did; if it does not, it is none.
            before = lay(pattern)[1]
            if laid[best][1] <= before + LOST * ((kept == OPEN).sum() - before):
                pattern = tiles[best]
    return pattern


def _common_step(places: list[list[Occurrence]], axis: int, size: int) -> int:
    """The commonest distance along an axis at which a pattern follows itself; 0 if it rarely does."""
    steps = np.zeros(size + 3, np.int64)
    count = 0
    for some in places:
        corners = np.array([[place.top, place.left] for place in some], dtype=np.int64).reshape(-1, 2)
        count += len(corners)
        ahead = corners[None, :, axis] - corners[:, None, axis]
        beside = corners[None, :, 1 - axis] == corners[:, None, 1 - axis]
        near = ahead[beside & (ahead >= max(size // 2, 2)) & (ahead < len(steps))]
        steps += np.bincount(near, minlength=len(steps))
    best = int(steps.argmax())
    return best if steps[best] >= 0.3 * count and steps[best] else 0


def _rows(frames: Frames, index: int, places: list[Occurrence], cell: HardSprite, axis: int, shift: int) -> list[int]:
    """Lengths, in cells, of the rows of a cell whose ends can be seen: something else is shown beyond them."""
    height, width = cell.size
    margin, (high, wide) = frames.margin, frames.size
    corners = {(place.top, place.left) for place in places}
    down, right = (1, 0) if axis == 0 else (0, 1)

    def follow(y: int, x: int, step: int) -> tuple[int, int] | None:
        """The neighbour at a distance of about `step`: cells of a tile may differ by a pixel in their distance."""
        for each in (step, step - 1, step + 1):
            if (y + each * down, x + each * right) in corners:
                return y + each * down, x + each * right
        return None

    lengths = []
    for y, x in corners:
        if follow(y, x, -shift) is not None:
            continue
        count, last = 1, (y, x)
        while (following := follow(*last, shift)) is not None:
            count, last = count + 1, following
        ends = []
        for (a, b), step in (((y, x), -shift), (last, shift)):
            top, left = a + step * down + margin, b + step * right + margin
            inside = margin <= top <= high - margin - height and margin <= left <= wide - margin - width
            shown = frames.colour[index, top : top + height, left : left + width] if inside else None
            ends.append(shown is not None and frames.codes.same(shown, cell.colour)[cell.alpha].mean() < 0.3)
        if all(ends):
            lengths.append(count)
    return lengths


def _repeated(cell: HardSprite, axis: int, shift: int, count: int) -> HardSprite:
    """Several cells in a row."""
    size = list(cell.size)
    size[axis] += shift * (count - 1)
    colour, alpha = np.zeros((*size, 3), np.float32), np.zeros(size, bool)
    for n in range(count):
        first = [0, 0]
        first[axis] = n * shift
        window = slice(first[0], first[0] + cell.size[0]), slice(first[1], first[1] + cell.size[1])
        colour[window][cell.alpha] = cell.colour[cell.alpha]
        alpha[window] |= cell.alpha
    return HardSprite(colour, alpha)


def _holes(pattern: HardSprite) -> int:
    """Pixels that a pattern encloses and does not have."""
    return int((ndimage.binary_fill_holes(pattern.alpha) & ~pattern.alpha).sum())


def common_continuation(frames: Frames, spots: Spots, grown: GrowthLevel, growth: RegionGrowing) -> np.ndarray | None:
    """Where a pattern never ends, for always something goes on beside it, find the commonest way it goes on.

    Returns:
        Indices of the spots that share it; None where the pattern is seen to end on all sides.
    """
    side, pattern = growth.seed, grown.pattern
    h, w = pattern.size
    down, right = grown.down - side, grown.right - side
    some = spots[np.linspace(0, len(spots) - 1, min(len(spots), SAMPLED)).astype(int)]
    _, kind = frames.windows(some, down, right, (h + 2 * side, w + 2 * side))
    ring = np.pad(ring_of(pattern.alpha), side - 1)
    # Thin things need not go on at the very pixel: one beside it will do.
    beyond = (kind == OPEN) & ~np.pad(pattern.alpha, side)
    goes_on = ndimage.binary_dilation(beyond, np.ones((1, 3, 3))).sum(0)
    tells = (kind != CLOSED).sum(0)
    endless = ring & (goes_on >= 0.9 * tells) & (tells >= 0.3 * len(some))
    labels, count = ndimage.label(endless, np.ones((3, 3)))
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    if sizes.max() < 3:
        return None
    y, x = np.argwhere(labels == sizes.argmax() + 1).mean(0).round().astype(int).tolist()
    half = side // 2
    top, left = max(y - half, 0), max(x - half, 0)
    outside = ~np.pad(pattern.alpha, side)[top : y + half + 1, left : x + half + 1]
    patch, kind = frames.windows(spots, down + top, right + left, (outside.shape[0], outside.shape[1]))
    state = np.where(outside, kind, CLOSED)
    best = None
    for reference in np.linspace(0, len(spots) - 1, min(len(spots), 40)).astype(int):
        usable = (state != CLOSED) & (state[reference] != CLOSED)
        match = (state == state[reference]) & ((state == BACKGROUND) | frames.codes.same(patch, patch[reference]))
        alike = (match & usable).sum((1, 2)) >= growth.match * usable.sum((1, 2)).clip(1)
        alike &= usable.sum((1, 2)) >= 0.7 * outside.sum()
        if best is None or alike.sum() > len(best):
            best = np.flatnonzero(alike)
    return best if best is not None and growth.least <= len(best) < len(spots) else None


def most_frequent_part(
    frames: Frames, pattern: HardSprite, growth: RegionGrowing, few: list[int]
) -> tuple[SeedPatch | None, float]:
    """The part of a pattern, of the size of a seed, that occurs most often."""
    side, (height, width) = growth.seed, pattern.size
    around = np.pad(pattern.colour, ((2, 2), (2, 2), (0, 0)))
    seeds = []
    for y in sorted({*range(0, height - side + 1, 3), height - side}):
        for x in sorted({*range(0, width - side + 1, 3), width - side}):
            if y < 0 or x < 0:
                continue
            alpha = pattern.alpha[y : y + side, x : x + side]
            if alpha.mean() < 0.9:
                continue
            seed = SeedPatch(pattern.colour[y : y + side, x : x + side], np.where(alpha, OPEN, CLOSED))
            if seed.is_distinct(frames, around[y : y + side + 4, x : x + side + 4]):
                seeds.append(seed)
    seeds = [seeds[n] for n in np.linspace(0, len(seeds) - 1, min(len(seeds), 24)).astype(int)]
    # A part that the pattern has twice occurs twice as often.
    counts = [
        len(spots) / count_in(pattern, seed, frames.codes, growth.match)
        for seed, spots in zip(seeds, find_occurrences(frames, few, seeds, growth.match), strict=True)
    ]
    if not counts:
        return None, 0
    return seeds[int(np.argmax(counts))], max(counts)


def count_in(pattern: HardSprite, seed: SeedPatch, codes: ColourCodes, match: float) -> int:
    """How many times a seed, cut from a pattern, occurs in it."""
    known = seed.kind != CLOSED
    views = np.lib.stride_tricks.sliding_window_view(pattern.colour, known.shape, (0, 1)).transpose(0, 1, 3, 4, 2)
    alphas = np.lib.stride_tricks.sliding_window_view(pattern.alpha, known.shape)
    hits = (codes.same(views, seed.colour) & alphas & known).sum((2, 3)) >= match * known.sum()
    return max(int(ndimage.label(hits, np.ones((3, 3)))[1]), 1)


def random_spots(
    frames: Frames, growth: RegionGrowing, count: int, rng: np.random.Generator, share: float = 0.4
) -> Spots:
    """Windows that are mostly unexplained and not flat, drawn at random."""
    half, spots = growth.seed // 2, []
    frame, y, x = np.nonzero(frames.kind == OPEN)
    if len(frame) == 0:
        return np.zeros((0, 3), np.int64)
    for n in rng.permutation(len(frame))[: 20 * count]:
        spot = np.array([frame[n], y[n] - half, x[n] - half])
        kind = frames.kind[spot[0], spot[1] : spot[1] + growth.seed, spot[2] : spot[2] + growth.seed]
        if kind.shape != (growth.seed, growth.seed) or (kind == CLOSED).mean() > 0.3:
            continue
        if (kind == OPEN).mean() < share:
            continue
        spots.append(spot)
        if len(spots) == count:
            break
    return np.array(spots, dtype=np.int64).reshape(-1, 3)

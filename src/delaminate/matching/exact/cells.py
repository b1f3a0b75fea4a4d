"""Tiles of frames that are full of them: windows of one size that recur on a lattice, whatever hides the others."""

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from delaminate.matching.exact.search import Search
from delaminate.matching.exact.templates import OPEN, Frames, HardSprite
from delaminate.rng import numpy_stream

SIDES = (8, 10, 12, 14, 15, 16, 18, 20, 24, 32)
"""Sides of tiles that are tried, in pixels."""
DENSE = 0.4
"""Of the frames, the share that must be open for tiles to be looked for."""
FEW = 8
"""Frames on which sides are tried."""
LEAST_SHARE, LEAST_CONTRAST = 0.15, 1.8
"""Of the cells of a lattice, the share that must recur; and by how much more than those of other lattices of its size."""
TILES = 4
"""Times that a tile must be seen."""


def lattice_tiles(frames: Frames, search: Search, most: int) -> list[HardSprite]:
    """Find tiles: cells of a lattice, its place found for each frame, that recur to the bit.

    Args:
        frames: Frames under explanation.
        search: How to look.
        most: Tiles, at most: the commonest.
    """
    margin, (height, width) = frames.margin, frames.size
    is_open = frames.kind == OPEN
    inner = (slice(None), slice(margin, height - margin), slice(margin, width - margin))
    if not frames.codes.exact or is_open[inner].mean() < DENSE:
        return []
    some = np.linspace(0, len(frames) - 1, min(len(frames), FEW)).astype(int)
    values, shown = frames.packed[inner], is_open[inner]
    best, side = np.inf, 0
    for tried in SIDES:
        search.progress.check()
        if tried <= min(2 * search.growth.reach, *values.shape[1:]):
            bits = _bits(values[some], shown[some], tried)
            if bits < best:
                best, side = bits, tried
    return _recurring_cells(frames, values, shown, side, most) if side else []


def _hashes(values: np.ndarray, side: int) -> UInt64[np.ndarray, "n Y X"]:
    """A number for every square window: along rows, then along columns."""
    factors = numpy_stream("tiles", side).integers(0, 2**63, (2, side), dtype=np.uint64) | np.uint64(1)
    wide, columns = values.astype(np.uint64) + np.uint64(1), values.shape[2] - side + 1
    rows = sum(wide[:, :, x : x + columns] * factors[0, x] for x in range(side))
    count = values.shape[1] - side + 1
    return np.asarray(sum(rows[:, y : y + count] * factors[1, y] for y in range(side)))


def _recurs(
    hashes: UInt64[np.ndarray, "n Y X"], usable: Bool[np.ndarray, "n Y X"], least: int
) -> Bool[np.ndarray, "n Y X"]:
    """Which of the usable windows are there so many times."""
    found = np.zeros(usable.shape, bool)
    _, inverse, counts = np.unique(hashes[usable], return_inverse=True, return_counts=True)
    found[usable] = counts[inverse.reshape(-1)] >= least
    return found


def _usable(values: np.ndarray, shown: np.ndarray, side: int) -> Bool[np.ndarray, "n Y X"]:
    """Windows that are not flat, and mostly open."""
    flat_right = np.zeros(values.shape, np.int32)
    flat_right[:, :, 1:] = values[:, :, 1:] != values[:, :, :-1]
    flat_right[:, 1:] += values[:, 1:] != values[:, :-1]
    edges, there = _box(flat_right, side), _box(shown.astype(np.int32), side)
    return (edges >= side) & (there >= side * side // 2)


def _box(counts: np.ndarray, side: int) -> np.ndarray:
    """Sums over every square window."""
    total = np.pad(counts.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    return total[:, side:, side:] - total[:, :-side, side:] - total[:, side:, :-side] + total[:, :-side, :-side]


def _phases(recurs: Bool[np.ndarray, "n Y X"], side: int) -> tuple[Int64[np.ndarray, "n 2"], np.ndarray, np.ndarray]:
    """For each frame the place of the lattice with most recurring cells, how many these are, and the median of others."""
    count = len(recurs)
    rows, columns = (-(-n // side) * side for n in recurs.shape[1:])
    padded = np.zeros((count, rows, columns), np.int64)
    padded[:, : recurs.shape[1], : recurs.shape[2]] = recurs
    hits = padded.reshape(count, rows // side, side, columns // side, side).sum((1, 3))
    flat = hits.reshape(count, -1)
    best = flat.argmax(1)
    return np.stack([best // side, best % side], 1), flat.max(1), np.median(flat, 1)


def _bits(values: np.ndarray, shown: np.ndarray, side: int, colour: float = 5.0) -> float:
    """Roughly what some frames take on lattices of one side; infinite where their cells do not recur."""
    hashes, usable = _hashes(values, side), _usable(values, shown, side)
    recurs = _recurs(hashes, usable, 3)
    places, most, median = _phases(recurs, side)
    cells = (values.shape[1] // side) * (values.shape[2] // side) * len(values)
    if most.sum() < LEAST_SHARE * cells or most.sum() < LEAST_CONTRAST * max(float(median.sum()), 1):
        return float(np.inf)
    kinds: set[int] = set()
    for index, (y, x) in enumerate(places):
        grid = hashes[index, y::side, x::side]
        kinds.update(grid[recurs[index, y::side, x::side]].tolist())
    rest = shown.sum() - int(most.sum()) * side * side
    return colour * (len(kinds) * side * side + max(int(rest), 0)) + 10.0 * int(most.sum())


def _recurring_cells(frames: Frames, values: np.ndarray, shown: np.ndarray, side: int, most: int) -> list[HardSprite]:
    """The cells that recur, each once."""
    places: list[tuple[int, int, int, int]] = []
    seen: dict[int, list[tuple[int, int, int]]] = {}
    for first in range(0, len(values), FEW):
        part, there = values[first : first + FEW], shown[first : first + FEW]
        hashes = _hashes(part, side)
        corners, _, _ = _phases(_recurs(hashes, _usable(part, there, side), 3), side)
        for index, (y, x) in enumerate(corners):
            grid = hashes[index, y::side, x::side]
            places += [
                (int(value), first + index, int(y) + side * row, int(x) + side * column)
                for (row, column), value in np.ndenumerate(grid)
            ]
    for value, index, y, x in places:
        seen.setdefault(value, []).append((index, y, x))
    found: list[HardSprite] = []
    for spots in sorted((s for s in seen.values() if len(s) >= TILES), key=len, reverse=True):
        index, y, x = spots[0]
        m = frames.margin
        colour = frames.colour[index, y + m : y + m + side, x + m : x + m + side]
        tile = HardSprite(colour.copy(), np.ones((side, side), bool))
        if not tile.is_flat and len(found) < most:
            found.append(tile)
    return found

"""Where patterns may be, by lookup: small windows of a pattern are found in a frame by their hash, however many patterns.

A correlation takes time for every pattern; a lookup in a table takes the same time for one pattern and for hundreds. It
needs colours that recur to the bit, as in screen captures without loss, and one window of the pattern that nothing hides.
Lookups propose; the pixels themselves decide, as with correlations. (Rolling hashes; Karp and Rabin, 1987)
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8, UInt32, UInt64

from delaminate.matching.exact.detection import MOST, Occurrence, PlacementCost, TemplateBank
from delaminate.matching.exact.templates import OPEN, Frames, HardSprite, Spots
from delaminate.rng import numpy_stream

Shape = tuple[int, int]
SHAPES: tuple[Shape, ...] = ((3, 3), (2, 2), (3, 1), (1, 3), (1, 1))
INNER, BORDER = 10, 3
"""Windows of a pattern that are looked up: inside, and along each side for where the frame's border cuts it."""
APART = 3
"""Pixels between windows, at least, so that what hides one shows another."""
FACTORS = {
    shape: numpy_stream("window hashes", *shape).integers(0, 2**63, shape, dtype=np.uint64) | np.uint64(1)
    for shape in SHAPES
}


def window_hashes(values: UInt32[np.ndarray, "H W"], shape: Shape) -> UInt64[np.ndarray, "Y X"]:
    """A number for every window of a shape; equal windows have equal ones, others hardly ever."""
    rows, columns = values.shape[0] - shape[0] + 1, values.shape[1] - shape[1] + 1
    total = np.zeros((max(rows, 0), max(columns, 0)), np.uint64)
    if total.size:
        wide = values.astype(np.uint64) + np.uint64(1)
        for (y, x), factor in np.ndenumerate(FACTORS[shape]):
            total += wide[y : y + rows, x : x + columns] * factor
    return total


def all_inside(mask: Bool[np.ndarray, "H W"], shape: Shape) -> Bool[np.ndarray, "Y X"]:
    """Which windows of a shape lie wholly within a mask."""
    rows, columns = mask.shape[0] - shape[0] + 1, mask.shape[1] - shape[1] + 1
    inside = np.ones((max(rows, 0), max(columns, 0)), bool)
    if inside.size:
        for y, x in np.ndindex(shape):
            inside &= mask[y : y + rows, x : x + columns]
    return inside


def _is_flat(values: UInt32[np.ndarray, "H W"], shape: Shape) -> Bool[np.ndarray, "Y X"]:
    """Which windows have one colour."""
    rows, columns = values.shape[0] - shape[0] + 1, values.shape[1] - shape[1] + 1
    flat = np.ones((max(rows, 0), max(columns, 0)), bool)
    if flat.size:
        for y, x in np.ndindex(shape):
            flat &= values[y : y + rows, x : x + columns] == values[:rows, :columns]
    return flat


def _begins(values: UInt32[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Pixels whose left neighbour is of another colour, or not in the mask: where a flat run begins."""
    begins = np.ones(values.shape, bool)
    begins[:, 1:] = (values[:, 1:] != values[:, :-1]) | ~mask[:, :-1]
    return begins


@dataclass(frozen=True)
class _Window:
    """A window of a pattern: its shape, hash and corner in the pattern; flat ones count where a run begins."""

    entry: int
    shape: Shape
    value: int
    top: int
    left: int
    flat: bool
    border: bool


def windows_of_pattern(entry: int, pattern: HardSprite) -> list[_Window]:
    """Choose the windows by which a pattern is looked up: those of most colours, apart from each other."""
    if not pattern.area:
        return []
    values, found = pattern.packed, []
    for shape in SHAPES:
        inner = _choose(entry, values, pattern.alpha, shape, border=False)
        # Flat windows say little: smaller ones of two colours say more.
        if inner and (
            not all(window.flat for window in inner) or shape == (1, 1) or _is_one_colour(values, pattern.alpha)
        ):
            found = inner
            break
        found = found or inner
    for shape in ((3, 1), (1, 3)):
        found += _choose(entry, values, pattern.alpha, shape, border=True)
    return found


def _is_one_colour(values: UInt32[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> bool:
    shown = values[mask]
    return bool((shown == shown[0]).all())


def _choose(
    entry: int, values: UInt32[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"], shape: Shape, border: bool
) -> list[_Window]:
    inside = all_inside(mask, shape)
    if not inside.any():
        return []
    hashes, flat = window_hashes(values, shape), _is_flat(values, shape)
    begins = _begins(values, mask)[: inside.shape[0], : inside.shape[1]]
    usable = inside & (begins | ~flat)
    if border:
        edge = np.zeros_like(usable)
        if shape[1] == 1:
            edge[:, :2] = edge[:, -2:] = True
        else:
            edge[:2] = edge[-2:] = True
        usable &= edge
    places = np.argwhere(usable)
    # Those of several colours first, then from the corners inwards, so that the choice does not depend on luck.
    order = np.lexsort((places[:, 1], places[:, 0], flat[usable]))
    chosen: list[np.ndarray] = []
    limit = 4 * BORDER if border else INNER
    for place in places[order]:
        if all(np.abs(place - other).max() >= APART for other in chosen):
            chosen.append(place)
            if len(chosen) >= 4 * limit:
                break
    few = [chosen[n] for n in np.linspace(0, len(chosen) - 1, min(len(chosen), limit)).astype(int)]
    return [_Window(entry, shape, int(hashes[y, x]), int(y), int(x), bool(flat[y, x]), border) for y, x in few]


class WindowTable:
    """The windows of some patterns by their hash.

    Args:
        patterns: The windows of each come with its number.
        sizes: Height and width of each pattern in pixels.
    """

    def __init__(self, windows: Sequence[_Window], sizes: Sequence[tuple[int, int]]) -> None:
        self.sizes = np.array(sizes, np.int64).reshape(-1, 2)
        self.tables: dict[Shape, tuple[np.ndarray, np.ndarray]] = {}
        for shape in SHAPES:
            mine = sorted((w for w in windows if w.shape == shape), key=lambda w: w.value)
            if mine:
                keys = np.array([w.value for w in mine], np.uint64)
                rows = np.array([[w.entry, w.top, w.left, w.flat, w.border] for w in mine], np.int64)
                self.tables[shape] = keys, rows

    def spots(
        self, values: UInt32[np.ndarray, "H W"], is_open: Bool[np.ndarray, "H W"], known: Bool[np.ndarray, "H W"]
    ) -> Spots:
        """Where patterns may be on a frame: pattern, top, left; each place once.

        Args:
            values: Packed colours of the padded frame.
            is_open: Pixels that windows must show.
            known: Pixels that lie on the frame: where it ends, a pattern is cut.
        """
        found = [np.zeros((0, 3), np.int64)]
        begins = _begins(values, is_open)
        for shape, (keys, rows) in self.tables.items():
            inside = all_inside(is_open, shape)
            places = np.argwhere(inside)
            hashes = window_hashes(values, shape)[inside]
            first, last = np.searchsorted(keys, hashes, "left"), np.searchsorted(keys, hashes, "right")
            hit = np.flatnonzero(last > first)
            counts = (last - first)[hit]
            index = np.repeat(hit, counts)
            which = np.arange(len(index)) - np.repeat(counts.cumsum() - counts, counts) + np.repeat(first[hit], counts)
            row, place = rows[which], places[index]
            keep = (row[:, 3] == 0) | begins[place[:, 0], place[:, 1]]
            row, place = row[keep], place[keep]
            corner = place - row[:, 1:3]
            cut = self._is_cut(corner, row[:, 0], known)
            keep = (row[:, 4] == 0) | cut
            found.append(np.concatenate([row[keep, :1], corner[keep]], 1))
        return np.unique(np.concatenate(found), axis=0)

    def _is_cut(self, corner: np.ndarray, entry: np.ndarray, known: Bool[np.ndarray, "H W"]) -> np.ndarray:
        rows, columns = np.flatnonzero(known.any(1)), np.flatnonzero(known.any(0))
        first, last = np.array([rows[0], columns[0]]), np.array([rows[-1], columns[-1]]) + 1
        return ((corner < first) | (corner + self.sizes[entry] > last)).any(1)


class HashBank(TemplateBank):
    """Patterns made ready for search by lookup."""

    def __init__(self, patterns: list[HardSprite], frames: Frames, price: PlacementCost) -> None:
        self.patterns, self.price = patterns, price
        windows = [window for k, pattern in enumerate(patterns) for window in windows_of_pattern(k, pattern)]
        self.table = WindowTable(windows, [pattern.size for pattern in patterns])
        self._last: tuple[Frames, int, Spots] | None = None
        self._measure()

    def candidates(self, frames: Frames, index: int) -> list[tuple[float, Occurrence]]:
        if self._last is None or self._last[0] is not frames or self._last[1] != index:
            self._last = frames, index, self._look_up(frames, index)  # frames are gone through one by one
        spots, found = self._last[2], []
        borders = np.flatnonzero(np.diff(spots[:, 0], prepend=-1, append=-1))
        for first, last in itertools.pairwise(borders):
            some = spots[first:last].copy()
            entry = int(some[0, 0])
            some[:, 0] = index
            found += self.worth(frames, entry, some[:MOST])
        return found

    def _look_up(self, frames: Frames, index: int) -> Spots:
        height, width = frames.size
        margin = frames.margin
        known = np.zeros((height, width), bool)
        known[margin : height - margin, margin : width - margin] = True
        spots = self.table.spots(frames.packed[index], frames.was_open[index], known)
        sizes = np.array([pattern.size for pattern in self.patterns], np.int64).reshape(-1, 2)
        inside = (spots[:, 1:] >= 0).all(1) & (spots[:, 1:] + sizes[spots[:, 0]] <= np.array([height, width])).all(1)
        return spots[inside]


def bank_of(patterns: list[HardSprite], frames: Frames, price: PlacementCost) -> TemplateBank:
    """Make patterns ready for search: by lookup where colours recur to the bit, else by correlation."""
    return (HashBank if frames.codes.exact else TemplateBank)(patterns, frames, price)


def find_windows(
    frames: Frames, indices: list[int], colour: np.ndarray, kind: UInt8[np.ndarray, "s s"], most: int
) -> Spots:
    """Where a patch may be in frames, by up to four of its windows: frame, top and left on padded frames.

    Args:
        frames: Frames under explanation.
        indices: Which of them.
        colour: Of the patch, in [0, 1].
        kind: Of its pixels; windows are of open ones.
        most: Places in one frame, at most.
    """
    patch = HardSprite(colour * (kind == OPEN)[..., None], kind == OPEN)
    windows = [window for window in windows_of_pattern(0, patch) if not window.border]
    table = WindowTable(
        [windows[n] for n in np.linspace(0, len(windows) - 1, min(len(windows), 4)).astype(int)], [kind.shape]
    )
    found = [np.zeros((0, 3), np.int64)]
    known = np.ones(frames.size, bool)
    for index in indices:
        spots = table.spots(frames.packed[index], frames.kind[index] == OPEN, known)[:most]
        spots[:, 0] = index
        inside = (spots[:, 1:] >= 0).all(1) & (spots[:, 1:] + np.array(kind.shape) <= np.array(frames.size)).all(1)
        found.append(spots[inside])
    return np.concatenate(found)

"""Where patterns may be, by lookup: small windows of a pattern are found in a frame by their hash, however many patterns.

A correlation takes time for every pattern; a lookup in a table takes the same time for one pattern and for hundreds. It
needs colours that recur to the bit, as in screen captures without loss, and one window of the pattern that nothing hides.
Lookups propose; the pixels themselves decide, as with correlations. (Rolling hashes; Karp and Rabin, 1987)
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt32, UInt64
from scipy import ndimage

from delaminate.matching.exact.detection import LEAST_CUT, PlacementCost, Scored, TemplateBank
from delaminate.matching.exact.fitting import Candidates
from delaminate.matching.exact.templates import OPEN, Frames, HardSprite, Shape, Spots
from delaminate.rng import numpy_stream

SHAPES: tuple[Shape, ...] = ((3, 3), (2, 2), (3, 1), (1, 3), (1, 1))
INNER, BORDER = 24, 3
"""Windows of a pattern that are looked up: inside, and along the two outermost lines of each side, for where the frame's border
cuts it."""
CROWD = 300
"""Of more places of one pattern on one frame, those are looked at that gain most around them; of a flat one, so many that gain
most."""
MUCH_OFTENER = 4
"""A window that is seen so many times as often as the median of its pattern's, and `CROWD` times more, tells little."""
MOST_SPOTS = 2_000
"""Places of one pattern on one frame that windows hint at and that are looked at, at most: those that most hint at."""
SURE_VOTES = 4
"""Windows that hint at the best place of a pattern, at least, for places at which a single one hints to be left out of many."""
MOST_HINTS = 2**15
"""Places of a frame that pixels of slivers hint at and that are looked at, at most: those of the largest regions."""
ONCE = 2**31
"""Pixels after which a run is counted again that is counted where it begins only."""
BRICK = 4
"""Pixels that patterns of one colour are wide at least to be looked for side by side within a run."""
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


def _every(hits: Callable[[slice, slice], np.ndarray], size: Shape, shape: Shape) -> Bool[np.ndarray, "Y X"]:
    """Which windows of a shape, in an array of a size, are hit in all their pixels; `hits` looks at one of these at a time."""
    rows, columns = (max(n - side + 1, 0) for n, side in zip(size, shape, strict=True))
    every = np.ones((rows, columns), bool)
    if every.size:
        for y, x in np.ndindex(shape):
            every &= hits(slice(y, y + rows), slice(x, x + columns))
    return every


def all_inside(mask: Bool[np.ndarray, "H W"], shape: Shape) -> Bool[np.ndarray, "Y X"]:
    """Which windows of a shape lie wholly within a mask."""
    return _every(lambda rows, columns: mask[rows, columns], (mask.shape[0], mask.shape[1]), shape)


def _is_flat(values: UInt32[np.ndarray, "H W"], shape: Shape) -> Bool[np.ndarray, "Y X"]:
    """Which windows have one colour."""
    corner = values[: values.shape[0] - shape[0] + 1, : values.shape[1] - shape[1] + 1]
    size = (values.shape[0], values.shape[1])
    return _every(lambda rows, columns: values[rows, columns] == corner, size, shape)


def _in_run(values: UInt32[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> Int64[np.ndarray, "H W"]:
    """How many pixels to the left of each the run of its colour, in the mask, begins."""
    begins = np.ones(values.shape, bool)
    begins[:, 1:] = (values[:, 1:] != values[:, :-1]) | ~mask[:, :-1]
    column = np.arange(values.shape[1])
    return np.asarray(column - np.maximum.accumulate(np.where(begins, column, 0), 1))


@dataclass(frozen=True)
class _Window:
    """A window of a pattern: its shape, hash and corner in the pattern; flat ones count where a run begins.

    `run`: pixels of the run that begins there, where the pattern has one colour; else 0.
    """

    shape: Shape
    value: int
    top: int
    left: int
    flat: bool
    border: bool
    run: int


@functools.lru_cache(maxsize=2048)
def windows_of_pattern(pattern: HardSprite) -> tuple[_Window, ...]:
    """Choose the windows by which a pattern is looked up: those of most colours, apart from each other."""
    if not pattern.area or pattern.opacity < 1:
        return ()
    values = pattern.packed
    found: list[_Window] = []
    for shape in SHAPES:
        inner = _choose(values, pattern.alpha, shape, border=False)
        # Flat windows say little: smaller ones of two colours say more.
        if inner and (
            not all(window.flat for window in inner) or shape == (1, 1) or _is_one_colour(values, pattern.alpha)
        ):
            found = inner
            break
        found = found or inner
    for shape in ((3, 1), (1, 3)):
        found += _choose(values, pattern.alpha, shape, border=True)
    return tuple(found)


def _is_one_colour(values: UInt32[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> bool:
    shown = values[mask]
    return bool((shown == shown[0]).all())


def _choose(
    values: UInt32[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"], shape: Shape, border: bool
) -> list[_Window]:
    inside = all_inside(mask, shape)
    if not inside.any():
        return []
    hashes, flat = window_hashes(values, shape), _is_flat(values, shape)
    begins = _in_run(values, mask)[: inside.shape[0], : inside.shape[1]] == 0
    lines: list[np.ndarray] = [inside & (begins | ~flat)]
    if border:  # of a sprite that the frame's border cuts, one line may be left
        axis = 1 if shape[1] == 1 else 0
        numbers = np.arange(inside.shape[axis])
        both_ends = sorted({0, 1, len(numbers) - 2, len(numbers) - 1} & set(numbers.tolist()))
        lines = [inside & np.expand_dims(numbers == n, 1 - axis) for n in both_ends]
    limit = BORDER if border else INNER
    few: list[np.ndarray] = []
    for usable in lines:
        places = np.argwhere(usable)
        # Those of several colours first, then from the corners inwards, so that the choice does not depend on luck.
        order = np.lexsort((places[:, 1], places[:, 0], flat[usable]))
        chosen: list[np.ndarray] = []
        for place in places[order]:
            if all(np.abs(place - other).max() >= APART for other in chosen):
                chosen.append(place)
                if len(chosen) >= 4 * limit:
                    break
        few += [chosen[n] for n in np.linspace(0, len(chosen) - 1, min(len(chosen), limit)).astype(int)]
    run = (
        _in_run(values[:, ::-1], mask[:, ::-1])[:, ::-1] + 1 if _is_one_colour(values, mask) else np.zeros_like(values)
    )
    return [_Window(shape, int(hashes[y, x]), int(y), int(x), bool(flat[y, x]), border, int(run[y, x])) for y, x in few]


@dataclass(frozen=True)
class _Table:
    """Windows of one shape by their hash.

    Attributes:
        keys: Their hashes, in order.
        numbers: Which windows they are.
        every: They are flat, and count at each so many pixels of a run, from its beginning on; 0: they are not.
        ends: They also count so many pixels before the run's end.
    """

    keys: UInt64[np.ndarray, " w"]
    numbers: Int64[np.ndarray, " w"]
    every: int
    ends: bool

    def hits(
        self, hashes: UInt64[np.ndarray, " n"], runs: Int64[np.ndarray, "2 n"]
    ) -> tuple[Int64[np.ndarray, " h"], Int64[np.ndarray, " h"]]:
        """Pairs of windows of a frame and of these that are equal: positions of the first, numbers of the second.

        Args:
            hashes: Of the frame's windows.
            runs: How far to the left of each its run begins, and how far to the right it ends.
        """
        counted = np.arange(len(hashes))
        if self.every:
            counted = np.flatnonzero((runs[0] % self.every == 0) | (self.ends & (runs[1] == self.every - 1)))
        hashes = hashes[counted]
        first = np.searchsorted(self.keys, hashes, "left")
        hit = np.flatnonzero(self.keys[first.clip(max=len(self.keys) - 1)] == hashes)
        first, last = first[hit], np.searchsorted(self.keys, hashes[hit], "right")
        counts = last - first
        which = np.arange(int(counts.sum())) - np.repeat(counts.cumsum() - counts, counts) + np.repeat(first, counts)
        return np.repeat(counted[hit], counts), self.numbers[which]


class WindowTable:
    """The windows of some patterns by their hash.

    Args:
        windows: Those of each pattern.
        sizes: Height and width of each pattern in pixels.
    """

    def __init__(self, windows: Sequence[Sequence[_Window]], sizes: Sequence[tuple[int, int]]) -> None:
        self.sizes = np.array(sizes, np.int64).reshape(-1, 2)
        self.tables: dict[Shape, list[_Table]] = {}
        mine = [(w, entry) for entry, some in enumerate(windows) for w in some]
        rows = [[entry, w.top, w.left, w.flat, w.border] for w, entry in mine]
        self.windows = np.array(rows, np.int64).reshape(-1, 5)
        numbers: dict[tuple[Shape, int, bool], list[int]] = {}
        for number, (window, entry) in enumerate(mine):
            # Along the frame's border, what is left of tiles that stand in rows may be one flat run, and so are bricks.
            ends = window.flat and not window.border and window.run >= BRICK
            every = 0
            if window.flat:
                every = int(self.sizes[entry, 1]) if window.border else window.run if ends else ONCE
            numbers.setdefault((window.shape, every, ends), []).append(number)
        for (shape, every, ends), some in numbers.items():
            some.sort(key=lambda number: mine[number][0].value)
            keys = np.array([mine[number][0].value for number in some], np.uint64)
            self.tables.setdefault(shape, []).append(_Table(keys, np.array(some), every, ends))

    def spots(self, frames: Frames, index: int, fresh: bool = False) -> Spots:
        """Where patterns may be on a frame: pattern, top, left on the padded frame; each place once.

        Args:
            frames: Frames under explanation.
            index: Which of them.
            fresh: Windows must show pixels that are still open, not only pixels that once were.
        """
        hits = [np.zeros((0, 3), np.int64)]  # number of the window, row and column
        for shape, tables in self.tables.items():
            hashes, places, runs = windows_of_frame(frames, index, shape)
            if fresh:
                now = all_inside(frames.kind[index] == OPEN, shape)[places[:, 0], places[:, 1]]
                hashes, places, runs = hashes[now], places[now], runs[:, now]
            for table in tables:
                at, which = table.hits(hashes, runs)
                hits.append(np.concatenate([which[:, None], places[at]], 1))
        together = np.concatenate(hits)
        window = together[:, 0]
        entry, corner = self.windows[window, 0], together[:, 1:] - self.windows[window, 1:3]
        keep = self._tells(window)[window]
        others = np.flatnonzero(~keep)
        keep[others] = self._is_cut(corner[others], entry[others], frames)
        entry, corner = entry[keep], corner[keep]
        inside = (corner >= 0).all(1) & (corner + self.sizes[entry] <= np.array(frames.size)).all(1)
        entry, corner = entry[inside], corner[inside]
        height, width = frames.size
        flat = (entry * height + corner[:, 0]) * width + corner[:, 1]
        if np.bincount(entry, minlength=1).max() > MOST_SPOTS:
            flat, votes = np.unique(flat, return_counts=True)
            flat = flat[_most_voted(flat // (height * width), votes)]
        else:
            flat = np.unique(flat)
        return np.stack([flat // (height * width), flat // width % height, flat % width], 1)

    def _tells(self, hits: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " w"]:
        """Which windows are looked at all over the frame, by what they hit; the others only where the border cuts a pattern.

        Flat ones along a border say little, and so do those that are seen far more often than most of their pattern.
        """
        entry, flat, border = self.windows[:, 0], self.windows[:, 3] == 1, self.windows[:, 4] == 1
        often = np.bincount(hits, minlength=len(self.windows))
        usual = np.full(len(self.sizes), len(hits))
        seen = np.flatnonzero(~border & (often > 0))
        seen = seen[np.lexsort((often[seen], entry[seen]))]
        first = np.searchsorted(entry[seen], np.arange(len(usual) + 1))
        known = np.flatnonzero(first[1:] > first[:-1])
        usual[known] = often[seen[(first[:-1] + first[1:])[known] // 2]]
        return ~(border & flat) & (often <= CROWD + MUCH_OFTENER * usual[entry])

    def _is_cut(self, corner: np.ndarray, entry: np.ndarray, frames: Frames) -> np.ndarray:
        margin = frames.margin
        return ((corner < margin) | (corner + self.sizes[entry] > np.array(frames.size) - margin)).any(1)


def _most_voted(entry: Int64[np.ndarray, " n"], votes: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Of the places of each pattern, in the order of patterns, the `MOST_SPOTS` that most windows hint at, and their equals."""
    order = np.lexsort((-votes, entry))
    first = np.searchsorted(entry, np.arange(entry.max() + 1))
    last = np.minimum(first + MOST_SPOTS, np.append(first[1:], len(entry))) - 1
    least = votes[order[last]]
    # A single window says little where others have more to say.
    crowded = (last - first + 1 == MOST_SPOTS) & (votes[order[np.minimum(first, len(entry) - 1)]] >= SURE_VOTES)
    return np.asarray(votes >= np.where(crowded, np.maximum(least, 2), least)[entry])


def windows_of_frame(frames: Frames, index: int, shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The windows of a frame that show open pixels only: hash; row and column; how far to the left of its corner the run of
    that pixel's colour begins, and how far to the right it ends."""
    key = index, shape
    if key not in frames.lookups:
        is_open, values = frames.was_open[index], frames.packed[index]
        places, hashes = np.zeros((0, 2), np.int64), np.zeros(0, np.uint64)
        runs = np.zeros((2, 0), np.int64)
        rows, columns = np.flatnonzero(is_open.any(1)), np.flatnonzero(is_open.any(0))
        if len(rows):
            window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            inside = all_inside(is_open[window], shape)
            places = np.argwhere(inside)
            hashes = window_hashes(values[window], shape)[inside]
            ways = (slice(None), slice(None, None, -1))
            both = [_in_run(values[window][:, way], is_open[window][:, way])[:, way] for way in ways]
            runs = np.stack([each[places[:, 0], places[:, 1]] for each in both])
            places = places + np.array([rows[0], columns[0]])
        frames.lookups[key] = hashes, places, runs
    return frames.lookups[key]


class HashBank(TemplateBank):
    """Patterns made ready for search by lookup."""

    def __init__(self, patterns: list[HardSprite], frames: Frames, price: PlacementCost) -> None:
        self.patterns, self.price = patterns, price
        self.table = WindowTable([windows_of_pattern(p) for p in patterns], [p.size for p in patterns])
        self.flat = np.array([pattern.is_flat for pattern in patterns], bool)
        self._measure()

    def candidates(self, frames: Frames, index: int) -> Scored:
        return self._fewer(*super().candidates(frames, index), frames.size)

    def spots(self, frames: Frames, index: int) -> Candidates:
        return self.table.spots(frames, index)

    def leftovers(self, frames: Frames, index: int) -> Scored:
        """Where slivers are that no window of their patterns fits in: one pixel of each is held against all of its colour.

        A sliver is a region that is left open: something hides the rest, or the frame's border cuts it off. Of its pixels
        that is taken whose colour patterns show least often.
        """
        found = [np.zeros((0, 3), np.int64)]
        order, colours, firsts, often = self._by_colour
        is_open = frames.kind[index] == OPEN
        if not len(colours) or not is_open.any():
            return found[0], np.zeros(0)
        labels, count = ndimage.label(is_open, np.ones((3, 3)))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        y, x = np.nonzero(is_open & (sizes >= LEAST_CUT)[labels])
        shown = frames.packed[index][y, x]
        which = np.searchsorted(colours, shown).clip(max=len(colours) - 1)
        known = colours[which] == shown
        y, x, which = y[known], x[known], which[known]
        region = labels[y, x]
        rarest = np.lexsort((x, y, often[which], region))
        one = rarest[np.diff(region[rarest], prepend=0) != 0]
        one = one[np.argsort(-sizes[region[one]], kind="stable")]
        one = one[often[which[one]].cumsum() <= MOST_HINTS]
        for row, column, kind in zip(y[one], x[one], which[one], strict=True):
            pixels = order[firsts[kind] : firsts[kind] + often[kind]]
            corners = np.array([row, column]) - self.pixels.inside.corners[pixels]
            found.append(np.concatenate([self.pixels.entries[pixels, None], corners], 1))
        together = np.unique(np.concatenate(found), axis=0)
        ends = together[:, 1:] + self.sizes[together[:, 0]]
        inside = (together[:, 1:] >= 0).all(1) & (ends <= np.array(frames.size)).all(1)
        return self.worth(frames, index, together[inside])

    def _fewer(self, found: Candidates, gain: Float[np.ndarray, " n"], size: Shape) -> Scored:
        """Leave out places of patterns that have too many: what is mostly flat fits a little all over a flat area."""
        keep = np.ones(len(found), bool)
        counts = np.bincount(found[:, 0], minlength=len(self.patterns))
        for entry in np.flatnonzero(counts > CROWD):
            mine = np.flatnonzero(found[:, 0] == entry)
            if self.flat[entry]:
                keep[mine[np.argsort(-gain[mine], kind="stable")[CROWD:]]] = False
            else:
                keep[mine] = _is_peak(found[mine, 1:], gain[mine], size, int(self.sizes[entry].min()) // 4)
        return found[keep], gain[keep]

    @functools.cached_property
    def _by_colour(
        self,
    ) -> tuple[Int64[np.ndarray, " a"], UInt32[np.ndarray, " c"], Int64[np.ndarray, " c"], Int64[np.ndarray, " c"]]:
        """Pixels of patterns that tell where they are, by colour; the colours; where each begins and how often it comes.

        A sliver of one colour fits anywhere in a flat pattern of that colour, and nothing shines through what hides.
        """
        telling = np.flatnonzero((self.pixels.opacity == 1) & ~self.flat[self.pixels.entries])
        order = telling[np.argsort(self.pixels.packed[telling], kind="stable")]
        colours, firsts, often = np.unique(self.pixels.packed[order], return_index=True, return_counts=True)
        return order, colours, firsts, often


def _is_peak(
    corners: Int64[np.ndarray, "n 2"], gain: Float[np.ndarray, " n"], size: Shape, reach: int
) -> Bool[np.ndarray, " n"]:
    """Which places gain no less than all others that are up to `reach` pixels, but 1 at least, away."""
    gains = np.full(size, -np.inf)
    gains[corners[:, 0], corners[:, 1]] = gain
    best = ndimage.maximum_filter(gains, 2 * max(reach, 1) + 1, mode="constant", cval=-np.inf)
    return np.asarray((gains == best)[corners[:, 0], corners[:, 1]])


def bank_of(patterns: list[HardSprite], frames: Frames, price: PlacementCost) -> TemplateBank:
    """Make patterns ready for search: by lookup where colours recur to the bit, else by correlation."""
    return (HashBank if frames.codes.exact else TemplateBank)(patterns, frames, price)


def find_windows(frames: Frames, indices: list[int], colour: np.ndarray, kind: np.ndarray, most: int) -> Spots:
    """Where a patch may be in frames, by up to four of its windows: frame, top and left on padded frames.

    Args:
        frames: Frames under explanation.
        indices: Which of them.
        colour: Of the patch, in [0, 1].
        kind: Of its pixels; windows are of open ones.
        most: Places in one frame, at most.
    """
    patch = HardSprite(colour * (kind == OPEN)[..., None], kind == OPEN)
    windows = [window for window in windows_of_pattern(patch) if not window.border]
    few = [windows[n] for n in np.linspace(0, len(windows) - 1, min(len(windows), 4)).astype(int)]
    table = WindowTable([few], [kind.shape])
    found = [np.zeros((0, 3), np.int64)]
    for index in indices:
        spots = table.spots(frames, index, fresh=True)[:most]
        spots[:, 0] = index
        found.append(spots)
    return np.concatenate(found)

"""Lattices: at what step, and from where, a picture is laid out in tiles.

Each axis is looked at alone first. If rows of pixels are cut where the tiles are, few different pieces come out, because
each tile's row of pixels comes again wherever the tile does, also where it is flipped or upside down; cut elsewhere, each
piece has parts of two tiles. So the step whose number of different pieces falls deepest at one phase is the tiles'. The
best steps of both axes are then tried together, and what is described in the fewest bits wins: its different tiles once,
and for each cell which of them it shows, and how it is turned.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt32, UInt64

from delaminate.matching.tile_cells import Axis, count_orientations, cut_cells, hash_cells, novel_pixels

SIZES = 8, 64  # px, smallest and largest tile
MAX_SPACING = 4  # px of one colour between tiles
AXIS_SAMPLE, AREA_SAMPLE = 240_000, 320_000  # pixels looked at, one axis alone and both together
BAND, PERIOD_ROWS = 16, 64  # rows that are sampled together, and rows in which a period is looked for
STEPS_TRIED, MANY_STEPS = 3, 6  # in large pictures, and in small ones, where chance plays a part
SMALL_AREA = 150_000  # pixels
PIXEL_BITS, TILE_BITS = 10.0, 16.0  # bits of a pixel that its neighbours do not foretell, and of a tile besides
LEAST_SAVED, LEAST_RECURRING, LEAST_NOVEL = 0.2, 10.0, 3  # share, cells, pixels
# Begun elsewhere, a lattice saves at most half as much, or leaves this much more to describe; joined from another cell on,
# larger tiles are more by this many standard deviations of a count.
MOVED, SPECIFIC, CLEARLY = 0.5, 1.15, 1.8
DEARER, SURELY_DEARER = 1.1, 1.2  # times the bits, begun elsewhere: on a lattice, and beyond doubt
MANY_SETTLED = 3  # lattices of a small picture whose phases are all tried
DENSEST = 2.0  # times the median cell's bits
REPEATED, LESS_REPEATED = (
    0.6,
    0.75,
)  # share of pixels that come again after one tile, and less of them after fewer pixels
HARDLY_MORE = 1.15  # times the bits of the best lattice
LONGEST = 3.0  # times as long as wide: what cells are not joined to
LEAST_KEPT = 0.7  # of what cells save, by the larger tiles that they are parts of

ODD = 0x9E3779B97F4A7C15
INVERSE_OF_ODD = pow(ODD, -1, 2**64)


@dataclass(frozen=True)
class Lattice:
    """Tiles of a picture: `rows` along its height, `columns` along its width; `lines` is the colour code of the spacing."""

    rows: Axis
    columns: Axis
    lines: int | None = None


@dataclass(frozen=True)
class _Description:
    """Pictures in bits, the share of bits that tiles save where they are not flat, how many such cells and tiles there are."""

    bits: float
    saved: float
    cells: int
    tiles: int

    @property
    def fresh(self) -> float:
        """Share of cells that are the first to show their tile."""
        return self.tiles / max(self.cells, 1)


def mixed(codes: UInt32[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """Spread colours over 64 bits (the finaliser of SplitMix64)."""
    out = codes.astype(np.uint64) + np.uint64(1)
    out *= np.uint64(0xBF58476D1CE4E5B9)
    out ^= out >> np.uint64(31)
    out *= np.uint64(0x94D049BB133111EB)
    out ^= out >> np.uint64(29)
    return out


def _powers(base: int, count: int) -> UInt64[np.ndarray, " n"]:
    factors = np.full(count, base % 2**64, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


class Pieces:
    """Hashes of all pieces of pixel rows, the same read from either side.

    Args:
        rows: Colour codes; pieces run along the second axis.
    """

    def __init__(self, rows: UInt32[np.ndarray, "R W"]) -> None:
        height, self.width = rows.shape
        values = mixed(rows)
        self.up, self.down = _powers(ODD, self.width + 1), _powers(INVERSE_OF_ODD, self.width + 1)
        self.forward = np.zeros((height, self.width + 1), np.uint64)
        self.backward = np.zeros((height, self.width + 1), np.uint64)
        np.cumsum(values * self.up[: self.width], 1, out=self.forward[:, 1:])
        np.cumsum(values * self.down[: self.width], 1, out=self.backward[:, 1:])

    def keys(self, length: int, count: int) -> UInt64[np.ndarray, "R count"]:
        """Hash the pieces of `length` pixels that begin at the first `count` pixels."""
        ahead = (self.forward[:, length : length + count] - self.forward[:, :count]) * self.down[:count]
        back = (self.backward[:, length : length + count] - self.backward[:, :count]) * self.up[length - 1 :][:count]
        return np.minimum(ahead, back) * np.uint64(ODD)


def _busiest_bands(codes: UInt32[np.ndarray, "H W"], budget: int) -> UInt32[np.ndarray, "R W"]:
    """Pick bands of rows in which most changes, until there are `budget` pixels."""
    height, width = codes.shape
    bands = height // BAND
    wanted = max(budget // (width * BAND), 1)
    if bands <= wanted:
        return codes
    changes = (codes[:, 1:] != codes[:, :-1])[: bands * BAND].reshape(bands, -1).sum(1)
    chosen = np.sort(np.argsort(-changes, kind="stable")[:wanted])
    return codes[: bands * BAND].reshape(bands, BAND, width)[chosen].reshape(-1, width)


def _different_pieces(pieces: Pieces, pitch: int, height: int) -> tuple[Float[np.ndarray, " pitch"], int] | None:
    """Estimate how many different pieces each phase makes (linear counting, Whang et al., 1990), and of how many."""
    count = (pieces.width // pitch - 1) * pitch
    if count < 2 * pitch:
        return None
    number = height * count // pitch
    bits = max(8, math.ceil(math.log2(2 * number)))
    place = (pieces.keys(pitch, count) >> np.uint64(64 - bits)).astype(np.intp)
    place += (np.arange(count) % pitch) << bits
    seen = np.zeros(pitch << bits, bool)
    seen[place] = True
    full = seen.reshape(pitch, -1).sum(1) / (1 << bits)
    return -np.log1p(-np.minimum(full, 0.999)) * (1 << bits), number


@dataclass(frozen=True)
class _Fall:
    """How far, in pieces of all pieces, the number of different ones falls at its sharpest, and the share that is left."""

    axis: Axis
    depth: float
    left: float


def _falls(codes: UInt32[np.ndarray, "H W"], sizes: tuple[int, int]) -> dict[int, _Fall]:
    """For each step along a picture's width, find the phase whose pieces recur, and those beside it do not."""
    rows = _busiest_bands(codes, AXIS_SAMPLE)
    pieces = Pieces(rows)
    found = {}
    for pitch in range(sizes[0], sizes[1] + MAX_SPACING + 1):
        counted = _different_pieces(pieces, pitch, len(rows))
        if counted is None:
            break
        different, number = counted
        # The number also changes slowly with the phase, as other parts of the picture are cut: the fall is a sharp one.
        besides = []
        for aside in (2, max(pitch // 8, 2)):
            besides.append(np.minimum(np.roll(different, aside), np.roll(different, -aside)))
        beside = sum(besides) / len(besides)
        phase = int((beside - different).argmax())
        least, usual = float(different[phase]), max(float(beside[phase]), 1.0)
        found[pitch] = _Fall(Axis(pitch, phase), (usual - least) / number, least / usual)
    return found


def _best_steps(falls: dict[int, _Fall], count: int, sizes: tuple[int, int]) -> dict[Axis, None]:
    """Choose the deepest and the clearest falls, and parts of the deepest."""
    deepest = sorted(falls.values(), key=lambda fall: -fall.depth)[:count]
    clearest = sorted(falls.values(), key=lambda fall: fall.left)[:count]
    chosen = dict.fromkeys(fall.axis for fall in (*deepest, *clearest))
    for axis in [fall.axis for fall in deepest[:1]]:
        for parts in (2, 3):
            if axis.pitch % parts == 0 and axis.pitch // parts >= sizes[0]:
                chosen[Axis(axis.pitch // parts, axis.phase % (axis.pitch // parts))] = None
    return chosen


def _candidates(
    rows: dict[int, _Fall], columns: dict[int, _Fall], count: int, sizes: tuple[int, int]
) -> list[tuple[Axis, Axis]]:
    """Pair the best steps of both axes; where one axis alone knows the step, tiles may still be square."""
    down, across = _best_steps(rows, count, sizes), _best_steps(columns, count, sizes)
    pairs = dict.fromkeys((row, column) for row in down for column in across)
    for pitch in dict.fromkeys(axis.pitch for axis in (*down, *across)):
        if pitch in rows and pitch in columns:
            pairs[rows[pitch].axis, columns[pitch].axis] = None
    return list(pairs)


def _line_candidate(codes: UInt32[np.ndarray, "H W"], sizes: tuple[int, int]) -> tuple[Axis, int] | None:
    """Find columns of one colour at equal steps, 1 to 4 wide: the spacing of a tile sheet, and its colour."""
    plain = np.flatnonzero((codes == codes[:1]).all(0))
    if not len(plain):
        return None
    colours, counts = np.unique(codes[0, plain], return_counts=True)
    colour = int(colours[counts.argmax()])
    plain = plain[codes[0, plain] == colour]
    runs = np.split(plain, np.flatnonzero(np.diff(plain) > 1) + 1)
    inner = [(int(run[0]), len(run)) for run in runs if run[0] > 0 and run[-1] < codes.shape[1] - 1]
    if len(inner) < 2 or len({length for _, length in inner}) > 1 or inner[0][1] > MAX_SPACING:
        return None
    steps = {b - a for (a, _), (b, _) in itertools.pairwise(inner)}
    pitch, spacing = min(steps), inner[0][1]
    if len(steps) > 1 or not sizes[0] <= pitch - spacing <= sizes[1]:
        return None
    return Axis(pitch, (inner[0][0] + spacing) % pitch, spacing), colour


def _entropy(counts: np.ndarray) -> float:
    """Bits to say all of a sequence whose values come so often."""
    counts = counts[counts > 0]
    total = counts.sum()
    return float(-(counts * np.log2(counts / total)).sum()) if total else 0.0


class Sample:
    """A part of pictures, and where they do more than their neighbours foretell."""

    def __init__(self, codes: UInt32[np.ndarray, "N H W"]) -> None:
        self.codes = codes
        drawn = np.zeros(codes.shape, bool)
        drawn[:, 1:, 1:] = (codes[:, 1:, 1:] != codes[:, 1:, :-1]) & (codes[:, 1:, 1:] != codes[:, :-1, 1:])
        drawn[1:] &= codes[1:] != codes[:-1]
        self.drawn = drawn
        self.sums = np.zeros((codes.shape[1] + 1, codes.shape[2] + 1), np.int64)
        np.cumsum(np.cumsum(drawn.sum(0), 0), 1, out=self.sums[1:, 1:])

    def drawn_outside(self, top: int, left: int, bottom: int, right: int) -> int:
        """Count pixels outside a rectangle that differ from their left and from their upper neighbour."""
        bottom, right = min(bottom, self.codes.shape[1]), min(right, self.codes.shape[2])
        inside = self.sums[bottom, right] - self.sums[top, right] - self.sums[bottom, left] + self.sums[top, left]
        return int(self.sums[-1, -1] - inside)

    def period(self, axis: int, sizes: tuple[int, int]) -> int | None:
        """Find after how many pixels along an axis most of what is drawn comes again; None where it does sooner, or never."""
        rows = slice(None, None, max(self.codes.shape[3 - axis] // PERIOD_ROWS, 1))
        codes, drawn = (np.ascontiguousarray(each[0].swapaxes(axis - 1, 1)[rows]) for each in (self.codes, self.drawn))
        least = REPEATED
        for step in range(1, min(sizes[1] + 1, codes.shape[1] // 2)):
            here = drawn[:, :-step]
            again = float((here & (codes[:, step:] == codes[:, :-step])).sum() / max(here.sum(), 1))
            if again >= least:
                return step if step >= sizes[0] else None
            least = max(least, again / LESS_REPEATED)
        return None


def describe(sample: Sample, lattice: Lattice) -> _Description:
    """Count the bits of pictures as tiles and cells; what the border cuts is told pixel by pixel.

    A cell that shows what it showed in an earlier picture costs nothing and counts for nothing.
    """
    cells, (number, rows, columns) = cut_cells(sample.codes, lattice.rows, lattice.columns)
    if not len(cells):
        return _Description(math.inf, 0.0, 0, 0)
    shape = (lattice.rows.size, lattice.columns.size)
    hashes, orientation = hash_cells(cells, shape)
    if number > 1:
        place = np.tile(np.arange(rows * columns), number)
        _, first = np.unique(np.stack([place, hashes.view(np.int64), orientation]), axis=1, return_index=True)
        cells, hashes, orientation = cells[first], hashes[first], orientation[first]
    _, first, which, counts = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    novel = novel_pixels(cells[first].reshape(-1, *shape))
    own = np.where(novel >= LEAST_NOVEL, TILE_BITS + PIXEL_BITS * novel, 0.0)
    busy = own > 0
    turned = _entropy(count_orientations(orientation[busy[which]]))
    bits = float(own.sum() + TILE_BITS * (~busy).sum()) + _entropy(counts) + turned
    # What is drawn most densely, as sprites before the map are, must not outweigh the cells.
    usual = float(np.median(np.repeat(own[busy], counts[busy]))) if busy.any() else 0.0
    weight = np.minimum(own, DENSEST * usual)
    plain = float((weight * counts).sum())
    described = float(weight.sum()) + _entropy(counts[busy]) + turned
    top, left = lattice.rows.phase % lattice.rows.pitch, lattice.columns.phase % lattice.columns.pitch
    bits += PIXEL_BITS * sample.drawn_outside(
        top, left, top + rows * lattice.rows.pitch, left + columns * lattice.columns.pitch
    )
    return _Description(bits, 1 - described / plain if plain else 0.0, int(counts[busy].sum()), int(busy.sum()))


def _shifted(axis: Axis, by: int) -> Axis:
    return Axis(axis.pitch, (axis.phase + by) % axis.pitch, axis.spacing)


def _elsewhere(lattice: Lattice, steps: tuple[int, int]) -> Iterator[Lattice]:
    """The same lattice, begun `steps` of pixels further down, or to the right, as often as there are."""
    for by in range(steps[0], lattice.rows.pitch, steps[0]):
        yield Lattice(_shifted(lattice.rows, by), lattice.columns)
    for by in range(steps[1], lattice.columns.pitch, steps[1]):
        yield Lattice(lattice.rows, _shifted(lattice.columns, by))


def _moved_by_half(lattice: Lattice) -> Iterator[Lattice]:
    """The lattice, begun half a tile further down, and to the right."""
    return _elsewhere(lattice, (lattice.rows.pitch // 2, lattice.columns.pitch // 2))


def _begun_better(sample: Sample, lattice: Lattice) -> Lattice:
    """Begin a lattice half a tile further down, or to the right, where that takes fewer bits."""
    bits = describe(sample, lattice).bits
    for down, right in ((lattice.rows.pitch // 2, 0), (0, lattice.columns.pitch // 2)):
        other = Lattice(_shifted(lattice.rows, down), _shifted(lattice.columns, right))
        told = describe(sample, other).bits
        if told < bits:
            lattice, bits = other, told
    return lattice


def _is_specific(sample: Sample, lattice: Lattice, found: _Description, least: int) -> bool:
    """Say whether a lattice saves clearly less, or leaves clearly more, where it begins half a tile further on.

    Where it does not, tiles may be made of halves, as those of many consoles are, that lie on such a lattice themselves.
    """
    for other in _moved_by_half(lattice):
        moved = describe(sample, other)
        alike = 1 - moved.saved < SPECIFIC * (1 - found.saved) and moved.saved > MOVED * found.saved
        if alike and moved.bits < DEARER * found.bits:
            halves = _halved(lattice, least)
            return halves != lattice and _is_specific(sample, halves, describe(sample, halves), least)
    return True


def _halved(lattice: Lattice, least: int) -> Lattice:
    """The lattice of halves of tiles, along the sides that have halves of whole pixels, no smaller than the least."""
    axes = []
    for axis in (lattice.rows, lattice.columns):
        half = axis.pitch // 2
        axes.append(Axis(half, axis.phase % half) if axis.spacing == 0 == axis.pitch % 2 and half >= least else axis)
    return Lattice(axes[0], axes[1])


def _joins(sample: Sample, small: Lattice, large: Lattice, found: _Description) -> bool:
    """Say whether larger tiles are what cells belong together in: from another cell on there are clearly more of them."""
    for other in _elsewhere(large, (small.rows.pitch, small.columns.pitch)):
        fresh = describe(sample, other).fresh
        if (fresh - found.fresh) * found.cells < CLEARLY * math.sqrt(fresh * found.cells):
            return False
    return True


def _settled(sample: Sample, lattice: Lattice) -> Lattice:
    """Try every phase of the rows, then of the columns."""

    def bits(each: Lattice) -> float:
        return describe(sample, each).bits

    lattice = min((replace(lattice, rows=_shifted(lattice.rows, by)) for by in range(lattice.rows.pitch)), key=bits)
    columns = (_shifted(lattice.columns, by) for by in range(lattice.columns.pitch))
    lattice = min((replace(lattice, columns=axis) for axis in columns), key=bits)
    return lattice


def _busiest_window(codes: UInt32[np.ndarray, "N H W"], budget: int) -> tuple[slice, slice]:
    """Choose the part in which most changes, of about `budget` pixels."""
    number, height, width = codes.shape
    share = min(1.0, math.sqrt(budget / (number * height * width)))
    tall = min(height, max(int(height * share), 4 * SIZES[1]))
    wide = min(width, max(int(width * share), 4 * SIZES[1]))
    thin = codes[:1, ::8]
    changes = (thin[..., 1:] != thin[..., :-1]).sum(0)
    best, window = -1, (slice(0, tall), slice(0, wide))
    for top in np.unique(np.linspace(0, height - tall, 4).astype(int)).tolist():
        for left in np.unique(np.linspace(0, width - wide, 4).astype(int)).tolist():
            count = int(changes[top // 8 : (top + tall) // 8, left : left + wide].sum())
            if count > best:
                best, window = count, (slice(top, top + tall), slice(left, left + wide))
    return window


def _is_part(small: Axis, large: Axis) -> bool:
    return large.pitch % small.pitch == 0 and (large.phase - small.phase) % small.pitch == 0


def _is_square(lattice: Lattice) -> bool:
    return lattice.rows.pitch == lattice.columns.pitch


def _length(lattice: Lattice) -> float:
    """How many times as long as wide tiles are, whichever way round."""
    sides = lattice.rows.pitch, lattice.columns.pitch
    return max(sides) / min(sides)


def _best_of(
    sample: Sample, tried: Sequence[Lattice], periods: tuple[int | None, int | None], sizes: tuple[int, int]
) -> Lattice | None:
    """Choose the lattice that takes the fewest bits, then the largest tiles of which its cells are parts.

    Most tiles are square, so that a square is taken where it takes hardly more bits than the best.
    Tiles that are symmetric, or that share parts, are still whole tiles: cells belong together where joining them keeps
    most of what recurs, and joining them from the next cell on does not.
    """
    found = sorted(((lattice, describe(sample, lattice)) for lattice in tried), key=lambda each: each[1].bits)
    likely = [each for each in found if each[1].saved >= LEAST_SAVED / 2]
    settled = MANY_SETTLED if sample.codes.size <= SMALL_AREA else int(sample.codes.size <= 2 * AREA_SAMPLE)
    for lattice, _ in likely[:settled]:
        sides = lattice.rows.pitch, lattice.columns.pitch
        squares = [Lattice(Axis(side, lattice.rows.phase), Axis(side, lattice.columns.phase)) for side in sides]
        for each in dict.fromkeys([lattice, *(squares if sample.codes.size <= AREA_SAMPLE else [])]):
            better = _settled(sample, each)
            found.append((better, describe(sample, better)))
    found = [
        each for each in found if each[1].saved >= LEAST_SAVED and each[1].saved * each[1].cells >= LEAST_RECURRING
    ]
    if not found:
        return None
    lattice, best = min(found, key=lambda each: each[1].bits)
    square = [each for each in found if _is_square(each[0]) and each[1].bits <= HARDLY_MORE * best.bits]
    lattice, best = min(square or [(lattice, best)], key=lambda each: each[1].bits)
    lattice = _begun_better(sample, lattice)
    best = describe(sample, lattice)
    if not _is_specific(sample, lattice, best, sizes[0]):
        # A row of one tile again and again may begin anywhere.
        alike = periods[0] == lattice.rows.pitch or periods[1] == lattice.columns.pitch
        return lattice if alike and best.saved >= REPEATED else None
    for larger, described in sorted(found, key=lambda each: -each[0].rows.pitch * each[0].columns.pitch):
        parts = _is_part(lattice.rows, larger.rows) and _is_part(lattice.columns, larger.columns)
        if larger == lattice or not parts or described.saved < LEAST_KEPT * best.saved:
            continue
        if _length(larger) >= max(_length(lattice), LONGEST) and _length(larger) > _length(lattice):
            continue
        if _joins(sample, lattice, larger, described):
            return larger
    return lattice


def _periodic(
    periods: tuple[int | None, int | None], rows: dict[int, _Fall], columns: dict[int, _Fall], begins: tuple[int, int]
) -> list[Lattice]:
    """Lattices of pictures that repeat exactly along an axis, where no phase is better than another."""
    found = []
    for period in {period for period in periods if period}:
        down = [Axis(period, 0), *([rows[period].axis] if period in rows else [])]
        across = [Axis(period, 0), *([columns[period].axis] if period in columns else [])]
        found += [Lattice(_shifted(row, -begins[0]), _shifted(column, -begins[1])) for row in down for column in across]
    return found


def find_lattice(codes: UInt32[np.ndarray, "N H W"], sizes: tuple[int, int] = SIZES) -> Lattice | None:
    """Find the lattice that all pictures share, or None where they are not laid out in tiles.

    Args:
        codes: Colour codes; pictures that show the same from the same place, such as frames of a camera at rest.
        sizes: Smallest and largest side of a tile in pixels.
    """
    busiest = codes[0] if len(codes) == 1 else codes.reshape(-1, codes.shape[2])
    upright = codes[0] if len(codes) == 1 else codes.transpose(1, 0, 2).reshape(codes.shape[1], -1)
    lines = _line_candidate(busiest, sizes), _line_candidate(np.ascontiguousarray(upright.T), sizes)
    if lines[0] and lines[1] and lines[0][1] == lines[1][1]:
        return Lattice(lines[1][0], lines[0][0], lines[0][1])
    columns, rows = _falls(busiest, sizes), _falls(np.ascontiguousarray(upright.T), sizes)
    many = MANY_STEPS if codes.size <= SMALL_AREA else STEPS_TRIED
    for budget, count in ((AREA_SAMPLE, many), (codes.size, 1)):
        window = _busiest_window(codes, budget)
        sample = Sample(np.ascontiguousarray(codes[:, window[0], window[1]]))
        begins = window[0].start, window[1].start
        tried = [
            Lattice(_shifted(row, -begins[0]), _shifted(column, -begins[1]))
            for row, column in _candidates(rows, columns, count, sizes)
        ]
        periods = sample.period(1, sizes), sample.period(2, sizes)
        tried += _periodic(periods, rows, columns, begins)
        lattice = _best_of(sample, tried, periods, sizes)
        if lattice is not None:
            found = Lattice(_shifted(lattice.rows, begins[0]), _shifted(lattice.columns, begins[1]))
            bits = SURELY_DEARER * describe(sample, lattice).bits
            if all(describe(sample, other).bits > bits for other in _moved_by_half(lattice)):
                return found
            return _begun_better(Sample(codes), found)  # a part of the picture has not told
        if budget >= codes.size:
            break
    return None

"""Find where patterns occur in a frame, which of them hides which, and stop when nothing more pays for itself.

Candidates are the local maxima of the estimated gain; they are taken best first, each valued again by the pixels that are
still open (lazily: values only fall). What a pattern matches is closed, so what it hides costs nothing to those behind.
Who is in front is read off the pixels where two placements disagree.
"""

import heapq
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32, Int64
from scipy import ndimage
from torch import Tensor

from delaminate.matching.boxes import touching
from delaminate.matching.exact.fitting import Candidates, PatternPixels
from delaminate.matching.exact.reading import GlyphReader
from delaminate.matching.exact.templates import (
    OPEN,
    Frames,
    HardSprite,
    Spectra,
    TemplateCorrelator,
    templates,
)

LEAST_CUT = 4.0
"""Pixels that a pattern must explain where the border cuts it, at least."""
SNUG = 0.02
"""Bonus for each pixel around a pattern that is not open: among equal places, the one that leaves no crumbs."""
MOST = 5_000
"""Candidates of a frame that are looked at closely, at most, for each pattern."""
BEST = 256
"""Candidates that are compared with each other at a time: the best ones."""
TIE = 1e-8
"""By how much a candidate is worse than the one before it; far less than any difference between gains."""
SLACK = 0.6
"""Estimated gains above this share of the price are looked at closely; codes are not exact."""
MOST_KNOWN, MOST_PLACES = 2**16, 500
"""Places of so many patterns in single frames are remembered, at most; not of those that have more than this."""
ROOM = 16
"""Room around frames in which templates hang over the border is a multiple of so many pixels: few sizes of transforms."""

Scored = tuple[Int64[np.ndarray, "m 3"], Float[np.ndarray, " m"]]
"""Candidates, and what each gains."""


@dataclass(frozen=True)
class Occurrence:
    """One occurrence: which pattern, and its corner on the unpadded frame in pixels."""

    entry: int
    top: int
    left: int


@dataclass(frozen=True)
class PlacementCost:
    """What a placement must gain to be worth its description.

    Attributes:
        pixels: Matched pixels, at least.
        share: Share of the pattern's area, at least; an occurrence cut by the border or hidden has less.
        misfit: Share of the open pixels it covers that it may fail to match, at most.
        cut: Where the frame's border cuts a pattern, this share of what is left of it will do, but 4 pixels at least.
        slivers: At last, also look where no window of a pattern fits into what is left open.
    """

    pixels: float = 8.0
    share: float = 0.1
    misfit: float = 0.6
    cut: float = 0.6
    slivers: bool = True

    def of(self, pattern: HardSprite) -> float:
        return min(max(self.pixels, self.share * pattern.area), 0.6 * pattern.area)


@dataclass(frozen=True, eq=False)
class _Template:
    """A pattern made ready for correlation.

    Attributes:
        correlator: Correlates the window with the pattern.
        least: By row and by column, from which estimate on places are looked at; lower where the border cuts the pattern.
        window: Rows and columns of the padded frame in which it may be: of the margin no more than it covers.
        size: Of that window.
    """

    correlator: TemplateCorrelator
    least: tuple[Float[Tensor, "1 Y 1"], Float[Tensor, "1 1 X"]]
    window: tuple[slice, slice]
    size: tuple[int, int]

    @classmethod
    def of(cls, pattern: HardSprite, price: float, frames: Frames) -> "_Template":
        margin, windows, leasts = frames.margin, [], []
        for side, length in zip(pattern.size, frames.size, strict=True):
            room = min(-(-side // ROOM) * ROOM, margin)
            window = slice(margin - room, length - margin + room)
            place = torch.arange(window.start, window.stop - side + 1)
            cut = (place < margin) | (place + side > length - margin)
            leasts.append(torch.where(cut, min(SLACK * price, SLACK * LEAST_CUT), SLACK * price))
            windows.append(window)
        size = windows[0].stop - windows[0].start, windows[1].stop - windows[1].start
        bank = templates([pattern], frames.codes, frames.background)
        least = leasts[0][None, :, None], leasts[1][None, None]
        return cls(TemplateCorrelator(bank, size), least, (windows[0], windows[1]), size)


class TemplateBank:
    """Patterns made ready for search: all their pixels, and templates where they are needed."""

    rounds = 3
    """How often a frame is gone through: what has been explained may let others show."""

    def __init__(self, patterns: list[HardSprite], frames: Frames, price: PlacementCost) -> None:
        self.patterns, self.price = patterns, price
        # What is larger than the frames is nowhere in them.
        self.able = [
            k for k, p in enumerate(patterns) if p.area and p.opacity == 1 and (np.array(p.size) <= frames.size).all()
        ]
        self._templates: dict[tuple[int, tuple[int, int]], _Template] = {}
        self._measure()

    def _measure(self) -> None:
        patterns = self.patterns
        self._last: tuple[Frames, int, Candidates] | None = None
        self.pixels = PatternPixels(patterns)
        self.sizes = np.array([p.size for p in patterns], np.int64).reshape(-1, 2)
        self.areas = np.array([p.area for p in patterns], np.int64)
        self.prices = np.array([self.price.of(p) for p in patterns], np.float64)
        # Sums of alpha from the corner, to count what a border leaves.
        sums = [np.pad(p.alpha.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0))) for p in patterns]
        self.sums = np.concatenate([*(each.ravel() for each in sums), np.zeros(0, np.int64)])
        lengths = np.array([each.size for each in sums], np.int64)
        self.first_sums = lengths.cumsum() - lengths

    def prices_at(self, frames: Frames, candidates: Candidates) -> Float[np.ndarray, " n"]:
        """What patterns must gain at some places on padded frames: less where the border cuts them."""
        entry, corner, margin = candidates[:, 0], candidates[:, 1:], frames.margin
        prices, sizes = self.prices[entry], self.sizes[entry]
        first = (margin - corner).clip(0, sizes)
        last = (np.array(frames.size) - margin - corner).clip(0, sizes)
        is_cut = np.flatnonzero(((first > 0) | (last < sizes)).any(1))
        if len(is_cut) == 0:
            return prices
        entry, first, last = entry[is_cut], first[is_cut], last[is_cut]

        def total(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
            return np.asarray(self.sums[self.first_sums[entry] + rows * (self.sizes[entry, 1] + 1) + columns])

        visible = total(last[:, 0], last[:, 1]) - total(first[:, 0], last[:, 1])
        visible -= total(last[:, 0], first[:, 1]) - total(first[:, 0], first[:, 1])
        cut = np.minimum(np.maximum(LEAST_CUT, self.price.cut * visible), self.prices[entry])
        prices[is_cut] = np.where(visible < self.areas[entry], cut, self.prices[entry])
        return prices

    def worth(self, frames: Frames, index: int, candidates: Candidates) -> Scored:
        """Those of some places, on a padded frame, whose gain is worth its price; with that gain."""
        gain, is_good, _ = self.weighed(frames, index, candidates)
        return candidates[is_good], gain[is_good]

    def weighed(
        self, frames: Frames, index: int, candidates: Candidates
    ) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """What some places, on a padded frame, gain; whether that is worth its price; and whether it may ever be."""
        gain, misfit, hits = self.pixels.fit(frames, index, candidates)
        prices = self.prices_at(frames, candidates)
        return gain, (gain >= prices) & (misfit <= self.price.misfit), hits >= prices

    def candidates(self, frames: Frames, index: int) -> Scored:
        """Places whose gain is worth its price as things stand, with that gain."""
        if self._last is None or self._last[0] is not frames or self._last[1] != index:
            self._last = frames, index, self.spots(frames, index)  # frames are gone through one by one
        places = np.concatenate([self._last[2], self.translucent(frames, index)])
        gain, is_good, may_be = self.weighed(frames, index, places)
        # Open pixels never become more: what matches too few of them is not looked at again.
        count = len(self._last[2])
        self._last = frames, index, places[:count][may_be[:count]]
        return places[is_good], gain[is_good]

    def spots(self, frames: Frames, index: int) -> Candidates:
        """Places at which enough of a frame's pixels match a pattern, were it only for these."""
        found = self._places(frames, index, self.able)
        entries = np.repeat(np.array(self.able, np.int64), [len(each) for each in found])
        return np.concatenate([entries[:, None], np.concatenate([np.zeros((0, 2), np.int64), *found])], 1)

    def _places(self, frames: Frames, index: int, entries: list[int]) -> list[Int64[np.ndarray, "_ 2"]]:
        """Places of some patterns, each on its own.

        They are looked for once for each frame and pattern, with nothing explained, whatever is explained now; and not again
        in what is cut out of a frame. Of copies of one pattern that are a pixel apart, one is found.
        """
        price = self.price.pixels, self.price.share, self.price.cut
        keys = {k: (index, self.patterns[k].exact_key, price) for k in entries}
        known = {k: frames.spots[keys[k]] for k in entries if keys[k] in frames.spots}
        missing = [k for k in entries if k not in known]
        if missing and frames.whole is not None:
            whole, corners = frames.whole
            number, *corner = corners[index].tolist()
            for k, places in zip(missing, self._places(whole, number, missing), strict=True):
                places, last = places - np.array(corner), np.array(frames.size) - self.sizes[k]
                inner = (places + self.sizes[k] > frames.margin) & (places < np.array(frames.size) - frames.margin)
                known[k] = places[((places >= 0) & (places <= last) & inner).all(1)]
        elif missing:
            found = self._correlated(frames, index, missing)
            known |= {k: found[found[:, 0] == k, 1:] for k in missing}
        for k in missing:
            if len(frames.spots) < MOST_KNOWN and len(known[k]) <= MOST_PLACES:
                frames.spots[keys[k]] = known[k]
        return [known[k] for k in entries]

    def _correlated(self, frames: Frames, index: int, entries: list[int]) -> Candidates:
        """Places to which correlation points, and at which enough pixels match."""
        maps, found = frames.first_maps(index)[:, :-1], [np.zeros((0, 3), np.int64)]
        shared: dict[tuple[int, int], Spectra] = {}
        for k in entries:
            key = k, frames.size
            if key not in self._templates:
                self._templates[key] = _Template.of(self.patterns[k], float(self.prices[k]), frames)
            template = self._templates[key]
            if template.size not in shared:
                shared[template.size] = frames.first_spectra(index, template.size)
            places, value = template.correlator.peaks(
                maps[:, :, *template.window], *template.least, reach=1, shared=shared[template.size]
            )
            if len(places) > MOST:
                places = places[np.argsort(-value, kind="stable")[:MOST]]
            found.append(places + np.array([k, template.window[0].start, template.window[1].start]))
        together = np.concatenate(found)
        return together[self.weighed(frames.at_first(), index, together)[2]]

    def leftovers(self, frames: Frames, index: int) -> Scored:
        """Places that what is left open hints at, of those that `candidates` misses; none where colours do not recur."""
        return np.zeros((0, 3), np.int64), np.zeros(0)

    def translucent(self, frames: Frames, index: int) -> Candidates:
        """Places for patterns that let the background shine through: where an open region of about their size is."""
        mine = [k for k, pattern in enumerate(self.patterns) if pattern.opacity < 1 and pattern.area]
        found = [np.zeros((0, 3), np.int64)]
        if not mine:
            return found[0]
        is_open = frames.kind[index] == OPEN
        labels, _ = ndimage.label(ndimage.binary_dilation(is_open, np.ones((3, 3))), np.ones((3, 3)))
        windows = ndimage.find_objects(labels * is_open)
        boxes = np.array([[y.start, x.start, y.stop, x.stop] for y, x in windows], np.int64).reshape(-1, 4)
        nudges = np.array([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)])
        for k in mine:
            size = np.array(self.patterns[k].size)
            near = boxes[((boxes[:, 2:] - boxes[:, :2]) <= size + 2).all(1)]
            # Corner on corner: the border, or something in front, may hide what is at the other corners.
            corners = [near[:, :2], near[:, 2:] - size]
            corners += [
                np.stack([near[:, 0], near[:, 3] - size[1]], 1),
                np.stack([near[:, 2] - size[0], near[:, 1]], 1),
            ]
            spots = (np.concatenate(corners)[:, None] + nudges).reshape(-1, 2)
            spots = np.unique(spots[(spots >= 0).all(1) & (spots + size <= np.array(frames.size)).all(1)], axis=0)
            found.append(np.pad(spots, ((0, 0), (1, 0)), constant_values=k))
        return np.concatenate(found)


class ComponentBank(TemplateBank):
    """Patterns that are looked for only where connected regions are like them, or where these touch: letters on a page.

    Frames are gone through once: what is left of an explained region, such as a frayed edge, is no region.
    """

    rounds = 1

    def __init__(self, patterns: list[HardSprite], frames: Frames, price: PlacementCost) -> None:
        self.patterns, self.price = patterns, price
        self.known = [k for k, pattern in enumerate(patterns) if pattern.area]
        self.reader = GlyphReader([patterns[k].alpha for k in self.known])
        self._measure()

    def candidates(self, frames: Frames, index: int) -> Scored:
        found = [(self.known[each.entry], each.top, each.left) for each in self.reader.read(frames, index)]
        return self.worth(frames, index, np.array(found, np.int64).reshape(-1, 3))


def find(frames: Frames, index: int, bank: TemplateBank, rounds: int | None = None) -> list[Occurrence]:
    """Find the occurrences of patterns in one frame, in as many rounds as the bank says, then slivers; closes what they match.

    Returns:
        Places from front to back.
    """
    taken: list[Occurrence] = []
    for _ in range(rounds or bank.rounds):
        chosen = _choose(frames, index, bank, *bank.candidates(frames, index))
        if len(chosen) == 0:
            break
        taken += _occurrences(chosen, frames)
    if bank.price.slivers:
        taken += _occurrences(_choose(frames, index, bank, *bank.leftovers(frames, index)), frames)
    return order(frames, index, bank.patterns, taken)


def _occurrences(chosen: Candidates, frames: Frames) -> list[Occurrence]:
    return [Occurrence(k, y - frames.margin, x - frames.margin) for k, y, x in chosen.tolist()]


def _choose(
    frames: Frames, index: int, bank: TemplateBank, candidates: Candidates, gain: Float[np.ndarray, " n"]
) -> Int64[np.ndarray, "m 3"]:
    """Take candidates best first, each by what is still open then; closes what they match.

    Of the best ones, those that no better one overlaps are taken together, as one after the other would be. (Locally
    dominant weights; Preis, 1999)
    """
    pixels, count = bank.pixels, len(candidates)
    # Of equal ones, the first: what stands in rows is taken from one end.
    tie = TIE * np.arange(count)
    value = gain + SNUG * pixels.snug(frames, index, candidates) - tie
    prices = bank.prices_at(frames, candidates)
    first = candidates[:, 1:].astype(np.int32)
    last = first + bank.sizes[candidates[:, 0]].astype(np.int32)
    left, is_good = np.ones(count, bool), np.ones(count, bool)
    chosen = [candidates[:0]]
    while is_good.any():
        best = np.flatnonzero(is_good)
        if len(best) > BEST:
            best = best[np.argpartition(-value[best], BEST)[:BEST]]
        best = best[np.argsort(-value[best], kind="stable")]
        overlap = _meeting(first[best], last[best], first[best], last[best], gap=-1)
        take = best[~np.tril(overlap, -1).any(1)]
        pixels.close(frames, index, candidates[take])
        chosen.append(candidates[take])
        left[take] = is_good[take] = False
        again = np.flatnonzero(left)
        again = again[_meeting(first[again], last[again], first[take], last[take], gap=0).any(1)]
        gains, misfit, hits = pixels.fit(frames, index, candidates[again])
        value[again] = gains + SNUG * pixels.snug(frames, index, candidates[again]) - tie[again]
        is_good[again] = (gains >= prices[again]) & (misfit <= bank.price.misfit)
        left[again[hits < prices[again]]] = False  # open pixels never become more
    return np.concatenate(chosen)


def _meeting(
    first: Int32[np.ndarray, "n 2"],
    last: Int32[np.ndarray, "n 2"],
    other_first: Int32[np.ndarray, "m 2"],
    other_last: Int32[np.ndarray, "m 2"],
    gap: int,
) -> Bool[np.ndarray, "n m"]:
    """Which boxes are at most a gap apart from which others, as `touching` says: they touch, or at -1 overlap."""
    meet = np.ones((len(first), len(other_first)), bool)
    for axis in (0, 1):
        meet &= first[:, None, axis] <= other_last[None, :, axis] + gap
        meet &= other_first[None, :, axis] <= last[:, None, axis] + gap
    return meet


def boxes_of(patterns: list[HardSprite], places: list[Occurrence]) -> Int64[np.ndarray, "n 4"]:
    """Top, left, bottom and right of places, in pixels."""
    sizes = [patterns[place.entry].size for place in places]
    rows = [(p.top, p.left, p.top + h, p.left + w) for p, (h, w) in zip(places, sizes, strict=True)]
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def order(frames: Frames, index: int, patterns: list[HardSprite], places: list[Occurrence]) -> list[Occurrence]:
    """Sort places front to back: of two that overlap, the one that the pixels show where they differ is in front.

    Where nothing tells, the one found earlier is in front. Cycles are cut where the evidence is weakest in sum.
    """
    votes: dict[tuple[int, int], int] = {}
    boxes = boxes_of(patterns, places)
    matches = {}
    margin = frames.margin
    one, other = touching(boxes[:, :2], boxes[:, 2:])
    later = one > other
    for i, j in zip(one[later].tolist(), other[later].tolist(), strict=True):
        first, last = np.maximum(boxes[i, :2], boxes[j, :2]), np.minimum(boxes[i, 2:], boxes[j, 2:])
        if not (first < last).all():
            continue
        cut = []
        for a in (i, j):
            if a not in matches:
                pattern = patterns[places[a].entry]
                window = (
                    slice(boxes[a, 0] + margin, boxes[a, 2] + margin),
                    slice(boxes[a, 1] + margin, boxes[a, 3] + margin),
                )
                matches[a] = frames.shows(index, window, pattern) & pattern.alpha
            rows = slice(first[0] - boxes[a, 0], last[0] - boxes[a, 0])
            columns = slice(first[1] - boxes[a, 1], last[1] - boxes[a, 1])
            cut.append((patterns[places[a].entry].alpha[rows, columns], matches[a][rows, columns]))
        both = cut[0][0] & cut[1][0]
        if both.any():
            mine, theirs = int((both & cut[0][1] & ~cut[1][1]).sum()), int((both & cut[1][1] & ~cut[0][1]).sum())
            if mine > theirs:
                votes[i, j] = mine - theirs
            else:
                votes[j, i] = max(theirs - mine, 1)
    return [places[i] for i in _sorted_by_votes(len(places), votes)]


def _sorted_by_votes(count: int, votes: dict[tuple[int, int], int]) -> list[int]:
    """Numbers in an order in which few votes (front, back) are broken: those that least hides come first, then the others."""
    hidden_by = [0] * count
    behind: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for (front, back), weight in votes.items():
        hidden_by[back] += weight
        behind[front].append((back, weight))
    heap = [(weight, i) for i, weight in enumerate(hidden_by)]
    heapq.heapify(heap)
    done, result = [False] * count, []
    while heap:
        weight, i = heapq.heappop(heap)
        if done[i] or weight != hidden_by[i]:
            continue
        done[i] = True
        result.append(i)
        for back, less in behind[i]:
            if not done[back]:
                hidden_by[back] -= less
                heapq.heappush(heap, (hidden_by[back], back))
    return result

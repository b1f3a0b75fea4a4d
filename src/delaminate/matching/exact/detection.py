"""Find where patterns occur in a frame, which of them hides which, and stop when nothing more pays for itself.

Candidates are the local maxima of the estimated gain; they are taken best first, each valued again by the pixels that are
still open (lazily: values only fall). What a pattern matches is closed, so what it hides costs nothing to those behind.
Who is in front is read off the pixels where two placements disagree.
"""

import heapq
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from torch import Tensor

from delaminate.matching.exact.reading import GlyphReader
from delaminate.matching.exact.templates import (
    BACKGROUND,
    CLOSED,
    MISFIT,
    OPEN,
    Frames,
    HardSprite,
    Spectra,
    Spots,
    TemplateCorrelator,
    templates,
)

LEAST_CUT = 4.0
"""Pixels that a pattern must explain where the border cuts it, at least."""
SNUG = 0.02
"""Bonus for each pixel around a pattern that is not open: among equal places, the one that leaves no crumbs."""
MOST = 5_000
"""Candidates of a frame that are looked at closely, at most, for each group of patterns."""
BLOCK = 16
"""Side of the blocks, in pixels, for which it is noted when something in them was explained last."""
SLACK = 0.6
"""Estimated gains above this share of the price are looked at closely; codes are not exact."""


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
    """

    pixels: float = 8.0
    share: float = 0.1
    misfit: float = 0.6
    cut: float = 0.6

    def of(self, pattern: HardSprite) -> float:
        return min(max(self.pixels, self.share * pattern.area), 0.6 * pattern.area)


class TemplateBank:
    """Patterns made ready for search: templates by size, and the rings around them."""

    rounds = 3
    """How often a frame is gone through: what has been explained may let others show."""

    def __init__(self, patterns: list[HardSprite], frames: Frames, price: PlacementCost) -> None:
        self.patterns, self.price = patterns, price
        self.groups: list[tuple[list[int], TemplateCorrelator]] = []
        # Patterns of about one size share a correlation.
        rest = sorted(
            (k for k, p in enumerate(patterns) if p.area and p.opacity == 1), key=lambda k: max(patterns[k].size)
        )
        while rest:
            limit = max(max(patterns[rest[0]].size) * 1.3, 8)
            group = [k for k in rest if max(patterns[k].size) <= limit][:64]
            rest = [k for k in rest if k not in set(group)]
            self.groups.append(
                (
                    group,
                    TemplateCorrelator(
                        templates([patterns[k] for k in group], frames.codes, frames.background), frames.size
                    ),
                )
            )
        self._measure()

    def _measure(self) -> None:
        self.rings = [ring_of(p.alpha) for p in self.patterns]
        self.rims = [int(ring.sum()) for ring in self.rings]
        self.prices = [self.price.of(p) for p in self.patterns]
        # Sums of alpha from the corner, to count what a border leaves.
        self.sums = [np.pad(p.alpha.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0))) for p in self.patterns]

    def prices_at(self, frames: Frames, k: int, spots: Spots) -> np.ndarray:
        """What a pattern must gain at each of some places on padded frames: less where the border cuts it."""
        (h, w), margin, (high, wide) = self.patterns[k].size, frames.margin, frames.size
        top, left = (margin - spots[:, 1]).clip(0, h), (margin - spots[:, 2]).clip(0, w)
        bottom, right = (high - margin - spots[:, 1]).clip(0, h), (wide - margin - spots[:, 2]).clip(0, w)
        total = self.sums[k]
        visible = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        cut = np.maximum(LEAST_CUT, self.price.cut * visible)
        return np.where(visible < self.patterns[k].area, np.minimum(cut, self.prices[k]), self.prices[k])

    def worth(self, frames: Frames, k: int, spots: Spots) -> list[tuple[float, Occurrence]]:
        """Those of some places of a pattern, on padded frames, whose gain is worth its price; with that gain."""
        gain, misfit = fits(frames, spots, self.patterns[k])
        good = (gain >= self.prices_at(frames, k, spots)) & (misfit <= self.price.misfit)
        corners = spots[good, 1:] - frames.margin
        return [(each, Occurrence(k, y, x)) for each, (y, x) in zip(gain[good].tolist(), corners.tolist(), strict=True)]

    def candidates(self, frames: Frames, index: int) -> list[tuple[float, Occurrence]]:
        """Places whose gain is worth its price as things stand, with that gain."""
        maps = frames.maps(index)
        shared: Spectra = {}
        found = []
        for group, correlator in self.groups:
            places, value = correlator.peaks(maps, *self._least(group, frames), reach=1, shared=shared)
            if len(places) > MOST:
                places = places[np.argsort(-value, kind="stable")[:MOST]]
            for n in np.unique(places[:, 0]):
                spots = places[places[:, 0] == n]
                spots[:, 0] = index
                found += self.worth(frames, group[n], spots)
        return found + self.translucent(frames, index)

    def translucent(self, frames: Frames, index: int) -> list[tuple[float, Occurrence]]:
        """Places of patterns that let the background shine through: where an open region of about their size is."""
        mine = [k for k, pattern in enumerate(self.patterns) if pattern.opacity < 1 and pattern.area]
        if not mine:
            return []
        is_open = frames.kind[index] == OPEN
        labels, _ = ndimage.label(ndimage.binary_dilation(is_open, np.ones((3, 3))), np.ones((3, 3)))
        windows = ndimage.find_objects(labels * is_open)
        boxes = np.array([[y.start, x.start, y.stop, x.stop] for y, x in windows], np.int64).reshape(-1, 4)
        nudges = np.array([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)])
        found: list[tuple[float, Occurrence]] = []
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
            if len(spots):
                found += self.worth(frames, k, np.pad(spots, ((0, 0), (1, 0)), constant_values=index))
        return found

    def _least(self, group: list[int], frames: Frames) -> tuple[Float[Tensor, "K Y 1"], Float[Tensor, "K 1 X"]]:
        """From which estimate on places are looked at, by row and by column: lower where the border cuts a pattern."""
        margin = frames.margin
        sizes = [self.patterns[k].size for k in group]
        full = torch.tensor([SLACK * self.prices[k] for k in group])[:, None]
        found = []
        for axis in (0, 1):
            length, side = frames.size[axis], torch.tensor([size[axis] for size in sizes])[:, None]
            place = torch.arange(length - max(size[axis] for size in sizes) + 1)
            cut = (place < margin) | (place + side > length - margin)
            found.append(torch.where(cut, full.clamp_max(SLACK * LEAST_CUT), full))
        return found[0][:, :, None], found[1][:, None]


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

    def candidates(self, frames: Frames, index: int) -> list[tuple[float, Occurrence]]:
        found = []
        for reading in self.reader.read(frames, index):
            found += self.worth(frames, self.known[reading.entry], np.array([[index, reading.top, reading.left]]))
        return found


def ring_of(alpha: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h2 w2"]:
    """Pixels beside a shape, in a box one pixel wider on each side."""
    wide = np.pad(alpha, 1)
    grown = wide.copy()
    grown[1:] |= wide[:-1]
    grown[:-1] |= wide[1:]
    grown[:, 1:] |= wide[:, :-1]
    grown[:, :-1] |= wide[:, 1:]
    return grown & ~wide


def fits(frames: Frames, spots: Spots, pattern: HardSprite, chunk: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """Fit a pattern at places of padded frames: its gains, and the shares of open pixels that it fails to match."""
    gains, misfits = [np.zeros(0)], [np.zeros(0)]
    for first in range(0, len(spots), chunk):
        kind, match = _looked_at(frames, spots[first : first + chunk], pattern)
        is_open = kind == OPEN
        matched = np.count_nonzero(is_open & match, 1)
        opened = np.count_nonzero(is_open, 1)
        harm = np.count_nonzero((kind == BACKGROUND) & ~match, 1)
        gains.append(matched - MISFIT * (opened - matched) - harm)
        misfits.append((opened - matched) / opened.clip(1))
    return np.concatenate(gains), np.concatenate(misfits)


def _looked_at(
    frames: Frames, spots: Spots, pattern: HardSprite
) -> tuple[UInt8[np.ndarray, "n a"], Bool[np.ndarray, "n a"]]:
    """Of the pixels that a pattern covers at some places: their kinds, and whether they match."""
    if pattern.opacity < 1:
        colour, kind = frames.windows(spots, 0, 0, pattern.size)
        mixed = pattern.opacity * pattern.colour + (1 - pattern.opacity) * frames.behind_at(spots, pattern.size)
        match = np.asarray((np.abs(colour - mixed) <= frames.slack).all(-1))
        return kind[:, pattern.alpha].astype(np.uint8), match[:, pattern.alpha]
    if not frames.codes.exact:
        colour, kind = frames.windows(spots, 0, 0, pattern.size)
        match = frames.codes.same(colour, pattern.colour)
        return kind[:, pattern.alpha].astype(np.uint8), match[:, pattern.alpha]
    height, width = frames.size
    y, x = np.nonzero(pattern.alpha)
    place = ((spots[:, 0] * height + spots[:, 1]) * width + spots[:, 2])[:, None] + (y * width + x)
    return frames.kind.ravel().take(place), frames.packed.ravel().take(place) == pattern.packed[pattern.alpha]


def fit(
    frames: Frames, index: int, pattern: HardSprite, top: int, left: int
) -> tuple[float, Bool[np.ndarray, "h w"], float]:
    """Fit a pattern at one place: its gain, the pixels it explains, the share of open ones that it fails to match."""
    h, w = pattern.size
    window = slice(top, top + h), slice(left, left + w)
    kind = frames.kind[index][window]
    match = frames.shows(index, window, pattern)
    is_open = (kind == OPEN) & pattern.alpha
    matched = is_open & match
    opened, hits = int(np.count_nonzero(is_open)), int(np.count_nonzero(matched))
    harm = int(np.count_nonzero((kind == BACKGROUND) & pattern.alpha & ~match))
    # A pixel of the background's colour explains why nothing behind it is seen.
    explained = pattern.alpha & match & (kind != CLOSED)
    return hits - MISFIT * (opened - hits) - harm, explained, (opened - hits) / max(opened, 1)


def find(frames: Frames, index: int, bank: TemplateBank, rounds: int | None = None) -> list[Occurrence]:
    """Find the occurrences of patterns in one frame, in as many rounds as the bank says; closes what they match.

    Returns:
        Places from front to back.
    """
    margin = frames.margin
    taken: list[Occurrence] = []
    for _ in range(rounds or bank.rounds):
        # Snugness is at most a few pixels, so that the gain with all of it bounds the worth from above.
        heap = []
        for number, (gain, place) in enumerate(bank.candidates(frames, index)):
            heap.append((-(gain + SNUG * bank.rims[place.entry]), number, place, -1))
        heapq.heapify(heap)
        before = len(taken)
        changed = np.zeros([-(-n // BLOCK) for n in frames.size], np.int64)  # when each block was closed last
        while heap:
            value, number, place, seen = heapq.heappop(heap)
            pattern = bank.patterns[place.entry]
            h, w = pattern.size
            y, x = place.top + margin, place.left + margin
            blocks = changed[
                max(y - 1, 0) // BLOCK : (y + h) // BLOCK + 1, max(x - 1, 0) // BLOCK : (x + w) // BLOCK + 1
            ]
            if blocks.max() > max(seen, 0) or (
                seen < 0 and heap and value + SNUG * bank.rims[place.entry] > heap[0][0]
            ):
                worth = _worth(frames, index, bank, place)
                if worth is None:
                    continue
                if heap and worth < -heap[0][0] - 1e-6 and worth < -value - 1e-6:
                    heapq.heappush(heap, (-worth, number, place, len(taken) - before))
                    continue
            _, matched, _ = fit(frames, index, pattern, y, x)
            frames.close(index, (slice(y, y + h), slice(x, x + w)), matched)
            taken.append(place)
            blocks[...] = len(taken) - before
        if len(taken) == before:
            break
    return order(frames, index, bank.patterns, taken)


def _worth(frames: Frames, index: int, bank: TemplateBank, place: Occurrence) -> float | None:
    """What a candidate gains as things stand, snugness included; None if that is not worth its price."""
    pattern, margin = bank.patterns[place.entry], frames.margin
    h, w = pattern.size
    y, x = place.top + margin, place.left + margin
    price = bank.prices[place.entry]
    if min(y, x) < margin or y + h > frames.size[0] - margin or x + w > frames.size[1] - margin:
        price = bank.prices_at(frames, place.entry, np.array([[index, y, x]]))[0]
    gain, _, misfit = fit(frames, index, pattern, y, x)
    if gain < price or misfit > bank.price.misfit:
        return None
    around = frames.kind[index, max(y - 1, 0) : y + h + 1, max(x - 1, 0) : x + w + 1]
    ring = bank.rings[place.entry]
    snug = np.count_nonzero(ring & (around != OPEN)) if ring.shape == around.shape else 0
    return gain + SNUG * snug


def order(frames: Frames, index: int, patterns: list[HardSprite], places: list[Occurrence]) -> list[Occurrence]:
    """Sort places front to back: of two that overlap, the one that the pixels show where they differ is in front.

    Where nothing tells, the one found earlier is in front. Cycles are cut where the evidence is weakest in sum.
    """
    votes: dict[tuple[int, int], int] = {}
    boxes = np.array(
        [[p.top, p.left, p.top + patterns[p.entry].size[0], p.left + patterns[p.entry].size[1]] for p in places]
    )
    matches = {}
    margin = frames.margin
    for i in range(len(places)):
        first = np.maximum(boxes[i, :2], boxes[:i, :2])
        last = np.minimum(boxes[i, 2:], boxes[:i, 2:])
        for j in np.flatnonzero((first < last).all(1)).tolist():
            cut = []
            for a in (i, j):
                if a not in matches:
                    pattern = patterns[places[a].entry]
                    window = (
                        slice(boxes[a, 0] + margin, boxes[a, 2] + margin),
                        slice(boxes[a, 1] + margin, boxes[a, 3] + margin),
                    )
                    matches[a] = frames.shows(index, window, pattern) & pattern.alpha
                rows = slice(first[j, 0] - boxes[a, 0], last[j, 0] - boxes[a, 0])
                columns = slice(first[j, 1] - boxes[a, 1], last[j, 1] - boxes[a, 1])
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

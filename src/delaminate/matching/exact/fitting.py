"""How well patterns fit at many places of a frame.

All pixels of all patterns lie one after the other, so that one pass over memory counts at all places together.
"""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int64

from delaminate.matching.exact.bit_planes import BitPlanes, strips_of
from delaminate.matching.exact.templates import BACKGROUND, CLOSED, MISFIT, OPEN, Frames, HardSprite

AT_ONCE = 2**20
"""Pixels of patterns that are compared with a frame at a time."""

PLANES_FROM = 1.0
"""From so many pixels of patterns on, for each pixel of the frame, they are counted by planes of bits."""

Candidates = Int64[np.ndarray, "n 3"]
"""Pattern, and row and column of its corner on the padded frame."""


def ring_of(alpha: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h2 w2"]:
    """Pixels beside a shape, in a box one pixel wider on each side."""
    wide = np.pad(alpha, 1)
    grown = wide.copy()
    grown[1:] |= wide[:-1]
    grown[:-1] |= wide[1:]
    grown[:, 1:] |= wide[:, :-1]
    grown[:, :-1] |= wide[:, 1:]
    return grown & ~wide


class _Masks:
    """Pixels of some masks one after the other, by their distance from a corner: rows and columns of each."""

    def __init__(self, corners: Sequence[np.ndarray]) -> None:
        self.areas = np.array([len(each) for each in corners], np.int64)
        self.firsts = self.areas.cumsum() - self.areas
        self.corners = np.concatenate([*corners, np.zeros((0, 2), np.int64)])
        self._offsets: dict[int, np.ndarray] = {}

    def at(self, candidates: Candidates, width: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
        """A part of the places at a time: which, where the pixels of each begin, and number and place of all of them."""
        if width not in self._offsets:
            self._offsets[width] = self.corners[:, 0] * width + self.corners[:, 1]
        offsets, areas = self._offsets[width], self.areas[candidates[:, 0]]
        ends = areas.cumsum()
        first = 0
        while first < len(candidates):
            done = int(ends[first - 1]) if first else 0
            last = max(int(np.searchsorted(ends, done + AT_ONCE)), first + 1)
            entry, area = candidates[first:last, 0], areas[first:last]
            begin = area.cumsum() - area
            pixel = np.repeat(self.firsts[entry] - begin, area)
            pixel += np.arange(len(pixel))
            place = np.repeat(candidates[first:last, 1] * width + candidates[first:last, 2], area)
            place += offsets[pixel]
            yield slice(first, last), begin, pixel, place
            first = last


@functools.lru_cache(maxsize=512)
def _rows(pattern: HardSprite) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of a pattern's pixels, and of those beside it, where they are; colours of its pixels, and these as one number each."""
    shown = pattern.alpha
    return np.argwhere(shown), np.argwhere(ring_of(shown)) - 1, pattern.colour[shown], pattern.packed[shown]


class PatternPixels:
    """The pixels of some patterns, and of the rings around them.

    Args:
        patterns: With at least one pixel each, where they are asked for.
    """

    def __init__(self, patterns: Sequence[HardSprite]) -> None:
        rows = [_rows(pattern) for pattern in patterns]
        self.inside, self.rings = _Masks([row[0] for row in rows]), _Masks([row[1] for row in rows])
        self.colour = np.concatenate([*(row[2] for row in rows), np.zeros((0, 3), np.float32)])
        self.packed = np.concatenate([*(row[3] for row in rows), np.zeros(0, np.uint32)])
        self.entries = np.repeat(np.arange(len(patterns)), self.inside.areas)
        opacity = np.array([pattern.opacity for pattern in patterns], np.float32)
        self.opacity = np.repeat(opacity, self.inside.areas)
        self.is_opaque = opacity == 1
        self.all_opaque = bool(self.is_opaque.all())
        self._patterns = patterns

    @functools.cached_property
    def strips(self) -> tuple[_Masks, BitPlanes]:
        """Strips of all patterns instead of their pixels: where they are, and their colours."""
        strips = [strips_of(pattern) for pattern in self._patterns]
        colours = np.concatenate([*(each[1] for each in strips), np.zeros(0, np.uint32)])
        bits = np.concatenate([*(each[2] for each in strips), np.zeros(0, np.uint64)])
        return _Masks([each[0] for each in strips]), BitPlanes(colours, bits)

    def fit(
        self, frames: Frames, index: int, candidates: Candidates
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """Fit patterns at places that lie within a padded frame.

        Returns:
            Gains, shares of open pixels that are not matched, and the number of those that are.
        """
        counts = np.zeros((3, len(candidates)), np.int64)
        solid = np.zeros(len(candidates), bool)
        pixels = int(self.inside.areas[candidates[:, 0]].sum())
        many = frames.codes.exact and pixels > PLANES_FROM * frames.kind[index].size
        if many and self.strips[1].pay(frames, index, pixels):
            solid = self.is_opaque[candidates[:, 0]]
            self._count_strips(frames, index, candidates, np.flatnonzero(solid), counts)
        self._count_pixels(frames, index, candidates, np.flatnonzero(~solid), counts)
        matched, opened, harm = counts
        return matched - MISFIT * (opened - matched) - harm, (opened - matched) / opened.clip(1), matched

    def _count_strips(
        self, frames: Frames, index: int, candidates: Candidates, rows: np.ndarray, counts: Int64[np.ndarray, "3 n"]
    ) -> None:
        """What `_count_pixels` counts, for opaque patterns where colours recur to the bit."""
        strips, planes = self.strips
        count = planes.counter(frames, index)
        for some, begin, strip, place in strips.at(candidates[rows], frames.size[1]):
            for kind, numbers in enumerate(count(strip, place)):
                counts[kind, rows[some]] = np.add.reduceat(numbers, begin, dtype=np.int64)

    def _count_pixels(
        self, frames: Frames, index: int, candidates: Candidates, rows: np.ndarray, counts: Int64[np.ndarray, "3 n"]
    ) -> None:
        """Count pixels at some of the places: open and matched, open, and background that is not matched."""
        kinds = frames.kind[index].ravel()
        for some, begin, pixel, place in self.inside.at(candidates[rows], frames.size[1]):
            kind, match = kinds.take(place), self._match(frames, index, pixel, place)
            is_open = kind == OPEN
            for number, each in enumerate((is_open & match, is_open, (kind == BACKGROUND) & ~match)):
                counts[number, rows[some]] = np.add.reduceat(each, begin, dtype=np.int64)

    def snug(self, frames: Frames, index: int, candidates: Candidates) -> Int64[np.ndarray, " n"]:
        """How many pixels beside each place are not open; what lies beyond the frame may go on there."""
        count = np.zeros(len(candidates), np.int64)
        beside = np.zeros(frames.size, bool)
        inside = slice(frames.margin, -frames.margin)
        beside[inside, inside] = frames.kind[index][inside, inside] != OPEN
        for some, begin, _, place in self.rings.at(candidates, frames.size[1]):
            # What lies beyond the padded frame is in the margin on its other side.
            count[some] = np.add.reduceat(beside.ravel().take(place, mode="wrap"), begin, dtype=np.int64)
        return count

    def close(self, frames: Frames, index: int, candidates: Candidates) -> None:
        """Count as explained what patterns match; one of the background's colour explains why nothing behind it is seen."""
        kinds = frames.kind[index].ravel()  # a view
        for _, _, pixel, place in self.inside.at(candidates, frames.size[1]):
            kinds[place[self._match(frames, index, pixel, place)]] = CLOSED
        frames.forget_maps(index)

    def _match(self, frames: Frames, index: int, pixel: np.ndarray, place: np.ndarray) -> Bool[np.ndarray, " a"]:
        """Whether pixels of patterns have the colours of a frame's."""
        if frames.codes.exact:
            match = frames.packed[index].ravel().take(place) == self.packed.take(pixel)
        else:
            shown = frames.colour[index].reshape(-1, 3).take(place, 0)
            match = frames.codes.same(shown, self.colour.take(pixel, 0))
        if not self.all_opaque:
            shines = np.flatnonzero(self.opacity.take(pixel) < 1)
            if len(shines):
                mine = place[shines]
                opacity, colour = self.opacity[pixel[shines], None], self.colour[pixel[shines]]
                spots = np.stack([np.full(len(mine), index), *np.divmod(mine, frames.size[1])], 1)
                mixed = opacity * colour + (1 - opacity) * frames.behind_at(spots, (1, 1))[:, 0, 0]
                shown = frames.colour[index].reshape(-1, 3)[mine]
                match[shines] = (np.abs(shown - mixed) <= frames.slack).all(-1)
        return np.asarray(match)

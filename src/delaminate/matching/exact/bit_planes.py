"""How many pixels of patterns fit, many at a time: rows of patterns and frames as bits, one plane for each colour.

Counting pixel by pixel takes a dozen steps a pixel. Here a step deals with all pixels of one colour in up to 57 columns of a
row: what flat colours and pixel art are made of. It counts the same, where colours recur to the bit.
"""

import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Int64, UInt8, UInt32, UInt64

from delaminate.matching.exact.templates import BACKGROUND, OPEN, Frames, HardSprite

COLUMNS = 57
"""Columns that one word holds wherever it begins: words of 64 bits begin at bytes, up to seven bits before the first pixel."""
MOST_PLANES = 2**26
"""Bytes of the planes of a frame, at most."""
STEPS = 16
"""A pixel of a pattern takes so many times as long, counted by itself, as a pixel of a frame takes to be put into a plane."""

Words = UInt64[np.ndarray, " b"]
Counts = UInt8[np.ndarray, " n"]


def words_of(bits: np.ndarray) -> Words:
    """The 64 bits that begin at each byte of a row of bits, the first one lowest; 0 beyond its end."""
    packed = np.packbits(bits, bitorder="little")
    wide = np.concatenate([packed, np.zeros(8, np.uint8)])
    return np.ndarray((len(packed),), "<u8", wide.data, strides=(1,)).astype(np.uint64)


@functools.lru_cache(maxsize=512)
def strips_of(
    pattern: HardSprite,
) -> tuple[Int64[np.ndarray, "s 2"], UInt32[np.ndarray, " s"], UInt64[np.ndarray, " s"]]:
    """Cut a pattern into strips: row and first column of each, its colour, and which of its columns have that."""
    y, x = np.nonzero(pattern.alpha)
    colour, part = pattern.packed[y, x], x // COLUMNS
    order = np.lexsort((colour, part, y))
    y, x, colour, part = y[order], x[order], colour[order], part[order]
    first = np.flatnonzero(np.diff(y, prepend=-1) | np.diff(part, prepend=-1) | (np.diff(colour, prepend=0) != 0))
    bits = np.uint64(1) << (x % COLUMNS).astype(np.uint64)
    joined = np.bitwise_or.reduceat(bits, first) if len(first) else bits
    return np.stack([y[first], part[first] * COLUMNS], 1), colour[first], joined


class BitPlanes:
    """The colours of strips, and where frames have them.

    Args:
        colours: Of each strip.
        bits: Which of its columns have it.
    """

    def __init__(self, colours: UInt32[np.ndarray, " s"], bits: UInt64[np.ndarray, " s"]) -> None:
        self.bits = bits
        self.colours, self.plane = np.unique(colours, return_inverse=True)
        self._kept: tuple[np.ndarray, int, Words] | None = None

    def pay(self, frames: Frames, index: int, pixels: int) -> bool:
        """Say whether counting so many pixels of patterns in a frame, one by one, takes longer than making its planes."""
        if self._last(frames, index) is not None:
            return True
        return len(self.colours) * frames.packed[index].size <= min(STEPS * pixels, MOST_PLANES)

    def counter(
        self, frames: Frames, index: int
    ) -> Callable[[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]], tuple[Counts, Counts, Counts]]:
        """What counts pixels of strips, given their numbers and the places of their first columns in the flat frame.

        It returns how many of each show open pixels of their colour, open pixels, and background of another colour.
        """
        colours = self._planes(frames, index)
        kinds = frames.kind[index].ravel()
        is_open, ground = words_of(kinds == OPEN), words_of(kinds == BACKGROUND)

        def count(strips: np.ndarray, places: np.ndarray) -> tuple[Counts, Counts, Counts]:
            byte, shift, bits = places >> 3, (places & 7).astype(np.uint64), self.bits.take(strips)
            shown = colours.take(self.plane.take(strips) * len(is_open) + byte) >> shift
            opened = (is_open.take(byte) >> shift) & bits
            other = (ground.take(byte) >> shift) & bits & ~shown
            return np.bitwise_count(opened & shown), np.bitwise_count(opened), np.bitwise_count(other)

        return count

    def _planes(self, frames: Frames, index: int) -> Words:
        """Words of all colours, one plane after the other; those of the last frame are kept."""
        words = self._last(frames, index)
        if words is None:
            shown = frames.packed[index].ravel()
            words = np.concatenate([*(words_of(shown == colour) for colour in self.colours), np.zeros(0, np.uint64)])
            self._kept = frames.packed, index, words
        return words

    def _last(self, frames: Frames, index: int) -> Words | None:
        """The planes of a frame, if it is the last one that they were made of."""
        kept = self._kept
        return kept[2] if kept is not None and kept[0] is frames.packed and kept[1] == index else None

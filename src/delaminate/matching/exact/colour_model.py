"""Which colours are the background's, and which belong to things: those that come and go wherever they are seen.

The commonest colour of a pixel over time is wrong where a thing lingers, which in a short scene is everywhere it goes. But
a thing has the same colours at all its places, at each of which they give way to another; a colour of the background
stays. So the colours' own records decide between those that a pixel shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from scipy import ndimage

from delaminate.matching.exact.filling import commonest

SAMPLE = 2**16
"""Pixels of a scene from which colours are learned, at most."""
ROUNDS = 6
"""How often background and colours are told from each other in turn; they settle within four."""
THINGS = 0.7
"""A colour of which less is background belongs to things."""
STIRS, STEADY = 0.1, 0.8
"""Where a thing hides what is behind it all the time, this share of its pixels is not steady: it shows something else in
more than a fifth of the frames. What never changes at all is background, whatever its colour."""
SURELY = 0.95
"""A colour of which so much is background may be that of a pixel around which there is none of it."""
AROUND, ELSEWHERE = 8, 0.5
"""Pixels to each side that are around one; and what a colour counts that is not seen there, against one that alone is."""
AT_ONCE = 2**12
"""Pixels that are compared with what is around them at a time."""
ROWS_FIRST = 4
"""By how much what lies beside counts as nearer than what lies above: things stand on what they stand on."""


@dataclass(frozen=True, eq=False)
class ColourModel:
    """What share of the pixels that show a colour are background.

    Attributes:
        colours: Packed into one number each, ascending.
        shares: In (0, 1), one for each.
    """

    colours: Int32[np.ndarray, " C"]
    shares: Float32[np.ndarray, " C"]

    def of(self, packed: Int32[np.ndarray, "*S"]) -> Float32[np.ndarray, "*S"]:
        """The shares of some colours; a half where a colour is not known."""
        if not len(self.colours):
            return np.full(packed.shape, 0.5, np.float32)
        place = np.searchsorted(self.colours, packed).clip(max=len(self.colours) - 1)
        return np.where(self.colours[place] == packed, self.shares[place], np.float32(0.5))

    @classmethod
    def learned(cls, scenes: Sequence[Int32[np.ndarray, "_n _p"]]) -> "ColourModel":
        """Learn the colours of scenes that have things in common.

        Each pixel's background is the colour that it shows most often, counted by the square of the colour's share; the
        share is that of the pixels that show the colour whose background it is: in turn, from the commonest colours on.

        Args:
            scenes: Packed colours of some pixels over time, one scene each; -1 where nothing is seen.
        """
        pixel, colour, count = _runs(scenes)
        colours, kind = np.unique(colour, return_inverse=True)
        shown = np.bincount(kind, count, len(colours))
        best = _best(pixel, count)
        shares = np.full(len(colours), 0.5)
        for _ in range(ROUNDS):
            shares = (np.bincount(kind[best], count[best], len(colours)) + 0.5) / (shown + 1)
            best = _best(pixel, count * shares[kind] ** 2)
        return cls(colours.astype(np.int32), shares.astype(np.float32))

    def settled(self, packed: Int32[np.ndarray, "_n *S"]) -> Int32[np.ndarray, "*S"]:  # noqa: F821
        """The background's colour at each pixel, of those that it shows over time; 0 where none is seen."""
        return commonest(packed, lambda colours: self.of(colours) ** 2)[0]

    def settled_around(
        self, packed: Int32[np.ndarray, "_n p"], around: Int32[np.ndarray, "p k k"]
    ) -> tuple[Int32[np.ndarray, " p"], Bool[np.ndarray, " p"]]:
        """As `settled`, where frames disagree: a colour that the background has around a pixel is likely there, too.

        Args:
            packed: Colours of some pixels over time; -1 where nothing is seen.
            around: The background's colours around each, of `surroundings`.

        Returns:
            The colours, and whether each may be the background's: it is around, or seldom anything else's.
        """
        parts = [
            self._settled_around(packed[:, n : n + AT_ONCE], around[n : n + AT_ONCE])
            for n in range(0, max(len(around), 1), AT_ONCE)
        ]
        best, fits = zip(*parts, strict=True)
        return np.concatenate(best), np.concatenate(fits)

    def _settled_around(
        self, packed: Int32[np.ndarray, "_n p"], around: Int32[np.ndarray, "p k k"]
    ) -> tuple[Int32[np.ndarray, " p"], Bool[np.ndarray, " p"]]:
        best, _ = commonest(packed, lambda colours: self.of(colours) ** 2 * (ELSEWHERE + _nearby(colours, around)))
        share = self.of(best)
        return best, (share >= SURELY) | ((share >= THINGS) & (_nearby(best[None], around)[0] > 0))


def surroundings(packed: Int32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w k k"]:
    """A background's colours around each of its pixels, of every other one in a window; -1 where they are not known."""
    wide = np.pad(packed, AROUND, constant_values=-1)
    return np.lib.stride_tricks.sliding_window_view(wide, (2 * AROUND + 1,) * 2)[..., ::2, ::2]


def _nearby(colours: Int32[np.ndarray, "n p"], around: Int32[np.ndarray, "p k k"]) -> Float32[np.ndarray, "n p"]:
    """How much of what is known around pixels has each of their colours."""
    known = (around >= 0).sum((1, 2)).clip(1).astype(np.float32)
    return np.stack([(row[:, None, None] == around).sum((1, 2)) / known for row in colours]).astype(np.float32)


def behind_things(of_things: Bool[np.ndarray, "h w"], steady: Float32[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Where a thing hides the background in all frames: areas of things' colours in which something stirs.

    Args:
        of_things: The best colour belongs to things.
        steady: The share of the frames that show it.
    """
    labels, _ = ndimage.label(of_things, np.ones((3, 3)))
    stirs = np.bincount(labels.ravel(), (steady < STEADY).ravel()) / np.bincount(labels.ravel()).clip(1)
    return np.asarray(of_things & (stirs[labels] >= STIRS))


def filled(
    rgb: Float32[np.ndarray, "h w 3"], unknown: Bool[np.ndarray, "h w"], row: float = ROWS_FIRST
) -> Float32[np.ndarray, "h w 3"]:
    """Fill what is unknown with the nearest that is known.

    Args:
        rgb: A picture.
        unknown: Its pixels that are filled; all of them: it stays as it is.
        row: How many columns away is as far as the next row.
    """
    if not unknown.any() or unknown.all():
        return rgb
    nearest = ndimage.distance_transform_edt(unknown, sampling=(row, 1), return_distances=False, return_indices=True)
    return rgb[nearest[0], nearest[1]]


def _runs(
    scenes: Sequence[Int32[np.ndarray, "_n _p"]],
) -> tuple[Int64[np.ndarray, " r"], Int32[np.ndarray, " r"], Int64[np.ndarray, " r"]]:
    """Each pixel's different colours: the pixel's number, the colour, and how often it is shown."""
    pixels, colours, counts, first = [], [], [], 0
    for packed in scenes:
        ranked = np.sort(packed, 0).T
        starts = np.ones(ranked.shape, bool)
        starts[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
        place = np.flatnonzero(starts)
        length = np.diff(place, append=ranked.size)
        known = ranked.ravel()[place] >= 0
        pixels.append(first + place[known] // ranked.shape[1])
        colours.append(ranked.ravel()[place[known]])
        counts.append(length[known])
        first += len(ranked)
    return np.concatenate(pixels), np.concatenate(colours), np.concatenate(counts)


def _best(pixel: Int64[np.ndarray, " r"], score: np.ndarray) -> Int64[np.ndarray, " p"]:
    """Of the runs of each pixel, the one of the highest score."""
    order = np.lexsort((score, pixel))
    return order[np.diff(pixel[order], append=-1) != 0]

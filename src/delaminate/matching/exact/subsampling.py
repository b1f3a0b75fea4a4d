"""Chroma that was kept for blocks of 2 x 2 pixels (4:2:0), and what it was at each pixel.

A sprite that was seen at several places lies on blocks in several ways, up to four. Each way says something else about its
pixels; together they say what chroma it has, by least squares and iterated back-projection (Irani and Peleg, 1991).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

ROUNDS, STEP = 12, 1.5
"""Rounds of back-projection, and how far each goes."""
WEAK = 0.3
"""How much it counts that a shade has the colour that was seen."""
SHADE, SAME = 3, 24.0
"""Levels of luma, and of chroma, by which pixels of one colour differ at most."""
REPEATED = 0.2
"""Share of the steps of chroma that lie within blocks, at most, where it was repeated."""
Smear = Literal["none", "nearest", "linear"]
"""How chroma was kept: as luma; for blocks of 2 x 2 pixels, and repeated; the same, and interpolated."""
Planes = Float32[np.ndarray, "n h w 3"]
Plane = Float32[np.ndarray, "h w"]
Chroma = Float32[np.ndarray, "h w 2"]
LUMA = np.array([0.299, 0.587, 0.114])
"""What red, green and blue count in luma (ITU-R BT.601)."""
_YCC = np.array([LUMA, [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_RGB = np.linalg.inv(_YCC).astype(np.float32)


def luma_and_chroma(rgb: np.ndarray) -> np.ndarray:
    """Colours (..., 3) in [0, 1] as luma and two chromas, in levels of 255 (ITU-R BT.601)."""
    return (rgb * np.float32(255)) @ _YCC.T


def rgb_of(luma: Plane, chroma: Chroma) -> Float32[np.ndarray, "h w 3"]:
    """The same back, clipped to [0, 1]."""
    return (np.concatenate([luma[..., None], chroma], 2) @ _RGB.T / 255).clip(0, 1).astype(np.float32)


def smear_of(frames: UInt8[np.ndarray, "N H W 3"]) -> Smear:
    """How a decoder has enlarged chroma of half the resolution: repeated, or interpolated."""
    some = frames[np.linspace(0, len(frames) - 1, min(len(frames), 4)).astype(int)].astype(np.float32) / 255
    steps = np.abs(np.diff(luma_and_chroma(some)[..., 1:], axis=2)).sum((0, 1, 3))
    within, across = float(steps[0::2].sum()), float(steps[1::2].sum())
    return "nearest" if within < REPEATED * across else "linear"


@dataclass(frozen=True, eq=False)
class Phase:
    """Means over the occurrences that lie alike on blocks.

    Attributes:
        shown: The chroma that was seen.
        behind: That of the background.
        seen: How often.
        begin: Whether blocks begin at the first or the second row and column.
        smear: How chroma was kept.
    """

    shown: Chroma
    behind: Chroma
    seen: Float32[np.ndarray, "h w 1"]
    begin: tuple[int, int]
    smear: Smear

    def smeared(self, chroma: Float32[np.ndarray, "h w c"]) -> Float32[np.ndarray, "h w c"]:
        """What a decoder makes of chroma: a quarter of what it interpolates along an axis is the next block's."""
        if self.smear == "none":
            return chroma
        chroma = self._blocks(chroma)
        for axis in (0, 1) if self.smear == "linear" else ():
            chroma = 0.75 * chroma + 0.25 * chroma.take(_partners(chroma.shape[axis], 1 - self.begin[axis]), axis)
        return chroma

    def left(self, own: Bool[np.ndarray, "h w"], chroma: Chroma) -> Chroma:
        """What of the chroma that was seen is not explained by a sprite, where it is, and the background."""
        return self.shown - self.smeared(np.where(own[..., None], chroma, self.behind))

    def left_of_blocks(self, own: Bool[np.ndarray, "h w"], chroma: Chroma) -> Chroma:
        """The same, of the whole block of each pixel: of what of it was seen most."""
        if self.smear == "none":
            return self.left(own, chroma)
        return self._blocks(self.seen * self.left(own, chroma)) / self._blocks(self.seen).clip(1e-6)

    def _blocks(self, values: Float32[np.ndarray, "h w c"]) -> Float32[np.ndarray, "h w c"]:
        """The mean of each pixel's block."""
        for axis in (0, 1):
            values = (values + values.take(_partners(values.shape[axis], self.begin[axis]), axis)) / 2
        return values


def phases_of(
    shown: Planes,
    behind: Planes,
    weight: Float32[np.ndarray, "n h w"],
    begin: Int64[np.ndarray, "n 2"],
    smear: Smear,
) -> list[Phase]:
    """Gather occurrences by how they lie on blocks.

    Args:
        shown: Luma and chroma that were seen at each.
        behind: Of the background there.
        weight: What each pixel counts.
        begin: As in `Phase`.
        smear: How chroma was kept, not `none`.
    """
    found = []
    for first in np.unique(begin, axis=0):
        some = (begin == first).all(1)
        seen = weight[some].sum(0)[..., None]
        means = [(weight[some, ..., None] * each[some, ..., 1:]).sum(0) / seen.clip(1e-6) for each in (shown, behind)]
        found.append(Phase(means[0], means[1], seen, (int(first[0]), int(first[1])), smear))
    return found


def mean_of(phases: Sequence[Phase], values: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of what phases say, by how often each pixel was seen."""
    total = np.sum([phase.seen for phase in phases], 0).clip(1e-6)
    return np.asarray(np.sum([phase.seen * each for phase, each in zip(phases, values, strict=True)], 0) / total)


def unexplained(phases: Sequence[Phase], own: Bool[np.ndarray, "h w"], chroma: Chroma) -> Plane:
    """By how many levels the chroma of each pixel's blocks is off when the sprite is drawn."""
    return np.asarray(mean_of(phases, [np.abs(phase.left_of_blocks(own, chroma)) for phase in phases]).max(2))


def estimate_chroma(phases: Sequence[Phase], own: Bool[np.ndarray, "h w"], luma: Plane | None) -> Chroma:
    """Find the chroma that gives what was seen when it is averaged over blocks, where these lie at each occurrence.

    Args:
        phases: What was seen.
        own: Where the sprite is.
        luma: Its luma: pixels that are equally light are of one colour, unless what was seen tells them clearly apart. None:
            a pixel has the colour that was seen in the mean, with the same exception.
    """
    found = mean_of(phases, [phase.shown for phase in phases])
    even = found if luma is None else _even(phases, own, _shades(luma, own), found)
    if phases[0].smear != "none":
        found = even.copy()
        for _ in range(ROUNDS):
            left = mean_of(phases, [phase.left_of_blocks(own, found) for phase in phases])
            found += np.where(own[..., None], STEP * left, 0)
    found = np.where(np.abs(found - even).max(2, keepdims=True) > SAME, found, even)
    return np.asarray(found.clip(-128, 127), np.float32)


def _even(
    phases: Sequence[Phase], own: Bool[np.ndarray, "h w"], shades: Int64[np.ndarray, "h w"], start: Chroma
) -> Chroma:
    """One chroma for all pixels of a shade: what explains best what was seen; outside of the shades, `start`."""
    count = int(shades.max())
    first = np.stack([np.median(start[shades == shade], 0) for shade in range(1, count + 1)])
    each = (shades[..., None] == np.arange(1, count + 1)).astype(np.float32)
    equations, wanted = [WEAK * np.eye(count, dtype=np.float32)], [np.zeros((count, 2), np.float32)]
    drawn = np.where(shades[..., None] > 0, first[shades - 1], start).astype(np.float32)
    for phase in phases:
        weight = np.sqrt(phase.seen)
        equations.append((weight * phase.smeared(each)).reshape(-1, count))
        wanted.append((weight * phase.left(own, drawn)).reshape(-1, 2))
    better = first + np.linalg.lstsq(np.concatenate(equations), np.concatenate(wanted), rcond=None)[0]
    return np.where(shades[..., None] > 0, better[shades - 1], start).astype(np.float32)


def _shades(luma: Plane, own: Bool[np.ndarray, "h w"]) -> Int64[np.ndarray, "h w"]:
    """Number the sprite's pixels by how light they are: those of one number differ by little; 0 outside."""
    numbers = np.zeros(luma.shape, np.int64)
    levels, left = np.unique(np.rint(luma[own]).astype(int), return_counts=True)
    while left.any():
        middle = levels[left.argmax()]
        numbers[own & (np.abs(np.rint(luma) - middle) <= SHADE) & (numbers == 0)] = numbers.max() + 1
        left[np.abs(levels - middle) <= SHADE] = 0
    return numbers


def _partners(count: int, first: int) -> Int64[np.ndarray, " n"]:
    """Each pixel's other one of its pair, where pairs begin at `first` (0 or 1); itself where that lies outside."""
    index = np.arange(count)
    partner = np.where((index - first) % 2 == 0, index + 1, index - 1)
    return np.where((partner < 0) | (partner >= count), index, partner)

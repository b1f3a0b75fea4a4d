"""Sprites of lossy sources, restored: what many occurrences, each smeared in another way, say together.

Compression keeps luma sharp and adds noise to it; chroma it keeps for blocks of 2 x 2 pixels, so that a sprite's outline is
tinted by what lies beside it, in another way wherever the sprite lies on another pixel of a block, and what is found of it
is several sprites with a tinted rim. Here patterns that are alike in luma are put together, whichever way they face, and one
sprite is estimated of all their occurrences: luma is their median; alpha is where that explains them and the background does
not; chroma is what `subsampling` finds.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64
from scipy import ndimage

from delaminate.matching.exact.detection import Occurrence
from delaminate.matching.exact.parsing import Parse
from delaminate.matching.exact.search import FrameStack, Search, explained
from delaminate.matching.exact.subsampling import (
    Chroma,
    Phase,
    Plane,
    Planes,
    Smear,
    estimate_chroma,
    luma_and_chroma,
    mean_of,
    phases_of,
    rgb_of,
    smear_of,
    unexplained,
)
from delaminate.matching.exact.templates import HardSprite
from delaminate.matching.tile_cells import MIRRORED, orient

RIM = 3
"""Pixels around a pattern that may yet be its sprite's."""
SHIFT = 2
"""Pixels by which the corners of two patterns of one sprite may differ."""
ALIKE = 0.7
"""Share of the pixels of either of two patterns, of one sprite, that both have."""
APART, CLUSTER = 14, 4
"""Levels of luma by which two patterns differ, in so many pixels that hang together, if they show two things."""
MOST = 48
"""Occurrences of a sprite that are looked at."""
NEAR, KNOWN = 2, 0.3
"""Pixels around another sprite that it may tint. Where fewer occurrences are free of others, the others are parts."""
SEEN, TINT = 3.5, 8.0
"""Levels by which luma and the chroma of blocks differ from the background, at least, where a pixel is the sprite's."""
RINGING, TINT_SHARE = 0.05, 0.12
"""Beside an edge, compression leaves waves of luma that are this share of it high, and of chroma that nothing explains."""
FAINT = 9.0
"""Levels by which both differ, at most, where a pixel is not worth being the sprite's."""
TINTED = 20.0
"""Levels of chroma by which two patterns differ that are two colours of one thing."""
CLIPPED, LITTLE = 2, 0.02
"""Levels from the ends of the range at which a decoder may have clipped a colour; and what its chroma counts then."""
SMALL, LEAST = 12, 6
"""Pixels of a pattern that is restored, and of what comes of it, at least."""
FEW = 3
"""Occurrences that tell something."""


@dataclass(frozen=True)
class _Member:
    """A pattern of a group: its number, how the group's sprite is turned to be it, and where its corner then lies."""

    entry: int
    orientation: int
    down: int
    right: int


def restore(scenes: FrameStack, patterns: list[HardSprite], search: Search) -> list[HardSprite]:
    """Restore the sprites of a noisy source.

    Args:
        scenes: The frames.
        patterns: What was found; given, half-transparent and small ones stay as they are.
        search: How it was found.

    Returns:
        One pattern for each way in which each sprite is seen.
    """
    found = explained(scenes, patterns, search)
    usage = found.usage(len(patterns))
    order = sorted(range(len(patterns)), key=lambda k: -int(usage[k]) * patterns[k].area)
    colours = [luma_and_chroma(pattern.colour) for pattern in patterns]
    groups: list[list[_Member]] = []
    plain = [k for k in order if patterns[k].given or patterns[k].opacity < 1 or patterns[k].area < SMALL]
    for k in order:
        if k in plain:
            continue
        search.progress.check()
        for group in groups:
            member = _likeness(patterns, colours, group[0].entry, k, search.flips)
            if member is not None:
                group.append(member)
                break
        else:
            groups.append([_Member(k, 0, 0, 0)])
    views = _Views(scenes, patterns, found, smear_of(scenes.frames) if search.chroma < 1 else "none")
    restored = [patterns[k] for k in plain]
    for group in groups:
        search.progress.check()
        sprite = views.restored(group)
        ways = sorted({member.orientation for member in group})
        restored += [sprite.oriented(way) if way else sprite for way in ways]
    return restored


def _likeness(
    patterns: list[HardSprite], colours: list[np.ndarray], first: int, other: int, flips: bool
) -> _Member | None:
    """How a pattern shows what another shows; None: it does not."""
    one, two = patterns[first], patterns[other]
    best: tuple[float, _Member] | None = None
    for orientation in (0, MIRRORED) if flips else (0,):
        alpha, shown = orient(one.alpha, orientation), orient(colours[first], orientation, rows=0)
        if max(abs(a - b) for a, b in zip(alpha.shape, two.alpha.shape, strict=True)) > 2 * SHIFT:
            continue
        for down in range(-SHIFT, SHIFT + 1):
            for right in range(-SHIFT, SHIFT + 1):
                share = _overlap(alpha, shown, two.alpha, colours[other], down, right)
                if share is not None and (best is None or share > best[0]):
                    best = share, _Member(other, orientation, down, right)
    return None if best is None else best[1]


def _overlap(
    alpha: np.ndarray, colour: np.ndarray, other: np.ndarray, other_colour: np.ndarray, down: int, right: int
) -> float | None:
    """The share of pixels that two pictures have in common, one shifted; None where they show two things."""
    height, width = max(alpha.shape[0], other.shape[0] + down), max(alpha.shape[1], other.shape[1] + right)
    top, left = max(-down, 0), max(-right, 0)
    size = height + top, width + left
    one, two = np.zeros(size, bool), np.zeros(size, bool)
    off = np.zeros((*size, 3), np.float32)
    here = slice(top, top + alpha.shape[0]), slice(left, left + alpha.shape[1])
    there = slice(top + down, top + down + other.shape[0]), slice(left + right, left + right + other.shape[1])
    one[here], two[there] = alpha, other
    off[here] += colour
    off[there] -= other_colour
    both, either = one & two, one | two
    if both.sum() < ALIKE * either.sum():
        return None
    differs = both & (np.abs(off[..., 0]) > APART)
    labels, _ = ndimage.label(differs)
    if np.bincount(labels.ravel())[1:].max(initial=0) >= CLUSTER or differs.sum() > 0.1 * both.sum():
        return None
    if np.median(np.abs(off[both][:, 1:]).max(1)) > TINTED:
        return None
    # A rim of one pixel is a tint; what is wider is a leg.
    if ndimage.binary_opening(one ^ two, np.ones((2, 2))).any():
        return None
    return float(both.sum() / either.sum() - differs.sum() / both.sum())


class _Views:
    """Cuts what frames show around occurrences."""

    def __init__(self, scenes: FrameStack, patterns: list[HardSprite], found: Parse, smear: Smear) -> None:
        self.scenes, self.patterns, self.smear = scenes, patterns, smear
        self.spots: list[list[tuple[int, Occurrence]]] = [[] for _ in patterns]
        height, width = scenes.frames.shape[1:3]
        self.others = np.zeros((len(found.places), height, width), np.int8)
        self.marks = [_grown(pattern.alpha) for pattern in patterns]
        for index, some in enumerate(found.places):
            for place in some:
                self.spots[place.entry].append((index, place))
                self._mark(index, place, 1)

    def _mark(self, index: int, place: Occurrence, step: int) -> None:
        mark = self.marks[place.entry]
        top, left = place.top - NEAR, place.left - NEAR
        plane = self.others[index]
        rows, columns = slice(max(top, 0), top + mark.shape[0]), slice(max(left, 0), left + mark.shape[1])
        part = plane[rows, columns]
        part += step * mark[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]

    def restored(self, group: list[_Member]) -> HardSprite:
        """The sprite of a group of patterns."""
        first = self.patterns[group[0].entry]
        spots = [(member, index, place) for member in group for index, place in self.spots[member.entry]]
        chosen = [spots[n] for n in np.linspace(0, len(spots) - 1, min(len(spots), MOST)).astype(int)] if spots else []
        if len(chosen) < FEW:
            return first
        size = first.size[0] + 2 * RIM, first.size[1] + 2 * RIM
        views = [self._view(member, index, place, size) for member, index, place in chosen]
        shown, behind, known, free, clipped, begin = (np.stack(each) for each in zip(*views, strict=True))
        known &= free | (np.pad(first.alpha, RIM) & ((known & free).mean(0) < KNOWN))
        return _Evidence.of(shown, behind, known, clipped, begin, self.smear).estimate(first)

    def _view(self, member: _Member, index: int, place: Occurrence, size: tuple[int, int]) -> tuple[np.ndarray, ...]:
        """What is seen at an occurrence, turned upright: colours, what is behind them, what is known and free of others, where
        a decoder has clipped colours, and where blocks begin."""
        top, left = place.top - member.down - RIM, place.left - member.right - RIM
        height, width = self.scenes.frames.shape[1:3]
        rows, columns = np.arange(top, top + size[0]), np.arange(left, left + size[1])
        inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
        at = rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)[None]
        picture = self.scenes.behind[index if len(self.scenes.behind) > 1 else 0]
        behind = picture if picture.shape[:2] == (1, 1) else picture[at]
        self._mark(index, place, -1)
        free = self.others[index][at] == 0
        self._mark(index, place, 1)
        colour = self.scenes.frames[index][at]
        parts = (
            luma_and_chroma(colour.astype(np.float32) / 255),
            luma_and_chroma(np.broadcast_to(behind, (*size, 3))),
            inside,
            free,
            ((colour < CLIPPED) | (colour > 255 - CLIPPED)).any(2),
        )
        first_column = columns[-1] + 1 if member.orientation == MIRRORED else columns[0]
        begin = np.array([rows[0] % 2, first_column % 2])
        shown, behind, inside, free, clipped = (orient(part, member.orientation, rows=0) for part in parts)
        return shown, behind, inside, free, clipped, begin


def _grown(alpha: Bool[np.ndarray, "h w"]) -> np.ndarray:
    return ndimage.binary_dilation(np.pad(alpha, NEAR), np.ones((3, 3)), NEAR).astype(np.int8)


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What occurrences say about each pixel, in levels of 255.

    Attributes:
        luma: The median that was seen.
        ground: That of the background.
        own_error, ground_error: By how much luma is off in the median if the pixel is the sprite's, and if it is background.
        seen: At how many occurrences it is seen.
        phases: What chroma was seen.
        is_plain: The background is one colour, which is known better than a picture.
    """

    luma: Plane
    ground: Plane
    own_error: Plane
    ground_error: Plane
    seen: Plane
    phases: list[Phase]
    is_plain: bool

    @classmethod
    def of(
        cls,
        shown: Planes,
        behind: Planes,
        known: Bool[np.ndarray, "n h w"],
        clipped: Bool[np.ndarray, "n h w"],
        begin: Int64[np.ndarray, "n 2"],
        smear: Smear,
    ) -> "_Evidence":
        """Gather it."""
        seen, luma = known.sum(0).astype(np.float32), _median(shown[..., 0], known)
        if smear == "none":
            chroma = np.stack([_median(shown[..., channel], known) for channel in (1, 2)], 2)
            phases = [Phase(chroma, behind[..., 1:].mean(0), seen[..., None], (0, 0), smear)]
        else:
            weight = np.where(clipped, np.float32(LITTLE), np.float32(1)) * known
            phases = phases_of(shown, behind, weight, begin, smear)
        own, ground = (_median(np.abs(shown[..., 0] - each), known) for each in (luma, behind[..., 0]))
        is_plain = bool((behind == behind[:1, :1, :1]).all())
        return cls(luma, np.median(behind[..., 0], 0), own, ground, seen, phases, is_plain)

    def estimate(self, first: HardSprite) -> HardSprite:
        """The sprite; `first`, of which the occurrences are, where they tell too little."""
        before = np.pad(first.alpha, RIM)
        told = self.seen >= max(FEW, 0.25 * self.seen.max())
        # Where chroma is kept as luma, in enlarged captures, what was found has its own outline already.
        own = before if self.phases[0].smear == "none" else self._alpha(before, told)
        if own.sum() < LEAST:
            return first
        rgb = rgb_of(self.luma, estimate_chroma(self.phases, own, self.luma))
        rgb = np.where(told[..., None], rgb, np.pad(first.colour, ((RIM, RIM), (RIM, RIM), (0, 0))))
        return HardSprite.cut(rgb, own)[0]

    def _alpha(self, before: Bool[np.ndarray, "h w"], told: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """Which pixels are the sprite's: those that are not as light as the background, or whose tint nothing else explains."""
        core = ndimage.binary_erosion(before)
        ringing = RINGING * ndimage.maximum_filter(self.ground_error, 3)
        least = np.where(before | self.is_plain, np.maximum(SEEN, ringing), FAINT + ringing)
        own = np.where(told, core | (self.ground_error > least + self.own_error), before)
        near = before | (self.is_plain & ndimage.binary_dilation(own, np.ones((3, 3))))
        contrast = mean_of(self.phases, [np.abs(phase.shown - phase.behind) for phase in self.phases]).max(2)
        tint = np.maximum(TINT, TINT_SHARE * ndimage.maximum_filter(contrast, 5))
        left = unexplained(self.phases, own, estimate_chroma(self.phases, own, None))
        tinted = told & near & ~own & (left > tint)
        own |= tinted
        if own.any():
            own &= core | ~self._like_ground(estimate_chroma(self.phases, own, self.luma), tinted)
        labels, _ = ndimage.label(own, np.ones((3, 3)))
        there = np.unique(labels[core & own]) if (core & own).any() else np.unique(labels[own])
        return own & np.isin(labels, there[there > 0])

    def _like_ground(self, chroma: Chroma, tinted: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """Pixels that have, all in all, the background's colour; tinted ones, too, that have nearly its hue."""
        off = np.abs(chroma - mean_of(self.phases, [phase.behind for phase in self.phases])).max(2)
        return ((np.abs(self.luma - self.ground) < FAINT) & (off < FAINT)) | (tinted & (off < TINTED))


def _median(values: Float32[np.ndarray, "n h w"], known: Bool[np.ndarray, "n h w"]) -> Plane:
    """The median of what is known; 0 where nothing is."""
    order = np.sort(np.where(known, values, np.inf), 0)
    middle = np.take_along_axis(order, (known.sum(0).clip(1)[None] - 1) // 2, 0)[0]
    return np.where(np.isfinite(middle), middle, 0).astype(np.float32)

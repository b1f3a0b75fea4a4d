"""Glyphs of pages: classes of like shapes among the connected regions of ink, and where they are on other pages.

Printed letters recur, but never to the pixel: ink and paper fray their outlines. So two shapes are compared twice, at the
shift that lays most ink on ink: pixels in which they differ, and *strays*, which have no ink of the other within a pixel.
Frayed outlines differ in many pixels but have few strays; the bar that makes a c an e is all strays. Shapes that differ in
little of both are one class, its sprite is what most of its members show. (Soft pattern matching: Howard, Text image
compression using soft pattern matching, 1997; the dictionary of JBIG2)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64
from scipy import ndimage

from delaminate.matching.exact.templates import OPEN, Frames

DIFFERS, STRAYS = 0.3, 0.06
"""Pixels in which two shapes of one class differ, and strays, at most, as shares of the smaller one's area."""
REACH = 2
"""Shapes are compared with their middles on one another, and shifted by up to so many pixels each way."""
SLACK = 4
"""Heights and widths of one class differ by so many pixels, at most."""
AT_ONCE = 800
"""Shapes that are compared with each other at a time."""
STEPS = (12, 18, 24, 32, 44, 60, 84, 128, 192, 256, 384, 512)
"""Canvases on which shapes are compared, by their longer side in pixels."""
ROUNDS = 2
"""Times that members are assigned anew and classes averaged again."""
SMALLEST = 6
"""Pixels of ink that a shape has, at least: less is dirt, or a frayed edge."""

Mask = Bool[np.ndarray, "_h _w"]
CROSS = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True, eq=False)
class Shape:
    """A region of ink, or several that may be parts of one glyph.

    Attributes:
        frame: Its frame.
        top, left: Corner on the padded frame in pixels.
        mask: Where its ink is.
        parts: Numbers of the regions it consists of.
    """

    frame: int
    top: int
    left: int
    mask: Mask
    parts: tuple[int, ...] = ()

    @property
    def bottom(self) -> int:
        return self.top + self.mask.shape[0]

    @property
    def right(self) -> int:
        return self.left + self.mask.shape[1]

    @property
    def area(self) -> int:
        return int(self.mask.sum())


@dataclass(frozen=True, eq=False)
class Nearest:
    """Of each of some shapes, the prototype that is most like it.

    Attributes:
        entry: Which; -1: none is of its size.
        down, right: From the shape's corner to the prototype's, in pixels.
        differs: Pixels in which they differ.
        strays: Those of them with no ink of the other within a pixel.
        alike: It is of that class.
    """

    entry: Int64[np.ndarray, " n"]
    down: Int64[np.ndarray, " n"]
    right: Int64[np.ndarray, " n"]
    differs: Float32[np.ndarray, " n"]
    strays: Float32[np.ndarray, " n"]
    alike: Bool[np.ndarray, " n"]


def shapes_of(frames: Frames, index: int, largest: int) -> list[Shape]:
    """Connected regions of open pixels, corners connect; without dirt, and what is larger than `largest` pixels."""
    labels, _ = ndimage.label(frames.kind[index] == OPEN, np.ones((3, 3)))
    found: list[Shape] = []
    for number, window in enumerate(ndimage.find_objects(labels), start=1):
        mask = labels[window] == number
        if mask.sum() >= SMALLEST and max(mask.shape) <= largest:
            found.append(Shape(index, window[0].start, window[1].start, mask, (len(found),)))
    return found


def letter_height(shapes: list[Shape]) -> float:
    """The typical height of a letter: that which half of the ink is at least as high as."""
    if not shapes:
        return 0.0
    heights, areas = np.array([s.mask.shape[0] for s in shapes]), np.array([s.area for s in shapes])
    ordered = np.argsort(heights)
    return float(heights[ordered[np.searchsorted(areas[ordered].cumsum(), areas.sum() / 2)]])


# --- comparison -------------------------------------------------------------------------------------------------------


def _canvases(masks: list[Mask], side: int) -> Float32[np.ndarray, "n s s"]:
    """Shapes on canvases of one size, their middles in the middle."""
    drawn = np.zeros((len(masks), side, side), np.float32)
    for canvas, mask in zip(drawn, masks, strict=True):
        top, left = ((side - n) // 2 for n in mask.shape)
        canvas[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return drawn


@dataclass(frozen=True, eq=False)
class _Compared:
    """Some shapes (rows) with some prototypes (columns), at the shift that lays most ink on ink."""

    differs: Float32[np.ndarray, "n k"]
    strays: Float32[np.ndarray, "n k"]
    shift: Int64[np.ndarray, "n k"]
    alike: Bool[np.ndarray, "n k"]


def _compare(masks: list[Mask], others: list[Mask]) -> _Compared:
    """Compare shapes of about one size."""
    sizes, theirs = (np.array([m.shape for m in some]).reshape(-1, 2) for some in (masks, others))
    side = 2 * (int(max(sizes.max(), theirs.max())) // 2 + REACH + 2)
    ours, drawn = _canvases(masks, side), _canvases(others, side)
    wide, grown = (
        ndimage.binary_dilation(some, CROSS[None]).astype(np.float32).reshape(len(some), -1) for some in (ours, drawn)
    )
    flat = ours.reshape(len(ours), -1)
    area, other = flat.sum(1)[:, None], drawn.sum((1, 2))[None]
    best = np.full((len(masks), len(others)), -1, np.float32)
    strays, shift = np.zeros_like(best), np.zeros(best.shape, np.int64)
    for number, step in enumerate(np.ndindex(2 * REACH + 1, 2 * REACH + 1)):
        moved = np.roll(drawn, np.array(step) - REACH, (1, 2)).reshape(len(drawn), -1)
        both = flat @ moved.T
        better = both > best
        if better.any():
            broad = np.roll(grown.reshape(drawn.shape), np.array(step) - REACH, (1, 2)).reshape(len(drawn), -1)
            apart = area - flat @ broad.T + other - wide @ moved.T
            best[better], strays[better], shift[better] = both[better], apart[better], number
    differs = area + other - 2 * best
    least = np.minimum(area, other)
    close = (np.abs(sizes[:, None] - theirs[None]) <= SLACK).all(2)
    alike = close & (differs <= DIFFERS * least) & (strays <= np.maximum(STRAYS * least, 2))
    return _Compared(np.where(close, differs, np.inf).astype(np.float32), strays, shift, alike)


def _corner(size: tuple[int, ...], other: tuple[int, ...], shift: int) -> tuple[int, int]:
    """How far the corner of a shifted prototype is from that of a shape; canvases are even."""
    down, right = divmod(shift, 2 * REACH + 1)
    return (size[0] + 1) // 2 - (other[0] + 1) // 2 + down - REACH, (size[1] + 1) // 2 - (
        other[1] + 1
    ) // 2 + right - REACH


def nearest(shapes: list[Shape], prototypes: list[Mask]) -> Nearest:
    """Find the prototype that is most like each shape."""
    count = len(shapes)
    entry, corner = np.full(count, -1, np.int64), np.zeros((count, 2), np.int64)
    differs, strays, alike = np.full(count, np.inf, np.float32), np.zeros(count, np.float32), np.zeros(count, bool)
    sides = np.array([max(s.mask.shape) for s in shapes], dtype=np.int64)
    theirs = np.array([max(m.shape) for m in prototypes], dtype=np.int64)
    for low, high in zip((0, *STEPS), STEPS, strict=False):
        rows = np.flatnonzero((sides > low) & (sides <= high))
        columns = np.flatnonzero((theirs > low - SLACK) & (theirs <= high + SLACK))
        for first in range(0, len(rows) if len(columns) else 0, AT_ONCE):
            some = rows[first : first + AT_ONCE]
            found = _compare([shapes[n].mask for n in some], [prototypes[k] for k in columns])
            # Strays count twice; of those that are alike, the best.
            cost = found.differs + found.strays + np.where(found.alike, 0, 1e6)
            best = cost.argmin(1)
            at = np.arange(len(some)), best
            there = np.isfinite(found.differs[at])
            entry[some] = np.where(there, columns[best], -1)
            differs[some], strays[some], alike[some] = found.differs[at], found.strays[at], found.alike[at]
            for n, k, shift in zip(some, columns[best], found.shift[at], strict=True):
                corner[n] = _corner(shapes[n].mask.shape, prototypes[k].shape, int(shift))
    return Nearest(entry, corner[:, 0], corner[:, 1], differs, strays, alike)


# --- classes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class GlyphClass:
    """Shapes that are one glyph.

    Attributes:
        mask: What most of them show.
        members: Their numbers.
        corners: Of the mask from each member's corner, down and right in pixels.
        known: It was there before; its mask stays.
    """

    mask: Mask
    members: Int64[np.ndarray, " n"]
    corners: Int64[np.ndarray, "n 2"]
    known: bool = False

    @property
    def worth(self) -> int:
        """Pixels that it saves, if telling a shape again costs next to nothing."""
        return (len(self.members) - 1) * int(self.mask.sum())


def classes_of(shapes: list[Shape], known: list[Mask] | None = None) -> list[GlyphClass]:
    """Group shapes into classes: leaders first, those with most that are like them; then members and averages in turn.

    Args:
        shapes: What is grouped.
        known: Classes that there are already.
    """
    known = known or []
    prototypes = list(known)
    found: list[GlyphClass] = []
    for _ in range(ROUNDS):
        for first in range(0, len(shapes), AT_ONCE):
            some = shapes[first : first + AT_ONCE]
            rest = [shape for shape, alike in zip(some, nearest(some, prototypes).alike, strict=True) if not alike]
            prototypes += [rest[n].mask for n in _leaders(_alike(rest))]
        near = nearest(shapes, prototypes)
        found = []
        for k, mask in enumerate(prototypes):
            members = np.flatnonzero((near.entry == k) & near.alike)
            corners = np.stack([near.down[members], near.right[members]], 1)
            if k < len(known):
                found.append(GlyphClass(mask, members, corners, known=True))
            elif len(members):
                found.append(_averaged(shapes, mask.shape, members, corners))
        # One that is alone may be of a class, now that this is an average.
        prototypes = [each.mask for each in found if each.known or len(each.members) > 1]
    return found


def _alike(shapes: list[Shape]) -> Bool[np.ndarray, "n n"]:
    """Which shapes are of one class."""
    alike = np.eye(len(shapes), dtype=bool)
    sides = np.array([max(s.mask.shape) for s in shapes], dtype=np.int64)
    for low, high in zip((0, *STEPS), STEPS, strict=False):
        rows = np.flatnonzero((sides > low) & (sides <= high))
        columns = np.flatnonzero((sides > low) & (sides <= high + SLACK))
        if len(rows):
            found = _compare([shapes[n].mask for n in rows], [shapes[k].mask for k in columns]).alike
            alike[np.ix_(rows, columns)] |= found
            alike[np.ix_(columns, rows)] |= found.T
    return alike


def _leaders(alike: Bool[np.ndarray, "n n"]) -> list[int]:
    """Shapes that all others are like, one after the other those that most of the rest are like."""
    left, found = np.ones(len(alike), bool), []
    while left.any():
        degree = np.where(left, alike[:, left].sum(1), -1)
        found.append(int(degree.argmax()))
        left &= ~alike[found[-1]]
    return found


def _averaged(
    shapes: list[Shape], size: tuple[int, ...], members: np.ndarray, corners: Int64[np.ndarray, "n 2"]
) -> GlyphClass:
    """A class whose mask is what half of its members show, or more."""
    rim = SLACK + 2 * REACH
    total = np.zeros((size[0] + 2 * rim, size[1] + 2 * rim), np.int64)
    for n, (down, right) in zip(members, corners, strict=True):
        mask = shapes[n].mask
        total[rim - down : rim - down + mask.shape[0], rim - right : rim - right + mask.shape[1]] += mask
    alpha = 2 * total >= len(members)
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    mask = alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return GlyphClass(mask, members, corners + np.array([rows[0] - rim, columns[0] - rim]))

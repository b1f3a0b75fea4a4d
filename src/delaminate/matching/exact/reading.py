"""Read a page: which glyph each shape of ink is, which shapes are parts of one glyph, and which letters touch."""

from dataclasses import dataclass, field

import numpy as np
import scipy.fft
from jaxtyping import Bool, Int64
from scipy import ndimage

from delaminate.matching.exact.glyphs import (
    CROSS,
    DIFFERS,
    REACH,
    SLACK,
    STEPS,
    STRAYS,
    Mask,
    Nearest,
    Shape,
    letter_height,
    nearest,
    shapes_of,
)
from delaminate.matching.exact.templates import OPEN, Frames

GAP, CRACK = 0.6, 0.15
"""Parts of a glyph above one another, such as the dot of an i, and pieces of a broken letter side by side are no further
apart than these shares of a letter's height."""
PART = 0.07
"""Parts are read as one glyph even if that leaves more pixels that differ: for each part saved, this share of the square of
a letter's height."""
LOOSE = 1.4
"""What is read may differ from a glyph by so much more than what is learned: few shapes are nearly like two glyphs, and of
a broken letter the hairline is missing."""
FIT, RIM = 0.6, 0.5
"""Where letters touch: the share of its area that a glyph must gain, and what it loses for each pixel of ink beside it."""
LETTER = 0.6
"""What is found where letters touch is at least so high, as a share of a letter's height: dots would fit everywhere."""
SHARE = 0.7
"""A region of which letters explain less is something else."""
WIDEST = 480
"""What is higher or wider than so many pixels is a picture or a rule, not letters that touch."""


def unions_of(shapes: list[Shape], height: float, largest: int, beside: bool = True) -> list[Shape]:
    """Two or three shapes of one frame that may be parts of one glyph.

    Args:
        shapes: Those of the frame, whose numbers are their places in the list.
        height: A letter's.
        largest: Height and width of a union, at most.
        beside: Also what lies side by side, such as the strokes of a broken n; else only what lies above one another: dots,
            umlauts, the strokes of a hyphen.
    """
    if len(shapes) < 2:
        return []
    box = np.array([(s.top, s.left, s.bottom, s.right) for s in shapes])
    near = _stacked(box, height) | (_abreast(box, height) if beside else False)
    near = np.triu(near | near.T, 1)
    pairs = {(int(a), int(b)) for a, b in np.argwhere(near)}
    neighbours: dict[int, set[int]] = {}
    for a, b in pairs:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    groups = {frozenset(pair) for pair in pairs}
    groups |= {frozenset((*pair, c)) for pair in pairs for n in pair for c in neighbours[n] if c not in pair}
    found = []
    for parts in sorted(tuple(sorted(group)) for group in groups):
        corner, end = box[list(parts), :2].min(0), box[list(parts), 2:].max(0)
        if (end - corner).max() <= largest:
            found.append(_together([shapes[k] for k in parts], corner, end, parts))
    return found


def _stacked(box: Int64[np.ndarray, "n 4"], height: float) -> Bool[np.ndarray, "n n"]:
    """Whether one of two boxes (top, left, bottom, right) lies closely above the other."""
    shared = np.minimum(box[:, None, 3], box[None, :, 3]) - np.maximum(box[:, None, 1], box[None, :, 1])
    wide = box[:, 3] - box[:, 1]
    gap = box[None, :, 0] - box[:, None, 2]
    return (2 * shared >= np.minimum(wide[:, None], wide[None])) & (np.abs(gap) <= GAP * height)


def _abreast(box: Int64[np.ndarray, "n 4"], height: float) -> Bool[np.ndarray, "n n"]:
    """Whether one of two boxes lies closely to the left of the other."""
    shared = np.minimum(box[:, None, 2], box[None, :, 2]) - np.maximum(box[:, None, 0], box[None, :, 0])
    high = box[:, 2] - box[:, 0]
    gap = np.maximum(box[:, None, 1], box[None, :, 1]) - np.minimum(box[:, None, 3], box[None, :, 3])
    return (2 * shared >= np.minimum(high[:, None], high[None])) & (gap <= CRACK * height)


def _together(shapes: list[Shape], corner: np.ndarray, end: np.ndarray, parts: tuple[int, ...]) -> Shape:
    mask = np.zeros(tuple(end - corner), bool)
    for shape in shapes:
        y, x = shape.top - corner[0], shape.left - corner[1]
        mask[y : y + shape.mask.shape[0], x : x + shape.mask.shape[1]] |= shape.mask
    return Shape(shapes[0].frame, int(corner[0]), int(corner[1]), mask, parts)


@dataclass(frozen=True)
class Reading:
    """One glyph on a page.

    Attributes:
        entry: Which.
        top, left: Corner on the padded frame in pixels.
        shapes: Numbers of the shapes of ink that it is; none: it is a piece of one.
    """

    entry: int
    top: int
    left: int
    shapes: tuple[int, ...] = ()


@dataclass(eq=False)
class GlyphReader:
    """Glyphs made ready for reading pages.

    Attributes:
        glyphs: Their masks.
        spectra: Their Fourier transforms, by the size of the canvas.
    """

    glyphs: list[Mask]
    spectra: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, repr=False)

    def read(self, frames: Frames, index: int) -> list[Reading]:
        """Explain a frame's shapes: each by the glyph it is like, parts together where that is shorter, then what is left."""
        if not self.glyphs:
            return []
        largest = max(max(mask.shape) for mask in self.glyphs) + SLACK
        shapes = shapes_of(frames, index, WIDEST)
        height = letter_height([s for s in shapes if max(s.mask.shape) <= largest])
        found = self.assign(shapes, unions_of(shapes, height, largest), PART * height**2)
        gone = {n for reading in found for n in reading.shapes}
        left = np.zeros(frames.size, bool)
        for n, shape in enumerate(shapes):
            if n not in gone:
                left[shape.top : shape.bottom, shape.left : shape.right] |= shape.mask
        return found + self.touching(frames.kind[index] == OPEN, left, height)

    def assign(self, shapes: list[Shape], unions: list[Shape], price: float) -> list[Reading]:
        """Glyphs that are whole shapes, or unions of them; `price` is what one more glyph costs, in pixels that differ."""
        single, joined = nearest(shapes, self.glyphs), nearest(unions, self.glyphs)
        area = np.array([s.area for s in shapes], dtype=np.float64)
        like = np.array([self._is_like(shape, single, n) for n, shape in enumerate(shapes)], dtype=bool)
        alone = np.where(like, np.minimum(single.differs + price, area), area)
        gains = []
        for n, union in enumerate(unions):
            gain = float(sum(alone[k] for k in union.parts)) - float(joined.differs[n]) - price
            # A plain letter with dirt above it shows no dirt.
            if gain > 0 and self._is_like(union, joined, n) and self._shows_parts(union, shapes, joined, n):
                gains.append((gain, n))
        found: list[Reading] = []
        gone: set[int] = set()
        for _, n in sorted(gains, reverse=True):
            if not gone & set(unions[n].parts):
                gone |= set(unions[n].parts)
                found.append(_reading(unions[n], joined, n))
        alike = [n for n in range(len(shapes)) if n not in gone and like[n]]
        return found + [_reading(shapes[n], single, n) for n in alike]

    def _is_like(self, shape: Shape, near: Nearest, n: int) -> bool:
        """Whether a shape is like the glyph nearest to it."""
        least = LOOSE * min(shape.area, int(self.glyphs[near.entry[n]].sum()))
        return bool(near.differs[n] <= DIFFERS * least and near.strays[n] <= max(STRAYS * least, 2))

    def _shows_parts(self, union: Shape, shapes: list[Shape], near: Nearest, n: int) -> bool:
        """Whether a glyph shows more than half of each part."""
        shown = self.glyphs[near.entry[n]]
        top, left = union.top + int(near.down[n]), union.left + int(near.right[n])
        return all(_overlap(shapes[k], shown, top, left) > shapes[k].area / 2 for k in union.parts)

    def touching(self, ink: Bool[np.ndarray, "H W"], left: Bool[np.ndarray, "H W"], height: float) -> list[Reading]:
        """Letters in regions that are no letter: found one after the other, those first that explain most."""
        labels, _ = ndimage.label(ndimage.binary_dilation(left, np.ones((3, 3))), np.ones((3, 3)))
        found = []
        for number, window in enumerate(ndimage.find_objects(labels), start=1):
            is_open = (labels[window] == number) & left[window]
            if is_open.sum() >= PART * height**2 and max(is_open.shape) <= WIDEST:
                some, share = self.pursue(ink[window], is_open, LETTER * height)
                corner = window[0].start, window[1].start
                found += [Reading(r.entry, r.top + corner[0], r.left + corner[1]) for r in some if share >= SHARE]
        return found

    def pursue(
        self, ink: Mask, is_open: Mask, smallest: float, among: Bool[np.ndarray, " k"] | None = None
    ) -> tuple[list[Reading], float]:
        """Letters in one region.

        Args:
            ink: All ink.
            is_open: That which is to be explained.
            smallest: Height of a letter in pixels, at least.
            among: Which glyphs may be found; None: all.

        Returns:
            Letters, with their corners on the region, and the share of it that they explain.
        """
        margin = REACH + 1
        high, wide = (next(step for step in (*STEPS, 640) if step >= n + 2 * margin + 4) for n in is_open.shape)
        usable = self._usable(is_open.shape, margin, smallest, among)
        found: list[Reading] = []
        if len(usable) == 0:
            return found, 0.0
        inside, rims = self._spectra((high, wide))[:, usable]
        sizes = np.array([self.glyphs[k].shape for k in usable])
        least = FIT * np.array([self.glyphs[k].sum() for k in usable])
        total, is_open, closed = int(is_open.sum()), np.pad(is_open, margin), np.pad(ink & ~is_open, margin)
        # A glyph may not hang over the canvas, where it would come in again on the other side.
        rows, columns = (
            np.arange(high) > is_open.shape[0] - sizes[:, :1],
            np.arange(wide) > is_open.shape[1] - sizes[:, 1:],
        )
        outside = rows[:, :, None] | columns[:, None]
        while True:
            worth, beside = np.full((high, wide), -1, np.float32), np.zeros((high, wide), np.float32)
            worth[: is_open.shape[0], : is_open.shape[1]] = np.where(is_open, 1, np.where(closed, 0, -1))
            beside[: is_open.shape[0], : is_open.shape[1]] = is_open
            product = inside * scipy.fft.rfft2(worth) - RIM * rims * scipy.fft.rfft2(beside)
            gains = np.where(outside, -np.inf, scipy.fft.irfft2(product, s=(high, wide))).reshape(len(usable), -1)
            best = gains.max(1)
            n = int(np.where(best >= least, best, -np.inf).argmax())
            if best[n] < least[n]:
                return found, 1 - int(is_open.sum()) / max(total, 1)
            y, x = divmod(int(gains[n].argmax()), wide)
            found.append(Reading(int(usable[n]), y - margin, x - margin))
            shown = np.zeros_like(is_open)
            shown[y : y + sizes[n, 0], x : x + sizes[n, 1]] = self.glyphs[usable[n]]
            shown = ndimage.binary_dilation(shown, CROSS)  # what frays around it is explained, too
            closed |= is_open & shown
            is_open &= ~shown

    def _usable(
        self, size: tuple[int, ...], margin: int, smallest: float, among: Bool[np.ndarray, " k"] | None
    ) -> Int64[np.ndarray, " n"]:
        """Which glyphs fit into a region and are high enough."""
        sizes = np.array([mask.shape for mask in self.glyphs]).reshape(-1, 2)
        fits = (sizes[:, 0] >= smallest) & (sizes <= np.array(size) + margin).all(1)
        return np.flatnonzero(fits if among is None else fits & among)

    def _spectra(self, size: tuple[int, int]) -> np.ndarray:
        """For correlation, Fourier transforms of the glyphs and of the rims around them, two pixels away."""
        if size not in self.spectra:
            drawn = np.zeros((2, len(self.glyphs), *size), np.float32)
            for k, mask in enumerate(self.glyphs):
                if mask.shape[0] + 4 <= size[0] and mask.shape[1] + 4 <= size[1]:
                    wide = np.pad(mask, 2)
                    rim = ndimage.binary_dilation(wide, CROSS, 2) & ~ndimage.binary_dilation(wide, CROSS)
                    drawn[0, k, : mask.shape[0], : mask.shape[1]] = mask
                    drawn[1, k, : rim.shape[0], : rim.shape[1]] = rim
            drawn[1] = np.roll(drawn[1], (-2, -2), (1, 2))
            self.spectra[size] = np.conj(scipy.fft.rfft2(drawn)).astype(np.complex64)
        return self.spectra[size]


def _reading(shape: Shape, near: Nearest, n: int) -> Reading:
    return Reading(int(near.entry[n]), shape.top + int(near.down[n]), shape.left + int(near.right[n]), shape.parts)


def _overlap(shape: Shape, mask: Mask, top: int, left: int) -> int:
    """Pixels that a shape shares with a mask whose corner is given."""
    y, x = max(top, shape.top), max(left, shape.left)
    down, right = min(top + mask.shape[0], shape.bottom), min(left + mask.shape[1], shape.right)
    if y >= down or x >= right:
        return 0
    mine = shape.mask[y - shape.top : down - shape.top, x - shape.left : right - shape.left]
    return int((mine & mask[y - top : down - top, x - left : right - left]).sum())

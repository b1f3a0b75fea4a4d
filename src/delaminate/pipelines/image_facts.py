"""What can be measured of images without labels, to say what they are: few numbers, each with the reason for it.

Shares lie in [0, 1]. Of every image the middle is looked at, at its own pixels; what says how images are alike looks at
small copies of the whole. All is the median over images, so that a few odd ones change nothing.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8, UInt64
from scipy import ndimage
from torch import Tensor

from delaminate.data import ImageSet
from delaminate.data.samples import Picture, Sample, sample_images
from delaminate.matching.blobs import otsu

LOOKED_AT, PAGE = (
    320,
    640,
)  # side of the middle of an image, in pixels: a game shows several tiles there, a page some ten lines
MOST_DETAILED = 16  # images whose pixels are looked at one by one
PATCH, BUSY = 6, 6  # side of patches that may recur; changes from pixel to pixel in one, below which it is plain
PATCHES = 400  # patches of an image that are looked for elsewhere
CHANGE, FAINT = 24, 8  # of 255: colours differ clearly; or so little that compression may be the reason
THUMBNAIL = 64
MOST_DIGITS = 30  # of a number in a file's name
NEAR, CHANGED = 0.75, 0.6  # coherence and change up to which images follow one another


@dataclass(frozen=True)
class Facts:
    """Label-free measures of a collection.

    Attributes:
        equal: Neighbouring pixels of exactly one colour: drawings have many, photos and lossy files few.
        nearly_equal: The same within `FAINT`: drawings keep them when they are compressed, photos never have many.
        recurring: Busy patches that are found again, to the bit, in an image that is no neighbour: nothing but drawings
            made of the same parts has them.
        ground: The border's commonest colour, as a share of the border: 1 on one colour.
        things: Pixels that differ clearly from that colour.
        changes: Neighbours within things that differ at all, and
        hues: those whose hue differs: figures have several hues, a shape has one, shaded or not.
        plain: Pixels of things that have one of the three commonest colours of their image's things, within 2 `FAINT`.
        one_axis: Variance of colour along one line through colour space: 1 for ink on paper, grey and fluorescence.
        ink: Pixels that are much darker than the paper around them, and
        bimodal: how far these two explain the lightness (variance between them over all of it).
        paper: Lightness of the paper, 0 to 255.
        letters: Connected pieces of ink of at least 4 pixels' height in the middle.
        lines: Rows of ink with a gap between them.
        dark: The median of the brightest channel over its 99.5th percentile: small where spots shine on black.
        lit: Pixels of the spots, by Otsu's threshold.
        lit_equal: Neighbours within the spots that are exactly equal: light has grain, drawings do not.
        coherence: How far apart neighbours are, compared with images far apart (both blurred): 1 without an order in time.
        change: Pixels that differ clearly between neighbours.
        still: Pixels that show the same in most images though it is not the commonest colour: scenery that stays.
        low, edges, outlines: How alike images are in pairs: light and dark (blurred), where there is detail, and which way
            edges run, each in cells. 0 on average for photos of anything; a class that is photographed alike has more.
        size: Typical height and width of connected things, in pixels; (0, 0): there are none.
        number: Things in an image, at most, in 98 of 100 images.
    """

    equal: float
    nearly_equal: float
    recurring: float
    ground: float
    things: float
    changes: float
    hues: float
    plain: float
    one_axis: float
    ink: float
    bimodal: float
    paper: float
    letters: int
    lines: int
    dark: float
    lit: float
    lit_equal: float
    coherence: float
    change: float
    still: float
    low: float
    edges: float
    outlines: float
    size: tuple[int, int]
    number: int

    @property
    def follows(self) -> bool:
        """Whether neighbours are alike as frames of a clip are."""
        return self.coherence <= NEAR and self.change <= CHANGED


def are_frames(images: ImageSet) -> bool:
    """Whether images are the frames of a clip: of one size, numbered one after another, and neighbours are alike."""
    if len({canvas_map.original for canvas_map in images.canvas_maps}) > 1 or not _count_up(images.names):
        return False
    coherence, change = _order(sample_images(images))
    return coherence <= NEAR and change <= CHANGED


def _count_up(names: Sequence[str]) -> bool:
    """Whether names differ in one number alone, which grows by the same step."""
    first: tuple[str, str] | None = None
    last = step = 0
    for name in names:
        found = re.fullmatch(r"(.*?)([0-9]+)([^0-9]*)", name)
        if found is None or len(found[2]) > MOST_DIGITS:
            return False
        around, number = (found[1], found[3]), int(found[2])
        if first is not None and (around != first or number <= last or (step and number - last != step)):
            return False
        step = number - last if first is not None else 0
        first, last = around, number
    return step > 0


def measure(sample: Sample) -> Facts:
    """Measure a sample whose enlargement is undone."""
    chosen = np.linspace(0, len(sample.pictures) - 1, min(len(sample.pictures), MOST_DETAILED)).round().astype(int)
    middles = [_middle(sample.pictures[n]) for n in chosen]

    def typical(of: Callable[[Picture], float]) -> float:
        return float(np.median([of(picture) for picture in middles]))

    things = np.array([_things(picture) for picture in middles])
    ink = np.array([_ink(_middle(sample.pictures[n], PAGE)) for n in chosen[:: max(len(chosen) // 8, 1)]])
    light = np.array([_light(picture) for picture in middles])
    coherence, change = _order(sample)
    low, edges, outlines = _likeness(sample.pictures)
    size, number = _sizes(middles)
    ground, share, changes, hues, plain = np.median(things, 0).tolist()
    bimodal, inked, paper, letters, lines = np.median(ink, 0).tolist()
    dark, lit, lit_equal = np.median(light, 0).tolist()
    return Facts(
        equal=typical(lambda picture: _equal(picture, 0)), nearly_equal=typical(lambda picture: _equal(picture, FAINT)),
        recurring=_recurring(middles, int(sample.rate is not None or coherence < 0.9)), ground=ground, things=share,
        changes=changes, hues=hues, plain=plain, one_axis=typical(_one_axis), ink=inked, bimodal=bimodal, paper=paper,
        letters=int(letters), lines=int(lines), dark=dark, lit=lit, lit_equal=lit_equal, coherence=coherence,
        change=change, still=_still(middles), low=low, edges=edges, outlines=outlines, size=size, number=number,
    )  # fmt: skip


def _middle(picture: Picture, side: int = LOOKED_AT) -> Picture:
    top, left = (max(length - side, 0) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def _codes(picture: Picture) -> UInt64[np.ndarray, "h w"]:
    """One number for every colour."""
    red, green, blue = (picture[..., n].astype(np.uint64) for n in range(3))
    return (red << np.uint64(16)) | (green << np.uint64(8)) | blue


def _lightness(picture: Picture) -> Float[np.ndarray, "h w"]:
    return picture @ np.array([0.299, 0.587, 0.114], np.float32)


def _steps(picture: Picture) -> list[np.ndarray]:
    """How far neighbours differ in any channel, down and across."""
    return [np.abs(np.diff(picture.astype(np.int16), axis=axis)).max(-1) for axis in (0, 1)]


def _equal(picture: Picture, within: int) -> float:
    steps = _steps(picture)
    return sum(int((step <= within).sum()) for step in steps) / max(sum(step.size for step in steps), 1)


# ---- Recurrence -------------------------------------------------------------------------------------------------------


def _hashes(picture: Picture) -> UInt64[np.ndarray, "Y X"]:
    """A number for the patch at every place; wrapping sums with odd factors, which no drawing repeats by chance."""
    codes = _codes(picture) + np.uint64(1)
    height, width = (side - PATCH + 1 for side in codes.shape)
    rows = np.zeros((codes.shape[0], width), np.uint64)
    found = np.zeros((height, width), np.uint64)
    for n in range(PATCH):
        rows += codes[:, n : n + width] * np.uint64(pow(1099511628211, n + 1, 2**64))
    for n in range(PATCH):
        found += rows[n : n + height] * np.uint64(pow(6364136223846793005, n + 1, 2**64))
    return found


def _busy(picture: Picture) -> Bool[np.ndarray, "Y X"]:
    """Patches in which colours change often enough that they would not be met again by chance."""
    changes = np.zeros(picture.shape[:2], np.int64)
    down, across = _steps(picture)
    changes[1:] += down > 0
    changes[:, 1:] += across > 0
    sums = np.pad(changes, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    return sums[PATCH:, PATCH:] - sums[:-PATCH, PATCH:] - sums[PATCH:, :-PATCH] + sums[:-PATCH, :-PATCH] >= BUSY


def _recurring(pictures: Sequence[Picture], gap: int) -> float:
    """Share of busy patches that another image shows, too; of one image alone, that it shows elsewhere."""
    pictures = [picture for picture in pictures if min(picture.shape[:2]) > PATCH]
    hashes = [_hashes(picture) for picture in pictures]
    busy = [found[_busy(picture)] for found, picture in zip(hashes, pictures, strict=True)]
    if len(pictures) == 1:
        _, counts = np.unique(busy[0], return_counts=True)
        return float(counts[counts > 1].sum() / max(counts.sum(), 1))
    if not pictures:
        return 0.0
    values = np.concatenate([found.ravel() for found in hashes])
    order = values.argsort(kind="stable")
    values, owner = values[order], np.repeat(np.arange(len(hashes)), [found.size for found in hashes])[order]
    rng = np.random.default_rng(0)
    found = total = 0
    for index, patches in enumerate(busy):
        some = rng.choice(patches, min(PATCHES, len(patches)), replace=False) if len(patches) else patches
        # Owners of one value are in order: the first and the last say whether one lies far enough away.
        first = owner[np.searchsorted(values, some, "left")]
        last = owner[np.searchsorted(values, some, "right") - 1]
        found += int(((first < index - gap) | (last > index + gap)).sum())
        total += len(some)
    return found / max(total, 1)


# ---- Things on a ground -----------------------------------------------------------------------------------------------


def _ground(picture: Picture) -> tuple[Int64[np.ndarray, " 3"], float]:
    """The commonest colour of the border, and its share."""
    codes = _codes(picture)
    values, counts = np.unique(np.concatenate([codes[0], codes[-1], codes[:, 0], codes[:, -1]]), return_counts=True)
    value = int(values[counts.argmax()])
    return np.array([value >> 16, value >> 8 & 255, value & 255]), float(counts.max() / counts.sum())


def _mask(picture: Picture) -> Bool[np.ndarray, "h w"]:
    return np.abs(picture.astype(np.int64) - _ground(picture)[0]).max(-1) > CHANGE


def _things(picture: Picture) -> tuple[float, float, float, float, float]:
    """`ground`, `things`, `changes`, `hues` and `plain` of one image."""
    mask = _mask(picture)
    values = picture.astype(np.float64)
    # A dark pixel has no hue of its own; it counts as grey.
    dark = values.max(-1) < 40
    hue = np.where(dark[..., None], 1 / 3, values / np.maximum(values.sum(-1, keepdims=True), 1))
    inside = changes = hues = 0
    for axis, step in enumerate(_steps(picture)):
        one = tuple(slice(1, None) if n == axis else slice(None) for n in range(2))
        other = tuple(slice(None, -1) if n == axis else slice(None) for n in range(2))
        both = mask[one] & mask[other]
        differs = (np.abs(hue[one] - hue[other]).max(-1) > 0.06) | (dark[one] != dark[other])
        inside += int(both.sum())
        changes += int((both & (step > FAINT)).sum())
        hues += int((both & (step > FAINT) & differs).sum())
    plain = _plain(picture[ndimage.binary_erosion(mask)])
    return _ground(picture)[1], float(mask.mean()), changes / max(inside, 1), hues / max(inside, 1), plain


def _plain(colours: UInt8[np.ndarray, "n 3"], most: int = 3) -> float:
    """Share that lies within 2 `FAINT` of one of the few commonest colours."""
    left, count = colours.astype(np.int16), len(colours)
    for _ in range(most):
        if not len(left):
            return 1.0 if count else 0.0
        values, counts = np.unique(left >> 3, axis=0, return_counts=True)
        middle = np.median(left[(left >> 3 == values[counts.argmax()]).all(1)], 0)
        left = left[np.abs(left - middle).max(1) > 2 * FAINT]
    return 1 - len(left) / max(count, 1)


def _sizes(pictures: Sequence[Picture]) -> tuple[tuple[int, int], int]:
    """Height and width that nearly all connected things stay within, and how many there are in an image."""
    sides, numbers = [], []
    for picture in pictures:
        labels, count = ndimage.label(_mask(picture))
        boxes = [
            (rows.stop - rows.start, columns.stop - columns.start) for rows, columns in ndimage.find_objects(labels)
        ]
        sides += [box for box in boxes if min(box) >= 3]
        numbers.append(count)
    if not sides:
        return (0, 0), 0
    height, width = np.quantile(np.array(sides), 0.9, axis=0).round().astype(int).tolist()
    return (height, width), int(np.quantile(numbers, 0.98))


# ---- Ink, light -------------------------------------------------------------------------------------------------------


def _one_axis(picture: Picture) -> float:
    values = picture.reshape(-1, 3).astype(np.float64)
    values -= values.mean(0)
    axes = np.linalg.eigvalsh(values.T @ values)
    return float(axes[-1] / max(axes.sum(), 1e-9)) if axes[-1] > 0 else 1.0


def _ink(picture: Picture) -> tuple[float, float, float, float, float]:
    """`bimodal`, `ink`, `paper`, `letters` and `lines` of one image."""
    light = _lightness(picture)
    # Scans are lit unevenly: paper is what is light in the neighbourhood.
    near = ndimage.percentile_filter(light[::4, ::4], 85, size=15)
    paper = near.repeat(4, 0).repeat(4, 1)[: light.shape[0], : light.shape[1]]
    relative = (light / np.maximum(paper, 1)).clip(0, 1.2)
    threshold, bimodal = otsu(relative)
    ink = relative < threshold
    labels, _ = ndimage.label(ink, np.ones((3, 3)))
    heights = [rows.stop - rows.start for rows, _ in ndimage.find_objects(labels)]
    inked = ink.mean(1)
    on = inked > 0.25 * np.quantile(inked, 0.9)
    lines = int((np.diff(np.pad(on.astype(int), 1)) == 1).sum())
    return bimodal, float(ink.mean()), float(np.median(light)), float(sum(each >= 4 for each in heights)), float(lines)


def _light(picture: Picture) -> tuple[float, float, float]:
    """`dark`, `lit` and `lit_equal` of one image."""
    bright = picture.max(-1).astype(np.float32)
    lit = bright > otsu(bright)[0]
    pairs = lit[:, 1:] & lit[:, :-1]
    equal = (np.diff(picture.astype(np.int16), axis=1) == 0).all(-1)
    top = max(float(np.quantile(bright, 0.995)), 1.0)
    return float(np.median(bright)) / top, float(lit.mean()), float((equal & pairs).sum() / max(int(pairs.sum()), 1))


# ---- Images beside one another ----------------------------------------------------------------------------------------


def _reduced(pictures: Sequence[Picture], size: tuple[int, int]) -> Float[Tensor, "N 3 h w"]:
    """Small copies, by means of areas."""
    small = [
        F.interpolate(torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None].float(), size, mode="area")
        for p in pictures
    ]
    return torch.cat(small)


def _order(sample: Sample) -> tuple[float, float]:
    """`coherence` and `change`: 1 and 1 where images cannot be compared."""
    pairs = [n for n in range(len(sample.places) - 1) if sample.places[n + 1] == sample.places[n] + 1]
    count = len(sample.pictures)
    if len(sample.sizes) > 1 or len(pairs) < 3:
        return 1.0, 1.0
    height, width = sample.pictures[0].shape[:2]
    # Blurred, a small thing that moved by its own width is still near: by eighths, of at most 48 cells.
    small = _reduced(sample.pictures, (min(max(height // 8, 4), 48), min(max(width // 8, 4), 48)))
    near = torch.stack([(small[n] - small[n + 1]).abs().mean() for n in pairs])
    apart = max(count // 3, 2)
    far = torch.stack([(small[n] - small[(n + apart) % count]).abs().mean() for n in range(count)])
    changed = [
        np.abs(sample.pictures[n].astype(np.int16) - sample.pictures[n + 1]).max(-1) > CHANGE for n in pairs[:30]
    ]
    return float(near.mean() / far.mean().clamp_min(1e-6)), float(np.mean([each.mean() for each in changed]))


def _still(pictures: Sequence[Picture]) -> float:
    """Pixels that most images agree in, but for those of the commonest colour."""
    if len({picture.shape for picture in pictures}) > 1 or len(pictures) < 4:
        return 0.0
    codes = np.sort(np.stack([_codes(picture >> 4) for picture in pictures]).reshape(len(pictures), -1), axis=0)
    middle = codes[len(codes) // 2]
    agreed = middle[(codes == middle).mean(0) >= 0.75]
    if not len(agreed):
        return 0.0
    return float((len(agreed) - np.unique(agreed, return_counts=True)[1].max()) / codes.shape[1])


def _likeness(pictures: Sequence[Picture]) -> tuple[float, float, float]:
    """`low`, `edges` and `outlines`: means over all pairs of images, so that they do not depend on how many there are."""
    if len(pictures) < 4:
        return 0.0, 0.0, 0.0
    small = _reduced(pictures, (THUMBNAIL, THUMBNAIL)) / 255
    grey = np.einsum("nchw,c->nhw", small.numpy(), np.array([0.299, 0.587, 0.114]))
    gradients = [np.gradient(picture) for picture in grey]
    low = np.stack([ndimage.gaussian_filter(picture, 4) for picture in grey])
    detail = np.stack([ndimage.gaussian_filter(np.hypot(*gradient), 3) for gradient in gradients])
    outlines = np.stack([_outlines(*gradient) for gradient in gradients])
    return _mean_correlation(low), _mean_correlation(detail), _mean_cosine(outlines)


def _outlines(
    down: Float[np.ndarray, "h w"], across: Float[np.ndarray, "h w"], cell: int = 8, bins: int = 9
) -> Float[np.ndarray, " n"]:
    """Which way edges run in each cell (histograms of oriented gradients, Dalal and Triggs, 2005), less the image's mean."""
    strength = np.hypot(down, across)
    angle = np.minimum((np.arctan2(down, across) % np.pi / np.pi * bins).astype(int), bins - 1)
    cells = strength.shape[0] // cell, cell, strength.shape[1] // cell, cell
    found = np.stack([(strength * (angle == n)).reshape(cells).sum((1, 3)) for n in range(bins)], -1)
    found /= np.linalg.norm(found, axis=-1, keepdims=True) + 0.05 * strength.mean() * cell**2 + 1e-6
    return (found - found.mean((0, 1))).ravel()


def _mean_correlation(maps: Float[np.ndarray, "N h w"]) -> float:
    rows = maps.reshape(len(maps), -1)
    rows = rows - rows.mean(1, keepdims=True)
    return _mean_cosine(rows)


def _mean_cosine(rows: Float[np.ndarray, "N d"]) -> float:
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    count, total = len(rows), rows.sum(0)
    return float((total @ total - count) / (count * (count - 1)))

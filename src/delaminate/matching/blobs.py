"""Blobs: connected parts of masks, and those that touch taken apart.

Round things that touch make one part that is larger than what is usual, and not convex: the distance to the border has a
peak in each of them and a saddle between. Peaks whose saddle is shallow are one thing. How large things usually
are is learned from the parts themselves: most do not touch.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int64
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

SIDES = ndimage.generate_binary_structure(2, 1)
LARGE = 1.3
"""Times the usual area: a smaller part is one thing."""

CONVEX = 0.95
"""Of its convex hull: a part that fills more of it is one thing."""

SADDLE = 0.85
"""Of the lower of two peaks: a waist that is wider parts nothing."""

SMOOTHING = 0.15
"""Of the usual radius: what bends of a border are no waists."""

NEAREST_PEAKS = 0.7
"""Of the usual radius."""

ENOUGH = 5
"""Parts of one mask that say how large its things usually are; fewer leave that to the collection."""

SPECK = 0.05
"""Of the usual area: what is smaller is no thing."""

LEAST_RADIUS = 2.0
"""Pixels: smaller things have no waist that can be seen."""


def otsu(values: np.ndarray) -> tuple[float, float]:
    """The threshold that parts values best, and the share of their variance that lies between both parts (Otsu, 1979)."""
    counts, edges = np.histogram(values, 64)
    middles = (edges[1:] + edges[:-1]) / 2
    below, sums = counts.cumsum()[:-1], (counts * middles).cumsum()
    above, total = counts.sum() - below, sums[-1]
    held = (below > 0) & (above > 0)
    if not held.any():
        return float(edges[-1]), 0.0
    means = sums[:-1][held] / below[held], (total - sums[:-1][held]) / above[held]
    between = np.zeros(len(below))
    between[held] = (means[0] - means[1]) ** 2 * below[held] * above[held] / counts.sum() ** 2
    best = int(between.argmax())
    return float(edges[best + 1]), float(between[best] / max(float(values.var()), 1e-9))


def parts_of(mask: Bool[np.ndarray, "H W"]) -> tuple[Int64[np.ndarray, "H W"], int]:
    """Number what hangs together by the sides of its pixels, from 1; 0 is outside."""
    labels, count = ndimage.label(mask, SIDES)
    return labels.astype(np.int64), int(count)


def areas_of(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """How large each part of a mask is, in pixels."""
    return np.bincount(parts_of(mask)[0].ravel())[1:].tolist()


def usual_area(areas: Iterable[int], least: int = 8) -> float:
    """Say how large parts usually are, in pixels: the median of those that are no specks; 0: there are none."""
    large = [area for area in areas if area >= least]
    return float(np.median(large)) if large else 0.0


def separate(mask: Bool[np.ndarray, "H W"], usual: float) -> tuple[Int64[np.ndarray, "H W"], int]:
    """Number the things in a mask as `split_touching` does, by what is usual in it, or in the collection where it has few.

    Args:
        mask: Where any thing is.
        usual: How large things of the collection usually are, in pixels.
    """
    areas = areas_of(mask)
    return split_touching(mask, usual_area(areas) if len(areas) >= ENOUGH else usual)


def without_specks(labels: Int64[np.ndarray, "H W"], least: float) -> tuple[Int64[np.ndarray, "H W"], int]:
    """Leave out what has fewer than `least` pixels, and number the others anew, in their order; say how many there are."""
    kept = np.bincount(labels.ravel()) >= max(least, 1)
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0)
    return numbers[labels], int(kept.sum())


def split_touching(mask: Bool[np.ndarray, "H W"], usual: float) -> tuple[Int64[np.ndarray, "H W"], int]:
    """Number the things in a mask from 1, 0 outside, those that touch apart; and say how many there are.

    Args:
        mask: Where any thing is.
        usual: How large things usually are, in pixels, see `usual_area`.
    """
    labels, count = parts_of(mask)
    radius = float(np.sqrt(usual / np.pi))
    if radius < LEAST_RADIUS:
        return labels, count
    areas = np.bincount(labels.ravel())
    for number, window in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[window] == number
        if areas[number] > LARGE * usual and _filled(part) < CONVEX:
            regions, found = _split(part, radius)
            further = regions > 1
            labels[window][further] = regions[further] + count - 1
            count += found - 1
    return labels, count


def _filled(part: Bool[np.ndarray, "h w"]) -> float:
    """How much of its convex hull a part fills."""
    corners = np.argwhere(part)
    corners = np.concatenate([corners + np.array([down, across]) for down in (0, 1) for across in (0, 1)])
    try:
        return float(part.sum() / ConvexHull(corners).volume)
    except QhullError:
        return 1.0


def _split(part: Bool[np.ndarray, "h w"], radius: float) -> tuple[Int64[np.ndarray, "h w"], int]:
    """Regions around the peaks of the distance to the border, joined where there is no waist."""
    inside = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    smooth = ndimage.gaussian_filter(inside, SMOOTHING * radius) * part
    peaks = (smooth == ndimage.maximum_filter(smooth, 2 * round(NEAREST_PEAKS * radius) + 1)) & part
    seeds, count = ndimage.label(peaks, np.ones((3, 3)))
    if count < 2:
        return part.astype(np.int64), 1
    centres = np.array(ndimage.center_of_mass(peaks, seeds, np.arange(1, count + 1)))
    tops = np.asarray(ndimage.maximum(inside, seeds, np.arange(1, count + 1)))
    # A pixel belongs to the disc whose border is nearest (an Apollonius diagram).
    rows, columns = np.nonzero(part)
    away = np.hypot(rows[:, None] - centres[:, 0], columns[:, None] - centres[:, 1]) - tops
    regions = np.zeros(part.shape, np.int64)
    regions[rows, columns] = away.argmin(1) + 1
    return _merged(regions, smooth)


def _merged(regions: np.ndarray, height: np.ndarray) -> tuple[Int64[np.ndarray, "h w"], int]:
    """Join regions between which there is no waist, the widest passage first."""
    count = int(regions.max())
    top = np.zeros(count + 1)
    np.maximum.at(top, regions.ravel(), height.ravel())
    saddles: dict[tuple[int, int], float] = {}
    for one, other, low in _passages(regions, height):
        key = (min(one, other), max(one, other))
        saddles[key] = max(saddles.get(key, 0.0), low)
    owner = list(range(count + 1))

    def find(number: int) -> int:
        while owner[number] != number:
            number = owner[number]
        return number

    for (one, other), saddle in sorted(saddles.items(), key=lambda item: -item[1]):
        first, second = find(one), find(other)
        if first != second and saddle > SADDLE * min(top[first], top[second]):
            owner[second] = first
            top[first] = max(top[first], top[second])
    roots = np.array([find(number) for number in range(count + 1)])
    _, numbered = np.unique(roots[regions], return_inverse=True)
    labels = numbered.reshape(regions.shape).astype(np.int64)
    return labels, int(labels.max())


def _passages(regions: np.ndarray, height: np.ndarray) -> Iterable[tuple[int, int, float]]:
    """Pairs of neighbours of two regions, and how high the way between them lies."""
    for axis in (0, 1):
        one, other = (regions[1:], regions[:-1]) if axis == 0 else (regions[:, 1:], regions[:, :-1])
        low = np.minimum(height[1:], height[:-1]) if axis == 0 else np.minimum(height[:, 1:], height[:, :-1])
        meets = (one != other) & (one > 0) & (other > 0)
        yield from zip(one[meets].tolist(), other[meets].tolist(), low[meets].tolist(), strict=True)

"""What lies behind things that are at rest, such as a coin that spins in its place: it is seen now and then, or filled in."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from scipy import ndimage

REACH = 8
"""Pixels to the left and to the right of a thing at rest whose colours may go on behind it."""


def restless_areas(restless: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Areas in which much never settles, such as a coin that spins in its place; its middle may stand still."""
    closed = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(restless, 4), np.ones((5, 5))))[4:-4, 4:-4]
    labels, _ = ndimage.label(closed)
    sizes = np.bincount(labels.ravel())
    return np.asarray(closed & (sizes[labels] >= 6))


def fill_in(rgb: Float32[np.ndarray, "h w 3"], areas: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w 3"]:
    """Fill areas, and what is closely around them, with what lies beside, row by row."""
    wide = ndimage.binary_dilation(areas, np.ones((5, 5)))
    filled = rgb.copy()
    columns = np.arange(rgb.shape[1])
    for y in np.flatnonzero(wide.any(1) & ~wide.all(1)):
        known = ~wide[y]
        for channel in range(3):
            filled[y, ~known, channel] = np.interp(columns[~known], columns[known], rgb[y, known, channel])
    return filled


def small_areas(mask: Bool[np.ndarray, "h w"], most: int) -> Bool[np.ndarray, "h w"]:
    """The connected areas of a mask that have no side of more pixels than that."""
    labels, _ = ndimage.label(mask)
    sizes = [
        max(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in ndimage.find_objects(labels)
    ]
    is_small = np.array([False, *(size <= most for size in sizes)])
    return np.asarray(is_small[labels])


def continue_around(
    filled: Float32[np.ndarray, "h w 3"],
    rgb: Float32[np.ndarray, "h w 3"],
    things: Bool[np.ndarray, "h w"],
    restless: Bool[np.ndarray, "h w"],
    blocks: Callable[[], Iterator[tuple[int, int, np.ndarray, np.ndarray]]],
    least: float = 0.1,
) -> None:
    """Where a thing at rest now and then shows a colour that its row has beside it, that is what it hides.

    Row by row: things stand on what they stand on. Of the rim around what is restless, what has none of the thing's colours is
    as it was seen.

    Args:
        filled: With a guess behind the things; is changed.
        rgb: The commonest colours.
        things: What is restless, and a rim around it.
        restless: Without the rim.
        blocks: `stacking.blocks` of the frames; asked twice, since all of them together may not fit in memory.
        least: Share of the frames that must show the colour.
    """
    labels, count = ndimage.label(things)
    beside: dict[tuple[int, int], np.ndarray] = {}
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        near = slice(max(columns.start - REACH, 0), columns.stop + REACH)
        for row in range(rows.start, rows.stop):
            beside[number, row] = np.unique(pack(rgb[row, near][~things[row, near]].astype(np.int32)))
    own = [np.zeros(0, np.int32) for _ in range(count + 1)]
    for left, right, stack, there in blocks():
        part, core = labels[:, left:right], restless[:, left:right]
        for number in np.unique(part[part > 0]).tolist():
            mine = (part == number) & core
            own[number] = np.union1d(own[number], pack(stack[:, mine][there[:, mine]]))
    for left, right, stack, there in blocks():
        part, shown = labels[:, left:right], np.where(there, pack(stack), -1)
        for row in np.flatnonzero((part > 0).any(1)).tolist():
            for number in np.unique(part[row][part[row] > 0]).tolist():
                mine = np.flatnonzero(part[row] == number)
                colours = shown[:, row, mine]
                best, times = commonest(np.where(np.isin(colours, beside[number, row]), colours, -1))
                sure = times >= np.maximum(2, least * (colours >= 0).sum(0))
                told = np.stack([best >> 16 & 255, best >> 8 & 255, best & 255], -1)
                before = rgb[row, left + mine]
                as_seen = ~restless[row, left + mine] & ~np.isin(pack(before.astype(np.int32)), own[number])
                filled[row, left + mine] = np.select(
                    [sure[:, None], as_seen[:, None]], [told, before], filled[row, left + mine]
                )


def commonest(
    values: Int32[np.ndarray, "n *S"],  # noqa: F821
    weigh: Callable[[Int32[np.ndarray, "..."]], Float32[np.ndarray, "..."]] | None = None,
) -> tuple[Int32[np.ndarray, "*S"], Int64[np.ndarray, "*S"]]:
    """The commonest of the values along the first axis that are not negative, 0 where there is none; and how often it is.

    Args:
        values: Numbers; negative ones do not count.
        weigh: What one occurrence of each value counts; None: all the same.
    """
    ranked = np.sort(values, 0)
    weight = np.ones((1,) * values.ndim, np.float32) if weigh is None else weigh(ranked)
    run = np.ones(values.shape[1:], np.int64)
    best, times = ranked[0].clip(0), (ranked[0] >= 0).astype(np.int64)
    most = times * weight[0]
    for index, (before, now) in enumerate(itertools.pairwise(ranked), start=1):
        run = np.where(now == before, run + 1, 1)
        score = run * weight[index % len(weight)]
        better = (score > most) & (now >= 0)
        best, times = np.where(better, now, best), np.where(better, run, times)
        most = np.where(better, score, most)
    return best, times


def pack(colour: Int32[np.ndarray, "*S"]) -> Int32[np.ndarray, "*T"]:
    """Colours (..., 3), 0..255, as one number each; unlike `colour_codes` of any integers, so that -1 may stand for none."""
    return colour @ np.array([1 << 16, 1 << 8, 1], np.int32)

"""Boxes that touch: all pairs of them, in time that grows with what there is, not with its square."""

import numpy as np
from jaxtyping import Int64

AT_ONCE = 512


def touching(
    first: Int64[np.ndarray, "n 2"], last: Int64[np.ndarray, "n 2"], gap: int = 0
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """Find the pairs of boxes that touch, or overlap, each pair both ways round.

    Args:
        first: Top and left of each, in pixels.
        last: Bottom and right, where it has ended.
        gap: Boxes so many pixels apart touch, too.

    Returns:
        The one and the other of each pair.
    """
    by_top = np.argsort(first[:, 0], kind="stable")
    tops, tallest = first[by_top, 0], int((last - first)[:, 0].max(initial=0)) + gap
    pairs = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(first), AT_ONCE):
        mine = by_top[start : start + AT_ONCE]
        end = np.searchsorted(tops, last[mine, 0].max() + gap, "right")
        theirs = by_top[np.searchsorted(tops, tops[start] - tallest) : end]
        touch = np.ones((len(mine), len(theirs)), bool)
        for axis in (0, 1):
            touch &= first[mine, None, axis] <= last[None, theirs, axis] + gap
            touch &= first[None, theirs, axis] <= last[mine, None, axis] + gap
        a, b = np.nonzero(touch)
        pairs.append(np.stack([mine[a], theirs[b]], 1))
    one, other = np.concatenate(pairs).T
    return one[one != other], other[one != other]

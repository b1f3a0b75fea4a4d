"""Boxes that touch: all pairs of them, in time that grows with what there is, not with its square."""

import numpy as np
from jaxtyping import Int64

AT_ONCE = 2**20
"""Pairs that are looked at at a time."""


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
    # In the order in which they begin along the axis that tells them apart best, what touches a box follows it closely.
    along = int(np.argmax(np.ptp(first, axis=0) / np.maximum((last - first).mean(0), 1))) if len(first) else 0
    order = np.argsort(first[:, along], kind="stable")
    low, high = (each[order, 1 - along].astype(np.int32) for each in (first, last + gap))
    ends = np.searchsorted(first[order, along], last[order, along] + gap, "right")
    counts = ends - np.arange(len(order)) - 1
    done = np.concatenate([[0], counts.cumsum()])
    ones, others, start = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    while start < len(order):
        stop = max(int(np.searchsorted(done, done[start] + AT_ONCE, "right")) - 1, start + 1)
        mine = np.repeat(np.arange(start, stop), counts[start:stop])
        theirs = np.arange(len(mine)) - np.repeat(done[start:stop] - done[start], counts[start:stop]) + mine + 1
        touch = low[mine] <= high[theirs]
        touch &= low[theirs] <= high[mine]
        ones.append(order[mine[touch]])
        others.append(order[theirs[touch]])
        start = stop
    one, other = np.concatenate(ones), np.concatenate(others)
    return np.concatenate([one, other]), np.concatenate([other, one])

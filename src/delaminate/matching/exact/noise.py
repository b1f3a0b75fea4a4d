"""How noisy a source is: whether colours recur to the bit, or only about."""

import numpy as np
from jaxtyping import Int16, UInt8

LOSSLESS_TOLERANCE, LOSSY_TOLERANCE = 0.02, 0.16
LOSSLESS_MATCH, LOSSY_MATCH = 0.95, 0.8
SMALL = 6
"""Levels of 255: compression leaves steps of so few between neighbours, drawings seldom do."""


FEW_COLOURS = 0.11
"""Drawings have fewer colours than this, in a window of a frame, for each pixel at which the colour changes: theirs recur."""
WINDOW, LEAST_CHANGES = 128, 200
"""Side of such a window in pixels, and changes in it, at least, for it to tell."""


def is_noisy(tolerance: float) -> bool:
    """Whether a tolerance is one of noisy sources."""
    return tolerance > 0.07


def is_lossy(frames: UInt8[np.ndarray, "N H W 3"]) -> bool:
    """Whether a source was compressed with loss: many small steps between neighbours, in space and in time.

    A photograph stored without loss has small steps in space; but what stands still in it does so to the bit. Pictures that
    have nothing to do with each other differ by steps of any size; but where drawings recur, so do their colours.
    """
    some = frames[np.linspace(0, len(frames) - 1, min(len(frames), 16)).astype(int)].astype(np.int16)
    space = np.abs(np.diff(some, axis=2)).max(3)
    if _share_of_small(space) < 0.1 or _colours_a_change(some) < FEW_COLOURS:
        return False
    if len(frames) < 2:
        return True
    few = np.linspace(0, len(frames) - 2, min(len(frames) - 1, 16)).astype(int)
    return _share_of_small(np.stack([np.abs(frames[i].astype(np.int16) - frames[i + 1]).max(2) for i in few])) > 0.02


def _colours_a_change(frames: Int16[np.ndarray, "N H W 3"]) -> float:
    """How many colours windows of some frames have for each pixel at which the colour changes: the median."""
    numbers = frames.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    shares = []
    for frame in numbers:
        for top in range(0, frame.shape[0], WINDOW):
            for left in range(0, frame.shape[1], WINDOW):
                window = frame[top : top + WINDOW, left : left + WINDOW]
                changes = np.count_nonzero(np.diff(window, axis=0)) + np.count_nonzero(np.diff(window, axis=1))
                if changes >= LEAST_CHANGES:
                    shares.append(2 * len(np.unique(window)) / changes)
    return float(np.median(shares)) if shares else 1.0


def _share_of_small(steps: np.ndarray) -> float:
    changed, small = int(np.count_nonzero(steps)), int(np.count_nonzero((steps > 0) & (steps <= SMALL)))
    return small / max(changed, 1)


def estimate_noise(frames: UInt8[np.ndarray, "N H W 3"]) -> tuple[float, float]:
    """The tolerance and the share of pixels to match, as `Search` and `RegionGrowing` take them, for a source."""
    return (LOSSY_TOLERANCE, LOSSY_MATCH) if is_lossy(frames) else (LOSSLESS_TOLERANCE, LOSSLESS_MATCH)

"""Schedules: factors on learning rates and weights, as functions of the step."""

import math
from collections.abc import Sequence


def warmup_cosine(step: int, steps: int, warmup: int = 200) -> float:
    """Rise over the first steps, then fall to 0 along half a cosine.

    Args:
        step: Steps done.
        steps: Steps in all.
        warmup: Steps of the rise; a tenth of all at the most.
    """
    rise = min(1.0, (step + 1) / max(min(warmup, steps // 10), 1))
    return rise * 0.5 * (1 + math.cos(math.pi * step / max(steps, 1)))


def linear_rise(step: int, steps: int) -> float:
    """Rise from 0 to 1 along a line, then stay; 1 from the start where there are no steps."""
    return min(1.0, step / steps) if steps else 1.0


def linear_fall(step: int, steps: int, start: float = 0.0) -> float:
    """Stay at 1 for a share of all steps, then fall to 0 along a line; `start` 1 stays for good."""
    return max(0.0, min(1.0, (1 - step / steps) / (1 - start))) if start < 1 else 1.0


def step_decay(step: int, milestones: Sequence[int], factor: float = 0.1) -> float:
    """Multiply by a factor at every milestone that is reached."""
    return factor ** sum(step >= milestone for milestone in milestones)

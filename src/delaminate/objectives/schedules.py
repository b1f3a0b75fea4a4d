"""Schedules: factors on learning rates, as functions of the step."""

import math


def warmup_cosine(step: int, steps: int, warm: int = 200) -> float:
    """Rise over the first steps, then fall to 0 along half a cosine."""
    rise = min(1.0, (step + 1) / max(min(warm, steps // 10), 1))
    return rise * 0.5 * (1 + math.cos(math.pi * step / max(steps, 1)))

"""Frames with sprites afloat, and a MarioNette small enough to learn them."""

import numpy as np
import torch

from delaminate.engine.loop import Intervals
from delaminate.matching.exact.templates import HardSprite
from delaminate.methods.marionette import Config

GROUND = (30, 40, 60)


SMALL = Config(
    image_size=(48, 48), sprite_size=8, num_sprites=8, code_width=32, search_steps=1, search_batch=20, search_seed=5,
    max_sprite=16, flips=False, recolours=False, distil_steps=220, distil_batch=8, distil_learning_rate=3e-3, steps=0,
)  # fmt: skip


OFTEN = Intervals(check=10_000, preview=10_000)


def pattern(size, seed, shape=None):
    """A sprite of many colours: nothing in it looks like anything else."""
    rng = np.random.default_rng(seed)
    colour = (rng.uniform(0.3, 0.7, 3) + rng.uniform(-0.3, 0.3, (*size, 3))) * 255
    alpha = np.ones(size, bool) if shape is None else shape
    return HardSprite((colour.round() / 255 * alpha[..., None]).astype(np.float32), alpha)


def sprites():
    y, x = np.abs(np.mgrid[:8, :8] - 3.5)
    return [pattern((8, 8), 1, np.hypot(y, x) < 4.2), pattern((8, 8), 2, np.minimum(y, x) < 2), pattern((8, 8), 3)]


def afloat(count, seed=0, size=(48, 48), each=4):
    """Frames with sprites afloat, uint8."""
    rng, those = np.random.default_rng(seed), sprites()
    frames = np.full((count, *size, 3), GROUND, np.uint8)
    for frame in frames:
        for _ in range(each):
            sprite = those[rng.integers(len(those))]
            top, left = (int(rng.integers(n - 7)) for n in size)
            window = frame[top : top + 8, left : left + 8]
            window[sprite.alpha] = (sprite.colour * 255).round().astype(np.uint8)[sprite.alpha]
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()

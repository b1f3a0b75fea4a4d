"""The smallest PerturbGAN: its settings, its images, one step, and what its tests measure with."""

from dataclasses import replace

import torch

from delaminate.methods.perturbgan import Config
from delaminate.methods.players import StepContext
from delaminate.rng import stream

TINY = Config(
    image_size=(16, 16), noise_width=8, mapping_depth=2, width=8, max_channels=8, batch=4, steps=4, penalty_interval=2,
    ramp_steps=4, encoder_steps=4, encoder_batch=2, encoder_depth=32, segmenter_steps=3, segmenter_batch=2,
    segmenter_width=8, ema=0.9, restarts=1, monitor_from=1_000, reuse_fakes=True,
)  # fmt: skip
GROWING = replace(
    TINY, growing=True, first_side=8, grow_images=8, grow_batches=(4, 2), encoder_steps=0, segmenter_steps=0
)


def shrunk(config):
    """The same at a small size, with two steps in every stage that it has."""
    small = {
        "image_size": (16, 16), "noise_width": 8, "mapping_depth": 2, "width": 8, "max_channels": 8, "segmenter_width": 8,
        "encoder_depth": 32, "batch": 2, "encoder_batch": 2, "segmenter_batch": 2, "steps": 2, "grow_images": 2,
        "grow_batches": (2,), "ema": 0.9,
    }  # fmt: skip
    small |= {key: 2 for key in ("encoder_steps", "segmenter_steps", "self_training_steps") if getattr(config, key)}
    return replace(config, **small)


def photos(count=4, side=16):
    return torch.rand(count, 3, side, side, generator=stream("photos", count))


def pixels(count=8):
    return (photos(count) * 255).to(torch.uint8)


def context(step=0, batch=4, stage="layers", steps=100):
    return StepContext(stage, step, steps, slice(0, batch), batch)


def plainly_shifted(layer, down, right):
    """One image, moved by whole pixels; zeros come in."""
    moved, (height, width) = torch.zeros_like(layer), layer.shape[-2:]
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                moved[..., y, x] = layer[..., y - down, x - right]
    return moved


def assert_same_weights(one, other):
    """Two models are equal to the bit, buffers included."""
    for name, tensor in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name

"""The smallest trainings of every method, one from outside the package included."""

from dataclasses import replace

import fifth_method
import torch

from delaminate.engine.loop import Intervals
from delaminate.methods import marionette, perturbgan, redo
from delaminate.methods.dti_sprites import Config, DTISprites
from delaminate.rng import stream

CONFIG = Config(
    image_size=(16, 16), sprite_size=(8, 8), num_sprites=3, num_layers=2, background=False, alpha_sigma=2,
    search_steps=4, search_batch=6, search_placement_cost=0.5, distil_steps=3, distil_batch=4,
    steps=6, batch=4, reassign_every=2, reassign_below=2.9, frozen_steps=2, algorithm="adamw", cosine=True,
    gradient_clip=1.0,
    ema=0.9,
)  # fmt: skip
"""Sprites are begun again all the time, so that the random streams of that are tested too."""

PEAKS = replace(CONFIG, readout="peaks", reassign_every=0, ema=0.0, sprite_learning_rate=0.1)
PAPER = replace(
    CONFIG, search_steps=0, distil_steps=0, background=True, soft_occlusion=True, empty_sprite=True, passes=2,
    sprite_transforms=("similarity",), unlock_steps=(3,), algorithm="adam", cosine=False, milestones=(4,),
    gradient_clip=None,
    encoder_visits=2,
)  # fmt: skip
ADVERSARY = redo.Config(
    image_size=(16, 16), num_regions=3, mask_width=8, generator_width=2, discriminator_width=16, noise_width=4,
    batch=2, warmup_steps=2, steps=5, learning_rate=1e-3, mask_learning_rate=1e-3, decay_from=0.5, ema=0.9,
    area_weight=5.0, min_area=0.4,
    area_steps=3, augment_below=100,
)  # fmt: skip
GROWING = perturbgan.Config(
    image_size=(16, 16), noise_width=4, mapping_depth=1, width=2, max_channels=4, growing=True, first_side=8,
    grow_images=6,
    grow_batches=(4, 4), penalty_interval=2, ramp_steps=2, enlarge=1.125, augment_below=100, ema=0.9, learning_rate=1e-3,
    encoder_steps=2,
    encoder_batch=2, encoder_depth=32, segmenter_steps=2, segmenter_batch=2, segmenter_width=8, restarts=0,
)  # fmt: skip
PENALISED = replace(
    GROWING, growing=False, layout="shared-style", swap_backgrounds=0.5, loss="wgan-gp", mask_loss="published",
    reuse_fakes=True, batch=4, steps=3, encoder_steps=0, segmenter_steps=0,
)  # fmt: skip
RECOMMENDED = replace(
    GROWING, growing=False, batch=4, steps=3, independent_noise=True, foreground_noise=False, centre_prior=4.0,
    style_input=True,
    skip_outputs=True, border_weight=5.0, mask_diversity_weight=5.0, compactness_weight=0.5, segmenter_stretch=1.5,
    self_training_steps=2,
    refine_weight=3.0, enlarge=1.0, encoder_steps=0, reuse_fakes=True,
)  # fmt: skip
ANCHORS = marionette.Config(
    image_size=(16, 16), sprite_size=8, num_sprites=5, code_width=16, background_images=6, steps=3, batch=2, ema=0.9,
    gradient_clip=1.0,
)  # fmt: skip
OUTSIDE = fifth_method.Config(image_size=(16, 16), num_regions=3, width=8, steps=4, batch=4, ema=0.9)
CONFIGS = {
    "matched": CONFIG,
    "peaks": PEAKS,
    "paper": PAPER,
    "adversary": ADVERSARY,
    "growing": GROWING,
    "penalised": PENALISED,
    "recommended": RECOMMENDED,
    "anchors": ANCHORS,
    "outside": OUTSIDE,
}
EVERY_STEP = Intervals(log=1, check=2, preview=100, checkpoint_seconds=0.0)
SELDOM = Intervals(log=1, check=2, preview=100)


def pixels(count=11, seed=0):
    """A square of random colour on black, and in two of three images a bar."""
    rng = stream("tiny", seed)
    images = torch.zeros(count, 3, 16, 16)
    for index, image in enumerate(images):
        for height, width in ((4, 4), (2, 6))[: 1 + (index % 3 > 0)]:
            top, left = (int(torch.randint(11, (1,), generator=rng)) for _ in range(2))
            image[:, top : top + height, left : left + width] = 0.3 + 0.7 * torch.rand(3, 1, 1, generator=rng)
    return (images * 255).round().to(torch.uint8)


def model(config=CONFIG, seed=0):
    kinds = {
        redo.Config: redo.ReDO,
        perturbgan.Config: perturbgan.PerturbGAN,
        marionette.Config: marionette.MarioNette,
        fifth_method.Config: fifth_method.ColourRegions,
        Config: DTISprites,
    }
    return kinds[type(config)](config, seed)


def total_steps(config):
    return sum(stage.steps for stage in model(config).stages())


def differences(a, b):
    """Names of what is not equal to the bit, anywhere in two nested states."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else ["tensor"]
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [f"keys {sorted(map(str, a.keys() ^ b.keys()))}"]
        return [f"{key}.{found}" for key in a for found in differences(a[key], b[key])]
    if isinstance(a, list | tuple):
        found = [] if len(a) == len(b) else ["length"]
        return found + [f"{i}.{d}" for i, (x, y) in enumerate(zip(a, b, strict=False)) for d in differences(x, y)]
    return [] if a == b else [f"{a!r} != {b!r}"]

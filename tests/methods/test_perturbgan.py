"""PerturbGAN: layers from noise, perturbation, rivals, learners, and looking after itself."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from delaminate.engine import Budget, train
from delaminate.engine.checkpoint import load
from delaminate.engine.loop import Pace
from delaminate.errors import ConfigError, FormatError
from delaminate.methods import load_model, save_model
from delaminate.methods.base import Carry
from delaminate.methods.perturbgan import PRESETS, Config, PerturbGAN
from delaminate.methods.perturbgan.model import Grown
from delaminate.methods.perturbgan.players import Discriminator, Inverter, Painter, Segmenter, photographs
from delaminate.nets.stylegan import level_of
from delaminate.rng import stream
from delaminate.scene.compositing import composite, segment
from delaminate.scene.layers import Layers

TINY = Config(
    image_size=(16, 16), noise_width=8, mapping_depth=2, width=8, most_channels=8, batch=4, steps=4, penalty_every=2,
    ramp_steps=4, encoder_steps=4, encoder_batch=2, encoder_depth=32, segmenter_steps=3, segmenter_batch=2,
    segmenter_width=8, ema=0.9, restarts=1, watch_from=1_000, reuse_fakes=True,
)  # fmt: skip
GROWING = replace(
    TINY, growing=True, first_side=8, grow_images=8, grow_batches=(4, 2), encoder_steps=0, segmenter_steps=0
)
CPU = torch.device("cpu")


def photos(count=4, side=16):
    return torch.rand(count, 3, side, side, generator=stream("photos", count))


def pixels(count=8):
    return (photos(count) * 255).to(torch.uint8)


def carry(step=0, batch=4, stage="layers", steps=100):
    return Carry(stage, step, steps, slice(0, batch), batch)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_at_its_size(name):
    config = PRESETS[name]
    with torch.device("meta"):
        model = PerturbGAN(config)
        grown = Grown(level_of(config.image_size[0]))
        styles = [torch.zeros(1, grown.level + 1, config.noise_width)] * config.num_trunks
        layers = model.generator(styles, None, grown)
        scores = model.discriminator(composite(layers))
        if config.segmenter_steps:
            assert model.segmenter(composite(layers)).shape == (1, 1, *config.image_size)
        if config.encoder_steps:
            assert model.encoder(composite(layers))[0].shape == (config.num_styles, 1, config.noise_width)
    assert layers.rgb.shape == (1, 2, 3, *config.image_size)
    assert layers.alpha.shape == (1, 2, 1, *config.image_size)
    assert scores.shape == (1,)


def test_the_published_schedule_has_the_published_length():
    with torch.device("meta"):
        stages = PerturbGAN(PRESETS["lsun-object-paper"]).stages()
    assert [stage.name for stage in stages] == [
        "layers-8", "layers-16", "layers-32", "layers-64", "layers-128", "encoder",
    ]  # fmt: skip
    assert sum(stage.steps for stage in stages[:-1]) == pytest.approx(107_800, rel=1e-3)
    assert sum(stage.steps * stage.batch for stage in stages[:-1]) == pytest.approx(6e6, rel=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"layout": "one"},
        {"layout": "shared-style"},
        {"layout": "shared-style", "independent_noise": True},
        {"independent_noise": True, "reuse_fakes": False},
        {"swap_backgrounds": 0.5, "augment": True},
        {"loss": "wgan-gp", "mask_loss": "published", "enlarge": 1.125},
    ],
)
def test_every_player_of_every_kind_takes_its_turns(settings):
    model = PerturbGAN(replace(TINY, **settings))
    outcome = train(model, pixels())
    assert outcome.finished
    assert outcome.total_step == 4 + 4 + 3
    assert model.decomposers == ("segmenter", "encoder")
    layers = model.sample(5, stream(0))
    assert layers.rgb.shape == (5, 2, 3, 16, 16)
    assert layers.rgb.min() >= 0 and layers.rgb.max() <= 1
    again = model.sample(5, stream(0))
    assert torch.equal(layers.rgb, again.rgb)

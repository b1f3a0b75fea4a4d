"""Presets and settings of MarioNette."""

from dataclasses import replace

import pytest
import torch

from delaminate.config import build, parse_yaml, to_dict, to_yaml
from delaminate.engine import train
from delaminate.errors import ConfigError
from delaminate.methods import METHODS
from delaminate.methods.marionette import PRESETS, Config, MarioNette
from delaminate.rng import stream

NAMES = ("floating-sprites", "platform-game", "space-invaders", "video", "photo", "text-pages")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_and_takes_two_steps_with_every_player(name):
    # The networks of the preset, on a smaller canvas.
    preset = PRESETS[name]
    config = replace(
        preset, image_size=(48, 33), code_width=16, num_sprites=7, batch=2, steps=min(preset.steps, 2),
        background_images=2, search_steps=min(preset.search_steps, 1), search_batch=4,
    )  # fmt: skip
    model = MarioNette(config)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.randint(256, (4, 3, *config.image_size), generator=stream("images"), dtype=torch.uint8)
    outcome = train(model, images)
    assert outcome.finished
    assert outcome.total_step == sum(stage.steps for stage in model.stages())
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert bool(preset.steps) == ({key for key, _ in model.named_parameters()} <= moved)
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def test_every_set_has_three_presets():
    assert set(PRESETS) == {f"{name}{form}" for name in NAMES for form in ("", "-paper", "-parity")}
    assert METHODS["marionette"] is MarioNette and MarioNette.presets is PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_yaml(name):
    assert build(PRESETS["video"], parse_yaml(to_yaml(PRESETS[name]), "here"), "here") == PRESETS[name]


def test_parity_differs_from_paper_in_quirks_alone():
    quirks = {"offsets", "clip_window", "premultiplied", "soft_background", "mix_sprites"}
    for name in NAMES:
        paper, parity = to_dict(PRESETS[f"{name}-paper"]), to_dict(PRESETS[f"{name}-parity"])
        assert {key for key in paper if paper[key] != parity[key]} <= quirks


def test_paper_presets_have_the_published_numbers():
    for name in NAMES:
        paper = PRESETS[f"{name}-paper"]
        assert (paper.batch, paper.learning_rate, paper.background_learning_rate, paper.num_layers) == (
            8,
            1e-4,
            1e-3,
            2,
        )
        assert (paper.code_width, paper.image_size, paper.offsets) == (128, (128, 128), "discrete")
    assert PRESETS["space-invaders-paper"].sprite_size == 16
    assert PRESETS["photo-paper"].num_sprites == 50


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": [0, 35]}, {"image_size": [35]}, {"sprite_size": 1}, {"sprite_size": 24}, {"sprite_size": 300},
        {"stride": 3}, {"stride": 1}, {"stride": 64}, {"stride": -2}, {"sprite_size": 17, "stride": 8},
        {"num_sprites": 0}, {"code_width": 100}, {"code_width": 0}, {"num_layers": 0}, {"background": "white"},
        {"background_size": [0, 4]}, {"background_size": [1, 17]}, {"background_width": 0}, {"background_clusters": 0},
        {"offsets": "both"}, {"regularizer": "none"}, {"choice_weight": -1.0}, {"sparsity_weights": [1.0, 2.0, 3.0]},
        {"sparsity_weights": []}, {"sparsity_weights": [-1.0]}, {"batch": 0}, {"steps": -1},
        {"learning_rate": float("nan")},
        {"background_learning_rate": float("inf")}, {"weight_decay": -0.1}, {"ema": 1.0}, {"gradient_clip": 0.0},
        {"bf16": "yes"},
    ],
    ids=str,
)  # fmt: skip
def test_impossible_settings_are_refused_in_one_line(settings):
    with pytest.raises(ConfigError, match=f"marionette: {'|'.join(settings)}") as caught:
        MarioNette.preset("floating-sprites", **settings)
    assert "\n" not in str(caught.value)


def test_an_unknown_setting_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"unknown key 'num_sprite'\. Did you mean 'num_sprites'"):
        MarioNette.preset("video", num_sprite=3)


@pytest.mark.parametrize("sizes", [((1, 1), 2, 2), ((5, 3), 8, 4), ((7, 40), 12, 4), ((9, 9), 16, 16)], ids=str)
def test_any_canvas_and_any_sprite_can_be_decomposed(sizes):
    size, sprite, stride = sizes
    config = Config(
        image_size=size, sprite_size=sprite, stride=stride if stride > 1 else 0, num_sprites=2, code_width=8
    )
    model = MarioNette(config)
    with torch.no_grad():
        model.switch.bias_2.fill_(100)
    images = torch.rand(2, 3, *size, generator=stream("images"))
    found = model.decompose(images)
    assert {len(placements) for placements in found.images} == {1 + 2 * config.grid[0] * config.grid[1]}
    assert float((found.composite() - model.reconstruct(images)).abs().max()) < 1e-6
    model.soft(images, model.fixed_order()).image.sum().backward()

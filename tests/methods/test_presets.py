"""Every preset builds and takes two steps with every player, at the beginning of its curriculum and beyond its end."""

from dataclasses import replace

import pytest
import torch

from delaminate.config import to_dict
from delaminate.data import draw
from delaminate.engine import train
from delaminate.errors import ConfigError
from delaminate.methods.dti_sprites import PRESETS, DTISprites
from delaminate.rng import stream


def images_for(config):
    """A few images of the preset's size: drawn scenes where search needs recurring things, else noise."""
    if config.search_steps:
        name = "tetrominoes" if config.search == "correlation" else "multi-dsprites"
        return draw(name, 15 if config.search == "regions" else 6, split="train").images.pixels
    return torch.randint(256, (4, 3, *config.image_size), generator=stream("images"), dtype=torch.uint8)


@pytest.mark.parametrize("late", [False, True], ids=["at the beginning", "beyond the last unlock"])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_and_takes_two_steps_with_every_player(name, late):
    preset = PRESETS[name]
    config = replace(
        preset, batch=2, steps=2, search_steps=min(preset.search_steps, 2),
        search_batch=4 if preset.search == "correlation" else 15,
        distil_steps=min(preset.distil_steps, 2), distil_batch=2, reassign_every=min(preset.reassign_every, 1),
    )  # fmt: skip
    model = DTISprites(config)
    if late:
        model.progress.fill_(max(*preset.unlock_steps, preset.frozen_steps, 0) if preset.unlock_steps else 10**6)
        assert model.unlocked()[0] == list(config.sprite_transforms)
        assert not model.frozen
    before = {key: value.clone() for key, value in model.state_dict().items()}
    outcome = train(model, images_for(config))
    assert outcome.finished
    assert outcome.total_step == sum(stage.steps for stage in model.stages())
    moved = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert any(key.startswith("encoder.") for key in moved)
    assert any(key.startswith("heads.") for key in moved)
    if not preset.empty_sprite or preset.search_steps:  # noise is best explained by showing nothing
        assert ("sprites_alpha" in moved) == (late or preset.frozen_steps == 0 or bool(preset.search_steps))
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())
    found = model.decompose(torch.rand(1, 3, *config.image_size, generator=stream("one")))
    assert bool(torch.isfinite(found.composite()).all())


@pytest.mark.parametrize(
    ("name", "millions", "published"),
    # Published models also hold regressors for the empty sprite, which show nothing; ours leave them out.
    [("tetrominoes", 0.660, 0.66), ("multi-dsprites", 4.489, 5.23), ("clevr6", 25.255, 26.9), ("gtsrb8", 1.216, 1.22)],
)
def test_models_have_the_published_number_of_parameters(name, millions, published):
    model = DTISprites(PRESETS[f"{name}-paper"])
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=5e-4)
    empty = 0.0
    if model.config.empty_sprite:
        for kind in model.config.sprite_transforms:
            head = model.heads[f"sprite_{kind}"]
            empty += sum(p.numel() for p in head.parameters()) / model.config.num_sprites / 1e6
    assert count + empty == pytest.approx(published, rel=0.02)


def test_parity_differs_from_paper_in_quirks_alone():
    for name in ("tetrominoes", "clevr6", "gtsrb8"):
        paper, parity = to_dict(PRESETS[f"{name}-paper"]), to_dict(PRESETS[f"{name}-parity"])
        assert {key for key in paper if paper[key] != parity[key]} <= {"encoder_visits", "aligned_corners"}


@pytest.mark.parametrize("quirk", [{"encoder_visits": 3}, {"aligned_corners": True}], ids=str)
def test_quirks_change_what_is_learned(quirk):
    small = replace(PRESETS["gtsrb8-paper"], batch=2, steps=2, sprite_transforms=("projective",), unlock_steps=())
    ends = []
    for config in (small, replace(small, **quirk)):
        model = DTISprites(config)
        train(model, images_for(config))
        ends.append(model)
    weights = [model.encoder.stem[0].weight.detach() for model in ends]
    assert not torch.equal(*weights)


def test_an_unknown_preset_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"unknown preset 'tetromino'\. Did you mean 'tetrominoes'"):
        DTISprites.preset("tetromino")


def test_an_unknown_setting_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"unknown key 'n_sprites'\. Did you mean 'num_sprites'"):
        DTISprites.preset("tetrominoes", n_sprites=3)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_sprites": 0}, {"num_layers": 5000}, {"image_size": [0, 35]}, {"image_size": [35]}, {"image_size": 35},
        {"sprite_size": [5000, 5000]}, {"batch": 0}, {"steps": -1}, {"steps": 1.5}, {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"learning_rate": "fast"}, {"sprite_learning_rate": float("inf")}, {"alpha_sigma": 0.0}, {"ema": 1.0},
        {"gradient_clip": 0.0}, {"noise": -0.1},
        {"encoder": "resnet50"}, {"layer_transforms": ["colour"]}, {"layer_transforms": ["spin"]},
        {"layer_transforms": ["position", "similarity"]}, {"layer_transforms": ["colour", "position", "affine"]},
        {"layer_transforms": []}, {"encoder_scale": 2}, {"layer_transforms": ["position"]}, {"search_steps": 0},
        {"selection": "exhaustive", "num_layers": 6}, {"background": 1}, {"background": True},
    ],
    ids=str,
)  # fmt: skip
def test_impossible_settings_are_refused_in_one_line(settings):
    with pytest.raises(ConfigError, match=f"{next(iter(settings))}|readout|distil_steps|sprite_size|search") as caught:
        DTISprites.preset("tetrominoes", **settings)
    assert "\n" not in str(caught.value)

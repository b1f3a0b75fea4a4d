"""PerturbGAN's runs: few images, growing, what is stopped and goes on, and what goes wrong."""

from dataclasses import replace

import pytest
import torch
from helpers.collapses import collapsing
from helpers.notes import Notes
from helpers.perturbgan_tiny import GROWING, TINY, assert_same_weights, context, photos, pixels, shrunk

from delaminate.engine import Budget, train
from delaminate.engine.checkpoint import load
from delaminate.engine.loop import Intervals
from delaminate.errors import DataError, TrainingError
from delaminate.methods.perturbgan import PRESETS, PerturbGAN
from delaminate.methods.perturbgan.networks import GrowthLevel
from delaminate.methods.perturbgan.training import Discriminator, GeneratorPlayer
from delaminate.rng import stream

CPU = torch.device("cpu")


def test_few_images_are_augmented_and_that_is_said():
    heard, model = Notes(), PerturbGAN(replace(TINY, augment_below=50, encoder_steps=0, segmenter_steps=0))
    assert train(model, pixels(3), callback=heard).finished  # fewer than a batch
    assert model.augments
    assert heard.notes[0] == "3 images are few: what the discriminator sees is augmented."


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", ["photos", "objects-on-texture", "lsun-object"])
def test_fewer_images_than_a_batch_train_with_the_recommended_settings(name, count):
    model = PerturbGAN(replace(shrunk(PRESETS[name]), batch=4, encoder_batch=4, segmenter_batch=4))
    assert train(model, pixels(count), callback=(heard := Notes())).finished
    few = ["Expect little from fewer than 100 images of a class."]
    if PRESETS[name].augment_below:
        few.insert(0, f"{count} images are few: what the discriminator sees is augmented.")
    assert heard.notes == few
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())
    for by in model.decomposers:
        assert model.decompose(photos(1), by=by).layers().rgb.shape == (1, 2, 3, 16, 16)


def test_images_that_are_all_the_same_are_refused():
    with pytest.raises(DataError, match="All 5 images are the same"):
        train(PerturbGAN(TINY), pixels(1).expand(5, -1, -1, -1))


def test_each_level_but_the_first_fades_in_during_its_first_half():
    model = PerturbGAN(GROWING)
    assert [(stage.name, stage.steps, stage.batch) for stage in model.stages()] == [
        ("layers-8", 4, 4), ("layers-16", 8, 2),
    ]  # fmt: skip
    grown = [model.growth(context(step, stage="layers-16", steps=8)) for step in (0, 2, 4, 7)]
    assert [g.fade for g in grown] == [0.0, 0.5, 1.0, 1.0]
    assert {g.side for g in grown} == {16}
    assert model.growth(context(0, stage="layers-8", steps=4)) == GrowthLevel(1, 1.0)
    outcome = train(model, pixels(), budget=Budget(steps=6))
    assert outcome.total_step == 6
    assert model.grown.tolist() == [2.0, 0.25]
    assert model.sample(2, stream(0)).rgb.shape == (2, 2, 3, 16, 16)


def test_a_run_stopped_in_the_middle_of_a_fade_goes_on_to_the_same_end(tmp_path):
    straight, resumed = PerturbGAN(GROWING, 3), PerturbGAN(GROWING, 3)
    train(straight, pixels(), seed=3)
    train(PerturbGAN(GROWING, 3), pixels(), tmp_path, seed=3, budget=Budget(steps=6))
    assert train(resumed, pixels(), tmp_path, seed=3, resume=True).finished
    assert_same_weights(straight, resumed)


def test_optimisers_and_ramps_go_on_from_resolution_to_resolution(tmp_path):
    config = replace(GROWING, ramp_steps=10, binary_weight=2.0)
    train(PerturbGAN(config), pixels(), tmp_path, budget=Budget(steps=6))
    state = load(tmp_path / "checkpoint.pt", CPU)
    assert (state["stage"], state["step"]) == (1, 2)
    for player in ("painter", "discriminator"):
        counts = {int(each["step"]) for adam in state["optimisers"][player].values() for each in adam["state"].values()}
        assert max(counts) == 6, player  # 4 at 8 pixels, 2 at 16
    model = PerturbGAN(config)
    assert model.painted_steps(context(2, stage="layers-16")) == (6, 12)


@pytest.mark.parametrize("player", [GeneratorPlayer, Discriminator])
def test_a_loss_that_is_no_number_stops_training_and_keeps_the_last_good_checkpoint(player, monkeypatch, tmp_path):
    turn = player.turn

    def sick(self, images, rng, context):
        found = turn(self, images, rng, context)
        return {name: value * torch.nan if context.step == 2 else value for name, value in found.items()}

    monkeypatch.setattr(player, "turn", sick)
    with pytest.raises(TrainingError, match="layers, step 2: the loss is nan"):
        train(PerturbGAN(TINY), pixels(), tmp_path, intervals=Intervals(checkpoint_seconds=0))
    assert load(tmp_path / "checkpoint.pt", CPU)["step"] == 2


def test_a_run_stopped_while_the_segmenter_teaches_itself_goes_on_to_the_same_end(tmp_path):
    config = replace(TINY, steps=2, encoder_steps=0, segmenter_steps=2, self_training_steps=6)
    whole, model = PerturbGAN(config), PerturbGAN(config)
    train(whole, pixels(), tmp_path / "whole")
    train(model, pixels(), tmp_path / "run", budget=Budget(steps=7))
    again = PerturbGAN(config)
    train(again, pixels(), tmp_path / "run", resume=True)
    assert_same_weights(whole, again)


def test_a_run_that_began_anew_resumes_to_the_same_end(monkeypatch, tmp_path):
    config = replace(TINY, encoder_steps=2, segmenter_steps=2)
    straight, first_try = PerturbGAN(config, 5), PerturbGAN(config, 5)
    train(first_try, pixels(), seed=5)
    collapsing(monkeypatch, PerturbGAN, 1)
    assert train(straight, pixels(), seed=5).total_step == 3 + 4 + 2 + 2
    assert not torch.equal(straight.discriminator.last.weight, first_try.discriminator.last.weight)
    for stop in (2, 3, 5, 8, 10):  # before, right after, while rivals play again, and while either learner learns
        collapsing(monkeypatch, PerturbGAN, 1)
        resumed, out = PerturbGAN(config, 5), tmp_path / str(stop)
        train(PerturbGAN(config, 5), pixels(), out, seed=5, budget=Budget(steps=stop))
        assert train(resumed, pixels(), out, seed=5, resume=True).finished
        assert_same_weights(straight, resumed)


@pytest.mark.usefixtures("brain_floats")
def test_a_run_in_brain_floats_resumes_to_the_same_end(tmp_path):
    config = replace(TINY, bf16=True, steps=3, encoder_steps=2, segmenter_steps=2, self_training_steps=2)
    straight = PerturbGAN(config)
    train(straight, pixels())
    for stop in (2, 4, 6, 8):  # in the middle of each stage
        resumed, out = PerturbGAN(config), tmp_path / str(stop)
        train(PerturbGAN(config), pixels(), out, budget=Budget(steps=stop))
        assert train(resumed, pixels(), out, resume=True).finished
        assert_same_weights(straight, resumed)

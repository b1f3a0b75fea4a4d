"""MarioNette's step is the published one: equal, in float64, to the algorithm written plainly."""

from dataclasses import replace

import plain_marionette as plain
import pytest
import torch
from helpers.marionette import trained
from torch.testing import assert_close

from delaminate.methods.marionette import Config
from delaminate.methods.marionette.training import Refiner
from delaminate.methods.players import StepContext
from delaminate.nets import partial
from delaminate.rng import stream

BASE = Config(image_size=(32, 48), sprite_size=16, num_sprites=5, code_width=16)
SHAPES = {
    "recommended": BASE,
    "published": replace(BASE, clip_window=True, premultiplied=False),
    "original": replace(
        BASE, clip_window=True, premultiplied=False, offsets="continuous", background="learned", soft_background=True
    ),
    "continuous, whole windows": replace(BASE, offsets="continuous"),
    "scrolling both ways": replace(BASE, background="learned", background_size=(2, 3), soft_background=True),
    "scrolling up and down": replace(BASE, background="learned", background_size=(2, 1), soft_background=True),
    "still background": replace(BASE, background="learned", background_size=(1, 1), layer_norm=False),
    "losses of the paper": replace(BASE, regularizer="paper", choice_weight=1e-4),
    "raw codes": replace(BASE, layer_norm=False, straight_through=True),
    "small sprites": replace(BASE, sprite_size=8),
    "large sprites": replace(BASE, sprite_size=32, stride=8, num_layers=1),
    "few sprites": replace(BASE, num_sprites=2, num_layers=3, sparsity_weights=(0.1, 0.2, 0.3)),
    "shuffled layers": replace(BASE, shuffle_layers=True),
}


def pair(name):
    """A trained model and images, in float64."""
    config = SHAPES[name]
    images = torch.rand(2, 3, *config.image_size, generator=stream("plain", name), dtype=torch.float64)
    return trained(config).double(), images


@pytest.mark.parametrize("few", [partial.FEW, 5000], ids=["at once", "a few at a time"])
@pytest.mark.parametrize("name", SHAPES)
def test_loss_and_gradients_are_those_of_the_plain_step(name, few, monkeypatch):
    monkeypatch.setattr(partial, "FEW", few)
    model, images = pair(name)
    refiner = Refiner(model)
    total = sum(refiner.turn(images, stream(1), StepContext("refine", 0, 1, slice(0, 2), 2)).values())
    parameters = list(model.parameters())
    ours = torch.autograd.grad(total, parameters)
    expected = plain.loss(model, images, refiner.order(stream(1)))
    assert_close(total, expected, rtol=1e-12, atol=1e-14)
    theirs = torch.autograd.grad(expected, parameters)
    for (key, _), mine, other in zip(model.named_parameters(), ours, theirs, strict=True):
        scale = float(other.abs().max())
        assert scale > 0, key
        assert float((mine - other).abs().max()) < 1e-8 * scale, key


@pytest.mark.parametrize("name", SHAPES)
def test_the_hard_reconstruction_is_that_of_the_plain_forward(name):
    model, images = pair(name)
    with torch.no_grad():
        expected = plain.forward(model, images, model.fixed_order(), hard=True)[0]
    assert_close(model.reconstruct(images), expected, rtol=0, atol=1e-10)
    assert_close(model.decompose(images).composite(), expected, rtol=0, atol=1e-10)


def test_the_plain_step_leaves_gradients_and_reports_the_hard_error():
    model, images = pair("recommended")
    reported = plain.step(model, images, model.fixed_order())
    error = (model.reconstruct(images) - images).square().mean()
    assert reported == pytest.approx(float(-10 * error.log10()))
    assert all(parameter.grad is not None for parameter in model.parameters())

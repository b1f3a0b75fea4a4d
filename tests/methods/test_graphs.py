"""Graphs, in torch: they are what `decompose` finds, for every shape of every method that holds a network."""

import dataclasses

import pytest
import torch
from helpers import dti_sprites, marionette, tiny
from torch.testing import assert_close

from delaminate.errors import ConfigError
from delaminate.methods import load_model
from delaminate.methods.graph import ENTRIES, LAYERS, RECONSTRUCTION, VISIBILITY
from delaminate.methods.perturbgan import PerturbGAN
from delaminate.pipelines.model_export import drawn_images
from delaminate.scene.compositing import segment


def dti(name):
    model = dti_sprites.trained(dti_sprites.SHAPES[name])
    model.learned[1] = 1
    return model


def penalised(by):
    model = PerturbGAN(dataclasses.replace(tiny.GROWING, growing=False)).eval()
    model.trained.copy_(torch.tensor([1.0, by == "encoder", by == "segmenter"]))
    return model


MODELS = {
    **{f"dti-sprites, {name}": lambda name=name: dti(name) for name in dti_sprites.SHAPES},
    **{
        f"marionette, {name}": lambda name=name: marionette.trained(marionette.EVERY[name])
        for name in marionette.EVERY
        if name != "bfloat16"
    },
    **{f"zoo, {name}": lambda name=name: load_model(name) for name in (
        "dti-sprites/tetrominoes", "redo/colored-2-mnist", "redo/flowers17", "perturbgan/flowers17",
    )},
    "perturbgan, segmenter": lambda: penalised("segmenter"),
    "perturbgan, encoder": lambda: penalised("encoder"),
}  # fmt: skip


def outputs(model, images, by=None):
    graph = model.graph(by or model.graph_ways[0]).eval()
    with torch.no_grad():
        return graph, dict(zip(graph.outputs, graph(images), strict=True))


def decided(model, images, by):
    """The images of which nothing is on the verge: processors round differently, and a sprite may hang on that."""
    rng, steady = torch.Generator().manual_seed(0), torch.ones(len(images), dtype=torch.bool)
    with torch.no_grad():
        found = model.graph_copy().decompose(images, by).composite()
        for _ in range(8):
            stirred = (images + 4e-6 * torch.randn(images.shape, generator=rng)).clamp(0, 1)
            again = model.graph_copy().decompose(stirred, by).composite()
            steady &= (found - again).abs().amax((1, 2, 3)) < 0.01
    assert steady.sum() >= len(images) / 2
    return images[steady]


@pytest.mark.parametrize("name", MODELS)
def test_a_graph_gives_what_decompose_finds(name):
    model = MODELS[name]()
    images = decided(model, drawn_images(model.dictionary(), model.image_size, 6), model.graph_ways[0])
    graph, made = outputs(model, images)
    found = model.graph_copy().decompose(images, model.graph_ways[0])
    # Groups of two numbers in the smallest networks make much of the last bits.
    close = {"atol": 2e-3 if "continuous" in name else 2e-5, "rtol": 0}
    assert_close(made[RECONSTRUCTION], found.composite(), **close)
    assert graph.background == found.background
    if graph.aligned:
        stack = found.layers()
        for index, placements in enumerate(found.images):
            there = made[ENTRIES][index] >= 0 if ENTRIES in made else slice(None)
            layers = made[LAYERS][index][there]
            wanted = stack[index : index + 1]
            assert len(layers) == len(placements)
            count = len(placements)
            assert_close(layers[:, 3:], wanted.alpha[0, :count], **close)
            assert_close(layers[:, :3] * layers[:, 3:], (wanted.rgb * wanted.alpha)[0, :count], **close)
            if ENTRIES in made:
                assert made[ENTRIES][index][there].tolist() == [placement.entry for placement in placements]


@pytest.mark.parametrize("name", ["solid", "odd canvas", "black", "learned", "soft background", "mixed sprites"])
def test_layers_of_anchors_are_their_placements_taken_together(name):
    model = marionette.trained(marionette.EVERY[name])
    images = marionette.images_of(model.config)
    _, made = outputs(model, images)
    found = model.decompose(images, "network")
    background = int(found.background)
    assert made[LAYERS].shape[1] == background + model.config.num_layers
    shown = (made[ENTRIES] >= 0).flatten(1).sum(1).tolist()
    assert shown == [len(placements) - background for placements in found.images]
    wanted = [placement.entry for placement in found.images[0][background:] if placement.entry >= 0]
    if wanted:
        assert sorted(made[ENTRIES][0][made[ENTRIES][0] >= 0].tolist()) == sorted(wanted)
    covered = 1 - (1 - made[LAYERS][:, background:, 3]).prod(1)
    alpha = found.layers().alpha[:, background:, 0]
    assert_close(covered, 1 - (1 - alpha).prod(1), atol=1e-5, rtol=0)


def test_visibility_is_that_of_the_layers():
    model = load_model("redo/colored-2-mnist")
    images = drawn_images(model.dictionary(), model.image_size, 4)
    _, made = outputs(model, images)
    labels = segment(model.graph_copy().decompose(images, "network").layers())
    assert torch.equal(made[VISIBILITY][:, :, 0].argmax(1), labels)
    assert_close(made[VISIBILITY].sum(1), torch.ones(4, 1, 32, 32))


def test_a_graph_leaves_its_model_as_it_is():
    model = marionette.trained(marionette.SMALL)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = marionette.images_of(model.config)
    wanted = model.decompose(images, "network").composite()
    outputs(model, images)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(model.decompose(images, "network").composite(), wanted)


@pytest.mark.parametrize("name", ["marionette/platform-game", "marionette/space-invaders"])
def test_what_only_searches_has_no_graph(name):
    model = load_model(name)
    assert model.graph_ways == ()
    with pytest.raises(ConfigError, match="no network"):
        model.graph("search")


def test_refining_is_no_graph():
    for name in ("dti-sprites/tetrominoes", "redo/flowers17", "perturbgan/flowers17"):
        model = load_model(name)
        assert model.default not in model.graph_ways
        with pytest.raises(ConfigError, match=model.default):
            model.graph(model.default)


def test_a_picture_without_any_sprite_is_its_background():
    model = marionette.trained(marionette.SMALL)
    with torch.no_grad():
        model.switch.bias_2.fill_(-100)
    _, made = outputs(model, marionette.images_of(model.config))
    assert (made[ENTRIES] == -1).all() and (made[LAYERS][:, 1:, 3] == 0).all()
    assert_close(made[RECONSTRUCTION], model.colour.view(1, 3, 1, 1).expand(3, 3, 32, 32))

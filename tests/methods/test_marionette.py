"""The model of MarioNette: soft and hard, what it decomposes into, what its losses are, that it learns."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.marionette import EVERY, SHAPES, SMALL, floating, images_of, trained
from torch.testing import assert_close

from delaminate.engine import train
from delaminate.engine.loop import Budget, Intervals
from delaminate.errors import FormatError, ShapeError
from delaminate.methods import load_model
from delaminate.methods.marionette import PRESETS, MarioNette
from delaminate.methods.marionette import training as players
from delaminate.methods.players import StepContext
from delaminate.objectives.reconstruction import image_error
from delaminate.rng import stream
from delaminate.scene.compositing import composite
from delaminate.scene.placements import OWN_RASTER

pytestmark = pytest.mark.usefixtures("brain_floats")


# --- hard: decompositions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_a_decomposition_shows_what_the_model_reconstructs(name):
    model = trained(EVERY[name])
    images = images_of(model.config)
    found = model.decompose(images)
    counts = [len(placements) for placements in found.images]
    assert max(counts) > 5
    assert found.background == (model.config.background != "black")
    # A shift by a fraction of a pixel is painted by looking up coordinates in float32, not by a product of matrices.
    tolerance = 1e-6 if name in SHAPES else 1e-4
    assert_close(found.composite(), model.reconstruct(images), rtol=0, atol=tolerance)
    assert_close(composite(found.layers()), found.composite(), rtol=0, atol=1e-6)
    assert_close(model.error(images, "refine"), image_error(images, found.composite()), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_in_float64_both_are_the_same_numbers(name):
    model, images = trained(EVERY[name]).double(), images_of(EVERY[name]).double()
    assert_close(model.decompose(images).composite(), model.reconstruct(images), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_decomposing_is_deterministic_and_leaves_the_model_alone(name):
    model = trained(EVERY[name])
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = images_of(model.config)
    first, again = model.decompose(images), model.decompose(images)
    assert torch.equal(first.composite(), again.composite())
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_images_do_not_depend_on_their_neighbours():
    model = trained(SMALL)
    images = images_of(SMALL, 10)
    whole = model.decompose(images).composite()
    assert_close(torch.cat([model.decompose(image).composite() for image in images]), whole, rtol=0, atol=1e-5)


def test_placements_are_whole_pixels_and_opaque():
    found = trained(SMALL).decompose(images_of(SMALL))
    objects = [placement for placements in found.images for placement in placements[1:]]
    assert {placement.opacity for placement in objects} == {1.0}
    shifts = [number for placement in objects for number in placement.transforms[-1].parameters]
    assert all(number == round(number) for number in shifts)
    assert all(0 <= placement.entry < 5 for placement in objects)
    assert {placements[0].entry for placements in found.images} == {5}
    assert found.dictionary.backgrounds == (5,)


def test_a_scrolling_background_is_cut_out_of_its_picture():
    model = trained(replace(SMALL, background="learned", background_size=(2, 3)))
    images = images_of(model.config, 6)
    found = model.decompose(images)
    assert tuple(found.dictionary.sprites[5].shape) == (4, 64, 96)
    corners = model.hard(images).corner
    for placements, (y, x) in zip(found.images, corners.tolist(), strict=True):
        _, _, left, _, _, top, *_ = placements[0].transforms[0].parameters
        assert (left, top) == (-x, -y)
    assert int(corners.min()) >= 0 and (corners.max(0).values <= torch.tensor([32, 64])).all()


def test_mixes_are_rasters_of_their_own():
    found = trained(SHAPES["mixed sprites"]).decompose(images_of(SMALL))
    assert {placement.entry for placements in found.images for placement in placements[1:]} == {OWN_RASTER}


def test_an_empty_scene_is_its_background():
    model = trained(SMALL)
    with torch.no_grad():
        model.switch.bias_2.fill_(-1000)
    found = model.decompose(images_of(SMALL))
    assert [len(placements) for placements in found.images] == [1, 1, 1]
    assert torch.equal(found.composite(), model.colour.view(1, 3, 1, 1).expand(3, 3, 32, 32))
    assert_close(model.reconstruct(images_of(SMALL)), found.composite())


def test_dead_sprites_are_neither_chosen_nor_shown():
    model = trained(SMALL)
    model.alive[1] = 0
    found = model.decompose(images_of(SMALL))
    assert len(found.dictionary) == 5
    assert found.dictionary.backgrounds == (4,)
    assert not bool((model.soft(images_of(SMALL), model.fixed_order()).scores[:, 1] > 0).any())
    assert 1 not in model.hard(images_of(SMALL)).entry.tolist()
    assert_close(found.composite(), model.reconstruct(images_of(SMALL)), rtol=0, atol=1e-6)


def test_edited_sprites_are_shown_from_then_on(tmp_path):
    model = trained(SMALL)
    images = images_of(SMALL)
    edited = model.sprites().detach().clone()
    edited[:, 0] = 1.0
    model.set_sprites(edited)
    assert torch.equal(model.dictionary().sprites[2], edited[2])
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    # The generator is left out of the folder: it decodes other sprites.
    assert not any(name.startswith("generator.") for name in loaded.export_state())
    assert torch.equal(loaded.decompose(images).composite(), model.decompose(images).composite())


def test_sprites_of_another_size_are_refused():
    with pytest.raises(ShapeError, match=r"sprites are \(5, 4, 9, 9\); expected \(5, 4, 8, 8\)"):
        MarioNette(SMALL).set_sprites(torch.rand(5, 4, 9, 9))


# --- soft and hard: table of the paper ----------------------------------------------------------------------------


def test_decided_choices_look_the_same_soft_and_hard():
    model = trained(SMALL).double()
    images = images_of(SMALL).double()
    with torch.no_grad():
        model.key["weight"].mul_(1)
        for mlp in (model.switch, *model.shift_heads):
            mlp.weight_2.mul_(1e6)
        model.codes[1:] *= -1
        # One sprite everywhere: its score alone is finite.
        model.alive.copy_(torch.tensor([0.0, 0, 1, 0, 0]))
    soft = model.soft(images, model.fixed_order())
    assert_close(soft.image, model.reconstruct(images), rtol=0, atol=1e-6)


def test_training_is_soft_and_its_order_random():
    model = trained(SMALL)
    images = images_of(SMALL)
    soft = model.soft(images, model.fixed_order())
    assert_close(soft.scores.sum(1), torch.ones(len(soft.scores)))
    assert all(chance.shape[1] == 5 for chance in soft.offsets)  # s + 1 outcomes
    assert soft.switch.shape == (3, 2, 8, 8)
    refiner = players.Refiner(model)
    orders = [refiner.order(stream(seed)) for seed in range(4)]
    assert len({tuple(order) for order in orders}) > 1
    for order in orders:
        assert sorted(order) == sorted(model.fixed_order())
        assert order[:9] == [(0, lattice) for _, lattice in order[9:]]
        assert not torch.equal(model.soft(images, order).image, soft.image) or order == model.fixed_order()


def test_layers_are_drawn_in_one_order_where_asked_for():
    model = MarioNette(replace(SMALL, shuffle_layers=True, clip_window=True))
    order = players.Refiner(model).order(stream(1))
    assert sorted(order) == sorted(model.fixed_order())
    assert [layer for layer, _ in order] != sorted(layer for layer, _ in order)


def test_switches_are_rounded_with_the_gradient_of_the_identity():
    images = images_of(SMALL)
    plain, straight = (trained(replace(SMALL, straight_through=flag)) for flag in (False, True))
    assert_close(plain.soft(images, plain.fixed_order()).switch, straight.soft(images, straight.fixed_order()).switch)
    image = straight.soft(images, straight.fixed_order()).image
    assert not torch.equal(image, plain.soft(images, plain.fixed_order()).image)
    image.square().mean().backward()
    assert float(straight.switch.weight_2.grad.abs().sum()) > 0


@pytest.mark.parametrize("name", EVERY)
def test_gradients_reach_every_weight(name):
    model = trained(EVERY[name])
    terms = players.Refiner(model).turn(images_of(model.config), stream(0), StepContext("refine", 0, 1, slice(0, 3), 3))
    sum(terms.values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), key
        assert float(parameter.grad.abs().max()) > 0, key


def test_half_on_sprites_are_darkened_by_the_original_alone():
    for premultiplied, expected in ((True, 1.0), (False, 0.75)):
        model = trained(replace(SMALL, premultiplied=premultiplied, clip_window=True)).double()
        white = model.planes(torch.ones(1, 4, 8, 8, dtype=torch.float64))
        still = torch.zeros(1, 5, dtype=torch.float64)
        still[:, 2] = 1
        drawn = model.draw(white, (still, still), still.new_tensor([0.5]))
        windows = drawn.new_zeros(1, 2, 8, 8, *drawn.shape[1:])
        windows[0, 0, 3, 3] = drawn[0]
        image = model.compose(windows.flatten(0, 3), drawn.new_ones(1, 3, 32, 32), model.fixed_order())
        assert_close(image[0, :, 10:18, 10:18], image.new_full((3, 8, 8), expected))
        assert float((image == 1).double().mean()) >= 1 - 64 / 1024


# --- losses -------------------------------------------------------------------------------------------------------


def test_densities_have_their_values():
    x = torch.tensor([0.5, 0.25, 0.0], dtype=torch.float64)
    assert_close(players.density(x), torch.tensor([1.5, 1.125, 6 * 1e-5 * (1 - 1e-5)], dtype=torch.float64))
    expected = [math.log(2 / math.pi), -math.log(math.pi) - 0.5 * math.log(0.1875)]
    assert_close(players.log_density(x[:2]), torch.tensor(expected, dtype=torch.float64))
    assert bool(torch.isfinite(players.log_density(torch.tensor([0.0, 1.0]))).all())


def test_prices_are_those_of_the_code():
    model = MarioNette(replace(SMALL, sparsity_weights=(0.01, 0.03)))
    found = model.soft(images_of(SMALL), model.fixed_order())
    found.scores = torch.full_like(found.scores, 0.2)
    found.switch = torch.cat([torch.full((3, 1, 8, 8), 0.5), torch.full((3, 1, 8, 8), 1.0)], 1)
    prices = players.Refiner(model).prices(found)
    assert float(prices["choices"]) == pytest.approx(0.002 * (0.96 + (1.5 + 6e-5) / 2) / 2, rel=1e-4)
    assert float(prices["sparsity"]) == pytest.approx((0.01 * 0.5 + 0.03 * 1.0) / 2)


def test_prices_are_those_of_the_paper():
    model = MarioNette(replace(SMALL, regularizer="paper", choice_weight=1e-4))
    found = model.soft(images_of(SMALL, 2), model.fixed_order())
    found.scores, found.switch = torch.full((256, 5), 0.2), torch.full((2, 2, 8, 8), 0.5)
    found.offsets = (torch.full((256, 5), 0.25), torch.full((256, 5), 0.75))
    prices = players.Refiner(model).prices(found)
    one = {x: -math.log(math.pi * math.sqrt(x * (1 - x))) for x in (0.2, 0.25, 0.5, 0.75)}
    total = 128 * (5 * one[0.2] + one[0.5] + 5 * one[0.25] + 5 * one[0.75])
    assert float(prices["choices"]) == pytest.approx(-1e-4 * total, rel=1e-4)
    assert set(prices) == {"choices"}


def test_the_commonest_colour_is_the_background():
    images = torch.full((4, 3, 12, 12), 0.2)
    images[:, :, :5] = torch.tensor([1.0, 0.4, 0.0]).view(3, 1, 1)
    images[:, :, 5] = torch.rand(4, 3, 12, generator=stream("some"))
    colour = players.common_colour(images, 5, stream(0))
    assert_close(colour, torch.full((3,), 0.2), rtol=0, atol=0.02)
    assert torch.equal(colour, players.common_colour(images, 5, stream(0)))
    assert_close(players.common_colour(images[:, :, 6:], 5, stream(0)), torch.full((3,), 0.2))


# --- training -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_learns_floating_sprites():
    config = replace(
        SMALL, num_sprites=6, num_layers=1, code_width=32, steps=200, batch=4, learning_rate=3e-3, cosine=True,
        gradient_clip=1.0,
        sparsity_weights=(5e-4,), choice_weight=5e-4,
    )  # fmt: skip
    model, pixels = MarioNette(config), floating(4)
    train(model, pixels, intervals=Intervals(check=1000, preview=10_000))
    assert_close(model.colour, torch.tensor([0.9, 0.9, 0.6]), rtol=0, atol=0.01)
    images = pixels / 255
    start = image_error(images, model.colour.view(1, 3, 1, 1).expand_as(images)).mean()
    with torch.no_grad():
        soft = image_error(images, model.soft(images, model.fixed_order()).image).mean()
    assert float(soft) < 0.3 * float(start)
    assert float(model.error(images, "refine").mean()) < 0.5 * float(start)


TRAINED = {
    "solid": replace(SMALL, background_images=6, steps=4, ema=0.9),
    "parity": replace(
        SMALL, background="learned", background_size=(1, 2), steps=5, offsets="continuous", clip_window=True,
        premultiplied=False, soft_background=True, shuffle_layers=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAINED)
def test_a_resumed_training_ends_with_the_same_bits(name, tmp_path):
    config, pixels = TRAINED[name], floating(6)
    whole = MarioNette(config)
    train(whole, pixels, seed=3)
    stopped = MarioNette(config)
    assert not train(stopped, pixels, tmp_path, seed=3, budget=Budget(steps=3)).finished
    resumed = MarioNette(config)
    assert train(resumed, pixels, tmp_path, seed=3, resume=True).finished
    state = whole.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in resumed.state_dict().items())


@pytest.mark.parametrize("name", TRAINED)
def test_halves_of_a_batch_average_to_the_whole(name):
    """What two processes do: each has half of the images, and the same random numbers."""
    model, images = trained(TRAINED[name]).double(), images_of(TRAINED[name], 4).double()
    refiner = players.Refiner(model)
    gradients = []
    for parts in ([images], images.split(2)):
        model.zero_grad()
        for part in parts:
            terms = refiner.turn(part, stream(5), StepContext("refine", 0, 1, slice(0, 4), 4))
            (sum(terms.values()) / len(parts)).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert_close(a, b, rtol=0, atol=1e-10)


def test_the_background_learns_at_its_own_rate():
    model = MarioNette(TRAINED["parity"])
    groups = {group.name: group for group in players.Refiner(model).groups()}
    assert (groups["network"].learning_rate, groups["background"].learning_rate) == (1e-4, 1e-3)
    assert sum(len(group.parameters) for group in groups.values()) == len(list(model.parameters()))
    assert any(parameter is model.backdrop_code for parameter in groups["background"].parameters)
    assert not any(parameter is model.backdrop_heads[0].bias_2 for parameter in groups["background"].parameters)
    assert [group.name for group in players.Refiner(MarioNette(SMALL)).groups()] == ["network"]


# --- folders ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_a_model_folder_gives_the_same_decompositions(name, tmp_path):
    model = trained(EVERY[name])
    model.alive[3] = 0
    model.save_pretrained(tmp_path)
    loaded = MarioNette.from_pretrained(tmp_path)
    assert loaded.config == model.config
    images = images_of(model.config)
    assert torch.equal(loaded.decompose(images).composite(), model.decompose(images).composite())


def test_an_empty_model_is_refused():
    parts = MarioNette(SMALL).export_state()
    with pytest.raises(FormatError, match="no sprite is in use"):
        MarioNette(SMALL).import_state(parts | {"alive": torch.zeros(5)})


@pytest.mark.parametrize(("offsets", "count"), [("continuous", 7_222_659), ("discrete", 7_243_555)])
def test_the_model_has_the_published_number_of_parameters(offsets, count):
    model = MarioNette(replace(PRESETS["floating-sprites-paper"], offsets=offsets))
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert sum(parameter.numel() for parameter in (model.codes, *model.generator.parameters())) == 4_351_744

"""PerturbGAN's learners: the encoder, the segmenter, and the segmenter that teaches itself."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers.perturbgan_tiny import TINY, context, photos, pixels, plainly_shifted
from torch.testing import assert_close

from delaminate.engine import Budget, train
from delaminate.engine.checkpoint import load
from delaminate.methods.perturbgan import PerturbGAN
from delaminate.methods.perturbgan.networks import GrowthLevel
from delaminate.methods.perturbgan.training import EncoderPlayer, Segmenter, SelfTrainingPlayer, pasted, stretched
from delaminate.methods.players import StepContext
from delaminate.rng import stream
from delaminate.scene.compositing import composite
from delaminate.scene.layers import Layers

CPU = torch.device("cpu")
WHOLE = GrowthLevel(2)
"""All levels of 16 pixels."""


def flat(styles):
    """The same style at every level."""
    return [style[:, None].expand(-1, 3, -1) for style in styles]


def plainly_moved(layers, offsets):
    """Layers whose foregrounds are moved by whole pixels."""
    rgb, alpha = layers.rgb.clone(), layers.alpha.clone()
    for index, (right, down) in enumerate(offsets):
        rgb[index, 1] = plainly_shifted(rgb[index, 1], down, right)
        alpha[index, 1] = plainly_shifted(alpha[index, 1], down, right)
    return Layers(rgb, alpha, background=True)


def drawn_offsets(rng, most=4):
    """What is drawn for four scenes: whole pixels to the right and downwards."""
    return (most * (2 * torch.rand(4, 2, generator=rng) - 1)).round().long()


@pytest.fixture
def model():
    """In float64, with a centre that is not 0, and shifts of up to 4 pixels."""
    some = PerturbGAN(replace(TINY, shift=0.25, feature_weight=0.5)).double()
    some.centre.normal_(generator=stream("centre"))
    return some


# --- before they learn ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "other"), [("encoder", "segmenter_steps"), ("segmenter", "encoder_steps")])
def test_learners_learn_from_the_averaged_weights_of_the_generators(stage, other, tmp_path):
    config, states = replace(TINY, **{other: 0}), []
    for steps in (4, 5):  # before and after the first step of the learner
        train(PerturbGAN(config), pixels(), tmp_path, budget=Budget(steps=steps), resume=steps > 4)
        states.append(load(tmp_path / "checkpoint.pt", CPU))
    before, after = states
    assert (before["stage"], after["stage"], after["step"]) == (1, 1, 1)
    means = {name: mean for name, mean in before["average"].items() if name.startswith("generator.")}
    assert means
    for name, mean in means.items():
        assert torch.equal(after["weights"][name], mean), name
    assert not all(torch.equal(before["weights"][name], mean) for name, mean in means.items())


@pytest.mark.parametrize("settings", [{}, {"layout": "shared-style", "independent_noise": True}])
def test_styles_are_sought_about_the_mean_of_those_that_the_averaged_weights_make(settings):
    model = PerturbGAN(
        replace(TINY, segmenter_steps=0, learning_rate=0.03, mapping_learning_rate_factor=1.0, **settings)
    )
    train(model, pixels(), budget=Budget(steps=5))  # one of them the encoder's; averaged weights are in place
    z = torch.randn(1_000, 8, generator=stream("perturbgan", "centre")).double()
    for index, centre in enumerate(model.centre):
        w = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
        for layer in model.generator.mappings[min(index, len(model.generator.mappings) - 1)].double().layers:
            w = F.leaky_relu(w @ layer.weight.T * (2 / 8) ** 0.5 + layer.bias, 0.2)
        assert_close(centre.double(), w.mean(0), rtol=0, atol=1e-5)


# --- the encoder ------------------------------------------------------------------------------------------------------


def test_styles_and_a_shift_that_are_found_paint_the_scene_that_they_stand_for(model):
    wanted, offsets = torch.randn(2, 1, 8, generator=stream(0)).double(), torch.tensor([[3, -2]])
    with torch.no_grad():  # finds them in any image
        model.encoder.weight.zero_()
        share = torch.atanh(offsets.double() / 4)  # of the largest shift
        model.encoder.bias.copy_(torch.cat([wanted[0, 0] - model.centre[0], wanted[1, 0] - model.centre[1], share[0]]))
        found, styles, place = model.invert(photos(1).double())
        expected = plainly_moved(model.generator(flat(wanted), None, WHOLE), offsets.tolist())
    assert_close(styles, wanted)
    assert_close(place, offsets.double() / 16)
    assert_close(found.rgb, expected.rgb)
    assert_close(found.alpha, expected.alpha)


def test_the_encoder_learns_the_styles_the_shift_and_the_masks_of_made_images(model):
    terms = EncoderPlayer(model).turn(photos().double(), stream(1), context(stage="encoder"))
    with torch.no_grad():
        styles = model.generator.styles(model.noise(4, rng := stream(1), WHOLE).z[0])
        offsets = drawn_offsets(rng)
        made = plainly_moved(model.generator(flat(styles), None, WHOLE), offsets.tolist())
        scenes, mask = composite(made), made.alpha[:, 1]
        differences, place = model.encoder(scenes)
        found, _, _ = model.invert(scenes)
        m = found.alpha[:, 1].clamp(1e-6, 1 - 1e-6)
        expected = {
            "styles": (model.centre[:, None] + differences - torch.stack(styles)).square().mean(),
            "shift": 10 * (place - offsets / 16).square().mean(),
            "pixels": (composite(found) - scenes).abs().mean(),
            "masks": -(mask * m.log() + (1 - mask) * (1 - m).log()).mean(),
        }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(terms[name].detach(), value, msg=lambda text, name=name: f"{name}: {text}")


def test_from_half_way_on_the_encoder_learns_from_photos_too(model):
    images = photos().double()
    turns = [EncoderPlayer(model).turn(images, stream(1), context(step, stage="encoder", steps=4)) for step in range(4)]
    made, real = {"styles", "shift", "pixels", "masks"}, {"real_pixels", "features", "centre"}
    assert [terms.keys() for terms in turns] == [made, made, made | real, made | real]
    with torch.no_grad():
        photo = 2 * images - 1
        rebuilt, styles = composite(model.invert(photo)[0]), model.centre[:, None] + model.encoder(photo)[0]
        seen, true = (model.discriminator.features(some) for some in (rebuilt, photo))
        expected = {
            "real_pixels": (rebuilt - photo).abs().mean(),
            "features": 0.5 * (seen - true).square().mean(),
            "centre": 1e-3 * (styles - model.centre[:, None]).square().mean(),
        }
    for name, value in expected.items():
        assert_close(turns[2][name].detach(), value, msg=lambda text, name=name: f"{name}: {text}")


# --- the segmenter ----------------------------------------------------------------------------------------------------


def test_the_segmenter_learns_where_the_moved_mask_is_above_one_half(model):
    logits = torch.randn(4, 1, 16, 16, generator=stream(3)).double()
    model.segment = lambda _images: logits
    found = Segmenter(model).turn(photos().double(), stream(1), context(stage="segmenter"))["masks"]
    layers, _ = model.paint(model.noise(4, rng := stream(1), WHOLE), WHOLE)
    target = plainly_moved(layers, drawn_offsets(rng).tolist()).alpha[:, 1] > 0.5
    assert 0.2 < target.double().mean() < 0.8
    chance = 1 / (1 + torch.exp(-logits))
    assert_close(found, -torch.where(target, chance, 1 - chance).log().mean())


def test_stretched_foregrounds_keep_their_colours_and_change_their_shapes():
    square = torch.zeros(64, 2, 1, 16, 16)
    square[:, 0], square[:, 1, :, 4:12, 6:10] = 1, 1
    rgb = torch.stack([torch.zeros(64, 3, 16, 16), torch.full((64, 3, 16, 16), 0.5)], 1)
    layers = Layers(rgb, square, background=True)
    found = stretched(layers, 1.5, stream(0), context(batch=64))
    assert torch.equal(found.rgb[:, 0], layers.rgb[:, 0])
    assert torch.equal(found.alpha[:, 0], layers.alpha[:, 0])
    inside = found.alpha[:, 1] > 0.99
    assert_close(found.rgb[:, 1][inside.expand(-1, 3, -1, -1)], torch.full((int(inside.sum()) * 3,), 0.5))
    areas = found.alpha[:, 1].sum((1, 2, 3))
    assert float(areas.min()) < 32 / 1.5 and float(areas.max()) > 32 * 1.5
    assert float(areas.min()) > 32 / 1.5**2 - 1 and float(areas.max()) < 32 * 1.5**2 + 1
    rows = (found.alpha[:, 1] > 0.5).any(3).sum((1, 2))
    assert int(rows.min()) < 7 and int(rows.max()) > 9  # some lie, some stand
    still = stretched(layers, 1.0, stream(1), context(batch=64))  # turned alone
    assert float((still.alpha[:, 1].sum((1, 2, 3)) - 32).abs().max()) < 1
    share = StepContext("segmenter", 0, 9, slice(32, 64), 64)
    half = Layers(rgb[32:], square[32:], background=True)
    assert_close(stretched(half, 1.5, stream(0), share).alpha, found.alpha[32:])


# --- the segmenter that teaches itself ----------------------------------------------------------------------------------


def test_the_segmenter_learns_from_its_own_best_guesses_between_the_areas_allowed():
    model = PerturbGAN(replace(TINY, self_training_steps=8, min_area=0.25, max_area=0.5, self_training_paste=0.0))
    assert [stage.name for stage in model.stages()][-1] == "self-training"
    model.on_stage_start("self-training")
    assert torch.equal(model.segment(photos()), model.teacher(photos()))
    ramp = torch.arange(256.0).view(1, 1, 16, 16).expand(4, -1, -1, -1) / 256
    model.pseudo_labels = lambda _images: ramp
    logits = torch.randn(4, 1, 16, 16, generator=stream(3))
    model.segment = lambda _images: logits
    found = SelfTrainingPlayer(model).turn(photos(), stream(0), context(stage="self-training"))["masks"]
    object_, ground = logits.flatten(1)[:, 192:], logits.flatten(1)[:, :128]  # a quarter, and all but half
    costs = torch.cat([-F.logsigmoid(object_), -F.logsigmoid(-ground)], 1)
    assert_close(found, costs.mean())


def test_the_object_of_the_next_photo_is_pasted_with_what_is_known_of_it():
    model = PerturbGAN(replace(TINY, self_training_steps=8, self_training_paste=0.5, shift=0.25))
    images, rng = photos(8), stream(5)
    may_be = torch.zeros(8, 1, 16, 16)
    may_be[:, :, 5:9, 4:9] = 1
    is_object = may_be * (torch.rand(8, 1, 16, 16, generator=rng) < 0.5)
    now = context(stage="self-training", batch=8)
    mixed, mixed_object, mixed_may_be = pasted(model, images, is_object, may_be, stream(0), now)
    chosen = torch.rand(8, 1, 1, 1, generator=(again := stream(0))).flatten() < 0.5
    offset = (4 * (2 * torch.rand(8, 2, generator=again) - 1)).round().long().tolist()
    assert 0 < chosen.sum() < 8
    for k, (right, down) in enumerate(offset):
        on = torch.zeros(16, 16, dtype=torch.bool)
        if chosen[k]:
            on[5 + down : 9 + down, 4 + right : 9 + right] = True

        def wanted(maps, k=k, on=on, by=(down, right)):
            return torch.where(on, maps[(k + 1) % 8].roll(by, (1, 2)), maps[k])

        assert_close(mixed[k], wanted(images))
        assert torch.equal(mixed_object[k], wanted(is_object))
        assert torch.equal(mixed_may_be[k], wanted(may_be))


def test_the_teacher_follows_and_guesses_alike_of_a_mirrored_photo():
    model = PerturbGAN(replace(TINY, self_training_steps=3)).eval()
    model.on_stage_start("self-training")
    images = 2 * photos() - 1
    assert_close(
        model.pseudo_labels(images).flip(-1)[..., 1:-1],
        model.pseudo_labels(images.flip(-1))[..., 1:-1],
        rtol=0,
        atol=1e-5,
    )
    before = [p.clone() for p in model.teacher.parameters()]
    with torch.no_grad():
        for parameter in model.segmenter.parameters():
            parameter += 1
    model.after_update(stream(0), context(stage="self-training"))
    for old, new in zip(before, model.teacher.parameters(), strict=True):
        assert_close(new, old + 0.01)
    assert not any(name.startswith("teacher") for name in model.export_state(everything=True))

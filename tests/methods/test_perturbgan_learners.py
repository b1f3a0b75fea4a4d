"""PerturbGAN's learners: the encoder, the segmenter, and the segmenter that teaches itself."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from delaminate.methods.base import Carry
from delaminate.methods.perturbgan import PerturbGAN
from delaminate.methods.perturbgan.players import SelfTrainer, pasted, stretched
from delaminate.rng import stream
from delaminate.scene.layers import Layers

from .perturbgan_tiny import TINY, carry, photos


def test_stretched_foregrounds_keep_their_colours_and_change_their_shapes():
    square = torch.zeros(64, 2, 1, 16, 16)
    square[:, 0], square[:, 1, :, 4:12, 6:10] = 1, 1
    rgb = torch.stack([torch.zeros(64, 3, 16, 16), torch.full((64, 3, 16, 16), 0.5)], 1)
    layers = Layers(rgb, square, background=True)
    found = stretched(layers, 1.5, stream(0), carry(batch=64))
    assert torch.equal(found.rgb[:, 0], layers.rgb[:, 0])
    assert torch.equal(found.alpha[:, 0], layers.alpha[:, 0])
    inside = found.alpha[:, 1] > 0.99
    assert_close(found.rgb[:, 1][inside.expand(-1, 3, -1, -1)], torch.full((int(inside.sum()) * 3,), 0.5))
    areas = found.alpha[:, 1].sum((1, 2, 3))
    assert float(areas.min()) < 32 / 1.5 and float(areas.max()) > 32 * 1.5
    assert float(areas.min()) > 32 / 1.5**2 - 1 and float(areas.max()) < 32 * 1.5**2 + 1
    rows = (found.alpha[:, 1] > 0.5).any(3).sum((1, 2))
    assert int(rows.min()) < 7 and int(rows.max()) > 9  # some lie, some stand
    still = stretched(layers, 1.0, stream(1), carry(batch=64))  # turned alone
    assert float((still.alpha[:, 1].sum((1, 2, 3)) - 32).abs().max()) < 1
    share = Carry("segmenter", 0, 9, slice(32, 64), 64)
    half = Layers(rgb[32:], square[32:], background=True)
    assert_close(stretched(half, 1.5, stream(0), share).alpha, found.alpha[32:])


def test_the_segmenter_learns_from_its_own_best_guesses_between_the_areas_allowed():
    model = PerturbGAN(replace(TINY, self_training_steps=8, least_area=0.25, most_area=0.5, self_training_paste=0.0))
    assert [stage.name for stage in model.stages()][-1] == "self-training"
    model.begin("self-training")
    assert torch.equal(model.find(photos()), model.teacher(photos()))
    ramp = torch.arange(256.0).view(1, 1, 16, 16).expand(4, -1, -1, -1) / 256
    model.guess = lambda _images: ramp
    logits = torch.randn(4, 1, 16, 16, generator=stream(3))
    model.find = lambda _images: logits
    found = SelfTrainer(model).turn(photos(), stream(0), carry(stage="self-training"))["masks"]
    object_, ground = logits.flatten(1)[:, 192:], logits.flatten(1)[:, :128]  # a quarter, and all but half
    costs = torch.cat([-F.logsigmoid(object_), -F.logsigmoid(-ground)], 1)
    assert_close(found, costs.mean())


def test_the_object_of_the_next_photo_is_pasted_with_what_is_known_of_it():
    model = PerturbGAN(replace(TINY, self_training_steps=8, self_training_paste=0.5, shift=0.25))
    images, rng = photos(8), stream(5)
    may_be = torch.zeros(8, 1, 16, 16)
    may_be[:, :, 5:9, 4:9] = 1
    is_object = may_be * (torch.rand(8, 1, 16, 16, generator=rng) < 0.5)
    now = carry(stage="self-training", batch=8)
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
    model.begin("self-training")
    images = 2 * photos() - 1
    assert_close(model.guess(images).flip(-1)[..., 1:-1], model.guess(images.flip(-1))[..., 1:-1], rtol=0, atol=1e-5)
    before = [p.clone() for p in model.teacher.parameters()]
    with torch.no_grad():
        for parameter in model.segmenter.parameters():
            parameter += 1
    model.after_update(stream(0), carry(stage="self-training"))
    for old, new in zip(before, model.teacher.parameters(), strict=True):
        assert_close(new, old + 0.01)
    assert not any(name.startswith("teacher") for name in model.parts(everything=True))

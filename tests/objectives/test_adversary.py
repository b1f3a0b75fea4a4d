"""Losses of two players."""

import math

import pytest
import torch
from torch.testing import assert_close

from delaminate.errors import ShapeError
from delaminate.objectives.adversary import (
    gradient_penalty,
    hinge_fake,
    hinge_real,
    logistic_fake,
    logistic_real,
    r1_penalty,
)
from delaminate.objectives.augment import augment
from delaminate.rng import stream


def test_hinges_by_hand():
    scores = torch.tensor([-2.0, 0.0, 0.5, 3.0])
    assert_close(hinge_real(scores), torch.tensor((3 + 1 + 0.5 + 0) / 4))
    assert_close(hinge_fake(scores), torch.tensor((0 + 1 + 1.5 + 4) / 4))


def test_logistic_losses_by_hand():
    scores = torch.tensor([0.0, 2.0])
    assert_close(logistic_real(scores), torch.tensor((math.log(2) + math.log1p(math.exp(-2))) / 2))
    assert_close(logistic_fake(scores), torch.tensor((math.log(2) + math.log1p(math.exp(2))) / 2))


def linear(slope):
    return lambda images: images.flatten(1) @ slope


def test_the_gradient_penalty_of_a_linear_score_is_known():
    slope = torch.full((12,), 0.5)  # of norm sqrt(3)
    real, fake = torch.rand(2, 4, 3, 2, 2, generator=stream(0))
    found = gradient_penalty(linear(slope), real, fake, stream(1))
    assert_close(found, torch.tensor((math.sqrt(3) - 1) ** 2))
    assert_close(r1_penalty(linear(slope), real), torch.tensor(3.0))


def test_penalties_have_gradients_in_the_discriminators_weights():
    slope = torch.full((12,), 0.5, requires_grad=True)
    real, fake = torch.rand(2, 4, 3, 2, 2, generator=stream(0))
    gradient_penalty(linear(slope), real, fake, stream(1)).backward()
    assert_close(slope.grad, slope.detach() * 2 * (math.sqrt(3) - 1) / math.sqrt(3))
    slope.grad = None
    r1_penalty(linear(slope), real).backward()
    assert_close(slope.grad, 2 * slope.detach())


def test_the_penalty_looks_between_real_and_fake():
    seen = []

    def watch(images):
        seen.append(images.detach())
        return images.flatten(1).sum(1)

    real, fake = torch.ones(64, 1, 2, 2), torch.zeros(64, 1, 2, 2)
    gradient_penalty(watch, real, fake, stream(1))
    share = seen[0][:, 0, 0, 0]
    assert_close(seen[0], share.view(-1, 1, 1, 1).expand(64, 1, 2, 2))
    assert 0 <= share.min() < 0.1
    assert 0.9 < share.max() <= 1


def test_the_gradient_penalty_refuses_batches_of_two_shapes():
    with pytest.raises(ShapeError, match="real is"):
        gradient_penalty(linear(torch.ones(12)), torch.zeros(2, 3, 2, 2), torch.zeros(3, 3, 2, 2), stream(0))


def test_augmentation_is_the_same_for_equal_numbers_and_differs_from_image_to_image():
    images = torch.rand(1, 3, 16, 16, generator=stream(0)).expand(6, -1, -1, -1) * 2 - 1
    one, same, other = (augment(images, stream(key)) for key in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len({tuple(image.flatten().tolist()) for image in one}) == 6


def test_a_process_draws_its_rows_of_the_whole_batch():
    images = torch.rand(6, 3, 16, 16, generator=stream(0))
    whole = augment(images, stream(1))
    parts = [augment(images[rows], stream(1), rows, 6) for rows in (slice(0, 3), slice(3, 6))]
    assert_close(torch.cat(parts), whole)


def test_gradients_reach_the_images_except_where_they_are_cut_out():
    images = torch.rand(8, 3, 16, 16, generator=stream(0)).requires_grad_(True)
    shown = augment(images, stream(1))
    shown.sum().backward()
    assert bool(torch.isfinite(images.grad).all())
    gone = (shown == 0).all(1).flatten(1).float().mean(1)
    assert 0 < gone.max() < 0.7
    assert (images.grad != 0).flatten(1).any(1).all()

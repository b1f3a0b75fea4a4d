"""Masks brought to the outlines of images, against the formula written plainly."""

import pytest
import torch
from torch.testing import assert_close

from delaminate.refinement import crf
from delaminate.refinement.crf import mean_vote, refine
from delaminate.rng import stream


def parted(images, masks, seed=0):
    """Random photos and masks in float64."""
    rng = stream("crf", seed)
    photos = torch.rand(images, 3, 6, 8, generator=rng, dtype=torch.float64)
    return photos, torch.randn(images, masks, 1, 6, 8, generator=rng, dtype=torch.float64).softmax(1)


def kernel_of(image):
    """How much each pixel heeds each other one."""
    height, width = image.shape[1:]
    pixels = [(y, x) for y in range(height) for x in range(width)]

    def share(a, b):
        place = ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (crf.PLACE * max(height, width)) ** 2
        colour = ((image[:, a[0], a[1]] - image[:, b[0], b[1]]) ** 2).sum() / crf.COLOUR**2
        return torch.exp(-(place + colour) / 2)

    return torch.stack([torch.stack([share(a, b) for b in pixels]) for a in pixels])


def plainly(image, masks, weight, rounds):
    """All pixels vote, one by one."""
    count, kernel = len(masks), kernel_of(image)
    own = (crf.TRUST * masks + (1 - crf.TRUST) / count).log().flatten(1)
    found = own
    for _ in range(rounds + 1):
        beliefs = found.exp() / found.exp().sum(0)
        found = torch.stack([own[k] + weight * (kernel * beliefs[k]).sum(1) / kernel.sum(1) for k in range(count)])
    return (found.exp() / found.exp().sum(0)).view_as(masks)


@pytest.mark.parametrize("number", [2, 3])
def test_where_all_pixels_vote_it_is_the_plain_formula(number):
    photos, masks = parted(2, number)
    photos = 0.3 + 0.1 * photos  # so alike that votes count
    found = refine(photos, masks, weight=4.0)
    assert found.shape == masks.shape
    for image, one, ours in zip(photos, masks, found, strict=True):
        assert_close(ours[:, 0], plainly(image, one[:, 0], 4.0, crf.ROUNDS), rtol=0, atol=1e-12)


def test_a_blunt_mask_takes_the_outline_of_what_it_lies_on():
    square = torch.zeros(1, 1, 1, 40, 40)
    square[..., 10:30, 12:28] = 1
    photo = torch.where(square[:, 0] > 0, torch.tensor([0.9, 0.2, 0.1])[:, None, None], torch.tensor(0.4))
    photo = (photo + 0.01 * torch.randn(1, 3, 40, 40, generator=stream("noise"))).clamp(0, 1)
    blunt = square.roll((3, -2), (-2, -1))
    found = refine(photo, torch.cat([1 - blunt, blunt], 1))
    assert_close(found.sum(1), torch.ones(1, 1, 40, 40))
    assert torch.equal(found[:, 1:] > 0.5, square > 0.5)
    coarse = refine(photo, torch.cat([1 - blunt, blunt], 1), grid=8)
    assert ((coarse[:, 1:] > 0.5) == (square > 0.5)).float().mean() > 0.97


def test_a_mean_vote_is_the_plain_sum():
    photos, masks = parted(2, 1)
    photos = 0.4 + 0.1 * photos
    found = mean_vote(photos, masks[:, 0])
    for image, some, ours in zip(photos, masks[:, 0], found, strict=True):
        kernel = kernel_of(image)
        assert_close(ours.flatten(), (kernel * some.flatten()).sum(1) / kernel.sum(1), rtol=0, atol=1e-12)
    assert_close(mean_vote(photos, torch.full_like(masks[:, 0], 0.3), grid=4), torch.full_like(masks[:, 0], 0.3))


def test_without_votes_masks_are_doubted_a_little_and_images_do_not_meet():
    photos, masks = parted(3, 2, seed=1)
    assert_close(refine(photos, masks, weight=0.0), crf.TRUST * masks + (1 - crf.TRUST) / 2)
    assert_close(refine(photos, masks)[1:2], refine(photos[1:2], masks[1:2]))
    assert refine(photos[:0], masks[:0]).shape == (0, 2, 1, 6, 8)

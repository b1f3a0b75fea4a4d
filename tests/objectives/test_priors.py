"""What soft masks should be."""

import torch
from torch.testing import assert_close

from delaminate.objectives.priors import (
    area_within,
    binarization,
    border_and_inside,
    compactness,
    coverage,
    indecision,
    mask_diversity,
    sharpened,
    total_variation,
)
from delaminate.rng import stream


def masks(*values):
    """Masks of 1 x 4 pixels."""
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 4)


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def test_the_published_pair_by_hand():
    some = masks([0, 0, 0, 0.4], [1, 1, 0.5, 0.7])
    assert_close(coverage(some, 0.25), number((0.25 - 0.1 + 0) / 2))
    assert_close(binarization(some), number((0.4 + 0.5 + 0.3) / 8))


def test_the_sharpened_pair_by_hand():
    some = masks([0, 0, 0, 0.4], [1, 1, 0.5, 0.7])
    s_4, s_7 = 0.4**4 / (0.4**4 + 0.6**4), 0.7**4 / (0.7**4 + 0.3**4)
    expected = torch.stack([number([0, 0, 0, s_4]), number([1, 1, 0.5, s_7])])
    assert_close(sharpened(some).view(2, 4), expected)
    areas = s_4 / 4, (2.5 + s_7) / 4
    assert_close(area_within(some, 0.25, 0.5), number((0.25 - areas[0] + areas[1] - 0.5) / 2))
    assert_close(area_within(some, 0.0, 1.0), number(0.0))
    assert_close(indecision(some), number(2 * (0.24 + 0.25 + 0.21) / 8))


def test_a_grey_mask_satisfies_the_published_pair_as_well_as_a_decided_one_but_not_the_sharpened():
    """Why masks die: grey everywhere at eta costs the published losses no more than an object with a soft edge."""
    grey, soft = masks([0.25] * 4), masks([0.5, 0.5, 0, 0])
    assert_close(coverage(grey, 0.25) + binarization(grey), coverage(soft, 0.25) + binarization(soft))
    assert float(area_within(grey, 0.25, 1)) > 0.2
    assert float(area_within(soft, 0.25, 1)) == 0
    assert float(indecision(grey)) > float(indecision(soft))


def test_variety_is_how_far_pairs_of_masks_differ():
    one, other = masks([1, 1, 0, 0]), masks([1, 0, 0, 0.5])
    assert_close(mask_diversity(torch.cat([one, one])), number(0.0))
    assert_close(mask_diversity(torch.cat([one, other])), number(1.5 / 4))
    assert_close(
        mask_diversity(torch.cat([one, other, other, other, one])), number(1.5 / 8)
    )  # the fifth has no partner
    assert float(mask_diversity(one)) == 0


def test_total_variation_counts_the_edges_of_a_mask():
    some = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    some[..., 1:3, 1:4] = 0.5  # 2 x 3 pixels: 10 edges
    assert_close(total_variation(some), number(10 * 0.5 / 25))
    stripes = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(4, 4)[None, None]
    assert_close(total_variation(stripes), number(4 * 7 / 32))


def test_an_outline_is_measured_by_that_of_a_square_of_the_same_size():
    small, large, ring, parted = (torch.zeros(1, 1, 20, 20, dtype=torch.float64) for _ in range(4))
    small[..., 8:12, 8:12], large[..., 3:15, 3:15] = 1, 1
    ring[..., 5:15, 5:15], ring[..., 7:13, 7:13] = 1, 0  # 64 pixels, 40 + 24 edges
    parted[..., 2:6, 2:6], parted[..., 10:14, 10:14] = 1, 1
    assert_close(compactness(small), number(1.0))
    assert_close(compactness(large), number(1.0))
    assert_close(compactness(ring), number(64 / 32))
    assert_close(compactness(parted), number(2**0.5))
    assert_close(compactness(torch.cat([small, ring])), number(1.5))
    assert float(compactness(torch.zeros(1, 1, 4, 4))) == 0


def test_the_border_of_a_small_canvas_is_its_outermost_pixels():
    some = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    some[0, 0, 0], some[1, 0, 1:3, 1:3] = 1, 0.5  # a row of the border in one image; the whole inside in the other
    edge, inside = border_and_inside(some)
    assert_close(edge, number(4 / 24))
    assert_close(inside, number(2 / 8))


def test_gradients_are_numbers_at_the_ends_too():
    some = torch.cat([masks([0, 1, 0.5, 0]), torch.rand(3, 1, 1, 4, generator=stream(0)).double()]).requires_grad_()
    for loss in (coverage(some, 0.9), binarization(some), indecision(some), area_within(some, 0.9, 1.0)):
        (slope,) = torch.autograd.grad(loss, some)
        assert torch.isfinite(slope).all()
    middle = torch.rand(2, 1, 3, 3, generator=stream(1), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(sharpened, (middle,))

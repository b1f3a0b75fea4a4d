import numpy as np
import pytest
import torch

from delaminate.errors import ShapeError
from delaminate.metrics import baseline_figures, centred_disc, colour_regions

GREY, DARK, BRIGHT = 0.5, 0.1, 0.9


def scene(height=8, width=10):
    """A grey ground with a bright and a dark square: regions 0, 2 and 1."""
    true = torch.zeros(1, height, width, dtype=torch.int64)
    true[0, 1:3, 1:3], true[0, 4:7, 5:8] = 2, 1
    return torch.tensor([GREY, DARK, BRIGHT])[true].expand(3, -1, -1)[None], true


def test_flat_colours_are_found_exactly():
    image, true = scene()
    assert torch.equal(colour_regions(image, 3), true)
    figures = baseline_figures(true, true, colour_regions(image, 3), 3)
    assert figures["baseline_colour"] == 1


def test_large_images_are_learnt_from_some_pixels_and_labelled_in_all():
    image, true = scene()
    large, expected = (values.repeat_interleave(20, -1).repeat_interleave(20, -2) for values in (image, true))
    assert torch.equal(colour_regions(large, 3), expected)


def test_the_cluster_with_most_border_is_the_background():
    image = torch.full((1, 3, 6, 6), DARK)
    image[..., 2:, 1:5] = BRIGHT
    found = colour_regions(image)
    assert found[0, 0, 0] == 0
    assert found.sum() == 16
    assert torch.equal(colour_regions(1 - image), found)


def test_clusters_repeat_and_do_not_depend_on_their_batch():
    images = torch.rand(4, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    whole = colour_regions(images, 3)
    assert torch.equal(whole, colour_regions(images, 3))
    assert torch.equal(whole[2:3], colour_regions(images[2:3], 3))
    assert set(whole.unique().tolist()) == {0, 1, 2}


def test_images_of_fewer_colours_than_regions_do_no_harm():
    assert colour_regions(torch.zeros(2, 3, 4, 4), 3).sum() == 0
    assert colour_regions(torch.zeros(1, 3, 1, 1), 3).tolist() == [[[0]]]
    assert colour_regions(torch.zeros(0, 3, 4, 4)).shape == (0, 4, 4)


def test_discs_are_centred_and_of_the_area_asked_for():
    assert centred_disc((4, 5), 0).sum() == 0
    assert centred_disc((4, 5), 1).all()
    disc = centred_disc((64, 96), 0.3)
    assert disc.mean() == pytest.approx(0.3, abs=0.002)
    assert (disc == disc[::-1, ::-1]).all()
    # It is round: the area of the box around it is 4 / pi of its own.
    rows, columns = disc.any(1).sum(), disc.any(0).sum()
    assert rows == columns
    assert rows * columns * np.pi / 4 == pytest.approx(disc.sum(), rel=0.03)


def test_two_regions_by_hand():
    true = torch.zeros(2, 4, 4, dtype=torch.int64)
    true[0, 1:3, 1:3] = 1
    true[1, :2] = 1
    predicted = torch.zeros_like(true)
    predicted[0, 0] = predicted[1, 3] = 1  # 8 of 32 pixels: the disc is the four in the middle
    colour = torch.stack([true[0], 1 - true[1]])
    figures = baseline_figures(true, predicted, colour)
    assert figures["baseline_all"] == pytest.approx((4 / 16 + 8 / 16) / 2)
    assert figures["baseline_disc"] == pytest.approx((1 + 2 / 10) / 2)
    assert figures["baseline_colour"] == pytest.approx((1 + 0) / 2)


def test_three_regions_are_named_as_suits_the_guess():
    true = torch.tensor([[[0, 0, 0, 1, 2]]])
    figures = baseline_figures(true, true, torch.tensor([[[1, 1, 1, 2, 0]]]), 3)
    assert figures["baseline_colour"] == 1
    # All in one: called background, it overlaps that by 3 of 5.
    assert figures["baseline_all"] == pytest.approx(3 / 5 / 3)


def test_less_than_two_regions_are_refused():
    with pytest.raises(ShapeError, match="at least 2"):
        colour_regions(torch.zeros(1, 3, 4, 4), 1)
    with pytest.raises(ShapeError, match="at least one image"):
        baseline_figures(torch.zeros(0, 4, 4).long(), torch.zeros(0, 4, 4).long(), torch.zeros(0, 4, 4).long())

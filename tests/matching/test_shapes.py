"""Search by regions: flat-coloured things that are turned and scaled."""

import math

import pytest
import torch
from helpers.shapes import square

from delaminate.data import draw
from delaminate.matching.registration import render, similarity
from delaminate.matching.shapes import (
    PoseFinder,
    explain,
    find_shapes,
    flat_regions,
    front_to_back,
    normalised,
    overlap,
    whole_regions,
)


def test_regions_are_named_by_colour_and_the_border_is_background():
    image = torch.full((3, 20, 20), 0.2)
    image[:, 3:8, 3:8] = torch.tensor([1.0, 0, 0])[:, None, None]
    image[:, 10:18, 10:18] = torch.tensor([0.0, 1, 0])[:, None, None]
    regions = flat_regions(image)
    assert len(regions) == 2
    assert torch.allclose(regions.colours[0], torch.full((3,), 0.2), atol=1 / 255)
    assert sorted(regions.masks().flatten(1).sum(1).tolist()) == [25, 64]


def test_specks_are_no_regions():
    image = torch.zeros(3, 20, 20)
    image[0, 5, 5:8] = 1
    assert len(flat_regions(image, min_pixels=8)) == 0


def test_normalised_shapes_forget_place_turn_and_size():
    poses = torch.tensor([[20.0, 30.0, 0.9, 0.0], [40.0, 25.0, 1.3, 0.6]])
    matrix = similarity(poses[:, :2], poses[:, 2], poses[:, 3], 28)
    masks = (render(square().expand(2, 1, 28, 28), matrix, (64, 64)) > 0.5).float()
    turned = normalised(masks, 28, torch.arange(72) * (2 * math.pi / 72))
    assert float(overlap(turned, square()[None]).amax(1).min()) > 0.9


def test_a_shape_that_something_hides_is_still_found():
    shapes = square()[None]
    matrix = similarity(torch.tensor([[30.0, 30.0]]), torch.tensor([1.2]), torch.tensor([0.4]), 28)
    mask = render(shapes[:, None], matrix, (64, 64))[0] > 0.5
    image = torch.full((3, 64, 64), 0.5)
    image[:, mask] = torch.tensor([1.0, 0, 0])[:, None]
    image[:, 22:42, 34:60] = torch.tensor([0.0, 0, 1])[:, None, None]  # a rectangle in front
    finder = PoseFinder(shapes, (64, 64), torch.linspace(0.8, 1.5, 7))
    regions = flat_regions(image)
    red = int(regions.colours[1:, 0].argmax())
    pose = finder.find(regions)[red]
    again = render(shapes[:, None], pose.matrix(28)[None], (64, 64))[0] > 0.5
    both = float((again & mask).sum()) / float((again | mask).sum())
    assert both > 0.8


def test_what_shows_where_two_overlap_is_in_front():
    shapes = square()[None]
    image = torch.full((3, 64, 64), 0.5)
    poses = torch.tensor([[26.0, 26.0], [36.0, 36.0]])
    matrix = similarity(poses, torch.ones(2), torch.zeros(2), 28)
    covers = render(shapes.expand(2, 1, 28, 28), matrix, (64, 64)) > 0.5
    image[:, covers[0]] = torch.tensor([1.0, 0, 0])[:, None]
    image[:, covers[1]] = torch.tensor([0.0, 1, 0])[:, None]
    finder = PoseFinder(shapes, (64, 64), torch.linspace(0.9, 1.1, 3))
    regions = flat_regions(image)
    hides = front_to_back(finder.find(regions), regions, shapes)
    green = int(regions.colours[1:, 1].argmax())
    assert float(hides[green, 1 - green]) > 0.9
    seen = explain(image, finder)
    assert torch.allclose(seen.colours[-1], torch.tensor([0.0, 1, 0]))


def test_an_empty_image_has_nothing_in_it():
    finder = PoseFinder(square()[None], (64, 64), torch.ones(1))
    assert explain(torch.full((3, 64, 64), 0.3), finder).poses == []


def test_no_regions_give_no_shapes():
    assert whole_regions(torch.zeros(2, 3, 64, 64)).shape == (0, 64, 64)


@pytest.mark.slow
def test_the_three_shapes_of_multi_dsprites_are_found():
    images = draw("multi-dsprites", 150, split="train").images.batch(range(150))
    shapes = find_shapes(whole_regions(images), 5, 28)
    assert len(shapes) == 3

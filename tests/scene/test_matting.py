"""Layers of a photo composite back to it, and what they hide is guessed from around."""

import pytest
import torch
from helpers.stacks import few
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from delaminate.errors import ShapeError
from delaminate.rng import stream
from delaminate.scene.compositing import composite
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.layers import Layers
from delaminate.scene.matting import foreground_colours
from delaminate.scene.placements import Dictionary, Placement, Transform
from delaminate.scene.scenes import with_photo


def shown(photos, alpha):
    return composite(Layers(foreground_colours(photos, alpha), alpha, background=True))


@few
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
def test_layers_composite_to_the_photo_and_their_colours_are_colours(seed, count, height, width):
    rng = stream("unmixed", seed)
    photos = torch.rand(2, 3, height, width, generator=rng, dtype=torch.float64).round(decimals=1)
    alpha = torch.rand(2, count, 1, height, width, generator=rng, dtype=torch.float64) * 1.6 - 0.3
    alpha = alpha.clamp(0, 1)  # often 0 or 1
    alpha[:, 0] = 1
    colours = foreground_colours(photos, alpha)
    assert colours.shape == (2, count, 3, height, width)
    assert colours.min() >= -1e-9
    assert colours.max() <= 1 + 1e-9
    assert_close(shown(photos, alpha), photos, rtol=0, atol=1 / 510)


def test_in_eight_bits_it_is_the_photo_to_the_byte():
    rng = stream("bytes")
    photos = torch.randint(256, (4, 3, 40, 30), generator=rng) / 255
    alpha = torch.randint(256, (4, 2, 1, 40, 30), generator=rng) / 255
    alpha[:, 0] = 1
    stored = (255 * foreground_colours(photos, alpha)).round() / 255
    again = composite(Layers(stored, alpha, background=True))
    assert torch.equal((255 * again).round(), (255 * photos).round())


def test_an_object_that_is_taken_away_leaves_the_ground_around_it():
    down = torch.linspace(0.2, 0.8, 48)[:, None].expand(48, 64)
    photo = torch.stack([down, down.flip(0), torch.full_like(down, 0.5)])[None]
    ground = photo.clone()
    alpha = torch.ones(1, 2, 1, 48, 64)
    alpha[:, 1] = 0
    alpha[:, 1, :, 14:30, 20:44] = 1
    photo[:, :, 14:30, 20:44] = torch.tensor([0.9, 0.0, 0.1]).view(3, 1, 1)
    background, front = foreground_colours(photo, alpha)[0]
    outside = alpha[0, 1].expand(3, -1, -1) == 0
    assert torch.equal(background[outside], photo[0][outside])
    assert torch.equal(front[~outside], photo[0][~outside])
    assert (background - ground[0]).abs().max() < 0.12  # red differs by 0.1 to 0.7 where the object was


def test_half_seen_outlines_lose_the_colour_of_the_ground():
    photo, alpha = torch.full((1, 3, 8, 8), 0.2), torch.ones(1, 2, 1, 8, 8)
    alpha[0, 1, 0] = torch.tensor([0, 0, 0.25, 0.5, 0.75, 1, 1, 1.0])
    photo = 0.2 + 0.6 * alpha[:, 1] * torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    background, front = foreground_colours(photo, alpha)[0]
    assert (background - 0.2).abs().max() < 0.05
    there = (alpha[0, 1] > 0).expand(3, -1, -1)
    wanted = torch.tensor([0.8, 0.5, 0.2]).view(3, 1, 1).expand(3, 8, 8)
    assert (front - wanted)[there].abs().mean() < 0.2 * (photo[0] - wanted)[there].abs().mean()


def test_where_nothing_of_the_ground_is_seen_the_guess_is_still_a_colour():
    photos = torch.rand(1, 3, 5, 7, generator=stream("all"))
    found = foreground_colours(photos, torch.ones(1, 2, 1, 5, 7))
    assert found.isfinite().all()
    assert_close(found[:, 1], photos)
    assert_close(found[:, 0].mean((2, 3)), photos.mean((2, 3)), rtol=0, atol=0.1)


def test_a_photo_belongs_behind_masks_with_a_background():
    still = (Transform.shift(0, 0, (4, 4)),)
    stack = (Placement(-1, still, raster=torch.ones(4, 4, 4)),) * 2
    scene = Decomposition(Dictionary(()), (stack,), (4, 4)).scenes(["one"])[0]
    with pytest.raises(ShapeError, match="expected a background"):
        with_photo(scene, torch.rand(3, 4, 4))

"""Greedy pursuit finds the placements that scenes were made of."""

import itertools
from dataclasses import replace

import pytest
import torch
from helpers.soft_sprites import coloured, draw, scattered, shadings
from torch.testing import assert_close

from delaminate.matching.soft.correlation import Sprites
from delaminate.matching.soft.pursuit import Search, Selections, pursue
from delaminate.rng import stream


def as_sets(picks):
    """Placements without their order, colours to six digits."""
    images = []
    for i in range(len(picks)):
        rows = zip(picks.entry[i].tolist(), picks.top[i].tolist(), picks.left[i].tolist(), strict=True)
        gains = [tuple(round(g, 6) for g in gain) for gain in picks.gain[i].tolist()]
        images.append({(*row, *gain) for row, gain in zip(rows, gains, strict=True) if row[0] >= 0})
    return images


@pytest.mark.parametrize("ground", [False, True], ids=["black", "coloured background"])
@pytest.mark.parametrize("tinted", [True, False], ids=["tinted", "RGB"])
def test_placements_apart_from_one_another_are_found_exactly(tinted, ground):
    sprites = shadings() if tinted else coloured()
    truth = scattered(12, 3, tinted)
    background = torch.rand(1, 3, 16, 18, generator=stream("ground"), dtype=torch.float64) if ground else None
    images = draw(sprites, truth, (16, 18), background)
    found = pursue(images, sprites, Search(3, 1e-3, free_colour=tinted, beam=4), background)
    assert as_sets(found) == as_sets(truth)


def test_who_is_in_front_is_found_over_a_coloured_background():
    rng = stream("occlusion")
    alpha = torch.zeros(2, 1, 7, 7, dtype=torch.float64)
    alpha[0, :, 1:6, 1:6], alpha[1, :, :, 2:5] = 1, 1
    colour = torch.rand(2, 3, 7, 7, generator=rng, dtype=torch.float64)
    colour[:, 0] = torch.tensor([0.9, 0.1], dtype=torch.float64)[:, None, None]
    sprites = Sprites(colour, alpha)
    background = torch.rand(8, 3, 20, 20, generator=rng, dtype=torch.float64)
    front = torch.tensor([0, 1] * 4)
    truth = Selections(
        torch.stack([front, 1 - front], 1),
        torch.tensor([[4, 7]] * 4 + [[8, 5]] * 4),
        torch.tensor([[6, 4], [6, 8]] * 4),
        torch.ones(8, 2, 3, dtype=torch.float64),
    )
    images = draw(sprites, truth, (20, 20), background)
    found = pursue(images, sprites, Search(2, 1e-3, passes=2, free_colour=False, beam=2), background)
    assert found.entry.tolist() == truth.entry.tolist()  # front to back, order included
    assert found.top.tolist() == truth.top.tolist()
    assert found.left.tolist() == truth.left.tolist()
    assert_close(draw(sprites, found, (20, 20), background), images)


def test_nothing_is_placed_that_does_not_earn_its_price():
    sprites, truth = shadings(), scattered(6, 2, True)
    images = draw(sprites, truth, (16, 18))
    assert not pursue(images, sprites, Search(2, 1e6)).used.any()
    assert not pursue(torch.zeros(2, 3, 16, 18, dtype=torch.float64), sprites, Search(2, 1e-3)).used.any()


def test_spare_slots_stay_empty():
    sprites, truth = shadings(), scattered(6, 2, True)
    found = pursue(draw(sprites, truth, (16, 18)), sprites, Search(4, 1e-3, beam=4))
    assert found.used.sum(1).tolist() == [2] * 6
    assert as_sets(found) == as_sets(truth)


def test_pursuit_is_deterministic_and_images_do_not_depend_on_their_neighbours():
    sprites = shadings()
    images = torch.rand(7, 3, 16, 18, generator=stream("noise"), dtype=torch.float64)
    search = Search(3, 0.1, passes=2, beam=2)
    whole, again = pursue(images, sprites, search), pursue(images, sprites, search)
    chunked = pursue(images, sprites, replace(search, chunk=2))
    for name in ("entry", "top", "left", "gain"):
        assert torch.equal(getattr(whole, name), getattr(again, name))
        assert_close(getattr(whole, name), getattr(chunked, name))


def test_a_start_that_explains_everything_is_kept():
    sprites, truth = shadings(), scattered(5, 3, True)
    images = draw(sprites, truth, (16, 18))
    found = pursue(images, sprites, Search(3, 1e-3), start=truth)
    for name in ("entry", "top", "left", "gain"):
        assert torch.equal(getattr(found, name), getattr(truth, name))


def test_a_wrong_start_is_mended_and_left_as_it_was():
    sprites, truth = shadings(), scattered(5, 3, True)
    images = draw(sprites, truth, (16, 18))
    start = Selections(truth.entry.roll(1, 1), truth.top.clone(), truth.left.clone(), truth.gain.clone())
    before = start.entry.clone()
    found = pursue(images, sprites, Search(3, 1e-3, passes=3, beam=4), start=start)
    assert as_sets(found) == as_sets(truth)
    assert torch.equal(start.entry, before)


@pytest.mark.parametrize(("top", "left"), [(15, 0), (0, 40), (-3, 0), (0, -99)])
def test_a_start_out_of_reach_begins_at_the_edge(top, left):
    sprites, images = coloured(), torch.zeros(1, 3, 16, 18, dtype=torch.float64)
    entry, gain = torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, 3, dtype=torch.float64)
    start = Selections(entry, torch.full((1, 1), top), torch.full((1, 1), left), gain)
    kept = pursue(images, sprites, Search(1, 1e9), start=start)  # so dear that nothing is looked at again
    assert (kept.top.item(), kept.left.item()) == (min(max(top, -2), 13), min(max(left, -2), 15))
    assert (start.top.item(), start.left.item()) == (top, left)
    assert not pursue(images, sprites, Search(1, 1e-3), start=start).used.any()


def test_more_passes_and_a_wider_beam_never_raise_the_error():
    sprites = shadings()
    images = torch.rand(6, 3, 16, 18, generator=stream("noise"), dtype=torch.float64)
    errors = []
    for passes, beam in ((0, 0), (1, 0), (2, 0), (2, 3)):
        found = pursue(images, sprites, Search(3, 0.1, passes=passes, beam=beam))
        errors.append((images - draw(sprites, found, (16, 18))).square().sum((1, 2, 3)))
    for worse, better in itertools.pairwise(errors):
        assert bool((better <= worse + 1e-5).all())

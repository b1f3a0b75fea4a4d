"""Sprites are re-estimated from the pixels they explain; superfluous ones go."""

from dataclasses import replace

import pytest
import torch
from helpers.soft_sprites import coloured, draw, scattered, shadings
from torch.testing import assert_close

from delaminate.matching.soft.correlation import Sprites
from delaminate.matching.soft.dictionary import (
    SufficientStatistics,
    accumulate,
    duplicates,
    prune,
    recentre,
    reestimate,
    replace_sprites,
    seed,
    similarity_of,
    without_misfits,
)
from delaminate.matching.soft.pursuit import Search, pursue
from delaminate.rng import stream

SIZE = (16, 18)


def noisy_ground(count):
    """Backgrounds that differ from image to image, so that they tell how much shines through."""
    return torch.rand(count, 3, *SIZE, generator=stream("grounds"), dtype=torch.float64)


def rough(sprites):
    """A poor first guess: grey squares."""
    return Sprites(torch.full_like(sprites.colour, 0.5), torch.full_like(sprites.alpha, 0.6))


def test_shadings_come_back_from_known_placements_on_black():
    sprites, picks = shadings(), scattered(60, 3, True)
    images = draw(sprites, picks, SIZE)
    evidence, _ = accumulate(images, rough(sprites), picks, Search(3, 1.0))
    found = reestimate(rough(sprites), evidence)
    assert_close(found.alpha, sprites.alpha)
    assert_close(found.colour * found.alpha, sprites.colour * sprites.alpha, rtol=0, atol=1e-6)


def test_rgb_sprites_come_back_from_known_placements_on_black():
    sprites, picks = coloured(), scattered(60, 3, False)
    images = draw(sprites, picks, SIZE)
    evidence, _ = accumulate(images, rough(sprites), picks, Search(3, 1.0, free_colour=False))
    found = reestimate(rough(sprites), evidence)
    assert_close(found.alpha, sprites.alpha)
    assert_close(found.premultiplied, sprites.premultiplied, rtol=0, atol=1e-6)


def test_soft_alpha_is_read_off_changing_backgrounds():
    sprites, picks = coloured(), scattered(400, 3, False)
    soft = Sprites(sprites.colour, sprites.alpha * 0.6)
    background = noisy_ground(400)
    images = draw(soft, picks, SIZE, background)
    search = Search(3, 1.0, free_colour=False)
    found = rough(soft)
    for _ in range(4):
        evidence, left = accumulate(images, found, picks, search, background)
        found = reestimate(found, evidence)
    inside = soft.alpha > 0
    assert float((found.alpha - soft.alpha).abs().mean()) < 0.03
    assert float((found.alpha - soft.alpha)[inside].abs().max()) < 0.12
    assert float(left.square().mean()) < 2e-3


def test_true_sprites_leave_nothing_and_stay_as_they_are():
    sprites, picks = coloured(), scattered(300, 3, False)
    background = noisy_ground(300)
    images = draw(sprites, picks, SIZE, background)
    evidence, left = accumulate(images, sprites, picks, Search(3, 1.0, free_colour=False), background)
    assert_close(left, torch.zeros_like(left))
    found = reestimate(sprites, evidence)
    assert float((found.alpha - sprites.alpha).abs().max()) < 0.02
    assert float((found.premultiplied - sprites.premultiplied).abs().max()) < 0.03


def test_sprites_without_occurrences_stay():
    sprites, picks = shadings(), scattered(10, 2, True)
    picks.entry[picks.entry == 1] = -1
    evidence, _ = accumulate(draw(sprites, picks, SIZE), sprites, picks, Search(2, 1.0))
    found = reestimate(rough(sprites), evidence)
    assert torch.equal(found.alpha[1], rough(sprites).alpha[1])
    assert evidence.usage[1] == 0
    assert evidence.usage.tolist() == torch.bincount(picks.entry[picks.used], minlength=4).tolist()


def test_evidence_of_halves_adds_up_to_that_of_the_whole():
    sprites, picks = shadings(), scattered(11, 3, True)
    images, search, background = draw(sprites, picks, SIZE), Search(3, 1.0), noisy_ground(11)
    whole, left = accumulate(images, rough(sprites), picks, search, background)
    parts = [
        accumulate(images[some], rough(sprites), picks.rows(some), search, background[some])
        for some in (slice(0, 4), slice(4, 11))
    ]
    sums = parts[0][0].blend(parts[1][0], 1.0)
    for name, value in whole.tensors().items():
        assert_close(sums.tensors()[name], value)
    assert torch.equal(torch.cat([parts[0][1], parts[1][1]]), left)


def test_forgetting_spares_the_other_sprites():
    sprites, picks = shadings(), scattered(11, 3, True)
    evidence, _ = accumulate(draw(sprites, picks, SIZE), sprites, picks, Search(3, 1.0))
    forgotten = evidence.forget([2])
    for name, value in forgotten.tensors().items():
        assert not value[2].any()
        assert torch.equal(value[[0, 1, 3]], evidence.tensors()[name][[0, 1, 3]])
    assert evidence.usage[2] > 0


def test_recentring_moves_sprite_and_evidence_alike():
    alpha = torch.zeros(2, 1, 9, 9, dtype=torch.float64)
    alpha[0, 0, 0:4, 5:9] = 1  # into the middle: three down, two or three to the left
    alpha[1, 0, 3:6, 3:6] = 1  # there already
    colour = torch.rand(2, 3, 9, 9, generator=stream("colour"), dtype=torch.float64)
    sprites = Sprites(colour, alpha)
    evidence = replace(SufficientStatistics.zeros(sprites), gy=colour.clone(), seen=alpha.clone())
    moved, same = recentre(sprites, evidence)
    rows, columns = (moved.alpha[0, 0] > 0).any(1).nonzero()[:, 0], (moved.alpha[0, 0] > 0).any(0).nonzero()[:, 0]
    assert abs(int(rows[0]) + int(rows[-1]) - 8) <= 1
    assert abs(int(columns[0]) + int(columns[-1]) - 8) <= 1
    assert torch.equal(same.seen, moved.alpha)
    assert torch.equal(same.gy * moved.alpha, moved.colour * moved.alpha)
    assert_close(moved.premultiplied[0].sum(), sprites.premultiplied[0].sum())
    assert torch.equal(moved.colour[1], colour[1])
    again, _ = recentre(moved, same)
    assert torch.equal(again.alpha, moved.alpha)


def test_a_shifted_copy_is_like_its_original_and_nothing_else_is():
    sprites = shadings()
    shifted = Sprites(sprites.colour[1:2].roll(1, 2), sprites.alpha[1:2].roll(1, 2))
    both = Sprites(torch.cat([sprites.colour, shifted.colour]), torch.cat([sprites.alpha, shifted.alpha]))
    found = similarity_of(both)
    assert_close(found.diagonal(), torch.ones(5, dtype=torch.float64))
    assert_close(found, found.T)
    assert float(found[1, 4]) == pytest.approx(1)
    assert float((found - torch.eye(5)).fill_diagonal_(0)[:4, :4].max()) < 0.95


def test_of_two_alike_the_less_used_is_the_duplicate():
    sprites = shadings()
    both = replace_sprites(sprites, [3], Sprites(sprites.colour[:1], sprites.alpha[:1]))
    assert duplicates(both, torch.tensor([5.0, 2, 2, 9])) == [0]
    assert duplicates(both, torch.tensor([9.0, 2, 2, 5])) == [3]
    assert duplicates(sprites, torch.tensor([5.0, 2, 2, 9])) == []


def test_pruning_drops_what_others_can_do_and_keeps_what_is_needed():
    sprites, picks = shadings(), scattered(40, 3, True)
    images = draw(sprites, picks, SIZE)
    copy = Sprites(sprites.colour[[0, 1, 2, 3, 1]] * 1.0, sprites.alpha[[0, 1, 2, 3, 1]])
    copy.colour[4] *= 0.99
    kept = prune(images, copy, Search(3, 0.05), sprite_price=0.5)
    assert len(kept) == 4
    assert {0, 2, 3} < set(kept)


def test_a_dear_sprite_is_dropped_and_a_cheap_one_kept():
    sprites, picks = shadings(), scattered(40, 3, True)
    images = draw(sprites, picks, SIZE)
    assert prune(images, sprites, Search(3, 0.05), sprite_price=0.1) == [0, 1, 2, 3]
    assert len(prune(images, sprites, Search(3, 0.05), sprite_price=1e6)) == 1


def test_placements_that_fit_stay_and_those_that_do_not_go():
    sprites, truth = shadings(), scattered(10, 2, True)
    images, search = draw(sprites, truth, SIZE), Search(2, 0.1)
    assert torch.equal(without_misfits(images, sprites, truth, search).entry, truth.entry)
    wrong = replace(truth, entry=truth.entry.clone())
    wrong.entry[:, 1] = (truth.entry[:, 1] + 2) % 4
    found = without_misfits(images, sprites, wrong, search)
    assert torch.equal(found.entry[:, 0], truth.entry[:, 0])
    assert bool((found.entry[:, 1] == -1).all())
    assert bool((wrong.entry[:, 1] >= 0).all())


def test_new_sprites_are_cut_from_what_is_least_explained_and_from_the_stream_alone():
    residual = torch.zeros(3, 3, 16, 18, dtype=torch.float64)
    residual[1, 0, 4:8, 6:10] = 0.8
    found = seed(4, residual, (5, 5), True, stream("seed"))
    assert found.colour.shape == (4, 1, 5, 5)
    assert bool((found.alpha.flatten(1).sum(1) >= 12).all())
    assert float(found.colour.max()) == pytest.approx(1)
    again = seed(4, residual, (5, 5), True, stream("seed"))
    assert torch.equal(found.colour, again.colour)
    rgb = seed(2, residual, (5, 5), False, stream("seed"))
    assert rgb.colour.shape == (2, 3, 5, 5)
    assert not rgb.colour[:, 1:].any()


def test_matching_learns_sprites_it_has_never_seen():
    sprites, picks = shadings(), scattered(120, 3, True)
    images, search = draw(sprites, picks, SIZE), Search(3, 0.1)
    found = seed(6, images, (5, 5), True, stream("learn"))
    evidence = SufficientStatistics.zeros(found)
    for step in range(12):
        chosen = pursue(images, found, search)
        fresh, _ = accumulate(images, found, chosen, search)
        evidence = evidence.blend(fresh, 0.0)
        found, evidence = recentre(reestimate(found, evidence), evidence)
        again = sorted({*(evidence.usage < 2).nonzero()[:, 0].tolist(), *duplicates(found, evidence.usage)})
        if again and step < 8:
            honest = without_misfits(images, found, chosen, search)
            _, rest = accumulate(images, found, honest, search)
            found = replace_sprites(found, again, seed(len(again), rest, (5, 5), True, stream("learn", step)))
            evidence = evidence.forget(again)
    _, left = accumulate(images, found, pursue(images, found, search), search)
    assert float(left.square().mean()) < 0.1 * float(images.square().mean())

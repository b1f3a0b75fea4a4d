"""Where patterns occur in a frame, and which hides which."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from helpers.patterns import BACKGROUND as GROUND
from helpers.patterns import bank_of, disc, frame_of, opened, paste, pattern, placed, scattered

from delaminate.matching.exact import bit_planes, fitting
from delaminate.matching.exact.detection import Occurrence, PlacementCost, TemplateBank, find, order
from delaminate.matching.exact.fitting import PatternPixels, ring_of
from delaminate.matching.exact.search import FrameStack, Search, explained
from delaminate.matching.exact.templates import BACKGROUND, CLOSED, MISFIT, OPEN, HardSprite


def found_in(frame, patterns, **price):
    frames = opened(frame)
    return placed(find(frames, 0, bank_of(patterns, frames, **price)))


# --- the gain -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [0.06, 0.02])
@pytest.mark.parametrize(("at_once", "planes_from"), [(50, 1.0), (2**20, 0.0)])
def test_a_fit_is_counted_pixel_by_pixel(tolerance, at_once, planes_from, monkeypatch):
    monkeypatch.setattr(fitting, "AT_ONCE", at_once)
    monkeypatch.setattr(fitting, "PLANES_FROM", planes_from)
    monkeypatch.setattr(bit_planes.BitPlanes, "pay", lambda *_: True)
    those = [pattern((8, 7), 1, disc(8)[:, :7]), pattern((5, 9), 2), replace(pattern((6, 6), 3), opacity=0.5)]
    frame = frame_of((30, 30), [(0, 5, 6), (1, 9, 8), (0, 20, 25)], those)
    frame[2:8, 20:26] = np.rint(127.5 * those[2].colour + 0.5 * GROUND[0, 0])
    frames = opened(frame, tolerance=tolerance)
    frames.close(0, (slice(20, 24), slice(20, 40)), np.ones((4, 20), bool))
    rng = np.random.default_rng(0)
    candidates = np.stack([rng.integers(0, 3, 90), rng.integers(0, 45, 90), rng.integers(0, 45, 90)], 1)
    candidates = np.concatenate([candidates, [[0, 17, 18], [0, 32, 37], [2, 14, 32], [1, 21, 20]]])
    pixels = PatternPixels(those)
    gains, misfits, hits = pixels.fit(frames, 0, candidates)
    beside = pixels.snug(frames, 0, candidates)
    assert hits[-2] == 36 and hits.min() == 0
    for n, (entry, top, left) in enumerate(candidates):
        some = those[entry]
        hit = opened_ = harm = 0
        explained = np.zeros(some.size, bool)
        for y, x in np.argwhere(some.alpha):
            kind, shown = frames.kind[0, top + y, left + x], frames.colour[0, top + y, left + x].astype(float)
            difference = shown - (some.opacity * some.colour[y, x] + (1 - some.opacity) * GROUND[0, 0] / 255)
            match = (difference**2).sum() <= (1e-4 if tolerance < 0.03 else tolerance) ** 2
            if some.opacity < 1:
                match = np.abs(difference).max() <= frames.slack
            opened_ += kind == OPEN
            hit += kind == OPEN and match
            harm += kind == BACKGROUND and not match
            explained[y, x] = match
        assert hits[n] == hit
        assert gains[n] == pytest.approx(hit - MISFIT * (opened_ - hit) - harm)
        assert misfits[n] == pytest.approx((opened_ - hit) / max(opened_, 1))
        inside = np.pad(frames.kind[0, 12:-12, 12:-12], 13, constant_values=OPEN)  # beyond the frame it may go on
        around = inside[top : top + some.size[0] + 2, left : left + some.size[1] + 2]
        assert beside[n] == np.count_nonzero(ring_of(some.alpha) & (around != OPEN))
        again = frames.fresh()
        pixels.close(again, 0, candidates[n : n + 1])
        window = again.kind[0, top : top + some.size[0], left : left + some.size[1]]
        assert np.array_equal(
            window == CLOSED, explained | (frames.kind_before[0] == CLOSED)[top:, left:][: some.size[0], : some.size[1]]
        )
    assert [len(each) for each in pixels.fit(frames, 0, candidates[:0])] == [0, 0, 0]


@pytest.mark.parametrize("size", [(3, 4), (9, 57), (6, 58), (4, 131)])
def test_strips_count_what_pixels_do(size, monkeypatch):
    monkeypatch.setattr(bit_planes.BitPlanes, "pay", lambda *_: True)
    rng = np.random.default_rng(size[1])
    colours = rng.integers(0, 2, (3, *size, 3)).astype(np.float32)
    those = [HardSprite(colour, rng.random(size) < 0.8) for colour in colours]
    frame = (255 * rng.integers(0, 2, (40, 150, 3))).astype(np.uint8)
    frames = opened(frame, tolerance=0.02)
    kinds = [rng.integers(0, 3, frames.size).astype(np.uint8) for _ in range(2)]
    limits = np.array(frames.size) - size + 1
    candidates = np.stack([rng.integers(0, 3, 200), *rng.integers(0, limits, (200, 2)).T], 1)
    candidates[0, 1:], candidates[1, 1:] = 0, limits - 1
    found = []
    for planes_from in (np.inf, 0.0):
        monkeypatch.setattr(fitting, "PLANES_FROM", planes_from)
        pixels = PatternPixels(those)
        monkeypatch.setattr(pixels, "_count_pixels", pixels._count_pixels if planes_from else lambda *_: None)
        for each in kinds:
            frames.kind[0] = each
            found.append(pixels.fit(frames, 0, candidates))
    for by_pixels, by_strips in zip(found[:2], found[2:], strict=True):
        assert all(np.array_equal(one, other) for one, other in zip(by_pixels, by_strips, strict=True))


def test_a_frame_with_more_planes_than_they_are_worth_is_counted_by_pixels():
    some = [pattern((8, 8), seed) for seed in range(4)]
    frames = opened(frame_of((30, 30), [(0, 5, 6)], some), tolerance=0.02)
    planes = PatternPixels(some).strips[1]
    assert len(planes.colours) == 256 and not planes.pay(frames, 0, 1000) and planes.pay(frames, 0, 100_000)


def test_where_the_border_cuts_a_pattern_less_will_do():
    those = [pattern((8, 8), 1, disc(8)), pattern((6, 10), 2)]
    frames = opened(frame_of((30, 30), [], those))
    bank = bank_of(those, frames, pixels=30)
    rng = np.random.default_rng(0)
    candidates = np.stack([rng.integers(0, 2, 200), rng.integers(0, 44, 200), rng.integers(0, 44, 200)], 1)
    inside = np.zeros(frames.size, bool)
    inside[frames.margin : -frames.margin, frames.margin : -frames.margin] = True
    for (entry, top, left), price in zip(candidates, bank.prices_at(frames, candidates), strict=True):
        alpha, whole = those[entry].alpha, bank.price.of(those[entry])
        visible = int((alpha & inside[top : top + alpha.shape[0], left : left + alpha.shape[1]]).sum())
        assert price == pytest.approx(min(max(4, 0.6 * visible), whole) if visible < alpha.sum() else whole)


def test_a_price_is_pixels_or_a_share_and_never_more_than_most_of_the_pattern():
    price = PlacementCost(pixels=8, share=0.1)
    assert price.of(pattern((20, 20), 1)) == pytest.approx(40)
    assert price.of(pattern((5, 5), 1)) == 8
    assert price.of(pattern((2, 5), 1)) == pytest.approx(6)


def test_the_ring_is_what_lies_beside():
    ring = ring_of(disc(5))
    wide = np.pad(disc(5), 1)
    for y, x in np.ndindex(7, 7):
        beside = any(
            0 <= y + a < 7 and 0 <= x + b < 7 and wide[y + a, x + b] for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0))
        )
        assert ring[y, x] == (beside and not wide[y, x])


# --- occurrences --------------------------------------------------------------------------------------------------


def test_everything_is_found_where_it_is():
    those = [pattern((8, 8), 1, disc(8)), pattern((6, 11), 2), pattern((9, 5), 3)]
    frames, truth = scattered(6, (50, 60), those, 6, apart=True)
    for frame, places in zip(frames, truth, strict=True):
        assert sorted(found_in(frame, those)) == sorted(places)


def test_what_hangs_over_the_border_is_found():
    some = pattern((9, 9), 4, disc(9))
    places = [(0, -5, 10), (0, 10, -4), (0, 36, 20), (0, 20, 35), (0, -4, -3)]
    assert sorted(found_in(frame_of((40, 40), places, [some]), [some])) == sorted(places)


def test_hidden_parts_cost_nothing():
    front, back = pattern((10, 10), 5), pattern((12, 12), 6, disc(12))
    frame = frame_of((40, 40), [(1, 10, 10), (0, 13, 12)], [front, back])
    assert found_in(frame, [front, back]) == [(0, 13, 12), (1, 10, 10)]


def test_pixels_of_the_grounds_colour_hide_what_is_behind():
    eyed = pattern((9, 9), 7)
    eyed.colour[3:6, 3:6] = np.array([30, 40, 60], np.float32) / 255
    back = pattern((12, 12), 8)
    frame = frame_of((40, 40), [(1, 10, 10), (0, 12, 12), (0, 26, 4)], [eyed, back])
    found = found_in(frame, [eyed, back])
    assert sorted(found) == [(0, 12, 12), (0, 26, 4), (1, 10, 10)]
    assert found.index((0, 12, 12)) < found.index((1, 10, 10))


@pytest.mark.parametrize("tolerance", [0.06, 0.02])
def test_what_is_larger_than_the_frames_is_not_found(tolerance):
    those = [pattern((90, 8), 1), pattern((8, 90), 2), pattern((6, 7), 3)]
    frames = opened(frame_of((30, 40), [(2, 9, 8)], those), tolerance=tolerance)
    assert placed(find(frames, 0, bank_of(those, frames))) == [(2, 9, 8)]


def test_a_bare_ground_holds_nothing():
    some = pattern((8, 8), 1)
    assert found_in(frame_of((30, 30), [], [some]), [some]) == []


def test_noise_is_not_worth_its_price():
    some = pattern((8, 8), 1)
    noise = np.random.default_rng(3).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    assert found_in(noise, [some]) == []


# --- order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("back_to_front", [*itertools.permutations(range(3))], ids=str)
def test_three_that_overlap_each_other_are_ordered(back_to_front):
    those = [pattern((11, 11), seed, disc(11)) for seed in (1, 2, 3)]
    corners = [(10, 10), (12, 15), (16, 11)]
    places = [(k, *corners[k]) for k in back_to_front]
    assert found_in(frame_of((40, 40), places, those), those) == places[::-1]


def test_copies_of_one_sprite_are_ordered():
    some = pattern((10, 10), 9)
    places = [(0, 10, 10), (0, 14, 13), (0, 17, 17)]
    assert found_in(frame_of((40, 40), places, [some]), [some]) == places[::-1]


def test_a_stack_repaints_its_frame():
    those = [pattern((9, 9), seed, disc(9) if seed % 2 else None) for seed in range(4)]
    frames, truth = scattered(8, (36, 36), those, 6, seed=4)  # of copies a pixel apart, as seed 3 has, one is found
    for frame, places in zip(frames, truth, strict=True):
        found = found_in(frame, those)
        again = frame_of((36, 36), [], those)
        for entry, top, left in reversed(found):
            paste(again, those[entry], top, left)
        # What shows fewer pixels than the price is left out.
        assert (again != frame).any(2).sum() <= 8.1 * (len(places) - len(found))


def test_a_circle_of_votes_is_cut_where_evidence_is_weakest():
    """Three bars in a ring, each over the next: no order shows it, one of the two that hide most is in front."""
    bars = [pattern((4, 14), 1), pattern((14, 4), 2), pattern((14, 14), 3, np.eye(14) + np.eye(14, k=1) > 0)]
    frame = frame_of((40, 40), [(0, 10, 10), (1, 8, 12), (2, 8, 10)], bars)
    paste(frame, bars[0], 10, 10)  # the first again: over the third, and over the second
    frame[8:22, 12:16] = frame_of((40, 40), [(1, 8, 12)], bars)[8:22, 12:16]  # the second over both
    frames = opened(frame)
    places = [Occurrence(0, 10, 10), Occurrence(1, 8, 12), Occurrence(2, 8, 10)]
    assert placed(order(frames, 0, bars, places))[0] == (1, 8, 12)
    assert order(frames, 0, bars, places) == order(frames, 0, bars, places)
    assert order(frames, 0, bars, []) == []


def test_search_answers_the_same_each_time():
    those = [pattern((9, 9), seed) for seed in range(3)]
    frame = scattered(1, (36, 36), those, 6, seed=5)[0][0]
    assert found_in(frame, those) == found_in(frame, those)


# --- places that are known --------------------------------------------------------------------------------------------


def noisy_scenes():
    """Frames with two sprites, colours off by up to 8 levels; how they are searched."""
    those = [pattern((9, 8), 1, disc(9)[:, :8]), pattern((7, 11), 2), pattern((12, 12), 3, disc(12))]
    frames, _ = scattered(6, (60, 70), those, 5, seed=1)
    noise = np.random.default_rng(0).integers(-8, 9, np.shape(frames))
    shown = (np.asarray(frames, np.int16) + noise).clip(0, 255).astype(np.uint8)
    search = Search(tolerance=0.16)
    return those, FrameStack(shown, (GROUND[None, :1, :1] / np.float32(255)).astype(np.float32), ((0, 0),)), search


def test_a_frame_is_correlated_with_a_pattern_once(monkeypatch):
    those, scenes, search = noisy_scenes()
    asked = []
    plain = TemplateBank._correlated
    monkeypatch.setattr(
        TemplateBank,
        "_correlated",
        lambda bank, frames, index, entries: asked.extend((index, k) for k in entries) or plain(bank, frames, index, entries),
    )  # fmt: skip
    once = explained(scenes, those, search)
    assert len(asked) == len(set(asked)) == 6 * 3
    again = explained(scenes, those[:2], search)
    assert len(asked) == 6 * 3
    # What is known from before is what one who starts anew finds.
    scenes.kept.clear()
    assert explained(scenes, those[:2], search).places == again.places
    assert explained(scenes, those, search).places == once.places
    assert sum(map(len, once.places)) > 12


def test_what_is_cut_out_of_frames_has_their_places():
    those, scenes, search = noisy_scenes()
    whole = explained(scenes, those, search)
    spots = [(n, place.top, place.left) for n, some in enumerate(whole.places) for place in some]
    around = scenes.surroundings(spots, (12, 12))
    assert around.fresh(search).whole is not None
    alone = replace(around, whole=None, kept={})
    assert alone.fresh(search).whole is None
    one, other = explained(around, those, search), explained(alone, those, search)
    # At the border of what is cut out, slivers may be told apart by what lies beyond it.
    assert np.abs(one.left - other.left).mean() <= 1
    same = [set(a) & set(b) for a, b in zip(one.places, other.places, strict=True)]
    assert sum(map(len, same)) >= 0.9 * sum(map(len, other.places))
    corner = [(max(top - 8, 0), max(left - 8, 0)) for _, top, left in spots]
    for (n, _, _), (top, left), some in zip(spots, corner, one.places, strict=True):
        top, left = min(top, 60 - 28), min(left, 70 - 28)
        inner = {(p.entry, p.top + top, p.left + left) for p in some if 0 <= p.top <= 16 and 0 <= p.left <= 16}
        assert inner <= {(p.entry, p.top, p.left) for p in whole.places[n]}

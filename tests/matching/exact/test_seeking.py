"""What recurs as a whole region is a pattern at once, however small; and a search can be stopped at any moment."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from helpers.patterns import BACKGROUND, alike, disc, frame_of, pattern, scattered, search

from delaminate.matching.exact.background import Background
from delaminate.matching.exact.learning import learn_round
from delaminate.matching.exact.progress import InterruptedSearch, Progress, RoundState
from delaminate.matching.exact.search import FrameStack
from delaminate.matching.exact.seeking import recurring_regions
from delaminate.matching.exact.templates import HardSprite

SOLID = Background(BACKGROUND.astype(np.float32) / 255)
EXACT = replace(search(), tolerance=0.02)


def regions_in(frames, settings=EXACT):
    return recurring_regions(FrameStack.of(frames, SOLID).fresh(settings), settings, 50)


def test_regions_that_recur_are_patterns_and_two_side_by_side_are_none():
    hero, coin = pattern((12, 10), 1), pattern((7, 7), 2, disc(7))
    places = [[(0, 8, 4 + 2 * n), (1, 30, 5 + n)] for n in range(8)] + [
        [(0, 20, 10 + n), (1, 22, 20 + n)] for n in range(4)
    ]
    found = regions_in(np.stack([frame_of((44, 60), some, [hero, coin]) for some in places]))
    assert sorted(each.area for each in found) == sorted([hero.area, coin.area])
    assert all(any(alike(each, other) for other in (hero, coin)) for each in found)


def test_what_shows_beside_something_in_front_is_no_pattern():
    """Ladders of which crates leave one column: no sprites of one column, however often they come."""
    crate, ladder = pattern((12, 12), 1), pattern((12, 12), 2)
    places = [[(1, 4, 4 + n), (0, 4, 5 + n), (0, 6, 40)] for n in range(8)]
    frames = np.stack([frame_of((44, 60), some, [crate, ladder]) for some in places])
    assert [each.area for each in regions_in(frames)] == [144]


def test_a_bullet_of_six_pixels_pays_for_itself():
    bullet = HardSprite(np.full((2, 3, 3), 0.9, np.float32), np.ones((2, 3), bool))
    frames = np.stack(
        [frame_of((40, 60), [(0, 5 + 3 * k, (7 * k + 2 * n) % 55) for k in range(4)], [bullet]) for n in range(10)]
    )
    found = learn_round(FrameStack.of(frames, SOLID), [], EXACT, 0)
    assert [each.area for each in found] == [6]


def test_pictures_that_differ_by_a_cluster_stay_apart():
    two = pattern((9, 7), 1)
    three = HardSprite(two.colour.copy(), two.alpha.copy())
    three.colour[5:7, 1:3] = (0.9, 0.1, 0.5)
    frames, _ = scattered(12, (50, 50), [two, three], 4, apart=True)
    found = learn_round(FrameStack.of(frames, SOLID), [], EXACT, 0)
    assert len(found) == 2


@pytest.fixture(scope="module")
def clip():
    those = [pattern((10, 10), 1, disc(10)), pattern((9, 12), 2), pattern((12, 8), 3)]
    return scattered(12, (56, 56), those, 5, seed=1, hang=3)[0]


@pytest.mark.parametrize("asked", [1, 20, 60, 120, 240])
def test_an_interrupted_round_goes_on_to_the_same_end(clip, asked):
    scenes = FrameStack.of(clip, SOLID)
    whole = learn_round(scenes, [], EXACT, 7)
    state, counter = RoundState(), itertools.count()
    stopping = replace(EXACT, progress=Progress(should_stop=lambda: next(counter) >= asked))
    try:
        again = learn_round(scenes, [], stopping, 7, state)
    except InterruptedSearch:
        again = learn_round(FrameStack.of(clip, SOLID), [], EXACT, 7, state)
    key = [(p.packed.tobytes(), p.alpha.tobytes()) for p in whole]
    assert [(p.packed.tobytes(), p.alpha.tobytes()) for p in again] == key


def test_what_is_found_is_told():
    told = []
    those = [pattern((10, 10), 1, disc(10)), pattern((9, 12), 2)]
    frames, _ = scattered(10, (50, 50), those, 3, seed=2, apart=True)
    settings = replace(EXACT, progress=Progress(tell=lambda found, share: told.append((found, share))))
    learn_round(FrameStack.of(frames, SOLID), [], settings, 0)
    assert told and told[-1][0] >= 2 and told[-1][1] > 0.95


def test_a_digit_of_one_colour_is_whole_though_a_bar_of_that_colour_is_seen_more_often():
    digit, bar = np.zeros((10, 6), bool), np.ones((8, 2), bool)
    digit[0], digit[:, 4:], digit[9] = True, True, True
    both = [
        HardSprite(np.where(alpha[..., None], [0.9, 0.9, 0.9], 0).astype(np.float32), alpha) for alpha in (digit, bar)
    ]
    places = [[(1, 4 + 2 * n, 40)] + [(0, 4, 10)] * (n % 2) for n in range(12)]
    found = regions_in(np.stack([frame_of((44, 60), some, both) for some in places]))
    assert sorted(each.area for each in found) == sorted([int(digit.sum()), int(bar.sum())])


def test_digits_that_are_drawn_in_every_other_line_are_whole():
    yellow = np.array([220, 200, 40], np.float32) / 255
    strokes = ("111 101 101 101 111", "111 001 111 100 111", "111 001 111 001 111", "101 101 111 001 001")
    digits = []
    for shape in strokes:
        alpha = np.zeros((9, 6), bool)
        alpha[::2] = np.array([[c == "1" for c in row] for row in shape.split()]).repeat(2, 1)
        digits.append(HardSprite((yellow * alpha[..., None]).astype(np.float32), alpha))
    rng = np.random.default_rng(0)
    shown = [[(int(rng.integers(4)), 6, 8 + 12 * n) for n in range(3)] for _ in range(24)]
    found = regions_in(np.stack([frame_of((30, 50), some, digits) for some in shown]))
    kept = [each for each in found if each.size == (9, 6)]
    assert sorted(each.area for each in kept) == sorted(each.area for each in digits)

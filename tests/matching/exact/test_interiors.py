"""Interiors of sprites: what an outline encloses, and what rings are for."""

from dataclasses import replace

import numpy as np
import pytest

from delaminate.matching.exact.background import Background
from delaminate.matching.exact.detection import Occurrence
from delaminate.matching.exact.dictionary import Appearance
from delaminate.matching.exact.interiors import with_interiors
from delaminate.matching.exact.parsing import Parse
from delaminate.matching.exact.search import FrameStack
from delaminate.matching.exact.templates import HardSprite

WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (120, 120, 120)
FIGURE = np.array([list(row) for row in ("..##..", ".#oo#.", "#oooo#", "#oooo#", ".####.")])


def painted(frame, top, left, flipped=False, hollow=False):
    for y, x in np.ndindex(FIGURE.shape):
        sign = FIGURE[y, FIGURE.shape[1] - 1 - x] if flipped else FIGURE[y, x]
        if 0 <= top + y < len(frame) and 0 <= left + x < frame.shape[1]:
            if sign == "#":
                frame[top + y, left + x] = BLACK
            elif sign == "o" and not hollow:
                frame[top + y, left + x] = WHITE


def world():
    """White paper with a grey post."""
    picture = np.full((24, 40, 3), 255, np.uint8)
    picture[:, 20] = GREY
    return picture


def found_of(alpha):
    """The figure as a search finds it: its outline, and what of its interior `alpha` says."""
    colour = np.where((FIGURE == "o")[..., None], np.ones(3, np.float32), np.float32(0)) * alpha[..., None]
    return HardSprite(colour, alpha)


def scenes(places, **how):
    frames = []
    for top, left in places:
        frames.append(world())
        painted(frames[-1], top, left, **how)
    return FrameStack.of(np.stack(frames), Background((world() / 255).astype(np.float32)))


OUTLINE = FIGURE == "#"
PART = OUTLINE | ((FIGURE == "o") & (np.arange(6) == 3))  # what passed the post
THROUGH = [(3, 19), (9, 16)]  # the post is beside what is known of the interior, on either side
PLACES = [(3, 4), (4, 17), (9, 30), (21, 37)]


def parse_of(*places):
    return Parse([list(some) for some in places], np.zeros(len(places), np.int64), np.zeros(len(places), np.int64))


def at(places, entry=0):
    return parse_of(*([Occurrence(entry, top, left)] for top, left in places))


def test_a_figure_of_the_colour_of_the_paper_is_whole():
    sprite = found_of(PART)
    (whole,) = with_interiors([sprite], [Appearance(0)], [sprite], scenes(PLACES), at(PLACES))
    np.testing.assert_array_equal(whole.alpha, FIGURE != ".")
    np.testing.assert_array_equal(whole.colour, found_of(FIGURE != ".").colour)


def test_an_outline_that_was_never_seen_to_hide_anything_stays_one():
    """It may be the letter O."""
    sprite = found_of(OUTLINE)
    assert with_interiors([sprite], [Appearance(0)], [sprite], scenes(PLACES), at(PLACES)) == (sprite,)


def test_a_hole_that_no_place_shows_stays_one():
    """The colour of its border alone says nothing: a ring would become a disc."""
    sprite, patch = found_of(OUTLINE), HardSprite(np.zeros((9, 9, 3), np.float32), np.ones((9, 9), bool))
    nowhere = parse_of([], [], [], [])
    assert with_interiors([sprite], [Appearance(0)], [sprite], scenes(PLACES), nowhere) == (sprite,)
    assert with_interiors([sprite], [Appearance(0)], [patch], scenes(PLACES), nowhere) == (sprite,)
    covered = parse_of(*([Occurrence(1, top - 1, left - 1), Occurrence(0, top, left)] for top, left in PLACES))
    looks = [Appearance(0), Appearance(1)]
    assert with_interiors([sprite, patch], looks, [sprite, patch], scenes(PLACES), covered)[0] is sprite


def test_a_ring_through_which_something_is_seen_stays_one():
    sprite = found_of(PART)
    shown = scenes(THROUGH, hollow=True)
    assert with_interiors([sprite], [Appearance(0)], [sprite], shown, at(THROUGH)) == (sprite,)


def test_what_lies_in_front_tells_nothing_of_what_is_behind_it():
    sprite, patch = found_of(PART), HardSprite(np.full((2, 2, 3), GREY, np.float32) / 255, np.ones((2, 2), bool))
    shown = scenes(PLACES)
    shown.frames[0][5:7, 6:8] = GREY
    behind, front = Occurrence(0, 3, 4), Occurrence(1, 5, 6)
    rest = [[Occurrence(0, top, left)] for top, left in PLACES[1:]]
    looks = [Appearance(0), Appearance(1)]
    whole, same = with_interiors([sprite, patch], looks, [sprite, patch], shown, parse_of([front, behind], *rest))
    assert same is patch
    np.testing.assert_array_equal(whole.alpha, FIGURE != ".")
    # What lies behind a figure would not be seen through it.
    left, _ = with_interiors([sprite, patch], looks, [sprite, patch], shown, parse_of([behind, front], *rest))
    assert not left.alpha[2:4, 1:3].any() and left.alpha[2:4, 4].all()


@pytest.mark.parametrize("hollow", [False, True])
def test_mirror_images_tell_of_the_same_interior(hollow):
    sprite = found_of(PART)
    looks = [Appearance(0), Appearance(0, 4)]
    patterns = [sprite, sprite.oriented(4)]
    shown = scenes(THROUGH, flipped=True, hollow=hollow)
    places = at(THROUGH, entry=1)
    (found,) = with_interiors([sprite], looks, patterns, shown, places)
    np.testing.assert_array_equal(found.alpha, PART if hollow else FIGURE != ".")


@pytest.mark.parametrize("change", [{"given": True}, {"opacity": 0.5}])
def test_given_and_half_transparent_sprites_stay_as_they_are(change):
    sprite = replace(found_of(PART), **change)
    assert with_interiors([sprite], [Appearance(0)], [sprite], scenes(PLACES), at(PLACES)) == (sprite,)


def test_a_sprite_with_other_palettes_stays_as_it_is():
    sprite = found_of(PART)
    looks = [Appearance(0), Appearance(0, 0, (0.5, 0.5, 0.5, 0.1, 0.1, 0.1))]
    assert with_interiors([sprite], looks, [sprite], scenes(PLACES), at(PLACES)) == (sprite,)

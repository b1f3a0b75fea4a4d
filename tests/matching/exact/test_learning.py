"""Rounds of learning: what a dictionary is made of, on scenes whose sprites we know."""

import numpy as np
import pytest
from helpers.patterns import BACKGROUND, alike, disc, frame_of, paste, pattern, placed, scattered, search

from delaminate.matching.exact import search as searching
from delaminate.matching.exact.background import Background, static
from delaminate.matching.exact.detection import Occurrence
from delaminate.matching.exact.learning import learn_round
from delaminate.matching.exact.parsing import Parse
from delaminate.matching.exact.pruning import hangs_together, join, prune
from delaminate.matching.exact.search import FrameStack, explained, parse_all
from delaminate.matching.exact.settling import _absorbed, absorb_static, settle_background, uncover
from delaminate.matching.exact.templates import HardSprite

SOLID = Background(BACKGROUND.astype(np.float32) / 255)


def learned(frames, settings=None, rounds=1, background=SOLID, seed=0):
    settings, patterns = settings or search(), []
    scenes = FrameStack.of(frames, background)
    for n in range(rounds):
        patterns = learn_round(scenes, patterns, settings, 100 * seed + n)
    return patterns, scenes, settings


def matched(found, truth, share=0.97):
    """Every pattern is one of the truth, and the other way round, once."""
    pairs = [[alike(one, other, share) for other in truth] for one in found]
    return np.array(pairs).sum(0).tolist() == [1] * len(truth) and np.array(pairs).sum(1).tolist() == [1] * len(found)


def test_sprites_and_their_places_are_learned_where_they_overlap():
    those = [pattern((10, 10), 1, disc(10)), pattern((9, 12), 2), pattern((12, 8), 3)]
    frames, truth = scattered(20, (56, 56), those, 4, seed=1, hang=3)
    patterns, scenes, settings = learned(frames, rounds=2)
    assert matched(patterns, those)
    _, found = parse_all(scenes, patterns, settings)
    names = [next(k for k, other in enumerate(those) if alike(one, other)) for one in patterns]
    here = {(n, names[e], y, x) for n, some in enumerate(found.places) for e, y, x in placed(some)}
    there = {(n, *place) for n, some in enumerate(truth) for place in some}
    assert len(here & there) >= 0.95 * len(there) and len(here - there) <= 0.02 * len(there)
    assert found.left.mean() < 4


def test_two_poses_that_share_a_head_are_two_whole_sprites():
    head = pattern((7, 10), 1)
    poses = [
        HardSprite(np.concatenate([head.colour, each.colour]), np.concatenate([head.alpha, each.alpha]))
        for each in (pattern((7, 10), 2), pattern((7, 10), 3))
    ]
    frames, _ = scattered(16, (48, 48), poses, 3, apart=True)
    assert matched(learned(frames)[0], poses)


def test_walls_are_bricks_and_a_flame_on_a_wall_is_no_part_of_it():
    brick, flame = pattern((8, 8), 1), pattern((8, 8), 2, disc(8))
    rng, frames = np.random.default_rng(0), []
    for n in range(16):
        places = []
        for row in range(2):
            count = int(rng.integers(1, 5))
            top, left = 12 + 26 * row, int(rng.integers(2, 56 - 8 * count))
            places += [(0, top, left + 8 * k) for k in range(count)]
            if (n + row) % 2:
                places.append((1, top - 8, left + 8 * int(rng.integers(count))))
        frames.append(frame_of((56, 56), places, [brick, flame]))
    assert matched(learned(np.stack(frames), rounds=2)[0], [brick, flame])


def test_a_ladder_tile_of_three_rungs_stays_three_rungs():
    rung = pattern((4, 9), 1)
    tile = HardSprite(np.tile(rung.colour, (3, 1, 1)), np.tile(rung.alpha, (3, 1)))
    rng, frames = np.random.default_rng(0), []
    for n in range(16):
        count = 1 + n % 3
        top, left = int(rng.integers(2, 60 - 12 * count)), int(rng.integers(2, 50))
        frames.append(frame_of((64, 64), [(0, top + 12 * k, left) for k in range(count)], [tile]))
    assert matched(learned(np.stack(frames))[0], [tile])


def test_mirrored_sprites_are_found_where_they_are_looked_for():
    some = pattern((10, 9), 1)
    both = [some, some.oriented(4)]
    frames, _ = scattered(12, (44, 44), both, 2, apart=True)
    assert matched(learned(frames, search(flips=True))[0], both)


def test_components_are_whole_regions():
    """Where nothing touches, whole regions are what grows from patches."""
    those = [pattern((9, 9), 1), pattern((7, 11), 2)]
    frames, _ = scattered(12, (44, 44), those, 2, apart=True)
    assert matched(learned(frames, search(components=True))[0], those)


def test_a_frame_that_is_all_ground_gives_no_sprite():
    patterns, scenes, settings = learned(np.stack([frame_of((30, 30), [], [])] * 3))
    assert patterns == []
    _, found = parse_all(scenes, patterns, settings)
    assert (found.places, found.left.tolist()) == ([[], [], []], [0, 0, 0])


def test_noise_gives_no_sprite():
    noise = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3)).astype(np.uint8)
    assert learned(noise)[0] == []


def test_one_frame_is_enough_for_what_recurs_in_it():
    some = pattern((9, 9), 1, disc(9))
    corners = [(3, 4), (5, 30), (20, 15), (33, 3), (32, 33), (21, 40)]
    frame = frame_of((56, 56), [(0, *corner) for corner in corners], [some])
    patterns, scenes, settings = learned(frame[None])
    assert matched(patterns, [some])
    _, found = parse_all(scenes, patterns, settings)
    assert sorted((p.top, p.left) for p in found.places[0]) == sorted(corners)


def test_a_dictionary_has_no_more_sprites_than_asked_for():
    those = [pattern((9, 9), seed) for seed in range(4)]
    frames, _ = scattered(16, (48, 48), those, 3, apart=True)
    assert len(learned(frames, search(most=2))[0]) == 2


def test_learning_is_the_same_each_time():
    those = [pattern((10, 10), 1, disc(10)), pattern((9, 12), 2)]
    frames, _ = scattered(10, (44, 44), those, 3, seed=1)
    first, again = learned(frames)[0], learned(frames)[0]
    assert [p.rgba().numpy().tobytes() for p in first] == [p.rgba().numpy().tobytes() for p in again]


def test_a_picture_may_lie_behind():
    picture = Background(np.random.default_rng(5).integers(0, 256, (48, 48, 3)).astype(np.float32) / 255)
    some, frames = pattern((9, 9), 1, disc(9)), []
    rng = np.random.default_rng(0)
    for _ in range(10):
        frames.append((picture.rgb * 255).round().astype(np.uint8))
        paste(frames[-1], some, *(int(each) for each in rng.integers(0, 39, 2)))
    assert matched(learned(np.stack(frames), background=picture)[0], [some])


# --- its parts ------------------------------------------------------------------------------------------------------


def occurrences(*images):
    return Parse([[Occurrence(*each) for each in some] for some in images], *np.zeros((2, len(images)), np.int64))


def test_parts_that_always_occur_together_are_joined():
    top, bottom = pattern((6, 8), 1), pattern((5, 8), 2)
    found = occurrences(*[[(0, 3 + n, 4), (1, 9 + n, 4)] for n in range(6)])
    (joined,) = join([top, bottom], found, search())
    assert joined.size == (11, 8)
    assert np.array_equal(joined.colour, np.concatenate([top.colour, bottom.colour]))


@pytest.mark.parametrize("alone", [1, 4])
def test_parts_that_also_occur_alone_are_not_joined(alone):
    top, bottom = pattern((6, 8), 1), pattern((5, 8), 2)
    images = [[(0, 3 + n, 4), (1, 9 + n, 4)] for n in range(6)] + [[(1, 5, 5)]] * alone
    assert len(join([top, bottom], occurrences(*images), search())) == 2


def test_a_part_of_two_things_goes_to_both():
    heads, body = [pattern((6, 8), seed) for seed in (1, 2)], pattern((5, 8), 3)
    images = [[(n % 2, 3 + n, 4), (2, 9 + n, 4)] for n in range(12)]
    joined = join([*heads, body], occurrences(*images), search())
    assert [p.size for p in joined] == [(11, 8)] * 2


def test_tiles_beside_each_other_are_not_joined_to_themselves():
    brick = pattern((8, 8), 1)
    images = [[(0, 4, 4 + 8 * k) for k in range(4)]] * 6
    assert len(join([brick], occurrences(*images), search())) == 1


def test_patterns_that_are_not_worth_their_pixels_are_dropped():
    those = [pattern((10, 10), 1), pattern((9, 9), 2)]
    frames, _ = scattered(8, (40, 40), those[:1], 2, apart=True)
    frames[0] = frame_of((40, 40), [(0, 3, 3), (1, 20, 20)], those)
    scenes = FrameStack.of(frames, SOLID)
    part = HardSprite(those[0].colour[:5], those[0].alpha[:5])
    assert matched(prune(scenes, [part, those[1], those[0]], search()), those[:1])


def test_what_stands_still_goes_back_to_the_ground():
    picture = np.random.default_rng(5).integers(0, 256, (40, 70, 3)).astype(np.float32) / 255
    lamp, walker, flag = pattern((6, 7), 1), pattern((8, 8), 2), pattern((5, 5), 3)
    offsets = tuple((0, 2 * n) for n in range(10))
    scenes = FrameStack(np.zeros((10, 40, 50, 3), np.uint8), np.zeros((1, 40, 50, 3), np.float32), offsets)
    images = [[(0, 4, 30 - 2 * n), (1, 20, 20)] + [(2, 30, 45 - 2 * n)] * (n % 3 == 0) for n in range(10)]
    kept, background = absorb_static(scenes, [lamp, walker, flag], occurrences(*images), Background(picture))
    # The walker keeps up with the camera, the flag comes and goes.
    assert [p.size for p in kept] == [(8, 8), (5, 5)]
    assert np.array_equal(background.rgb[4:10, 30:37], lamp.colour)
    picture[4:10, 30:37] = lamp.colour
    assert np.array_equal(background.rgb, picture)
    same, solid = absorb_static(scenes, [lamp], occurrences(*images), SOLID)
    assert (len(same), solid) == (1, SOLID)


def test_what_stands_still_at_several_places_goes_back_too():
    picture = np.random.default_rng(5).integers(0, 256, (40, 70, 3)).astype(np.float32) / 255
    lamp, stone = pattern((6, 7), 1), pattern((5, 5), 3)
    scenes = FrameStack(np.zeros((10, 40, 50, 3), np.uint8), np.zeros((1, 40, 50, 3), np.float32), ((0, 0),) * 10)
    # Two lamps stand; stones lie about for four frames each.
    images = [[(0, 4, 30), (0, 20, 8), (1, 30, 10 * (n // 4))] for n in range(10)]
    kept, background = absorb_static(scenes, [lamp, stone], occurrences(*images), Background(picture))
    assert [p.size for p in kept] == [(5, 5)]
    for top, left in ((4, 30), (20, 8)):
        assert np.array_equal(background.rgb[top : top + 6, left : left + 7], lamp.colour)


def test_the_ground_is_what_frames_show_where_no_sprite_is():
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 256, (40, 70, 3)).astype(np.uint8)
    offsets = tuple((0, 2 * n) for n in range(10))
    walker = pattern((8, 8), 2)
    frames = np.stack([picture[:, x : x + 50].copy() for _, x in offsets])
    images = [[(0, 20, 3 + 3 * n)] for n in range(10)]
    for frame, ((_, top, left),) in zip(frames, images, strict=True):
        paste(frame, walker, top, left)
    spoiled = picture.astype(np.float32) / 255
    spoiled[10:14, 22:30] = 0
    scenes = FrameStack(frames, np.zeros((1, 40, 50, 3), np.float32), offsets)
    mended, changed = uncover(scenes, [walker], occurrences(*images), Background(spoiled))
    assert changed and np.array_equal(np.rint(mended.rgb * 255), picture)
    again, changed = uncover(scenes, [walker], occurrences(*images), mended)
    assert not changed and np.array_equal(again.rgb, mended.rgb)
    assert uncover(scenes, [walker], occurrences(*images), SOLID) == (SOLID, False)


def test_what_comes_and_goes_at_one_place_hides_the_background_there():
    digits = [pattern((6, 5), seed) for seed in (1, 2, 3, 4, 5)]
    for digit in digits[1:]:
        digit.colour[2] = digits[0].colour[2]  # all share a row of pixels
    images = [[(n % 5, 8, 12)] for n in range(10)]
    frames = np.zeros((10, 30, 40, 3), np.uint8)
    for frame, ((entry, top, left),) in zip(frames, images, strict=True):
        paste(frame, digits[entry], top, left)
    black = np.zeros((1, 30, 40, 3), np.float32)
    scenes = FrameStack(frames, black, ((0, 0),) * 10)
    same, changed = uncover(scenes, digits, occurrences(*images), Background(black[0]))
    assert not changed and not same.rgb.any()
    still, _ = _absorbed(scenes, digits, occurrences(*images), Background(black[0]), search())
    assert still == digits


def test_explaining_a_few_frames_at_a_time_changes_nothing(monkeypatch):
    patterns = [pattern((9, 9), 1), pattern((7, 10), 2)]
    scenes = FrameStack.of(scattered(5, (40, 50), patterns, 4)[0], Background(BACKGROUND.astype(np.float32) / 255))
    rows = [4, 0, 1]
    whole, some = (parse_all(scenes, patterns, search(), each)[1] for each in (None, rows))
    monkeypatch.setattr(searching, "AT_ONCE", 2 * 40 * 50)
    for expected, found in (
        (whole, explained(scenes, patterns, search())),
        (some, explained(scenes, patterns, search(), rows)),
    ):
        assert found.places == expected.places
        assert np.array_equal(found.left, expected.left)


def test_twins_at_one_distance_are_one_sprite():
    half = pattern((7, 7), 1, disc(7))
    colour, alpha = np.zeros((7, 16, 3), np.float32), np.zeros((7, 16), bool)
    for left in (0, 9):
        colour[:, left : left + 7], alpha[:, left : left + 7] = half.colour, half.alpha
    twins = HardSprite(colour, alpha)
    frames, _ = scattered(16, (60, 60), [twins, pattern((9, 9), 2)], 4, apart=True)
    # The gap is wide enough that a first round sees one of them at a time.
    found = learned(frames, rounds=2)[0]
    assert any(alike(each, twins, 0.97) for each in found)
    assert not any(alike(each, half, 0.97) for each in found)


def test_a_line_of_the_background_that_was_lost_at_several_places_goes_back_to_it():
    """It stands, in the background's own colours; a lamp stands too, but in its own."""
    size = (40, 60)
    true = np.full((*size, 3), 0.4, np.float32)
    true[10::8] = 0.2
    line = HardSprite(np.full((1, 6, 3), 0.2, np.float32), np.ones((1, 6), bool))
    lamp = HardSprite(np.full((2, 2, 3), 0.9, np.float32), np.ones((2, 2), bool))
    picture, places = true.copy(), [(10, 5), (18, 30), (26, 12)]
    for top, left in places:
        picture[top, left : left + 6] = 0.4
    images = [[(0, *places[k]) for k in range(3) if (n + k) % 3] + [(1, 3, 40)] * (n % 2) for n in range(12)]
    scenes = FrameStack.of(np.repeat(np.rint(255 * true)[None].astype(np.uint8), 12, 0), Background(picture))
    kept, background = absorb_static(scenes, [line, lamp], occurrences(*images), Background(picture))
    assert kept == [lamp]
    assert np.array_equal(background.rgb, true)


def test_noise_that_recurs_does_not_hang_together():
    rng = np.random.default_rng(0)
    strewn = HardSprite(np.zeros((16, 16, 3), np.float32), rng.random((16, 16)) < 0.25)
    line = HardSprite(np.zeros((1, 9, 3), np.float32), np.ones((1, 9), bool))
    assert not hangs_together(strewn) and not hangs_together(line)
    assert hangs_together(pattern((16, 16), 1, disc(16))) and hangs_together(pattern((2, 3), 1))


def test_marks_that_are_never_taken_are_things_like_those_that_are():
    """Pills on a path: some are eaten, one after the other; those that never are leave the background with them."""
    pill = HardSprite(np.full((2, 4, 3), 204 / 255, np.float32), np.ones((2, 4), bool))
    frames = np.full((24, 40, 60, 3), 30, np.uint8)
    frames[:, 30:34] = 204  # a wall of the pills' own colour
    for number, (row, column) in enumerate(np.ndindex(3, 6)):
        eaten = 4 + number if number < 8 else 24
        frames[:eaten, 4 + 8 * row : 6 + 8 * row, 5 + 9 * column : 9 + 9 * column] = 204
    background = static(frames, noisy=False)
    patterns, settled, found = settle_background(
        FrameStack.of(frames, background), [pill], search(tolerance=0.02), background
    )
    assert [len(some) for some in found.places] == [18 - min(max(n - 3, 0), 8) for n in range(24)]
    assert (settled.rgb[:29] == 30 / np.float32(255)).all() and (settled.rgb[30:34] == 204 / np.float32(255)).all()
    assert len(patterns) == 1


DIGITS = "### #.# #.# #.# ###|.#. ##. .#. .#. ###|### ..# ### #.. ###|### ..# .## ..# ###|#.# #.# ### ..# ..#|"
DIGITS += "### #.. ### ..# ###|### #.. ### #.# ###|### ..# ..# ..# ..#|### #.# ### #.# ###|### #.# ### ..# ###"


@pytest.mark.parametrize("ground", ["plain", "still"])
def test_the_digits_of_a_score_that_stands_are_told_apart(ground):
    """A 5 rebuilt as a 3 changes what can be read; two pixels of eleven tell them apart."""
    shapes = [np.array([[c == "#" for c in row] for row in digit.split()]) for digit in DIGITS.split("|")]
    digits = [HardSprite(np.ones((5, 3, 3), np.float32), shape) for shape in shapes]
    hero = pattern((9, 9), 1, disc(9))
    rng, frames = np.random.default_rng(0), []
    for n in range(120):
        score = n * 3
        places = [(1 + score // 10**k % 10, 3, 50 - 4 * k) for k in range(3)]
        frames.append(frame_of((48, 60), [(0, *rng.integers(12, 36, 2)), *places], [hero, *digits]))
    frames = np.stack(frames)
    background = SOLID if ground == "plain" else static(frames)
    settings, scenes = search(tolerance=0.002), FrameStack.of(frames, background)
    patterns = []
    for n in range(3):
        patterns = learn_round(scenes, patterns, settings, n)
        patterns, background, found = settle_background(scenes, patterns, settings, background)
        scenes = FrameStack.of(frames, background)
    assert found.left.mean() < 0.5

"""From a patch to a pattern whose parts always occur together, and from a row to a tile."""

import numpy as np
import pytest
from helpers.patterns import TOLERANCE, alike, disc, frame_of, opened, pattern, scattered

from delaminate.matching.exact.detection import PlacementCost
from delaminate.matching.exact.growth import (
    RegionGrowing,
    connected,
    count_in,
    cut_seed,
    extract_tile,
    find_occurrences,
    grow,
    most_frequent_part,
    period,
    random_spots,
    refine_until_stable,
)
from delaminate.matching.exact.templates import ColourCodes

GROWTH = RegionGrowing(seed=5, reach=10)
STRICT = PlacementCost(misfit=GROWTH.misfit)


def spots_of(frames, truth, down=0, right=0, entry=0):
    """Where the entry's corner is on padded frames."""
    rows = [
        (n, y + frames.margin + down, x + frames.margin + right)
        for n, some in enumerate(truth)
        for k, y, x in some
        if k == entry
    ]
    return np.array(sorted(rows))


def test_a_patch_is_looked_up_wherever_it_occurs():
    those = [pattern((9, 9), 1), pattern((9, 9), 2, disc(9))]
    frames_, truth = scattered(8, (40, 40), those, 3, apart=True)
    frames = opened(frames_)
    wanted = spots_of(frames, truth, 2, 2)
    seeds = [cut_seed(frames, wanted[0], 5), cut_seed(frames, spots_of(frames, truth, 2, 2, entry=1)[1], 5)]
    found = find_occurrences(frames, list(range(8)), seeds, 0.95)
    assert np.array_equal(np.array(sorted(map(tuple, found[0]))), wanted)
    assert len(found[1]) == len(spots_of(frames, truth, entry=1))
    assert find_occurrences(frames, [0], [], 0.95) == []
    few = find_occurrences(frames, [0, 1], seeds[:1], 0.95)[0]
    assert np.array_equal(np.array(sorted(map(tuple, few))).reshape(-1, 3), wanted[wanted[:, 0] < 2])
    for side in (6, 7):  # what is remembered of frames is so for one size
        larger = find_occurrences(frames, list(range(8)), [cut_seed(frames, wanted[0], side)], 0.95)[0]
        assert np.array_equal(np.array(sorted(map(tuple, larger))), wanted)


def test_a_patch_grows_to_the_whole():
    those = [pattern((13, 11), 1, disc(13)[:, 1:-1]), pattern((9, 9), 2)]
    frames_, truth = scattered(12, (48, 48), those, 3, apart=True)
    frames = opened(frames_)
    grown = grow(frames, spots_of(frames, truth, 4, 3), GROWTH)
    assert alike(grown.pattern, those[0], share=1.0)
    assert (grown.down, grown.right) == (-4, -3)
    assert grown.count == len(spots_of(frames, truth))


def test_a_patch_of_what_is_hidden_here_and_there_grows_to_the_whole():
    those = [pattern((12, 12), 1), pattern((8, 8), 2)]
    frames_, truth = scattered(24, (40, 40), those, 4, seed=2)
    frames = opened(frames_)
    grown = grow(
        frames,
        find_occurrences(frames, list(range(24)), [cut_seed(frames, spots_of(frames, truth)[0] + [0, 3, 3], 5)], 0.9)[
            0
        ],
        GROWTH,
    )
    assert alike(grown.pattern, those[0], share=0.9)


def test_what_hangs_together_stays_across_a_gap_of_one_pixel():
    support = np.zeros((5, 12), bool)
    support[2, [0, 1, 3, 4, 8, 9]] = True
    seed = np.zeros_like(support)
    seed[2, 0] = True
    assert np.flatnonzero(connected(support, seed)[2]).tolist() == [0, 1, 3, 4]
    assert not connected(support, ~support).any()
    assert not connected(support & False, seed).any()


def test_a_pose_that_shares_its_head_with_another_is_grown_whole():
    head, legs = pattern((7, 10), 1), [pattern((7, 10), seed) for seed in (2, 3)]
    poses = [
        type(head)(np.concatenate([head.colour, each.colour]), np.concatenate([head.alpha, each.alpha]))
        for each in legs
    ]
    frames_, truth = scattered(16, (48, 48), poses, 3, apart=True)
    frames = opened(frames_)
    for entry in (0, 1):
        for down in (1, 8):  # from the head, from the legs
            spot = spots_of(frames, truth, down, 2, entry=entry)[0]
            grown = refine_until_stable(frames, spot, GROWTH, list(range(16)), list(range(16)))
            assert any(alike(grown.pattern, pose) for pose in poses)


def test_a_part_that_occurs_without_the_rest_is_a_pattern_of_its_own():
    brick, flame = pattern((8, 8), 1), pattern((8, 8), 2)
    rng = np.random.default_rng(0)
    frames_, flames = [], []
    for n in range(16):
        corners = [(4 + 20 * row, 4 + 14 * column + int(rng.integers(4))) for row in range(2) for column in range(3)]
        frames_.append(frame_of((44, 48), [(0, y + 8, x) for y, x in corners] + [(1, *corners[n % 6])], [brick, flame]))
        flames.append((n, corners[n % 6]))
    frames = opened(np.stack(frames_))
    n, (y, x) = flames[0]
    spot = np.array([n, y + frames.margin + 6, x + frames.margin + 1])  # partly flame, partly brick
    grown = refine_until_stable(frames, spot, GROWTH, list(range(16)), list(range(16)))
    assert alike(grown.pattern, brick)
    part, count = most_frequent_part(frames, brick, GROWTH, list(range(16)))
    assert part is not None and count == 96


def test_a_patch_that_a_pattern_has_twice_counts_once():
    eye = pattern((5, 5), 1)
    colour = pattern((8, 20), 2)
    colour.colour[1:6, 2:7] = colour.colour[1:6, 12:17] = eye.colour
    frames = opened(frame_of((30, 30), [(0, 3, 3)], [colour]))
    seed = cut_seed(frames, np.array([0, frames.margin + 4, frames.margin + 5]), 5)
    assert count_in(colour, seed, frames.codes, 0.95) == 2
    assert count_in(pattern((8, 20), 3), seed, frames.codes, 0.95) == 1


# --- rows -----------------------------------------------------------------------------------------------------------


def tiled(cell, rows, columns):
    return type(cell)(np.tile(cell.colour, (rows, columns, 1)), np.tile(cell.alpha, (rows, columns)))


def test_a_period_is_the_smallest_shift_that_repeats():
    codes, cell = ColourCodes(TOLERANCE), pattern((5, 6), 1)
    assert period(tiled(cell, 3, 1), 0, codes) == 5
    assert period(tiled(cell, 1, 3), 1, codes) == 6
    assert period(tiled(cell, 3, 1), 1, codes) == 0
    assert period(pattern((15, 15), 2), 0, codes) == 0
    flat = type(cell)(np.full((12, 12, 3), 0.8, np.float32), np.ones((12, 12), bool))
    assert (period(flat, 0, codes), period(flat, 1, codes)) == (0, 0)


def walls(cell, lengths, axis, seed=0, count=16, size=(64, 64), unit=1):
    """Frames with rows of cells of several lengths, their ends in sight."""
    rng, frames = np.random.default_rng(seed), []
    for n in range(count):
        some = tiled(cell, *((unit * lengths[n % len(lengths)], 1)[:: 1 if axis == 0 else -1]))
        first = [int(rng.integers(2, m - k - 1)) for m, k in zip(size, some.size, strict=True)]
        frames.append(frame_of(size, [(0, *first)], [some]))
    return opened(np.stack(frames))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_wall_in_rows_is_its_bricks(axis):
    cell = pattern((8, 8), 1)
    frames = walls(cell, (1, 2, 3, 5), axis)
    for length in (2, 3):
        row = tiled(cell, *((length, 1)[:: 1 if axis == 0 else -1]))
        assert alike(extract_tile(frames, row, list(range(16)), STRICT), cell)
    assert alike(extract_tile(frames, cell, list(range(16)), STRICT), cell)


def test_a_ladder_of_three_rungs_stays_whole():
    rung = pattern((4, 9), 1)
    frames = walls(rung, (1, 2, 3), 0, unit=3)
    assert alike(extract_tile(frames, tiled(rung, 3, 1), list(range(16)), STRICT), tiled(rung, 3, 1))
    assert alike(extract_tile(frames, tiled(rung, 6, 1), list(range(16)), STRICT), tiled(rung, 3, 1))


def test_what_does_not_repeat_is_left_alone():
    some = pattern((10, 9), 1, disc(10)[:, :9])
    frames = opened(scattered(8, (40, 40), [some], 2, apart=True)[0])
    before = frames.kind.copy()
    assert alike(extract_tile(frames, some, list(range(8)), STRICT), some, share=1.0)
    assert np.array_equal(frames.kind, before)


# --- where to begin -------------------------------------------------------------------------------------------------


def test_patches_are_cut_where_something_is_open():
    some = pattern((9, 9), 1)
    frames = opened(scattered(6, (40, 40), [some], 2, apart=True)[0])
    spots = random_spots(frames, GROWTH, 12, np.random.default_rng(0))
    assert spots.shape == (12, 3)
    for n, y, x in spots:
        assert (frames.kind[n, y : y + 5, x : x + 5] == 2).mean() >= 0.4
    again = random_spots(frames, GROWTH, 12, np.random.default_rng(0))
    assert np.array_equal(spots, again)
    bare = opened(frame_of((30, 30), [], []))
    assert random_spots(bare, GROWTH, 12, np.random.default_rng(0)).shape == (0, 3)

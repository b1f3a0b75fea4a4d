"""Things keep their numbers through a clip."""

from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from delaminate.matching.tracking import Tracker, assign
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement, Transform

SIZE = (40, 60)
SPRITES = tuple(torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(k)) for k in range(3))


def clip(frames, camera=None, background=True):
    """A decomposition of frames with (entry, left, top), over a landscape whose corner the camera shows at (x, y)."""
    grounds = (torch.ones(4, 60, 200),) if background else ()
    images = []
    for n, places in enumerate(frames):
        x, y = (0, 0) if camera is None else camera[n]
        behind = (Placement(3, (Transform.shift(-x, -y, SIZE),)),) if background else ()
        objects = tuple(Placement(k, (Transform.shift(left - x, top - y, SIZE),)) for k, left, top in places)
        images.append(behind + objects)
    backgrounds = (3,) if background else ()
    return Decomposition(Dictionary(SPRITES + grounds, backgrounds), tuple(images), SIZE, background)


def numbers(found):
    first = 1 if found.background else 0
    return [[placement.track for placement in placements[first:]] for placements in found.images]


def test_things_that_stand_still_keep_their_numbers():
    found = Tracker().follow(clip([[(0, 5, 5), (1, 30, 20)]] * 4))
    assert numbers(found) == [[0, 1]] * 4
    assert all(placements[0].track is None for placements in found.images)


def test_nothing_but_numbers_changes():
    before = clip([[(0, 5 + n, 5), (1, 30, 20)] for n in range(4)])
    after = Tracker().follow(before)
    assert torch.equal(after.composite(), before.composite())
    for one, other in zip(before.images, after.images, strict=True):
        assert [(p.entry, p.transforms, p.colour) for p in one] == [(p.entry, p.transforms, p.colour) for p in other]


def test_two_things_that_cross_keep_their_numbers():
    """They look alike, and meet in the middle: only their motion tells."""
    frames = [[(0, 4 + 3 * n, 10), (0, 46 - 3 * n, 12)] for n in range(14)]
    assert numbers(Tracker().follow(clip(frames))) == [[0, 1]] * 14
    # In any order of listing.
    turned = [places[:: 1 if n % 2 else -1] for n, places in enumerate(frames)]
    found = numbers(Tracker().follow(clip(turned)))
    assert found == [[0, 1] if n % 2 == 0 else [1, 0] for n in range(14)]


def test_a_lost_thing_returns_within_memory():
    seen = [[(0, 10 + n, 10)] if n < 4 or n >= 8 else [] for n in range(12)]
    assert numbers(Tracker(memory=5).follow(clip(seen))) == [[0]] * 4 + [[]] * 4 + [[0]] * 4
    assert numbers(Tracker(memory=3).follow(clip(seen))) == [[0]] * 4 + [[]] * 4 + [[1]] * 4


def test_the_cameras_motion_is_taken_out():
    """The camera runs; what stands in the landscape flies over the screen, and its twin comes where it was."""
    things = [(0, 20 + 16 * k, 12) for k in range(8)]
    camera = [(15 * n, 0) for n in range(6)]
    frames = [[(k, x, y) for k, x, y in things if cx - 8 < x < cx + 60] for cx, _ in camera]
    found = Tracker().follow(clip(frames, camera))
    for places, row in zip(frames, numbers(found), strict=True):
        assert row == [things.index(place) for place in places]
    still = Tracker().follow(
        clip([[(k, x - cx, y) for k, x, y in places] for places, (cx, _) in zip(frames, camera, strict=True)])
    )
    assert numbers(still) != numbers(found)


def test_a_thing_that_jumps_is_another_thing():
    assert numbers(Tracker(reach=14).follow(clip([[(0, 2, 2)], [(0, 40, 30)]]))) == [[0], [1]]


def test_a_thing_that_changes_its_sprite_is_the_same():
    frames = [[(n % 2, 4 + 2 * n, 10), (2, 4 + 2 * n, 24)] for n in range(8)]
    assert numbers(Tracker().follow(clip(frames))) == [[0, 1]] * 8
    # Of two near ones, the one with the sprite of before.
    assert numbers(Tracker().follow(clip([[(0, 10, 10)], [(1, 10, 10), (0, 12, 10)]]))) == [[0], [1, 0]]


def test_streams_are_followed_piece_by_piece():
    frames = [[(0, 4 + 3 * n, 10), (0, 46 - 3 * n, 12)] for n in range(10)]
    whole, tracker = clip(frames), Tracker()
    pieces = [row for first in range(0, 10, 3) for row in numbers(tracker.follow(whole[first : first + 3]))]
    assert pieces == numbers(Tracker().follow(whole))


def test_scenes_without_background_or_sprites_are_followed():
    assert numbers(Tracker().follow(clip([[(0, 5, 5)], [(0, 6, 5)]], background=False))) == [[0], [0]]
    assert numbers(Tracker().follow(clip([[], [], []]))) == [[], [], []]
    assert numbers(Tracker().follow(clip([[], []], background=False))) == [[], []]


def test_own_rasters_are_followed():
    raster = torch.rand(4, 6, 9)
    images = tuple((Placement(OWN_RASTER, (Transform.shift(5 + n, 7, SIZE),), raster=raster),) for n in range(3))
    found = Tracker().follow(Decomposition(Dictionary(()), images, SIZE))
    assert numbers(found) == [[0]] * 3


def test_mirrored_sprites_are_followed_by_their_middle():
    """Turning round moves no middle."""
    shift, mirror = Transform.shift(20, 10, SIZE), Transform.mirror(20, 10, 8, SIZE)
    images = tuple(
        (Placement(0, (shift if n % 2 else mirror,)), Placement(0, (Transform.shift(32, 10, SIZE),))) for n in range(4)
    )
    found = Tracker(reach=2.0).follow(Decomposition(Dictionary(SPRITES), images, SIZE))
    assert numbers(found) == [[0, 1]] * 4
    assert np.array_equal(found.images[0][0].transforms[0].matrix, mirror.matrix)


def test_what_looks_out_from_behind_another_goes_on():
    """Search misses the little of it that is seen; the frame shows that it is where it should be."""
    opaque = tuple(torch.cat([sprite[:3], torch.ones_like(sprite[3:])]) for sprite in SPRITES)
    dictionary = Dictionary((*opaque, torch.ones(4, 60, 200)), (3,))
    seen = [[(0, 4 + n, 10), (1, 18, 9)] for n in range(20)]
    truth = replace(clip(seen), dictionary=dictionary)
    missed = replace(clip([row[1:] if 8 < n < 13 else row for n, row in enumerate(seen)]), dictionary=dictionary)
    wanted = truth.composite()
    found = Tracker(frame_of=lambda n: wanted[n]).follow(missed)
    assert numbers(found) == [[0, 1]] * 20
    assert torch.equal(found.composite(), wanted)
    # What has gone is not put back.
    gone = replace(clip([row[n > 8 :] for n, row in enumerate(seen)]), dictionary=dictionary)
    after = Tracker(frame_of=lambda n: gone.composite()[n]).follow(gone)
    assert [len(row) for row in numbers(after)] == [2] * 9 + [1] * 11


def test_pairs_cost_as_little_as_those_of_the_whole_table():
    rng = np.random.default_rng(0)
    for _ in range(40):
        size = rng.integers(1, 12, 2)
        table = rng.uniform(0, 20, size)
        table[rng.random(size) < 0.6] = 99  # out of reach
        links = {(int(i), int(j)): float(table[i, j]) for i, j in np.argwhere(table < 99)}
        capped = np.minimum(table, 15)
        wanted = sum(capped[i, j] - 15 for i, j in zip(*linear_sum_assignment(capped), strict=True))
        pairs = assign(links, 15)
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
        assert np.isclose(sum(table[i, j] - 15 for i, j in pairs), wanted)


def opaque(found):
    """The same with sprites that hide all behind them, the third one like the first in its first column only."""
    sprites = [torch.cat([sprite[:3], torch.ones(1, 8, 8)]) for sprite in SPRITES]
    sprites[2][:3, :, 0] = sprites[0][:3, :, 0]
    return replace(found, dictionary=replace(found.dictionary, sprites=(*sprites, *found.dictionary.sprites[3:])))


def followed(true, seen, **how):
    """Frames as they are, and what a search has found in them; followed."""
    frames = opaque(clip(true)).composite()
    tracker = Tracker(change=30, frame_of=lambda number: frames[number], **how)
    return tracker.follow(opaque(clip(seen))), frames


def test_the_little_that_is_seen_of_a_thing_is_not_taken_for_another():
    there, away, before = (0, 20, 10), (1, 30, 10), (1, 21, 10)  # of the first one, a column is left
    true = [[there, away]] * 6 + [[there, before]] + [[there, away]] * 2
    guess = [[(2, 20, 10), before] if places[1] == before else places for places in true]
    found, frames = followed(true, guess)
    assert numbers(found) == [[0, 1]] * 9
    assert torch.equal(found.composite(), frames)


def test_what_is_new_and_half_hidden_stays():
    away, before = (1, 33, 10), (1, 24, 10)
    true = [[away]] * 4 + [[(2, 20, 10), before]] * 3 + [[(2, 20, 10), away]] * 4
    found, frames = followed(true, true)
    assert torch.equal(found.composite(), frames)
    assert numbers(found)[4:] == [[1, 0]] * 7


def test_what_is_wholly_hidden_and_new_is_a_guess():
    frames = [[(1, 20, 10)]] * 3
    found, _ = followed(frames, [frames[0], [(0, 20, 10), (1, 20, 10)], frames[0]])
    assert numbers(found) == [[0]] * 3


def test_things_are_found_in_the_frames_before_they_were_clear():
    """A thing comes in over the border: nothing is found of its first column, and another thing where two are seen."""
    true = [[(0, 59 - n, 10)] for n in range(9)]
    seen = [[], [(2, 58, 12)], *true[2:]]
    found, frames = followed(true, seen)
    (number,) = numbers(found)[-1]
    assert numbers(found) == [[number]] * 9
    assert torch.equal(found.composite(), frames)
    alone = followed(true, seen, memory=0)[0]
    assert numbers(alone)[:2] != [[number]] * 2


def test_a_gap_is_filled_in_a_look_that_comes_later():
    """While it changes its look a thing is lost; what it looks like then is known from the frames after."""
    true = [[(0, 20, 10), (1, 21, 10)]] * 5 + [[(2, 20, 10), (1, 21, 10)]] * 5
    seen = [places if n != 5 else places[1:] for n, places in enumerate(true)]
    for each in (true, seen):
        for n in (*range(4), *range(6, 10)):
            each[n] = [each[n][0], (1, 30, 10)]
    frames = opaque(clip(true)).composite()
    found = Tracker(frame_of=lambda number: frames[number]).follow(opaque(clip(seen)))
    assert [sorted(row) for row in numbers(found)] == [[0, 1]] * 10


def test_a_thing_that_was_a_raster_of_its_own_is_lost_and_looked_for():
    raster = torch.cat([SPRITES[1][:3], torch.ones(1, 8, 8)])
    whole = opaque(clip([[(0, 20, 10)]] * 5 + [[]] * 3))
    own = replace(whole.images[2][1], entry=OWN_RASTER, raster=raster)
    images = (*whole.images[:2], (whole.images[2][0], own), *whole.images[3:])
    frames = whole.composite()
    found = Tracker(frame_of=lambda number: frames[number]).follow(replace(whole, images=images))
    assert numbers(found) == [[0]] * 5 + [[]] * 3


def test_warped_placements_are_left_as_they_are():
    spline = Transform("thin_plate_spline", (0.0,) * 32, SIZE)
    whole = clip([[(0, 20, 10)]] * 2)
    images = tuple((behind, replace(each, transforms=(*each.transforms, spline))) for behind, each in whole.images)
    found = Tracker(frame_of=lambda number: torch.zeros(3, *SIZE)).follow(replace(whole, images=images))
    assert found.images == images

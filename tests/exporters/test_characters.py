import numpy as np
import pytest
from helpers.actors import CENTRES, Stage, coins, crouching, hero, patrol

from delaminate.errors import ConfigError
from delaminate.exporters.characters import find_characters


def told(character):
    return {each.name: (each.poses, tuple(round(count, 2) for count in each.frames)) for each in character.animations}


def test_six_coins_of_other_phases_are_one_character_with_one_animation():
    (coin,) = find_characters(coins())
    assert coin.tracks == (0, 1, 2, 3, 4, 5)
    assert told(coin) == {"cycle-0": ((0, 1, 2, 1), (2, 3, 2, 3))}
    # All about one centre.
    assert coin.canvas.size == (12, 12)
    assert [left + width / 2 for (left, _), width in zip(coin.canvas.corners, (12, 8, 3), strict=True)] == [6, 6, 6.5]


def test_a_walker_who_turns_has_one_walk_whichever_way_its_sprites_were_kept():
    (walker,) = find_characters(patrol())
    assert told(walker) == {"cycle-0": ((0, 1, 2, 3), (4, 4, 4, 4))}
    assert [pose.orientation for pose in walker.poses] == [0, 4, 0, 0]
    # Feet on one line, poses where they were about the axis, and the axis in the middle.
    bottoms = [top + h for (_, top), h in zip(walker.canvas.corners, (20, 18, 20, 17), strict=True)]
    assert bottoms == [20] * 4
    lefts = [left - walker.canvas.size[1] / 2 for left, _ in walker.canvas.corners]
    assert lefts == list(CENTRES)
    assert walker.canvas.pivot == (walker.canvas.size[1] / 2, 20)


@pytest.mark.parametrize("speed", [0, 1, 3])
def test_feet_stay_on_the_ground_when_a_thing_crouches(speed):
    (character,) = find_characters(crouching(speed=speed))
    assert told(character) == {"cycle-0": ((0, 1), (6, 6))}
    assert character.canvas.corners == ((4, 0), (4, 8))
    assert character.canvas.size == (16, 22)
    assert character.canvas.pivot == (11, 16)


def test_standing_walking_and_jumping_are_animations_of_their_own():
    (character,) = find_characters(hero())
    assert set(told(character)) == {"still-0", "cycle-0", "once-0"}
    assert told(character)["cycle-0"] == ((1, 2, 3), (3, 3, 3))
    assert told(character)["once-0"] == ((4, 5), (9, 9))
    assert told(character)["still-0"][0] == (0,)
    # Feet of all that stands and walks are on one line.
    sizes = [18, 18, 17, 18]
    bottoms = {top + h for (_, top), h in zip(character.canvas.corners, sizes, strict=False)}
    assert len(bottoms) == 1


def test_mirroring_that_comes_back_with_the_cycle_is_a_pose():
    stage = Stage([(12, 10), (12, 6)])
    for frame in range(60):
        # Steps as seen from the front: stand, left foot, stand, right foot.
        step = frame // 3 % 4
        stage.put(frame, 0, step % 2, 30, 10 + frame // 2, mirrored=step == 3)
    (character,) = find_characters(stage.scenes())
    assert [(pose.entry, pose.orientation) for pose in character.poses] == [(0, 0), (1, 0), (1, 4)]
    (animation,) = character.animations
    assert animation.poses == (0, 1, 0, 2)
    assert animation.frames == (3, 3, 3, 3)


def test_colours_are_poses_and_things_that_share_no_look_are_two():
    stage = Stage([(8, 8), (8, 8), (5, 5)])
    white = (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
    for frame in range(40):
        stage.put(frame, 4, frame // 5 % 2, 10, 10, colour=white if 20 <= frame < 23 else (1.0, 1, 1, 0, 0, 0.001))
        stage.put(frame, 9, 2, 60, 10)
    first, second = find_characters(stage.scenes())
    assert (first.name, first.tracks, second.name, second.tracks) == ("character-0", (4,), "character-1", (9,))
    assert len(first.poses) == 3
    assert told(second) == {"still-0": ((0,), (40,))}


def test_a_slip_of_the_tracking_makes_no_two_characters_one():
    stage = Stage([(12, 12), (12, 8), (20, 10), (20, 14)])
    for frame in range(48):
        for track in range(3):
            stage.put(frame, track, frame // 4 % 2, 30 * track, 10)
        for track in range(3, 6):
            slipped = track == 3 and frame == 17
            stage.put(frame, track, 0 if slipped else 2 + frame // 6 % 2, 30 * track, 10)
    first, second = find_characters(stage.scenes())
    assert [{pose.entry for pose in each.poses} for each in (first, second)] == [{0, 1}, {2, 3}]
    assert told(second) == {"cycle-0": ((0, 1), (6, 6))}


def test_durations_are_in_milliseconds_where_they_are_known():
    shown = crouching()
    milliseconds = [40.0 if frame // 6 % 2 else 10.0 for frame in range(len(shown))]
    (character,) = find_characters(shown, milliseconds)
    assert character.animations[0].milliseconds == (60, 240)
    assert character.animations[0].durations(100) == (60, 240)
    assert find_characters(shown)[0].animations[0].durations(100) == (600, 600)


def test_durations_that_do_not_fit_are_refused_and_scenes_without_tracks_have_no_characters():
    with pytest.raises(ConfigError, match="2 durations for 48 scenes"):
        find_characters(crouching(), [1.0, 2.0])
    assert find_characters([]) == ()
    stage = Stage([(8, 8)])
    stage.put(0, None, 0, 3, 3)
    assert find_characters(stage.scenes()) == ()


def test_enlarged_clips_have_the_same_canvases_enlarged():
    from delaminate.scene.enlarging import enlarged

    for shown in (patrol(), hero(), coins()):
        (small,), (large,) = find_characters(shown), find_characters(enlarged(shown, 3))
        assert large.animations == small.animations
        assert np.array(large.canvas.corners).tolist() == (3 * np.array(small.canvas.corners)).tolist()

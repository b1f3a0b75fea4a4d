"""Readers of games, on frames that are drawn here from the games' colours."""

import numpy as np
import pytest

from delaminate.data.real.atari import CARS, READERS, groups, standing
from delaminate.data.real.recordings import RECORDINGS, record


def screen(*blocks, behind=(0, 0, 0)):
    """A screen with blocks: colour, left, top, width, height."""
    frame = np.empty((210, 160, 3), np.uint8)
    frame[:] = behind
    for colour, left, top, width, height in blocks:
        frame[top : top + height, left : left + width] = colour
    return frame


def test_every_game_that_is_recorded_can_be_read():
    assert set(READERS) == set(RECORDINGS)
    for read in READERS.values():
        assert read(screen(behind=(1, 2, 3))) == []


def test_groups_hold_what_is_near():
    shown = np.zeros((20, 20), bool)
    shown[2:4, 2:4] = shown[6:8, 2:4] = shown[15, 15] = True
    assert groups("x", shown) == [("x", 2, 2, 2, 2), ("x", 2, 6, 2, 2)]  # what lies alone has too few pixels
    assert groups("x", shown, gap=4) == [("x", 2, 2, 2, 6)]


def test_pong_has_two_paddles_a_ball_and_two_scores():
    green, orange, white = (92, 186, 92), (213, 130, 74), (236, 236, 236)
    frame = screen((green, 140, 50, 4, 16), (orange, 16, 80, 4, 16), (white, 70, 90, 2, 4), (white, 0, 24, 160, 10),
                   (green, 116, 1, 12, 20), (orange, 36, 1, 12, 20), behind=(144, 72, 17))  # fmt: skip
    assert READERS["pong"](frame) == [
        ("Player", 140, 50, 4, 16), ("Enemy", 16, 80, 4, 16), ("Ball", 70, 90, 2, 4),
        ("PlayerScore", 116, 1, 12, 20), ("EnemyScore", 36, 1, 12, 20),
    ]  # fmt: skip


def test_aliens_are_named_by_their_rows_and_shields_stay_shields_when_they_are_shot_at():
    alien, brick, grey = (134, 134, 29), (181, 83, 40), (142, 142, 142)
    frame = screen((alien, 33, 49, 8, 10), (alien, 49, 49, 8, 10), (alien, 33, 68, 8, 9), (grey, 60, 100, 1, 7),
                   (brick, 42, 157, 3, 18), (brick, 48, 160, 2, 15))  # fmt: skip
    assert READERS["space-invaders"](frame) == [
        ("Alien1", 33, 49, 8, 10), ("Alien1", 49, 49, 8, 10), ("Alien2", 33, 68, 8, 9),
        ("Shield", 42, 157, 8, 18), ("Shot", 60, 100, 1, 7),
    ]  # fmt: skip


def test_cars_have_their_tyres_and_lane_and_the_yellow_line_is_no_chicken():
    yellow = (252, 252, 84)
    tyres = [((0, 0, 0), x, y, 2, 1) for x in (41, 45) for y in (43, 52)]
    line = [(yellow, x, y, 4, 1) for x in range(12, 160, 8) for y in (102, 104)]
    frame = screen((CARS[1], 40, 44, 8, 8), *tyres, *line, (yellow, 44, 99, 6, 8), behind=(142, 142, 142))
    assert READERS["freeway"](frame) == [("Car2", 40, 43, 8, 10), ("Chicken", 44, 99, 6, 8)]


def test_what_is_the_same_in_all_frames_is_standing():
    one, other = screen(((9, 9, 9), 4, 4, 4, 4), ((8, 8, 8), 20, 4, 4, 4)), screen(((9, 9, 9), 4, 4, 4, 4))
    boxes = [[("a", 4.0, 4.0, 4.0, 4.0), ("b", 20.0, 4.0, 4.0, 4.0)], [("a", 4.0, 4.0, 4.0, 4.0)]]
    assert standing(np.stack([one, other]), boxes) == {("a", 4.0, 4.0, 4.0, 4.0)}


@pytest.mark.parametrize(("game", "classes"), [
    ("space-invaders", {"Alien1", "Alien6", "Shield", "Player", "Digit"}),
    ("pong", {"Player", "Enemy", "Ball", "PlayerScore", "EnemyScore"}),
    ("boxing", {"White", "Black", "WhiteScore", "BlackScore", "Clock"}),
    ("skiing", {"Skier", "Flag", "Tree", "Mogul", "Digit"}),
    ("freeway", {"Chicken", "Digit", *(f"Car{lane}" for lane in range(1, 11))}),
    ("ms-pacman", {"Player", "Blinky", "Pill", "PowerPill", "Life", "Fruit", "Digit"}),
])  # fmt: skip
def test_recorded_games_show_what_their_readers_look_for(game, classes):
    pytest.importorskip("ale_py", reason="the extra 'games' is not installed")
    frames = record(game, 60).pixels.permute(0, 2, 3, 1).numpy()
    assert classes <= {box[0] for frame in frames[::6] for box in READERS[game](frame)}

"""Readouts: scores and clocks are found where they stand, and their digits told apart, also where these touch."""

import time

import numpy as np
import pytest

from delaminate.matching.exact.background import static
from delaminate.matching.exact.choice import choose_background
from delaminate.matching.exact.readouts import find_readouts, without_readouts

DIGITS = (
    "###|#.#|#.#|#.#|### .#.|##.|.#.|.#.|### ###|..#|###|#..|### ###|..#|.##|..#|### #.#|#.#|###|..#|..# "
    "###|#..|###|..#|### ###|#..|###|#.#|### ###|..#|..#|..#|..# ###|#.#|###|#.#|### ###|#.#|###|..#|###"
)
SHAPES = [np.array([[c == "#" for c in row] for row in digit.split("|")]) for digit in DIGITS.split()]
SKY, INK, SHADE = (118, 150, 222), (237, 237, 237), (43, 51, 95)


def written(frame, number, top, left, places=3):
    """Write a number with a shadow at its right, as old screens show it: neighbouring digits touch."""
    text = str(number).rjust(places)
    for colour, aside in ((SHADE, 1), (INK, 0)):
        for n, digit in enumerate(text):
            if digit != " ":
                first = left + 4 * n + aside
                frame[top : top + 5, first : first + 3][SHAPES[int(digit)]] = colour


def clip(numbers, walks=True):
    """A sky with a hill; something walks on it and, now and then, past the score."""
    frames = np.empty((len(numbers), 48, 64, 3), np.uint8)
    frames[:] = SKY
    frames[:, 36:] = (20, 120, 60)
    for n, (frame, number) in enumerate(zip(frames, numbers, strict=True)):
        if walks:
            frame[24:36, n % 50 : n % 50 + 9] = (200, 40, 40)
        if n % 16 == 0:
            frame[2:12, 20:30] = (200, 40, 40)
        written(frame, number, 4, 40)
    return frames


def test_a_score_is_cut_into_its_digits():
    frames = clip(np.random.default_rng(0).integers(0, 1000, 150).repeat(3))
    (readout,) = find_readouts(frames)
    assert (readout.rows, readout.columns) == (slice(4, 9), slice(40, 52))
    assert tuple(readout.paper) == SKY
    shown = {
        (piece.alpha & (np.rint(piece.colour[..., 0] * 255) == INK[0])).tobytes() + bytes(piece.size)
        for piece in readout.pieces
    }
    for shape in SHAPES:
        whole = np.pad(shape, ((0, 0), (0, 1)))  # its shadow makes each a pixel broader
        assert whole.tobytes() + bytes(whole.shape) in shown
    assert len(readout.pieces) <= 24


def test_behind_a_score_is_what_is_around_it():
    """The commonest colour of each pixel is what the digits have in common."""
    frames = clip(np.concatenate([np.arange(0, 700, 70), np.arange(700, 790)]).repeat(3))
    spoilt = static(frames).rgb[3:10, 39:53]
    assert (np.abs(spoilt - np.array(SKY) / 255) > 0.02).any()
    found = choose_background(frames, "static", tolerance=0.02)
    assert len(found.readouts) == 1
    assert np.allclose(found.background.rgb[3:10, 39:53], np.array(SKY) / 255, atol=1e-3)
    assert np.allclose(found.background.rgb[40], np.array((20, 120, 60)) / 255, atol=1e-3)


@pytest.mark.parametrize("kind", ["moves", "stays", "blinks"])
def test_what_moves_or_hardly_changes_is_no_readout(kind):
    frames = clip([7] * 120, walks=kind == "moves")
    if kind == "blinks":
        frames[::2, 20:26, 10:16] = (255, 255, 0)
    assert find_readouts(frames) == ()
    background = static(frames)
    assert without_readouts(background, ()) is background


def test_a_lane_in_which_things_go_at_leisure_is_no_readout():
    frames = np.zeros((200, 30, 60, 3), np.uint8)
    for n, frame in enumerate(frames):
        at = 4 + (n // 3) % 40
        frame[10:16, at : at + 8] = (220, 60, 60)
        frame[11:13, at + 2 : at + 4] = (250, 250, 250)
    assert find_readouts(frames) == ()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_frames_have_none(count):
    assert find_readouts(clip([3, 40])[:count]) == ()


def test_lights_that_twinkle_cost_little():
    """Hundreds of places that change are no readouts, and are not looked at one by one."""
    rng = np.random.default_rng(0)
    frames = np.zeros((100, 120, 160, 3), np.uint8)
    for y in range(4, 116, 10):
        for x in range(4, 156, 10):
            frames[rng.random(100) < 0.4, y : y + 2, x : x + 2] = 255
    began = time.process_time()
    assert find_readouts(frames) == ()
    assert time.process_time() - began < 5


def test_a_wall_behind_which_a_paddle_lurks_is_no_readout():
    frames = np.full((400, 80, 90, 3), (140, 70, 20), np.uint8)
    tops = np.random.default_rng(0).choice(np.arange(50, 59), 100)
    for n, frame in enumerate(frames):
        frame[tops[n // 4] : tops[n // 4] + 16, 70:74] = (90, 190, 90)
    frames[:, 58:] = (236, 236, 236)
    assert find_readouts(frames) == ()

"""Where noisy frames show their background."""

import numpy as np
import pytest

from delaminate.matching.exact.noise import LOSSY_TOLERANCE
from delaminate.matching.exact.outlines import shows_background
from delaminate.matching.exact.templates import ColourCodes

CODES = ColourCodes(LOSSY_TOLERANCE)


def bricks():
    """Red bricks with black joints below a blue sky, (40, 48, 3) in [0, 1]."""
    picture = np.zeros((40, 48, 3), np.float32)
    picture[:20] = (0.4, 0.5, 1.0)
    for top in range(20, 40, 5):
        for left in range(0, 48, 8):
            picture[top + 1 : top + 5, left + 1 : left + 8] = (0.8, 0.3, 0.1)
    return picture


def told(frames, backgrounds):
    return shows_background(frames, backgrounds, CODES.ground_metric, CODES.tolerance)


def shown(frame, background):
    return told(frame[None], background[None])[0]


def test_what_a_codec_leaves_beside_outlines_is_background():
    ground = bricks()
    blurred = (ground + np.roll(ground, 1, 0) + np.roll(ground, 1, 1)) / 3  # outlines half a pixel off
    blurred[:, 0], blurred[0] = ground[:, 0], ground[0]
    blurred[19:21] = ground[19:21]
    assert (~CODES.same_as_ground(blurred, ground)).mean() > 0.1
    assert shown(blurred, ground).all()


@pytest.mark.parametrize("top", [4, 25])
def test_a_thing_is_one_before_a_flat_and_before_a_busy_background(top):
    """Also where it has a colour of the bricks or of their joints, for the rest of it has not."""
    ground = bricks()
    frame = ground.copy()
    frame[top : top + 9, 10:19] = (0.1, 0.8, 0.2)
    frame[top + 3 : top + 5, 13:15] = 0  # eyes, black as joints are
    is_thing = ~shown(frame, ground)
    expected = np.zeros((40, 48), bool)
    expected[top : top + 9, 10:19] = True
    assert not is_thing[~expected].any()
    missed = expected & ~is_thing
    assert missed.sum() <= (4 if top == 25 else 0)
    # What is missed lies on a joint, and is black as that is.
    assert CODES.same_as_ground(frame, ground)[missed].all()


def test_a_bullet_over_the_sky_is_a_thing_and_a_speck_on_a_joint_is_noise():
    ground = bricks()
    frame = ground.copy()
    frame[8, 20:22] = 1.0  # two pixels
    frame[30, 16] = 1.0  # brighter than all around
    is_thing = ~shown(frame, ground)
    assert np.argwhere(is_thing).tolist() == [[8, 20], [8, 21]]


def test_before_one_colour_it_is_told_by_that_colour():
    rng = np.random.default_rng(0)
    frames = rng.uniform(0.2, 0.6, (3, 12, 14, 3)).astype(np.float32)
    ground = np.full((1, 1, 1, 3), 0.4, np.float32)
    assert np.array_equal(told(frames, ground), CODES.same_as_ground(frames, ground))


def test_each_frame_has_its_own_background():
    grounds = np.stack([bricks(), np.roll(bricks(), 3, 1)])
    assert told(grounds, grounds).all()
    assert not told(grounds[::-1].copy(), grounds).all()

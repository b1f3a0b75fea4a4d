"""Which colours are the background's."""

import numpy as np
import pytest

from delaminate.matching.exact.background import panorama, rooms, static
from delaminate.matching.exact.colour_model import ColourModel, behind_things, filled, surroundings
from delaminate.matching.exact.filling import pack


def scenery(seed: int = 0, size: tuple[int, int] = (40, 60)) -> np.ndarray:
    """Bands of sky and a floor with a texture of three colours."""
    rng = np.random.default_rng(seed)
    rgb = np.repeat(rng.integers(0, 256, (size[0] // 4, 1, 3)), 4, 0).repeat(size[1], 1)
    rgb[-10:] = rng.integers(0, 256, (3, 3))[rng.integers(0, 3, (10, size[1]))]
    return rgb.astype(np.uint8)


def thing(seed: int = 9) -> np.ndarray:
    """Twelve pixels wide and high, in three fields."""
    colours = np.random.default_rng(seed).integers(0, 256, (3, 3)).astype(np.uint8)
    return colours[np.repeat([[0, 1, 2]], 12, 0).repeat(4, 1)]


def with_thing(picture: np.ndarray, corners: list[tuple[int, int]]) -> np.ndarray:
    frames = np.repeat(picture[None], len(corners), 0)
    for frame, (y, x) in zip(frames, corners, strict=True):
        frame[y : y + 12, x : x + 12] = thing()
    return frames


def levels(background) -> np.ndarray:
    return np.rint(background.rgb * 255).astype(np.uint8)


def test_a_thing_that_lingers_is_not_part_of_the_picture():
    """It covers the pixels of its first and last place in more than half of the frames; elsewhere it only passes."""
    picture = scenery()
    frames = with_thing(picture, [(20, 5)] * 9 + [(20, x) for x in range(5, 40, 7)] + [(6, 40)] * 2)
    assert np.array_equal(levels(static(frames)), picture)


def test_short_scenes_tell_of_each_other():
    """A thing stands still through one scene and crosses the next: its colours are known from there."""
    one, other = scenery(1), scenery(2)
    frames = np.concatenate(
        [with_thing(one, [(20, 10)] * 7 + [(20, 30)] * 5), with_thing(other, [(8, 4 * n) for n in range(12)])]
    )
    found = rooms(frames)
    assert found is not None
    assert np.array_equal(levels(found), np.concatenate([one, other]))


def test_behind_a_thing_that_bobs_in_its_place_the_rows_go_on():
    picture = scenery()
    picture[-10:] = picture[-1, 0]
    frames = with_thing(picture, [(12 + n, 20) for n in (0, 1, 2, 1) * 6])
    frames = np.concatenate([frames, with_thing(picture, [(12, x) for x in range(0, 48, 2)])])[::-1].copy()
    assert np.array_equal(levels(static(frames)), picture)


def test_what_never_changes_is_background_whatever_its_colours():
    """The same picture stands in a corner, as an icon does that counts lives."""
    picture = scenery()
    picture[:12, :12] = thing()
    frames = with_thing(picture, [(22, x) for x in range(0, 48, 2)])
    assert np.array_equal(levels(static(frames)), picture)


@pytest.mark.parametrize("noise", [0, 3])
def test_under_a_camera_that_scrolls(noise):
    """The camera stops where a thing stands, for most of the clip."""
    picture = scenery(3, (40, 140))
    path = [0] * 14 + list(range(0, 80, 4))
    frames = []
    for n, left in enumerate(path):
        frame = picture[:, left : left + 60].copy()
        x = 20 if n < 10 else 10 + n
        frame[20:32, x : x + 12] = thing()
        frames.append(frame)
    shown = np.stack(frames).astype(np.int64)
    shown += np.random.default_rng(0).integers(-noise, noise + 1, shown.shape)
    found = levels(panorama(shown.clip(0, 255).astype(np.uint8), noisy=noise > 0)).astype(int)
    wrong = (np.abs(found - picture[:, : found.shape[1]]) > 4 * noise).any(2)
    assert found.shape[1] == 136
    assert wrong.mean() < 0.01


def test_shares_are_of_pixels_whose_background_a_colour_is():
    seen = np.array([[1, 1, 7], [1, 2, 7], [1, 1, -1], [2, 1, 7]], np.int32)
    model = ColourModel.learned([seen])
    assert model.of(np.array([1, 7, 2, 5], np.int32)).tolist() == pytest.approx([13 / 14, 7 / 8, 1 / 6, 0.5])
    assert model.settled(seen).tolist() == [1, 1, 7]


def test_what_is_around_decides_where_frames_disagree():
    """A dark colour is the background's elsewhere, but sky is around this pixel, which shows each in two frames of four."""
    sky, dark, coin = 7, 3, 9
    elsewhere = np.array([[dark] * 4 + [sky] * 4] * 4, np.int32)
    here = np.array([[dark], [dark], [sky], [sky]], np.int32)
    model = ColourModel.learned([np.concatenate([elsewhere, here], 1)])
    around = np.full((17, 17), sky, np.int32)
    around[8, 8] = -1
    place = np.array([8])
    best, fits = model.settled_around(here, surroundings(around)[place, place])
    assert best.tolist() == [sky]
    assert fits.tolist() == [True]
    best, fits = model.settled_around(np.full((4, 1), coin, np.int32), surroundings(around)[place, place])
    assert best.tolist() == [coin]
    assert fits.tolist() == [False]


def test_nothing_is_learned_of_nothing():
    model = ColourModel.learned([np.full((3, 4), -1, np.int32)])
    assert model.of(np.array([3], np.int32)).tolist() == [0.5]
    rgb = np.zeros((4, 5, 3), np.float32)
    assert filled(rgb, np.ones((4, 5), bool)) is rgb
    nothing = np.zeros((4, 5), bool)
    assert not behind_things(nothing, np.ones((4, 5), np.float32)).any()


def test_colours_are_packed_as_they_are_looked_up():
    picture = scenery()
    packed = pack(picture.astype(np.int32)).reshape(1, -1)
    assert (ColourModel.learned([packed.repeat(5, 0)]).of(packed) > 0.8).all()

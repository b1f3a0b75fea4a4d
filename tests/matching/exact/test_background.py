"""What lies behind: one colour, a still picture, a landscape that scrolls."""

import numpy as np
import pytest
from helpers.patterns import disc, paste, pattern

from delaminate.errors import ConfigError
from delaminate.matching.exact import stacking
from delaminate.matching.exact.background import Background, panorama, solid, static, without_things_at_rest
from delaminate.matching.exact.camera import Locator, is_scrolled, step, telling
from delaminate.matching.exact.choice import choose_background


def world(size=(48, 150), seed=0):
    """A landscape with soft hills of many colours, and some structure of every size."""
    rng, rgb = np.random.default_rng(seed), np.zeros((*size, 3))
    for side in (4, 8, 16):
        coarse = rng.uniform(0, 85, (size[0] // side + 2, size[1] // side + 2, 3))
        rgb += np.kron(coarse, np.ones((side, side, 1)))[: size[0], : size[1]]
    return rgb.round().astype(np.uint8)


def walk(count, room, seed=1, most=4):
    """Corners of a camera that moves by a few pixels a frame, as far as there is room."""
    rng, corner, corners = np.random.default_rng(seed), np.zeros(2, np.int64), []
    direction = np.array([1, 1])
    for _ in range(count):
        corners.append((int(corner[0]), int(corner[1])))
        corner = corner + direction * rng.integers(0, most + 1, 2)
        direction = np.where(corner >= room, -1, np.where(corner <= 0, 1, direction))
        corner = corner.clip(0, room)
    return corners


def shots(rgb, corners, size=(40, 50), sprites=0):
    """Frames cut out of a landscape, with sprites that move over it on their own."""
    those = [pattern((7, 7), seed, disc(7)) for seed in range(sprites)]
    frames = np.stack([rgb[y : y + size[0], x : x + size[1]] for y, x in corners]).copy()
    for n, frame in enumerate(frames):
        for k, some in enumerate(those):
            paste(frame, some, (5 * k + 3 * n) % 36, (11 * k + 7 * n * (-1) ** k) % 46)
    return frames


# --- one colour, one picture ----------------------------------------------------------------------------------------


def test_the_commonest_colour_is_the_ground():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (4, 20, 20, 3)).astype(np.uint8)
    frames[:, :9] = (200, 30, 90)
    found = solid(frames)
    assert found.rgb.shape == (1, 1, 3)
    assert np.array_equal(np.rint(found.rgb[0, 0] * 255), (200, 30, 90))
    assert np.array_equal(found.crop((3, 4), (0, 0)), np.broadcast_to(found.rgb, (3, 4, 3)))
    assert found.offset(frames[0]) == (0, 0)


def test_a_still_picture_is_what_most_frames_show():
    rgb = world((40, 50))
    frames = shots(rgb, [(0, 0)] * 15, sprites=3)
    assert not np.array_equal(frames[0], rgb)
    assert np.array_equal(np.rint(static(frames).rgb * 255), rgb)


# --- a landscape ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moved", [(0, 0), (3, 0), (0, -4), (-2, 5), (7, 7), (-9, -1)], ids=str)
def test_a_step_of_the_camera_is_measured(moved):
    rgb = world((80, 90))
    before, after = rgb[20:60, 20:70], rgb[20 + moved[0] : 60 + moved[0], 20 + moved[1] : 70 + moved[1]]
    assert step(before, after) == moved


def thin_landscape(size=(64, 220), seed=3):
    """Outlines of hills and posts under a white sky: hardly anything is drawn."""
    rng, rgb = np.random.default_rng(seed), np.full((*size, 3), 255, np.uint8)
    for left in range(0, size[1] - 40, 23):
        top = int(rng.integers(20, 40))
        for n in range(size[0] - 8 - top):
            rgb[top + n, left + n // 2] = 0
        post = left + int(rng.integers(4, 20))
        rgb[size[0] - 8 - int(rng.integers(6, 20)) : size[0] - 8, post : post + 2] = (90, 90, 90)
    rgb[-8:] = (120, 120, 120)
    rgb[-8::3, ::5] = 0
    return rgb


def with_score(frames):
    """A panel of letters that stands still on the screen, and a number in it that counts."""
    rng = np.random.default_rng(5)
    letters = rng.random((8, 56)) < 0.5
    for n, frame in enumerate(frames):
        frame[2:10, 4:60][letters] = 0
        frame[2:10, 66:74][np.random.default_rng(n // 10).random((8, 8)) < 0.5] = 0
    return frames


def test_a_score_that_stands_still_does_not_hold_the_camera():
    rgb = thin_landscape()
    corners = [(0, min(2 * n, 220 - 80)) for n in range(60)]
    frames = with_score(shots(rgb, corners, (64, 80)))
    seen = telling(frames)
    assert seen is not None and not seen[2:10, 4:60].any() and seen[20:50].all()
    assert step(frames[10], frames[11], seen=seen) == (0, 2)
    assert is_scrolled(frames)
    found = choose_background(frames, tolerance=0.02)
    assert found.kind == "panorama" and found.background.plane is not None and found.background.plane.speed == 0
    assert np.array_equal(np.rint(found.background.rgb[12:, :190] * 255), rgb[12:, :190])
    offsets = [found.background.locate(frame) for frame in frames]
    assert [far for far, _ in offsets] == corners and {near for _, near in offsets} == {(0, 0)}


def test_who_the_camera_follows_is_no_panel():
    frames = shots(world(), [(0, 2 * n) for n in range(40)])
    hero = pattern((9, 9), 2, disc(9))
    for frame in frames:
        paste(frame, hero, 16, 20)
    found = choose_background(frames, tolerance=0.02)
    assert found.kind == "panorama" and found.background.plane is None
    assert np.array_equal(np.rint(found.background.rgb[:40, :128] * 255), world()[:40, :128])


def test_all_pixels_tell_of_a_camera_where_nothing_or_everything_stands_still():
    moving = shots(world(), walk(30, (8, 100)))
    assert telling(moving) is None
    assert telling(np.repeat(moving[:1], 20, 0)) is None


def test_a_large_sprite_does_not_lead_the_camera_astray():
    hills = 120 + 60 * np.sin(np.arange(90) / 5) + 20 * np.sin(np.arange(90) / 13)
    rgb = np.broadcast_to(hills[None, :, None], (80, 90, 3)).astype(np.uint8)
    before, after = rgb[:40, 20:70].copy(), rgb[:40, 22:72].copy()
    for frame in (before, after):
        frame[10:26, 10:26] = world((16, 16))
    assert step(before, after) == (0, 2)


def test_a_flat_frame_stands_still():
    flat = np.full((20, 30, 3), 90, np.uint8)
    assert step(flat, flat) == (0, 0)


def test_a_landscape_is_put_together_exactly():
    rgb = world((44, 110))
    corners = walk(45, np.array([4, 60]))
    found = panorama(shots(rgb, corners))
    rows, columns = np.array(corners).max(0) + np.array([40, 50])
    seen = np.zeros((rows, columns), bool)
    for y, x in corners:
        seen[y : y + 40, x : x + 50] = True
    assert found.rgb.shape == (rows, columns, 3) == (44, 110, 3)
    assert np.array_equal(np.rint(found.rgb * 255), rgb * seen[..., None])


def test_sprites_that_move_over_a_landscape_leave_no_trace():
    rgb, corners = world((40, 100)), [(0, n) for n in range(51)]
    frames = shots(rgb, corners, sprites=2)
    found = panorama(frames)
    assert found.rgb.shape == (40, 100, 3)
    seen = slice(12, 88)  # the ends are seen by few frames
    assert (np.rint(found.rgb * 255)[:, seen] == rgb[:, seen]).all(2).mean() > 0.995
    assert [found.offset(frame) for frame in frames[::10]] == corners[::10]


def test_frames_are_located_with_and_without_a_guess():
    rgb = world((60, 120))
    picture = rgb.astype(np.float32) / 255
    for corner in ((0, 0), (20, 70), (7, 33)):
        (frame,) = shots(rgb, [corner], sprites=3)
        locate = Locator(picture)
        assert locate(frame) == corner
        assert locate(frame, (corner[0] + 2, max(corner[1] - 3, 0))) == corner
        assert locate(frame, (10, 10)) == corner  # a wrong guess is no harm


def test_a_landscape_goes_on_beyond_its_border():
    rgb = world((12, 14)).astype(np.float32) / 255
    shown = Background(rgb).crop((10, 10), (-3, 8))
    assert np.array_equal(shown[3:, :6], rgb[:7, 8:])
    assert np.array_equal(shown[0], np.concatenate([rgb[0, 8:], np.repeat(rgb[:1, -1], 4, 0)]))


def test_a_camera_that_stands_still_gives_a_still_picture():
    rgb = world((40, 50))
    assert np.array_equal(np.rint(panorama(shots(rgb, [(0, 0)] * 12, sprites=2)).rgb * 255), rgb)


def test_behind_a_coin_that_spins_in_its_place_the_rows_go_on():
    """It hides what is behind it in six of seven frames; its rim never changes, and what lies around is full of lines."""
    rgb = np.full((48, 150, 3), (90, 160, 110), np.uint8)
    rgb[20::4] = (70, 130, 80)
    rgb[:16] = world()[:16]
    faces = [pattern((9, 9), 1, disc(9)), pattern((9, 9), 2, disc(9))]
    faces[1].colour[[0, -1]] = faces[0].colour[[0, -1]]
    corners = walk(60, (8, 100))
    frames = np.stack([rgb[y : y + 40, x : x + 50] for y, x in corners]).copy()
    for n, ((y, x), frame) in enumerate(zip(corners, frames, strict=True)):
        if n % 7:
            paste(frame, faces[n % 2], 22 - y, 60 - x)
    found = np.rint(panorama(frames).rgb * 255)
    assert found.shape == rgb.shape
    around = slice(16, 38), slice(50, 80)
    assert np.array_equal(found[around], rgb[around])


# --- which of them --------------------------------------------------------------------------------------------------


def test_the_kind_of_ground_is_found():
    rgb = world((40, 110))
    plain = np.broadcast_to(np.array([[[30, 40, 60]]], np.uint8), (40, 110, 3))
    scrolled = shots(rgb, [(0, 2 * n) for n in range(30)], sprites=2)
    assert is_scrolled(scrolled)
    assert choose_background(scrolled).background.rgb.shape[1] > 100
    assert choose_background(shots(rgb, [(0, 0)] * 20, sprites=3)).background.rgb.shape == (40, 50, 3)
    assert choose_background(shots(plain, [(0, 0)] * 20, sprites=3)).background.rgb.shape == (1, 1, 3)
    assert not is_scrolled(np.random.default_rng(0).integers(0, 256, (12, 20, 20, 3)).astype(np.uint8))
    assert choose_background(rgb[None, :, :50]).background.rgb.shape == (1, 1, 3)  # one image tells nothing
    for kind, shape in (("solid", (1, 1, 3)), ("static", (40, 50, 3))):
        assert choose_background(scrolled, kind).background.rgb.shape == shape


def test_the_same_frames_have_the_same_ground():
    frames = shots(world((40, 100)), walk(20, np.array([0, 50])), sprites=2)
    assert np.array_equal(panorama(frames).rgb, panorama(frames).rgb)


def test_a_landscape_beyond_memory_is_refused(monkeypatch):
    monkeypatch.setattr(stacking, "MAX_PANORAMA", 40 * 60)
    with pytest.raises(ConfigError, match=r"panorama of \d+ x 40 pixels.*background=static"):
        panorama(shots(world(), [(0, 3 * n) for n in range(10)]))


def test_what_changes_at_its_place_is_no_part_of_a_still_picture():
    frames = np.full((40, 48, 64, 3), 30, np.uint8)
    frames[:, :, :8] = 90  # a wall that stays
    frames[:28, 10:30, 20:24] = 200  # gone at the end
    frames[:, 4:8, 40:50] = 120  # hidden by turns, but never gone
    frames[::4, 2:12, 38:52] = np.random.default_rng(0).integers(40, 80, (10, 14, 3))
    commonest = frames[1]  # most frames show it
    picture = Background(commonest.astype(np.float32) / 255)
    assert (static(frames).rgb[10:30, 20:24] == picture.rgb[0, 20]).all()
    bare = without_things_at_rest(picture, frames, hole=6.0, place=20.0)
    assert np.rint(bare.rgb[10:30, 20:24] * 255).tolist() == np.full((20, 4, 3), 30).tolist()
    changed = (bare.rgb != picture.rgb).any(2)
    assert int(changed.sum()) == 80


def test_what_the_digits_of_a_counter_have_in_common_is_no_part_of_a_still_picture():
    rng = np.random.default_rng(0)
    strokes = (
        "111101101101111",
        "111001111100111",
        "111001111001111",
        "111100111001111",
        "111100111101111",
        "111101111001111",
    )
    digits = [np.array([c == "1" for c in some]).reshape(5, 3).repeat(2, 0).repeat(2, 1) for some in strokes]
    frames = np.full((60, 60, 90, 3), 235, np.uint8)
    frames[:, 40:44, 20:60] = 0  # a bar that stays
    for n, frame in enumerate(frames):
        for place in range(3):
            frame[6:16, 10 + 9 * place : 16 + 9 * place][digits[int(rng.integers(len(digits)))]] = 0
        frame[25:33, 10 + n : 18 + n] = (200, 30, 40)
    picture = static(frames)
    assert (np.rint(picture.rgb[:20] * 255) != 235).any()
    bare = np.rint(without_things_at_rest(picture, frames, hole=6.0, place=20.0).rgb * 255)
    assert (bare[:20] == 235).all() and (bare[40:44, 20:60] == 0).all()


def test_a_platform_stays_though_something_of_its_colour_runs_on_it():
    frames = np.full((60, 60, 90, 3), 235, np.uint8)
    frames[:, 40:46, 20:60] = (90, 60, 30)
    frames[:, 50:] = (40, 120, 40)
    for n, frame in enumerate(frames):
        left = 5 + n
        frame[32:40, left : left + 6] = (90, 60, 30)
        frame[34:36, left + 1 : left + 5] = (250, 220, 180)
    choice = choose_background(frames, tolerance=0.02)
    assert choice.kind == "static"
    assert (np.rint(choice.background.rgb[40:46, 20:60] * 255) == (90, 60, 30)).all()


def test_a_wall_stays_whole_though_what_passes_before_it_has_the_colour_around_it():
    """A cat with white boxes, outlined in grey, walks along a band between white walls: no part of the band is gone."""
    frames = np.full((40, 100, 160, 3), (255, 240, 230), np.uint8)
    frames[:, 20:30, 8:78] = (255, 200, 170)
    for n, frame in enumerate(frames):
        left = 10 + n
        frame[18:30, left : left + 10] = (90, 85, 80)
        frame[19:24, left + 1 : left + 9] = frame[25:29, left + 1 : left + 9] = (255, 240, 230)
    picture = static(frames)
    assert (np.rint(picture.rgb[20:30, 8:78] * 255) == (255, 200, 170)).all()
    bare = without_things_at_rest(picture, frames, hole=6.0, place=20.0)
    assert np.array_equal(bare.rgb, picture.rgb)


def test_a_screen_that_is_seen_once_at_the_end_is_a_room_and_no_sprite():
    frames = np.full((100, 50, 40, 3), (25, 150, 155), np.uint8)
    frames[:, :6] = (60, 90, 150)
    for n, frame in enumerate(frames):
        frame[10 + n % 30, 5 + n % 30] = 250
    frames[90:] = (210, 25, 110)
    for top in (8, 18, 28):
        frames[90:, top : top + 5, 6:34:3] = 0
    assert choose_background(frames, tolerance=0.02).kind == "rooms"


def flashing(colours, count=120, brief=2):
    """A thing that runs over a picture, whose colours change for a moment at the last of so many times."""
    picture = np.full((40, 50, 3), (0, 0, 60), np.uint8)
    picture[32:] = (90, 140, 30)
    picture[4:9, 6:12] = (220, 220, 60)
    frames = np.repeat(picture[None], count, 0)
    for number, colour in enumerate(colours):
        first = (number + 1) * count // (len(colours) + 1)
        frames[first : first + brief][(frames[first : first + brief] == (0, 0, 60)).all(-1)] = colour
    for n, frame in enumerate(frames):
        frame[12 + n % 9 : 18 + n % 9, n % 44 : n % 44 + 6] = (250, 80, 80)
    return picture, frames


def test_flashes_are_the_same_picture_in_other_colours():
    colours = [(210, 210, 210), (170, 170, 170), (210, 210, 210)]
    picture, frames = flashing(colours)
    found = choose_background(frames, tolerance=0.02)
    assert found.kind == "rooms" and found.background.rgb.shape == (120, 50, 3)
    rooms = np.rint(found.background.rgb * 255).reshape(3, 40, 50, 3)
    assert np.array_equal(rooms[0], picture)
    for room, colour in zip(rooms[1:], colours[:2], strict=True):  # the third is the first again
        assert np.array_equal(room, np.where((picture == (0, 0, 60)).all(-1, keepdims=True), colour, picture))
    assert choose_background(frames, "rooms", tolerance=0.02).background.rgb.shape == (120, 50, 3)


def test_flashes_that_are_a_picture_of_their_own_are_no_recolouring():
    picture, frames = flashing([])
    frames[60:62] = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    found = choose_background(frames, tolerance=0.02)
    assert found.kind == "static" and np.array_equal(np.rint(found.background.rgb * 255), picture)


def test_bars_that_nothing_ever_takes_away_are_a_picture_though_most_is_one_colour():
    frames = np.full((80, 60, 80, 3), (140, 70, 20), np.uint8)
    frames[:, 4:7] = frames[:, 56:] = (236, 236, 236)
    rng = np.random.default_rng(0)
    for frame in frames:  # so much goes on that the bars save but little
        for top, left in rng.integers((9, 0), (52, 76), (9, 2)):
            frame[top : top + 3, left : left + 3] = (90, 190, 90)
    found = choose_background(frames, tolerance=0.02)
    assert 0.8 < found.bits["static"] / found.bits["solid"] < 0.95
    assert found.kind == "static"

"""Clips of games that were compressed with loss, and then given few colours, as GIFs made of videos are."""

import io

import numpy as np
import pytest
from PIL import Image

from delaminate.matching.exact.background import scenes_of
from delaminate.matching.exact.camera import is_scrolled
from delaminate.matching.exact.choice import choose_background
from delaminate.matching.exact.noise import LOSSLESS_TOLERANCE, LOSSY_TOLERANCE, estimate_noise
from delaminate.matching.exact.stacking import gathered

SKY, SIZE = (104, 136, 252), (96, 112)


def level(width=520, seed=0):
    """A level of a game: a plain sky, bricks, pipes, clouds, all in few colours with black outlines."""
    rng, rgb = np.random.default_rng(seed), np.zeros((SIZE[0], width, 3), np.uint8)
    rgb[:] = SKY
    brick = np.zeros((8, 16, 3), np.uint8)
    brick[1:, 1:] = (200, 76, 12)
    brick[1:3, 1:] = (252, 188, 176)
    rgb[80:] = np.tile(brick, (2, width // 16 + 1, 1))[:, :width]
    for left in np.arange(20, width - 40, 70):
        high = int(rng.integers(16, 40))
        rgb[80 - high : 80, left : left + 20] = 0
        rgb[81 - high : 80, left + 1 : left + 19] = (0, 168, 0)
        rgb[81 - high : 80, left + 3 : left + 8] = (184, 248, 24)
        top, side = int(rng.integers(6, 24)), left + int(rng.integers(24, 44))
        rgb[top : top + 10, side : side + 18] = 0
        rgb[top + 1 : top + 9, side + 1 : side + 17] = (252, 252, 252)
    return rgb


def compressed(frames, quality=20):
    """Each frame as a JPEG, then all in one palette."""
    lossy = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
        lossy.append(np.asarray(Image.open(buffer).convert("RGB")))
    palette = Image.fromarray(np.concatenate(lossy[::8])).quantize(128, dither=Image.Dither.NONE)
    return np.stack(
        [
            np.asarray(Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB"))
            for f in lossy
        ]
    )


@pytest.fixture(scope="module")
def clip():
    """A level, and a camera that runs along it by 7 pixels a frame while somebody jumps."""
    rgb = level()
    frames = np.stack([rgb[:, 7 * n : 7 * n + SIZE[1]] for n in range(56)])
    for n, frame in enumerate(frames):
        top = 30 + int(20 * np.sin(n / 3))
        frame[top : top + 12, 40:52] = (216, 40, 0)
    return rgb, frames


def test_a_gif_of_a_lossy_video_is_told_by_its_outlines(clip):
    _, frames = clip
    lossy = compressed(frames)
    assert len(np.unique(lossy.reshape(-1, 3), axis=0)) <= 128
    assert estimate_noise(lossy).tolerance == LOSSY_TOLERANCE
    assert estimate_noise(frames).tolerance == LOSSLESS_TOLERANCE


def test_what_compression_leaves_of_neighbours_is_no_cut(clip):
    lossy = compressed(clip[1])
    assert is_scrolled(lossy, noisy=True)
    assert scenes_of(lossy, noisy=True) == [(0, 56)]
    two = np.concatenate([lossy[:28], compressed(255 - clip[1][28:])])
    assert scenes_of(two, noisy=True) == [(0, 28), (28, 56)]


def test_the_level_behind_a_lossy_clip_is_a_panorama_without_what_was_lost(clip):
    rgb, frames = clip
    found = choose_background(compressed(frames), tolerance=LOSSY_TOLERANCE)
    assert found.kind == "panorama"
    seen = rgb[:, : found.background.rgb.shape[1]].astype(int)
    assert seen.shape[1] == 7 * 55 + SIZE[1]
    wrong = np.abs(found.background.rgb * 255 - seen).max(2) > 48
    assert wrong.mean() < 0.04


def test_colours_that_noise_has_spread_are_gathered_and_others_stay():
    rng = np.random.default_rng(0)
    stack = (120 + rng.integers(-14, 15, (15, 1, 2, 3))).astype(np.int32)
    stack[:4] = (250, 20, 20)  # a thing that passes
    there = np.ones((15, 1, 2), bool)
    there[14, 0, 1] = False
    found = gathered(stack, there)
    assert (found[:4] == (250, 20, 20)).all()
    assert (found[4:, 0, 0] == found[4, 0, 0]).all() and np.abs(found[4, 0, 0] - 120).max() <= 6
    assert np.array_equal(found[14, 0, 1], stack[14, 0, 1])  # not seen, not changed

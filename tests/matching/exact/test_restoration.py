"""Sprites of lossy sources: what smeared occurrences say together."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from delaminate.matching.exact.background import Background
from delaminate.matching.exact.growth import RegionGrowing
from delaminate.matching.exact.noise import LOSSY_MATCH, LOSSY_TOLERANCE, SMEARED_CHROMA
from delaminate.matching.exact.restoration import restore
from delaminate.matching.exact.search import FrameStack, Search
from delaminate.matching.exact.subsampling import luma_and_chroma, smear_of
from delaminate.matching.exact.templates import HardSprite

GROUND = np.array([190, 235, 40])
SEARCH = Search(tolerance=LOSSY_TOLERANCE, growth=RegionGrowing(match=LOSSY_MATCH), chroma=SMEARED_CHROMA, flips=True)


def drawn_sprite(seed=0):
    """A disc of three fields with a dark outline: RGB of 8 bits, and where it is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:14, :12]
    shape = ((y - 6.5) / 7) ** 2 + ((x - 5.5) / 6) ** 2 < 1
    fields = np.argmax([ndimage.gaussian_filter(rng.normal(size=shape.shape), 2) for _ in range(3)], 0)
    rgb = np.array([[200, 60, 60], [60, 90, 210], [240, 220, 200]])[fields]
    rgb[shape & ~ndimage.binary_erosion(shape)] = (40, 20, 30)
    return rgb, shape


def compressed(frames, rng, interpolated=False):
    """Chroma kept for blocks of 2 x 2 pixels, and noise on luma."""
    ycc = luma_and_chroma(frames / np.float32(255)).astype(np.float64)
    n, h, w, _ = ycc.shape
    ycc[..., 0] += rng.normal(0, 2, ycc.shape[:3])
    blocks = ycc[..., 1:].reshape(n, h // 2, 2, w // 2, 2, 2).mean((2, 4))
    if interpolated:
        ycc[..., 1:] = ndimage.zoom(blocks, (1, 2, 2, 1), order=1, grid_mode=True, mode="nearest")
    else:
        ycc[..., 1:] = blocks.repeat(2, 1).repeat(2, 2)
    inverse = np.linalg.inv(luma_and_chroma(np.eye(3) / np.float32(255)).astype(np.float64))
    return np.rint((ycc @ inverse).clip(0, 255)).astype(np.uint8)


def clip(pictures, interpolated=False, count=24, seed=1):
    """Frames on which each picture is once, at any place; every second time it faces the other way."""
    rng = np.random.default_rng(seed)
    frames = np.broadcast_to(GROUND, (count, 48, 64, 3)).copy()
    for number, frame in enumerate(frames):
        for place, (rgb, shape) in enumerate(pictures):
            turned = number % 2
            rgb, shape = (each[:, ::-1] if turned else each for each in (rgb, shape))
            top, left = int(rng.integers(6, 30)), 30 * place + int(rng.integers(3, 14))
            frame[top : top + shape.shape[0], left : left + shape.shape[1]][shape] = rgb[shape]
    return compressed(frames, rng, interpolated)


def scenes_of(frames):
    return FrameStack.of(frames, Background((GROUND / 255).astype(np.float32)[None, None]))


def with_rim(rgb, shape, below=0, above=0):
    """What a search finds: the sprite with some of what it tints above and below, in a mixed colour."""
    alpha = np.pad(shape, ((above, below), (0, 0)))
    colour = np.pad(rgb, ((above, below), (0, 0), (0, 0)), mode="edge") / 255
    rim = np.zeros_like(alpha)
    rim[:above], rim[alpha.shape[0] - below :] = True, True
    rim &= np.abs(np.arange(alpha.shape[1]) - 5.5) < 3
    colour[rim] = (0.5 * np.array([40, 20, 30]) + 0.5 * GROUND) / 255
    colour[rim] += (luma_and_chroma(GROUND / np.float32(255))[0] - luma_and_chroma(colour[rim])[..., :1]) / 255
    alpha = alpha | rim
    return HardSprite((colour * alpha[..., None]).clip(0, 1).astype(np.float32), alpha)


@pytest.mark.parametrize("interpolated", [False, True])
def test_look_alikes_become_one_sprite_without_a_tinted_rim_in_its_own_colours(interpolated):
    rgb, shape = drawn_sprite()
    frames = clip([(rgb, shape)], interpolated)
    assert smear_of(frames) == ("linear" if interpolated else "nearest")
    found = [with_rim(rgb, shape, below=1), with_rim(rgb[:, ::-1], shape[:, ::-1], above=1), with_rim(rgb, shape, 1, 1)]
    restored = restore(scenes_of(frames), found, SEARCH)
    assert len(restored) == 2
    assert np.array_equal(restored[1].alpha, restored[0].alpha[:, ::-1])
    assert all(np.array_equal(each.alpha, shape) for each in restored)  # which is its own mirror image
    assert min(np.abs(each.colour[shape] * 255 - rgb[shape]).mean() for each in restored) < 5


def test_two_pictures_that_differ_in_luma_stay_two():
    rgb, shape = drawn_sprite()
    other = rgb.copy()
    other[5:9, 4:7] = (20, 20, 20)
    frames = clip([(rgb, shape), (other, shape)])
    both = [HardSprite((each / 255 * shape[..., None]).astype(np.float32), shape) for each in (rgb, other)]
    restored = restore(scenes_of(frames), both, SEARCH)
    assert len({sprite.colour.tobytes() for sprite in restored}) == 2


def test_two_pictures_that_differ_in_hue_alone_stay_two():
    rgb, shape = drawn_sprite()
    other = rgb[..., ::-1].copy()
    other = other + np.rint(luma_and_chroma(rgb / np.float32(255)) - luma_and_chroma(other / np.float32(255)))[..., :1]
    both = [HardSprite((each / 255 * shape[..., None]).clip(0, 1).astype(np.float32), shape) for each in (rgb, other)]
    frames = clip([(rgb, shape), (other.clip(0, 255), shape)])
    restored = restore(scenes_of(frames), both, SEARCH)
    assert len(restored) == 2


def test_given_and_half_transparent_patterns_stay_as_they_are():
    rgb, shape = drawn_sprite()
    plain = with_rim(rgb, shape, below=1)
    given, thin = dataclasses.replace(plain, given=True), dataclasses.replace(plain, opacity=0.5)
    restored = restore(scenes_of(clip([(rgb, shape)])), [given, thin], SEARCH)
    assert {id(each) for each in restored} == {id(given), id(thin)}

"""Half-transparent sprites: colour and opacity from what they show over several backgrounds."""

from dataclasses import replace

import numpy as np
from helpers.patterns import disc, pattern, search

from delaminate.matching.exact.background import Background
from delaminate.matching.exact.dictionary import SpriteDictionary, SpriteStore, merge_variants
from delaminate.matching.exact.learning import learn_round
from delaminate.matching.exact.search import FrameStack
from delaminate.matching.exact.templates import ColourCodes
from delaminate.matching.exact.translucent import translucent_sprites

EXACT = replace(search(), tolerance=0.02)


def over_bands(count=12, opacity=0.5):
    """A ghost that floats over bands of colours, and what it is."""
    ghost = pattern((10, 9), 3, disc(10)[:, :9])
    picture = np.repeat(np.random.default_rng(1).integers(0, 256, (6, 1, 3)), 8, 0).repeat(60, 1).astype(np.uint8)
    frames = np.repeat(picture[None], count, 0)
    for n, frame in enumerate(frames):
        window = frame[3 + 2 * n : 13 + 2 * n, 4 + 3 * n : 13 + 3 * n]
        mixed = opacity * 255 * ghost.colour + (1 - opacity) * window
        window[ghost.alpha] = np.rint(mixed[ghost.alpha])
    return frames, Background(picture.astype(np.float32) / 255), ghost


def test_colour_and_opacity_follow_from_several_backgrounds():
    frames, background, ghost = over_bands()
    (found,) = translucent_sprites(FrameStack.of(frames, background).fresh(EXACT), EXACT, 5)
    assert abs(found.opacity - 0.5) < 0.02 and np.array_equal(found.alpha, ghost.alpha)
    assert np.abs(found.colour - ghost.colour)[ghost.alpha].mean() < 0.01


def test_it_is_placed_and_painted_in_every_frame():
    import torch

    frames, background, _ = over_bands()
    patterns = learn_round(FrameStack.of(frames, background), [], EXACT, 0)
    assert [p.opacity < 1 for p in patterns] == [True]
    store = SpriteStore(4, 16)
    store.put(*merge_variants(patterns, ColourCodes(EXACT.tolerance)))
    store.put_background(background)
    sheet: SpriteDictionary = store.sheet()
    images = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    found = sheet.decompose(images, EXACT)
    assert all(len(placements) == 2 for placements in found.images)
    assert float((found.composite() - images).abs().max()) < 3 / 255


def test_an_opaque_sprite_is_none_of_them():
    frames, background, _ = over_bands(opacity=1.0)
    assert translucent_sprites(FrameStack.of(frames, background).fresh(EXACT), EXACT, 5) == []

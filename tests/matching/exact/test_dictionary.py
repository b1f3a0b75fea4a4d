"""Sprite sheets: what mirrored and recoloured sprites fold to, decompositions, and sheets at rest."""

import numpy as np
import pytest
import torch
from helpers.patterns import BACKGROUND, TOLERANCE, alike, disc, frame_of, pattern, scattered, search
from torch.testing import assert_close

from delaminate.errors import FormatError
from delaminate.matching.exact.background import Background
from delaminate.matching.exact.dictionary import (
    Appearance,
    SpriteDictionary,
    SpriteStore,
    merge_variants,
    of_eight_bits,
)
from delaminate.matching.exact.templates import ColourCodes, HardSprite
from delaminate.scene.placements import NEUTRAL

SOLID = Background(BACKGROUND.astype(np.float32) / 255)
CODES = ColourCodes(TOLERANCE)
RED = (0.5, 0.5, 0.5, 0.4, 0.1, 0.0)


def images_of(frames):
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


# --- folding --------------------------------------------------------------------------------------------------------


def test_mirrored_sprites_fold_to_one_sprite_with_a_flip():
    one, other = pattern((8, 9), 1, disc(9)[:8]), pattern((8, 9), 2)
    sprites, looks = merge_variants([one, other, one.oriented(4)], CODES)
    assert (len(sprites), looks) == (2, (Appearance(0), Appearance(1), Appearance(0, 4)))
    assert alike(looks[2].of(sprites[0]), one.oriented(4), share=1.0)
    assert len(merge_variants([one, one.oriented(4)], CODES, flips=False, recolours=False)[0]) == 2


def test_recoloured_sprites_fold_to_one_sprite_with_a_colour():
    one = pattern((8, 9), 1)
    red = Appearance(0, colour=RED).of(one)
    sprites, looks = merge_variants([one, red, red.oriented(4)], CODES)
    assert len(sprites) == 1
    assert [(look.entry, look.orientation) for look in looks] == [(0, 0), (0, 0), (0, 4)]
    for look, shown in zip(looks[1:], (red, red.oriented(4)), strict=True):
        assert np.allclose(look.colour, RED, atol=1e-4)
        assert alike(look.of(sprites[0]), shown, share=1.0)
    assert len(merge_variants([one, red], CODES, recolours=False)[0]) == 2


def test_other_shapes_and_flat_sprites_are_sprites_of_their_own():
    flat = [HardSprite(np.full((6, 6, 3), shade, np.float32), np.ones((6, 6), bool)) for shade in (0.2, 0.7)]
    those = [pattern((8, 8), 1), pattern((8, 8), 1, disc(8)), pattern((8, 9), 1), pattern((8, 8), 2), *flat]
    sprites, looks = merge_variants(those, CODES)
    assert (len(sprites), [look.entry for look in looks]) == (6, list(range(6)))


def test_equal_sprites_are_one_look():
    one = pattern((8, 8), 1)
    sprites, looks = merge_variants([one, HardSprite(one.colour + np.float32(0.01), one.alpha)], CODES)
    assert (len(sprites), looks) == (1, (Appearance(0),))


# --- decompositions -------------------------------------------------------------------------------------------------


def test_a_decomposition_paints_the_frame_exactly():
    one, other = pattern((9, 10), 1), pattern((8, 8), 2, disc(8))
    looks = (Appearance(0), Appearance(1), Appearance(0, 4), Appearance(1, colour=RED))
    sheet = SpriteDictionary((one, other), looks, SOLID)
    shown = [look.of(sheet.sprites[look.entry]) for look in looks]
    frames, truth = scattered(6, (50, 44), shown, 5, seed=2, apart=True, hang=3)
    found = sheet.decompose(images_of(frames), search())
    assert (found.size, found.background, len(found.dictionary)) == ((50, 44), True, 3)
    assert_close(found.composite(), images_of(frames), rtol=0, atol=0.51 / 255)
    for placements, places in zip(found.images, truth, strict=True):
        kinds = sorted((p.entry, p.transforms[0].matrix[0, 0] < 0, p.colour != NEUTRAL) for p in placements[1:])
        assert kinds == sorted(
            (looks[k].entry, looks[k].orientation == 4, looks[k].colour != NEUTRAL) for k, _, _ in places
        )
    again = sheet.decompose(images_of(frames), search())
    assert torch.equal(again.composite(), found.composite())


def test_a_large_sprite_is_found_where_the_border_leaves_two_columns_of_it():
    wide = pattern((10, 60), 1)
    frame = frame_of((30, 80), [(0, 8, -58)], [wide])
    settings = search(tolerance=0.02)
    assert settings.margin < 58
    found = SpriteDictionary((wide,), (Appearance(0),), SOLID).decompose(images_of(frame[None]), settings)
    assert [p.transforms[0].parameters[2] for p in found.images[0][1:]] == [-58.0]
    assert_close(found.composite(), images_of(frame[None]))


def test_frames_of_another_size_have_the_same_ground():
    one = pattern((9, 9), 1)
    sheet = SpriteDictionary((one,), (Appearance(0),), SOLID)
    for size in ((12, 70), (70, 12), (9, 9), (33, 47)):
        frame = frame_of(size, [(0, (size[0] - 9) // 2, (size[1] - 9) // 2)], [one])[None]
        found = sheet.decompose(images_of(frame), search())
        assert (found.size, len(found.images[0])) == (size, 2)
        assert_close(found.composite(), images_of(frame), rtol=0, atol=1e-6)


def test_a_landscape_is_laid_where_the_frame_shows_it():
    rgb = np.random.default_rng(0).integers(0, 256, (30, 90, 3)).astype(np.uint8)
    one = pattern((8, 8), 1)
    frames = np.stack([rgb[:, left : left + 40] for left in (0, 17, 50)])
    frames[1, 10:18, 5:13] = np.rint(one.colour * 255)
    found = SpriteDictionary((one,), (Appearance(0),), Background(rgb.astype(np.float32) / 255)).decompose(
        images_of(frames), search()
    )
    assert [placements[0].transforms[0].matrix[0, 2] for placements in found.images] == [0, -17, -50]
    assert [len(placements) for placements in found.images] == [1, 2, 1]
    assert_close(found.composite(), images_of(frames), rtol=0, atol=1e-6)


def test_a_sheet_without_sprites_shows_its_ground():
    found = SpriteDictionary((), (), SOLID).decompose(images_of(frame_of((20, 20), [], [])[None]), search())
    assert [len(placements) for placements in found.images] == [1]
    assert_close(found.composite()[0, :, 0, 0], torch.from_numpy(BACKGROUND[0, 0].astype(np.float32) / 255))


# --- at rest --------------------------------------------------------------------------------------------------------


def test_a_sheet_comes_back_from_its_store():
    one, other = pattern((9, 10), 1), pattern((6, 5), 2, np.tri(6, 5) > 0)
    store = SpriteStore(5, 16)
    store.put((one, other), (Appearance(0), Appearance(1), Appearance(0, 4), Appearance(1, 0, RED)))
    store.put_background(SOLID)
    assert store.count == 2
    again = SpriteStore(5, 16)
    again.load_state_dict(store.state_dict())
    sheet = again.sheet()
    for a, b in zip(sheet.sprites, (one, other), strict=True):
        assert np.array_equal(a.colour, b.colour) and np.array_equal(a.alpha, b.alpha)
    assert sheet.looks[:3] == (Appearance(0), Appearance(1), Appearance(0, 4))
    assert sheet.looks[3].colour == pytest.approx(RED)
    assert np.array_equal(sheet.background.rgb, SOLID.rgb)
    again.check("here")


def test_a_full_store_keeps_what_there_is_room_for():
    those = tuple(pattern((6, 6), seed) for seed in range(4))
    store = SpriteStore(2, 8)
    store.put((*those[:1], pattern((12, 5), 9), *those[1:]), tuple(Appearance(k) for k in range(5)))
    sheet = store.sheet()
    assert [sprite.size for sprite in sheet.sprites] == [(6, 6), (8, 5)]
    assert sheet.looks == (Appearance(0), Appearance(1))
    store.check("here")


@pytest.mark.parametrize("sizes", [[[0, 0], [4, 4]], [[4, 9], [4, 4]], [[4, 4], [-1, 4]], [[4, 0], [4, 4]]], ids=str)
def test_sizes_out_of_range_are_refused(sizes):
    store = SpriteStore(2, 8)
    store.sizes.copy_(torch.tensor(sizes))
    with pytest.raises(FormatError, match="here: sizes of sprites are out of range; expected 1 to 8 pixels"):
        store.check("here")


@pytest.mark.parametrize("look", [[2, 0], [0.5, 0], [0, 0.3], [-2, 0]], ids=str)
def test_looks_out_of_range_are_refused(look):
    store = SpriteStore(2, 8)
    store.put((pattern((4, 4), 1), pattern((5, 5), 2)), (Appearance(0), Appearance(1)))
    store.looks[1, :2] = torch.tensor(look)
    with pytest.raises(FormatError, match=r"here: appearance 1 .* expected"):
        store.check("here")


def test_colours_of_eight_bits_survive_float16():
    exact = (torch.arange(256) / 255).view(16, 16)
    assert torch.equal(of_eight_bits(exact.half().float()), exact)
    between = ((torch.arange(255) + 0.5) / 255).half().float()
    assert torch.equal(of_eight_bits(between), between)
    assert torch.equal(of_eight_bits(exact + 1e-5), exact + 1e-5)

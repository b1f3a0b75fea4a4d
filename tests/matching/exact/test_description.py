"""Bits: what recurs is told once, what continues costs little, and backgrounds pay like anything else."""

import io

import numpy as np
import pytest
from helpers.patterns import BACKGROUND, disc, frame_of, paste, pattern
from PIL import Image, ImageDraw

from delaminate.data.synthetic.captures import draw_capture
from delaminate.matching.exact.background import rooms, scenes_of, solid, static
from delaminate.matching.exact.choice import choose_background, clip_bits
from delaminate.matching.exact.description import Prices, frames_bits, outline, picture_bits, regions_of
from delaminate.matching.exact.noise import (
    DITHERED_TOLERANCE,
    LOSSLESS_TOLERANCE,
    LOSSY_TOLERANCE,
    REQUANTISED_TOLERANCE,
    estimate_noise,
    is_chroma_smeared,
    is_lossy,
)
from delaminate.matching.exact.templates import ColourCodes

PRICES = Prices(colour=6.0, place=18.0)


def test_a_flat_picture_costs_next_to_nothing_and_noise_a_colour_a_pixel():
    flat = np.full((20, 30, 3), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    assert picture_bits(flat, PRICES) < 200
    assert picture_bits(noise, PRICES) > 600 * PRICES.colour
    assert picture_bits(noise, PRICES, np.zeros((20, 30), bool)) == 0


def test_an_outline_is_counted_in_steps():
    mask = np.zeros((6, 6), bool)
    mask[1:4, 2:5] = True
    assert outline(mask) == 12


def test_regions_touch_at_corners_and_know_whether_the_border_cuts_them():
    frame = np.zeros((8, 8, 3), np.uint8)
    is_open = np.zeros((8, 8), bool)
    is_open[[1, 2, 5], [1, 2, 7]] = True
    one, other = regions_of(frame, is_open)
    assert (one.mask.sum(), one.cut, other.mask.sum(), other.cut) == (2, False, 1, True)


def test_a_sprite_that_moves_costs_its_picture_once():
    thing = pattern((9, 9), 1, disc(9))
    frames = np.stack([frame_of((40, 60), [(0, 10, 3 * n)], [thing]) for n in range(16)])
    other = np.stack([frame_of((40, 60), [(0, 10, 3 * n)], [pattern((9, 9), n, disc(9))]) for n in range(16)])
    behind = BACKGROUND.astype(np.float32)[None] / 255
    once, anew = (frames_bits(each, behind, PRICES, 16, 0.02) for each in (frames, other))
    assert once < 0.35 * anew


def test_two_sprites_over_one_colour_have_no_panorama():
    hero, coin = pattern((14, 12), 1, tint=(0.6, 0.4, 0.3)), pattern((8, 8), 2, disc(8))
    frames = np.stack([frame_of((64, 64), [(0, 20 + n, 3 + 2 * n), (1, 50 - n, 40)], [hero, coin]) for n in range(20)])
    found = choose_background(frames, tolerance=0.02)
    assert found.kind == "solid" and found.bits["static"] > found.bits["solid"]
    assert clip_bits(frames, solid(frames), 0.02, solid(frames)) == found.bits["solid"]


@pytest.mark.parametrize("kind", ["static", "rooms", "panorama", "parallax"])
def test_the_kind_of_a_drawn_capture_is_found(kind):
    capture = draw_capture(4, background=kind, codec="png", zoom=(1.0, 1.0))
    assert choose_background(np.ascontiguousarray(capture.clean[..., :3]), tolerance=0.02).kind == kind


def test_the_commonest_colour_over_time_is_one_that_was_seen():
    phases = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200], [200, 0, 0]], np.uint8)
    frames = np.broadcast_to(phases[np.arange(12) % 4][:, None, None], (12, 6, 7, 3))
    assert np.rint(static(np.ascontiguousarray(frames)).rgb * 255).reshape(-1, 3).tolist() == [[200, 0, 0]] * 42


def test_a_clip_is_cut_where_everything_changes_and_rooms_lie_below_each_other():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (30, 40, 3)).astype(np.uint8) for _ in range(2))
    frames = np.stack([first] * 6 + [second] * 7 + [first] * 5)
    assert scenes_of(frames) == [(0, 6), (6, 13), (13, 18)]
    found = rooms(frames)
    assert found is not None and found.rgb.shape == (60, 40, 3)
    assert [found.offset(frame) for frame in frames[[0, 8, 15]]] == [(0, 0), (30, 0), (0, 0)]


def test_noise_is_told_from_drawings():
    capture = draw_capture(3, background="static", codec="png", zoom=(1.0, 1.0))
    clean = np.ascontiguousarray(capture.clean[..., :3])
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 3, clean.shape), 0, 255).astype(np.uint8)
    assert not is_lossy(clean) and estimate_noise(clean).tolerance == LOSSLESS_TOLERANCE
    assert is_lossy(noisy) and estimate_noise(noisy).tolerance == LOSSY_TOLERANCE


def test_shaded_drawings_in_pictures_that_have_nothing_to_do_with_each_other_are_no_noise():
    rng = np.random.default_rng(0)
    ramp = np.arange(12, dtype=np.uint8)
    shaded = np.stack(
        [90 + 3 * ramp[:, None] + 2 * ramp, 160 - 4 * ramp[:, None] + ramp, 70 + ramp + 0 * ramp[:, None]], 2
    )
    frames = np.full((16, 96, 96, 3), 30, np.uint8)
    for frame in frames:
        for top, left in rng.integers(0, 84, (20, 2)):
            frame[top : top + 12, left : left + 12] = shaded
    assert not is_lossy(frames)
    noise = rng.integers(-4, 5, frames.shape)
    assert is_lossy(np.clip(frames + noise, 0, 255).astype(np.uint8))


def test_chroma_counts_less_where_compression_smears_it():
    grey = np.full(3, 0.5, np.float32)
    tinted = grey + np.array([0.12, -0.06, 0.002], np.float32)  # about the same luma
    lighter = grey + 0.055
    for chroma, same in ((0.5, (True, False)), (1.0, (False, True))):
        codes = ColourCodes(0.096, chroma)
        assert (bool(codes.same(grey, tinted)), bool(codes.same(grey, lighter))) == (same[0], True)
        # Greys are as far from each other as in RGB.
        assert np.linalg.norm(codes.metric.T @ np.ones(3)) == pytest.approx(3**0.5, abs=1e-5)


@pytest.mark.parametrize(("codec", "zoom", "smeared"), [("jpeg", 1.0, True), ("jpeg", 3.0, False), ("png", 1.0, False)])
def test_smeared_chroma_is_seen(codec, zoom, smeared):
    clean = np.ascontiguousarray(draw_capture(8, background="solid", codec="png", zoom=(1.0, 1.0)).clean[..., :3])
    step = int(zoom)
    frames = []
    for frame in clean[::8].repeat(step, 1).repeat(step, 2):
        file = io.BytesIO()
        Image.fromarray(frame).save(file, codec, **({"quality": 90} if codec == "jpeg" else {}))
        frames.append(np.asarray(Image.open(file))[step // 2 :: step, step // 2 :: step])
    assert is_chroma_smeared(np.stack(frames)) == smeared


def test_frames_with_palettes_of_their_own_are_neither_lossless_nor_lossy():
    """A GIF of rendered pictures: each frame is brought to few colours by itself."""
    rng = np.random.default_rng(0)
    board = rng.integers(40, 220, (6, 6, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    piece = pattern((13, 13), 5, disc(13))
    frames = []
    for n in range(24):
        frame = board.copy()
        paste(frame, piece, 5 + 3 * n, 40)
        palette = Image.fromarray(rng.integers(0, 256, (2, 100, 3)).astype(np.uint8))
        both = Image.new("RGB", (100, 98))
        both.paste(Image.fromarray(frame), (0, 0))
        both.paste(palette, (0, 96))
        frames.append(np.asarray(both.quantize(48).convert("RGB"))[:96, :96])
    assert estimate_noise(np.stack(frames)).tolerance == REQUANTISED_TOLERANCE


def test_a_gradient_that_scrolls_is_not_given_another_palette():
    ramp = np.arange(200)[None, :, None]
    frames = np.stack([np.broadcast_to((ramp + k) // 2, (100, 200, 3)) for k in range(60)]).astype(np.uint8)
    assert estimate_noise(frames).tolerance != REQUANTISED_TOLERANCE


def boards(dither):
    """Two discs that run over a board, as a GIF of few fixed colours has them."""
    frames = []
    for n in range(16):
        board = Image.new("RGB", (160, 120), (250, 248, 240))
        draw = ImageDraw.Draw(board)
        for column in range(0, 160, 20):
            draw.line((column, 0, column, 120), (20, 20, 20))
        draw.ellipse((5 + 6 * n, 30, 19 + 6 * n, 44), (60, 90, 220))
        draw.ellipse((140 - 5 * n, 80, 156 - 5 * n, 96), (70, 170, 90))
        frames.append(np.asarray(board.convert("P", dither=dither).convert("RGB")))
    return np.stack(frames)


def test_dithered_frames_are_told_from_drawings_with_specks():
    assert estimate_noise(boards(Image.Dither.FLOYDSTEINBERG)).tolerance == DITHERED_TOLERANCE
    assert estimate_noise(boards(Image.Dither.NONE)).tolerance == LOSSLESS_TOLERANCE
    gravel = np.full((8, 60, 80, 3), (140, 120, 100), np.uint8)
    gravel[:, ::4, 1::4] = (90, 80, 70)
    for n, frame in enumerate(gravel):
        frame[20:30, 5 * n : 5 * n + 10] = (200, 40, 40)
    assert estimate_noise(gravel).tolerance == LOSSLESS_TOLERANCE

"""Codes, frames under explanation, and the gain as one correlation."""

import numpy as np
import pytest
import torch
from helpers.patterns import BACKGROUND as COLOUR
from helpers.patterns import TOLERANCE, disc, frame_of, opened, pattern
from torch.testing import assert_close

from delaminate.matching.exact import templates as agreement
from delaminate.matching.exact.templates import (
    BACKGROUND,
    CLOSED,
    OPEN,
    ColourCodes,
    HardSprite,
    TemplateCorrelator,
    peaks,
    templates,
)


def test_equal_colours_have_equal_codes_and_others_hardly_agree():
    codes = ColourCodes(TOLERANCE)
    colours = torch.rand(1, 20, 20, 3, generator=torch.Generator().manual_seed(0))
    code = codes(colours)
    assert code.shape == (1, 8, 20, 20)
    assert_close(code.norm(dim=1), torch.ones(1, 20, 20))
    close = (codes(colours + 0.1 * TOLERANCE / 3**0.5) * code).sum(1)
    assert float(close.mean()) > 0.97
    others = (code.roll(1, 2) * code).sum(1)
    assert abs(float(others.mean())) < 0.15


def test_two_colours_are_one_within_the_tolerance():
    codes, one = ColourCodes(0.06), np.full((1, 3), 0.5, np.float32)
    assert bool(codes.same(one, one + np.array([0.059, 0, 0], np.float32))[0])
    assert not bool(codes.same(one, one + np.array([0.061, 0, 0], np.float32))[0])
    assert not bool(codes.same(one, one + np.array([0.05, 0.05, 0.0], np.float32))[0])


def test_a_pattern_is_cut_to_its_extent_and_mirrored():
    whole = pattern((9, 12), 1, np.pad(disc(5), ((1, 3), (4, 3))))
    cut, down, right = HardSprite.cut(whole.colour, whole.alpha)
    assert (cut.size, down, right, cut.area) == ((5, 5), 1, 4, int(disc(5).sum()))
    assert np.array_equal(cut.colour, whole.colour[1:6, 4:9])
    assert np.array_equal(cut.oriented(4).colour, cut.colour[:, ::-1])
    assert np.array_equal(cut.oriented(4).oriented(4).alpha, cut.alpha)
    assert cut.rgba().shape == (4, 5, 5)
    empty, *_ = HardSprite.cut(whole.colour, whole.alpha & False)
    assert (empty.size, empty.area) == ((0, 0), 0)


def test_pixels_are_ground_open_or_outside():
    some = pattern((6, 6), 3)
    frames = opened(frame_of((20, 24), [(0, 4, 5)], [some]), margin=3)
    assert (len(frames), frames.size) == (1, (26, 30))
    expected = np.full((26, 30), CLOSED)
    expected[3:-3, 3:-3] = BACKGROUND
    expected[7:13, 8:14] = OPEN
    assert np.array_equal(frames.kind[0], expected)
    before = frames.kind.copy()
    frames.close(0, (slice(7, 13), slice(8, 14)), some.alpha)
    assert int((frames.kind == OPEN).sum()) == 0
    frames.reset([0], before)
    assert np.array_equal(frames.kind, before)


def test_windows_are_closed_beyond_the_frame():
    frames = opened(frame_of((20, 24), [], []), margin=2)
    spots = np.array([[0, 0, 0], [0, 20, 24]])
    colour, kind = frames.windows(spots, -3, -3, (7, 8))
    assert colour.shape == (2, 7, 8, 3)
    for n, (_, y, x) in enumerate(spots):
        for down in range(7):
            for right in range(8):
                row, column = y - 3 + down, x - 3 + right
                inside = 0 <= row < 24 and 0 <= column < 28
                assert kind[n, down, right] == (frames.kind[0, row, column] if inside else CLOSED)


def most_gain(frames, pattern, top, left):
    """The gain as it is defined, were it not for open pixels that differ, pixel by pixel; the corner on the padded frame."""
    gain = 0.0
    for y, x in np.argwhere(pattern.alpha):
        kind = frames.kind[0, top + y, left + x]
        difference = frames.colour[0, top + y, left + x].astype(float) - pattern.colour[y, x].astype(float)
        match = (difference**2).sum() <= frames.codes.tolerance**2
        if kind == OPEN:
            gain += match
        elif kind == BACKGROUND and not match:
            gain -= 1
    return gain


@pytest.mark.parametrize("count", [1, 20])
def test_one_correlation_estimates_the_gain_everywhere(count):
    """By the FFT where patterns are few, directly in bfloat16 where they are many."""
    those = [pattern((7, 6), seed, disc(7)[:, :6]) for seed in range(count)]
    frames = opened(frame_of((24, 26), [(0, 3, 4), (0, 6, 8), (0, 15, 22), (0, -3, 14)], those[:1]), margin=6)
    frames.close(0, (slice(12, 16), slice(10, 20)), np.ones((4, 10), bool))
    bank = templates(those, frames.codes, frames.background)
    assert bank.shape == (count, 9, 7, 6)
    correlator = TemplateCorrelator(bank, frames.size)
    assert correlator.by_fft == (count == 1)
    value = correlator(frames.maps(0)[:, :-1])
    assert value.shape == (count, frames.size[0] - 6, frames.size[1] - 5)
    for k in {0, count - 1}:
        plain = np.array(
            [[most_gain(frames, those[k], y, x) for x in range(value.shape[2])] for y in range(value.shape[1])]
        )
        # Codes of colours that differ agree by chance: what they say is right on the average, and exact where all fits.
        error = value[k].numpy() - plain
        assert abs(error.mean()) < 1
        assert np.abs(error).max() < 0.45 * those[k].area
        if k == 0:
            for top, left in ((3, 4), (15, 22)):
                assert abs(error[top + 6, left + 6]) < 2.5
            assert plain.flat[int(value[k].argmax())] == plain.max() == 26  # four columns; the rest is outside


def test_fft_and_direct_correlation_agree():
    those = [pattern((7, 6), seed) for seed in range(20)]
    frames = opened(frame_of((24, 26), [(0, 3, 4), (1, 12, 9)], those), margin=6)
    bank = templates(those, frames.codes)
    direct = TemplateCorrelator(bank, frames.size)(frames.maps(0)[:, :-1])
    alone = torch.cat([TemplateCorrelator(bank[k : k + 1], frames.size)(frames.maps(0)[:, :-1]) for k in range(20)])
    assert_close(direct, alone, rtol=0, atol=0.35)


def test_peaks_are_those_that_no_neighbour_exceeds():
    value = torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(1))
    value[1, 4, 4:6] = 2.0
    found = {tuple(place) for place in peaks(value, 0.3, reach=2).tolist()}
    expected = set()
    for k in range(2):
        for y in range(9):
            for x in range(11):
                around = value[k, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
                if value[k, y, x] >= 0.3 and value[k, y, x] >= around.max() - 1e-3:
                    expected.add((k, y, x))
    assert found == expected
    assert {(1, 4, 4), (1, 4, 5)} <= found  # equal neighbours both count


def test_the_ground_that_scrolls_is_known_for_each_frame():
    picture = np.random.default_rng(0).uniform(0, 1, (2, 16, 18, 3)).astype(np.float32)
    bytes_ = (picture * 255).round().astype(np.uint8)
    frames = opened(bytes_, margin=2, background=picture)
    assert frames.background is None
    assert set(np.unique(frames.kind[:, 2:-2, 2:-2])) == {BACKGROUND}
    swapped = opened(bytes_[::-1].copy(), margin=2, background=picture)
    assert (swapped.kind[:, 2:-2, 2:-2] == OPEN).mean() > 0.95
    assert_close(opened(bytes_, margin=2).background, COLOUR[0, 0].astype(np.float32) / 255)


@pytest.mark.parametrize("count", [1, 20])
def test_peaks_found_strip_by_strip_are_those_of_the_whole(count, monkeypatch):
    patterns = [pattern((6, 5), seed) for seed in range(count)]
    frames = opened(frame_of((61, 40), [(n % count, 5 * n, 3 + n) for n in range(11)], patterns))
    bank = templates(patterns, frames.codes)
    whole = TemplateCorrelator(bank, frames.size)
    value = whole(frames.maps(0)[:, :-1]).numpy()
    expected = peaks(torch.from_numpy(value), 4.0, reach=1)
    monkeypatch.setattr(agreement, "MAX_STRIP_PIXELS", 64 * 14)
    strips = TemplateCorrelator(bank, frames.size)
    least = torch.full((count, value.shape[1], 1), 4.0), torch.full((count, 1, value.shape[2]), 5.0)
    places, values = strips.peaks(frames.maps(0)[:, :-1], *least, reach=1)
    assert strips.strip == 14
    # Also where all is asked for at once, in more rows than one transform has.
    assert_close(strips(frames.maps(0)[:, :-1]), torch.from_numpy(value), atol=0.02 if count == 1 else 0.3, rtol=0)
    assert {(5 * n + 12, 3 + n + 12) for n in range(11)} <= {(y, x) for _, y, x in places.tolist()}
    assert np.array_equal(places, expected)
    assert_close(values, value[tuple(expected.T)], atol=1e-3, rtol=1e-4)

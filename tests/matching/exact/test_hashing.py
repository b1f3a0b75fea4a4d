"""Patterns found by lookup are those that correlation finds."""

import numpy as np
import pytest
from helpers.patterns import BACKGROUND, disc, frame_of, pattern, scattered

from delaminate.matching.exact import hashing
from delaminate.matching.exact.detection import PlacementCost, TemplateBank, find
from delaminate.matching.exact.hashing import (
    HashBank,
    WindowTable,
    all_inside,
    bank_of,
    window_hashes,
    windows_of_pattern,
)
from delaminate.matching.exact.templates import OPEN, ColourCodes, Frames, HardSprite

EXACT = ColourCodes(0.02)


def ready(frames, margin=16):
    frames = frames[None] if frames.ndim == 3 else frames
    return Frames(frames, BACKGROUND.astype(np.float32)[None] / 255, margin, EXACT)


def flat(size, colour=(200, 90, 40)):
    alpha = np.ones(size, bool)
    return HardSprite(np.broadcast_to(np.array(colour, np.float32) / 255, (*size, 3)).copy(), alpha)


def test_windows_of_equal_pixels_have_equal_hashes_and_others_do_not():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**24, (40, 50)).astype(np.uint32)
    values[20:26, 30:37] = values[3:9, 5:12]
    for shape in ((3, 3), (2, 2), (3, 1), (1, 3)):
        hashes = window_hashes(values, shape)
        assert hashes[20, 30] == hashes[3, 5]
        counts = np.unique(hashes, return_counts=True)[1]
        twice = (6 - shape[0] + 1) * (7 - shape[1] + 1)
        assert (counts == 2).sum() == twice and (counts > 2).sum() == 0


def test_windows_lie_wholly_within_their_mask():
    mask = np.zeros((8, 9), bool)
    mask[2:6, 3:8] = True
    inside = all_inside(mask, (3, 3))
    assert np.argwhere(inside).tolist() == [[y, x] for y in (2, 3) for x in (3, 4, 5)]


@pytest.mark.parametrize("seed", range(4))
def test_lookup_finds_what_correlation_finds_where_sprites_overlap_and_hang_over_the_border(seed):
    those = [pattern((10, 10), 1, disc(10)), pattern((9, 12), 2), pattern((12, 8), 3), pattern((5, 4), 4)]
    frames, truth = scattered(6, (60, 64), those, 5, seed=seed, hang=4)
    for index, places in enumerate(truth):
        found = []
        for kind in (HashBank, TemplateBank):
            now = ready(frames[index])
            some = find(now, 0, kind(those, now, PlacementCost()))
            found.append({(p.entry, p.top, p.left) for p in some})
        there = set(places)
        assert len(found[0] & there) >= len(found[1] & there) - 1
        assert len(found[0] - there) <= len(found[1] - there) + 1


def test_flat_and_tiny_sprites_are_found_at_every_place():
    bullet, bar = flat((2, 3)), flat((3, 20), (20, 200, 30))
    places = [(0, 5, 6), (0, 30, 40), (0, 12, 20), (1, 22, 10)]
    now = ready(frame_of((40, 50), places, [bullet, bar]))
    found = find(now, 0, HashBank([bullet, bar], now, PlacementCost()))
    assert {(p.entry, p.top, p.left) for p in found} == set(places)


def test_a_pattern_is_looked_up_by_windows_apart_from_each_other():
    windows = [w for w in windows_of_pattern(pattern((16, 16), 1)) if not w.border]
    assert 6 <= len(windows) <= 24
    for one in windows:
        assert all(max(abs(one.top - o.top), abs(one.left - o.left)) >= 3 for o in windows if o is not one)
    assert windows_of_pattern(HardSprite(np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), bool))) == ()


def test_a_table_names_each_place_once():
    one = pattern((8, 8), 5)
    now = ready(frame_of((30, 30), [(0, 10, 12)], [one]))
    spots = WindowTable([windows_of_pattern(one)], [one.size]).spots(now, 0)
    assert spots.tolist() == [[0, 10 + now.margin, 12 + now.margin]]


def test_a_sliver_of_one_colour_is_found_though_no_window_fits_in_it():
    colour, alpha = np.zeros((16, 16, 3), np.float32), disc(16)
    colour[alpha] = np.array([230, 204, 26], np.float32) / 255
    inside = np.pad(disc(8), 4)
    colour[inside] = (np.random.default_rng(0).integers(0, 256, (int(inside.sum()), 3)) / 255).astype(np.float32)
    coin, front = HardSprite(colour, alpha), pattern((20, 20), 5)
    frame = frame_of((44, 44), [(0, 10, 10), (1, 8, 13)], [coin, front])
    now = ready(frame)
    open_before = int(now.was_open.sum()) - front.area
    assert 20 < open_before < 50 and len(np.unique(frame[10:26, 10:13][alpha[:, :3]], axis=0)) == 1
    found = find(now, 0, HashBank([coin, front], now, PlacementCost()))
    assert [(p.entry, p.top, p.left) for p in found] == [(1, 8, 13), (0, 10, 10)]
    assert now.share_explained == 1


def test_nothing_opaque_leaves_no_slivers():
    glass = HardSprite(pattern((8, 8), 1).colour, np.ones((8, 8), bool), 0.5)
    frame = frame_of((30, 30), [(0, 4, 4)], [pattern((5, 5), 3)])
    now = ready(frame)
    assert find(now, 0, HashBank([glass], now, PlacementCost())) == []


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_slivers_of_every_sprite_of_one_palette_are_found(side):
    """Whatever the sprite's number, and on whichever side it shows."""
    palette = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [220, 220, 60]], np.float32) / 255
    rng = np.random.default_rng(1)
    those = [HardSprite(palette[rng.integers(0, 4, (16, 16))], np.ones((16, 16), bool)) for _ in range(20)]
    front = pattern((20, 20), 9)
    where = {"top": (12, 8), "bottom": (4, 8), "left": (8, 12), "right": (8, 4)}[side]
    for entry in (0, 9, 19):
        frame = frame_of((40, 40), [(entry, 10, 10), (20, *where)], [*those, front])
        now = ready(frame)
        found = find(now, 0, HashBank([*those, front], now, PlacementCost()))
        assert {(p.entry, p.top, p.left) for p in found} == {(entry, 10, 10), (20, *where)}


def test_slivers_tell_nothing_of_flat_sprites():
    bar, front = flat((9, 9)), pattern((12, 12), 5)
    frame = frame_of((40, 40), [(0, 10, 10), (1, 8, 12)], [bar, front])
    now = ready(frame)
    bank = HashBank([bar, front], now, PlacementCost())
    assert set(bank.leftovers(now, 0)[0][:, 0].tolist()) == {1}


def test_what_is_mostly_flat_is_looked_for_at_few_places_and_found_at_its_own():
    """A pattern of one colour but for an edge fits a little all over an area of that colour."""
    mostly = pattern((16, 20), 1)
    mostly.colour[:] = (0.2, 0.6, 0.3)
    mostly.colour[3, 4:9] = (0.9, 0.8, 0.1)
    meadow = pattern((60, 90), 2)
    meadow.colour[:] = (0.2, 0.6, 0.3)
    frames = ready(frame_of((160, 200), [(0, 10, 20), (0, 90, 120), (1, 60, 10)], [mostly, meadow])[None])
    bank = bank_of([mostly], frames, PlacementCost())
    places = bank.candidates(frames, 0)[0]
    corners = {(y - frames.margin, x - frames.margin) for _, y, x in places.tolist()}
    assert {(10, 20), (90, 120)} <= corners
    assert len(corners) < 150


def test_places_at_which_many_windows_hint_are_kept_where_they_are_crowded(monkeypatch):
    monkeypatch.setattr(hashing, "MOST_SPOTS", 3)
    entry = np.array([0] * 6 + [1, 1] + [2] * 5)
    votes = np.array([9, 1, 1, 5, 5, 5, 1, 1, 2, 1, 1, 1, 1])
    kept = hashing._most_voted(entry, votes)
    assert kept.tolist() == [True, False, False, True, True, True, True, True, True, True, True, True, True]


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (10, 1)])
def test_stripes_are_found_all_along(size):
    """At every place along them, a pattern of stripes gains the same."""
    striped = pattern(size, 1)
    striped.colour[:] = np.linspace(0.2, 0.9, size[0])[:, None, None]
    frame = frame_of((40, 704), [(0, 12, x) for x in range(0, 704, size[1])], [striped])
    frames = ready(frame[None])
    places = find(frames, 0, bank_of([striped], frames, PlacementCost()))
    assert {place.left for place in places} == set(range(0, 704, size[1]))
    assert frames.share_explained == 1


def test_one_window_that_is_hardly_seen_does_not_silence_the_others():
    tile = pattern((8, 8), 1)
    hidden = HardSprite(tile.colour.copy(), tile.alpha.copy())
    hidden.colour[5:] = 0.5
    corners = [(y, x) for y in range(0, 160, 8) for x in range(0, 192, 8)]
    frame = frame_of((200, 320), [(0, 180, 300), *((1, y, x) for y, x in corners)], [tile, hidden])
    frames = ready(frame[None])
    spots = HashBank([tile], frames, PlacementCost()).table.spots(frames, 0)
    assert {(y - frames.margin, x - frames.margin) for _, y, x in spots.tolist()} >= set(corners)


def test_a_wall_of_flat_bricks_is_covered_brick_by_brick_and_to_its_end():
    brick, half = flat((4, 8)), flat((4, 5))
    frame = frame_of((30, 70), [(0, 10, 3 + 8 * n) for n in range(6)] + [(1, 10, 51)], [brick, half])
    now = ready(frame)
    found = find(now, 0, HashBank([brick], now, PlacementCost()))
    assert {(p.top, p.left) for p in found} == {(10, 3 + 8 * n) for n in range(6)} | {(10, 48)}
    assert not (now.kind == OPEN).any()

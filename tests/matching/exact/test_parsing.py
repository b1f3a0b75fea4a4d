"""What a dictionary makes of frames, and sprites estimated anew from what they alone explain."""

from dataclasses import replace

import numpy as np
from helpers.patterns import (
    BACKGROUND,
    TOLERANCE,
    alike,
    bank_of,
    disc,
    frame_of,
    opened,
    paste,
    pattern,
    placed,
    scattered,
)

from delaminate.matching.exact.growth import RegionGrowing
from delaminate.matching.exact.parsing import parse, reestimate, split


def explained(frames, patterns):
    known = opened(frames)
    return parse(known, bank_of(patterns, known), list(range(len(known)))), known


def test_what_is_left_is_counted_in_pixels():
    known, unknown = pattern((8, 8), 1, disc(8)), pattern((6, 6), 2)
    frames = np.stack(
        [
            frame_of((40, 40), [(0, 4, 4), (1, 20, 20)], [known, unknown]),
            frame_of((40, 40), [(0, 4, 4), (0, 24, 14)], [known, unknown]),
            frame_of((40, 40), [], []),
        ]
    )
    found, after = explained(frames, [known])
    assert [placed(some) for some in found.places] == [[(0, 4, 4)], [(0, 4, 4), (0, 24, 14)], []]
    assert found.left.tolist() == [36, 0, 0]
    assert found.cost(8.0).tolist() == [44, 16, 0]
    assert found.usage(3).tolist() == [3, 0, 0]
    assert (after.kind == 2).sum((1, 2)).tolist() == [36, 0, 0]


def test_pixels_painted_wrongly_are_left_too():
    some = pattern((10, 10), 1)
    frame = frame_of((30, 30), [(0, 6, 6)], [some])
    frame[7:9, 7:10] = (250, 20, 20)
    found, _ = explained(frame, [some])
    assert (placed(found.places[0]), found.left.tolist()) == ([(0, 6, 6)], [6])


def test_hidden_pixels_are_not_painted_wrongly():
    front, back = pattern((8, 8), 1), pattern((8, 8), 2)
    found, _ = explained(frame_of((30, 30), [(1, 6, 6), (0, 9, 9)], [front, back]), [front, back])
    assert found.left.tolist() == [0]


def rough(some, seed=5):
    """A pattern as it is when it has just been found: rims missing, a wrong corner, colours a little off."""
    rng = np.random.default_rng(seed)
    alpha = some.alpha.copy()
    alpha[0], alpha[:, -1] = False, False
    colour = some.colour + rng.uniform(-0.5, 0.5, some.colour.shape) * TOLERANCE / 3**0.5
    colour[-2:, :2] = (1.0, 0.0, 0.0)
    return replace(some, colour=(colour * alpha[..., None]).astype(np.float32), alpha=alpha)


def test_sprites_are_estimated_from_what_they_explain():
    those = [pattern((10, 10), 1, disc(10)), pattern((9, 12), 2)]
    frames, _ = scattered(20, (50, 50), those, 3, seed=4)
    guess = [rough(some) for some in those]
    for _ in range(2):
        found, _ = explained(frames, guess)
        guess = reestimate(opened(frames), guess, found, RegionGrowing(seed=5, reach=10))
    for one, other in zip(guess, those, strict=True):
        assert alike(one, other, share=1.0)


def test_what_explains_nothing_stays_as_it_is():
    used, idle = pattern((8, 8), 1), pattern((8, 8), 2)
    frames, _ = scattered(6, (30, 30), [used], 1)
    found, _ = explained(frames, [used, idle])
    again = reestimate(opened(frames), [used, idle], found, RegionGrowing())
    assert np.array_equal(again[1].rgba().numpy(), idle.rgba().numpy())
    assert alike(again[0], used, share=1.0)


def test_an_eye_of_the_grounds_colour_is_found_where_it_hides_something():
    eyed = pattern((10, 10), 3)
    hole = np.zeros((10, 10), bool)
    hole[4:6, 4:7] = True
    painted = replace(eyed, colour=np.where(hole[..., None], np.float32([30, 40, 60]) / 255, eyed.colour))
    blind = replace(eyed, colour=eyed.colour * ~hole[..., None], alpha=eyed.alpha & ~hole)
    back = pattern((14, 14), 4)
    rng, frames = np.random.default_rng(0), []
    for _ in range(12):
        top, left = rng.integers(5, 25, 2)
        frames.append(frame_of((44, 44), [(1, top, left), (0, top + 2, left + 3)], [painted, back]))
        paste(frames[-1], painted, 1, 1)
    found, _ = explained(np.stack(frames), [blind, back])
    again = reestimate(opened(np.stack(frames)), [blind, back], found, RegionGrowing())
    assert alike(again[0], painted, share=1.0)
    # A hole shows what is behind it.
    frames = [frame_of((44, 44), [(1, 6 + n, 8), (0, 8 + n, 11)], [blind, back]) for n in range(12)]
    found, _ = explained(np.stack(frames), [blind, back])
    again = reestimate(opened(np.stack(frames)), [blind, back], found, RegionGrowing())
    assert np.array_equal(again[0].alpha, blind.alpha)


def over_marks():
    """Frames with one thing, every other one over a mark of the background that has the very colours that lie on it."""
    whole = pattern((12, 12), 1)
    background = np.broadcast_to(BACKGROUND, (40, 50, 3)).copy()
    background[10:13, 20:24] = np.rint(whole.colour[4:7, :4] * 255)
    frames = []
    for n in range(16):
        frame = background.copy()
        paste(frame, whole, *((6, 20) if n % 2 else (2 + n, 34)))
        frames.append(frame)
    return opened(np.stack(frames), background=background[None].astype(np.float32) / 255), whole


def test_what_the_background_shows_as_well_is_no_hole():
    frames, whole = over_marks()
    notched = replace(whole, alpha=whole.alpha.copy())
    notched.alpha[4:7, :4] = False
    found = parse(frames.fresh(), bank_of([notched], frames), list(range(len(frames))))
    assert all(len(some) == 1 for some in found.places)
    assert alike(reestimate(frames.fresh(), [notched], found, RegionGrowing())[0], whole, share=1.0)
    # Nor are there two pictures of it.
    found = parse(frames.fresh(), bank_of([whole], frames), list(range(len(frames))))
    assert len(split(frames.fresh(), [whole], found, RegionGrowing(), ((0, 0),) * len(frames))) == 1


def walk(places=24, stands=False):
    """Frames with two steps of a walk that share most of their pixels, and the mean of the two as it is found first."""
    one = pattern((14, 10), 1)
    legs = pattern((4, 10), 2)
    two = replace(one, colour=np.concatenate([one.colour[:10], legs.colour]))
    both = replace(
        one, colour=one.colour * (np.arange(14) < 10)[:, None, None], alpha=one.alpha & (np.arange(14) < 10)[:, None]
    )
    rng, frames = np.random.default_rng(3), []
    for n in range(places):
        top, left = (8, 9) if stands and n % 2 else rng.integers(2, 24, 2).tolist()
        frames.append(frame_of((44, 40), [(n % 2, top, left)], [one, two]))
    return np.stack(frames), one, two, both


def test_two_steps_of_a_walk_are_two_pictures():
    frames, one, two, both = walk()
    found, _ = explained(frames, [both])
    halves = split(opened(frames), [both], found, RegionGrowing(seed=5, reach=10), ((0, 0),) * len(frames))
    assert len(halves) == 1  # the legs are not within its reach
    found, _ = explained(frames, [one])
    halves = split(opened(frames), [one], found, RegionGrowing(seed=5, reach=10), ((0, 0),) * len(frames))
    assert len(halves) == 2
    assert all(any(alike(half, each, share=1.0) for half in halves) for each in (one, two))


def test_a_picture_at_one_place_is_no_second_picture():
    frames, one, _, _ = walk(stands=True)
    found, _ = explained(frames, [one])
    assert len(split(opened(frames), [one], found, RegionGrowing(seed=5, reach=10), ((0, 0),) * len(frames))) == 1

import time

import numpy as np
import pytest
import torch

from delaminate.data import draw, draw_images, true_sprites
from delaminate.data.synthetic.drawing import packaged
from delaminate.data.synthetic.scroller import GROUND, KINDS, ORDER, WIDTH, World
from delaminate.rng import numpy_stream

PLAYER, ROVER, BAT, COIN = (list(KINDS).index(kind) + 1 for kind in ("player", "rover", "bat", "coin"))


@pytest.fixture(scope="module")
def clip():
    return draw("side-scroller", 300)


@pytest.fixture(scope="module")
def world():
    played = World(numpy_stream("side-scroller", "train", 0))
    played.frame(1799)
    return played


def test_frames_of_a_seed_are_one_clip_in_order(clip):
    assert clip.images.rate == 30
    assert clip.images.size == (128, 192)
    later = draw("side-scroller", 10, start=200)
    assert torch.equal(later.images.pixels, clip.images.pixels[200:210])
    assert torch.equal(later.labels.instances, clip.labels.instances[200:210])
    assert torch.equal(draw_images("side-scroller", 5).pixels, clip.images.pixels[:5])
    # Neighbouring frames are alike, frames of other seeds and splits are not.
    step = (clip.images.pixels[1:].float() - clip.images.pixels[:-1].float()).abs().mean((1, 2, 3))
    others = [draw_images("side-scroller", 1, seed, split).pixels for seed, split in ((1, "train"), (0, "dev"))]
    for other in others:
        assert (other.float() - clip.images.pixels[0].float()).abs().mean() > 3 * step.mean()


def test_an_object_keeps_its_number_and_its_kind(clip):
    kinds = {}
    for instances, classes in zip(clip.labels.instances, clip.labels.classes, strict=True):
        for number in instances.unique().tolist():
            kinds.setdefault(number, set()).update(classes[instances == number].unique().tolist())
    assert all(len(kind) == 1 for kind in kinds.values())
    assert kinds[0] == {0}
    assert set.union(*kinds.values()) == {0, *range(1, len(KINDS) + 1)}
    assert kinds[1] == {PLAYER}


def test_objects_move_by_small_steps(world):
    last = {}
    for index, shot in enumerate(world.history):
        for _, top, left, number, kind in shot.stamps:
            if number in last and last[number][0] == index - 1:
                _, y, x = last[number]
                assert abs(left + shot.camera - x) <= 4, kind
                assert abs(top - y) <= 8, kind
            last[number] = (index, top, left + shot.camera)


def test_masks_are_exact(clip, world):
    for index in range(0, 300, 37):
        shot = world.history[index]
        ground = torch.from_numpy(world.picture[:, :, shot.camera : shot.camera + WIDTH].copy())
        free = clip.labels.instances[index] == 0
        assert torch.equal(clip.images.pixels[index][:, free], ground[:, free])
        stamp, top, left, number, _ = shot.stamps[-1]  # the player stands in front
        rows, columns = np.nonzero(stamp.mask)
        expected = torch.zeros(128, 192, dtype=torch.bool)
        expected[rows + top, columns + left] = True
        assert torch.equal(clip.labels.instances[index] == number, expected)


def test_the_camera_travels_pauses_and_turns(world):
    camera = np.array([shot.camera for shot in world.history])
    steps = np.diff(camera)
    assert camera.min() < 400 and camera.max() > 800
    assert (steps > 0).mean() > 0.15 and (steps < 0).mean() > 0.15 and (steps == 0).mean() > 0.1
    assert np.abs(steps).max() <= 4


def test_things_turn_fly_leave_and_are_taken(world):
    seen = {kind: set() for kind in range(1, len(KINDS) + 1)}
    for shot in world.history:
        for stamp, _, _, number, kind in shot.stamps:
            seen[kind].add((number, stamp.rgb.tobytes()))
    # Both pictures and both sides of one player and one rover at least.
    assert len({picture for _, picture in seen[PLAYER]}) == 4
    assert any(sum(n == number for n, _ in seen[ROVER]) == 4 for number, _ in seen[ROVER])
    assert len({number for number, _ in seen[BAT]}) > 8
    coins = [thing.number for thing in world.things if thing.kind == "coin"]
    assert len(coins) < len({number for number, _ in seen[COIN]} | set(coins))
    assert (
        max(min(top for _, top, _, _, kind in shot.stamps if kind == PLAYER) for shot in world.history) == GROUND - 24
    )
    assert set(ORDER) == set(KINDS)


def test_true_sprites_are_one_picture_per_pose():
    assert len(true_sprites("side-scroller")) == sum(len(names) for names in KINDS.values())
    assert torch.equal((true_sprites("side-scroller")[0][3] > 0.5), torch.from_numpy(packaged("green-0").mask))


def test_a_minute_is_drawn_in_seconds():
    draw("side-scroller", 2)
    began = time.process_time()
    draw("side-scroller", 200)
    assert 200 / (time.process_time() - began) > 100

"""Figures of drawn games: the truth, played back as a decomposition, scores one in everything."""

import numpy as np
import pytest
import torch

from delaminate.data import ImageSet, Labels, draw, true_sprites
from delaminate.data.synthetic.drawing import packaged
from delaminate.data.synthetic.scroller import KINDS, World
from delaminate.metrics import evaluate
from delaminate.rng import numpy_stream
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform

SIZE = (128, 192)
NUM_FRAMES = 24


def player_of_truth(renamed=None, dictionary=None):
    """The side-scroller's own placements, with its numbers for tracks."""
    world = World(numpy_stream("side-scroller", "dev", 0))
    world.frame(NUM_FRAMES)
    poses = [(kind, pose) for kind, names in enumerate(KINDS.values(), start=1) for pose in range(len(names))]
    sprites = true_sprites("side-scroller")
    ground = torch.from_numpy(world.picture).float() / 255
    ground = torch.cat([ground, torch.ones(1, *ground.shape[1:])])
    entries = Dictionary((ground, *(dictionary or sprites)), backgrounds=(0,))
    done = 0

    def placed(index):
        shot = world.history[index]
        yield Placement(0, (Transform.shift(-shot.camera, 0, SIZE),))
        for stamp, top, left, number, kind in shot.stamps:
            track = number if renamed is None else renamed(index, number)
            rgba = torch.from_numpy(np.concatenate([stamp.rgb, stamp.alpha[None]])).float() / 255
            for entry in (k for k, pose in enumerate(poses, start=1) if pose[0] == kind):
                sprite = sprites[entry - 1]
                if torch.equal(sprite, rgba):
                    yield Placement(entry, (Transform.shift(left, top, SIZE),), track=track)
                    break
                if torch.equal(sprite.flip(2), rgba):
                    yield Placement(entry, (Transform.mirror(left, top, rgba.shape[2], SIZE),), track=track)
                    break

    def decompose(images):
        nonlocal done
        rows = range(done, done + len(images))
        done = rows.stop
        return Decomposition(entries, tuple(tuple(placed(i)) for i in rows), SIZE, background=True)

    return decompose


@pytest.fixture(scope="module")
def clip():
    return draw("side-scroller", NUM_FRAMES, split="dev")


def test_the_truth_of_a_clip_scores_one(clip):
    sprites = true_sprites("side-scroller")
    figures = evaluate(player_of_truth(), clip.images, clip.labels, sprites=sprites, batch=10)
    for name in ("precision", "recall", "f1", "f1_25", "f1_75", "f1_mean", "iou", "ari", "ari_fg", "tracks_unbroken"):
        assert figures[name] == 1, name
    assert figures["psnr"] == 100
    assert figures["sprites_found"] == figures["sprites_true"] == len(sprites)
    world = World(numpy_stream("side-scroller", "dev", 0))
    world.frame(NUM_FRAMES)
    poses = [packaged(name) for names in KINDS.values() for name in names]
    shown = {id(stamp) for shot in world.history[:NUM_FRAMES] for stamp, *_ in shot.stamps}
    dead = sum(id(pose) not in shown and id(pose.mirrored) not in shown for pose in poses)
    assert figures["dead_sprites"] == dead < len(sprites)
    assert "one track" in figures["protocol"] and "alpha-IoU 0.9" in figures["protocol"]


def test_tracks_that_change_are_broken(clip):
    figures = evaluate(player_of_truth(lambda index, number: 1000 * (index // 5) + number), clip.images, clip.labels)
    assert figures["tracks_unbroken"] < 0.5
    assert figures["f1"] == 1
    untracked = evaluate(player_of_truth(lambda index, number: None), clip.images, clip.labels)
    assert "tracks_unbroken" not in untracked
    assert "sprites_found" not in untracked


def test_sprites_that_nothing_uses_are_dead(clip):
    sprites = true_sprites("side-scroller")
    rich = (*sprites, sprites[0], torch.ones(4, 3, 3))
    plain = evaluate(player_of_truth(), clip.images, clip.labels, sprites=sprites)["dead_sprites"]
    assert evaluate(player_of_truth(None, rich), clip.images, clip.labels, sprites=sprites)["dead_sprites"] == plain + 2


def test_a_hundred_sprites_need_no_hundred_canvases():
    drawn = draw("platform-game", 2)
    dot = Dictionary((torch.ones(4, 4, 4),))
    seen = []

    def decompose(images):
        places = [Placement(0, (Transform.shift(2 * k, 3 * k, (230, 230)),)) for k in range(17)]
        found = Decomposition(dot, (tuple(places[: seen[0]]),) * len(images), (230, 230))
        object.__setattr__(found, "layers", found.layers if seen[0] <= 16 else None)  # calling it would fail
        return found

    seen[:] = [16]
    assert "ari_fg_helped" in evaluate(decompose, drawn.images, drawn.labels)
    seen[:] = [17]
    figures = evaluate(decompose, drawn.images, drawn.labels)
    assert "ari_fg_helped" not in figures
    assert "ari_fg" in figures


def test_boxes_and_ink_give_their_figures():
    pixels = np.full((1, 20, 20, 3), 255, np.uint8)
    pixels[0, 4:8, 4:8] = pixels[0, 12:16, 4:8] = 0
    images = ImageSet.from_arrays(pixels)
    glyph = torch.cat([torch.zeros(3, 4, 4), torch.ones(1, 4, 4)])
    paper = torch.ones(4, 20, 20)
    places = [Placement(1, (Transform.shift(0, 0, (20, 20)),)), Placement(0, (Transform.shift(4, 4, (20, 20)),))]
    found = Decomposition(Dictionary((glyph, paper), (1,)), (tuple(places),), (20, 20), background=True)
    boxes = ((("e", 4.0, 4.0, 4.0, 4.0), ("e", 4.0, 12.0, 4.0, 4.0)),)
    figures = evaluate(lambda _: found, images, Labels(boxes=boxes, ink=0.5))
    assert (figures["box_precision"], figures["box_recall"]) == (1, 0.5)
    assert figures["ink_explained"] == 0.5
    assert "f1" not in figures
    ignored = ((("dust", 4.0, 4.0, 4.0, 4.0),),)
    figures = evaluate(lambda _: found, images, Labels(boxes=(boxes[0][1:],), ignored_boxes=ignored))
    assert figures["box_f1"] == 0
    assert "ink_explained" not in figures

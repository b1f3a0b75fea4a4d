"""Candidates are compared by what their outlines fall on, never by labels."""

import numpy as np
from scipy import ndimage

from delaminate.pipelines.photo_choice import Candidate, _edges, _judge


def photos(count=6, side=64):
    """Bright discs on noise, and their masks."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    masks = [np.hypot(y - cy, x - cx) < r for cy, cx, r in rng.uniform((20, 20, 10), (44, 44, 18), (count, 3))]
    grain = [ndimage.gaussian_filter(rng.normal(size=(3, side, side)), (0, 2, 2)) for _ in range(count)]
    return np.stack([0.4 * mask + 0.3 * each for mask, each in zip(masks, grain, strict=True)]), np.stack(masks)


def judged(masks, others=()):
    import torch

    pictures, _ = photos()
    edges = np.stack([_edges(torch.from_numpy(picture)) for picture in pictures])
    return _judge("one", masks, edges, list(others))


def test_a_true_outline_is_sharper_than_one_that_lies_anywhere():
    _, masks = photos()
    right, moved = judged(masks), judged(np.roll(masks, 9, 2))
    assert right.sharpness > 1.3 * moved.sharpness and right.score > moved.score


def test_the_same_patch_in_every_photo_counts_less():
    _, masks = photos()
    patch = np.repeat(masks[:1], len(masks), 0)
    assert judged(patch).sameness == 1.0 and judged(masks).sameness < 0.6


def test_empty_and_full_cut_outs_are_worth_nothing():
    _, masks = photos()
    assert judged(np.zeros_like(masks)).score == judged(np.ones_like(masks)).score == 0


def test_methods_that_agree_are_believed_more():
    _, masks = photos()
    assert judged(masks, [masks]).agreement == 1.0
    assert Candidate("a", 2.0, 0.9, 1.0, 0.3).score > Candidate("b", 2.0, 0.3, 1.0, 0.3).score

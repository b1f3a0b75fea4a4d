"""The judge of sampled masks."""

import pytest
import torch

from delaminate.bench.judge import sampled_figures, taught
from delaminate.data import draw
from delaminate.methods.perturbgan import Config, PerturbGAN
from delaminate.scene.layers import Layers

SIZE = (16, 16)


@pytest.fixture(scope="module")
def judge():
    return taught("objects-on-texture", SIZE, 0, scenes=500, steps=200)


def painting(masks_of):
    """A model whose sampled scenes are drawn ones, with masks made from their labels."""
    model = PerturbGAN(
        Config(image_size=SIZE, noise_width=4, mapping_depth=1, width=8, max_channels=8, segmenter_width=8)
    )

    def sample(n, rng):
        drawn = draw("objects-on-texture", n, seed=9, split="dev", size=SIZE)
        images, masks = drawn.images.batch(range(n)), masks_of((drawn.labels.instances > 0).float()[:, None])
        alpha = torch.stack([torch.ones_like(masks), masks], 1)
        return Layers(torch.stack([images, images], 1), alpha, background=True)

    model.sample = sample
    return model


def test_masks_on_the_object_score_as_high_as_the_judge_sees_and_others_do_not(judge):
    right, wrong = (
        sampled_figures(painting(masks_of), judge, "objects-on-texture", 0, count=60)
        for masks_of in (lambda m: m, lambda m: 1 - m)
    )
    assert right["iou_judge"] == wrong["iou_judge"] > 0.3
    assert right["iou_sampled"] == pytest.approx(right["iou_judge"], abs=0.15)
    assert wrong["iou_sampled"] < 0.25


def test_scenes_without_an_object_are_worth_nothing(judge):
    model = painting(torch.zeros_like)
    blank = model.sample(60, None)
    grey = Layers(torch.full_like(blank.rgb, 0.5), blank.alpha, background=True)
    model.sample = lambda n, rng: grey
    assert sampled_figures(model, judge, "objects-on-texture", 0, count=60)["iou_sampled"] == 0


def test_a_judge_is_the_same_each_time():
    one, other = (taught("objects-on-texture", SIZE, 0, scenes=20, steps=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))

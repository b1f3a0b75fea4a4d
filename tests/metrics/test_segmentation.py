import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import adjusted_rand_score

from delaminate.errors import ShapeError
from delaminate.metrics.segmentation import (
    ClassConfusion,
    InstanceMatches,
    adjusted_rand_index,
    ari,
    ari_fg,
    ari_fg_helped,
)


def maps(low):
    return arrays(np.int64, (3, 4, 5), elements=st.integers(low, 4))


@given(maps(-1), maps(0))
def test_ari_agrees_with_scikit_learn(true, predicted):
    for least, figures in ((0, ari(true, predicted)), (1, ari_fg(true, predicted))):
        for index, figure in enumerate(figures):
            judged = true[index] >= least
            oracle = adjusted_rand_score(true[index][judged], predicted[index][judged]) if judged.any() else 1
            assert figure == pytest.approx(oracle, abs=1e-9)


@given(maps(0), maps(0), st.permutations(range(5)))
def test_names_of_labels_do_not_matter(true, predicted, names):
    renamed = np.array(names)[predicted] * 1_000_003
    assert ari(true, renamed) == pytest.approx(ari(true, predicted))
    assert ari(true, np.array(names)[true]) == pytest.approx(1)


@given(maps(0), maps(0))
def test_ari_is_symmetric(true, predicted):
    assert ari(true, predicted) == pytest.approx(ari(predicted, true))


def test_degenerate_labellings_have_a_score():
    same = np.zeros((1, 2, 2), dtype=np.int64)
    assert ari(same, same)[0] == 1
    assert ari_fg(same, same)[0] == 1
    assert ari(same, np.arange(4).reshape(1, 2, 2))[0] == 0
    assert adjusted_rand_index(np.zeros(0, dtype=int), np.zeros(0, dtype=int)) == 1


def test_320_images_take_well_under_a_second():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 4, (2, 320, 35, 35))
    start = time.perf_counter()
    ari(true, predicted)
    assert time.perf_counter() - start < 1


def test_tensors_are_taken_and_shapes_checked():
    true = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(0))
    assert ari(true, true.to(torch.uint8)).tolist() == [1, 1]
    with pytest.raises(ShapeError, match=r"expected \(B, H, W\)"):
        ari(true[0], true[0])
    with pytest.raises(ShapeError, match="same shape"):
        ari(true, true[:1])


def test_the_helper_gives_lost_pixels_to_the_nearest_colour():
    true = np.array([[[1, 1, 2, 2, 0]]])
    predicted = np.array([[[1, 0, 0, 2, 0]]])
    image = torch.tensor([1.0, 0.9, 0.1, 0, 0.5]).expand(1, 3, 1, 5)
    layers = torch.stack([torch.ones(1, 3, 1, 5), torch.zeros(1, 3, 1, 5)], dim=1)
    assert ari_fg(true, predicted)[0] < 0.5
    assert ari_fg_helped(true, predicted, image, layers)[0] == 1
    assert ari_fg_helped(true, predicted, image, layers.flip(1))[0] < 1
    assert ari_fg_helped(true, predicted, image, layers[:, :0])[0] == ari_fg(true, predicted)[0]


def test_layers_that_do_not_fit_are_refused():
    true, image = np.zeros((1, 1, 5), dtype=int), torch.zeros(1, 3, 1, 5)
    with pytest.raises(ShapeError, match="do not fit"):
        ari_fg_helped(true, true, image, torch.zeros(1, 2, 3, 1, 4))


@given(maps(-1), st.permutations(range(5)))
def test_perfect_classes_score_one(true, names):
    true[0, 0] = range(5)
    confusion = ClassConfusion(5, 5)
    confusion.update(true, np.array(names)[np.maximum(true, 0)])
    assert confusion.figures() == {"pixel_accuracy": 1, "class_accuracy": 1, "class_miou": 1}


def test_surplus_classes_are_errors_and_absent_ones_count_0():
    confusion = ClassConfusion(3, 4)
    confusion.update(np.array([0, 0, 0, 0, 1, 1, -1]), np.array([0, 0, 0, 3, 2, 2, 1]))
    figures = confusion.figures()
    assert figures["pixel_accuracy"] == pytest.approx(5 / 6)
    assert figures["class_accuracy"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert figures["class_miou"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    fewer = ClassConfusion(3, 1)
    fewer.update(np.array([0, 1, 1, 2]), np.zeros(4, dtype=int))
    assert fewer.figures()["class_miou"] == pytest.approx(0.5 / 3)
    assert ClassConfusion(2, 2).figures() == {"pixel_accuracy": 0, "class_accuracy": 0, "class_miou": 0}


def test_confusions_add_up():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 3, (2, 6, 5, 5))
    whole, parts = ClassConfusion(3, 3), ClassConfusion(3, 3)
    whole.update(true, predicted)
    for index in range(6):
        parts.update(true[index], predicted[index])
    assert (whole.counts == parts.counts).all()


def instance_figures(true, predicted):
    matches = InstanceMatches()
    matches.update(np.array(true)[None], np.array(predicted)[None])
    return {name: matches.figures()[name] for name in ("precision", "recall", "f1")}


@given(maps(0))
def test_perfect_instances_score_one(true):
    matches = InstanceMatches()
    matches.update(true, true * 7)
    assert matches.figures() == dict.fromkeys(("precision", "recall", "f1", "f1_25", "f1_75", "f1_mean"), 1)


def test_instances_are_found_from_half_on():
    true = np.zeros((4, 8), dtype=int)
    true[:, :4] = 1
    predicted = np.zeros_like(true)
    predicted[:, :2], predicted[0, 7] = 5, 6  # the single pixel is too small to count
    assert instance_figures(true, predicted) == {"precision": 1, "recall": 1, "f1": 1}
    predicted[0, 1] = 0
    assert instance_figures(true, predicted) == {"precision": 0, "recall": 0, "f1": 0}
    predicted[:, 4:] = 9
    assert instance_figures(true, true * 0) == {"precision": 0, "recall": 0, "f1": 0}
    true[:, 5:] = 2
    figures = instance_figures(true, predicted)
    assert figures == {"precision": 0.5, "recall": 0.5, "f1": 0.5}


def test_ignored_pixels_do_not_count_against_instances():
    true = np.zeros((4, 8), dtype=int)
    true[:, :4], true[:, 4:] = 1, -1
    assert instance_figures(true, np.ones_like(true))["f1"] == 1


def test_stricter_and_looser_thresholds_are_counted_with_one_matching():
    matches = InstanceMatches()
    matches.count(np.array([[0.6, 0.3], [0.0, 0.74], [0.2, 0.2]]))
    figures = matches.figures()
    assert (figures["precision"], figures["recall"], figures["f1"]) == (1, 2 / 3, pytest.approx(0.8))
    assert figures["f1_25"] == pytest.approx(0.8)
    assert figures["f1_75"] == 0
    # Two finds at 0.5, 0.55 and 0.6, one at 0.65 and 0.7, none above.
    assert figures["f1_mean"] == pytest.approx((3 * 0.8 + 2 * 0.4) / 10)


def test_pairs_are_matched_by_their_sum_of_ious_and_judged_afterwards():
    matches = InstanceMatches()
    matches.count(np.array([[0.9, 0.3], [0.3, 0.0]]))
    assert matches.figures()["f1"] == pytest.approx(0.5)
    assert matches.figures()["f1_25"] == pytest.approx(0.5)  # two pairs of 0.3 would count more, but sum up to less

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from delaminate.errors import ShapeError
from delaminate.metrics.foreground import (
    covered,
    foreground_figures,
    foreground_per_image,
    prefers_swap,
    region_confusions,
    role_swaps,
    split_names,
)
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform

truth = arrays(np.int64, (3, 4, 5), elements=st.integers(-1, 2))
guess = arrays(np.int64, (3, 4, 5), elements=st.integers(0, 2))


@given(truth)
def test_perfect_foreground_scores_one(true):
    assert set(foreground_figures(true, np.maximum(true, 0), (true, np.maximum(true, 0))).values()) == {1.0}


@given(truth, guess)
def test_best_is_never_worse_and_split_is_one_of_two(true, predicted):
    figures = foreground_figures(true, predicted, (true, predicted))
    inverted = foreground_figures(true, predicted == 0)
    for name in ("accuracy", "iou", "miou"):
        assert figures[f"{name}_best"] >= max(figures[name], inverted[name]) - 1e-12
        assert figures[f"{name}_best"] == pytest.approx(inverted[f"{name}_best"])
        assert figures[f"{name}_split"] in (figures[name], inverted[name])
    assert figures["accuracy_best"] >= 0.5


def test_figures_by_hand():
    true = np.array([[[1, 1, 0, -1]], [[2, 0, 0, 0]]])
    predicted = np.array([[[1, 0, 0, 1]], [[0, 3, 3, 3]]])
    per_image = foreground_per_image(true, predicted)
    assert per_image["accuracy"].tolist() == pytest.approx([2 / 3, 0])
    assert per_image["iou"].tolist() == pytest.approx([1 / 2, 0])
    assert per_image["miou"].tolist() == pytest.approx([1 / 2, 0])
    figures = foreground_figures(true, predicted)
    assert figures["iou_best"] == pytest.approx((1 / 2 + 1) / 2)
    assert "iou_split" not in figures
    assert prefers_swap(true, predicted)
    assert foreground_figures(true, predicted, (true, predicted))["iou_split"] == pytest.approx((1 / 3 + 1) / 2)


def test_maps_need_three_axes():
    with pytest.raises(ShapeError, match="at least one image"):
        foreground_figures(np.zeros((0, 2, 2), dtype=int), np.zeros((0, 2, 2), dtype=int))


def test_objects_cover_what_they_hide_together_by_more_than_half():
    size = (1, 4)
    veil = torch.cat([torch.ones(3, 1, 2), torch.full((1, 1, 2), 0.4)])
    ground = torch.ones(4, 1, 4)
    shift = [Placement(0, (Transform.shift(left, 0, size),)) for left in (0, 1)]
    behind = Placement(1, (Transform.shift(0, 0, size),))
    found = Decomposition(Dictionary((veil, ground)), (tuple(shift),), size)
    assert covered(found).tolist() == [[[False, True, False, False]]]  # 1 - 0.6 * 0.6 = 0.64
    first = Decomposition(Dictionary((veil, ground)), ((behind, *shift),), size, background=True)
    assert covered(first).tolist() == covered(found).tolist()
    entry = Decomposition(Dictionary((veil, ground), backgrounds=(1,)), ((*shift, behind),), size)
    assert covered(entry).tolist() == covered(found).tolist()
    assert covered(Decomposition(Dictionary((veil, ground)), ((behind,),), size)).all()


regions = arrays(np.int64, (3, 4, 5), elements=st.integers(-1, 3))
labels = arrays(np.int64, (3, 4, 5), elements=st.integers(0, 3))


@given(truth, guess)
def test_two_regions_are_two_of_many(true, predicted):
    """Two regions by the general rule: the names 0 and 1 are all there are."""
    per_image = foreground_per_image(true, predicted)
    known = true >= 0
    agreed = ((true > 0) == (predicted > 0)) & known
    for index in range(3):
        pixels = known[index].sum()
        assert per_image["accuracy"][index] == (agreed[index].sum() / pixels if pixels else 1)
        front, found = (true[index] > 0)[known[index]], (predicted[index] > 0)[known[index]]
        assert per_image["iou"][index] == (
            (front & found).sum() / (front | found).sum() if (front | found).any() else 1
        )


@given(regions, labels, st.permutations(range(4)))
def test_names_of_predicted_regions_change_only_the_figures_that_read_them(true, predicted, names):
    renamed = np.array(names)[predicted]
    one = foreground_figures(true, predicted, (true, predicted), 4)
    other = foreground_figures(true, renamed, (true, renamed), 4)
    assert other["accuracy_split"] == pytest.approx(one["accuracy_split"])
    for name in ("accuracy", "iou", "miou"):
        assert other[f"{name}_best"] == pytest.approx(one[f"{name}_best"])
        assert one[f"{name}_best"] >= max(one[name], one[f"{name}_split"]) - 1e-9
    assert one["accuracy_split"] >= one["accuracy"] - 1e-9


@given(regions)
def test_perfect_regions_score_one_under_any_names(true):
    turned = (np.maximum(true, 0) + 1) % 4
    figures = foreground_figures(true, turned, (true, turned), 4)
    assert [figures[f"{name}_best"] for name in ("accuracy", "iou", "miou")] == [1, 1, 1]
    assert figures["accuracy_split"] == 1
    assert set(foreground_figures(true, np.maximum(true, 0), num_regions=4).values()) == {1.0}


def test_three_regions_by_hand():
    true = np.array([[[0, 0, 0, 1, 1, 2, -1]], [[0, 0, 0, 0, 1, 1, 1]]])
    predicted = np.array([[[0, 0, 2, 2, 2, 1, 1]], [[0, 0, 2, 2, 2, 2, 3]]])
    figures = foreground_figures(true, predicted, (true, predicted), 3)
    assert figures["accuracy"] == pytest.approx((2 / 6 + 2 / 7) / 2)
    # Image 1: 2 of 3, 0, 0; image 2: 2 of 4, 0 and, predicted where there is none, 0.
    assert figures["miou"] == pytest.approx((2 / 3 / 3 + 2 / 4 / 3) / 2)
    assert figures["iou"] == pytest.approx((3 / 4 + 3 / 5) / 2)
    # Naming 2 as 1 and 1 as 2 is right for five pixels of the first image and four of the second.
    assert split_names(region_confusions(true, predicted, 3)).tolist() == [0, 2, 1, -1]
    assert figures["accuracy_split"] == pytest.approx((5 / 6 + 4 / 7) / 2)
    assert figures["miou_split"] == pytest.approx(((2 / 3 + 2 / 3 + 1) / 3 + (2 / 4 + 2 / 5 + 1) / 3) / 2)
    assert figures["iou_split"] == figures["iou"]


def test_labels_that_validation_has_not_seen_belong_to_no_region():
    true, predicted = np.array([[[0, 1, 2]]]), np.array([[[0, 1, 4]]])
    figures = foreground_figures(true, predicted, (true, true), 3)
    assert figures["accuracy_split"] == pytest.approx(2 / 3)
    assert figures["accuracy_best"] == 1
    many = foreground_figures(true, true, (true, predicted), 3)
    assert many["accuracy_split"] == pytest.approx(2 / 3)


def test_role_swaps_count_images_that_are_the_wrong_way_round():
    true = np.array([[[1, 1, 0, 0]], [[1, 0, 0, 0]], [[1, 0, 0, 0]], [[1, 1, 0, 0]]])
    predicted = np.array([[[0, 0, 1, 1]], [[1, 0, 0, 0]], [[0, 1, 0, 0]], [[1, 0, 1, 0]]])
    assert role_swaps(true, predicted) == 2 / 4  # a tie is no swap
    assert role_swaps(true, predicted == 0) == 1 / 4


def test_regions_that_do_not_exist_are_refused():
    true = np.array([[[0, 3]]])
    with pytest.raises(ShapeError, match="expected 0 to 2"):
        foreground_figures(true, true, num_regions=3)
    with pytest.raises(ShapeError, match="at least one more"):
        foreground_figures(true, true, num_regions=1)
    with pytest.raises(ShapeError, match="expected 0 to"):
        foreground_figures(true, -true, num_regions=4)

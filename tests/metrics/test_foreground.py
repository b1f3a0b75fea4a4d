import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from delaminate.errors import ShapeError
from delaminate.metrics.foreground import covered, foreground_figures, foreground_per_image, prefers_swap
from delaminate.scene.placements import Decomposition, Dictionary, Placement, Transform

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

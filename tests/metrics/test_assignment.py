import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score

from delaminate.errors import ShapeError
from delaminate.metrics.assignment import (
    clustering_accuracy,
    confusion_matrix,
    hungarian,
    majority,
    normalized_mutual_information,
)

labellings = st.integers(1, 40).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 5), min_size=n, max_size=n).map(np.array)] * 2)
)


@given(labellings)
def test_mutual_information_agrees_with_scikit_learn(pair):
    assert normalized_mutual_information(*pair) == pytest.approx(normalized_mutual_info_score(*pair), abs=1e-9)


@given(labellings, st.permutations(range(6)))
def test_names_of_clusters_do_not_matter(pair, names):
    true, predicted = pair
    renamed = np.array(names)[predicted]
    assert clustering_accuracy(true, renamed) == pytest.approx(clustering_accuracy(true, predicted))
    assert clustering_accuracy(true, np.array(names)[true]) == 1


def test_hungarian_is_one_to_one_and_majority_is_not():
    confusion = np.array([[5, 4, 0], [0, 3, 2]])
    assert hungarian(confusion).tolist() == [0, 1, -1]
    assert majority(confusion).tolist() == [0, 0, 1]


def test_equal_counts_match_one_to_one_and_others_by_majority():
    true, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    assert clustering_accuracy(true, predicted) == 0.75
    assert clustering_accuracy(true, np.array([0, 1, 2, 3])) == 1
    assert clustering_accuracy(true, np.zeros(4, dtype=int), num_clusters=2) == 0.5
    assert clustering_accuracy(np.array([-1, 0]), np.array([3, 3])) == 1
    assert clustering_accuracy(np.array([-1]), np.array([0])) == 0


def test_confusions_leave_out_negative_truth_and_check_ranges():
    assert confusion_matrix(np.array([-1, 0, 1]), np.array([0, 1, 1]), 2, 2).tolist() == [[0, 1], [0, 1]]
    with pytest.raises(ShapeError, match="predicted labels reach"):
        confusion_matrix(np.array([0]), np.array([2]), 1, 2)
    with pytest.raises(ShapeError, match="same shape"):
        confusion_matrix(np.array([0]), np.array([0, 1]), 1, 2)
    with pytest.raises(ShapeError, match="expected integers"):
        confusion_matrix(np.array([0.5]), np.array([0]), 1, 1)

import numpy as np
import pytest

from delaminate.metrics.boxes import BoxMatches, areas, box_iou, tight_boxes


def figures(boxes, ignored, labels):
    matches = BoxMatches()
    matches.update(boxes, ignored, labels)
    return tuple(matches.figures().values())


@pytest.fixture
def labels():
    """Two objects of 4 x 4 pixels and a speck of 3."""
    labels = np.zeros((20, 20), dtype=np.int64)
    labels[2:6, 2:6], labels[10:14, 8:12], labels[18, 17:20] = 1, 3, 4
    return labels


def test_tight_boxes_hold_what_is_seen(labels):
    boxes, inside = tight_boxes(labels, areas([("x", 8, 10, 4, 2.5)], (20, 20)))
    assert boxes.tolist() == [[2, 2, 4, 4], [8, 10, 4, 4]]
    assert inside.tolist() == [False, False]  # the rows 10 and 11, whose centres are inside: just half
    assert tight_boxes(labels, areas([("x", 8, 10, 4, 2.6)], (20, 20)))[1].tolist() == [False, True]


def test_boxes_overlap():
    one = np.array([[0.0, 0, 2, 2], [5, 5, 0, 0]])
    assert box_iou(one, np.array([[0.0, 0, 2, 4], [1, 1, 2, 2], [9, 9, 1, 1]])).tolist() == [
        [0.5, pytest.approx(1 / 7), 0],
        [0, 0, 0],
    ]


def test_boxes_are_matched_from_half_on(labels):
    true = [("Alien", 2, 2, 4, 4), ("Alien", 8, 10, 4, 8), ("Player", 0, 15, 2, 2)]
    assert figures(true, [], labels) == (1, 2 / 3, 0.8)
    true[1] = ("Alien", 8, 10, 4, 8.1)
    assert figures(true, [], labels) == (0.5, 1 / 3, pytest.approx(0.4))
    # One true box is found once, however many predictions lie on it.
    doubled = labels.copy()
    doubled[2:6, 4:6] = 9
    assert figures([("Alien", 2, 2, 4, 4)], [], doubled)[:2] == (pytest.approx(1 / 3), 1)


def test_predictions_in_ignored_areas_count_neither_way(labels):
    true = [("Alien", 2, 2, 4, 4)]
    assert figures(true, [], labels) == (0.5, 1, pytest.approx(2 / 3))
    assert figures(true, [("Score", 8, 10, 4, 4)], labels) == (1, 1, 1)
    # A find counts even there.
    assert figures(true, [("Ground", 0, 0, 20, 20)], labels) == (1, 1, 1)


def test_nothing_at_all_is_perfect_and_nothing_found_is_not(labels):
    assert figures([], [], labels * 0) == (1, 1, 1)
    assert figures([("Alien", 0, 0, 2, 2)], [], labels * 0) == (0, 0, 0)
    assert figures([], [], labels) == (0, 0, 0)

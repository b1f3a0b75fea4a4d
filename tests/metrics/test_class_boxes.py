import numpy as np
import pytest

from delaminate.metrics.class_boxes import ClassBoxMatches

CAT, DOG = ("cat", 2.0, 2.0, 4.0, 4.0), ("dog", 8.0, 10.0, 4.0, 4.0)


@pytest.fixture
def labels():
    """Two objects of 4 x 4 pixels and a speck of 3."""
    labels = np.zeros((20, 20), dtype=np.int64)
    labels[2:6, 2:6], labels[10:14, 8:12], labels[18, 17:20] = 1, 3, 4
    return labels


def test_a_class_may_have_several_sprites(labels):
    matches = ClassBoxMatches()
    matches.update([CAT, DOG], (), labels, {1: "sits", 3: "dog", 4: "speck"})
    matches.update([CAT], (), np.where(labels == 1, 1, 0), {1: "walks"})
    assert matches.classes() == {"sits": "cat", "walks": "cat", "dog": "dog"}
    assert matches.figures() == {"class_box_precision": 1, "class_box_recall": 1, "class_box_f1": 1}


def test_one_sprite_for_two_classes_finds_one_of_them(labels):
    matches = ClassBoxMatches()
    matches.update([CAT, DOG], (), labels, {1: 0, 3: 0, 4: 0})
    matches.update([CAT], (), np.where(labels == 1, 1, 0), {1: 0})
    assert matches.classes() == {0: "cat"}
    assert matches.by_class() == {"cat": (2, 2, 3), "dog": (0, 1, 0)}
    assert matches.figures()["class_box_f1"] == pytest.approx(4 / 6)


def test_what_overlaps_nothing_is_invented_unless_it_is_ignored(labels):
    matches = ClassBoxMatches()
    matches.update([CAT], (), labels, {1: 1, 3: 2, 4: 3})
    assert matches.by_class() == {"": (0, 0, 1), "cat": (1, 1, 1)}
    matches = ClassBoxMatches()
    matches.update([CAT], [DOG], labels, {1: 1, 3: 2, 4: 3})
    assert matches.by_class() == {"": (0, 0, 0), "cat": (1, 1, 1)}


def test_boxes_that_overlap_too_little_are_no_finds(labels):
    matches = ClassBoxMatches()
    matches.update([("cat", 4.0, 2.0, 4.0, 4.0)], (), np.where(labels == 1, 1, 0), {1: 1})
    assert matches.by_class() == {"cat": (0, 1, 1)}


def test_nothing_at_all_is_right_where_nothing_is():
    matches = ClassBoxMatches()
    matches.update((), (), np.zeros((8, 8), np.int64), {})
    assert set(matches.figures().values()) == {1.0}
    matches.update([CAT], (), np.zeros((8, 8), np.int64), {})
    assert set(matches.figures().values()) == {0.0}

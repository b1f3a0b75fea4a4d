import numpy as np
import pytest

from delaminate.metrics.tracks import TrackMatches


def shown(*objects, size=(8, 40)):
    """A label map in which object k is a square of 4 x 4 at the given column; None: not there."""
    labels = np.zeros(size, dtype=np.int64)
    for label, column in enumerate(objects, start=1):
        if column is not None:
            labels[2:6, column : column + 4] = label
    return labels


def play(frames):
    """The figure of frames given as true columns, predicted columns and tracks."""
    matches = TrackMatches()
    for true, predicted, tracks in frames:
        matches.update(shown(*true), shown(*predicted), tracks)
    return matches.figures()["tracks_unbroken"]


def one(tracks, visible=None):
    """One object, moving, matched by the given track in each frame; None: by nothing."""
    visible = visible or [True] * len(tracks)
    return play([([i if v else None], [i], [t]) for i, (t, v) in enumerate(zip(tracks, visible, strict=True))])


def test_one_track_throughout_is_unbroken_and_a_change_is_not():
    assert one([5] * 6) == 1
    assert one([5, 5, 5, 6, 6, 6]) == 0
    assert one([5, 5, 5, 6, 5, 5]) == 0


def test_an_object_may_be_lost_for_two_frames():
    assert one([5, None, None, 5]) == 1
    assert one([5, None, None, None, 5]) == 0
    assert one([None, None, 5, 5]) == 1
    assert one([5, None, None, None]) == 0
    assert one([None, None]) == 0


def test_a_longer_absence_begins_a_new_appearance():
    two_away = [True, True, False, False, True, True]
    assert one([5, 5, None, None, 5, 5], two_away) == 1
    assert one([5, 5, None, None, 6, 6], two_away) == 0
    three_away = [True, True, False, False, False, True, True]
    assert one([5, 5, None, None, None, 6, 6], three_away) == 1
    assert one([5, 5, None, None, None, 6, 7], three_away) == 0


def test_every_object_counts_once():
    frames = [([i, 30 - i], [i, 30 - i], [1, 2 if i < 3 else 3]) for i in range(6)]
    assert play(frames) == 0.5
    # Half overlap is a match, less is not.
    assert play([([i], [i + 1], [1]) for i in range(4)]) == 1
    assert play([([i], [i + 2], [1]) for i in range(4)]) == 0


def test_a_track_of_two_objects_follows_neither():
    assert play([([i, 30 - i], [i, 30 - i], [1, 1]) for i in range(4)]) == 0


def test_a_sliver_is_not_visible():
    matches = TrackMatches()
    for true in (shown(3), shown(3) * 0):
        true[7, 37:40] = 2  # three pixels
        matches.update(true, shown(3), [4])
    assert matches.figures() == {"tracks_unbroken": 1}
    assert list(matches.seen) == [1]
    assert TrackMatches().figures() == {"tracks_unbroken": pytest.approx(1)}

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delaminate.exporters.cycles import canonical, description_length, events_of, find_sequences, usual_length
from delaminate.exporters.cycles import regular_events as regular


def played(*tracks):
    """What is found in tracks such as "A3 B2 .4 A3", a dot for frames without a sight."""
    events = []
    for track in tracks:
        words = [(word[0], int(word[1:])) for word in track.split()]
        poses = [None if name == "." else ord(name) - ord("A") for name, count in words for _ in range(count)]
        events += events_of(poses)
    return {
        (each.kind, "".join(chr(ord("A") + pose) for pose in each.poses)): [
            round(usual_length([event.length for event in regular(held)]), 2) for held in each.events
        ]
        for each in find_sequences(events)
    }


@pytest.mark.parametrize(
    ("track", "expected"),
    [
        ("A6 B6 A6 B6 A6 B6", {("cycle", "AB"): [6, 6]}),
        # Begun in the middle, and cut off in the middle.
        ("C1 D2 A3 B2 C4 D2 A3 B2 C4 D2 A1", {("cycle", "ABCD"): [3, 2, 4, 2]}),
        # A pose that comes twice in a period.
        (" ".join(["A3 B3 C3 B3"] * 4), {("cycle", "ABCB"): [3, 3, 3, 3]}),
        (" ".join(["A2 B2 A2 B2 C2"] * 3), {("cycle", "ABABC"): [2, 2, 2, 2, 2]}),
        # A clip of another rate than the game.
        ("A3 B3 C4 A3 B3 C4 A3 B4 C3 A3 B3 C4", {("cycle", "ABC"): [3, 3.25, 3.67]}),
        # Hidden for some frames, one pose entirely.
        ("A2 B2 C2 D2 A2 .2 C2 D2 A2 B2 C2 D1 .2 A1 B2 C2 D2", {("cycle", "ABCD"): [2, 2, 2, 2]}),
        # One frame shows something else.
        ("A3 B3 C3 D3 A3 X1 B2 C3 D3 A3 B3 C3 D3 A3", {("cycle", "ABCD"): [3, 3, 3, 3]}),
        # Blinking: what is long as regularly as it comes belongs to the cycle.
        ("A30 B2 A30 B2 A30 B2 A4", {("cycle", "AB"): [30, 2]}),
        # A long pose of the walk is standing.
        ("A20 B3 C3 D3 A3 B3 C3 D3 A40 B3 C3 D3 A3 B3 C3 A12", {("cycle", "ABCD"): [3, 3, 3, 3], ("still", "A"): [20]}),
        # As long as the player pleases: states, no cycle.
        ("S20 J10 S60 J10 S35 J10 S15", {("still", "S"): [35], ("still", "J"): [10]}),
        ("A9 B4 C4", {("once", "ABC"): [9, 4, 4]}),
        ("A5", {("still", "A"): [5]}),
        ("A5 .60 A5", {("still", "A"): [5]}),
    ],
)
def test_what_repeats_is_found_with_its_durations(track, expected):
    found = played(track)
    if ("still", "A") in expected and len(expected) > 1:
        assert found.pop(("still", "A"))[0] >= 12
        expected = {key: value for key, value in expected.items() if key != ("still", "A")}
    assert found == expected


def test_things_that_show_the_same_in_other_phases_have_one_cycle():
    order = ["A2", "B1", "C2", "D1"] * 4
    tracks = []
    for phase in range(4):
        tracks.append(" ".join(order[phase : phase + 6]))
    assert played(*tracks) == {("cycle", "ABCD"): [2, 1, 2, 1]}
    # A little more than one period each, which none would show by itself.
    assert list(played(*(" ".join(order[phase : phase + 5]) for phase in range(4)))) == [("cycle", "ABCD")]
    assert list(played(" ".join(order[:5]))) == [("once", "ABCDA")]


def test_who_changes_at_random_for_long_has_poses_and_no_sequences():
    rng = np.random.Generator(np.random.PCG64(0))
    poses = [pose for pose in rng.integers(0, 6, 900).tolist() for _ in range(int(rng.integers(2, 30)))]
    found = find_sequences(events_of(poses))
    assert {each.poses for each in found if each.kind == "still"} == {(pose,) for pose in range(6)}
    assert all(len(each.poses) <= 32 for each in found)


def test_nothing_is_found_in_nothing():
    assert events_of([]) == events_of([None, None]) == []
    assert find_sequences([]) == []
    assert description_length([]) == 0


periods = st.lists(st.integers(0, 5), min_size=2, max_size=6).filter(
    lambda poses: (
        all(a != b for a, b in zip(poses, poses[1:] + poses[:1], strict=True))
        and not any(poses == poses[n:] + poses[:n] for n in range(1, len(poses)))
    )
)


@settings(max_examples=60, deadline=None, database=None)
@given(periods, st.integers(0, 5), st.integers(0, 2**16))
def test_a_cycle_comes_back_from_any_moment_on(poses, phase, seed):
    rng = np.random.Generator(np.random.PCG64(seed))
    hold = rng.integers(2, 9, len(poses)).tolist()
    shown = [pose for pose, count in zip(poses, hold, strict=True) for _ in range(count)] * 4
    found = find_sequences(events_of(shown[phase:]))
    assert [each.kind for each in found] == ["cycle"]
    assert canonical(found[0].poses) == canonical(tuple(poses))
    lasting = [usual_length([event.length for event in regular(held)]) for held in found[0].events]
    assert sorted(lasting) == sorted(hold)

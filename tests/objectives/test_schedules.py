"""Schedules reach what they promise."""

from itertools import pairwise

import pytest

from delaminate.objectives.schedules import linear_fall, linear_rise, step_decay, warmup_cosine


def test_the_cosine_rises_in_its_warmup_and_reaches_nothing():
    values = [warmup_cosine(step, 1_000, warmup=50) for step in range(1_001)]
    assert values[0] == pytest.approx(1 / 50)
    assert all(a < b for a, b in pairwise(values[:49]))
    assert max(values) == pytest.approx(1, abs=0.01)
    assert values[1_000] == pytest.approx(0, abs=1e-12)
    assert warmup_cosine(0, 1) > 0  # a stage of one step learns


def test_lines_rise_and_fall_between_nothing_and_one():
    assert [linear_rise(step, 4) for step in (0, 1, 4, 9)] == [0, 0.25, 1, 1]
    assert linear_rise(0, 0) == 1
    assert [linear_fall(step, 4) for step in (0, 1, 4, 9)] == [1, 0.75, 0, 0]
    assert [linear_fall(step, 10, 0.5) for step in (0, 5, 6, 10)] == pytest.approx([1, 1, 0.8, 0])
    assert linear_fall(9, 10, 1.0) == 1


def test_every_milestone_divides_by_ten():
    assert [step_decay(step, (2, 4)) for step in (0, 2, 3, 4)] == pytest.approx([1, 0.1, 0.1, 0.01])
    assert step_decay(5, ()) == 1

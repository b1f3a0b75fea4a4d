"""Round things that touch are counted apart, others are not cut."""

import numpy as np
import pytest

from delaminate.matching.blobs import parts_of, split_touching, usual_area


def discs(size, *places):
    """A mask of discs: row, column, radius."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    mask = np.zeros(size, bool)
    for row, column, radius in places:
        mask |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return mask


@pytest.mark.parametrize("radius", [6, 9, 14])
@pytest.mark.parametrize("apart", [1.6, 1.8, 2.0])
def test_two_discs_that_touch_are_two(radius, apart):
    mask = discs((80, 100), (40, 30, radius), (40, 30 + round(apart * radius), radius))
    assert parts_of(mask)[1] == 1
    labels, count = split_touching(mask, np.pi * radius**2)
    assert count == 2
    assert ((labels > 0) == mask).all()
    assert abs(int((labels == 1).sum()) - int((labels == 2).sum())) < 0.15 * mask.sum()


@pytest.mark.parametrize("wide", [1.0, 2.0, 3.0])
def test_what_is_convex_is_one_thing_however_long(wide):
    rows, columns = np.mgrid[:60, :100]
    mask = ((rows - 30) / 10) ** 2 + ((columns - 50) / (10 * wide)) ** 2 <= 1
    assert split_touching(mask, np.pi * 100)[1] == 1


def test_three_in_a_row_and_one_alone():
    mask = discs((60, 120), (30, 20, 9), (30, 35, 9), (30, 50, 9), (30, 90, 9))
    labels, count = split_touching(mask, np.pi * 81)
    assert count == 4
    assert len({int(labels[30, column]) for column in (20, 35, 50, 90)}) == 4


def test_nothing_and_specks():
    assert split_touching(np.zeros((5, 5), bool), 50.0)[1] == 0
    assert usual_area([]) == 0
    assert usual_area([1, 2, 3, 50, 60, 70]) == 60

"""Boxes that touch are found without looking at every pair."""

import numpy as np
import pytest

from delaminate.matching.boxes import touching


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("count", [0, 1, 1500])
def test_touching_pairs_are_those_of_the_plain_formula(count, gap):
    rng = np.random.default_rng(count)
    first = rng.integers(0, 300, (count, 2))
    last = first + rng.integers(1, 12, (count, 2))
    near = (first[:, None] <= last[None] + gap) & (first[None] <= last[:, None] + gap)
    wanted = {(int(a), int(b)) for a, b in np.argwhere(near.all(2)) if a != b}
    one, other = touching(first, last, gap)
    assert len(one) == len(wanted) and set(zip(one.tolist(), other.tolist(), strict=True)) == wanted

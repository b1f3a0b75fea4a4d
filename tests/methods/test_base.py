"""What players share in a step."""

import pytest
import torch
from torch.testing import assert_close

from delaminate.methods.base import Carry


@pytest.mark.parametrize(("shares", "expected"), [([0.5, -0.2], 0.15), ([0.1, -0.5], 0.0), ([-0.3, -0.1], 0.0)])
def test_excess_is_the_relu_of_the_whole_batch_on_every_share(shares, expected):
    means = [torch.tensor([share], dtype=torch.float64, requires_grad=True) for share in shares]
    carry = Carry("stage", 0, 1, slice(0, 2), 4, all_reduce=lambda mean: torch.stack(means).detach().sum(0))
    found = torch.stack([carry.excess(mean) for mean in means]).mean()
    assert_close(found, torch.tensor(expected, dtype=torch.float64))
    found.backward()
    for mean in means:  # the slope of relu(mean of shares) by each share
        assert_close(mean.grad, torch.tensor([0.5 if expected else 0.0], dtype=torch.float64))

"""What players share in a step."""

import math

import pytest
import torch
from torch.testing import assert_close

from delaminate.errors import DataError, ShapeError
from delaminate.methods.dti_sprites import DTISprites
from delaminate.methods.players import StepContext


@pytest.mark.parametrize(("shares", "expected"), [([0.5, -0.2], 0.15), ([0.1, -0.5], 0.0), ([-0.3, -0.1], 0.0)])
def test_excess_is_the_relu_of_the_whole_batch_on_every_share(shares, expected):
    means = [torch.tensor([share], dtype=torch.float64, requires_grad=True) for share in shares]
    context = StepContext("stage", 0, 1, slice(0, 2), 4, all_reduce=lambda mean: torch.stack(means).detach().sum(0))
    found = torch.stack([context.excess(mean) for mean in means]).mean()
    assert_close(found, torch.tensor(expected, dtype=torch.float64))
    found.backward()
    for mean in means:  # the slope of relu(mean of shares) by each share
        assert_close(mean.grad, torch.tensor([0.5 if expected else 0.0], dtype=torch.float64))


@pytest.mark.parametrize("value", [-0.1, 1.1, 255.0, math.nan, math.inf])
def test_images_in_another_range_are_refused(value):
    model = DTISprites.preset("tetrominoes-paper", num_sprites=2)
    images = torch.full((2, 3, *model.image_size), 0.5)
    images[1, 2, 3, 4] = 1.001  # as resampling leaves it
    assert len(model.decompose(images)) == 2
    assert len(model.decompose(images[:0])) == 0
    with pytest.raises(ShapeError):
        model.decompose(images[:, :, :0])
    images[1, 2, 3, 4] = value
    with pytest.raises(DataError, match=r"expected \[0, 1\]. Divide pixels by 255"):
        model.decompose(images)

import pytest
import torch
from helpers.stacks import laws, stacks
from hypothesis import given
from torch.testing import assert_close

from delaminate.errors import ShapeError
from delaminate.scene.compositing import visibility
from delaminate.scene.layers import Layers, plain_order


@laws
@given(stacks())
def test_the_matrix_of_the_plain_order_is_the_plain_order(layers):
    matrix = plain_order(layers.num_layers, layers.rgb).expand(len(layers), -1, -1)
    assert_close(visibility(Layers(layers.rgb, layers.alpha, matrix)), visibility(layers))


@laws
@given(stacks(occlusion=True))
def test_picking_images_keeps_the_batch_axis_and_every_part(layers):
    parts = list(layers)
    assert [len(part) for part in parts] == [1] * len(layers)
    assert_close(torch.cat([part.rgb for part in parts]), layers.rgb)
    assert_close(torch.cat([part.occlusion for part in parts]), layers.occlusion)
    assert all(part.background == layers.background for part in parts)
    assert_close(layers[torch.tensor([len(layers) - 1])].entry, layers.entry[-1:])


@pytest.mark.parametrize(
    ("rgb", "alpha", "occlusion", "entry"),
    [
        ((1, 2, 4, 3, 3), (1, 2, 1, 3, 3), None, None),
        ((1, 2, 3, 3, 3), (1, 2, 3, 3), None, None),
        ((1, 2, 3, 3, 3), (1, 2, 1, 3, 3), (1, 2, 3), None),
        ((1, 2, 3, 3, 3), (1, 2, 1, 3, 3), None, (2, 2)),
    ],
)
def test_parts_that_do_not_fit_are_refused(rgb, alpha, occlusion, entry):
    occlusion = None if occlusion is None else torch.zeros(occlusion)
    entry = None if entry is None else torch.zeros(entry, dtype=torch.int64)
    with pytest.raises(ShapeError, match="expected"):
        Layers(torch.zeros(rgb), torch.zeros(alpha), occlusion, entry)

import pytest
import torch
from helpers.stacks import laws, random, seeds, stacks
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from delaminate.errors import ConfigError, ShapeError
from delaminate.scene import edits
from delaminate.scene.compositing import composite, visibility
from delaminate.scene.layers import Layers, plain_order


def without(layers, index):
    keep = [el for el in range(layers.num_layers) if el != index]
    occlusion = None if layers.occlusion is None else layers.occlusion[:, keep][:, :, keep]
    return Layers(layers.rgb[:, keep], layers.alpha[:, keep], occlusion)


def offsets(seed, layers, reach=4):
    numbers = random(seed, len(layers), layers.num_layers, 2)
    return (numbers * (2 * reach + 1)).floor().long() - reach


def equal(one, other):
    return torch.equal(one.rgb, other.rgb) and torch.equal(one.alpha, other.alpha)


@laws
@given(stacks(occlusion=True, min_layers=2), st.booleans(), st.integers(0, 1))
def test_hiding_a_layer_is_removing_it(layers, plain, index):
    if plain:
        layers = Layers(layers.rgb, layers.alpha)
    assert_close(composite(edits.hide(layers, index)), composite(without(layers, index)))


@laws
@given(stacks(), st.sampled_from([torch.int64, torch.float64]))
def test_a_shift_by_nothing_changes_nothing(layers, dtype):
    zero = torch.zeros(len(layers), layers.num_layers, 2, dtype=dtype)
    assert equal(edits.shift(layers, zero), layers)


@laws
@given(stacks(), seeds)
def test_whole_shifts_are_exact_copies_in_either_dtype_and_zero_comes_in(layers, seed):
    offset = offsets(seed, layers)
    moved = edits.shift(layers, offset)
    assert equal(edits.shift(layers, offset.double()), moved)
    height, width = layers.rgb.shape[3:]
    for b in range(len(layers)):
        for el in range(layers.num_layers):
            dx, dy = offset[b, el].tolist()
            for y in range(height):
                for x in range(width):
                    inside = 0 <= y - dy < height and 0 <= x - dx < width
                    expected = layers.alpha[b, el, 0, y - dy, x - dx] if inside else torch.zeros(())
                    assert moved.alpha[b, el, 0, y, x] == expected


@laws
@given(stacks(), st.integers(-2, 2), st.integers(-2, 2))
def test_a_shift_and_its_opposite_restore_the_interior(layers, dx, dy):
    offset = torch.tensor([dx, dy]).expand(len(layers), layers.num_layers, 2)
    back = edits.shift(edits.shift(layers, offset), -offset)
    height, width = layers.rgb.shape[3:]
    rows, columns = slice(max(-dy, 0), height - max(dy, 0)), slice(max(-dx, 0), width - max(dx, 0))
    assert torch.equal(back.rgb[..., rows, columns], layers.rgb[..., rows, columns])
    assert torch.equal(back.alpha[..., rows, columns], layers.alpha[..., rows, columns])


@laws
@given(stacks(), st.floats(0, 1))
def test_a_fractional_shift_mixes_its_two_whole_neighbours(layers, share):
    offset = torch.zeros(len(layers), layers.num_layers, 2, dtype=torch.float64)
    offset[..., 0] = 1 + share
    one, two = (torch.zeros_like(offset).long() for _ in range(2))
    one[..., 0], two[..., 0] = 1, 2
    expected = (1 - share) * edits.shift(layers, one).alpha + share * edits.shift(layers, two).alpha
    assert_close(edits.shift(layers, offset).alpha, expected)


@laws
@given(stacks(background=True, min_layers=2), seeds)
def test_shifting_all_but_the_background_keeps_the_scene_opaque(layers, seed):
    offset = offsets(seed, layers)
    offset[:, 0] = 0
    assert_close(visibility(edits.shift(layers, offset)).sum(1), torch.ones_like(layers.alpha[:, 0]))


def test_gradients_reach_layers_and_fractional_offsets():
    rgb, alpha = random(1, 1, 2, 3, 3, 3).requires_grad_(), random(2, 1, 2, 1, 3, 3).requires_grad_()
    offset = (0.3 + 0.4 * random(3, 1, 2, 2)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda rgb, alpha, offset: edits.shift(Layers(rgb, alpha), offset).rgb, (rgb, alpha, offset)
    )


@laws
@given(stacks(occlusion=True), seeds)
def test_reordering_by_the_identity_changes_nothing_and_is_undone_by_its_inverse(layers, seed):
    identity = list(range(layers.num_layers))
    assert equal(edits.reorder(layers, identity), layers)
    loose = Layers(layers.rgb, layers.alpha, entry=layers.entry)
    order = torch.argsort(random(seed, len(layers), layers.num_layers), 1)
    there = edits.reorder(loose, order)
    assert torch.equal(there.entry, order)
    assert equal(edits.reorder(there, torch.argsort(order, 1)), layers)


@laws
@given(stacks(), seeds)
def test_reordering_means_the_same_with_the_matrix_of_the_plain_order(layers, seed):
    order = torch.argsort(random(seed, len(layers), layers.num_layers), 1)
    loose = Layers(layers.rgb, layers.alpha)
    matrix = plain_order(layers.num_layers, layers.rgb).expand(len(layers), -1, -1)
    strict = Layers(layers.rgb, layers.alpha, matrix)
    assert_close(composite(edits.reorder(loose, order)), composite(edits.reorder(strict, order)))


@laws
@given(stacks(min_layers=2), seeds)
def test_neutral_colour_and_the_same_picture_change_nothing(layers, seed):
    one, zero = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    assert equal(edits.recolour(layers, 1, one, zero), layers)
    assert equal(edits.redraw(layers, 1, layers.rgb[:, 1]), layers)
    same = edits.replace(layers, 1, layers.rgb[:, 1], layers.alpha[:, 1], entry=7)
    assert equal(same, layers)
    assert (same.entry[:, 1] == 7).all()
    assert (same.entry[:, 0] == layers.entry[:, 0]).all()


@laws
@given(stacks(min_layers=2), seeds)
def test_one_layer_of_each_image_may_be_named(layers, seed):
    chosen = (random(seed, len(layers)) * layers.num_layers).long()
    rgb = random(seed, *layers.rgb[:, 0].shape)
    drawn = edits.redraw(layers, chosen, rgb)
    for b, el in enumerate(chosen.tolist()):
        expected = layers.rgb[b].clone()
        expected[el] = rgb[b]
        assert torch.equal(drawn.rgb[b], expected)
    gain, offset = random(seed + 1, len(layers), 3), random(seed + 2, len(layers), 3) - 0.5
    coloured = edits.recolour(layers, chosen, gain, offset)
    for b, el in enumerate(chosen.tolist()):
        expected = (layers.rgb[b, el] * gain[b, :, None, None] + offset[b, :, None, None]).clamp(0, 1)
        assert_close(coloured.rgb[b, el], expected)


@laws
@given(stacks(min_layers=2), seeds)
def test_contrast_stretches_one_layer_around_its_mean_and_within_its_range(layers, seed):
    one = torch.ones(len(layers), dtype=torch.float64)
    assert equal(edits.contrast(layers, 1, one), layers)
    factor = 2 * random(seed, len(layers))
    changed = edits.contrast(layers, 1, factor)
    for b in range(len(layers)):
        for channel in range(3):
            plane = layers.rgb[b, 1, channel]
            stretched = (plane - plane.mean()) * factor[b] + plane.mean()
            assert_close(changed.rgb[b, 1, channel], stretched.clamp(plane.min(), plane.max()))
    assert torch.equal(changed.rgb[:, 0], layers.rgb[:, 0])
    assert torch.equal(changed.alpha, layers.alpha)
    assert equal(edits.contrast(layers, 1, factor[0]), edits.contrast(layers, 1, factor[0].expand(len(layers))))


def test_gradients_reach_layers_through_contrast():
    rgb, factor = random(1, 1, 2, 3, 3, 3).requires_grad_(), (0.5 + random(2, 1)).requires_grad_()
    alpha = random(3, 1, 2, 1, 3, 3)
    assert torch.autograd.gradcheck(lambda rgb, f: edits.contrast(Layers(rgb, alpha), 0, f).rgb, (rgb, factor))


def test_edits_that_make_no_sense_are_refused():
    layers = Layers(torch.zeros(1, 2, 3, 2, 2), torch.ones(1, 2, 1, 2, 2), background=True)
    with pytest.raises(ConfigError, match="stack of 2"):
        edits.hide(layers, 2)
    with pytest.raises(ConfigError, match="permutation"):
        edits.reorder(layers, [0, 0])
    with pytest.raises(ConfigError, match="background"):
        edits.reorder(layers, [1, 0])
    with pytest.raises(ShapeError, match="offset"):
        edits.shift(layers, torch.zeros(2, 2))

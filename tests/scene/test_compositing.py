import pytest
import torch
from helpers.stacks import laws, random, seeds, stacks
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from delaminate.errors import ShapeError
from delaminate.scene.compositing import composite, from_partition, over, segment, strict_order, visibility
from delaminate.scene.layers import Layers, plain_order


def fold(layers):
    canvas = torch.zeros_like(layers.rgb[:, 0])
    for index in range(layers.num_layers):
        canvas = over(layers.rgb[:, index], layers.alpha[:, index], canvas)
    return canvas


@laws
@given(stacks())
def test_the_plain_order_is_over_from_back_to_front(layers):
    assert_close(composite(layers), fold(layers))


@laws
@given(stacks(occlusion=True))
def test_visibility_is_the_formula(layers):
    alpha, occlusion = layers.alpha, layers.occlusion
    expected = torch.zeros_like(alpha)
    for b in range(len(layers)):
        for el in range(layers.num_layers):
            expected[b, el] = alpha[b, el]
            for j in range(layers.num_layers):
                if j != el:
                    expected[b, el] *= 1 - occlusion[b, j, el] * alpha[b, j]
    assert_close(visibility(layers), expected)


@laws
@given(stacks(background=True), seeds)
def test_visibility_sums_to_one_over_an_opaque_background_in_any_strict_order(layers, seed):
    assert_close(visibility(layers).sum(1), torch.ones_like(layers.alpha[:, 0]))
    # The background stays behind; the others take any order.
    rank = torch.cat([torch.tensor([-1.0]), random(seed, layers.num_layers - 1)])
    matrix = (rank[:, None] > rank[None]).double().expand(len(layers), -1, -1)
    seen = visibility(Layers(layers.rgb, layers.alpha, matrix))
    assert_close(seen.sum(1), torch.ones_like(layers.alpha[:, 0]))


def test_an_undecided_order_loses_light():
    layers = Layers(torch.ones(1, 3, 3, 1, 1), torch.ones(1, 3, 1, 1, 1), torch.full((1, 3, 3), 0.5))
    assert_close(visibility(layers).sum(1), torch.full((1, 1, 1, 1), 0.75))


@laws
@given(stacks(occlusion=True), seeds)
def test_a_transparent_layer_changes_nothing(layers, seed):
    count = layers.num_layers
    alpha = torch.cat([layers.alpha, torch.zeros_like(layers.alpha[:, :1])], 1)
    rgb = torch.cat([layers.rgb, random(seed, *layers.rgb[:, :1].shape)], 1)
    matrix = random(seed, len(layers), count + 1, count + 1)
    matrix[:, :count, :count] = layers.occlusion
    assert_close(composite(Layers(rgb, alpha, matrix)), composite(layers))
    assert_close(composite(Layers(rgb, alpha)), composite(Layers(layers.rgb, layers.alpha)))


@laws
@given(stacks())
def test_an_opaque_front_layer_hides_everything_behind(layers):
    alpha = layers.alpha.clone()
    alpha[:, -1] = 1
    assert_close(composite(Layers(layers.rgb, alpha)), layers.rgb[:, -1])


@laws
@given(stacks(), seeds)
def test_a_partition_becomes_a_stack_with_the_masks_as_visibility(layers, seed):
    masks = layers.alpha + 1e-3 * random(seed, *layers.alpha.shape)
    masks = torch.where(layers.alpha > 0, masks, 0.0)
    masks[:, -1] += (masks.sum(1) == 0).double()
    masks = masks / masks.sum(1, keepdim=True)
    stack = from_partition(layers.rgb, masks)
    assert_close(visibility(stack), masks)
    assert_close(composite(stack), (masks * layers.rgb).sum(1))


@pytest.mark.parametrize("value", [0.2, float("nan")])
def test_masks_that_do_not_sum_to_one_are_refused(value):
    with pytest.raises(ShapeError, match="sum to one"):
        from_partition(torch.zeros(1, 2, 3, 2, 2), torch.full((1, 2, 1, 2, 2), value))


def test_a_partition_of_no_images_is_no_image():
    assert len(from_partition(torch.zeros(0, 2, 3, 2, 2), torch.zeros(0, 2, 1, 2, 2))) == 0


@laws
@given(stacks())
def test_segment_names_what_is_seen_most(layers):
    labels, seen = segment(layers), visibility(layers)[:, :, 0]
    if layers.background:
        assert_close(labels, seen.argmax(1))
        return
    nothing = (1 - layers.alpha[:, :, 0]).prod(1)
    best = seen.max(1).values
    assert ((labels == 0) == (nothing > best)).all()
    picked = seen.gather(1, (labels - 1).clamp_min(0)[:, None])[:, 0]
    assert_close(torch.where(labels > 0, picked, best), best)


@laws
@given(st.integers(1, 6), seeds)
def test_strict_order_keeps_preferences_without_a_cycle(count, seed):
    # Some pairs are decided by a hidden ranking, the others are left open.
    rank = torch.argsort(random(seed, 3, count), 1)
    above = rank[:, :, None] > rank[:, None]
    decided = torch.triu(random(seed + 1, 3, count, count) < 0.5, 1)
    decided = decided | decided.transpose(1, 2)
    strength = 0.5 + 0.5 * random(seed + 2, 3, count, count)
    occlusion = torch.where(decided & above, strength, 0.5 * random(seed + 3, 3, count, count))
    occlusion = torch.where(torch.eye(count, dtype=torch.bool), random(seed + 4, 3, count, count), occlusion)
    position = torch.argsort(strict_order(occlusion), 1)
    in_front = position[:, :, None] > position[:, None]
    assert in_front[decided & above].all()


def test_strict_order_of_the_plain_order_is_the_identity_and_cycles_give_a_permutation():
    assert strict_order(plain_order(5, torch.zeros(()))).tolist() == [[0, 1, 2, 3, 4]]
    cycle = torch.zeros(1, 3, 3)
    cycle[0, 0, 1] = cycle[0, 1, 2] = cycle[0, 2, 0] = 1
    assert sorted(strict_order(cycle)[0].tolist()) == [0, 1, 2]


def test_gradients_of_the_composite_are_right():
    alpha = random(1, 1, 3, 1, 2, 2).requires_grad_()
    rgb, occlusion = random(2, 1, 3, 3, 2, 2).requires_grad_(), random(3, 1, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda *parts: composite(Layers(*parts)), (rgb, alpha, occlusion))
    assert torch.autograd.gradcheck(lambda *parts: composite(Layers(*parts)), (rgb, alpha))

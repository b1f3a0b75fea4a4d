"""Bricks: batched MLPs and batch normalisation equal torch's own."""

import torch
from torch import nn
from torch.testing import assert_close

from delaminate.nets.blocks import BatchedMLP, BatchNorm
from delaminate.rng import stream


def opened(heads, seed=0):
    """Heads whose last layer is no longer zero, in float64."""
    heads = heads.double()
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=stream("heads", seed), dtype=torch.float64))
    return heads


def separate(heads, index):
    """One head as an MLP of torch."""
    _count, features, hidden = heads.weight_1.shape
    outputs = heads.weight_3.shape[2]
    layers = [nn.Linear(features, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)]
    parts = [(heads.weight_1, heads.bias_1), (heads.weight_2, heads.bias_2), (heads.weight_3, heads.bias_3)]
    for layer, (weight, bias) in zip(layers, parts, strict=True):
        layer.double()
        with torch.no_grad():
            layer.weight.copy_(weight[index].T)
            layer.bias.copy_(bias[index, 0])
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def test_a_stack_of_heads_equals_separate_mlps_with_their_gradients():
    heads = opened(BatchedMLP(3, 7, 4, stream("nets"), hidden=5))
    x = torch.randn(6, 7, generator=stream("x"), dtype=torch.float64)
    weight = torch.randn(6, 3, 4, generator=stream("weight"), dtype=torch.float64)
    ours = heads(x)
    (ours * weight).sum().backward()
    for index in range(3):
        mlp = separate(heads, index)
        theirs = mlp(x)
        assert_close(ours[:, index], theirs)
        (theirs * weight[:, index]).sum().backward()
        assert_close(heads.weight_1.grad[index], mlp[0].weight.grad.T)
        assert_close(heads.bias_2.grad[index, 0], mlp[2].bias.grad)
        assert_close(heads.weight_3.grad[index], mlp[4].weight.grad.T)


def test_heads_start_at_zero_whatever_they_see():
    heads = BatchedMLP(3, 7, 4, stream("nets"))
    x = torch.randn(6, 7, generator=stream("x"))
    assert heads(x).shape == (6, 3, 4)
    assert not heads(x).any()


def test_heads_begin_as_torch_draws_linear_layers_and_unlike_one_another():
    heads = BatchedMLP(4, 100, 2, stream("nets"))
    bound = 100**-0.5
    for weight in (heads.weight_1, heads.bias_1):
        assert bool((weight.abs() <= bound).all())
        assert float(weight.detach().std()) > 0.5 * bound
    assert not torch.equal(heads.weight_1[0], heads.weight_1[1])


def test_a_copied_head_answers_like_its_source():
    heads = opened(BatchedMLP(3, 7, 4, stream("nets"), hidden=5))
    x = torch.randn(6, 7, generator=stream("x"), dtype=torch.float64)
    before = heads(x)
    heads.copy_head(2, 0)
    after = heads(x)
    assert_close(after[:, 0], before[:, 2])
    assert_close(after[:, 1:], before[:, 1:])


def test_batch_norm_is_that_of_torch_in_one_process():
    ours, theirs = BatchNorm(5).double(), nn.BatchNorm2d(5).double()
    for step in range(3):
        x = torch.randn(4, 5, 6, 3, generator=stream("batch", step), dtype=torch.float64) * 2 + 1
        assert torch.equal(ours(x), theirs(x))
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    ours.eval()
    theirs.eval()
    assert torch.equal(ours(x), theirs(x))

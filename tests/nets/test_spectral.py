"""Spectral normalisation, and convolutions that change the size in one go."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from delaminate.nets.spectral import SelfAttention, SpectralConv, advance, convolve
from delaminate.rng import stream


def randn(*shape):
    return torch.randn(*shape, generator=stream("spectral", *shape), dtype=torch.float64)


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (4, 12)])
def test_doubling_and_convolving_in_one_go_is_doing_one_after_the_other(side, size):
    x, kernel, bias = randn(2, 5, *size), randn(7, 5, side, side), randn(7)
    plain = F.conv2d(F.interpolate(x, scale_factor=2.0), kernel, bias, padding=side // 2)
    assert_close(convolve(x, kernel, bias, "up"), plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (4, 12)])
def test_convolving_and_halving_in_one_go_is_doing_one_after_the_other(side, size):
    x, kernel, bias = randn(2, 5, *size), randn(7, 5, side, side), randn(7)
    plain = F.avg_pool2d(F.conv2d(x, kernel, bias, padding=side // 2), 2)
    assert_close(convolve(x, kernel, bias, "down"), plain, rtol=0, atol=1e-12)


def test_a_mask_beside_the_image_is_one_more_channel():
    layer = SpectralConv(4, 6, 3, stream(0)).double()
    x, mask = randn(2, 3, 8, 8), randn(2, 1, 8, 8)
    for resample in ("none", "up", "down"):
        assert_close(layer(x, resample, mask), layer(torch.cat([x, mask], 1), resample), rtol=0, atol=1e-12)


def test_the_norm_that_is_divided_by_becomes_the_largest_singular_value():
    layer = SpectralConv(3, 8, 3, stream(0)).double()
    with torch.no_grad():
        layer.weight.copy_(randn(8, 3, 3, 3))
    for _ in range(200):
        advance(layer)
    kernel = torch.stack([layer(one[None], "none")[0] for one in torch.eye(27, dtype=torch.float64).view(27, 3, 3, 3)])
    middle = kernel[:, :, 1, 1] - layer.bias  # the response to each weight's own pixel
    assert_close(torch.linalg.svdvals(middle.T)[0], torch.ones((), dtype=torch.float64))


def test_value_and_gradient_are_those_of_torchs_own_spectral_norm():
    layer = SpectralConv(3, 8, 3, stream(0)).double()
    theirs = nn.utils.spectral_norm(nn.Conv2d(3, 8, 3, padding=1).double(), eps=1e-12)
    with torch.no_grad():
        theirs.weight_orig.copy_(layer.weight)
        theirs.bias.copy_(layer.bias)
        theirs.weight_u.copy_(layer.u)
    x = randn(2, 3, 6, 6)
    layer.iterate()
    expected, found = theirs(x), layer(x)
    assert_close(found, expected)
    weight = randn(*found.shape)
    (expected * weight).sum().backward()
    (found * weight).sum().backward()
    assert_close(layer.weight.grad, theirs.weight_orig.grad)


def test_a_forward_pass_changes_nothing():
    layer = SelfAttention(16, stream(0)).double()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer(randn(2, 16, 8, 8))
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    with torch.no_grad():
        layer.query.weight.add_(randn(*layer.query.weight.shape))
    advance(layer)
    assert not torch.equal(before["query.u"], layer.query.u)


def test_attention_is_the_plain_formula():
    layer = SelfAttention(16, stream(0)).double()
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    x = randn(2, 16, 4, 6)
    query = layer.query(x).flatten(2)
    key, value = (F.max_pool2d(part(x), 2).flatten(2) for part in (layer.key, layer.value))
    share = (query.transpose(1, 2) @ key).softmax(2)
    seen = (value @ share.transpose(1, 2)).view(2, 8, 4, 6)
    assert_close(layer(x), x + 0.7 * layer.out(seen))

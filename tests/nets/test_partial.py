"""Encoders of partial convolutions: the same numbers as convolving masks, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from delaminate.nets import partial
from delaminate.nets.partial import MLP, DownBlock, PartialConv, PartialEncoder, SpriteDecoder, ratio_map
from delaminate.rng import stream

SIZES = [(1, 1), (2, 2), (1, 5), (7, 4), (16, 16), (9, 3)]


def noise(*shape, key="noise"):
    return torch.randn(shape, generator=stream(key), dtype=torch.float64)


def masked(x, weight, bias, stride):
    """A partial convolution as defined: the mask is convolved, too."""
    seen = F.conv2d(torch.ones_like(x[:1, :1]), torch.ones(1, 1, 3, 3, dtype=x.dtype), stride=stride, padding=1)
    return F.conv2d(x, weight, stride=stride, padding=1) * (9 / seen) + bias[:, None, None]


def plainly(block, x):
    for half, stride in (("1", 1), ("2", 2)):
        weight, bias, gain, offset = (getattr(block, f"{name}_{half}") for name in ("weight", "bias", "gain", "offset"))
        x = F.leaky_relu(F.group_norm(masked(x, weight, bias, stride), 8, gain, offset), 0.01)
    return x


def block_of(fan_in, width=16):
    block = DownBlock(fan_in, width, stream("block")).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.3 * noise(*parameter.shape, key=str(parameter.shape))
    return block


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_the_ratio_is_that_of_a_convolved_mask(size, stride):
    ones = torch.ones(1, 1, *size, dtype=torch.float64)
    seen = F.conv2d(ones, torch.ones(1, 1, 3, 3, dtype=torch.float64), stride=stride, padding=1)
    assert_close(ratio_map(size, stride, torch.float64, ones.device), (9 / seen)[0, 0])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_partial_convolution_is_one_with_a_convolved_mask(size):
    layer, x = PartialConv(3, 16, stream("layer")).double(), noise(2, 3, *size)
    assert_close(layer(x), masked(x, layer.weight, layer.bias, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("few", [2**20, 400], ids=["at once", "a few at a time"])
@pytest.mark.parametrize("fan_in", [3, 16], ids=["computed again", "kept"])
@pytest.mark.parametrize("size", [(8, 8), (5, 7), (2, 1)], ids=str)
def test_a_block_has_the_values_and_gradients_of_its_plain_form(size, fan_in, few, monkeypatch):
    monkeypatch.setattr(partial, "FEW", few)
    block, x = block_of(fan_in), noise(5, fan_in, *size).requires_grad_()
    assert block.again == (fan_in == 3)
    out, plain = block(x), plainly(block, x)
    assert_close(out, plain, rtol=1e-9, atol=1e-10)
    weights = noise(*out.shape, key="weights")
    inputs = [x, *block.parameters()]
    ours = torch.autograd.grad((out * weights).sum(), inputs)
    for mine, theirs in zip(ours, torch.autograd.grad((plain * weights).sum(), inputs), strict=True):
        assert_close(mine, theirs, rtol=1e-9, atol=1e-10)


def test_images_that_need_no_gradient_get_none():
    block, x = block_of(3), noise(2, 3, 8, 8)
    block(x).sum().backward()
    assert x.grad is None
    assert all(parameter.grad is not None for parameter in block.parameters())


def test_images_of_a_batch_do_not_meet():
    block, x = block_of(16), noise(6, 16, 9, 9)
    assert_close(block(x), torch.cat([block(one) for one in x.split(1)]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("size", "expected"), [((32, 32), (4, 4)), ((30, 17), (4, 3)), ((5, 1), (1, 1))])
def test_an_encoder_halves_and_rounds_up(size, expected):
    encoder = PartialEncoder(3, 16, 3, 2, stream("encoder")).double()
    assert encoder(noise(2, 3, *size)).shape == (2, 2, *expected, 16)


def test_bfloat16_comes_close():
    encoder = PartialEncoder(3, 32, 2, 1, stream("encoder"))
    x = noise(2, 3, 16, 16).float()
    coarse = encoder(x.bfloat16())
    assert coarse.dtype == torch.bfloat16
    assert_close(coarse.float(), encoder(x), rtol=0.1, atol=0.1)
    coarse.float().sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in encoder.parameters())


def test_generators_decode_codes_into_images_between_0_and_1():
    generator = SpriteDecoder(4, (3, 6, 5), stream("generator")).double()
    images = generator(10 * noise(7, 4)).detach()
    assert images.shape == (7, 3, 6, 5)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1


def test_rows_do_not_meet():
    mlp, x = MLP(16, 5, stream("mlp")).double(), noise(6, 16)
    assert mlp(x).shape == (6, 5)
    assert_close(mlp(x)[2:4], mlp(x[2:4]))


def test_weights_are_drawn_from_the_stream_alone():
    state = torch.random.get_rng_state()
    first, again, other = (PartialEncoder(3, 16, 1, 1, stream(key)) for key in ("a", "a", "b"))
    assert torch.equal(torch.random.get_rng_state(), state)
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)

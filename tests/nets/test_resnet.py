"""Encoders: shapes, sizes, and weights that are a function of the stream."""

import pytest
import torch

from delaminate.nets.resnet import ResNet, pooled
from delaminate.rng import stream


@pytest.mark.parametrize(
    ("depth", "size", "expected"),
    [
        (32, (35, 35), (64, 9, 9)),
        (32, (28, 40), (64, 7, 10)),
        (18, (128, 128), (512, 4, 4)),
        (18, (96, 64), (512, 3, 2)),
    ],
)
def test_features_have_the_width_and_stride_of_the_architecture(depth, size, expected):
    encoder = ResNet(depth, stream("encoder")).eval()
    assert tuple(encoder(torch.rand(2, 3, *size, generator=stream("images"))).shape) == (2, *expected)
    assert encoder.width == expected[0]
    assert -(-size[0] // encoder.stride) == expected[1]


@pytest.mark.parametrize(
    ("depth", "millions"),
    # The CIFAR form without its classifier; the ImageNet form without its 1000 classes.
    [(32, 0.464), (18, 11.177)],
)
def test_encoders_have_the_published_number_of_parameters(depth, millions):
    count = sum(p.numel() for p in ResNet(depth, stream("encoder")).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=5e-4)


def test_weights_are_a_function_of_the_stream_alone():
    torch.manual_seed(1)
    first = ResNet(32, stream("encoder", 3)).state_dict()
    torch.manual_seed(2)
    again, other = ResNet(32, stream("encoder", 3)).state_dict(), ResNet(32, stream("encoder", 4)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])


@pytest.mark.parametrize("depth", [18, 32])
def test_making_an_encoder_leaves_the_global_stream_alone(depth):
    before = torch.get_rng_state()
    ResNet(depth, stream("encoder"))
    assert torch.equal(torch.get_rng_state(), before)


def test_pooling_averages_on_a_grid():
    features = torch.arange(2 * 3 * 4 * 4, dtype=torch.float64).view(2, 3, 4, 4)
    assert pooled(features, 2).shape == (2, 12)
    assert torch.equal(pooled(features, 1), features.mean((2, 3)))
    assert pooled(features, 2)[0, 0] == features[0, 0, :2, :2].mean()

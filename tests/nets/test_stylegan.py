"""Style-based networks against plain formulas, in float64."""

import math

import plain_perturbgan as plain
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from delaminate.nets.stylegan import (
    EqualizedConv,
    EqualizedLinear,
    Mapping,
    StyleDiscriminator,
    Synthesis,
    _InstanceNorm,
    blur,
    channels_at,
    draw_noise,
    level_of,
    minibatch_stddev,
    mixed,
)
from delaminate.nets.unet import UNet
from delaminate.rng import stream


def randn(*shape):
    return torch.randn(*shape, generator=stream("stylegan", *shape), dtype=torch.float64)


def exact(found, expected):
    assert_close(found, expected, rtol=0, atol=1e-10)


def stirred(network, seed=0):
    """Give every parameter some other value, zeros too."""
    rng = stream("stirred", seed)
    with torch.no_grad():
        for parameter in network.double().parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    return network


# --- bricks -----------------------------------------------------------------------------------------------------------


def test_widths_at_each_resolution_are_the_published_ones():
    assert [channels_at(side, 128, 128, 512) for side in (128, 64, 32, 16, 4)] == [128, 256, 512, 512, 512]
    assert [level_of(side) for side in (4, 8, 256)] == [0, 1, 6]


def test_the_blur_is_the_binomial_kernel_with_zeros_outside():
    x = randn(2, 3, 5, 7)
    exact(blur(x), plain.blur(x))


def test_weights_are_drawn_alike_and_scaled_by_their_fan_in():
    conv, linear = EqualizedConv(64, 64, 3, stream(0)), EqualizedLinear(256, 256, stream(1))
    for layer in (conv, linear):
        assert float(layer.weight.detach().std()) == pytest.approx(1, abs=0.02)
    inner = conv(torch.randn(4, 64, 8, 8, generator=stream(2))).detach()[:, :, 2:-2, 2:-2]
    assert float(inner.square().mean()) == pytest.approx(2, abs=0.4)


def test_the_mapping_looks_at_directions_only():
    net = Mapping(16, 3, stream(0)).double()
    z = randn(4, 16)
    assert_close(net(7 * z), net(z), rtol=0, atol=1e-6)  # but for the small number that keeps lengths from 0
    exact(net(z[None]), net(z)[None])


def test_styles_are_mixed_by_level():
    a, b = randn(2, 4), randn(3, 2, 4)[0]
    found = mixed(a, b, torch.tensor([False, True, True]))
    exact(found, torch.stack([a, b, b], 1))


def test_the_norm_and_its_gradients_are_those_of_the_formula():
    x, scale, shift = randn(2, 3, 4, 5), randn(2, 3, 1, 1), randn(3, 2, 1, 1).transpose(0, 1)
    exact(_InstanceNorm.apply(x, scale, shift), shift + scale * F.instance_norm(x))
    inputs = tuple(part.detach().requires_grad_() for part in (x, scale, shift))
    assert torch.autograd.gradcheck(_InstanceNorm.apply, inputs)


# --- the minibatch's deviation ----------------------------------------------------------------------------------------


def test_the_deviation_is_one_number_of_the_batch():
    x = randn(6, 5, 4, 4)
    exact(minibatch_stddev(x), plain.deviation(x).expand(6, 1, 4, 4))
    assert torch.autograd.gradgradcheck(minibatch_stddev, (randn(3, 2, 1, 2).requires_grad_(),))


def test_halves_do_not_know_of_one_another():
    x = randn(6, 5, 4, 4)
    found = minibatch_stddev(x, halves=2)
    exact(found[:3], minibatch_stddev(x[:3]))
    exact(found[3:], minibatch_stddev(x[3:]))
    net = StyleDiscriminator(8, 4, 8, False, stream(0)).double()
    images = randn(6, 3, 8, 8)
    exact(net(images, halves=2), torch.cat([net(images[:3]), net(images[3:])]))
    assert not torch.allclose(net(images), net(images, halves=2))


# --- whole networks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize(("level", "fade"), [(3, 1.0), (3, 0.25), (2, 0.5), (1, 1.0)])
def test_a_growing_generator_paints_what_the_plain_one_paints(level, fade, noisy):
    net = stirred(Synthesis(32, 4, 3, 6, 5, True, stream(0)))
    styles = randn(2, 4, 5)
    noise = [part.double() for part in draw_noise(2, 4, stream(1))] if noisy else None
    found = net(styles, noise, level, fade)
    assert found.shape == (2, 4, 4 * 2**level, 4 * 2**level)
    exact(found, plain.synthesis(net, styles, noise, level, fade))


def test_a_grown_generator_has_one_head():
    net = stirred(Synthesis(16, 3, 3, 6, 5, False, stream(0)))
    styles = randn(2, 3, 5)
    assert len(net.heads) == 1
    exact(net(styles), plain.synthesis(net, styles, None, 2, 1.0))


@pytest.mark.parametrize(("level", "fade"), [(3, 1.0), (3, 0.25), (2, 0.5), (1, 1.0)])
def test_a_growing_discriminator_scores_as_the_plain_one_does(level, fade):
    net = stirred(StyleDiscriminator(32, 3, 6, True, stream(0)))
    images = randn(3, 3, 4 * 2**level, 4 * 2**level)
    exact(net(images, level, fade), plain.discriminator(net, images, level, fade))


def test_slopes_of_slopes_are_those_of_the_plain_discriminator():
    net = stirred(StyleDiscriminator(8, 3, 6, False, stream(0)))
    images = randn(3, 3, 8, 8).requires_grad_()
    found = []
    for score in (net, lambda x: plain.discriminator(net, x, 1, 1.0)):
        (slope,) = torch.autograd.grad(score(images).sum(), images, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), list(net.parameters()), allow_unused=True))
    for ours, other in zip(*found, strict=True):
        if other is None:
            assert ours is None or not ours.any()
        else:
            exact(ours, other)


def test_fading_begins_with_the_smaller_picture_and_ends_with_the_larger():
    net = stirred(Synthesis(16, 3, 3, 6, 5, True, stream(0)))
    styles = randn(2, 3, 5)
    exact(net(styles, None, 2, 0.0), F.interpolate(net(styles, None, 1), scale_factor=2.0))
    exact(net(styles, None, 2, 1 - 1e-13), net(styles, None, 2))


@pytest.mark.parametrize("fade", [1.0, 0.25])
def test_a_summed_picture_is_that_of_all_levels(fade):
    net = stirred(Synthesis(16, 3, 3, 6, 5, False, stream(0), skip_outputs=True))
    styles = randn(2, 3, 5)
    features, picture = [], torch.zeros(())
    for block in net.blocks:
        block.register_forward_hook(lambda _module, _inputs, out: features.append(out))
    found = net(styles, None, 2, fade)
    for index, (x, head) in enumerate(zip(features, net.heads, strict=True)):
        if index:
            picture = F.interpolate(picture, scale_factor=2.0, mode="bilinear", align_corners=False)
        weight = head.weight[:, :, 0, 0] * math.sqrt(2 / x.shape[1])
        painted = torch.einsum("oc,bchw->bohw", weight, x) + head.bias[:, None, None]
        picture = picture + painted / 3 * (fade if index == 2 else 1)
    exact(found, picture)


def test_placed_by_the_style_features_begin_apart_and_else_alike():
    styles = randn(2, 2, 5)
    styles[:, 1] = styles[:1, 1]  # they differ at the coarsest level alone
    for style_input in (True, False):
        net = stirred(Synthesis(8, 3, 3, 6, 5, False, stream(0), style_input=style_input))
        seen = []
        net.blocks[0].register_forward_pre_hook(lambda _module, inputs, seen=seen: seen.append(inputs[0]))
        net(styles)
        assert torch.equal(seen[0][0], seen[0][1]) != style_input
        if style_input:
            moved = seen[0] - net.start
            exact(moved.flatten(1), styles[:, 0] @ net.place.weight.T * math.sqrt(2 / 5) + net.place.bias)


def test_a_unet_answers_image_by_image_at_full_size():
    net = UNet(2, 8, 3, stream(0)).double()
    images = randn(3, 3, 16, 24)
    found = net(images)
    assert found.shape == (3, 2, 16, 24)
    exact(net(images[1:2]), found[1:2])

"""The published training step of PerturbGAN, written plainly: what our step is measured and proved against.

Canvases are doubled before they are convolved and halved after, real and made images go through the discriminator one after
the other, shifts are done image by image, the painter's turn computes the discriminator's gradients and throws them away,
and the discriminator's turn draws scenes of its own and takes slopes at every step. It works on the parameters of a
`delaminate.methods.perturbgan` model that does not grow.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from delaminate.methods.perturbgan import PerturbGAN
from delaminate.methods.perturbgan.networks import GrowthLevel
from delaminate.nets.stylegan import level_of

# --- networks ---------------------------------------------------------------------------------------------------------


def conv(layer, x):
    fan_in = layer.weight[0].numel()
    return F.conv2d(x, layer.weight * math.sqrt(2 / fan_in), layer.bias, padding=layer.weight.shape[-1] // 2)


def linear(layer, x):
    return x @ layer.weight.T * math.sqrt(2 / layer.weight.shape[1]) + layer.bias


def blur(x):
    binomial = x.new_tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    return torch.cat([F.conv2d(x[:, c : c + 1], binomial[None, None], padding=1) for c in range(x.shape[1])], 1)


def style(styled, x, w, noise):
    if noise is not None:
        x = x + styled.noise[None, :, None, None] * math.sqrt(2 / len(styled.noise)) * noise
    x = F.leaky_relu(x, 0.2)
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
    scale, shift = linear(styled.style, w).chunk(2, 1)
    return scale[:, :, None, None] * (x - mean) / (variance + 1e-5).sqrt() + shift[:, :, None, None]


def synthesis(net, styles, noise, level, fade):
    x, pictures = net.start.expand(len(styles), -1, -1, -1), []
    for index in range(level + 1):
        block = net.blocks[index]
        one, two = (None, None) if noise is None else (noise[index][:, :1], noise[index][:, 1:])
        if index:
            x = blur(conv(block.conv_1, F.interpolate(x, scale_factor=2.0)))
        x = style(block.styled_1, x, styles[:, index], one)
        x = style(block.styled_2, conv(block.conv_2, x), styles[:, index], two)
        if len(net.heads) > 1 or index == net.levels - 1:
            pictures.append(conv(net.heads[index - net.levels], x))
    if fade == 1:
        return pictures[-1]
    return (1 - fade) * F.interpolate(pictures[-2], scale_factor=2.0) + fade * pictures[-1]


def deviation(x):
    return (x.var(0, correction=0) + 1e-8).sqrt().mean()


def discriminator(net, images, level, fade):
    def stem(images, level):
        return F.leaky_relu(conv(net.stems[level - net.levels], images), 0.2)

    x = stem(images, level)
    for index in reversed(range(level)):
        block = net.blocks[index]
        x = blur(F.leaky_relu(conv(block.conv_1, x), 0.2))
        x = F.leaky_relu(F.avg_pool2d(conv(block.conv_2, x), 2), 0.2)
        if index == level - 1 and fade < 1:
            x = (1 - fade) * stem(F.avg_pool2d(images, 2), level - 1) + fade * x
    x = torch.cat([x, deviation(x).expand(len(x), 1, 4, 4)], 1)
    x = F.leaky_relu(conv(net.conv, x), 0.2)
    weight = net.dense.weight * math.sqrt(2 / net.dense.weight[0].numel())
    x = F.leaky_relu((x[:, None] * weight).sum((2, 3, 4)) + net.dense.bias, 0.2)
    return linear(net.last, x)[:, 0]


# --- scenes -----------------------------------------------------------------------------------------------------------


def shifted(layer: Tensor, offsets: Tensor) -> Tensor:
    """Move images (B, C, H, W) by whole pixels, x and y, one after the other; zeros come in."""
    shift_foreground, (height, width) = [], layer.shape[2:]
    for image, offset in zip(layer, offsets, strict=True):
        right, down = (int(n) for n in offset)  # asks the device
        canvas = torch.zeros_like(image)
        canvas[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = image[
            :, max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
        ]
        shift_foreground.append(canvas)
    return torch.stack(shift_foreground)


def scenes(model: PerturbGAN, count: int, rng: Generator) -> tuple[Tensor, Tensor]:
    """Draw composites of shifted foregrounds, and their shifted masks."""
    c, level = model.config, level_of(model.image_size[0])
    noise = model.noise(count, rng, GrowthLevel(level), mixing=True)
    painted = []
    for trunk, net in enumerate(model.generator.trunks):
        mapping = model.generator.mappings[min(trunk, len(model.generator.mappings) - 1)]
        styles = []
        for z in noise.z[:, min(trunk, noise.z.shape[1] - 1)]:
            w = z / (z.square().mean(-1, keepdim=True) + 1e-8).sqrt()
            for layer in mapping.layers:
                w = F.leaky_relu(linear(layer, w), 0.2)
            styles.append(w)
        chosen = [styles[int(second)] for second in noise.takes_second[trunk]]
        painted.append(synthesis(net, torch.stack(chosen, 1), noise.maps[trunk], level, 1.0))
    back, front = painted[0], painted[1]
    mask = torch.sigmoid(front[:, 3:])
    offsets = (c.shift * back.shape[-1] * (2 * torch.rand(count, 2, generator=rng) - 1)).round().long()
    factor = (1 + c.contrast * (2 * torch.rand(count, generator=rng) - 1)).to(back)[:, None, None, None]
    middle, low, high = (
        back.mean((2, 3), keepdim=True), back.amin((2, 3), keepdim=True), back.amax((2, 3), keepdim=True),
    )  # fmt: skip
    back = torch.minimum(torch.maximum((back - middle) * factor + middle, low), high)
    front, mask = shifted(front[:, :3], offsets), shifted(mask, offsets)
    return back * (1 - mask) + front * mask, mask


# --- losses (WGAN-GP, and masks as published) -------------------------------------------------------------------------


def painter_loss(model: PerturbGAN, count: int, rng: Generator) -> Tensor:
    c = model.config
    images, masks = scenes(model, count, rng)
    scores = discriminator(model.discriminator, images, level_of(images.shape[-1]), 1.0)
    area = F.relu(c.min_area - masks.mean((1, 2, 3))).mean()
    binary = torch.minimum(masks, 1 - masks).mean()
    return -scores.mean() + c.area_weight * area + c.binary_weight * binary


def discriminator_loss(model: PerturbGAN, real: Tensor, rng: Generator) -> Tensor:
    """Of real images in [-1, 1], already cut to size."""
    c, level = model.config, level_of(real.shape[-1])
    with torch.no_grad():
        fakes, _ = scenes(model, len(real), rng)
    high, low = (discriminator(model.discriminator, images, level, 1.0) for images in (real, fakes))
    share = torch.rand(len(real), 1, 1, 1, generator=rng).to(real)
    between = (fakes + share * (real - fakes)).requires_grad_(True)
    scores = discriminator(model.discriminator, between, level, 1.0)
    (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return low.mean() - high.mean() + c.drift * high.square().mean() + c.penalty_weight * penalty


def step(model: PerturbGAN, real: Tensor, rng: Generator) -> None:
    """Both turns, forward and backward, the discriminator first; gradients of all networks are computed every time."""
    for loss in (discriminator_loss(model, real, rng), painter_loss(model, len(real), rng)):
        for parameter in model.parameters():
            parameter.grad = None
        loss.backward()

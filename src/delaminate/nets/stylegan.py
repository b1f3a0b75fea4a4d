"""A style-based generator and its mirror discriminator, at any resolution up to their own.

Karras et al., A Style-Based Generator Architecture for Generative Adversarial Networks, 2019 (sections 2 and 3.2), grown as
in Karras et al., Progressive Growing of GANs, 2018 (sections 2 to 4.1: fading in, the minibatch deviation, the equalised
learning rate). Level i works on 4 * 2**i pixels a side. Doubling and halving are folded into the convolutions beside them,
which is exactly equal; the blur is not folded, because its zero border would then be another one.
"""

import functools
import math
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable

from delaminate.nets.blocks import SumOfAll
from delaminate.nets.spectral import Resample, convolve

SLOPE = 0.2
"""Of the leaky ReLUs."""


def level_of(side: int) -> int:
    """Level of a resolution: 4 pixels are level 0, 8 are level 1.

    >>> level_of(32)
    3
    """
    return int(math.log2(side)) - 2


def channels_at(side: int, largest: int, width: int, most: int) -> int:
    """Channels at a resolution: `width` at the largest one, twice as many at each smaller one, `most` at the most."""
    return min(width * (largest // side), most)


class EqualizedLinear(nn.Module):
    """A linear map whose weights are drawn from N(0, 1) and used times sqrt(2 / fan in), so that all learn at one rate.

    Args:
        inputs, outputs: Numbers in and out.
        rng: Draws the weight.
        bias: What the bias begins with, a number or one for each output.
    """

    def __init__(self, inputs: int, outputs: int, rng: Generator, bias: float | Float[Tensor, " O"] = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).normal_(generator=rng))
        self.bias = nn.Parameter(torch.zeros(outputs) + bias)
        self.scale = math.sqrt(2 / inputs)

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        return F.linear(x, self.weight * self.scale, self.bias)


class EqualizedConv(nn.Module):
    """A convolution with an equalised learning rate; sizes change in the same go."""

    def __init__(self, inputs: int, outputs: int, side: int, rng: Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, side, side).normal_(generator=rng))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = math.sqrt(2 / (inputs * side * side))

    def forward(self, x: Float[Tensor, "B I H W"], resample: Resample = "none") -> Float[Tensor, "B O _H _W"]:
        return convolve(x, self.weight * self.scale, self.bias, resample)


def blur(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Convolve every channel with the outer product of (1, 2, 1) / 4 and itself; zeros lie outside."""
    return _Blur.apply(x)


class _Blur(torch.autograd.Function):
    """The blur is its own adjoint, at every order: as a convolution torch would differentiate its constant kernel, too.

    A second derivative of that, of a penalty on slopes, is one small convolution for each channel and image.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        kernel = _binomial(x.dtype, x.device).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(x, kernel, padding=1, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Blur.apply(gradient)


# Made once: a GPU waits for whatever is brought to it. What is cached must serve training, whoever asks for it first.
@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)
def _binomial(dtype: torch.dtype, device: torch.device) -> Float[Tensor, "3 3"]:
    row = torch.tensor([0.25, 0.5, 0.25], dtype=dtype, device=device)
    return row[:, None] * row


def pixel_norm(x: Tensor) -> Tensor:
    """Divide every row by its root mean square ("pixel norm", Progressive Growing of GANs, section 4.2)."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-8)


class Mapping(nn.Module):
    """Turn noise z into a style w: z at length 1 per number, then `depth` linear maps with leaky ReLUs (section 2)."""

    def __init__(self, width: int, depth: int, rng: Generator) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EqualizedLinear(width, width, rng) for _ in range(depth))

    def forward(self, noise: Float[Tensor, "*B Z"]) -> Float[Tensor, "*B D"]:
        x = pixel_norm(noise)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
        return x


class _InstanceNorm(torch.autograd.Function):
    """shift + scale * (x - mean) / sqrt(variance + 1e-5) over each canvas; once differentiable.

    `F.instance_norm` copies channels that lie side by side, which takes thrice the time on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        centred = x - x.mean((2, 3), keepdim=True)
        inverse = torch.rsqrt((centred * centred).mean((2, 3), keepdim=True) + 1e-5)
        ctx.save_for_backward(centred, scale, inverse)
        return torch.addcmul(shift, scale * inverse, centred)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        centred, scale, inverse = ctx.saved_tensors
        count = centred[0, 0].numel()
        for_shift = gradient.sum((2, 3), keepdim=True)
        for_scale = (gradient * centred).sum((2, 3), keepdim=True) * inverse
        for_x = torch.addcmul(gradient - for_shift / count, centred, -for_scale * inverse / count) * (scale * inverse)
        return for_x, for_scale, for_shift


class _Styled(nn.Module):
    """Per-pixel noise, leaky ReLU, and adaptive instance normalisation (Eq. 1).

    The strength of the noise has an equalised rate, too, as in the authors' code.
    """

    def __init__(self, channels: int, style_width: int, rng: Generator) -> None:
        super().__init__()
        self.noise = nn.Parameter(torch.zeros(channels))
        self.scale = math.sqrt(2 / channels)
        start = torch.cat([torch.ones(channels), torch.zeros(channels)])
        self.style = EqualizedLinear(style_width, 2 * channels, rng, start)

    def forward(
        self, x: Float[Tensor, "B C H W"], style: Float[Tensor, "B D"], noise: Float[Tensor, "B 1 H W"] | None
    ) -> Float[Tensor, "B C H W"]:
        if noise is not None:
            strength = (self.noise * self.scale)[:, None, None]
            x = torch.addcmul(x, strength.to(x.dtype), noise.to(x.dtype))
        scale, shift = self.style(style)[..., None, None].chunk(2, 1)
        return _InstanceNorm.apply(F.leaky_relu(x, SLOPE), scale, shift)


class _UpBlock(nn.Module):
    """One level of the synthesis: (double, convolve, blur), style, convolve, style."""

    def __init__(self, inputs: int, outputs: int, style_width: int, rng: Generator, first: bool) -> None:
        super().__init__()
        self.conv_1 = None if first else EqualizedConv(inputs, outputs, 3, rng)
        self.conv_2 = EqualizedConv(outputs, outputs, 3, rng)
        self.styled_1, self.styled_2 = (_Styled(outputs, style_width, rng) for _ in range(2))

    def forward(self, x: Tensor, style: Float[Tensor, "B D"], noise: Float[Tensor, "B 2 _H _W"] | None) -> Tensor:
        if self.conv_1 is not None:
            x = blur(self.conv_1(x, "up"))
        x = self.styled_1(x, style, None if noise is None else noise[:, :1])
        return self.styled_2(self.conv_2(x), style, None if noise is None else noise[:, 1:])


class Synthesis(nn.Module):
    """Paint from styles, one for each level.

    Args:
        side: Of the largest canvas in pixels, a power of two from 8.
        outputs: Channels painted.
        width, most: Channels at `side`, and at the most (`channels_at`).
        style_width: Numbers in a style.
        growing: Every level has an output of its own, so that canvases can be smaller; else only the last one has.
        rng: Draws the weights.
        style_input: Where things go is said by the style: it is mapped to what the 4 x 4 cells begin with, instead of learned
            constants.
        skip_outputs: All levels have outputs, and the picture is their sum, the coarse ones doubled (Karras et al., Analyzing
            and Improving the Image Quality of StyleGAN, 2020, section 4.1).
    """

    def __init__(
        self,
        side: int,
        outputs: int,
        width: int,
        most: int,
        style_width: int,
        growing: bool,
        rng: Generator,
        style_input: bool = False,
        skip_outputs: bool = False,
    ) -> None:
        super().__init__()
        self.levels, self.skip_outputs = level_of(side) + 1, skip_outputs
        channels = [channels_at(4 * 2**level, side, width, most) for level in range(self.levels)]
        self.start = nn.Parameter(torch.empty(1, channels[0], 4, 4).normal_(generator=rng))
        self.place = EqualizedLinear(style_width, 16 * channels[0], rng) if style_input else None
        self.blocks = nn.ModuleList(
            _UpBlock(channels[max(level - 1, 0)], count, style_width, rng, level == 0)
            for level, count in enumerate(channels)
        )
        own = range(self.levels) if growing or skip_outputs else range(self.levels - 1, self.levels)
        self.heads = nn.ModuleList(EqualizedConv(channels[level], outputs, 1, rng) for level in own)

    def forward(
        self,
        styles: Float[Tensor, "B levels D"],
        noise: list[Float[Tensor, "B 2 _ _"]] | None = None,
        level: int | None = None,
        fade: float = 1.0,
    ) -> Float[Tensor, "B outputs H W"]:
        """Paint a canvas of the level's size, in any range.

        Args:
            styles: One for each level, from the coarsest.
            noise: Two maps per level, N(0, 1); None is none.
            level: The last level used; None is the largest.
            fade: Share of the last level; the rest is the level before it, doubled. Below 1 only if growing.
        """
        level = self.levels - 1 if level is None else level
        start = self.start.expand(styles.shape[0], -1, -1, -1)
        if self.place is not None:
            start = start + self.place(styles[:, 0]).view_as(start)
        x = start.contiguous(memory_format=torch.channels_last)
        if self.skip_outputs:
            return self._sum(x, styles, noise, level, fade)
        before = x
        for index in range(level + 1):
            before, x = x, self.blocks[index](x, styles[:, index], None if noise is None else noise[index])
        painted = self.heads[level - self.levels](x)
        if fade >= 1:
            return painted
        coarse = F.interpolate(self.heads[level - 1 - self.levels](before), scale_factor=2.0, mode="nearest")
        return torch.lerp(coarse.to(painted), painted, fade)

    def _sum(self, x: Tensor, styles: Tensor, noise: list[Tensor] | None, level: int, fade: float) -> Tensor:
        """Paint at every level and add up; the last one counts by `fade`."""
        picture = None
        for index in range(level + 1):
            x = self.blocks[index](x, styles[:, index], None if noise is None else noise[index])
            painted = self.heads[index](x) / self.levels  # so that the sum is about as loud as one
            if picture is None:
                picture = painted
                continue
            coarse = F.interpolate(picture, scale_factor=2.0, mode="bilinear", align_corners=False)
            picture = coarse + (fade if index == level else 1.0) * painted
        assert picture is not None
        return picture


def draw_noise(count: int, levels: int, rng: Generator) -> list[Float[Tensor, "B 2 _ _"]]:
    """Draw the per-pixel noise of all levels up to a number of them."""
    return [torch.randn(count, 2, 4 * 2**level, 4 * 2**level, generator=rng) for level in range(levels)]


def mixed(
    first: Float[Tensor, "B D"], second: Float[Tensor, "B D"], takes_second: Bool[Tensor, " levels"]
) -> Float[Tensor, "B levels D"]:
    """Take some levels' styles from a second draw (mixing regularisation, section 3.1)."""
    return torch.where(takes_second[:, None], second[:, None], first[:, None])


def _mean(x: Float[Tensor, "halves N *rest"]) -> Float[Tensor, "halves 1 *rest"]:
    """Mean over the images of each half, of all processes."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return SumOfAll.apply(x.mean(1, keepdim=True)) / dist.get_world_size()
    return x.mean(1, keepdim=True)


def minibatch_stddev(x: Float[Tensor, "B C H W"], halves: int = 1) -> Float[Tensor, "B 1 H W"]:
    """Standard deviation over the batch of every feature at every place, averaged to one number, as a map.

    Args:
        x: Features; all processes hold as many.
        halves: Parts of the batch that do not know of one another, such as real and made images.

    Reference: Progressive Growing of GANs, section 3.
    """
    parts = x.unflatten(0, (halves, -1))  # halves N C H W
    variance = _mean((parts - _mean(parts)).square())  # halves 1 C H W
    deviation = (variance + 1e-8).sqrt().flatten(1).mean(1)  # halves
    return deviation.repeat_interleave(parts.shape[1])[:, None, None, None].expand(-1, 1, *x.shape[2:])


class _DownBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, rng: Generator) -> None:
        super().__init__()
        self.conv_1, self.conv_2 = EqualizedConv(inputs, outputs, 3, rng), EqualizedConv(outputs, outputs, 3, rng)

    def forward(self, x: Tensor) -> Tensor:
        x = blur(F.leaky_relu(self.conv_1(x), SLOPE))
        return F.leaky_relu(self.conv_2(x, "down"), SLOPE)


class StyleDiscriminator(nn.Module):
    """Score images; the mirror of `Synthesis`, with one map of minibatch deviation before the last two layers."""

    def __init__(self, side: int, width: int, most: int, growing: bool, rng: Generator) -> None:
        super().__init__()
        self.levels = level_of(side) + 1
        channels = [channels_at(4 * 2**level, side, width, most) for level in range(self.levels)]
        own = range(self.levels) if growing else range(self.levels - 1, self.levels)
        self.stems = nn.ModuleList(EqualizedConv(3, channels[level], 1, rng) for level in own)
        # Block i leads from level i + 1 to level i.
        self.blocks = nn.ModuleList(
            _DownBlock(channels[level + 1], channels[level], rng) for level in range(self.levels - 1)
        )
        self.conv = EqualizedConv(channels[0] + 1, channels[0], 3, rng)
        self.dense = EqualizedConv(channels[0], channels[0], 4, rng)
        self.last = EqualizedLinear(channels[0], 1, rng)

    def _stem(self, images: Tensor, level: int) -> Tensor:
        return F.leaky_relu(self.stems[level - self.levels](images), SLOPE)

    def features(
        self, images: Float[Tensor, "B 3 H W"], level: int | None = None, fade: float = 1.0
    ) -> Float[Tensor, "B C 4 4"]:
        """What is seen of images of a level's size before the batch is compared; `fade` as in `Synthesis`."""
        level = self.levels - 1 if level is None else level
        x = self._stem(images.contiguous(memory_format=torch.channels_last), level)
        for index in reversed(range(level)):
            x = self.blocks[index](x)
            if fade < 1 and index == level - 1:
                x = torch.lerp(self._stem(F.avg_pool2d(images, 2), level - 1), x, fade)
        return x

    def forward(
        self, images: Float[Tensor, "B 3 H W"], level: int | None = None, fade: float = 1.0, halves: int = 1
    ) -> Float[Tensor, " B"]:
        """Score images, high for real; `halves` is how many parts of the batch do not know of one another."""
        x = self.features(images, level, fade)
        x = torch.cat([x, minibatch_stddev(x, halves).to(x.dtype)], 1)
        x = F.leaky_relu(self.conv(x), SLOPE)
        x = F.conv2d(x, self.dense.weight * self.dense.scale, self.dense.bias)  # B C 1 1
        return self.last(F.leaky_relu(x, SLOPE).flatten(1))[:, 0]

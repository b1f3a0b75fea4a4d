"""Encoders of partial convolutions, whose borders count only the taps that lie inside the image.

A partial convolution (Liu et al., Image Inpainting for Irregular Holes Using Partial Convolutions, ECCV 2018, Eq. 1) of an
image without holes is a zero-padded convolution whose output, before the bias, is multiplied by 9 / n, where n of the 3 x 3
taps lie inside. That ratio is a small table made once per shape, and differs from 1 at borders alone.

A block computes convolution, ratio, bias, group normalisation and leaky ReLU, twice, with a backward pass of its own: the
same numbers as autograd would find, with fewer passes over memory, and with the first half computed again instead of kept
where that is cheap.
"""

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

GROUPS = 8
SLOPE = 0.01
EPSILON = 1e-5
# Elements of an activation that a CPU handles at a time: 2 MiB of float32 stay in its cache.
FEW = 2**19


@functools.lru_cache(maxsize=256)
def _taps(count: int, stride: int) -> tuple[int, ...]:
    """How many of three taps lie inside, for every output along one axis of `count` inputs."""
    return tuple(sum(0 <= stride * i + tap < count for tap in (-1, 0, 1)) for i in range(-(-count // stride)))


# Cached tensors must serve training, even when they are first asked for in inference mode.
@functools.lru_cache(maxsize=256)
@torch.inference_mode(False)
def ratio_map(size: tuple[int, int], stride: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "h w"]:
    """Tabulate 9 / n for a 3 x 3 partial convolution, padded by 1, of images of `size`."""
    rows, columns = (torch.tensor(_taps(count, stride), dtype=dtype, device=device) for count in size)
    return 9 / (rows[:, None] * columns)


def _layout(x: Tensor) -> torch.memory_format:
    """A CPU convolves and normalises faster with channels last; elsewhere the normalisation takes plain tensors alone."""
    return torch.channels_last if x.device.type == "cpu" else torch.contiguous_format


def _laid_out(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=_layout(x))


def _scale_borders(x: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Multiply (B, C, h, w) by the ratio in place, along the borders alone: it is a product of rows and columns."""
    for axis, count in ((2, size[0]), (3, size[1])):
        for index, taps in enumerate(_taps(count, stride)):
            if taps < 3:
                x.select(axis, index).mul_(3 / taps)
    return x


def partial_convolution(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "D C 3 3"], bias: Float[Tensor, " D"], stride: int = 1
) -> Float[Tensor, "B D h w"]:
    """Convolve with zero padding 1, multiply by 9 / n, add the bias.

    On a 1 x 1 map only the centre of the kernel counts, nine times: an ordinary linear layer.
    """
    size = (x.shape[2], x.shape[3])
    if size == (1, 1):
        return F.linear(x[:, :, 0, 0], 9 * weight[:, :, 1, 1], bias)[:, :, None, None]
    raw = F.conv2d(x, weight, stride=stride, padding=1)
    return raw * ratio_map(size, stride, x.dtype, x.device) + bias[:, None, None]


class _Half:
    """Convolution, ratio, bias, group normalisation and leaky ReLU, forward and backward, a few images at a time.

    Attributes:
        kernel, bias: Of the convolution.
        gain, offset: Of the normalisation.
        stride: 1 or 2.
    """

    def __init__(self, parts: tuple[Tensor, ...], stride: int) -> None:
        self.kernel, self.bias, self.gain, self.offset = parts
        self.stride = stride

    def convolve(self, x: Tensor) -> Tensor:
        """Convolution, ratio and bias: what is normalised next."""
        raw = F.conv2d(x, self.kernel, stride=self.stride, padding=1)
        before = _scale_borders(raw, (x.shape[2], x.shape[3]), self.stride)
        return before.add_(self.bias[:, None, None])

    def normalise(self, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The output, with mean and 1 / deviation of each image and group."""
        before = _laid_out(before)
        batch, width, height, columns = before.shape
        out, mean, inverse = torch.native_group_norm(
            before, self.gain, self.offset, batch, width, height * columns, GROUPS, EPSILON
        )
        return F.leaky_relu_(out, SLOPE), mean, inverse

    def backward(
        self, gradient: Tensor, x: Tensor, before: Tensor, out: Tensor, mean: Tensor, inverse: Tensor, of_input: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        """The gradient of the input, if it is wanted, and those of kernel, bias, gain and offset."""
        batch, width, height, columns = before.shape
        # The output has the sign of what went into the leaky ReLU.
        gradient = _laid_out(torch.ops.aten.leaky_relu_backward(gradient, out, SLOPE, True))
        gradient, of_gain, of_offset = torch.ops.aten.native_group_norm_backward(
            gradient,
            _laid_out(before),
            mean,
            inverse,
            self.gain,
            batch,
            width,
            height * columns,
            GROUPS,
            [True, True, True],
        )
        of_bias = gradient.sum((0, 2, 3))
        _scale_borders(gradient, (x.shape[2], x.shape[3]), self.stride)
        stride = (self.stride, self.stride)
        of_x, of_kernel, _ = torch.ops.aten.convolution_backward(
            gradient, x, self.kernel, None, stride, (1, 1), (1, 1), False, (0, 0), 1, (of_input, True, False)
        )
        return of_x, [of_kernel, of_bias, of_gain, of_offset]


class _Block(torch.autograd.Function):
    """Both halves of a block: stride 1, then stride 2.

    Kept for the way back are what the two normalisations saw and the output, which the next block keeps anyway; of the
    first half not even that where its convolution costs little (`again`).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, few: int, again: bool, *parts: Tensor) -> Tensor:
        first, second = _Half(parts[:4], 1), _Half(parts[4:], 2)
        height, width = (-(-n // 2) for n in x.shape[2:])
        shape = (len(x), len(parts[0]), height, width)
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_layout(x))
        kept: list[Tensor] = []
        for some, target in zip(x.split(few), out.split(few), strict=True):
            one = first.convolve(some)
            two = second.convolve(first.normalise(one)[0])
            result, mean, inverse = second.normalise(two)
            target.copy_(result)
            kept += [two, mean, inverse, *(() if again else (one,))]
        ctx.few, ctx.again = few, again
        ctx.save_for_backward(x, out, *parts, *kept)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, out, *rest = ctx.saved_tensors
        first, second, kept = _Half(tuple(rest[:4]), 1), _Half(tuple(rest[4:8]), 2), rest[8:]
        few, each, wanted = ctx.few, 3 if ctx.again else 4, ctx.needs_input_grad[0]
        of_x = torch.empty_like(x) if wanted else None
        total: list[Tensor] = []
        for index, (some, result, back) in enumerate(
            zip(x.split(few), out.split(few), gradient.split(few), strict=True)
        ):
            two, mean, inverse, *more = kept[each * index : each * (index + 1)]
            one = first.convolve(some) if ctx.again else more[0]
            inner, mean_1, inverse_1 = first.normalise(one)
            passed, of_second = second.backward(back, inner, two, result, mean, inverse, True)
            assert passed is not None
            of_some, of_first = first.backward(passed, some, one, inner, mean_1, inverse_1, wanted)
            if of_x is not None and of_some is not None:
                of_x[few * index : few * index + len(some)] = of_some
            found = of_first + of_second
            total = [a.add_(b) for a, b in zip(total, found, strict=True)] if total else found
        return of_x, None, None, *total


def uniform(shape: tuple[int, ...], fan_in: int, rng: Generator) -> nn.Parameter:
    """Draw weights or biases as torch's own layers do, U(-1 / sqrt(fan_in), 1 / sqrt(fan_in))."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=rng))


class PartialConv(nn.Module):
    """A 3 x 3 partial convolution of stride 1."""

    def __init__(self, fan_in: int, fan_out: int, rng: Generator) -> None:
        super().__init__()
        self.weight = uniform((fan_out, fan_in, 3, 3), 9 * fan_in, rng)
        self.bias = uniform((fan_out,), 9 * fan_in, rng)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        return partial_convolution(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


class DownBlock(nn.Module):
    """Halve an image: partial convolutions of stride 1 and 2, each with GroupNorm (8 groups) and leaky ReLU (0.01).

    A CPU takes a few images at a time, so that activations stay in its cache; every image is on its own.

    Args:
        fan_in: Channels that come in.
        width: Channels that go out, a multiple of 8.
        rng: Draws the weights.
    """

    def __init__(self, fan_in: int, width: int, rng: Generator) -> None:
        super().__init__()
        self.width = width
        self.plain = False  # True: by operations that others know, for graphs
        # With few input channels the first half costs little, and keeping it costs most of the memory.
        self.again = fan_in < width // 4
        for half, channels in (("1", fan_in), ("2", width)):
            self.register_parameter(f"weight_{half}", uniform((width, channels, 3, 3), 9 * channels, rng))
            self.register_parameter(f"bias_{half}", uniform((width,), 9 * channels, rng))
            self.register_parameter(f"gain_{half}", nn.Parameter(torch.ones(width)))
            self.register_parameter(f"offset_{half}", nn.Parameter(torch.zeros(width)))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        parts = []
        for name in ("weight_1", "bias_1", "gain_1", "offset_1", "weight_2", "bias_2", "gain_2", "offset_2"):
            part = getattr(self, name).to(x.dtype)
            parts.append(_laid_out(part) if part.ndim == 4 else part)
        if self.plain:
            return _plainly(x, parts)
        few = x.shape[0]
        if x.device.type == "cpu":
            few = max(1, FEW // (self.width * x.shape[2] * x.shape[3]))
        return _Block.apply(x, few, self.again, *parts)


def _plainly(x: Float[Tensor, "B C H W"], parts: list[Tensor]) -> Float[Tensor, "B D h w"]:
    """Both halves of a block, without a backward pass of their own."""
    for stride, (weight, bias, gain, offset) in enumerate((parts[:4], parts[4:]), 1):
        x = partial_convolution(x, weight, bias, stride)
        x = F.leaky_relu(F.group_norm(x, GROUPS, gain, offset, EPSILON), SLOPE)
    return x


class PartialEncoder(nn.Module):
    """Encode images by blocks that halve them, then one 3 x 3 head per output map.

    Args:
        fan_in: Channels of the images.
        width: Channels of everything after.
        blocks: How often the image is halved (rounded up).
        heads: Maps that come out.
        rng: Draws the weights.

    Reference: Smirnov et al., MarioNette, 2021, section 3.2 and Figure 2.
    """

    def __init__(self, fan_in: int, width: int, blocks: int, heads: int, rng: Generator) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DownBlock(width if i else fan_in, width, rng) for i in range(blocks))
        self.heads = nn.ModuleList(PartialConv(width, width, rng) for _ in range(heads))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B heads h w D"]:
        x = _laid_out(x)
        for block in self.blocks:
            x = block(x)
        return torch.stack([head(x).permute(0, 2, 3, 1) for head in self.heads], 1)


class MLP(nn.Module):
    """Linear - GroupNorm (8 groups) - leaky ReLU - Linear, on rows of features."""

    def __init__(self, width: int, outputs: int, rng: Generator) -> None:
        super().__init__()
        self.weight_1, self.bias_1 = uniform((width, width), width, rng), uniform((width,), width, rng)
        self.gain, self.offset = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.weight_2, self.bias_2 = uniform((outputs, width), width, rng), uniform((outputs,), width, rng)

    def forward(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N out"]:
        y = F.linear(x, self.weight_1, self.bias_1)
        y = F.leaky_relu(F.group_norm(y, GROUPS, self.gain, self.offset, EPSILON), SLOPE)
        return F.linear(y, self.weight_2, self.bias_2)


class SpriteDecoder(nn.Module):
    """Decode codes into images: Linear d to 8 d, GroupNorm (8 groups), ReLU, Linear to all pixels, sigmoid.

    Args:
        width: Length of a code, d.
        shape: Channels, height and width of an image.
        rng: Draws the weights.

    Reference: Smirnov et al., MarioNette, 2021, section 3.1.
    """

    def __init__(self, width: int, shape: tuple[int, int, int], rng: Generator) -> None:
        super().__init__()
        self.shape, hidden, outputs = shape, 8 * width, math.prod(shape)
        self.weight_1, self.bias_1 = uniform((hidden, width), width, rng), uniform((hidden,), width, rng)
        self.gain, self.offset = nn.Parameter(torch.ones(hidden)), nn.Parameter(torch.zeros(hidden))
        self.weight_2, self.bias_2 = uniform((outputs, hidden), hidden, rng), uniform((outputs,), hidden, rng)

    def forward(self, codes: Float[Tensor, "n d"]) -> Float[Tensor, "n C h w"]:
        y = F.linear(codes, self.weight_1, self.bias_1)
        y = F.relu(F.group_norm(y, GROUPS, self.gain, self.offset, EPSILON))
        return torch.sigmoid(F.linear(y, self.weight_2, self.bias_2)).view(-1, *self.shape)

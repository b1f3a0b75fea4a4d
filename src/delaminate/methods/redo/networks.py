"""ReDO's networks: masks from an image, a region from noise, a score from an image, noise from an image.

Sizes at 128 x 128 are those of the camera-ready's Tables 2 and 3 and of the preprint's Table 3 (the generator's is only
there), as the authors' code d6542528 builds them; on smaller canvases the innermost blocks are left out. Images here
are in [-1, 1].
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from delaminate.nets.blocks import centred
from delaminate.nets.spectral import SelfAttention, SpectralConv, convolve, orthogonal


def _linear(inputs: int, outputs: int, rng: Generator, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    _start(layer, rng, gain)
    return layer


def _conv(
    inputs: int, outputs: int, side: int, rng: Generator, gain: float, bias: bool = True, stride: int = 1
) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, side, stride, padding=1 if stride == 2 else 0, bias=bias)
    _start(layer, rng, gain)
    return layer


@torch.no_grad()
def _start(layer: nn.Linear | nn.Conv2d, rng: Generator, gain: float) -> None:
    orthogonal(layer.weight, gain, rng)
    if layer.bias is not None:
        bound = 1 / math.sqrt(layer.weight[0].numel())
        layer.bias.uniform_(-bound, bound, generator=rng)


def _norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, affine=True)


class _Residual(nn.Module):
    """Two convolutions beside a skip; norm and ReLU follow the sum."""

    def __init__(self, width: int, rng: Generator, gain: float) -> None:
        super().__init__()
        self.conv_1, self.norm_1 = _conv(width, width, 3, rng, gain, bias=False), _norm(width)
        self.conv_2, self.norm_2 = _conv(width, width, 3, rng, gain), _norm(width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm_1(convolve(x, self.conv_1.weight)))
        y = convolve(y, self.conv_2.weight, self.conv_2.bias)
        return F.relu(self.norm_2(x + y))


class MaskNetwork(nn.Module):
    """An encoder, three residual blocks, pyramid pooling, and a decoder (Table 2).

    The paper's encoder goes from 128 x 128 to 32 x 32. Unless `halvings` says otherwise, it goes there in fewer steps from
    smaller canvases, so that the finest strokes of a mask are no coarser; a canvas of 32 x 32 stays as it is.

    Departs: both papers print a last kernel of 3 x 3 with a padding of 3; the code has 7 x 7, the only one that keeps the
    size.
    """

    def __init__(
        self,
        side: int,
        num_regions: int,
        width: int,
        rng: Generator,
        gain: float,
        halvings: int | None = None,
        centre_prior: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_regions, self.centre_prior = num_regions, centre_prior
        if halvings is None:
            halvings = min(2, max(0, int(math.log2(side)) - 5))
        narrow = [width // 2**i for i in reversed(range(halvings + 1))]
        self.first, self.norm = _conv(3, narrow[0], 7, rng, gain, bias=False), _norm(narrow[0])
        self.down = nn.ModuleList(_conv(i, o, 3, rng, gain, bias=False, stride=2) for i, o in pairwise(narrow))
        self.down_norms = nn.ModuleList(_norm(o) for o in narrow[1:])
        self.residual = nn.ModuleList(_Residual(width, rng, gain) for _ in range(3))
        # Windows of a whole, a half, a third and a sixth; what does not divide is left out at the right and below.
        self.windows = tuple(max((side >> halvings) // parts, 1) for parts in (1, 2, 3, 6))
        self.pyramid = nn.ModuleList(_conv(width, 1, 1, rng, gain) for _ in self.windows)
        wide = [(width + len(self.windows)) // 2**i for i in range(halvings + 1)]
        self.up = nn.ModuleList(_conv(i, o, 3, rng, gain, bias=False) for i, o in pairwise(wide))
        self.up_norms = nn.ModuleList(_norm(o) for o in wide[1:])
        outputs = 1 if num_regions == 2 else num_regions
        self.last = _conv(wide[-1], outputs, 7, rng, gain)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B n 1 H W"]:
        """Masks of all regions; they sum to one."""
        x = F.relu(self.norm(self.first(F.pad(images, (3, 3, 3, 3), "reflect"))))
        for conv, norm in zip(self.down, self.down_norms, strict=True):
            x = F.relu(norm(conv(x)))
        for block in self.residual:
            x = block(x)
        pooled = [
            F.interpolate(conv(F.avg_pool2d(x, window)), x.shape[2:], mode="bilinear", align_corners=False)
            for conv, window in zip(self.pyramid, self.windows, strict=True)
        ]
        x = torch.cat([x, *pooled], 1)
        for conv, norm in zip(self.up, self.up_norms, strict=True):
            assert isinstance(conv, nn.Conv2d)
            x = F.relu(norm(convolve(x, conv.weight, None, "up")))
        logits = self.last(F.pad(x, (3, 3, 3, 3), "reflect")).to(images.dtype)
        if self.centre_prior:
            bump = self.centre_prior * centred(logits)
            logits = torch.cat([logits[:, :1] - bump, logits[:, 1:]], 1)
        if self.num_regions == 2:
            front = torch.sigmoid(logits)
            return torch.stack([front, 1 - front], 1)
        return logits.softmax(1)[:, :, None]


class _ConditionalNorm(nn.Module):
    """Instance norm whose scale and shift are linear maps of the noise.

    Departs: the papers say conditional batch norm; the code normalises instances.
    """

    def __init__(self, channels: int, noise_width: int, rng: Generator, gain: float) -> None:
        super().__init__()
        self.scale, self.shift = (_linear(noise_width, channels, rng, gain) for _ in range(2))

    def forward(self, x: Float[Tensor, "B C H W"], noise: Float[Tensor, "B z"]) -> Float[Tensor, "B C H W"]:
        scale, shift = self.scale(noise)[..., None, None], self.shift(noise)[..., None, None]
        return torch.addcmul(shift, scale, F.instance_norm(x))


class _UpBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, noise_width: int, rng: Generator, gain: float) -> None:
        super().__init__()
        self.norm_1 = _ConditionalNorm(inputs, noise_width, rng, gain)
        self.conv_1 = SpectralConv(inputs + 1, outputs, 3, rng, bias=False, gain=gain)
        self.norm_2 = _ConditionalNorm(outputs, noise_width, rng, gain)
        self.conv_2 = SpectralConv(outputs, outputs, 3, rng, gain=gain)
        self.skip = SpectralConv(inputs, outputs, 1, rng, gain=gain)

    def forward(self, x: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
        y = F.relu(self.norm_1(x, noise))
        y = self.conv_1(y, "up", mask)
        y = self.conv_2(F.relu(self.norm_2(y, noise)))
        return y + self.skip(x, "up")


class RegionGenerator(nn.Module):
    """Paints one region from noise, told its mask at every resolution (preprint, Table 3)."""

    def __init__(self, side: int, width: int, noise_width: int, rng: Generator, gain: float) -> None:
        super().__init__()
        blocks = int(math.log2(side)) - 2
        channels = [width * min(2**i, 16) for i in reversed(range(blocks + 1))]
        self.first = _linear(noise_width, channels[0] * 16, rng, gain)
        self.blocks = nn.ModuleList(_UpBlock(i, o, noise_width, rng, gain) for i, o in pairwise(channels))
        self.attention = SelfAttention(channels[-2], rng, gain)
        self.norm = _ConditionalNorm(width, noise_width, rng, gain)
        self.last = SpectralConv(width + 1, 3, 3, rng, gain=gain)

    def forward(self, mask: Float[Tensor, "B 1 H W"], noise: Float[Tensor, "B z"]) -> Float[Tensor, "B 3 H W"]:
        """Paint the whole canvas, in [-1, 1]; what lies outside the mask is never seen."""
        x = self.first(noise).unflatten(1, (-1, 4, 4)).contiguous(memory_format=torch.channels_last)
        for index, block in enumerate(self.blocks):
            if index == len(self.blocks) - 1:
                x = self.attention(x)
            x = block(x, F.adaptive_avg_pool2d(mask, x.shape[2:]), noise)
        return torch.tanh(self.last(F.relu(self.norm(x, noise)), mask=mask))


class _DownBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, rng: Generator, gain: float, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.conv_1 = SpectralConv(inputs, outputs, 3, rng, gain=gain)
        self.conv_2 = SpectralConv(outputs, outputs, 3, rng, gain=gain)
        self.skip = SpectralConv(inputs, outputs, 1, rng, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_1(x if self.first else F.relu(x))
        return self.conv_2(F.relu(y), "down") + self.skip(x, "down")


class _FlatBlock(nn.Module):
    def __init__(self, channels: int, rng: Generator, gain: float) -> None:
        super().__init__()
        self.conv_1, self.conv_2 = (SpectralConv(channels, channels, 3, rng, gain=gain) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_2(F.relu(self.conv_1(F.relu(x))))


class ResidualDiscriminator(nn.Module):
    """Looks at an image and says some numbers: the discriminator, and the encoder of z, which is one without attention
    (Table 3).

    The features are summed over the 4 x 4 cells without a ReLU before, and the linear layer has no spectral norm, as in
    the code.
    """

    def __init__(self, side: int, width: int, outputs: int, attention: bool, rng: Generator, gain: float) -> None:
        super().__init__()
        blocks = int(math.log2(side)) - 3
        channels = [width * min(2**i, 16) for i in range(blocks + 1)]
        self.first = _DownBlock(3, width, rng, gain, first=True)
        self.attention = SelfAttention(width, rng, gain) if attention else None
        self.blocks = nn.ModuleList(_DownBlock(i, o, rng, gain) for i, o in pairwise(channels))
        self.flat = _FlatBlock(channels[-1], rng, gain)
        self.last = _linear(channels[-1], outputs, rng, gain)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B outputs"]:
        x = self.first(images)
        if self.attention is not None:
            x = self.attention(x)
        for block in self.blocks:
            x = block(x)
        return self.last(self.flat(x).sum((2, 3))).to(images.dtype)

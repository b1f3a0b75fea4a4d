"""A plain U-Net: what is where, at the image's own resolution (Ronneberger et al., U-Net, 2015, without its cropping).

Groups are normalised, not batches, so that an image's answer does not depend on its neighbours.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from delaminate.nets.spectral import convolve


class _Convolve(nn.Module):
    """Convolve 3 x 3, normalise groups of 8 channels, ReLU."""

    def __init__(self, inputs: int, outputs: int, rng: Generator) -> None:
        super().__init__()
        deviation = math.sqrt(2 / (9 * inputs))
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3).normal_(std=deviation, generator=rng))
        self.norm = nn.GroupNorm(max(outputs // 8, 1), outputs)

    def forward(self, x: Tensor, up: bool = False) -> Tensor:
        return F.relu(self.norm(convolve(x, self.weight, None, "up" if up else "none")))


class UNet(nn.Module):
    """Map images to maps of the same size.

    Args:
        outputs: Maps.
        width: Channels at full resolution, a multiple of 8; twice as many after each halving, 8 times at the most.
        depth: Halvings; sides are multiples of 2**depth.
        rng: Draws the weights.
    """

    def __init__(self, outputs: int, width: int, depth: int, rng: Generator) -> None:
        super().__init__()
        channels = [width * min(2**level, 8) for level in range(depth + 1)]
        self.down = nn.ModuleList()
        for level, count in enumerate(channels):
            inputs = channels[level - 1] if level else 3
            self.down.append(nn.ModuleList([_Convolve(inputs, count, rng), _Convolve(count, count, rng)]))
        self.up = nn.ModuleList()
        for level in reversed(range(depth)):
            count = channels[level]
            first, second = _Convolve(channels[level + 1], count, rng), _Convolve(2 * count, count, rng)
            self.up.append(nn.ModuleList([first, second]))
        self.last = nn.Parameter(torch.empty(outputs, width, 1, 1).normal_(std=1 / math.sqrt(width), generator=rng))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B outputs H W"]:
        x, seen = images.contiguous(memory_format=torch.channels_last), []
        for level, pair in enumerate(self.down):
            x = F.max_pool2d(x, 2) if level else x
            for convolution in pair:  # type: ignore[attr-defined]
                x = convolution(x)
            seen.append(x)
        for pair in self.up:
            first, second = pair  # type: ignore[misc]
            seen.pop()
            x = second(torch.cat([first(x, up=True), seen[-1]], 1))
        return convolve(x, self.last, self.bias)

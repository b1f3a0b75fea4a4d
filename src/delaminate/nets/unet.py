"""A plain U-Net: what is where, at the image's own resolution (Ronneberger et al., U-Net, 2015, without its cropping).

Groups are normalised, not batches, so that an image's answer does not depend on its neighbours.
"""

import math
from itertools import pairwise

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
        self.first = _Convolve(3, width, rng)
        self.down = nn.ModuleList(_Convolve(i, o, rng) for i, o in pairwise(channels))
        self.flat = nn.ModuleList(_Convolve(count, count, rng) for count in channels)
        back = channels[::-1]
        self.up = nn.ModuleList(_Convolve(i, o, rng) for i, o in pairwise(back))
        self.join = nn.ModuleList(_Convolve(2 * count, count, rng) for count in back[1:])
        self.last = nn.Parameter(torch.empty(outputs, width, 1, 1).normal_(std=1 / math.sqrt(width), generator=rng))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B outputs H W"]:
        x = self.flat[0](self.first(images.contiguous(memory_format=torch.channels_last)))
        seen = [x]
        for down, flat in zip(self.down, self.flat[1:], strict=True):
            x = flat(down(F.max_pool2d(x, 2)))
            seen.append(x)
        for up, join, beside in zip(self.up, self.join, seen[-2::-1], strict=True):
            x = join(torch.cat([up(x, up=True), beside], 1))
        return convolve(x, self.last, self.bias)

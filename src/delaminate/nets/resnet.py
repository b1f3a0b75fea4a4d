"""Residual image encoders: the CIFAR form and the ImageNet form (He et al., Deep Residual Learning, 2016)."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from delaminate.nets.blocks import BatchNorm

Norm = Callable[[int], nn.Module]


class _Convolution(nn.Conv2d):
    """torch's own would draw weights from the global stream."""

    def reset_parameters(self) -> None:
        pass


def _convolution(fan_in: int, fan_out: int, size: int, stride: int, rng: Generator) -> nn.Conv2d:
    layer = _Convolution(fan_in, fan_out, size, stride, padding=size // 2, bias=False)
    # Kaiming normal, fan out.
    nn.init.normal_(layer.weight, std=math.sqrt(2 / (fan_out * size * size)), generator=rng)
    return layer


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut.

    The shortcut of the CIFAR form subsamples and pads channels with zeros (option A); the ImageNet form projects.
    """

    def __init__(self, fan_in: int, fan_out: int, stride: int, project: bool, rng: Generator, norm: Norm) -> None:
        super().__init__()
        self.conv_1, self.norm_1 = _convolution(fan_in, fan_out, 3, stride, rng), norm(fan_out)
        self.conv_2, self.norm_2 = _convolution(fan_out, fan_out, 3, 1, rng), norm(fan_out)
        self.stride, self.extra = stride, fan_out - fan_in
        self.shortcut: nn.Sequential | None = None
        if project and (stride > 1 or fan_in != fan_out):
            self.shortcut = nn.Sequential(_convolution(fan_in, fan_out, 1, stride, rng), norm(fan_out))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        y = F.relu(self.norm_1(self.conv_1(x)))
        y = self.norm_2(self.conv_2(y))
        if self.shortcut is not None:
            x = self.shortcut(x)
        elif self.stride > 1 or self.extra:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))
        return F.relu(y + x)


class ImageEncoder(nn.Module):
    """Maps images (B, 3, H, W) in [0, 1] to features (B, width, h, w).

    Attributes:
        width: Features.
        stride: Pixels of the image, along an axis, to one of the features.
    """

    width: int
    stride: int


class ResNet(ImageEncoder):
    """Encode images (B, 3, H, W) in [0, 1] into features.

    Args:
        depth: 32 (CIFAR form: stem of stride 1, widths 16, 32, 64, five blocks each, output stride 4) or 18
            (ImageNet form: 7 x 7 stem of stride 2 and max-pooling, widths 64 to 512, two blocks each, output stride 32).
        rng: Draws the weights.
        norm: Makes what normalises so many channels.
    """

    def __init__(self, depth: int, rng: Generator, norm: Norm = BatchNorm) -> None:
        super().__init__()
        if depth == 32:
            widths: tuple[int, ...] = (16, 32, 64)
            blocks, project = 5, False
            self.stem = nn.Sequential(_convolution(3, 16, 3, 1, rng), norm(16), nn.ReLU())
        else:
            widths = (64, 128, 256, 512)
            blocks, project = 2, True
            pool = nn.MaxPool2d(3, 2, padding=1)
            self.stem = nn.Sequential(_convolution(3, 64, 7, 2, rng), norm(64), nn.ReLU(), pool)
        stages: list[nn.Module] = []
        fan_in = widths[0]
        for index, width in enumerate(widths):
            for block in range(blocks):
                stages.append(BasicBlock(fan_in, width, 2 if index and block == 0 else 1, project, rng, norm))
                fan_in = width
        self.blocks = nn.Sequential(*stages)
        self.width = widths[-1]
        self.stride = 4 if depth == 32 else 32

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F h w"]:
        return self.blocks(self.stem(images))


def pooled(features: Float[Tensor, "B F h w"], side: int) -> Float[Tensor, "B F*{side}*{side}"]:
    """Average features on a side x side grid and flatten."""
    return torch.flatten(F.adaptive_avg_pool2d(features, side), 1)

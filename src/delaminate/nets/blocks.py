"""Bricks: batch normalisation over all processes, and many small MLPs as one."""

import math

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn


class SumOfAll(torch.autograd.Function):
    """Sum over all processes; so is the gradient, as often as it is taken."""

    @staticmethod
    def forward(_ctx: object, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: object, gradient: Tensor) -> Tensor:
        return SumOfAll.apply(gradient)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose training statistics cover the global batch of all processes.

    In one process it is exactly `torch.nn.BatchNorm2d`. Unlike `SyncBatchNorm` it also runs on the CPU. Every process
    must hold the same number of images.
    """

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        if not (self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(x)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        moments = torch.stack([x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])  # 2 C
        mean, square = SumOfAll.apply(moments) / count
        variance = (square - mean.square()).clamp_min(0)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        with torch.no_grad():
            unbiased = variance * (count / max(count - 1, 1))
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]


class BatchedMLP(nn.Module):
    """N independent MLPs of one shape on the same features, as batched matrix products.

    Linear(F, 128) - ReLU - Linear(128, 128) - ReLU - Linear(128, out), the last layer zero, so that every output
    starts at 0: the regressors of DTI-Sprites (authors' code c98a37c).
    """

    def __init__(self, count: int, features: int, outputs: int, rng: Generator, hidden: int = 128) -> None:
        super().__init__()
        self.weight_1, self.bias_1 = _uniform(count, features, hidden, rng)
        self.weight_2, self.bias_2 = _uniform(count, hidden, hidden, rng)
        self.weight_3 = nn.Parameter(torch.zeros(count, hidden, outputs))
        self.bias_3 = nn.Parameter(torch.zeros(count, 1, outputs))

    def forward(self, x: Float[Tensor, "B F"]) -> Float[Tensor, "B N out"]:
        count, features, hidden = self.weight_1.shape
        # The first layer sees the same rows for every head: one product of (B, F) with (F, N hidden).
        wide = x @ self.weight_1.transpose(0, 1).reshape(features, count * hidden)
        y = F.relu(wide.view(x.shape[0], count, hidden).transpose(0, 1) + self.bias_1)  # N B hidden
        y = F.relu(torch.baddbmm(self.bias_2, y, self.weight_2))
        return torch.baddbmm(self.bias_3, y, self.weight_3).transpose(0, 1)

    @torch.no_grad()
    def copy_head(self, source: int, target: int) -> None:
        """Replace one head by a copy of another."""
        for parameter in self.parameters():
            parameter[target] = parameter[source]


def _uniform(count: int, fan_in: int, fan_out: int, rng: Generator) -> tuple[nn.Parameter, nn.Parameter]:
    """Draw weights and biases as `torch.nn.Linear` does, U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    bound = 1 / math.sqrt(fan_in)
    weight = torch.empty(count, fan_in, fan_out).uniform_(-bound, bound, generator=rng)
    bias = torch.empty(count, 1, fan_out).uniform_(-bound, bound, generator=rng)
    return nn.Parameter(weight), nn.Parameter(bias)


def centred(canvas: Float[Tensor, "*B H W"]) -> Float[Tensor, "H W"]:
    """A bump of a canvas's size: 1 - 2 d^2, d being the distance from the middle, 1 at the nearest edges."""
    height, width = canvas.shape[-2:]
    down, right = (
        (torch.arange(n, dtype=canvas.dtype, device=canvas.device) + 0.5) * 2 / n - 1 for n in (height, width)
    )
    return 1 - 2 * (down.square()[:, None] + right.square())

"""Bricks of adversaries: spectrally normalised convolutions that change resolution at no extra cost, and self-attention.

    W_sn = W / (u^T W v),   v = normalise(W^T u),  u = normalise(W v)

Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018, Algorithm 1. The power iteration is not
part of the forward pass: `advance` does one for every layer of a network, once per step of its optimiser, so that a pass
has no side effect and a step can be replayed.
"""

import functools
import math
from contextlib import nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

Resample = Literal["none", "up", "down"]


def orthogonal(weight: Tensor, gain: float, rng: Generator) -> None:
    """Fill a weight with gain times an orthogonal matrix, one row per output; a weight without memory stays as it is."""
    if not weight.is_meta:
        nn.init.orthogonal_(weight, gain, generator=rng)


def spread(kernel: Float[Tensor, "O I 3 3"]) -> Float[Tensor, "O I 4 4"]:
    """Sum a kernel with itself moved by one pixel right, down, and both: its convolution with a 2 x 2 box."""
    return (kernel.flatten(2) @ _box(kernel.dtype, kernel.device)).unflatten(2, (4, 4))


# Made once: a GPU waits for whatever is brought to it. What is cached must serve training, whoever asks for it first.
@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)
def _box(dtype: torch.dtype, device: torch.device) -> Float[Tensor, "9 16"]:
    """Which pixels of a 4 x 4 kernel those of a 3 x 3 one are added to."""
    row = torch.eye(3, 4) + torch.eye(4)[1:]  # 3 4
    return torch.kron(row, row).to(dtype=dtype, device=device)


def convolve(
    x: Float[Tensor, "B I H W"],
    kernel: Float[Tensor, "O I k k"],
    bias: Float[Tensor, " O"] | None = None,
    resample: Resample = "none",
) -> Float[Tensor, "B O _H _W"]:
    """Convolve with zero padding, after doubling the size (nearest) or before halving it (mean), in one go.

    Nearest doubling followed by a 3 x 3 kernel is one transposed convolution with a 4 x 4 kernel and stride 2; a 3 x 3
    kernel followed by 2 x 2 means is one 4 x 4 kernel with stride 2. Each takes 16 products where the two steps take 36.
    A 1 x 1 kernel meets whichever image is smaller.
    """
    side = kernel.shape[-1]
    if resample == "none":
        return F.conv2d(x, kernel, bias, padding=side // 2)
    if side == 1:
        if resample == "down":
            return F.conv2d(F.avg_pool2d(x, 2), kernel, bias)
        return F.interpolate(F.conv2d(x, kernel, bias), scale_factor=2.0, mode="nearest")
    if resample == "down":
        return F.conv2d(x, spread(kernel) / 4, bias, stride=2, padding=1)
    return F.conv_transpose2d(x, spread(kernel.flip(2, 3)).transpose(0, 1), bias, stride=2, padding=1)


class SpectralConv(nn.Module):
    """A convolution whose matrix (outputs x inputs k k) has largest singular value 1, about.

    Args:
        inputs, outputs: Channels.
        side: Of the kernel in pixels, 1 or 3.
        rng: Draws the orthogonal weight, the bias U(-b, b) with b = 1 / sqrt(fan in), and the vector u.
        gain: Of the orthogonal weight.
    """

    def __init__(
        self, inputs: int, outputs: int, side: int, rng: Generator, bias: bool = True, gain: float = 0.8
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, side, side))
        orthogonal(self.weight, gain, rng)
        bound = 1 / math.sqrt(inputs * side * side)
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound, generator=rng)) if bias else None
        self.register_buffer("u", F.normalize(torch.empty(outputs).normal_(generator=rng), dim=0))
        self.register_buffer("v", torch.zeros(inputs * side * side))
        self.u: Tensor
        self.v: Tensor
        self.iterate()

    @torch.no_grad()
    def iterate(self) -> None:
        """Do one power iteration."""
        matrix = self.weight.flatten(1)
        self.v.copy_(F.normalize(matrix.T @ self.u, dim=0))
        self.u.copy_(F.normalize(matrix @ self.v, dim=0))

    def forward(
        self, x: Float[Tensor, "B I H W"], resample: Resample = "none", mask: Float[Tensor, "B 1 H W"] | None = None
    ) -> Float[Tensor, "B O _H _W"]:
        """Convolve; `mask` is one more input channel, the last, which keeps the others' number a power of two."""
        # Vectors are copied: an iteration between forward and backward must not change what backward sees.
        # A norm in bfloat16 would be off by half a percent. Shapes alone (meta) have no precision.
        kind = self.weight.device.type
        with nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False):
            kernel = self.weight / (self.u.clone() @ (self.weight.flatten(1) @ self.v.clone()))
        if mask is None:
            return convolve(x, kernel, self.bias, resample)
        return convolve(x, kernel[:, :-1], self.bias, resample) + convolve(mask, kernel[:, -1:], None, resample)


def advance(network: nn.Module) -> None:
    """Do one power iteration for every spectrally normalised layer; once per step of the network's optimiser."""
    for layer in network.modules():
        if isinstance(layer, SpectralConv):
            layer.iterate()


class SelfAttention(nn.Module):
    """Every pixel looks at all others, which are pooled 2 x 2 first.

        x + gamma * o(softmax(f(x) g(x)^T) h(x)),   gamma = 0 at first

    Reference: Zhang et al., Self-Attention Generative Adversarial Networks, 2019, section 3.
    """

    def __init__(self, channels: int, rng: Generator, gain: float = 0.8) -> None:
        super().__init__()
        narrow = max(channels // 8, 1)
        self.query = SpectralConv(channels, narrow, 1, rng, bias=False, gain=gain)
        self.key = SpectralConv(channels, narrow, 1, rng, bias=False, gain=gain)
        self.value = SpectralConv(channels, channels // 2, 1, rng, bias=False, gain=gain)
        self.out = SpectralConv(channels // 2, channels, 1, rng, bias=False, gain=gain)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        def rows(maps: Tensor) -> Tensor:
            return maps.flatten(2).transpose(1, 2)  # B HW c

        query = rows(self.query(x))
        key, value = (rows(F.max_pool2d(layer(x), 2)) for layer in (self.key, self.value))
        # Made as wide as values, with zeros, queries and keys suit the kernels that never write the weights down.
        query, key = (F.pad(part, (0, value.shape[2] - part.shape[2])) for part in (query, key))
        seen = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=1.0)[:, 0]
        return x + self.gamma * self.out(seen.transpose(1, 2).unflatten(2, x.shape[2:]))

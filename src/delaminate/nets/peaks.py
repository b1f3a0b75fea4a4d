"""Read objects from the anchors of a feature map."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn


class CentrePointHead(nn.Module):
    """Predict at every anchor of a feature map whether an object's centre lies in it, where exactly, and its colour.

    Departs: the paper's regressors see globally pooled features, from which positions are learned slowly; here each of
    the L strongest anchors becomes a layer. Outputs per anchor: logit, offset (2) in anchors, log scale, colour (6).
    """

    outputs = 10

    def __init__(self, features: int, stride: int, rng: Generator, hidden: int = 128) -> None:
        super().__init__()
        self.stride = stride
        self.hidden = nn.Conv2d(features, hidden, 1)
        self.out = nn.Conv2d(hidden, self.outputs, 1)
        for layer in (self.hidden, self.out):
            bound = 1 / math.sqrt(layer.in_channels)
            nn.init.uniform_(layer.weight, -bound, bound, generator=rng)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, features: Float[Tensor, "B F h w"]) -> Float[Tensor, "B 10 h w"]:
        return self.out(F.relu(self.hidden(features)))

    def at(
        self, maps: Float[Tensor, "B 10 h w"], rows: Int[Tensor, "B L"], columns: Int[Tensor, "B L"]
    ) -> Float[Tensor, "B L 10"]:
        index = (rows * maps.shape[3] + columns)[:, None].expand(-1, self.outputs, -1)
        return maps.flatten(2).gather(2, index).transpose(1, 2)

    def strongest(self, maps: Float[Tensor, "B 10 h w"], count: int) -> tuple[Tensor, Tensor]:
        """Find the `count` strongest anchors that are no weaker than their neighbours first: rows and columns (B, L)."""
        logit = maps[:, :1].detach()
        peak = F.max_pool2d(logit, 3, stride=1, padding=1) == logit
        # Anchors beside a stronger one come after all peaks.
        flat = torch.where(peak, logit, logit - 50).flatten(1)
        index = flat.topk(count, 1).indices
        return index // maps.shape[3], index % maps.shape[3]

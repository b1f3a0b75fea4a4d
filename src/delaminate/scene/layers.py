"""Layers: a stack of RGBA images, the currency of learning and of metrics."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from delaminate.errors import ShapeError


@dataclass(frozen=True)
class Layers:
    """A batch of layer stacks; layer 0 is furthest back.

    Attributes:
        rgb: Colour in [0, 1], not multiplied by alpha, shape (B, L, 3, H, W).
        alpha: Soft opacity in [0, 1], hidden parts included, shape (B, L, 1, H, W).
        occlusion: `occlusion[b, j, l]` in [0, 1] says how much layer j hides layer l, shape (B, L, L);
            None is the plain order, in which every layer hides those before it.
        entry: The dictionary sprite that a layer shows, -1 for its own raster, shape (B, L), or None.
        background: Layer 0 is a background: opaque, and no object.

    Raises:
        ShapeError: The parts do not fit together.
    """

    rgb: Float[Tensor, "B L 3 H W"]
    alpha: Float[Tensor, "B L 1 H W"]
    occlusion: Float[Tensor, "B L L"] | None = None
    entry: Int[Tensor, "B L"] | None = None
    background: bool = False

    def __post_init__(self) -> None:
        if self.rgb.ndim != 5 or self.rgb.shape[2] != 3:
            raise ShapeError(f"Layers: rgb is {tuple(self.rgb.shape)}; expected (B, L, 3, H, W).")
        batch, count, _, height, width = self.rgb.shape
        wanted = (batch, count, 1, height, width)
        if self.alpha.shape != wanted:
            raise ShapeError(
                f"Layers: alpha is {tuple(self.alpha.shape)}; expected {wanted} to go with rgb. "
                "Keep the channel axis of size 1."
            )
        if self.occlusion is not None and self.occlusion.shape != (batch, count, count):
            raise ShapeError(f"Layers: occlusion is {tuple(self.occlusion.shape)}; expected {(batch, count, count)}.")
        if self.entry is not None and self.entry.shape != (batch, count):
            raise ShapeError(f"Layers: entry is {tuple(self.entry.shape)}; expected {(batch, count)}.")

    def __len__(self) -> int:
        return len(self.rgb)

    @property
    def num_layers(self) -> int:
        return self.rgb.shape[1]

    def __getitem__(self, index: slice | Tensor) -> "Layers":
        """Pick images of the batch; the batch axis stays."""
        return Layers(
            self.rgb[index],
            self.alpha[index],
            None if self.occlusion is None else self.occlusion[index],
            None if self.entry is None else self.entry[index],
            self.background,
        )

    def __iter__(self) -> Iterator["Layers"]:
        return (self[i : i + 1] for i in range(len(self)))


def plain_order(num_layers: int, like: Tensor) -> Float[Tensor, "1 L L"]:
    """Make the occlusion matrix of the plain order: 1 where j > l, else 0."""
    ones = torch.ones(num_layers, num_layers, dtype=like.dtype, device=like.device)
    return torch.tril(ones, diagonal=-1)[None]

"""LayerGraph: a network and what it composites, as tensor operations alone, so that both can leave as one graph (ONNX)."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from delaminate.scene.compositing import visibility
from delaminate.scene.layers import Layers

LAYERS = "layers"
VISIBILITY = "visibility"
RECONSTRUCTION = "reconstruction"
ENTRIES = "entries"
MEANINGS = {
    LAYERS: "RGBA of every layer in [0, 1], back to front, colour not multiplied by alpha, 0 where alpha is 0",
    VISIBILITY: "the share of every layer that is seen, in [0, 1]; its argmax is the segmentation",
    RECONSTRUCTION: "what the layers composite to: RGB in [0, 1], black where nothing is",
    ENTRIES: "the sprite of the dictionary that a layer shows; -1: the layer is empty",
}
"""What every graph gives, and what graphs with sprites give besides."""


class LayerGraph(nn.Module, ABC):
    """Images in, layers out, by tensor operations alone: what `decompose` finds, as dense tensors of fixed shapes.

    Nothing in `forward` may depend on the values of a tensor but the values of others, and the number of images is
    `images.shape[0]`, never `len(images)`: it stays open while everything else is fixed.

    Attributes:
        outputs: Names of what `forward` returns, in its order, with what they are: `MEANINGS`, and more.
        background: The first layer is a background.
        aligned: The layers that are not empty are those of `decompose(...).layers()`, in the same order.
    """

    outputs: ClassVar[dict[str, str]] = {name: MEANINGS[name] for name in (LAYERS, VISIBILITY, RECONSTRUCTION)}
    background: bool = True
    aligned: bool = True

    @abstractmethod
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        """Take images in [0, 1] of the model's size apart; returns `outputs`."""


def composited(
    rgb: Float[Tensor, "B L 3 H W"], alpha: Float[Tensor, "B L 1 H W"]
) -> tuple[Float[Tensor, "B L 4 H W"], Float[Tensor, "B L 1 H W"], Float[Tensor, "B 3 H W"]]:
    """Composite layers in the plain order, back to front: `layers`, `visibility` and `reconstruction`."""
    seen = visibility(Layers(rgb, alpha))
    return torch.cat([rgb * (alpha > 0), alpha], 2), seen, (seen * rgb).sum(1)


def numbered(entries: Int[Tensor, " A"], count: int) -> Int[Tensor, " K"]:
    """Say for each of `count` sprites and one more, the empty one, where it is among the entries in use; -1: nowhere."""
    places = torch.full((count + 1,), -1)
    places[entries] = torch.arange(len(entries))
    return places

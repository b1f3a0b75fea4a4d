"""PerturbGAN's networks and their layers as one graph."""

import torch
from jaxtyping import Float
from torch import Tensor

from delaminate.methods.graph import LayerGraph, composited
from delaminate.methods.perturbgan.model import PerturbGANModel
from delaminate.scene.matting import foreground_colours


class SegmenterGraph(LayerGraph):
    """The segmenter's mask, without votes of alike pixels; the photo shows through it."""

    def __init__(self, model: PerturbGANModel) -> None:
        super().__init__()
        self.segmenter = model.segmenter

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        assert self.segmenter is not None
        mask = torch.sigmoid(self.segmenter(2 * images - 1))[:, None]  # B 1 1 H W
        alpha = torch.cat([torch.ones_like(mask), mask], 1)
        return composited(foreground_colours(images, alpha), alpha)


class EncoderGraph(LayerGraph):
    """The scene that the encoder reads off an image, painted by the generators."""

    def __init__(self, model: PerturbGANModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        layers, _, _ = self.model.invert(2 * images - 1)
        return composited(((layers.rgb + 1) / 2).clamp(0, 1), layers.alpha)

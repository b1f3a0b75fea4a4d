"""ReDO's mask network and its layers as one graph."""

from typing import cast

from jaxtyping import Float
from torch import Tensor

from delaminate.methods.graph import LayerGraph, composited
from delaminate.methods.redo.model import ReDOModel
from delaminate.scene.compositing import partition_alpha
from delaminate.scene.matting import foreground_colours


class MaskGraph(LayerGraph):
    """Masks as the network gives them, without votes of alike pixels; the photo shows through them."""

    def __init__(self, model: ReDOModel) -> None:
        super().__init__()
        self.masks, self.order = model.masks, model.order()

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        masks = cast(Tensor, self.masks(2 * images - 1))[:, self.order]
        alpha = partition_alpha(masks / masks.sum(1, True))
        return composited(foreground_colours(images, alpha), alpha)

"""The last steps from soft masks of photos to layers: outlines, small regions, colours."""

import torch
from jaxtyping import Float
from torch import Tensor

from delaminate.refinement.crf import refine
from delaminate.refinement.small_regions import remove_small_regions
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.matting import foreground_colours


def refined_ways(network: str, weight: float, min_region_area: float) -> tuple[str, ...]:
    """List the ways in which a photo can be decomposed by masks of a network, the best first.

    Args:
        network: What the masks as they are go by, such as "network".
        weight: Of the votes that bring masks to outlines; 0: masks are never refined.
        min_region_area: Share of the picture below which a region is small; 0: none is removed.
    """
    ways = {"despeckled": weight and min_region_area, "refined": weight, network: True}
    return tuple(by for by, there in ways.items() if there)


def refined_masks(
    images: Float[Tensor, "B 3 H W"], masks: Float[Tensor, "B n 1 H W"], by: str, weight: float, min_region_area: float
) -> Float[Tensor, "B n 1 H W"]:
    """Refine masks, which sum to one, in one of `refined_ways`."""
    if by in ("refined", "despeckled"):
        masks = refine(images, masks, weight)
    return remove_small_regions(masks, min_region_area) if by == "despeckled" else masks


def photo_layers(images: Float[Tensor, "B 3 H W"], alpha: Float[Tensor, "B n 1 H W"]) -> Float[Tensor, "B n 4 H W"]:
    """Let photos show through alphas, the first of them opaque: RGBA layers that composite back to the photos."""
    return torch.cat([foreground_colours(images, alpha), alpha], 2)


def photo_decomposition(layers: list[Float[Tensor, "b n 4 H W"]]) -> Decomposition:
    """Join batches of layers, the first of each image a background, to a decomposition."""
    return Decomposition.from_rasters(torch.cat(layers), background=True)

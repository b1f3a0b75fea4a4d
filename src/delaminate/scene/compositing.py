"""Layers become an image.

    visibility_l = alpha_l * prod_{j != l} (1 - occlusion[j, l] * alpha_j)
    image        = sum_l visibility_l * rgb_l

All four methods are this formula on a suitable stack. With a strict order it is the familiar `over`
(Porter and Duff, Compositing Digital Images, 1984); with the soft matrix that DTI-Sprites predicts (Monnier
et al., ICCV 2021, section 3.1) overlapping layers of undecided order lose light.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from delaminate.errors import ShapeError
from delaminate.scene.layers import Layers


def over(
    rgb: Float[Tensor, "... 3 H W"], alpha: Float[Tensor, "... 1 H W"], behind: Float[Tensor, "... 3 H W"]
) -> Float[Tensor, "... 3 H W"]:
    """Put one layer over an opaque image: alpha * rgb + (1 - alpha) * behind."""
    return alpha * rgb + (1 - alpha) * behind


def visibility(layers: Layers) -> Float[Tensor, "B L 1 H W"]:
    """Say how much of each layer reaches the eye, in [0, 1].

    The plain order takes L products from front to back; an occlusion matrix takes L^2.
    """
    alpha = layers.alpha
    if layers.num_layers == 0:
        return alpha  # nothing was found: nothing is seen
    if layers.occlusion is None:
        through = torch.ones_like(alpha[:, 0])
        seen: list[Tensor] = []
        for index in reversed(range(layers.num_layers)):
            seen.append(alpha[:, index] * through)
            through = through * (1 - alpha[:, index])
        return torch.stack(seen[::-1], 1)  # B L 1 H W
    seen = []
    for index in range(layers.num_layers):
        # How much every other layer lets through; a layer does not hide itself.
        hides = layers.occlusion[:, :, index].clone()  # B L
        hides[:, index] = 0
        seen.append(alpha[:, index] * (1 - hides[:, :, None, None, None] * alpha).prod(1))
    return torch.stack(seen, 1)


def composite(layers: Layers) -> Float[Tensor, "B 3 H W"]:
    """Flatten a stack. Where nothing covers a pixel it is black."""
    return (visibility(layers) * layers.rgb).sum(1)


def segment(layers: Layers) -> Int[Tensor, "B H W"]:
    """Name the layer that is seen most at each pixel.

    Returns:
        Labels; 0 is the background. With a background layer, label l is layer l. Without one, label l is
        layer l - 1, and a pixel is 0 where prod_l (1 - alpha_l) exceeds every visibility.
    """
    seen = visibility(layers)[:, :, 0]  # B L H W
    if layers.num_layers == 0:
        return torch.zeros_like(seen.sum(1), dtype=torch.int64)
    if layers.background:
        return seen.argmax(1)
    best, label = seen.max(1)
    nothing = (1 - layers.alpha[:, :, 0]).prod(1)
    return torch.where(nothing > best, 0, label + 1)


def from_partition(
    rgb: Float[Tensor, "B L 3 H W"], masks: Float[Tensor, "B L 1 H W"], background: bool = False
) -> Layers:
    """Make a plain-order stack whose visibilities equal masks that sum to one.

        alpha_0 = 1,   alpha_l = m_l / sum_{j <= l} m_j   (0 where that sum is 0)

    For export and metrics; training uses the masks themselves.

    Raises:
        ShapeError: The masks do not sum to one within 1e-3.
    """
    off = (masks.sum(1) - 1).abs()
    if not bool((off <= 1e-3).all()):
        worst = float(off.max())
        raise ShapeError(
            f"from_partition: the masks sum to one only within {worst:.3g}; expected 1e-3. Normalise them first."
        )
    return Layers(rgb, partition_alpha(masks), background=background)


def partition_alpha(masks: Float[Tensor, "B L 1 H W"]) -> Float[Tensor, "B L 1 H W"]:
    """The alphas of `from_partition`, of masks that are known to sum to one."""
    below = masks.cumsum(1)
    alpha = torch.where(below > 0, masks / below.clamp_min(torch.finfo(masks.dtype).tiny), 0.0)
    return torch.cat([torch.ones_like(alpha[:, :1]), alpha[:, 1:]], 1)


def strict_order(occlusion: Float[Tensor, "B L L"]) -> Int[Tensor, "B L"]:
    """Turn pairwise preferences into an order, back to front.

    From the back, the next layer is the one that hides fewest of those still to come (preferences above 0.5), so
    preferences without a cycle are kept exactly, undecided pairs among them or not; ties and cycles fall back on the
    sum of preferences, then on the index. The diagonal does not count.

    Departs: the DTI-Sprites code thresholds each pair at 0.5, which leaves ties and cycles unresolved.
    """
    batch, count, _ = occlusion.shape
    strength = occlusion * (1 - torch.eye(count, dtype=occlusion.dtype, device=occlusion.device))
    hides = (strength > 0.5).to(occlusion.dtype)
    preference = strength.sum(2) / (count + 1)  # below 1: it only breaks ties
    remaining = torch.ones(batch, count, dtype=occlusion.dtype, device=occlusion.device)
    order: list[Tensor] = []
    for _ in range(count):
        score = (hides @ remaining[:, :, None])[:, :, 0] + preference
        chosen = score.masked_fill(remaining == 0, torch.inf).argmin(1)
        order.append(chosen)
        remaining = remaining.scatter(1, chosen[:, None], 0)
    return torch.stack(order, 1) if order else occlusion.new_zeros(batch, 0, dtype=torch.int64)


def pairwise_occlusion(logits: Float[Tensor, "B P"], count: int) -> Float[Tensor, "B L L"]:
    """Make an occlusion matrix of one logit per pair (j > l): sigmoids below the diagonal, what is left to 1 above."""
    rows, columns = torch.tril_indices(count, count, offset=-1)
    strength = torch.sigmoid(logits)
    flat = logits.new_zeros(logits.shape[0], count * count)
    flat = flat.index_copy(1, (rows * count + columns).to(logits.device), strength)
    flat = flat.index_copy(1, (columns * count + rows).to(logits.device), 1 - strength)
    return flat.view(-1, count, count)

"""What soft masks should be: not empty, not everything, decided; smooth, off the border, and not all alike.

The published pair (Bielski and Favaro, 2019, as the authors' code 0a28b3b4 executes it) is `coverage` and `binarization`. Both
are linear in a mask below one half, so that a uniform grey mask satisfies both and no pixel need ever belong to the
object. `area_within` measures a sharpened mask, for which grey is nothing.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def coverage(masks: Float[Tensor, "B 1 H W"], least: float) -> Float[Tensor, ""]:
    """mean_b relu(least - mean_xy m): every mask covers some share of its image."""
    return F.relu(least - masks.mean((1, 2, 3))).mean()


def binarization(masks: Float[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """mean min(m, 1 - m): how far masks in [0, 1] are from 0 and 1, at most 1/2."""
    return torch.minimum(masks, 1 - masks).mean()


def indecision(masks: Float[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """mean 2 m (1 - m): like `binarization`, but concave: half a mask in two places costs more than one in one place."""
    return (2 * masks * (1 - masks)).mean()


def sharpened(masks: Float[Tensor, "*B H W"], power: float = 4.0) -> Float[Tensor, "*B H W"]:
    """s = m^p / (m^p + (1 - m)^p): 0, 1/2 and 1 stay, all else moves towards the nearer end."""
    one, other = masks.pow(power), (1 - masks).pow(power)
    return one / (one + other)


def area_within(masks: Float[Tensor, "B 1 H W"], least: float, most: float) -> Float[Tensor, ""]:
    """mean_b relu(least - mean s) + relu(mean s - most) of sharpened masks s: what is decided covers a share in a range."""
    area = sharpened(masks).mean((1, 2, 3))
    return (F.relu(least - area) + F.relu(area - most)).mean()


def mask_diversity(masks: Float[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """mean |m - m'| over pairs of masks, the first and the second, the third and the fourth, and so on; 0 without a pair.

    To ask for some is mode-seeking regularisation (Mao et al., 2019).
    """
    pairs = len(masks) // 2
    if not pairs:
        return masks.new_zeros(())
    return (masks[0 : 2 * pairs : 2] - masks[1 : 2 * pairs : 2]).abs().mean()


def total_variation(masks: Float[Tensor, "*B H W"]) -> Float[Tensor, ""]:
    """Mean over pixels of |m - its right neighbour| + |m - the one below|, the edge's pixels being their own neighbours."""
    return _edges(masks).sum() / masks.numel()


def compactness(masks: Float[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """mean_b TV(m_b) / 4 sqrt(sum m_b): the length of outlines, by that of a square of the same size; 1 for a square.

    Unlike the total variation it does not ask masks to be small: only holes, arms and scattered pieces cost more.
    """
    return (_edges(masks) / (4 * masks.sum((-2, -1)).clamp_min(1.0).sqrt())).mean()


def _edges(masks: Float[Tensor, "*B H W"]) -> Float[Tensor, "*B"]:
    """Sum over the pixels of each mask of |m - its right neighbour| + |m - the one below|."""
    right = (masks[..., 1:] - masks[..., :-1]).abs().sum((-2, -1))
    down = (masks[..., 1:, :] - masks[..., :-1, :]).abs().sum((-2, -1))
    return right + down


def border_and_inside(masks: Float[Tensor, "B 1 H W"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean of masks along the border, a sixteenth of the canvas wide (at least a pixel), and over all else."""
    side = max(masks.shape[-1] // 16, 1)
    frame = masks.new_ones(masks.shape[-2:])
    frame[side:-side, side:-side] = 0
    return (masks * frame).mean() / frame.mean(), masks[..., side:-side, side:-side].mean()

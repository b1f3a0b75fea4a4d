"""Connected parts of regions: small ones go to what is beside them, and several large ones may be several things.

Votes by colour (`crf.refine`) know no shape: a pixel of the background that has the object's colour is given to it.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy import ndimage
from torch import Tensor


@torch.no_grad()
def remove_small_regions(masks: Float[Tensor, "B n 1 H W"], least: float) -> Float[Tensor, "B n 1 H W"]:
    """Give pixels of small parts the masks of the nearest pixel that is in none.

    A part is what hangs together by the sides of its pixels and is won by one region. The largest part of each region stays,
    however small it is.

    Args:
        masks: Of n regions.
        least: Size of the smallest part that stays, as a share of the picture.

    Returns:
        Masks that sum to what they summed to. Synchronises with the device.
    """
    found = masks[:, :, 0]
    nearest = [_nearest_kept(winners, least) for winners in found.argmax(1).cpu().numpy()]
    if not nearest:
        return masks
    index = torch.from_numpy(np.stack(nearest)).to(masks.device).flatten(1)[:, None]  # B 1 HW
    return found.flatten(2).gather(2, index.expand(-1, found.shape[1], -1)).view_as(masks)


def has_separate_parts(labels: Int64[Tensor, "B H W"]) -> Bool[Tensor, " B"]:
    """Say in which images a region lies in two parts or more, the second at least a third as large as the first.

    Args:
        labels: Of the regions; 0, the background, is not looked at.
    """
    found = []
    for winners in labels.cpu().numpy():
        sizes = [
            np.bincount(ndimage.label(winners == region)[0].ravel())[1:] for region in np.unique(winners) if region
        ]
        found.append(any(len(each) > 1 and 3 * np.sort(each)[-2] >= each.max() for each in sizes))
    return torch.tensor(found, dtype=torch.bool)


def _nearest_kept(winners: np.ndarray, least: float) -> np.ndarray:
    """Say for every pixel which one is nearest, by its place in rows, that is in no small region."""
    small_parts = _small_regions(winners, least)
    rows, columns = ndimage.distance_transform_edt(small_parts, return_distances=False, return_indices=True)
    return rows.astype(np.int64) * winners.shape[1] + columns


def _small_regions(winners: np.ndarray, least: float) -> Bool[np.ndarray, "H W"]:
    small_parts = np.zeros(winners.shape, dtype=bool)
    for region in np.unique(winners):
        parts, count = ndimage.label(winners == region)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        small = sizes < least * winners.size
        small[0] = small[1 + sizes[1:].argmax()] = False
        small_parts |= small[parts]
    return small_parts

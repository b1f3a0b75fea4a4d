"""Two regions, foreground and background: accuracy and IoU, and what swapping the two may do.

Each figure is computed per image and averaged. The plain one takes the prediction at its word (label 0 is
background). `_split` allows one swap for the whole split, chosen on validation images. `_best` swaps
each image, and each figure separately, as the truth likes it best: an oracle, for comparison with ReDO's
published numbers only (accuracy can never fall below one half).
"""

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from delaminate.errors import ShapeError
from delaminate.metrics.assignment import LabelArray, label_pair
from delaminate.scene.placements import Decomposition, paint

FIGURES = ("accuracy", "iou", "miou")


def foreground_figures(
    true: LabelArray,
    predicted: LabelArray,
    validation: tuple[LabelArray, LabelArray] | None = None,
) -> dict[str, float]:
    """Accuracy, foreground IoU, and the mean IoU of both regions.

    Args:
        true: Labels (B, H, W): 0 background, above 0 foreground, -1 left out.
        predicted: Labels (B, H, W), 0 background.
        validation: Other images' labels and predictions; they choose the swap of `_split` by mean
            accuracy. Without them there are no `_split` figures.

    Returns:
        `accuracy`, `iou`, `miou`, and each with `_best` and, given validation, `_split`.

    Raises:
        ShapeError: The shapes differ, or there is no image.
    """
    plain = foreground_per_image(true, predicted)
    swapped = foreground_per_image(true, predicted, swap=True)
    figures = {name: float(plain[name].mean()) for name in FIGURES}
    if validation is not None:
        chosen = swapped if prefers_swap(*validation) else plain
        figures |= {f"{name}_split": float(chosen[name].mean()) for name in FIGURES}
    return figures | {f"{name}_best": float(np.maximum(plain[name], swapped[name]).mean()) for name in FIGURES}


def prefers_swap(true: LabelArray, predicted: LabelArray) -> bool:
    """Whether calling the predicted foreground background raises the mean accuracy."""
    return float(foreground_per_image(true, predicted)["accuracy"].mean()) < 0.5


def foreground_per_image(
    true: LabelArray, predicted: LabelArray, swap: bool = False
) -> dict[str, Float64[np.ndarray, " B"]]:
    """The three figures of each image; an IoU of two empty regions is 1."""
    true, predicted = label_pair(true, predicted)
    if true.ndim != 3 or len(true) == 0:
        raise ShapeError(f"label maps are {true.shape}; expected (B, H, W) with at least one image")
    known, front = true >= 0, (predicted != 0) ^ swap
    iou = _iou(true > 0, front, known)
    background = _iou(true == 0, ~front, known)
    agreed = ((true > 0) == front) & known
    pixels = known.sum(axis=(1, 2))
    accuracy = np.where(pixels == 0, 1.0, agreed.sum(axis=(1, 2)) / np.maximum(pixels, 1))
    return {"accuracy": accuracy, "iou": iou, "miou": (iou + background) / 2}


def covered(found: Decomposition) -> Bool[Tensor, "B H W"]:
    """Where the objects of each image together are opaque by more than half: 1 - prod(1 - alpha) > 0.5.

    The first placement of a decomposition with a background is no object, and neither are entries that are
    backgrounds.
    """
    through = torch.ones(len(found), *found.size)
    for image, placements in zip(through, found.images, strict=True):
        for placement in placements[1 if found.background else 0 :]:
            if placement.entry not in found.dictionary.backgrounds:
                window = paint(found.dictionary, placement)
                image[window.slices] *= 1 - window.alpha[0].to(image)
    return through < 0.5


def _iou(
    true: Bool[np.ndarray, "B H W"], predicted: Bool[np.ndarray, "B H W"], known: Bool[np.ndarray, "B H W"]
) -> Float64[np.ndarray, " B"]:
    both = (true & predicted & known).sum(axis=(1, 2))
    either = ((true | predicted) & known).sum(axis=(1, 2))
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))

"""Named regions, the same in every image: accuracy and IoU, and what other names for the prediction may do.

Most often there are two, background and foreground. Each figure is computed per image and averaged. The plain one
takes the prediction at its word: label k is region k, label 0 the background. `_split` allows one naming of the
predicted labels for the whole split, chosen on validation images. `_best` names the labels of each image, and for each
figure separately, as the truth likes it best: an oracle, for comparison with ReDO's published numbers only (with two
regions, accuracy can never fall below one half).
"""

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from delaminate.errors import ShapeError
from delaminate.metrics.assignment import LabelArray, confusion_matrix, hungarian, label_pair
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.painting import paint

FIGURES = ("accuracy", "iou", "miou")
TIE = 1e-9  # of accuracy: below this, the prediction keeps its own names


def foreground_figures(
    true: LabelArray,
    predicted: LabelArray,
    validation: tuple[LabelArray, LabelArray] | None = None,
    num_regions: int = 2,
) -> dict[str, float]:
    """Accuracy, foreground IoU, and the mean IoU of all regions.

    Args:
        true: Labels (B, H, W): 0 background, then the other regions, -1 left out. Of two regions, all above 0 is
            foreground.
        predicted: Labels (B, H, W), 0 background. Of two regions, all above 0 is foreground; of more, labels beyond the
            last region are wrong by their own names, and foreground.
        validation: Other images' labels and predictions; they choose the names of `_split` by mean accuracy. Without
            them there are no `_split` figures.
        num_regions: How many regions there are, the background included.

    Returns:
        `accuracy`, `iou`, `miou`, and each with `_best` and, given validation, `_split`.

    Raises:
        ShapeError: The shapes differ, there is no image or less than two regions, or a true label is none of them.
    """
    confusions = region_confusions(true, predicted, num_regions)
    plain = _named(confusions, own_names(confusions))
    figures = {name: float(plain[name].mean()) for name in FIGURES}
    if validation is not None:
        names = split_names(region_confusions(*validation, num_regions))
        # Labels that the validation images do not have stay without a region.
        known = np.full(max(len(names), confusions.shape[2]), -1, dtype=np.int64)
        known[: len(names)] = names
        chosen = _named(confusions, known[: confusions.shape[2]])
        figures |= {f"{name}_split": float(chosen[name].mean()) for name in FIGURES}
    best = _best(confusions)
    return figures | {f"{name}_best": float(best[name].mean()) for name in FIGURES}


def region_confusions(true: LabelArray, predicted: LabelArray, num_regions: int = 2) -> Int64[np.ndarray, "B n P"]:
    """Count the pixels of each image by true region and predicted label; at least as many labels as regions.

    Raises:
        ShapeError: As `foreground_figures`.
    """
    true, predicted = label_pair(true, predicted)
    if true.ndim != 3 or len(true) == 0:
        raise ShapeError(f"label maps are {true.shape}; expected (B, H, W) with at least one image")
    if num_regions < 2:
        raise ShapeError(f"there are {num_regions} regions; expected the background and at least one more")
    if num_regions == 2:
        true, predicted = np.minimum(true, 1), (predicted != 0).astype(np.int64)
    labels = max(num_regions, int(predicted.max()) + 1)
    pairs = zip(true, predicted, strict=True)
    return np.stack([confusion_matrix(*pair, num_regions, labels) for pair in pairs])


def own_names(confusions: Int64[np.ndarray, "B n P"]) -> Int64[np.ndarray, " P"]:
    """The region of each predicted label by the prediction's own names; -1: none."""
    labels = np.arange(confusions.shape[2])
    return np.where(labels < confusions.shape[1], labels, -1)


def split_names(confusions: Int64[np.ndarray, "B n P"]) -> Int64[np.ndarray, " P"]:
    """The region of each predicted label, one to one, such that the mean accuracy over the images is highest.

    Each image with a pixel to judge weighs the same. The prediction's own names are kept where no others are better.
    -1: a label that is left over.
    """
    own = own_names(confusions)
    pixels = confusions.sum(axis=(1, 2), keepdims=True)
    shares = (confusions / np.maximum(pixels, 1)).sum(axis=0) / max((pixels > 0).sum(), 1)  # n P
    found = hungarian(shares)
    accuracy = [shares[names[names >= 0], names >= 0].sum() for names in (own, found)]
    return found if accuracy[1] > accuracy[0] + TIE else own


def prefers_swap(true: LabelArray, predicted: LabelArray) -> bool:
    """Whether calling the predicted foreground background raises the mean accuracy."""
    return bool(split_names(region_confusions(true, predicted))[0] != 0)


def foreground_per_image(
    true: LabelArray, predicted: LabelArray, swap: bool = False
) -> dict[str, Float64[np.ndarray, " B"]]:
    """The three figures of each image for two regions; an IoU of two empty regions is 1."""
    return _named(region_confusions(true, predicted), np.array([1, 0] if swap else [0, 1]))


def role_swaps(true: LabelArray, predicted: LabelArray) -> float:
    """Share of the images in which what was called background overlaps the true foreground more (by IoU).

    Raises:
        ShapeError: The shapes differ, or there is no image.
    """
    plain, swapped = (foreground_per_image(true, predicted, swap)["iou"] for swap in (False, True))
    return float((swapped > plain).mean())


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


def named_miou(confusions: Int64[np.ndarray, "B n P"], names: Int64[np.ndarray, " P"]) -> float:
    """The mean IoU of all regions once the predicted labels have these names."""
    return float(_named(confusions, names)["miou"].mean())


def _named(
    confusions: Int64[np.ndarray, "B n P"], names: Int64[np.ndarray, " P"]
) -> dict[str, Float64[np.ndarray, " B"]]:
    """The figures of each image once label p is called region names[p]; the IoU of two empty regions is 1."""
    regions = np.arange(confusions.shape[1])
    renamed = confusions @ (names[:, None] == regions)  # B n n
    agreed = renamed[:, regions, regions]  # B n
    pixels = confusions.sum(axis=(1, 2))
    either = confusions.sum(axis=2) + renamed.sum(axis=1) - agreed  # B n
    front = confusions[:, 1:, names != 0].sum(axis=(1, 2))
    return {
        "accuracy": _share(agreed.sum(axis=1), pixels),
        "iou": _share(front, pixels - renamed[:, 0, 0]),
        "miou": _share(agreed, either).mean(axis=1),
    }


def _best(confusions: Int64[np.ndarray, "B n P"]) -> dict[str, Float64[np.ndarray, " B"]]:
    """The highest figures of each image under any names, for each figure separately."""
    pixels, true = confusions.sum(axis=(1, 2)), confusions.sum(axis=2, keepdims=True)
    overlap = _share(confusions, true + confusions.sum(axis=1, keepdims=True) - confusions)  # B n P
    # Which label is the background decides about the foreground.
    front = confusions[:, 1:].sum(axis=(1, 2))[:, None] - confusions[:, 1:].sum(axis=1)  # B P
    return {
        "accuracy": _share(_matched(confusions), pixels),
        "iou": _share(front, pixels[:, None] - confusions[:, 0]).max(axis=1),
        "miou": _matched(overlap) / confusions.shape[1],
    }


def _matched(values: np.ndarray) -> np.ndarray:
    """The largest sum of each image's values over one-to-one pairs of regions and labels."""
    return np.array([image[linear_sum_assignment(image, maximize=True)].sum() for image in values])


def _share(part: np.ndarray, whole: np.ndarray) -> Float64[np.ndarray, "..."]:
    """Part of a whole; all of nothing is 1."""
    return np.where(whole == 0, 1.0, part / np.maximum(whole, 1))

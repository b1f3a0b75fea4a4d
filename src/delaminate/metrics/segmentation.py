"""How well layers match the objects that are there: ARI, classes, instances.

Truth and prediction are label maps (B, H, W) of integers; 0 is background. Pixels whose true label is -1
are left out everywhere. Names of predicted labels do not matter, except that 0 means background.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from delaminate.errors import ShapeError
from delaminate.metrics.assignment import LabelArray, confusion_matrix, hungarian, label_pair

MIN_INSTANCE_PIXELS = 4


def adjusted_rand_index(true: LabelArray, predicted: LabelArray) -> float:
    """Adjusted Rand index of two labellings of any one shape.

        (sum_ij C(n_ij, 2) - e) / ((sum_i C(a_i, 2) + sum_j C(b_j, 2)) / 2 - e),
        e = sum_i C(a_i, 2) sum_j C(b_j, 2) / C(n, 2)

    Returns:
        At most 1; 0 on average for random labels; 1 where the formula is 0 / 0 (both labellings are
        trivial in the same way, or there is nothing to label).

    Raises:
        ShapeError: The shapes differ.

    Reference: Hubert and Arabie, Comparing Partitions, 1985.
    """
    true, predicted = label_pair(true, predicted)
    return float(ari(true.reshape(1, 1, -1), predicted.reshape(1, 1, -1))[0])


def ari(true: LabelArray, predicted: LabelArray) -> Float64[np.ndarray, " B"]:
    """Adjusted Rand index of each image over all its pixels, background included."""
    true, predicted = _maps(true, predicted)
    return _ari(true, predicted, true >= 0)


def ari_fg(true: LabelArray, predicted: LabelArray) -> Float64[np.ndarray, " B"]:
    """Adjusted Rand index of each image over the pixels of true objects, labels as predicted.

    A predicted background inside objects is one label among others. An image without objects scores 1.
    """
    true, predicted = _maps(true, predicted)
    return _ari(true, predicted, true > 0)


def ari_fg_helped(
    true: LabelArray,
    predicted: LabelArray,
    images: Float[Tensor, "B 3 H W"],
    layers_rgb: Float[Tensor, "B L 3 H W"],
) -> Float64[np.ndarray, " B"]:
    """`ari_fg` after the truth has told the model which of its background pixels are objects.

    Every pixel of a true object that was labelled 0 goes to the object layer whose colour there is
    nearest (squared error). This is how DTI-Sprites' figures were made; it flatters.

    Args:
        true, predicted: Labels; label k of the prediction is object layer k - 1.
        images: The images that were decomposed, in [0, 1].
        layers_rgb: Colours of the L object layers, background left out, in [0, 1].

    Raises:
        ShapeError: The shapes do not fit.

    Reference: evaluation code of Monnier et al., Unsupervised Layered Image Decomposition into Object
    Prototypes, 2021.
    """
    true, predicted = _maps(true, predicted)
    expected = (len(images), *images.shape[1:])
    if (layers_rgb.shape[0], *layers_rgb.shape[2:]) != expected or true.shape != (
        expected[0],
        *expected[2:],
    ):
        raise ShapeError(
            f"ari_fg_helped: labels {true.shape}, images {tuple(images.shape)} and layers "
            f"{tuple(layers_rgb.shape)} do not fit; expected (B, H, W), (B, 3, H, W) and (B, L, 3, H, W)"
        )
    # One layer at a time: a stack of differences would be L times the batch.
    errors = [(layers_rgb[:, layer] - images).square().sum(1) for layer in range(layers_rgb.shape[1])]
    lost = (true > 0) & (predicted == 0)
    if errors and lost.any():
        nearest = np.stack([error.detach().cpu().numpy() for error in errors]).argmin(axis=0)  # B H W
        predicted = np.where(lost, nearest + 1, predicted)
    return _ari(true, predicted, true > 0)


@dataclass
class ClassConfusion:
    """Classes of pixels over a whole data set, one confusion matrix for all images.

    Attributes:
        num_classes: True classes, background included.
        num_predicted: Predicted classes, background included; may be more or fewer.
        counts: Pixels by true and predicted class.
    """

    num_classes: int
    num_predicted: int
    counts: Int64[np.ndarray, "T P"] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.num_classes, self.num_predicted), dtype=np.int64)

    def update(self, true: LabelArray, predicted: LabelArray) -> None:
        """Count the pixels of some images."""
        self.counts += confusion_matrix(true, predicted, self.num_classes, self.num_predicted)

    def figures(self) -> dict[str, float]:
        """Pixel accuracy, mean class accuracy and mean class IoU after one Hungarian matching.

        Background takes part in the matching like any class. Predicted classes that match none are
        errors; true classes that are matched by none, or have no pixel, count as 0 (as published).
        """
        assigned = hungarian(self.counts)
        named = np.flatnonzero(assigned >= 0)
        agreed = np.zeros(self.num_classes, dtype=np.int64)
        claimed = np.zeros(self.num_classes, dtype=np.int64)
        agreed[assigned[named]] = self.counts[assigned[named], named]
        claimed[assigned[named]] = self.counts[:, named].sum(axis=0)
        present = self.counts.sum(axis=1)
        return {
            "pixel_accuracy": float(agreed.sum() / max(present.sum(), 1)),
            "class_accuracy": float((agreed / np.maximum(present, 1)).mean()),
            "class_miou": float((agreed / np.maximum(present + claimed - agreed, 1)).mean()),
        }


# IoU thresholds: 0.25, and 0.5 to 0.95 in steps of 0.05.
THRESHOLDS = (0.25, *(round(0.5 + step / 20, 2) for step in range(10)))


@dataclass
class InstanceMatches:
    """Objects found, missed and invented over a whole data set.

    An object counts from 4 pixels on. True and predicted objects of an image are matched one to one, such that
    their IoUs sum up to the most (Hungarian); a pair is a find when its IoU is at least a threshold.
    """

    num_matched: Int64[np.ndarray, " thresholds"] = field(default_factory=lambda: np.zeros(len(THRESHOLDS), np.int64))
    num_true: int = 0
    num_predicted: int = 0

    def update(self, true: LabelArray, predicted: LabelArray) -> None:
        """Match the objects of some images (B, H, W)."""
        for true_map, predicted_map in zip(*_maps(true, predicted), strict=True):
            iou, true_names, predicted_names = instance_iou(true_map, predicted_map)
            self.count(iou)
            assert iou.shape == (len(true_names), len(predicted_names))

    def count(self, iou: Float64[np.ndarray, "t p"]) -> None:
        """Match the objects of one image, given all their IoUs."""
        rows, columns = linear_sum_assignment(iou, maximize=True)
        self.num_matched += (iou[rows, columns][None] >= np.array(THRESHOLDS)[:, None]).sum(1)
        self.num_true += iou.shape[0]
        self.num_predicted += iou.shape[1]

    def figures(self) -> dict[str, float]:
        """Precision, recall and F1 at IoU 0.5; F1 at 0.25 and 0.75, and its mean over 0.5, 0.55, ..., 0.95.

        A share of nothing is 1 when both sides are empty, else 0.
        """
        empty = float(self.num_true == self.num_predicted == 0)
        matched = int(self.num_matched[THRESHOLDS.index(0.5)])
        total = self.num_true + self.num_predicted
        f1 = 2 * self.num_matched / total if total else np.full(len(THRESHOLDS), empty)
        return {
            "precision": matched / self.num_predicted if self.num_predicted else empty,
            "recall": matched / self.num_true if self.num_true else empty,
            "f1": float(f1[THRESHOLDS.index(0.5)]),
            "f1_25": float(f1[THRESHOLDS.index(0.25)]),
            "f1_75": float(f1[THRESHOLDS.index(0.75)]),
            "f1_mean": float(f1[1:].mean()),
        }


def instance_iou(
    true: Int64[np.ndarray, "H W"], predicted: Int64[np.ndarray, "H W"]
) -> tuple[Float64[np.ndarray, "t p"], Int64[np.ndarray, " t"], Int64[np.ndarray, " p"]]:
    """IoU of every true with every predicted object of an image, from 4 pixels on.

    Returns:
        The IoUs, and the labels of their rows and columns.
    """
    known = true >= 0
    true_names, true_dense, true_sizes = np.unique(true[known], return_inverse=True, return_counts=True)
    names, dense, sizes = np.unique(predicted[known], return_inverse=True, return_counts=True)
    overlap = confusion_matrix(true_dense, dense, len(true_names), len(names))
    rows = (true_names != 0) & (true_sizes >= MIN_INSTANCE_PIXELS)
    columns = (names != 0) & (sizes >= MIN_INSTANCE_PIXELS)
    shared = overlap[rows][:, columns]
    either = true_sizes[rows][:, None] + sizes[columns][None] - shared
    return shared / np.maximum(either, 1), true_names[rows], names[columns]


def _maps(true: LabelArray, predicted: LabelArray) -> tuple[np.ndarray, np.ndarray]:
    true, predicted = label_pair(true, predicted)
    if true.ndim != 3:
        raise ShapeError(f"label maps are {true.shape}; expected (B, H, W)")
    return true, predicted


def _ari(true: np.ndarray, predicted: np.ndarray, judged: np.ndarray) -> Float64[np.ndarray, " B"]:
    """All contingency tables at once: sparse counts of (image, true, predicted)."""
    num_images = len(true)
    image = np.broadcast_to(np.arange(num_images)[:, None, None], true.shape)[judged]
    rows = _pairs_of(image, true[judged])
    columns = _pairs_of(image, predicted[judged])
    cells = _pairs_of(rows, columns)
    sums = []
    for groups in (cells, rows, columns, image):
        size = np.bincount(groups).astype(np.float64)
        owner = np.zeros(len(size), dtype=np.int64)
        owner[groups] = image
        sums.append(np.bincount(owner, weights=size * (size - 1) / 2, minlength=num_images))
    both, in_true, in_predicted, pairs = sums
    expected = in_true * in_predicted / np.maximum(pairs, 1)
    largest = (in_true + in_predicted) / 2
    same = largest == expected
    return np.where(same, 1.0, (both - expected) / np.where(same, 1.0, largest - expected))


def _pairs_of(first: np.ndarray, second: np.ndarray) -> Int64[np.ndarray, " n"]:
    """Number the distinct pairs of two label arrays, without gaps in memory growing with their values."""
    if first.size == 0:
        return first.astype(np.int64)
    dense = np.unique(second, return_inverse=True)[1]
    numbered = first.astype(np.int64) * (int(dense.max()) + 1) + dense
    # Few pairs: no sort is needed, a table of their numbers will do.
    table = np.bincount(numbered) > 0
    return np.asarray((np.cumsum(table) - 1)[numbered])

"""Objects found, where the truth is boxes: the tight box of what is seen of each predicted object is matched."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.ndimage import find_objects
from scipy.optimize import linear_sum_assignment

from delaminate.metrics.segmentation import MIN_INSTANCE_PIXELS

Box = tuple[str, float, float, float, float]


@dataclass
class BoxMatches:
    """Boxes found, missed and invented over a whole data set.

    A predicted object counts from 4 visible pixels on. True and predicted boxes of an image are matched one to one by
    IoU (Hungarian); a pair is a find from `threshold` on. Predictions that are no find are left out where more than
    half of their pixels lie in ignored areas.
    """

    threshold: float = 0.5
    num_matched: int = 0
    num_true: int = 0
    num_predicted: int = 0

    def update(self, boxes: Sequence[Box], ignored: Sequence[Box], predicted: Int64[np.ndarray, "H W"]) -> None:
        """Match the objects of one image.

        Args:
            boxes: Those to be found: category, left, top, width, height in pixels.
            ignored: Areas in which a prediction is neither right nor wrong.
            predicted: Labels of the predicted objects, 0 background.
        """
        found, inside = tight_boxes(predicted, areas(ignored, predicted.shape))
        true = np.array([box[1:] for box in boxes], dtype=np.float64).reshape(-1, 4)
        iou = box_iou(true, found)
        rows, columns = linear_sum_assignment(iou, maximize=True)
        right = columns[iou[rows, columns] >= self.threshold]
        judged = ~inside
        judged[right] = True
        self.num_matched += len(right)
        self.num_true += len(true)
        self.num_predicted += int(judged.sum())

    def figures(self) -> dict[str, float]:
        """Precision, recall and F1; a share of nothing is 1 when both sides are empty, else 0."""
        empty = float(self.num_true == self.num_predicted == 0)
        total = self.num_true + self.num_predicted
        return {
            "box_precision": self.num_matched / self.num_predicted if self.num_predicted else empty,
            "box_recall": self.num_matched / self.num_true if self.num_true else empty,
            "box_f1": 2 * self.num_matched / total if total else empty,
        }


def areas(boxes: Sequence[Box], size: tuple[int, ...]) -> Bool[np.ndarray, "H W"]:
    """Which pixels have their centre in a box."""
    covered = np.zeros(size, dtype=bool)
    rows, columns = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    for _, left, top, width, height in boxes:
        covered |= ((rows >= top) & (rows < top + height))[:, None] & (columns >= left) & (columns < left + width)
    return covered


def tight_boxes(
    labels: Int64[np.ndarray, "H W"], ignored: Bool[np.ndarray, "H W"]
) -> tuple[Float64[np.ndarray, "p 4"], Bool[np.ndarray, " p"]]:
    """The smallest box (left, top, width, height) around each object of 4 pixels or more.

    Returns:
        The boxes, and whether more than half of the object's pixels are ignored.
    """
    sizes = np.bincount(labels.ravel())
    hidden = np.bincount(labels[ignored], minlength=len(sizes))
    boxes, inside = [], []
    for label, place in enumerate(find_objects(labels), start=1):
        if place is not None and sizes[label] >= MIN_INSTANCE_PIXELS:
            rows, columns = place
            boxes.append((columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start))
            inside.append(2 * hidden[label] > sizes[label])
    return np.array(boxes, dtype=np.float64).reshape(-1, 4), np.array(inside, dtype=bool)


def box_iou(first: Float64[np.ndarray, "a 4"], second: Float64[np.ndarray, "b 4"]) -> Float64[np.ndarray, "a b"]:
    """IoU of every box (left, top, width, height) with every other; 0 where both are empty.

    >>> box_iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 2, 2]])).round(3).tolist()
    [[0.333]]
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, :2] + first[:, None, 2:], second[None, :, :2] + second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    either = first[:, None, 2:].prod(-1) + second[None, :, 2:].prod(-1) - shared
    return shared / np.where(either > 0, either, 1)

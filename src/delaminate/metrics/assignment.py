"""Predicted labels to true labels: the prediction's own names mean nothing, so they are matched first."""

import numpy as np
from jaxtyping import Float64, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from delaminate.errors import ShapeError

LabelArray = np.ndarray | Tensor


def label_pair(true: LabelArray, predicted: LabelArray) -> tuple[np.ndarray, np.ndarray]:
    """Two label arrays of one shape, from any device, as int64.

    Raises:
        ShapeError: The shapes differ or the values are no integers.
    """
    pair = []
    for values in (true, predicted):
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        if array.dtype.kind not in "biu":
            raise ShapeError(f"labels are {array.dtype}; expected integers")
        pair.append(array.astype(np.int64))
    if pair[0].shape != pair[1].shape:
        raise ShapeError(f"true labels are {pair[0].shape}, predicted {pair[1].shape}; expected the same shape")
    return pair[0], pair[1]


def confusion_matrix(
    true: LabelArray, predicted: LabelArray, num_true: int, num_predicted: int
) -> Int64[np.ndarray, "T P"]:
    """Count how often each true label meets each predicted one; true labels below 0 are left out.

    Raises:
        ShapeError: The shapes differ, or a label is out of range.
    """
    true, predicted = label_pair(true, predicted)
    known = true >= 0
    true, predicted = true[known], predicted[known]
    for kind, values, number in (("true", true, num_true), ("predicted", predicted, num_predicted)):
        if values.size and not 0 <= values.min() <= values.max() < number:
            raise ShapeError(f"{kind} labels reach from {values.min()} to {values.max()}; expected 0 to {number - 1}")
    counts = np.bincount(true * num_predicted + predicted, minlength=num_true * num_predicted)
    return counts.reshape(num_true, num_predicted)


def hungarian(confusion: Int64[np.ndarray, "T P"] | Float64[np.ndarray, "T P"]) -> Int64[np.ndarray, " P"]:
    """Give each predicted label at most one true label, so that most counts or shares agree.

    Returns:
        The true label of each predicted one; -1 where there are more predicted labels than true ones.

    Reference: Kuhn, The Hungarian Method for the Assignment Problem, 1955.
    """
    rows, columns = linear_sum_assignment(confusion, maximize=True)
    assigned = np.full(confusion.shape[1], -1, dtype=np.int64)
    assigned[columns] = rows
    return assigned


def majority(confusion: Int64[np.ndarray, "T P"]) -> Int64[np.ndarray, " P"]:
    """Give each predicted label the true label it meets most often (the lower one on a tie)."""
    return np.asarray(confusion.argmax(axis=0))


def clustering_accuracy(true: LabelArray, predicted: LabelArray, num_clusters: int | None = None) -> float:
    """Accuracy of clusters once they are named after classes.

    As many clusters as classes: one to one, by `hungarian`. Otherwise every cluster takes its majority
    class, which can only flatter: the more clusters, the higher.

    Args:
        true: Class of each image, from 0; below 0 is left out.
        predicted: Cluster of each image, from 0.
        num_clusters: How many clusters the model has, used or not; None: how many are used.

    Returns:
        A share in [0, 1]; 0 when nothing is left to judge.
    """
    true, predicted = compact(*label_pair(true, predicted))
    if true.size == 0:
        return 0.0
    confusion = confusion_matrix(true, predicted, int(true.max()) + 1, int(predicted.max()) + 1)
    same = (num_clusters or confusion.shape[1]) == confusion.shape[0]
    assigned = hungarian(confusion) if same else majority(confusion)
    named = assigned >= 0
    return float(confusion[assigned[named], np.flatnonzero(named)].sum() / confusion.sum())


def normalized_mutual_information(true: LabelArray, predicted: LabelArray) -> float:
    """Mutual information over the arithmetic mean of both entropies, in [0, 1].

    Two partitions without any information (one part each) agree: 1.
    """
    true, predicted = compact(*label_pair(true, predicted))
    if true.size == 0:
        return 1.0
    joint = confusion_matrix(true, predicted, int(true.max()) + 1, int(predicted.max()) + 1) / true.size
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    entropy = -(rows * np.log(rows)).sum() - (columns * np.log(columns)).sum()
    if entropy <= 0:
        return 1.0
    seen = joint > 0
    information = (joint[seen] * np.log(joint[seen] / np.outer(rows, columns)[seen])).sum()
    return float(np.clip(2 * information / entropy, 0, 1))


def compact(true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flatten, leave out true labels below 0, and number both kinds of labels without gaps."""
    known = true >= 0
    return np.unique(true[known], return_inverse=True)[1], np.unique(predicted[known], return_inverse=True)[1]

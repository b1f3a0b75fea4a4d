"""What guesses that learn nothing score on named regions, to be printed beside every figure of them."""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from delaminate.errors import ShapeError
from delaminate.metrics.assignment import LabelArray, label_pair
from delaminate.metrics.foreground import foreground_per_image, named_miou, region_confusions, split_names

MOST_PIXELS = 2500  # of an image, from which its colours are learnt
ROUNDS = 30


def baseline_figures(
    true: LabelArray, predicted: LabelArray, colour: LabelArray, num_regions: int = 2
) -> dict[str, float]:
    """Score three guesses: all foreground, a centred disc, and colour.

    Args:
        true: Labels (B, H, W): 0 background, then the other regions, -1 left out.
        predicted: Labels (B, H, W) of the model, 0 background; only their mean area of foreground is used.
        colour: `colour_regions` of the images.
        num_regions: How many regions there are, the background included.

    Returns:
        `baseline_all`, `baseline_disc` and `baseline_colour`: of two regions the foreground IoU, mean over images; of
        more, the mean IoU of all regions, labels being named once for all images as suits it best (Hungarian).

    Raises:
        ShapeError: The shapes differ, or there is no image.
    """
    true, predicted = label_pair(true, predicted)
    disc = centred_disc(true.shape[1:], float((predicted != 0).mean()) if predicted.size else 0.0)
    guesses = {
        "baseline_all": np.ones_like(true),
        "baseline_disc": np.broadcast_to(disc, true.shape),
        "baseline_colour": colour,
    }
    return {name: _score(true, guess, num_regions) for name, guess in guesses.items()}


def _score(true: np.ndarray, guess: LabelArray, num_regions: int) -> float:
    if num_regions == 2:
        return float(foreground_per_image(true, guess)["iou"].mean())
    confusions = region_confusions(true, guess, num_regions)
    return named_miou(confusions, split_names(confusions))


def centred_disc(size: tuple[int, ...], share: float) -> Int64[np.ndarray, "H W"]:
    """Draw the disc around the centre that covers a share of the image; 1 inside, 0 outside.

    Pixels go by the distance of their centres; of those at the last one's distance, all are taken.

    >>> centred_disc((3, 3), 0.4).tolist()
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    height, width = size
    rows, columns = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    distance = rows[:, None] ** 2 + columns**2
    inside = round(share * distance.size)
    if inside == 0:
        return np.zeros(distance.shape, dtype=np.int64)
    return (distance <= np.sort(distance, axis=None)[inside - 1]).astype(np.int64)


def colour_regions(images: Float[Tensor, "B 3 H W"], num_regions: int = 2) -> Int64[Tensor, "B H W"]:
    """Cut each image into regions by nothing but k-means on colour.

    Deterministic: it starts once from colours that lie far apart and once from colours along the axis of largest
    spread, and keeps the end with the smaller error. Large images are learnt from every second, third, ... pixel.

    Args:
        images: In [0, 1].
        num_regions: How many clusters.

    Returns:
        0 for the cluster with most pixels at the border, then 1, 2, ... from dark to bright.

    Raises:
        ShapeError: There are less than two regions.

    Reference: Lloyd, Least Squares Quantization in PCM, 1982.
    """
    if num_regions < 2:
        raise ShapeError(f"colour_regions: there are {num_regions} regions; expected at least 2")
    found = [_regions(image, num_regions) for image in images.detach().cpu().double().numpy()]
    return torch.from_numpy(np.stack(found)) if found else torch.zeros(images[:, 0].shape, dtype=torch.int64)


def _regions(image: Float64[np.ndarray, "3 H W"], number: int) -> Int64[np.ndarray, "H W"]:
    step = max(1, int(np.ceil(np.sqrt(image[0].size / MOST_PIXELS))))
    points = image[:, ::step, ::step].reshape(3, -1).T  # P 3
    ends = [_lloyd(points, starts) for starts in (_far_apart(points, number), _along_axis(points, number))]
    centres = min(ends, key=lambda end: end[1])[0]
    label = _nearest(image.reshape(3, -1).T, centres).reshape(image.shape[1:])
    border = np.concatenate([label[0], label[-1], label[1:-1, 0], label[1:-1, -1]])
    behind = int(np.bincount(border, minlength=number).argmax())
    others = sorted((k for k in range(number) if k != behind), key=lambda k: centres[k].sum())
    rank = np.zeros(number, dtype=np.int64)
    rank[others] = np.arange(1, number)
    return rank[label]


def _nearest(points: Float64[np.ndarray, "P 3"], centres: Float64[np.ndarray, "k 3"]) -> Int64[np.ndarray, " P"]:
    return np.asarray((points @ centres.T - (centres**2).sum(axis=1) / 2).argmax(axis=1))


def _lloyd(
    points: Float64[np.ndarray, "P 3"], centres: Float64[np.ndarray, "k 3"]
) -> tuple[Float64[np.ndarray, "k 3"], float]:
    """Move centres to the means of what is nearest to them, until nothing moves; with the error left."""
    for _ in range(ROUNDS):
        label = _nearest(points, centres)
        counts = np.bincount(label, minlength=len(centres))[:, None]
        sums = np.stack([np.bincount(label, weights=axis, minlength=len(centres)) for axis in points.T], axis=1)
        moved = np.where(counts > 0, sums / np.maximum(counts, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres, float(((points - centres[_nearest(points, centres)]) ** 2).sum())


def _far_apart(points: Float64[np.ndarray, "P 3"], number: int) -> Float64[np.ndarray, "k 3"]:
    """The colour furthest from the mean, then ever the one furthest from those chosen."""
    centres = [points[((points - points.mean(axis=0)) ** 2).sum(axis=1).argmax()]]
    while len(centres) < number:
        distance = ((points[:, None] - np.stack(centres)) ** 2).sum(axis=2).min(axis=1)
        centres.append(points[distance.argmax()])
    return np.stack(centres)


def _along_axis(points: Float64[np.ndarray, "P 3"], number: int) -> Float64[np.ndarray, "k 3"]:
    """The means of equally many colours each, in their order along the axis of largest spread."""
    centred = points - points.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.argsort(centred @ axis, kind="stable")
    return np.stack([points[part].mean(axis=0) for part in np.array_split(order, number) if len(part)])

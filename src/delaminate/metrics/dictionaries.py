"""How well a dictionary holds the sprites that images were drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

ALPHA_IOU = 0.9
COLOUR_ERROR = 0.05


@dataclass(frozen=True)
class SpriteMatch:
    """The entry of a dictionary that comes closest to a true sprite.

    Attributes:
        entry: Its index, or -1 where no entry has anything in common with the sprite.
        alpha_iou: IoU of the pixels that are opaque by more than half.
        colour_error: Mean absolute difference of colour where both are, weighted by both alphas, in [0, 1].
        mirrored: The entry faces the other way.
    """

    entry: int
    alpha_iou: float
    colour_error: float
    mirrored: bool

    def is_find(self, alpha_iou: float = ALPHA_IOU, colour_error: float = COLOUR_ERROR) -> bool:
        """Whether the sprite counts as found."""
        return self.alpha_iou >= alpha_iou and self.colour_error <= colour_error


def match_sprites(
    true: Sequence[Float[Tensor, "4 _h _w"]],
    found: Sequence[Float[Tensor, "4 _h _w"]],
    alpha_iou: float = ALPHA_IOU,
    colour_error: float = COLOUR_ERROR,
) -> tuple[SpriteMatch, ...]:
    """Find the best entry for every true sprite; one entry may serve several.

    Every sprite is cut to the rectangle of its pixels with alpha above 0.5. A pair is compared as it is and with the
    entry mirrored, at the shift by whole pixels that gives the highest IoU (of several, the best colour). A find
    is better than none, then IoU counts, then colour.
    """
    entries = [(k, m, part) for k, rgba in enumerate(found) for m, part in enumerate(_both_ways(_trimmed(rgba)))]
    matches = []
    for rgba in true:
        sprite = _trimmed(rgba)
        best = SpriteMatch(-1, 0.0, 1.0, False)
        for entry, mirrored, other in entries:
            if sprite is None or other is None or not _could_beat(sprite, other, min(best.alpha_iou, alpha_iou)):
                continue
            match = SpriteMatch(entry, *_compare(sprite, other), bool(mirrored))
            if _rank(match, alpha_iou, colour_error) > _rank(best, alpha_iou, colour_error):
                best = match
        matches.append(best)
    return tuple(matches)


def dictionary_figures(
    true: Sequence[Float[Tensor, "4 _h _w"]],
    found: Sequence[Float[Tensor, "4 _h _w"]],
    alpha_iou: float = ALPHA_IOU,
    colour_error: float = COLOUR_ERROR,
) -> dict[str, int]:
    """How many true sprites a dictionary holds.

    Args:
        true: What the images were drawn from, RGBA in [0, 1].
        found: The dictionary's sprites, backgrounds left out.
        alpha_iou: The least IoU of a find.
        colour_error: Its largest difference of colour.

    Returns:
        `sprites_found` of `sprites_true`.
    """
    matches = match_sprites(true, found, alpha_iou, colour_error)
    return {
        "sprites_found": sum(match.is_find(alpha_iou, colour_error) for match in matches),
        "sprites_true": len(matches),
    }


Trimmed = Float64[np.ndarray, "4 _h _w"]


def _trimmed(rgba: Tensor) -> Trimmed | None:
    """The rectangle of the pixels with alpha above 0.5, or None where there is no such pixel."""
    array = rgba.detach().cpu().double().numpy()
    rows, columns = np.nonzero(array[3] > 0.5)
    if not len(rows):
        return None
    return np.asarray(array[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])


def _both_ways(trimmed: Trimmed | None) -> tuple[Trimmed | None, Trimmed | None]:
    return trimmed, None if trimmed is None else trimmed[:, :, ::-1]


def _rank(match: SpriteMatch, alpha_iou: float, colour_error: float) -> tuple[bool, float, float]:
    return match.is_find(alpha_iou, colour_error), match.alpha_iou, -match.colour_error


def _could_beat(sprite: Trimmed, other: Trimmed, least: float) -> bool:
    """Whether sizes allow an IoU that is worth a look."""
    one, two = (sprite[3] > 0.5).sum(), (other[3] > 0.5).sum()
    return bool(min(one, two) / max(one, two) >= least)


def _compare(sprite: Trimmed, other: Trimmed) -> tuple[float, float]:
    """IoU and colour error at the best shift."""
    from scipy.signal import correlate  # it loads scipy.stats, which takes as long as a third of torch

    one, two = (sprite[3] > 0.5).astype(np.float64), (other[3] > 0.5).astype(np.float64)
    shared = np.rint(correlate(one, two, mode="full"))
    iou = shared / (one.sum() + two.sum() - shared)
    errors = [_colour_error(sprite, other, int(row), int(column)) for row, column in np.argwhere(iou == iou.max())]
    return float(iou.max()), min(errors)


def _colour_error(sprite: Trimmed, other: Trimmed, row: int, column: int) -> float:
    """Colour error with the other's corner at (row - its height + 1, column - its width + 1)."""
    top, left = row - other.shape[1] + 1, column - other.shape[2] + 1
    first, last = max(top, 0), min(top + other.shape[1], sprite.shape[1])
    begin, end = max(left, 0), min(left + other.shape[2], sprite.shape[2])
    mine = sprite[:, first:last, begin:end]
    theirs = other[:, first - top : last - top, begin - left : end - left]
    weight = mine[3] * theirs[3]
    return float((weight * np.abs(mine[:3] - theirs[:3]).mean(0)).sum() / max(weight.sum(), 1e-12))

"""Where noisy frames show their background: beside its outlines, compression leaves other colours than it has there."""

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

AROUND, SURE = 5, 0.2
"""A colour that the background has beside a pixel is a thing's where this share of the square around shows one for sure."""
SPECK = 5
"""Pixels of what a thing shows beside outlines, at least: smaller is noise there."""


def shows_background(
    colour: Float32[np.ndarray, "N H W 3"],
    background: Float32[np.ndarray, "#N #H #W 3"],
    metric: Float32[np.ndarray, "3 3"],
    tolerance: float,
) -> Bool[np.ndarray, "N H W"]:
    """Where frames show their background, as far as noise lets one tell.

    A codec blurs outlines, and predicts them from frames in which they lay elsewhere. What it leaves there lies in the range
    of the colours around (the bounds to which renderers clamp what earlier frames show). So a pixel shows a thing where its
    colour is out of that range, by more than the tolerance; or is in it, but not the background's at the pixel itself, among
    others that do.

    Args:
        colour: Frames, in [0, 1].
        background: What is behind each, or behind all.
        metric: Takes colours to where their distance is measured.
        tolerance: Distance within which colours are the background's.
    """
    shown = np.empty(colour.shape[:3], bool)
    low = high = ground = np.zeros((0, 0, 3), np.float32)
    for index, frame in enumerate(colour):
        if index < len(background):
            ground = background[index] @ metric
            low, high = (each(ground, (3, 3, 1)) for each in (ndimage.minimum_filter, ndimage.maximum_filter))
        own = frame @ metric
        differs = np.square(own - ground).sum(2) > tolerance**2
        sure = np.square(own - own.clip(low, high)).sum(2) > tolerance**2
        is_thing = sure | (differs & (ndimage.uniform_filter(sure.astype(np.float32), AROUND) >= SURE))
        outline = np.square(high - low).sum(2) > tolerance**2
        labels, _ = ndimage.label(is_thing, np.ones((3, 3)))
        count = np.bincount(labels.ravel())
        specks = (count < SPECK)[labels] & outline
        shown[index] = ~is_thing | specks
    return shown

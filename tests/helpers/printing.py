"""Drawn pages of print: letters of a few strokes, whose outlines fray as if ink and paper were real."""

import numpy as np
from scipy import ndimage

STROKES = {  # top, left, height, width in pixels
    "l": [(0, 0, 28, 6)],
    "n": [(8, 0, 20, 6), (8, 11, 20, 6), (8, 5, 5, 7)],
    "u": [(8, 0, 20, 6), (8, 11, 20, 6), (23, 5, 5, 7)],
    "c": [(8, 0, 20, 6), (8, 5, 5, 9), (23, 5, 5, 9)],
    "e": [(8, 0, 20, 6), (8, 5, 5, 9), (23, 5, 5, 9), (15, 5, 4, 9)],
    "i": [(8, 0, 20, 6), (0, 0, 5, 5)],
    ":": [(10, 0, 6, 6), (22, 0, 6, 6)],
}
SPACE, LINE = 6, 44


def letter(name):
    """A letter without its margin, in a box 28 pixels high."""
    wide = max(left + width for _, left, _, width in STROKES[name])
    drawn = np.zeros((28, wide), bool)
    for top, left, height, width in STROKES[name]:
        drawn[top : top + height, left : left + width] = True
    return drawn


def frayed(ink, rng, share=0.15):
    """Ink whose outline has lost some of its pixels, and won as many."""
    edge = ink & ~ndimage.binary_erosion(ink)
    beyond = ndimage.binary_dilation(ink) & ~ink
    chance = rng.random(ink.shape)
    return (ink & ~(edge & (chance < share))) | (beyond & (chance < share))


def printed(lines, size=(240, 400), seed=0, share=0.15, space=SPACE):
    """Print lines of letters; return the page in 0..255 and where each letter is: name, top, left, height, width.

    In a line, `_` draws the next letter nearer: it touches the one before. A blank is a blank.
    """
    ink, boxes = np.zeros(size, bool), []
    for row, line in enumerate(lines):
        top, left = 12 + LINE * row, 12
        for name in line:
            if name == "_":
                left -= space + 1
            elif name == " ":
                left += 3 * space
            else:
                drawn = letter(name)
                window = slice(top, top + 28), slice(left, left + drawn.shape[1])
                ink[window] |= drawn
                first = int(np.flatnonzero(drawn.any(1))[0])
                boxes.append((name, top + first, left, 28 - first, drawn.shape[1]))
                left += drawn.shape[1] + space
    ink = frayed(ink, np.random.default_rng(seed), share)
    return np.where(ink, 0, 255).astype(np.uint8)[..., None].repeat(3, -1), boxes

"""After a round: what stands still goes back to the background, which is corrected by what shows where no sprite is."""

from collections import Counter

import numpy as np

from delaminate.matching.exact.background import MENDERS, Background, mended
from delaminate.matching.exact.parsing import Parse
from delaminate.matching.exact.pruning import prune
from delaminate.matching.exact.search import FrameStack, Search, explained
from delaminate.matching.exact.templates import HardSprite


def settle_background(
    scenes: FrameStack, patterns: list[HardSprite], search: Search, background: Background
) -> tuple[list[HardSprite], Background, Parse]:
    """Settle what is background after a round: give back what stands still, and correct what shows through.

    Returns:
        The patterns that are left, the background, and what they make of the frames.
    """
    found = explained(scenes, patterns, search)
    kept, background = absorb_static(scenes, patterns, found, background)
    if len(kept) < len(patterns):
        patterns, found = kept, explained(scenes, kept, search)
    background, changed = uncover(scenes, patterns, found, background)
    if changed:
        scenes = FrameStack.of(scenes.frames, background)
        patterns = prune(scenes, patterns, search)
        found = explained(scenes, patterns, search)
    return patterns, background, found


def absorb_static(
    scenes: FrameStack, patterns: list[HardSprite], found: Parse, background: Background, always: float = 0.8
) -> tuple[list[HardSprite], Background]:
    """Give back to the background what belongs to it: patterns that stand still, at one place or at several.

    A sprite occurs in different places, or comes and goes.

    Args:
        scenes: The frames.
        patterns: What was found in them.
        found: Where.
        background: A static picture or a panorama; of a plain colour nothing is changed.
        always: A pattern stands at a place that shows it in this share of the frames that show the place whole, of 4 at
            least; it is background if this share of its occurrences are where it stands.
    """
    if background.rgb.shape[:2] == (1, 1):
        return patterns, background
    height, width = scenes.frames.shape[1:3]
    offsets, rgb, kept = np.array(scenes.offsets), background.rgb.copy(), []
    for pattern, corners in zip(patterns, _corners(scenes, found, len(patterns)), strict=True):
        (h, w), stands, occurrences = pattern.size, [], sum(corners.values())
        for (top, left), count in corners.items():
            first, last = np.array([top + h - height, left + w - width]), np.array([top, left])
            if count >= always * max(int(((offsets >= first) & (offsets <= last)).all(1).sum()), MENDERS):
                stands.append((top, left))
        if not stands or sum(corners[place] for place in stands) < always * occurrences:
            kept.append(pattern)
            continue
        for top, left in stands:
            if top >= 0 and left >= 0 and top + h <= rgb.shape[0] and left + w <= rgb.shape[1]:
                rgb[top : top + h, left : left + w][pattern.alpha] = pattern.colour[pattern.alpha]
    return kept, Background(rgb)


def _corners(scenes: FrameStack, found: Parse, count: int) -> list[Counter[tuple[int, int]]]:
    """How often each of some patterns occurs where on the background: top and left in pixels."""
    corners: list[Counter[tuple[int, int]]] = [Counter() for _ in range(count)]
    for some, (y, x) in zip(found.places, scenes.offsets, strict=True):
        for place in some:
            corners[place.entry][place.top + y, place.left + x] += 1
    return corners


def uncover(
    scenes: FrameStack, patterns: list[HardSprite], found: Parse, background: Background, most: float = 0.5
) -> tuple[Background, bool]:
    """Correct the background by what frames show where no sprite is; a plain colour stays.

    A pattern that mostly stands at one place of the background may be a piece of it, so it hides nothing.

    Args:
        scenes: The frames.
        patterns: What was found in them.
        found: Where.
        background: What was taken for the background.
        most: Share of its occurrences that a sprite has at one place, at most.

    Returns:
        The background, and whether it changed.
    """
    if background.rgb.shape[:2] == (1, 1):
        return background, False
    moves = [
        bool(each) and max(each.values()) <= most * sum(each.values())
        for each in _corners(scenes, found, len(patterns))
    ]
    hidden = np.zeros(scenes.frames.shape[:3], bool)
    height, width = scenes.frames.shape[1:3]
    for index, some in enumerate(found.places):
        for place in some:
            if moves[place.entry]:
                alpha, top, left = patterns[place.entry].alpha, place.top, place.left
                shown = alpha[max(-top, 0) : height - top, max(-left, 0) : width - left]
                top, left = max(top, 0), max(left, 0)
                hidden[index, top : top + shown.shape[0], left : left + shown.shape[1]] |= shown
    better = mended(background, scenes.frames, scenes.offsets, hidden)
    return better, not np.array_equal(better.rgb, background.rgb)

"""After a round: what stands still goes back to the background, which is corrected by what shows where no sprite is."""

from collections import Counter
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32

from delaminate.matching.exact.background import MENDERS, Background, mended, retold, solid, without_things_at_rest
from delaminate.matching.exact.choice import clip_bits
from delaminate.matching.exact.colour_model import filled
from delaminate.matching.exact.description import HOLE, Prices
from delaminate.matching.exact.detection import find
from delaminate.matching.exact.hashing import bank_of
from delaminate.matching.exact.noise import is_noisy
from delaminate.matching.exact.parsing import Parse
from delaminate.matching.exact.pruning import prune
from delaminate.matching.exact.readouts import without_readouts
from delaminate.matching.exact.search import FrameStack, Search, explained
from delaminate.matching.exact.templates import HardSprite, packed

ROAMING = 4
"""Places at which a pattern must be seen for its likeness in the background to be taken for a mistake."""
LEAST_MARK, APART = 4, 2
"""Pixels of what is of one colour, at least, to be taken out of the background; and by which it is apart from all else."""
PAINTED, WHOLE = 0.6, 0.95
"""Of a pattern, the share that the background must show for it to have been painted in; and from which on it surely was."""
LONGER = 1.1
"""A clip may take so many times the bits over a picture without things at rest: they are told better as sprites later."""
OFTEN_ELSE = 0.05
"""Of the frames that show a place, the share that must show something else there for it to change."""


HOLE_SEEN, HOLE_STANDS, HOLE_GOES_ON = 2, 0.6, 0.5
"""A pattern that is seen so often at one place of the background stands there. If this share of its occurrences stand, and this
share of its outline goes on in the background around it, it is a hole in that."""
SHARD = 32
"""Pixels that something has, at most, that stands and has only colours that the background has around it, to be a hole."""


def settle_background(
    scenes: FrameStack, patterns: list[HardSprite], search: Search, background: Background
) -> tuple[list[HardSprite], Background, Parse]:
    """Settle what is background after a round: give back what stands still, and correct what shows through.

    Returns:
        The patterns that are left, the background, and what they make of the frames.
    """
    found = explained(scenes, patterns, search)
    if background.plane is not None:
        return patterns, background, found
    kept, background = _absorbed(scenes, patterns, found, background, search)
    if len(kept) < len(patterns):
        patterns, found = kept, explained(scenes, kept, search)
    before = background
    background = take_out_sprites(scenes, patterns, found, background, search)
    background, changed = uncover(scenes, patterns, found, background)
    background = _bare(scenes, background, search) if changed else background
    if not is_noisy(search.tolerance):
        background = take_out_marks(scenes, patterns, found, background)
    if changed or background is not before:
        scenes = FrameStack.of(scenes.frames, background)
        patterns = prune(scenes, patterns, search)
        found = explained(scenes, patterns, search)
    return patterns, background, found


def _absorbed(
    scenes: FrameStack, patterns: list[HardSprite], found: Parse, background: Background, search: Search
) -> tuple[list[HardSprite], Background]:
    """As `absorb_static`, but what would come and go in the background with the rest of its thing stays a sprite."""
    kept, painted = absorb_static(scenes, patterns, found, background)
    bare = _bare(scenes, painted, search)
    if bare is painted:
        return kept, painted
    rgb, still = bare.rgb, []
    for pattern, corners in zip(patterns, _corners(scenes, found, len(patterns)), strict=True):
        if not any(pattern is each for each in kept) and corners:
            top, left = max(corners, key=lambda place: corners[place])
            shown = rgb[max(top, 0) : top + pattern.size[0], max(left, 0) : left + pattern.size[1]]
            if shown.shape[:2] != pattern.size:
                continue
            if (np.abs(shown - pattern.colour) < 0.02).all(2)[pattern.alpha].mean() >= 0.5:
                continue
        still.append(pattern)
    return still, bare


def _bare(scenes: FrameStack, background: Background, search: Search) -> Background:
    """A still picture without readouts, and without things at rest unless that is longer; any other background as it is."""
    if background.rgb.shape[:2] != scenes.frames.shape[1:3] or is_noisy(search.tolerance):
        return background
    without = without_readouts(background, search.readouts)
    bare = without_things_at_rest(without, scenes.frames, HOLE, Prices.of(scenes.frames).place)
    if not np.array_equal(bare.rgb, without.rgb):
        plain = solid(scenes.frames)
        bits = [clip_bits(scenes.frames, each, search.tolerance, plain) for each in (without, bare)]
        without = bare if bits[1] <= LONGER * bits[0] else without
    return background if np.array_equal(without.rgb, background.rgb) else without


def take_out_sprites(
    scenes: FrameStack, patterns: list[HardSprite], found: Parse, background: Background, search: Search
) -> Background:
    """Take sprites out of the background that were painted into it, because they hardly left their place.

    Where a pattern that is seen in many places is seen in the background, too, that is wrong there: what frames show
    besides is behind it, and what none shows is filled in with what lies nearest.

    Args:
        scenes: The frames.
        patterns: What was found in them.
        found: Where.
        background: A static picture or a panorama; of a plain colour nothing is changed.
        search: How to look.
    """
    if background.rgb.shape[:2] == (1, 1):
        return background
    roaming = [
        pattern
        for pattern, corners in zip(patterns, _corners(scenes, found, len(patterns)), strict=True)
        if len(corners) >= ROAMING
        and max(corners.values()) <= 0.5 * sum(corners.values())
        and not pattern.is_flat
        and pattern.opacity == 1
    ]
    if not roaming:
        return background
    picture = np.rint(background.rgb * 255).astype(np.uint8)[None]
    frames = FrameStack(picture, np.full((1, 1, 1, 3), 2.0, np.float32), ((0, 0),)).fresh(search)
    strict = replace(search.price, share=PAINTED, misfit=0.4)
    changes = _changes(scenes, background, search.tolerance)
    wrong = np.zeros(picture.shape[1:3], bool)
    margin = frames.margin
    for place in find(frames, 0, bank_of(roaming, frames, strict), rounds=1):
        alpha, (top, left) = roaming[place.entry].alpha, (place.top, place.left)
        if (
            top >= 0
            and left >= 0
            and top + alpha.shape[0] <= wrong.shape[0]
            and left + alpha.shape[1] <= wrong.shape[1]
        ):
            window = (
                slice(top + margin, top + margin + alpha.shape[0]),
                slice(left + margin, left + margin + alpha.shape[1]),
            )
            shown = alpha & frames.shows(0, window, roaming[place.entry])
            here = slice(top, top + alpha.shape[0]), slice(left, left + alpha.shape[1])
            # Part of it may be a chance likeness, unless something else is seen there now and then.
            if shown.sum() < WHOLE * alpha.sum() and changes[here][shown].mean() < PAINTED:
                continue
            wrong[top : top + alpha.shape[0], left : left + alpha.shape[1]] |= shown
    if not wrong.any():
        return background
    return _without(scenes, patterns, found, background, wrong, search.tolerance)


def _changes(scenes: FrameStack, background: Background, tolerance: float) -> Bool[np.ndarray, "h w"]:
    """Pixels of a background instead of which some of the frames that show the place show something else."""
    height, width = scenes.frames.shape[1:3]
    views, others = np.zeros((2, *background.rgb.shape[:2]), np.int64)
    for frame, (y, x) in zip(scenes.frames, scenes.offsets, strict=True):
        window = slice(y, y + height), slice(x, x + width)
        differs = np.square(frame / np.float32(255) - background.rgb[window]).sum(2) > tolerance**2
        views[window] += 1
        others[window] += differs
    return others >= np.maximum(MENDERS // 2, OFTEN_ELSE * views)


def take_out_marks(scenes: FrameStack, patterns: list[HardSprite], found: Parse, background: Background) -> Background:
    """Take patterns of one colour out of the background where they stand alone, as where they come and go.

    A pill that is never eaten is as much a thing as the others. Patches of one colour are everywhere; so it must stand on the
    very colour that is behind the others, with that all around.

    Args:
        scenes: The frames.
        patterns: What was found in them.
        found: Where.
        background: A static picture or a panorama, of a lossless source; of a plain colour nothing is changed.
    """
    if background.rgb.shape[:2] == (1, 1):
        return background
    rgb = background.rgb.copy()
    for pattern, corners in zip(patterns, _corners(scenes, found, len(patterns)), strict=True):
        if len(corners) >= ROAMING and pattern.is_flat and pattern.opacity == 1 and pattern.area >= LEAST_MARK:
            behind = _behind(pattern, corners, background.rgb)
            for top, left in [] if behind is None else _alone(pattern, behind, background.rgb):
                rgb[top : top + pattern.size[0], left : left + pattern.size[1]][pattern.alpha] = behind
    return background if np.array_equal(rgb, background.rgb) else Background(rgb)


def _behind(
    pattern: HardSprite, corners: Counter[tuple[int, int]], rgb: Float32[np.ndarray, "h w 3"]
) -> Float32[np.ndarray, "3"] | None:
    """The one colour that is behind and around most places of a pattern; None: there is none.

    The strokes of a digit are closer to each other than marks are.
    """
    (h, w), colours = pattern.size, Counter[tuple[float, ...]]()
    for top, left in corners:
        around = rgb[max(top - APART, 0) : top + h + APART, max(left - APART, 0) : left + w + APART]
        if around.size and (around == around[0, 0]).all():
            colours[tuple(around[0, 0].tolist())] += 1
    if not colours or 2 * colours.most_common(1)[0][1] < len(corners):
        return None
    return np.array(colours.most_common(1)[0][0], np.float32)


def _alone(
    pattern: HardSprite, behind: Float32[np.ndarray, "3"], rgb: Float32[np.ndarray, "h w 3"]
) -> list[tuple[int, int]]:
    """Where a picture shows a pattern to the pixel, with one colour all around."""
    shown = np.pad(pattern.alpha, APART)
    colour = np.pad(pattern.colour, ((APART, APART), (APART, APART), (0, 0)))
    template = packed(np.where(shown[..., None], colour, behind).astype(np.float32))
    codes = packed(np.pad(rgb, ((APART, APART), (APART, APART), (0, 0)), mode="edge"))
    rows, columns = (max(rgb.shape[axis] - pattern.size[axis] + 1, 0) for axis in (0, 1))
    here = np.ones((rows, columns), bool)
    for y, x in np.ndindex(template.shape):
        here &= codes[y : y + rows, x : x + columns] == template[y, x]
    return [(int(y), int(x)) for y, x in np.argwhere(here)]


def _without(
    scenes: FrameStack,
    patterns: list[HardSprite],
    found: Parse,
    background: Background,
    wrong: Bool[np.ndarray, "h w"],
    tolerance: float,
) -> Background:
    """The background with some pixels told anew: by frames that show another colour there, else by what lies nearest."""
    hidden = hidden_pixels(scenes, patterns, found)
    height, width = scenes.frames.shape[1:3]
    for index, (y, x) in enumerate(scenes.offsets):
        there = background.rgb[y : y + height, x : x + width]
        as_before = np.square(scenes.frames[index] / np.float32(255) - there).sum(2) <= tolerance**2
        hidden[index] |= as_before & wrong[y : y + height, x : x + width]
    rgb, seen = retold(background, scenes.frames, scenes.offsets, hidden, wrong)
    rgb = filled(rgb, wrong & ~seen, row=1)
    return Background(rgb[:1, :1].copy() if (rgb == rgb[:1, :1]).all() else rgb)


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
        if sum(corners[place] for place in stands) < always * max(occurrences, 1):
            stands = _holes(pattern, corners, rgb)
        if not stands or pattern.given:
            kept.append(pattern)
            continue
        for top, left in stands:
            if top >= 0 and left >= 0 and top + h <= rgb.shape[0] and left + w <= rgb.shape[1]:
                rgb[top : top + h, left : left + w][pattern.alpha] = pattern.colour[pattern.alpha]
    return kept, Background(rgb)


def _holes(
    pattern: HardSprite, corners: Counter[tuple[int, int]], rgb: Float32[np.ndarray, "h w 3"]
) -> list[tuple[int, int]]:
    """Where a pattern stands, if it only goes on there in the background around it: something was before it once."""
    often = {place: count for place, count in corners.items() if count >= HOLE_SEEN}
    if not often or sum(often.values()) < HOLE_STANDS * sum(corners.values()):
        return []
    weights = list(often.values())
    if np.average([_goes_on(pattern, place, rgb) for place in often], weights=weights) >= HOLE_GOES_ON:
        return list(often)
    is_mark = pattern.is_flat and len(often) >= ROAMING and _behind(pattern, Counter(often), rgb) is not None
    if pattern.area <= SHARD and not is_mark:
        blends_in = np.average([_blends_in(pattern, place, rgb) for place in often], weights=weights)
        return list(often) if blends_in > 0.9 else []
    return []


def _blends_in(
    pattern: HardSprite, place: tuple[int, int], rgb: Float32[np.ndarray, "h w 3"], reach: int = 10
) -> float:
    """The share of a pattern's pixels that have a colour that the background has closely around."""
    (top, left), (h, w) = place, pattern.size
    around = rgb[max(top - reach, 0) : max(top + h + reach, 0), max(left - reach, 0) : max(left + w + reach, 0)]
    return float(np.isin(pattern.packed[pattern.alpha], packed(around)).mean())


def _goes_on(pattern: HardSprite, place: tuple[int, int], rgb: Float32[np.ndarray, "h w 3"]) -> float:
    """The share of a pattern's outline that has the colour that the background has beyond it."""
    (top, left), (h, w) = place, pattern.size
    if top < 1 or left < 1 or top + h + 1 > rgb.shape[0] or left + w + 1 > rgb.shape[1]:
        return 0.0
    around, goes_on, beside = rgb[top - 1 : top + h + 1, left - 1 : left + w + 1], 0, 0
    wide, colour = np.pad(pattern.alpha, 1), np.pad(pattern.colour, ((1, 1), (1, 1), (0, 0)))
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        rim = wide & ~np.roll(wide, (-down, -right), (0, 1))
        beyond = np.roll(around, (-down, -right), (0, 1))
        beside += int(rim.sum())
        goes_on += int((rim & (np.abs(colour - beyond) < 0.02).all(2)).sum())
    return goes_on / max(beside, 1)


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
    hidden = hidden_pixels(scenes, patterns, found, most)
    better = mended(background, scenes.frames, scenes.offsets, hidden)
    return better, not np.array_equal(better.rgb, background.rgb)


def hidden_pixels(
    scenes: FrameStack, patterns: list[HardSprite], found: Parse, most: float = 0.5
) -> Bool[np.ndarray, "N H W"]:
    """Pixels that sprites hide; those that stand at one place hide nothing.

    They stand if that place has more than the share `most` of their occurrences, and of the frames: a digit of a score is at
    its place only, but it comes and goes.
    """
    moves = [
        bool(each) and max(each.values()) <= most * max(sum(each.values()), len(scenes))
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
    return hidden

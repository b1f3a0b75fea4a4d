"""Interiors of sprites that have the colour of what is mostly behind them.

A white figure with a black outline that walks over white paper is, to a search, its outline and what little of its body hid
something else. So a hole is filled that the outline encloses, if the sprite has that colour at the hole's border, where it was
seen to hide something, and if the hole shows that colour wherever the sprite is. Nothing changes in what is composited there; a
ring, through which other things are seen, stays one.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int32
from scipy import ndimage

from delaminate.matching.exact.dictionary import Appearance
from delaminate.matching.exact.parsing import Parse
from delaminate.matching.exact.search import FrameStack
from delaminate.matching.exact.templates import HardSprite, packed
from delaminate.matching.tile_cells import orient
from delaminate.scene.placements import NEUTRAL


def with_interiors(
    sprites: Sequence[HardSprite],
    looks: Sequence[Appearance],
    patterns: Sequence[HardSprite],
    scenes: FrameStack,
    found: Parse,
) -> tuple[HardSprite, ...]:
    """Fill the holes of sprites that are their interiors.

    Args:
        sprites: A dictionary of a source whose colours recur to the bit.
        looks: How its sprites appear.
        patterns: What was looked for: sprites as they appear.
        scenes: Frames.
        found: What was found in them.
    """
    labels = [_holes(sprite) for sprite in sprites]
    filled = [_bordered(sprite, holes) for sprite, holes in zip(sprites, labels, strict=True)]
    for look in looks:
        if look.colour != NEUTRAL:
            filled[look.entry] = {}  # another palette would give the interior a colour that nobody has seen
    numbers = {pattern.key: number for number, pattern in enumerate(patterns)}
    seen: dict[int, list[tuple[int, Int32[np.ndarray, "h w"]]]] = {}
    for look in looks:
        number = numbers.get(look.of(sprites[look.entry]).key)
        if number is None:
            filled[look.entry] = {}  # nobody knows where it is seen so
        else:
            seen.setdefault(number, []).append((look.entry, orient(labels[look.entry], look.orientation)))
    witnessed: set[tuple[int, int]] = set()  # entries, and numbers of their holes
    height, width = scenes.frames.shape[1:3]
    for index, places in enumerate(found.places):
        covered = np.zeros((height, width), bool)
        frame = packed(scenes.frames[index]) if any(each.entry in seen for each in places) else None
        for place in places:  # front to back
            pattern = patterns[place.entry]
            window, own = _window(place.top, place.left, pattern.size, (height, width))
            for entry, holes in seen.get(place.entry, ()):
                assert frame is not None
                shown = _drop_contradicted(filled[entry], holes[own], frame[window], ~covered[window])
                witnessed |= {(entry, number) for number in shown}
            covered[window] |= pattern.alpha[own]
    sure = [
        {number: colours for number, colours in each.items() if (entry, number) in witnessed}
        for entry, each in enumerate(filled)
    ]
    return tuple(map(_filled, sprites, labels, sure))


def _holes(sprite: HardSprite) -> Int32[np.ndarray, "h w"]:
    """The parts that a sprite's outline encloses, numbered from 1; what is connected by corners encloses."""
    outside = np.pad(~sprite.alpha, 1, constant_values=True)
    labels, _ = ndimage.label(outside)
    inside = labels[1:-1, 1:-1]
    return np.where(inside == labels[0, 0], 0, inside).astype(np.int32)


def _bordered(sprite: HardSprite, holes: Int32[np.ndarray, "h w"]) -> dict[int, set[int]]:
    """By its number, the colours that a hole has at its border."""
    if sprite.given or sprite.opacity < 1:
        return {}
    found: dict[int, set[int]] = {}
    for number in np.unique(holes[holes > 0]).tolist():
        rim = ndimage.binary_dilation(holes == number, np.ones((3, 3))) & sprite.alpha
        found[number] = set(sprite.packed[rim].tolist())
    return found


def _window(
    top: int, left: int, size: tuple[int, int], frame: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What a frame shows of a place: the part of the frame, and that of the pattern."""
    bottom, right = min(top + size[0], frame[0]), min(left + size[1], frame[1])
    first, start = max(top, 0), max(left, 0)
    bottom, right = max(bottom, first), max(right, start)
    return (
        (slice(first, bottom), slice(start, right)),
        (slice(first - top, bottom - top), slice(start - left, right - left)),
    )


def _drop_contradicted(
    colours: dict[int, set[int]],
    holes: Int32[np.ndarray, "h w"],
    shown: np.ndarray,
    free: Bool[np.ndarray, "h w"],
) -> list[int]:
    """Keep the colours of holes that a place shows, all over each hole; say which holes it shows."""
    told = []
    for number in list(colours):
        here = shown[(holes == number) & free]
        if len(here):
            colours[number] = colours[number] & {int(here[0])} if (here == here[0]).all() else set()
            told.append(number)
    return told


def _filled(sprite: HardSprite, holes: Int32[np.ndarray, "h w"], colours: dict[int, set[int]]) -> HardSprite:
    colour, alpha = sprite.colour.copy(), sprite.alpha.copy()
    for number, left in colours.items():
        if len(left) == 1:
            code = left.pop()
            inside = holes == number
            alpha |= inside
            colour[inside] = np.array([code >> 16 & 255, code >> 8 & 255, code & 255], np.float32) / 255
    return sprite if np.array_equal(alpha, sprite.alpha) else HardSprite(colour, alpha)

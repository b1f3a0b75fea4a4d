"""Which patterns are worth their description, and which are parts of one thing."""

import numpy as np

from delaminate.matching.boxes import touching
from delaminate.matching.exact.description import Prices
from delaminate.matching.exact.detection import Occurrence, boxes_of
from delaminate.matching.exact.parsing import Parse
from delaminate.matching.exact.search import FrameStack, Search, explained
from delaminate.matching.exact.templates import HardSprite

OFTEN = 40
"""A pattern is kept unasked if what it explains would take so many times the bits that it takes itself."""
VARIANT = 2
"""What a pixel costs in which a variant differs from another sprite, in pixels: its place is told, too."""
TWINS = 0.8
"""A pattern is half of a sprite if this share of its occurrences are pairs, and no more, at one distance."""


def prune(scenes: FrameStack, patterns: list[HardSprite], search: Search, sample: int = 12) -> list[HardSprite]:
    """Keep the patterns that are worth their description: dropping one must cost more bits than the pattern has.

    Given ones are kept, and come first.

    What dropping costs is found by explaining the surroundings of some of its places again, without it: pixels that are
    then wrong, and the placements of others that take its part.
    """
    found = explained(scenes, patterns, search)
    usage, prices = found.usage(len(patterns)), Prices.of(scenes.frames)
    keep = [k for k in range(len(patterns)) if usage[k] or patterns[k].given]
    for k in sorted(keep, key=lambda k: int(usage[k]) * patterns[k].area):
        if patterns[k].given:
            continue
        search.progress.check()
        if len(keep) == 1:
            continue
        own = prices.pixel * patterns[k].area + prices.place
        if int(usage[k]) * patterns[k].area * prices.pixel > OFTEN * (own + prices.place):
            continue  # it explains so much that nothing can replace it for less
        spots = [(i, place) for i, some in enumerate(found.places) for place in some if place.entry == k]
        some = [spots[n] for n in np.linspace(0, len(spots) - 1, min(len(spots), sample)).astype(int)]
        around = scenes.surroundings([(i, place.top, place.left) for i, place in some], patterns[k].size)
        others = [patterns[j] for j in keep if j != k]
        with_it, without = (explained(around, these, search) for these in ([*others, patterns[k]], others))
        if sum(map(len, without.places)) <= sum(map(len, with_it.places)):
            # Another takes its place: it need only be told where it differs from that, and how.
            wrong = (int(without.left.sum()) - int(with_it.left.sum())) / len(some)
            own = prices.pixel * min(patterns[k].area, VARIANT * wrong) + prices.place
        if (_cost(without, prices) - _cost(with_it, prices)) * len(spots) / len(some) < own:
            keep.remove(k)
    ordered = sorted(keep, key=lambda k: (0, k) if patterns[k].given else (1, -int(usage[k])))
    return [patterns[k] for k in ordered]


def hangs_together(pattern: HardSprite, least: float = 0.6) -> bool:
    """Whether most pixels of a pattern have others above or below, and beside them: noise that recurs is strewn."""
    alpha = np.pad(pattern.alpha, 1)
    upright = alpha[:-2, 1:-1] | alpha[2:, 1:-1]
    across = alpha[1:-1, :-2] | alpha[1:-1, 2:]
    return bool((upright & across & pattern.alpha).sum() >= least * max(pattern.area, 1))


def _cost(found: Parse, prices: Prices) -> float:
    """Bits of the placements, and of what is wrong, region by region."""
    told = sum(map(len, found.places)) + int(found.pieces.sum())
    return prices.pixel * int(found.left.sum()) + prices.place * told


def join(patterns: list[HardSprite], found: Parse, search: Search, always: float = 0.9) -> list[HardSprite]:
    """Join patterns that always occur together.

    A pattern leans on another if that lies at one fixed offset beside it in nearly all its occurrences. If nearly every
    occurrence of the other is leaned upon, the two are parts of one thing: each pair becomes one pattern. (A flame
    always stands on a wall, but walls have no flame: they stay two.)
    """
    usage = found.usage(len(patterns))
    pairs: dict[tuple[int, int, int, int], int] = {}
    for some in found.places:
        corners = {(place.entry, place.top, place.left) for place in some}
        for a, b in _neighbours(patterns, some):
            one, two = some[a], some[b]
            if patterns[one.entry].given or patterns[two.entry].given:
                continue
            down, right = two.top - one.top, two.left - one.left
            # Of one pattern, only twins are counted: a third in the row makes them tiles.
            if one.entry == two.entry and (
                (one.entry, one.top - down, one.left - right) in corners
                or (one.entry, two.top + down, two.left + right) in corners
            ):
                continue
            key = (one.entry, two.entry, down, right)
            pairs[key] = pairs.get(key, 0) + 1
    twins = {}
    for (a, b, down, right), count in pairs.items():
        if a == b and (down, right) > (0, 0) and 2 * count >= max(2 * search.growth.least, TWINS * usage[a]):
            twins[a] = (down, right)
    leaning: dict[int, list[tuple[int, int, int, int]]] = {}
    for (a, b, down, right), count in pairs.items():
        if a != b and count >= max(search.growth.least, always * usage[a]):
            leaning.setdefault(b, []).append((a, down, right, count))
    gone: set[int] = set()
    fresh = []
    for b, those in leaning.items():
        covered = sum(count for _, _, _, count in those)
        if b in gone or covered < always * usage[b] or any(a in gone for a, *_ in those):
            continue
        joined = [_union(patterns[a], patterns[b], down, right) for a, down, right, _ in those]
        if all(max(p.size) <= 2 * search.growth.reach for p in joined):
            fresh += joined
            gone |= {b, *(a for a, *_ in those)}
    for a, (down, right) in twins.items():
        if a not in gone:
            fresh.append(_union(patterns[a], patterns[a], down, right))
            gone.add(a)
    return [p for k, p in enumerate(patterns) if k not in gone] + fresh


def _neighbours(patterns: list[HardSprite], places: list[Occurrence], gap: int = 2) -> list[tuple[int, int]]:
    """Ordered pairs of placements, of opaque patterns, whose boxes touch."""
    boxes = boxes_of(patterns, places)
    one, other = touching(boxes[:, :2], boxes[:, 2:], gap)
    opaque = np.array([patterns[place.entry].opacity == 1 for place in places], dtype=bool)
    both = opaque[one] & opaque[other]
    return sorted(zip(one[both].tolist(), other[both].tolist(), strict=True))


def _union(a: HardSprite, b: HardSprite, down: int, right: int) -> HardSprite:
    """Two patterns as one: b lies `down` and `right` of a, behind it."""
    top, left = min(0, down), min(0, right)
    height = max(a.size[0], down + b.size[0]) - top
    width = max(a.size[1], right + b.size[1]) - left
    colour, alpha = np.zeros((height, width, 3), np.float32), np.zeros((height, width), bool)
    for pattern, y, x in ((b, down - top, right - left), (a, -top, -left)):
        window = slice(y, y + pattern.size[0]), slice(x, x + pattern.size[1])
        colour[window][pattern.alpha] = pattern.colour[pattern.alpha]
        alpha[window] |= pattern.alpha
    return HardSprite(colour, alpha)

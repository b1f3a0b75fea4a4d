"""Learn a dictionary of patterns, round by round: explain frames, estimate again, join, drop, and seek what is missing."""

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32, UInt8

from delaminate.matching.exact.background import MENDERS, Background, mended
from delaminate.matching.exact.detection import ComponentBank, Occurrence, PlacementCost, TemplateBank, find, regions
from delaminate.matching.exact.growth import (
    RegionGrowing,
    cut_seed,
    extract_tile,
    find_occurrences,
    random_spots,
    refine_until_stable,
)
from delaminate.matching.exact.parsing import Parse, parse, reestimate, split
from delaminate.matching.exact.templates import OPEN, ColourCodes, Frames, HardSprite

TWINS = 0.8
"""A pattern is half of a sprite if this share of its occurrences are pairs, and no more, at one distance."""


AT_ONCE = 2**22
"""Pixels of frames that are explained at a time where only the explanation is wanted."""


@dataclass(frozen=True)
class Search:
    """How to look for patterns.

    Attributes:
        tolerance: Distance in RGB below which two colours count as one, in [0, 1] units.
        growth: How patterns grow.
        price: What a placement must gain.
        most: Patterns in the dictionary, at most.
        patience: Vain attempts to find another pattern before a round ends.
        flips: Also look for mirror images of what has been found.
        components: Sprites are whole connected regions, not grown from patches.
    """

    tolerance: float = 0.06
    growth: RegionGrowing = field(default_factory=RegionGrowing)
    price: PlacementCost = field(default_factory=PlacementCost)
    most: int = 150
    patience: int = 8
    flips: bool = False
    components: bool = False

    def bank(self, patterns: list[HardSprite], frames: Frames, strict: bool = False) -> TemplateBank:
        """Make patterns ready for search; `strict` while the dictionary is not complete."""
        price = replace(self.price, misfit=self.growth.misfit) if strict else self.price
        return (ComponentBank if self.components else TemplateBank)(patterns, frames, price)

    @property
    def margin(self) -> int:
        return self.growth.reach + self.growth.seed + 1


@dataclass(frozen=True, eq=False)
class FrameStack:
    """Frames with what lies behind each.

    Attributes:
        frames: RGB in 0..255.
        behind: In [0, 1], one for each frame or one for all.
        offsets: Top and left of each frame on the background, in pixels.
    """

    frames: UInt8[np.ndarray, "N H W 3"]
    behind: Float32[np.ndarray, "G H2 W2 3"]
    offsets: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, frames: UInt8[np.ndarray, "N H W 3"], background: Background) -> "FrameStack":
        size = (frames.shape[1], frames.shape[2])
        if background.rgb.shape[0] <= size[0] and background.rgb.shape[1] <= size[1]:
            return cls(frames, background.rgb[None], ((0, 0),) * len(frames))
        offsets = tuple(background.offset(frame) for frame in frames)
        return cls(frames, np.stack([background.crop(size, offset) for offset in offsets]), offsets)

    def __len__(self) -> int:
        return len(self.frames)

    def fresh(self, search: Search, rows: list[int] | None = None) -> Frames:
        """The frames with nothing explained yet."""
        rows = list(range(len(self))) if rows is None else rows
        behind = self.behind if len(self.behind) == 1 else self.behind[rows]
        return Frames(self.frames[rows], behind, search.margin, ColourCodes(search.tolerance))


def parse_all(
    scenes: FrameStack, patterns: list[HardSprite], search: Search, rows: list[int] | None = None
) -> tuple[Frames, Parse]:
    """Find the patterns in frames; return these with all that is explained closed."""
    frames = scenes.fresh(search, rows)
    if not any(p.area for p in patterns):
        left = (frames.kind == OPEN).sum((1, 2))
        return frames, Parse([[] for _ in range(len(frames))], left.astype(np.int64))
    found = parse(frames, search.bank(patterns, frames), list(range(len(frames))))
    return frames, found


def explained(scenes: FrameStack, patterns: list[HardSprite], search: Search, rows: list[int] | None = None) -> Parse:
    """What `parse_all` finds, without the frames: a few at a time, so that memory does not grow with their number."""
    rows = list(range(len(scenes))) if rows is None else rows
    few = max(1, AT_ONCE // (scenes.frames.shape[1] * scenes.frames.shape[2]))
    parts = [parse_all(scenes, patterns, search, rows[n : n + few])[1] for n in range(0, len(rows), few)]
    return Parse([some for part in parts for some in part.places], np.concatenate([part.left for part in parts]))


def learn_round(
    scenes: FrameStack, patterns: list[HardSprite], search: Search, rng: np.random.Generator
) -> list[HardSprite]:
    """One round of learning from some frames."""
    if patterns:
        found = explained(scenes, patterns, search)
        joined = join(patterns, found, search)
        if joined != patterns:
            patterns = joined
            found = explained(scenes, patterns, search)  # places name patterns by their number
        patterns = reestimate(scenes.fresh(search), patterns, found, search.growth)
    frames, _ = parse_all(scenes, patterns, search)
    if search.flips:
        patterns = patterns + _mirrored(frames, patterns, search)
    patterns = patterns + seek(frames, search, rng, search.most - len(patterns))
    del frames  # the largest thing in memory
    found = explained(scenes, patterns, search)
    if not search.components:
        halves = split(scenes.fresh(search), patterns, found, search.growth, scenes.offsets)
        if len(halves) > len(patterns):
            patterns, found = halves, explained(scenes, halves, search)
    patterns = reestimate(scenes.fresh(search), patterns, found, search.growth)
    return prune(scenes, patterns, search)


def seek(frames: Frames, search: Search, rng: np.random.Generator, most: int) -> list[HardSprite]:
    """Find patterns in what is open, those that explain most first; closes what they explain."""
    if search.components:
        return seek_components(frames, search, rng, most)
    growth, everything = search.growth, list(range(len(frames)))
    few = everything[:: max(1, len(everything) // 12)]
    strict = replace(search.price, misfit=growth.misfit)
    fresh: list[HardSprite] = []
    vain = 0
    while vain < search.patience and len(fresh) < most:
        spots = random_spots(frames, growth, 12, rng)
        if len(spots) == 0:
            break
        seeds = [cut_seed(frames, spot, growth.seed) for spot in spots]
        counts = [len(found) for found in find_occurrences(frames, few, seeds, growth.match)]
        ranking = np.argsort(counts, kind="stable")[::-1][:3]
        grown = [refine_until_stable(frames, spots[n], growth, everything, few) for n in ranking if counts[n]]
        good = [g for g in grown if g is not None and g.pattern.area >= growth.smallest]
        vain += 1
        if not good:
            continue
        best = max(good, key=lambda g: g.count * (g.pattern.area - search.price.of(g.pattern)))
        pattern = extract_tile(frames, best.pattern, everything, strict)
        bank = TemplateBank([pattern], frames, strict)
        if sum(len(find(frames, index, bank, rounds=1)) for index in everything) >= growth.least:
            fresh.append(pattern)
            vain = 0
    return fresh


def seek_components(frames: Frames, search: Search, rng: np.random.Generator, most: int) -> list[HardSprite]:
    """Find patterns that are whole connected regions; closes what they explain."""
    everything, vain = list(range(len(frames))), 0
    fresh: list[HardSprite] = []
    side = 2 * search.growth.reach
    while vain < search.patience and len(fresh) < most:
        found = []
        for index in everything:
            some = [
                r for r in regions(frames, index) if max(r[2].shape) <= side and r[2].sum() >= search.growth.smallest
            ]
            found += [(index, *some[n]) for n in rng.permutation(len(some))[:16]]
        trial = []
        for index, y, x, alpha in found:
            colour = frames.colour[index, y : y + alpha.shape[0], x : x + alpha.shape[1]]
            trial.append(HardSprite((colour * alpha[..., None]).astype(np.float32), alpha))
        bank = search.bank(trial, frames, strict=True)
        counts = np.zeros(len(trial), np.int64)
        for index in everything:
            seen = {(place.entry, place.top // 4, place.left // 4) for _, place in bank.candidates(frames, index)}
            np.add.at(counts, [entry for entry, _, _ in seen], 1)
        vain += 1
        for k in sorted(range(len(trial)), key=lambda k: -int(counts[k]) * trial[k].area):
            if counts[k] < search.growth.least or len(fresh) >= most:
                continue
            alone = search.bank([trial[k]], frames, strict=True)
            places = [(index, place) for index in everything for place in find(frames, index, alone, rounds=1)]
            if len(places) >= search.growth.least:
                fresh.append(trial[k])
                vain = 0
    return fresh


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


def _mirrored(frames: Frames, patterns: list[HardSprite], search: Search) -> list[HardSprite]:
    """Mirror images of patterns that explain something; what they explain is closed."""
    strict, found = replace(search.price, misfit=search.growth.misfit), []
    for pattern in patterns[: search.most - len(patterns)]:
        other = pattern.flipped()
        bank = TemplateBank([other], frames, strict)
        if sum(len(find(frames, index, bank, rounds=1)) for index in range(len(frames))) >= 2:
            found.append(other)
    return found


def prune(scenes: FrameStack, patterns: list[HardSprite], search: Search, sample: int = 12) -> list[HardSprite]:
    """Keep the patterns that are worth their description: dropping one must cost more than its own pixels.

    Description length, in pixels: those painted wrongly or not at all, a price for each placement, and every pixel of
    every pattern.
    """
    found = explained(scenes, patterns, search)
    usage, cost = found.usage(len(patterns)), found.cost(search.price.pixels)
    keep = [k for k in range(len(patterns)) if usage[k]]
    for k in sorted(keep, key=lambda k: int(usage[k]) * patterns[k].area):
        users = [i for i, some in enumerate(found.places) if any(place.entry == k for place in some)]
        own = patterns[k].area + search.price.pixels
        if search.components and usage[k] >= search.growth.least:
            continue  # letters do not explain each other
        if usage[k] * patterns[k].area > 40 * own or len(keep) == 1:
            continue  # used so often that nothing can replace it for less
        some = users[:: max(1, len(users) // sample)]
        again = explained(scenes, [patterns[j] for j in keep if j != k], search, some)
        rise = float((again.cost(search.price.pixels) - cost[some]).sum()) * len(users) / len(some)
        if rise < own:
            keep.remove(k)
    ordered = sorted(keep, key=lambda k: -int(usage[k]))
    return [patterns[k] for k in ordered]


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


def _neighbours(patterns: list[HardSprite], places: list[Occurrence], gap: int = 1) -> list[tuple[int, int]]:
    """Ordered pairs of placements whose boxes touch."""
    if not places:
        return []
    box = np.array(
        [[p.top, p.left, p.top + patterns[p.entry].size[0], p.left + patterns[p.entry].size[1]] for p in places]
    )
    near = (box[:, None, :2] <= box[None, :, 2:] + gap) & (box[None, :, :2] <= box[:, None, 2:] + gap)
    touching = near.all(2) & ~np.eye(len(places), dtype=bool)
    return [(int(a), int(b)) for a, b in np.argwhere(touching)]


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

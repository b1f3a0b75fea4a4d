"""Find patterns in what is still open: whole regions that recur, patches that grow, and the glyphs of pages."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32
from scipy import ndimage

from delaminate.matching.exact.detection import TemplateBank, find
from delaminate.matching.exact.fitting import ring_of
from delaminate.matching.exact.glyphs import GlyphClass, Shape, classes_of, letter_height, shapes_of
from delaminate.matching.exact.growth import (
    cut_seed,
    extract_tile,
    find_occurrences,
    period,
    random_spots,
    refine_until_stable,
)
from delaminate.matching.exact.hashing import bank_of
from delaminate.matching.exact.progress import RoundState
from delaminate.matching.exact.reading import LETTER, PART, GlyphReader, unions_of
from delaminate.matching.exact.search import FrameStack, Search
from delaminate.matching.exact.templates import CLOSED, OPEN, Frames, HardSprite
from delaminate.matching.tile_cells import MIRRORED

REGIONS = 3
"""Times that a region must recur to be a pattern."""
LEVELS = 3
"""Times that regions are looked for, each in what the regions before leave open."""
HELD = 0.3
"""A region is not taken as it is if smaller ones explain this share of it."""
HEMMED_IN = 0.4
"""A region is what is left of something in part hidden if more of its outline than this is beside what has been explained."""
SPECK = 5
"""Pixels of a region, at least, where colours do not recur to the bit: what is smaller may be noise."""
FLAT = 3 / 255
"""Colours of a flat patch differ by no more in a channel."""
APART = 0.8
"""A rare region is no letter if others explain this share of it: they touch."""
JOINED, NARROWER = 0.9, 0.8
"""Letters that touch explain this share of a class, at least; each is narrower than this share of it."""
BROAD, HABIT = 1.5, 0.03
"""Letters touch by habit where this share of what is as high as a letter is so many times as broad as a letter is high."""
LARGEST_GROUPS = 400
"""Groups of like regions that are looked at, at most: those that explain most."""


def find_everywhere(frames: Frames, bank: TemplateBank, search: Search, rounds: int | None = 1) -> int:
    """Find patterns in all frames; closes what they explain. Returns how many places there are."""
    count = 0
    for index in range(len(frames)):
        search.progress.check()
        count += len(find(frames, index, bank, rounds))
    return count


def close_together(frames: Frames, patterns: list[HardSprite], search: Search) -> None:
    """Close what patterns explain, each where it explains most."""
    if patterns:
        find_everywhere(frames, search.bank(patterns, frames, strict=True), search, rounds=None)


def close(frames: Frames, pattern: HardSprite, search: Search) -> int:
    """Close what one pattern explains; returns how many places there are."""
    strict = search.strict_price
    return find_everywhere(frames, bank_of([pattern], frames, strict), search)


# --- regions ----------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Group:
    """Regions that look alike: the first of them, where the others are, and how often."""

    colour: Float32[np.ndarray, "h w 3"]
    alpha: Bool[np.ndarray, "h w"]
    spots: list[tuple[int, int, int]]

    @property
    def worth(self) -> int:
        return len(self.spots) * int(self.alpha.sum())


def recurring_regions(frames: Frames, search: Search, most: int) -> list[HardSprite]:
    """Connected regions of open pixels that recur as they are: things that nothing touches; closes what they explain.

    One that holds another which is seen as often by itself is left for later: once that is closed, the rest of it is a
    region of its own. So regions are looked for again until there are no more. Bars of one colour are in everything of that
    colour, the strokes of its digits, which says nothing.
    """
    found: list[HardSprite] = []
    for level in range(LEVELS):
        groups = [g for g in _groups(frames, search) if len(g.spots) >= REGIONS + level]
        groups = [group for group in groups if not _is_hole(frames, group)]
        worth = sorted(groups, key=lambda g: -g.worth)[: max(most - len(found), 0)]
        trial = [_typical(frames, group, search) for group in worth]
        fresh = []
        for number, pattern in enumerate(trial):
            others = [
                other
                for k, other in enumerate(trial)
                if other.area < pattern.area
                and len(worth[k].spots) >= len(worth[number].spots)
                and not (pattern.is_flat and other.is_flat)
            ]
            if pattern.area and not (others and _holds_another(pattern, others, search)):
                fresh.append(_tile_of(pattern, frames, search))
        fresh = _distinct(fresh)
        if not fresh:
            break
        close_together(frames, fresh, search)
        found += fresh
    return found


def _is_hole(frames: Frames, group: _Group, share: float = 0.6) -> bool:
    """Whether a flat patch only goes on in the background around it: where a picture shows what once stood there."""
    shown = group.colour[group.alpha]
    if frames.background is not None or np.ptp(shown, axis=0).max() > FLAT:
        return False
    ring = ring_of(group.alpha)
    spots = np.array(group.spots, np.int64)[:20] - np.array([0, 1, 1])
    behind = frames.behind_at(spots, (ring.shape[0], ring.shape[1]))[:, ring]
    return bool((np.abs(behind - shown[0]) <= FLAT).all(2).mean() >= share)


def _tile_of(pattern: HardSprite, frames: Frames, search: Search) -> HardSprite:
    """What stands in rows is a tile of them."""
    if not (period(pattern, 0, frames.codes) or period(pattern, 1, frames.codes)):
        return pattern
    strict = search.strict_price
    return extract_tile(frames, pattern, list(range(len(frames))), strict)


def _distinct(patterns: list[HardSprite]) -> list[HardSprite]:
    """Each pattern once."""
    return list({p.key: p for p in reversed(patterns)}.values())[::-1]


def _groups(frames: Frames, search: Search) -> list[_Group]:
    """Group regions by how they look."""
    exact: dict[tuple[bytes, bytes, tuple[int, ...]], _Group] = {}
    margin, (height, width) = frames.margin, frames.size
    for index in range(len(frames)):
        search.progress.check()
        is_open = frames.kind[index] == OPEN
        labels, count = ndimage.label(is_open, np.ones((3, 3)))
        hemmed = _closed_outline(frames.kind[index], labels, count)
        parts = [
            (number, window, labels, hemmed) for number, window in enumerate(ndimage.find_objects(labels), start=1)
        ]
        if frames.codes.exact:
            stacks = _stacks(labels, is_open)
            around = _closed_outline(frames.kind[index], stacks, int(stacks.max()))
            windows = ndimage.find_objects(stacks)
            parts += [(n, window, stacks, around) for n, window in enumerate(windows, start=1) if window is not None]
        for number, window, names, outline in parts:
            rows, columns = window
            if outline[number - 1] > HEMMED_IN:
                continue
            if max(rows.stop - rows.start, columns.stop - columns.start) > search.largest_region:
                continue
            if rows.start <= margin or columns.start <= margin:
                continue
            if rows.stop >= height - margin or columns.stop >= width - margin:
                continue
            alpha = names[window] == number
            if alpha.sum() < (2 if frames.codes.exact else SPECK):
                continue
            colour = (frames.colour[index][window] * alpha[..., None]).astype(np.float32)
            key = colour.tobytes(), alpha.tobytes(), alpha.shape
            group = exact.setdefault(key, _Group(colour, alpha, []))
            group.spots.append((index, rows.start, columns.start))
    groups = sorted(exact.values(), key=lambda group: -group.worth)
    return groups if frames.codes.exact else _merged(groups, frames)


def _stacks(labels: Int32[np.ndarray, "H W"], is_open: Bool[np.ndarray, "H W"]) -> Int32[np.ndarray, "H W"]:
    """Regions above each other with one line between them, as screens show what is drawn in every other line: named anew."""
    gap = is_open.copy()
    gap[1:-1] |= is_open[:-2] & is_open[2:]
    joined, count = ndimage.label(gap, np.ones((3, 3)))
    joined[~is_open] = 0
    fewest = np.full(count + 1, np.iinfo(np.int32).max, np.int32)
    most = np.zeros(count + 1, np.int32)
    np.minimum.at(fewest, joined[is_open], labels[is_open])
    np.maximum.at(most, joined[is_open], labels[is_open])
    return np.where((fewest < most)[joined] & is_open, joined, 0).astype(np.int32)


def _closed_outline(kind: np.ndarray, labels: np.ndarray, count: int) -> Float32[np.ndarray, " n"]:
    """The share of each region's outline that is beside closed pixels."""
    whole, closed = np.zeros(count + 1), np.zeros(count + 1)
    for axis in (0, 1):
        for here, there in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            inside, beyond = (labels[here], kind[there]) if axis == 0 else (labels[:, here], kind[:, there])
            edge = (inside > 0) & (beyond != OPEN)
            whole += np.bincount(inside[edge], minlength=count + 1)
            closed += np.bincount(inside[edge & (beyond == CLOSED)], minlength=count + 1)
    return (closed / whole.clip(1))[1:].astype(np.float32)


def _merged(groups: list[_Group], frames: Frames) -> list[_Group]:
    """Join groups that differ by noise only."""
    kept: list[_Group] = []
    for group in groups:
        for other in kept:
            place = _likeness(group, other, frames)
            if place is not None:
                down, right = place
                other.spots += [(index, top + down, left + right) for index, top, left in group.spots]
                break
        else:
            if len(kept) < LARGEST_GROUPS:
                kept.append(group)
    return kept


def _likeness(one: _Group, other: _Group, frames: Frames) -> tuple[int, int] | None:
    """By how much the corner of `other` lies below and right of that of `one`, if the two look alike; else None."""
    area, theirs = int(one.alpha.sum()), int(other.alpha.sum())
    if (
        not 0.7 < area / theirs < 1.4
        or max(abs(a - b) for a, b in zip(one.alpha.shape, other.alpha.shape, strict=True)) > 2
    ):
        return None
    size = tuple(max(a, b) + 2 for a, b in zip(one.alpha.shape, other.alpha.shape, strict=True))
    alpha, colour = np.zeros(size, bool), np.zeros((*size, 3), np.float32)
    alpha[1 : 1 + one.alpha.shape[0], 1 : 1 + one.alpha.shape[1]] = one.alpha
    colour[1 : 1 + one.alpha.shape[0], 1 : 1 + one.alpha.shape[1]] = one.colour
    for down in range(size[0] - other.alpha.shape[0] + 1):
        for right in range(size[1] - other.alpha.shape[1] + 1):
            window = slice(down, down + other.alpha.shape[0]), slice(right, right + other.alpha.shape[1])
            both = alpha[window] & other.alpha
            if both.sum() < 0.8 * max(area, theirs):
                continue
            if frames.codes.same(colour[window], other.colour)[both].mean() >= 0.8:
                return down - 1, right - 1
    return None


def _typical(frames: Frames, group: _Group, search: Search) -> HardSprite:
    """The picture of a group: as it is, or what most of its noisy members show."""
    if frames.codes.exact or len(group.spots) < 2:
        return HardSprite(group.colour, group.alpha)
    some = np.array(group.spots, np.int64)[: search.growth.sample]
    size = (group.alpha.shape[0] + 2, group.alpha.shape[1] + 2)
    colour, kind = frames.windows(some, -1, -1, size)
    is_open = kind == OPEN
    alpha = is_open.mean(0) > 0.5
    weight = is_open[..., None]
    middle = np.ma.median(np.ma.array(colour, mask=~np.broadcast_to(weight, colour.shape)), 0).filled(0)
    return HardSprite.cut(middle.astype(np.float32), alpha)[0]


def _holds_another(pattern: HardSprite, others: list[HardSprite], search: Search) -> bool:
    """Whether others explain a good part of a pattern."""
    size = (pattern.size[0] + 2, pattern.size[1] + 2)
    shown, behind = np.zeros((*size, 3), np.uint8), np.full((*size, 3), 2, np.float32)  # a colour that there is not
    shown[1:-1, 1:-1][pattern.alpha] = np.rint(255 * pattern.colour[pattern.alpha])
    frames = FrameStack(shown[None], behind[None], ((0, 0),)).fresh(search)
    frames.hide(0, ~np.pad(pattern.alpha, 1))
    places = find(frames, 0, search.bank(others, frames, strict=True))
    return bool(places) and frames.share_explained >= HELD


# --- patches ----------------------------------------------------------------------------------------------------------


def seek_patches(frames: Frames, search: Search, seed: int, state: RoundState) -> None:
    """Grow patterns from patches of what is open, those that explain most first; closes what they explain."""
    growth, everything = search.growth, list(range(len(frames)))
    few = everything[:: max(1, len(everything) // 12)]
    strict = search.strict_price
    while state.vain < search.patience and len(state.found) < search.most:
        search.progress.check()
        rng = np.random.default_rng([seed, state.attempts])
        spots = random_spots(frames, growth, 12, rng)
        if len(spots) == 0:
            break
        seeds = [cut_seed(frames, spot, growth.seed) for spot in spots]
        counts = [len(found) for found in find_occurrences(frames, few, seeds, growth.match)]
        ranking = np.argsort(counts, kind="stable")[::-1][:3]
        grown = []
        for n in ranking:
            search.progress.check()
            if counts[n]:
                grown.append(refine_until_stable(frames, spots[n], growth, everything, few))
        good = [g for g in grown if g is not None and g.pattern.area >= growth.smallest]
        state.vain += 1
        if good:
            best = max(good, key=lambda g: g.count * (g.pattern.area - search.price.of(g.pattern)))
            pattern = extract_tile(frames, best.pattern, everything, strict)
            enough = close(frames, pattern, search) >= growth.least
            state.tried, state.kept = [*state.tried, pattern], [*state.kept, enough]
            state.vain = 0 if enough else state.vain
        state.attempts += 1
        search.progress.tell(len(state.found), frames.share_explained)


# --- glyphs -----------------------------------------------------------------------------------------------------------


def seek_components(frames: Frames, known: list[HardSprite], search: Search) -> list[HardSprite]:
    """Find patterns that are whole connected regions, or several closely above one another; and rare ones of a letter's size.

    Args:
        frames: Pages.
        known: Patterns that need not be found.
        search: How to look; no more than `most` patterns are found, the known ones among them.
    """
    largest = 2 * search.growth.reach + search.growth.seed
    pages = [shapes_of(frames, index, largest) for index in range(len(frames))]
    shapes = [shape for page in pages for shape in page]
    height = letter_height(shapes)
    search.progress.check()
    classes = classes_of(shapes, [pattern.alpha for pattern in known])
    search.progress.check()
    stacked = [union for page in pages for union in unions_of(page, height, largest, beside=False)]
    dotted = classes_of(stacked, [each.mask for each in classes] + [pattern.alpha for pattern in known])
    fresh = [(each, shapes) for each in classes if not each.known and len(each.members) > 1]
    fresh += [(each, stacked) for each in dotted if not each.known and len(each.members) > 1]
    if _letters_touch(shapes, height):
        joined = _are_joined([each for each, _ in fresh], [each for each in classes if each.known], height)
        fresh = [pair for pair, are_letters in zip(fresh, joined, strict=True) if not are_letters]
    fresh.sort(key=lambda pair: -pair[0].worth)
    masks = [pattern.alpha for pattern in known] + [each.mask for each, _ in fresh]
    reader, rare = GlyphReader(masks), []
    for each in sorted((each for each in classes if len(each.members) == 1), key=lambda each: -int(each.mask.sum())):
        search.progress.check()
        a_letter = each.mask.shape[0] >= LETTER * height and each.mask.sum() >= PART * height**2
        # Letters that touch are no letter.
        if a_letter and not each.known and reader.pursue(each.mask, each.mask, LETTER * height)[1] < APART:
            rare.append((each, shapes))
    some = (fresh + rare)[: max(search.most - len(known), 0)]
    return [_sprite_of(frames, each, shapes) for each, shapes in some]


def _letters_touch(shapes: list[Shape], height: float) -> bool:
    """Whether letters touch by habit; where they seldom do, those that recur joined were cut as one type."""
    broad = [s.mask.shape[1] > BROAD * height for s in shapes if s.mask.shape[0] >= LETTER * height]
    return bool(broad) and float(np.mean(broad)) >= HABIT


def _are_joined(fresh: list[GlyphClass], known: list[GlyphClass], height: float) -> list[bool]:
    """Which new classes are letters that touch: each of those recurs by itself, and more often than they do together."""
    reader = GlyphReader([each.mask for each in fresh + known])
    count, width = (np.array(n) for n in zip(*((len(g.members), g.mask.shape[1]) for g in fresh + known), strict=True))
    found = []
    for n, each in enumerate(fresh):
        single = (count > count[n]) & (width <= NARROWER * width[n])
        letters, share = reader.pursue(each.mask, each.mask, LETTER * height, single)
        found.append(len(letters) > 1 and share >= JOINED)
    return found


def _sprite_of(frames: Frames, glyph: GlyphClass, shapes: list[Shape]) -> HardSprite:
    """What the members of a class show, averaged where they have ink."""
    corners = np.array([(shapes[n].frame, shapes[n].top, shapes[n].left) for n in glyph.members], dtype=np.int64)
    corners[:, 1:] += glyph.corners
    colour, kind = frames.windows(corners, 0, 0, (glyph.mask.shape[0], glyph.mask.shape[1]))
    inked = (kind == OPEN)[..., None]
    mean = np.rint(255 * (colour * inked).sum(0) / inked.sum(0).clip(1)) / 255
    return HardSprite((mean * glyph.mask[..., None]).astype(np.float32), glyph.mask)


def mirrored(frames: Frames, patterns: list[HardSprite], search: Search) -> list[tuple[HardSprite, bool]]:
    """Mirror images of patterns, which are closed, and whether they explain enough."""
    others = [pattern.oriented(MIRRORED) for pattern in patterns[: search.most - len(patterns)]]
    bank = bank_of(others, frames, search.strict_price)
    hopeful: set[int] = set()
    for index in range(len(frames) if others else 0):
        search.progress.check()
        hopeful |= set(bank.candidates(frames, index)[0][:, 0].tolist())
    found = []
    for number in sorted(hopeful):
        count = close(frames, others[number], search)
        if count:
            found.append((others[number], count >= 2))
    return found

"""What looks wrong with a decomposition, in words and without labels: its sprites, and what they leave unexplained."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from delaminate.scene.collection import shared_dictionary
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement
from delaminate.scene.scenes import Scene

ALIKE = 0.9
"""Likeness of two sprites from which on they may be one: the share that they agree in of what either covers."""
OFTEN, ALWAYS = 5, 0.9
"""Two sprites are parts of one thing if they are seen so often, and nearly always side by side in the same way."""
LARGE_PART = 0.2
"""Share of a sprite from which on a separate piece of it may be a thing of its own."""
MANY, TWICE = 10, 1.5
"""Where so many sprites are seen less than so often each, nothing recurs."""
NAMED = 6
"""Sprites that a remark names at most."""


def remarks(scenes: Sequence[Scene], offered: int = 0) -> list[str]:
    """Say what looks wrong with the sprites of scenes.

    Args:
        scenes: Of one decomposition.
        offered: How many sprites there might have been; 0: any number.

    Returns:
        Sentences: sprites never used, alike, always side by side (one thing in two parts), in separate pieces (two things in
        one), and all in use of those that were offered.
    """
    dictionary = shared_dictionary(scenes)
    entries = [entry for entry in range(len(dictionary)) if entry not in dictionary.backgrounds]
    if not entries:
        return []
    placements = [
        [layer.placement for layer in scene.layers if layer.placement.entry in set(entries)] for scene in scenes
    ]
    used = Counter(placement.entry for some in placements for placement in some)
    found = []
    if unused := [entry for entry in entries if not used[entry]]:
        found.append(f"Never used: {_named(dictionary, unused)}.")
    found += [
        f"{_pair(dictionary, *pair)} look alike; they may be one sprite."
        for pair in _alike(dictionary, entries)[:NAMED]
    ]
    for one, other, share in _side_by_side(placements, used)[:NAMED]:
        found.append(
            f"{_pair(dictionary, one, other)} are side by side in the same way {share:.0%} of the time; they may be parts "
            "of one thing."
        )
    if glued := [entry for entry in entries if used[entry] and _in_pieces(dictionary.sprites[entry])]:
        found.append(f"In separate pieces, and maybe several things: {_named(dictionary, glued)}.")
    if offered and len(entries) >= offered:
        found.append(f"All {offered} sprites that were offered are in use; with more of them more may be found.")
    return found


def hardly_recurs(scenes: Sequence[Scene]) -> bool:
    """Whether nearly every sprite is seen but once: then sprites are copies of parts of images, and nothing was found."""
    dictionary = shared_dictionary(scenes)
    used = Counter(layer.placement.entry for scene in scenes for layer in scene.layers)
    counts = [used[entry] for entry in range(len(dictionary)) if entry not in dictionary.backgrounds and used[entry]]
    return len(scenes) > 1 and len(counts) >= MANY and sum(counts) < TWICE * len(counts)


def _named(dictionary: Dictionary, entries: Sequence[int]) -> str:
    more = f" and {len(entries) - NAMED} more" if len(entries) > NAMED else ""
    return ", ".join(dictionary.name(entry) for entry in entries[:NAMED]) + more


def _pair(dictionary: Dictionary, one: int, other: int) -> str:
    return f"{dictionary.name(one)} and {dictionary.name(other)}"


def _alike(dictionary: Dictionary, entries: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of sprites of nearly one size that agree where either is opaque, within a pixel's shift."""
    found = []
    for place, one in enumerate(entries):
        for other in entries[place + 1 :]:
            sizes = [dictionary.sprites[entry].shape[1:] for entry in (one, other)]
            comparable = (
                max(abs(a - b) for a, b in zip(*sizes, strict=True)) <= 2 and min(min(size) for size in sizes) >= 4
            )
            if comparable and _agreement(dictionary.sprites[one], dictionary.sprites[other]) >= ALIKE:
                found.append((one, other))
    return found


def _agreement(one: Float[Tensor, "4 _h _w"], other: Float[Tensor, "4 _y _x"]) -> float:
    height, width = (max(a, b) + 2 for a, b in zip(one.shape[1:], other.shape[1:], strict=True))
    first = F.pad(one, (1, width - one.shape[2] - 1, 1, height - one.shape[1] - 1))
    best = 0.0
    for top in range(height - other.shape[1] + 1):
        for left in range(width - other.shape[2] + 1):
            second = F.pad(other, (left, width - other.shape[2] - left, top, height - other.shape[1] - top))
            covered = torch.maximum(first[3], second[3]) > 0.5
            both = (first[3] > 0.5) & (second[3] > 0.5) & ((first[:3] - second[:3]).abs().amax(0) < 0.1)
            best = max(best, float(both.sum()) / max(float(covered.sum()), 1))
    return best


def _corner(placement: Placement) -> tuple[int, int] | None:
    """Where a sprite that is only moved lies; None: it is turned or scaled."""
    last = placement.transforms[-1]
    if len(placement.transforms) != 1 or last.kind != "matrix":
        return None
    matrix = last.matrix
    moved = abs(matrix[0, 1]) < 1e-6 and abs(matrix[1, 0]) < 1e-6 and min(matrix[0, 0], matrix[1, 1]) > 0
    return (round(float(matrix[1, 2])), round(float(matrix[0, 2]))) if moved else None


def _side_by_side(placements: Sequence[Sequence[Placement]], used: Counter[int]) -> list[tuple[int, int, float]]:
    """Pairs of sprites that are nearly always at one distance from each other, with how often."""
    offsets: dict[tuple[int, int], Counter[tuple[int, int]]] = defaultdict(Counter)
    for some in placements:
        corners = [(placement.entry, _corner(placement)) for placement in some]
        known = [(entry, corner) for entry, corner in corners if corner is not None and entry != OWN_RASTER][:200]
        for place, (entry, (top, left)) in enumerate(known):
            seen = set()
            for other, (y, x) in known[place + 1 :]:
                if other == entry:
                    continue
                key = (entry, other) if entry < other else (other, entry)
                offset = (y - top, x - left) if entry < other else (top - y, left - x)
                if (key, offset) not in seen:
                    seen.add((key, offset))
                    offsets[key][offset] += 1
    found = []
    for (one, other), counts in offsets.items():
        most = counts.most_common(1)[0][1]
        share = most / max(used[one], used[other])
        if most >= OFTEN and share >= ALWAYS:
            found.append((one, other, share))
    return sorted(found, key=lambda row: -row[2])


def _in_pieces(sprite: Float[Tensor, "4 h w"]) -> bool:
    """Whether a sprite consists of several large pieces that do not touch."""
    labels, count = ndimage.label(sprite[3].numpy() > 0.5, [[1, 1, 1]] * 3)
    if count < 2:
        return False
    sizes = sorted(ndimage.sum(labels > 0, labels, range(1, count + 1)).tolist())
    return bool(sizes[-2] >= LARGE_PART * sum(sizes) and sizes[-2] >= 6)

"""What looks wrong with a decomposition, in words and without labels: its sprites, and what they leave unexplained."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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


Kind = Literal["unused", "alike", "parts", "pieces"]


@dataclass(frozen=True)
class Suspicion:
    """Something that looks wrong with sprites.

    Attributes:
        kind: unused; alike: two may be one; parts: two may be parts of one thing; pieces: one may be several things.
        entries: Which sprites.
        share: Of parts: how often they are side by side in the same way.
    """

    kind: Kind
    entries: tuple[int, ...]
    share: float = 1.0

    def text(self, names: Sequence[str]) -> str:
        """Say it, with the names of all sprites of the dictionary."""
        named = [names[entry] for entry in self.entries]
        if self.kind == "unused":
            return f"Never used: {_listed(named)}."
        if self.kind == "alike":
            return f"{' and '.join(named)} look alike; they may be one sprite."
        if self.kind == "parts":
            return (
                f"{' and '.join(named)} are side by side in the same way {self.share:.0%} of the time; they may be parts "
                "of one thing."
            )
        return f"In separate pieces, and maybe several things: {_listed(named)}."


def remarks(scenes: Sequence[Scene], offered: int = 0) -> list[str]:
    """Say what looks wrong with the sprites of scenes.

    Args:
        scenes: Of one decomposition.
        offered: How many sprites there might have been; 0: any number.

    Returns:
        Sentences: `suspicions`, and whether all are in use of those that were offered.
    """
    dictionary = shared_dictionary(scenes)
    names = [dictionary.name(entry) for entry in range(len(dictionary))]
    found = [each.text(names) for each in suspicions(scenes)]
    if offered and len(dictionary) - len(dictionary.backgrounds) >= offered:
        found.append(f"All {offered} sprites that were offered are in use; with more of them more may be found.")
    return found


def suspicions(scenes: Sequence[Scene]) -> list[Suspicion]:
    """Find what looks wrong with the sprites of scenes of one decomposition.

    Returns:
        Sprites never used, alike, always side by side (one thing in two parts), in separate pieces (two things in one).
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
        found.append(Suspicion("unused", tuple(unused)))
    found += [Suspicion("alike", pair) for pair in _alike(dictionary, entries)[:NAMED]]
    found += [Suspicion("parts", (one, other), share) for one, other, share in _side_by_side(placements, used)[:NAMED]]
    if glued := [entry for entry in entries if used[entry] and _in_pieces(dictionary.sprites[entry])]:
        found.append(Suspicion("pieces", tuple(glued)))
    return found


def hardly_recurs(scenes: Sequence[Scene]) -> bool:
    """Whether nearly every sprite is seen but once: then sprites are copies of parts of images, and nothing was found."""
    dictionary = shared_dictionary(scenes)
    used = Counter(layer.placement.entry for scene in scenes for layer in scene.layers)
    counts = [used[entry] for entry in range(len(dictionary)) if entry not in dictionary.backgrounds and used[entry]]
    return len(scenes) > 1 and len(counts) >= MANY and sum(counts) < TWICE * len(counts)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _alike(dictionary: Dictionary, entries: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of sprites of nearly one size that agree where either is opaque, within a pixel's shift."""
    found = []
    areas = {entry: int((dictionary.sprites[entry][3] > 0.5).sum()) for entry in entries}
    for place, one in enumerate(entries):
        for other in entries[place + 1 :]:
            if min(areas[one], areas[other]) < ALIKE * max(areas[one], areas[other]):
                continue  # they cannot agree in so much of what either covers
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

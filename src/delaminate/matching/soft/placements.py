"""What search finds, as placements; and placements as a start for search."""

import torch

from delaminate.matching.soft.pursuit import Selections
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Placement, Transform


def placements_of(picks: Selections, size: tuple[int, int]) -> tuple[tuple[Placement, ...], ...]:
    """Turn picks, which are front to back, into placements back to front on a canvas of `size`."""
    images = []
    rows = zip(picks.entry.tolist(), picks.top.tolist(), picks.left.tolist(), picks.gain.tolist(), strict=True)
    for entry, top, left, gain in rows:
        found = [
            Placement(k, (Transform.shift(x, y, size),), (*g, 0.0, 0.0, 0.0))
            for k, y, x, g in zip(entry, top, left, gain, strict=True)
            if k >= 0
        ]
        images.append(tuple(found[::-1]))
    return tuple(images)


def picks_of(found: Decomposition, num_placements: int) -> Selections:
    """Round the placements of objects to whole pixels, as a start for search; the nearest `num_placements` are kept."""
    picks = Selections.empty(len(found), num_placements, torch.zeros(()))
    for i, placements in enumerate(found.images):
        objects = placements[1:] if found.background else placements
        for placement_index, placement in enumerate(objects[::-1][:num_placements]):
            height, width = found.dictionary.sprites[placement.entry].shape[1:]
            x, y, z = placement.transforms[-1].matrix @ (width / 2, height / 2, 1.0)
            picks.entry[i, placement_index] = placement.entry
            picks.top[i, placement_index] = round(y / z - height / 2)
            picks.left[i, placement_index] = round(x / z - width / 2)
            gain = torch.tensor(placement.colour[:3]) + torch.tensor(placement.colour[3:])
            picks.gain[i, placement_index] = gain.clamp(0, 1)
    return picks

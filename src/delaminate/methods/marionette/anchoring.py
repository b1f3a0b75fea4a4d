"""MarioNette: from anchors to placements, and back. What the network decides is painted; what search finds is taught."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from delaminate.matching.agreement import Pattern
from delaminate.matching.sheet import Sheet
from delaminate.nets.anchors import ringed
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement, Transform

if TYPE_CHECKING:
    from delaminate.methods.marionette.model import MarioNette
    from delaminate.methods.marionette.players import Hard


def placements_of(model: "MarioNette", found: "Hard", dictionary: Dictionary) -> list[tuple[Placement, ...]]:
    """List what was decided about a few images, back to front."""
    c = model.config
    position = {int(entry): index for index, entry in enumerate(model.entries)}
    rank = {place: index for index, place in enumerate(model.fixed_order())}
    side = model.lattice_side
    behind: list[tuple[Placement, ...]] = [()] * len(found.background)
    if c.background == "learned" and c.soft_background:
        still = (Transform.shift(0, 0, model.image_size),)
        grounds = torch.cat([found.background, torch.ones_like(found.background[:, :1])], 1).cpu()
        behind = [(Placement(OWN_RASTER, still, raster=ground),) for ground in grounds]
    elif c.background != "black":
        last = dictionary.backgrounds[0]
        behind = [(Placement(last, (Transform.shift(-x, -y, model.image_size),)),) for y, x in found.corner.tolist()]
    placed: list[list[tuple[tuple[int, ...], Placement]]] = [[] for _ in behind]
    shown = found.sprites.cpu() if c.offsets == "discrete" else ringed(found.sprites.cpu())
    rows = zip(found.anchor.tolist(), found.entry.tolist(), found.shift.tolist(), shown, strict=True)
    for (image, layer, row, column), entry, shift, sprite in rows:
        transforms = _transforms(model, row, column, *shift)
        if c.mix_sprites:
            placement = Placement(OWN_RASTER, transforms, raster=sprite)
        else:
            placement = Placement(position[entry], transforms)
        place = rank[layer, row % side * side + column % side]
        placed[image].append(((place, row, column), placement))
    return [
        (*ground, *(placement for _, placement in sorted(each, key=lambda pair: pair[0])))
        for ground, each in zip(behind, placed, strict=True)
    ]


def _transforms(model: "MarioNette", row: int, column: int, down: float, across: float) -> tuple[Transform, ...]:
    """Where the sprite of an anchor goes, shifted: straight to the canvas, or through the window that cuts it."""
    c = model.config
    k, s = c.sprite_size, c.step_size
    left, top = (place * s - (k - s) // 2 for place in (column, row))
    ring = 0 if c.offsets == "discrete" else 1
    if c.clip_window and (down, across) != (0, 0):
        inside = Transform.shift(across - ring, down - ring, (k, k))
        return inside, Transform.shift(left, top, model.image_size)
    return (Transform.shift(left + across - ring, top + down - ring, model.image_size),)


def centred(pattern: Pattern, side: int) -> Float[Tensor, "4 {side} {side}"]:
    """The pattern as RGBA in the middle of a square; what is larger is cropped there."""
    raster, rgba = torch.zeros(4, side, side), pattern.rgba()
    inside, cut = [], []
    for size in pattern.size:
        first = (side - size) // 2
        inside.append(slice(max(first, 0), min(first + size, side)))
        cut.append(slice(max(-first, 0), min(side - first, size)))
    raster[:, inside[0], inside[1]] = rgba[:, cut[0], cut[1]]
    return raster


@dataclass(frozen=True)
class _Box:
    """A placement: which look, and its extent on the canvas in pixels."""

    look: int
    top: int
    left: int
    bottom: int
    right: int


class Teacher:
    """Says what the network should have said: every look of a sprite is an entry, every placement has an anchor.

    Mirrored and recoloured sprites are entries of their own, for the network neither mirrors nor recolours. Sprites lie in
    the middle of an entry's k x k pixels; what is larger is cropped.

    Attributes:
        rasters: What entries should look like, RGBA, not premultiplied.
    """

    def __init__(self, model: "MarioNette", sheet: Sheet) -> None:
        c = model.config
        self.model, self.sheet, self.search = model, sheet, model.search()
        looks = sheet.looks[: c.num_sprites]
        self.looks = {(look.entry, look.flip, look.colour): index for index, look in enumerate(looks)}
        patterns = [look.of(sheet.sprites[look.entry]) for look in looks]
        self.sizes = [pattern.size for pattern in patterns]
        self.rasters = torch.stack([centred(pattern, c.sprite_size) for pattern in patterns])

    def answer(self, image: Float[Tensor, "1 3 H W"]) -> tuple[Int[Tensor, "n 6"], int]:
        """Search an image.

        Returns:
            Of each placement its layer, row, column, entry, and outcomes of its shift along y and x (outcome i shifts by
            s / 2 - i pixels); and how many placements no anchor can hold.
        """
        placements = self.sheet.decompose(image, self.search).images[0][1:]
        boxes = [box for placement in reversed(placements) if (box := self._box(placement)) is not None]
        return self.lay(boxes, len(placements))

    def _box(self, placement: Placement) -> _Box | None:
        matrix = placement.transforms[-1].matrix
        look = self.looks.get((placement.entry, bool(matrix[0, 0] < 0), placement.colour))
        if look is None:
            return None
        height, width = self.sizes[look]
        top, left = int(matrix[1, 2]), int(matrix[0, 2]) - (width if matrix[0, 0] < 0 else 0)
        return _Box(look, top, left, top + height, left + width)

    def lay(self, boxes: list[_Box], count: int) -> tuple[Int[Tensor, "n 6"], int]:
        """Give boxes, front to back, to anchors and layers; `count` placements there were in all.

        The nearest anchor takes a placement, in layer 0. Of several at one anchor, those in front go to the layers above,
        and those for which no layer is left are dropped. (Layers that also told the order of neighbouring
        anchors were measured: a network learns them less well, and shows less of the images in the end.)
        """
        layers = self.model.config.num_layers
        kept: list[tuple[int, tuple[int, int], tuple[int, int]]] = []
        held: dict[tuple[int, int], int] = {}
        for box in boxes:
            anchored = self._anchor(box)
            if anchored is not None and held.get(anchored[0], 0) < layers:
                held[anchored[0]] = held.get(anchored[0], 0) + 1
                kept.append((box.look, *anchored))
        rows = []
        for look, cell, outcomes in kept:
            held[cell] -= 1
            rows.append((held[cell], *cell, look, *outcomes))
        return torch.tensor(rows, dtype=torch.int64).view(-1, 6), count - len(rows)

    def _anchor(self, box: _Box) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """The nearest anchor's row and column, and outcomes along y and x; None if it is out of reach."""
        c = self.model.config
        k, s = c.sprite_size, c.step_size
        cell, outcomes = [], []
        for first, last, count in ((box.top, box.bottom, c.grid[0]), (box.left, box.right, c.grid[1])):
            # Where the entry's raster begins, seen from the window of anchor 0.
            place = first - (k - (last - first)) // 2 + (k - s) // 2
            nearest = min(max((place + s // 2) // s, 0), count - 1)
            shift = place - nearest * s
            if abs(shift) > s // 2:
                return None
            cell.append(nearest)
            outcomes.append(s // 2 - shift)
        return (cell[0], cell[1]), (outcomes[0], outcomes[1])

"""MarioNette: the network learns what search has found."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor

from delaminate.errors import TrainingError
from delaminate.matching.exact.dictionary import SpriteDictionary
from delaminate.matching.exact.templates import HardSprite
from delaminate.matching.remembered import RememberedSearch
from delaminate.methods.marionette.model import MarioNetteModel
from delaminate.methods.players import GradientPlayer, ParameterGroup, StepContext
from delaminate.objectives.schedules import warmup_cosine
from delaminate.scene.placements import Placement

# Of the squared error of sprites while distilling; most of their pixels are transparent.
SPRITE_WEIGHT = 10.0


@torch.no_grad()
def take_over(model: MarioNetteModel) -> None:
    """Give the network what search has found: as many entries as there are appearances, and the colour of the background.

    Raises:
        TrainingError: Search has found no sprite.
    """
    sheet = model.sheet()
    if not sheet.looks:
        raise TrainingError(
            "marionette: search has found no sprite that recurs, so there is nothing to go on with. Give more images, "
            "lower search_min_pixels, or leave search out (search_steps=0)."
        )
    model.alive.copy_((torch.arange(len(model.alive)) < len(sheet.looks)).to(model.alive))
    if model.config.background == "solid":
        model.colour.copy_(model.store.ground.mean((1, 2)))


def centred(pattern: HardSprite, side: int) -> Float[Tensor, "4 {side} {side}"]:
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
    """A placement: which appearance, and its extent on the canvas in pixels."""

    look: int
    top: int
    left: int
    bottom: int
    right: int


class Teacher:
    """Says what the network should have said: every appearance of a sprite is an entry, every placement has an anchor.

    Mirrored and recoloured sprites are entries of their own, for the network neither mirrors nor recolours. Sprites lie in
    the middle of an entry's k x k pixels; what is larger is cropped.

    Attributes:
        rasters: What entries should look like, RGBA, not premultiplied.
    """

    def __init__(self, model: MarioNetteModel, sheet: SpriteDictionary) -> None:
        c = model.config
        self.model, self.sheet, self.search = model, sheet, model.search()
        looks = sheet.looks[: c.num_sprites]
        self.looks = {(look.entry, look.orientation, look.colour): index for index, look in enumerate(looks)}
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
        matrix, orientation = placement.transforms[-1].matrix, placement.transforms[-1].orientation
        look = self.looks.get((placement.entry, orientation or 0, placement.colour))
        if orientation is None or look is None:
            return None
        height, width = self.sizes[look]
        top = int(matrix[1, 2]) - (height if orientation & 2 else 0)
        left = int(matrix[0, 2]) - (width if orientation & 4 else 0)
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


class Distiller(GradientPlayer):
    """Teach the network what search finds: sprites, and at every anchor whether there is one, which, and how far shifted.

    Every appearance of a sprite is an entry; sprites larger than an entry's k pixels are cropped.
    """

    name = "distiller"
    algorithm = "adamw"

    def __init__(self, model: MarioNetteModel) -> None:
        self.model = model
        self.gradient_clip = model.config.gradient_clip
        self.teacher: Teacher | None = None
        self.search = RememberedSearch(self._search)  # its sprites do not change meanwhile

    def groups(self) -> tuple[ParameterGroup, ...]:
        c = self.model.config
        return (ParameterGroup("network", tuple(self.model.parameters()), c.distil_learning_rate, c.weight_decay),)

    def learning_rate_factor(self, group: str, context: StepContext) -> float:
        return warmup_cosine(context.step, context.steps)

    def targets(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Int[Tensor, "n 7"], int]:
        """What search finds: image, then as `Teacher.answer`; and how many placements no anchor can hold."""
        if self.teacher is None:
            self.teacher = Teacher(self.model, self.model.sheet())
        found = self.search(images)
        rows = [F.pad(targets, (1, 0), value=index) for index, (targets, _) in enumerate(found)]
        return torch.cat(rows).to(images.device), sum(dropped for _, dropped in found)

    def _search(self, images: Float[Tensor, "B 3 H W"]) -> list[tuple[Tensor, int]]:
        assert self.teacher is not None
        return [self.teacher.answer(image) for image in images.split(1)]

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model = self.model
        targets, dropped = self.targets(images)
        context.values["dropped"] = float(context.all_reduce(images.new_tensor(float(dropped))))
        image, layer, row, column, entry, down, across = targets.unbind(1)
        total = context.divisor(images.new_tensor(float(len(targets))))

        # Sprites are compared as they are painted: colour counts where there is alpha.
        assert self.teacher is not None
        wanted = self.teacher.rasters.to(images)
        sprites = model.sprites()
        shown = torch.cat([sprites[:, :3] * sprites[:, 3:], sprites[:, 3:]], 1)[: len(wanted)]
        wanted = torch.cat([wanted[:, :3] * wanted[:, 3:], wanted[:, 3:]], 1)

        cells = model.whole_cells(images)
        logits, switch = model.look(cells)
        there = torch.zeros_like(switch)
        there[image, layer, row, column] = 1
        terms = {
            "sprites": SPRITE_WEIGHT * (shown - wanted).square().mean(),
            "switch": F.binary_cross_entropy_with_logits(switch, there),
        }
        chosen = logits.view(*switch.shape, -1)[image, layer, row, column]
        terms["choice"] = F.cross_entropy(chosen, entry, reduction="sum") / total
        terms["shift"] = chosen.new_zeros(())
        if len(targets):
            # Shifts are read off the mix that is there at test; they have no say in what it shows.
            mixed = (F.softmax(chosen, 1) @ model.planes(sprites).flatten(1)).detach().view(-1, *sprites.shape[1:])
            found = model.shift_logits(model.crops(cells)[image, row, column], mixed)
            errors = [F.cross_entropy(x, y, reduction="sum") for x, y in zip(found, (across, down), strict=True)]
            terms["shift"] = (errors[0] + errors[1]) / (2 * total)
        return terms

"""MarioNette: who learns. Search finds sprites, distillation teaches the network, gradients refine it."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Generator, Tensor, nn

from delaminate.errors import TrainingError
from delaminate.matching.agreement import Codes, Pattern
from delaminate.matching.ground import Ground, estimate
from delaminate.matching.learning import Scenes, Search, learn_round, settle_ground
from delaminate.matching.occurrences import Price
from delaminate.matching.patterns import Growth
from delaminate.matching.sheet import Sheet, SheetStore, fold
from delaminate.methods.base import Carry, GradientPlayer, ParameterGroup, SearchPlayer, half_cosine
from delaminate.methods.marionette.config import Config
from delaminate.nets.anchors import ringed
from delaminate.objectives.reconstruction import image_error
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement, Transform

if TYPE_CHECKING:
    from delaminate.methods.marionette.model import MarioNette

# Probabilities are kept this far from 0 and 1 before their densities are taken (authors' code).
EDGE = 1e-5
# Of the squared error of sprites while distilling; most of their pixels are transparent.
SPRITE_WEIGHT = 10.0


@dataclass
class Soft:
    """A training forward, N = B L R S anchors.

    Attributes:
        image: The reconstruction.
        scores: Of every sprite at every anchor, s_ij; they sum to one.
        switch: Probability that an anchor holds a sprite.
        offsets: Probabilities of the shifts along x and y; none when shifts are continuous.
    """

    image: Float[Tensor, "B 3 H W"]
    scores: Float[Tensor, "N m"]
    switch: Float[Tensor, "B L R S"]
    offsets: tuple[Float[Tensor, "N o"], ...]


@dataclass
class Hard:
    """What a test forward decides about the A anchors that hold a sprite.

    Attributes:
        anchor: Image, layer, row and column.
        entry: The sprite.
        shift: Down and to the right, in pixels from the anchor's window.
        sprites: RGBA (A, 4, k, k), not premultiplied.
        background: What is behind everything, (B, 3, H, W).
        corner: Row and column of the crop of a learned background, (B, 2).
    """

    anchor: Int[Tensor, "A 4"]
    entry: Int[Tensor, " A"]
    shift: Float[Tensor, "A 2"]
    sprites: Float[Tensor, "A 4 k k"]
    background: Float[Tensor, "B 3 H W"]
    corner: Int[Tensor, "B 2"]


def placements_of(model: "MarioNette", found: Hard, dictionary: Dictionary) -> list[tuple[Placement, ...]]:
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


def search_of(c: Config) -> Search:
    """How a model of these settings looks for sprites."""
    reach = (c.max_sprite - c.search_seed) // 2
    growth = Growth(c.search_seed, reach, c.search_match, misfit=min(1.1 - c.search_match, 0.5))
    price = Price(c.search_price, c.search_share)
    return Search(
        c.search_tolerance, growth, price, c.num_sprites, flips=c.flips, components=c.search_parts == "components"
    )


def ground_of(pixels: UInt8[Tensor, "N 3 H W"], c: Config) -> Ground:
    """What lies behind the images."""
    if c.background == "black":
        return Ground(np.zeros((1, 1, 3), np.float32))
    assert c.background != "learned"
    return estimate(pixels.permute(0, 2, 3, 1).cpu().numpy(), c.background, c.search_tolerance)


class Backdrop(SearchPlayer):
    """Find the colour of a solid background in one turn: the centre of the largest cluster of pixels (section 3.5)."""

    name = "backdrop"

    def __init__(self, model: "MarioNette") -> None:
        self.model = model

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        pass

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, carry: Carry) -> dict[str, Tensor]:
        model = self.model
        colour = common_colour(carry.all_gather(images), model.config.background_clusters, rng)
        model.colour.copy_(colour)
        ground = model.colour.view(1, 3, 1, 1).expand_as(images)
        return {"error": image_error(images, ground).mean()}


def common_colour(images: Float[Tensor, "B 3 H W"], clusters: int, rng: Generator) -> Float[Tensor, " 3"]:
    """Cluster the colours of all pixels by k-means; return the centre of the largest cluster.

    Args:
        images: In [0, 1], of 8 bits: equal colours are counted, not repeated.
        clusters: At most so many; fewer if there are fewer colours.
        rng: Draws the starts.
    """
    from sklearn.cluster import KMeans  # takes half a second and 50 MB, which no other turn needs

    levels = (images.detach().float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).reshape(-1, 3).cpu().numpy()
    colours, counts = np.unique(levels, axis=0, return_counts=True)
    seed = int(torch.randint(2**31 - 1, (1,), generator=rng))
    means = KMeans(min(clusters, len(colours)), n_init=3, random_state=seed)
    labels = means.fit_predict(colours.astype(np.float64), sample_weight=counts.astype(np.float64))
    largest = int(np.bincount(labels, weights=counts).argmax())
    inside = labels == largest
    centre = np.average(colours[inside], axis=0, weights=counts[inside]) / 255
    return torch.as_tensor(centre, dtype=images.dtype, device=images.device)


class Matcher(SearchPlayer):
    """Learn sprites by search, a round a turn, each on other frames. The frames of all processes are searched by each."""

    name = "matcher"

    def __init__(self, model: "MarioNette") -> None:
        self.model = model
        self.patterns: list[Pattern] = []

    def state(self) -> dict[str, Tensor]:
        store = SheetStore(max(len(self.patterns), 1), 2 * self.model.config.max_sprite)
        store.put(tuple(self.patterns), ())
        return {"rgba": store.rgba, "sizes": store.sizes}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        store = SheetStore(*state["rgba"].shape[::2])
        store.rgba.copy_(state["rgba"])
        store.sizes.copy_(state["sizes"])
        self.patterns = list(store.sheet().sprites)

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, carry: Carry) -> dict[str, Tensor]:
        model, search = self.model, self.model.search()
        images = carry.all_gather(images)
        frames = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        # A frame that is there twice says no more than once.
        first: dict[bytes, int] = {}
        for index, frame in enumerate(frames):
            first.setdefault(hashlib.blake2b(frame.tobytes()).digest(), index)
        scenes = Scenes.of(frames[list(first.values())], model.store.background)
        seed = int(torch.randint(2**31 - 1, (1,), generator=rng))
        patterns = learn_round(scenes, self.patterns, search, np.random.default_rng(seed))
        self.patterns, ground, found = settle_ground(scenes, patterns, search, model.store.background)
        model.store.behind(ground)
        sprites, looks = fold(self.patterns, Codes(search.tolerance), model.config.flips, model.config.recolours)
        model.store.put(sprites, looks)
        model.alive.copy_((torch.arange(len(model.alive)) < len(sprites)).to(model.alive))
        left = float(found.left.mean()) / (frames.shape[1] * frames.shape[2])
        return {"unexplained": torch.tensor(left), "sprites": torch.tensor(float(len(sprites)))}


@torch.no_grad()
def take_over(model: "MarioNette") -> None:
    """Give the network what search has found: as many entries as there are looks, and the colour of the background.

    Raises:
        TrainingError: Search has found no sprite.
    """
    sheet = model.store.sheet()
    if not sheet.looks:
        raise TrainingError(
            "marionette: search has found no sprite that recurs, so there is nothing to go on with. Give more images, "
            "lower search_price, or leave search out (search_steps=0)."
        )
    model.alive.copy_((torch.arange(len(model.alive)) < len(sheet.looks)).to(model.alive))
    if model.config.background == "solid":
        model.colour.copy_(model.store.ground.mean((1, 2)))


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


class Distiller(GradientPlayer):
    """Teach the network what search finds: sprites, and at every anchor whether there is one, which, and how far shifted.

    Every look of a sprite is an entry; sprites larger than an entry's k pixels are cropped.
    """

    name = "distiller"
    algorithm = "adamw"

    def __init__(self, model: "MarioNette") -> None:
        self.model = model
        self.clip = model.config.clip
        self.teacher: Teacher | None = None
        # Search is a function of the image, and its sprites stand still: its answers are remembered.
        self.answers: dict[bytes, tuple[Tensor, int]] = {}

    def groups(self) -> tuple[ParameterGroup, ...]:
        c = self.model.config
        return (ParameterGroup("network", tuple(self.model.parameters()), c.distil_rate, c.weight_decay),)

    def rate(self, group: str, carry: Carry) -> float:
        return half_cosine(carry.step, carry.steps)

    def targets(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Int[Tensor, "n 7"], int]:
        """What search finds: image, then as `Teacher.answer`; and how many placements no anchor can hold."""
        if self.teacher is None:
            self.teacher = Teacher(self.model, self.model.store.sheet())
        rows, dropped = [], 0
        for index, raw in enumerate((images * 255).round().to(torch.uint8).cpu().numpy()):
            key = hashlib.blake2b(raw.tobytes(), digest_size=16).digest()
            if key not in self.answers:
                self.answers[key] = self.teacher.answer(images[index : index + 1])
            found, lost = self.answers[key]
            rows.append(F.pad(found, (1, 0), value=index))
            dropped += lost
        return torch.cat(rows).to(images.device), dropped

    @staticmethod
    def _average_over(count: int, images: Tensor, carry: Carry) -> Float[Tensor, ""]:
        """Divisor that makes sums over this process's placements average to the mean over those of all processes."""
        return carry.all_reduce(images.new_tensor(float(count))).clamp_min(1) * (len(images) / carry.batch)

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, carry: Carry) -> dict[str, Tensor]:
        model = self.model
        targets, dropped = self.targets(images)
        carry.values["dropped"] = float(carry.all_reduce(images.new_tensor(float(dropped))))
        image, layer, row, column, entry, down, across = targets.unbind(1)
        total = self._average_over(len(targets), images, carry)

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


class Refiner(GradientPlayer):
    """The paper's training: go forward softly, compare with the images, and push choices towards 0 and 1 (section 3.6)."""

    name = "refiner"
    algorithm = "adamw"

    def __init__(self, model: "MarioNette") -> None:
        self.model = model
        self.clip = model.config.clip

    def groups(self) -> tuple[ParameterGroup, ...]:
        model, c = self.model, self.model.config
        behind: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            (behind if name.startswith(("backdrop.", "backdrop_code")) else others).append(parameter)
        network = ParameterGroup("network", tuple(others), c.rate, c.weight_decay)
        if not behind:
            return (network,)
        return network, ParameterGroup("background", tuple(behind), c.background_rate, c.weight_decay)

    def rate(self, group: str, carry: Carry) -> float:
        return half_cosine(carry.step, carry.steps) if self.model.config.cosine else 1.0

    def order(self, rng: Generator) -> list[tuple[int, int]]:
        """Draw the order of sub-lattices: one for all images, and for all layers or across them."""
        c, count = self.model.config, self.model.lattice_side**2
        if c.shuffle_layers:
            drawn = torch.randperm(count * c.num_layers, generator=rng).tolist()
            return [divmod(place, count) for place in drawn]
        drawn = torch.randperm(count, generator=rng).tolist()
        return [(layer, lattice) for layer in range(c.num_layers) for lattice in drawn]

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, carry: Carry) -> dict[str, Tensor]:
        found = self.model.soft(images, self.order(rng))
        return {"error": image_error(images, found.image).mean(), **self.prices(found)}

    def prices(self, found: Soft) -> dict[str, Tensor]:
        """What undecided choices cost, and switches that are on."""
        c = self.model.config
        if c.regularizer == "paper":
            # Summed over an image, averaged over images.
            chosen = (found.scores, found.switch, *found.offsets)
            total = torch.stack([log_density(each).sum() for each in chosen]).sum() / len(found.switch)
            return {"choices": -c.choice_weight * total}
        choices = (density(found.scores).mean() + density(found.switch).mean()) / 2
        prices = found.switch.new_tensor(c.sparsity_weights).view(1, -1, 1, 1)
        return {"choices": c.choice_weight * choices, "sparsity": (prices * found.switch).mean()}


def density(x: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """Beta(2, 2): 6 x (1 - x), highest for x = 1/2. (Authors' code 2169016)"""
    x = x.clamp(EDGE, 1 - EDGE)
    return 6 * x * (1 - x)


def log_density(x: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """Log of Beta(0.5, 0.5): -log(pi) - log(x) / 2 - log(1 - x) / 2, highest at 0 and 1 (section 3.6)."""
    x = x.clamp(EDGE, 1 - EDGE)
    return -math.log(math.pi) - 0.5 * (x.log() + (1 - x).log())

"""MarioNette's encoders, choice of sprites and shifts, and compositor as one graph."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from delaminate.methods.graph import ENTRIES, LayerGraph, composited, numbered
from delaminate.methods.marionette.model import MarioNetteModel
from delaminate.nets.anchors import lattices
from delaminate.nets.partial import DownBlock

SHIFTS = "shifts"


class AnchorGraph(LayerGraph):
    """The graph of a copy of a model, which it changes. All sprites of one of the model's layers make one layer here."""

    outputs: ClassVar[dict[str, str]] = {
        **LayerGraph.outputs,
        ENTRIES: "the sprite of the dictionary at each layer, row and column of anchors; -1: there is none",
        SHIFTS: "how far each sprite lies from its anchor's window, down and to the right, in pixels",
    }
    aligned = False

    def __init__(self, model: MarioNetteModel) -> None:
        super().__init__()
        self.model, c = model, model.config
        self.background = c.background != "black"
        for block in model.modules():
            if isinstance(block, DownBlock):
                block.plain = True
        with torch.no_grad():
            sprites = model.sprites().detach().clone()
            self.register_buffer("planes", model.planes(sprites))
            self.register_buffer("places", numbered(model.active_entries, c.num_sprites))
            self.register_buffer("picture", model.backdrop_image() if c.background == "learned" else torch.zeros(0))
        self.planes: Tensor
        self.places: Tensor
        self.picture: Tensor

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        model, c, cells = self.model, self.model.config, self.model.whole_cells(images)
        logits, switch = model.look(cells)
        on = torch.sigmoid(switch) > 0.5  # B L R S
        # The first anchor is always among them, so that there is one.
        there = torch.cat([torch.zeros(1, dtype=torch.int64), on.flatten().nonzero()[:, 0]])
        k, chosen = c.sprite_size, logits[there]
        mixed = (F.softmax(chosen, 1) @ self.planes.flatten(1)).view(-1, 4, k, k)
        rows, columns = c.grid
        per_layer = rows * columns
        crops = model.crops(cells).reshape(-1, 3, k, k)
        found = model.shift_logits(crops[there // (c.num_layers * per_layer) * per_layer + there % per_layer], mixed)
        if c.offsets == "discrete":
            outcomes = [each.argmax(1) for each in found]  # along x, then y
            offsets = tuple(F.one_hot(each, c.step_size + 1).to(mixed.dtype) for each in outcomes)
            shifts = torch.stack([c.step_size / 2 - each.to(mixed.dtype) for each in reversed(outcomes)], 1)
        else:
            offsets, shifts = found, torch.cat([found[1], found[0]], 1)
        shown = mixed if c.mix_sprites else self.planes[chosen.argmax(1)]
        drawn = model.draw(shown, offsets, on.flatten()[there].to(mixed.dtype))
        rgb, alpha = self._layers(_spread(drawn, there, on), images.shape[0])
        if self.background:
            rgb = torch.cat([self._behind(cells)[:, None], rgb], 1)
            alpha = torch.cat([torch.ones_like(alpha[:, :1]), alpha], 1)
        entries = torch.where(on, self.places[logits.argmax(1)].view(on.shape), -1)
        moved = _spread(shifts, there, on).view(*on.shape, 2) * on[..., None]
        return *composited(rgb.clamp(0, 1), alpha), entries, moved

    def _layers(
        self, windows: Float[Tensor, "N 4 w w"], batch: int
    ) -> tuple[Float[Tensor, "B L 3 H W"], Float[Tensor, "B L 1 H W"]]:
        """Paint the sub-lattices of each layer over one another, back to front."""
        model, c = self.model, self.model.config
        shape = (batch, c.num_layers, *c.grid, *windows.shape[1:])
        canvases = lattices(windows.view(shape), c.step_size, model.image_size)
        colours: list[Tensor | float] = [0.0] * c.num_layers  # multiplied by alpha
        alphas: list[Tensor | float] = [0.0] * c.num_layers
        for layer, lattice in model.fixed_order():
            colour, alpha = canvases[layer][lattice].split([3, 1], 1)
            own = colour if c.premultiplied else colour * alpha
            colours[layer] = own + (1 - alpha) * colours[layer]
            alphas[layer] = alpha + (1 - alpha) * alphas[layer]
        colour, alpha = (torch.stack([torch.as_tensor(x) for x in each], 1) for each in (colours, alphas))
        return torch.where(alpha > 0, colour / alpha.clamp_min(torch.finfo(alpha.dtype).tiny), 0.0), alpha

    def _behind(self, cells: Float[Tensor, "B 3 _ _"]) -> Float[Tensor, "B 3 H W"]:
        """The background: one crop of a learned one, as `decompose` decides."""
        model, c = self.model, self.model.config
        if c.background != "learned":
            return model.soft_backdrop(cells)
        rows, columns = model.crop_chances(cells)
        if not c.soft_background:
            rows, columns = _likeliest(rows), _likeliest(columns)
        return model.cropped(self.picture, rows, columns, cells.shape[0])


def _likeliest(chances: Tensor | None) -> Tensor | None:
    """All of the probability to what is likeliest."""
    return None if chances is None else F.one_hot(chances.argmax(1), chances.shape[1]).to(chances.dtype)


def _spread(
    values: Float[Tensor, "A ..."], there: Int[Tensor, " A"], on: Bool[Tensor, "B L R S"]
) -> Float[Tensor, "_n ..."]:
    """Put the rows of some anchors where they are among all, which are zero."""
    every = values.new_zeros(on.shape[0] * on.shape[1:].numel(), *values.shape[1:])
    return every.index_put((there,), values)

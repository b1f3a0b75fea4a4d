"""DTI-Sprites' encoder, regressors, choice of sprites and compositor as one graph."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from delaminate.methods.dti_sprites.model import DTISpritesModel, Prediction
from delaminate.methods.graph import ENTRIES, MEANINGS, LayerGraph, composited, numbered
from delaminate.objectives.reconstruction import stack
from delaminate.scene.compositing import strict_order
from delaminate.scene.transforms import soft_clamp


class SpriteGraph(LayerGraph):
    """Every sprite is tried in every layer, as by `decompose`; layers come in the strict order, empty ones included."""

    outputs: ClassVar[dict[str, str]] = {**LayerGraph.outputs, ENTRIES: MEANINGS[ENTRIES]}

    def __init__(self, model: DTISpritesModel) -> None:
        super().__init__()
        self.model, c = model, model.config
        self.background = c.background
        # What depends on values is settled here.
        self.settled = model.settled()
        entries = model.active_entries
        self.register_buffer("places", numbered(entries, c.offered_sprites))  # in the dictionary; the empty one's is -1
        rgba = torch.cat([model.sprites_rgb, model.sprites_alpha], 1).detach().clamp(0, 1)
        self.register_buffer("shown", torch.cat([rgba, torch.zeros_like(rgba[:1])]))  # and the empty one
        # Made here, not in the graph: torch 2.13 loses the bounds of a `clamp` of a large constant.
        picture = model.background_rgb.detach() if c.background else torch.zeros(3, *c.image_size)
        self.register_buffer("chosen_before", soft_clamp(picture))
        self.register_buffer("picture", picture.clamp(0, 1))
        self.chosen_before: Tensor
        self.picture: Tensor
        self.places: Tensor
        self.shown: Tensor
        self.num_sprites = len(entries)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        prediction = self.model.predict(images, self.settled)
        batch, _count = images.shape[0], self.model.config.offered_layers
        order = None
        if prediction.occlusion is not None:
            order = strict_order(prediction.occlusion)
            rank = order.argsort(1)
            prediction.occlusion = (rank[:, :, None] > rank[:, None, :]).to(images.dtype)
        entry = self.model.choose_together(images, prediction, None, self.settled, self.chosen_before)
        rgb, alpha = self._draw(prediction, entry)
        if order is not None:
            index = order[:, :, None, None, None]
            rgb, alpha = (x.gather(1, index.expand(-1, -1, *x.shape[2:])) for x in (rgb, alpha))
            entry = entry.gather(1, order)
        found = self.places[entry]
        if not self.background:
            return *composited(rgb, alpha), found
        behind = self.model.draw_background(prediction.background, batch, self.picture)
        assert behind is not None
        layers = stack(rgb, alpha, None, behind.clamp(0, 1))
        last = torch.full_like(found[:, :1], self.num_sprites)
        return *composited(layers.rgb, layers.alpha), torch.cat([last, found], 1)

    def _draw(
        self, prediction: Prediction, entry: Int[Tensor, "B L"]
    ) -> tuple[Float[Tensor, "B L 3 H W"], Float[Tensor, "B L 1 H W"]]:
        """Draw the chosen sprites, clipped to [0, 1] as the dictionary is."""
        batch, (count, size) = entry.shape[0], (entry.shape[1], self.model.image_size)
        planes = self.shown[entry.flatten()][:, None]  # BL 1 4 h w
        known = entry.clamp_max(len(self.shown) - 2)[:, :, None, None]
        sprite = {
            kind: values.gather(2, known.expand(-1, -1, 1, values.shape[3])).flatten(0, 1)
            for kind, values in prediction.sprite.items()
        }
        layer = {kind: values.flatten(0, 1) for kind, values in prediction.layer.items()}
        rgb, alpha = self.model.draw(planes, sprite, layer, None, batch * count)
        there = (entry < len(self.shown) - 1).to(rgb.dtype).view(batch, count, 1, 1, 1)
        return rgb.clamp(0, 1).reshape(batch, count, 3, *size), alpha.reshape(batch, count, 1, *size) * there

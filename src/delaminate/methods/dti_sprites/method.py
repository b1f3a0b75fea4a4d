"""DTI-Sprites: stages, decomposition and storage."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from delaminate.errors import FormatError
from delaminate.matching.shapes import PoseFinder, placements_by_regions
from delaminate.matching.soft.placements import picks_of, placements_of
from delaminate.matching.soft.pursuit import Selections, pursue
from delaminate.methods.dti_sprites.config import PRESETS
from delaminate.methods.dti_sprites.graph import SpriteGraph
from delaminate.methods.dti_sprites.model import DTISpritesModel, Prediction
from delaminate.methods.dti_sprites.training import Distiller, Matcher, Refiner, RegionMatcher, after_update
from delaminate.methods.dti_sprites.warping import at_rest, compose_colours
from delaminate.methods.graph import LayerGraph
from delaminate.methods.players import Stage, StepContext
from delaminate.nets.precision import evaluation_mode
from delaminate.objectives.reconstruction import image_error
from delaminate.refinement.photos import photo_decomposition, photo_layers, refined_masks, refined_ways
from delaminate.scene.compositing import partition_alpha, strict_order, visibility
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform


class DTISprites(DTISpritesModel):
    """Images are layers of transformed sprites with a learned alpha, over a background. (Monnier et al., ICCV 2021)"""

    presets = PRESETS
    needs_preset = "such as instagram for photos that share an object, or tetrominoes for flat pieces on black"

    @property
    def decomposers(self) -> tuple[str, ...]:
        if self.config.finds_numbers:
            return ("search",)
        if self.config.refine_weight:
            return refined_ways("network", self.config.refine_weight, self.config.min_region_area)
        search, network = (bool(flag) for flag in self.learned.tolist())
        if self.config.search == "regions":
            return (("search",) if search else ()) + (("network",) if network else ()) or ("network",)
        both = search and network
        ways = (("refined",) if both else ()) + (("network",) if network else ()) + (("search",) if search else ())
        return ways or ("network",)

    def copies_input(self, by: str) -> bool:
        # Photos are cut out; elsewhere `refined` is a search that starts at what the network says.
        return bool(self.config.refine_weight) and by != "network"

    @property
    def judged_by(self) -> str:
        return "network" if self.config.refine_weight else self.default

    @property
    def graph_ways(self) -> tuple[str, ...]:
        return ("network",) if "network" in self.decomposers and bool(self.learned[1]) else ()

    def graph(self, by: str) -> LayerGraph:
        return SpriteGraph(self.graph_copy()) if by in self.graph_ways else super().graph(by)

    def stages(self) -> tuple[Stage, ...]:
        c = self.config
        found = []
        if c.search_steps:
            matcher = Matcher if c.search == "correlation" else RegionMatcher
            found.append(Stage("search", c.search_steps, c.search_batch, (matcher(self),)))
        if c.distil_steps:
            found.append(Stage("distil", c.distil_steps, c.distil_batch, (Distiller(self),)))
        if c.steps:
            found.append(Stage("refine", c.steps, c.batch, (Refiner(self),)))
        return tuple(found)

    @torch.no_grad()
    def error(self, images: Float[Tensor, "B 3 H W"], stage: str) -> Float[Tensor, " B"]:
        if stage == "search":
            found = self._decompose(images, "search")
            return image_error(images, found.composite().to(images))
        with evaluation_mode(self):
            image, _ = self.reconstruct(images, None)
        return image_error(images, image.clamp(0, 1))

    def dictionary(self) -> Dictionary:
        entries = self.active_entries
        rgba = torch.cat([self.sprites_rgb, self.sprites_alpha], 1).detach()[entries].clamp(0, 1).cpu()
        sprites = [*rgba.unbind(0)]
        if self.config.background:
            picture = self.background_rgb.detach().clamp(0, 1).cpu()
            sprites.append(torch.cat([picture, torch.ones_like(picture[:1])]))
        return Dictionary(tuple(sprites), (len(entries),) if self.config.background else ())

    def _decompose(self, images: Float[Tensor, "B 3 H W"], by: str) -> Decomposition:
        if by == "search" and self.config.search == "regions":
            shapes = self.sprites_alpha.detach().cpu()[self.active_entries.cpu(), 0].clamp(0, 1)
            finder = PoseFinder(shapes, self.image_size, self.scales.cpu())
            explained = tuple(placements_by_regions(image, finder, len(shapes)) for image in images.cpu())
            return Decomposition(self.dictionary(), explained, self.image_size, background=True)
        if self.copies_input(by):
            return photo_decomposition([self._cut_out(some, by) for some in images.split(64)])
        if by == "search":
            return self._found(pursue(images, self.candidates(), self.search_settings()))
        parts = [self._by_network(some) for some in images.split(64)]
        whole = Decomposition(
            parts[0].dictionary, sum((p.images for p in parts), ()), self.image_size, parts[0].background
        )
        if by == "network":
            return whole
        start = picks_of(whole, self.config.offered_layers)
        return self._found(pursue(images, self.candidates(), self.search_settings(), start=start))

    def _cut_out(self, images: Float[Tensor, "B 3 H W"], by: str) -> Float[Tensor, "B n 4 H W"]:
        """The photos' own pixels by what is seen of each layer, brought to the outlines: RGBA, the background first."""
        c = self.config
        seen = visibility(self._by_network(images).layers()).to(images)
        masks = refined_masks(images, seen / seen.sum(1, True), by, c.refine_weight, c.min_region_area)
        return photo_layers(images, partition_alpha(masks / masks.sum(1, True)))

    def _found(self, picks: Selections) -> Decomposition:
        return Decomposition(self.dictionary(), placements_of(picks, self.image_size), self.image_size)

    def _by_network(self, images: Float[Tensor, "B 3 H W"]) -> Decomposition:
        c = self.config
        prediction = self.predict(images)
        order = None
        if prediction.occlusion is not None:
            # Departs: strict order at inference, so that nothing loses light and every pixel has one owner.
            order = strict_order(prediction.occlusion)
            rank = order.argsort(1)
            prediction.occlusion = (rank[:, :, None] > rank[:, None, :]).to(images.dtype)
        entry = self.choose(images, prediction, None)
        position = {int(k): i for i, k in enumerate(self.active_entries)}
        steps, colours = self._placement_parts(prediction, entry)
        background = self._background_parts(prediction, len(images))
        rows = [list(range(c.offered_layers))] * len(images) if order is None else order.tolist()
        found = []
        for i, (row, chosen) in enumerate(zip(rows, entry.tolist(), strict=True)):
            objects = [
                Placement(position[chosen[j]], steps[i][j], colours[i][j]) for j in row if chosen[j] < c.offered_sprites
            ]
            found.append((*background[i], *objects))
        return Decomposition(self.dictionary(), tuple(found), self.image_size, background=c.background)

    def _placement_parts(
        self, prediction: Prediction, entry: Int[Tensor, "B L"]
    ) -> tuple[list[list[tuple[Transform, ...]]], list[list[tuple[float, ...]]]]:
        """Turn predicted parameters of the chosen sprites into transforms and colours at rest, per image and layer."""
        c, (batch, count) = self.config, entry.shape
        safe = entry.clamp_max(c.offered_sprites - 1)[:, :, None, None]
        sprite = {
            kind: values.gather(2, safe.expand(-1, -1, 1, values.shape[3]))[:, :, 0].flatten(0, 1)
            for kind, values in prediction.sprite.items()
        }
        layer = {kind: values.flatten(0, 1) for kind, values in prediction.layer.items()}
        chains: list[list[Transform]] = [[] for _ in range(batch * count)]
        moves = [(kind, values, c.sprite_size) for kind, values in sprite.items() if kind != "colour"]
        moves += [(kind, values, c.image_size) for kind, values in layer.items() if kind != "colour"]
        if not any(kind != "colour" for kind in (*sprite, *layer)):
            chains = [[Transform.shift(0, 0, c.image_size)] for _ in chains]
        for kind, values, size in moves:
            for chain, transform in zip(
                chains, at_rest(kind, values, c.sprite_size, size, c.aligned_corners), strict=True
            ):
                chain.append(transform)
        colours = compose_colours([p["colour"] for p in (sprite, layer) if "colour" in p], batch * count)
        nested = [[tuple(chains[i * count + j]) for j in range(count)] for i in range(batch)]
        return nested, [[colours[i * count + j] for j in range(count)] for i in range(batch)]

    def _background_parts(self, prediction: Prediction, batch: int) -> list[tuple[Placement, ...]]:
        c = self.config
        if not c.background:
            return [()] * batch
        parameters, size = prediction.background, c.image_size
        chains: list[list[Transform]] = [[] for _ in range(batch)]
        for kind, values in parameters.items():
            if kind != "colour":
                for chain, transform in zip(chains, at_rest(kind, values, size, size, c.aligned_corners), strict=True):
                    chain.append(transform)
        colours = compose_colours([parameters["colour"]] if "colour" in parameters else [], batch)
        entry, still = len(self.active_entries), (Transform.shift(0, 0, size),)
        return [
            (Placement(entry, tuple(chain) or still, colour),) for chain, colour in zip(chains, colours, strict=True)
        ]

    optional_tensors = ("encoder.", "heads.")

    def export_state(self, everything: bool = False) -> dict[str, Tensor]:
        found = {"dictionary.rgba": torch.cat([self.sprites_rgb, self.sprites_alpha], 1)}
        found["dictionary.sizes"] = torch.tensor([self.config.sprite_size] * self.config.offered_sprites)
        if self.config.background:
            found["background.rgb"] = self.background_rgb
        found |= {name: buffer for name, buffer in self.named_buffers() if "." not in name and name != "usage"}
        if everything or self.learned[1]:
            networks = {**self.encoder.state_dict(prefix="encoder."), **self.heads.state_dict(prefix="heads.")}
            found |= {name: value for name, value in networks.items() if not name.endswith("num_batches_tracked")}
        return {name: value.detach() for name, value in found.items()}

    @torch.no_grad()
    def import_state(self, parts: Mapping[str, Tensor]) -> None:
        self.sprites_rgb.copy_(parts["dictionary.rgba"][:, :3])
        self.sprites_alpha.copy_(parts["dictionary.rgba"][:, 3:])
        if self.config.background:
            self.background_rgb.copy_(parts["background.rgb"])
        for name in ("alive", "progress", "learned", "scales", *(("layers",) if self.config.finds_numbers else ())):
            getattr(self, name).copy_(parts[name])
        if not bool(self.alive.any()):
            raise FormatError("model folder: no sprite is in use; the model is empty. Train it first.")
        state, wanted = self.state_dict(), self.export_state(everything=True) if self.learned[1] else parts
        for name in (name for name in wanted if name.startswith(self.optional_tensors)):
            if name not in parts:
                raise FormatError(f"model folder: {name!r} is missing, though the network is said to be trained.")
            state[name].copy_(parts[name])

    @torch.no_grad()
    def on_stage_start(self, stage: str) -> None:
        if stage in ("distil", "refine"):
            self.learned[1] = 1

    def after_update(self, rng: Generator, context: StepContext) -> dict[str, float]:
        return after_update(self, rng, context)

"""ReDO: stages, decomposition, and watching over the training."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from delaminate.errors import ConfigError
from delaminate.methods.graph import LayerGraph
from delaminate.methods.players import Stage, StepContext
from delaminate.methods.redo.config import PRESETS
from delaminate.methods.redo.graph import MaskGraph
from delaminate.methods.redo.model import LOOKS, WINDOW, ReDOModel
from delaminate.methods.redo.training import Discriminator, Distiller, RedrawPlayer
from delaminate.nets.precision import evaluation_mode
from delaminate.objectives.adversary import few_images
from delaminate.refinement.photos import photo_decomposition, photo_layers, refined_masks, refined_ways
from delaminate.rng import stream
from delaminate.scene.compositing import from_partition
from delaminate.scene.decomposition import Decomposition

APART = 100
"""Steps between two snapshots of the mask network."""


class ReDO(ReDOModel):
    """Divides photos into regions that can be redrawn one by one. (Chen et al., NeurIPS 2019)"""

    presets = PRESETS
    training_signals: ClassVar[Mapping[str, str]] = {
        "least_area": "Share of the pixels that the smallest region wins; near 0 the region is about to vanish.",
        "indecision": "How undecided pixels are about their region; 1 is as undecided as can be.",
        "agreement": "Share of the pixels that are in the same region as a hundred steps before.",
        "noise": "How badly what regions were painted from can be read off them, times its weight.",
        "real": "What the discriminator still has to learn about real images.",
        "fake": "What the discriminator still has to learn about made images.",
    }

    @property
    def decomposers(self) -> tuple[str, ...]:
        return refined_ways("network", self.config.refine_weight, self.config.min_region_area)

    def copies_input(self, by: str) -> bool:
        return True

    @property
    def graph_ways(self) -> tuple[str, ...]:
        return ("network",)

    def graph(self, by: str) -> LayerGraph:
        return MaskGraph(self.graph_copy()) if by in self.graph_ways else super().graph(by)

    def prepare(self, pixels: UInt8[Tensor, "N 3 H W"]) -> tuple[str, ...]:
        self.augments, said = few_images(pixels, self.config.augment_below)
        return said

    def stages(self) -> tuple[Stage, ...]:
        c, players = self.config, (RedrawPlayer(self), Discriminator(self))
        # Half of a batch is redrawn, the other half is shown as it is.
        warm = (Stage("warm-up", c.warmup_steps, 2 * c.batch, players),) if c.warmup_steps else ()
        late = (
            (Stage("distil", c.distil_steps, 2 * c.batch, (Distiller(self),), averages=True),) if c.distil_steps else ()
        )
        return (*warm, Stage("adversary", c.steps, 2 * c.batch, players), *late)

    @torch.no_grad()
    def on_stage_start(self, stage: str) -> None:
        if stage == "distil":
            self.snapshot.copy_(self._flat())  # the teacher

    @property
    def can_redraw(self) -> bool:
        return bool(self.paints)

    @property
    def max_restarts(self) -> int:
        return int(self.config.restarts)

    @torch.no_grad()
    def divided(self, images: Float[Tensor, "B 3 H W"], by: str) -> Float[Tensor, "B n 1 H W"]:
        """Masks by one of `decomposers`, in the order of the generators."""
        c = self.config
        return refined_masks(images, self.regions(images), by, c.refine_weight, c.min_region_area)

    @torch.no_grad()
    def repaint(self, masks: Float[Tensor, "B n 1 H W"], layer: int, rng: Generator) -> Float[Tensor, "B 3 H W"]:
        """Draw new colours, in [0, 1], for one layer of what `decompose` has found, from new noise.

        Args:
            masks: What is seen of each layer, from back to front, at the model's size; they sum to one.
            layer: Its position from the back.
            rng: Draws the noise.

        Raises:
            ConfigError: There is no such layer, or this model was stored without its generators.
        """
        count, order = self.config.num_regions, self.order()
        if not self.can_redraw:
            raise ConfigError(
                "redo: this model holds no generators, so it can divide photos but not redraw them, as all models in the box. "
                "Train one: `delaminate train redo PHOTOS --out RUN`, then `--with RUN`."
            )
        if masks.shape[1] != count:
            raise ConfigError(
                f"redraw: a scene has {masks.shape[1]} layers; expected the {count} regions of a photo that this model has "
                "decomposed."
            )
        if not 0 <= layer < count:
            raise ConfigError(f"redo: layer {layer} of {count}; expected 0 to {count - 1}, 0 is the background.")
        noise = torch.randn(len(masks), count, self.config.noise_width, generator=rng).to(masks)
        regions = masks[:, [order.index(region) for region in range(count)]]
        with evaluation_mode(self):
            return self.paint(regions, noise)[:, order[layer]]

    @torch.no_grad()
    def _decompose(self, images: Float[Tensor, "B 3 H W"], by: str) -> Decomposition:
        order, rasters = self.order(), []
        for some in images.split(64):
            masks = self.divided(some, by)[:, order]
            # The masks themselves are kept exactly: each is its layer's visibility.
            layers = from_partition(some[:, None].expand(-1, len(order), -1, -1, -1), masks / masks.sum(1, True), True)
            rasters.append(photo_layers(some, layers.alpha))  # B n 4 H W
        return photo_decomposition(rasters)

    # --- looking after itself ---------------------------------------------------------------------------------------

    @torch.no_grad()
    def error(self, images: Float[Tensor, "B 3 H W"], stage: str) -> Float[Tensor, " B"]:
        """Mean squared error of the noise that the encoder recovers from wholly redrawn images; 1 is no better than none.

        While distilling: of the masks, from those that are taught.
        """
        if stage == "distil":
            return torch.cat(
                [(self.regions(x) - self.distillation_targets(x)).square().mean((1, 2, 3, 4)) for x in images.split(25)]
            )
        noise = torch.randn(
            len(images), self.config.num_regions, self.config.noise_width, generator=stream("redo", "check")
        ).to(images)
        found = []
        for some, z in zip(images.split(25), noise.split(25), strict=True):
            masks = self.regions(some)
            found.append((self.recover(masks, self.paint(masks, z)) - z).square().mean((1, 2)))
        return torch.cat(found)

    preview_rows = "images, the masks of all regions from back to front, and images with one region redrawn at a time"

    @torch.no_grad()
    def preview(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "N 3 _h _w"]]:
        """Images, the masks of all regions in the order of layers, and images with one region redrawn at a time."""
        order, masks = self.order(), self.regions(images)
        noise = torch.randn(
            len(images), self.config.num_regions, self.config.noise_width, generator=stream("redo", "preview")
        ).to(images)
        drawn = self.redrawn(images, masks, self.paint(masks, noise))
        shown = masks.expand(-1, -1, 3, -1, -1)
        return [images, *(shown[:, k] for k in order), *(drawn[:, k] for k in order)]

    @torch.no_grad()
    def after_update(self, rng: Generator, context: StepContext) -> dict[str, float | Tensor]:
        """Figures of this step's masks, and now and then how far they agree with those of an earlier snapshot."""
        if context.stage != "adversary":
            return {}
        now = context.step % WINDOW
        found: dict[str, float | Tensor] = {
            "least_area": self.areas[now].min(),
            "indecision": self.indecision[now].clone(),
        }
        if context.step % APART == 0:
            if context.step:
                agreement = self._agreement(context)
                found["agreement"] = self.agreement[context.step // APART % LOOKS] = agreement
            self.snapshot.copy_(self._flat())
        return found

    def _agreement(self, context: StepContext) -> float:
        """Share of the pixels of this step's photos that the snapshot puts into the same region as the masks of today."""
        photos = context.values["photos"]
        same = (self._before(photos).argmax(1) == self.regions(photos).argmax(1)).to(photos).mean()
        return float(context.mean(same))

    def converged(self, context: StepContext) -> str | None:
        """Say that snapshots of the masks have agreed for so long that training may end."""
        c = self.config
        if (
            not c.convergence_agreement
            or context.stage != "adversary"
            or context.step < max(c.monitor_from, APART * LOOKS)
        ):
            return None
        if context.step % APART or float(self.agreement.min()) < c.convergence_agreement:
            return None
        return (
            f"masks {APART} steps apart have agreed in {100 * float(self.agreement.min()):.2f} % of the pixels or more, "
            f"{LOOKS} times in a row"
        )

    def collapsed(self, context: StepContext) -> str | None:
        """Say, over the last 500 steps, which region has all but vanished, or that no pixel is decided."""
        c = self.config
        looks = context.step % 100 == 0 or context.step == context.steps - 1
        if context.stage != "adversary" or context.step < max(c.monitor_from, WINDOW) or not looks:
            return None
        area, undecided = self.areas.mean(0), float(self.indecision.mean())
        least = int(area.argmin())
        if undecided > c.max_indecision:
            return (
                f"masks are undecided: their entropy is {100 * undecided:.1f} % of what it can be, on average of the last "
                f"{WINDOW} steps; more than {100 * c.max_indecision:g} % counts as collapsed"
            )
        if float(area[least]) >= c.collapsed_area:
            return None
        return (
            f"region {least + 1} of {c.num_regions} wins {100 * float(area[least]):.2f} % of the pixels, on average of the "
            f"last {WINDOW} steps; less than {100 * c.collapsed_area:g} % counts as collapsed"
        )

    # --- on disk ------------------------------------------------------------------------------------------------------

    stored_tensors = ("border", "masks.", "generators.")
    optional_tensors = ("generators.",)

    def holds(self, prefix: str) -> bool:
        return bool(self.paints)

    @torch.no_grad()
    def on_import(self, there: Mapping[str, bool]) -> None:
        self.paints.fill_(there["generators."])

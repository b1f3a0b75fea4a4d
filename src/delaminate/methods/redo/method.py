"""ReDO: stages, decomposition, and watching over the training."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from delaminate.errors import ConfigError
from delaminate.methods.players import Carry, Stage
from delaminate.methods.redo.model import LOOKS, WINDOW, ReDOModel
from delaminate.methods.redo.training import Discriminator, Distiller, Redrawer
from delaminate.objectives.adversary import few_images
from delaminate.refinement.crf import refine
from delaminate.refinement.small_regions import despeckled
from delaminate.rng import stream
from delaminate.scene.compositing import from_partition
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.matting import unmixed
from delaminate.scene.placements import Dictionary


class ReDO(ReDOModel):
    """Divides photos into regions that can be redrawn one by one. (Chen et al., NeurIPS 2019)"""

    @property
    def decomposers(self) -> tuple[str, ...]:
        c = self.config
        ways = {"despeckled": c.refine_weight and c.least_part, "refined": c.refine_weight, "network": True}
        return tuple(by for by, there in ways.items() if there)

    def carries_photo(self, by: str) -> bool:
        return True

    def prepare(self, pixels: UInt8[Tensor, "N 3 H W"]) -> tuple[str, ...]:
        self.augments, said = few_images(pixels, self.config.augment_below)
        return said

    def stages(self) -> tuple[Stage, ...]:
        c, players = self.config, (Redrawer(self), Discriminator(self))
        # Half of a batch is redrawn, the other half is shown as it is.
        warm = (Stage("warm-up", c.warm_steps, 2 * c.batch, players),) if c.warm_steps else ()
        late = (
            (Stage("distil", c.distil_steps, 2 * c.batch, (Distiller(self),), averages=True),) if c.distil_steps else ()
        )
        return (*warm, Stage("adversary", c.steps, 2 * c.batch, players), *late)

    @torch.no_grad()
    def begin(self, stage: str) -> None:
        if stage == "distil":
            self.snapshot.copy_(self._flat())  # the teacher

    @torch.no_grad()
    def divided(self, images: Float[Tensor, "B 3 H W"], by: str) -> Float[Tensor, "B n 1 H W"]:
        """Masks by one of `decomposers`, in the order of the generators."""
        masks = self.regions(images)
        if by != "network":
            masks = refine(images, masks, self.config.refine_weight)
        return despeckled(masks, self.config.least_part) if by == "despeckled" else masks

    @torch.no_grad()
    def repaint(self, masks: Float[Tensor, "B n 1 H W"], layer: int, rng: Generator) -> Float[Tensor, "B 3 H W"]:
        """Draw new colours, in [0, 1], for one layer of what `decompose` has found, from fresh noise.

        Args:
            masks: What is seen of each layer, from back to front, at the model's size; they sum to one.
            layer: Its position from the back.
            rng: Draws the noise.

        Raises:
            ConfigError: There is no such layer, or this model was stored without its generators.
        """
        count, order = self.config.num_regions, self.order()
        if not 0 <= layer < count:
            raise ConfigError(f"redo: layer {layer} of {count}; expected 0 to {count - 1}, 0 is the background.")
        if not bool(self.paints):
            raise ConfigError(
                "redo: this model holds no generators, so it can divide photos but not redraw them, as all models in the box. "
                "Train one: `delaminate train redo PHOTOS --out RUN`, then `--with RUN`."
            )
        noise = torch.randn(len(masks), count, self.config.noise_width, generator=rng).to(masks)
        regions = masks[:, [order.index(region) for region in range(count)]]
        was_training = self.training
        self.eval()
        painted = self.paint(regions, noise)[:, order[layer]]
        self.train(was_training)
        return painted

    @torch.no_grad()
    def _decompose(self, images: Float[Tensor, "B 3 H W"], by: str) -> Decomposition:
        order, rasters = self.order(), []
        for some in images.split(64):
            masks = self.divided(some, by)[:, order]
            # The masks themselves are kept exactly: each is its layer's visibility.
            layers = from_partition(some[:, None].expand(-1, len(order), -1, -1, -1), masks / masks.sum(1, True), True)
            rasters.append(torch.cat([unmixed(some, layers.alpha), layers.alpha], 2))  # B n 4 H W
        return Decomposition.from_rasters(torch.cat(rasters), background=True)

    def dictionary(self) -> Dictionary:
        return Dictionary(())

    # --- looking after itself ---------------------------------------------------------------------------------------

    @torch.no_grad()
    def error(self, images: Float[Tensor, "B 3 H W"], stage: str) -> Float[Tensor, " B"]:
        """Mean squared error of the noise that the encoder recovers from wholly redrawn images; 1 is no better than none.

        While distilling: of the masks, from those that are taught.
        """
        if stage == "distil":
            return torch.cat([(self.regions(x) - self.taught(x)).square().mean((1, 2, 3, 4)) for x in images.split(25)])
        noise = torch.randn(
            len(images), self.config.num_regions, self.config.noise_width, generator=stream("redo", "check")
        ).to(images)
        found = []
        for some, z in zip(images.split(25), noise.split(25), strict=True):
            masks = self.regions(some)
            found.append((self.recover(masks, self.paint(masks, z)) - z).square().mean((1, 2)))
        return torch.cat(found)

    rows = "images, the masks of all regions from back to front, and images with one region redrawn at a time"

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
    def after_update(self, rng: Generator, carry: Carry) -> dict[str, float | Tensor]:
        """Figures of this step's masks, and now and then how far they agree with those of an earlier snapshot."""
        if carry.stage != "adversary":
            return {}
        now = carry.step % WINDOW
        found: dict[str, float | Tensor] = {
            "least_area": self.areas[now].min(),
            "indecision": self.indecision[now].clone(),
        }
        if carry.step % APART == 0:
            if carry.step:
                agreement = self._agreement(carry)
                found["agreement"] = self.agreement[carry.step // APART % LOOKS] = agreement
            self.snapshot.copy_(self._flat())
        return found

    def _agreement(self, carry: Carry) -> float:
        """Share of the pixels of this step's photos that the snapshot puts into the same region as the masks of today."""
        photos = carry.values["photos"]
        same = (self._before(photos).argmax(1) == self.regions(photos).argmax(1)).to(photos).mean()
        return float(carry.mean(same))

    def settled(self, carry: Carry) -> str | None:
        """Say that snapshots of the masks have agreed for so long that training may end."""
        c = self.config
        if not c.settled or carry.stage != "adversary" or carry.step < max(c.watch_from, APART * LOOKS):
            return None
        if carry.step % APART or float(self.agreement.min()) < c.settled:
            return None
        return (
            f"masks {APART} steps apart have agreed in {100 * float(self.agreement.min()):.2f} % of the pixels or more, "
            f"{LOOKS} times in a row"
        )

    def collapsed(self, carry: Carry) -> str | None:
        """Say, over the last 500 steps, which region has all but vanished, or that no pixel is decided."""
        c = self.config
        looks = carry.step % 100 == 0 or carry.step == carry.steps - 1
        if carry.stage != "adversary" or carry.step < max(c.watch_from, WINDOW) or not looks:
            return None
        area, undecided = self.areas.mean(0), float(self.indecision.mean())
        least = int(area.argmin())
        if undecided > c.undecided:
            return (
                f"masks are undecided: their entropy is {100 * undecided:.1f} % of what it can be, on average of the last "
                f"{WINDOW} steps; more than {100 * c.undecided:g} % counts as collapsed"
            )
        if float(area[least]) >= c.collapsed_area:
            return None
        return (
            f"region {least + 1} of {c.num_regions} wins {100 * float(area[least]):.2f} % of the pixels, on average of the "
            f"last {WINDOW} steps; less than {100 * c.collapsed_area:g} % counts as collapsed"
        )

    # --- on disk ------------------------------------------------------------------------------------------------------

    optional_parts = ("generators.",)

    def parts(self, everything: bool = False) -> dict[str, Tensor]:
        found = {"border": self.border, **self.masks.state_dict(prefix="masks.")}
        if everything or bool(self.paints):
            found |= self.generators.state_dict(prefix="generators.")
        return found

    @torch.no_grad()
    def load_parts(self, parts: Mapping[str, Tensor]) -> None:
        state = self.state_dict()
        for name, part in parts.items():
            state[name].copy_(part)
        self.paints.fill_(any(name.startswith(self.optional_parts) for name in parts))


APART = 100
"""Steps between two snapshots of the mask network."""

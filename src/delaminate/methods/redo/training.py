"""ReDO's players: two rivals, and one that learns from refined masks."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor

from delaminate.errors import ConfigError
from delaminate.methods.players import Carry, GradientPlayer, ParameterGroup
from delaminate.methods.redo.config import Config
from delaminate.methods.redo.model import ReDOModel
from delaminate.nets.spectral import advance
from delaminate.objectives.adversary import hinge_fake, hinge_real
from delaminate.objectives.priors import total_variation
from delaminate.objectives.schedules import half_cosine


def random_regions(count: int, num_regions: int, size: tuple[int, int], rng: Generator) -> Float[Tensor, "B n 1 H W"]:
    """Divide canvases into blobs at random: masks that sum to one, from smooth noise."""
    coarse = torch.randn(count, num_regions, 4, 4, generator=rng)
    smooth = F.interpolate(coarse, size, mode="bicubic", align_corners=False)
    return (8 * smooth).softmax(1)[:, :, None]


class Redrawer(GradientPlayer):
    """Masks, generators and the encoder of z: redraw regions so that the result looks real and tells the noise."""

    name = "redrawer"
    algorithm = "adam"

    def __init__(self, model: ReDOModel) -> None:
        self.model = model
        self.betas = model.config.betas

    def groups(self) -> tuple[ParameterGroup, ...]:
        model, c = self.model, self.model.config
        painters = (*model.generators.parameters(), *model.encoder.parameters())
        return (
            ParameterGroup("masks", tuple(model.masks.parameters()), c.mask_rate, c.mask_decay),
            ParameterGroup("painters", painters, c.rate),
        )

    def rate(self, group: str, carry: Carry) -> float:
        return late_decay(self.model.config, carry)

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, carry: Carry) -> dict[str, Tensor]:
        model, c = self.model, self.model.config
        if len(images) % 2:
            raise ConfigError(
                f"redo: batch is {c.batch}, so that a process gets {len(images)} images; half of them are redrawn. Choose a "
                "batch that the number of processes divides."
            )
        advance(model.generators)
        advance(model.encoder)
        photos = images[0::2]
        share = slice(carry.share.start // 2, carry.share.stop // 2)
        noise = torch.randn(carry.batch // 2, c.num_regions, c.noise_width, generator=rng)[share].to(images)
        if carry.stage == "warm-up":
            masks = random_regions(carry.batch // 2, c.num_regions, model.image_size, rng)[share].to(images)
        else:
            masks = model.regions(photos)
            model.watch(masks.detach(), carry)
        painted = model.paint(masks, noise)
        fakes = model.redrawn(photos, masks, painted)  # B n 3 H W
        chosen = None
        if not c.redraw_all:
            chosen = torch.randint(c.num_regions, (carry.batch // 2,), generator=rng)[share].to(images.device)
        fakes = picked(fakes, chosen)
        carry.values |= {
            "masks": masks.detach(), "fakes": fakes.detach(), "photos": photos, "noise": noise, "chosen": chosen,
        }  # fmt: skip
        scores = model.judge(model.shown(fakes, carry, rng))
        done = carry.step / carry.steps if carry.stage == "adversary" else 0.0
        weight = c.noise_weight * (1 + (c.late_noise - 1) * done)
        terms = {
            "adversary": -scores.mean(),
            "noise": weight * (model.recover(masks, painted) - noise).square().mean(),
        }
        if c.smooth_weight:
            terms["smooth"] = c.smooth_weight * done * total_variation(masks)
        push = c.area_weight * max(0.0, 1 - carry.step / c.area_steps)
        if push and carry.stage == "adversary":
            area = masks.mean((2, 3, 4))  # B n
            missing = F.relu(c.least_area - area).mean() + carry.excess(c.least_area - area.mean(0)).mean()
            terms["area"] = push * missing
        return terms


class Discriminator(GradientPlayer):
    """Tells real photos from redrawn ones."""

    name = "discriminator"
    algorithm = "adam"

    def __init__(self, model: ReDOModel) -> None:
        self.model = model
        self.betas = model.config.betas

    def groups(self) -> tuple[ParameterGroup, ...]:
        c = self.model.config
        rate = c.rate if c.discriminator_rate is None else c.discriminator_rate
        return (ParameterGroup("discriminator", tuple(self.model.discriminator.parameters()), rate),)

    def rate(self, group: str, carry: Carry) -> float:
        return late_decay(self.model.config, carry)

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, carry: Carry) -> dict[str, Tensor]:
        model, real, fakes = self.model, images[1::2], self.fakes(carry)
        advance(model.discriminator)
        scores = model.judge(torch.cat([model.shown(some, carry, rng) for some in (real, fakes)]))
        return {"real": hinge_real(scores[: len(real)]), "fake": hinge_fake(scores[len(real) :])}

    @torch.no_grad()
    def fakes(self, carry: Carry) -> Float[Tensor, "N 3 H W"]:
        """The redrawn images that the redrawer was judged by; or the same ones as it draws them after its update."""
        model, values = self.model, carry.values
        if model.config.reuse_fakes:
            return values["fakes"]
        masks = values["masks"] if carry.stage == "warm-up" else model.regions(values["photos"])
        drawn = model.redrawn(values["photos"], masks, model.paint(masks, values["noise"]))
        return picked(drawn, values["chosen"])


class Distiller(GradientPlayer):
    """The mask network learns outlines: what refining makes of the masks that it had, over all photos."""

    name = "distiller"
    algorithm = "adam"

    def __init__(self, model: ReDOModel) -> None:
        self.model = model

    def groups(self) -> tuple[ParameterGroup, ...]:
        c = self.model.config
        return (ParameterGroup("masks", tuple(self.model.masks.parameters()), c.distil_rate, c.mask_decay),)

    def rate(self, group: str, carry: Carry) -> float:
        return half_cosine(carry.step, carry.steps)

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, carry: Carry) -> dict[str, Tensor]:
        flip = (torch.rand(carry.batch, 1, 1, 1, generator=rng) < 0.5)[carry.share].to(images.device)
        photos = torch.where(flip, images.flip(-1), images)
        if carry.step == 0:
            self.model.decide_ties(photos, carry)
        wanted, found = self.model.taught(photos), self.model.regions(photos)
        self.model.watch(wanted, carry)  # who is the background may be another one once ties are decided
        return {"outlines": -(wanted * found.clamp_min(1e-6).log()).sum(1).mean()}


def picked(drawn: Float[Tensor, "B n 3 H W"], chosen: Int[Tensor, " B"] | None) -> Float[Tensor, "N 3 H W"]:
    """One redrawn image of each photo, by the region that was chosen; None: all of them."""
    return drawn.flatten(0, 1) if chosen is None else drawn[torch.arange(len(drawn), device=drawn.device), chosen]


def late_decay(config: Config, carry: Carry) -> float:
    """Factor on all rates of stage `adversary`: 1, then a line to 0."""
    if carry.stage != "adversary":
        return 1.0
    left = 1 - carry.step / carry.steps
    return min(1.0, left / (1 - config.late_decay)) if config.late_decay < 1 else 1.0

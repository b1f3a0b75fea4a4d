"""ReDO's players: two rivals, and one that learns from refined masks."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor

from delaminate.errors import ConfigError
from delaminate.methods.players import GradientPlayer, ParameterGroup, StepContext
from delaminate.methods.redo.config import Config
from delaminate.methods.redo.model import ReDOModel
from delaminate.nets.spectral import advance
from delaminate.objectives.adversary import hinge_fake, hinge_real
from delaminate.objectives.priors import total_variation
from delaminate.objectives.schedules import linear_fall, warmup_cosine


def random_regions(count: int, num_regions: int, size: tuple[int, int], rng: Generator) -> Float[Tensor, "B n 1 H W"]:
    """Divide canvases into blobs at random: masks that sum to one, from smooth noise."""
    coarse = torch.randn(count, num_regions, 4, 4, generator=rng)
    smooth = F.interpolate(coarse, size, mode="bicubic", align_corners=False)
    return (8 * smooth).softmax(1)[:, :, None]


class RedrawPlayer(GradientPlayer):
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
            ParameterGroup("masks", tuple(model.masks.parameters()), c.mask_learning_rate, c.mask_decay),
            ParameterGroup("painters", painters, c.learning_rate),
        )

    def learning_rate_factor(self, group: str, context: StepContext) -> float:
        return late_decay(self.model.config, context)

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model, c = self.model, self.model.config
        if len(images) % 2:
            raise ConfigError(
                f"redo: batch is {c.batch}, so that a process gets {len(images)} images; half of them are redrawn. Choose a "
                "batch that the number of processes divides."
            )
        advance(model.generators)
        advance(model.encoder)
        photos = images[0::2]
        half = context.half()
        noise = half.randn(rng, c.num_regions, c.noise_width, like=images)
        if context.stage == "warm-up":
            masks = half.local(random_regions(half.batch, c.num_regions, model.image_size, rng), images)
        else:
            masks = model.regions(photos)
            model.update_monitor(masks.detach(), context)
        painted = model.paint(masks, noise)
        fakes = model.redrawn(photos, masks, painted)  # B n 3 H W
        chosen = None
        if not c.redraw_all:
            chosen = half.randint(rng, c.num_regions, like=images)
        fakes = picked(fakes, chosen)
        context.values |= {
            "masks": masks.detach(), "fakes": fakes.detach(), "photos": photos, "noise": noise, "chosen": chosen,
        }  # fmt: skip
        scores = model.discriminate(model.shown(fakes, context, rng))
        done = context.step / context.steps if context.stage == "adversary" else 0.0
        weight = c.noise_weight * (1 + (c.final_noise_factor - 1) * done)
        terms = {
            "adversary": -scores.mean(),
            "noise": weight * (model.recover(masks, painted) - noise).square().mean(),
        }
        if c.total_variation_weight:
            terms["smooth"] = c.total_variation_weight * done * total_variation(masks)
        push = c.area_weight * linear_fall(context.step, c.area_steps)
        if push and context.stage == "adversary":
            area = masks.mean((2, 3, 4))  # B n
            missing = F.relu(c.min_area - area).mean() + context.excess(c.min_area - area.mean(0)).mean()
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
        rate = c.learning_rate if c.discriminator_learning_rate is None else c.discriminator_learning_rate
        return (ParameterGroup("discriminator", tuple(self.model.discriminator.parameters()), rate),)

    def learning_rate_factor(self, group: str, context: StepContext) -> float:
        return late_decay(self.model.config, context)

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model, real, fakes = self.model, images[1::2], self.fakes(context)
        advance(model.discriminator)
        scores = model.discriminate(torch.cat([model.shown(some, context, rng) for some in (real, fakes)]))
        return {"real": hinge_real(scores[: len(real)]), "fake": hinge_fake(scores[len(real) :])}

    @torch.no_grad()
    def fakes(self, context: StepContext) -> Float[Tensor, "N 3 H W"]:
        """The redrawn images that the redrawer was judged by; or the same ones as it draws them after its update."""
        model, values = self.model, context.values
        if model.config.reuse_fakes:
            return values["fakes"]
        masks = values["masks"] if context.stage == "warm-up" else model.regions(values["photos"])
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
        return (ParameterGroup("masks", tuple(self.model.masks.parameters()), c.distil_learning_rate, c.mask_decay),)

    def learning_rate_factor(self, group: str, context: StepContext) -> float:
        return warmup_cosine(context.step, context.steps)

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        flip = context.chance(rng, 0.5, images)
        photos = torch.where(flip, images.flip(-1), images)
        if context.step == 0:
            self.model.break_ties(photos, context)
        wanted, found = self.model.distillation_targets(photos), self.model.regions(photos)
        self.model.update_monitor(wanted, context)  # who is the background may be another one once ties are broken
        return {"outlines": -(wanted * found.clamp_min(1e-6).log()).sum(1).mean()}


def picked(drawn: Float[Tensor, "B n 3 H W"], chosen: Int[Tensor, " B"] | None) -> Float[Tensor, "N 3 H W"]:
    """One redrawn image of each photo, by the region that was chosen; None: all of them."""
    return drawn.flatten(0, 1) if chosen is None else drawn[torch.arange(len(drawn), device=drawn.device), chosen]


def late_decay(config: Config, context: StepContext) -> float:
    """Factor on all rates of stage `adversary`: 1, then a line to 0."""
    if context.stage != "adversary":
        return 1.0
    return linear_fall(context.step, context.steps, config.decay_from)

"""PerturbGAN's players: two rivals, and two that learn from what has been painted."""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from delaminate.errors import ConfigError
from delaminate.methods.perturbgan.model import PerturbGANModel
from delaminate.methods.perturbgan.networks import GrowthLevel, shift_foreground
from delaminate.methods.players import GradientPlayer, ParameterGroup, StepContext
from delaminate.objectives.adversary import gradient_penalty, logistic_fake, logistic_real, r1_penalty
from delaminate.objectives.augment import augment
from delaminate.objectives.priors import (
    area_within,
    binarization,
    border_and_inside,
    compactness,
    coverage,
    indecision,
    mask_diversity,
)
from delaminate.objectives.schedules import linear_rise, warmup_cosine
from delaminate.scene.compositing import composite
from delaminate.scene.layers import Layers
from delaminate.scene.transforms import warp

FAST_RATES = {128: 1.5, 256: 2.0}
"""Factors on the rate of a growing network at these resolutions (the authors' schedule)."""


class _Rival(GradientPlayer):
    """What generators and discriminator share: rates, and how images are drawn and shown."""

    algorithm = "adam"

    def __init__(self, model: PerturbGANModel) -> None:
        self.model = model
        self.betas = model.config.betas

    def learning_rate_factor(self, group: str, context: StepContext) -> float:
        return FAST_RATES.get(self.model.growth(context).side, 1.0) if self.model.config.growing else 1.0

    def draw(self, rng: Generator, context: StepContext) -> tuple[Layers, Layers]:
        """Paint this process's share of new scenes: as painted, and with their foregrounds moved."""
        model, grown = self.model, self.model.growth(context)
        noise = model.noise(context.batch, rng, grown, True, context.local_slice)
        still, _ = model.paint(noise, grown)
        return still, model.perturb(still, context.batch, rng, context.local_slice)

    def shown(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> Float[Tensor, "B 3 H W"]:
        """What the discriminator sees of images in [-1, 1]."""
        return augment(images, rng, context.local_slice, context.batch) if self.model.augments else images


class GeneratorPlayer(_Rival):
    """Generators of both layers: composites look real wherever the foreground has been moved."""

    name = "painter"

    def groups(self) -> tuple[ParameterGroup, ...]:
        generator, c = self.model.generator, self.model.config
        return (
            ParameterGroup("trunks", tuple(generator.trunks.parameters()), c.learning_rate),
            ParameterGroup(
                "mappings", tuple(generator.mappings.parameters()), c.learning_rate * c.mapping_learning_rate_factor
            ),
        )

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model, c, grown = self.model, self.model.config, self.model.growth(context)
        still, layers = self.draw(rng, context)
        fakes = composite(layers)
        context.values |= {
            "masks": still.alpha[:, 1].detach(),
            "backgrounds": layers.rgb[:, 0].detach(),
            "fakes": fakes.detach(),
        }
        scores = model.score(self.shown(fakes, rng, context), grown)
        masks = layers.alpha[:, 1]  # as they are seen: what has moved out of the canvas is lost
        push = c.binary_weight * linear_rise(model.painted_steps(context)[0], c.ramp_steps)
        if c.mask_loss == "published":
            area, binary = coverage(masks, c.min_area), binarization(masks)
        else:
            area, binary = area_within(masks, c.min_area, c.max_area), indecision(masks)
        terms = {
            "adversary": logistic_real(scores) if c.loss == "logistic" else -scores.mean(),
            "area": c.area_weight * area,
            "binary": push * binary,
        }
        if c.border_weight:
            border, inside = border_and_inside(still.alpha[:, 1])
            terms["border_excess"] = c.border_weight * context.excess(border - c.max_border_coverage * inside)
        if c.compactness_weight:
            terms["outline"] = c.compactness_weight * compactness(still.alpha[:, 1])
        if c.mask_diversity_weight:
            if len(masks) % 2 and len(masks) < context.batch:
                raise ConfigError(
                    f"perturbgan: {len(masks)} images a process; mask_diversity_weight compares pairs. Choose a batch "
                    "that gives each process an even number."
                )
            terms["sameness"] = c.mask_diversity_weight * context.excess(
                c.mask_diversity - mask_diversity(still.alpha[:, 1])
            )
        return terms


class Discriminator(_Rival):
    """Tells real photos from composites."""

    name = "discriminator"

    def groups(self) -> tuple[ParameterGroup, ...]:
        return (
            ParameterGroup(
                "discriminator", tuple(self.model.discriminator.parameters()), self.model.config.learning_rate
            ),
        )

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model, c, grown = self.model, self.model.config, self.model.growth(context)
        if c.reuse_fakes:
            fakes = context.values["fakes"]
        else:
            with torch.no_grad():
                fakes = composite(self.draw(rng, context)[1])
        real = photographs(images, c.enlarge, grown, rng, context)
        real, fakes = self.shown(real, rng, context), self.shown(fakes, rng, context)
        scores = model.score(torch.cat([real, fakes]), grown, halves=2)
        high, low = scores.chunk(2)
        if c.loss == "wgan-gp":
            penalty = gradient_penalty(
                lambda x: self._plainly(x, grown), real, fakes, rng, context.local_slice, context.batch
            )
            return {
                "real": c.drift * high.square().mean() - high.mean(),
                "fake": low.mean(),
                "penalty": c.penalty_weight * penalty,
            }
        terms = {"real": logistic_real(high), "fake": logistic_fake(low)}
        if context.step % c.penalty_interval == 0:
            gamma = 2e-4 * grown.side**2 / context.batch if c.gamma is None else c.gamma
            penalty = r1_penalty(lambda x: self._plainly(x, grown), real)
            terms["penalty"] = gamma / 2 * c.penalty_interval * penalty
        return terms

    def _plainly(self, images: Float[Tensor, "B 3 H W"], grown: GrowthLevel) -> Float[Tensor, " B"]:
        # Slopes are taken in full precision.
        return self.model.discriminator(images, grown.level, grown.fade)


class EncoderPlayer(GradientPlayer):
    """The encoder: styles and shift of made images, then also of real ones, which it must rebuild."""

    name = "encoder"
    algorithm = "adam"

    def __init__(self, model: PerturbGANModel) -> None:
        self.model = model

    def groups(self) -> tuple[ParameterGroup, ...]:
        assert self.model.encoder is not None
        return (
            ParameterGroup("encoder", tuple(self.model.encoder.parameters()), self.model.config.encoder_learning_rate),
        )

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model, grown = self.model, self.model.growth(context)
        with torch.no_grad():
            # Without grain, which no encoder could find.
            noise = replace(model.noise(context.batch, rng, grown, rows=context.local_slice), maps=None)
            layers, styles = model.paint(noise, grown)
            true_styles = torch.stack(styles[: model.config.num_styles]).to(images.dtype)  # S B D
            offset = model.draw_shift(model.image_size[0], context.batch, rng, context.local_slice)
            true_shift = offset.to(images) / model.image_size[0]
            layers = shift_foreground(layers, offset)
            scenes = composite(layers)
        found, styles_found, shift_found = model.invert(scenes)
        mask = found.alpha[:, 1].clamp(1e-6, 1 - 1e-6)
        terms = {
            "styles": (styles_found - true_styles).square().mean(),
            "shift": 10 * (shift_found - true_shift).square().mean(),
            "pixels": (composite(found) - scenes).abs().mean(),
            "masks": F.binary_cross_entropy(mask, layers.alpha[:, 1]),
        }
        return terms | (self._real(2 * images - 1) if 2 * context.step >= context.steps else {})

    def _real(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Tensor]:
        """Terms of real images in [-1, 1]: the composite, and what the discriminator sees of it."""
        model = self.model
        found, styles, _ = model.invert(images)
        rebuilt = composite(found)
        with torch.no_grad(), model.precision(images):
            true = model.discriminator.features(images)
        with model.precision(images):
            seen = model.discriminator.features(rebuilt)
        return {
            "real_pixels": (rebuilt - images).abs().mean(),
            "features": model.config.feature_weight * (seen - true).to(images.dtype).square().mean(),
            "centre": 1e-3 * (styles - model.centre[:, None]).square().mean(),
        }


class Segmenter(GradientPlayer):
    """The U-Net: which pixels of made images have a mask above one half; colours are changed at random."""

    name = "segmenter"

    def __init__(self, model: PerturbGANModel) -> None:
        self.model = model

    def groups(self) -> tuple[ParameterGroup, ...]:
        assert self.model.segmenter is not None
        parameters = tuple(self.model.segmenter.parameters())
        return (ParameterGroup("segmenter", parameters, self.model.config.segmenter_learning_rate, 1e-4),)

    def learning_rate_factor(self, group: str, context: StepContext) -> float:
        return warmup_cosine(context.step, context.steps)

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model, grown = self.model, self.model.growth(context)
        with torch.no_grad():
            layers, _ = model.paint(model.noise(context.batch, rng, grown, rows=context.local_slice), grown)
            if model.config.segmenter_stretch > 1:
                layers = stretched(layers, model.config.segmenter_stretch, rng, context)
            layers = model.perturb(layers, context.batch, rng, context.local_slice)
            shown = recoloured(composite(layers).clamp(-1, 1), rng, context)
            masks = (layers.alpha[:, 1] > 0.5).to(shown)
        return {"masks": F.binary_cross_entropy_with_logits(model.segment(shown), masks)}


class SelfTrainingPlayer(GradientPlayer):
    """The U-Net: what a running mean of itself deems object and background in real photos.

    What is painted is simpler than what is real, so a segmenter that has seen nothing else is sure of little in photos. But
    of every photo it is known how large the object may be: its likeliest pixels are taken for the object, the least likely
    for the background, and those between are left open (pseudo-labels, Lee, 2013, of a mean teacher, Tarvainen and Valpola,
    2017). Some photos get the object of another one pasted in, moved at random, and with it what is known of it, so that an
    object is learned apart from its background (ClassMix, Olsson et al., 2021).
    """

    name = "self-trainer"

    def __init__(self, model: PerturbGANModel) -> None:
        self.model = model

    def groups(self) -> tuple[ParameterGroup, ...]:
        assert self.model.segmenter is not None
        parameters = tuple(self.model.segmenter.parameters())
        return (ParameterGroup("segmenter", parameters, self.model.config.self_training_learning_rate, 1e-4),)

    def learning_rate_factor(self, group: str, context: StepContext) -> float:
        return warmup_cosine(context.step, context.steps)

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model, c = self.model, self.model.config
        flip = context.chance(rng, 0.5, images)
        photos = 2 * torch.where(flip, images.flip(-1), images) - 1
        chance = model.pseudo_labels(photos)
        ends = torch.tensor([1 - c.max_area, 1 - c.min_area]).to(chance)
        low, high = chance.flatten(1).quantile(ends, 1)[:, :, None, None, None]  # B 1 1 1, each
        is_object, may_be = (chance >= high).to(chance), (chance >= low).to(chance)
        if c.self_training_paste:
            photos, is_object, may_be = pasted(model, photos, is_object, may_be, rng, context)
        known = 1 - may_be + is_object
        costs = F.binary_cross_entropy_with_logits(
            model.segment(recoloured(photos, rng, context)), is_object, reduction="none"
        )
        return {"masks": (known * costs).sum() / context.mean(known.sum())}  # over all that is known to any process


def pasted(
    model: PerturbGANModel,
    photos: Float[Tensor, "B 3 H W"],
    is_object: Float[Tensor, "B 1 H W"],
    may_be: Float[Tensor, "B 1 H W"],
    rng: Generator,
    context: StepContext,
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"], Float[Tensor, "B 1 H W"]]:
    """Put before some photos whatever may be the object of the next photo, moved at random; return all three as they are then.

    Args:
        model: Says how far objects move.
        photos: In [-1, 1].
        is_object, may_be: 1 where the object is taken to be, and where it is not known to be absent; else 0.
        rng: Draws which photos, and how far the object moves.
        context: Of this step.

    Reference: ClassMix (Olsson et al., 2021), with one class and a shift.
    """
    following = (
        context.local_slice.start + 1 + torch.arange(len(photos))
    ) % context.batch  # it may be another process's
    lesson = torch.cat([is_object, may_be, may_be], 1)
    other, other_lesson = (context.all_gather(some)[following] for some in (photos, lesson))
    chosen = context.chance(rng, model.config.self_training_paste, photos).to(photos)
    front = chosen * other_lesson[:, 1:2]
    alpha = torch.stack([torch.ones_like(front), front], 1)  # B 2 1 H W

    offset = model.draw_shift(model.image_size[0], context.batch, rng, context.local_slice)
    shown = shift_foreground(Layers(torch.stack([photos, other], 1), alpha, background=True), offset)
    told = shift_foreground(Layers(torch.stack([lesson, other_lesson], 1), alpha, background=True), offset)
    is_object, may_be, _ = composite(told).split(1, 1)
    return composite(shown), is_object, may_be


def stretched(layers: Layers, most: float, rng: Generator, context: StepContext) -> Layers:
    """Turn, mirror and enlarge foregrounds about the middle at random: 1 / `most` to `most` times along each axis."""
    drawn = context.rand(rng, 4, like=layers.rgb)
    angle, mirror = 2 * math.pi * drawn[:, 0], torch.where(drawn[:, 1] < 0.5, -1.0, 1.0)
    wide, high = (most ** (1 - 2 * drawn[:, 2:])).unbind(1)  # factors of the sampling map
    zero = torch.zeros_like(angle)
    sine, cosine = angle.sin(), angle.cos()
    looked = torch.stack(
        [mirror * wide * cosine - 1, -mirror * wide * sine, zero, high * sine, high * cosine - 1, zero], 1
    )
    foreground = torch.cat([layers.rgb[:, 1], layers.alpha[:, 1]], 1)  # B 4 H W
    turned = warp(foreground, "affine", looked, (foreground.shape[2], foreground.shape[3]))
    rgb, alpha = torch.stack([layers.rgb[:, 0], turned[:, :3]], 1), torch.stack([layers.alpha[:, 0], turned[:, 3:]], 1)
    return Layers(rgb, alpha, background=True)


def photographs(
    images: Float[Tensor, "B 3 H W"], enlarge: float, grown: GrowthLevel, rng: Generator, context: StepContext
) -> Float[Tensor, "B 3 _h _w"]:
    """Turn images in [0, 1] into what is real: in [-1, 1], `enlarge` times the level's size, cut at a random place."""
    images, side = 2 * images - 1, grown.side
    large = int(side * enlarge)
    if large != images.shape[-1]:
        images = F.interpolate(images, (large, large), mode="bilinear", antialias=True, align_corners=False)
    if large == side:
        return images
    corner = context.randint(rng, large - side + 1, 2, 1, like=images)
    rows, columns = (corner + torch.arange(side, device=images.device)).unbind(1)  # B side, each
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def recoloured(images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> Float[Tensor, "B 3 H W"]:
    """Change brightness, contrast and saturation of images in [-1, 1], each in half of the images."""

    def draw(reach: float) -> Float[Tensor, "B 1 1 1"]:
        drawn = reach * (2 * context.rand(rng, 1, 1, 1, like=images) - 1)
        return drawn * context.chance(rng, 0.5, images)

    images = images + draw(0.4)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = middle + (images - middle) * (1 + draw(0.4))
    grey = images.mean(1, keepdim=True)
    return (grey + (images - grey) * (1 + draw(0.6))).clamp(-1, 1)

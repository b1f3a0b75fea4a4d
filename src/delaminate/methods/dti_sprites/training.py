"""DTI-Sprites: who learns. Matching finds the sprites, distillation teaches the encoder, gradients refine both."""

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Generator, Tensor

from delaminate.errors import TrainingError
from delaminate.matching.remembered import RememberedSearch
from delaminate.matching.shapes import find_shapes, flat_regions, reestimated, seen_scales, whole_regions
from delaminate.matching.soft.correlation import Sprites
from delaminate.matching.soft.dictionary import (
    SufficientStatistics,
    accumulate,
    duplicates,
    prune,
    recentre,
    reestimate,
    replace_sprites,
    seed,
    without_misfits,
)
from delaminate.matching.soft.pursuit import Selections, pursue
from delaminate.methods.dti_sprites.config import MORE_SPRITES, MOST_LAYERS
from delaminate.methods.dti_sprites.model import DTISpritesModel
from delaminate.methods.players import GradientPlayer, ParameterGroup, SearchPlayer, StepContext
from delaminate.nets.blocks import BatchedMLP
from delaminate.objectives.reconstruction import image_error
from delaminate.objectives.schedules import step_decay, warmup_cosine

REESTIMATION_IMAGES = 150
"""From which shapes found by regions are estimated again, at most."""
RESEEDED = 0.75
"""Share of search after which no sprite is seeded again."""
SETTLED, FULL = 0.25, 0.02
"""Share of search from which on placements tell how many layers there are; and share of images that use all of them."""


class Matcher(SearchPlayer):
    """Pursue placements in a batch, then re-estimate every sprite from the pixels it explains."""

    name = "matcher"

    def __init__(self, model: DTISpritesModel) -> None:
        self.model = model
        self.evidence: SufficientStatistics | None = None

    def state(self) -> dict[str, Tensor]:
        return {} if self.evidence is None else self.evidence.tensors()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.evidence = SufficientStatistics(**state) if state else None

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model, c = self.model, self.model.config
        sprites, size = model.candidates(), c.sprite_size
        if self.evidence is None:
            sprites = seed(len(sprites), context.all_gather(images), size, c.search_tint, rng)
            self.evidence = SufficientStatistics.zeros(sprites)
        done = context.step / context.steps
        settings = replace(model.search_settings(), beam=0)
        # While sprites are rough, choosing every placement a second time is not worth its time.
        picks = pursue(images, sprites, replace(settings, passes=0) if done < 0.25 else settings)
        fresh, left = accumulate(images, sprites, picks, settings)
        fresh = SufficientStatistics(**{name: context.all_reduce(value) for name, value in fresh.tensors().items()})
        # Early evidence is about sprites that have changed since; late evidence adds up.
        keep = 0.0 if done < 0.2 else 0.5 if done < 0.75 else 0.9
        self.evidence = self.evidence.blend(fresh, keep)
        sprites, self.evidence = recentre(reestimate(sprites, self.evidence), self.evidence)
        usage = self.evidence.usage
        idle = usage < c.reassign_below / len(sprites) * usage.sum()
        if done < RESEEDED:
            # Seed unused and duplicate sprites again, from what is left when ill-fitting placements are taken away.
            again = sorted({*idle.nonzero()[:, 0].tolist(), *duplicates(sprites, usage)})
            sprites, more = self._offer_more(sprites, context, len(again))
            again += more
            if again:
                honest = without_misfits(images, sprites, picks, settings)
                _, unexplained = accumulate(images, sprites, honest, settings)
                new = seed(len(again), context.all_gather(unexplained), size, c.search_tint, rng)
                sprites = replace_sprites(sprites, again, new)
                self.evidence = self.evidence.forget(again)
            self._offer_layers(picks, context)
        self._store(sprites)
        if context.step == context.steps - 1:
            self._finish(context.all_gather(images), sprites, usage)
        return {"error": left.square().mean(), "idle": idle.sum()}

    def _offer_more(self, sprites: Sprites, context: StepContext, free: int) -> tuple[Sprites, list[int]]:
        """Where search finds how many sprites there are: offer more, once hardly any is free to take up what is left.

        Returns:
            The sprites, and which of them are new and empty.
        """
        count, most = len(sprites), self.model.config.offered_sprites
        if self.model.config.num_sprites or free > count // 8 or context.step < 2 or count == most:
            return sprites, []
        more = min(MORE_SPRITES, most - count)
        assert self.evidence is not None
        sprites = Sprites(*(F.pad(each, (0, 0) * 3 + (0, more)) for each in (sprites.colour, sprites.alpha)))
        padded = {
            name: F.pad(each, (0, 0) * (each.ndim - 1) + (0, more)) for name, each in self.evidence.tensors().items()
        }
        self.evidence = SufficientStatistics(**padded)
        return sprites, list(range(count, count + more))

    @torch.no_grad()
    def _offer_layers(self, picks: Selections, context: StepContext) -> None:
        """Where search finds how many layers there are: offer one more, while some images use all of them."""
        model = self.model
        if model.config.num_layers or context.step / context.steps < SETTLED or model.num_layers >= MOST_LAYERS:
            return
        full = (picks.used.sum(1) >= model.num_layers).to(model.layers)
        if float(context.all_reduce(full.sum())) > FULL * float(context.all_reduce(full.new_tensor(float(len(full))))):
            model.layers += 1

    @torch.no_grad()
    def _store(self, sprites: Sprites) -> None:
        """Put sprites into the model, the first ones; they are alive, the others are not."""
        model, count = self.model, len(sprites)
        model.sprites_rgb[:count].copy_(sprites.colour.expand(-1, 3, -1, -1))
        model.sprites_alpha[:count].copy_(sprites.alpha)
        model.alive.copy_((torch.arange(len(model.alive)) < count).to(model.alive))

    @torch.no_grad()
    def _finish(self, images: Float[Tensor, "B 3 H W"], sprites: Sprites, usage: Float[Tensor, " K"]) -> None:
        """Keep as many sprites as their description is worth; order them by use."""
        model, c = self.model, self.model.config
        doubled = set(duplicates(sprites, usage))
        entries = [k for k in usage.argsort(descending=True, stable=True).tolist() if k not in doubled]
        ordered = Sprites(sprites.colour[entries], sprites.alpha[entries])
        kept = prune(images, ordered, replace(model.search_settings(), beam=0), c.search_sprite_cost)
        chosen = [entries[k] for k in kept]
        order = chosen + [k for k in range(len(sprites)) if k not in chosen]
        self._store(Sprites(sprites.colour[order], sprites.alpha[order]))
        model.alive.copy_((torch.arange(c.offered_sprites) < len(chosen)).to(model.alive))
        model.learned[0] = 1
        if not c.num_layers:
            used = pursue(images, model.candidates(), replace(model.search_settings(), beam=0)).used.sum(1)
            model.layers.fill_(_most(used))


class RegionMatcher(SearchPlayer):
    """Find the shapes that recur among flat-coloured regions, in one turn."""

    name = "region_matcher"

    def __init__(self, model: DTISpritesModel) -> None:
        self.model = model

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        pass

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model, c = self.model, self.model.config
        everything = context.all_gather(images)
        masks = whole_regions(everything.cpu())
        shapes = find_shapes(masks, c.offered_sprites, min(c.sprite_size)) if len(masks) else masks
        if len(shapes) == 0:
            raise TrainingError(
                "search: no flat-coloured region recurs in these images. Use search=correlation, or search_steps=0."
            )
        scales = seen_scales(masks, shapes)
        shapes = reestimated(shapes, everything[:REESTIMATION_IMAGES].cpu(), scales)
        with torch.no_grad():
            model.sprites_rgb.fill_(1)
            model.sprites_alpha.zero_()
            model.sprites_alpha[: len(shapes), 0] = shapes.to(model.sprites_alpha)
            model.alive.copy_((torch.arange(c.offered_sprites) < len(shapes)).to(model.alive))
            model.scales.copy_(scales)
            model.learned[0] = 1
            if not c.num_layers:
                model.layers.fill_(_most(torch.tensor([len(flat_regions(image)) for image in everything.cpu()])))
        return {"regions": torch.tensor(float(len(masks)))}


def _most(numbers: Int[Tensor, " B"]) -> int:
    """How many placements an image has at most, in all but one of a hundred images."""
    return max(1, int(numbers.double().quantile(0.99)))


class NetworkPlayer(GradientPlayer):
    """Shared by the two players that train networks."""

    def __init__(self, model: DTISpritesModel) -> None:
        self.model = model
        self.algorithm = model.config.algorithm
        self.gradient_clip = model.config.gradient_clip

    def _network_group(self, rate: float) -> ParameterGroup:
        model = self.model
        parameters = (*model.encoder.parameters(), *model.heads.parameters())
        return ParameterGroup("network", parameters, rate, model.config.weight_decay)


class Distiller(NetworkPlayer):
    """Teach the encoder the placements that search finds. They are a set: assigned, not ordered."""

    name = "distiller"

    def __init__(self, model: DTISpritesModel) -> None:
        super().__init__(model)
        self.algorithm = "adamw"
        self.search = RememberedSearch(self._search)  # sprites do not change meanwhile

    def groups(self) -> tuple[ParameterGroup, ...]:
        return (self._network_group(self.model.config.distil_learning_rate),)

    def learning_rate_factor(self, group: str, context: StepContext) -> float:
        return warmup_cosine(context.step, context.steps)

    def _search(self, images: Float[Tensor, "B 3 H W"]) -> list[tuple[Tensor, ...]]:
        found = pursue(images, self.model.candidates(), self.model.search_settings())
        return list(zip(found.entry.cpu(), found.top.cpu(), found.left.cpu(), found.gain.cpu(), strict=True))

    def placements(self, images: Float[Tensor, "B 3 H W"]) -> Selections:
        """What search finds in images."""
        columns = zip(*self.search(images), strict=True)
        return Selections(*(torch.stack(column).to(images.device) for column in columns))

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        return self.terms(images, context)

    def terms(self, images: Float[Tensor, "B 3 H W"], context: StepContext) -> dict[str, Tensor]:
        """How far predictions are from what search found: error of position in pixels, of colour, of presence."""
        model, c = self.model, self.model.config
        picks = self.placements(images)
        centre = torch.stack([picks.top + c.sprite_size[0] / 2, picks.left + c.sprite_size[1] / 2], -1)  # B L 2, pixels
        colour = torch.cat([picks.gain - 1, torch.zeros_like(picks.gain)], -1)  # B L 6
        if c.readout == "peaks":
            return self._peak_terms(images, centre, colour, picks.used, context)
        prediction = model.predict(images)
        position = prediction.layer["position"]  # B L 3
        scale = 1 + position[..., :1].exp()
        size = position.new_tensor(model.image_size)
        found = (1 - position[..., 1:].flip(-1) / scale) / 2 * size  # B L 2, pixels
        guess = prediction.layer.get("colour", torch.zeros_like(colour))
        distance = (found[:, :, None] - centre[:, None]).abs().sum(-1)
        distance = distance + 5 * (guess[:, :, None] - colour[:, None]).abs().sum(-1)  # B L L
        distance = distance + 1e3 * ~picks.used[:, None]
        pairs = [linear_sum_assignment(matrix) for matrix in distance.detach().cpu().numpy()]
        target = torch.stack([torch.as_tensor(columns) for _, columns in pairs]).to(images.device)
        rows = torch.arange(len(images), device=images.device)[:, None]
        used = picks.used[rows, target].to(found.dtype)
        total = context.divisor(used.sum())
        native = position[..., 0] - model.native_log_scale()
        return {
            "position": ((found - centre[rows, target]).abs().sum(-1) * used).sum() / total,
            "colour": ((guess - colour[rows, target]).abs().mean(-1) * used).sum() / total * 5,
            "scale": (native.abs() * used).sum() / total,
        }

    def _peak_terms(
        self, images: Tensor, centre: Tensor, colour: Tensor, used: Tensor, context: StepContext
    ) -> dict[str, Tensor]:
        readout = self.model.peaks
        maps = readout(self.model.encode(images))
        anchors = (centre - 0.5) / readout.stride
        limit = anchors.new_tensor(maps.shape[2:]) - 1
        cell = torch.minimum(anchors.round().clamp_min(0), limit).long()
        rows, columns = cell.unbind(-1)
        wanted = torch.zeros_like(maps[:, 0]).flatten(1)
        wanted.scatter_reduce_(1, rows * maps.shape[3] + columns, used.to(maps.dtype), "amax")
        logit = maps[:, 0].flatten(1)
        presence = F.binary_cross_entropy_with_logits(logit, wanted, pos_weight=maps.new_tensor(5.0))
        found = readout.at(maps, rows, columns)
        weight = used.to(maps.dtype)
        total = context.divisor(weight.sum())
        offset = (found[..., 1:3] - (anchors - cell)).abs().sum(-1)
        return {
            "presence": 3 * presence,
            "position": (offset * weight).sum() / total * readout.stride / 2,
            "colour": ((found[..., 4:] - colour).abs().mean(-1) * weight).sum() / total,
            "scale": (found[..., 3].abs() * weight).sum() / total,
        }


class Refiner(NetworkPlayer):
    """The paper's training: predict, choose by least error, compose, and follow the gradient of the mean squared error."""

    name = "refiner"

    def __init__(self, model: DTISpritesModel) -> None:
        super().__init__(model)
        self.distiller = Distiller(model) if model.config.readout == "peaks" else None

    def groups(self) -> tuple[ParameterGroup, ...]:
        model, c = self.model, self.model.config
        pixels = [model.sprites_rgb, model.sprites_alpha]
        if c.background:
            pixels.append(model.background_rgb)
        return ParameterGroup("sprites", tuple(pixels), c.sprite_learning_rate), self._network_group(c.learning_rate)

    def learning_rate_factor(self, group: str, context: StepContext) -> float:
        c = self.model.config
        if c.cosine:
            return warmup_cosine(context.step, context.steps) if group == "network" else 1.0
        return 1.0 if group == "sprites" and not c.decay_sprites else step_decay(context.step, c.milestones)

    def repeats(self, group: str) -> int:
        return self.model.config.encoder_visits if group == "network" else 1

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model, c = self.model, self.model.config
        if int(model.progress) == 0:
            start_pixels(model, context.all_gather(images), rng)
        noise = None
        if c.noise:
            # Drawn once per step and sprite, shared by all images and layers, as wide as the canvas.
            uniform = torch.rand(c.offered_sprites, 1, *c.image_size, generator=rng)
            noise = ((2 * uniform - 1) * c.noise).to(images)
        image, entry = model.reconstruct(images, noise)
        counts = F.one_hot(entry, c.offered_sprites + 1)[..., : c.offered_sprites].sum(0)  # L K
        model.usage += context.all_reduce(counts.to(model.usage.dtype))
        error = image_error(images, image).mean()
        if self.distiller is None:
            return {"error": error}
        # The choice of anchors has no gradient of its own: keep teaching it while positions and colours are refined.
        if not model.frozen:
            self.distiller.search.forget()
        return {"error": 50 * error, **self.distiller.terms(images, context)}


@torch.no_grad()
def start_pixels(model: DTISpritesModel, images: Float[Tensor, "B 3 H W"], rng: Generator) -> None:
    """Start background and sprites from the first global batch, where the settings ask for it."""
    from sklearn.cluster import KMeans  # takes half a second and 50 MB, which no other step needs

    c = model.config
    if c.background and c.background_start == "mean":
        model.background_rgb.copy_(images.mean(0))
    if c.sprite_start == "kmeans" and len(images) >= c.offered_sprites:
        seen = F.interpolate(images, c.sprite_size, mode="bilinear", antialias=True, align_corners=False)
        centred = seen - seen.mean((2, 3), keepdim=True)
        plain = centred / (centred.std((1, 2, 3), keepdim=True) + 0.02)
        distance = sum(
            torch.linspace(-1, 1, n, device=images.device).square().view(shape)
            for n, shape in zip(c.sprite_size, ((-1, 1), (1, -1)), strict=True)
        )
        features = (plain * torch.exp(-1.5 * torch.as_tensor(distance))).flatten(1).cpu().numpy()
        seed_ = int(torch.randint(2**31 - 1, (1,), generator=rng))
        found = torch.as_tensor(KMeans(c.offered_sprites, n_init=10, random_state=seed_).fit_predict(features))
        for k in range(c.offered_sprites):
            model.sprites_rgb[k] = (0.5 + 0.2 * plain[found.to(images.device) == k].mean(0)).clamp(0, 1)


@torch.no_grad()
def after_update(model: DTISpritesModel, rng: Generator, context: StepContext) -> dict[str, float]:
    """Count the curriculum's steps, and replace unused sprites."""
    c = model.config
    if context.stage != "refine":
        return {}
    model.progress += 1
    figures = {}
    if c.reassign_every and c.offered_sprites > 1 and int(model.progress) % c.reassign_every == 0:
        if not model.frozen:
            figures["reassigned"] = float(_reassign(model, rng))
        model.usage.zero_()
    return figures


def _reassign(model: DTISpritesModel, rng: Generator) -> int:
    """Replace sprites that one random layer hardly uses by copies of the most used one.

    Colour with a little noise, exact alpha, and in every layer the regressors of the most used; it gets the same noise.
    Departs: Adam's moments are left alone (the original ends up sharing them between the two, for good).
    """
    c = model.config
    layer = int(torch.randint(c.offered_layers, (1,), generator=rng))
    usage = model.usage[layer]
    share = usage / usage.max().clamp_min(1) if c.empty_sprite else usage / usage.sum().clamp_min(1)
    best = int(share.argmax())
    weak = [k for k in model.active_entries.tolist() if k != best and share[k] < c.reassign_below / c.offered_sprites]
    for k in weak:
        noise = torch.randn(model.sprites_rgb[best].shape, generator=rng) * 1e-4
        model.sprites_rgb[k] = model.sprites_rgb[best] + noise.to(model.sprites_rgb)
        model.sprites_alpha[k] = model.sprites_alpha[best]
        for head in (model.heads[f"sprite_{kind}"] for kind in c.sprite_transforms):
            if isinstance(head, BatchedMLP):
                for each in range(c.offered_layers):
                    head.copy_head(each * c.offered_sprites + best, each * c.offered_sprites + k)
    if weak:
        noise = torch.randn(model.sprites_rgb[best].shape, generator=rng) * 1e-4
        model.sprites_rgb[best] += noise.to(model.sprites_rgb)
    return len(weak)

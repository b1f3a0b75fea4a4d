"""PerturbGAN: stages, decomposition, sampling, and watching over the training."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from delaminate.errors import ConfigError, FormatError
from delaminate.methods.graph import LayerGraph
from delaminate.methods.perturbgan.config import PRESETS
from delaminate.methods.perturbgan.graph import EncoderGraph, SegmenterGraph
from delaminate.methods.perturbgan.model import Noise, PerturbGANModel
from delaminate.methods.perturbgan.networks import GrowthLevel
from delaminate.methods.perturbgan.training import (
    Discriminator,
    EncoderPlayer,
    GeneratorPlayer,
    Segmenter,
    SelfTrainingPlayer,
)
from delaminate.methods.players import Stage, StepContext
from delaminate.nets.stylegan import level_of
from delaminate.objectives.adversary import few_images
from delaminate.objectives.priors import border_and_inside
from delaminate.refinement.photos import photo_decomposition, photo_layers, refined_masks, refined_ways
from delaminate.rng import stream
from delaminate.scene.compositing import composite
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.layers import Layers

TEACHER_RATE = 0.01
"""How fast the teacher follows the segmenter while that learns from itself."""

MONITOR_RATE = 0.1
"""Share of the newest measurement in the running means of the signals."""

MONITOR_EVERY = 10
"""Steps between two measurements of the signals of a collapse."""


class PerturbGAN(PerturbGANModel):
    """Objects survive a small shift; backgrounds show it. (Bielski and Favaro, NeurIPS 2019)"""

    presets = PRESETS
    training_signals: ClassVar[Mapping[str, str]] = {
        "covered": "Share of the pixels in masks of painted scenes; near 0 masks are dead, near 1 they are everything.",
        "border": "Masks on the border compared with masks inside; above 1 foreground and background have swapped roles.",
        "shown": "How much foregrounds change their backgrounds where masks are; near 0 the mask holds nothing but background.",
        "gap": "How much more real whole scenes look than backgrounds alone; far below 0 the object is in the background.",
        "real": "What the discriminator still has to learn about real images.",
        "fake": "What the discriminator still has to learn about made images.",
    }

    @property
    def decomposers(self) -> tuple[str, ...]:
        c = self.config
        found: tuple[str, ...] = ()
        if self._has("segmenter"):
            found = refined_ways("segmenter", c.refine_weight, c.min_region_area)
        return (*found, "encoder") if self._has("encoder", "generator") else found

    def _has(self, *parts: str) -> bool:
        return all(bool(self.trained[("generator", "encoder", "segmenter").index(part)]) for part in parts)

    @property
    def graph_ways(self) -> tuple[str, ...]:
        return tuple(by for by in ("segmenter", "encoder") if by in self.decomposers)

    def graph(self, by: str) -> LayerGraph:
        if by not in self.graph_ways:
            return super().graph(by)
        return (SegmenterGraph if by == "segmenter" else EncoderGraph)(self.graph_copy())

    @property
    def can_sample(self) -> bool:
        return self._has("generator")

    @property
    def max_restarts(self) -> int:
        return int(self.config.restarts)

    def copies_input(self, by: str) -> bool:
        return by != "encoder"

    def prepare(self, pixels: UInt8[Tensor, "N 3 H W"]) -> tuple[str, ...]:
        self.augments, remarks = few_images(pixels, self.config.augment_below)
        return remarks

    def stages(self) -> tuple[Stage, ...]:
        c = self.config
        rivals = (
            (GeneratorPlayer(self), Discriminator(self))
            if c.reuse_fakes
            else (Discriminator(self), GeneratorPlayer(self))
        )
        found: list[Stage] = []
        if c.growing:
            for level in range(level_of(c.first_side), level_of(c.image_size[0]) + 1):
                batch = c.grow_batches[min(level - 1, len(c.grow_batches) - 1)]
                steps = max(2 * c.grow_images // batch, 1)
                grown = Stage(
                    f"layers-{GrowthLevel(level).side}", steps, batch, rivals, False, bool(found), "grow_batches"
                )
                found.append(grown)
        else:
            found.append(Stage("layers", c.steps, c.batch, rivals))
        if c.encoder_steps:
            found.append(Stage("encoder", c.encoder_steps, c.encoder_batch, (EncoderPlayer(self),), averages=True))
        if c.segmenter_steps:
            found.append(Stage("segmenter", c.segmenter_steps, c.segmenter_batch, (Segmenter(self),), averages=True))
        if c.self_training_steps:
            learner = (SelfTrainingPlayer(self),)
            found.append(
                Stage(
                    "self-training", c.self_training_steps, c.segmenter_batch, learner, batch_setting="segmenter_batch"
                )
            )
        return tuple(found)

    @torch.no_grad()
    def on_stage_start(self, stage: str) -> None:
        for index, name in enumerate(("encoder", "segmenter"), 1):
            if stage == name:
                self.trained[index] = 1
        if stage == "self-training" and self.teacher is not None and self.segmenter is not None:
            self.teacher.load_state_dict(self.segmenter.state_dict())
        if stage == "encoder":
            z = torch.randn(1, 1_000, self.config.noise_width, generator=stream("perturbgan", "centre")).to(self.centre)
            z = z.expand(len(self.centre), -1, -1)
            self.centre.copy_(torch.stack([style.mean(0) for style in self.generator.styles(z)[: len(self.centre)]]))

    @torch.no_grad()
    def sample(self, n: int, rng: Generator) -> Layers:
        """Draw scenes from noise: background and foreground in [0, 1], of the model's size.

        Raises:
            ConfigError: This model was stored without its generator.
        """
        if not self.can_sample:
            raise ConfigError(
                "perturbgan: this model holds no generator, so it can segment but not sample. "
                "Train one: `delaminate train perturbgan PHOTOS --out RUN`."
            )
        level, fade = self.grown.tolist()
        grown = GrowthLevel(int(level), fade)
        noise = self.noise(n, rng, grown)
        rgb, alpha = [], []
        for start in range(0, max(n, 1), 64):
            some = slice(start, start + 64)
            maps = noise.maps and [trunk and [level[some] for level in trunk] for trunk in noise.maps]
            layers, _ = self.paint(Noise(noise.z[:, :, some], None, maps), grown)
            rgb.append(((layers.rgb + 1) / 2).clamp(0, 1))
            alpha.append(layers.alpha)
        times = self.image_size[0] // grown.side
        both = torch.cat([torch.cat(rgb), torch.cat(alpha)], 2)
        both = both.repeat_interleave(times, 3).repeat_interleave(times, 4)  # a level below the last: pixel by pixel
        return Layers(both[:, :, :3], both[:, :, 3:], background=True)

    @torch.no_grad()
    def _decompose(self, images: Float[Tensor, "B 3 H W"], by: str) -> Decomposition:
        rasters, c = [], self.config
        for some in images.split(64):
            if by != "encoder":
                mask = torch.sigmoid(self.segment(2 * some - 1))[:, None]  # B 1 1 H W
                masks = torch.cat([1 - mask, mask], 1)
                masks = refined_masks(some, masks, by, c.refine_weight, c.min_region_area)
                rasters.append(photo_layers(some, torch.cat([torch.ones_like(mask), masks[:, 1:]], 1)))  # B 2 4 H W
            else:
                layers, _, _ = self.invert(2 * some - 1)
                rasters.append(torch.cat([((layers.rgb + 1) / 2).clamp(0, 1), layers.alpha], 2))  # B 2 4 H W
        return photo_decomposition(rasters)

    # --- looking after itself ---------------------------------------------------------------------------------------

    @torch.no_grad()
    def error(self, images: Float[Tensor, "B 3 H W"], stage: str) -> Float[Tensor, " B"]:
        """Mean squared errors that need no labels.

        Of the layers: how near the nearest of 256 sampled scenes comes to an image, both at 8 x 8 pixels. Of the encoder:
        of the reconstruction. Of the segmenter: of the masks of as many sampled scenes.
        """
        rng = stream("perturbgan", "check")
        if stage == "encoder":
            rebuilt = torch.cat([composite(self.invert(2 * some - 1)[0]) for some in images.split(64)])
            return ((rebuilt + 1) / 2 - images).square().mean((1, 2, 3))
        if stage in ("segmenter", "self-training"):
            layers = self.sample(len(images), rng)
            masks = torch.cat([torch.sigmoid(self.segment(2 * some - 1)) for some in composite(layers).split(64)])
            return (masks - (layers.alpha[:, 1] > 0.5).to(masks)).square().mean((1, 2, 3))
        made = F.adaptive_avg_pool2d(composite(self.sample(256, rng)), 8).flatten(1)
        real = F.adaptive_avg_pool2d(images, 8).flatten(1)
        return torch.cdist(real, made).amin(1).square() / real.shape[1]

    preview_rows = (
        "images, their masks (once there are any), scenes from noise, their backgrounds, their foregrounds, their masks, "
        "and scenes whose foregrounds have moved"
    )

    def preview(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "N 3 _h _w"]]:
        """Images and their masks, if any are found yet; sampled scenes, whole, apart, and with their foregrounds moved."""
        rows, rng = [images], stream("perturbgan", "preview")
        if self.decomposers:
            rows.append(self.decompose(images).layers().alpha[:, 1].expand(-1, 3, -1, -1))
        layers = self.sample(len(images), rng)
        masks = layers.alpha[:, 1].expand(-1, 3, -1, -1)
        moved = composite(self.perturb(layers, len(images), rng, background=False))
        return [*rows, composite(layers), layers.rgb[:, 0], layers.rgb[:, 1], masks, moved]

    @torch.no_grad()
    def after_update(self, rng: Generator, context: StepContext) -> dict[str, float]:
        """Look for the signals of a collapse now and then; let the teacher follow the segmenter."""
        if context.stage == "self-training" and self.teacher is not None and self.segmenter is not None:
            for one, other in zip(self.teacher.parameters(), self.segmenter.parameters(), strict=True):
                one.lerp_(other.detach(), TEACHER_RATE)
        if "masks" not in context.values:
            return {}
        grown = self.growth(context)
        if self.config.growing:
            self.grown.copy_(torch.tensor([float(grown.level), grown.fade]))
        if context.step % MONITOR_EVERY:
            return {}
        self.update_monitor(grown, context)
        area, edge, inside, shown, gap = self.monitor()
        return {"covered": area, "border": edge / max(inside, 1e-6), "shown": shown, "gap": gap}

    def update_monitor(self, grown: GrowthLevel, context: StepContext) -> None:
        """Measure painted scenes: what their masks cover and change, and how scenes and backgrounds alone score."""
        masks, fakes, backgrounds = (context.values[name] for name in ("masks", "fakes", "backgrounds"))
        changed = (fakes - backgrounds).abs().mean() / 2  # images are in [-1, 1]
        shares = torch.stack([(masks > 0.5).to(masks).mean(), *border_and_inside(masks), masks.mean(), changed])
        scores = self.score(torch.cat([fakes, backgrounds]), grown, halves=2).unflatten(0, (2, -1))
        moments = torch.stack([scores.mean(1), scores.square().mean(1)], 1).flatten()
        means = context.mean(torch.cat([shares, moments]))
        self.signals.lerp_(torch.cat([means, torch.ones_like(means[:1])]), MONITOR_RATE)

    def monitor(self) -> tuple[float, float, float, float, float]:
        """Five signals of a collapse, as running means.

        The share of pixels with a mask above 1/2; the mean mask on the border; and inside, all before the shift; by how
        much of their range scenes differ from their backgrounds where masks are; and by how many standard deviations whole
        scenes score higher than their backgrounds alone.
        """
        *shares, scene, scene_square, alone, alone_square = (self.signals[:-1] / self.signals[-1]).tolist()
        area, border, inside, mask, changed = shares
        variance = (scene_square - scene**2 + alone_square - alone**2) / 2
        return area, border, inside, changed / max(mask, 1e-6), (scene - alone) / max(variance, 1e-6) ** 0.5

    def collapsed(self, context: StepContext) -> str | None:
        """Say that the mask is dead, covers everything, lies around the object, or that the background holds it."""
        c = self.config
        if not c.monitor_share or not context.stage.startswith("layers") or not self.signals[-1]:
            return None
        done, steps = self.painted_steps(context)
        # A short run is looked at once at least, and every run at the end, before others learn from it.
        last = max(c.monitor_share * steps, c.monitor_from + 5 * MONITOR_EVERY - 1)
        early = done <= last and context.step % (5 * MONITOR_EVERY) == 0
        if done < c.monitor_from or not (early or done == steps - 1):
            return None
        area, edge, inside, shown, gap = self.monitor()
        if area < c.dead_area:
            return f"masks cover {100 * area:.2f} % of made images, less than {100 * c.dead_area:g} %: the mask is dead"
        if area > c.saturated_area:
            return (
                f"masks cover {100 * area:.1f} % of made images, more than {100 * c.saturated_area:g} %: the foreground is "
                "the whole image"
            )
        if c.border_ratio and edge > c.border_ratio * inside:
            return (
                f"masks are {edge:.3f} on the border and {inside:.3f} inside, on average: foreground and background have "
                "swapped roles"
            )
        if shown < c.min_shown:
            return (
                f"foregrounds change their backgrounds by {100 * shown:.1f} % of the range, less than "
                f"{100 * c.min_shown:g} %: the object has leaked into the background, and the mask holds a patch of it"
            )
        if gap < c.leak_gap:
            return (
                f"whole scenes score {gap:+.2f} standard deviations above their backgrounds alone (less than "
                f"{c.leak_gap:g}): the object has leaked into the background"
            )
        return None

    # --- on disk ------------------------------------------------------------------------------------------------------

    stored_tensors = ("grown", "centre", "generator.", "encoder.", "segmenter.")
    optional_tensors = ("generator.", "encoder.", "segmenter.")

    def holds(self, prefix: str) -> bool:
        return self._has(prefix.rstrip("."))

    @torch.no_grad()
    def on_import(self, there: Mapping[str, bool]) -> None:
        level, share = self.grown.tolist()
        last = level_of(self.image_size[0])
        if level not in range(last + 1) or not 0 <= share <= 1:
            raise FormatError(f"grown is ({level:g}, {share:g}); expected a level from 0 to {last} and a share of 1.")
        self.trained.copy_(torch.tensor([float(there[prefix]) for prefix in self.optional_tensors]))

"""PerturbGAN: an object is what may be moved a little before its background without harm to the picture.

From noise, style-based generators paint a background, a foreground and its mask. The foreground is shifted at random
before a discriminator sees the composite, and the generators do not know by how much; only whole objects survive that,
so the mask becomes an object's. Then a network learns to find what was painted: an encoder that inverts the generators,
or a segmenter that is taught by them. Bielski and Favaro, Emergence of Object Segmentation in Perturbed Generative
Models, NeurIPS 2019.
"""

from collections.abc import Mapping as Names
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor

from delaminate.errors import ConfigError
from delaminate.matching.crf import mean_vote, refine
from delaminate.matching.specks import despeckled
from delaminate.methods.base import Carry, Method, Stage
from delaminate.methods.perturbgan.config import Config
from delaminate.methods.perturbgan.networks import Encoder, Grown, LayeredGenerator, Maps, moved, side_by_side
from delaminate.methods.perturbgan.players import Discriminator, Inverter, Painter, Segmenter, SelfTrainer
from delaminate.nets.precision import precision
from delaminate.nets.stylegan import StyleDiscriminator, draw_noise, level_of, mixed
from delaminate.nets.unet import UNet
from delaminate.objectives.adversary import few_images
from delaminate.objectives.priors import border_and_inside
from delaminate.rng import stream
from delaminate.scene.compositing import composite
from delaminate.scene.edits import contrast
from delaminate.scene.layers import Layers
from delaminate.scene.placements import Decomposition, Dictionary
from delaminate.scene.unmixing import unmixed

WATCH_EVERY = 10
"""Steps between two looks at the signals of a collapse."""
WATCH_RATE = 0.1
"""Share of the newest look in their running means."""
TEACHER_RATE = 0.01
"""How fast the teacher follows the segmenter while that learns from itself."""
VOTERS = 16
"""Along a side of a photo, when the teacher's guess is spread over alike pixels."""
WHOLE = slice(None)


@dataclass(frozen=True)
class Noise:
    """What scenes are made of.

    Attributes:
        z: One or two draws (the second for style mixing) from one or two sources, shape (T, S, B, Z).
        takes_second: Which levels of each trunk take the second draw, or None.
        maps: Per-pixel noise, by trunk and level; None is none, for all or for one.
    """

    z: Float[Tensor, "T S B Z"]
    takes_second: Bool[Tensor, "G levels"] | None
    maps: Maps | None


class PerturbGAN(Method):
    """Objects survive a small shift; backgrounds show it. (Bielski and Favaro, NeurIPS 2019)"""

    name = "perturbgan"
    config: Config
    averaged = ("generator.",)

    def __init__(self, config: Config, seed: int = 0) -> None:
        super().__init__(config, seed)
        c, rng, side = config, stream(seed, "weights"), config.image_size[0]
        self.generator = LayeredGenerator(c, rng)
        self.discriminator = StyleDiscriminator(side, c.width, c.most_channels, c.growing, rng)
        self.encoder = Encoder(c, rng) if c.encoder_steps else None
        self.augments = False
        depth = min(level_of(side), 4)
        self.segmenter = UNet(1, c.segmenter_width, depth, rng) if c.segmenter_steps else None
        self.teacher = UNet(1, c.segmenter_width, depth, rng).requires_grad_(False) if c.self_training_steps else None
        # Where channels lie side by side, convolutions are faster on CPUs and GPUs alike.
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = side_by_side(parameter.data)
        first = level_of(c.first_side if c.growing else side)
        self.register_buffer("grown", torch.tensor([float(first), 1.0]))  # level in use, and its share
        self.register_buffer("centre", torch.zeros(c.num_styles, c.noise_width))  # mean styles
        self.register_buffer("trained", torch.tensor([1.0, 0.0, 0.0]))  # generator, encoder, segmenter
        # Running sums of what tells of a collapse (`watch`), and of their weights last.
        self.register_buffer("signals", torch.zeros(10))
        self.grown: Tensor
        self.centre: Tensor
        self.trained: Tensor
        self.signals: Tensor

    @property
    def image_size(self) -> tuple[int, int]:
        return self.config.image_size

    @property
    def decomposers(self) -> tuple[str, ...]:
        refines = bool(self.config.refine_weight) and self._has("segmenter")
        ways = {
            "despeckled": refines and bool(self.config.least_part),
            "refined": refines,
            "segmenter": self._has("segmenter"),
            "encoder": self._has("encoder", "generator"),
        }
        return tuple(by for by, there in ways.items() if there)

    def _has(self, *parts: str) -> bool:
        return all(bool(self.trained[("generator", "encoder", "segmenter").index(part)]) for part in parts)

    @property
    def can_sample(self) -> bool:
        """The generators are there, so that scenes can be drawn from noise."""
        return self._has("generator")

    def carries_photo(self, by: str) -> bool:
        return by != "encoder"

    def prepare(self, pixels: UInt8[Tensor, "N 3 H W"]) -> tuple[str, ...]:
        self.augments, remarks = few_images(pixels, self.config.augment_below)
        return remarks

    def stages(self) -> tuple[Stage, ...]:
        c = self.config
        rivals = (Painter(self), Discriminator(self)) if c.reuse_fakes else (Discriminator(self), Painter(self))
        found: list[Stage] = []
        if c.growing:
            for level in range(level_of(c.first_side), level_of(c.image_size[0]) + 1):
                batch = c.grow_batches[min(level - 1, len(c.grow_batches) - 1)]
                steps = max(2 * c.grow_images // batch, 1)
                grown = Stage(f"layers-{Grown(level).side}", steps, batch, rivals, False, bool(found), "grow_batches")
                found.append(grown)
        else:
            found.append(Stage("layers", c.steps, c.batch, rivals))
        if c.encoder_steps:
            found.append(Stage("encoder", c.encoder_steps, c.encoder_batch, (Inverter(self),), averages=True))
        if c.segmenter_steps:
            found.append(Stage("segmenter", c.segmenter_steps, c.segmenter_batch, (Segmenter(self),), averages=True))
        if c.self_training_steps:
            learner = (SelfTrainer(self),)
            found.append(
                Stage(
                    "self-training", c.self_training_steps, c.segmenter_batch, learner, batch_setting="segmenter_batch"
                )
            )
        return tuple(found)

    @torch.no_grad()
    def begin(self, stage: str) -> None:
        for index, name in enumerate(("encoder", "segmenter"), 1):
            if stage == name:
                self.trained[index] = 1
        if stage == "self-training" and self.teacher is not None and self.segmenter is not None:
            self.teacher.load_state_dict(self.segmenter.state_dict())
        if stage == "encoder":
            z = torch.randn(1, 1_000, self.config.noise_width, generator=stream("perturbgan", "centre")).to(self.centre)
            z = z.expand(len(self.centre), -1, -1)
            self.centre.copy_(torch.stack([style.mean(0) for style in self.generator.styles(z)[: len(self.centre)]]))

    def precision(self, images: Tensor) -> AbstractContextManager[object]:
        """In which networks compute."""
        return precision(images.device, self.config.bf16)

    def growth(self, carry: Carry) -> Grown:
        """How far the networks have grown at a step: while growing, a new level fades in during half its stage."""
        if not carry.stage.startswith("layers-"):
            return Grown(level_of(self.config.image_size[0]))
        side = int(carry.stage.removeprefix("layers-"))
        first = side == self.config.first_side
        return Grown(level_of(side), 1.0 if first else min(1.0, carry.step / max(carry.steps // 2, 1)))

    # --- layers -------------------------------------------------------------------------------------------------------

    def noise(self, count: int, rng: Generator, grown: Grown, mixing: bool = False, rows: slice = WHOLE) -> Noise:
        """Draw what `count` scenes are made of, and keep some of them."""
        c, levels, trunks = self.config, grown.level + 1, self.config.num_trunks
        draws = 2 if mixing and c.mixing else 1
        z = torch.randn(draws, 2 if c.independent_noise else 1, count, c.noise_width, generator=rng)
        if c.swap_backgrounds and not c.independent_noise:
            swapped = torch.rand(count, 1, generator=rng) < c.swap_backgrounds
            z = torch.cat([torch.where(swapped, z.roll(1, 2), z), z], 1)  # T 2 B Z
        takes_second = None
        if draws == 2:
            # One draw for the whole batch, another for each trunk, as in the authors' code.
            crossover = torch.randint(levels - 1, (trunks, 1), generator=rng)
            takes_second = (torch.arange(levels) > crossover) & (torch.rand(1, generator=rng) < c.mixing)
            takes_second = takes_second.to(self.centre.device)
        drawn = [draw_noise(count, levels, rng) for _ in range(1 if c.layout == "shared-style" else trunks)]
        maps: Maps = [[noise[rows].to(self.centre) for noise in some] for some in drawn]
        maps *= trunks // len(maps)
        if not c.foreground_noise:
            maps[-1] = None
        return Noise(z[:, :, rows].to(self.centre), takes_second, maps)

    def paint(self, noise: Noise, grown: Grown) -> tuple[Layers, list[Float[Tensor, "B D"]]]:
        """Paint scenes, with colours in [-1, 1], about; also return their (first) styles."""
        with self.precision(self.centre):
            first = self.generator.styles(noise.z[0])
            if noise.takes_second is None:
                mixture = [style[:, None].expand(-1, grown.level + 1, -1) for style in first]
            else:
                second = self.generator.styles(noise.z[1])
                mixture = [mixed(a, b, t) for a, b, t in zip(first, second, noise.takes_second, strict=True)]
            return self.generator(mixture, noise.maps, grown), first

    def draw_shift(self, side: int, count: int, rng: Generator, rows: slice = WHOLE) -> Int[Tensor, "B 2"]:
        """Draw whole pixels to the right and downwards on a canvas of that side, for `count` scenes; keep some."""
        drawn = self.config.shift * side * (2 * torch.rand(count, 2, generator=rng) - 1)
        return drawn[rows].round().long().to(self.centre.device)

    def perturb(
        self, layers: Layers, count: int, rng: Generator, rows: slice = WHOLE, background: bool = True
    ) -> Layers:
        """Shift the foreground by whole pixels, and change the background's contrast, at random."""
        c, like = self.config, layers.rgb
        offset = self.draw_shift(like.shape[-1], count, rng, rows)
        factor = 1 + c.contrast * (2 * torch.rand(count, generator=rng) - 1)
        if c.contrast and background:
            layers = contrast(layers, 0, factor[rows].to(like))
        return moved(layers, offset) if c.shift else layers

    @torch.no_grad()
    def sample(self, n: int, rng: Generator) -> Layers:
        """Draw scenes from noise: background and foreground in [0, 1], of the model's size.

        Raises:
            ConfigError: This model was stored without its generator.
        """
        if not self.can_sample:
            raise ConfigError("perturbgan: this model holds no generator, so it can segment but not sample. Train one.")
        level, fade = self.grown.tolist()
        grown = Grown(int(level), fade)
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

    def invert(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Layers, Float[Tensor, "S B D"], Float[Tensor, "B 2"]]:
        """Let the encoder find styles and shift of images in [-1, 1], and paint what they stand for, shifted."""
        assert self.encoder is not None
        grown = Grown(level_of(self.image_size[0]))
        with self.precision(images):
            offsets, place = self.encoder(images)
            found = self.centre[:, None] + offsets.to(images.dtype)  # S B D
            styles = [found[min(trunk, len(found) - 1)] for trunk in range(self.config.num_trunks)]
            layers = self.generator([s[:, None].expand(-1, grown.level + 1, -1) for s in styles], None, grown)
        place = place.to(images.dtype)
        return moved(layers, place * self.image_size[0]), found, place

    def find(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
        """Logits of the segmenter for images in [-1, 1]."""
        assert self.segmenter is not None
        with self.precision(images):
            return self.segmenter(images).to(images.dtype)

    @torch.no_grad()
    def guess(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
        """How likely the teacher deems every pixel of images in [-1, 1] the object's: half by itself, half by alike pixels."""
        assert self.teacher is not None
        with self.precision(images):
            both = (self.teacher(images) + self.teacher(images.flip(-1)).flip(-1)).to(images.dtype)
        own = torch.sigmoid(both / 2)
        return (own + mean_vote((images + 1) / 2, own, VOTERS)) / 2

    def score(self, images: Float[Tensor, "B 3 H W"], grown: Grown, halves: int = 1) -> Float[Tensor, " B"]:
        """Score images in [-1, 1] of the level's size; high is real."""
        with self.precision(images):
            return self.discriminator(images, grown.level, grown.fade, halves).to(images.dtype)

    @torch.no_grad()
    def _decompose(self, images: Float[Tensor, "B 3 H W"], by: str) -> Decomposition:
        rasters = []
        for some in images.split(64):
            if by != "encoder":
                mask = torch.sigmoid(self.find(2 * some - 1))[:, None]  # B 1 1 H W
                masks = torch.cat([1 - mask, mask], 1)
                if by != "segmenter":
                    masks = refine(some, masks, self.config.refine_weight)
                if by == "despeckled":
                    masks = despeckled(masks, self.config.least_part)
                alpha = torch.cat([torch.ones_like(mask), masks[:, 1:]], 1)
                rgb = unmixed(some, alpha)
            else:
                layers, _, _ = self.invert(2 * some - 1)
                rgb, alpha = ((layers.rgb + 1) / 2).clamp(0, 1), layers.alpha
            rasters.append(torch.cat([rgb, alpha], 2))  # B 2 4 H W
        return Decomposition.from_rasters(torch.cat(rasters), background=True)

    def dictionary(self) -> Dictionary:
        return Dictionary(())

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
            masks = torch.cat([torch.sigmoid(self.find(2 * some - 1)) for some in composite(layers).split(64)])
            return (masks - (layers.alpha[:, 1] > 0.5).to(masks)).square().mean((1, 2, 3))
        made = F.adaptive_avg_pool2d(composite(self.sample(256, rng)), 8).flatten(1)
        real = F.adaptive_avg_pool2d(images, 8).flatten(1)
        return torch.cdist(real, made).amin(1).square() / real.shape[1]

    rows = "images, their masks (once there are any), scenes from noise, their backgrounds, foregrounds, masks, and those moved"

    def preview(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "N 3 _h _w"]]:
        """Images and their masks, if any are found yet; sampled scenes, whole, apart, and with their foregrounds moved."""
        rows, rng = [images], stream("perturbgan", "preview")
        if self.decomposers:
            rows.append(self.decompose(images).layers().alpha[:, 1].expand(-1, 3, -1, -1))
        layers = self.sample(len(images), rng)
        masks = layers.alpha[:, 1].expand(-1, 3, -1, -1)
        moved = composite(self.perturb(layers, len(images), rng, background=False))
        return [*rows, composite(layers), layers.rgb[:, 0], layers.rgb[:, 1], masks, moved]

    def painted_steps(self, carry: Carry) -> tuple[int, int]:
        """Steps of the generators that are done, over all resolutions, and how many there are."""
        if not self.config.growing:
            return carry.step, self.config.steps
        stages = [stage for stage in self.stages() if stage.name.startswith("layers")]
        before = [stage.name for stage in stages].index(carry.stage)
        return carry.step + sum(stage.steps for stage in stages[:before]), sum(stage.steps for stage in stages)

    @torch.no_grad()
    def after_update(self, rng: Generator, carry: Carry) -> dict[str, float]:
        """Look for the signals of a collapse now and then; let the teacher follow the segmenter."""
        if carry.stage == "self-training" and self.teacher is not None and self.segmenter is not None:
            for one, other in zip(self.teacher.parameters(), self.segmenter.parameters(), strict=True):
                one.lerp_(other.detach(), TEACHER_RATE)
        if "masks" not in carry.values:
            return {}
        grown = self.growth(carry)
        if self.config.growing:
            self.grown.copy_(torch.tensor([float(grown.level), grown.fade]))
        if carry.step % WATCH_EVERY:
            return {}
        self.watch(grown, carry)
        area, edge, inside, shown, gap = self.health()
        return {"covered": area, "border": edge / max(inside, 1e-6), "shown": shown, "gap": gap}

    def watch(self, grown: Grown, carry: Carry) -> None:
        """Look at the painter's scenes: what their masks cover and change, and how scenes and backgrounds alone score."""
        masks, fakes, backgrounds = (carry.values[name] for name in ("masks", "fakes", "backgrounds"))
        changed = (fakes - backgrounds).abs().mean() / 2  # images are in [-1, 1]
        shares = torch.stack([(masks > 0.5).to(masks).mean(), *border_and_inside(masks), masks.mean(), changed])
        scores = self.score(torch.cat([fakes, backgrounds]), grown, halves=2).unflatten(0, (2, -1))
        moments = torch.stack([scores.mean(1), scores.square().mean(1)], 1).flatten()
        means = carry.mean(torch.cat([shares, moments]))
        self.signals.lerp_(torch.cat([means, torch.ones_like(means[:1])]), WATCH_RATE)

    def health(self) -> tuple[float, float, float, float, float]:
        """Five signals of a collapse, of late.

        The share of pixels with a mask above 1/2; the mean mask on the border; and inside, all before the shift; by how
        much of their range scenes differ from their backgrounds where masks are; and by how many standard deviations whole
        scenes score higher than their backgrounds alone.
        """
        *shares, scene, scene_square, alone, alone_square = (self.signals[:-1] / self.signals[-1]).tolist()
        area, border, inside, mask, changed = shares
        variance = (scene_square - scene**2 + alone_square - alone**2) / 2
        return area, border, inside, changed / max(mask, 1e-6), (scene - alone) / max(variance, 1e-6) ** 0.5

    def collapsed(self, carry: Carry) -> str | None:
        """Say that the mask is dead, covers everything, lies around the object, or that the background holds it."""
        c = self.config
        if not c.watch_share or not carry.stage.startswith("layers") or not self.signals[-1]:
            return None
        done, steps = self.painted_steps(carry)
        # A short run is looked at once at least, and every run at the end, before others learn from it.
        last = max(c.watch_share * steps, c.watch_from + 5 * WATCH_EVERY - 1)
        early = done <= last and carry.step % (5 * WATCH_EVERY) == 0
        if done < c.watch_from or not (early or done == steps - 1):
            return None
        area, edge, inside, shown, gap = self.health()
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
        if shown < c.least_shown:
            return (
                f"foregrounds change their backgrounds by {100 * shown:.1f} % of the range, less than "
                f"{100 * c.least_shown:g} %: the object has leaked into the background, and the mask holds a patch of it"
            )
        if gap < c.leak_gap:
            return (
                f"whole scenes score {gap:+.2f} standard deviations above their backgrounds alone (less than "
                f"{c.leak_gap:g}): the object has leaked into the background"
            )
        return None

    # --- on disk ------------------------------------------------------------------------------------------------------

    optional_parts = ("generator.", "encoder.", "segmenter.")

    def parts(self, everything: bool = False) -> dict[str, Tensor]:
        found = {"grown": self.grown, "centre": self.centre}
        for name in ("generator", "encoder", "segmenter"):
            part = getattr(self, name)
            if part is not None and (everything or self._has(name)):
                found |= part.state_dict(prefix=f"{name}.")
        return found

    @torch.no_grad()
    def load_parts(self, parts: Names[str, Tensor]) -> None:
        state = self.state_dict()
        for name, part in parts.items():
            state[name].copy_(part)
        there = [float(any(name.startswith(prefix) for name in parts)) for prefix in self.optional_parts]
        self.trained.copy_(torch.tensor(there))

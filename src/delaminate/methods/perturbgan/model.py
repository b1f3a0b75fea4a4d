"""PerturbGAN: an object is what may be moved a little before its background without harm to the picture.

From noise, style-based generators paint a background, a foreground and its mask. The foreground is shifted at random
before a discriminator sees the composite, and the generators do not know by how much; only whole objects survive that,
so the mask becomes an object's. Then a network learns to find what was painted: an encoder that inverts the generators,
or a segmenter that is taught by them. Bielski and Favaro, Emergence of Object Segmentation in Perturbed Generative
Models, NeurIPS 2019.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from delaminate.methods.base import Method
from delaminate.methods.perturbgan.config import Config
from delaminate.methods.perturbgan.networks import (
    Encoder,
    GrowthLevel,
    LayeredGenerator,
    Maps,
    shift_foreground,
)
from delaminate.methods.players import StepContext
from delaminate.nets.precision import precision, weights_channels_last
from delaminate.nets.stylegan import StyleDiscriminator, draw_noise, level_of, mixed
from delaminate.nets.unet import UNet
from delaminate.refinement.crf import mean_vote
from delaminate.rng import stream
from delaminate.scene.edits import contrast
from delaminate.scene.layers import Layers

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


class PerturbGANModel(Method):
    """Layered generators, discriminator, encoder and segmenter, and what they make of noise and images."""

    name = "perturbgan"
    config: Config
    ema_prefixes = ("generator.",)

    def __init__(self, config: Config, seed: int = 0) -> None:
        super().__init__(config, seed)
        c, rng, side = config, stream(seed, "weights"), config.image_size[0]
        self.generator = LayeredGenerator(c, rng)
        self.discriminator = StyleDiscriminator(side, c.width, c.max_channels, c.growing, rng)
        self.encoder = Encoder(c, rng) if c.encoder_steps else None
        self.augments = False
        depth = min(level_of(side), 4)
        self.segmenter = UNet(1, c.segmenter_width, depth, rng) if c.segmenter_steps else None
        self.teacher = UNet(1, c.segmenter_width, depth, rng).requires_grad_(False) if c.self_training_steps else None
        weights_channels_last(self)
        first = level_of(c.first_side if c.growing else side)
        self.register_buffer("grown", torch.tensor([float(first), 1.0]))  # level in use, and its share
        self.register_buffer("centre", torch.zeros(c.num_styles, c.noise_width))  # mean styles
        self.register_buffer("trained", torch.tensor([1.0, 0.0, 0.0]))  # generator, encoder, segmenter
        # Running sums of what tells of a collapse (`update_monitor`), and of their weights last.
        self.register_buffer("signals", torch.zeros(10))
        self.grown: Tensor
        self.centre: Tensor
        self.trained: Tensor
        self.signals: Tensor

    def precision(self, images: Tensor) -> AbstractContextManager[object]:
        """In which networks compute."""
        return precision(images.device, self.config.bf16)

    def growth(self, context: StepContext) -> GrowthLevel:
        """How far the networks have grown at a step: while growing, a new level fades in during half its stage."""
        if not context.stage.startswith("layers-"):
            return GrowthLevel(level_of(self.config.image_size[0]))
        side = int(context.stage.removeprefix("layers-"))
        first = side == self.config.first_side
        return GrowthLevel(level_of(side), 1.0 if first else min(1.0, context.step / max(context.steps // 2, 1)))

    # --- layers -------------------------------------------------------------------------------------------------------

    def noise(self, count: int, rng: Generator, grown: GrowthLevel, mixing: bool = False, rows: slice = WHOLE) -> Noise:
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

    def paint(self, noise: Noise, grown: GrowthLevel) -> tuple[Layers, list[Float[Tensor, "B D"]]]:
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
        return shift_foreground(layers, offset) if c.shift else layers

    def invert(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Layers, Float[Tensor, "S B D"], Float[Tensor, "B 2"]]:
        """Let the encoder find styles and shift of images in [-1, 1], and paint what they stand for, shifted."""
        assert self.encoder is not None
        grown = GrowthLevel(level_of(self.image_size[0]))
        with self.precision(images):
            offsets, place = self.encoder(images)
            found = self.centre[:, None] + offsets.to(images.dtype)  # S B D
            styles = [found[min(trunk, len(found) - 1)] for trunk in range(self.config.num_trunks)]
            layers = self.generator([s[:, None].expand(-1, grown.level + 1, -1) for s in styles], None, grown)
        place = place.to(images.dtype)
        return shift_foreground(layers, place * self.image_size[0]), found, place

    def segment(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
        """Logits of the segmenter for images in [-1, 1]."""
        assert self.segmenter is not None
        with self.precision(images):
            return self.segmenter(images).to(images.dtype)

    @torch.no_grad()
    def pseudo_labels(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
        """How likely the teacher deems every pixel of images in [-1, 1] the object's: half by itself, half by alike pixels."""
        assert self.teacher is not None
        with self.precision(images):
            both = (self.teacher(images) + self.teacher(images.flip(-1)).flip(-1)).to(images.dtype)
        own = torch.sigmoid(both / 2)
        return (own + mean_vote((images + 1) / 2, own, VOTERS)) / 2

    def score(self, images: Float[Tensor, "B 3 H W"], grown: GrowthLevel, halves: int = 1) -> Float[Tensor, " B"]:
        """Score images in [-1, 1] of the level's size; high is real."""
        with self.precision(images):
            return self.discriminator(images, grown.level, grown.fade, halves).to(images.dtype)

    def painted_steps(self, context: StepContext) -> tuple[int, int]:
        """Steps of the generators that are done, over all resolutions, and how many there are."""
        if not self.config.growing:
            return context.step, self.config.steps
        stages = [stage for stage in self.stages() if stage.name.startswith("layers")]
        before = [stage.name for stage in stages].index(context.stage)
        return context.step + sum(stage.steps for stage in stages[:before]), sum(stage.steps for stage in stages)

"""ReDO: a region is an object if it can be repainted and the photo still looks real.

A mask network divides photos into regions; for each region a generator repaints what lies inside, from noise, and a
discriminator compares the result with real photos. An encoder must recover the noise, so that generators cannot ignore
it by painting nothing. Chen, Artières and Denoyer, Unsupervised Object Segmentation by Redrawing, NeurIPS 2019.
"""

import math
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from delaminate.methods.base import Method
from delaminate.methods.players import StepContext
from delaminate.methods.redo.config import Config
from delaminate.methods.redo.networks import MaskNetwork, RegionGenerator, ResidualDiscriminator
from delaminate.nets.precision import channels_last, precision, weights_channels_last
from delaminate.objectives.augment import augment
from delaminate.refinement.crf import refine
from delaminate.rng import stream
from delaminate.scene.compositing import composite
from delaminate.scene.edits import redraw
from delaminate.scene.layers import Layers

WINDOW = 500
"""Steps over which the areas of regions and their indecision are averaged."""
LOOKS = 10
"""Snapshots in a row that must agree before training ends early."""
LOGIT_BIAS = math.log(2)
"""Added to the logits of a region that shares what another one wins: it wins with half of the other's mask."""
TEACHERS = 16
"""Voters along a side of a photo while masks are refined to be learned from: a quarter of the work."""


class ReDOModel(Method):
    """Mask network, region generators, discriminator and encoder of z, and what they make of images."""

    name = "redo"
    config: Config
    ema_prefixes = ("masks.",)

    def __init__(self, config: Config, seed: int = 0) -> None:
        super().__init__(config, seed)
        c, rng, side = config, stream(seed, "weights"), config.image_size[0]
        self.masks = MaskNetwork(side, c.num_regions, c.mask_width, rng, c.gain, c.mask_halvings, c.centre_prior)
        self.generators = nn.ModuleList(
            RegionGenerator(side, c.generator_width, c.noise_width, rng, c.gain) for _ in range(c.num_regions)
        )
        self.discriminator = ResidualDiscriminator(side, c.discriminator_width, 1, True, rng, c.gain)
        recovered = c.num_regions * c.noise_width
        self.encoder = ResidualDiscriminator(side, c.discriminator_width, recovered, False, rng, c.gain)
        self.augments = False
        weights_channels_last(self)
        self.register_buffer("border", torch.zeros(c.num_regions))  # each region's share of the border, running mean
        self.register_buffer("areas", torch.full((WINDOW, c.num_regions), 1 / c.num_regions))  # pixels won, last steps
        self.register_buffer("indecision", torch.zeros(WINDOW))  # mean entropy of masks, in the last steps
        self.register_buffer("snapshot", self._flat())
        self.register_buffer("agreement", torch.zeros(LOOKS))  # of the last snapshots with the masks after them
        self.register_buffer("head_start", torch.zeros(c.num_regions))  # added to the logits of masks that teach
        self.register_buffer("paints", torch.ones(()))  # 0: loaded without its generators
        self.border: Tensor
        self.head_start: Tensor
        self.paints: Tensor
        self.areas: Tensor
        self.indecision: Tensor
        self.snapshot: Tensor
        self.agreement: Tensor

    def precision(self, images: Tensor) -> AbstractContextManager[object]:
        """In which networks compute."""
        return precision(images.device, self.config.bf16)

    # --- layers -------------------------------------------------------------------------------------------------------

    def regions(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B n 1 H W"]:
        """Divide images in [0, 1] into masks that sum to one, in the order of the generators."""
        with self.precision(images):
            return self.masks(channels_last(2 * images - 1)).to(images.dtype)

    @torch.no_grad()
    def distillation_targets(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B n 1 H W"]:
        """What refining makes of the masks of the snapshot, once ties are broken."""
        masks = with_logit_bias(self._before(images), self.head_start)
        return refine(images, masks, self.config.refine_weight, TEACHERS)

    @torch.no_grad()
    def break_ties(self, images: Float[Tensor, "B 3 H W"], context: StepContext) -> None:
        """Raise the logits of regions that share what another one wins, if the smallest region wins more then.

        Two regions may hold the background half and half, and what either paints there is believed. If one of them has an
        object besides, and wins the background by a hair, the other is left with next to nothing. Then it gets the background.
        """

        masks = self._before(images)
        self.head_start.zero_()
        held, first = context.mean(masks.mean((0, 2, 3, 4))), context.mean(region_area(masks))
        least = first.min()
        for region in first.argsort().tolist():
            tried = self.head_start.clone()
            tried[region] = LOGIT_BIAS
            smallest = context.mean(region_area(with_logit_bias(masks, tried))).min()
            if first[region] < held[region] / 4 and smallest > least:
                self.head_start.copy_(tried)
                least = smallest

    def paint(self, masks: Float[Tensor, "B n 1 H W"], noise: Float[Tensor, "B n z"]) -> Float[Tensor, "B n 3 H W"]:
        """Repaint every region: colours in [0, 1], to be seen through the masks."""
        with self.precision(masks):
            painted = [generator(masks[:, k], noise[:, k]) for k, generator in enumerate(self.generators)]
        return (torch.stack(painted, 1).to(masks.dtype) + 1) / 2

    def redrawn(
        self,
        images: Float[Tensor, "B 3 H W"],
        masks: Float[Tensor, "B n 1 H W"],
        painted: Float[Tensor, "B n 3 H W"],
    ) -> Float[Tensor, "B n 3 H W"]:
        """Redraw one region at a time: the photo as layer 0, the region with its new colour in front of it."""
        count = masks.shape[1]
        photo = images[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1)  # Bn 3 H W
        alpha = torch.stack([torch.ones_like(masks), masks], 2).flatten(0, 1)  # Bn 2 1 H W
        stack = Layers(torch.stack([photo, photo], 1), alpha, background=True)
        return composite(redraw(stack, 1, painted.flatten(0, 1))).unflatten(0, (-1, count))

    def order(self) -> list[int]:
        """Regions from back to front: the one with the largest share of the border is the background."""
        back = int(self.border.argmax())
        return [back, *(k for k in range(self.config.num_regions) if k != back)]

    def recover(self, masks: Float[Tensor, "B n 1 H W"], painted: Float[Tensor, "B n 3 H W"]) -> Float[Tensor, "B n z"]:
        """Read every region's noise off an image in which all regions are redrawn."""
        whole = (masks * painted).sum(1)
        with self.precision(whole):
            return (
                self.encoder(channels_last(2 * whole - 1)).to(whole.dtype).unflatten(1, (self.config.num_regions, -1))
            )

    def shown(self, images: Float[Tensor, "B 3 H W"], context: StepContext, rng: Generator) -> Float[Tensor, "B 3 H W"]:
        """What the discriminator sees of images in [0, 1]: in [-1, 1], and changed at random where that is asked for."""
        images = 2 * images - 1
        if not self.augments:
            return images
        first = context.local_slice.start * context.processes * len(images) // context.batch
        return augment(images, rng, slice(first, first + len(images)), context.processes * len(images))

    def discriminate(self, shown: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
        """Score images; high is real."""
        with self.precision(shown):
            return self.discriminator(channels_last(shown)).to(shown.dtype)[:, 0]

    @torch.no_grad()
    def update_monitor(self, masks: Float[Tensor, "B n 1 H W"], context: StepContext) -> None:
        """Note how large regions are, which lie at the border, and how undecided pixels are."""
        edge = torch.cat([masks[..., 0, :], masks[..., -1, :], masks[..., :, 0], masks[..., :, -1]], -1)
        entropy = -torch.xlogy(masks, masks).sum(1).mean() / math.log(self.config.num_regions)
        # By the pixels that a region wins: one that is thin grey everywhere is gone.
        seen = torch.stack([region_area(masks), edge.mean((0, 2, 3)), entropy.expand(masks.shape[1])])  # 3 n
        area, border, undecided = context.mean(seen)
        self.areas[context.step % WINDOW] = area
        self.border.lerp_(border, 0.01)
        self.indecision[context.step % WINDOW] = undecided[0]

    @torch.no_grad()
    def _flat(self) -> Float[Tensor, " W"]:
        """All weights of the mask network in a row."""
        return torch.cat([parameter.flatten() for parameter in self.masks.parameters()])

    @torch.no_grad()
    def _before(self, photos: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B n 1 H W"]:
        """Masks by the snapshot."""
        parts = self.snapshot.split([parameter.numel() for parameter in self.masks.parameters()])
        before = {
            name: part.view_as(parameter)
            for part, (name, parameter) in zip(parts, self.masks.named_parameters(), strict=True)
        }
        with self.precision(photos):
            return torch.func.functional_call(self.masks, before, (channels_last(2 * photos - 1),)).to(photos.dtype)


def region_area(masks: Float[Tensor, "B n 1 H W"]) -> Float[Tensor, " n"]:
    """Share of the pixels that each region wins: where its mask is the largest."""
    return F.one_hot(masks.argmax(1), masks.shape[1]).to(masks).mean((0, 1, 2, 3))


def with_logit_bias(masks: Float[Tensor, "B n 1 H W"], head_start: Float[Tensor, " n"]) -> Float[Tensor, "B n 1 H W"]:
    """Masks once something has been added to the logits of each region; they sum to one."""
    return (masks.clamp_min(1e-6).log() + head_start[:, None, None, None]).softmax(1)

"""PerturbGAN: an object is what may be moved a little before its background without harm to the picture.

From noise, style-based generators paint a background, a foreground and its mask. The foreground is shifted at random
before a discriminator sees the composite, and the generators do not know by how much; only whole objects survive that,
so the mask becomes an object's. Then a network learns to find what was painted: an encoder that inverts the generators,
or a segmenter that is taught by them. Bielski and Favaro, Emergence of Object Segmentation in Perturbed Generative
Models, NeurIPS 2019.
"""

from collections.abc import Mapping as Names
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from delaminate.errors import ConfigError
from delaminate.methods.base import Carry, Method, Stage
from delaminate.methods.perturbgan.config import Config
from delaminate.nets.resnet import ResNet, pooled
from delaminate.nets.stylegan import Mapping, StyleDiscriminator, Synthesis, draw_noise, level_of, mixed
from delaminate.nets.unet import UNet
from delaminate.rng import stream
from delaminate.scene.compositing import composite
from delaminate.scene.edits import contrast, shift
from delaminate.scene.layers import Layers
from delaminate.scene.placements import Decomposition, Dictionary, Placement, Transform

LAYERS, ENCODER, SEGMENTER = "layers", "encoder", "segmenter"
PARTS = ("generator", ENCODER, SEGMENTER)
WATCH_EVERY = 10
"""Steps between two looks at the signals of a collapse."""


@dataclass(frozen=True)
class Grown:
    """How far the networks have grown: the level in use, and its share beside the level before it."""

    level: int
    fade: float = 1.0

    @property
    def side(self) -> int:
        return 4 * 2**self.level


@dataclass(frozen=True)
class Noise:
    """What scenes are made of.

    Attributes:
        z: One or two draws (the second for style mixing), of one or two sources, shape (T, S, B, Z).
        takes_second: Which levels of which trunk take the second draw, shape (G, levels), or None.
        maps: Per-pixel noise, per trunk and level.
    """

    z: Float[Tensor, "T S B Z"]
    takes_second: Bool[Tensor, "G levels"] | None
    maps: list[list[Tensor]]


class LayeredGenerator(nn.Module):
    """One or two trunks that paint background, foreground and mask. Colours are in [-1, 1], about."""

    def __init__(self, config: Config, rng: Generator) -> None:
        super().__init__()
        c, side = config, config.image_size[0]
        mappings = 2 if c.layout == "two" else 1
        self.mappings = nn.ModuleList(Mapping(c.noise_width, c.mapping_depth, rng) for _ in range(mappings))
        self.trunks = nn.ModuleList(
            Synthesis(side, outputs, c.width, c.most_channels, c.noise_width, c.growing, rng)
            for outputs in ((7,) if c.layout == "one" else (3, 4))
        )

    def styles(self, z: Float[Tensor, "S B Z"]) -> list[Float[Tensor, "B W"]]:
        """Make the style of every trunk."""
        return [
            self.mappings[min(trunk, len(self.mappings) - 1)](z[min(trunk, len(z) - 1)])
            for trunk in range(len(self.trunks))
        ]

    def forward(
        self, styles: list[Float[Tensor, "B levels W"]], maps: list[list[Tensor]] | None, grown: Grown
    ) -> Layers:
        """Paint background and foreground, with colours in [-1, 1], about."""
        painted = torch.cat(
            [
                trunk(style, None if maps is None else maps[index], grown.level, grown.fade)
                for index, (trunk, style) in enumerate(zip(self.trunks, styles, strict=True))
            ],
            1,
        ).float() if torch.is_autocast_enabled() else torch.cat(
            [
                trunk(style, None if maps is None else maps[index], grown.level, grown.fade)
                for index, (trunk, style) in enumerate(zip(self.trunks, styles, strict=True))
            ],
            1,
        )  # B 7 H W
        mask = torch.sigmoid(painted[:, 6:])
        rgb = torch.stack([painted[:, :3], painted[:, 3:6]], 1)  # B 2 3 H W
        return Layers(rgb, torch.stack([torch.ones_like(mask), mask], 1), background=True)

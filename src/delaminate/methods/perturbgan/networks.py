"""What PerturbGAN learns with: the generators of layers, and the encoder that inverts them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from delaminate.methods.perturbgan.config import Config
from delaminate.nets.blocks import centred
from delaminate.nets.precision import channels_last
from delaminate.nets.resnet import ResNet, pooled
from delaminate.nets.stylegan import Mapping, Synthesis
from delaminate.scene.edits import shift
from delaminate.scene.layers import Layers

Maps = list[list[Tensor] | None]


@dataclass(frozen=True)
class GrowthLevel:
    """How far the networks have grown: the level in use, and its share beside the level before it."""

    level: int
    fade: float = 1.0

    @property
    def side(self) -> int:
        return 4 * 2**self.level


class LayeredGenerator(nn.Module):
    """One or two trunks that paint background, foreground and mask."""

    def __init__(self, config: Config, rng: Generator) -> None:
        super().__init__()
        c, mappings = config, 2 if config.layout == "two" else 1
        self.centre_prior = c.centre_prior
        self.mappings = nn.ModuleList(Mapping(c.noise_width, c.mapping_depth, rng) for _ in range(mappings))
        self.trunks = nn.ModuleList(
            Synthesis(
                c.image_size[0],
                outputs,
                c.width,
                c.max_channels,
                c.noise_width,
                c.growing,
                rng,
                c.style_input,
                c.skip_outputs,
            )
            for outputs in ((7,) if c.layout == "one" else (3, 4))
        )

    def styles(self, z: Float[Tensor, "S B Z"]) -> list[Float[Tensor, "B D"]]:
        """Make the style of every trunk."""
        return [
            self.mappings[min(trunk, len(self.mappings) - 1)](z[min(trunk, len(z) - 1)])
            for trunk in range(len(self.trunks))
        ]

    def forward(self, styles: list[Float[Tensor, "B levels D"]], maps: Maps | None, grown: GrowthLevel) -> Layers:
        """Paint background and foreground; colours have no bounds, the discriminator takes them to be in [-1, 1]."""
        painted = [
            trunk(style, None if maps is None else maps[index], grown.level, grown.fade)
            for index, (trunk, style) in enumerate(zip(self.trunks, styles, strict=True))
        ]
        flat = torch.cat(painted, 1).to(next(self.parameters()).dtype)  # B 7 H W
        logits = flat[:, 6:]
        if self.centre_prior:
            logits = logits + self.centre_prior * centred(logits)
        mask = torch.sigmoid(logits)
        rgb = torch.stack([flat[:, :3], flat[:, 3:6]], 1)  # B 2 3 H W
        return Layers(rgb, torch.stack([torch.ones_like(mask), mask], 1), background=True)


class Encoder(nn.Module):
    """Find the styles and the shift of images: a residual network with group normalisation, and one linear map.

    Made and real images share a batch, which would mix the statistics of batch normalisation.
    """

    def __init__(self, config: Config, rng: Generator) -> None:
        super().__init__()
        c = config
        self.reach, self.styles = c.shift, c.num_styles
        self.body = ResNet(c.encoder_depth, rng, norm=lambda channels: nn.GroupNorm(channels // 8, channels))
        self.grid = min(4, max(c.image_size[0] // self.body.stride, 1))
        features, outputs = self.body.width * self.grid**2, c.num_styles * c.noise_width + 2
        self.weight = nn.Parameter(torch.empty(outputs, features).normal_(std=features**-0.5, generator=rng))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "S B D"], Float[Tensor, "B 2"]]:
        """Styles as they differ from the mean, and the shift as a share of the canvas; images in [-1, 1]."""
        found = F.linear(pooled(self.body(channels_last(images)), self.grid), self.weight, self.bias)
        styles = found[:, :-2].unflatten(1, (self.styles, -1)).transpose(0, 1)  # S B D
        return styles, self.reach * torch.tanh(found[:, -2:])


def shift_foreground(layers: Layers, offset: Float[Tensor, "B 2"] | Int[Tensor, "B 2"]) -> Layers:
    """Shift the foreground by dx to the right and dy downwards in pixels; the background stays."""
    front = shift(Layers(layers.rgb[:, 1:], layers.alpha[:, 1:]), offset[:, None])
    rgb, alpha = torch.cat([layers.rgb[:, :1], front.rgb], 1), torch.cat([layers.alpha[:, :1], front.alpha], 1)
    return Layers(rgb, alpha, background=True)

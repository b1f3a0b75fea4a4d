"""A method of one's own in one file: an image divides into regions of one colour each.

A U-Net says which of K regions a pixel belongs to, and each region is painted in its mean colour. A package offers it by
the entry point `colour-regions = "fifth_method:ColourRegions"` of the group `delaminate.methods`, a notebook by
`delaminate.METHODS.register(ColourRegions)`; then the command line and Python know it by its name.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Generator, Tensor

import delaminate
from delaminate import Decomposition, Method, MethodConfig
from delaminate.config import setting
from delaminate.methods.players import GradientPlayer, ParameterGroup, Stage, StepContext
from delaminate.nets.unet import UNet
from delaminate.rng import stream
from delaminate.scene.compositing import from_partition


@dataclass(frozen=True, kw_only=True)
class Config(MethodConfig):
    method = "colour-regions"
    image_size: tuple[int, int] = setting((32, 32), "Height and width of the canvas.", minimum=8, multiple_of=4)
    steps: int = setting(300, "Steps of training.", minimum=1)
    learning_rate: float = setting(3e-3, "Of the U-Net.", minimum=0)
    num_regions: int = setting(4, "Regions of an image, K.", minimum=2, maximum=64)
    width: int = setting(16, "Channels of the U-Net at full resolution.", minimum=8, multiple_of=8)


PRESETS = {"colour-regions": Config()}


class ColourRegions(Method):
    """Divides images into regions of one colour each."""

    name = "colour-regions"
    presets = PRESETS

    def __init__(self, config: Config, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.network = UNet(config.num_regions, config.width, 2, stream(seed, "weights"))

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("train", self.config.steps, self.config.batch, (RegionPlayer(self),)),)

    def masks(self, images: Tensor) -> Float[Tensor, "B K 1 H W"]:
        return self.network(2 * images - 1).softmax(1)[:, :, None]

    def squared_error(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        masks = self.masks(images)
        return ((masks * mean_colours(images, masks)).sum(1) - images).square()

    @torch.no_grad()
    def error(self, images: Float[Tensor, "B 3 H W"], stage: str) -> Float[Tensor, " B"]:
        return self.squared_error(images).mean((1, 2, 3))

    def _decompose(self, images: Float[Tensor, "B 3 H W"], by: str) -> Decomposition:
        masks = self.masks(images)
        masks = torch.zeros_like(masks).scatter_(1, masks.argmax(1, keepdim=True), 1.0)  # one region to a pixel
        edge = masks[..., 0, :].sum((2, 3)) + masks[..., -1, :].sum((2, 3))  # the most of the border: the background
        masks = masks.gather(1, edge.argsort(1, descending=True)[:, :, None, None, None].expand_as(masks))
        layers = from_partition(mean_colours(images, masks).expand(-1, -1, 3, *images.shape[2:]), masks, True)
        return Decomposition.from_rasters(torch.cat([layers.rgb, layers.alpha], 2), background=True)


def mean_colours(images: Tensor, masks: Float[Tensor, "B K 1 H W"]) -> Float[Tensor, "B K 3 1 1"]:
    return (masks * images[:, None]).sum((3, 4), keepdim=True) / masks.sum((3, 4), keepdim=True).clamp_min(1e-6)


class RegionPlayer(GradientPlayer):
    name = "regions"

    def __init__(self, model: ColourRegions) -> None:
        self.model = model

    def groups(self) -> tuple[ParameterGroup, ...]:
        return (ParameterGroup("network", tuple(self.model.network.parameters()), self.model.config.learning_rate),)

    def turn(self, images: Tensor, rng: Generator, context: StepContext) -> dict[str, Tensor]:
        return {"error": self.model.squared_error(images).mean()}


def main(out: Path, steps: int = 300) -> float:
    images = delaminate.draw("objects-on-texture", 600, size=(32, 32))
    run = delaminate.train(images, ColourRegions, out=out / "run", settings={"steps": steps})
    found = delaminate.decompose(run.model, images, out / "scenes", limit=8)
    delaminate.export(found, out / "layers", "png,html")
    return float(delaminate.evaluate(run.model, images, count=100)["iou"])


if __name__ == "__main__":
    print("overlap with the drawn objects:", main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/fifth-method")))

"""Another encoder for DTI-Sprites: three plain convolutions in the place of a residual network.

python examples/new_encoder.py OUT
"""

import sys
from itertools import pairwise
from pathlib import Path

import torch.nn.functional as F
from torch import Generator, Tensor, nn

import delaminate
from delaminate import DTISprites
from delaminate.nets.resnet import ImageEncoder


class PlainEncoder(ImageEncoder):
    """Halves an image three times. Heads are sized from `width`, positions read with `stride`."""

    width, stride = 48, 8

    def __init__(self, rng: Generator) -> None:
        super().__init__()
        channels = (3, 16, 32, self.width)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(channels)
        )
        for parameter in self.parameters():  # every random number comes from the model's own stream
            parameter.data.uniform_(-0.1, 0.1, generator=rng)

    def forward(self, images: Tensor) -> Tensor:
        for layer in self.layers:
            images = F.relu(layer(images))
        return images


class PlainSprites(DTISprites):
    def build_encoder(self, config: object, rng: Generator) -> ImageEncoder:
        return PlainEncoder(rng)


def main(out: Path, steps: int = 200) -> float:
    settings = {"steps": steps, "num_sprites": 6, "frozen_steps": 0}
    run = delaminate.train("tetrominoes", PlainSprites, "tetrominoes-paper", settings=settings, count=500, out=out)
    again = PlainSprites.from_pretrained(out)
    images = delaminate.draw("tetrominoes", 4, split="dev").images.batch(range(4))
    assert (again.decompose(images).composite() - run.model.decompose(images).composite()).abs().max() < 1e-6
    return float((run.model.decompose(images).composite() - images).square().mean())


if __name__ == "__main__":
    print("mean squared error:", main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/new-encoder")))

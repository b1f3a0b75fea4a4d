"""One more loss for DTI-Sprites: sprites whose alphas have short outlines.

python examples/new_loss.py OUT
"""

import sys
from dataclasses import replace
from pathlib import Path

from torch import Generator, Tensor

import delaminate
from delaminate import DTISprites
from delaminate.methods.dti_sprites.training import Refiner
from delaminate.methods.players import Stage, StepContext
from delaminate.objectives.priors import total_variation

WEIGHT = 0.02


class SmoothRefiner(Refiner):
    """The paper's training, and the length of the outlines of all sprites."""

    def turn(self, images: Tensor, rng: Generator, context: StepContext) -> dict[str, Tensor]:
        terms = super().turn(images, rng, context)
        return terms | {"outlines": WEIGHT * total_variation(self.model.sprites_alpha)}


class SmoothSprites(DTISprites):
    """DTI-Sprites with smooth sprites. It keeps the name, so its models are models of dti-sprites, too."""

    def stages(self) -> tuple[Stage, ...]:
        *before, refine = super().stages()
        return (*before, replace(refine, players=(SmoothRefiner(self),)))


def main(out: Path, steps: int = 200) -> float:
    settings = {"steps": steps, "num_sprites": 6, "frozen_steps": 0}
    run = delaminate.train("tetrominoes", SmoothSprites, "tetrominoes-paper", settings=settings, count=500, out=out)
    again = SmoothSprites.from_pretrained(out)
    images = delaminate.draw("tetrominoes", 4, split="dev").images.batch(range(4))
    difference = (again.decompose(images).composite() - run.model.decompose(images).composite()).abs().max()
    assert difference < 1e-6, "a stored model does what the trained one does"
    return float(total_variation(again.sprites_alpha.detach()))


if __name__ == "__main__":
    print("length of outlines:", main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/new-loss")))

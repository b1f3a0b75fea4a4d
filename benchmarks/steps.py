"""One training step as the engine does it, for the benchmarks of speed."""

from collections.abc import Callable

import torch
from torch import Tensor

from delaminate.engine.optimizer import PlayerOptimizer
from delaminate.methods.base import Method
from delaminate.methods.players import GradientPlayer, StepContext
from delaminate.rng import stream


def stepper(method: Method, images: Tensor) -> Callable[[StepContext], None]:
    """Return what takes a step of the first stage: every player's turn, backward pass and update, on images (B, 3, H, W)."""
    players = [player for player in method.stages()[0].players if isinstance(player, GradientPlayer)]
    optimisers = [PlayerOptimizer(player) for player in players]

    def step(now: StepContext) -> None:
        for player, optimiser in zip(players, optimisers, strict=True):
            with optimiser.alone(method):
                loss = torch.stack(list(player.turn(images, stream(1), now).values())).sum()
                optimiser.step(loss, now)

    return step

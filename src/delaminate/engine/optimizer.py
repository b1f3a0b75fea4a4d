"""A player's optimizer: one Adam for each of its parameter groups."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from delaminate.engine import parallel
from delaminate.methods.base import Method
from delaminate.methods.players import GradientPlayer, StepContext


class PlayerOptimizer:
    """One Adam per parameter group of a gradient player."""

    def __init__(self, player: GradientPlayer) -> None:
        self.player = player
        self.groups = player.groups()
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[player.algorithm]
        self.adams = {
            g.name: kind(g.parameters, lr=g.learning_rate, betas=player.betas, weight_decay=g.weight_decay, fused=True)
            for g in self.groups
        }
        self.parameters = [p for g in self.groups for p in g.parameters]

    @contextmanager
    def alone(self, method: Method) -> Iterator[None]:
        """Let gradients reach this player's parameters only: what is thrown away need not be computed."""
        own = {id(parameter) for parameter in self.parameters}
        others = [p for p in method.parameters() if p.requires_grad and id(p) not in own]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in others:
                parameter.requires_grad_(True)

    def step(self, loss: Tensor, context: StepContext) -> None:
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        parallel.average_gradients(self.parameters)
        if self.player.gradient_clip is not None:
            nn.utils.clip_grad_norm_([p for p in self.parameters if p.grad is not None], self.player.gradient_clip)
        for group in self.groups:
            adam = self.adams[group.name]
            adam.param_groups[0]["lr"] = group.learning_rate * self.player.learning_rate_factor(group.name, context)
            for _ in range(self.player.repeats(group.name)):
                adam.step()

"""Averaged weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """An exponential moving average of those of a module's parameters whose names begin with one of some prefixes.

    average <- decay * average + (1 - decay) * weights, with the decay warmed up as (1 + n) / (10 + n). Buffers are taken as
    they are.
    """

    def __init__(self, module: nn.Module, decay: float, prefixes: tuple[str, ...] = ("",)) -> None:
        self.decay = decay
        self.prefixes = prefixes
        self.begin(module)

    def begin(self, module: nn.Module) -> None:
        """Forget everything; start from the weights as they are."""
        self.count = 0
        self.weights = {name: p.detach().clone() for name, p in self._chosen(module)}

    def _chosen(self, module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in module.named_parameters() if name.startswith(self.prefixes))

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        for name, parameter in self._chosen(module):
            self.weights[name].lerp_(parameter.detach(), 1 - decay)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Put the averaged weights in place for a while."""
        own = {name: p.detach().clone() for name, p in self._chosen(module)}
        self.put(module)
        try:
            yield
        finally:
            self._copy(module, own)

    def put(self, module: nn.Module) -> None:
        """Put the averaged weights in place for good."""
        self._copy(module, self.weights)

    @torch.no_grad()
    def _copy(self, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self._chosen(module):
            parameter.copy_(weights[name])

    def state(self) -> dict[str, Tensor]:
        return {**self.weights, "_count": torch.tensor(self.count)}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the averages that `state` gave, of the same weights.

        Raises:
            LookupError, RuntimeError: They are of others.
        """
        self.count = int(state["_count"])
        for name, weight in self.weights.items():
            weight.copy_(state[name])

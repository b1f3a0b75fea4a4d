"""Players and stages: who learns, when, and what lives for one step."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Generator, Tensor, nn


class InterruptedTurn(Exception):
    """A turn was asked to stop; the state of its player says how far it has come."""


def _never() -> bool:
    return False


def _silent(figures: Mapping[str, float], sprites: Callable[[], Sequence[Tensor]]) -> None:
    pass


@dataclass
class StepContext:
    """What lives for one step and is handed from player to player.

    Attributes:
        stage: Name of the stage.
        step: Steps of this stage that are done.
        steps: Steps of this stage in all.
        local_slice: Slice of the global batch that this process holds.
        batch: Size of the global batch.
        values: Whatever one player leaves for the next.
        all_reduce: Sums a tensor over all processes.
        all_gather: Joins the batches of all processes, in their order.
        should_stop: Whether a long turn should end by `InterruptedTurn`; asked as often as one likes.
        progress: Takes figures of a turn that goes on, and what makes its sprites so far, each (4, h, w), RGBA in [0, 1]; a
            checkpoint may be written meanwhile.
    """

    stage: str
    step: int
    steps: int
    local_slice: slice
    batch: int
    values: dict[str, Any] = field(default_factory=dict)
    all_reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor
    all_gather: Callable[[Tensor], Tensor] = lambda tensor: tensor
    should_stop: Callable[[], bool] = _never
    progress: Callable[[Mapping[str, float], Callable[[], Sequence[Tensor]]], None] = _silent

    @property
    def processes(self) -> int:
        """How many processes share the batch."""
        return self.batch // (self.local_slice.stop - self.local_slice.start)

    def half(self) -> "StepContext":
        """The same step on half of the batch: of every two images the process holds one."""
        held = slice(self.local_slice.start // 2, self.local_slice.stop // 2)
        return replace(self, local_slice=held, batch=self.batch // 2)

    def local(self, drawn: Tensor, like: Tensor) -> Tensor:
        """This process's slice of what was drawn for the whole batch, so that many processes draw what one draws.

        Floats get the type of `like`, all numbers its device.
        """
        own = drawn[self.local_slice]
        return own.to(like) if own.is_floating_point() else own.to(like.device)

    def randn(self, rng: Generator, *shape: int, like: Tensor) -> Tensor:
        """Draw normal numbers of a shape for each image."""
        return self.local(torch.randn(self.batch, *shape, generator=rng), like)

    def rand(self, rng: Generator, *shape: int, like: Tensor) -> Tensor:
        """Draw numbers in [0, 1) of a shape for each image."""
        return self.local(torch.rand(self.batch, *shape, generator=rng), like)

    def randint(self, rng: Generator, high: int, *shape: int, like: Tensor) -> Tensor:
        """Draw whole numbers from 0 to below `high` of a shape for each image."""
        return self.local(torch.randint(high, (self.batch, *shape), generator=rng), like)

    def chance(self, rng: Generator, probability: float, like: Tensor) -> Tensor:
        """Say yes to each image with some probability: booleans (B, 1, 1, 1)."""
        return self.local(torch.rand(self.batch, 1, 1, 1, generator=rng) < probability, like)

    def mean(self, own: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
        """Means over the whole batch, given those over this process's images."""
        return self.all_reduce(own) / self.processes

    def divisor(self, count: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Turn sums over this process's things into losses whose average over processes is the mean over all things.

        Args:
            count: How many things this process has.
        """
        return self.all_reduce(count).clamp_min(1) / self.processes

    def excess(self, mean: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
        """relu of means over the whole batch, given those over this process's images.

        Processes average what they get, losses and gradients alike; so each passes its share on, or not, as the whole
        says.
        """
        whole = self.all_reduce(mean.detach().clone())
        return torch.where(whole > 0, mean, torch.zeros_like(mean))


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate: float
    weight_decay: float = 0.0


class Player(ABC):
    """Learns in its turn. Its name is unique in the method."""

    name: str

    @abstractmethod
    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        """Play one turn; return the named loss terms, already weighted. The loop sums them."""


class GradientPlayer(Player):
    """Owns parameter groups; the loop differentiates the sum of its terms and steps its optimiser.

    Attributes:
        algorithm: "adam" (weight decay is an L2 term) or "adamw" (decoupled).
        betas: Decay of Adam's two moments.
        gradient_clip: Largest norm of the gradient over all groups, or None.
    """

    algorithm: Literal["adam", "adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    gradient_clip: float | None = None

    @abstractmethod
    def groups(self) -> tuple[ParameterGroup, ...]:
        """List what this player trains."""

    def learning_rate_factor(self, group: str, context: StepContext) -> float:
        """Factor on a group's learning rate at this step."""
        return 1.0

    def repeats(self, group: str) -> int:
        """Times that the optimiser visits a group per step; 1 but for parity with sloppy originals."""
        return 1


class SearchPlayer(Player):
    """Owns sprites and sufficient statistics; its turn updates them by itself."""

    def preferred(
        self, pixels: UInt8[Tensor, "N 3 H W"], rng: Generator, context: StepContext
    ) -> Int64[Tensor, " B"] | None:
        """Which of all images the whole batch of its next turn should be; None: those that come next.

        Raises:
            InterruptedTurn: It was asked to stop; asked again, it says the same.
        """
        return None

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on exactly."""

    @abstractmethod
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state returned by `state`."""


@dataclass(frozen=True)
class Stage:
    """A named stretch of training.

    Attributes:
        name: Unique in the method.
        steps, batch: How long it is, and images in a step.
        players: Take their turns in this order.
        averages: Averaged weights take the place of the weights themselves when the stage begins, and the mean begins
            over: it learns from what is finished.
        continues: Optimizers keep their state from the stage before, whose players are the same.
        batch_setting: Which setting `batch` comes from; empty: NAME_batch, or `batch` where there is no such setting.
    """

    name: str
    steps: int
    batch: int
    players: tuple[Player, ...]
    averages: bool = False
    continues: bool = False
    batch_setting: str = ""

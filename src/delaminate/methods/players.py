"""Players and stages: who learns, when, and what lives for one step."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn


@dataclass
class Carry:
    """What lives for one step and is handed from player to player.

    Attributes:
        stage: Name of the stage.
        step: Steps of this stage that are done.
        steps: Steps of this stage in all.
        share: Slice of the global batch that this process holds.
        batch: Size of the global batch.
        values: Whatever one player leaves for the next.
        all_reduce: Sums a tensor over all processes.
        all_gather: Joins the batches of all processes, in their order.
    """

    stage: str
    step: int
    steps: int
    share: slice
    batch: int
    values: dict[str, Any] = field(default_factory=dict)
    all_reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor
    all_gather: Callable[[Tensor], Tensor] = lambda tensor: tensor

    @property
    def processes(self) -> int:
        """How many processes share the batch."""
        return self.batch // (self.share.stop - self.share.start)

    def mean(self, own: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
        """Means over the whole batch, given those over this process's share."""
        return self.all_reduce(own) / self.processes

    def excess(self, mean: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
        """relu of means over the whole batch, given those over this process's share.

        Processes average what they get, losses and gradients alike; so each passes its share on, or not, as the whole
        says.
        """
        whole = self.all_reduce(mean.detach().clone())
        return torch.where(whole > 0, mean, torch.zeros_like(mean))


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn at one rate."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    rate: float
    weight_decay: float = 0.0


class Player(ABC):
    """Learns in its turn. Its name is unique in the method."""

    name: str

    @abstractmethod
    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, carry: Carry) -> dict[str, Tensor]:
        """Play one turn; return the named loss terms, already weighted. The loop sums them."""


class GradientPlayer(Player):
    """Owns parameter groups; the loop differentiates the sum of its terms and steps its optimiser.

    Attributes:
        algorithm: "adam" (weight decay is an L2 term) or "adamw" (decoupled).
        betas: Decay of Adam's two moments.
        clip: Largest norm of the gradient over all groups, or None.
    """

    algorithm: Literal["adam", "adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = None

    @abstractmethod
    def groups(self) -> tuple[ParameterGroup, ...]:
        """List what this player trains."""

    def rate(self, group: str, carry: Carry) -> float:
        """Factor on a group's rate at this step."""
        return 1.0

    def repeats(self, group: str) -> int:
        """Times that the optimiser visits a group per step; 1 but for parity with sloppy originals."""
        return 1


class SearchPlayer(Player):
    """Owns sprites and sufficient statistics; its turn updates them by itself."""

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
            anew: it learns from what is finished.
        continues: Optimisers keep their state from the stage before, whose players are the same.
        batch_setting: Which setting `batch` comes from; empty: NAME_batch, or `batch` where there is no such setting.
    """

    name: str
    steps: int
    batch: int
    players: tuple[Player, ...]
    averages: bool = False
    continues: bool = False
    batch_setting: str = ""

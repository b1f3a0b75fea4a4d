"""A search that can be watched, stopped and taken up again."""

from collections.abc import Callable
from dataclasses import dataclass, field

from delaminate.matching.exact.templates import HardSprite


class InterruptedSearch(Exception):
    """A search was asked to stop; its `RoundState` says how far it has come."""


def _never() -> bool:
    return False


def _silent(found: int, share: float) -> None:
    pass


@dataclass
class Progress:
    """Is told what a search finds, and asked whether it should go on.

    Attributes:
        should_stop: Asked several times a second.
        tell: Is told how many patterns there are, and the share of what is no background that they explain.
    """

    should_stop: Callable[[], bool] = _never
    tell: Callable[[int, float], None] = _silent

    def check(self) -> None:
        """Raise `InterruptedSearch` if the search should stop."""
        if self.should_stop():
            raise InterruptedSearch


REVISE, SEEK, FINISH = 0, 1, 2


@dataclass
class RoundState:
    """How far a round has come: all that is needed to go on as if nothing had happened.

    Attributes:
        phase: REVISE what is known, SEEK what is missing, or FINISH.
        patterns: The dictionary at the beginning of the phase.
        tried: What the phase has found, in the order in which it was closed in the frames.
        kept: Which of these are patterns of the dictionary; the others explain too little.
        together: So many of the first ones are regions, closed together; the rest were closed one by one.
        attempts: Tries to grow a patch so far, plus one; every one has random numbers of its own. 0: not begun.
        vain: Of these the last ones, in vain.
    """

    phase: int = REVISE
    patterns: list[HardSprite] = field(default_factory=list)
    tried: list[HardSprite] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    together: int = 0
    attempts: int = 0
    vain: int = 0

    @property
    def found(self) -> list[HardSprite]:
        """The dictionary so far."""
        return self.patterns + [pattern for pattern, kept in zip(self.tried, self.kept, strict=True) if kept]

    def enter(self, phase: int, patterns: list[HardSprite]) -> None:
        """Begin a phase."""
        self.phase, self.patterns, self.tried, self.kept = phase, patterns, [], []
        self.together = self.attempts = self.vain = 0

"""Training: stages, players, checkpoints."""

from delaminate.engine.loop import Budget, Outcome, train

__all__ = ["Budget", "Outcome", "train"]

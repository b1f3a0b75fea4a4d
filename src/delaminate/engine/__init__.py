"""Training: stages, players, checkpoints."""

from delaminate.engine.loop import Budget, TrainResult, train

__all__ = ["Budget", "TrainResult", "train"]

"""ReDO, one paper: see `model` for the idea, `config` for the settings."""

from delaminate.methods.redo.config import PRESETS, Config
from delaminate.methods.redo.method import ReDO

__all__ = ["PRESETS", "Config", "ReDO"]

"""PerturbGAN, one paper: see `model` for the idea, `config` for the settings."""

from delaminate.methods.perturbgan.config import PRESETS, Config
from delaminate.methods.perturbgan.model import PerturbGAN

__all__ = ["PRESETS", "Config", "PerturbGAN"]

"""Where layers come from: one paper, one file."""

from typing import Any

from delaminate.methods import dti_sprites, marionette, perturbgan, redo
from delaminate.methods.base import Method
from delaminate.methods.storage import load_model, save_model

METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "dti-sprites": (dti_sprites.DTISprites, dti_sprites.PRESETS),
    "marionette": (marionette.MarioNette, marionette.PRESETS),
    "perturbgan": (perturbgan.PerturbGAN, perturbgan.PRESETS),
    "redo": (redo.ReDO, redo.PRESETS),
}
"""Every method by its name on the command line, with its presets."""

__all__ = ["METHODS", "Method", "load_model", "save_model"]

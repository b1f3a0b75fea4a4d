"""PerturbGAN, one paper: see `model` for the idea, `config` for the settings.

- Departs: photos are resampled from the canvas and not from their files at every resolution.
- Departs: each half of a block has noise of its own; the authors' code uses one map twice.
- Departs: running means of weights are warmed up.
- Departs, but not in `-paper`: losses, masks, layout, and who is the foreground (docs/methods/perturbgan.md has the reasons).
"""

from delaminate.methods.perturbgan.config import PRESETS, Config
from delaminate.methods.perturbgan.method import PerturbGAN

__all__ = ["PRESETS", "Config", "PerturbGAN"]

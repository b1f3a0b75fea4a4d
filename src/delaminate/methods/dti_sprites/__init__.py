"""DTI-Sprites: unsupervised layered image decomposition into object prototypes (Monnier et al., ICCV 2021).

Sprites are free pixels. A network predicts how each layer moves and colours them and who hides whom; the sprite of a layer
is the one that makes the reconstruction error least. Departures from paper and code are marked `Departs:` where they
happen and listed in `docs/methods/dti-sprites.md`.
"""

from delaminate.methods.dti_sprites.config import PRESETS, Config
from delaminate.methods.dti_sprites.method import DTISprites

__all__ = ["PRESETS", "Config", "DTISprites"]

"""MarioNette: self-supervised sprite learning (Smirnov, Gharbi, Fisher, Guizilini, Efros and Solomon, NeurIPS 2021).

Sprites are decoded from a dictionary of codes. A network gives every anchor of a grid, in a few layers, a switch, a mix of
sprites and a small shift, all of them soft in training and hard at test; what it draws over a background is compared with
the image. The paper's sections are followed as far as they go (arXiv v1), and the authors' code 2169016 where it disagrees
or says more: shifts reach s / 2 (paper: k / 2), neighbours overlap in the order of interleaved sub-lattices (paper: at
random), the switch multiplies the sprite after its shift was predicted, and the losses are those of the code.

Departures from both, each with a setting that takes it back where it shapes what is learned:
- Departs: the order of sub-lattices is fixed at test; the original draws it at random even then.
- Departs: colours are averaged and faded premultiplied by alpha (`premultiplied=False`: half-on sprites are darkened).
- Departs: a shifted sprite is drawn whole, in a window of k + s pixels (`clip_window=True`: cut to k pixels). There are
  nine sub-lattices of windows that do not overlap, then, instead of four.
- Departs: the crop of a learned background is hard at test (`soft_background=True`: averaged).
- Departs: canvases have any height and width, at native resolution: they are continued by their edge to whole cells inside.
- Departs: a learned background may be higher than the frame, too; its crop has a row as well as a column.
- Departs: the largest of the five colour clusters is found by a seeded k-means, in a stage of one step.
"""

from delaminate.methods.marionette.config import PRESETS, Config
from delaminate.methods.marionette.method import MarioNette

__all__ = ["PRESETS", "Config", "MarioNette"]

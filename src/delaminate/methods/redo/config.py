"""ReDO: every setting with its meaning, and the presets.

`NAME` is our recommendation, `NAME-paper` the published numbers in sound code, `NAME-parity` adds the original's quirks.
Published numbers: Chen, Artières and Denoyer, Unsupervised Object Segmentation by Redrawing, NeurIPS 2019, with the tables
of its preprint, and the authors' code d6542528.
"""

from dataclasses import dataclass, replace
from typing import Any

from delaminate.config import check_numbers
from delaminate.errors import ConfigError

SIDES = (16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Config:
    """All settings of a ReDO model and its training."""

    image_size: tuple[int, int] = (128, 128)
    """Height and width of the canvas in pixels: a square of 16, 32, 64, 128 or 256. The paper's networks are made for 128;
    smaller canvases leave out the innermost blocks."""
    num_regions: int = 2
    """Regions of an image, n; one of them becomes the background."""

    mask_width: int = 64
    """Channels of the mask network where it is narrowest, a multiple of 4 (Table 2)."""
    mask_halvings: int | None = None
    """How often the mask network halves an image before its residual blocks, 0 to 2; None: until it has 32 pixels a side, but
    at most twice (the paper: 128 to 32). More means smoother masks."""
    disc: float = 0.0
    """Objects are sought in the middle at first: the logit of the first region is this much lower in the middle, and as much
    higher at the nearest edges. The mask network may undo it. For photos of one thing each; 0: anywhere (the paper)."""
    generator_width: int = 32
    """Channels of a region generator's last block, ch: 64 for faces and digits, 32 for flowers and birds."""
    discriminator_width: int = 64
    """Channels of the discriminator's first block, a multiple of 16 (Table 3); the encoder of z has as many."""
    noise_width: int = 32
    """Numbers in a region's noise z: 32, 16 for digits."""
    gain: float = 0.8
    """Of the orthogonal weights that all networks begin with; 0.2 and 1.4 do not train (preprint, section 4)."""

    batch: int = 20
    """Images redrawn in a step, and as many others shown as real ones."""
    steps: int = 40_000
    """Steps of the adversarial training (README of the code: 20,000 to 40,000, stopped early)."""
    warm_steps: int = 0
    """Steps of stage `warm-up`: generators, discriminator and the encoder of z learn with random masks before the mask
    network moves."""
    rate: float = 1e-4
    """Of generators, discriminator and encoder of z."""
    discriminator_rate: float | None = None
    """Of the discriminator; None is `rate` (the paper)."""
    mask_rate: float = 1e-5
    """Of the mask network."""
    mask_decay: float = 1e-4
    """L2 weight decay of the mask network."""
    late_decay: float = 1.0
    """Share of `steps` after which all rates fall to 0 along a line; 1 keeps them (the paper)."""
    betas: tuple[float, float] = (0.0, 0.9)
    """Adam's."""
    noise_weight: float = 5.0
    """Of the error of the recovered z; 15 for faces (section 4.1)."""
    late_noise: float = 1.0
    """Share of `noise_weight` that is left at the end, whither it falls along a line; 1 keeps it (the paper). The weight keeps
    regions from vanishing at first; later it paints noise into what should be flat, and blows thin regions up."""
    redraw_all: bool = True
    """Redraw each region in its turn in every step (the code); False: one region drawn for each image (Algorithm 1)."""
    reuse_fakes: bool = True
    """Show the discriminator the very images that the generators were judged by; False: draw them again after the
    generators' update (the code)."""

    ema: float = 0.999
    """Decay of the running mean of the mask network's weights, which is what decomposes; 0 is none (the paper)."""
    smooth_weight: float = 0.0
    """Of the masks' total variation, mean over regions; it rises from 0 along a line. Without it, masks of photos turn into
    combs and stripes, between whose teeth the photo shows through and makes what is painted look real."""
    area_weight: float = 0.0
    """Of the area barrier: mean of relu(least_area - mean mask), over images and over the batch."""
    least_area: float = 0.05
    """Share of an image below which the barrier pushes."""
    area_steps: int = 2_000
    """Steps in which the barrier's weight falls to 0 along a line."""
    augment_below: int = 0
    """With fewer images than this, the colour, place and wholeness of what the discriminator sees are changed at random, the
    same way for real and redrawn images."""
    refine_weight: float = 0.0
    """Of the votes by which pixels of like colour bring masks to the outlines in a photo (refinement/crf.py), when decomposing
    by `refined` and in stage `distil`; 0: neither is there (the paper)."""
    least_part: float = 1 / 400
    """Of the picture: what hangs together and is smaller is a speck, when decomposing by `despeckled` (refinement/small_regions.py); 0:
    that way is not there, nor is it without `refine_weight`."""
    distil_steps: int = 0
    """Steps of stage `distil`, at the end: the mask network learns what refining has made of its masks."""
    distil_rate: float = 3e-4
    """Of the mask network while distilling; it falls to 0 along half a cosine."""
    bf16: bool = False
    """Compute the networks in bfloat16, where the device has units for it."""

    collapsed_area: float = 0.02
    """A region that wins a smaller share of the pixels than this, over the last 500 steps, has collapsed."""
    undecided: float = 0.95
    """Masks whose entropy, as a share of the highest there can be, is above this over the last 500 steps have collapsed.
    At 0.6 two of three regions share everything."""
    settled: float = 0.0
    """Training ends early once masks 100 steps apart agree in this share of the pixels, ten times in a row; 0: never."""
    watch_from: int = 1_000
    """The first step at which a collapse is answered; not before 500, as its signals are means of so many."""
    restarts: int = 3
    """Times that a collapsed run begins again before it ends as failed; 0: it ends at the first."""

    def __post_init__(self) -> None:
        height, width = self.image_size
        if height != width or height not in SIDES:
            raise ConfigError(f"redo: image_size is {self.image_size}; expected a square of {SIDES} pixels a side.")
        least = {
            "num_regions": 2, "noise_width": 1, "batch": 1, "steps": 1, "warm_steps": 0, "area_steps": 1, "restarts": 0,
            "generator_width": 1, "watch_from": 0, "augment_below": 0, "distil_steps": 0,
        }  # fmt: skip
        check_numbers("redo", self)
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ConfigError(f"redo: {name} is {getattr(self, name)}; expected {lowest} or more.")
        if self.num_regions > 64:
            raise ConfigError(f"redo: num_regions is {self.num_regions}; expected 64 at the most.")
        for name, multiple in (("mask_width", 4), ("discriminator_width", 16)):
            if getattr(self, name) < multiple or getattr(self, name) % multiple:
                raise ConfigError(f"redo: {name} is {getattr(self, name)}; expected a multiple of {multiple}.")
        for name in (
            "ema",
            "least_area",
            "collapsed_area",
            "late_decay",
            "late_noise",
            "undecided",
            "settled",
            "least_part",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"redo: {name} is {getattr(self, name)}; expected 0 to 1.")
        if self.ema == 1:
            raise ConfigError("redo: ema is 1, so that the mean never moves; expected 0 to below 1.")
        if self.gain == 0:
            raise ConfigError("redo: gain is 0; networks of zeros learn nothing.")
        if self.mask_halvings not in (None, 0, 1, 2):
            raise ConfigError(f"redo: mask_halvings is {self.mask_halvings}; expected 0, 1, 2 or null.")
        if self.distil_steps and not self.refine_weight:
            raise ConfigError("redo: distil_steps asks for a refine_weight above 0: there is nothing else to distil.")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"redo: betas are {self.betas}; expected two numbers from 0 to below 1.")


# Nothing is watched in the paper's training, so nothing ends it.
PAPER = Config(ema=0.0, reuse_fakes=False, collapsed_area=0.0, undecided=1.0, restarts=0)
PUBLISHED = {
    "flowers": PAPER,
    "cub": PAPER,
    "lfw": replace(PAPER, generator_width=64, noise_weight=15.0),  # the README of the code forgets the weight
    "flowers-lfw": PAPER,
    "colored-2-mnist": replace(PAPER, num_regions=3, noise_width=16, generator_width=64),
}
OURS: dict[str, Any] = {
    "ema": 0.999, "reuse_fakes": True, "restarts": 3, "area_weight": 20.0, "late_decay": 0.5, "steps": 20_000,
    "augment_below": 5_000, "settled": 0.999, "refine_weight": 10.0, "collapsed_area": 0.02, "undecided": 0.95,
}  # fmt: skip
# Small canvases and networks learn in minutes on a CPU, at higher rates.
SMALL: dict[str, Any] = {
    **OURS, "generator_width": 16, "discriminator_width": 16, "noise_width": 16, "batch": 12, "rate": 1.5e-3,
    "discriminator_rate": 5e-4, "mask_rate": 3e-4, "ema": 0.995,
}  # fmt: skip

PRESETS: dict[str, Config] = {
    "photos": Config(
        image_size=(64, 64), mask_width=32, smooth_weight=2.0, distil_steps=450,
        **(SMALL | {"steps": 2_000, "mask_rate": 2e-4}),
    ),
    # A digit covers about 2 % of the canvas, and the eyes of an eight are a pixel.
    "colored-2-mnist": Config(
        image_size=(32, 32), num_regions=3, mask_width=16, least_area=0.03, distil_steps=300, distil_rate=1e-3,
        **(SMALL | {"discriminator_width": 32, "steps": 2_800, "area_steps": 1_600, "late_noise": 0.05,
           "collapsed_area": 0.008, "least_part": 0.0}),
    ),
    **{
        name: replace(config, distil_steps=1_000, **OURS)
        for name, config in PUBLISHED.items()
        if name != "colored-2-mnist"
    },
    **{f"{name}-paper": config for name, config in PUBLISHED.items()},
    # What the original does otherwise is not offered: nearest-neighbour resampling, and a power iteration at every pass.
    **{f"{name}-parity": config for name, config in PUBLISHED.items()},
}  # fmt: skip

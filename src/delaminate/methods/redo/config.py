"""ReDO: every setting with its meaning, and the presets.

`NAME` is our recommendation, `NAME-paper` the published numbers in sound code, `NAME-parity` adds the original's quirks.
Published numbers: Chen, Artières and Denoyer, Unsupervised Object Segmentation by Redrawing, NeurIPS 2019, with the tables
of its preprint, and the authors' code d6542528.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from delaminate.config import setting
from delaminate.methods.settings import MethodConfig, min_region_area_setting

SIDES = (16, 32, 64, 128, 256)


@dataclass(frozen=True, kw_only=True)
class Config(MethodConfig):
    """All settings of a ReDO model and its training."""

    method: ClassVar[str] = "redo"
    renamed: ClassVar[Mapping[str, str]] = {
        "rate": "learning_rate",
        "distil_rate": "distil_learning_rate",
        "disc": "centre_prior",
        "warm_steps": "warmup_steps",
        "discriminator_rate": "discriminator_learning_rate",
        "mask_rate": "mask_learning_rate",
        "late_noise": "final_noise_factor",
        "late_decay": "decay_from",
        "smooth_weight": "total_variation_weight",
        "least_area": "min_area",
        "least_part": "min_region_area",
        "undecided": "max_indecision",
        "watch_from": "monitor_from",
        "settled": "convergence_agreement",
    }

    image_size: tuple[int, int] = setting(
        (128, 128),
        "Height and width of the canvas in pixels: a square of 16, 32, 64, 128 or 256. The paper's networks are made "
        "for 128; smaller canvases leave out the innermost blocks.",
        unit="px",
        group="regions",
    )
    num_regions: int = setting(
        2,
        "Regions of an image, n; one of them becomes the background.",
        minimum=2,
        maximum=64,
        group="regions",
    )

    mask_width: int = setting(
        64,
        "Channels of the mask network where it is narrowest, a multiple of 4 (Table 2).",
        minimum=4,
        multiple_of=4,
        group="networks",
    )
    mask_halvings: int | None = setting(
        None,
        "How often the mask network halves an image before its residual blocks, 0 to 2; None: until it has 32 pixels "
        "a side, but at most twice (the paper: 128 to 32). More means smoother masks.",
        minimum=0,
        maximum=2,
        group="networks",
    )
    centre_prior: float = setting(
        0.0,
        "Objects are sought in the middle at first: the logit of the first region is this much lower in the middle, "
        "and as much higher at the nearest edges. The mask network may undo it. For photos of one thing each; 0: "
        "anywhere (the paper).",
        minimum=0,
        group="networks",
    )
    generator_width: int = setting(
        32,
        "Channels of a region generator's last block, ch: 64 for faces and digits, 32 for flowers and birds.",
        minimum=1,
        group="networks",
    )
    discriminator_width: int = setting(
        64,
        "Channels of the discriminator's first block, a multiple of 16 (Table 3); the encoder of z has as many.",
        minimum=16,
        multiple_of=16,
        group="networks",
    )
    noise_width: int = setting(
        32,
        "Numbers in a region's noise z: 32, 16 for digits.",
        minimum=1,
        group="networks",
    )
    gain: float = setting(
        0.8,
        "Of the orthogonal weights that all networks begin with; 0.2 and 1.4 do not train (preprint, section 4).",
        above=0,
        group="networks",
    )

    batch: int = setting(
        20,
        "Images redrawn in a step, and as many others shown as real ones.",
        unit="images",
        minimum=1,
        group="training",
    )
    steps: int = setting(
        40_000,
        "Steps of the adversarial training (README of the code: 20,000 to 40,000, stopped early).",
        unit="steps",
        minimum=1,
        group="training",
    )
    warmup_steps: int = setting(
        0,
        "Steps of stage `warm-up`: generators, discriminator and the encoder of z learn with random masks before the "
        "mask network moves.",
        unit="steps",
        minimum=0,
        group="training",
    )
    learning_rate: float = setting(
        1e-4,
        "Of generators, discriminator and encoder of z.",
        minimum=0,
        group="training",
    )
    discriminator_learning_rate: float | None = setting(
        None,
        "Of the discriminator; None is `learning_rate` (the paper).",
        minimum=0,
        group="training",
    )
    mask_learning_rate: float = setting(
        1e-5,
        "Of the mask network.",
        minimum=0,
        group="training",
    )
    mask_decay: float = setting(
        1e-4,
        "L2 weight decay of the mask network.",
        minimum=0,
        group="training",
    )
    decay_from: float = setting(
        1.0,
        "Share of `steps` after which all rates fall to 0 along a line; 1 keeps them (the paper).",
        minimum=0,
        maximum=1,
        group="training",
    )
    betas: tuple[float, float] = setting(
        (0.0, 0.9),
        "Adam's.",
        minimum=0,
        below=1,
        group="training",
    )
    noise_weight: float = setting(
        5.0,
        "Of the error of the recovered z; 15 for faces (section 4.1).",
        minimum=0,
        group="training",
    )
    final_noise_factor: float = setting(
        1.0,
        "Share of `noise_weight` that is left at the end, to which it falls along a line; 1 keeps it (the paper). The "
        "weight keeps regions from vanishing at first; later it paints noise into what should be flat, and blows thin "
        "regions up.",
        minimum=0,
        maximum=1,
        group="training",
    )
    redraw_all: bool = setting(
        True,
        "Redraw each region in its turn in every step (the code); False: one region drawn for each image (Algorithm "
        "1).",
        group="training",
    )
    reuse_fakes: bool = setting(
        True,
        "Show the discriminator the very images that the generators were judged by; False: draw them again after the "
        "generators' update (the code).",
        group="training",
    )

    ema: float = setting(
        0.999,
        "Decay of the running mean of the mask network's weights, which is what decomposes; 0 is none (the paper).",
        minimum=0,
        below=1,
        group="training",
    )
    total_variation_weight: float = setting(
        0.0,
        "Of the masks' total variation, mean over regions; it rises from 0 along a line. Without it, masks of photos "
        "turn into combs and stripes, between whose teeth the photo shows through and makes what is painted look "
        "real.",
        minimum=0,
        group="masks",
    )
    area_weight: float = setting(
        0.0,
        "Of the area barrier: mean of relu(min_area - mean mask), over images and over the batch.",
        minimum=0,
        group="masks",
    )
    min_area: float = setting(
        0.05,
        "Share of an image below which the barrier pushes.",
        minimum=0,
        maximum=1,
        group="masks",
    )
    area_steps: int = setting(
        2_000,
        "Steps in which the barrier's weight falls to 0 along a line.",
        unit="steps",
        minimum=1,
        group="masks",
    )
    augment_below: int = setting(
        0,
        "With fewer images than this, the colour, place and wholeness of what the discriminator sees are changed at "
        "random, the same way for real and redrawn images.",
        unit="images",
        minimum=0,
        group="masks",
    )
    refine_weight: float = setting(
        0.0,
        "Of the votes by which pixels of like colour bring masks to the outlines in a photo (refinement/crf.py), when "
        "decomposing by `refined` and in stage `distil`; 0: neither is there (the paper).",
        minimum=0,
        group="masks",
    )
    min_region_area: float = min_region_area_setting("masks")
    distil_steps: int = setting(
        0,
        "Steps of stage `distil`, at the end: the mask network learns what refining has made of its masks.",
        unit="steps",
        minimum=0,
        group="masks",
    )
    distil_learning_rate: float = setting(
        3e-4,
        "Of the mask network while distilling; it falls to 0 along half a cosine.",
        minimum=0,
        group="masks",
    )

    collapsed_area: float = setting(
        0.02,
        "A region that wins a smaller share of the pixels than this, over the last 500 steps, has collapsed.",
        minimum=0,
        maximum=1,
        group="collapse",
    )
    max_indecision: float = setting(
        0.95,
        "Masks whose entropy, as a share of the highest there can be, is above this over the last 500 steps have "
        "collapsed. At 0.6 two of three regions share everything.",
        minimum=0,
        maximum=1,
        group="collapse",
    )
    convergence_agreement: float = setting(
        0.0,
        "Training ends early once masks 100 steps apart agree in this share of the pixels, ten times in a row; 0: "
        "never.",
        minimum=0,
        maximum=1,
        group="collapse",
    )
    monitor_from: int = setting(
        1_000,
        "The first step at which a collapse is answered; not before 500, as its signals are means of so many.",
        unit="steps",
        minimum=0,
        group="collapse",
    )
    restarts: int = setting(
        3,
        "Times that a collapsed run starts over before it ends as failed; 0: it ends at the first.",
        minimum=0,
        group="collapse",
    )

    def check(self) -> None:
        height, width = self.image_size
        if height != width or height not in SIDES:
            self.refuse("image_size", f"expected a square of {SIDES} pixels a side.")
        if self.distil_steps and not self.refine_weight:
            self.refuse("distil_steps", "expected a refine_weight above 0: there is nothing else to distil.")


# Nothing is watched in the paper's training, so nothing ends it.
PAPER = Config(ema=0.0, reuse_fakes=False, collapsed_area=0.0, max_indecision=1.0, restarts=0)
PUBLISHED = {
    "flowers": PAPER,
    "cub": PAPER,
    "lfw": replace(PAPER, generator_width=64, noise_weight=15.0),  # the README of the code forgets the weight
    "flowers-lfw": PAPER,
    "colored-2-mnist": replace(PAPER, num_regions=3, noise_width=16, generator_width=64),
}
OURS: dict[str, Any] = {
    "ema": 0.999, "reuse_fakes": True, "restarts": 3, "area_weight": 20.0, "decay_from": 0.5, "steps": 20_000,
    "augment_below": 5_000, "convergence_agreement": 0.999, "refine_weight": 10.0, "collapsed_area": 0.02,
    "max_indecision": 0.95,
}  # fmt: skip
# Small canvases and networks learn in minutes on a CPU, at higher rates.
SMALL: dict[str, Any] = {
    **OURS, "generator_width": 16, "discriminator_width": 16, "noise_width": 16, "batch": 12, "learning_rate": 1.5e-3,
    "discriminator_learning_rate": 5e-4, "mask_learning_rate": 3e-4, "ema": 0.995,
}  # fmt: skip

PRESETS: dict[str, Config] = {
    "photos": Config(
        image_size=(64, 64), mask_width=32, total_variation_weight=2.0, distil_steps=450,
        **(SMALL | {"steps": 2_000, "mask_learning_rate": 2e-4}),
    ),
    # A digit covers about 2 % of the canvas, and the eyes of an eight are a pixel.
    "colored-2-mnist": Config(
        image_size=(32, 32), num_regions=3, mask_width=16, min_area=0.03, distil_steps=300, distil_learning_rate=1e-3,
        **(SMALL | {"discriminator_width": 32, "steps": 2_800, "area_steps": 1_600, "final_noise_factor": 0.05,
           "collapsed_area": 0.008, "min_region_area": 0.0}),
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

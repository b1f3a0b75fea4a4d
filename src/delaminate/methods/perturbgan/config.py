"""PerturbGAN: every setting with its meaning, and the presets.

`NAME` is our recommendation, `NAME-paper` the published numbers in sound code, `NAME-parity` adds the original's quirks.
Published numbers: Bielski and Favaro, Emergence of Object Segmentation in Perturbed Generative Models, NeurIPS 2019, as the
authors' code 0a28b3b4 and the command of its README have them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from delaminate.config import setting
from delaminate.methods.settings import MethodConfig, min_region_area_setting

SIDES = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, kw_only=True)
class Config(MethodConfig):
    """All settings of a PerturbGAN model and its training."""

    method: ClassVar[str] = "perturbgan"
    renamed: ClassVar[Mapping[str, str]] = {
        "rate": "learning_rate",
        "disc": "centre_prior",
        "placed": "style_input",
        "summed": "skip_outputs",
        "variety": "mask_diversity",
        "variety_weight": "mask_diversity_weight",
        "outline_weight": "compactness_weight",
        "least_area": "min_area",
        "most_area": "max_area",
        "mapping_rate": "mapping_learning_rate_factor",
        "encoder_rate": "encoder_learning_rate",
        "segmenter_rate": "segmenter_learning_rate",
        "self_training_rate": "self_training_learning_rate",
        "most_channels": "max_channels",
        "penalty_every": "penalty_interval",
        "watch_from": "monitor_from",
        "watch_share": "monitor_share",
        "least_shown": "min_shown",
        "least_part": "min_region_area",
        "border_most": "max_border_coverage",
    }

    image_size: tuple[int, int] = setting(
        (128, 128),
        "Height and width of the canvas in pixels: a square of 8, 16, 32, 64, 128 or 256.",
        unit="px",
        group="canvas",
    )

    layout: Literal["two", "one", "shared-style"] = setting(
        "two",
        "two: a generator for the background and one for foreground and mask (the published one); one: a single trunk "
        "paints all; shared-style: two trunks with one mapping network and the same noise maps.",
        group="generators",
    )
    independent_noise: bool = setting(
        False,
        "Each generator has a z of its own; False: one z makes both layers (the paper).",
        group="generators",
    )
    foreground_noise: bool = setting(
        True,
        "Per-pixel noise reaches the trunk of foreground and mask, too (the paper); False: that of the background "
        "only, so that masks have no grain.",
        group="generators",
    )
    style_input: bool = setting(
        False,
        "The style says where things go: it is mapped to what the 4 x 4 cells of a trunk begin with. False: these are "
        "learned constants (the paper), which styles can only strengthen or weaken.",
        group="generators",
    )
    skip_outputs: bool = setting(
        False,
        "All levels paint, and the picture is the sum; False: the last one paints alone (the paper, but while it "
        "grows).",
        group="generators",
    )
    centre_prior: float = setting(
        0.0,
        "Masks begin as a disc, which decides who is the foreground: their logits get this much more in the middle, "
        "and as much less at the nearest edges. The generator may undo it.",
        minimum=0,
        group="generators",
    )
    swap_backgrounds: float = setting(
        0.0,
        "Share of the scenes that stand before the background of another scene of the batch; with `independent_noise` "
        "all backgrounds are others already.",
        minimum=0,
        maximum=1,
        group="generators",
    )
    noise_width: int = setting(
        512,
        "Numbers in z and in a style w.",
        minimum=1,
        group="generators",
    )
    mapping_depth: int = setting(
        8,
        "Linear maps from z to w.",
        minimum=1,
        maximum=64,
        group="generators",
    )
    width: int = setting(
        128,
        "Channels at full resolution, of generators and discriminator; twice as many at each resolution below.",
        minimum=1,
        group="generators",
    )
    max_channels: int = setting(
        512,
        "Channels at the most.",
        minimum=1,
        group="generators",
    )
    mixing: float = setting(
        0.9,
        "Chance of a step whose finer levels take their styles from another z.",
        minimum=0,
        maximum=1,
        group="generators",
    )

    shift: float = setting(
        0.125,
        "Largest shift of the foreground along either axis, as a share of the canvas, in whole pixels.",
        minimum=0,
        below=0.5,
        group="perturbation",
    )
    contrast: float = setting(
        0.3,
        "The background's contrast is multiplied by 1 - contrast to 1 + contrast.",
        minimum=0,
        maximum=1,
        group="perturbation",
    )
    enlarge: float = setting(
        1.0,
        "Real images are enlarged by this factor and cut to size at random places; 1.125 in the paper.",
        minimum=1,
        group="perturbation",
    )
    augment_below: int = setting(
        0,
        "With fewer images than this, the colour, place and wholeness of what the discriminator sees are changed at "
        "random, the same way for real and made images.",
        unit="images",
        minimum=0,
        group="perturbation",
    )

    loss: Literal["logistic", "wgan-gp"] = setting(
        "logistic",
        "logistic: non-saturating, with a penalty on the slope at real images now and then; wgan-gp: the paper's.",
        group="adversary",
    )
    gamma: float | None = setting(
        None,
        "Of that penalty (R1); None is 2e-4 * side**2 / batch.",
        minimum=0,
        group="adversary",
    )
    penalty_interval: int = setting(
        16,
        "Steps between two penalties (logistic); each counts as many times.",
        unit="steps",
        minimum=1,
        group="adversary",
    )
    penalty_weight: float = setting(
        10.0,
        "Of the gradient penalty (wgan-gp).",
        minimum=0,
        group="adversary",
    )
    drift: float = setting(
        1e-3,
        "Of the squared score of real images (wgan-gp).",
        minimum=0,
        group="adversary",
    )
    reuse_fakes: bool = setting(
        False,
        "Show the discriminator the very images that the generator was judged by; False: draw others (the paper).",
        group="adversary",
    )

    mask_loss: Literal["sharpened", "published"] = setting(
        "sharpened",
        "published: every mask covers `min_area`, and is near 0 or 1; sharpened: what is decided covers a share "
        "within `min_area` and `max_area`, and indecision costs the more the greyer.",
        group="masks",
    )
    area_weight: float = setting(
        20.0,
        "Of what is too little or too much; 2 in the paper.",
        minimum=0,
        group="masks",
    )
    binary_weight: float = setting(
        2.0,
        "Of what is neither 0 nor 1.",
        minimum=0,
        group="masks",
    )
    ramp_steps: int = setting(
        300,
        "Steps in which `binary_weight` rises from 0; 0: it stands from the first.",
        unit="steps",
        minimum=0,
        group="masks",
    )
    min_area: float = setting(
        0.1,
        "Share of an image that the object covers at least, eta; the README's command has 0.25.",
        minimum=0,
        maximum=1,
        group="masks",
    )
    max_area: float = setting(
        0.5,
        "Share of an image that the object covers at most (sharpened).",
        minimum=0,
        maximum=1,
        group="masks",
    )
    border_weight: float = setting(
        0.0,
        "Of what masks cover of the border beyond `max_border_coverage`, before the shift: what is cut off there "
        "shows once it moves.",
        minimum=0,
        group="masks",
    )
    max_border_coverage: float = setting(
        0.1,
        "Mean of masks on the border, at most this times their mean inside, over a batch.",
        minimum=0,
        group="masks",
    )
    compactness_weight: float = setting(
        0.0,
        "Of the length of masks' outlines, by that of a square of their size, before the shift: without it masks have "
        "holes and arms, the cheapest way to differ.",
        minimum=0,
        group="masks",
    )

    mask_diversity_weight: float = setting(
        0.0,
        "Of what masks of two scenes differ less than `mask_diversity`, before the shift: generators like to paint "
        "one shape for all.",
        minimum=0,
        group="mask diversity",
    )
    mask_diversity: float = setting(
        0.1,
        "Mean difference of two scenes' masks at the least.",
        minimum=0,
        maximum=1,
        group="mask diversity",
    )

    batch: int = setting(
        32,
        "Made images in a step, and as many real ones.",
        unit="images",
        minimum=1,
        group="training",
    )
    steps: int = setting(
        50_000,
        "Steps of stage `layers`, unless growing.",
        unit="steps",
        minimum=1,
        group="training",
    )
    growing: bool = setting(
        False,
        "One stage for each resolution from `first_side`; each but the first fades in during its first half.",
        group="training",
    )
    first_side: int = setting(
        8,
        "Pixels a side of the first stage, if growing.",
        unit="px",
        group="training",
    )
    grow_images: int = setting(
        600_000,
        "Images of half a stage, if growing.",
        unit="images",
        minimum=1,
        group="training",
    )
    grow_batches: tuple[int, ...] = setting(
        (256, 128, 64, 32, 32),
        "Batch of each resolution from 8 pixels on, if growing; the last one serves all larger ones.",
        unit="images",
        minimum=1,
        group="training",
    )
    learning_rate: float = setting(
        1e-3,
        "Of generators and discriminator; if growing, 1.5 times as much at 128 pixels and twice at 256.",
        minimum=0,
        group="training",
    )
    mapping_learning_rate_factor: float = setting(
        0.01,
        "Factor on the rate of the mapping networks.",
        minimum=0,
        group="training",
    )
    betas: tuple[float, float] = setting(
        (0.0, 0.99),
        "Adam's.",
        minimum=0,
        below=1,
        group="training",
    )
    ema: float = setting(
        0.999,
        "Decay of the running mean of the generators' weights, which is what is sampled and what later stages learn "
        "from.",
        minimum=0,
        below=1,
        group="training",
    )
    bf16: bool = setting(
        False,
        "Compute the networks in bfloat16, penalties excepted, where the device has units for it.",
        group="training",
    )

    encoder_steps: int = setting(
        0,
        "Steps of stage `encoder`: an encoder learns to find the styles and the shift of an image; half of them from "
        "made images alone, then from real ones too.",
        unit="steps",
        minimum=0,
        group="encoder",
    )
    encoder_batch: int = setting(
        16,
        "Made images in a step of the encoder, and as many real ones.",
        unit="images",
        minimum=1,
        group="encoder",
    )
    encoder_learning_rate: float = setting(
        1e-4,
        "Of the encoder.",
        minimum=0,
        group="encoder",
    )
    encoder_depth: Literal[18, 32] = setting(
        18,
        "Of the encoder's residual network; 32 is the small one, for small images.",
        group="encoder",
    )
    feature_weight: float = setting(
        1.0,
        "Of the difference between what the discriminator sees of a real image and of its reconstruction.",
        minimum=0,
        group="encoder",
    )

    segmenter_steps: int = setting(
        4_000,
        "Steps of stage `segmenter`: a U-Net learns the masks of made images.",
        unit="steps",
        minimum=0,
        group="segmenter",
    )
    segmenter_batch: int = setting(
        32,
        "Made images in a step of the segmenter.",
        unit="images",
        minimum=1,
        group="segmenter",
    )
    segmenter_learning_rate: float = setting(
        1e-3,
        "Of the segmenter; it falls to 0 along half a cosine.",
        minimum=0,
        group="segmenter",
    )
    segmenter_width: int = setting(
        32,
        "Channels of the segmenter at full resolution, a multiple of 8.",
        minimum=8,
        multiple_of=8,
        group="segmenter",
    )
    segmenter_stretch: float = setting(
        1.0,
        "Foregrounds that the segmenter sees are turned by any angle, mirrored, and enlarged along each axis by 1 / "
        "stretch to stretch times, so that it knows more shapes than are painted; 1: they stay as they are.",
        minimum=1,
        group="segmenter",
    )
    self_training_steps: int = setting(
        0,
        "Steps of stage `self-training`: the segmenter learns from its own best guesses in real photos. In each, the "
        "`min_area` of the pixels that it deems likeliest are object, all but the likeliest `max_area` are "
        "background.",
        unit="steps",
        minimum=0,
        group="segmenter",
    )
    self_training_learning_rate: float = setting(
        1e-3,
        "Of the segmenter then; it falls to 0 along half a cosine.",
        minimum=0,
        group="segmenter",
    )
    self_training_paste: float = setting(
        0.5,
        "Share of the photos then before which the object of another photo is pasted, where it is guessed to be.",
        minimum=0,
        maximum=1,
        group="segmenter",
    )
    refine_weight: float = setting(
        0.0,
        "Of the votes by which pixels of like colour bring the segmenter's masks to the outlines in a photo "
        "(refinement/crf.py), when decomposing by `refined`; 0: that way is not there.",
        minimum=0,
        group="segmenter",
    )
    min_region_area: float = min_region_area_setting("segmenter")

    monitor_from: int = setting(
        300,
        "The first step, over all resolutions, at which a collapse is answered; runs of fewer steps are not watched.",
        unit="steps",
        minimum=0,
        group="collapse",
    )
    monitor_share: float = setting(
        0.05,
        "Share of all steps of the generators in which collapses are answered, once at least, and once more at their "
        "end; 0: they never are.",
        minimum=0,
        maximum=1,
        group="collapse",
    )
    dead_area: float = setting(
        0.03,
        "Where masks hold a smaller share of the pixels than this, as a running mean, the mask is dead.",
        minimum=0,
        maximum=1,
        group="collapse",
    )
    saturated_area: float = setting(
        0.6,
        "Where masks hold a larger share of the pixels than this, the foreground is the whole image.",
        minimum=0,
        maximum=1,
        group="collapse",
    )
    min_shown: float = setting(
        0.03,
        "Foregrounds that change the background by less of its range than this, on average where masks are, hold "
        "nothing: the object is in the background; 0: not checked.",
        minimum=0,
        maximum=1,
        group="collapse",
    )
    leak_gap: float = setting(
        -1.0,
        "Whole scenes score this many standard deviations above their backgrounds alone, or the backgrounds hold the "
        "object. In good runs the difference moves about 0: a discriminator looks for what is badly painted, on "
        "whichever layer.",
        group="collapse",
    )
    border_ratio: float = setting(
        1.0,
        "A mask whose mean on the border is more than this times its mean inside has swapped roles; 0: not checked.",
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
        if self.layout == "one" and (self.independent_noise or self.swap_backgrounds or not self.foreground_noise):
            self.refuse(
                "layout",
                "one trunk paints both layers, from one z; independent_noise, swap_backgrounds and a foreground "
                "without noise need two.",
            )
        if self.independent_noise and self.swap_backgrounds:
            self.refuse(
                "swap_backgrounds", "it does nothing with independent_noise: backgrounds have a z of their own then."
            )
        if self.self_training_steps and not self.segmenter_steps:
            self.refuse("self_training_steps", "it has to begin with something: expected segmenter_steps above 0.")
        if not self.grow_batches:
            self.refuse("grow_batches", "expected one or more, each 1 or more.")
        if self.growing and (self.first_side not in SIDES or self.first_side > self.image_size[0]):
            self.refuse("first_side", f"expected one of {SIDES}, {self.image_size[0]} at the most.")
        self._check_areas()

    def _check_areas(self) -> None:
        """What masks cover, and what counts as a collapse."""
        if self.min_area > self.max_area:
            self.refuse("min_area", f"expected at most max_area, {self.max_area}.")
        monitored = self.monitor_share and self.mask_loss == "sharpened"
        if monitored and self.dead_area and self.dead_area >= self.min_area:
            self.refuse(
                "dead_area",
                f"not below min_area, {self.min_area}: good masks would be called dead. Set it lower, too.",
            )
        if monitored and self.saturated_area <= self.max_area:
            self.refuse(
                "saturated_area",
                f"not above max_area, {self.max_area}: good masks would be called the whole image. Set it higher, too.",
            )

    @property
    def num_trunks(self) -> int:
        return 1 if self.layout == "one" else 2

    @property
    def apart(self) -> bool:
        """The two layers may come from different z."""
        return self.independent_noise or self.swap_backgrounds > 0

    @property
    def num_styles(self) -> int:
        """Styles w that make one scene."""
        return 2 if self.layout == "two" or self.apart else 1


PAPER = Config(
    loss="wgan-gp", mask_loss="published", area_weight=2.0, ramp_steps=0, min_area=0.25, max_area=1.0, growing=True,
    enlarge=1.125, encoder_steps=30_000, segmenter_steps=0, monitor_share=0.0, restarts=0,
)  # fmt: skip
OURS = Config(
    gamma=None, learning_rate=2e-3, independent_noise=True, reuse_fakes=True, foreground_noise=False,
    centre_prior=4.0, border_weight=20.0,
    mask_diversity_weight=20.0, mask_diversity=0.05, compactness_weight=0.6, style_input=True, skip_outputs=True,
    segmenter_stretch=1.8, refine_weight=10.0,
)  # fmt: skip
SMALL = replace(OURS, noise_width=128, mapping_depth=4)

PRESETS: dict[str, Config] = {
    # About an hour of one CPU core; for a GPU, more of everything: `--set width=64 --set steps=40000`.
    "photos": replace(
        SMALL, image_size=(64, 64), width=16, max_channels=128, steps=3_600, gamma=0.3, ema=0.998, augment_below=5_000,
        monitor_share=0.2, segmenter_steps=800, segmenter_width=16, self_training_steps=300,
    ),
    # Four million images of half the published widths.
    "lsun-object": replace(OURS, width=64, max_channels=256, steps=125_000, encoder_steps=10_000),
    "lsun-object-paper": PAPER,
    # What the original does otherwise hardly shows: one noise map serves both halves of a block, photos are resampled from
    # their files at every resolution, and means of weights are not warmed up (docs/methods/perturbgan.md).
    "lsun-object-parity": PAPER,
    "cub": replace(OURS, width=64, max_channels=256, steps=60_000, augment_below=20_000, encoder_steps=10_000),
    # Settings for birds were not released: these are those for LSUN.
    "cub-paper": PAPER,
    "cub-parity": PAPER,
    "objects-on-texture": replace(
        SMALL, image_size=(32, 32), width=32, max_channels=128, steps=5_000, shift=0.25, min_area=0.1, max_area=0.35,
        ema=0.998, gamma=0.3, monitor_share=0.2, encoder_depth=32, encoder_steps=800, segmenter_steps=1_500,
        segmenter_width=24,
        self_training_steps=1_000,
    ),
}  # fmt: skip

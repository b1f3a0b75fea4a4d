"""PerturbGAN: every setting with its meaning, and the presets.

`NAME` is our recommendation, `NAME-paper` the published numbers in sound code, `NAME-parity` adds the original's quirks.
Published numbers: Bielski and Favaro, Emergence of Object Segmentation in Perturbed Generative Models, NeurIPS 2019, as the
authors' code 0a28b3b4 and the command of its README have them.
"""

from dataclasses import dataclass, replace
from typing import Literal

from delaminate.config import check_numbers
from delaminate.errors import ConfigError

SIDES = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Config:
    """All settings of a PerturbGAN model and its training."""

    image_size: tuple[int, int] = (128, 128)
    """Height and width of the canvas in pixels: a square of 8, 16, 32, 64, 128 or 256."""

    layout: Literal["two", "one", "shared-style"] = "two"
    """two: a generator for the background and one for foreground and mask (the published one); one: a single trunk paints
    all; shared-style: two trunks with one mapping network and the same noise maps."""
    independent_noise: bool = False
    """Each generator has a z of its own; False: one z makes both layers (the paper)."""
    foreground_noise: bool = True
    """Per-pixel noise reaches the trunk of foreground and mask, too (the paper); False: that of the background only, so that
    masks have no grain."""
    placed: bool = False
    """The style says where things go: it is mapped to what the 4 x 4 cells of a trunk begin with. False: these are learned
    constants (the paper), which styles can only strengthen or weaken."""
    summed: bool = False
    """All levels paint, and the picture is the sum; False: the last one paints alone (the paper, but while it grows)."""
    disc: float = 0.0
    """Masks begin as a disc, which decides who is the foreground: their logits get this much more in the middle, and as much
    less at the nearest edges. The generator may undo it."""
    swap_backgrounds: float = 0.0
    """Share of the scenes that stand before the background of another scene of the batch; with `independent_noise` all
    backgrounds are others already."""
    noise_width: int = 512
    """Numbers in z and in a style w."""
    mapping_depth: int = 8
    """Linear maps from z to w."""
    width: int = 128
    """Channels at full resolution, of generators and discriminator; twice as many at each resolution below."""
    most_channels: int = 512
    """Channels at the most."""
    mixing: float = 0.9
    """Chance of a step whose finer levels take their styles from another z."""

    shift: float = 0.125
    """Largest shift of the foreground along either axis, as a share of the canvas, in whole pixels."""
    contrast: float = 0.3
    """The background's contrast is multiplied by 1 - contrast to 1 + contrast."""
    enlarge: float = 1.0
    """Real images are enlarged by this factor and cut to size at random places; 1.125 in the paper."""
    augment_below: int = 0
    """With fewer images than this, the colour, place and wholeness of what the discriminator sees are changed at random, the
    same way for real and made images."""

    loss: Literal["logistic", "wgan-gp"] = "logistic"
    """logistic: non-saturating, with a penalty on the slope at real images now and then; wgan-gp: the paper's."""
    gamma: float | None = None
    """Of that penalty (R1); None is 2e-4 * side**2 / batch."""
    penalty_every: int = 16
    """Steps between two penalties (logistic); each counts as many times."""
    penalty_weight: float = 10.0
    """Of the gradient penalty (wgan-gp)."""
    drift: float = 1e-3
    """Of the squared score of real images (wgan-gp)."""
    reuse_fakes: bool = False
    """Show the discriminator the very images that the generator was judged by; False: draw others (the paper)."""

    mask_loss: Literal["sharpened", "published"] = "sharpened"
    """published: every mask covers `least_area`, and is near 0 or 1; sharpened: what is decided covers a share within
    `least_area` and `most_area`, and indecision costs the more the greyer."""
    area_weight: float = 20.0
    """Of what is too little or too much; 2 in the paper."""
    binary_weight: float = 2.0
    """Of what is neither 0 nor 1."""
    ramp_steps: int = 300
    """Steps in which `binary_weight` rises from 0; 0: it stands from the first."""
    least_area: float = 0.1
    """Share of an image that the object covers at least, eta; the README's command has 0.25."""
    most_area: float = 0.5
    """Share of an image that the object covers at most (sharpened)."""
    border_weight: float = 0.0
    """Of what masks cover of the border beyond `border_most`, before the shift: what is cut off there shows once it moves."""
    border_most: float = 0.1
    """Mean of masks on the border, at most this times their mean inside, over a batch."""
    outline_weight: float = 0.0
    """Of the length of masks' outlines, by that of a square of their size, before the shift: without it masks have holes and
    arms, the cheapest way to differ."""

    variety_weight: float = 0.0
    """Of what masks of two scenes differ less than `variety`, before the shift: generators like to paint one shape for all."""
    variety: float = 0.1
    """Mean difference of two scenes' masks at the least."""

    batch: int = 32
    """Made images in a step, and as many real ones."""
    steps: int = 50_000
    """Steps of stage `layers`, unless growing."""
    growing: bool = False
    """One stage for each resolution from `first_side`; each but the first fades in during its first half."""
    first_side: int = 8
    """Pixels a side of the first stage, if growing."""
    grow_images: int = 600_000
    """Images of half a stage, if growing."""
    grow_batches: tuple[int, ...] = (256, 128, 64, 32, 32)
    """Batch of each resolution from 8 pixels on, if growing; the last one serves all larger ones."""
    rate: float = 1e-3
    """Of generators and discriminator; if growing, 1.5 times as much at 128 pixels and twice at 256."""
    mapping_rate: float = 0.01
    """Factor on the rate of the mapping networks."""
    betas: tuple[float, float] = (0.0, 0.99)
    """Adam's."""
    ema: float = 0.999
    """Decay of the running mean of the generators' weights, which is what is sampled and what later stages learn from."""
    bf16: bool = False
    """Compute the networks in bfloat16, penalties excepted, where the device has units for it."""

    encoder_steps: int = 0
    """Steps of stage `encoder`: an encoder learns to find the styles and the shift of an image; half of them from made
    images alone, then from real ones too."""
    encoder_batch: int = 16
    """Made images in a step of the encoder, and as many real ones."""
    encoder_rate: float = 1e-4
    """Of the encoder."""
    encoder_depth: Literal[18, 32] = 18
    """Of the encoder's residual network; 32 is the small one, for small images."""
    feature_weight: float = 1.0
    """Of the difference between what the discriminator sees of a real image and of its reconstruction."""

    segmenter_steps: int = 4_000
    """Steps of stage `segmenter`: a U-Net learns the masks of made images."""
    segmenter_batch: int = 32
    """Made images in a step of the segmenter."""
    segmenter_rate: float = 1e-3
    """Of the segmenter; it falls to 0 along half a cosine."""
    segmenter_width: int = 32
    """Channels of the segmenter at full resolution, a multiple of 8."""
    segmenter_stretch: float = 1.0
    """Foregrounds that the segmenter sees are turned by any angle, mirrored, and enlarged along each axis by 1 / stretch to
    stretch times, so that it knows more shapes than are painted; 1: they stay as they are."""
    self_training_steps: int = 0
    """Steps of stage `self-training`: the segmenter learns from its own best guesses in real photos. In each, the
    `least_area` of the pixels that it deems likeliest are object, all but the likeliest `most_area` are background."""
    self_training_rate: float = 1e-3
    """Of the segmenter then; it falls to 0 along half a cosine."""
    self_training_paste: float = 0.5
    """Share of the photos then before which the object of another photo is pasted, where it is guessed to be."""
    refine_weight: float = 0.0
    """Of the votes by which pixels of like colour bring the segmenter's masks to the outlines in a photo
    (refinement/crf.py), when decomposing by `refined`; 0: that way is not there."""
    least_part: float = 1 / 400
    """Of the picture: what hangs together and is smaller is a speck, when decomposing by `despeckled` (refinement/small_regions.py); 0:
    that way is not there, nor is it without `refine_weight`."""

    watch_from: int = 300
    """The first step, over all resolutions, at which a collapse is answered; runs of fewer steps are not watched."""
    watch_share: float = 0.05
    """Share of all steps of the generators in which collapses are answered, once at least, and once more at their end; 0:
    they never are."""
    dead_area: float = 0.03
    """Less of the pixels than this in masks, on average of late: the mask is dead."""
    saturated_area: float = 0.6
    """More of the pixels than this in masks: the foreground is the whole image."""
    least_shown: float = 0.03
    """Foregrounds that change the background by less of its range than this, on average where masks are, hold nothing: the
    object is in the background; 0: never mind."""
    leak_gap: float = -1.0
    """Whole scenes score this many standard deviations above their backgrounds alone, or the backgrounds hold the object. In
    good runs the difference moves about 0: a discriminator looks for what is badly painted, on whichever layer."""
    border_ratio: float = 1.0
    """A mask whose mean on the border is more than this times its mean inside has swapped roles; 0: never mind."""
    restarts: int = 3
    """Times that a collapsed run begins again before it ends as failed; 0: it ends at the first."""

    def __post_init__(self) -> None:
        height, width = self.image_size
        if height != width or height not in SIDES:
            raise ConfigError(
                f"perturbgan: image_size is {self.image_size}; expected a square of {SIDES} pixels a side."
            )
        least = {
            "noise_width": 1, "mapping_depth": 1, "width": 1, "most_channels": 1, "batch": 1, "steps": 1, "grow_images": 1,
            "penalty_every": 1, "ramp_steps": 0, "encoder_steps": 0, "encoder_batch": 1, "segmenter_steps": 0,
            "segmenter_batch": 1, "watch_from": 0, "restarts": 0, "enlarge": 1, "segmenter_stretch": 1, "augment_below": 0,
            "self_training_steps": 0,
        }  # fmt: skip
        if self.mapping_depth > 64:
            raise ConfigError(f"perturbgan: mapping_depth is {self.mapping_depth}; expected 64 at the most.")
        check_numbers("perturbgan", self, negative=("leak_gap",))
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ConfigError(f"perturbgan: {name} is {getattr(self, name)}; expected {lowest} or more.")
        shares = (
            "swap_backgrounds", "mixing", "contrast", "least_area", "most_area", "ema", "dead_area", "saturated_area",
            "watch_share", "variety", "self_training_paste", "least_shown", "least_part",
        )  # fmt: skip
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"perturbgan: {name} is {getattr(self, name)}; expected 0 to 1.")
        if self.ema == 1:
            raise ConfigError("perturbgan: ema is 1, so that the mean never moves; expected 0 to below 1.")
        self._check_pairs()

    def _check_pairs(self) -> None:
        if not 0 <= self.shift < 0.5:
            raise ConfigError(f"perturbgan: shift is {self.shift}; expected 0 to below 0.5.")
        if self.segmenter_width < 8 or self.segmenter_width % 8:
            raise ConfigError(f"perturbgan: segmenter_width is {self.segmenter_width}; expected a multiple of 8.")
        if self.layout == "one" and (self.independent_noise or self.swap_backgrounds or not self.foreground_noise):
            raise ConfigError(
                "perturbgan: layout 'one' paints both layers in one trunk, from one z; independent_noise, swap_backgrounds "
                "and a foreground without noise need two."
            )
        if self.independent_noise and self.swap_backgrounds:
            raise ConfigError(
                "perturbgan: swap_backgrounds does nothing with independent_noise: backgrounds have a z of their own then."
            )
        if self.self_training_steps and not self.segmenter_steps:
            raise ConfigError(
                "perturbgan: self_training_steps asks for segmenter_steps: it has to begin with something."
            )
        if self.least_area > self.most_area:
            raise ConfigError(f"perturbgan: least_area is {self.least_area}, above most_area, {self.most_area}.")
        watched = self.watch_share and self.mask_loss == "sharpened"
        if watched and self.dead_area and self.dead_area >= self.least_area:
            raise ConfigError(
                f"perturbgan: dead_area is {self.dead_area}, not below least_area, {self.least_area}: good masks would be "
                "called dead. Set it lower, too."
            )
        if watched and self.saturated_area <= self.most_area:
            raise ConfigError(
                f"perturbgan: saturated_area is {self.saturated_area}, not above most_area, {self.most_area}: good masks "
                "would be called the whole image. Set it higher, too."
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"perturbgan: betas are {self.betas}; expected two numbers from 0 to below 1.")
        if not self.grow_batches or min(self.grow_batches) < 1:
            raise ConfigError(
                f"perturbgan: grow_batches are {self.grow_batches}; expected one or more, each 1 or more."
            )
        if self.growing and (self.first_side not in SIDES or self.first_side > self.image_size[0]):
            raise ConfigError(
                f"perturbgan: first_side is {self.first_side}; expected one of {SIDES}, {self.image_size[0]} at the most."
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
    loss="wgan-gp", mask_loss="published", area_weight=2.0, ramp_steps=0, least_area=0.25, most_area=1.0, growing=True,
    enlarge=1.125, encoder_steps=30_000, segmenter_steps=0, watch_share=0.0, restarts=0,
)  # fmt: skip
OURS = Config(
    gamma=None, rate=2e-3, independent_noise=True, reuse_fakes=True, foreground_noise=False, disc=4.0, border_weight=20.0,
    variety_weight=20.0, variety=0.05, outline_weight=0.6, placed=True, summed=True, segmenter_stretch=1.8, refine_weight=10.0,
)  # fmt: skip
SMALL = replace(OURS, noise_width=128, mapping_depth=4)

PRESETS: dict[str, Config] = {
    # About an hour of one CPU core; for a GPU, more of everything: `--set width=64 --set steps=40000`.
    "photos": replace(
        SMALL, image_size=(64, 64), width=16, most_channels=128, steps=3_600, gamma=0.3, ema=0.998, augment_below=5_000,
        watch_share=0.2, segmenter_steps=800, segmenter_width=16, self_training_steps=300,
    ),
    # Four million images of half the published widths.
    "lsun-object": replace(OURS, width=64, most_channels=256, steps=125_000, encoder_steps=10_000),
    "lsun-object-paper": PAPER,
    # What the original does otherwise hardly shows: one noise map serves both halves of a block, photos are resampled from
    # their files at every resolution, and means of weights are not warmed up (docs/methods/perturbgan.md).
    "lsun-object-parity": PAPER,
    "cub": replace(OURS, width=64, most_channels=256, steps=60_000, augment_below=20_000, encoder_steps=10_000),
    # Settings for birds were not released: these are those for LSUN.
    "cub-paper": PAPER,
    "cub-parity": PAPER,
    "objects-on-texture": replace(
        SMALL, image_size=(32, 32), width=32, most_channels=128, steps=5_000, shift=0.25, least_area=0.1, most_area=0.35,
        ema=0.998, gamma=0.3, watch_share=0.2, encoder_depth=32, encoder_steps=800, segmenter_steps=1_500, segmenter_width=24,
        self_training_steps=1_000,
    ),
}  # fmt: skip

"""DTI-Sprites: every setting with its meaning, and the presets.

`NAME` is our recommendation, `NAME-paper` the published numbers in sound code, `NAME-parity` adds the original's quirks.
Published numbers: authors' code c98a37c, configs/*.yml. Epochs are given there; here they are steps (epochs times batches
of the whole set), because schedules that depend on steps resume exactly.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from delaminate.errors import ConfigError

Kind = Literal["colour", "position", "similarity", "affine", "projective", "thin_plate_spline", "morphological"]


@dataclass(frozen=True)
class Config:
    """All settings of a DTI-Sprites model and its training."""

    image_size: tuple[int, int]
    """Height and width of the canvas in pixels."""
    sprite_size: tuple[int, int]
    """Height and width of a sprite in pixels; with one object layer the whole image."""
    num_sprites: int
    """Sprites offered, K. Search may end with fewer."""
    num_layers: int = 1
    """Object layers, L, without the background."""
    background: bool = True
    """A learned background behind the layers; otherwise black."""
    empty_sprite: bool = False
    """A layer may show nothing."""
    sprite_transforms: tuple[Kind, ...] = ()
    """Per layer and sprite, at the sprite's size, in this order. The first is on from the start."""
    layer_transforms: tuple[Kind, ...] = ("colour", "position")
    """Per layer, shared by all sprites; `position` or `similarity` puts the sprite on the canvas."""
    background_transforms: tuple[Kind, ...] = ("colour",)
    """Of the background, in this order."""
    unlock_steps: tuple[int, ...] = ()
    """When the second, third, ... sprite (and background) transform is switched on. A sequence that starts with
    moving (no colour) has its first transform unlocked by the first number."""

    encoder: Literal["resnet32", "resnet18"] = "resnet32"
    """CIFAR or ImageNet form."""
    pool: int = 1
    """Features are averaged on a pool x pool grid."""
    readout: Literal["pooled", "peaks"] = "pooled"
    """`pooled`: regressors see the pooled features (the paper). `peaks`: every anchor of the feature map predicts whether an
    object's centre lies in it, where exactly and in what colour; the L strongest become the layers."""
    encoder_scale: int = 1
    """The encoder sees images reduced by this factor; layers keep the full size."""
    soft_occlusion: bool = False
    """Predict who hides whom; otherwise later layers are in front."""

    alpha_sigma: float = 5.0
    """Width of the Gaussian that alphas start as, in pixels."""
    sprite_colour: float = 0.9
    """Grey level that sprites start as."""
    sprite_start: Literal["constant", "kmeans"] = "constant"
    """Start sprites all alike (the paper), or as the means of k-means clusters of the first batch, whose images are compared
    without brightness and contrast, the centre counting most."""
    background_start: Literal["constant", "mean"] = "constant"
    """Start the background grey 0.5, or as the mean of 100 images."""
    noise: float = 0.4
    """Half-width of the uniform noise on warped alphas in training."""
    frozen_steps: int = 0
    """Sprites are kept, and the empty sprite ruled out, for this long."""
    selection: Literal["greedy", "exhaustive"] = "greedy"
    """How sprites are chosen for the layers."""
    passes: int = 1
    """Rounds of greedy selection, T."""
    empty_price: float = 1e-4
    """Error that a sprite must save against showing nothing (selection only)."""
    reassign_every: int = 500
    """Steps between checks for unused sprites; 0 never."""
    reassign_below: float = 0.2
    """A sprite used less than this share of 1 / K begins again as a copy of the most used."""

    batch: int = 32
    steps: int = 10_000
    """Steps of gradient training (stage `refine`)."""
    algorithm: Literal["adam", "adamw"] = "adam"
    rate: float = 1e-4
    """Learning rate of the encoder and the regressors."""
    sprite_rate: float = 1e-4
    """Learning rate of sprites and background."""
    weight_decay: float = 1e-6
    """Of the encoder and the regressors."""
    milestones: tuple[int, ...] = ()
    """Steps at which the rates are divided by ten."""
    decay_sprites: bool = False
    """Milestones also hold for sprites and background."""
    cosine: bool = False
    """Let the network's rate fall to 0 along a half cosine instead, after a short warm-up."""
    clip: float | None = None
    """Largest gradient norm."""
    bf16: bool = False
    """Run the encoder in bfloat16, where the device has units for it; grids, composites and errors stay float32."""
    ema: float = 0.0
    """Decay of the averaged weights used for results; 0 uses the last weights."""

    search: Literal["correlation", "regions"] = "correlation"
    """How matching looks: `correlation` for sprites that are moved and coloured; `regions` for flat-coloured things that are
    turned and scaled too."""
    search_steps: int = 0
    """Steps of training by matching (stage `search`); 0 leaves it out."""
    search_batch: int = 200
    search_price: float = 2.0
    """Summed squared error that a placement must save."""
    search_sprite_price: float = 40.0
    """Summed squared error, over a batch, that a sprite must save to be kept."""
    search_tint: bool = True
    """Sprites are shadings that every placement tints; otherwise they have colours of their own."""
    distil_steps: int = 0
    """Steps in which the encoder learns the found placements (stage `distil`)."""
    distil_batch: int = 64
    distil_rate: float = 2e-3
    """Learning rate while distilling."""

    encoder_visits: int = 1
    """Parity: times that Adam steps the shared encoder in one iteration (the original walks its duplicates)."""
    aligned_corners: bool = False
    """Parity: the projective warp counts corners as pixel centres, as kornia 0.3 did, and the spline zooms by n/(n-1)."""

    def __post_init__(self) -> None:
        def refuse(key: str, why: str) -> None:
            raise ConfigError(f"dti-sprites: {key} is {getattr(self, key)!r}; {why}")

        for key in ("image_size", "sprite_size"):
            if not all(1 <= n <= 4096 for n in getattr(self, key)):
                refuse(key, "expected two sizes between 1 and 4096 pixels.")
        for key in (
            "num_sprites",
            "num_layers",
            "batch",
            "pool",
            "passes",
            "search_batch",
            "distil_batch",
            "encoder_scale",
        ):
            if not 1 <= getattr(self, key) <= 4096:
                refuse(key, "expected a number between 1 and 4096.")
        for key in ("steps", "search_steps", "distil_steps", "frozen_steps", "reassign_every"):
            if getattr(self, key) < 0:
                refuse(key, "expected 0 or more.")
        for key in ("rate", "sprite_rate", "distil_rate", "weight_decay", "noise", "empty_price", "reassign_below"):
            if not 0 <= getattr(self, key) < math.inf:
                refuse(key, "expected a number, 0 or more.")
        if not 0 < self.alpha_sigma < math.inf:
            refuse("alpha_sigma", "expected a number above 0.")
        if not 0 <= self.ema < 1:
            refuse("ema", "expected a number in [0, 1).")
        if self.clip is not None and not self.clip > 0:
            refuse("clip", "expected a number above 0, or null.")
        moving = [kind for kind in self.layer_transforms if kind != "colour"]
        if self.layer_transforms and moving not in (["position"], ["similarity"]):
            refuse("layer_transforms", "expected one of `position` and `similarity` among them, or an empty list.")
        if self.readout == "peaks" and (
            sorted(self.layer_transforms) != ["colour", "position"] or self.encoder_scale > 1
        ):
            refuse(
                "readout", "peaks predict colour and position at full size: expected these layer_transforms, scale 1."
            )
        if self.distil_steps and moving != ["position"]:
            refuse("distil_steps", "expected `position` among layer_transforms, which is what is distilled.")
        if not self.layer_transforms and self.sprite_size != self.image_size:
            refuse("sprite_size", f"without layer_transforms sprites fill the image: expected {self.image_size}.")
        if self.search_steps and self.search == "correlation" and (self.background or self.sprite_transforms):
            refuse(
                "search", "correlation needs background=false and no sprite_transforms. Use regions, or search_steps=0."
            )
        if self.distil_steps and self.search == "regions":
            refuse("distil_steps", "placements found by regions cannot be distilled yet; set it to 0.")
        if self.distil_steps and not self.search_steps:
            refuse("distil_steps", "there is nothing to distil without search_steps.")
        if self.selection == "exhaustive" and self.num_sprites**self.num_layers > 100_000:
            refuse("selection", "too many combinations; use greedy.")


_TETROMINOES = Config(
    image_size=(35, 35), sprite_size=(24, 24), num_sprites=19, num_layers=3, background=False,
    encoder="resnet32", pool=1, alpha_sigma=5, frozen_steps=1_875, passes=1,
    batch=32, steps=393_750, milestones=(187_500, 375_000), reassign_every=50,
)  # fmt: skip

_MULTI_DSPRITES = Config(
    image_size=(64, 64), sprite_size=(28, 28), num_sprites=3, num_layers=5, background=True, empty_sprite=True,
    sprite_transforms=("similarity",), unlock_steps=(37_500,), encoder="resnet32", pool=4, soft_occlusion=True,
    alpha_sigma=7, frozen_steps=18_750, passes=3,
    batch=32, steps=956_250, milestones=(468_750, 937_500), reassign_every=100,
)  # fmt: skip

_CLEVR6 = Config(
    image_size=(128, 128), sprite_size=(40, 40), num_sprites=6, num_layers=6, background=True, empty_sprite=True,
    sprite_transforms=("projective",), unlock_steps=(163_950,), encoder="resnet18", pool=2, soft_occlusion=True,
    alpha_sigma=10, background_start="mean", frozen_steps=43_720, passes=3,
    batch=32, steps=491_850, milestones=(273_250, 437_200), reassign_every=250,
)  # fmt: skip

_WHOLE: tuple[Kind, ...] = ("colour", "projective", "thin_plate_spline")

_GTSRB8 = Config(
    image_size=(28, 28), sprite_size=(28, 28), num_sprites=8,
    sprite_transforms=_WHOLE, layer_transforms=(), background_transforms=_WHOLE, unlock_steps=(8_300, 29_050),
    encoder="resnet32", alpha_sigma=5, background_start="mean", batch=128, steps=58_100, rate=1e-3, sprite_rate=1e-3,
    milestones=(49_800,), decay_sprites=True, reassign_every=25,
)  # fmt: skip

_SVHN = replace(
    _GTSRB8, image_size=(32, 32), sprite_size=(32, 32), num_sprites=10, unlock_steps=(49_260, 172_410), alpha_sigma=8,
    steps=270_930, milestones=(246_300,), reassign_every=100,
)  # fmt: skip

_WEIZMANN_HORSE = replace(
    _GTSRB8, image_size=(128, 128), sprite_size=(128, 128), num_sprites=1, unlock_steps=(33_000, 88_000), encoder="resnet18",
    alpha_sigma=20, batch=32, steps=165_000, milestones=(154_000,), reassign_every=300,
)  # fmt: skip

_INSTAGRAM = replace(
    _GTSRB8, image_size=(128, 128), sprite_size=(128, 128), num_sprites=40,
    sprite_transforms=("colour", "projective"), background_transforms=("colour", "projective"), unlock_steps=(31_300,),
    encoder="resnet18", alpha_sigma=20, batch=32, steps=266_050, milestones=(219_100,), reassign_every=250,
)  # fmt: skip

_PAPER = {
    "tetrominoes": _TETROMINOES,
    "multi-dsprites": _MULTI_DSPRITES,
    "clevr6": _CLEVR6,
    "gtsrb8": _GTSRB8,
    "svhn": _SVHN,
    "weizmann-horse": _WEIZMANN_HORSE,
    "instagram": _INSTAGRAM,
}

# Adam's visits to the encoder in the original: 1 copy for Tetrominoes, 7 for Multi-dSprites, 8 for CLEVR6, else 2.
_VISITS = {"tetrominoes": 1, "multi-dsprites": 7, "clevr6": 8}

# Recommendations: the same models, trained by what this library has found to work within minutes to an hour of a
# small CPU; each departure stands on the method's page.
_RECOMMENDED = {
    "tetrominoes": replace(
        _TETROMINOES, num_sprites=24, readout="peaks", search_steps=20, distil_steps=2_500, steps=400, frozen_steps=400,
        algorithm="adamw", rate=2e-4, sprite_rate=1e-4, cosine=True, milestones=(), clip=1.0, reassign_every=0,
    ),
    "multi-dsprites": replace(
        _MULTI_DSPRITES, search="regions", search_steps=1, search_batch=500, algorithm="adamw", rate=7e-4, cosine=True,
        milestones=(), clip=1.0, unlock_steps=(0,), frozen_steps=1_000, steps=0, reassign_every=0,
    ),
    "clevr6": replace(
        _CLEVR6, algorithm="adamw", rate=8e-4, cosine=True, milestones=(), clip=1.0,
        unlock_steps=(15_000,), frozen_steps=4_000, steps=50_000,
    ),
    "gtsrb8": replace(
        _GTSRB8, sprite_start="kmeans", algorithm="adamw", cosine=True, milestones=(), clip=1.0,
        unlock_steps=(500, 1_500), steps=3_000,
    ),
    "svhn": replace(
        _SVHN, sprite_start="kmeans", algorithm="adamw", cosine=True, milestones=(), clip=1.0,
        unlock_steps=(4_000, 14_000), steps=22_000,
    ),
    "weizmann-horse": replace(
        _WEIZMANN_HORSE, algorithm="adamw", cosine=True, milestones=(), clip=1.0, unlock_steps=(300, 900), steps=1_500,
        batch=16, encoder_scale=2,
    ),
    "instagram": replace(
        _INSTAGRAM, algorithm="adamw", cosine=True, milestones=(), clip=1.0, unlock_steps=(3_000,), steps=25_000,
    ),
}  # fmt: skip

PRESETS: dict[str, Config] = {
    **_RECOMMENDED,
    **{f"{name}-paper": config for name, config in _PAPER.items()},
    **{
        f"{name}-parity": replace(config, encoder_visits=_VISITS.get(name, 2), aligned_corners=True)
        for name, config in _PAPER.items()
    },
}

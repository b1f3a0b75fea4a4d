"""DTI-Sprites: every setting with its meaning, and the presets.

`NAME` is our recommendation, `NAME-paper` the published numbers in sound code, `NAME-parity` adds the original's quirks.
Published numbers: authors' code c98a37c, configs/*.yml. Epochs are given there; here they are steps (epochs times batches
of the whole set), because schedules that depend on steps resume exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from delaminate.config import setting
from delaminate.methods.settings import MethodConfig, min_region_area_setting

FIRST_SPRITES, MORE_SPRITES, MOST_SPRITES = 16, 8, 64
FIRST_LAYERS, MOST_LAYERS = 3, 12
"""Offered where search finds how many there are: at first, how many more at a time, and at most."""

Kind = Literal["colour", "position", "similarity", "affine", "projective", "thin_plate_spline", "morphological"]


@dataclass(frozen=True, kw_only=True)
class Config(MethodConfig):
    """All settings of a DTI-Sprites model and its training."""

    method: ClassVar[str] = "dti-sprites"
    renamed: ClassVar[Mapping[str, str]] = {
        "rate": "learning_rate",
        "distil_rate": "distil_learning_rate",
        "sprite_rate": "sprite_learning_rate",
        "search_price": "search_placement_cost",
        "search_sprite_price": "search_sprite_cost",
        "empty_price": "empty_sprite_cost",
        "clip": "gradient_clip",
    }

    renamed_values: ClassVar[Mapping[str, Mapping[Any, Any]]] = {
        "num_sprites": {"auto": 0},
        "num_layers": {"auto": 0},
    }

    sprite_size: tuple[int, int] = setting(
        meaning="Height and width of a sprite in pixels; with one object layer the whole image.",
        unit="px",
        minimum=1,
        maximum=4096,
        group="layers",
    )
    num_sprites: int = setting(
        meaning="Sprites offered, K. Search may end with fewer. 0, or `auto`: search offers more until they are not used, and "
        "keeps those that pay for themselves.",
        minimum=0,
        maximum=4096,
        group="layers",
    )
    num_layers: int = setting(
        1,
        "Object layers, L, without the background. 0, or `auto`: as many as search uses.",
        minimum=0,
        maximum=4096,
        group="layers",
    )
    background: bool = setting(
        True,
        "A learned background behind the layers; otherwise black.",
        group="layers",
    )
    empty_sprite: bool = setting(
        False,
        "A layer may show nothing.",
        group="layers",
    )
    sprite_transforms: tuple[Kind, ...] = setting(
        (),
        "Per layer and sprite, at the sprite's size, in this order. The first is on from the start.",
        group="layers",
    )
    layer_transforms: tuple[Kind, ...] = setting(
        ("colour", "position"),
        "Per layer, shared by all sprites; `position` or `similarity` puts the sprite on the canvas.",
        group="layers",
    )
    background_transforms: tuple[Kind, ...] = setting(
        ("colour",),
        "Of the background, in this order.",
        group="layers",
    )
    unlock_steps: tuple[int, ...] = setting(
        (),
        "When the second, third, ... sprite (and background) transform is switched on. A sequence that starts with "
        "moving (no colour) has its first transform unlocked by the first number.",
        unit="steps",
        minimum=0,
        group="layers",
    )
    refine_weight: float = setting(
        0.0,
        "Of the votes by which pixels of like colour bring what is seen of each layer to the outlines in a photo "
        "(refinement/crf.py), when decomposing by `refined`: layers are then cut out of the photo; 0: that way is not there.",
        minimum=0,
        group="layers",
    )
    min_region_area: float = min_region_area_setting("layers")

    encoder: Literal["resnet32", "resnet18"] = setting(
        "resnet32",
        "CIFAR or ImageNet form.",
        group="networks",
    )
    pool: int = setting(
        1,
        "Features are averaged on a pool x pool grid.",
        minimum=1,
        maximum=4096,
        group="networks",
    )
    readout: Literal["pooled", "peaks"] = setting(
        "pooled",
        "`pooled`: regressors see the pooled features (the paper). `peaks`: every anchor of the feature map predicts "
        "whether an object's centre lies in it, where exactly and in what colour; the L strongest become the layers.",
        group="networks",
    )
    encoder_scale: int = setting(
        1,
        "The encoder sees images reduced by this factor; layers keep the full size.",
        minimum=1,
        maximum=4096,
        group="networks",
    )
    soft_occlusion: bool = setting(
        False,
        "Predict who hides whom; otherwise later layers are in front.",
        group="networks",
    )

    alpha_sigma: float = setting(
        5.0,
        "Width of the Gaussian that alphas start as, in pixels.",
        unit="px",
        above=0,
        group="sprites",
    )
    sprite_colour: float = setting(
        0.9,
        "Grey level that sprites start as.",
        group="sprites",
    )
    sprite_start: Literal["constant", "kmeans"] = setting(
        "constant",
        "Start sprites all alike (the paper), or as the means of k-means clusters of the first batch, whose images "
        "are compared without brightness and contrast, the centre counting most.",
        group="sprites",
    )
    background_start: Literal["constant", "mean"] = setting(
        "constant",
        "Start the background grey 0.5, or as the mean of 100 images.",
        group="sprites",
    )
    noise: float = setting(
        0.4,
        "Half-width of the uniform noise on warped alphas in training.",
        minimum=0,
        group="sprites",
    )
    frozen_steps: int = setting(
        0,
        "Sprites are kept, and the empty sprite ruled out, for this long.",
        unit="steps",
        minimum=0,
        group="sprites",
    )
    selection: Literal["greedy", "exhaustive"] = setting(
        "greedy",
        "How sprites are chosen for the layers.",
        group="sprites",
    )
    passes: int = setting(
        1,
        "Rounds of greedy selection, T.",
        minimum=1,
        maximum=4096,
        group="sprites",
    )
    empty_sprite_cost: float = setting(
        1e-4,
        "Error that a sprite must save against showing nothing (selection only).",
        minimum=0,
        group="sprites",
    )
    reassign_every: int = setting(
        500,
        "Steps between checks for unused sprites; 0 never.",
        unit="steps",
        minimum=0,
        group="sprites",
    )
    reassign_below: float = setting(
        0.2,
        "A sprite used less than this share of 1 / K is replaced by a copy of the most used.",
        minimum=0,
        group="sprites",
    )

    steps: int = setting(
        10_000,
        "Steps of gradient training (stage `refine`).",
        unit="steps",
        minimum=0,
        group="training",
    )
    algorithm: Literal["adam", "adamw"] = setting(
        "adam",
        "The optimizer: `adam`, or `adamw`, whose weight decay is decoupled.",
        group="training",
    )
    learning_rate: float = setting(
        1e-4,
        "Learning rate of the encoder and the regressors.",
        minimum=0,
        group="training",
    )
    sprite_learning_rate: float = setting(
        1e-4,
        "Learning rate of sprites and background.",
        minimum=0,
        group="training",
    )
    weight_decay: float = setting(
        1e-6,
        "Of the encoder and the regressors.",
        minimum=0,
        group="training",
    )
    milestones: tuple[int, ...] = setting(
        (),
        "Steps at which the rates are divided by ten.",
        unit="steps",
        minimum=0,
        group="training",
    )
    decay_sprites: bool = setting(
        False,
        "Milestones also hold for sprites and background.",
        group="training",
    )
    cosine: bool = setting(
        False,
        "Let the network's rate fall to 0 along a half cosine instead, after a short warm-up.",
        group="training",
    )
    gradient_clip: float | None = setting(
        None,
        "Largest gradient norm.",
        above=0,
        group="training",
    )
    bf16: bool = setting(
        False,
        "Run the encoder in bfloat16, where the device has units for it; grids, composites and errors stay float32.",
        group="training",
    )

    search: Literal["correlation", "regions"] = setting(
        "correlation",
        "How matching looks: `correlation` for sprites that are moved and coloured; `regions` for flat-coloured "
        "things that are turned and scaled too.",
        group="search and distillation",
    )
    search_steps: int = setting(
        0,
        "Steps of training by matching (stage `search`); 0 leaves it out.",
        unit="steps",
        minimum=0,
        group="search and distillation",
    )
    search_batch: int = setting(
        200,
        "Images searched in a step.",
        unit="images",
        minimum=1,
        maximum=4096,
        group="search and distillation",
    )
    search_placement_cost: float = setting(
        2.0,
        "Summed squared error that a placement must save.",
        minimum=0,
        group="search and distillation",
    )
    search_sprite_cost: float = setting(
        40.0,
        "Summed squared error, over a batch, that a sprite must save to be kept.",
        minimum=0,
        group="search and distillation",
    )
    search_tint: bool = setting(
        True,
        "Sprites are shadings that every placement tints; otherwise they have colours of their own.",
        group="search and distillation",
    )
    distil_steps: int = setting(
        0,
        "Steps in which the encoder learns the found placements (stage `distil`).",
        unit="steps",
        minimum=0,
        group="search and distillation",
    )
    distil_batch: int = setting(
        64,
        "Images in a step while distilling.",
        unit="images",
        minimum=1,
        maximum=4096,
        group="search and distillation",
    )
    distil_learning_rate: float = setting(
        2e-3,
        "Learning rate while distilling.",
        minimum=0,
        group="search and distillation",
    )

    encoder_visits: int = setting(
        1,
        "Parity: times that Adam steps the shared encoder in one iteration (the original walks its duplicates).",
        minimum=1,
        group="parity",
    )
    aligned_corners: bool = setting(
        False,
        "Parity: the projective warp counts corners as pixel centres, as kornia 0.3 did.",
        group="parity",
    )

    @property
    def offered_sprites(self) -> int:
        """Sprites that there is room for."""
        return self.num_sprites or MOST_SPRITES

    @property
    def offered_layers(self) -> int:
        """Object layers that there may be."""
        return self.num_layers or MOST_LAYERS

    @property
    def finds_numbers(self) -> bool:
        """Whether search finds how many sprites or layers there are."""
        return not (self.num_sprites and self.num_layers)

    def check(self) -> None:
        if self.finds_numbers and (not self.search_steps or self.distil_steps or self.steps):
            self.refuse(
                "num_layers" if self.num_sprites else "num_sprites",
                "search finds the number, and networks need it beforehand: expected search_steps above 0, distil_steps=0 and "
                "steps=0; or give the number.",
            )
        moving = [kind for kind in self.layer_transforms if kind != "colour"]
        if self.layer_transforms and moving not in (["position"], ["similarity"]):
            self.refuse("layer_transforms", "expected one of `position` and `similarity` among them, or an empty list.")
        if self.readout == "peaks" and (
            sorted(self.layer_transforms) != ["colour", "position"] or self.encoder_scale > 1
        ):
            self.refuse(
                "readout", "peaks predict colour and position at full size: expected these layer_transforms, scale 1."
            )
        if not self.layer_transforms and self.sprite_size != self.image_size:
            self.refuse("sprite_size", f"without layer_transforms sprites fill the image: expected {self.image_size}.")
        if self.search_steps and self.search == "correlation" and (self.background or self.sprite_transforms):
            self.refuse(
                "search", "correlation needs background=false and no sprite_transforms. Use regions, or search_steps=0."
            )
        if self.distil_steps and moving != ["position"]:
            self.refuse("distil_steps", "expected `position` among layer_transforms, which is what is distilled.")
        if self.refine_weight and not self.background:
            self.refuse("refine_weight", "expected a background: every pixel of a photo must belong to some layer.")
        if self.refine_weight and self.empty_sprite:
            self.refuse("refine_weight", "photos are cut into all their layers: expected empty_sprite=false.")
        if self.refine_weight and self.search_steps:
            self.refuse("refine_weight", "photos are cut out by the network's masks: expected search_steps=0.")
        if self.distil_steps and self.search == "regions":
            self.refuse("distil_steps", "placements found by regions cannot be distilled yet; set it to 0.")
        if self.distil_steps and not self.search_steps:
            self.refuse("distil_steps", "there is nothing to distil without search_steps.")
        if self.selection == "exhaustive" and self.offered_sprites**self.offered_layers > 100_000:
            self.refuse("selection", "too many combinations; use greedy.")


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
    encoder="resnet32", alpha_sigma=5, background_start="mean", batch=128, steps=58_100, learning_rate=1e-3,
    sprite_learning_rate=1e-3,
    milestones=(49_800,), decay_sprites=True, reassign_every=25,
)  # fmt: skip

_SVHN = replace(
    _GTSRB8, image_size=(32, 32), sprite_size=(32, 32), num_sprites=10, unlock_steps=(49_260, 172_410), alpha_sigma=8,
    steps=270_930, milestones=(246_300,), reassign_every=100,
)  # fmt: skip

_WEIZMANN_HORSE = replace(
    _GTSRB8, image_size=(128, 128), sprite_size=(128, 128), num_sprites=1, unlock_steps=(33_000, 88_000),
    encoder="resnet18",
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
        algorithm="adamw", learning_rate=2e-4, sprite_learning_rate=1e-4, cosine=True, milestones=(),
        gradient_clip=1.0, reassign_every=0,
    ),
    "multi-dsprites": replace(
        _MULTI_DSPRITES, search="regions", search_steps=1, search_batch=500, algorithm="adamw", learning_rate=7e-4,
        cosine=True,
        milestones=(), gradient_clip=1.0, unlock_steps=(0,), frozen_steps=1_000, steps=0, reassign_every=0,
    ),
    "clevr6": replace(
        _CLEVR6, algorithm="adamw", learning_rate=8e-4, cosine=True, milestones=(), gradient_clip=1.0,
        unlock_steps=(15_000,), frozen_steps=4_000, steps=50_000,
    ),
    "gtsrb8": replace(
        _GTSRB8, sprite_start="kmeans", algorithm="adamw", cosine=True, milestones=(), gradient_clip=1.0,
        unlock_steps=(1_300, 4_500), steps=9_000,
    ),
    "svhn": replace(
        _SVHN, sprite_start="kmeans", algorithm="adamw", cosine=True, milestones=(), gradient_clip=1.0,
        unlock_steps=(4_000, 14_000), steps=22_000,
    ),
    "weizmann-horse": replace(
        _WEIZMANN_HORSE, algorithm="adamw", cosine=True, milestones=(), gradient_clip=1.0, unlock_steps=(600, 2_000),
        steps=4_000,
        batch=16, encoder_scale=2, refine_weight=10.0,
    ),
    "instagram": replace(
        _INSTAGRAM, algorithm="adamw", cosine=True, milestones=(), gradient_clip=1.0, unlock_steps=(3_000,), steps=25_000,
        refine_weight=10.0,
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

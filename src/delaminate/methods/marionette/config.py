"""MarioNette: every setting with its meaning, and the presets.

`NAME` is our recommendation, `NAME-paper` the published numbers in sound code, `NAME-parity` adds the original's quirks.
Published numbers: Smirnov et al., MarioNette, arXiv v1 (2021), sections 3 and 4, and the defaults of the authors' code
2169016. The paper counts 42 hours of training; the code counts 200,000 steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from delaminate.config import setting
from delaminate.methods.settings import MethodConfig

LARGE_SPRITES = 64, 192
"""Sides in pixels between which the largest sprite lies that search looks for, where it follows the size of the images."""
SEARCHED, LEAST_SEARCHED, MOST_SEARCHED = 1_600_000, 12, 4080
"""Pixels, and frames at least and at most, that are searched in a round where no number of frames is set."""
MORE, ENOUGH = 2, 96
"""So many times the pixels where they make fewer than so many frames: sprites that are seldom seen need them."""


@dataclass(frozen=True, kw_only=True)
class Config(MethodConfig):
    """All settings of a MarioNette model and its training."""

    method: ClassVar[str] = "marionette"
    renamed: ClassVar[Mapping[str, str]] = {
        "rate": "learning_rate",
        "distil_rate": "distil_learning_rate",
        "search_price": "search_min_pixels",
        "search_share": "search_min_share",
        "background_rate": "background_learning_rate",
        "clip": "gradient_clip",
    }
    renamed_values: ClassVar[Mapping[str, Mapping[Any, Any]]] = {
        "background": {"still": "static", "scroll": "panorama"}
    }

    image_size: tuple[int, int] = setting(
        meaning="Height and width of the canvas in pixels; any. (0, 0): as the images are, which `train` fills in.",
        unit="px",
        minimum=0,
        maximum=4096,
        group="canvas and dictionary",
    )
    sprite_size: int = setting(
        32,
        "Side of a sprite in pixels, k (section 3.1).",
        unit="px",
        minimum=2,
        maximum=256,
        group="canvas and dictionary",
    )
    stride: int = setting(
        0,
        "Distance of anchors in pixels, s, a power of two; sprites move by up to s / 2. 0 is k / 2 (section 3.2).",
        unit="px",
        minimum=0,
        group="canvas and dictionary",
    )
    num_sprites: int = setting(
        150,
        "Sprites in the dictionary, m.",
        minimum=1,
        maximum=4096,
        group="canvas and dictionary",
    )
    code_width: int = setting(
        128,
        "Numbers in a code, d, and channels of every network; a multiple of 8.",
        minimum=8,
        maximum=1024,
        multiple_of=8,
        group="canvas and dictionary",
    )
    num_layers: int = setting(
        2,
        "Grids of anchors, L; later ones are in front.",
        minimum=1,
        maximum=4096,
        group="canvas and dictionary",
    )
    layer_norm: bool = setting(
        True,
        "Normalise codes, features and anchors. False is the paper's ablation (section 4.2); the original crashes "
        "there.",
        group="canvas and dictionary",
    )

    background: Literal["solid", "learned", "black", "static", "rooms", "panorama", "parallax", "auto"] = setting(
        "solid",
        "`solid`: the commonest colour, found before training. `learned`: a picture that frames are crops of, by "
        "gradients. For search alone: `static`, the commonest colour of every pixel; `rooms`, one such picture for each "
        "scene that a clip is cut to; `panorama`, what a camera passes over, put together from the frames; `parallax`, two "
        "of them, of which the nearer one scrolls faster; `auto`, that "
        "with which the description of all images is shortest.",
        group="background",
    )
    background_colour: tuple[int, ...] = setting(
        (),
        "Red, green and blue of a solid background, 0 to 255; empty: found. Filled in where images are transparent.",
        minimum=0,
        maximum=255,
        group="background",
    )
    background_size: tuple[int, int] = setting(
        (1, 4),
        "Height and width of a learned background, in frames. Departs: the original's is one frame high, always.",
        unit="frames",
        minimum=1,
        maximum=16,
        group="background",
    )
    background_width: int = setting(
        4,
        "Numbers in the code of a learned background (authors' code).",
        minimum=1,
        maximum=4096,
        group="background",
    )
    background_images: int = setting(
        100,
        "Images whose pixels are clustered for a solid background (section 3.5).",
        unit="images",
        minimum=1,
        maximum=4096,
        group="background",
    )
    background_clusters: int = setting(
        5,
        "Clusters of colours; the largest is the background (section 3.5).",
        minimum=1,
        maximum=4096,
        group="background",
    )
    soft_background: bool = setting(
        False,
        "Parity: average over crops of the background at test, too.",
        group="background",
    )

    offsets: Literal["discrete", "continuous"] = setting(
        "discrete",
        "`discrete`: a softmax over whole pixels (section 3.4). `continuous`: a bilinear shift, the code's default.",
        group="drawing",
    )
    clip_window: bool = setting(
        False,
        "Parity: cut shifted sprites to the k pixels of the unshifted one.",
        group="drawing",
    )
    premultiplied: bool = setting(
        True,
        "Average and fade colours premultiplied by alpha. Parity: False, which darkens what is half on.",
        group="drawing",
    )
    shuffle_layers: bool = setting(
        False,
        "In training, draw sub-lattices of all layers in one random order (`--shuffle_all` of the code).",
        group="drawing",
    )
    straight_through: bool = setting(
        False,
        "Round switches in training, with the gradient of the identity (`--straight_through_probs` of the code).",
        group="drawing",
    )
    mix_sprites: bool = setting(
        False,
        "Keep the mix of sprites at test, as the paper does for photographs and videos (section 3.3).",
        group="drawing",
    )

    regularizer: Literal["code", "paper"] = setting(
        "code",
        "`code`: mean Beta(2, 2) densities and a price on switches. `paper`: log Beta(0.5, 0.5) densities (section "
        "3.6).",
        group="regularization",
    )
    choice_weight: float = setting(
        0.002,
        "Of the densities: 0.002 in the code, 0.0001 in the paper.",
        minimum=0,
        group="regularization",
    )
    sparsity_weights: tuple[float, ...] = setting(
        (0.005,),
        "Price of a switch that is on, for each layer or one for all; with `code` only.",
        minimum=0,
        group="regularization",
    )

    search_steps: int = setting(
        0,
        "Rounds of search (stage `search`); 0 leaves it out.",
        unit="steps",
        minimum=0,
        group="search",
    )
    search_batch: int = setting(
        60,
        "Frames searched in a round; after the first, those of which most is not explained. 0: as many as make 1.6 "
        "megapixels together, or 3.2 with 96 frames at most; 12 at least.",
        unit="images",
        minimum=0,
        maximum=4096,
        group="search",
    )
    search_min_pixels: float = setting(
        8.0,
        "Pixels that a placement must explain to be worth its place.",
        unit="px",
        minimum=0,
        group="search",
    )
    search_min_share: float = setting(
        0.1,
        "The same as a share of the sprite; the higher of both counts.",
        above=0,
        maximum=1,
        group="search",
    )
    search_tolerance: float = setting(
        0.0,
        "Distance in RGB, in [0, 1] units, below which two colours count as one; above the noise of the source; of pages, "
        "half the darkness of ink. 0: estimated from the images. Up to 0.03 colours recur to the bit, and patterns are "
        "looked up instead of correlated.",
        minimum=0,
        maximum=1,
        group="search",
    )
    search_chroma: float = setting(
        0.0,
        "What chroma counts in that distance, beside luma: 1 as in RGB, less where compression smears it; half of "
        "that where sprites are compared. 0: estimated from the images.",
        minimum=0,
        maximum=1,
        group="search",
    )
    search_match: float = setting(
        0.0,
        "Share of a small patch that must agree to be the same patch; 1 minus the noise of the source. 0: estimated "
        "from the images.",
        minimum=0,
        maximum=1,
        group="search",
    )
    search_seed: int = setting(
        7,
        "Side of such a patch in pixels.",
        unit="px",
        minimum=3,
        maximum=31,
        group="search",
    )
    search_parts: Literal["patches", "components"] = setting(
        "patches",
        "What sprites grow from: `patches` cut out anywhere, or whole `components` that nothing touches, such as "
        "letters.",
        group="search",
    )
    max_sprite: int = setting(
        64,
        "Largest height and width of a sprite that search may find, in pixels. 0: 64, and for what nothing touches a third of "
        "the images' shorter side, 192 at most.",
        unit="px",
        minimum=0,
        maximum=512,
        group="search",
    )
    flips: bool = setting(
        True,
        "Search finds sprites mirrored, too.",
        group="search",
    )
    recolours: bool = setting(
        True,
        "Sprites that differ in colours only are one sprite, recoloured (by gain and offset of each channel).",
        group="search",
    )

    straighten: bool = setting(
        False,
        "Images are scanned or photographed pages: uneven light is evened out and skew turned back before they are taken "
        "apart, and both are in the scenes again.",
        group="search",
    )

    given_sprites: tuple[str, ...] = setting(
        (),
        "Names of the sprites that were given beforehand (`train --sprites`), which fills them in: they are first in the "
        "dictionary, and search leaves them as they are.",
        group="search",
    )

    distil_steps: int = setting(
        0,
        "Steps in which the network learns what search has found (stage `distil`); 0 leaves it out.",
        unit="steps",
        minimum=0,
        group="distillation",
    )
    distil_batch: int = setting(
        16,
        "Images in a step while distilling.",
        unit="images",
        minimum=1,
        maximum=4096,
        group="distillation",
    )
    distil_learning_rate: float = setting(
        1e-3,
        "Learning rate while distilling.",
        minimum=0,
        group="distillation",
    )

    batch: int = setting(
        8,
        "Images in a step.",
        unit="images",
        minimum=1,
        maximum=4096,
        group="training",
    )
    steps: int = setting(
        200_000,
        "Steps of gradient training (stage `refine`).",
        unit="steps",
        minimum=0,
        group="training",
    )
    learning_rate: float = setting(
        1e-4,
        "Learning rate (section 3.6).",
        minimum=0,
        group="training",
    )
    background_learning_rate: float = setting(
        1e-3,
        "Learning rate of a learned background (section 3.6).",
        minimum=0,
        group="training",
    )
    weight_decay: float = setting(
        0.01,
        "Decoupled; the default of AdamW.",
        minimum=0,
        group="training",
    )
    cosine: bool = setting(
        False,
        "Let the rates fall to 0 along a half cosine, after a short warm-up.",
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
        "Run the convolutions in bfloat16, where the device has units for it; choices, sprites and errors stay "
        "float32.",
        group="training",
    )

    def check(self) -> None:
        self._check_shapes()
        self._check_stages()

    def _check_shapes(self) -> None:
        """Sizes and counts."""
        if self.image_size != (0, 0) and 0 in self.image_size:
            self.refuse("image_size", "expected two sizes between 1 and 4096 pixels, or (0, 0) for that of the images.")
        if self.stride == 1 or self.stride & (self.stride - 1):
            self.refuse("stride", "expected a power of two from 2, or 0 for half a sprite.")
        if self.step_size < 2 or self.step_size & (self.step_size - 1):
            self.refuse(
                "sprite_size", "half of it is not a power of two from 2; expected that, or another `stride` than 0."
            )
        if self.step_size > self.sprite_size or (self.sprite_size - self.step_size) % 2:
            self.refuse("stride", f"expected an even number, at most {self.sprite_size}, that leaves even margins.")
        if len(self.background_colour) not in (0, 3):
            self.refuse("background_colour", "expected three numbers, or none.")
        if 0 < self.max_sprite < self.search_seed + 2:
            self.refuse("max_sprite", f"expected 0, or a number of pixels between {self.search_seed + 2} and 512.")
        if len(self.sparsity_weights) not in (1, self.num_layers):
            self.refuse("sparsity_weights", f"expected one number, or {self.num_layers}.")

    def _check_stages(self) -> None:
        """What is learned when, and what goes together."""
        if self.distil_steps and not self.search_steps:
            self.refuse("distil_steps", "there is nothing to distil without search_steps.")
        if self.distil_steps and self.background not in ("solid", "black"):
            self.refuse(
                "distil_steps", "expected background=solid or black: the network has no other that search finds."
            )
        if self.distil_steps and self.offsets != "discrete":
            self.refuse("distil_steps", "search places at whole pixels: expected offsets=discrete.")
        if self.background in ("static", "rooms", "panorama", "parallax", "auto") and (
            self.steps or not self.search_steps
        ):
            self.refuse(
                "background", "only search knows it: expected search_steps above 0 and steps=0, or solid or learned."
            )

    def frames_a_round(self, size: tuple[int, int]) -> int:
        """Frames that are searched in a round, of a height and width in pixels."""
        pixels = max(size[0] * size[1], 1)
        # Twelves, which 2, 3, 4 or 6 processes share.
        count = 12 * max(SEARCHED // pixels // 12, min(MORE * SEARCHED // pixels, ENOUGH) // 12)
        return self.search_batch or min(max(count, LEAST_SEARCHED), MOST_SEARCHED)

    @property
    def largest_sprite(self) -> int:
        """Height and width of a sprite that search may find, in pixels."""
        return self.max_sprite or min(max(min(self.image_size) // 3, LARGE_SPRITES[0]), LARGE_SPRITES[1])

    @property
    def tolerance(self) -> float:
        """Distance in RGB below which two colours count as one, in [0, 1] units."""
        return self.search_tolerance or 0.06

    @property
    def chroma(self) -> float:
        """What chroma counts in the distance of two colours."""
        return self.search_chroma or 1.0

    @property
    def match(self) -> float:
        """Share of a patch that must agree."""
        return self.search_match or 0.95

    @property
    def step_size(self) -> int:
        """Distance of anchors in pixels, s."""
        return self.stride or self.sprite_size // 2

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of anchors: the canvas is continued to whole cells."""
        high, wide = (-(-n // self.step_size) for n in self.image_size)
        return high, wide


# Section 4: all experiments at 128 x 128; 150 sprites and 2 layers are the code's defaults where the paper is silent.
_PAPER = {
    "floating-sprites": Config(image_size=(128, 128)),
    "platform-game": Config(image_size=(128, 128)),
    "space-invaders": Config(image_size=(128, 128), sprite_size=16),
    "video": Config(image_size=(128, 128), background="learned", mix_sprites=True),
    "photo": Config(image_size=(128, 128), num_sprites=50, mix_sprites=True),
    "text-pages": Config(image_size=(128, 128)),
}

# Recommendations: search, at the images' own resolution; within minutes it finds what gradients look for in days.
_SEARCH = Config(image_size=(0, 0), background="auto", search_steps=3, steps=0)

_RECOMMENDED = {
    "video": replace(_SEARCH, search_batch=0, max_sprite=0),
    "floating-sprites": replace(_SEARCH, image_size=(128, 128), background="solid", flips=False),
    "platform-game": replace(_SEARCH, image_size=(230, 230), background="solid", flips=False, search_batch=40),
    "space-invaders": replace(_SEARCH, image_size=(210, 160), background="solid", flips=False, max_sprite=48),
    "photo": replace(_PAPER["photo"], mix_sprites=False, learning_rate=2e-4, cosine=True, gradient_clip=1.0,
    ema=0.995, steps=50_000),
    "text-pages": replace(
        _SEARCH, background="solid", search_parts="components", search_seed=11, search_match=0.84,
        max_sprite=96, flips=False, recolours=False, search_batch=2, search_steps=2, num_sprites=400,
        straighten=True,
    ),
}  # fmt: skip

PRESETS: dict[str, Config] = {
    **_RECOMMENDED,
    **{f"{name}-paper": config for name, config in _PAPER.items()},
    **{
        f"{name}-parity": replace(
            config, offsets="continuous", clip_window=True, premultiplied=False, soft_background=True, mix_sprites=False
        )
        for name, config in _PAPER.items()
    },
}

"""MarioNette: every setting with its meaning, and the presets.

`NAME` is our recommendation, `NAME-paper` the published numbers in sound code, `NAME-parity` adds the original's quirks.
Published numbers: Smirnov et al., MarioNette, arXiv v1 (2021), sections 3 and 4, and the defaults of the authors' code
2169016. The paper counts 42 hours of training; the code counts 200,000 steps.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from delaminate.errors import ConfigError


@dataclass(frozen=True)
class Config:
    """All settings of a MarioNette model and its training."""

    image_size: tuple[int, int]
    """Height and width of the canvas in pixels; any. (0, 0): as the images are, which `train` fills in."""
    sprite_size: int = 32
    """Side of a sprite in pixels, k (section 3.1)."""
    stride: int = 0
    """Distance of anchors in pixels, s, a power of two; sprites move by up to s / 2. 0 is k / 2 (section 3.2)."""
    num_sprites: int = 150
    """Sprites in the dictionary, m."""
    code_width: int = 128
    """Numbers in a code, d, and channels of every network; a multiple of 8."""
    num_layers: int = 2
    """Grids of anchors, L; later ones are in front."""
    layer_norm: bool = True
    """Normalise codes, features and anchors. False is the paper's ablation (section 4.2); the original crashes there."""

    background: Literal["solid", "learned", "black", "still", "scroll", "auto"] = "solid"
    """`solid`: the commonest colour, found before training. `learned`: a picture that frames are crops of, by gradients.
    For search alone: `still`, the median of every pixel; `scroll`, the landscape that a camera passes over, put together
    from the frames; `auto`, whichever of the three explains most."""
    background_size: tuple[int, int] = (1, 4)
    """Height and width of a learned background, in frames. Departs: the original's is one frame high, always."""
    background_width: int = 4
    """Numbers in the code of a learned background (authors' code)."""
    background_images: int = 100
    """Images whose pixels are clustered for a solid background (section 3.5)."""
    background_clusters: int = 5
    """Clusters of colours; the largest is the background (section 3.5)."""
    soft_background: bool = False
    """Parity: average over crops of the background at test, too."""

    offsets: Literal["discrete", "continuous"] = "discrete"
    """`discrete`: a softmax over whole pixels (section 3.4). `continuous`: a bilinear shift, the code's default."""
    clip_window: bool = False
    """Parity: cut shifted sprites to the k pixels of the unshifted one."""
    premultiplied: bool = True
    """Average and fade colours premultiplied by alpha. Parity: False, which darkens what is half on."""
    shuffle_layers: bool = False
    """In training, draw sub-lattices of all layers in one random order (`--shuffle_all` of the code)."""
    straight_through: bool = False
    """Round switches in training, with the gradient of the identity (`--straight_through_probs` of the code)."""
    mix_sprites: bool = False
    """Keep the mix of sprites at test, as the paper does for photographs and videos (section 3.3)."""

    regularizer: Literal["code", "paper"] = "code"
    """`code`: mean Beta(2, 2) densities and a price on switches. `paper`: log Beta(0.5, 0.5) densities (section 3.6)."""
    choice_weight: float = 0.002
    """Of the densities: 0.002 in the code, 0.0001 in the paper."""
    sparsity_weights: tuple[float, ...] = (0.005,)
    """Price of a switch that is on, for each layer or one for all; with `code` only."""

    search_steps: int = 0
    """Rounds of search (stage `search`); 0 leaves it out."""
    search_batch: int = 60
    """Frames searched in a round."""
    search_price: float = 8.0
    """Pixels that a placement must explain to be worth its place."""
    search_share: float = 0.1
    """The same as a share of the sprite; the higher of both counts."""
    search_tolerance: float = 0.06
    """Distance in RGB, in [0, 1] units, below which two colours count as one; above the noise of the source."""
    search_match: float = 0.95
    """Share of a small patch that must agree to be the same patch; 1 minus the noise of the source."""
    search_seed: int = 7
    """Side of such a patch in pixels."""
    search_parts: Literal["patches", "components"] = "patches"
    """What sprites grow from: `patches` cut out anywhere, or whole `components` that nothing touches, such as letters."""
    max_sprite: int = 64
    """Largest height and width of a sprite that search may find, in pixels."""
    flips: bool = True
    """Search finds sprites mirrored, too."""
    recolours: bool = True
    """Sprites that differ in colours only are one sprite, recoloured (by gain and offset of each channel)."""

    distil_steps: int = 0
    """Steps in which the network learns what search has found (stage `distil`); 0 leaves it out."""
    distil_batch: int = 16
    distil_rate: float = 1e-3
    """Learning rate while distilling."""

    batch: int = 8
    steps: int = 200_000
    """Steps of gradient training (stage `refine`)."""
    rate: float = 1e-4
    """Learning rate (section 3.6)."""
    background_rate: float = 1e-3
    """Learning rate of a learned background (section 3.6)."""
    weight_decay: float = 0.01
    """Decoupled; the default of AdamW."""
    cosine: bool = False
    """Let the rates fall to 0 along a half cosine, after a short warm-up."""
    clip: float | None = None
    """Largest gradient norm."""
    ema: float = 0.0
    """Decay of the averaged weights used for results; 0 uses the last weights."""
    bf16: bool = False
    """Run the convolutions in bfloat16, where the device has units for it; choices, sprites and errors stay float32."""

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_stages()
        self._check_numbers()

    def _refuse(self, key: str, why: str) -> None:
        raise ConfigError(f"marionette: {key} is {getattr(self, key)!r}; {why}")

    def _check_shapes(self) -> None:
        """Sizes and counts."""
        refuse = self._refuse
        if self.image_size != (0, 0) and not all(1 <= n <= 4096 for n in self.image_size):
            refuse("image_size", "expected two sizes between 1 and 4096 pixels, or (0, 0) for that of the images.")
        if not 2 <= self.sprite_size <= 256:
            refuse("sprite_size", "expected a number between 2 and 256.")
        if self.stride < 0 or self.stride == 1 or self.stride & (self.stride - 1):
            refuse("stride", "expected a power of two from 2, or 0 for half a sprite.")
        if self.step_size < 2 or self.step_size & (self.step_size - 1):
            refuse("sprite_size", "half of it is no power of two from 2; expected one, or a `stride` of its own.")
        if self.step_size > self.sprite_size or (self.sprite_size - self.step_size) % 2:
            refuse("stride", f"expected an even number, at most {self.sprite_size}, that leaves even margins.")
        if not 8 <= self.code_width <= 1024 or self.code_width % 8:
            refuse("code_width", "expected a multiple of 8 between 8 and 1024.")
        for key in (
            "num_sprites",
            "num_layers",
            "background_width",
            "background_images",
            "background_clusters",
            "batch",
            "search_batch",
            "distil_batch",
        ):
            if not 1 <= getattr(self, key) <= 4096:
                refuse(key, "expected a number between 1 and 4096.")
        if not all(1 <= n <= 16 for n in self.background_size):
            refuse("background_size", "expected two numbers of frames between 1 and 16.")
        if not 3 <= self.search_seed <= 31:
            refuse("search_seed", "expected a number of pixels between 3 and 31.")
        if not self.search_seed + 2 <= self.max_sprite <= 512:
            refuse("max_sprite", f"expected a number of pixels between {self.search_seed + 2} and 512.")

    def _check_stages(self) -> None:
        """What is learned when, and what goes together."""
        refuse = self._refuse
        for key in ("steps", "search_steps", "distil_steps"):
            if getattr(self, key) < 0:
                refuse(key, "expected 0 or more.")
        if self.distil_steps and not self.search_steps:
            refuse("distil_steps", "there is nothing to distil without search_steps.")
        if self.distil_steps and self.background not in ("solid", "black"):
            refuse("distil_steps", "expected background=solid or black: the network has no other that search finds.")
        if self.distil_steps and self.offsets != "discrete":
            refuse("distil_steps", "search places at whole pixels: expected offsets=discrete.")
        if self.background in ("still", "scroll", "auto") and (self.steps or not self.search_steps):
            refuse(
                "background", "only search knows it: expected search_steps above 0 and steps=0, or solid or learned."
            )

    def _check_numbers(self) -> None:
        """Shares, prices, rates."""
        refuse = self._refuse
        for key in ("search_share", "search_match", "search_tolerance"):
            if not 0 < getattr(self, key) <= 1:
                refuse(key, "expected a number above 0, at most 1.")
        for key in ("search_price", "choice_weight", "distil_rate", "rate", "background_rate", "weight_decay"):
            if not 0 <= getattr(self, key) < math.inf:
                refuse(key, "expected a number, 0 or more.")
        if len(self.sparsity_weights) not in (1, self.num_layers) or not all(
            0 <= weight < math.inf for weight in self.sparsity_weights
        ):
            refuse("sparsity_weights", f"expected one number, or {self.num_layers}, each 0 or more.")
        if not 0 <= self.ema < 1:
            refuse("ema", "expected a number in [0, 1).")
        if self.clip is not None and not self.clip > 0:
            refuse("clip", "expected a number above 0, or null.")

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
    "video": _SEARCH,
    "floating-sprites": replace(_SEARCH, image_size=(128, 128), background="solid", flips=False),
    "platform-game": replace(_SEARCH, image_size=(230, 230), background="solid", flips=False, search_batch=40),
    "space-invaders": replace(_SEARCH, image_size=(210, 160), background="solid", flips=False, max_sprite=48),
    "photo": replace(_PAPER["photo"], mix_sprites=False, rate=2e-4, cosine=True, clip=1.0, ema=0.995, steps=50_000),
    "text-pages": replace(
        _SEARCH, background="solid", search_parts="components", search_seed=11, search_match=0.84, search_tolerance=0.3,
        max_sprite=96, flips=False, recolours=False, search_batch=2, search_steps=2, num_sprites=400,
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

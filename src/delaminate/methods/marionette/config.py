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
    """Height and width of the canvas in pixels; any."""
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

    background: Literal["solid", "learned", "black"] = "solid"
    """`solid`: the commonest colour, found before training. `learned`: a picture that frames are crops of."""
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
    """Run the convolutions in bfloat16; choices, sprites and errors stay float32."""

    def __post_init__(self) -> None:
        def refuse(key: str, why: str) -> None:
            raise ConfigError(f"marionette: {key} is {getattr(self, key)!r}; {why}")

        if not all(1 <= n <= 4096 for n in self.image_size):
            refuse("image_size", "expected two sizes between 1 and 4096 pixels.")
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
        ):
            if not 1 <= getattr(self, key) <= 4096:
                refuse(key, "expected a number between 1 and 4096.")
        if not all(1 <= n <= 16 for n in self.background_size):
            refuse("background_size", "expected two numbers of frames between 1 and 16.")
        if self.steps < 0:
            refuse("steps", "expected 0 or more.")
        for key in ("choice_weight", "rate", "background_rate", "weight_decay"):
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

# Recommendations: native resolution, averaged weights, and rates that fall; text needs more anchors than the paper gave it.
_RECOMMENDED = {
    "floating-sprites": _PAPER["floating-sprites"],
    "platform-game": replace(_PAPER["platform-game"], image_size=(230, 230), num_sprites=50),
    "space-invaders": replace(_PAPER["space-invaders"], image_size=(210, 160), num_sprites=54),
    "video": replace(_PAPER["video"], mix_sprites=False),
    "photo": replace(_PAPER["photo"], mix_sprites=False),
    "text-pages": replace(_PAPER["text-pages"], sprite_size=16),
}
_RECOMMENDED = {
    name: replace(config, rate=2e-4, cosine=True, clip=1.0, ema=0.995, steps=50_000)
    for name, config in _RECOMMENDED.items()
}

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

"""Method, Stage, Player: what every paper's file is made of."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Generator, Tensor, nn

from delaminate.config import build, suggest
from delaminate.errors import ConfigError, DataError, FormatError, ShapeError
from delaminate.methods.players import Carry, Stage
from delaminate.nets.precision import has_bfloat16
from delaminate.rng import stream
from delaminate.scene.canvas_map import Frame
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary

SLACK = 1 / 255
"""By how much images may lie outside [0, 1]: resampling overshoots."""

# Not typing.Self: run-time annotation checkers refuse it on methods.
M = TypeVar("M", bound="Method")


class Method(nn.Module, ABC):
    """Makes layers. One paper, one file.

    Attributes:
        name: Hyphenated name, as on the command line.
        config: The frozen dataclass of all settings.
    """

    name: ClassVar[str]
    config: Any

    def __init__(self, config: Any, seed: int = 0) -> None:
        super().__init__()
        self.config = config

    @property
    @abstractmethod
    def decomposers(self) -> tuple[str, ...]:
        """The ways this model can decompose, by what has been trained; the first is the default, empty if there is none."""

    @property
    def default(self) -> str:
        """The first of `decomposers`.

        Raises:
            ConfigError: No part that decomposes has been trained.
        """
        if not self.decomposers:
            stages = ", ".join(stage.name for stage in self.stages())
            raise ConfigError(
                f"{self.name}: no part of this model that decomposes has been trained yet. Its training has the stages "
                f"{stages}."
            )
        return self.decomposers[0]

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """List the stages of training, with players bound to this model."""

    @abstractmethod
    def dictionary(self) -> Dictionary:
        """Show the sprites as they stand, backgrounds last."""

    @abstractmethod
    def _decompose(self, images: Float[Tensor, "B 3 H W"], by: str) -> Decomposition:
        """Decompose images of the model's size."""

    @property
    @abstractmethod
    def image_size(self) -> tuple[int, int]:
        """Height and width of the canvas in pixels."""

    @abstractmethod
    def error(self, images: Float[Tensor, "B 3 H W"], stage: str) -> Float[Tensor, " B"]:
        """Measure, without labels, how badly the model does: mean squared error per image."""

    @abstractmethod
    def parts(self, everything: bool = False) -> dict[str, Tensor]:
        """List the tensors of a model folder by their names: those trained, or everything that may be there."""

    optional_parts: ClassVar[tuple[str, ...]] = ()
    """Prefixes of tensors that may be absent together, because that part was never trained."""

    free_parts: ClassVar[tuple[str, ...]] = ()
    """Tensors of a model folder whose height and width (the last two numbers of the shape) may be any."""

    exact_parts: ClassVar[tuple[str, ...]] = ()
    """Tensors that are stored as they are, even where others become float16: tables that hold numbers of sprites."""

    def takes(self, size: tuple[int, int], by: str) -> bool:
        """Whether images of this size can be decomposed as they are; others are resampled to `image_size`."""
        return size == self.image_size

    averaged: ClassVar[tuple[str, ...]] = ("",)
    """Prefixes of the parameters that have a running mean (`ema` of the configuration): what decomposes, or what later stages
    learn from."""

    def carries_photo(self, by: str) -> bool:
        """Whether layers show the image itself through alphas, so that there is nothing that could be reconstructed."""
        return False

    def collapsed(self, carry: Carry) -> str | None:
        """Say in words, and without labels, that training has failed; None: it has not. Asked after every step.

        A collapsed run begins anew with `restart`, as often as `restarts` of the configuration says.
        """
        return None

    def settled(self, carry: Carry) -> str | None:
        """Say in words, and without labels, that nothing changes any more, so that the stage ends; None: it goes on.

        Asked after every step.
        """
        return None

    def restart(self, seed: int, attempt: int) -> None:
        """Begin anew: weights and buffers of a fresh model, drawn from (seed, attempt)."""
        fresh = type(self)(self.config, int(stream(seed, "restart", attempt).initial_seed()))
        self.load_state_dict(fresh.state_dict())

    def cautions(self, device: torch.device) -> tuple[str, ...]:
        """Say what of the configuration a device cannot do; remarks for the user."""
        if getattr(self.config, "bf16", False) and not has_bfloat16(device.type):
            return ("bf16: this device has no units for bfloat16; networks compute in float32, which is faster here.",)
        return ()

    def prepare(self, pixels: UInt8[Tensor, "N 3 H W"]) -> tuple[str, ...]:
        """Look at all training images once, before the first step and before a run is resumed; deterministic.

        Returns:
            What the user should know about them.

        Raises:
            DataError: Nothing can be learned from these images.
        """
        return ()

    @classmethod
    def from_pretrained(cls: type[M], name: str | Path, device: str | torch.device = "cpu") -> M:
        """Load a model of this method by folder, zoo name or `hub:owner/name`.

        Raises:
            FormatError: The folder is damaged, or holds a model of another method.
            ConfigError: There is no such model.
        """
        from delaminate.methods.storage import load_model

        model = load_model(name, device)
        if not isinstance(model, cls):
            raise FormatError(f"{name}: is a {model.name} model, not {cls.name}. Use delaminate.load_model.")
        return model

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a model folder that `from_pretrained` reads."""
        from delaminate.methods.storage import save_model

        save_model(self, Path(folder))

    @abstractmethod
    def load_parts(self, parts: Mapping[str, Tensor]) -> None:
        """Take the tensors of a model folder."""

    def begin(self, stage: str) -> None:
        """Prepare for a stage that begins (not for one that resumes)."""

    rows: ClassVar[str] = "images, what they are rebuilt to, sprites"
    """What the rows of `preview` are, in words."""

    def preview(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "N 3 _h _w"]]:
        """Rows of pictures in [0, 1] that show how training goes: images, what they are rebuilt to, sprites."""
        found = self.decompose(images)
        sprites = found.dictionary.sprites[:24]
        height = max((sprite.shape[1] for sprite in sprites), default=0)
        width = max((sprite.shape[2] for sprite in sprites), default=0)
        row = torch.full((len(sprites), 3, height, width), 0.3)
        for canvas, sprite in zip(row, sprites, strict=True):
            window = canvas[:, : sprite.shape[1], : sprite.shape[2]]
            window.copy_(window * (1 - sprite[3:]) + sprite[:3] * sprite[3:])
        return [images, found.composite(), *([row] if len(sprites) else [])]

    def after_update(self, rng: Generator, carry: Carry) -> Mapping[str, float | Tensor]:
        """Look after the model once all players had their turn; returns figures for the log."""
        return {}

    @classmethod
    def preset(cls: type[M], name: str, seed: int = 0, **settings: Any) -> M:
        """Make an untrained model from a preset, with some settings changed.

        Raises:
            ConfigError: The preset or a setting is unknown.
        """
        from delaminate.methods import METHODS

        presets = METHODS[cls.name][1]
        if name not in presets:
            raise ConfigError(f"{cls.name}: unknown preset {name!r}. {suggest(name, list(presets))}")
        return cls(build(presets[name], settings, cls.name), seed)

    @torch.no_grad()
    def decompose(
        self,
        images: Float[Tensor, "B 3 H W"] | Float[Tensor, "3 H W"],
        by: str | None = None,
        frames: tuple[Frame, ...] | None = None,
    ) -> Decomposition:
        """Take images apart. Deterministic.

        Images of another size than the model's are resampled to it (antialiased, aspect not kept); the scenes of the result
        have the original size.

        Args:
            images: In [0, 1], a batch or a single one.
            by: One of `decomposers`; None is the default.
            frames: How images of the model's size sit in their originals; carried into the result.

        Raises:
            ConfigError: This model cannot decompose that way.
            ShapeError: These are no images.
            DataError: Their values lie outside [0, 1], or are no numbers.
        """
        by = by or self.default
        if by not in self.decomposers:
            raise ConfigError(
                f"{self.name}: cannot decompose by {by!r}: this model holds {', '.join(self.decomposers)}."
            )
        if images.ndim == 3:
            images = images[None]
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:] or not images.is_floating_point():
            raise ShapeError(
                f"{self.name}: images are {images.dtype} {tuple(images.shape)}; expected floats (B, 3, H, W) in [0, 1]."
            )
        if not len(images):  # like what one image gives, without it
            return self.decompose(images.new_zeros(1, 3, *self.image_size), by)[:0]
        low, high = images.aminmax()
        if not (low >= -SLACK and high <= 1 + SLACK):
            raise DataError(
                f"{self.name}: images have values from {float(low):g} to {float(high):g}; expected [0, 1]. Divide pixels by "
                "255, or undo the normalisation."
            )
        height, width = images.shape[-2:]
        if not self.takes((height, width), by):
            box = (0.0, 0.0, float(width), float(height))
            frames = (Frame((height, width), box, self.image_size),) * len(images)
            images = F.interpolate(images, self.image_size, mode="bilinear", antialias=True, align_corners=False)
        was_training = self.training
        self.eval()
        try:
            found = self._decompose(images, by)
        finally:
            self.train(was_training)
        return Decomposition(found.dictionary, found.images, found.size, found.background, frames)

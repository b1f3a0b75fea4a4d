"""Method: what every paper's class is made of, and what it can do."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor, nn

from delaminate.config import at_defaults, build, suggest
from delaminate.errors import ConfigError, DataError, FormatError, ShapeError, one_line, reading
from delaminate.methods import storage
from delaminate.methods.graph import LayerGraph
from delaminate.methods.players import Stage, StepContext
from delaminate.methods.settings import MethodConfig
from delaminate.nets.precision import evaluation_mode, has_bfloat16
from delaminate.rng import stream
from delaminate.scene.canvas_map import CanvasMap
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.layers import Layers
from delaminate.scene.placements import Dictionary

ALIKE = 0.12
"""Distance in RGB, in [0, 1] units, up to which a pixel counts as explained."""
SLACK = 1 / 255
"""By how much images may lie outside [0, 1]: resampling overshoots."""

# Not typing.Self: run-time annotation checkers refuse it on methods.
M = TypeVar("M", bound="Method")


@dataclass(frozen=True)
class Forecast:
    """What a computation on large images will take, roughly.

    Attributes:
        num_bytes: Of memory.
        seconds: On one core.
        what: What is computed, in words, such as "3 rounds on 60".
        advice: What makes it less; empty where nothing does.
    """

    num_bytes: float
    seconds: float
    what: str
    advice: str = ""


class Method(nn.Module, ABC):
    """Makes layers. One paper, one folder; a fifth one is one file anywhere (docs/add-a-method.md).

    Attributes:
        name: Hyphenated name, as on the command line.
        presets: Configurations by name; the first is the one for a folder of one's own.
        needs_preset: Which preset to choose, for whoever trains on a folder and names none; empty where the first one suits.
        training_signals: Figures of a training to look at while it runs, with their meaning.
        preview_rows: What the rows of `preview` are, in words.
        ema_prefixes: Prefixes of the parameters that have a running mean (setting `ema`): what decomposes, or what later
            stages learn from.
        config: The frozen dataclass of all settings.
        origin: The file of weights that it was loaded from, for messages; None: it was not.
    """

    name: ClassVar[str]
    presets: ClassVar[Mapping[str, Any]] = {}
    needs_preset: ClassVar[str] = ""
    training_signals: ClassVar[Mapping[str, str]] = {}
    preview_rows: ClassVar[str] = "images, what they are rebuilt to, sprites"
    ema_prefixes: ClassVar[tuple[str, ...]] = ("",)
    config: Any

    def __init__(self, config: MethodConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.origin: Path | None = None

    # --- making models ----------------------------------------------------------------------------------------------

    @classmethod
    def preset_config(cls, name: str) -> Any:
        """Look a preset up.

        Raises:
            ConfigError: There is none of this name.
        """
        if name not in cls.presets:
            raise ConfigError(f"{cls.name}: unknown preset {name!r}. {suggest(name, list(cls.presets))}")
        return cls.presets[name]

    @classmethod
    def preset(cls: type[M], name: str, seed: int = 0, **settings: Any) -> M:
        """Make an untrained model from a preset, with some settings changed.

        Raises:
            ConfigError: The preset or a setting is unknown.
        """
        return cls(build(cls.preset_config(name), settings, cls.name), seed)

    @classmethod
    def fill_config(
        cls, config: Any, pixels: UInt8[Tensor, "N 3 H W"], transparent: tuple[int, int, int] | None = None
    ) -> Any:
        """Fill in what a configuration leaves to the images: their size.

        Args:
            config: A configuration of this method.
            pixels: What will be trained on.
            transparent: The colour, 0..255, that stands for nothing in them; None: there is none.
        """
        if config.image_size == (0, 0):
            return replace(config, image_size=(int(pixels.shape[2]), int(pixels.shape[3])))
        return config

    @classmethod
    def straightens(cls, config: Any) -> bool:
        """Whether images are scanned pages, which are turned upright and lit evenly before they are taken apart."""
        return False

    def give_sprites(self, sprites: Mapping[str, UInt8[np.ndarray, "_h _w 4"]], resume: bool = False) -> None:
        """Begin the training with sprites that are known, which it keeps as they are.

        Args:
            sprites: RGBA, not premultiplied, by their names.
            resume: The training goes on, and began with these.

        Raises:
            ConfigError: This method, or this configuration of it, cannot; they are too many, or others than it began with.
            DataError: One shows nothing.
        """
        raise ConfigError(f"{self.name}: cannot begin with sprites that are given; only marionette's search can.")

    @classmethod
    def read_config(cls, values: Mapping[str, Any], where: str) -> Any:
        """Make a configuration from stored settings; those that are not there were added later, and have their default.

        Raises:
            ConfigError: A setting is unknown or has a value that it cannot have.
        """
        return build(at_defaults(next(iter(cls.presets.values()))), values, where)

    @classmethod
    def from_pretrained(cls: type[M], name: str | Path, device: str | torch.device = "cpu") -> M:
        """Load a model of this method by folder, zoo name or `hub:owner/name`.

        Raises:
            FormatError: The folder is damaged, or holds a model of another method.
            ConfigError: There is no such model.
        """
        folder = storage.model_folder(name)
        method, _ = storage.read_config(folder)
        if method != cls.name:
            raise FormatError(f"{name}: is a {method} model, not {cls.name}. Use delaminate.load_model.")
        return cls.from_folder(folder, device)

    @classmethod
    def from_folder(cls: type[M], folder: Path, device: str | torch.device = "cpu") -> M:
        """Load a model folder of this method.

        Raises:
            FormatError: Anything in the folder is not what it should be.
        """
        settings, weights = folder / "config.json", folder / "model.safetensors"
        with reading(settings, FormatError, "asks for a model that cannot be built"):
            config = cls.read_config(storage.read_config(folder)[1], str(settings))
            try:
                with storage.SizeLimit(storage.LARGEST_MODEL):
                    model = cls(config)
            except OverflowError:
                raise storage.too_large(folder) from None
        rules = storage.TensorRules(model.export_state(everything=True), cls.optional_tensors, cls.resizable_tensors)
        tensors = storage.read_tensors(folder, rules)
        with reading(weights, FormatError, "holds what does not go together"):
            model.import_state(tensors)
        model.origin = weights
        model.eval()
        return model.to(device)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a model folder that `from_pretrained` reads."""
        storage.save_model(self, Path(folder))

    # --- what came out ----------------------------------------------------------------------------------------------

    @property
    def transparent(self) -> tuple[int, int, int] | None:
        """The colour, 0..255, that stands for nothing in images; None: no colour does."""
        return None

    @property
    def background_text(self) -> str:
        """What was taken for the background, in a few words; empty where there is nothing to say."""
        return ""

    def same_colours(self, one: Float[Tensor, "B 3 H W"], other: Float[Tensor, "B 3 H W"]) -> Bool[Tensor, "B H W"]:
        """Whether pixels in [0, 1] count as equal where it is judged what is explained: within `ALIKE`."""
        return (one - other).square().sum(1) <= ALIKE**2

    def advice(self, level: str, by: str) -> str:
        """What to try where images are explained only partly (`fair`), badly (`poor`), or not at all (`nothing`)."""
        return (
            ""
            if level == "good"
            else "More steps, more images or other settings may help; `delaminate settings` lists them."
        )

    # --- storage ----------------------------------------------------------------------------------------------------

    stored_tensors: ClassVar[tuple[str, ...]] = ("",)
    """Prefixes of the weights and buffers that are stored."""

    optional_tensors: ClassVar[tuple[str, ...]] = ()
    """Prefixes of tensors that may be absent together, because that part was never trained."""

    resizable_tensors: ClassVar[tuple[str, ...]] = ()
    """Tensors of a model folder whose height and width (the last two numbers of the shape) may be any."""

    exact_tensors: ClassVar[tuple[str, ...]] = ()
    """Tensors that are stored as they are, even where others become float16: tables that hold numbers of sprites."""

    def holds(self, prefix: str) -> bool:
        """Whether the part of one of `optional_tensors` is there."""
        return True

    def on_import(self, there: Mapping[str, bool]) -> None:
        """Note which of `optional_tensors` were there, once a model folder has been read."""

    def export_state(self, everything: bool = False) -> dict[str, Tensor]:
        """List the tensors of a model folder by their names: those trained, or everything that may be there."""
        left_out = () if everything else tuple(prefix for prefix in self.optional_tensors if not self.holds(prefix))
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if name.startswith(self.stored_tensors) and not name.startswith(left_out)
        }

    @torch.no_grad()
    def import_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the tensors of a model folder."""
        state = self.state_dict()
        for name, tensor in tensors.items():
            state[name].copy_(tensor)
        self.on_import({prefix: any(name.startswith(prefix) for name in tensors) for prefix in self.optional_tensors})

    # --- decomposing ------------------------------------------------------------------------------------------------

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the canvas in pixels."""
        size: tuple[int, int] = self.config.image_size
        return size

    @property
    def decomposers(self) -> tuple[str, ...]:
        """The ways this model can decompose, by what has been trained; the first is the default, empty if there is none."""
        return ("network",)

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

    @property
    def judged_by(self) -> str:
        """Of `decomposers`, that by which a verdict is reached: one that rebuilds images tells more than a cut-out."""
        return self.default

    def dictionary(self) -> Dictionary:
        """Show the sprites as they stand, backgrounds last; a method without sprites has none."""
        return Dictionary(())

    @torch.no_grad()
    def shown_sprites(self) -> list[Float[Tensor, "4 _h _w"]]:
        """The sprites as they stand, to be looked at while training goes on; without backgrounds."""
        with evaluation_mode(self):
            dictionary = self.dictionary()
        return [each.cpu() for entry, each in enumerate(dictionary.sprites) if entry not in dictionary.backgrounds]

    @abstractmethod
    def _decompose(self, images: Float[Tensor, "B 3 H W"], by: str) -> Decomposition:
        """Decompose images of the model's size."""

    def accepts_size(self, size: tuple[int, int], by: str) -> bool:
        """Whether images of this size can be decomposed as they are; others are resampled to `image_size`."""
        return size == self.image_size

    def copies_input(self, by: str) -> bool:
        """Whether layers show the image itself through alphas, so that there is nothing that could be reconstructed."""
        return False

    def forecast_decomposition(self, count: int, size: tuple[int, int], batch: int) -> Forecast | None:
        """What decomposing so many images, a batch at a time, will take; None where that is not known, or little."""
        return None

    @torch.no_grad()
    def decompose(
        self,
        images: Float[Tensor, "B 3 H W"] | Float[Tensor, "3 H W"],
        by: str | None = None,
        canvas_maps: tuple[CanvasMap, ...] | None = None,
    ) -> Decomposition:
        """Take images apart. Deterministic.

        Images of another size than the model's are resampled to it (antialiased, aspect not kept); the scenes of the result
        have the original size. (`delaminate.decompose` also undoes enlargement, and gives layers of photos the photo's own
        pixels.)

        Args:
            images: In [0, 1], a batch or a single one.
            by: One of `decomposers`; None is the default.
            canvas_maps: How images of the model's size sit in their originals; carried into the result.

        Raises:
            ConfigError: This model cannot decompose that way.
            ShapeError: They are not a batch of images, or one image.
            DataError: Their values lie outside [0, 1], or are not numbers.
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
        if not len(images):  # as for one image, without it
            return self.decompose(images.new_zeros(1, 3, *self.image_size), by)[:0]
        low, high = images.aminmax()
        if not (low >= -SLACK and high <= 1 + SLACK):
            raise DataError(
                f"{self.name}: images have values from {float(low):g} to {float(high):g}; expected [0, 1]. Divide pixels by "
                "255, or undo the normalisation."
            )
        height, width = images.shape[-2:]
        if not self.accepts_size((height, width), by):
            box = (0.0, 0.0, float(width), float(height))
            canvas_maps = (CanvasMap((height, width), box, self.image_size),) * len(images)
            images = F.interpolate(images, self.image_size, mode="bilinear", antialias=True, align_corners=False)
        with evaluation_mode(self), self._sound_weights():
            found = self._decompose(images, by)
        return Decomposition(found.dictionary, found.images, found.size, found.background, canvas_maps)

    @contextmanager
    def _sound_weights(self) -> Iterator[None]:
        """Blame the file that a model comes from where numbers that it holds are finite and lead to nothing.

        Raises:
            FormatError: What comes out is no layers.
        """
        try:
            yield
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            if self.origin is None or isinstance(error, ConfigError | DataError | FormatError):
                raise
            raise FormatError(
                f"{self.origin}: its numbers make no layers of these images ({one_line(str(error), 120)}). Train the model "
                "again, or fetch it again."
            ) from error

    # --- more that a method may be able to do -----------------------------------------------------------------------

    @property
    def graph_ways(self) -> tuple[str, ...]:
        """Those of `decomposers` that are tensor operations alone, the best first: they can leave as a graph."""
        return ()

    def graph(self, by: str) -> LayerGraph:
        """Make the graph of one of `graph_ways`, with a network of its own in float32; this model stays as it is.

        Raises:
            ConfigError: That is none of them.
        """
        raise ConfigError(f"{self.name}: decomposing by {by!r} is no network that could be exported.")

    def graph_copy(self: M) -> M:
        """A copy of this model that computes on the CPU in float32, as at test."""
        copied = copy.deepcopy(self).cpu().float().eval().requires_grad_(False)
        copied.config = replace(copied.config, bf16=False)
        return copied

    @property
    def can_sample(self) -> bool:
        """Scenes can be drawn from noise."""
        return False

    def sample(self, n: int, rng: Generator) -> Layers:
        """Draw scenes from noise: layers in [0, 1], of the model's size.

        Raises:
            ConfigError: This model cannot.
        """
        raise ConfigError(
            f"{self.name}: this model paints nothing from noise. Use a model of perturbgan that you have trained: those in the "
            "box hold no generators."
        )

    @property
    def can_redraw(self) -> bool:
        """Layers of what it has decomposed can be repainted from noise."""
        return False

    def repaint(self, masks: Float[Tensor, "B n 1 H W"], layer: int, rng: Generator) -> Float[Tensor, "B 3 H W"]:
        """Draw new colours, in [0, 1], for one layer of what `decompose` has found, from new noise.

        Args:
            masks: What is seen of each layer, from back to front, at the model's size; they sum to one.
            layer: Its position from the back.
            rng: Draws the noise.

        Raises:
            ConfigError: This model cannot, or there is no such layer.
        """
        raise ConfigError(
            f"redraw: a {self.name} model cannot repaint regions. Take a model of redo that holds its generators."
        )

    can_reconstruct_softly: ClassVar[bool] = False
    """`reconstruct_softly` gives the reconstruction of training, before the network makes up its mind."""

    def reconstruct_softly(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Rebuild images as in training."""
        raise ConfigError(f"{self.name}: has no soft reconstruction.")

    # --- training ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """List the stages of training, with players bound to this model."""

    @abstractmethod
    def error(self, images: Float[Tensor, "B 3 H W"], stage: str) -> Float[Tensor, " B"]:
        """Measure, without labels, how badly the model does: mean squared error per image."""

    @property
    def active_entries(self) -> Int[Tensor, " K"]:
        """Indices of the sprites in use, where there are any."""
        return torch.zeros(0, dtype=torch.int64)

    @property
    def ema_decay(self) -> float:
        """Decay of the running mean of the weights; 0: there is none."""
        return float(self.config.ema)

    @property
    def max_restarts(self) -> int:
        """Times that a collapsed run starts over before it ends as failed."""
        return 0

    @classmethod
    def forecast_training(cls, config: Any, count: int, size: tuple[int, int]) -> Forecast | None:
        """What training on so many images will take; None where that is not known, or little."""
        return None

    def device_warnings(self, device: torch.device) -> tuple[str, ...]:
        """Say what of the configuration a device cannot do; remarks for the user."""
        if self.config.bf16 and not has_bfloat16(device.type):
            return ("bf16: this device has no units for bfloat16; networks compute in float32, which is faster here.",)
        return ()

    def preparation(self, count: int) -> str | None:
        """Say what `prepare` does with so many images where that takes a while; None: it takes none."""
        return None

    def prepare(self, pixels: UInt8[Tensor, "N 3 H W"]) -> tuple[str, ...]:
        """Look at all training images once, before the first step and before a run is resumed; deterministic.

        Returns:
            What the user should know about them.

        Raises:
            DataError: Nothing can be learned from these images.
        """
        return ()

    def on_stage_start(self, stage: str) -> None:
        """Prepare for a stage that begins (not for one that resumes)."""

    def after_update(self, rng: Generator, context: StepContext) -> Mapping[str, float | Tensor]:
        """Look after the model once all players had their turn; returns figures for the log."""
        return {}

    def collapsed(self, context: StepContext) -> str | None:
        """Say in words, and without labels, that training has failed; None: it has not. Asked after every step.

        A collapsed run starts over with `restart`, up to `max_restarts` times.
        """
        return None

    def converged(self, context: StepContext) -> str | None:
        """Say in words, and without labels, that nothing changes any more, so that the stage ends; None: it goes on.

        Asked after every step.
        """
        return None

    def restart(self, seed: int, attempt: int) -> None:
        """Start over: weights and buffers of a fresh model, drawn from (seed, attempt)."""
        fresh = type(self)(self.config, int(stream(seed, "restart", attempt).initial_seed()))
        self.load_state_dict(fresh.state_dict())

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

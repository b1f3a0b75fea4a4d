"""Train a method on images: from a folder, a name, or images in memory to a run folder with a model."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from delaminate.config import build, read_yaml
from delaminate.data import ImageSet, draw_images
from delaminate.data.places import is_place
from delaminate.data.synthetic import DRAWINGS, Split
from delaminate.engine import Budget, TrainResult
from delaminate.engine import train as run_training
from delaminate.engine.batches import fingerprint
from delaminate.engine.guards import alone_in
from delaminate.engine.parallel import leads, restarted
from delaminate.engine.record import PARTS, Callback, read_log
from delaminate.errors import ConfigError, DelaminateError, reading
from delaminate.exporters.training_page import write_history
from delaminate.files import json_bytes, to_pixels, write_atomic
from delaminate.methods import METHODS, Method
from delaminate.methods.base import Forecast
from delaminate.pipelines.devices import pick_device
from delaminate.pipelines.images import AS_THEY_ARE, Images, Zoom, check_fit, forecast_text, open_images
from delaminate.pipelines.known_sprites import Sprites, read_sprites
from delaminate.pipelines.output_folders import make_room
from delaminate.pipelines.provenance import write_provenance
from delaminate.pipelines.verdict import Verdict, judge
from delaminate.scene.views import page_of
from delaminate.version import __version__

VERDICT = "verdict.json"
"""What came out of a run, in its folder."""
TRAIN_COUNT = 20_000
"""Images drawn for training from a built-in set, unless it is said how many."""


@dataclass(frozen=True)
class TrainedRun:
    """A training and what came of it.

    Attributes:
        model: The trained model.
        result: How the training ended.
        folder: The run folder, or None where nothing was kept.
        images: What was trained on.
        page: The page about the training in the run folder, or None.
        verdict: What came out, judged by some of the images; None where training stopped before there was anything.
    """

    model: Method
    result: TrainResult
    folder: Path | None
    images: ImageSet
    page: Path | None
    verdict: Verdict | None = None

    def _repr_html_(self) -> str:
        facts = {
            "method": self.model.name,
            "images": str(len(self.images)),
            "ended": f"{self.result.reason}, step {self.result.total_step}",
        }
        if self.folder is not None:
            facts["run folder"] = str(self.folder)
        return page_of("A training", facts, self.model.preview(self.images.batch(range(min(8, len(self.images))))))


@dataclass(frozen=True)
class Training:
    """A training that is about to begin: everything is resolved and checked, nothing is written.

    Attributes:
        model: Untrained.
        images: On the model's canvas.
        preset: Its name; empty where a configuration or a model was given.
        device: Where to compute.
        out: The run folder, or None.
        seed: Seed of every random number of the run.
        budget: When to stop before the last stage ends.
        resume, overwrite: Go on from the run that the folder holds, or remove it.
        facts: What the page about the training says of it, besides.
        forecast: What the training will take, where that is known and much.
    """

    model: Method
    images: ImageSet
    preset: str
    device: str
    out: Path | None
    seed: int
    budget: Budget
    resume: bool
    overwrite: bool
    facts: Mapping[str, str] = field(default_factory=dict)
    forecast: Forecast | None = None

    def make_room(self) -> None:
        """Empty the run folder of an earlier run, if that is asked for.

        Raises:
            ConfigError: It holds a run, and that is neither to be resumed nor overwritten.
            OutputError: A training writes there.
        """
        if self.out is not None and not self.resume and leads():
            with alone_in(self.out) if self.out.is_dir() else nullcontext():
                make_room(
                    self.out, self.overwrite, PARTS, ("checkpoint.pt", "model"), "a run already. Go on with --resume"
                )

    def run(self, callback: Callback | None = None, tensorboard: bool = False) -> TrainedRun:
        """Train; the model is left on the CPU, ready to decompose."""
        result = run_training(
            self.model, self.images.pixels, self.out, seed=self.seed, device=self.device, budget=self.budget,
            resume=self.resume, callback=callback, tensorboard=tensorboard,
        )  # fmt: skip
        self.model.cpu().eval()
        verdict = page = None
        in_a_hurry = result.reason.startswith("SIG")
        if leads() and not in_a_hurry and result.reason != "failed" and self.model.decomposers:
            verdict = judge(self.model, self.images)
        if self.out is not None and leads():
            if verdict is not None:
                write_atomic(self.out / VERDICT, json_bytes(verdict.figures))
            write_provenance(self.out, self._provenance(result))
            page = self._write_page(f"{result.reason}, step {result.total_step}", verdict)
        return TrainedRun(self.model, result, self.out, self.images, page, verdict)

    def _provenance(self, result: TrainResult) -> dict[str, Any]:
        """Of what the model was made."""
        return {
            "delaminate": __version__,
            "torch": torch.__version__,
            "method": self.model.name,
            "preset": self.preset,
            "images": self.facts.get("Images", str(len(self.images))),
            "fingerprint": fingerprint(self.images.pixels),
            "seed": self.seed,
            "device": self.device,
            "steps": result.total_step,
            "finished": result.finished,
            "ended": result.reason,
        }

    def _write_page(self, ended: str, verdict: Verdict | None) -> Path:
        """Write the page about a training into its run folder."""
        assert self.out is not None
        page = self.out / "report.html"
        write_history(
            page,
            title="How it was trained",
            log=read_log(self.out),
            previews=sorted((self.out / "previews").glob("*.png")),
            rows=self.model.preview_rows,
            facts={**self.facts, "Ended": ended},
            verdict="" if verdict is None else verdict.text,
            sprites=sprite_pictures(self.model),
            worst=() if verdict is None else verdict.worst,
            signals=self.model.training_signals,
        )
        return page


def train(
    data: Images,
    method: str | type[Method] | Method = "dti-sprites",
    preset: str | None = None,
    *,
    config: str | Path | Any | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    count: int | None = None,
    fit: str = "squash",
    zoom: Zoom | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    callback: Callback | None = None,
    tensorboard: bool = False,
    cache: str | Path | None = None,
    sprites: str | Path | Sprites | None = None,
) -> TrainedRun:
    """Train a method on images, without labels.

        run = delaminate.train("photos/", "redo", out="runs/photos")
        run.model.decompose(images)

    Args:
        data: What `open_images` takes.
        method: A name, a class, or a fresh model, which is trained as it is.
        preset: The name of a preset; None: that of the built-in set, or the method's one for folders.
        config: A YAML file of settings, or a configuration, over the preset.
        settings: Single settings, over both.
        out: The run folder; None keeps nothing.
        seed: Seed of every random number of the run.
        count: Use at most this many images.
        fit: How images meet the canvas: "squash", "crop" or "pad".
        zoom: By how much pixel art was enlarged, down and across; None: it is found.
        steps, minutes: Stop after so many steps in all, or minutes of this call; neither changes any schedule.
        resume: Go on from the run folder's checkpoint, exactly.
        overwrite: Remove the run that the folder holds.
        device: "auto", "cpu", "cuda" or "cuda:N".
        callback: Is told of every step; `TerminalCallback()` shows them.
        tensorboard: Also write TensorBoard files.
        cache: A folder for a cache of the decoded images, out of which they are read from then on. Without it, images that
            take more than a quarter of the free memory are cached in the run folder, and others are held in memory.
        sprites: Sprites that are known, which a search begins with and keeps, at the size that they have in the images: a
            folder of pictures with alpha, a sheet's JSON, or RGBA arrays by name.

    Raises:
        ConfigError: A name, a setting or a combination is unknown; or the folder holds a run.
        DataError: The images cannot be used.
        TrainingError: Training broke off; the last good checkpoint stays.
    """
    training = prepare_training(
        data, method, preset, config=config, settings=settings, out=out, seed=seed, count=count, fit=fit, zoom=zoom,
        steps=steps, minutes=minutes, resume=resume, overwrite=overwrite, device=device, callback=callback, cache=cache,
        sprites=sprites,
    )  # fmt: skip
    training.make_room()
    if callback is not None and training.forecast is not None:
        callback.note(forecast_text(training.forecast, training.images.size))
    return training.run(callback, tensorboard)


def prepare_training(
    data: Images,
    method: str | type[Method] | Method,
    preset: str | None = None,
    *,
    config: str | Path | Any | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    count: int | None = None,
    fit: str = "squash",
    zoom: Zoom | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    callback: Callback | None = None,
    cache: str | Path | None = None,
    sprites: str | Path | Sprites | None = None,
) -> Training:
    """Resolve and check everything that a training needs; arguments as in `train`."""
    folder = None if out is None else Path(out)
    if folder is not None and restarted() and (folder / "checkpoint.pt").exists():
        resume, overwrite = True, False
    if isinstance(method, Method):
        if preset is not None or config is not None or settings:
            raise ConfigError("train: a model brings its own settings; leave preset, config and settings out.")
        model, chosen, name, method_class = method, method.config, "", type(method)
    else:
        method_class = METHODS.find(method, "train") if isinstance(method, str) else method
        stored = None if folder is None else folder / "config.yaml"
        if resume and config is None and stored is not None and stored.exists():
            config = stored
        name = preset or guess_preset(method_class, data, asks=not resume and config is None)
        chosen, model = resolve_config(method_class, name, config, settings or {}), None
    room = None if folder is None else folder / "cache"
    images = training_images(
        data, chosen.image_size, count, seed, fit, zoom=zoom, straighten=method_class.straightens(chosen),
        callback=callback, cache=cache, room=room,
    )  # fmt: skip
    if model is None:
        chosen = method_class.fill_config(chosen, images.pixels, images.transparent)
        model = new_model(method_class, chosen, seed, "--set" if config is None else str(config))
    if sprites is not None:
        model.give_sprites(read_sprites(sprites) if isinstance(sprites, str | Path) else sprites, resume)
    facts = {"Method": model.name}
    if name and not resume:
        facts["Preset"] = name
    facts |= {"Images": f"{len(images)} of {describe_data(data)}", "Fit": fit, "Seed": str(seed)}
    forecast = model.forecast_training(chosen, len(images), images.size)
    budget = Budget(steps, minutes)
    return Training(
        model, images, name, pick_device(device), folder, seed, budget, resume, overwrite, facts, forecast
    )  # fmt: skip


def resolve_config(
    method_class: type[Method], preset: str, config: str | Path | Any | None, settings: Mapping[str, Any]
) -> Any:
    """Put a configuration together: the preset, then a file or a configuration, then single settings.

    Raises:
        ConfigError: A name or a value is unknown, or the file is of another method.
    """
    found = method_class.preset_config(preset)
    if isinstance(config, str | Path):
        values = read_yaml(Path(config))
        _check_method_of(values, method_class, str(config))
        found = build(found, values, str(config))
    elif config is not None:
        if not isinstance(config, type(found)):
            raise ConfigError(
                f"train: config is {type(config).__name__}; expected a file or {method_class.name}'s configuration."
            )
        found = config
    return build(found, settings, "--set")


def new_model(method_class: type[Method], config: Any, seed: int, where: str) -> Method:
    """Make an untrained model.

    Args:
        method_class: Its method.
        config: A configuration of that.
        seed: Seed of its first weights.
        where: Where the settings come from, for messages.

    Raises:
        ConfigError: The settings ask for more than can be computed with.
    """
    with reading(where, ConfigError, "asks for a model that cannot be built"):
        return method_class(config, seed)


def _check_method_of(values: Mapping[str, Any], method_class: type[Method], where: str) -> None:
    """Refuse the settings of another method."""
    fitting = []
    for name in METHODS:
        some = next(iter(METHODS[name].presets.values()))
        known = {*vars(some), *type(some).renamed}
        if values.keys() <= known:
            fitting.append(name)
    if fitting and method_class.name in METHODS and method_class.name not in fitting:
        raise ConfigError(f"{where}: these are settings of {' or '.join(fitting)}, not of {method_class.name}.")


def guess_preset(method_class: type[Method], data: Images, asks: bool = True) -> str:
    """Take the preset of a built-in set's name, else the method's first, which is for a folder of one's own.

    Raises:
        ConfigError: There is none for just any images, and `asks`.
    """
    named = isinstance(data, str | Path) and not is_place(data)
    if asks and not named and method_class.needs_preset:
        raise ConfigError(
            f"train: {method_class.name} needs a --preset for a folder, {method_class.needs_preset}. Known: "
            f"{', '.join(method_class.presets)}."
        )
    return str(data) if named and str(data) in method_class.presets else next(iter(method_class.presets), "")


def training_images(
    data: Images,
    size: tuple[int, int],
    count: int | None,
    seed: int,
    fit: str,
    split: Split = "train",
    zoom: Zoom | None = None,
    straighten: bool = False,
    callback: Callback | None = None,
    cache: str | Path | None = None,
    room: Path | None = None,
) -> ImageSet:
    """Open images for training, without labels; of size (0, 0): as they are, enlargement undone, pages `straighten`ed."""
    check_fit(fit)
    wanted = None if size == AS_THEY_ARE else size
    if isinstance(data, str) and data in DRAWINGS and not Path(data).exists():
        if cache is not None:
            raise ConfigError(
                "--cache: is for folders, archives and addresses; drawn sets are held in memory. Leave it out."
            )
        return draw_images(data, count or TRAIN_COUNT, seed=seed, split=split, size=wanted)
    return open_images(
        data, wanted, fit, count=count, seed=seed, split=split, zoom=zoom, straighten=straighten, callback=callback,
        cache=cache, room=room,
    )  # fmt: skip


def sprite_pictures(model: Method) -> list[UInt8[np.ndarray, "h w 4"]]:
    """The sprites of a model as RGBA pictures, backgrounds left out; none where it has none that it can show."""
    try:
        dictionary = model.dictionary()
    except (DelaminateError, NotImplementedError):
        return []
    return [to_pixels(sprite) for entry, sprite in enumerate(dictionary.sprites) if entry not in dictionary.backgrounds]


def describe_data(data: Images) -> str:
    """Name data for a page."""
    if isinstance(data, str | Path):
        return str(data)
    return "a list" if isinstance(data, Sequence) else type(data).__name__

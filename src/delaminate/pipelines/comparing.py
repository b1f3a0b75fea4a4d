"""Two models or more side by side: their settings, how they were made, their figures, and the same images taken apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import numpy as np
from jaxtyping import UInt8

from delaminate.config import to_dict
from delaminate.data import LabelledSet
from delaminate.engine.record import Callback, read_log
from delaminate.errors import ConfigError
from delaminate.exporters.chart import Point
from delaminate.exporters.comparison_page import write_comparison
from delaminate.files import json_bytes, write_atomic
from delaminate.methods import Method, load_model
from delaminate.methods.storage import model_folder
from delaminate.pipelines.decomposition import decompose
from delaminate.pipelines.evaluation import evaluate
from delaminate.pipelines.images import Images, canvas, open_images
from delaminate.pipelines.provenance import read_provenance
from delaminate.scene.scenes import Scene

Originals = Sequence[UInt8[np.ndarray, "_H _W 3"]]

SHOWN = 8
"""Images side by side."""

MOST_MODELS = 8


@dataclass(frozen=True)
class Comparison:
    """What differs between models.

    Attributes:
        names: Of the models, each its own.
        settings: Settings that all models have and that differ, and their values.
        provenance: How each was made, as far as it is known.
        figures: By name one value a model; "psnr" and other figures of single images are pairs of mean and deviation.
        page: The page, if one was written.
    """

    names: tuple[str, ...]
    settings: dict[str, tuple[Any, ...]]
    provenance: dict[str, tuple[Any, ...]]
    figures: dict[str, tuple[Any, ...]]
    page: Path | None = None


def compare(
    models: Sequence[str | Path | Method],
    data: Images | LabelledSet | None = None,
    *,
    count: int = SHOWN,
    seed: int = 0,
    fit: str = "squash",
    device: str = "auto",
    out: str | Path | None = None,
    callback: Callback | None = None,
) -> Comparison:
    """Compare models: their settings, how they were made, and how the same images come apart.

    Args:
        models: Two to eight: models, run folders, or names of models in the box.
        data: Images to take apart, as `decompose` takes them, or a built-in set; labels, where a path or name has them, are
            only measured.
        count: How many images.
        seed: Which series of a drawn set.
        fit: How images meet the models' canvases.
        device: "auto", "cpu", "cuda" or "cuda:N".
        out: A folder for comparison.html and comparison.json; None: nothing is written.
        callback: Is told how far it is.

    Raises:
        ConfigError: There are fewer than two models, or more than eight; or one is unknown.
        DataError: The images cannot be used.
    """
    if not 2 <= len(models) <= MOST_MODELS:
        raise ConfigError(f"compare: {len(models)} models; expected 2 to {MOST_MODELS}.")
    methods = [model if isinstance(model, Method) else load_model(model) for model in models]
    names = _names(models, methods)
    provenance = [_provenance(model, method) for model, method in zip(models, methods, strict=True)]
    shown: list[list[Scene]] = []
    figures: dict[str, list[Any]] = {}
    for index, method in enumerate(methods):
        if callback is not None and data is not None:
            callback.note(f"{names[index]}: taking images apart")
        found, scenes = ({}, []) if data is None else _take_apart(method, data, count, seed, fit, device)
        shown.append(scenes)
        for name in found:
            figures.setdefault(name, [None] * len(methods))[index] = found[name]
    result = Comparison(
        tuple(names),
        _differing([{"method": method.name, **to_dict(method.config)} for method in methods]),
        _table(provenance),
        {name: tuple(values) for name, values in figures.items()},
    )
    if out is None:
        return result
    images = None
    if data is not None:
        straighten = methods[0].straightens(methods[0].config)
        images = open_images(_plain(data), canvas(methods[0], None), fit, count=count, seed=seed, straighten=straighten)
    originals = [] if images is None else [each.permute(1, 2, 0).numpy() for each in images.pixels]
    return _written(result, models, shown, originals, Path(out))


def _plain(data: Images | LabelledSet) -> Images:
    return data.images if isinstance(data, LabelledSet) else data


def _names(models: Sequence[str | Path | Method], methods: Sequence[Method]) -> list[str]:
    """Short names, each its own: as much of the path as tells them apart."""
    paths = [
        Path(model).parts if isinstance(model, str | Path) else (method.name,)
        for model, method in zip(models, methods, strict=True)
    ]
    for length in range(1, max(map(len, paths)) + 1):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{'/'.join(parts)} ({number})" for number, parts in enumerate(paths, start=1)]


def _provenance(model: str | Path | Method, method: Method) -> dict[str, Any]:
    if isinstance(model, Method):
        return {}
    known = read_provenance(Path(model)) or read_provenance(model_folder(model))
    return {**known, "decomposers": ", ".join(method.decomposers)}


def _differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Settings that all have, and that are not the same for all."""
    keys = [key for key in settings[0] if all(key in each for each in settings)]
    rows = {key: tuple(each[key] for each in settings) for key in keys}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def _table(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    keys = dict.fromkeys(key for each in rows for key in each)
    return {key: tuple(each.get(key) for each in rows) for key in keys}


def _take_apart(
    method: Method, data: Images | LabelledSet, count: int, seed: int, fit: str, device: str
) -> tuple[dict[str, Any], list[Scene]]:
    """Figures of one model, and its scenes of the images."""
    figures: dict[str, Any] = {}
    plain = _plain(data)
    if isinstance(plain, str | Path) and not Path(plain).exists():  # a built-in set
        plain = open_images(
            plain, canvas(method, None), fit, count=count, seed=seed, straighten=method.straightens(method.config)
        )
    found = decompose(method, plain, limit=count, fit=fit, device=device)
    for name in ("psnr", "psnr_original"):
        values = [row[name] for row in found.rows if name in row]
        if values:
            figures[name] = (fmean(values), pstdev(values))
    layers = [float(sum(layer.visible for layer in scene.layers[scene.background :])) for scene in found.scenes]
    figures["objects"] = (fmean(layers), pstdev(layers))
    if found.scenes and len(found.dictionary):
        figures["sprites"] = len(found.dictionary) - len(found.dictionary.backgrounds)
    if isinstance(data, str | Path | LabelledSet):
        measured = evaluate(method, data, count=count, seed=seed, fit=fit, device=device)
        if measured.labelled:
            told = {key: value for key, value in measured.figures.items() if isinstance(value, int | float)}
            figures |= {key: value for key, value in told.items() if key not in figures}
    return figures, list(found.scenes)


def _written(
    found: Comparison,
    models: Sequence[str | Path | Method],
    scenes: Sequence[Sequence[Scene]],
    originals: Originals,
    out: Path,
) -> Comparison:
    """Write the page, and the same for machines."""
    curves = [_curve(model) for model in models]
    page = write_comparison(
        out / "comparison.html", names=found.names, settings=found.settings, provenance=found.provenance,
        figures=found.figures, curves=curves, scenes=scenes, originals=originals,
    )  # fmt: skip
    parts = {"settings": found.settings, "provenance": found.provenance, "figures": found.figures}
    rows = {part: {name: list(row) for name, row in table.items()} for part, table in parts.items()}
    document = {"models": list(found.names), **rows}
    write_atomic(out / "comparison.json", json_bytes(document))
    return replace(found, page=page.files[0])


def _curve(model: str | Path | Method) -> list[Point]:
    """The loss of a run, step by step; nothing of models without their run."""
    if isinstance(model, Method) or not (Path(model) / "metrics.jsonl").is_file():
        return []
    lines = read_log(Path(model))
    return [(int(line["total_step"]), float(line["loss"]), str(line["stage"])) for line in lines if "loss" in line]

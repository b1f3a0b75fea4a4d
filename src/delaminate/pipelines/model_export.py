"""Models for other programs: a network and its compositor as one ONNX graph, checked against torch before it is kept."""

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from delaminate.errors import ConfigError, MissingExtra, OutputError, one_line
from delaminate.exporters.web_demo import DEMO_FILES, Runtime, write_web_demo
from delaminate.files import json_bytes, write_atomic
from delaminate.methods import Method, load_model
from delaminate.methods.graph import ENTRIES, LAYERS, RECONSTRUCTION, VISIBILITY, LayerGraph
from delaminate.pipelines.images import Images, open_images
from delaminate.pipelines.journal import model_digest
from delaminate.pipelines.output_folders import refuse_files
from delaminate.pipelines.provenance import read_provenance
from delaminate.rng import stream
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary
from delaminate.version import __version__
from delaminate.zoo import split_card

OPSET = 20
TOLERANCE = 1e-4
"""By how much what a graph gives may differ from torch, in [0, 1]."""
TIE = 1e-6
"""Difference of two mean squared errors below which the last bits decide which sprites are chosen."""
BATCHES = (1, 2, 5)
"""Images at a time that a graph is checked with: their number must have stayed open."""
INPUT = "images"
GRAPH, FACTS = "model.onnx", "model.json"
FORMATS = {
    "onnx": "model.onnx, for ONNX Runtime and others, and model.json, which says what goes in and comes out",
    "web-demo": "both, and a page that takes images apart in a browser (--runtime)",
}
"""What a model can be exported to."""


@dataclass(frozen=True)
class ExportedModel:
    """A model that was exported.

    Attributes:
        folder: Where its files are.
        files: Their names.
        by: The one of the model's ways of decomposing that the graph computes.
        left_out: The model's default way, where that is another one, and so not in the graph; else empty.
        difference: The largest difference between graph and torch, in [0, 1].
        num_images: How many images it was measured on.
        ties: How many of them were left out, because two choices of sprites explain them equally well.
        facts: What `model.json` holds.
    """

    folder: Path
    files: tuple[str, ...]
    by: str
    left_out: str
    difference: float
    num_images: int
    ties: int
    facts: dict[str, Any]


def export_model(
    model: str | Path | Method,
    out: str | Path,
    to: str = "onnx",
    *,
    by: str | None = None,
    images: Images | None = None,
    runtime: str | Path | None = None,
    overwrite: bool = False,
) -> ExportedModel:
    """Write the network of a model, with what composites its layers, as one ONNX graph, and check it against torch.

    The graph takes `images`, float32 (batch, 3, H, W), RGB in [0, 1], any number of the model's size, and gives `layers`
    (batch, L, 4, H, W), RGBA in [0, 1] from back to front, colour not multiplied by alpha; `visibility` (batch, L, 1, H, W),
    the share of every layer that is seen; `reconstruction` (batch, 3, H, W); and of methods with sprites which of them is
    where. Opset 20, float32, by torch's dynamo exporter. Searching and refining are no networks: they stay behind.

    It is run by ONNX Runtime on the CPU, and kept if no pixel differs from torch, and from what `Method.decompose` finds, by
    more than 1e-4; where alpha is small, colours count by as much as it. Where two choices of sprites explain an image
    equally well (their mean squared errors are within 1e-6), torch and ONNX Runtime may choose differently: such images are
    counted, and not compared; if they are more than half, the graph is refused.

    Args:
        model: A model, its folder, a name of `delaminate models`, or hub:OWNER/NAME.
        out: A folder for the files.
        to: One of `FORMATS`.
        by: One of the model's `graph_ways`; None: the first.
        images: What the graph is checked on, up to 16, and what the page offers to try; None: pictures drawn for that.
        runtime: For a page: the npm package onnxruntime-web, its folder or its .tgz.
        overwrite: Write over files that are there.

    Raises:
        ConfigError: The model holds no network, a name is unknown, or files are there already.
        MissingExtra: The extra `onnx` is not installed.
        OutputError: The graph cannot be made, or differs from torch.
    """
    folder = Path(out)
    if to not in FORMATS:
        raise ConfigError(f"--to {to}: expected one of {', '.join(FORMATS)}.")
    if (to == "web-demo") != (runtime is not None):
        said = "takes --runtime, the npm package onnxruntime-web: `npm pack onnxruntime-web` fetches it as a .tgz"
        raise ConfigError(f"--to {to}: {said if to == 'web-demo' else 'takes no --runtime'}.")
    needed = Runtime.open(Path(runtime)) if runtime is not None else None
    packages = _packages()
    method = load_model(model) if isinstance(model, str | Path) else model
    way = _way(method, by)
    files = (GRAPH, FACTS, *(DEMO_FILES if needed else ()))
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; --out takes a folder.")
    refuse_files([folder / name for name in files], overwrite)
    graph = method.graph(way).eval()
    reference = method.graph_copy()
    shown = _shown(reference, images)
    proto = _traced(graph, shown[:3] if len(shown) >= 3 else shown.repeat(3, 1, 1, 1)[:3])
    _check_sound(packages, proto)
    check = _check(packages, proto, graph, reference, way, shown)
    if not check.difference <= TOLERANCE:
        raise OutputError(
            f"{method.name}: what the graph gives differs from torch by {check.difference:.2g}, more than {TOLERANCE:g}; "
            "nothing was written. Other versions of torch, onnxscript or onnxruntime may agree; `--images` checks on pictures "
            "of yours."
        )
    facts = _facts(method, model, way, graph, len(shown), check, packages)
    data = _with_facts(packages, proto, facts)
    write_atomic(folder / GRAPH, data)
    write_atomic(folder / FACTS, json_bytes(facts))
    if needed is not None:
        write_web_demo(folder, needed, facts, shown if images is not None or len(method.dictionary()) else shown[:0])
    left_out = "" if method.default == way else method.default
    return ExportedModel(folder, files, way, left_out, check.difference, len(shown), check.ties, facts)


@dataclass(frozen=True)
class _Packages:
    onnx: Any
    runtime: Any


def _packages() -> _Packages:
    try:
        importlib.import_module("onnxscript")
        return _Packages(importlib.import_module("onnx"), importlib.import_module("onnxruntime"))
    except ImportError as error:
        raise MissingExtra("ONNX", "onnx") from error


def _way(method: Method, by: str | None) -> str:
    """Which way of decomposing the graph computes.

    Raises:
        ConfigError: There is none, or not this one.
    """
    ways = method.graph_ways
    others = ", ".join(way for way in method.decomposers if way not in ways)
    if not ways:
        raise ConfigError(
            f"{method.name}: this model holds no trained network, and {others or 'what it has'} is none: ONNX has no graph "
            f"for it. Train a network for it (`delaminate settings {method.name}` lists steps of training and presets), or "
            "use `delaminate decompose`."
        )
    if by is not None and by not in ways:
        raise ConfigError(
            f"{method.name}: {by!r} is no network of this model that could be exported; expected {', '.join(ways)}."
        )
    return by or ways[0]


# --- what it is checked on -----------------------------------------------------------------------------------------------


def _shown(method: Method, images: Images | None) -> Float[Tensor, "B 3 H W"]:
    """Up to 16 images of the model's size in [0, 1]: those given, or drawn ones."""
    if images is None:
        return drawn_images(method.dictionary(), method.image_size, 16)
    opened = open_images(images, method.image_size, count=16)
    return opened.batch(range(min(len(opened), 16)))


def drawn_images(dictionary: Dictionary, size: tuple[int, int], count: int, seed: int = 0) -> Float[Tensor, "N 3 H W"]:
    """Draw pictures to check a model on: soft colours, over them sprites of its dictionary, if it has any, or else blobs.

    Rounded to 8 bits, so that files hold the same.
    """
    rng, (height, width) = stream("graph", "check", seed), size
    objects = [entry for entry in range(len(dictionary)) if entry not in dictionary.backgrounds]
    pictures = []
    for index in range(count):
        coarse = torch.rand(1, 3, 2 + index % 4, 2 + index % 3, generator=rng)
        canvas = F.interpolate(coarse, size, mode="bilinear", align_corners=False)[0]
        if dictionary.backgrounds:
            picture = dictionary.sprites[dictionary.backgrounds[0]][:3]
            canvas = F.interpolate(picture[None, :, :height, :width], size, mode="nearest")[0].clone()
        elif objects:
            canvas = torch.zeros_like(canvas)
        taken = torch.zeros(size)
        for _ in range(3):
            sprite = _blob(size, rng)
            if objects:
                sprite = _trimmed(dictionary.sprites[objects[int(torch.randint(len(objects), (), generator=rng))]])
            _paste(canvas, taken, sprite, rng)
        pictures.append((canvas.clamp(0, 1) * 255).round() / 255)
    return torch.stack(pictures)


def _blob(size: tuple[int, int], rng: torch.Generator) -> Float[Tensor, "4 h w"]:
    side = max(min(size) // 2, 1)
    line = torch.linspace(-1, 1, side)
    alpha = (1.5 - 1.5 * (line[:, None] ** 2 + line[None] ** 2)).clamp(0, 1)
    colour = torch.rand(3, 1, 1, generator=rng).expand(3, side, side)
    return torch.cat([colour, alpha[None]])


def _trimmed(sprite: Float[Tensor, "4 _h _w"]) -> Float[Tensor, "4 _ _"]:
    """Cut a sprite to what is seen of it."""
    rows, columns = ((sprite[3] > 0.1).any(axis).nonzero()[:, 0] for axis in (1, 0))
    if not len(rows):
        return sprite
    return sprite[:, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]


def _paste(
    canvas: Float[Tensor, "3 H W"], taken: Float[Tensor, "H W"], sprite: Float[Tensor, "4 _h _w"], rng: torch.Generator
) -> None:
    """Put a sprite on a canvas where nothing is yet, if a few tries find such a place; a grey one in a colour of its own."""
    sprite = sprite[:, : canvas.shape[1], : canvas.shape[2]]
    sizes = (sprite.shape[1], sprite.shape[2])
    gain = torch.ones(3, 1, 1)
    if float(sprite[:3].std(0).max()) < 0.02:
        colour = torch.rand(3, 1, 1, generator=rng)
        gain = (colour - colour.min()) / (colour.max() - colour.min()).clamp_min(1e-3)  # a pure one
    for _ in range(20):
        top, left = (
            int(torch.randint(big - small + 1, (), generator=rng))
            for big, small in zip(canvas.shape[1:], sizes, strict=True)
        )
        rows, columns = slice(top, top + sizes[0]), slice(left, left + sizes[1])
        if not bool((taken[rows, columns] * sprite[3] > 0.01).any()):
            break
    taken[rows, columns] += sprite[3]
    window = canvas[:, rows, columns]
    window.copy_(window * (1 - sprite[3:]) + sprite[:3] * gain * sprite[3:])


# --- the graph -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep an exporter's progress and its warnings about packages that nobody needs here away from people."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _traced(graph: LayerGraph, images: Float[Tensor, "B 3 H W"]) -> Any:
    """Trace a graph into ONNX.

    Raises:
        OutputError: It holds what ONNX has no word for.
    """
    batch = {INPUT: {0: torch.export.Dim("batch", min=1)}}
    try:
        with _quietly(), torch.no_grad():
            graph(images)  # tables that are made once are made outside of tracing
            made = torch.onnx.export(
                graph, (images,), dynamo=True, dynamic_shapes=batch, opset_version=OPSET, input_names=[INPUT],
                output_names=list(graph.outputs), external_data=False, verbose=False,
            )  # fmt: skip
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
        raise OutputError(f"ONNX: this network cannot be exported ({one_line(str(error), 200)}).") from error
    assert made is not None
    return _bare(made.model_proto)


def _bare(proto: Any) -> Any:
    """Leave out what the exporter notes of the code that each node came from: it is half of the file, and names folders."""
    for part in (proto.graph, *proto.functions):
        for items in (part.node, part.value_info):
            for item in items:
                del item.metadata_props[:]
                if item.HasField("doc_string"):
                    item.ClearField("doc_string")
    for item in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer, proto.graph):
        del item.metadata_props[:]
    return proto


def _check_sound(packages: _Packages, proto: Any) -> None:
    """Make sure that a graph keeps the rules of ONNX.

    Raises:
        OutputError: It does not.
    """
    try:
        packages.onnx.checker.check_model(proto, full_check=True)
    except Exception as error:
        raise OutputError(
            f"ONNX: torch {torch.__version__} and onnxscript have made a graph that is not sound "
            f"({one_line(str(error), 200)}). Other versions may not."
        ) from error


def run_graph(session: Any, images: Float[Tensor, "B 3 H W"], batches: Sequence[int] = (1,)) -> tuple[Tensor, ...]:
    """Run an ONNX Runtime session on images, so many at a time, in turn."""
    found: list[list[np.ndarray]] = []
    start = 0
    while start < len(images):
        size = batches[len(found) % len(batches)]
        found.append(session.run(None, {INPUT: images[start : start + size].numpy()}))
        start += size
    return tuple(torch.from_numpy(np.concatenate(parts)) for parts in zip(*found, strict=True))


@dataclass(frozen=True)
class _Check:
    """How a graph compares: the largest difference in [0, 1], and how many of the images were left out as ties."""

    difference: float
    ties: int


def _check(
    packages: _Packages, proto: Any, graph: LayerGraph, method: Method, by: str, images: Float[Tensor, "B 3 H W"]
) -> _Check:
    """Compare the graph in ONNX Runtime with itself in torch, and that with what `decompose` finds."""
    options = packages.runtime.SessionOptions()
    options.log_severity_level = 3
    session = packages.runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    made = dict(zip(graph.outputs, run_graph(session, images, BATCHES), strict=True))
    with torch.no_grad():
        wanted = dict(zip(graph.outputs, graph(images), strict=True))
    found = method.decompose(images, by)
    rebuilt = found.composite()
    worst, ties = 0.0, 0
    for index, image in enumerate(images):
        one, other = ({name: value[index] for name, value in each.items()} for each in (made, wanted))
        if (
            ENTRIES in one
            and not torch.equal(one[ENTRIES], other[ENTRIES])
            and _tied(image, one[RECONSTRUCTION], other[RECONSTRUCTION])
        ):
            ties += 1
            continue
        pairs = [(one[name], other[name]) for name in (VISIBILITY, RECONSTRUCTION)]
        pairs.append((_weighted(one[LAYERS]), _weighted(other[LAYERS])))
        worst = max(worst, *(_largest(a - b) for a, b in pairs))
        if not _tied(image, other[RECONSTRUCTION], rebuilt[index]) or _same_sprites(other, found, index):
            worst = max(worst, _from_decomposition(other, found, index, graph.aligned))
    return _Check(worst if 2 * ties <= len(images) else float("inf"), ties)


def _tied(image: Tensor, one: Tensor, other: Tensor) -> bool:
    """Two reconstructions of an image are as good as one another: the last bits decide which sprites are chosen."""
    return abs(float((image - one).square().mean() - (image - other).square().mean())) <= TIE


def _same_sprites(made: dict[str, Tensor], found: Decomposition, index: int) -> bool:
    """Whether a graph has chosen the sprites that `decompose` has, or knows none."""
    if ENTRIES not in made:
        return True
    chosen = made[ENTRIES][made[ENTRIES] >= 0].tolist()
    entries = [
        placement.entry for placement in found.images[index] if placement.entry not in found.dictionary.backgrounds
    ]
    chosen = [entry for entry in chosen if entry not in found.dictionary.backgrounds]
    return sorted(chosen) == sorted(entries)


def _from_decomposition(made: dict[str, Tensor], found: Decomposition, index: int, aligned: bool) -> float:
    """The largest difference of one image from what `decompose` has found: as a whole, and of layers that are the same."""
    worst = _largest(made[RECONSTRUCTION] - found[index : index + 1].composite()[0])
    if not aligned:
        return worst
    stack = found[index : index + 1].layers()
    layers = _weighted(made[LAYERS])
    if ENTRIES in made:
        layers = layers[made[ENTRIES] >= 0]
    if len(layers) != stack.num_layers:
        return float("inf")
    return max(worst, _largest(layers - torch.cat([stack.rgb * stack.alpha, stack.alpha], 2)[0]))


def _weighted(layers: Float[Tensor, "*B 4 H W"]) -> Float[Tensor, "*B 4 H W"]:
    """Colours multiplied by alpha: where that is 0, they are nothing."""
    colour, alpha = layers.split([3, 1], -3)
    return torch.cat([colour * alpha, alpha], -3)


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max()) if difference.numel() else 0.0


# --- what is said of it --------------------------------------------------------------------------------------------------


def _facts(
    method: Method,
    model: str | Path | Method,
    by: str,
    graph: LayerGraph,
    num_images: int,
    check: _Check,
    packages: _Packages,
) -> dict[str, Any]:
    """What `model.json` holds, and the graph itself under the key `delaminate`."""
    height, width = method.image_size
    dictionary = method.dictionary()
    with torch.no_grad():
        made = dict(zip(graph.outputs, graph(torch.zeros(1, 3, height, width)), strict=True))
    name = method.name if isinstance(model, Method) else str(model).rstrip("/").rsplit("/", 1)[-1]
    origin = method.origin.parent if method.origin is not None else None
    return {
        "format": "delaminate-graph",
        "version": 1,
        "name": name,
        "title": _title(origin) or name,
        "method": method.name,
        "by": by,
        "opset": OPSET,
        "input": {
            "name": INPUT, "type": "float32", "shape": ["batch", 3, height, width], "range": [0, 1], "channels": "RGB",
        },
        "preprocessing": {
            "size": [height, width], "fit": "squash", "filter": "Pillow's bilinear, which widens as it reduces",
            "transparent": [0, 0, 0], "values": "divided by 255",
        },
        "outputs": [
            {"name": each, "type": str(made[each].dtype).removeprefix("torch."),
             "shape": ["batch", *made[each].shape[1:]], "meaning": meaning}
            for each, meaning in graph.outputs.items()
        ],
        "layers": {"count": made[LAYERS].shape[1], "background": graph.background, "order": "back to front"},
        "dictionary": [dictionary.title(entry) for entry in range(len(dictionary))],
        "checked": {
            "images": num_images, "ties": check.ties, "largest_difference": check.difference, "tolerance": TOLERANCE,
            "torch": torch.__version__, "onnxruntime": packages.runtime.__version__,
        },
        "made": {"delaminate": __version__, "model": model_digest(method)},
        "provenance": read_provenance(origin) if origin is not None else {},
    }  # fmt: skip


def _title(folder: Path | None) -> str:
    """What the card of a model folder is headed by; empty where there is none."""
    card = folder / "README.md" if folder is not None else None
    if card is None or not card.is_file():
        return ""
    lines = split_card(card.read_text("utf-8", "replace")[:100_000])[1].splitlines()
    return one_line(next(iter(lines), "").lstrip("# "), 200)


def _with_facts(packages: _Packages, proto: Any, facts: dict[str, Any]) -> bytes:
    """The bytes of a graph that says itself what it is."""
    proto.producer_name, proto.producer_version = "delaminate", __version__
    proto.graph.name = facts["method"]
    packages.onnx.helper.set_model_props(proto, {"delaminate": json_bytes(facts).decode()})
    return bytes(proto.SerializeToString())

"""`delaminate evaluate MODEL DATA`: figures, and what they mean."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from delaminate.data import ImageSet, LabelledSet
    from delaminate.methods import Method
    from delaminate.metrics.evaluation import Figures

# Pages of text are large: so many pixels are measured at a time.
PIXELS_AT_A_TIME = 2**24


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A model or run folder, a name of `delaminate models`, or hub:OWNER/NAME.")
    ],
    data: Annotated[
        str, typer.Argument(help="A built-in set, or a folder with images/, masks/ and optionally classes/.")
    ],
    out: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
    by: Annotated[str | None, typer.Option(help="How to decompose; default: the model's best.")] = None,
    ignore: Annotated[
        list[int] | None, typer.Option(help="A mask value to leave out of every figure; repeatable.")
    ] = None,
    count: Annotated[int | None, typer.Option("-n", min=1, help="How many images; drawn sets: 320.")] = None,
    split: Annotated[
        str | None, typer.Option(help="train or dev; default: dev of drawn sets, all of real ones.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which series of a drawn set.")] = 0,
    fit: Annotated[str, typer.Option(help="How images meet the model's canvas: squash, crop or pad.")] = "squash",
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    fid: Annotated[
        Path | None,
        typer.Option(help="Also measure FID of scenes from noise by this network, an ONNX file (extra `fid`)."),
    ] = None,
) -> None:
    """Measure a model on labelled images. Labels are used here and nowhere else.

    Which figures come depends on the labels: several objects in a mask give ARI and instance figures, a single one
    gives accuracy and IoU, classes give class figures, image classes give clustering figures, boxes give box figures.
    Drawn games also tell how many of their sprites the dictionary holds. Images without labels still give PSNR and
    speed. The test scenes of drawn sets are closed: only `delaminate bench` opens them.

        delaminate evaluate dti-sprites/tetrominoes tetrominoes --json figures.json

        delaminate evaluate runs/photos photos/ --ignore 255
    """
    from rich.console import Console

    from delaminate.cli.data import refuse_test
    from delaminate.cli.train import pick_device, report_skipped
    from delaminate.files import json_bytes, write_atomic
    from delaminate.methods import load_model
    from delaminate.pipelines.images import canvas

    if split is not None:
        refuse_test(split)
    where = pick_device(device)
    method = load_model(model, where)
    labelled, part = open_labelled(data, canvas(method, by), count, seed, split, fit, tuple(ignore or ()))
    report_skipped(Console(), labelled.images.skipped)
    if all(known is None for known in vars(labelled.labels).values()):
        typer.echo(
            f"{data}: no labels, so little can be measured. Expected images/ and masks/ with files of the same names."
        )
    replica = ", a replica drawn by this library" if labelled.replica else ""
    sentence = f"{labelled.name}{replica} ({part})"
    distance = {} if fid is None else measure_fid(method, labelled.images, fid, batch, seed)
    figures: Figures = {"protocol": f"{sentence}; not decomposed."}
    if by or method.decomposers or not distance:  # generators alone paint scenes, and decompose nothing yet
        sentence += f"; decomposed by {by or method.default}."
        figures = measure(method, labelled, data, by, where, batch, sentence, whole=split is None and count is None)
    if distance:
        figures |= distance | {"protocol": f"{figures['protocol']} {distance['protocol']}"}
    _print(figures)
    if out is not None:
        write_atomic(out, json_bytes(json.loads(json.dumps(figures))))


def open_labelled(
    data: str,
    size: tuple[int, int] | None,
    count: int | None,
    seed: int,
    split: str | None,
    fit: str,
    ignore: tuple[int, ...],
) -> "tuple[LabelledSet, str]":
    """Open data for measuring, of a size or as they are, and say which part; images without labels get empty ones."""
    from delaminate.data import LabelledSet, Labels, open_data
    from delaminate.data.real.recordings import RECORDINGS
    from delaminate.data.synthetic.scenes import DRAWINGS
    from delaminate.errors import ConfigError

    if fit not in ("squash", "crop", "pad"):
        raise ConfigError(f"--fit {fit}: expected squash, crop or pad.")
    drawn = (data in DRAWINGS or data in RECORDINGS) and not Path(data).exists()
    chosen = split or ("dev" if drawn else "train")
    found = open_data(data, count or (320 if drawn else None), seed, chosen, size, fit, ignore=ignore)  # type: ignore[arg-type]
    if not isinstance(found, LabelledSet):
        found = LabelledSet(found, Labels(), Path(data).name)
    if size is not None and found.images.size != size:
        raise ConfigError(
            f"evaluate: images of {data} are {found.images.size}, the model's {size} (height, width). Write them with "
            "`delaminate data write` and give that folder: folders are brought to the model's size."
        )
    which = split or ("all" if count is None else "the first ones")
    part = f"{len(found)} images, {chosen} scenes of seed {seed}" if drawn else f"{len(found)} images, {which}"
    return found, part


def measure(
    method: "Method",
    labelled: "LabelledSet",
    data: str,
    by: str | None,
    device: str,
    batch: int,
    sentence: str,
    whole: bool,
) -> "Figures":
    """Evaluate with a bar; the names of `_split` are chosen on other images of a built-in set."""
    from rich.progress import Progress

    from delaminate.data import draw, load_benchmark, true_sprites
    from delaminate.data.registry import BENCHMARKS
    from delaminate.data.synthetic.scenes import DRAWINGS
    from delaminate.metrics import evaluate as measure_all
    from delaminate.pipelines.images import follower

    height, width = labelled.images.size
    drawing = DRAWINGS.get(data) if not Path(data).exists() else None
    known = drawing is not None and drawing.sprites is not None
    validation, chosen_on = None, "other images"
    if data in BENCHMARKS and not Path(data).exists() and whole:
        dev = load_benchmark(data, split="dev", size=method.image_size)
        validation = (dev.images, dev.labels)
        if set(dev.images.names) & set(labelled.images.names):
            chosen_on = f"{len(dev.images)} of them"
    elif drawing is not None and drawing.regions:
        others = draw(data, 100, split="train", size=labelled.images.size)
        validation = (others.images, others.labels)
    follow = follower(labelled.images)
    with Progress(transient=True) as progress:
        task = progress.add_task("Measuring", total=len(labelled))
        return measure_all(
            lambda images: follow(method.decompose(images.to(device), by)),
            labelled.images,
            labelled.labels,
            validation=validation,
            chosen_on=chosen_on,
            sprites=true_sprites(data) if known else None,
            sprite_iou=drawing.sprite_iou if drawing is not None else 0.9,
            batch=max(1, min(batch, PIXELS_AT_A_TIME // (height * width))),
            protocol=sentence,
            reconstructs=not method.carries_photo(by or method.default),
            progress=lambda done: progress.update(task, completed=done),
        )


def measure_fid(method: "Method", images: "ImageSet", network: Path, batch: int, seed: int) -> "Figures":
    """FID of as many scenes from noise as there are images, and how it was measured.

    Raises:
        ConfigError: The model paints nothing from noise.
    """
    from delaminate.cli.sample import painted, painter
    from delaminate.metrics.features import Features, fid
    from delaminate.scene.compositing import composite

    painting = painter(method)
    features, count = Features(network), len(images)
    made = (composite(layers) for layers in painted(painting, count, seed, "fid"))
    real = (images.batch(range(first, min(first + batch, count))) for first in range(0, count, batch))
    said = f"fid is of {count} scenes from noise and as many images, by {network.name} (sha256 {features.digest[:16]})."
    return {"fid": fid(features, made, real), "protocol": said}


def _print(figures: "Figures") -> None:
    from rich.console import Console
    from rich.table import Table

    from delaminate.export.figure_texts import explanation
    from delaminate.export.html import format_figure

    table = Table("figure", "value", "what it means", box=None)
    for name, value in figures.items():
        if not isinstance(value, str):
            table.add_row(name, format_figure(name, value), explanation(name))
    console = Console()
    console.print(table)
    console.print(str(figures["protocol"]), style="dim", highlight=False)

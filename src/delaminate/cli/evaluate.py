"""`delaminate evaluate MODEL DATA`: figures, and what they mean."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from delaminate.cli.options import By, Cluster, Device, Fit, Model, Workers, progress_bar, report_skipped

if TYPE_CHECKING:
    from delaminate.pipelines.evaluation import Evaluation


def evaluate(
    model: Model,
    data: Annotated[
        str,
        typer.Argument(
            help="A built-in set, or a folder with images/, masks/ and optionally classes/; or an archive or address."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
    by: By = None,
    ignore: Annotated[
        list[int] | None, typer.Option(help="A mask value to leave out of every figure; repeatable.")
    ] = None,
    count: Annotated[int | None, typer.Option("-n", min=1, help="How many images; drawn sets: 320.")] = None,
    split: Annotated[
        str | None, typer.Option(help="train or dev; default: dev of drawn sets, all of real ones.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which series of a drawn set.")] = 0,
    fit: Fit = "squash",
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with a call that was cut off; what it has measured is beside the --json file."
        ),
    ] = False,
    workers: Workers = None,
    cluster: Cluster = None,
    device: Device = "auto",
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

        delaminate evaluate runs/photos photos.zip --json figures.json --resume
    """
    from delaminate.errors import ConfigError
    from delaminate.files import json_bytes, write_atomic
    from delaminate.pipelines.evaluation import evaluate as evaluate_model

    if resume and out is None:
        raise ConfigError("--resume: needs the --json FILE of the call that was cut off; its parts are in FILE.parts.")
    with progress_bar("Measuring") as callback:
        found = evaluate_model(
            model, data, by=by, ignore=tuple(ignore or ()), count=count, split=split, seed=seed, fit=fit, batch=batch,
            device=device, fid=fid, callback=callback, resume=resume, parts=None if out is None else Path(f"{out}.parts"),
            workers=workers, cluster=cluster,
        )  # fmt: skip
    report_skipped(found.skipped)
    if not found.labelled:
        typer.echo(
            f"{data}: no labels, so little can be measured. Expected images/ and masks/ with files of the same names."
        )
    _print(found)
    if out is not None:
        write_atomic(out, json_bytes(json.loads(json.dumps(dict(found)))))


def _print(figures: "Evaluation") -> None:
    from rich.console import Console
    from rich.table import Table

    from delaminate.exporters.figure_texts import explanation
    from delaminate.exporters.html import format_figure

    table = Table("figure", "value", "what it means", box=None)
    for name, value in figures.items():
        if not isinstance(value, str):
            table.add_row(name, format_figure(name, value), explanation(name))
    console = Console()
    console.print(table)
    console.print(str(figures["protocol"]), style="dim", highlight=False)

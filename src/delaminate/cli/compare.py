"""`delaminate compare A B`: models side by side."""

from pathlib import Path
from typing import Annotated

import typer

from delaminate.cli.options import Device, Fit, progress_bar


def compare(
    models: Annotated[list[str], typer.Argument(help="Two to eight models: run folders, model folders or names.")],
    data: Annotated[
        str | None, typer.Option("--images", help="Images to take apart; labels, if there are any, are measured.")
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="How many images.")] = 8,
    seed: Annotated[int, typer.Option(help="Which series of a drawn set.")] = 0,
    fit: Fit = "squash",
    out: Annotated[Path | None, typer.Option(help="Also write comparison.html and comparison.json here.")] = None,
    device: Device = "auto",
) -> None:
    """Compare models: settings that differ, how they were made, figures, and the same images side by side.

    delaminate compare runs/one runs/two --images photos --out comparison

    delaminate compare dti-sprites/tetrominoes redo/flowers17
    """
    from rich.console import Console
    from rich.table import Table

    from delaminate.exporters.comparison_page import figure_text, setting_text
    from delaminate.pipelines.comparing import compare as compare_models

    with progress_bar("Comparing") as callback:
        found = compare_models(
            models, data, count=count, seed=seed, fit=fit, device=device, out=out, callback=callback
        )  # fmt: skip
    console = Console()
    parts = (
        ("Settings", found.settings, setting_text),
        ("Made", found.provenance, setting_text),
        ("Figures", found.figures, figure_text),
    )
    for title, rows, text in parts:
        if rows:
            table = Table(title, *found.names)
            for name, values in rows.items():
                table.add_row(name, *map(text, values))
            console.print(table)
    if not found.settings:
        typer.echo("All settings are the same.")
    if found.page is not None:
        typer.echo(f"Side by side: {found.page}")

"""`delaminate export SCENES`: layers as files for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from delaminate.cli.options import Cluster, ScenesFolder, Workers
from delaminate.exporters.formats import FORMATS


def export(
    scenes: ScenesFolder,
    out: Annotated[Path, typer.Option(help="Each format gets a folder of its own in here.")],
    to: Annotated[str, typer.Option(help=f"{', '.join(FORMATS)}; several with commas.")] = "png",
    rate: Annotated[
        float | None, typer.Option(help="Frames per second of animations; default: the clip's own times, else 10.")
    ] = None,
    background: Annotated[
        bool | None,
        typer.Option(help="Animations with the background; default: mp4 with, others without."),
    ] = None,
    native: Annotated[
        bool, typer.Option(help="Pixel art that was enlarged: at its pixels' own size, one for each block.")
    ] = False,
    indexed: Annotated[
        bool, typer.Option("--indexed", help="Sheets as PNGs with a palette of 256 colours at most.")
    ] = False,
    scale: Annotated[int, typer.Option(help="Everything this many times as large, 1 to 64: every pixel a block.")] = 1,
    images: Annotated[
        str | None, typer.Option(help="Catalogue: the originals, to show them instead of what was rebuilt.")
    ] = None,
    split: Annotated[bool, typer.Option("--split", help="Objects: count round things that touch apart.")] = False,
    fill: Annotated[
        str, typer.Option(help="Cut-outs: transparent, white, or a colour such as '#f4f1ea'.")
    ] = "transparent",
    margin: Annotated[int, typer.Option(help="Cut-outs: free pixels around.")] = 0,
    webp: Annotated[bool, typer.Option("--webp", help="Cut-outs: lossless WebP instead of PNG.")] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Leave out formats that are finished in OUT, of the same scenes and options."),
    ] = False,
    workers: Workers = None,
    cluster: Cluster = None,
    ground: Annotated[bool | None, typer.Option(hidden=True, help="Older name of --background.")] = None,
) -> None:
    from delaminate.pipelines.exporting import export as export_scenes

    shown = ground if background is None else background
    written = export_scenes(
        scenes, out, to, rate=rate, background=shown, native=native, indexed=indexed, scale=scale, images=images,
        split=split, fill=fill, margin=margin, webp=webp, resume=resume, workers=workers, cluster=cluster,
    )  # fmt: skip
    if not written:
        typer.echo(f"Everything in {out} is finished.")
    for name, result in written.items():
        error = "" if result.max_error is None else f"; composites back within {result.max_error:.4f} of 1"
        typer.echo(f"{name}: {len(result.files)} files in {out / name}{error}")


ROWS = "\n".join(
    f"- **{name}**: {form.about}" + (f" (extra: {form.extra})" if form.extra else "") for name, form in FORMATS.items()
)
export.__doc__ = f"""Write layers in the formats of other programs, and say how closely each one composites back.

{ROWS}

An example:

    delaminate export scenes --to ora,atlas --out layers

    delaminate export scenes --to aseprite,tiled --rate 25 --out game

    delaminate export scenes --to godot --scale 4 --indexed --out game
"""

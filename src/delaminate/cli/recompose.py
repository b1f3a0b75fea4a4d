"""`delaminate recompose SCENES`: scenes become images again."""

from pathlib import Path
from typing import Annotated

import typer

from delaminate.cli.options import Again


def recompose(
    scenes: Annotated[Path, typer.Argument(help="A folder that `delaminate decompose` or `edit` wrote.")],
    out: Annotated[Path, typer.Option(help="Where the images go, as PNG under the scenes' names.")],
    overwrite: Annotated[bool, typer.Option(help="Write over files of these names in OUT; others stay.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Only what is missing in OUT, or was made before its scene was changed.")
    ] = False,
    again: Again = False,
) -> None:
    """Flatten every scene into an image: after an edit, or after you have redrawn a sprite.

    delaminate recompose scenes --out rebuilt
    """
    from delaminate.pipelines.exporting import recompose as recompose_scenes

    paths = recompose_scenes(scenes, out, overwrite=overwrite or again, resume=resume)
    typer.echo(f"{len(paths)} images in {out}")

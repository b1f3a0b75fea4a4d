"""`delaminate recompose SCENES`: scenes become images again."""

from pathlib import Path
from typing import Annotated

import typer


def recompose(
    scenes: Annotated[Path, typer.Argument(help="A folder that `delaminate decompose` or `edit` wrote.")],
    out: Annotated[Path, typer.Option(help="Where the images go, as PNG under the scenes' names.")],
) -> None:
    """Flatten every scene into an image: after an edit, or after you have drawn a sprite anew.

    delaminate recompose scenes --out rebuilt
    """
    from delaminate.scene.document import load_scenes, png_bytes, to_pixels, write_atomic

    loaded = load_scenes(scenes)
    for scene in loaded:
        name = scene.name if scene.name.lower().endswith(".png") else f"{scene.name}.png"
        write_atomic(out / name, png_bytes(to_pixels(scene.composite())))
    typer.echo(f"{len(loaded)} images in {out}")

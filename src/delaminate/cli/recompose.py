"""`delaminate recompose SCENES`: scenes become images again."""

from pathlib import Path
from typing import Annotated

import typer


def recompose(
    scenes: Annotated[Path, typer.Argument(help="A folder that `delaminate decompose` or `edit` wrote.")],
    out: Annotated[Path, typer.Option(help="Where the images go, as PNG under the scenes' names.")],
    again: Annotated[bool, typer.Option(help="Write over files of these names in OUT; others stay.")] = False,
) -> None:
    """Flatten every scene into an image: after an edit, or after you have drawn a sprite anew.

    delaminate recompose scenes --out rebuilt
    """
    from delaminate.files import png_bytes, to_pixels, write_atomic
    from delaminate.pipelines.output_folders import refuse_files
    from delaminate.scene.loading import load_scenes

    loaded = load_scenes(scenes)
    paths = [out / (name if name.lower().endswith(".png") else f"{name}.png") for name in loaded.names]
    refuse_files(paths, again)
    for scene, path in zip(loaded, paths, strict=True):
        write_atomic(path, png_bytes(to_pixels(scene.composite())))
    typer.echo(f"{len(loaded)} images in {out}")

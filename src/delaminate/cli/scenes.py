"""`delaminate scenes new`, `pack` and `unpack`: scenes that are added, and how all lie on the disk."""

from pathlib import Path
from typing import Annotated

import typer

from delaminate.cli.options import ScenesFolder, progress_bar

app = typer.Typer(no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Another folder, for the scenes as they become.")]
Overwrite = Annotated[bool, typer.Option(help="Remove the scenes in OUT, edits included, and start over.")]


@app.callback()
def scenes() -> None:
    """Add a scene, or change how scenes lie on the disk: a few files each, or packed, for collections of many images.

    delaminate scenes new scenes level-2

    delaminate scenes pack scenes --out packed

    delaminate scenes unpack packed --out scenes
    """


@app.command()
def pack(scenes: ScenesFolder, out: Out, overwrite: Overwrite = False) -> None:
    """Pack scenes: 1,024 in an archive (tar). All verbs take packed scenes as they take others."""
    from delaminate.pipelines.repacking import pack_scenes

    with progress_bar("Packing") as callback:
        count = pack_scenes(scenes, out, overwrite=overwrite, callback=callback)
    typer.echo(f"{count} scenes, packed, in {out}")


@app.command()
def unpack(scenes: ScenesFolder, out: Out, overwrite: Overwrite = False) -> None:
    """Give packed scenes files of their own again, the same as before they were packed."""
    from delaminate.pipelines.repacking import unpack_scenes

    with progress_bar("Unpacking") as callback:
        count = unpack_scenes(scenes, out, overwrite=overwrite, callback=callback)
    typer.echo(f"{count} scenes in {out}")


@app.command()
def new(
    scenes: ScenesFolder,
    name: Annotated[str, typer.Argument(help="What it is called; no other scene has this name.")],
    like: Annotated[str | None, typer.Option(help="The scene that it is as large as; default: the first.")] = None,
    background: Annotated[
        bool, typer.Option("--background/--no-background", help="With that one's background.")
    ] = True,
) -> None:
    """Add a scene with nothing on it but a background: a canvas for new pictures out of the sprites.

    `delaminate edit scenes add sprite-03 --scene level-2 --at 40 60` lays a sprite on it.
    """
    from delaminate.pipelines.new_scene import add_scene

    scene = add_scene(scenes, name, like, background)
    typer.echo(f"{scene.name}, {scene.size[1]} x {scene.size[0]} pixels, in {scenes}")

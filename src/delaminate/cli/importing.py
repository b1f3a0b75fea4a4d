"""`delaminate import EDITED SCENES`: what was edited in other programs comes back."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from delaminate.importers.comparison import Repaint
    from delaminate.pipelines.importing import Scope

MOST_LINES = 20  # a scene


def import_files(
    edited: Annotated[
        Path,
        typer.Argument(
            help="What `export` wrote and you edited: .ora, .psd, .aseprite, .tmx, a sheet's .json; or a folder."
        ),
    ],
    scenes: Annotated[Path, typer.Argument(help="The folder of scenes that it was exported of.")],
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="A repainted layer changes its sprite, in every image that shows it.")
    ] = False,
    only_here: Annotated[bool, typer.Option("--only-here", help="A repainted layer changes by itself.")] = False,
    scene: Annotated[str | None, typer.Option(help="The scene of a layered file; default: by the file's name.")] = None,
    out: Annotated[Path | None, typer.Option(help="Save elsewhere; default: in place.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what was understood.")] = False,
) -> None:
    """Bring edits back from Krita, GIMP, Photoshop, Aseprite, Tiled and from sprite sheets.

        delaminate export scenes --to ora --out layers

        delaminate import layers/ora/a.png.ora scenes --everywhere

    Layers may be moved, flipped, repainted, hidden, faded, renamed, reordered, deleted, copied and added.
    """
    from delaminate.pipelines.importing import import_edited

    if everywhere and only_here:
        raise typer.BadParameter("--everywhere and --only-here; expected one of them.")
    asking = _ask if sys.stdin.isatty() and sys.stdout.isatty() else None
    repaint = "everywhere" if everywhere else "only-here" if only_here else asking
    imported = import_edited(edited, scenes, repaint=repaint, scene=scene, out=out, dry_run=dry_run)  # type: ignore[arg-type]
    for where, lines in imported.words.items():
        for line in lines[:MOST_LINES]:
            typer.echo(f"{where}: {line}")
        if len(lines) > MOST_LINES:
            typer.echo(f"{where}: and {len(lines) - MOST_LINES} more")
    for where, lines in imported.remarks.items():
        for line in lines[:MOST_LINES]:
            typer.echo(f"{where}: not taken: {line}", err=True)
    if not imported.edits:
        typer.echo("import: nothing was changed in these files.")
    else:
        typer.echo(f"import: {imported.edits} edits" + (", nothing saved" if dry_run else f" in {out or scenes}"))


def _ask(asked: "Repaint", others: int) -> "Scope":
    """Ask what a repainted layer changes."""
    everywhere = typer.confirm(
        f"{asked.scene.name}: {asked.layer.name} was repainted, and {others} other layers show {asked.sprite}, too. "
        "Change the sprite everywhere? (n: only here)"
    )
    return "everywhere" if everywhere else "only-here"

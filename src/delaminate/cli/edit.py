"""`delaminate edit SCENES OPERATION`: move, hide, show, fade, recolour, replace, reorder, redraw."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from delaminate.scene.scenes import Scene

app = typer.Typer(no_args_is_help=True)

SceneNames = Annotated[list[str] | None, typer.Option("--scene", help="Only this scene; repeatable. Default: all.")]
LayerIds = Annotated[list[str] | None, typer.Option("--layer", help="This layer, by its id in scene.json; repeatable.")]
Entries = Annotated[list[str] | None, typer.Option("--entry", help="Every layer that shows this sprite; repeatable.")]
Out = Annotated[Path | None, typer.Option("--out", help="Save elsewhere; default: in place.")]


@app.callback()
def edit(
    context: typer.Context,
    scenes: Annotated[Path, typer.Argument(help="A folder that `delaminate decompose` wrote.")],
) -> None:
    """Edit layers of saved scenes. Name them by --layer, or by --entry all that show a sprite.

        delaminate edit scenes move --scene a.png --layer layer-01 --by 12 -4

        delaminate edit scenes hide --entry sprite-03

        delaminate edit scenes recolour --entry sprite-00 --gain 0.2 0.4 1 --out blue

    To see the result: `delaminate recompose scenes --out edited`.
    """
    context.obj = scenes


@app.command()
def move(
    context: typer.Context,
    by: Annotated[tuple[float, float], typer.Option(help="Pixels of the image to the right and down.")],
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Move layers: `move --layer layer-01 --by 12 -4`."""
    _edit(context, out, (scene, layer, entry), lambda it, name: it.move(name, *by))


@app.command()
def hide(
    context: typer.Context,
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Leave layers out: `hide --entry sprite-03`."""
    _edit(context, out, (scene, layer, entry), lambda it, name: it.hide(name))


@app.command()
def show(
    context: typer.Context,
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Take hidden layers back in: `show --layer layer-01`."""
    _edit(context, out, (scene, layer, entry), lambda it, name: it.show(name))


@app.command()
def fade(
    context: typer.Context,
    opacity: Annotated[float, typer.Option(help="0 is invisible, 1 as it was found.")],
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Set how opaque layers are: `fade --layer layer-02 --opacity 0.5`."""
    _edit(context, out, (scene, layer, entry), lambda it, name: it.fade(name, opacity))


@app.command()
def recolour(
    context: typer.Context,
    gain: Annotated[tuple[float, float, float], typer.Option(help="Factors on red, green, blue.")] = (1, 1, 1),
    offset: Annotated[tuple[float, float, float], typer.Option(help="Added to red, green, blue, of 1.")] = (0, 0, 0),
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Set the colour, gain * sprite + offset: `recolour --layer layer-01 --gain 1 0 0`."""
    _edit(context, out, (scene, layer, entry), lambda it, name: it.recolour(name, gain, offset))


@app.command()
def replace(
    context: typer.Context,
    sprite: Annotated[str, typer.Option("--with", help="The sprite to show, by its name in dictionary/.")],
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Show another sprite, centre on centre: `replace --entry sprite-03 --with sprite-07`."""

    from delaminate.pipelines.exporting import find_entry

    def change(it: "Scene", name: str) -> "Scene":
        return it.replace(name, find_entry(it, sprite))

    _edit(context, out, (scene, layer, entry), change)


@app.command()
def reorder(
    context: typer.Context,
    to: Annotated[int, typer.Option(help="Position from the back; 0 is furthest back.")],
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Move layers to a position in the stack: `reorder --layer layer-01 --to 3`."""
    _edit(context, out, (scene, layer, entry), lambda it, name: it.reorder(name, to))


@app.command()
def redraw(
    context: typer.Context,
    model: Annotated[
        str, typer.Option("--with", help="A model of ReDO with its generators: a folder or a run folder.")
    ],
    seed: Annotated[int, typer.Option(help="Another seed, another drawing.")] = 0,
    grid: Annotated[
        Path | None, typer.Option(help="Also write a picture: scene, region and eight drawings a row.")
    ] = None,
    scene: SceneNames = None,
    layer: LayerIds = None,
    out: Out = None,
) -> None:
    """Let a model of ReDO repaint a region: `redraw --layer layer-01 --with runs/flowers --seed 3`."""
    from delaminate.pipelines.redrawing import Repainter

    repainter = Repainter(model, seed)
    _edit(context, out, (scene, layer, None), repainter)
    if grid is not None:
        repainter.write_grid(grid)
        typer.echo(f"{grid}: {min(len(repainter.rows), repainter.most_rows)} scenes, redrawn eight times each.")


def _edit(
    context: typer.Context,
    out: Path | None,
    chosen: tuple[list[str] | None, list[str] | None, list[str] | None],
    change: "Callable[[Scene, str], Scene]",
) -> None:
    """Change the layers chosen by scene, layer and entry, and say how many they were."""
    from delaminate.pipelines.exporting import edit

    source: Path = context.obj
    names, layers, entries = (each or [] for each in chosen)
    _, counts = edit(source, change, names=names, layers=layers, entries=entries, out=out)
    touched = sum(count > 0 for count in counts.values())
    typer.echo(f"{context.info_name}: {sum(counts.values())} layers in {touched} scenes of {out or source}")

"""`delaminate edit SCENES OPERATION`: move, hide, show, fade, recolour, replace, reorder, redraw."""

from collections.abc import Callable
from functools import reduce
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
def folders(
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

    def change(it: "Scene", name: str) -> "Scene":
        return it.replace(name, _entry(it, sprite))

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
    """Let a model of ReDO paint a region anew: `redraw --layer layer-01 --with runs/flowers --seed 3`."""
    from delaminate.pipelines.redrawing import Painter

    painter = Painter(model, seed)
    _edit(context, out, (scene, layer, None), painter.change)
    if grid is not None:
        painter.write_grid(grid)
        typer.echo(f"{grid}: {min(len(painter.rows), painter.most_rows)} scenes, drawn anew eight times each.")


def _entry(scene: "Scene", name: str) -> int:
    """Find a dictionary entry by its name."""
    from delaminate.config import suggest
    from delaminate.errors import ConfigError

    names = [scene.dictionary.name(index) for index in range(len(scene.dictionary))]
    if not names:
        raise ConfigError("edit: these scenes share no sprites. Name layers by --layer; ids stand in scene.json.")
    if name not in names:
        raise ConfigError(f"edit: no sprite {name!r} in the dictionary. {suggest(name, names)}")
    return names.index(name)


def _chosen(scene: "Scene", layers: list[str], entries: list[str]) -> list[str]:
    """List the ids of a scene's chosen layers, back to front."""
    shown = {_entry(scene, name) for name in entries}
    return [each.id for each in scene.layers if each.id in layers or each.placement.entry in shown]


def _edit(
    context: typer.Context,
    out: Path | None,
    chosen: tuple[list[str] | None, list[str] | None, list[str] | None],
    change: "Callable[[Scene, str], Scene]",
) -> None:
    """Load the scenes, change the layers chosen by scene, layer and entry, save all."""
    from delaminate.config import suggest
    from delaminate.errors import ConfigError
    from delaminate.scene.loading import load_rate, load_scenes
    from delaminate.scene.saving import save_scenes

    source: Path = context.obj
    target = out or source
    names, layers, entries = (each or [] for each in chosen)
    if not layers and not entries:
        raise ConfigError("edit: nothing chosen. Name layers by --layer ID, or sprites by --entry NAME.")
    scenes = load_scenes(source)
    for name in names:
        if name not in scenes.names:
            raise ConfigError(f"edit: no scene {name!r} in {source}. {suggest(name, list(scenes.names))[:300]}")

    counts: dict[str, int] = {}

    def edited(scene: "Scene") -> "Scene":
        ids = _chosen(scene, layers, entries) if not names or scene.name in names else []
        counts[scene.name] = len(ids)
        return reduce(change, ids, scene)

    result = scenes.changed(edited)
    for _ in result:
        pass  # every edit is tried before anything is written
    if not any(counts.values()):
        where = f"scene {names[0]!r}" if names else "any scene"
        raise ConfigError(f"edit: no such layer in {where}. Ids stand in {source}/scenes/NAME/scene.json.")
    save_scenes(result, target, load_rate(source))
    touched = sum(count > 0 for count in counts.values())
    typer.echo(f"{context.info_name}: {sum(counts.values())} layers in {touched} scenes of {target}")

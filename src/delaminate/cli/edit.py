"""`delaminate edit SCENES OPERATION`: one command for each edit of layers and sprites; `--replay` does those of a journal."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from delaminate.scene.scenes import Scene

app = typer.Typer(no_args_is_help=True, invoke_without_command=True)

SceneNames = Annotated[list[str] | None, typer.Option("--scene", help="Only this scene; repeatable. Default: all.")]
LayerIds = Annotated[list[str] | None, typer.Option("--layer", help="This layer, by its id in scene.json; repeatable.")]
Entries = Annotated[list[str] | None, typer.Option("--entry", help="Every layer that shows this sprite; repeatable.")]
PictureFile = Annotated[Path, typer.Option("--with", help="A picture, with alpha.")]
SpriteName = Annotated[str, typer.Argument(help="A sprite, by its name in dictionary/.")]
Out = Annotated[Path | None, typer.Option("--out", help="Save elsewhere; default: in place.")]


@app.callback()
def edit(
    context: typer.Context,
    scenes: Annotated[Path, typer.Argument(help="A folder that `delaminate decompose` wrote.")],
    replay: Annotated[
        Path | None, typer.Option(help="Do the edits of a journal of the studio, edits/journal.jsonl.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --replay: save elsewhere; default: in place.")] = None,
) -> None:
    """Edit layers of saved scenes. Name them by --layer, or by --entry all that show a sprite.

        delaminate edit scenes move --scene a.png --layer layer-01 --by 12 -4

        delaminate edit scenes hide --entry sprite-03

        delaminate edit scenes recolour --entry sprite-00 --gain 0.2 0.4 1 --out blue

        delaminate edit scenes repaint-sprite sprite-03 --with drawn.png

        delaminate edit --replay mine/edits/journal.jsonl --out same theirs

    To see the result: `delaminate recompose scenes --out edited`.
    """
    context.obj = scenes
    if replay is not None:
        if context.invoked_subcommand is not None:
            raise typer.BadParameter("--replay does edits of its own; leave the operation out.")
        from delaminate.pipelines.edit_history import replay as replay_journal

        _, count = replay_journal(scenes, replay, out)
        typer.echo(f"replay: {count} edits in {out or scenes}")
    elif context.invoked_subcommand is None:
        raise typer.BadParameter(
            "no operation. Expected one of those that `delaminate edit --help` lists, or --replay."
        )


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
def scale(
    context: typer.Context,
    by: Annotated[tuple[float, float], typer.Option(help="Factors across and down; negative ones flip.")],
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Scale layers about their centres: `scale --layer layer-01 --by 2 2`."""
    _edit(context, out, (scene, layer, entry), lambda it, name: it.scale(name, *by))


@app.command()
def rotate(
    context: typer.Context,
    by: Annotated[float, typer.Option(help="Degrees, clockwise.")],
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Turn layers about their centres: `rotate --layer layer-01 --by 90`."""
    _edit(context, out, (scene, layer, entry), lambda it, name: it.rotate(name, by))


@app.command()
def rename(
    context: typer.Context,
    to: Annotated[str, typer.Option(help="What people read; the id stays.")],
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Name layers: `rename --entry sprite-03 --to player`."""
    _edit(context, out, (scene, layer, entry), lambda it, name: it.rename(name, to))


@app.command()
def duplicate(
    context: typer.Context,
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Put copies of layers in front of them: `duplicate --layer layer-01`."""
    _edit(context, out, (scene, layer, entry), lambda it, name: it.duplicate(name))


@app.command()
def remove(
    context: typer.Context,
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Take layers away: `remove --entry sprite-03`."""
    _edit(context, out, (scene, layer, entry), lambda it, name: it.remove(name))


@app.command()
def repaint(
    context: typer.Context,
    picture: PictureFile,
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Give layers a picture of their own, centre on centre: `repaint --scene a.png --layer layer-01 --with drawn.png`."""
    from delaminate.pipelines.edit_history import load_picture

    raster = load_picture(picture)
    _edit(context, out, (scene, layer, entry), lambda it, name: it.redraw(name, raster))


@app.command()
def paste(
    context: typer.Context,
    picture: PictureFile,
    at: Annotated[tuple[int, int], typer.Option(help="Where its corner goes: pixels of the image across and down.")],
    scene: SceneNames = None,
    layer: LayerIds = None,
    entry: Entries = None,
    out: Out = None,
) -> None:
    """Give layers a picture of their own at a place: `paste --scene a.png --layer layer-01 --with drawn.png --at 12 4`."""
    from delaminate.pipelines.edit_history import load_picture

    raster = load_picture(picture)
    _edit(context, out, (scene, layer, entry), lambda it, name: it.paste(name, raster, *at))


@app.command()
def insert(
    context: typer.Context,
    picture: PictureFile,
    scene: Annotated[str, typer.Option(help="The scene.")],
    at: Annotated[tuple[int, int], typer.Option(help="Where its corner goes: pixels of the image across and down.")] = (
        0,
        0,
    ),
    name: Annotated[str, typer.Option(help="What people read.")] = "added",
    out: Out = None,
) -> None:
    """Add a layer with a picture of its own, in front: `insert --scene a.png --with drawn.png --at 12 4`."""
    given = {"operation": "insert", "scene": scene, "left": at[0], "top": at[1], "name": name}
    _operate(context, out, given, picture)


@app.command()
def mend(
    context: typer.Context,
    picture: PictureFile,
    scene: SceneNames = None,
    layer: LayerIds = None,
    out: Out = None,
) -> None:
    """Give layers the alpha of a picture; colours stay: `mend --scene a.png --layer layer-01 --with mask.png`."""
    from delaminate.pipelines.edit_history import load_picture

    alpha = load_picture(picture)[3:]
    _edit(context, out, (scene, layer, None), lambda it, name: it.mend(name, alpha))


@app.command()
def add(
    context: typer.Context,
    sprite: SpriteName,
    scene: Annotated[str, typer.Option(help="The scene.")],
    at: Annotated[tuple[float, float], typer.Option(help="Where its centre goes: pixels across and down.")],
    out: Out = None,
) -> None:
    """Add a sprite in front: `add sprite-03 --scene a.png --at 40 25`."""
    _operate(context, out, {"operation": "add", "sprite": sprite, "scene": scene, "x": at[0], "y": at[1]})


@app.command("rename-sprite")
def rename_sprite(
    context: typer.Context,
    sprite: SpriteName,
    to: Annotated[str, typer.Option(help="What people read; empty: its id.")],
    out: Out = None,
) -> None:
    """Name a sprite: `rename-sprite sprite-03 --to player`."""
    _operate(context, out, {"operation": "rename-sprite", "sprite": sprite, "name": to})


@app.command("repaint-sprite")
def repaint_sprite(
    context: typer.Context,
    sprite: SpriteName,
    picture: PictureFile,
    at: Annotated[
        tuple[int, int],
        typer.Option(help="Where the picture's corner lies in the sprite as it was: pixels across, down."),
    ] = (0, 0),
    out: Out = None,
) -> None:
    """Redraw a sprite in every scene that shows it: `repaint-sprite sprite-03 --with drawn.png`."""
    _operate(context, out, {"operation": "repaint-sprite", "sprite": sprite, "left": at[0], "top": at[1]}, picture)


@app.command("recolour-sprites")
def recolour_sprites(
    context: typer.Context,
    sprites: Annotated[list[str], typer.Argument(help="Sprites, by their names in dictionary/.")],
    colour: Annotated[str, typer.Option(help="The colour that goes, such as #d03030.")],
    to: Annotated[str, typer.Option(help="What it becomes.")],
    out: Out = None,
) -> None:
    """Give one colour of sprites another: `recolour-sprites sprite-03 sprite-04 --colour '#d03030' --to '#3050d0'`."""
    _operate(context, out, {"operation": "recolour-sprites", "sprites": sprites, "colour": colour, "to": to})


@app.command("merge-sprites")
def merge_sprites(
    context: typer.Context,
    sprite: SpriteName,
    into: Annotated[str, typer.Option(help="The sprite that is shown in its place.")],
    out: Out = None,
) -> None:
    """Show one sprite in place of another, which goes: `merge-sprites sprite-03 --into sprite-01`."""
    _operate(context, out, {"operation": "merge-sprites", "sprite": sprite, "into": into})


@app.command("split-sprite")
def split_sprite(context: typer.Context, sprite: SpriteName, picture: PictureFile, out: Out = None) -> None:
    """Split a part off a sprite, where a picture of its size is opaque: `split-sprite sprite-03 --with mask.png`.

    The part becomes a sprite of its own, the last one, and a layer of its own in every scene.
    """
    _operate(context, out, {"operation": "split-sprite", "sprite": sprite}, picture)


@app.command("drop-sprite")
def drop_sprite(context: typer.Context, sprite: SpriteName, out: Out = None) -> None:
    """Take a sprite away, with all layers that show it: `drop-sprite sprite-03`. Those behind it are renumbered."""
    _operate(context, out, {"operation": "drop-sprite", "sprite": sprite})


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


def _operate(
    context: typer.Context, out: Path | None, operation: dict[str, object], picture: Path | None = None
) -> None:
    """Do one operation that is not of chosen layers."""
    from delaminate.pipelines.edit_history import operate

    operate(context.obj, operation, out, picture)
    typer.echo(f"{context.info_name}: done in {out or context.obj}")


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

"""`delaminate data`: built-in data sets, listed and written; images of one's own, made ready."""

from pathlib import Path
from typing import Annotated

import typer

from delaminate.cli.options import Again

app = typer.Typer(
    no_args_is_help=True, help="List the built-in data sets, write one as a folder, or make images of your own ready."
)


@app.command("list")
def list_sets() -> None:
    """List the data sets that can be named instead of a folder.

    Drawn sets need no files: every scene follows from its seed. Real ones are looked for in the folder that the
    variable DELAMINATE_DATA names.

        delaminate data list
    """
    import os

    from rich.console import Console
    from rich.table import Table

    from delaminate.data import names
    from delaminate.data.registry import BENCHMARKS, DATA_VARIABLE
    from delaminate.data.synthetic.scenes import DRAWINGS

    root = os.environ.get(DATA_VARIABLE)
    folders = {name: drawing.folder for name, drawing in DRAWINGS.items()}
    folders |= {name: benchmark.folder for name, benchmark in BENCHMARKS.items()}
    table = Table("name", "what it is", "what it needs", box=None)
    for name, description, needs in names():
        here = root is not None and bool(folders.get(name)) and (Path(root) / folders[name]).is_dir()
        table.add_row(name, description, "here" if here else needs or "nothing: drawn")
    Console().print(table)


@app.command("write")
def write(
    name: Annotated[str, typer.Argument(help="A name of `delaminate data list`.")],
    out: Annotated[Path, typer.Option(help="The folder to fill: images/, masks/, classes/, index.csv.")],
    count: Annotated[int | None, typer.Option("-n", min=1, help="How many images; 1000 unless given.")] = None,
    seed: Annotated[int, typer.Option(help="Which series of a drawn set.")] = 0,
    split: Annotated[str, typer.Option(help="train or dev; their scenes never meet.")] = "train",
    overwrite: Annotated[bool, typer.Option(help="Remove the set that was written to OUT, and start over.")] = False,
    again: Again = False,
) -> None:
    """Write a data set as PNG files, with exact masks.

    Masks hold the number of the object at each pixel, classes the kind; 0 is the background. The folder can be given to
    every other command.

        delaminate data write tetrominoes --out pieces -n 200 --seed 7
    """
    from delaminate.pipelines.evaluation import refuse_test

    refuse_test(split)
    from delaminate.data import LabelledSet, open_data, write_folder
    from delaminate.errors import DataError

    if Path(name).exists():
        raise DataError(f"{name}: is a path; expected the name of a built-in data set.")
    found = open_data(name, count, seed, "dev" if split == "dev" else "train")
    assert isinstance(found, LabelledSet)
    make_room_for_a_set(out, overwrite or again)
    ignored = write_folder(found, out)
    height, width = found.images.size
    replica = ", a replica drawn by this library" if found.replica else ""
    typer.echo(f"{len(found)} images of {width} x {height} pixels in {out} ({found.name}{replica})")
    if ignored is not None:
        typer.echo(
            f"Pixels that nobody labelled are {ignored} in the masks: measure with `evaluate --ignore {ignored}`."
        )


@app.command("prepare")
def prepare(
    data: Annotated[str, typer.Argument(help="A folder, an archive, an address of images, or a clip.")],
    out: Annotated[Path, typer.Option(help="A new folder, for what is made.")],
    frames: Annotated[
        str,
        typer.Option(metavar="FIRST:END", help="Which images or frames: 120:480 takes 360 of them, counted from 0."),
    ] = ":",
    crop: Annotated[
        str | None, typer.Option(metavar="LEFT,TOP,WIDTH,HEIGHT", help="The part of each image, in pixels.")
    ] = None,
    stretch: Annotated[
        bool,
        typer.Option("--stretch", help="Stretch contrast: the darkest values of all become black, the lightest white."),
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Remove what an earlier call has left in OUT.")] = False,
) -> None:
    """Take some frames of a clip or images of a folder, crop them, stretch their contrast: as new files, without loss.

    A clip becomes an animated PNG with the same times, other images PNG files of 8 bits. Stretching brings up dark pictures,
    such as 12 bits of a microscope's camera in 16.

        delaminate data prepare clip.mp4 --out level-1 --frames 120:480 --crop 0,16,256,224

        delaminate data prepare cells/ --out bright --stretch
    """
    from delaminate.cli.options import progress_bar
    from delaminate.pipelines.preparing import prepare_images

    with progress_bar("Preparing") as callback:
        found = prepare_images(
            data, out, frames=_span(frames), crop=None if crop is None else _crop(crop), stretch=stretch,
            overwrite=overwrite, callback=callback,
        )  # fmt: skip
    for name, reason in found.skipped:
        typer.secho(f"Not read: {name}: {reason}", fg="yellow", err=True)
    size = "of several sizes" if found.size is None else f"of {found.size[1]} x {found.size[0]} pixels"
    typer.echo(f"{found.count} images {size} in {found.place}")
    typer.echo(f"Next: delaminate auto {found.place}")


def _span(text: str) -> tuple[int, int | None]:
    from delaminate.errors import ConfigError

    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return int(first or 0), int(last) if last else None
    except ValueError:
        raise ConfigError(f"--frames {text}: expected FIRST:END, such as 120:480, 120: or :480.") from None


def _crop(text: str) -> tuple[int, int, int, int]:
    from delaminate.errors import ConfigError

    try:
        left, top, width, height = map(int, text.split(","))
    except ValueError:
        raise ConfigError(f"--crop {text}: expected LEFT,TOP,WIDTH,HEIGHT in pixels, such as 0,16,256,224.") from None
    return left, top, width, height


def make_room_for_a_set(out: Path, overwrite: bool) -> None:
    """Make room for images and masks, as `make_room` does; what no `data write` wrote is never removed.

    Raises:
        ConfigError: The folder holds such files, or a set, and it is not asked for to remove that.
        OutputError: It is no folder.
    """
    from delaminate.data.labelled import INDEX, PARTS, written_files
    from delaminate.errors import ConfigError
    from delaminate.pipelines.output_folders import make_room

    written, folders = written_files(out), [out / part for part in PARTS]
    held = [out / INDEX, *(path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()))]
    for path in held:
        if path.exists() and path not in written:
            raise ConfigError(f"{path}: is there already, and no `data write` wrote it. Choose another --out.")
    # The index goes last: by it one sees what else to remove.
    parts = [*(str(path.relative_to(out)) for path in written - {out / INDEX}), INDEX]
    make_room(out, overwrite, parts, (INDEX,), "a set already. Train on it")
    for folder in folders:
        if folder.is_dir() and not folder.is_symlink():
            folder.rmdir()

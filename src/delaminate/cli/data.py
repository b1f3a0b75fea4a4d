"""`delaminate data`: built-in data sets, listed and written."""

from pathlib import Path
from typing import Annotated

import typer

from delaminate.cli.options import Again

app = typer.Typer(
    no_args_is_help=True, help="List the built-in data sets, or write one as a folder of images and masks."
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
    typer.echo(f"{len(found)} images of {height} x {width} pixels in {out} ({found.name}{replica})")
    if ignored is not None:
        typer.echo(
            f"Pixels that nobody labelled are {ignored} in the masks: measure with `evaluate --ignore {ignored}`."
        )


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

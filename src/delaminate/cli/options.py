"""Options that several verbs share, how progress is shown, and what is said of files that were skipped."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from delaminate.engine.record import Callback

Model = Annotated[str, typer.Argument(help="A model or run folder, a name of `delaminate models`, or hub:OWNER/NAME.")]
ScenesFolder = Annotated[Path, typer.Argument(help="A folder that `delaminate decompose` wrote.")]
By = Annotated[str | None, typer.Option(help="How to decompose: search, network, refined ...; default: the best.")]
Fit = Annotated[str, typer.Option(help="How images meet the model's canvas: squash, crop or pad.")]
Zoom = Annotated[
    str | None,
    typer.Option(
        help="By how much pixel art was enlarged, as 3 or 2x3.5 (height x width); 1: not; default: it is found."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="A folder for the decoded images, which are read from there; default: they are held in memory, or where they "
        "would take more than a quarter of it, in --out."
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Share the work among so many processes of this machine (extra `scale`).")
]
Cluster = Annotated[
    str | None, typer.Option(help="Share it among the workers of a Dask scheduler, such as tcp://host:8786.")
]
Again = Annotated[bool, typer.Option("--again", hidden=True, help="Older name of --overwrite.")]


@contextmanager
def progress_bar(description: str) -> "Iterator[Callback]":
    """Show how far something is, in a line that goes away at the end; notes stay."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from delaminate.engine.record import SilentCallback

    class Bar(SilentCallback):
        def stage(self, name: str, step: int, steps: int) -> None:
            progress.update(task, total=steps, completed=step)

        def step(self, name: str, step: int, figures: dict[str, float]) -> None:
            progress.update(task, completed=step)

        def note(self, text: str) -> None:
            typer.echo(text, err=text.startswith("Stopped"))

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    console = Console()
    with Progress(*columns, transient=True, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=None)
        yield Bar()


def report_skipped(skipped: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> None:
    """Name the files that could not be used."""
    from rich.console import Console

    from delaminate.engine.parallel import leads

    console = Console(quiet=not leads())
    if skipped:
        console.print(f"[yellow]{len(skipped)} files skipped:[/yellow]")
    for name, reason in skipped[:10]:
        console.print(f"  {name}: {reason}", markup=False)
    if len(skipped) > 10:
        console.print(f"  ... and {len(skipped) - 10} more")

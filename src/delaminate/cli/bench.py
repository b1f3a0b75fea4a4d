"""`delaminate bench NAME`: train to a published number and record what came out, one file a seed."""

import json
from pathlib import Path
from typing import Annotated

import typer

from delaminate.cli.options import Again


def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Which benchmarks; none lists them.")] = None,
    seeds: Annotated[str, typer.Option(help="Comma-separated seeds.")] = "0",
    out: Annotated[Path, typer.Option(help="Folder of result files.")] = Path("benchmarks/results"),
    minutes: Annotated[float | None, typer.Option(help="Another budget per seed.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    overwrite: Annotated[bool, typer.Option(help="Repeat seeds that have a result file.")] = False,
    again: Again = False,
    resume: Annotated[bool, typer.Option(help="Go on with interrupted seeds.")] = False,
    table: Annotated[bool, typer.Option(help="Only write the table of all results (README.md beside them).")] = False,
) -> None:
    """Reproduce a table: train, evaluate on unseen images, write one result file a seed.

    Result files are never overwritten without --overwrite, so later calls add seeds. The run folders lie in OUT/runs.

        delaminate bench tetrominoes-search --seeds 0,1,2,3,4
    """
    from rich.console import Console

    from delaminate.bench.benchmarks import BENCHES
    from delaminate.bench.run import Interrupted, run_seed
    from delaminate.bench.tables import results_table
    from delaminate.config import suggest
    from delaminate.errors import ConfigError
    from delaminate.files import write_atomic
    from delaminate.pipelines.devices import pick_device

    console = Console()
    if not names and not table:
        for name, each in BENCHES.items():
            console.print(f"[bold]{name:20}[/bold] {each.about} ({each.minutes:g} min a seed)")
        return
    for name in names or []:
        if name not in BENCHES:
            raise ConfigError(f"bench: unknown benchmark {name!r}. {suggest(name, list(BENCHES))}")
        for seed in [int(text) for text in seeds.split(",")]:
            path = out / f"{name}-{seed}.json"
            if path.exists() and not (overwrite or again):
                console.print(f"{path} is there; --overwrite repeats it.")
                continue
            there = (out / "runs" / f"{name}-{seed}" / "checkpoint.pt").exists()
            try:
                record = run_seed(name, seed, out, pick_device(device), minutes, resume and there)
            except Interrupted as stop:
                typer.echo(str(stop))
                raise typer.Exit(stop.status) from None
            write_atomic(path, (json.dumps(record, indent=1) + "\n").encode())
            for by, figures in record["figures"].items():
                shown = {k: round(v, 4) for k, v in figures.items() if isinstance(v, float)}
                console.print(f"{name} seed {seed}, by {by}: {shown}", highlight=False)
    write_atomic(out / "README.md", results_table(out).encode())

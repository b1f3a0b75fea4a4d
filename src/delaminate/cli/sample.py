"""`delaminate sample MODEL`: draw scenes from noise."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from delaminate.cli.options import Again, Device, progress_bar


def sample(
    model: Annotated[str, typer.Argument(help="A model or run folder of perturbgan, with its generators.")],
    out: Annotated[Path, typer.Option(help="Where the scenes go.")],
    count: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 64,
    seed: Annotated[int, typer.Option(help="Another seed draws other scenes.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Remove the scenes in OUT, edits included, and start over.")] = False,
    again: Again = False,
    device: Device = "auto",
) -> None:
    """Draw scenes that never were: background and foreground, each a layer of its own, to edit and to export.

    The first scenes of a seed are the same, however many are asked for. Images and masks together are a labelled set:

        delaminate sample runs/photos --out made -n 100

        delaminate recompose made --out set/images

        delaminate export made --to coco,masks --out set
    """
    from delaminate.pipelines.sampling import sample as sample_scenes

    with progress_bar("Drawing") as callback:
        sample_scenes(
            model, out, count=count, seed=seed, overwrite=overwrite or again, device=device, callback=callback
        )
    typer.echo(f"{count} scenes from noise in {out}.\nNext: delaminate export {quote(str(out))} --to html --out report")

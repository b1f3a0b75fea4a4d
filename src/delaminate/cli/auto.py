"""`delaminate auto DATA`: from any collection to its layers, without one setting."""

from pathlib import Path
from typing import Annotated

import typer

from delaminate.cli.options import Device


def auto(
    data: Annotated[str, typer.Argument(help="A folder of images, one image, a clip, or a built-in data set.")],
    out: Annotated[Path | None, typer.Option(help="Where everything goes; default layers-NAME.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so many; run it again to go on.")] = None,
    look: Annotated[
        bool, typer.Option("--look", "--dry-run", help="Only say what these images are and what to do.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    device: Device = "auto",
) -> None:
    """Look at images, say what they are, and take them apart by the method that suits them.

    OUT gets report.html, training/ (the model), scenes/ (layers to edit) and exports/ (for other programs). Cut off, the same
    command goes on. Every act is printed as the command that does the same. Ends with 1 if nothing worth having was found or
    the time was over, with 2 if the images cannot be used.

        delaminate auto clip.gif

        delaminate auto photos/ --look

        delaminate auto frames/ --out layers --minutes 10
    """
    from rich.console import Console

    from delaminate.engine.record import TerminalCallback
    from delaminate.pipelines import automatic

    class Acts(TerminalCallback):
        """Lines are not broken, so that commands can be copied."""

        def note(self, text: str) -> None:
            console.print(text, markup=False, highlight=False, soft_wrap=True)

    console = Console()
    folder = out or Path(f"layers-{Path(data).stem or 'images'}")
    if look:
        found = automatic.look(data, folder)
        lines = (*found.recognition.evidence, found.text, *(f"$ {command}" for command in found.commands))
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(int(found.level == "nothing"))
    found = automatic.auto(data, folder, minutes=minutes, seed=seed, device=device, callback=Acts(console))
    said = () if found.text == found.recognition.sentence else (found.text,)
    console.print("\n".join((*said, *found.remarks)), markup=False, highlight=False, soft_wrap=True)
    if found.level == "nothing" or not found.finished:
        console.print(
            f"{'Nothing worth having was found' if found.finished else 'Not finished'}; {found.page} says more."
        )
        raise typer.Exit(1)
    console.print(f"Done: {found.level}. Open {found.page}.")

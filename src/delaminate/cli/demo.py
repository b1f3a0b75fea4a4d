"""`delaminate demo`: train from nothing on drawn scenes, evaluate, and write a page to look at."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Another seed draws other scenes.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Watch Delaminate take images apart: one to four minutes, nothing to download.

    Draws 3,000 scenes of falling-block pieces, finds the 19 pieces without being told anything about them, takes 320 unseen
    scenes apart, and writes OUT/report.html, OUT/metrics.json and OUT/scenes.
    """
    from rich.console import Console

    from delaminate.engine.record import TerminalCallback
    from delaminate.pipelines.demonstration import demonstrate
    from delaminate.pipelines.devices import pick_device

    console = Console()
    found = demonstrate(out, seed, pick_device(device), TerminalCallback(console))
    console.print(
        f"\nFound [bold]{found.num_sprites}[/bold] sprites in {found.seconds:.0f} s. Agreement with the true objects (ARI-FG): "
        f"[bold]{found.figures['ari_fg']:.3f}[/bold], of 1."
    )
    console.print(f"Open [bold]{found.report}[/bold] in a browser; the figures are in {out / 'metrics.json'}.")
    console.print(f"To edit the layers that it found: [bold]./run studio {out / 'scenes'}[/bold]")

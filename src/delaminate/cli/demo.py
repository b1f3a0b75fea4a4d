"""`delaminate demo`: train from nothing on drawn scenes, evaluate, and write a page to look at."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from delaminate.data import ImageSet
    from delaminate.methods import Method

NEXT = (
    "Your own pictures: `delaminate train dti-sprites FOLDER --preset instagram --out runs/mine`, then "
    "`delaminate decompose runs/mine FOLDER --out scenes`.",
    "Take these layers into a paint program: `delaminate export runs/demo/scenes --to ora --out layers`.",
    "Redraw one sprite in `runs/demo/scenes/dictionary` and run `delaminate recompose runs/demo/scenes --out redrawn`: "
    "every scene that uses it changes.",
    "Teach a network to see the pieces at once: `delaminate train dti-sprites tetrominoes` (about ten minutes).",
)


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

    from delaminate.data import draw, draw_images
    from delaminate.engine import train
    from delaminate.engine.record import TerminalCallback
    from delaminate.files import write_atomic
    from delaminate.methods.dti_sprites import DTISprites
    from delaminate.metrics.evaluation import evaluate
    from delaminate.pipelines.devices import pick_device

    console = Console()
    started = time.monotonic()
    console.print("Drawing 3,000 scenes; their masks are put away until the end.")
    images = draw_images("tetrominoes", 3_000, seed=seed, split="train")
    model = DTISprites.preset("tetrominoes", seed, distil_steps=0, steps=0)
    console.print(
        "Looking for sprites: search explains a batch, then every sprite is estimated again from what it explained."
    )
    train(model, images.pixels, out, seed=seed, device=pick_device(device), callback=TerminalCallback(console))
    model.cpu().eval()
    trained = time.monotonic() - started

    console.print("Taking 320 unseen scenes apart, and comparing with the true masks.")
    unseen = draw("tetrominoes", 320, seed=seed, split="dev")
    figures = dict(
        evaluate(model.decompose, unseen.images, unseen.labels, protocol="320 unseen drawn scenes, by search")
    )
    write_atomic(out / "metrics.json", (json.dumps(figures, indent=2) + "\n").encode())
    found = len(model.dictionary())
    facts = {
        "method": "DTI-Sprites, trained by search",
        "sprites": f"{found} found, {model.config.num_sprites} offered",
        "training": f"{len(images)} drawn scenes without labels, {trained:.0f} seconds",
        "seed": str(seed),
    }
    _write_page(out, model, unseen.images, figures, facts)
    console.print(
        f"\nFound [bold]{found}[/bold] sprites in {trained:.0f} s. Agreement with the true objects (ARI-FG): "
        f"[bold]{figures['ari_fg']:.3f}[/bold], of 1."
    )
    console.print(f"Open [bold]{out / 'report.html'}[/bold] in a browser; the figures are in {out / 'metrics.json'}.")


def _write_page(
    out: Path, model: "Method", images: "ImageSet", figures: dict[str, Any], facts: dict[str, str], shown: int = 24
) -> None:
    """Save the first scenes, and the page that shows them."""
    from delaminate.engine.record import read_log
    from delaminate.export.html import write_report
    from delaminate.scene.saving import save_scenes

    some = images.batch(range(shown))
    scenes = model.decompose(some).scenes(list(images.names[:shown]))
    save_scenes(scenes, out / "scenes")
    write_report(
        out / "report.html",
        title="Falling blocks, taken apart",
        scenes=scenes,
        images=some,
        curve=[(line["step"] + 1, line["error"], line["stage"]) for line in read_log(out) if "error" in line],
        figures={key: value for key, value in figures.items() if isinstance(value, int | float)},
        next_steps=NEXT,
        facts=facts,
    )

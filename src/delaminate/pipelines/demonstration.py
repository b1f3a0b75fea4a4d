"""The demonstration: train from nothing on drawn scenes, measure, and write a page to look at."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from delaminate.data import draw, draw_images
from delaminate.engine import train
from delaminate.engine.record import Callback, SilentCallback, read_log
from delaminate.exporters.html import write_report
from delaminate.files import write_atomic
from delaminate.methods import METHODS
from delaminate.metrics.evaluation import Figures, evaluate
from delaminate.scene.saving import save_scenes

NEXT = (
    "Your own pictures: `delaminate train dti-sprites FOLDER --preset instagram --out runs/mine`, then "
    "`delaminate decompose runs/mine FOLDER --out scenes`.",
    "Take these layers into a paint program: `delaminate export runs/demo/scenes --to ora --out layers`.",
    "Redraw one sprite in `runs/demo/scenes/dictionary` and run `delaminate recompose runs/demo/scenes --out redrawn`: "
    "every scene that uses it changes.",
    "Teach a network to see the pieces at once: `delaminate train dti-sprites tetrominoes` (about ten minutes).",
)

DRAWN, UNSEEN, SHOWN = 3_000, 320, 24
"""Scenes that are drawn for training, that are measured, and that the page shows."""


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration has found.

    Attributes:
        num_sprites: Sprites that search has found.
        seconds: What training took.
        figures: Of unseen scenes.
        report: The page.
    """

    num_sprites: int
    seconds: float
    figures: Figures
    report: Path


def demonstrate(out: Path, seed: int = 0, device: str = "cpu", callback: Callback | None = None) -> Demonstration:
    """Draw scenes of falling blocks, find the pieces without being told anything about them, and take unseen scenes apart.

    Writes report.html, metrics.json, scenes and the run into `out`; `callback` is told of progress.
    """
    callback = callback or SilentCallback()
    started = time.monotonic()
    callback.note(f"Drawing {DRAWN:,} scenes; their masks are put away until the end.")
    images = draw_images("tetrominoes", DRAWN, seed=seed, split="train")
    model = METHODS["dti-sprites"].preset("tetrominoes", seed, distil_steps=0, steps=0)
    callback.note(
        "Looking for sprites: search explains a batch, then every sprite is estimated again from what it explained."
    )
    train(model, images.pixels, out, seed=seed, device=device, callback=callback)
    model.cpu().eval()
    seconds = time.monotonic() - started

    callback.note(f"Taking {UNSEEN} unseen scenes apart, and comparing with the true masks.")
    unseen = draw("tetrominoes", UNSEEN, seed=seed, split="dev")
    protocol = f"{UNSEEN} unseen drawn scenes, by search"
    figures = dict(evaluate(model.decompose, unseen.images, unseen.labels, protocol=protocol))
    write_atomic(out / "metrics.json", (json.dumps(figures, indent=2) + "\n").encode())
    found = len(model.dictionary())
    shown = unseen.images.batch(range(SHOWN))
    scenes = model.decompose(shown).scenes(list(unseen.images.names[:SHOWN]))
    save_scenes(scenes, out / "scenes")
    write_report(
        out / "report.html",
        title="Falling blocks, taken apart",
        scenes=scenes,
        images=shown,
        curve=[(line["step"] + 1, line["error"], line["stage"]) for line in read_log(out) if "error" in line],
        figures={key: value for key, value in figures.items() if isinstance(value, int | float)},
        next_steps=NEXT,
        facts={
            "method": "DTI-Sprites, trained by search",
            "sprites": f"{found} found, {model.config.num_sprites} offered",
            "training": f"{len(images)} drawn scenes without labels, {seconds:.0f} seconds",
            "seed": str(seed),
        },
    )
    return Demonstration(found, seconds, figures, out / "report.html")

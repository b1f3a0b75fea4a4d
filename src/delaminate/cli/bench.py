"""`delaminate bench NAME`: train to a published number and record what came out, one file a seed."""

import functools
import itertools
import json
import platform
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from delaminate.engine import Outcome
    from delaminate.methods import Method
    from delaminate.scene.placements import Decomposition


@dataclass(frozen=True)
class Bench:
    """One row of the tables.

    Attributes:
        about: What is shown, in one line.
        preset, method: What is trained.
        data: A built-in set; drawn sets are trained on their training range.
        settings: Changes to the preset.
        count: Training images of a drawn set.
        test: Images of a drawn test set, the last images of a real one that are not trained on, or None to score on the
            training images, as the paper does for real sets.
        test_data: Another built-in set to score on, when it is not `data`.
        unlabelled: Train on the photos of a real set that have no masks, too.
        clip: Learn from the very clip that is scored, as a user would; labels stay unseen.
        minutes: Budget of a seed.
        published: The paper's figures, by our names, with their source.
    """

    about: str
    preset: str
    data: str
    settings: dict[str, Any] = field(default_factory=dict)
    method: str = "dti-sprites"
    count: int | None = None
    test: int | None = 320
    test_data: str = ""
    unlabelled: bool = False
    clip: bool = False
    minutes: float = 60.0
    published: dict[str, float] = field(default_factory=dict)


PUBLISHED_TETROMINOES = {"ari_fg_helped": 0.996, "ari": 0.998, "class_accuracy": 0.995, "class_miou": 0.991}

# Table 1 of the paper (arXiv v1): Dubey's game at 128 x 128 after 42 GPU hours; IoU threshold and split are not stated.
PUBLISHED_GAME = {"precision": 0.535, "recall": 0.356, "iou": 0.843, "psnr": 23.5}

BENCHES = {
    "tetrominoes-search": Bench(
        "sprites found by matching alone, from nothing, within a minute", "tetrominoes", "tetrominoes",
        {"distil_steps": 0, "steps": 0}, count=4_000, minutes=1, published=PUBLISHED_TETROMINOES,
    ),
    "tetrominoes": Bench(
        "search, then the encoder learns to predict the placements, then gradients", "tetrominoes", "tetrominoes",
        count=20_000, minutes=30, published=PUBLISHED_TETROMINOES,
    ),
    "tetrominoes-paper": Bench(
        "the paper's training alone within the same budget", "tetrominoes-paper", "tetrominoes",
        count=60_000, minutes=30, published=PUBLISHED_TETROMINOES,
    ),
    "multi-dsprites": Bench(
        "rotated and scaled shapes that hide each other, on grey", "multi-dsprites", "multi-dsprites",
        count=20_000, minutes=45, published={"ari_fg_helped": 0.925, "class_accuracy": 0.913, "class_miou": 0.84},
    ),
    "floating-sprites": Bench(
        "sprites that float and hide each other, found by search", "floating-sprites", "floating-sprites",
        method="marionette", count=240, minutes=5,
    ),
    "platform-game": Bench(
        "random levels of a platform game, found by search", "platform-game", "platform-game",
        method="marionette", count=240, test=200, minutes=10, published=PUBLISHED_GAME,
    ),
    "platform-game-dubey": Bench(
        "random levels of the game of Dubey et al., found by search", "platform-game", "platform-game-dubey",
        method="marionette", count=240, test=200, minutes=10, published=PUBLISHED_GAME,
    ),
    "platform-game-network": Bench(
        "the paper's network alone, no search, for as long as the budget lasts (the paper: 42 hours on a GPU)",
        "platform-game-paper", "platform-game-dubey", {"image_size": [230, 230], "batch": 2, "bf16": True},
        method="marionette", count=2_000, test=40, minutes=50, published=PUBLISHED_GAME,
    ),
    "space-invaders": Bench(
        "recorded play; scored on other play by boxes from the console's memory", "space-invaders", "space-invaders",
        method="marionette", count=600, test_data="space-invaders-sample", minutes=10,
    ),
    "side-scroller": Bench(
        "a clip of 60 s over a scrolled landscape; learned from the clip itself", "video", "side-scroller",
        method="marionette", count=1_800, test=1_800, clip=True, minutes=15,
    ),
    "text-pages": Bench(
        "letters of printed pages, learned from one page and scored on others", "text-pages", "text-goethe1809",
        {"search_steps": 1, "search_batch": 1}, method="marionette", count=50, test=4, minutes=25,
    ),
    "gtsrb8": Bench(
        "traffic signs of eight classes, clustered; a shortened schedule", "gtsrb8", "gtsrb8",
        {"steps": 1_400, "unlock_steps": [250, 800]}, test=None, minutes=45, published={"clustering_accuracy": 0.899},
    ),
    "colored-2-mnist": Bench(
        "two digits and a ground, each a region that can be redrawn; 32 x 32", "colored-2-mnist",
        "colored-2-mnist", {"bf16": True}, method="redo", count=20_000, minutes=12,
    ),
    "colored-2-mnist-64": Bench(
        "the same at 64 x 64", "colored-2-mnist", "colored-2-mnist",
        {"image_size": [64, 64], "bf16": True}, method="redo", count=20_000, minutes=60,
    ),
    "redo-flowers17": Bench(
        "flowers cut out of photos, 64 x 64; trained and scored on the same photos, labels unseen", "photos", "flowers17",
        {"bf16": True}, method="redo", test=None, minutes=60,
        published={"iou_best": 0.764, "accuracy_best": 0.879},
    ),
    "redo-clothing": Bench(
        "dressed people cut out of photos, 64 x 64; trained on these and on photos without masks, labels unseen", "photos",
        "clothing-ccp", {"bf16": True}, method="redo", unlabelled=True, test=None, minutes=60,
    ),
    "redo-butterflies": Bench(
        "butterflies cut out of photos, 64 x 64; trained and scored on the same photos, labels unseen", "photos", "butterflies",
        {"bf16": True}, method="redo", test=None, minutes=60,
    ),
    "objects-on-texture": Bench(
        "one figure on a drawn texture, 32 x 32: layers from noise, then a segmenter", "objects-on-texture",
        "objects-on-texture", {"bf16": True}, method="perturbgan", count=20_000, minutes=60,
    ),
    "objects-on-texture-still": Bench(
        "the same without the shift, and without restarts: what it is good for", "objects-on-texture",
        "objects-on-texture", {"shift": 0.0, "watch_share": 0.0, "bf16": True},
        method="perturbgan", count=20_000, minutes=60,
    ),
    "redo-objects-on-texture": Bench(
        "the same scenes by ReDO, which cannot know what moves", "photos", "objects-on-texture",
        {"image_size": [32, 32], "bf16": True}, method="redo", count=20_000, minutes=60,
    ),
    "perturbgan-flowers17": Bench(
        "flowers cut out of photos, 64 x 64; trained and scored on the same photos, labels unseen", "photos", "flowers17",
        {"bf16": True}, method="perturbgan", test=None, minutes=60,
    ),
    "weizmann-horse": Bench(
        "horses cut out of photos; a shortened schedule", "weizmann-horse", "weizmann-horse",
        {"steps": 800, "unlock_steps": [150, 450]}, test=None, minutes=45, published={"accuracy_split": 0.879},
    ),
}  # fmt: skip


def machine() -> dict[str, Any]:
    """Describe what computed, without naming the machine."""
    import os

    import torch

    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


PAUSE = 90.0  # seconds between two lines of a log, from which on nothing was computed


def busy_seconds(times: list[float]) -> float:
    """Seconds that a log covers, given when its lines were written; the breaks between calls are left out."""
    return sum(gap for before, after in itertools.pairwise(times) if (gap := after - before) < PAUSE)


def run_seed(name: str, seed: int, out: Path, device: str, minutes: float | None, resume: bool) -> dict[str, Any]:
    """Train and evaluate one seed; return its record."""
    from delaminate.cli.opening import fill_size
    from delaminate.cli.train import resolve, training_images
    from delaminate.config import build, to_dict
    from delaminate.data import load_photos
    from delaminate.data.synthetic import Split
    from delaminate.engine import Budget
    from delaminate.engine import train as run_training
    from delaminate.engine.record import Terminal, read_log

    bench = BENCHES[name]
    method_class, config = resolve(bench.method, bench.preset, None, [])
    config = build(config, bench.settings, name)
    split: Split = "test" if bench.clip else "train"
    if bench.unlabelled:
        images = load_photos(bench.data, size=config.image_size)
    else:
        images = training_images(bench.data, config.image_size, bench.count, seed, "squash", split)
    config = fill_size(config, images)
    run = out / "runs" / f"{name}-{seed}"
    if not resume:
        shutil.rmtree(run, ignore_errors=True)  # pictures and models of another run
    model: Method = method_class(config, seed)
    started = time.time()
    budget = Budget(minutes=minutes or bench.minutes)
    outcome: Outcome = run_training(
        model, images.pixels, run, seed=seed, device=device, budget=budget, resume=resume, listener=Terminal()
    )
    seconds = time.time() - started
    if outcome.reason.startswith("SIG"):
        typer.echo(f"{name} seed {seed}: interrupted at step {outcome.total_step}; --resume goes on. Nothing recorded.")
        raise typer.Exit(130)
    log = read_log(run)
    stages = {line["stage"]: line["step"] + 1 for line in log if "stage" in line}
    curve = [
        [line["stage"], line["step"], line["time"] - log[0]["time"], line["check"]] for line in log if "check" in line
    ]
    record = {
        "bench": name,
        "seed": seed,
        "about": bench.about,
        "command": f"delaminate bench {name} --seeds {seed}" + (f" --minutes {minutes:g}" if minutes else ""),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "train_seconds": round(seconds + busy_seconds([line["time"] for line in log if line["time"] < started]), 1),
        "train_images": len(images),
        "steps": stages,
        "finished": outcome.finished,
        "stopped_by": outcome.reason,
        "sprites_active": len(getattr(model, "entries", ())),
        "notes": [line["note"] for line in log if "note" in line],
        "check_curve": [[s, n, round(t, 1), e] for s, n, t, e in curve],
        "published": bench.published,
        "figures": evaluate_model(model.cpu(), bench, seed),
        "config": to_dict(config),
    }
    return record


def _followed(
    model: "Method", by: str, follow: "Callable[[Decomposition], Decomposition]", images: "Tensor"
) -> "Decomposition":
    return follow(model.decompose(images, by=by))


def evaluate_model(model: "Method", bench: Bench, seed: int) -> dict[str, dict[str, Any]]:
    """Score every way the model can decompose. This is the one place that opens the test range of drawn sets."""
    from delaminate.cli.judging import sampled_figures, taught
    from delaminate.cli.opening import canvas, follower
    from delaminate.data import LabelledSet, draw, load_benchmark, true_sprites
    from delaminate.data.synthetic import DRAWINGS
    from delaminate.methods.perturbgan import PerturbGAN
    from delaminate.metrics.report import evaluate

    model.eval()
    data = bench.test_data or bench.data
    drawing = DRAWINGS.get(data)
    validation, chosen_on = None, "other images"
    if drawing is not None:
        labelled: LabelledSet = draw(data, bench.test or 320, seed=seed, split="test", size=canvas(model, None))
        if drawing.regions:
            others = draw(data, 100, seed=seed, split="dev", size=canvas(model, None))
            validation = (others.images, others.labels)
    else:
        size = canvas(model, None)
        labelled = load_benchmark(data, split="test", size=size)
        if bench.count is not None and bench.test is not None and data == bench.data:
            labelled = labelled.subset(range(len(labelled) - bench.test, len(labelled)))
        if labelled.labels.instances is not None:
            dev = load_benchmark(data, split="dev", size=size)
            validation = (dev.images, dev.labels)
            if set(dev.images.names) & set(labelled.images.names):
                chosen_on = f"{len(dev.images)} of them"
    known = drawing is not None and drawing.sprites is not None
    found = {}
    for by in model.decomposers:
        follow = follower(labelled.images)
        found[by] = dict(
            evaluate(
                functools.partial(_followed, model, by, follow),
                labelled.images,
                labelled.labels,
                validation=validation,
                chosen_on=chosen_on,
                sprites=true_sprites(data) if known else None,
                sprite_iou=drawing.sprite_iou if drawing is not None else 0.9,
                batch=max(1, min(64, 4_000_000 // (labelled.images.size[0] * labelled.images.size[1]))),
                soft=getattr(model, "reconstruct_softly", None) if by == "network" else None,
                protocol=f"{data}, {len(labelled.images)} images, by {by}",
                reconstructs=not model.carries_photo(by),
            )
        )
    if isinstance(model, PerturbGAN) and drawing is not None and model.can_sample:
        found["sampled"] = dict(sampled_figures(model, taught(data, model.image_size, seed), data, seed))
    return found


def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Which benchmarks; none lists them.")] = None,
    seeds: Annotated[str, typer.Option(help="Comma-separated seeds.")] = "0",
    out: Annotated[Path, typer.Option(help="Folder of result files.")] = Path("benchmarks/results"),
    minutes: Annotated[float | None, typer.Option(help="Another budget per seed.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    again: Annotated[bool, typer.Option(help="Repeat seeds that have a result file.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on with interrupted seeds.")] = False,
    table: Annotated[bool, typer.Option(help="Only write the table of all results (README.md beside them).")] = False,
) -> None:
    """Reproduce a table: train, evaluate on unseen images, write one result file a seed.

    Result files are never overwritten without --again, so later calls add seeds. The run folders lie in OUT/runs.

        delaminate bench tetrominoes-search --seeds 0,1,2,3,4
    """
    from rich.console import Console

    from delaminate.cli.tables import results_table
    from delaminate.cli.train import pick_device
    from delaminate.config import suggest
    from delaminate.errors import ConfigError
    from delaminate.scene.document import write_atomic

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
            if path.exists() and not again:
                console.print(f"{path} is there; --again repeats it.")
                continue
            there = (out / "runs" / f"{name}-{seed}" / "checkpoint.pt").exists()
            record = run_seed(name, seed, out, pick_device(device), minutes, resume and there)
            write_atomic(path, (json.dumps(record, indent=1) + "\n").encode())
            for by, figures in record["figures"].items():
                shown = {k: round(v, 4) for k, v in figures.items() if isinstance(v, float)}
                console.print(f"{name} seed {seed}, by {by}: {shown}", highlight=False)
    write_atomic(out / "README.md", results_table(out).encode())

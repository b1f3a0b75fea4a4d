"""`delaminate bench NAME`: train to a published number and record what came out, one file a seed."""

import functools
import itertools
import json
import platform
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delaminate.bench.benchmarks import BENCHES, Bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from delaminate.engine import Outcome
    from delaminate.methods import Method
    from delaminate.scene.decomposition import Decomposition


def machine(device: str = "cpu") -> dict[str, Any]:
    """Describe what computed, without naming the machine."""
    import os

    import torch

    from delaminate.nets.precision import has_bfloat16

    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
        "bfloat16": has_bfloat16(torch.device(device).type),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


PAUSE = 90.0  # seconds between two lines of a log, from which on nothing was computed


def busy_seconds(times: list[float]) -> float:
    """Seconds that a log covers, given when its lines were written; the breaks between calls are left out."""
    return sum(gap for before, after in itertools.pairwise(times) if (gap := after - before) < PAUSE)


def run_seed(name: str, seed: int, out: Path, device: str, minutes: float | None, resume: bool) -> dict[str, Any]:
    """Train and evaluate one seed; return its record."""
    from delaminate.cli.train import resolve, training_images
    from delaminate.config import build, to_dict
    from delaminate.data import load_photos
    from delaminate.data.synthetic.scenes import Split
    from delaminate.engine import Budget
    from delaminate.engine import train as run_training
    from delaminate.engine.record import Terminal, read_log
    from delaminate.pipelines.images import fill_size

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
        "machine": machine(device),
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
    from delaminate.bench.judge import sampled_figures, taught
    from delaminate.data import LabelledSet, draw, load_benchmark, true_sprites
    from delaminate.data.synthetic.scenes import DRAWINGS
    from delaminate.methods.perturbgan import PerturbGAN
    from delaminate.metrics.evaluation import evaluate
    from delaminate.pipelines.images import canvas, follower

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
                protocol=f"{data}, {len(labelled.images)} images, by {by}.",
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

    from delaminate.bench.tables import results_table
    from delaminate.cli.train import pick_device
    from delaminate.config import suggest
    from delaminate.errors import ConfigError
    from delaminate.files import write_atomic

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

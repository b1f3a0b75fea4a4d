"""Train a benchmark's seed, measure it on the test range, and describe what came out as one record."""

import itertools
import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from delaminate.bench.benchmarks import BENCHES, Bench
from delaminate.bench.judge import sampled_figures, taught
from delaminate.config import to_dict
from delaminate.data import LabelledSet, draw, load_benchmark, load_photos
from delaminate.data.synthetic import DRAWINGS, Split
from delaminate.engine import Budget, TrainResult
from delaminate.engine import train as run_training
from delaminate.engine.record import TerminalCallback, read_log
from delaminate.methods import METHODS, Method
from delaminate.nets.precision import has_bfloat16
from delaminate.pipelines.evaluation import measure
from delaminate.pipelines.images import canvas
from delaminate.pipelines.training import resolve_config, training_images

BATCH_PIXELS = 4_000_000
"""Pixels that are measured at a time."""


class Interrupted(Exception):
    """A seed was stopped by a signal or its minutes; its run can be resumed, and nothing is recorded.

    Attributes:
        status: What the command ends with.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def machine(device: str = "cpu") -> dict[str, Any]:
    """Describe what computed, without naming the machine."""
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
    return sum(gap for before, after in itertools.pairwise(times) if 0 <= (gap := after - before) < PAUSE)


def run_seed(name: str, seed: int, out: Path, device: str, minutes: float | None, resume: bool) -> dict[str, Any]:
    """Train and evaluate one seed; return its record."""
    bench = BENCHES[name]
    method_class = METHODS.find(bench.method, name)
    config = resolve_config(method_class, bench.preset, None, bench.settings)
    split: Split = "test" if bench.clip else "train"
    if bench.unlabelled:
        images = load_photos(bench.data, size=config.image_size)
    else:
        images = training_images(bench.data, config.image_size, bench.count, seed, "squash", split)
    config = method_class.fill_config(config, images.pixels)
    run = out / "runs" / f"{name}-{seed}"
    if not resume:
        shutil.rmtree(run, ignore_errors=True)  # pictures and models of another run
    model = method_class(config, seed)
    started = time.time()
    budget = Budget(minutes=minutes or bench.minutes)
    result = run_training(
        model,
        images.pixels,
        run,
        seed=seed,
        device=device,
        budget=budget,
        resume=resume,
        callback=TerminalCallback(signals=tuple(method_class.training_signals)),
    )
    seconds = time.time() - started
    if result.reason.startswith("SIG"):
        raise Interrupted(
            f"{name} seed {seed}: interrupted at step {result.total_step}; --resume goes on. Nothing recorded.", 130
        )
    if result.reason == "minutes":
        raise Interrupted(
            f"{name} seed {seed}: UNFINISHED, its minutes were over at step {result.total_step}; --resume goes on. A "
            "schedule that is cut has no figures: nothing recorded.",
            1,
        )
    return _record(name, seed, minutes, device, model, result, run, len(images), started, seconds)


def _record(
    name: str,
    seed: int,
    minutes: float | None,
    device: str,
    model: Method,
    result: TrainResult,
    run: Path,
    count: int,
    started: float,
    seconds: float,
) -> dict[str, Any]:
    """Describe a finished seed: how it was trained, and what the model scores."""
    bench, log = BENCHES[name], read_log(run)
    earlier = busy_seconds([line["time"] for line in log if line["time"] < started])
    return {
        "bench": name,
        "seed": seed,
        "about": bench.about,
        "command": f"delaminate bench {name} --seeds {seed}" + (f" --minutes {minutes:g}" if minutes else ""),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(device),
        "train_seconds": round(seconds + earlier, 1),
        "train_images": count,
        "steps": {line["stage"]: line["step"] + 1 for line in log if "stage" in line},
        "finished": result.finished,
        "stopped_by": result.reason,
        "sprites_active": len(model.active_entries),
        "notes": [line["note"] for line in log if "note" in line],
        "check_curve": [
            [line["stage"], line["step"], round(line["time"] - log[0]["time"], 1), line["check"]]
            for line in log
            if "check" in line
        ],
        "published": bench.published,
        "figures": evaluate_model(model.cpu(), bench, seed),
        "config": to_dict(model.config),
    }


def evaluate_model(model: Method, bench: Bench, seed: int) -> dict[str, dict[str, Any]]:
    """Score every way the model can decompose. This is the one place that opens the test range of drawn sets."""
    model.eval()
    data, size = bench.test_data or bench.data, canvas(model, None)
    drawing = DRAWINGS.get(data)
    validation, chosen_on = None, "other images"
    if drawing is not None:
        labelled: LabelledSet = draw(data, bench.test or 320, seed=seed, split="test", size=size)
        if drawing.regions:
            others = draw(data, 100, seed=seed, split="dev", size=size)
            validation = (others.images, others.labels)
    else:
        labelled = load_benchmark(data, split="test", size=size)
        if bench.count is not None and bench.test is not None and data == bench.data:
            labelled = labelled.subset(range(len(labelled) - bench.test, len(labelled)))
        if labelled.labels.instances is not None:
            dev = load_benchmark(data, split="dev", size=size)
            validation = (dev.images, dev.labels)
            if set(dev.images.names) & set(labelled.images.names):
                chosen_on = f"{len(dev.images)} of them"
    height, width = labelled.images.size
    found = {}
    for by in model.decomposers:
        sentence = f"{data}, {len(labelled.images)} images, by {by}."
        found[by] = dict(
            measure(
                model, labelled, data, by, "cpu", min(64, BATCH_PIXELS // (height * width)), sentence,
                validation=(validation, chosen_on), soft=by == "network",
            )
        )  # fmt: skip
    if model.can_sample and drawing is not None:
        found["sampled"] = dict(sampled_figures(model, taught(data, model.image_size, seed), data, seed))
    return found

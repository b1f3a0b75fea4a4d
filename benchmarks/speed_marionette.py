"""Speed and memory of the MarioNette step (128 x 128 frames, 150 sprites, 2 layers, batch 1), and of decompose.

    python benchmarks/speed_marionette.py            # writes benchmarks/results/speed-marionette.json

Alternates the plain step and ours in one process with one thread, and reports medians of process CPU time and their
ratios. Both go forward, backward and through the same AdamW. The plain step and `ours` have the published settings (discrete
shifts, cut windows, colours not premultiplied); `recommended` has ours. Memory is the peak resident size of a fresh process
that does three steps of one kind, beside that of one that only builds model and optimiser.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
import plain_marionette as plain

from delaminate.bench.run import machine
from delaminate.methods.marionette import PRESETS, MarioNette
from delaminate.methods.marionette.training import Refiner
from delaminate.methods.players import StepContext
from delaminate.rng import stream

PUBLISHED = replace(PRESETS["floating-sprites-paper"], clip_window=True, premultiplied=False)
RECOMMENDED = PRESETS["floating-sprites-paper"]
CARRY = StepContext("refine", 0, 200_000, slice(0, 1), 1)


def frame(key: str = "frame") -> Tensor:
    return torch.rand(1, 3, 128, 128, generator=stream(key))


def stepper(what: str) -> Callable[[], None]:
    """Build a model with its optimiser; return a whole step."""
    model = MarioNette(RECOMMENDED if what == "recommended" else PUBLISHED)
    refiner, images = Refiner(model), frame()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-6, foreach=True)

    def step() -> None:
        for parameter in model.parameters():
            parameter.grad = None
        if what == "plain":
            plain.step(model, images, refiner.order(stream(1)))
        else:
            torch.stack(list(refiner.turn(images, stream(1), CARRY).values())).sum().backward()
        adam.step()

    return step


def decomposer(active: int) -> Callable[[], None]:
    """A model whose switches are on at about `active` of 128 anchors; return a decomposition of one frame."""
    model, images = MarioNette(RECOMMENDED).eval(), frame()
    with torch.no_grad():
        logits = model.look(model.whole_cells(images))[1].flatten().sort(descending=True).values
        model.switch.bias_2 -= logits[active - 1 : active + 1].mean() if active < len(logits) else logits[-1] - 1
    assert len(model.hard(images).entry) == active

    def decompose() -> None:
        model.decompose(images)

    return decompose


def alternate(actions: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Process CPU milliseconds of every action, in turns; the first turn warms up."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for each in range(rounds + 1):
        for name, action in actions.items():
            begin = time.process_time()
            action()
            if each:
                times[name].append(1000 * (time.process_time() - begin))
    return times


def proof() -> dict[str, float]:
    """Check in float64 that both steps have the same loss and gradients."""
    model, images = MarioNette(PUBLISHED).double(), frame().double()
    refiner, parameters = Refiner(model), list(model.parameters())
    total = torch.stack(list(refiner.turn(images, stream(1), CARRY).values())).sum()
    ours = torch.autograd.grad(total, parameters)
    expected = plain.loss(model, images, refiner.order(stream(1)))
    theirs = torch.autograd.grad(expected, parameters)
    worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))
    return {
        "loss_difference": abs(float((total - expected).detach())),
        "largest_relative_gradient_difference": worst,
    }


def peak_of(what: str) -> float:
    """Peak resident MiB of a fresh process."""
    run = subprocess.run([sys.executable, __file__, "--memory", what], capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def memory(what: str) -> None:
    """Do three steps, or none, and print this process's peak in MiB."""
    step = stepper("ours" if what == "nothing" else what)
    for _ in range(0 if what == "nothing" else 3):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "speed-marionette.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        memory(options.memory)
        return
    # Memory first: a child's peak starts from its parent's size.
    peaks = {what: round(peak_of(what), 1) for what in ("nothing", "ours", "recommended", "plain")}
    actions = {what: stepper(what) for what in ("ours", "recommended", "plain")}
    times = alternate(actions, options.rounds)
    looks = alternate({f"{count} of 128 anchors on": decomposer(count) for count in (10, 64, 128)}, options.rounds)
    median = {name: statistics.median(values) for name, values in times.items()}
    record = {
        "command": "python benchmarks/speed_marionette.py",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "threads": 1,
        "rounds": options.rounds,
        "proof_in_float64": proof(),
        "median_cpu_ms": {name: round(value, 1) for name, value in median.items()},
        "min_cpu_ms": {name: round(min(values), 1) for name, values in times.items()},
        "ratios": {
            "ours / plain": round(median["ours"] / median["plain"], 4),
            "recommended / plain": round(median["recommended"] / median["plain"], 4),
        },
        "peak_mib": peaks,
        "decompose_median_cpu_ms": {name: round(statistics.median(values), 1) for name, values in looks.items()},
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

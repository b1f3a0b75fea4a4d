"""Speed and memory of the DTI-Sprites step (tetrominoes-paper, ResNet-32, batch 32), and of decompose.

    python benchmarks/speed.py            # writes benchmarks/results/speed.json

Alternates the plain step, ours and the encoder alone in one process and reports medians and ratios. Memory is the peak
resident size of a fresh process that does three steps, above that of one that only builds the model and the images.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
import plain_dti_sprites as plain

from delaminate.bench.run import machine
from delaminate.data import draw_images
from delaminate.methods import METHODS, load_model
from delaminate.methods.dti_sprites.training import Refiner
from delaminate.methods.players import StepContext
from delaminate.objectives.reconstruction import select_greedy
from delaminate.rng import stream

BATCH = 32


def build() -> tuple[torch.nn.Module, Tensor, Tensor]:
    model = METHODS["dti-sprites"].preset("tetrominoes-paper")
    model.progress.fill_(10_000)
    with torch.no_grad():  # a model in the middle of training: sprites differ, heads have moved
        model.sprites_rgb += 0.1 * torch.randn(model.sprites_rgb.shape, generator=stream(0, "rgb"))
        model.sprites_alpha += 0.1 * torch.randn(model.sprites_alpha.shape, generator=stream(0, "alpha"))
        for parameter in model.heads.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=stream(0, "heads"))
    model.train()
    images = draw_images("tetrominoes", BATCH).batch(range(BATCH))
    noise = (2 * torch.rand(19, 1, 35, 35, generator=stream(0, "noise")) - 1) * 0.4
    return model, images, noise


def steps() -> dict[str, Callable[[], None]]:
    model, images, noise = build()
    refiner, context = Refiner(model), StepContext("refine", 10_000, 393_750, slice(0, BATCH), BATCH)
    adam = torch.optim.Adam(model.parameters(), lr=1e-6, foreach=True)
    rgb, alpha = (x.detach() for x in plain.transformed(model, images, noise))

    # The candidates as our step makes them: (B, K, ...) per layer, a few images at a time.
    few = [slice(start, start + 11) for start in range(0, BATCH, 11)]
    made = [
        [
            (a[:, some].transpose(0, 1).contiguous(), m[:, some].transpose(0, 1).contiguous())
            for a, m in zip(rgb, alpha, strict=True)
        ]
        for some in few
    ]

    def clear() -> None:
        for parameter in model.parameters():
            parameter.grad = None

    def ours() -> None:
        clear()
        refiner.turn(images, stream(1), context)["error"].backward()
        adam.step()

    def plainly() -> None:
        clear()
        plain.loss(model, images, noise)[0].backward()
        adam.step()

    def encoder() -> None:
        clear()
        model.encode(images).sum().backward()

    def our_selection() -> None:
        for some, candidates in zip(few, made, strict=True):
            select_greedy(images[some], candidates.__getitem__, 3)

    def plain_selection() -> None:
        plain.select(images, rgb, alpha)

    return {
        "ours": ours, "plain": plainly, "encoder": encoder,
        "our_selection": our_selection, "plain_selection": plain_selection,
    }  # fmt: skip


def alternate(actions: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in actions}
    for each in range(rounds + 1):
        for name, action in actions.items():
            begin = time.perf_counter()
            action()
            if each:
                times[name].append(time.perf_counter() - begin)
    return times


def proof() -> dict[str, float]:
    """Check in float64 that both steps choose the same sprites and have the same loss and gradients."""
    model, images, noise = build()
    model, images, noise = model.double().eval(), images.double(), noise.double()
    found = []
    for way in ("ours", "plain"):
        for parameter in model.parameters():
            parameter.grad = None
        if way == "plain":
            value, entries = plain.loss(model, images, noise)
        else:
            image, entry = model.reconstruct(images, noise)
            value, entries = (images - image).square().mean(), entry.T
        value.backward()
        found.append(
            (value.item(), entries, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        )
    (loss_1, entries_1, gradients_1), (loss_2, entries_2, gradients_2) = found
    worst = max(float((gradients_1[n] - gradients_2[n]).abs().max()) for n in gradients_2)
    return {
        "differing_choices": int((entries_1 != entries_2).sum()),
        "loss_difference": abs(loss_1 - loss_2),
        "largest_gradient_difference": worst,
    }


def peak_of(what: str) -> float:
    """Peak resident MiB of a fresh process."""
    run = subprocess.run([sys.executable, __file__, "--memory", what], capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def memory(what: str) -> None:
    """Do three steps, or none, and print this process's peak in MiB."""
    model, images, noise = build()
    refiner, context = Refiner(model), StepContext("refine", 10_000, 393_750, slice(0, BATCH), BATCH)
    for _ in range(3 if what != "nothing" else 0):
        for parameter in model.parameters():
            parameter.grad = None
        loss = (
            refiner.turn(images, stream(1), context)["error"] if what == "ours" else plain.loss(model, images, noise)[0]
        )
        loss.backward()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def throughput() -> dict[str, float]:
    """Images per second of every decomposer of the model in the box."""
    model = load_model("dti-sprites/tetrominoes")
    images = draw_images("tetrominoes", 320, split="dev").batch(range(320))
    found = {}
    for by in model.decomposers:
        model.decompose(images[:32], by=by)
        seconds = []
        for _ in range(3):
            begin = time.perf_counter()
            model.decompose(images, by=by)
            seconds.append(time.perf_counter() - begin)
        found[by] = len(images) / statistics.median(seconds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "speed.json")
    options = parser.parse_args()
    if options.memory:
        memory(options.memory)
        return
    # Memory first: a child's peak starts from its parent's size.
    peaks = {what: peak_of(what) for what in ("nothing", "ours", "plain")}
    times = alternate(steps(), options.rounds)
    median = {name: statistics.median(values) for name, values in times.items()}
    record = {
        "command": "python benchmarks/speed.py",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "proof_in_float64": proof(),
        "median_ms": {name: round(1000 * value, 2) for name, value in median.items()},
        "min_ms": {name: round(1000 * min(values), 2) for name, values in times.items()},
        "ratios": {
            "ours / encoder": median["ours"] / median["encoder"],
            "plain / encoder": median["plain"] / median["encoder"],
            "plain / ours": median["plain"] / median["ours"],
            "plain selection / our selection": median["plain_selection"] / median["our_selection"],
            "our memory / plain memory": (peaks["ours"] - peaks["nothing"]) / (peaks["plain"] - peaks["nothing"]),
        },
        "peak_mib": peaks,
        "decompose_images_per_second": throughput(),
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

"""Speed and arithmetic of ReDO's step at 128 x 128 with the paper's networks, batch 4.

    python benchmarks/speed_redo.py            # writes benchmarks/results/speed-redo.json

Alternates the plain step and ours in one process and reports medians and their ratio. `published` does the published
computation without its waste (regions are redrawn again for the discriminator); `recommended` shows the discriminator
the images that the generators were judged by. FLOPs are torch's count, forward and backward, of one step. Both begin
with the same weights, and losses and gradients are compared in float64 first, at 32 x 32.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
import plain_redo as plain
from steps import stepper

from delaminate.bench.run import machine
from delaminate.methods.players import StepContext
from delaminate.methods.redo import PRESETS, ReDO
from delaminate.methods.redo.training import Discriminator, RedrawPlayer
from delaminate.rng import stream

BATCH = 4
SETTINGS = {
    "published": replace(PRESETS["flowers-paper"], batch=BATCH),
    "recommended": replace(PRESETS["flowers-paper"], batch=BATCH, reuse_fakes=True),
}
SMALL = replace(SETTINGS["recommended"], image_size=(32, 32), mask_width=16, generator_width=4, discriminator_width=16)


def context() -> StepContext:
    return StepContext("adversary", 0, 40_000, slice(0, 2 * BATCH), 2 * BATCH)


def photos(side: int) -> Tensor:
    return torch.rand(2 * BATCH, 3, side, side, generator=stream("photos"))


def plain_step(model: ReDO) -> Callable[[], None]:
    nets, images = plain.Plain(model), 2 * photos(model.image_size[0]) - 1
    noise = torch.randn(BATCH, model.config.num_regions, model.config.noise_width, generator=stream("noise"))
    painters = [*model.masks.parameters(), *model.generators.parameters(), *model.encoder.parameters()]
    adams = [
        torch.optim.Adam(some, lr=1e-6, betas=(0.0, 0.9), foreach=True)
        for some in (painters, list(model.discriminator.parameters()))
    ]
    return lambda: plain.step(nets, images, noise, *adams)


def our_step(model: ReDO) -> Callable[[], None]:
    step = stepper(model, photos(model.image_size[0]))
    return lambda: step(context())


def proof() -> dict[str, float]:
    """Compare losses and gradients of both steps in float64, without power iterations in between."""
    model = ReDO(SMALL).double()
    images = photos(32).double()
    now, redrawer, discriminator = context(), RedrawPlayer(model), Discriminator(model)
    groups = [p for g in redrawer.groups() for p in g.parameters], list(model.discriminator.parameters())
    nets = plain.Plain(model, iterate=False)
    shown, worst, difference = 2 * images - 1, 0.0, 0.0
    for player, parameters in zip((redrawer, discriminator), groups, strict=True):
        loss = torch.stack(list(player.turn(images, stream(1), now).values())).sum()
        ours = torch.autograd.grad(loss, parameters)
        # The turn has iterated; the plain step takes the vectors as they stand.
        noise = now.values["noise"]
        if player is redrawer:
            expected = plain.redrawer_loss(nets, shown[0::2], noise)
        else:
            expected = plain.discriminator_loss(nets, shown[0::2], shown[1::2], noise)
        theirs = torch.autograd.grad(expected, parameters)
        # Before an instance norm a bias has no gradient but rounding.
        relative = (
            float((a - b).abs().max() / b.abs().max().clamp_min(1e-6)) for a, b in zip(ours, theirs, strict=True)
        )
        worst, difference = max(worst, *relative), max(difference, abs(float((loss - expected).detach())))
    return {"loss_difference": difference, "largest_relative_gradient_difference": worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "speed-redo.json")
    options = parser.parse_args()
    steps = {
        "plain": plain_step(ReDO(SETTINGS["published"])),
        **{name: our_step(ReDO(config)) for name, config in SETTINGS.items()},
    }
    flops = {}
    for name, step in steps.items():
        # The counter knows attention by its matrix products only.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            step()
        flops[name] = counter.get_total_flops() / BATCH / 1e9
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            begin = time.process_time(), time.perf_counter()
            step()
            times[name].append(time.process_time() - begin[0])
            times.setdefault(f"{name} wall", []).append(time.perf_counter() - begin[1])
    median = {name: statistics.median(values) for name, values in times.items()}
    record = {
        "command": "python benchmarks/speed_redo.py",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "rounds": options.rounds,
        "batch": BATCH,
        "proof_in_float64": proof(),
        "gflop_per_image": {name: round(value, 1) for name, value in flops.items()},
        "median_seconds": {name: round(value, 3) for name, value in median.items()},
        "cpu_ratios": {f"{name} / plain": round(median[name] / median["plain"], 3) for name in SETTINGS},
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

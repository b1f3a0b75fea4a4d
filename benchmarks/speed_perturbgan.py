"""Arithmetic of PerturbGAN's step at 64 x 64 with the published widths, batch 4, and speed of the shift.

    python benchmarks/speed_perturbgan.py            # writes benchmarks/results/speed-perturbgan.json
    python benchmarks/speed_perturbgan.py --shift    # the shift alone; writes benchmarks/results/speed-shift.json

`plain` is the published step written out (WGAN-GP); `published` the same objective without its waste; `default` our loss,
logistic with a penalty on slopes every 16 steps; `recommended` that with the painter's scenes shown to the discriminator. FLOPs
are torch's count, forward and backward, of one step by image, penalties shared out over the steps between them. Losses and
gradients of the plain step and ours are compared in float64 first, at 16 x 16. Seconds are of smaller networks, all kinds
alternating. The shift moves foregrounds and masks of 64 images; a GPU takes a kernel's launch for each of its operations that
compute, and waits where its answer is asked for.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
import plain_perturbgan as plain
from steps import stepper

from delaminate.bench.run import machine
from delaminate.methods.perturbgan import PRESETS, PerturbGAN
from delaminate.methods.perturbgan.networks import shift_foreground
from delaminate.methods.perturbgan.training import Discriminator, GeneratorPlayer
from delaminate.methods.players import StepContext
from delaminate.rng import stream
from delaminate.scene.layers import Layers

BATCH = 4
# The published generator at 64 pixels, as after growing: 256 channels there, 512 below.
PUBLISHED = replace(
    PRESETS["lsun-object-paper"],
    image_size=(64, 64),
    width=256,
    growing=False,
    enlarge=1.0,
    encoder_steps=0,
    batch=BATCH,
)
DEFAULT = replace(
    PUBLISHED, loss="logistic", mask_loss="sharpened", area_weight=20.0, ramp_steps=300, max_area=0.5, min_area=0.1
)
SETTINGS = {"published": PUBLISHED, "default": DEFAULT, "recommended": replace(DEFAULT, reuse_fakes=True)}
SMALL = replace(PUBLISHED, image_size=(16, 16), width=8, max_channels=8, noise_width=8, mapping_depth=2)


def context(step: int = 0) -> StepContext:
    return StepContext("layers", step, 50_000, slice(0, BATCH), BATCH)


def photos(side: int) -> Tensor:
    return torch.rand(BATCH, 3, side, side, generator=stream("photos"))


class Everything:
    """Counts for the whole, in place of torch's tracker of modules, which slopes of images do not get along with."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def flops(step: Callable[[], None]) -> float:
    """GFLOP of a step, by image."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = Everything()
    with counter:
        step()
    return counter.get_total_flops() / BATCH / 1e9


def flops_of(name: str) -> float:
    """GFLOP of a step of ours, by image; steps with a penalty count as often as they occur."""
    config = SETTINGS[name]
    model = PerturbGAN(config)
    step = stepper(model, photos(model.image_size[0]))
    with_penalty, without = (flops(lambda number=number: step(context(number))) for number in (0, 1))
    every = config.penalty_interval if config.loss == "logistic" else 1
    return (with_penalty + (every - 1) * without) / every


def proof() -> dict[str, float]:
    """Compare losses and gradients of both steps in float64."""
    model, images = PerturbGAN(SMALL).double(), photos(16).double()
    turns = (
        (GeneratorPlayer(model), model.generator, lambda: plain.painter_loss(model, BATCH, stream(1))),
        (Discriminator(model), model.discriminator, lambda: plain.discriminator_loss(model, 2 * images - 1, stream(1))),
    )
    worst = difference = 0.0
    for player, network, expect in turns:
        parameters = list(network.parameters())
        loss = torch.stack(list(player.turn(images, stream(1), context()).values())).sum()
        ours, expected = torch.autograd.grad(loss, parameters), expect()
        theirs = torch.autograd.grad(expected, parameters)
        for a, b in zip(ours, theirs, strict=True):
            worst = max(worst, float((a - b).abs().max() / b.abs().max().clamp_min(1e-9)))
        difference = max(difference, abs(float((loss - expected).detach())))
    return {"loss_difference": difference, "largest_relative_gradient_difference": worst}


class Operations(TorchDispatchMode):
    """Counts what computes, and what asks the device for a number; views cost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.questions = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        asked = operation is torch.ops.aten._local_scalar_dense.default
        self.questions += asked
        self.kernels += not asked and not operation.is_view and operation is not torch.ops.aten.detach.default
        return found


def shifts(rounds: int) -> tuple[dict[str, float], dict[str, dict[str, int]]]:
    """Shift the foregrounds of 64 images at 64 x 64, in one go and image by image: milliseconds, alternating; operations."""
    layers = Layers(
        torch.rand(64, 2, 3, 64, 64, generator=stream("rgb")), torch.rand(64, 2, 1, 64, 64, generator=stream("alpha"))
    )
    offset = torch.randint(-8, 9, (64, 2), generator=stream("offset"))

    def loop() -> Tensor:
        return plain.shifted(torch.cat([layers.rgb[:, 1], layers.alpha[:, 1]], 1), offset)

    found = shift_foreground(layers, offset)
    assert torch.equal(torch.cat([found.rgb[:, 1], found.alpha[:, 1]], 1), loop())
    ways: dict[str, Callable[[], object]] = {
        "one gather": lambda: shift_foreground(layers, offset),
        "image by image": loop,
    }
    operations = {}
    for name, action in ways.items():
        with Operations() as counted:
            action()
        operations[name] = {"kernels": counted.kernels, "questions": counted.questions}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, action in ways.items():
            begin = time.perf_counter()
            action()
            times[name].append(1000 * (time.perf_counter() - begin))
    return {name: round(statistics.median(values), 3) for name, values in times.items()}, operations


def seconds(rounds: int) -> dict[str, float]:
    """Seconds of a step at 32 x 32 with an eighth of the published widths and batch 4, all kinds alternating.

    Ours include the optimisers, the plain one does not; with the logistic loss every sixteenth step holds the slope, and its
    time is shared out over the steps.
    """
    few, images = {"image_size": (32, 32), "width": 64, "max_channels": 64}, photos(32)
    kinds = {name: replace(config, **few) for name, config in SETTINGS.items()}
    plainly = PerturbGAN(kinds["published"])
    actions: dict[str, Callable[[], None]] = {"plain": lambda: plain.step(plainly, 2 * images - 1, stream(1))}
    for name, config in kinds.items():
        step = stepper(PerturbGAN(config), images)
        actions[f"{name}, with slope"] = lambda step=step: step(context(0))
        actions[f"{name}, without"] = lambda step=step: step(context(1))
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            begin = time.perf_counter()
            action()
            if number:  # the first time everything is slow
                times[name].append(time.perf_counter() - begin)
    found = {name: statistics.median(values) for name, values in times.items()}
    shares = {"published": 1.0} | dict.fromkeys(("default", "recommended"), 1 / PUBLISHED.penalty_interval)
    mixed = {n: s * found[f"{n}, with slope"] + (1 - s) * found[f"{n}, without"] for n, s in shares.items()}
    return {name: round(value, 4) for name, value in ({"plain": found["plain"]} | mixed).items()}


def steps(rounds: int) -> dict[str, Any]:
    """What a step takes, in operations and in time."""
    count = {"plain": flops(lambda: plain.step(PerturbGAN(PUBLISHED), 2 * photos(64) - 1, stream(1)))}
    count |= {name: flops_of(name) for name in SETTINGS}
    taken = seconds(rounds)
    return {
        "batch": BATCH,
        "proof_in_float64": proof(),
        "gflop_per_image": {name: round(value, 1) for name, value in count.items()},
        "ratios": {f"{name} / plain": round(count[name] / count["plain"], 3) for name in SETTINGS},
        "step_median_seconds": taken,
        "step_ratios": {f"{name} / plain": round(taken[name] / taken["plain"], 3) for name in SETTINGS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--shift", action="store_true", help="the shift alone")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    shift_times, shift_operations = shifts(options.rounds)
    record: dict[str, Any] = {
        "command": "python benchmarks/speed_perturbgan.py" + " --shift" * options.shift,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "rounds": options.rounds,
        "shift_median_ms": shift_times,
        "shift_operations": shift_operations,
    }
    if not options.shift:
        record |= steps(options.rounds)
    name = "speed-shift.json" if options.shift else "speed-perturbgan.json"
    out = options.out or Path(__file__).parent / "results" / name
    out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

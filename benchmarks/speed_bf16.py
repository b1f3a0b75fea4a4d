"""Time of a step of the adversarial presets, computed in float32 and in bfloat16, alternating.

    python benchmarks/speed_bf16.py                  # CPU time; writes benchmarks/results/speed-bf16.json
    python benchmarks/speed_bf16.py --device cuda    # a GPU's; writes benchmarks/results/speed-bf16-cuda.json

It pays where the processor multiplies matrices of bfloat16 (AMX), and in large networks on GPUs; elsewhere it may cost.
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

sys.path.insert(0, str(Path(__file__).parent))
from steps import stepper

from delaminate.cli.bench import machine
from delaminate.methods.base import Carry, Method
from delaminate.methods.perturbgan import PRESETS as PERTURBGAN
from delaminate.methods.perturbgan import PerturbGAN
from delaminate.methods.redo import PRESETS as REDO
from delaminate.methods.redo import ReDO
from delaminate.nets.precision import has_bfloat16
from delaminate.rng import stream


def models(bf16: bool, device: str) -> dict[str, Method]:
    """The presets that benchmarks train on a CPU, and on a GPU those of the papers' sizes, too."""
    small: dict[str, Method] = {
        "redo colored-2-mnist, 32 x 32": ReDO(replace(REDO["colored-2-mnist"], bf16=bf16)),
        "redo photos, 64 x 64": ReDO(replace(REDO["photos"], bf16=bf16)),
        "perturbgan objects-on-texture, 32 x 32": PerturbGAN(replace(PERTURBGAN["objects-on-texture"], bf16=bf16)),
    }
    if device == "cpu":
        return small
    return small | {
        "perturbgan photos, 64 x 64": PerturbGAN(replace(PERTURBGAN["photos"], bf16=bf16)),
        "perturbgan lsun-object, 128 x 128": PerturbGAN(replace(PERTURBGAN["lsun-object"], bf16=bf16)),
        "redo cub, 128 x 128": ReDO(replace(REDO["cub"], bf16=bf16)),
    }


def step_of(method: Method, device: str) -> Callable[[int], None]:
    stage = method.to(device).stages()[0]
    step = stepper(method, torch.rand(stage.batch, 3, *method.image_size, generator=stream("images")).to(device))
    return lambda number: step(Carry(stage.name, number, stage.steps, slice(0, stage.batch), stage.batch))


def clock(device: str) -> float:
    """CPU seconds of this process, or seconds by when a GPU has done all that it was given."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device, suffix = options.device, "" if options.device == "cpu" else f"-{options.device}"
    if not has_bfloat16(device):
        raise SystemExit(f"This {device} has no units for bfloat16: networks would compute in float32 both times.")
    torch.set_num_threads(1)
    seconds: dict[str, dict[str, float]] = {}
    for name in models(False, device):
        steps = {kind: step_of(models(kind == "bfloat16", device)[name], device) for kind in ("float32", "bfloat16")}
        times: dict[str, list[float]] = {kind: [] for kind in steps}
        for number in range(1, options.rounds + 2):
            for kind, step in steps.items():
                begin = clock(device)
                step(number)
                times[kind].append(clock(device) - begin)
        seconds[name] = {kind: round(statistics.median(values[1:]), 4) for kind, values in times.items()}
    record = {
        "command": "python benchmarks/speed_bf16.py" + ("" if device == "cpu" else f" --device {device}"),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "amx": device == "cpu" and torch.cpu._is_amx_tile_supported(),
        "rounds": options.rounds,
        "median_cpu_seconds" if device == "cpu" else "median_seconds": seconds,
        "ratios": {name: round(both["bfloat16"] / both["float32"], 3) for name, both in seconds.items()},
    }
    out = options.out or Path(__file__).parent / "results" / f"speed-bf16{suffix}.json"
    out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

"""Time of a step of the adversarial presets, computed in float32 and in bfloat16, alternating.

    python benchmarks/speed_bf16.py                  # CPU time; writes benchmarks/results/speed-bf16.json
    python benchmarks/speed_bf16.py --device cuda    # a GPU's; writes benchmarks/results/speed-bf16-cuda.json

It pays where the processor multiplies matrices of bfloat16 (AMX); elsewhere it may cost. On a large GPU steps of these sizes
probably wait for the launch of one kernel after the other, whatever these compute in.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from steps import stepper

from delaminate.bench.run import machine
from delaminate.methods import METHODS
from delaminate.methods.base import Method
from delaminate.methods.players import StepContext
from delaminate.nets.precision import has_bfloat16
from delaminate.rng import stream

CPU = (("redo", "colored-2-mnist"), ("redo", "photos"), ("perturbgan", "objects-on-texture"))
"""The presets that benchmarks train on a CPU."""

GPU = (*CPU, ("perturbgan", "photos"), ("perturbgan", "lsun-object"))


def step_of(method: Method, device: str) -> Callable[[int], None]:
    stage = method.to(device).stages()[0]
    step = stepper(method, torch.rand(stage.batch, 3, *method.image_size, generator=stream("images")).to(device))
    return lambda number: step(StepContext(stage.name, number, stage.steps, slice(0, stage.batch), stage.batch))


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
        raise SystemExit(f"--device {device}: no units for bfloat16. Networks would compute in float32 both times.")
    torch.set_num_threads(1)
    seconds: dict[str, dict[str, float]] = {}
    for method, preset in CPU if device == "cpu" else GPU:
        built = {kind: METHODS[method].preset(preset, bf16=kind == "bfloat16") for kind in ("float32", "bfloat16")}
        steps = {kind: step_of(model, device) for kind, model in built.items()}
        times: dict[str, list[float]] = {kind: [] for kind in steps}
        for number in range(1, options.rounds + 2):
            for kind, step in steps.items():
                begin = clock(device)
                step(number)
                times[kind].append(clock(device) - begin)
        height, width = built["float32"].image_size
        seconds[f"{method} {preset}, {height} x {width}"] = {
            kind: round(statistics.median(values[1:]), 4) for kind, values in times.items()
        }
    record = {
        "command": "python benchmarks/speed_bf16.py" + ("" if device == "cpu" else f" --device {device}"),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(device),
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

"""CPU time and memory of parts that everybody waits for: following things, loading a model, loading a folder; one thread.

    python benchmarks/speed_parts.py        # writes benchmarks/results/speed-parts.json

Tracking: 575 to 4,600 things that move over 1080 x 1920 pixels, seconds a frame. Models: seconds of `load_model` in a fresh
process that has imported the methods. Folder: 1,000 PNG pictures of 256 x 256, peak of resident memory over what they take, in
a fresh process.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from delaminate.bench.run import machine
from delaminate.matching.tracking import Tracker
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform

RESULT = Path(__file__).parent / "results" / "speed-parts.json"
SIZE, FRAMES, ROUNDS = (1080, 1920), 4, 5
MODELS = ("redo/flowers17", "perturbgan/flowers17", "dti-sprites/tetrominoes", "marionette/platform-game")
LOAD = """
import sys, time, delaminate, delaminate.methods
began = time.process_time()
delaminate.load_model(sys.argv[1])
print(time.process_time() - began)
"""
FOLDER = """
import resource, sys
from delaminate.data.folders import load_folder
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() // 1024
images = load_folder(sys.argv[1], (256, 256))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(1024 * (after - before) / images.pixels.numel())
"""


def tracking(count: int) -> float:
    """Seconds a frame."""
    rng = np.random.default_rng(0)
    sprites = tuple(torch.zeros(4, 8, 8) for _ in range(50))
    places, entries = rng.integers(0, [1900, 1060], (count, 2)), rng.integers(0, 50, count)
    steps = rng.integers(-3, 4, (count, 2))
    frames = tuple(
        tuple(
            Placement(int(entry), (Transform.shift(int(x), int(y), SIZE),))
            for entry, (x, y) in zip(entries, places + now * steps, strict=True)
        )
        for now in range(FRAMES)
    )
    found = Decomposition(Dictionary(sprites, ()), frames, SIZE, False)
    began = time.process_time()
    Tracker().follow(found)
    return (time.process_time() - began) / FRAMES


def told(code: str, argument: str) -> float:
    """What a fresh process prints."""
    return float(
        subprocess.run([sys.executable, "-c", code, argument], check=True, capture_output=True, text=True).stdout
    )


def folder() -> float:
    """Peak of memory over the images' own."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        for number in range(1000):
            Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(f"{place}/{number:04d}.png")
        return told(FOLDER, place)


def main() -> None:
    torch.set_num_threads(1)
    record = {
        "command": "python benchmarks/speed_parts.py",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "tracking_seconds_a_frame": {
            count: round(statistics.median(tracking(count) for _ in range(ROUNDS)), 4)
            for count in (575, 1150, 2300, 4600)
        },
        "load_model_seconds": {
            name: round(statistics.median(told(LOAD, name) for _ in range(ROUNDS)), 3) for name in MODELS
        },
        "load_folder_peak_over_data": round(folder(), 2),
    }
    print(json.dumps(record, indent=1))
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""CPU time of bringing masks to outlines (refinement/crf.py), beside the same sums written plainly, alternating.

    python benchmarks/speed_crf.py            # writes benchmarks/results/speed-crf.json

Both are compared in float64 first.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from delaminate.bench.run import machine
from delaminate.refinement import crf
from delaminate.refinement.crf import refine
from delaminate.rng import stream

IMAGES = 16


def plainly(images: Tensor, masks: Tensor) -> Tensor:
    """The docstring of `refine`, line by line: distances, weights, a row of votes for each pixel."""
    height, width = images.shape[-2:]
    step = max(1, max(height, width) // crf.GRID)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    voters = ((rows % step == step // 2) & (columns % step == step // 2)).flatten()
    place = torch.stack([rows, columns]).flatten(1).mT.to(images) / (crf.PLACE * max(height, width))
    found = []
    for image, mask in zip(images, masks[:, :, 0], strict=True):
        pixels = torch.cat([place, image.flatten(1).mT / crf.COLOUR], 1)  # N 5
        own = (crf.TRUST * mask + (1 - crf.TRUST) / len(mask)).log().flatten(1).mT  # N n

        def weights(of: Tensor, by: Tensor) -> Tensor:
            return (-0.5 * torch.cdist(of, by).square()).softmax(1)

        among, votes = weights(pixels[voters], pixels[voters]), own[voters]
        for _ in range(crf.ROUNDS):
            votes = own[voters] + crf.WEIGHT * among @ votes.softmax(1)
        found.append((own + crf.WEIGHT * weights(pixels, pixels[voters]) @ votes.softmax(1)).softmax(1).mT)
    return torch.stack(found).view_as(masks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "speed-crf.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    differ, seconds = {}, {}
    for side in (32, 64, 128):
        rng = stream("crf", side)
        images = torch.rand(IMAGES, 3, side, side, generator=rng, dtype=torch.float64)
        masks = torch.randn(IMAGES, 2, 1, side, side, generator=rng, dtype=torch.float64).softmax(1)
        differ[side] = float((plainly(images, masks) - refine(images, masks)).abs().max())
        images, masks = images.float(), masks.float()
        times: dict[str, list[float]] = {"plain": [], "ours": []}
        for _ in range(options.rounds):
            for kind, way in (("plain", plainly), ("ours", refine)):
                begin = time.process_time()
                way(images, masks)
                times[kind].append((time.process_time() - begin) / IMAGES)
        seconds[side] = {kind: round(statistics.median(values), 5) for kind, values in times.items()}
    record = {
        "command": "python benchmarks/speed_crf.py",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "rounds": options.rounds,
        "most_difference_float64": differ,
        "median_cpu_seconds_an_image": seconds,
        "ratios": {side: round(both["ours"] / both["plain"], 3) for side, both in seconds.items()},
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

"""How many labels ReDO is worth: its mask network trained on N labelled photos (the paper's Figure 4).

    DELAMINATE_DATA=DATA python benchmarks/supervised_redo.py          # writes benchmarks/results/supervised-redo.json

Flowers-17 at 64 x 64, shuffled (the set is in order of species). 200 photos are for scoring, 30 others choose the step at
which to stop, and N of the rest teach: binary cross-entropy, Adam, flips, the same network and start as the preset
`photos`. Several draws of the N photos. The model in the box, which trained on all photos and no label, is
scored on the same 200. Labels are used here and nowhere near ReDO's own training.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from delaminate.bench.run import machine
from delaminate.data import load_benchmark
from delaminate.methods import load_model
from delaminate.methods.redo import PRESETS
from delaminate.methods.redo.networks import MaskNetwork
from delaminate.metrics.foreground import foreground_per_image
from delaminate.rng import stream

CONFIG = PRESETS["photos"]
SCORED, CHOOSING = 200, 30
PRECISION = torch.autocast("cpu", torch.bfloat16)
"""As the runs of ReDO have it."""
RESULTS = Path(__file__).parent / "results"


def score(network: MaskNetwork, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy and IoU at their word, means over images."""
    network.eval()
    with torch.no_grad(), PRECISION:
        found = torch.cat([network(2 * some - 1)[:, 0, 0] > 0.5 for some in images.split(50)])
    network.train()
    each = foreground_per_image(labels, found.long())
    return {name: float(each[name].mean()) for name in ("accuracy", "iou")}


def train(images: Tensor, labels: Tensor, choosing: tuple[Tensor, Tensor], seed: int, steps: int) -> MaskNetwork:
    """Teach a fresh network; it stops where it is best on the photos that choose."""
    network = MaskNetwork(
        CONFIG.image_size[0],
        2,
        CONFIG.mask_width,
        stream(seed, "weights"),
        CONFIG.gain,
        CONFIG.mask_halvings,
        CONFIG.centre_prior,
    )
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
    best, kept = -1.0, {k: v.clone() for k, v in network.state_dict().items()}
    for step in range(1, steps + 1):
        rng = stream(seed, "step", step)
        some = torch.randint(len(images), (16,), generator=rng)
        shown, wanted = images[some], labels[some]
        if bool(torch.rand((), generator=rng) < 0.5):
            shown, wanted = shown.flip(3), wanted.flip(2)
        with PRECISION:
            front = network(2 * shown - 1)[:, 0, 0].float().clamp(1e-6, 1 - 1e-6)
        known = wanted >= 0
        loss = F.binary_cross_entropy(front[known], (wanted[known] > 0).float())
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 50 == 0 and (reached := score(network, *choosing)["iou"]) > best:
            best, kept = reached, {k: v.clone() for k, v in network.state_dict().items()}
    network.load_state_dict(kept)
    return network


def spread(figures: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and range of accuracy and IoU."""
    found = {}
    for name in ("accuracy", "iou"):
        values = [each[name] for each in figures]
        found[name] = {"mean": statistics.mean(values), "min": min(values), "max": max(values)}
    return found


def unlabelled(images: Tensor, labels: Tensor) -> dict[str, dict[str, float]]:
    """Score the model in the box, by each way to decompose."""
    model = load_model("redo/flowers17")
    found = {}
    for by in model.decomposers:
        each = foreground_per_image(labels, model.decompose(images, by=by).labels()[0])
        found[by] = {name: float(each[name].mean()) for name in ("accuracy", "iou")}
    return found


def worth(curve: dict[int, dict[str, dict[str, float]]], iou: float) -> str:
    """Say between which numbers of labels the curve of mean IoU passes a figure."""
    enough = [number for number, figures in curve.items() if figures["iou"]["mean"] >= iou]
    if not enough:
        return f"more than {max(curve)}"
    fewer = [number for number in curve if number < min(enough)]
    return f"{max(fewer)} to {min(enough)}" if fewer else f"at most {min(enough)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, nargs="+", default=[2, 5, 20, 50, 200])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=Path, default=RESULTS / "supervised-redo.json")
    options = parser.parse_args()
    data = load_benchmark("flowers17", size=CONFIG.image_size)
    assert data.labels.instances is not None
    order = torch.randperm(len(data), generator=stream("supervised", "order"))
    images, labels = data.images.batch(order.tolist()), data.labels.instances[order].long()
    scored = images[-SCORED:], labels[-SCORED:]
    choosing = images[:CHOOSING], labels[:CHOOSING]
    pool = torch.arange(CHOOSING, len(images) - SCORED)
    redo = unlabelled(*scored)
    print(redo, flush=True)
    curve: dict[int, dict[str, dict[str, float]]] = {}
    for number in options.numbers:
        figures = []
        for seed in range(options.seeds):
            chosen = pool[torch.randperm(len(pool), generator=stream(seed, "labelled"))[:number]]
            network = train(images[chosen], labels[chosen], choosing, seed, options.steps)
            figures.append(score(network, *scored))
        curve[number] = spread(figures)
        print(number, curve[number], flush=True)
    record = {
        "command": "python benchmarks/supervised_redo.py",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "seeds": options.seeds,
        "steps": options.steps,
        "protocol": f"flowers17, 64 x 64, shuffled; {SCORED} photos scored, {CHOOSING} choose the step, figures at their word",
        "curve": curve,
        "redo": redo,
        "redo_is_worth_labels": {by: worth(curve, figures["iou"]) for by, figures in redo.items()},
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

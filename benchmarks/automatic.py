"""How many sprites and layers `auto` finds by itself, against how many there are.

    python benchmarks/automatic.py --seeds 0 1 2              # writes benchmarks/results/automatic.json
    python benchmarks/automatic.py --sets tetrominoes --seeds 5

Each set is drawn, recognised and trained as `delaminate auto` does, with no setting and no label. Then, for the record only,
what was found is compared with the drawing: sprites that are found (IoU of alpha of 0.9 and more at the best shift; shapes that
are turned and scaled: at one size, in the best turn), sprites in all, layers. Images come from the training range.
"""

import argparse
import datetime
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from delaminate import train
from delaminate.bench.run import machine
from delaminate.data import draw, draw_images, true_sprites
from delaminate.data.synthetic.scenes import SHAPES, shape_mask
from delaminate.matching.shapes import normalised, overlap
from delaminate.methods import Method
from delaminate.metrics.dictionaries import COLOUR_ERROR, match_sprites
from delaminate.pipelines.recognise import recognise

RESULTS = Path(__file__).parent / "results"
COUNTS = {"tetrominoes": 2000, "multi-dsprites": 1000, "floating-sprites": 200, "platform-game": 60}
LAYERS = {"tetrominoes": 3, "multi-dsprites": 5}
FOUND = 0.9


def pieces(seed: int) -> list[Tensor]:
    """The pieces of `tetrominoes`, cut out of a drawing by its labels: they never hide one another."""
    labelled = draw("tetrominoes", 400, seed)
    assert labelled.labels.instances is not None and labelled.labels.classes is not None
    found = {}
    for instances, classes in zip(labelled.labels.instances, labelled.labels.classes, strict=True):
        for number in instances.unique().tolist():
            mask = instances == number
            kind = int(classes[mask][0])
            if kind > 0 and kind not in found:
                rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
                cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].float()
                found[kind] = torch.stack([cut] * 4)
    return list(found.values())


def shapes(side: int) -> Tensor:
    """The shapes of `multi-dsprites`, at one size."""
    rows, columns = np.mgrid[:96, :96] + 0.5 - 48
    masks = [shape_mask(kind, columns, rows, 1.6, 0.0) for kind in SHAPES]
    return normalised(torch.from_numpy(np.stack(masks)).float(), side, torch.zeros(1))[:, 0]


def trimmed(rgba: Tensor) -> Tensor:
    """Where a sprite is opaque, without the empty rows and columns around it."""
    opaque = rgba[3] > 0.5
    rows, columns = opaque.any(1).nonzero()[:, 0], opaque.any(0).nonzero()[:, 0]
    return opaque[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def iou(one: Tensor, other: Tensor) -> float:
    """Intersection over union, corner on corner."""
    both = torch.zeros(2, *(max(a, b) for a, b in zip(one.shape, other.shape, strict=True)), dtype=torch.bool)
    both[0, : one.shape[0], : one.shape[1]], both[1, : other.shape[0], : other.shape[1]] = one, other
    return float(both.all(0).sum() / both.any(0).sum())


def found_of(name: str, model: Method, seed: int) -> tuple[int, int, float]:
    """How many of the true sprites the model holds, how many there are, and the best IoU of the one that is held worst."""
    dictionary = model.dictionary()
    sprites = [each for n, each in enumerate(dictionary.sprites) if n not in dictionary.backgrounds]
    if name == "multi-dsprites":
        alphas = torch.stack(
            [(each[3] > 0.5).float() for each in sprites]
        )  # as sprites that are only moved are compared
        turns = normalised(alphas, alphas.shape[-1], torch.arange(36) * (2 * math.pi / 36))
        best = overlap(turns, shapes(alphas.shape[-1])).amax((0, 1))
        return int((best >= FOUND).sum()), len(best), float(best.min())
    if name == "tetrominoes":  # a piece and its mirror image are two
        least = [max(iou(trimmed(piece), trimmed(sprite)) for sprite in sprites) for piece in pieces(seed)]
        return sum(each >= FOUND for each in least), len(least), min(least)
    matches = match_sprites(true_sprites(name), sprites, FOUND)
    found = sum(match.is_find(FOUND, COLOUR_ERROR) for match in matches)
    return found, len(matches), min(match.alpha_iou for match in matches)


def measure(name: str, seed: int) -> dict[str, object]:
    """Let one set be taken apart."""
    images = draw_images(name, COUNTS[name], seed)
    began, used = time.perf_counter(), time.process_time()
    recognition = recognise(images)
    plan = recognition.plan
    assert plan is not None
    run = train(images, plan.method, plan.preset, settings=plan.settings, seed=seed)
    seconds = time.perf_counter() - began, time.process_time() - used
    found, true, least = found_of(name, run.model, seed)
    dictionary = run.model.dictionary()
    row = {
        "set": name, "seed": seed, "images": len(images), "kind": recognition.kind, "method": plan.method,
        "preset": plan.preset, "sprites": len(dictionary) - len(dictionary.backgrounds), "found": found, "true": true,
        "least_iou": round(least, 4),
        "layers": getattr(run.model, "num_layers", None) if name in LAYERS else None, "layers_true": LAYERS.get(name),
        "seconds": round(seconds[0], 1), "cpu_seconds": round(seconds[1], 1),
        "verdict": run.verdict.text if run.verdict else "",
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sets", nargs="+", default=list(COUNTS), choices=list(COUNTS))
    options = parser.parse_args()
    path = RESULTS / "automatic.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    for seed in options.seeds:
        for name in options.sets:
            row = measure(name, seed)
            before = [each for each in before if (each["set"], each["seed"]) != (name, seed)] + [row]
            record = {
                "script": "benchmarks/automatic.py", "date": datetime.date.today().isoformat(), "machine": machine("cpu"),
                "rows": sorted(before, key=lambda each: (each["set"], each["seed"])),
            }  # fmt: skip
            path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Nuclei in fluorescence pictures, counted without learning: by Otsu and pieces, and as `delaminate auto` counts.

    python benchmarks/nuclei.py            # all of dsb2018 in DELAMINATE_DATA; writes benchmarks/results/nuclei.json

F1 at IoU 0.5 over all nuclei (and the mean over images), and the share of images whose count is within 10 %. Masks are only
measured. Pieces below a twentieth of what is usual are left out of both.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from delaminate.bench.run import machine
from delaminate.matching.blobs import SPECK, areas_of, otsu, parts_of, separate, usual_area, without_specks
from delaminate.pipelines.spots import lit

RESULT = Path(__file__).parent / "results" / "nuclei.json"
Picture = np.ndarray


def plainly(picture: Picture) -> np.ndarray:
    """Otsu's threshold of the brightness as it is."""
    bright = picture.max(-1).astype(np.float32)
    return bright > otsu(bright)[0]


def matched(found: np.ndarray, true: np.ndarray) -> tuple[int, int, int]:
    """Pairs of an IoU above 0.5, of which there is at most one each; how many were found, and how many there are."""
    both = np.zeros((int(found.max()) + 1, int(true.max()) + 1))
    np.add.at(both, (found.ravel(), true.ravel()), 1)
    union = both.sum(1)[:, None] + both.sum(0)[None] - both
    return int(((both / union)[1:, 1:] > 0.5).sum()), both.shape[0] - 1, both.shape[1] - 1


def measure(
    pictures: list[Picture], true: list[np.ndarray], threshold: Callable[[Picture], np.ndarray], split: bool
) -> dict[str, float]:
    masks = [threshold(picture) for picture in pictures]
    usual, rows = usual_area(area for mask in masks for area in areas_of(mask)), []
    for mask, labels in zip(masks, true, strict=True):
        found = separate(mask, usual)[0] if split else parts_of(mask)[0]
        rows.append(matched(without_specks(found, SPECK * usual)[0], labels))
    pairs, finds, there = np.array(rows).T
    return {
        "f1": round(float(2 * pairs.sum() / (finds.sum() + there.sum())), 4),
        "f1_mean_of_images": round(float((2 * pairs / np.maximum(finds + there, 1)).mean()), 4),
        "counts_within_10_percent": round(float((np.abs(finds - there) <= 0.1 * there).mean()), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    folder = Path(os.environ["DELAMINATE_DATA"]) / "dsb2018_nuclei"
    paths = sorted((folder / "images").iterdir())
    pictures, true = [], []
    for path in paths:
        with Image.open(path) as image, Image.open(folder / "masks" / f"{path.stem}.png") as mask:
            pictures.append(np.asarray(image.convert("RGB")))
            true.append(np.unique(np.asarray(mask), return_inverse=True)[1].reshape(mask.height, mask.width))
    results = {}
    for name, count in (("all", len(paths)), ("first 24", 24)):
        chosen = pictures[:count], true[:count]
        results[name] = {
            "images": count,
            "otsu and pieces": measure(*chosen, plainly, False),
            "auto: otsu of the root, pieces split at waists": measure(*chosen, lit, True),
            "true masks, pieces": measure(list(true[:count]), true[:count], lambda labels: labels > 0, False),
            "true masks, pieces split at waists": measure(
                list(true[:count]), true[:count], lambda labels: labels > 0, True
            ),
        }
    record = {
        "command": "python benchmarks/nuclei.py",
        "set": "dsb2018_nuclei",
        "machine": machine(),
        "results": results,
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

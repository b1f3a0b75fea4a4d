"""What no learning at all would score, so that figures can be judged.

DELAMINATE_DATA=DATA python benchmarks/baselines.py     # writes benchmarks/results/baselines.json
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans

from delaminate.data import draw, load_benchmark
from delaminate.matching.regions import flat_regions
from delaminate.metrics import ari, ari_fg, clustering_accuracy, foreground_figures

OUT = Path(__file__).parent / "results" / "baselines.json"


def multi_dsprites() -> dict[str, Any]:
    """Regions of one colour as objects: nearly perfect on flat colours, but it knows no classes and no hidden parts."""
    data = draw("multi-dsprites", 320, split="test")
    true = data.labels.instances.numpy()
    images = data.images.batch(range(320))
    found = torch.stack([flat_regions(image).labels.clamp_min(0) for image in images]).numpy()
    one = (true > 0).astype(np.int64)
    return {
        "regions of one colour": {"ari": ari(true, found).mean(), "ari_fg": ari_fg(true, found).mean()},
        "one object": {"ari": ari(true, one).mean(), "ari_fg": ari_fg(true, one).mean()},
    }


def tetrominoes() -> dict[str, Any]:
    """Each of the six colours as one object."""
    data = draw("tetrominoes", 320, split="test")
    true, pixels = data.labels.instances.numpy(), data.images.pixels.numpy()
    found = ((pixels > 0) * np.array([1, 2, 4]).reshape(1, 3, 1, 1)).sum(1)
    return {"each colour an object": {"ari": ari(true, found).mean(), "ari_fg": ari_fg(true, found).mean()}}


def gtsrb8() -> dict[str, Any]:
    """K-means on pixels, best of ten starts by its own loss."""
    data = load_benchmark("gtsrb8")
    flat = data.images.pixels.flatten(1).float().numpy() / 255
    true = data.labels.image_classes.numpy()
    found = KMeans(8, n_init=10, random_state=0).fit_predict(flat)
    return {
        "k-means on pixels": {"clustering_accuracy": clustering_accuracy(true, found)},
        "one cluster": {"clustering_accuracy": float(np.bincount(true).max() / len(true))},
    }


def weizmann_horse() -> dict[str, Any]:
    """All background, a centred disc of the true mean area, and 2-means on colour."""
    data = load_benchmark("weizmann-horse")
    true = data.labels.instances.numpy()
    height, width = true.shape[1:]
    area = (true > 0).mean() * height * width
    y, x = np.mgrid[:height, :width]
    disc = (((y - height / 2) ** 2 + (x - width / 2) ** 2) < area / np.pi).astype(np.int64)
    two = np.zeros_like(true)
    for i, image in enumerate(data.images.pixels.permute(0, 2, 3, 1).numpy()):
        label = KMeans(2, n_init=1, random_state=0).fit_predict(image.reshape(-1, 3)).reshape(height, width)
        border = np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]])
        two[i] = label != np.bincount(border).argmax()
    return {
        "all background": foreground_figures(true, np.zeros_like(true)),
        "all foreground": foreground_figures(true, np.ones_like(true)),
        "centred disc": foreground_figures(true, np.broadcast_to(disc, true.shape).copy()),
        "2-means on colour": foreground_figures(true, two),
    }


def main() -> None:
    makers = {
        "tetrominoes": tetrominoes,
        "multi-dsprites": multi_dsprites,
        "gtsrb8": gtsrb8,
        "weizmann-horse": weizmann_horse,
    }
    record = {
        name: {kind: {k: round(float(v), 4) for k, v in figures.items()} for kind, figures in maker().items()}
        for name, maker in makers.items()
    }
    OUT.write_text(json.dumps({"baselines": record, "command": "python benchmarks/baselines.py"}, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

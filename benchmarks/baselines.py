"""What no learning at all would score, so that figures can be judged.

DELAMINATE_DATA=DATA python benchmarks/baselines.py     # writes benchmarks/results/baselines.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans

from delaminate.data import LabelledSet, draw, load_benchmark
from delaminate.matching.shapes import flat_regions
from delaminate.metrics import ari, ari_fg, centred_disc, clustering_accuracy, colour_regions, foreground_figures
from delaminate.refinement.crf import refine

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


def regions(data: LabelledSet) -> dict[str, Any]:
    """All background, all foreground, a centred disc of the true mean area, and n-means on colour; and the disc once pixels
    have brought it to the outlines in the images: so much of a refined figure needs no training."""
    true = data.labels.instances
    assert true is not None
    number = data.labels.regions or 2
    images = data.images.batch(range(len(data)))
    disc = torch.from_numpy(centred_disc(data.images.size, float((true > 0).double().mean())))
    masks = torch.nn.functional.one_hot(disc, number).movedim(-1, 0)[None, :, None].to(images)  # 1 n 1 H W
    guesses = {
        "all background": torch.zeros_like(true),
        "all foreground": torch.ones_like(true),
        "centred disc": disc.expand_as(true),
        "centred disc, refined": refine(images, masks.expand(len(images), -1, -1, -1, -1)).argmax(1)[:, 0],
        f"{number}-means on colour": colour_regions(images, number),
    }
    return {name: foreground_figures(true, guess, num_regions=number) for name, guess in guesses.items()}


def weizmann_horse() -> dict[str, Any]:
    return regions(load_benchmark("weizmann-horse"))


def objects_on_texture() -> dict[str, Any]:
    return regions(draw("objects-on-texture", 320, split="test"))


def objects_on_photos() -> dict[str, Any]:
    return regions(draw("objects-on-photos", 320, split="test"))


def colored_2_mnist() -> dict[str, Any]:
    return regions(draw("colored-2-mnist", 320, split="test"))


def flowers() -> dict[str, Any]:
    return regions(load_benchmark("flowers17", size=(64, 64)))


def butterflies() -> dict[str, Any]:
    return regions(load_benchmark("butterflies", size=(64, 64)))


def clothing() -> dict[str, Any]:
    return regions(load_benchmark("clothing-ccp", size=(64, 64)))


def main() -> None:
    makers = {
        "tetrominoes": tetrominoes,
        "multi-dsprites": multi_dsprites,
        "gtsrb8": gtsrb8,
        "weizmann-horse": weizmann_horse,
        "objects-on-texture": objects_on_texture,
        "objects-on-photos": objects_on_photos,
        "colored-2-mnist": colored_2_mnist,
        "flowers17": flowers,
        "butterflies": butterflies,
        "clothing": clothing,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only these; the others stay as they are")
    names = parser.parse_args().names or list(makers)
    record = json.loads(OUT.read_text())["baselines"] if OUT.exists() else {}
    record |= {
        name: {kind: {k: round(float(v), 4) for k, v in figures.items()} for kind, figures in makers[name]().items()}
        for name in names
    }
    OUT.write_text(json.dumps({"baselines": record, "command": "python benchmarks/baselines.py"}, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

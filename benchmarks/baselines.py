"""What no learning at all would score, so that figures can be judged.

DELAMINATE_DATA=DATA python benchmarks/baselines.py     # writes benchmarks/results/baselines.json

GrabCut and HOG are OpenCV's (extra `bench`).
"""

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from scipy import ndimage
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch import Tensor

from delaminate.data import LabelledSet, draw, load_benchmark
from delaminate.matching.exact.filling import commonest, pack
from delaminate.matching.shapes import flat_regions
from delaminate.metrics import ari, ari_fg, centred_disc, clustering_accuracy, colour_regions, foreground_figures
from delaminate.metrics.boxes import BoxMatches
from delaminate.metrics.segmentation import InstanceMatches
from delaminate.refinement.crf import refine

BOX_MARGIN = 0.1
"""Of an image's height and width, on each side of the box from which GrabCut starts."""
OUT = Path(__file__).parent / "results" / "baselines.json"


def multi_dsprites(name: str = "multi-dsprites") -> dict[str, Any]:
    """Regions of one colour as objects: nearly perfect on flat colours, but it knows no classes and no hidden parts."""
    data = draw(name, 320, split="test")
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
    """K-means, best of ten starts by its own loss: on pixels, and on histograms of oriented gradients."""
    data = load_benchmark("gtsrb8")
    pixels, true = data.images.pixels, data.labels.image_classes.numpy()
    # 4 x 4 cells of 7 x 7 pixels, in blocks of 2 x 2; Dalal and Triggs, CVPR 2005.
    hog = cv2.HOGDescriptor((28, 28), (14, 14), (7, 7), (7, 7), 9)
    gradients = np.stack([hog.compute(image).ravel() for image in _bytes(pixels)])
    clusters = {
        "k-means on pixels": pixels.flatten(1).float().numpy() / 255,
        "k-means on HOG, 64 components": PCA(64, random_state=0).fit_transform(gradients),
    }
    return {
        **{
            name: {
                "clustering_accuracy": clustering_accuracy(
                    true, KMeans(8, n_init=10, random_state=0).fit_predict(features)
                )
            }
            for name, features in clusters.items()
        },
        "one cluster": {"clustering_accuracy": float(np.bincount(true).max() / len(true))},
    }


def _bytes(pixels: UInt8[Tensor, "N 3 H W"]) -> UInt8[np.ndarray, "N H W 3"]:
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


def grabcut(images: Float[Tensor, "B 3 H W"]) -> Int64[Tensor, "B H W"]:
    """OpenCV's GrabCut, five rounds from a centred box. (Rother, Kolmogorov and Blake, SIGGRAPH 2004)"""
    height, width = images.shape[2:]
    down, right = round(BOX_MARGIN * height), round(BOX_MARGIN * width)
    box = (right, down, width - 2 * right, height - 2 * down)
    found = []
    for image in _bytes((images * 255).round().byte()):
        mask = np.zeros((height, width), np.uint8)
        cv2.setRNGSeed(0)
        cv2.grabCut(image, mask, box, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_RECT)
        found.append((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD))
    return torch.from_numpy(np.stack(found).astype(np.int64))


def components(data: LabelledSet) -> dict[str, Any]:
    """Connected pixels that differ from what lies behind: the commonest colour of all, and that of each place."""
    frames = _bytes(data.images.pixels)
    packed = pack(frames.astype(np.int32))
    few = packed[:: max(1, len(packed) // 100)]
    colours, counts = np.unique(few, return_counts=True)
    behind = {
        "components of what is not the commonest colour": colours[counts.argmax()],
        "components of what is not a place's commonest colour": commonest(few)[0],
    }
    return {name: _judged(packed != each, data) for name, each in behind.items()}


def ink_components(data: LabelledSet) -> dict[str, Any]:
    """Connected ink."""
    assert data.labels.ink is not None
    return {"components": _judged(data.images.pixels.float().mean(1).numpy() < 255 * data.labels.ink, data)}


def _judged(shown: np.ndarray, data: LabelledSet) -> dict[str, float]:
    """Score the connected parts of what is shown, as decompositions are."""
    objects, boxes = InstanceMatches(), BoxMatches()
    for index, mask in enumerate(shown):
        labels = ndimage.label(mask, np.ones((3, 3)))[0].astype(np.int64)
        if data.labels.instances is not None:
            objects.update(data.labels.instances[index : index + 1].numpy(), labels[None])
        if data.labels.boxes is not None:
            ignored = () if data.labels.ignored_boxes is None else data.labels.ignored_boxes[index]
            boxes.update(data.labels.boxes[index], ignored, labels)
    return {
        **(objects.figures() if data.labels.instances is not None else {}),
        **(boxes.figures() if data.labels.boxes is not None else {}),
    }


def regions(data: LabelledSet) -> dict[str, Any]:
    """All background, all foreground, a centred disc of the true mean area, and n-means on colour; the disc once pixels
    have brought it to the outlines in the images: so much of a refined figure needs no training; and GrabCut."""
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
    if number == 2:
        guesses["GrabCut from a centred box"] = grabcut(images)
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


def cars() -> dict[str, Any]:
    return regions(load_benchmark("car-sideview", size=(64, 64)))


def _drawn(name: str, count: int = 200) -> dict[str, Any]:
    return components(draw(name, count, split="test"))


def _last(data: LabelledSet, count: int) -> LabelledSet:
    return data.subset(range(len(data) - count, len(data)))


def main() -> None:
    makers = {
        "tetrominoes": tetrominoes,
        "multi-dsprites": multi_dsprites,
        "multi-dsprites-colour": functools.partial(multi_dsprites, "multi-dsprites-colour"),
        "gtsrb8": gtsrb8,
        "weizmann-horse": weizmann_horse,
        "objects-on-texture": objects_on_texture,
        "objects-on-photos": objects_on_photos,
        "colored-2-mnist": colored_2_mnist,
        "flowers17": flowers,
        "butterflies": butterflies,
        "clothing": clothing,
        "car-sideview": cars,
        **{
            name: functools.partial(_drawn, name)
            for name in ("floating-sprites", "platform-game", "platform-game-dubey")
        },
        "platform-game-network": functools.partial(_drawn, "platform-game-dubey", 40),
        "colored-2-mnist-64": lambda: regions(draw("colored-2-mnist", 320, split="test", size=(64, 64))),
        "side-scroller": functools.partial(_drawn, "side-scroller", 600),
        "space-invaders": lambda: components(load_benchmark("space-invaders-sample")),
        "text-pages": lambda: ink_components(_last(load_benchmark("text-goethe1809"), 4)),
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

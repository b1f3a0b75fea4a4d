"""Evaluate a decomposer over a labelled set: every figure of the vocabulary that the labels allow.

`docs/conventions.md` has the table of figures with definitions and sources.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from delaminate.errors import ShapeError
from delaminate.metrics.assignment import clustering_accuracy, normalized_mutual_information
from delaminate.metrics.foreground import foreground_figures
from delaminate.metrics.images import psnr
from delaminate.metrics.segmentation import ClassConfusion, InstanceMatches, ari, ari_fg, ari_fg_helped
from delaminate.scene.placements import Decomposition

BATCH = 64
# Colour of a layer that an image does not have: further from every image than any real layer.
NOWHERE = 1e3

Decompose = Callable[[Float[Tensor, "B 3 H W"]], Decomposition]
Figures = dict[str, float | int | str]


@runtime_checkable
class Images(Protocol):
    """Images that come in batches, such as `data.ImageSet`."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int], /) -> Float[Tensor, "B 3 H W"]: ...


@runtime_checkable
class Truth(Protocol):
    """What is known about images, such as `data.Labels`; None where it is not known."""

    @property
    def instances(self) -> Int64[Tensor, "N H W"] | None: ...

    @property
    def classes(self) -> Int64[Tensor, "N H W"] | None: ...

    @property
    def image_classes(self) -> Int64[Tensor, " N"] | None: ...


def evaluate(
    decompose: Decompose,
    images: Images,
    labels: Truth,
    *,
    validation: tuple[Images, Truth] | None = None,
    num_classes: int | None = None,
    batch: int = BATCH,
    protocol: str = "",
    progress: Callable[[int], None] | None = None,
) -> Figures:
    """Take labelled images apart and measure the result.

    Instance maps with several objects give `ari`, `ari_fg`, `ari_fg_helped`, `precision`, `recall` and `f1`; those with
    one object give `accuracy`, `iou`, `miou` and their variants; class maps with several classes give `class_accuracy`
    and `class_miou`; image classes give `clustering_accuracy` and `nmi`, each image being in the cluster of the
    dictionary entry of its front-most object. `psnr`, `images_per_second`, `count` and `protocol` always come.

    Args:
        decompose: The model; deterministic.
        images: What it sees, in [0, 1].
        labels: What it does not see.
        validation: Other labelled images, which choose the swap of the `_split` figures; without them there are none.
        num_classes: True classes with the background; None: those up to the largest in `labels`.
        batch: Images at a time.
        protocol: A sentence about the data and the decomposer, put before the one about the figures.
        progress: Called with the number of images done.

    Raises:
        ShapeError: There is no image, or the decomposition does not fit the images.
    """
    if len(images) == 0:
        raise ShapeError("evaluate: there is no image; expected at least one.")
    tally = _Tally(labels, num_classes)
    for first in range(0, len(images), batch):
        rows = range(first, min(first + batch, len(images)))
        pixels = images.batch(rows).cpu()
        began = time.perf_counter()
        found = decompose(pixels)
        tally.seconds.append((len(rows), time.perf_counter() - began))
        if len(found) != len(rows) or found.size != tuple(pixels.shape[2:]):
            raise ShapeError(
                f"evaluate: {len(found)} decompositions of size {found.size}; expected {len(rows)} of "
                f"{tuple(pixels.shape[2:])}."
            )
        tally.update(rows, pixels, found)
        if progress is not None:
            progress(rows.stop)
    chosen = None if validation is None or not tally.foreground else _foreground_maps(decompose, *validation, batch)
    sentence = " ".join(filter(None, (protocol, tally.protocol(chosen is not None))))
    return {**tally.figures(chosen), "count": len(images), "protocol": sentence}


def _foreground_maps(decompose: Decompose, images: Images, labels: Truth, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted maps of the validation images."""
    assert labels.instances is not None
    starts = range(0, len(images), batch)
    rows = [range(first, min(first + batch, len(images))) for first in starts]
    maps = [decompose(images.batch(some).cpu()).labels()[0].numpy() for some in rows]
    return labels.instances.cpu().numpy(), np.concatenate(maps)


@dataclass
class _Tally:
    """Collects what the figures need, batch by batch; keeps label maps only for single objects."""

    labels: Truth
    num_classes: int | None
    seconds: list[tuple[int, float]] = field(default_factory=list)
    means: dict[str, list[np.ndarray]] = field(default_factory=dict)
    objects: InstanceMatches = field(default_factory=InstanceMatches)
    confusion: ClassConfusion | None = None
    maps: list[np.ndarray] = field(default_factory=list)
    clusters: list[int] = field(default_factory=list)
    num_clusters: int = 0

    @property
    def foreground(self) -> bool:
        """Whether the labels tell one object from the background, and no more."""
        return self.labels.instances is not None and int(self.labels.instances.max()) <= 1

    @property
    def _has_classes(self) -> bool:
        return self.labels.classes is not None and int(self.labels.classes.max()) > 1

    def update(self, rows: range, pixels: Float[Tensor, "B 3 H W"], found: Decomposition) -> None:
        """Measure one batch."""
        part = slice(rows.start, rows.stop)
        self._mean("psnr", psnr(pixels, found.composite().to(pixels)).numpy())
        if self.labels.image_classes is not None:
            self._cluster(found)
        if self.labels.instances is None and self.labels.classes is None:
            return
        instances, classes = found.labels()
        if self.labels.instances is not None and self.foreground:
            self.maps.append(instances.numpy())
        elif self.labels.instances is not None:
            true = self.labels.instances[part].cpu()
            self._mean("ari", ari(true, instances))
            self._mean("ari_fg", ari_fg(true, instances))
            self._mean("ari_fg_helped", ari_fg_helped(true, instances, pixels, _object_colours(found).to(pixels)))
            self.objects.update(true, instances)
        if self.labels.classes is not None and self._has_classes:
            if self.confusion is None:
                number = self.num_classes or int(self.labels.classes.max()) + 1
                self.confusion = ClassConfusion(number, len(found.dictionary) + 1)
            self.confusion.update(self.labels.classes[part].cpu(), classes)

    def _mean(self, name: str, values: np.ndarray) -> None:
        self.means.setdefault(name, []).append(values)

    def _cluster(self, found: Decomposition) -> None:
        """The dictionary entry of each image's front-most object; images without one share a cluster of their own."""
        self.num_clusters = len(found.dictionary) - len(found.dictionary.backgrounds)
        for placements in found.images:
            objects = placements[1:] if found.background else placements
            self.clusters.append(objects[-1].entry if objects else len(found.dictionary))

    def figures(self, validation: tuple[np.ndarray, np.ndarray] | None) -> dict[str, float]:
        """Work out every figure that the labels allow, in the order of the vocabulary."""
        figures: dict[str, float] = {}
        averages = {name: float(np.concatenate(values).mean()) for name, values in self.means.items()}
        if "ari" in averages:
            figures |= {name: averages[name] for name in ("ari", "ari_fg", "ari_fg_helped")} | self.objects.figures()
        if self.confusion is not None:
            found = self.confusion.figures()
            figures |= {name: found[name] for name in ("class_accuracy", "class_miou")}
        if self.labels.image_classes is not None:
            true, clusters = self.labels.image_classes.cpu().numpy(), np.array(self.clusters) + 1
            figures["clustering_accuracy"] = clustering_accuracy(true, clusters, self.num_clusters)
            figures["nmi"] = normalized_mutual_information(true, clusters)
        if self.maps and self.labels.instances is not None:
            figures |= foreground_figures(self.labels.instances.cpu(), np.concatenate(self.maps), validation)
        # The first batch warms the caches, so it is not timed where there are others.
        timed = self.seconds[1:] or self.seconds
        speed = sum(count for count, _ in timed) / max(sum(seconds for _, seconds in timed), 1e-9)
        return figures | {"psnr": averages["psnr"], "images_per_second": speed}

    def protocol(self, with_validation: bool) -> str:
        """Say how the figures were made."""
        words = ["Labels as predicted at the model's size"]
        if "ari" in self.means:
            words.append("ari, ari_fg and ari_fg_helped are means over images, instances match at IoU 0.5")
        if self.confusion is not None:
            words.append("classes are matched once for the whole set (Hungarian)")
        if self.labels.image_classes is not None:
            words.append("an image's cluster is the entry of its front-most object")
        if self.foreground:
            words.append("accuracy, iou and miou are means over images")
        if with_validation:
            words.append("the swap of _split was chosen on other images")
        return "; ".join(words) + "."


def _object_colours(found: Decomposition) -> Float[Tensor, "B L 3 H W"]:
    """Colours of the object layers; layers that an image does not have are out of every image's reach."""
    first = 1 if found.background else 0
    rgb = found.layers().rgb[:, first:]
    counts = torch.tensor([max(len(placements) - first, 0) for placements in found.images])
    absent = torch.arange(rgb.shape[1])[None] >= counts[:, None]  # B L
    rgb[absent] = NOWHERE
    return rgb

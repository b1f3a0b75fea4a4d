"""Evaluate a decomposer over a labelled set: every figure of the vocabulary that the labels allow.

`docs/conventions.md` has the table of figures with definitions and sources.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor

from delaminate.errors import ShapeError
from delaminate.metrics.assignment import clustering_accuracy, normalized_mutual_information
from delaminate.metrics.baselines import baseline_figures, colour_regions
from delaminate.metrics.boxes import Box, BoxMatches
from delaminate.metrics.dictionaries import ALPHA_IOU, COLOUR_ERROR, dictionary_figures
from delaminate.metrics.foreground import covered, foreground_figures, foreground_per_image, role_swaps
from delaminate.metrics.images import ink_explained, psnr
from delaminate.metrics.segmentation import ClassConfusion, InstanceMatches, ari, ari_fg, ari_fg_helped
from delaminate.metrics.tracks import TrackMatches
from delaminate.scene.decomposition import Decomposition

BATCH = 64
# Colour of a layer that an image does not have: further from every image than any real layer.
NOWHERE = 1e3
# The helped figure needs every object layer as a whole canvas: too much memory for a hundred sprites.
MOST_HELPED = 16

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
    def instances(self) -> Integer[Tensor, "N H W"] | None: ...

    @property
    def classes(self) -> Integer[Tensor, "N H W"] | None: ...

    @property
    def image_classes(self) -> Int64[Tensor, " N"] | None: ...

    @property
    def boxes(self) -> tuple[tuple[Box, ...], ...] | None: ...

    @property
    def ignored_boxes(self) -> tuple[tuple[Box, ...], ...] | None: ...

    @property
    def ink(self) -> float | None: ...

    @property
    def regions(self) -> int | None: ...


PART_BATCHES = 16
"""Batches that are measured at a time and kept together."""
State = dict[str, Any]
"""What was measured in some images: plain values and tensors, for files and other processes."""


@dataclass(frozen=True)
class Plan:
    """What is measured, the same in all parts of a set.

    Attributes:
        regions: How many named regions every image consists of, the background included; 0: it does not.
        num_classes: True classes with the background; 0: there is nothing to match.
        sprites: What the images were drawn from, RGBA in [0, 1], where it is known.
        sprite_iou: The alpha-IoU from which a sprite counts as found.
        reconstructs: Layers rebuild the image, so that its likeness says something.
    """

    regions: int
    num_classes: int
    sprites: tuple[Float[Tensor, "4 _h _w"], ...] | None = None
    sprite_iou: float = ALPHA_IOU
    reconstructs: bool = True


Parts = Callable[[range, Plan, Callable[[], State]], State]
"""Gives what was measured in some rows, given the plan and what computes it here."""


def evaluate(
    decompose: Decompose,
    images: Images,
    labels: Truth,
    *,
    validation: tuple[Images, Truth] | None = None,
    chosen_on: str = "other images",
    num_classes: int | None = None,
    sprites: Sequence[Float[Tensor, "4 _h _w"]] | None = None,
    sprite_iou: float = ALPHA_IOU,
    soft: Callable[[Float[Tensor, "B 3 H W"]], Float[Tensor, "B 3 H W"]] | None = None,
    batch: int = BATCH,
    protocol: str = "",
    reconstructs: bool = True,
    progress: Callable[[int], None] | None = None,
    parts: Parts | None = None,
) -> Figures:
    """Take labelled images apart and measure the result.

    Instance maps with several objects give `ari`, `ari_fg`, `precision`, `recall`, `f1` and its variants and `iou`, with
    up to 16 predicted objects an image `ari_fg_helped` too, and where predictions carry tracks, `tracks_unbroken`;
    those with one object, or with the same named regions in every image, give `accuracy`, `iou`, `miou` and their
    variants with the three baselines, and with one object `role_swaps` too; class maps with several classes give
    `class_accuracy` and `class_miou`; image classes give `clustering_accuracy` and `nmi`, each image being in the
    cluster of the dictionary entry of its front-most object; boxes give `box_precision`, `box_recall` and `box_f1`, pages
    of ink `ink_explained`, true sprites `sprites_found`, `sprites_true` and `dead_sprites`. `psnr`,
    `images_per_second`, `count` and `protocol` always come, but for `psnr` where nothing is reconstructed.

    Args:
        decompose: The model; deterministic.
        images: What it sees, in [0, 1].
        labels: What it does not see.
        validation: Other labelled images, which choose the names of the `_split` figures; without them there are none.
        chosen_on: What these are, for the protocol.
        num_classes: True classes with the background; None: those up to the largest in `labels`.
        sprites: What the images were drawn from, RGBA in [0, 1], where it is known.
        sprite_iou: The alpha-IoU from which a sprite counts as found.
        soft: Rebuilds images as in training, choices undecided; gives `psnr_soft`.
        batch: Images at a time.
        reconstructs: False: layers carry the image itself, so that its likeness says nothing and `psnr` is left out.
        protocol: A sentence about the data and the decomposer, put before the one about the figures.
        progress: Called with the number of images done.
        parts: Gives what was measured in some images, known from before, or computed elsewhere by `measure_part`; None: it is
            computed here. The figures are the same to the bit, except for the speed.

    Raises:
        ShapeError: There is no image, or the decomposition does not fit the images.
    """
    if len(images) == 0:
        raise ShapeError("evaluate: there is no image; expected at least one.")
    plan = plan_for(labels, num_classes, sprites, sprite_iou, reconstructs)
    tally = _Tally(labels, plan)
    for rows in part_rows(len(images), batch):

        def here(rows: range = rows) -> State:
            return measure_part(decompose, images, labels, plan, rows, batch, soft, progress)

        tally.merge(here() if parts is None else parts(rows, plan, here))
        if parts is not None and progress is not None:
            progress(rows.stop)
    chosen = None if validation is None or not tally.regions else _region_maps(decompose, *validation, batch)
    sentence = " ".join(filter(None, (protocol, tally.protocol(chosen_on if chosen is not None else ""))))
    return {**tally.figures(chosen), "count": len(images), "protocol": sentence}


def part_rows(count: int, batch: int) -> list[range]:
    """The parts in which so many images are measured: whole batches, so that parts change no batch."""
    size = PART_BATCHES * batch
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def plan_for(
    labels: Truth,
    num_classes: int | None = None,
    sprites: Sequence[Float[Tensor, "4 _h _w"]] | None = None,
    sprite_iou: float = ALPHA_IOU,
    reconstructs: bool = True,
) -> Plan:
    """What is to be measured, by all labels; arguments as in `evaluate`."""
    regions, classes = 0, 0
    if labels.instances is not None:
        regions = labels.regions or (2 if int(labels.instances.max()) <= 1 else 0)
    if labels.classes is not None and int(labels.classes.max()) > 1:
        classes = num_classes or int(labels.classes.max()) + 1
    return Plan(regions, classes, None if sprites is None else tuple(sprites), sprite_iou, reconstructs)


def measure_part(
    decompose: Decompose,
    images: Images,
    labels: Truth,
    plan: Plan,
    rows: range,
    batch: int,
    soft: Callable[[Float[Tensor, "B 3 H W"]], Float[Tensor, "B 3 H W"]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> State:
    """Take some images apart and say what the figures need of them, in plain values and tensors.

    Raises:
        ShapeError: The decomposition does not fit the images.
    """
    tally = _Tally(labels, plan)
    for first in range(rows.start, rows.stop, batch):
        some = range(first, min(first + batch, rows.stop))
        pixels = images.batch(some).cpu()
        began = time.perf_counter()
        found = decompose(pixels)
        tally.seconds.append((len(some), time.perf_counter() - began))
        if len(found) != len(some) or found.size != tuple(pixels.shape[2:]):
            raise ShapeError(
                f"evaluate: {len(found)} decompositions of size {found.size}; expected {len(some)} of "
                f"{tuple(pixels.shape[2:])}."
            )
        tally.update(some, pixels, found)
        if soft is not None:
            tally.soften(psnr(pixels, soft(pixels).to(pixels)).numpy())
        if progress is not None:
            progress(some.stop)
    return tally.state()


def _region_maps(decompose: Decompose, images: Images, labels: Truth, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted maps of the validation images."""
    assert labels.instances is not None
    starts = range(0, len(images), batch)
    rows = [range(first, min(first + batch, len(images))) for first in starts]
    maps = [decompose(images.batch(some).cpu()).labels()[0].numpy() for some in rows]
    return labels.instances.cpu().long().numpy(), np.concatenate(maps)


@dataclass
class _Tally:
    """Collects what the figures need, batch by batch; keeps label maps only for named regions."""

    labels: Truth
    plan: Plan
    seconds: list[tuple[int, float]] = field(default_factory=list)
    means: dict[str, list[np.ndarray]] = field(default_factory=dict)
    objects: InstanceMatches = field(default_factory=InstanceMatches)
    confusion: ClassConfusion | None = None
    maps: list[np.ndarray] = field(default_factory=list)
    colours: list[np.ndarray] = field(default_factory=list)
    clusters: list[int] = field(default_factory=list)
    num_clusters: int = 0
    helped: bool = True
    tracks: TrackMatches = field(default_factory=TrackMatches)
    tracked: bool = False
    boxes: BoxMatches = field(default_factory=BoxMatches)
    ink: list[int] = field(default_factory=lambda: [0, 0])
    shares: dict[str, int] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    entries: set[int] = field(default_factory=set)

    @property
    def regions(self) -> int:
        """How many named regions every image consists of, the background included; 0: it does not."""
        return self.plan.regions

    def state(self) -> State:
        """What was collected, in plain values and tensors; arrays are joined."""
        arrays = {"maps": self.maps, "colours": self.colours} | {f"mean {name}": v for name, v in self.means.items()}
        state: State = {key: torch.from_numpy(np.concatenate(found)) for key, found in arrays.items() if found}
        state |= {
            name: getattr(self, name) for name in ("seconds", "clusters", "num_clusters", "helped", "tracked", "ink")
        }
        state |= {"shares": self.shares, "used": sorted(self.used), "entries": sorted(self.entries)}
        state["objects"] = (
            torch.from_numpy(self.objects.num_matched),
            self.objects.num_true,
            self.objects.num_predicted,
        )
        state["boxes"] = (self.boxes.num_matched, self.boxes.num_true, self.boxes.num_predicted)
        state["tracks"] = (self.tracks.num_frames, self.tracks.seen)
        state["confusion"] = None if self.confusion is None else torch.from_numpy(self.confusion.counts)
        return state

    def merge(self, state: State) -> None:
        """Take up what was collected of the images that come next. All counts are whole numbers, so no order matters."""
        for key, value in state.items():
            if key.startswith("mean "):
                self._mean(key.removeprefix("mean "), value.numpy())
            elif key in ("maps", "colours"):
                getattr(self, key).append(value.numpy())
        self.seconds += [(int(count), float(spent)) for count, spent in state["seconds"]]
        self.clusters += state["clusters"]
        self.num_clusters = max(self.num_clusters, state["num_clusters"])
        self.helped &= state["helped"]
        self.tracked |= state["tracked"]
        self.ink = [mine + more for mine, more in zip(self.ink, state["ink"], strict=True)]
        self.shares = self.shares or state["shares"]
        self.used |= set(state["used"])
        self.entries |= set(state["entries"])
        matched, true, predicted = state["objects"]
        self.objects.num_matched += matched.numpy()
        self.objects.num_true, self.objects.num_predicted = (
            self.objects.num_true + true,
            self.objects.num_predicted + predicted,
        )
        boxes = [mine + more for mine, more in zip(vars(self.boxes).values(), (0, *state["boxes"]), strict=True)]
        self.boxes = BoxMatches(*boxes)
        frames, seen = state["tracks"]
        for name, stretch in seen.items():
            known = self.tracks.seen.setdefault(name, [])
            known += [(self.tracks.num_frames + frame, track) for frame, track in stretch]
        self.tracks.num_frames += frames
        if state["confusion"] is not None:
            if self.confusion is None:
                self.confusion = ClassConfusion(*state["confusion"].shape)
            self.confusion.counts += state["confusion"].numpy()

    def update(self, rows: range, pixels: Float[Tensor, "B 3 H W"], found: Decomposition) -> None:
        """Measure one batch."""
        part = slice(rows.start, rows.stop)
        if self.plan.reconstructs or self.labels.ink is not None:
            self._likeness(pixels, found)
        if self.labels.image_classes is not None:
            self._cluster(found)
        if self.plan.sprites is not None:
            self._dictionary(found)
        if self.labels.instances is None and self.labels.classes is None and self.labels.boxes is None:
            return
        instances, classes = found.labels()
        if self.labels.instances is not None and self.regions:
            self.maps.append(instances.numpy())
            self.colours.append(colour_regions(pixels, self.regions).numpy())
        elif self.labels.instances is not None:
            self._objects(self.labels.instances[part].cpu().long(), instances, pixels, found)
        if self.labels.boxes is not None:
            ignored = self.labels.ignored_boxes or ((),) * len(self.labels.boxes)
            for row, image in zip(rows, instances.numpy(), strict=True):
                self.boxes.update(self.labels.boxes[row], ignored[row], image)
        # Rasters of their own have no classes: without entries there is nothing to match.
        if self.labels.classes is not None and self.plan.num_classes and len(found.dictionary):
            if self.confusion is None:
                self.confusion = ClassConfusion(self.plan.num_classes, len(found.dictionary) + 1)
            self.confusion.update(self.labels.classes[part].cpu().long(), classes)

    def _likeness(self, pixels: Tensor, found: Decomposition) -> None:
        """Compare a batch with what its layers make."""
        reconstructions = found.composite().to(pixels)
        if self.plan.reconstructs:
            self._mean("psnr", psnr(pixels, reconstructions).numpy())
        if self.labels.ink is not None:
            explained = ink_explained(pixels, reconstructions, self.labels.ink)
            self.ink = [self.ink[0] + explained[0], self.ink[1] + explained[1]]

    def _objects(self, true: Tensor, predicted: Tensor, pixels: Tensor, found: Decomposition) -> None:
        """Measure a batch in which images have several objects."""
        self._mean("ari", ari(true, predicted))
        self._mean("ari_fg", ari_fg(true, predicted))
        first = 1 if found.background else 0
        self.helped &= max(len(placements) for placements in found.images) - first <= MOST_HELPED
        if self.helped:
            self._mean("ari_fg_helped", ari_fg_helped(true, predicted, pixels, _object_colours(found).to(pixels)))
        self.objects.update(true, predicted)
        self._mean("iou", foreground_per_image(true, covered(found).long())["iou"])
        for one, other, placements in zip(true.numpy(), predicted.numpy(), found.images, strict=True):
            tracks = [placement.track for placement in placements[first:]]
            self.tracked |= any(track is not None for track in tracks)
            self.tracks.update(one, other, tracks)

    def _dictionary(self, found: Decomposition) -> None:
        """Compare the dictionary, once, and note which entries are used."""
        if not self.entries:
            self.entries = set(range(len(found.dictionary))) - set(found.dictionary.backgrounds)
            own = [found.dictionary.sprites[entry] for entry in sorted(self.entries)]
            self.shares = dictionary_figures(self.plan.sprites or (), own, self.plan.sprite_iou)
        self.used |= {placement.entry for placements in found.images for placement in placements}

    def soften(self, values: np.ndarray) -> None:
        """Take the PSNR of soft reconstructions."""
        self._mean("psnr_soft", values)

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
        figures: dict[str, float] = {}  # counts are whole numbers
        averages = {name: float(np.concatenate(values).mean()) for name, values in self.means.items()}
        if "ari" in averages:
            helped = ("ari_fg_helped",) if self.helped else ()
            figures |= {name: averages[name] for name in ("ari", "ari_fg", *helped)} | self.objects.figures()
            figures["iou"] = averages["iou"]
        if self.tracked:
            figures |= self.tracks.figures()
        if self.labels.boxes is not None:
            figures |= self.boxes.figures()
        if self.labels.ink is not None:
            figures["ink_explained"] = self.ink[0] / self.ink[1] if self.ink[1] else 1.0
        if self.plan.sprites is not None:
            figures |= {**self.shares, "dead_sprites": len(self.entries - self.used)}
        if self.confusion is not None:
            found = self.confusion.figures()
            figures |= {name: found[name] for name in ("class_accuracy", "class_miou")}
        if self.labels.image_classes is not None:
            true, clusters = self.labels.image_classes.cpu().numpy(), np.array(self.clusters) + 1
            figures["clustering_accuracy"] = clustering_accuracy(true, clusters, self.num_clusters)
            figures["nmi"] = normalized_mutual_information(true, clusters)
        if self.maps and self.labels.instances is not None:
            truth, maps = self.labels.instances.cpu().long().numpy(), np.concatenate(self.maps)
            figures |= foreground_figures(truth, maps, validation, self.regions)
            figures |= {"role_swaps": role_swaps(truth, maps)} if self.regions == 2 else {}
            figures |= baseline_figures(truth, maps, np.concatenate(self.colours), self.regions)
        # The first batch warms the caches, so it is not timed where there are others.
        timed = self.seconds[1:] or self.seconds
        speed = sum(count for count, _ in timed) / max(sum(seconds for _, seconds in timed), 1e-9)
        quality = {name: averages[name] for name in ("psnr", "psnr_soft") if name in averages}
        return figures | quality | {"images_per_second": speed}

    def protocol(self, chosen_on: str) -> str:
        """Say how the figures were made; `chosen_on` is empty without validation images."""
        words = ["Labels as predicted at the model's size"]
        if "ari" in self.means:
            helped = "ari_fg, ari_fg_helped" if self.helped else "ari_fg"
            words.append(f"ari, {helped} and iou are means over images, instances match at IoU 0.5")
        if self.labels.boxes is not None:
            words.append("boxes match at IoU 0.5, predictions in ignored areas are left out")
        if self.plan.sprites is not None:
            words.append(f"a sprite is found at alpha-IoU {self.plan.sprite_iou:g} and colour error {COLOUR_ERROR:g}")
        if self.tracked:
            words.append("an object is tracked while one track follows it, lost for at most 2 frames in a row")
        if self.confusion is not None:
            words.append("classes are matched once for the whole set (Hungarian)")
        if self.labels.image_classes is not None:
            words.append("an image's cluster is the entry of its front-most object")
        if self.regions:
            words.append("accuracy, iou and miou are means over images")
        if chosen_on:
            swap = "the swap" if self.regions == 2 else "which label is which region"
            words.append(f"{swap} of _split was chosen on {chosen_on}")
        return "; ".join(words) + "."


def _object_colours(found: Decomposition) -> Float[Tensor, "B L 3 H W"]:
    """Colours of the object layers; layers that an image does not have are out of every image's reach."""
    first = 1 if found.background else 0
    rgb = found.layers().rgb[:, first:]
    counts = torch.tensor([max(len(placements) - first, 0) for placements in found.images])
    absent = torch.arange(rgb.shape[1])[None] >= counts[:, None]  # B L
    rgb[absent] = NOWHERE
    return rgb

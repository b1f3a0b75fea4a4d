"""Sets of images, and their labels."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer, UInt8
from torch import Tensor

from delaminate.errors import DataError
from delaminate.files import take_rows
from delaminate.scene.canvas_map import CanvasMap

Indices = Tensor | np.ndarray | Sequence[int] | range


Box = tuple[str, float, float, float, float]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size, held as bytes: in memory, or in a file that is mapped (see `data.cache`).

    Attributes:
        pixels: RGB in 0..255; never written to.
        names: One per image, unique: the relative POSIX path without suffix where that is unique.
        canvas_maps: Where each canvas lies in its original image.
        skipped: Name and reason of every file that could not be used, and of folders (their names end with /).
        rate: Frames per second, where the images are the frames of a clip in their order; None: they are no clip. Where
            `durations` are known it is their mean.
        transparent: The colour, in 0..255, that stands for nothing: pixels that are transparent in the images; None: none is.
        durations: Milliseconds that each frame of a clip is seen; None: as long as `rate` says, each.

    Raises:
        DataError: The fields do not belong together.
    """

    pixels: UInt8[Tensor, "N 3 H W"]
    names: tuple[str, ...]
    canvas_maps: tuple[CanvasMap, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    rate: float | None = None
    durations: tuple[float, ...] | None = None
    transparent: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4 or self.pixels.shape[1] != 3:
            raise DataError(
                f"ImageSet: pixels are {self.pixels.dtype} {tuple(self.pixels.shape)}; expected uint8 (N, 3, H, W)"
            )
        if not len(self.pixels) == len(self.names) == len(self.canvas_maps):
            raise DataError(
                f"ImageSet: {len(self.pixels)} images, {len(self.names)} names and {len(self.canvas_maps)} "
                "canvas maps; expected one of each per image"
            )
        if len(set(self.names)) != len(self.names):
            raise DataError("ImageSet: two images have the same name")
        if self.durations is not None:
            self._check_durations(self.durations)
            if self.durations:
                object.__setattr__(self, "rate", 1000 * len(self.durations) / sum(self.durations))

    def _check_durations(self, durations: tuple[float, ...]) -> None:
        if len(durations) != len(self.names) or not all(0 < each < math.inf for each in durations):
            raise DataError(
                f"ImageSet: {len(durations)} durations for {len(self.names)} images; expected one each, in milliseconds, "
                "above 0"
            )

    @classmethod
    def from_arrays(cls, pixels: np.ndarray | Tensor, names: Sequence[str] | None = None) -> "ImageSet":
        """Make a set from uint8 arrays of shape (N, H, W, 3) or (N, 3, H, W).

        Where both readings fit, the last axis is taken for the channels. Names default to numbers.

        Raises:
            DataError: The array is of another type or shape.
        """
        tensor = torch.as_tensor(pixels)
        if tensor.ndim != 4 or 3 not in (tensor.shape[1], tensor.shape[3]) or tensor.dtype != torch.uint8:
            raise DataError(
                f"ImageSet: got {tensor.dtype} {tuple(tensor.shape)}; expected uint8 (N, H, W, 3) or (N, 3, H, W)"
            )
        if tensor.shape[3] == 3:
            tensor = tensor.permute(0, 3, 1, 2)  # N 3 H W
        height, width = tensor.shape[2:]
        named = tuple(names) if names is not None else numbered(len(tensor))
        return cls(tensor.contiguous(), named, (CanvasMap.whole(height, width),) * len(tensor))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the canvas in pixels."""
        return self.pixels.shape[2], self.pixels.shape[3]

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: Indices, device: str | torch.device = "cpu") -> Float[Tensor, "B 3 H W"]:
        """The images at `indices`, float32 in [0, 1]; bytes travel to `device`, floats are made there."""
        chosen = take_rows(self.pixels, as_indices(indices, len(self)))
        return chosen.to(device).float().div_(255)

    def subset(self, indices: Indices) -> "ImageSet":
        """The set of the images at `indices`, in that order."""
        index = as_indices(indices, len(self))
        order = index.tolist()
        return replace(
            self,
            pixels=take_rows(self.pixels, index),
            names=tuple(self.names[i] for i in order),
            canvas_maps=tuple(self.canvas_maps[i] for i in order),
            durations=None if self.durations is None else tuple(self.durations[i] for i in order),
        )

    def joined(self, other: "ImageSet") -> "ImageSet":
        """Both sets one after the other.

        Raises:
            DataError: They differ in size, in what is transparent or in a rate without durations; only one is a clip; or they
                share a name.
        """
        timed = self.durations is not None and other.durations is not None
        if (self.size, self.transparent) != (other.size, other.transparent) or (not timed and self.rate != other.rate):
            raise DataError(
                f"ImageSet: images of {self.size} at rate {self.rate} and of {other.size} at {other.rate} are no set."
                " Expected one size, one rate and one transparent colour."
            )
        return ImageSet(
            torch.cat([self.pixels, other.pixels]),
            (*self.names, *other.names),
            (*self.canvas_maps, *other.canvas_maps),
            (*self.skipped, *other.skipped),
            self.rate,
            (*self.durations, *other.durations) if self.durations is not None and other.durations is not None else None,
            self.transparent,
        )

    def to(self, device: str | torch.device) -> "ImageSet":
        """The same set with its bytes held on `device`."""
        return replace(self, pixels=self.pixels.to(device))


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known about N images. None: not known. Maps of labels are of any type of whole numbers that holds them.

    Attributes:
        instances: The object each pixel belongs to; 0 background, -1 to be ignored.
        classes: The class of each pixel; 0 background, -1 to be ignored.
        image_classes: The class of each image, from 0.
        boxes: Per image the objects' boxes: category, left, top, width and height in pixels of the canvas.
        ignored_boxes: Per image areas in which predictions count neither for nor against a method.
        ink: The images are pages of dark ink: pixels of a mean colour below this, in [0, 1], are ink.
        regions: Every image consists of the same so many named regions, and `instances` holds their numbers: 0 the
            background, then 1 to `regions` - 1. None: objects are what they happen to be.
    """

    instances: Integer[Tensor, "N H W"] | None = None
    classes: Integer[Tensor, "N H W"] | None = None
    image_classes: Int64[Tensor, " N"] | None = None
    boxes: tuple[tuple[Box, ...], ...] | None = None
    ignored_boxes: tuple[tuple[Box, ...], ...] | None = None
    ink: float | None = None
    regions: int | None = None

    def subset(self, indices: Indices) -> "Labels":
        def pick(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[as_indices(indices, len(values))]

        def rows(values: tuple[tuple[Box, ...], ...] | None) -> tuple[tuple[Box, ...], ...] | None:
            return None if values is None else tuple(values[i] for i in as_indices(indices, len(values)).tolist())

        return Labels(
            pick(self.instances),
            pick(self.classes),
            pick(self.image_classes),
            rows(self.boxes),
            rows(self.ignored_boxes),
            self.ink,
            self.regions,
        )


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Images with labels, for measuring.

    Attributes:
        images: What a method may see.
        labels: What it may not.
        name: The name in result files.
        replica: Drawn by us after a published description, not the published files.

    Raises:
        DataError: A label map does not fit the images.
    """

    images: ImageSet
    labels: Labels
    name: str
    replica: bool = False

    def __post_init__(self) -> None:
        maps = (("instances", self.labels.instances), ("classes", self.labels.classes))
        for kind, values in maps:
            if values is not None and tuple(values.shape) != (len(self.images), *self.images.size):
                raise DataError(
                    f"{self.name}: {kind} are {tuple(values.shape)}; "
                    f"expected {(len(self.images), *self.images.size)} like the images"
                )
        if self.labels.image_classes is not None and len(self.labels.image_classes) != len(self.images):
            raise DataError(
                f"{self.name}: image_classes has {len(self.labels.image_classes)} entries; expected one per "
                f"image, {len(self.images)}"
            )
        for kind, boxes in (("boxes", self.labels.boxes), ("ignored_boxes", self.labels.ignored_boxes)):
            if boxes is not None and len(boxes) != len(self.images):
                raise DataError(
                    f"{self.name}: {kind} has {len(boxes)} entries; expected one per image, {len(self.images)}"
                )

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Indices) -> "LabelledSet":
        """The set of the images at `indices` with their labels, in that order."""
        return replace(self, images=self.images.subset(indices), labels=self.labels.subset(indices))

    def permuted(self, rng: torch.Generator) -> "LabelledSet":
        """The same images with the labels of others, to show that training never looks."""
        return replace(self, labels=self.labels.subset(torch.randperm(len(self), generator=rng)))


def natural_key(text: str) -> tuple[tuple[int | str, ...], str]:
    """Sort key under which numbers inside names count as numbers.

    >>> sorted(["b10", "b2", "a"], key=natural_key)
    ['a', 'b2', 'b10']
    """
    parts = re.split("([0-9]+)", text.casefold())
    return tuple(int(part) if odd % 2 else part for odd, part in enumerate(parts)), text


def numbered(count: int, start: int = 0) -> tuple[str, ...]:
    """Names of images that have only a number.

    >>> numbered(2)
    ('000000', '000001')
    """
    return tuple(f"{index:06d}" for index in range(start, start + count))


def as_indices(indices: Indices, length: int) -> Int64[Tensor, " B"]:
    """Indices as a tensor, checked against a length."""
    index = torch.as_tensor(list(indices) if isinstance(indices, range) else indices, dtype=torch.int64).cpu()
    if isinstance(indices, Tensor | np.ndarray) and "bool" in str(indices.dtype):
        raise DataError("indices are a mask of booleans; expected positions, for example mask.nonzero()[:, 0]")
    if len(index) and not -length <= int(index.min()) <= int(index.max()) < length:
        raise DataError(f"indices reach from {int(index.min())} to {int(index.max())}; there are {length} images")
    return index

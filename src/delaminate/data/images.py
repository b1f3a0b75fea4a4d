"""The sample contract, and folders of images.

An `ImageSet` is all that training sees: pixels, names, and where each canvas lies in its original.
Labels live beside it in a `LabelledSet` and are read by metrics only.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from delaminate.data.reading import SUFFIXES, VIDEO_SUFFIXES, Fit, fit_image, read_image
from delaminate.errors import DataError
from delaminate.scene.frame import Frame

MAX_CACHE_BYTES = 16 * 2**30

UNREAD = {
    **dict.fromkeys((".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".pdf"), "save it as PNG or JPEG"),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), "develop it to PNG or JPEG"),
    **dict.fromkeys(VIDEO_SUFFIXES, "give the clip by itself"),
}
"""What people take for images and is not read within a folder, and what to do with it."""

OUTPUTS = (
    ({"summary.json", "scenes"}, "layers, not photos: written by `decompose`, `edit` or `sample`",
     ("dictionary", "residuals", "scenes")),
    ({"config.yaml", "metrics.jsonl"}, "pictures of a run, not photos: written by `train`", ("previews",)),
)  # fmt: skip
"""Results of ours that may lie among somebody's images: what shows them, what they are, and their folders of pictures."""

Indices = Tensor | np.ndarray | Sequence[int] | range
Box = tuple[str, float, float, float, float]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size, held in memory as bytes.

    Attributes:
        pixels: RGB in 0..255.
        names: One per image, unique: the relative POSIX path without suffix where that is unique.
        frames: Where each canvas lies in its original image.
        skipped: Name and reason of every file that could not be used, and of folders (their names end with /).
        rate: Frames per second, where the images are the frames of a clip in their order; None: they are no clip.

    Raises:
        DataError: The fields do not belong together.
    """

    pixels: UInt8[Tensor, "N 3 H W"]
    names: tuple[str, ...]
    frames: tuple[Frame, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4 or self.pixels.shape[1] != 3:
            raise DataError(
                f"ImageSet: pixels are {self.pixels.dtype} {tuple(self.pixels.shape)}; expected uint8 (N, 3, H, W)"
            )
        if not len(self.pixels) == len(self.names) == len(self.frames):
            raise DataError(
                f"ImageSet: {len(self.pixels)} images, {len(self.names)} names and {len(self.frames)} "
                "frames; expected one of each per image"
            )
        if len(set(self.names)) != len(self.names):
            raise DataError("ImageSet: two images have the same name")

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
        return cls(tensor.contiguous(), named, (Frame.whole(height, width),) * len(tensor))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the canvas in pixels."""
        return self.pixels.shape[2], self.pixels.shape[3]

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: Indices, device: str | torch.device = "cpu") -> Float[Tensor, "B 3 H W"]:
        """The images at `indices`, float32 in [0, 1]; bytes travel to `device`, floats are made there."""
        chosen = self.pixels[as_indices(indices, len(self)).to(self.pixels.device)]
        return chosen.to(device).float().div_(255)

    def subset(self, indices: Indices) -> "ImageSet":
        """The set of the images at `indices`, in that order."""
        index = as_indices(indices, len(self))
        order = index.tolist()
        return replace(
            self,
            pixels=self.pixels[index.to(self.pixels.device)],
            names=tuple(self.names[i] for i in order),
            frames=tuple(self.frames[i] for i in order),
        )

    def joined(self, other: "ImageSet") -> "ImageSet":
        """Both sets one after the other.

        Raises:
            DataError: They differ in size or rate, or share a name.
        """
        if (self.size, self.rate) != (other.size, other.rate):
            raise DataError(f"ImageSet: images of {self.size} and of {other.size} are no set, nor are two rates.")
        return ImageSet(
            torch.cat([self.pixels, other.pixels]),
            (*self.names, *other.names),
            (*self.frames, *other.frames),
            (*self.skipped, *other.skipped),
            self.rate,
        )

    def to(self, device: str | torch.device) -> "ImageSet":
        """The same set with its bytes held on `device`."""
        return replace(self, pixels=self.pixels.to(device))


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known about N images. None: not known.

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

    instances: Int64[Tensor, "N H W"] | None = None
    classes: Int64[Tensor, "N H W"] | None = None
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
            raise DataError(f"{self.name}: image_classes has not one entry per image")
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


def load_folder(
    folder: str | Path, size: tuple[int, int] | None = None, fit: Fit = "squash", limit: int | None = None
) -> ImageSet:
    """Read every image below a folder, in natural order (`2` before `10`).

    PNG, JPEG, WEBP, GIF, TIFF and BMP are read, as `read_image` and `fit_image` say. Files that are no images and
    hidden files are passed over; an image that cannot be read, one in another format, and a folder of pictures that this
    library wrote itself (of scenes, of a run) are named in `skipped`.

    Args:
        folder: Searched with its subfolders; or one image file; or one clip, of which `read_clip` says more.
        size: Height and width of the canvas in pixels; None: all images must share one size.
        fit: How an image of another shape gets onto the canvas: `squash`, `crop` or `pad`.
        limit: Read at most so many images.

    Raises:
        DataError: No image could be read, or `size` is None and the sizes differ.
    """
    if Path(folder).is_file():
        from delaminate.data.clips import is_clip, read_clip  # clips are image sets, so they come second

        if is_clip(folder):
            return read_clip(folder, size, limit, fit)
    root, paths, skipped = _image_paths(Path(folder))
    names = _names(root, paths)
    arrays: list[np.ndarray] = []
    kept: list[str] = []
    frames: list[Frame] = []
    num_bytes = 0
    for path, name, read in _read_all(paths, names, size, fit):
        if limit is not None and len(arrays) >= limit:
            break
        if isinstance(read, DataError):
            skipped.append((path.relative_to(root).as_posix(), str(read).removeprefix(f"{path}: ")))
            continue
        pixels, frame = read
        if arrays and pixels.shape != arrays[0].shape:
            raise DataError(
                f"{folder}: '{kept[0]}' is {arrays[0].shape[:2]} and '{name}' {pixels.shape[:2]} "
                "(height, width); give one size for all: cut them, or add margins"
            )
        num_bytes += pixels.nbytes
        if num_bytes > MAX_CACHE_BYTES:
            raise DataError(
                f"{folder}: more than {MAX_CACHE_BYTES >> 30} GiB of pixels; give a smaller size or a limit"
            )
        arrays.append(pixels)
        kept.append(name)
        frames.append(frame)
    if not arrays:
        raise DataError(_nothing(Path(folder), skipped))
    stacked = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()  # N 3 H W
    return ImageSet(stacked, tuple(kept), tuple(frames), tuple(skipped))


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


def image_folder(folder: str | Path) -> Path:
    """Say where a folder's images lie: in its `images/` alone, unless some lie beside that and there is no `masks/`."""
    root, inner = Path(folder), Path(folder) / "images"

    def is_image(path: Path) -> bool:
        return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()

    alone = inner.is_dir() and ((root / "masks").is_dir() or not any(map(is_image, root.iterdir())))
    return inner if alone else root


def _image_paths(folder: Path) -> tuple[Path, list[Path], list[tuple[str, str]]]:
    """List the images below a folder, and what looks like one and is not read, with the reason."""
    if folder.is_file():
        return folder.parent, [folder], []
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder or file")
    found, others = [], []
    files, passed = _files(folder)
    for path in files:
        suffix, name = path.suffix.lower(), path.relative_to(folder).as_posix()
        if suffix in SUFFIXES:
            found.append((natural_key(name), path))
        elif suffix in UNREAD:
            others.append((name, f"{suffix[1:].upper()} is not read within a folder; {UNREAD[suffix]}"))
    return folder, [path for _, path in sorted(found)], sorted(others) + sorted(passed)


def _files(root: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """List the files below a folder that are not hidden, and results of ours, which are passed over, with what they are."""
    files, passed = [], []
    for place, folders, names in os.walk(root):
        here = Path(place)
        found = [(what, parts) for signs, what, parts in OUTPUTS if signs <= {*folders, *names}]
        if found and here != root:
            passed.append((f"{here.relative_to(root).as_posix()}/", found[0][0]))
            folders.clear()
            continue
        # The folder that is given may hold images beside results: only these are passed over.
        for what, parts in found:
            own = [part for part in parts if part in folders]
            passed += [("/, ".join(own) + "/", what)] if own else []
            folders[:] = [name for name in folders if name not in own]
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [here / name for name in names if not name.startswith(".") and (here / name).is_file()]
    return files, passed


def _names(root: Path, paths: Sequence[Path]) -> list[str]:
    full = [path.relative_to(root) for path in paths]
    short = [path.with_suffix("").as_posix() for path in full]
    return short if len(set(short)) == len(short) else [path.as_posix() for path in full]


def _read_all(
    paths: Sequence[Path], names: Sequence[str], size: tuple[int, int] | None, fit: Fit
) -> Iterator[tuple[Path, str, tuple[np.ndarray, Frame] | DataError]]:
    """Decode a few files at a time, in order: a broken one must not stop the others."""

    def read(path: Path) -> tuple[np.ndarray, Frame] | DataError:
        try:
            pixels = read_image(path)
        except DataError as error:
            return error
        return fit_image(pixels, size or (pixels.shape[0], pixels.shape[1]), fit)

    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(paths), 8 * workers):
            chunk: Iterable[Path] = paths[first : first + 8 * workers]
            results = pool.map(read, chunk)
            yield from zip(chunk, names[first : first + 8 * workers], results, strict=True)


def _nothing(folder: Path, skipped: Sequence[tuple[str, str]]) -> str:
    """Why a folder gave no image."""
    unread = [(name, reason) for name, reason in skipped if not name.endswith("/")]
    if unread:
        name, reason = unread[0]
        return f"{folder}: none of the {len(unread)} image files can be read; the first, '{name}': {reason}"
    count = sum(path.is_file() for path in folder.rglob("*")) if folder.is_dir() else 1
    passed = "".join(f"; passed over: {name} ({what})" for name, what in skipped)
    suffixes = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
    return f"{folder}: found no image among {count} files{passed}; images are {suffixes}"

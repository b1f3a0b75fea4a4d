"""Photos of one class with their foreground, in the layouts and splits in which ReDO was measured.

Nothing is downloaded: these read what their publishers hand out, for those who have it. Labels are there to measure
with; where `labels` is False, no mask is even opened.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from delaminate.data.reading import Fit, fit_image, fit_mask, read_image
from delaminate.data.real.matlab import read_matrices
from delaminate.data.sets import ImageSet, LabelledSet, Labels
from delaminate.errors import DataError, reading
from delaminate.rng import numpy_stream
from delaminate.scene.canvas_map import CanvasMap

SIZE = (128, 128)
FLOWERS_PARTS = {"train": "tstid", "dev": "valid", "test": "trnid"}
LFW_LISTS = {"train": "train.txt", "dev": "val.txt", "test": "test.txt"}
LFW_DEV, LFW_LABELLED = 1327, 2927  # images of ReDO's validation part, and all with part labels
CUB_SPLIT_FILE = "train_val_test_split.txt"
CUB_COUNTS = {"train": 10_000, "dev": 788, "test": 1_000}

Front = Callable[[UInt8[np.ndarray, "H W 3"]], Bool[np.ndarray, "H W"]]


@dataclass(frozen=True)
class _Photo:
    """A file, its name in the set, and the file of its mask (None: it has none)."""

    name: str
    image: Path
    mask: Path | None


def load_flowers102(
    folder: str | Path,
    split: str = "train",
    size: tuple[int, int] = SIZE,
    fit: Fit = "crop",
    limit: int | None = None,
    labels: bool = True,
) -> LabelledSet:
    """Read Oxford's 102 flowers: `jpg/image_00001.jpg`, `segmim/segmim_00001.jpg` and `setid.mat`.

    As in ReDO's code, the largest of the three published parts is for training: `tstid` (6149 images), `valid` (1020)
    is `dev` and `trnid` (1020) is `test`. A pixel is foreground unless red or green is 0 or blue is 254 in its
    segmentation, which paints the background blue.

    Departs, like all loaders here: photos are reduced by a filter that does not alias, where ReDO takes the nearest
    pixel.

    Args:
        folder: Holds the three.
        split: `train`, `dev` or `test`.
        size: Height and width of the canvas in pixels.
        fit: How photos get onto the canvas; `crop` as in ReDO.
        limit: Read at most so many, the first ones.
        labels: False: images only.

    Raises:
        DataError: The split is unknown, a file is absent or cannot be read, or a mask does not fit its photo.

    Reference: Nilsback and Zisserman, Automated Flower Classification over a Large Number of Classes, 2008; code of
    Chen et al., ReDO, 2019.
    """
    root, part = Path(folder), _known(split, FLOWERS_PARTS, "flowers102")
    with reading(root / "setid.mat", DataError, f"not the splits of Flowers-102 ({part})"):
        numbers = read_matrices(root / "setid.mat")[part].reshape(-1).astype(np.int64).tolist()
    photos = [
        _Photo(f"image_{n:05d}", root / f"jpg/image_{n:05d}.jpg", root / f"segmim/segmim_{n:05d}.jpg") for n in numbers
    ]
    return _load(photos, "flowers102", _not_blue_fill, size, fit, limit, labels)


def load_lfw(
    folder: str | Path,
    split: str = "train",
    size: tuple[int, int] = SIZE,
    fit: Fit = "crop",
    limit: int | None = None,
    labels: bool = True,
) -> LabelledSet:
    """Read Labelled Faces in the Wild, funneled, with part labels.

    `lfw_funneled/NAME/NAME_0001.jpg` and `parts_lfw_funneled_gt_images/NAME_0001.ppm`, whose blue is the background: hair
    and face are foreground. Lists `train.txt`, `val.txt` and `test.txt` (lines `NAME NAME_0001`), as ReDO's code has
    them, say which photo is in which part. Without lists, photos without part labels are for training (10306), and the
    people with them are put in a fixed random order: the first whole people up to 1327 photos of 2927 are `dev`, the
    others `test`, so that both share nobody, as ReDO's parts.

    Args:
        folder: Holds the two folders, and perhaps the lists.
        split: `train` (without masks), `dev` or `test`.
        size, fit, limit, labels: As in `load_flowers102`.

    Raises:
        DataError: The split is unknown, a file is absent or cannot be read, or a mask does not fit its photo.

    Reference: Huang et al., Labeled Faces in the Wild, 2007; Kae et al., Augmenting CRFs with Boltzmann Machine Shape
    Priors for Image Labeling, 2013; code of Chen et al., ReDO, 2019.
    """
    root, listed = Path(folder), Path(folder) / _known(split, LFW_LISTS, "lfw")
    for name in ("lfw_funneled", "parts_lfw_funneled_gt_images"):
        if not (root / name).is_dir():
            raise DataError(f"{root}: found no folder '{name}'; expected LFW funneled with its part labels")
    chosen = _pairs(listed) if listed.is_file() else _divided_people(root, split)
    masks = root / "parts_lfw_funneled_gt_images"
    photos = [
        _Photo(
            f"{person}/{photo}",
            root / "lfw_funneled" / person / f"{photo}.jpg",
            None if split == "train" else masks / f"{photo}.ppm",
        )
        for person, photo in chosen
    ]
    return _load(photos, "lfw", _not_blue, size, fit, limit, labels)


def load_cub(
    folder: str | Path,
    split: str = "train",
    size: tuple[int, int] = SIZE,
    fit: Fit = "crop",
    limit: int | None = None,
    labels: bool = True,
) -> LabelledSet:
    """Read Caltech-UCSD Birds-200-2011: `images.txt`, `images/` and `segmentations/`.

    `segmentations/` (a download of its own) may lie beside or inside `CUB_200_2011/`; a pixel is foreground above one
    half. `train_val_test_split.txt` (lines `INDEX PART`, 0, 1 and 2 for training, validation and test), as ReDO's code
    has it, says which photo is in which part. Without it, photos are put in a fixed random order, of which the first
    10000 are for training, 788 are `dev` and 1000 `test` (of a smaller set, as large shares): the sizes of ReDO's
    parts, not its photos.

    Args:
        folder: Holds them, or `CUB_200_2011/` that does.
        split: `train`, `dev` or `test`.
        size, fit, limit, labels: As in `load_flowers102`.

    Raises:
        DataError: The split is unknown, a file is absent, cannot be read or is not in this layout, or a mask does not
            fit its photo.

    Reference: Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, 2011; code of Chen et al., ReDO, 2019.
    """
    outer = Path(folder)
    root = outer / "CUB_200_2011" if (outer / "CUB_200_2011").is_dir() else outer
    place = list(CUB_COUNTS).index(_known(split, {part: part for part in CUB_COUNTS}, "cub"))
    rows = _pairs(root / "images.txt")
    masks = next((each for each in (root, outer) if (each / "segmentations").is_dir()), None)
    if masks is None:
        raise DataError(f"{root}: found no folder 'segmentations'; put the segmentations of the birds there")
    listed = next((each / CUB_SPLIT_FILE for each in (root, outer) if (each / CUB_SPLIT_FILE).is_file()), None)
    if listed is not None:
        parts = dict(_pairs(listed))
        if set(parts) != {index for index, _ in rows} or not set(parts.values()) <= {"0", "1", "2"}:
            raise DataError(f"{listed}: does not give 0, 1 or 2 to each index of images.txt")
        chosen = [path for index, path in rows if parts[index] == str(place)]
    else:
        chosen = _shuffled_share([path for _, path in rows], place)
    photos = [
        _Photo(
            Path(path).with_suffix("").as_posix(),
            root / "images" / path,
            masks / "segmentations" / Path(path).with_suffix(".png"),
        )
        for path in chosen
    ]
    return _load(photos, "cub", _bright, size, fit, limit, labels)


def load_flowers_and_lfw(
    flowers: str | Path,
    lfw: str | Path,
    split: str = "train",
    size: tuple[int, int] = SIZE,
    fit: Fit = "crop",
    limit: int | None = None,
    labels: bool = True,
) -> LabelledSet:
    """Read Flowers-102 and LFW as one set, flowers first: ReDO's test of a set of two classes.

    Faces for training have no masks, so `train` has no labels at all.

    Args:
        flowers, lfw: The folders of both.
        split, size, fit, labels: As in `load_flowers102`.
        limit: Read at most so many of each.

    Raises:
        DataError: As the two loaders.

    Reference: Chen et al., Unsupervised Object Segmentation by Redrawing, 2019.
    """
    wanted = labels and split != "train"
    one = load_flowers102(flowers, split, size, fit, limit, wanted)
    other = load_lfw(lfw, split, size, fit, limit, wanted)
    images = ImageSet(
        torch.cat([one.images.pixels, other.images.pixels]),
        one.images.names + other.images.names,
        one.images.canvas_maps + other.images.canvas_maps,
    )
    if one.labels.instances is None or other.labels.instances is None:
        return LabelledSet(images, Labels(), "flowers-lfw")
    instances = torch.cat([one.labels.instances, other.labels.instances])
    return LabelledSet(images, Labels(instances, regions=2), "flowers-lfw")


def _known(split: str, parts: dict[str, str], name: str) -> str:
    if split not in parts:
        raise DataError(f"{name}: split is '{split}'; expected one of {', '.join(parts)}")
    return parts[split]


def _pairs(path: Path) -> list[tuple[str, str]]:
    """The lines of a file of two words each."""
    with reading(path, DataError, "cannot be read; expected lines of two words"):
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    wrong = next((number for number, words in enumerate(lines, start=1) if len(words) != 2), None)
    if wrong is not None or not lines:
        raise DataError(f"{path}: line {wrong or 1} is not two words")
    outside = [word for words in lines for word in words if Path(word).is_absolute() or ".." in Path(word).parts]
    if outside:
        raise DataError(f"{path}: {outside[0]} leads out of the folder; expected names within")
    return [(first, second) for first, second in lines]


def _divided_people(root: Path, split: str) -> list[tuple[str, str]]:
    """The photos of a part of LFW where no list says which: people are never divided."""
    files = sorted((root / "lfw_funneled").glob("*/*.jpg"))
    labelled = {path.stem for path in (root / "parts_lfw_funneled_gt_images").glob("*.ppm")}
    if split == "train":
        return [(path.parent.name, path.stem) for path in files if path.stem not in labelled]
    people: dict[str, list[str]] = {}
    for path in files:
        if path.stem in labelled:
            people.setdefault(path.parent.name, []).append(path.stem)
    order = sorted(people)
    order = [order[k] for k in numpy_stream("lfw", "split").permutation(len(order))]
    room = sum(map(len, people.values())) * LFW_DEV / LFW_LABELLED
    found: dict[str, list[tuple[str, str]]] = {"dev": [], "test": []}
    for person in order:
        part = "dev" if len(found["dev"]) + len(people[person]) <= room else "test"
        found[part] += [(person, photo) for photo in people[person]]
    return sorted(found[split])


def _shuffled_share(paths: Sequence[str], place: int) -> list[str]:
    """The photos of a part of the birds where no list says which."""
    order = numpy_stream("cub", "split").permutation(len(paths))
    ends = np.cumsum([0, *CUB_COUNTS.values()])
    first, last = (round(len(paths) * end / int(ends[-1])) for end in ends[place : place + 2].tolist())
    return [paths[index] for index in sorted(order[first:last].tolist())]


def _not_blue_fill(pixels: UInt8[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
    return np.asarray((pixels[..., 0] != 0) & (pixels[..., 1] != 0) & (pixels[..., 2] != 254))


def _not_blue(pixels: UInt8[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
    return np.asarray(pixels[..., 2] < 128)


def _bright(pixels: UInt8[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
    return np.asarray(pixels[..., 0] > 127)


def _load(
    photos: Sequence[_Photo],
    name: str,
    front: Front,
    size: tuple[int, int],
    fit: Fit,
    limit: int | None,
    labels: bool,
) -> LabelledSet:
    """Read photos and, where they have any and labels are wanted, their masks."""
    photos = photos[:limit]
    if not photos:
        raise DataError(f"{name}: there is no photo in this part; expected at least one")
    labels = labels and all(photo.mask is not None for photo in photos)

    def read(photo: _Photo) -> tuple[np.ndarray, CanvasMap, np.ndarray | None]:
        canvas, canvas_map = fit_image(read_image(photo.image), size, fit)
        if not labels or photo.mask is None:
            return canvas, canvas_map, None
        mask = front(read_image(photo.mask, formats=("PPM", "PNG", "JPEG"))).astype(np.int64)
        try:
            return canvas, canvas_map, fit_mask(mask, canvas_map)
        except DataError as error:
            raise DataError(f"{photo.mask}: {error}") from error

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        pixels, frames, masks = zip(*pool.map(read, photos), strict=True)
    images = ImageSet.from_arrays(np.stack(pixels), [photo.name for photo in photos])
    found = Labels(torch.from_numpy(np.stack(masks)), regions=2) if labels else Labels()
    return LabelledSet(replace(images, canvas_maps=tuple(frames)), found, name)


PHOTOS: dict[str, Callable[[Path, str, tuple[int, int], Fit, bool], LabelledSet]] = {
    "flowers102": lambda folder, split, size, fit, labels: load_flowers102(folder, split, size, fit, None, labels),
    "lfw": lambda folder, split, size, fit, labels: load_lfw(folder, split, size, fit, None, labels),
    "cub": lambda folder, split, size, fit, labels: load_cub(folder, split, size, fit, None, labels),
    "flowers-lfw": lambda folder, split, size, fit, labels: load_flowers_and_lfw(
        folder.parent / "flowers102", folder, split, size, fit, None, labels
    ),
}
"""Loaders by the word that a benchmark has for how its masks are read."""

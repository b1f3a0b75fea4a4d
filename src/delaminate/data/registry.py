"""Data by name: drawn and recorded sets, and real ones found in the folder that DELAMINATE_DATA names."""

import difflib
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from delaminate.data.folders import MAX_CACHE_BYTES, image_folder, load_folder, load_source
from delaminate.data.labelled import load_labelled_folder, load_labelled_source
from delaminate.data.places import is_place
from delaminate.data.reading import Fit
from delaminate.data.real.games import SAMPLES
from delaminate.data.real.lsun import load_lsun
from delaminate.data.real.photos import PHOTOS, SIZE
from delaminate.data.real.recordings import RECORDINGS, record
from delaminate.data.real.root import DATA_VARIABLE, data_folder
from delaminate.data.sets import ImageSet, LabelledSet, Labels, numbered
from delaminate.data.sources import Source, is_source
from delaminate.data.synthetic.drawing import Drawing
from delaminate.data.synthetic.scenes import DRAWINGS, Split, draw, draw_images
from delaminate.data.transparency import Transparency
from delaminate.errors import DataError, reading

DEFAULT_COUNT = 1000

Masks = Literal[
    "instances", "foreground", "classes", "none", "invaders", "dubey", "text", "flowers102", "lfw", "cub", "flowers-lfw"
]


@dataclass(frozen=True)
class Benchmark:
    """A real set and how its masks are read.

    Attributes:
        folder: Its name below DELAMINATE_DATA.
        description: One line for a list of names.
        masks: `instances`: each value is an object; `foreground`: every value above 0 is the one object;
            `classes`: the same, and the values are classes; `none`: an .npz archive with image classes;
            `invaders`, `dubey` and `text`: as `data.real.games` reads them; `flowers102`, `lfw`, `cub` and `flowers-lfw`:
            as `data.real.photos` reads them, with their published splits.
        foreground: Mask values that are foreground, where not simply those above 0.
        ignore: Mask values left out of every figure.
        num_dev: So many images, the first ones, are the development part.
    """

    folder: str
    description: str
    masks: Masks = "foreground"
    foreground: tuple[int, ...] = ()
    ignore: tuple[int, ...] = ()
    num_dev: int = 100


BENCHMARKS = {
    "gtsrb8": Benchmark("gtsrb8_28", "traffic signs of eight classes, 28 x 28", "none"),
    "weizmann-horse": Benchmark("weizmann_horse", "one horse per photo, 128 x 128", num_dev=30),
    "ecssd": Benchmark("ecssd", "salient objects in photos, 128 x 128"),
    "flowers17": Benchmark("flowers17_seg", "flowers, 128 x 128", foreground=(1,), ignore=(0, 5)),
    "clothing-ccp": Benchmark("clothing_ccp", "one dressed person per photo, 128 x 128", "classes"),
    "car-sideview": Benchmark("car_sideview", "cars from the side, 128 x 128", "classes"),
    "butterflies": Benchmark("butterfly_nature", "butterflies, 128 x 128"),
    "pennfudan": Benchmark("pennfudan", "pedestrians, 128 x 128", "instances"),
    "nuclei": Benchmark("dsb2018_nuclei", "cell nuclei, 128 x 128", "instances"),
    "flowers102": Benchmark("flowers102", "flowers as published, 128 x 128 unless asked otherwise", "flowers102"),
    "lfw": Benchmark("lfw", "faces as published (LFW funneled, part labels), 128 x 128", "lfw"),
    "cub": Benchmark("cub", "birds as published (CUB-200-2011), 128 x 128", "cub"),
    "flowers-lfw": Benchmark("lfw", "both of them as one set, with flowers102/ beside", "flowers-lfw"),
    "space-invaders-sample": Benchmark(
        "space_invaders_sample", "200 frames of the arcade game with boxes, 210 x 160", "invaders", num_dev=50
    ),
    "dubey-game-sample": Benchmark(
        "dubey_sample", "200 frames of the platform game of Dubey et al., 230 x 230", "dubey", num_dev=50
    ),
    "text-goethe1809": Benchmark(
        "text_goethe1809", "pages of a book of 1809 with a box per glyph, 1782 x 1156", "text", num_dev=10
    ),
}


def names() -> list[tuple[str, str, str]]:
    """Every built-in name, what it is, and what it needs (empty: nothing)."""
    sets: list[tuple[str, Drawing | Benchmark]] = [*DRAWINGS.items(), *BENCHMARKS.items()]
    needs = {each: f"{DATA_VARIABLE} with {each}/" if each else "" for each in {known.folder for _, known in sets}}
    recorded = [(name, recording.description, "the extra 'games'") for name, recording in RECORDINGS.items()]
    return [(name, known.description, needs[known.folder]) for name, known in sets] + recorded


def open_data(
    name_or_path: str | Path,
    count: int | None = None,
    seed: int = 0,
    split: Split = "train",
    size: tuple[int, int] | None = None,
    fit: Fit = "squash",
    labels: bool = True,
    ignore: tuple[int, ...] = (),
    transparent: Transparency = None,
    pad: bool = False,
) -> LabelledSet | ImageSet:
    """Open data by path or built-in name; an existing path comes first.

    Args:
        name_or_path: A folder with `images/` and `masks/`, any folder of images (its `images/` alone, unless images lie
            directly beside that), one image, one clip, a folder with an LMDB database of images (`data.mdb`), what
            `sources.Source` reads (archives, and addresses such as s3://bucket/photos), or a name from `names()`.
        count: How many images: drawn or recorded (1000 unless given) or, of a folder, the first ones.
        seed: Which series of a drawn set, or which player.
        split: Which part; a folder has only one. Real benchmarks are trained and scored on all their
            images, so only `dev` is a part of them, but for those with published splits.
        size: Height and width of the canvas in pixels, for folders and for drawn sets that can be drawn in it; None:
            as they are.
        fit: How images get onto the canvas, for folders.
        labels: False: an `ImageSet`, as training needs.
        ignore: Mask values to be left out of every figure, for folders.
        transparent: What transparent pixels become in folders and clips without labels at their own size: a colour, "auto":
            one that no opaque pixel has (then `ImageSet.transparent` says which), or None: black.
        pad: Images of different sizes in a folder without labels, when `size` is None, are padded to the largest; else refused.

    Raises:
        DataError: There is neither such a path nor such a name, or the data cannot be used.
    """
    path, name = Path(name_or_path), str(name_or_path)
    if is_place(name_or_path):
        if is_source(name_or_path):
            source = Source(name_or_path)
            if labels and source.has_labels():
                return load_labelled_source(source, size, fit, ignore, count)
            return load_source(source, size, fit, count, transparent, pad)
        if (path / "data.mdb").is_file():
            database = load_lsun(path, size, fit, count)
            return database if labels else database.images
        if not labels or not ((path / "images").is_dir() and (path / "masks").is_dir()):
            return load_folder(image_folder(path), size, fit, count, transparent, pad)
        return load_labelled_folder(path, size, fit, ignore, count)
    if name in DRAWINGS:
        paint = draw if labels else draw_images
        return paint(name, DEFAULT_COUNT if count is None else count, seed, split, size=size)
    if name in RECORDINGS:
        frames = record(name, DEFAULT_COUNT if count is None else count, seed, split)
        return LabelledSet(frames, Labels(), name) if labels else frames
    if name in BENCHMARKS:
        found = load_benchmark(name, split=split, size=size, fit=fit, labels=labels)
        found = found if count is None else found.subset(range(min(count, len(found))))
        return found if labels else found.images
    known = [*DRAWINGS, *RECORDINGS, *BENCHMARKS]
    close = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean '{close[0]}'?" if close else f"Built-in names: {', '.join(known)}."
    raise DataError(f"data: there is no folder and no built-in data set '{name}'. {hint}")


def load_benchmark(
    name: str,
    root: str | Path | None = None,
    split: Split | Literal["all"] = "all",
    size: tuple[int, int] | None = None,
    fit: Fit = "squash",
    labels: bool = True,
) -> LabelledSet:
    """Load a real set.

    Args:
        name: A key of `BENCHMARKS`.
        root: The folder that holds the sets; None: the one that DELAMINATE_DATA names.
        split: `dev` for the first images only (30 horses, 100 of the others), else the whole set. Of sets with
            published splits, the one of this name, and `all` is `train`.
        size, fit: As in `load_folder`; for archives, the stored size is the only one.
        labels: False: the masks of sets with published splits are not read.

    Raises:
        DataError: The name is unknown, the data are not there or not in the expected layout.
    """
    if name not in BENCHMARKS:
        raise DataError(f"benchmarks: unknown name '{name}'; expected one of {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    folder = data_folder(benchmark.folder, name, root)
    if benchmark.masks in PHOTOS:
        part = "train" if split == "all" else split
        return replace(PHOTOS[benchmark.masks](folder, part, size or SIZE, fit, labels), name=name)
    if benchmark.masks in SAMPLES:
        found = SAMPLES[benchmark.masks](folder, size, fit, benchmark.num_dev if split == "dev" else None)
    elif benchmark.masks == "none":
        found = load_archive(folder / f"{benchmark.folder}.npz", size)
    else:
        found = _with_objects(load_labelled_folder(folder, size, fit, benchmark.ignore), benchmark)
    found = replace(found, name=name)
    return found.subset(range(min(benchmark.num_dev, len(found)))) if split == "dev" else found


def load_photos(
    name: str, root: str | Path | None = None, size: tuple[int, int] | None = None, fit: Fit = "squash"
) -> ImageSet:
    """Load all photos of a real set: those with masks, and those in `images_unlabelled/` beside them.

    Args:
        name, root, size, fit: As in `load_benchmark`.

    Raises:
        DataError: As `load_benchmark`, or there are no photos without masks.
    """
    known = load_benchmark(name, root, size=size, fit=fit, labels=False).images
    return known.joined(load_folder(data_folder(BENCHMARKS[name].folder, name, root) / "images_unlabelled", size, fit))


def _with_objects(labelled: LabelledSet, benchmark: Benchmark) -> LabelledSet:
    """Turn raw mask values into instances and classes."""
    values = labelled.labels.instances
    if values is None or benchmark.masks == "instances":
        return labelled
    chosen = benchmark.foreground
    front = torch.isin(values, torch.tensor(chosen)) if chosen else values > 0
    objects = torch.where(values == -1, values, front.long())
    return replace(labelled, labels=Labels(objects, values if benchmark.masks == "classes" else objects))


def load_archive(path: Path, size: tuple[int, int] | None) -> LabelledSet:
    """Read an .npz archive of `images`, (N, H, W, 3) bytes, and `labels`, their classes.

    Raises:
        DataError: It is no such archive, or its images have another size.
    """
    with reading(path, DataError, "not an archive with images and labels"):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_CACHE_BYTES:
            raise DataError(f"{path}: unpacks to {unpacked:,} bytes; expected at most {MAX_CACHE_BYTES:,}")
        with np.load(path, allow_pickle=False) as arrays:
            images = ImageSet.from_arrays(arrays["images"])
            classes = torch.from_numpy(arrays["labels"].astype(np.int64))
        if classes.shape != (len(images),):
            raise DataError(f"labels are {tuple(classes.shape)}; expected one for each of {len(images)} images")
    if size not in (None, images.size):
        raise DataError(f"{path}: images are {images.size}; asked for {size}. Leave the size out.")
    images = replace(images, names=numbered(len(images)))
    return LabelledSet(images, Labels(image_classes=classes), path.stem)

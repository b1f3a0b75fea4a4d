"""Folders of images with masks: how they are read, and how drawn sets are written."""

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Integer
from PIL import Image
from torch import Tensor

from delaminate.data.archives import ROLES, Role
from delaminate.data.folders import MAX_CACHE_BYTES, load_folder, nothing, read_all, reason_of
from delaminate.data.pictures import PictureStack
from delaminate.data.reading import MASK_SUFFIXES, Fit, fit_mask, read_mask
from delaminate.data.sets import ImageSet, LabelledSet, Labels
from delaminate.data.sources import Source
from delaminate.errors import DataError, OutputError
from delaminate.scene.canvas_map import CanvasMap

EXPORTED = "instances.png"
PARTS, INDEX = ("images", "masks", "classes"), "index.csv"
LONGEST_NUMBER = 12  # digits
HEADER = ["id", "name", "class", "foreground"]


def load_labelled_folder(
    folder: str | Path,
    size: tuple[int, int] | None = None,
    fit: Fit = "squash",
    ignore: Sequence[int] = (),
    limit: int | None = None,
    classes: str = "classes",
) -> LabelledSet:
    """Read `images/`, their `masks/` and, where it exists, `classes/`.

    A mask has the name of its image, whatever the suffixes, and the image's size in pixels; or it is `instances.png` in a
    folder of that name, as label maps are exported. Its values are taken as they are (0 background, each other value
    one object) and put on the canvas by nearest neighbour through the image's own canvas map. `index.csv` is not read.

    Args:
        folder: Holds the folders.
        size, fit, limit: As in `load_folder`.
        ignore: Values of the masks and class maps that become -1 and are left out of every figure.
        classes: Name of the folder of class maps.

    Raises:
        DataError: A folder or mask is absent, or a mask does not fit its image.
    """
    root = Path(folder)
    for name in ("images", "masks"):
        if not (root / name).is_dir():
            raise DataError(f"{root}: found no folder '{name}'; a labelled folder holds images/ and masks/")
    images = load_folder(root / "images", size, fit, limit)
    instances = _label_maps(root / "masks", images, ignore)
    class_maps = _label_maps(root / classes, images, ignore) if (root / classes).is_dir() else None
    return LabelledSet(images, Labels(instances, class_maps), root.resolve().name)


def load_labelled_source(
    source: Source,
    size: tuple[int, int] | None = None,
    fit: Fit = "squash",
    ignore: Sequence[int] = (),
    limit: int | None = None,
) -> LabelledSet:
    """Read images with the labels that lie beside them in archives: label maps, class maps, classes.

    Where one image has a kind of label, all need it: an image whose labels are missing or cannot be read is left out, and
    named in `skipped`.

    Args:
        source: Has the images.
        size, fit, limit: As in `load_folder`.
        ignore: As in `load_labelled_folder`.

    Raises:
        DataError: No image has its labels, or `size` is None and sizes differ.
    """
    roles = [role for role in ROLES[1:] if source.has(role)]
    known: dict[str, list[np.ndarray]] = {role: [] for role in roles}
    pictures = PictureStack(source.place, MAX_CACHE_BYTES, min(len(source), limit or len(source)))
    names: list[str] = []
    maps: list[CanvasMap] = []
    skipped = list(source.skipped)
    for index, read in read_all(source, range(len(source)), size, fit):
        if len(names) == limit:
            break
        try:
            if isinstance(read, DataError):
                raise read
            pixels, canvas_map = read
            if maps and pixels.shape[:2] != maps[0].canvas:
                raise DataError(
                    f"is {pixels.shape[:2]}, the others {maps[0].canvas} (height, width); give one size for all"
                )
            told = [_label_of(source, index, role, canvas_map, ignore) for role in roles]
        except DataError as error:
            skipped.append((source.full_name(index), reason_of(source, index, error)))
            continue
        pictures.add(pixels)
        names.append(source.names[index])
        maps.append(canvas_map)
        for role, label in zip(roles, told, strict=True):
            known[role].append(label)
    source.close()
    if not names:
        raise DataError(nothing(source.place, skipped))
    stacked = {role: torch.from_numpy(np.stack(found)) for role, found in known.items()}
    classes = stacked.get("class")
    labels = Labels(stacked.get("mask"), stacked.get("classes"), None if classes is None else classes.long())
    images = ImageSet(pictures.stacked()[0], tuple(names), tuple(maps), tuple(skipped))
    return LabelledSet(images, labels, PurePosixPath(source.place).stem)


def _label_of(source: Source, index: int, role: Role, canvas_map: CanvasMap, ignore: Sequence[int]) -> np.ndarray:
    if role == "class":
        return np.array(source.image_class(index))
    return _compact(_with_ignored(fit_mask(source.mask(index, role), canvas_map), ignore, canvas_map))


def _compact(labels: np.ndarray) -> np.ndarray:
    """Labels in as few bytes as hold them, so that a million maps fit into memory; signed, for -1."""
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    kinds = (np.int8, np.int16, np.int32)
    return labels.astype(next((k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max), np.int64))


def write_folder(labelled: LabelledSet, out: str | Path) -> int | None:
    """Write a set as PNG files that `load_labelled_folder` reads back exactly.

    `index.csv` with number, name, image class and share of foreground comes first, so that what an interrupted call leaves
    is known by it (`written_files`); then `images/`, `masks/`, `classes/` by zero-padded number. Files appear under their
    names only when complete.

    Returns:
        The value that stands for -1, to be given as `ignore` when the folder is read; None where no label is -1.

    Raises:
        OutputError: The folder cannot be written.
        DataError: A label does not fit into 16 bits; nothing is written then.
    """
    root = Path(out)
    known = (("masks", labelled.labels.instances), ("classes", labelled.labels.classes))
    maps = {name: values for name, values in known if values is not None}
    ignored = _value_of_ignored(maps)
    width = max(6, len(str(len(labelled))))
    try:
        for name in ("images", *maps):
            (root / name).mkdir(parents=True, exist_ok=True)
        _write_index(labelled, root / INDEX, width)
        for index in range(len(labelled)):
            pixels = labelled.images.pixels[index].permute(1, 2, 0).cpu().numpy()  # H W 3
            _save(Image.fromarray(np.ascontiguousarray(pixels)), root / "images" / f"{index:0{width}d}.png")
            for name, values in maps.items():
                _save(_mask_image(values[index], ignored), root / name / f"{index:0{width}d}.png")
    except OSError as error:
        raise OutputError(f"{root}: cannot write the data set: {error.strerror or error}") from error
    return ignored


def written_files(folder: str | Path) -> set[Path]:
    """List what `write_folder` has left in a folder, by its `index.csv`; nothing where that is not of its making."""
    root = Path(folder)
    try:
        with (root / INDEX).open(newline="", encoding="utf-8") as stream:
            header, *rows = csv.reader(stream)
    except (OSError, ValueError, csv.Error):
        return set()
    numbers = [row[0] for row in rows if row and row[0].isdecimal() and len(row[0]) <= LONGEST_NUMBER]
    if header != HEADER or len(numbers) != len(rows):
        return set()
    places = [root / part / f"{number}.png" for part in PARTS for number in numbers]
    return {path for path in (root / INDEX, *places, *map(_partial, places)) if path.is_file()}


def _label_maps(folder: Path, images: ImageSet, ignore: Sequence[int]) -> Integer[Tensor, "N H W"]:
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in MASK_SUFFIXES and path.is_file():
            relative = path.relative_to(folder)
            if path.name == EXPORTED and path.parent != folder:
                relative = relative.parent
            stem = relative.with_suffix("").as_posix()
            if stem in found:
                raise DataError(f"{folder}: '{found[stem].name}' and '{path.name}' are masks of one image")
            found[stem] = path
    placed = []
    for name, canvas_map in zip(images.names, images.canvas_maps, strict=True):
        mask = found.get(name) or found.get(Path(name).with_suffix("").as_posix())
        if mask is None:
            raise DataError(f"{folder}: there is no mask for image '{name}'; expected {name}.png")
        try:
            placed.append(_compact(_with_ignored(fit_mask(read_mask(mask), canvas_map), ignore, canvas_map)))
        except DataError as error:
            text = str(error)
            raise DataError(text if text.startswith(str(mask)) else f"{mask}: {text}") from error
    return torch.from_numpy(np.stack(placed))


def _with_ignored(placed: np.ndarray, ignore: Sequence[int], canvas_map: CanvasMap) -> np.ndarray:
    """Values to ignore become -1, except in the bars of a padded image, which are background."""
    ignored = np.isin(placed, list(ignore))
    if 0 in ignore and ignored.any():
        ignored &= fit_mask(np.ones(canvas_map.original, dtype=np.int64), canvas_map) == 1
    return np.where(ignored, -1, placed)


def _value_of_ignored(maps: dict[str, Tensor]) -> int | None:
    """Find what stands for -1: 255, or else another value that no map holds; None: no label is -1.

    Raises:
        DataError: A label does not fit into 16 bits.
    """
    held: set[int] = set()
    for name, values in maps.items():
        found = {label for labels in values for label in labels.unique().tolist()}
        if found and not -1 <= min(found) <= max(found) <= 65535:
            raise DataError(
                f"{name}: labels reach from {min(found)} to {max(found)}; a PNG holds -1 (ignored) to 65535"
            )
        held |= found
    if -1 not in held:
        return None
    free = next((value for value in (*range(255, 0, -1), *range(256, 65536)) if value not in held), None)
    if free is None:
        raise DataError("labels: every value up to 65535 is taken; none is left for the pixels to be ignored")
    return free


def _mask_image(values: Tensor, ignored: int | None) -> Image.Image:
    array = values.cpu().numpy().astype(np.int64)
    array = array if ignored is None else np.where(array == -1, ignored, array)
    return Image.fromarray(array.astype(np.uint8 if array.max() < 256 else np.uint16))


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _save(image: Image.Image, path: Path) -> None:
    image.save(_partial(path), format="PNG", compress_level=4)
    _partial(path).replace(path)


def _write_index(labelled: LabelledSet, path: Path, width: int) -> None:
    instances, image_classes = labelled.labels.instances, labelled.labels.image_classes
    with _partial(path).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        for index, name in enumerate(labelled.images.names):
            # A cell that begins like a formula would be run by a spreadsheet.
            safe = f"'{name}" if name[:1] in "=+-@" else name
            kind = "" if image_classes is None else int(image_classes[index])
            share = "" if instances is None else f"{float((instances[index] > 0).float().mean()):.4f}"
            writer.writerow([f"{index:0{width}d}", safe, kind, share])
    _partial(path).replace(path)

"""The layouts in which the papers' data sets are published, for those who have the files."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from delaminate.data.labelled import load_labelled_folder
from delaminate.data.reading import fit_image, fit_mask, read_image
from delaminate.data.real.matlab import read_matrices
from delaminate.data.sets import ImageSet, LabelledSet, Labels, natural_key, numbered
from delaminate.errors import DataError, MissingExtra, reading
from delaminate.scene.canvas_map import CanvasMap

CLEVR_BOX = (64.0, 29.0, 192.0, 192.0)  # left, top, width, height within 320 x 240
CLEVR_OBJECTS = 6
GTSRB8_CLASSES = (3, 7, 9, 11, 17, 18, 25, 35)


def load_sprites_folder(
    folder: str | Path, size: tuple[int, int] | None = None, limit: int | None = None
) -> LabelledSet:
    """Read the DTI-Sprites layout: `images/`, `masks/` and `sem_masks/` by number.

    Raises:
        DataError: As `load_labelled_folder`.
    """
    return load_labelled_folder(folder, size, limit=limit, classes="sem_masks")


def load_hdf5(
    path: str | Path, clevr: bool = False, size: tuple[int, int] | None = None, limit: int | None = None
) -> LabelledSet:
    """Read a DeepMind multi-object set converted to HDF5.

    Keys: `image` (N, H, W, 3) uint8; `mask` (N, K, H, W, 1) uint8, 0 or 255, the first the background;
    optional `visibility` (N, K) and `shape` (N, K, integers from 1), which gives the class maps.

    Args:
        path: The file.
        clevr: CLEVR6: keep scenes of at most six objects, crop rows 29 to 221 and columns 64 to 256, and
            resize to 128 x 128 unless `size` says otherwise.
        size: Height and width of the canvas in pixels; None: as stored.
        limit: Keep at most so many scenes.

    Raises:
        MissingExtra: h5py is not installed.
        DataError: The file is not in this layout.

    Reference: Kabra et al., Multi-Object Datasets, 2019; crop of Greff et al., IODINE, 2019.
    """
    try:
        h5py: Any = importlib.import_module("h5py")
    except ImportError as error:
        raise MissingExtra("reading HDF5", "bench") from error
    with reading(Path(path), DataError, "cannot be read as HDF5"), h5py.File(path, "r") as file:
        return _read_scenes(Path(path), file, clevr, (128, 128) if clevr and size is None else size, limit)


def load_svhn(path: str | Path) -> LabelledSet:
    """Read the cropped digits of SVHN: a MATLAB file with `X` (32, 32, 3, N) and `y`, where 10 means 0.

    Raises:
        DataError: The file is absent or not in this layout.

    Reference: Netzer et al., Reading Digits in Natural Images, 2011.
    """
    with reading(Path(path), DataError, "not a file of cropped SVHN digits (X and y)"):
        content = read_matrices(Path(path))
        images = ImageSet.from_arrays(np.ascontiguousarray(content["X"].transpose(3, 0, 1, 2)))
        digits = content["y"].reshape(-1).astype(np.int64)
        if len(digits) != len(images):
            raise DataError(f"{len(digits)} digits for {len(images)} images; expected one each")
    digits[digits == 10] = 0
    return LabelledSet(images, Labels(image_classes=torch.from_numpy(digits)), "svhn")


def load_gtsrb(
    folder: str | Path,
    size: tuple[int, int] = (28, 28),
    classes: Sequence[int] = GTSRB8_CLASSES,
    limit: int | None = None,
) -> LabelledSet:
    """Read GTSRB's training folder: one folder per class, `00000` and so on, of PPM files.

    The whole file is squashed to the canvas; the annotation files are not used. Class labels are places
    in `classes`, so that they count from 0.

    Raises:
        DataError: A class folder is absent or empty, or an image cannot be read.

    Reference: Stallkamp et al., Man vs. Computer, 2012.
    """
    root = Path(folder)
    pixels: list[np.ndarray] = []
    frames: list[CanvasMap] = []
    names, labels = [], []
    for label, number in enumerate(classes):
        paths = sorted((root / f"{number:05d}").glob("*.ppm"), key=lambda path: natural_key(path.name))
        if not paths:
            raise DataError(f"{root}: found no .ppm in '{number:05d}'; expected GTSRB's training folder")
        for path in paths[: None if limit is None else max(0, limit - len(pixels))]:
            canvas, canvas_map = fit_image(read_image(path, formats=("PPM",)), size)
            pixels.append(canvas)
            frames.append(canvas_map)
            names.append(path.relative_to(root).with_suffix("").as_posix())
            labels.append(label)
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()  # N 3 H W
    images = ImageSet(stacked, tuple(names), tuple(frames))
    return LabelledSet(images, Labels(image_classes=torch.tensor(labels)), "gtsrb8")


def _read_scenes(path: Path, file: Any, clevr: bool, size: tuple[int, int] | None, limit: int | None) -> LabelledSet:
    if "image" not in file or "mask" not in file:
        raise DataError(f"{path}: holds {', '.join(sorted(file))}; expected image and mask")
    image, mask = file["image"], file["mask"]
    if image.ndim != 4 or mask.ndim != 5 or mask.shape[2:4] != image.shape[1:3] or len(mask) != len(image):
        raise DataError(
            f"{path}: image is {image.shape} and mask {mask.shape}; expected (N, H, W, 3) and (N, K, H, W, 1)"
        )
    pixels: list[np.ndarray] = []
    frames: list[CanvasMap] = []
    instances: list[np.ndarray] = []
    classes: list[np.ndarray] = []
    for index in range(len(image)):
        if limit is not None and len(pixels) >= limit:
            break
        ids = np.asarray(mask[index, ..., 0]).argmax(axis=0)  # H W, the first mask is the background
        seen = np.asarray(file["visibility"][index]) if "visibility" in file else None
        objects = len(np.unique(ids[ids > 0])) if seen is None else int((seen[1:] > 0).sum())
        if clevr and objects > CLEVR_OBJECTS:
            continue
        canvas, canvas_map = _place_scene(np.asarray(image[index]), clevr, size)
        pixels.append(canvas)
        frames.append(canvas_map)
        instances.append(fit_mask(ids, canvas_map))
        if "shape" in file:
            kinds = np.asarray(file["shape"][index]).astype(np.int64).reshape(-1)
            kinds[0] = 0
            classes.append(kinds[instances[-1]])
    if not pixels:
        raise DataError(f"{path}: found no scene to keep among {len(image)}")
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()  # N 3 H W
    labels = Labels(torch.from_numpy(np.stack(instances)), torch.from_numpy(np.stack(classes)) if classes else None)
    return LabelledSet(ImageSet(stacked, numbered(len(stacked)), tuple(frames)), labels, path.stem)


def _place_scene(pixels: np.ndarray, clevr: bool, size: tuple[int, int] | None) -> tuple[np.ndarray, CanvasMap]:
    if not clevr:
        return fit_image(pixels, size or (pixels.shape[0], pixels.shape[1]))
    if pixels.shape[:2] != (240, 320):
        raise DataError(f"CLEVR: images are {pixels.shape[:2]}; expected (240, 320) for the published crop")
    left, top, width, height = (int(side) for side in CLEVR_BOX)
    canvas, canvas_map = fit_image(pixels[top : top + height, left : left + width], size or (height, width))
    return canvas, CanvasMap((240, 320), CLEVR_BOX, canvas_map.canvas)

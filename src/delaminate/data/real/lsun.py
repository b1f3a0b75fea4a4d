"""LSUN, on which PerturbGAN was trained: databases of encoded images, for those who have them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from delaminate.data.folders import MAX_CACHE_BYTES
from delaminate.data.reading import Fit, decode_image, fit_image
from delaminate.data.real.lmdb import read_values
from delaminate.data.sets import ImageSet, LabelledSet, Labels
from delaminate.errors import DataError, one_line, reading
from delaminate.scene.canvas_map import CanvasMap


def load_lsun(
    path: str | Path, size: tuple[int, int] | None = (128, 128), fit: Fit = "squash", limit: int | None = None
) -> LabelledSet:
    """Read a category of LSUN: an LMDB database whose values are encoded images. There are no labels.

    Args:
        path: The folder of `data.mdb`, or such a file.
        size: Height and width of the canvas in pixels; None: all images must share one size.
        fit: How images get onto the canvas; `squash` as in PerturbGAN's code.
        limit: Read at most so many, the first in the order of their keys; values that cannot be read are named in
            `skipped`.

    Raises:
        DataError: The path is no such database, no value can be read, the sizes differ, or there are too many images.

    Reference: Yu et al., LSUN, 2015.
    """
    where = Path(path)
    pixels: list[np.ndarray] = []
    names: list[str] = []
    frames: list[CanvasMap] = []
    skipped: list[tuple[str, str]] = []
    for name, value in _values(where):
        if limit is not None and len(pixels) >= limit:
            break
        try:
            image = decode_image(value, name)
        except DataError as error:
            skipped.append((name, str(error).removeprefix(f"{name}: ").removesuffix(".")))
            continue
        canvas, canvas_map = fit_image(image, size or (image.shape[0], image.shape[1]), fit)
        if pixels and canvas.shape != pixels[0].shape:
            raise DataError(
                f"{where}: images are of several sizes; give one for all: cut them, or choose a preset with a canvas"
            )
        if (len(pixels) + 1) * canvas.nbytes > MAX_CACHE_BYTES:
            raise DataError(
                f"{where}: more than {MAX_CACHE_BYTES >> 30} GiB of pixels; give a limit (PerturbGAN's authors took "
                "100,000 images) or a smaller size"
            )
        pixels.append(canvas)
        names.append(name)
        frames.append(canvas_map)
    if not pixels:
        raise DataError(f"{where}: none of its {len(skipped)} values is an image")
    images = replace(ImageSet.from_arrays(np.stack(pixels), names), canvas_maps=tuple(frames), skipped=tuple(skipped))
    return LabelledSet(images, Labels(), where.resolve().name)


def _values(where: Path) -> Iterator[tuple[str, bytes]]:
    """Read names and values of a database, in the order of its keys.

    Raises:
        DataError: The path is no such database.
    """
    file = where / "data.mdb" if where.is_dir() else where
    if not file.is_file():
        raise DataError(f"{where}: found no LMDB database; expected a folder with data.mdb")
    with reading(file, DataError, "cannot be read as LMDB"):
        for key, value in read_values(file):
            yield one_line(key.decode("ascii", "backslashreplace")), value

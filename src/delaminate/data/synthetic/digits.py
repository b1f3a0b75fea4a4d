"""Two coloured digits on a coloured background, drawn from the files of MNIST: three regions in every image."""

import functools
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from delaminate.data.real.root import data_folder
from delaminate.data.synthetic.drawing import Drawing, Map, Painter, Raster
from delaminate.errors import DataError, reading

MNIST_FOLDER = "mnist"
DIGIT = 28  # side of a digit in the files, in pixels
NUM_DEV = 10_000  # the last training digits are the development part
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049
LARGEST_IDX = 2**28  # bytes, unpacked; MNIST's largest has 47 million


def read_idx(path: str | Path) -> UInt8[np.ndarray, "*_"]:
    """Read a gzip-compressed IDX file of bytes, the format of MNIST.

    Raises:
        DataError: The file is absent or no such file.

    Reference: LeCun, Cortes and Burges, The MNIST Database of Handwritten Digits, 1998.
    """
    with (
        reading(Path(path), DataError, "cannot be read as gzip; expected a file of MNIST"),
        gzip.open(path, "rb") as file,
    ):
        content = file.read(LARGEST_IDX + 1)
        if len(content) > LARGEST_IDX:
            raise DataError(f"{path}: unpacks to more than {LARGEST_IDX:,} bytes; expected a file of MNIST")
    magic = int.from_bytes(content[:4], "big")
    if magic not in (IMAGES_MAGIC, LABELS_MAGIC):
        raise DataError(f"{path}: begins with {magic}; expected {IMAGES_MAGIC} (images) or {LABELS_MAGIC} (labels)")
    axes = magic & 255
    shape = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes)]
    values = np.frombuffer(content, dtype=np.uint8, offset=min(len(content), 4 + 4 * axes))
    if len(values) != int(np.prod(shape)):
        raise DataError(f"{path}: says {shape} and holds {len(values)} bytes; the file is cut off or damaged")
    return values.reshape(shape)


def digit_masks(
    split: str, side: int, root: str | Path | None = None
) -> tuple[Bool[np.ndarray, "E s s"], Bool[np.ndarray, "O s s"]]:
    """The even and the odd digits of a split.

    Args:
        split: `train`: MNIST's training digits but the last 10,000; `dev`: those; `test`: its test digits.
        side: Pixels: 28 (binarised at one half), a multiple of it (each pixel repeated) or a divisor of it (mean over
            the pixels, then binarised at one half).
        root: The folder that holds `mnist/`; None: the one that DELAMINATE_DATA names.

    Raises:
        DataError: The files are absent or damaged.
    """
    return _digit_masks(str(data_folder(MNIST_FOLDER, "colored-2-mnist", root)), split, side)


@functools.lru_cache(maxsize=4)
def _digit_masks(folder: str, split: str, side: int) -> tuple[np.ndarray, np.ndarray]:
    part = "t10k" if split == "test" else "train"
    pixels = read_idx(Path(folder) / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(Path(folder) / f"{part}-labels-idx1-ubyte.gz")
    if pixels.shape != (len(labels), DIGIT, DIGIT) or labels.ndim != 1:
        raise DataError(
            f"{folder}: images of {part} are {pixels.shape}, labels {labels.shape}; expected (N, {DIGIT}, {DIGIT}), (N,)"
        )
    if split != "test":
        kept = slice(-NUM_DEV, None) if split == "dev" else slice(None, -NUM_DEV)
        pixels, labels = pixels[kept], labels[kept]
    even, odd = pixels[labels % 2 == 0], pixels[labels % 2 == 1]
    if not len(even) or not len(odd):
        raise DataError(f"{folder}: {part} has {len(labels)} digits for {split}; expected even and odd ones")
    return _binarised(even, side), _binarised(odd, side)


def _binarised(pixels: UInt8[np.ndarray, "N 28 28"], side: int) -> Bool[np.ndarray, "N s s"]:
    if side < DIGIT:
        step = DIGIT // side
        means = pixels.reshape(len(pixels), side, step, side, step).mean(axis=(2, 4), dtype=np.float32)
        return np.asarray(means >= 127.5)
    return np.asarray((pixels >= 128).repeat(side // DIGIT, axis=1).repeat(side // DIGIT, axis=2))


def two_digits(split: str) -> Painter:
    """The painter of one even and one odd digit of a split, at any place and either in front.

    Replica of the colored-2-MNIST of ReDO's code, at any size: digits measure 0.4375 of the side (28 of 64 pixels);
    offsets are uniform from 0 to that side less the digit's less one; the background has red and green alike from a third
    to two thirds, even digits green and blue below a third, odd ones red and blue above two thirds.

    Departs: digits are MNIST's own pixels at 64 x 64, where the original enlarges all of them by 2 to 128 x 128; the
    even and odd digits of a scene are drawn at random, not in the order of the files; there are development scenes.
    """
    masks: Callable[[int], tuple[np.ndarray, np.ndarray]] = functools.cache(lambda side: digit_masks(split, side))

    def paint(rng: np.random.Generator, pixels: Raster, instances: Map, classes: Map) -> None:
        canvas = instances.shape[0]
        side = canvas * 7 // 16
        background, even, odd = rng.random((3, 3)) / 3 + np.array([[1], [0], [2]]) / 3
        background[0], even[1], odd[0] = background[1], even[2], odd[2]
        pixels[:] = _bytes(background)
        pair = [(1, even), (2, odd)]
        for region, colour in pair if rng.random() < 0.5 else pair[::-1]:
            kind = masks(side)[region - 1]
            mask = kind[int(rng.integers(len(kind)))]
            top, left = rng.integers(0, canvas - side, 2).tolist()
            window = slice(top, top + side), slice(left, left + side)
            np.copyto(pixels[:, *window], _bytes(colour), where=mask)
            np.copyto(instances[window], region, where=mask)
        classes[:] = instances

    return paint


def _bytes(colour: np.ndarray) -> UInt8[np.ndarray, "3 1 1"]:
    return np.rint(255 * colour).astype(np.uint8)[:, None, None]


DIGITS = {
    "colored-2-mnist": Drawing(
        (64, 64),
        "an even and an odd digit of MNIST on colour, 64 x 64 (32 to 128; replica)",
        paint_split=two_digits,
        folder=MNIST_FOLDER,
        sizes=((32, 32), (64, 64), (128, 128)),
        regions=3,
    )
}

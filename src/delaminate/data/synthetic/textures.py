"""Backgrounds for objects: textures that are drawn, and crops of photos.

Two colours of every texture are far apart, so that colour alone does not tell an object from what is behind it.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from delaminate.data.labelled import load_labelled_folder
from delaminate.data.real.root import data_folder
from delaminate.data.synthetic.drawing import Raster

Weight = Float32[np.ndarray, "S S"]
Background = Callable[[np.random.Generator, int], Raster]

FAR_APART = 0.55  # distance of the two colours of a texture, of at most sqrt(3)
PHOTO_SIDE = 128
PHOTOS_FOLDER = "ecssd"
CROP_SIDES = (40, 96)  # pixels of a photo
CROP_TRIES = 8
FREE = 0.02  # share of a crop that may show the photo's own object


def texture(rng: np.random.Generator, side: int) -> Raster:
    """One of five kinds of texture in random colours, with a little noise and uneven light.

    Args:
        rng: Draws the kind and all else.
        side: Height and width in pixels; the size of the pattern goes with it.
    """
    kind = KINDS[int(rng.integers(len(KINDS)))]
    one, other = _two_colours(rng)
    weight = kind(rng, side)
    colour = one + weight[..., None] * (other - one)  # S S 3
    # Each channel has a drift of its own, so that neither of the two colours is one colour.
    drift = np.stack([_waves(rng, side, 3) for _ in range(3)], axis=-1) - 0.5
    grain = rng.normal(0, 0.04, (side, side, 1)).astype(np.float32)
    colour = colour + float(rng.uniform(0.15, 0.45)) * drift + grain
    return np.rint(255 * colour.clip(0, 1)).astype(np.uint8).transpose(2, 0, 1)


def _two_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    while True:
        one, other = rng.uniform(0.05, 0.95, (2, 3)).astype(np.float32)
        if np.linalg.norm(one - other) >= FAR_APART:
            return one, other


def _waves(rng: np.random.Generator, side: int, cells: int) -> Weight:
    """Smooth noise in [0, 1] with so many random values on a side."""
    grid = Image.fromarray(rng.random((cells + 1, cells + 1), dtype=np.float32))
    return np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)).clip(0, 1)


def _cloudy(rng: np.random.Generator, side: int) -> Weight:
    """Smooth noise at two scales, its contrast raised."""
    coarse = int(rng.integers(2, 5))
    both = 0.65 * _waves(rng, side, coarse) + 0.35 * _waves(rng, side, min(3 * coarse, side // 2))
    return _steep(both - np.float32(both.mean()), 6.0)


def _striped(rng: np.random.Generator, side: int) -> Weight:
    """Stripes of any direction, straight or wavy, hard or soft."""
    along = _direction(rng, side) + float(rng.uniform(0, 0.5)) * _waves(rng, side, 3)
    return _steep(np.sin(2 * np.pi * (rng.uniform(2.5, 6) * along + rng.random())), float(rng.uniform(1.5, 6)))


def _checked(rng: np.random.Generator, side: int) -> Weight:
    """Squares or lozenges in turn."""
    angle, per_side = rng.uniform(0, np.pi / 2), rng.uniform(1.5, 4)
    first = np.sin(2 * np.pi * (per_side * _direction(rng, side, angle) + rng.random()))
    second = np.sin(2 * np.pi * (per_side * _direction(rng, side, angle + np.pi / 2) + rng.random()))
    return _steep(first * second, 8.0)


def _speckled(rng: np.random.Generator, side: int) -> Weight:
    """Dots of a few pixels, dense or sparse."""
    dots = _waves(rng, side, min(int(rng.integers(7, 14)), side // 2))
    return _steep(dots - np.float32(np.quantile(dots, rng.uniform(0.4, 0.7))), 14.0)


def _graded(rng: np.random.Generator, side: int) -> Weight:
    """From one colour to the other across the image, with a fine pattern on top."""
    along = _direction(rng, side)
    share = (along - along.min()) / np.float32(along.max() - along.min())
    fine = np.sin(2 * np.pi * float(rng.uniform(3, 6)) * _direction(rng, side)) * float(rng.uniform(0.1, 0.3))
    return np.asarray(share + fine + 0.4 * (_waves(rng, side, min(8, side // 2)) - 0.5)).clip(0, 1)


def _direction(rng: np.random.Generator, side: int, angle: float | None = None) -> Weight:
    """How far a pixel lies along a direction, in sides of the image."""
    turned = rng.uniform(0, np.pi) if angle is None else angle
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side
    return np.float32(np.cos(turned)) * axis + np.float32(np.sin(turned)) * axis[:, None]


def _steep(values: np.ndarray, slope: float) -> Weight:
    """Push values around 0 towards 0 and 1."""
    return (0.5 + 0.5 * np.tanh(slope * values)).astype(np.float32)


KINDS: tuple[Callable[[np.random.Generator, int], Weight], ...] = (_cloudy, _striped, _checked, _speckled, _graded)


def photo_crops(split: str, asked_by: str) -> Background:
    """What cuts backgrounds out of the photos of a split, next to the objects that the photos show themselves.

    Of ten photos in the order of their names, the first two belong to the test scenes, the third to the development
    scenes. A crop is the first of eight random ones in which at most 2 % is marked as the photo's object, else
    the one with least of it.

    Raises:
        DataError: DELAMINATE_DATA is not set or does not hold the photos.
    """
    photos, objects = _photos(str(data_folder(PHOTOS_FOLDER, asked_by)), split)

    def crop(rng: np.random.Generator, side: int) -> Raster:
        best, box = 2.0, (0, 0, 0, 0)
        for _ in range(CROP_TRIES):
            index, length = int(rng.integers(len(photos))), int(rng.integers(*CROP_SIDES))
            top, left = rng.integers(0, PHOTO_SIDE - length + 1, 2).tolist()
            share = float(objects[index, top : top + length, left : left + length].mean())
            if share < best:
                best, box = share, (index, top, left, length)
            if best <= FREE:
                break
        index, top, left, length = box
        cut = Image.fromarray(photos[index, top : top + length, left : left + length])
        shown = np.asarray(cut.resize((side, side), Image.Resampling.BILINEAR))
        return (shown[:, ::-1] if rng.random() < 0.5 else shown).transpose(2, 0, 1)

    return crop


@functools.lru_cache(maxsize=3)
def _photos(folder: str, split: str) -> tuple[UInt8[np.ndarray, "N 128 128 3"], UInt8[np.ndarray, "N 128 128"]]:
    found = load_labelled_folder(Path(folder), (PHOTO_SIDE, PHOTO_SIDE))
    parts = {"test": (0, 1), "dev": (2,)}.get(split, tuple(range(3, 10)))
    order = sorted(range(len(found)), key=lambda index: found.images.names[index])
    kept = [index for place, index in enumerate(order) if place % 10 in parts]
    assert found.labels.instances is not None
    marked = (found.labels.instances[kept] > 0).numpy().astype(np.uint8)
    return found.images.pixels[kept].permute(0, 2, 3, 1).contiguous().numpy(), marked

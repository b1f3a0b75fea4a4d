"""Maps drawn of tiles whose size, origin, orientations and palettes are known."""

from dataclasses import dataclass

import numpy as np

from delaminate.files import from_pixels
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform


def oriented(picture, orientation):
    """Turn a picture as Tiled's bits say: 1 transposes it first, then 4 flips it left to right, 2 top to bottom."""
    if orientation & 1:
        picture = picture.swapaxes(0, 1)
    if orientation & 4:
        picture = picture[:, ::-1]
    return picture[::-1] if orientation & 2 else picture


def drawn_tile(rng, size, colours):
    """A tile as people draw them: a ground of one colour, bars, blots and a few single pixels of a small palette."""
    height, width = size
    index = np.zeros(size, np.int64)
    for _ in range(rng.integers(2, 6)):
        top, left = rng.integers(0, height), rng.integers(0, width)
        tall, wide = rng.integers(1, height // 2 + 1), rng.integers(1, width // 2 + 1)
        index[top : top + tall, left : left + wide] = rng.integers(len(colours))
    count = max(3, height * width // 24)
    index[rng.integers(0, height, count), rng.integers(0, width, count)] = rng.integers(0, len(colours), count)
    return index


@dataclass
class DrawnMap:
    """picture: UInt8[H W 3]; size (height, width) of a tile; origin (top, left) of the first cell, cut where below 0."""

    picture: np.ndarray
    size: tuple[int, int]
    origin: tuple[int, int]
    tiles: int


def draw_map(
    rng,
    size=(16, 16),
    canvas=(240, 320),
    tiles=14,
    orientations=8,
    palettes=2,
    flat=0.2,
    runs=0.0,
    spacing=0,
    origin=None,
):
    """Fill a canvas with tiles in random places.

    Args:
        orientations: 1, 4 (flips) or 8; transposed only where tiles are square.
        palettes: How many palettes every tile is shown in.
        flat: Share of cells that show an empty sky.
        runs: Chance that a cell repeats its left neighbour.
        spacing: Pixels of one colour between tiles.
    """
    height, width = size
    pitch = height + spacing, width + spacing
    if origin is None:
        origin = -int(rng.integers(0, height)), -int(rng.integers(0, width))
    colours = rng.integers(0, 256, (palettes, 6, 3)).astype(np.uint8)
    drawings = [drawn_tile(rng, size, colours[0]) for _ in range(tiles)]
    rows, columns = (-(-(canvas[axis] - origin[axis]) // pitch[axis]) for axis in (0, 1))
    sky, between = rng.integers(0, 256, (2, 3)).astype(np.uint8)
    whole = np.empty((rows * pitch[0], columns * pitch[1], 3), np.uint8)
    whole[:] = between
    choices = [o for o in range(8) if orientations == 8 or (orientations == 4 and not o & 1) or o == 0]
    if height != width:
        choices = [o for o in choices if not o & 1]
    for row in range(rows):
        last = None
        for column in range(columns):
            if last is None or rng.random() >= runs:
                if rng.random() < flat:
                    last = np.broadcast_to(sky, (*size, 3))
                else:
                    drawing = colours[rng.integers(palettes)][drawings[rng.integers(tiles)]]
                    last = oriented(drawing, choices[rng.integers(len(choices))])
            whole[row * pitch[0] :, column * pitch[1] :][:height, :width] = last
    picture = whole[-origin[0] :, -origin[1] :][: canvas[0], : canvas[1]]
    return DrawnMap(np.ascontiguousarray(picture), size, origin, tiles)


def add_sprites(rng, picture, count, size=(12, 14)):
    """Put sprites of random pixels on a picture, at free places."""
    picture = picture.copy()
    sprite = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    for _ in range(count):
        top, left = (int(rng.integers(0, picture.shape[axis] - size[axis])) for axis in (0, 1))
        picture[top : top + size[0], left : left + size[1]] = sprite
    return picture


def generator(seed):
    return np.random.Generator(np.random.PCG64(seed))


def opaque(picture):
    return from_pixels(np.concatenate([picture, np.full((*picture.shape[:2], 1), 255, np.uint8)], -1))


def over_backgrounds(pictures, corners, size, names, sprites=(), placed=None):
    """Scenes on backgrounds: for each scene which picture, and where the canvas lies on it."""
    first = len(sprites)
    dictionary = Dictionary((*sprites, *map(opaque, pictures)), tuple(range(first, first + len(pictures))))
    images = []
    for number, (which, top, left) in enumerate(corners):
        background = Placement(first + which, (Transform.shift(-left, -top, size),))
        images.append((background, *(placed[number] if placed else ())))
    return Decomposition(dictionary, tuple(images), size, True).scenes(names)

"""Scenes drawn with known layers: our replicas of published sets that cannot be had offline, and a clip of our own.

Image `i` of a (name, split, seed) is the same everywhere, however many are drawn: each has a random
stream of its own; in a clip, all frames of a seed show one world. The streams of the three splits are disjoint.
"""

import colorsys
import difflib
import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from delaminate.data.sets import ImageSet, LabelledSet, Labels, numbered
from delaminate.data.synthetic.digits import DIGITS
from delaminate.data.synthetic.drawing import Drawing, Map, Raster
from delaminate.data.synthetic.objects import OBJECTS
from delaminate.data.synthetic.platforms import GAMES
from delaminate.data.synthetic.scroller import CLIPS
from delaminate.errors import DataError
from delaminate.rng import numpy_stream

Split = Literal["train", "dev", "test"]
SPLITS = ("train", "dev", "test")


def draw(
    name: str,
    count: int,
    seed: int = 0,
    split: Split = "train",
    start: int = 0,
    size: tuple[int, int] | None = None,
) -> LabelledSet:
    """Draw `count` scenes with their labels.

    Args:
        name: A key of `DRAWINGS`.
        count: How many scenes, or frames of a clip.
        seed: Which series, or which clip.
        split: Training, development or test; only the benchmark opens the test scenes.
        start: The number of the first scene in its series.
        size: Height and width of the canvas in pixels, one that the drawing can do; None: its own.

    Returns:
        Scenes with exact visible masks in `instances` (1, 2, ... from back to front; in a clip, numbers that
        an object keeps; where all scenes have the same regions, the number of the region) and `classes`.

    Raises:
        DataError: The name or split is unknown, a number is negative, the drawing cannot be done in this size, or
            files are to be read that are absent.
    """
    images, labels = _paint(name, count, seed, split, start, size, labels=True)
    assert labels is not None
    return LabelledSet(images, labels, name, replica=DRAWINGS[name].replica)


def draw_images(
    name: str,
    count: int,
    seed: int = 0,
    split: Split = "train",
    start: int = 0,
    size: tuple[int, int] | None = None,
) -> ImageSet:
    """Draw the scenes of `draw` without keeping labels: all a training needs, in a tenth of the memory."""
    return _paint(name, count, seed, split, start, size, labels=False)[0]


def true_sprites(name: str) -> tuple[Float[Tensor, "4 _h _w"], ...]:
    """The sprites that a set is drawn from, RGBA in [0, 1]: to measure dictionaries with, and for nothing else.

    Raises:
        DataError: The name is unknown, its sprites are not fixed, or they are to be read and absent.
    """
    drawing = _drawing(name)
    if drawing.sprites is None:
        having = ", ".join(each for each, drawing in DRAWINGS.items() if drawing.sprites is not None)
        raise DataError(f"synthetic: '{name}' is not drawn from fixed sprites; these are: {having}")
    stacked = (np.concatenate([stamp.rgb, stamp.alpha[None]]) for stamp in drawing.sprites())
    return tuple(torch.from_numpy(rgba).float() / 255 for rgba in stacked)


def _drawing(name: str) -> Drawing:
    if name not in DRAWINGS:
        close = difflib.get_close_matches(name, DRAWINGS, 1)
        hint = f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(DRAWINGS)}."
        raise DataError(f"synthetic: unknown name '{name}'.{hint}")
    return DRAWINGS[name]


def _paint(
    name: str, count: int, seed: int, split: Split, start: int, size: tuple[int, int] | None, labels: bool
) -> tuple[ImageSet, Labels | None]:
    drawing = _drawing(name)
    if split not in SPLITS:
        raise DataError(f"synthetic: split is '{split}'; expected one of {', '.join(SPLITS)}")
    if count < 0 or start < 0:
        raise DataError(f"synthetic: count is {count} and start {start}; neither can be negative")
    canvas = drawing.canvas(name, size)
    pixels = np.zeros((count, 3, *canvas), dtype=np.uint8)
    # Without labels, one pair of maps serves all scenes.
    instances = np.zeros((count if labels else 1, *canvas), dtype=np.int64)
    classes = np.zeros_like(instances)
    film = None if drawing.film is None else drawing.film(numpy_stream(name, split, seed))
    paint = drawing.paint if drawing.paint_split is None else drawing.paint_split(split)
    for index in range(count):
        maps = instances[index if labels else 0], classes[index if labels else 0]
        if film is not None:
            film(start + index, pixels[index], *maps)
        else:
            assert paint is not None
            paint(numpy_stream(name, split, seed, start + index), pixels[index], *maps)
    images = replace(ImageSet.from_arrays(pixels, numbered(count, start)), rate=drawing.rate)
    if not labels:
        return images, None
    return images, Labels(torch.from_numpy(instances), torch.from_numpy(classes), regions=drawing.regions)


# Tetrominoes ------------------------------------------------------------------------------------------

CELL = np.array(
    [
        [191, 255, 255, 255, 223],
        [127, 159, 159, 159, 191],
        [127, 159, 159, 159, 191],
        [127, 159, 159, 159, 191],
        [95, 63, 63, 63, 127],
    ],
    dtype=np.uint8,
)
COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "magenta": (1, 0, 1),
    "cyan": (0, 1, 1),
}
PIECES = ("####", "##/##", "###/.#.", ".##/##.", "##./.##", "###/..#", "###/#..")


def tetromino_cells(piece: str) -> list[Bool[np.ndarray, "_ _"]]:
    """The distinct quarter turns of a piece written as rows of `#`.

    >>> [len(tetromino_cells(piece)) for piece in PIECES]
    [2, 1, 4, 2, 2, 4, 4]
    """
    cells = np.array([[cell == "#" for cell in row] for row in piece.split("/")])
    turns: dict[tuple[tuple[int, ...], bytes], np.ndarray] = {}
    for quarter in range(4):
        turned = np.rot90(cells, quarter)
        turns.setdefault((turned.shape, turned.tobytes()), turned)
    return list(turns.values())


@functools.cache
def tetromino_stencils() -> tuple[UInt8[np.ndarray, "_ _"], ...]:
    """The 19 pieces as bevelled grey levels, 0 outside; entry k has class k + 1."""
    turned = [cells for piece in PIECES for cells in tetromino_cells(piece)]
    return tuple(np.kron(cells.astype(np.uint8), CELL) for cells in turned)


@functools.cache
def _tetromino_sprites() -> tuple[tuple[UInt8[np.ndarray, "3 _ _"], ...], ...]:
    """Every piece in every colour."""
    colours = [np.array(colour, dtype=np.uint8)[:, None, None] for colour in COLOURS.values()]
    return tuple(tuple(colour * stencil for colour in colours) for stencil in tetromino_stencils())


@functools.cache
def _tetromino_masks() -> tuple[UInt8[np.ndarray, "_ _"], ...]:
    return tuple((stencil > 0).astype(np.uint8) for stencil in tetromino_stencils())


def _paint_tetrominoes(rng: np.random.Generator, pixels: Raster, instances: Map, classes: Map) -> None:
    """Three pieces that do not overlap, on black, 35 x 35 pixels.

    Replica of DeepMind's Tetrominoes, whose ten public images it reproduces pixel by pixel when told
    pieces, colours and places. Departs: the 19 fixed tetrominoes are drawn, each equally often; the
    original's README counts 17 shapes and does not name them. Places are redrawn, all three, until
    no piece covers another, so that every arrangement that fits is equally likely.
    """
    masks = _tetromino_masks()
    entries, colours = rng.integers(len(masks), size=3).tolist(), rng.integers(len(COLOURS), size=3).tolist()
    windows = _free_places(rng, [masks[entry] for entry in entries], instances.shape)
    for number, (entry, colour, window) in enumerate(zip(entries, colours, windows, strict=True), start=1):
        pixels[:, *window] += _tetromino_sprites()[entry][colour]
        instances[window] += masks[entry].astype(np.int64) * number
        classes[window] += masks[entry].astype(np.int64) * (entry + 1)


def _free_places(
    rng: np.random.Generator, masks: Sequence[UInt8[np.ndarray, "_ _"]], size: tuple[int, int]
) -> list[tuple[slice, slice]]:
    """A place inside the canvas for every mask, such that none overlap."""
    while True:
        cover = np.zeros(size, dtype=np.uint8)
        windows = []
        for mask, (down, right) in zip(masks, rng.random((len(masks), 2)).tolist(), strict=True):
            rows, columns = mask.shape
            top, left = int(down * (size[0] - rows + 1)), int(right * (size[1] - columns + 1))
            windows.append((slice(top, top + rows), slice(left, left + columns)))
            cover[windows[-1]] += mask
        if cover.max() == 1:
            return windows


# Multi-dSprites ---------------------------------------------------------------------------------------

SHAPES = ("square", "ellipse", "heart")
SCALES = np.linspace(0.5, 1, 6)
ORIENTATIONS = np.arange(40) * (2 * np.pi / 40)
POSITIONS = np.linspace(0, 1, 32)
SHAPE_RADIUS = 16.0  # pixels that no shape exceeds at scale 1
MARGIN = 16.0  # pixels from the canvas edge to the first position


def shape_mask(shape: str, x: np.ndarray, y: np.ndarray, scale: float, orientation: float) -> Bool[np.ndarray, "h w"]:
    """Which points lie in a shape.

    Args:
        shape: `square` (side 22 pixels at scale 1), `ellipse` (axes 30 and 16) or `heart`
            ((u^2 + v^2 - 1)^3 <= u^2 v^3, 25 pixels wide).
        x, y: Coordinates from the shape's centre in pixels, x right, y down.
        scale: 0.5 to 1.
        orientation: Radians, clockwise on the screen.
    """
    cosine, sine = np.cos(orientation) / scale, np.sin(orientation) / scale
    u, v = cosine * x + sine * y, cosine * y - sine * x
    if shape == "square":
        return np.asarray(np.maximum(np.abs(u), np.abs(v)) <= 11)
    if shape == "ellipse":
        return np.asarray((u / 15) ** 2 + (v / 8) ** 2 <= 1)
    u, v = u / 11, -v / 11
    return np.asarray((u * u + v * v - 1) ** 3 <= u * u * v**3)


def _paint_dsprites(
    rng: np.random.Generator,
    pixels: Raster,
    instances: Map,
    classes: Map,
    counts: tuple[int, int],
    colourful: bool,
) -> None:
    """Overlapping flat shapes on a flat background, 64 x 64 pixels, back to front, without anti-aliasing.

    Replica of DeepMind's Multi-dSprites: 2 to 5 shapes of random HSV colour on grey, or 1 to 4 of random
    RGB colour on random colour (its README); scale, orientation and position take dSprites' values.
    Departs, where nothing is published: the shapes' sizes in pixels are ours, centres lie 16 to 48
    pixels from the edge, hue is uniform and saturation and value are uniform in [0.5, 1].
    A shape may be hidden altogether; its number is then absent from the labels.
    """
    canvas = instances.shape[0]
    level = rng.integers(0, 256, 3) if colourful else np.full(3, rng.integers(0, 256))
    pixels[:] = level.astype(np.uint8)[:, None, None]
    for number in range(1, int(rng.integers(counts[0], counts[1] + 1)) + 1):
        kind = int(rng.integers(len(SHAPES)))
        scale, orientation = SCALES[rng.integers(6)], ORIENTATIONS[rng.integers(40)]
        x, y = MARGIN + (canvas - 2 * MARGIN) * POSITIONS[rng.integers(0, 32, 2)]
        colour = rng.integers(0, 256, 3) if colourful else _vivid(rng)
        # Only the window that the shape can reach is tested, at pixel centres.
        columns = np.arange(int(x - SHAPE_RADIUS), min(canvas, int(x + SHAPE_RADIUS) + 1))
        rows = np.arange(int(y - SHAPE_RADIUS), min(canvas, int(y + SHAPE_RADIUS) + 1))[:, None]
        mask = shape_mask(SHAPES[kind], columns + 0.5 - x, rows + 0.5 - y, scale, orientation)
        window = (slice(rows[0, 0], rows[-1, 0] + 1), slice(columns[0], columns[-1] + 1))
        pixels[:, *window][:, mask] = colour.astype(np.uint8)[:, None]
        instances[window][mask] = number
        classes[window][mask] = kind + 1


def _vivid(rng: np.random.Generator) -> np.ndarray:
    hue, saturation, value = rng.random(3)
    colour = colorsys.hsv_to_rgb(hue, 0.5 + saturation / 2, 0.5 + value / 2)
    return np.asarray(np.rint(255 * np.array(colour)))


DRAWINGS: dict[str, Drawing] = {
    "tetrominoes": Drawing((35, 35), "three bevelled pieces on black, 35 x 35 (replica)", _paint_tetrominoes),
    "multi-dsprites": Drawing(
        (64, 64),
        "2 to 5 overlapping coloured shapes on grey, 64 x 64 (replica)",
        functools.partial(_paint_dsprites, counts=(2, 5), colourful=False),
    ),
    "multi-dsprites-colour": Drawing(
        (64, 64),
        "1 to 4 overlapping shapes on colour, 64 x 64 (replica)",
        functools.partial(_paint_dsprites, counts=(1, 4), colourful=True),
    ),
    **GAMES,
    **CLIPS,
    **DIGITS,
    **OBJECTS,
}

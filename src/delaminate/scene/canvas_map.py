"""Canvas maps: how an image of any size sits on a model's canvas, and the exact way back."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from delaminate.errors import ShapeError

LARGEST_STEP = 64.0
Pair = tuple[float, float]


def block_starts(step: float, phase: float, length: int) -> np.ndarray:
    """Say at which pixels the blocks of an axis begin: 0 and every later boundary, rounded as scalers round.

    >>> block_starts(2.5, 0.0, 10).tolist(), block_starts(3.0, 1.0, 10).tolist()
    ([0, 2, 5, 7], [0, 1, 4, 7])

    Args:
        step: Pixels from one boundary to the next, at least 1.
        phase: Where the first one lies, in [0, step).
        length: Pixels of the axis.
    """
    places = np.ceil(phase + step * np.arange(int((length - phase) / step) + 2) - 0.5 - 1e-6).astype(np.int64)
    return np.unique(np.concatenate([[0], places[(places > 0) & (places < length)]]))


@dataclass(frozen=True)
class Blocks:
    """An original that is made of blocks of equal pixels, one for each canvas pixel: enlarged pixel art.

    Attributes:
        step: Height and width of a block in pixels of the original; broken where blocks are not all of one size.
        phase: Where the first boundary between blocks lies below and right of the box's corner, in [0, step): blocks at the
            border may be cut.
        box: Top, left, bottom and right of the part of the original that consists of blocks.
        original: Height and width of the original.
    """

    step: Pair
    phase: Pair
    box: tuple[int, int, int, int]
    original: tuple[int, int]

    def __post_init__(self) -> None:
        top, left, bottom, right = self.box
        inside = 0 <= top < bottom <= self.original[0] and 0 <= left < right <= self.original[1]
        steps = all(
            1 <= step <= LARGEST_STEP and 0 <= phase < step for step, phase in zip(self.step, self.phase, strict=True)
        )
        if not inside or not steps:
            raise ShapeError(
                f"Blocks: step {self.step}, phase {self.phase} and box {self.box} of {self.original}; expected steps of 1 to "
                f"{LARGEST_STEP:g}, phases from 0 to below them, and a box inside."
            )

    @cached_property
    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the original at which blocks begin, and at last where the last one ends."""
        top, left, bottom, right = self.box
        rows = top + block_starts(self.step[0], self.phase[0], bottom - top)
        columns = left + block_starts(self.step[1], self.phase[1], right - left)
        return np.append(rows, bottom), np.append(columns, right)

    @property
    def canvas(self) -> tuple[int, int]:
        """How many blocks there are, down and across."""
        return len(self.edges[0]) - 1, len(self.edges[1]) - 1

    @property
    def is_regular(self) -> bool:
        """Whether all blocks that are not cut at the border have one size."""
        return all(
            step == round(step) and phase == round(phase) for step, phase in zip(self.step, self.phase, strict=True)
        )

    @property
    def corner(self) -> Pair:
        """Top and left of the first block, where it would begin if it were not cut."""
        return tuple(  # type: ignore[return-value]
            begin + (phase - step if phase > 0.5 else phase)
            for begin, step, phase in zip(self.box[:2], self.step, self.phase, strict=True)
        )


Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Margins:
    """Uniform rows and columns around a picture: black bars, a window's frame.

    Attributes:
        top, bottom: The colour of each row, over the whole width.
        left, right: The colour of each column, between them.
    """

    top: tuple[Colour, ...] = ()
    left: tuple[Colour, ...] = ()
    bottom: tuple[Colour, ...] = ()
    right: tuple[Colour, ...] = ()

    def picture(self, size: tuple[int, int]) -> np.ndarray:
        """Paint them: RGBA (H, W, 4) in [0, 1], transparent inside."""
        height, width = size
        out = np.zeros((height, width, 4), np.float32)
        inner = slice(len(self.top), height - len(self.bottom))
        for at, colour in enumerate(self.left):
            out[inner, at] = (*(part / 255 for part in colour), 1)
        for at, colour in enumerate(self.right):
            out[inner, width - len(self.right) + at] = (*(part / 255 for part in colour), 1)
        for at, colour in enumerate(self.top):
            out[at] = (*(part / 255 for part in colour), 1)
        for at, colour in enumerate(self.bottom):
            out[height - len(self.bottom) + at] = (*(part / 255 for part in colour), 1)
        return out


@dataclass(frozen=True)
class Light:
    """How a page is lit: the colour of its paper, which is white on the canvas, on a grid from corner to corner.

    Attributes:
        colours: The paper's colour in 0..255 at the grid's points, row by row.
    """

    colours: tuple[tuple[Colour, ...], ...]

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.colours}
        if len(widths) != 1 or 0 in widths:
            raise ShapeError(f"Light: rows of {sorted(widths)} colours; expected rows of one length.")

    @cached_property
    def _grid(self) -> np.ndarray:
        return np.array(self.colours, np.float32) / 255

    def over(self, size: tuple[int, int]) -> np.ndarray:
        """The paper of a page of `size` (H, W): float32 (H, W, 3) in [0, 1], linear between the grid's points."""
        return self._between(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))

    def gain(self, place: Pair, size: tuple[int, int]) -> tuple[float, float, float]:
        """By how much light dims what lies at a place (x, y) of a page of `size`: a factor a channel."""
        down, across = (
            np.array([min(max((at - 0.5) / max(length - 1, 1), 0.0), 1.0)])
            for at, length in zip((place[1], place[0]), size, strict=True)
        )
        red, green, blue = self._between(down, across)[0, 0].tolist()
        return red, green, blue

    def _between(self, down: np.ndarray, across: np.ndarray) -> np.ndarray:
        """Colours (n, m, 3) at n heights and m widths of the page, each from 0 to 1."""
        grid = self._grid
        for axis, places in enumerate((down, across)):
            at = places * (grid.shape[axis] - 1)
            low = np.floor(at).astype(np.int64).clip(0, max(grid.shape[axis] - 2, 0))
            high = (low + 1).clip(0, grid.shape[axis] - 1)
            share = (at - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
            grid = grid.take(low, axis) * (1 - share) + grid.take(high, axis) * share
        return grid


@dataclass(frozen=True)
class CanvasMap:
    """The part of an original image that a canvas shows.

    Attributes:
        original: Height and width of the original image in pixels, after EXIF rotation.
        box: Left, top, width and height of the shown rectangle in original pixels. It may reach
            outside the original when the image was padded.
        canvas: Height and width of the canvas in pixels.
        zoom: Each canvas pixel is a block of zoom x zoom equal pixels of the original: enlarged pixel art. 1: it is not.
        blocks: Where the original is enlarged pixel art otherwise (two factors, a broken one, cut blocks): its blocks.
        margins: Colours in 0..255 of uniform rows and columns of the original beyond the box: top, left, bottom, right.
        turn: Degrees by which the box was turned about its middle, clockwise, to become the canvas: a skewed page. 0: it was
            not.
        light: How the original is lit, if that was evened out: a page.
    """

    original: tuple[int, int]
    box: tuple[float, float, float, float]
    canvas: tuple[int, int]
    zoom: int = 1
    blocks: Blocks | None = None
    margins: Margins | None = None
    turn: float = 0.0
    light: Light | None = None

    def __post_init__(self) -> None:
        height, width = self.original
        blocks = (self.canvas[0] * self.zoom, self.canvas[1] * self.zoom)
        if self.zoom != 1 and (blocks != self.original or self.box != (0.0, 0.0, width, height)):
            raise ShapeError(
                f"CanvasMap: zoom is {self.zoom}, the canvas {self.canvas}, the original {self.original} with the box "
                f"{self.box}; expected an original of {blocks}, shown whole."
            )
        if self.blocks is not None and (self.blocks.canvas, self.blocks.original) != (self.canvas, self.original):
            raise ShapeError(
                f"CanvasMap: {self.blocks.canvas} blocks of {self.blocks.original} for the canvas {self.canvas} of "
                f"{self.original}; expected one for each pixel."
            )

        if self.turn and (self.zoom != 1 or self.blocks is not None or self.margins is not None):
            raise ShapeError(
                f"CanvasMap: turned by {self.turn} degrees; expected no enlargement and no margins beside."
            )

    @classmethod
    def whole(cls, height: int, width: int) -> "CanvasMap":
        """The map of an image that is its own canvas."""
        return cls((height, width), (0.0, 0.0, float(width), float(height)), (height, width))

    @classmethod
    def of_blocks(cls, blocks: Blocks, margins: Margins | None = None) -> "CanvasMap":
        """The map of enlarged pixel art."""
        (top, left), (rows, columns) = blocks.corner, blocks.canvas
        height, width = rows * blocks.step[0], columns * blocks.step[1]
        return cls(blocks.original, (left, top, width, height), blocks.canvas, blocks=blocks, margins=margins)

    @property
    def is_identity(self) -> bool:
        height, width = self.original
        upright = not self.turn and self.light is None
        return upright and self.original == self.canvas and self.box == (0.0, 0.0, width, height)

    @property
    def enlarged_blocks(self) -> Blocks | None:
        """The blocks of enlarged pixel art, also where `zoom` says all of them; None where it is none."""
        if self.zoom == 1:
            return self.blocks
        return Blocks((float(self.zoom),) * 2, (0.0, 0.0), (0, 0, *self.original), self.original)

    @property
    def to_original(self) -> np.ndarray:
        """Matrix (3, 3), float64: canvas pixels to original pixels.

        Pixel coordinates have pixel centres at half integers (x right, y down), so scales and offsets
        of the box, and its turn, are the whole map.
        """
        left, top, width, height = self.box
        rows, columns = self.canvas
        placed = np.array([[width / columns, 0, left], [0, height / rows, top], [0, 0, 1]])
        if not self.turn:
            return placed
        middle = left + width / 2, top + height / 2
        cosine, sine = math.cos(math.radians(self.turn)), math.sin(math.radians(self.turn))
        back = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])  # y is down: this turns anticlockwise
        there, from_there = np.eye(3), np.eye(3)
        there[:2, 2], from_there[:2, 2] = middle, (-middle[0], -middle[1])
        return there @ back @ from_there @ placed

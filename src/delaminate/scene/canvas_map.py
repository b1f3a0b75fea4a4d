"""Canvas maps: how an image of any size sits on a model's canvas, and the exact way back."""

from dataclasses import dataclass

import numpy as np

from delaminate.errors import ShapeError


@dataclass(frozen=True)
class CanvasMap:
    """The part of an original image that a canvas shows.

    Attributes:
        original: Height and width of the original image in pixels, after EXIF rotation.
        box: Left, top, width and height of the shown rectangle in original pixels. It may reach
            outside the original when the image was padded.
        canvas: Height and width of the canvas in pixels.
        zoom: Each canvas pixel is a block of zoom x zoom equal pixels of the original: enlarged pixel art. 1: it is not.
    """

    original: tuple[int, int]
    box: tuple[float, float, float, float]
    canvas: tuple[int, int]
    zoom: int = 1

    def __post_init__(self) -> None:
        height, width = self.original
        blocks = (self.canvas[0] * self.zoom, self.canvas[1] * self.zoom)
        if self.zoom != 1 and (blocks != self.original or self.box != (0.0, 0.0, width, height)):
            raise ShapeError(
                f"CanvasMap: zoom is {self.zoom}, the canvas {self.canvas}, the original {self.original} with the box "
                f"{self.box}; expected an original of {blocks}, shown whole."
            )

    @classmethod
    def whole(cls, height: int, width: int) -> "CanvasMap":
        """The map of an image that is its own canvas."""
        return cls((height, width), (0.0, 0.0, float(width), float(height)), (height, width))

    @property
    def is_identity(self) -> bool:
        height, width = self.original
        return self.original == self.canvas and self.box == (0.0, 0.0, width, height)

    @property
    def to_original(self) -> np.ndarray:
        """Matrix (3, 3), float64: canvas pixels to original pixels.

        Pixel coordinates have pixel centres at half integers (x right, y down), so scales and offsets
        of the box are the whole map.
        """
        left, top, width, height = self.box
        rows, columns = self.canvas
        return np.array([[width / columns, 0, left], [0, height / rows, top], [0, 0, 1]])

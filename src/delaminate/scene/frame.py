"""Frame: how an image of any size sits on a model's canvas, and the exact way back."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """The part of an original image that a canvas shows.

    Attributes:
        original: Height and width of the original image in pixels, after EXIF rotation.
        box: Left, top, width and height of the shown rectangle in original pixels. It may reach
            outside the original when the image was padded.
        canvas: Height and width of the canvas in pixels.
    """

    original: tuple[int, int]
    box: tuple[float, float, float, float]
    canvas: tuple[int, int]

    @classmethod
    def whole(cls, height: int, width: int) -> "Frame":
        """The frame of an image that is its own canvas."""
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

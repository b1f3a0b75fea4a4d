"""Pictures of scenes, as PNG at the size shown; the latest stay in memory."""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from delaminate.exporters.files import merged, painted_layers
from delaminate.exporters.html import segmentation_picture
from delaminate.files import png_bytes, reduced, to_pixels
from delaminate.scene.scenes import Scene

View = Literal["composite", "reconstruction", "segmentation", "residual", "original"]
KEPT_BYTES = 2**26
ATLAS_SIDE = 4096
"""Of an atlas of layers; what does not fit is reduced, all layers alike."""


class PictureCache:
    """Keeps the latest pictures."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self.most, self.bytes = most, 0
        self.kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self.lock = threading.Lock()
        self.making = threading.Lock()

    def get(self, key: tuple[object, ...], make: Callable[[], bytes]) -> bytes:
        """Find a picture, or have another process make it."""
        found = self._find(key)
        return found if found is not None else self.keep(key, make())

    def paint(self, key: tuple[object, ...], make: Callable[[], bytes]) -> bytes:
        """Find a picture, or make it here, one at a time: several at once take longer, all of them."""
        found = self._find(key)
        if found is not None:
            return found
        with self.making:
            found = self._find(key)  # another request may have had it made meanwhile
            return found if found is not None else self.keep(key, make())

    def _find(self, key: tuple[object, ...]) -> bytes | None:
        with self.lock:
            if key in self.kept:
                self.kept.move_to_end(key)
            return self.kept.get(key)

    def keep(self, key: tuple[object, ...], data: bytes) -> bytes:
        """Keep what was made, and let go of what was not asked for lately."""
        with self.lock:
            if key not in self.kept:
                self.kept[key] = data
                self.bytes += len(data)
            while self.bytes > self.most and len(self.kept) > 1:
                self.bytes -= len(self.kept.popitem(last=False)[1])
        return data


def shown_bytes(pixels: np.ndarray, side: int = ATLAS_SIDE) -> bytes:
    """A picture at the size shown, as a PNG that is soon made: it goes no further than to this machine's browser."""
    return png_bytes(reduced(pixels, side), level=1)


def composite_picture(scene: Scene, side: int) -> bytes:
    """A scene flattened; transparent where no layer covers it."""
    if scene.background and scene.layers[0].visible and scene.layers[0].placement.opacity == 1:
        return shown_bytes(to_pixels(scene.composite()), side)
    return shown_bytes(merged(scene), side)


def segmentation(scene: Scene, side: int) -> bytes:
    """Which layer is seen at each pixel, in colours."""
    return shown_bytes(segmentation_picture(scene), side)


def sprite_picture(sprite: torch.Tensor, side: int) -> bytes:
    """A sprite of the dictionary."""
    return shown_bytes(to_pixels(sprite), side)


def shrunk(data: bytes, side: int) -> bytes:
    """A PNG of ours, made smaller."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        pixels = np.asarray(image.convert("RGBA" if "A" in image.mode else "RGB"))
    return shown_bytes(pixels, side)


@dataclass(frozen=True)
class AtlasBox:
    """Where a layer lies in an atlas, and where it goes.

    Attributes:
        layer: Its id.
        x, y, width, height: In pixels of the atlas.
        left, top: Of the canvas, in its pixels.
        scale: Pixels of the canvas for one of the atlas.
    """

    layer: str
    x: int
    y: int
    width: int
    height: int
    left: int
    top: int
    scale: float


def pack_layers(scene: Scene, side: int) -> tuple[UInt8[np.ndarray, "h w 4"], list[AtlasBox]]:
    """Put all layers of a scene into one picture, hidden ones too, each cut to where it is seen, without its opacity.

    Args:
        scene: The scene.
        side: The longest side of the canvas as it is shown; layers are reduced with it.
    """
    painted = list(painted_layers(scene, opacity=False))
    scale = max(max(scene.size) / min(side, ATLAS_SIDE), 1.0)
    while True:
        pictures = [
            each.pixels if scale == 1 else reduced(each.pixels, max(1, round(max(each.pixels.shape[:2]) / scale)))
            for each in painted
        ]
        places, size = _shelves([picture.shape[:2] for picture in pictures])
        if size[0] <= ATLAS_SIDE:
            break
        scale *= 1.25
    atlas = np.zeros((*size, 4), np.uint8)
    boxes = []
    for each, picture, (x, y) in zip(painted, pictures, places, strict=True):
        height, width = picture.shape[:2]
        atlas[y : y + height, x : x + width] = picture
        boxes.append(AtlasBox(each.layer.id, x, y, width, height, each.left, each.top, each.pixels.shape[1] / width))
    return atlas, boxes


def _shelves(sizes: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Place pictures in rows, the highest first: corners (x, y), and height and width of all."""
    width = min(max([1024, *(size[1] for size in sizes)]), ATLAS_SIDE)
    places = [(0, 0)] * len(sizes)
    x = y = row = 0
    for index in sorted(range(len(sizes)), key=lambda each: -sizes[each][0]):
        high, wide = sizes[index]
        if x + wide > width:
            x, y, row = 0, y + row, 0
        places[index] = (x, y)
        x, row = x + wide, max(row, high)
    return places, (max(y + row, 1), width if sizes else 1)

"""Document: a layered file of another program, as values."""

import re
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
from jaxtyping import UInt8

from delaminate.errors import FormatError

MAX_LAYERS = 20_000
MAX_SIDE = 32_768
MAX_LAYER_PIXELS = 50_000_000
MAX_DOCUMENT_PIXELS = 1_000_000_000
"""Of all layers together."""


@dataclass(frozen=True, eq=False)
class DocumentLayer:
    """One layer as its program shows it.

    Attributes:
        name: What the program calls it.
        pixels: RGBA, not multiplied; masks are in alpha, the layer's opacity is not.
        top, left: Where the corner lies on the canvas; parts may lie outside.
        opacity: Factor on alpha in [0, 1], that of its groups included.
        visible: It and its groups are.
        layer_id: Which layer of the scene it was, where the file says so by other means than its name.
    """

    name: str
    pixels: UInt8[np.ndarray, "_h _w 4"]
    top: int = 0
    left: int = 0
    opacity: float = 1.0
    visible: bool = True
    layer_id: str | None = None


@dataclass(frozen=True, eq=False)
class Document:
    """A layered file.

    Attributes:
        where: The file, for messages.
        size: Height and width of the canvas in pixels.
        layers: Back to front.
        remarks: What it holds that layers cannot, in words.
        opacity_inside: Opacities of the scene's layers are in the pictures' alpha.
        is_loose: Only layers that overlap are in an order that means anything.
    """

    where: str
    size: tuple[int, int]
    layers: tuple[DocumentLayer, ...]
    remarks: tuple[str, ...] = ()
    opacity_inside: bool = False
    is_loose: bool = False


class LayerBudget:
    """Counts layers and their pixels while a document is read.

    Args:
        where: The file, for messages.
    """

    def __init__(self, where: str) -> None:
        self.where, self.layers, self.pixels = where, 0, 0

    def take(self, height: int, width: int) -> None:
        """Count a layer before it is decoded.

        Raises:
            FormatError: There are too many, or they are too large.
        """
        self.layers += 1
        self.pixels += height * width
        if self.layers > MAX_LAYERS or height * width > MAX_LAYER_PIXELS or self.pixels > MAX_DOCUMENT_PIXELS:
            raise FormatError(
                f"{self.where}: layer {self.layers} of {width} x {height} pixels, {self.pixels:,} in all; expected up to "
                f"{MAX_LAYERS:,} layers, {MAX_LAYER_PIXELS:,} pixels each and {MAX_DOCUMENT_PIXELS:,} in all."
            )


def check_canvas(where: str, height: int, width: int) -> tuple[int, int]:
    """Take the size of a canvas.

    Raises:
        FormatError: It is none.
    """
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise FormatError(f"{where}: the canvas is {width} x {height} pixels; expected sides of 1 to {MAX_SIDE:,}.")
    return height, width


def plain_line(text: str, longest: int = 256) -> str:
    """Bring a name to one line of printable characters."""
    return re.sub(r"\s+", " ", "".join(each if each.isprintable() else " " for each in text)).strip()[:longest]


def plain_xml(data: bytes, tag: str, where: str) -> ElementTree.Element:
    """Parse XML of plain elements. A document type is refused: its entities could grow without bound, and nobody writes any.

    Raises:
        FormatError: There is one, or the outermost element is another.
    """
    if b"<!" in data.replace(b"<!--", b""):
        raise FormatError(f"{where} declares a document type; expected plain elements.")
    root = ElementTree.fromstring(data)  # noqa: S314
    if root.tag != tag:
        raise FormatError(f"{where} holds {root.tag!r:.40}; expected {tag!r}.")
    return root


def with_opaque(pixels: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 4"]:
    """Give RGB pixels an alpha of 255; RGBA stays."""
    return pixels if pixels.shape[2] == 4 else np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])

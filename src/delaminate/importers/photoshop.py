"""Photoshop files as Photoshop, GIMP, Krita, Affinity and others save them, read by psd-tools."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from delaminate.data.reading import pixels_of
from delaminate.errors import FormatError, MissingExtra, reading
from delaminate.importers.document import Document, DocumentLayer, LayerBudget, check_canvas, with_opaque

BROKEN = "no PSD file"
NORMAL = ("normal", "pass_through")
PIXELS = "pixel"


def read_psd(path: str | Path) -> Document:
    """Read the layers of a .psd or .psb file; groups are taken apart, masks applied, everything else is rendered.

    Raises:
        MissingExtra: psd-tools is not installed.
        FormatError: It is none, is damaged, or claims more than memory should hold.
    """
    try:
        from psd_tools import PSDImage
    except ImportError as error:
        raise MissingExtra("PSD", "export") from error
    where = str(path)
    with reading(Path(path), FormatError, BROKEN):
        document = PSDImage.open(path)
        size = check_canvas(where, document.height, document.width)
        budget, remarks = LayerBudget(where), dict[str, None]()
        if document.depth != 8:
            remarks[f"{document.depth} bits a channel are taken as 8"] = None
        layers = tuple(
            _layer(each, budget, remarks, opacity, visible) for each, opacity, visible in _flat(document, remarks)
        )
        return Document(where, size, layers, tuple(remarks))


def _flat(
    group: Any, remarks: dict[str, None], opacity: float = 1.0, visible: bool = True
) -> Iterator[tuple[Any, float, bool]]:
    """Layers back to front, with what their groups do to them."""
    for layer in group:
        _note(layer, remarks)
        here, shown = opacity * layer.opacity / 255, visible and layer.visible
        if layer.is_group():
            yield from _flat(layer, remarks, here, shown)
        else:
            yield layer, here, shown


def _note(layer: Any, remarks: dict[str, None]) -> None:
    mode = layer.blend_mode.name.lower()
    if mode not in NORMAL:
        remarks[f"{layer.name[:80]!r} is blended by {mode!r}; taken as normal"] = None
    if getattr(layer, "clipping", False):
        remarks[f"{layer.name[:80]!r} is clipped to the layer below; taken whole"] = None
    if layer.is_group() and layer.has_mask():
        remarks[f"the mask of the group {layer.name[:80]!r} is left out"] = None


def _layer(layer: Any, budget: LayerBudget, remarks: dict[str, None], opacity: float, visible: bool) -> DocumentLayer:
    budget.take(max(layer.height, 0), max(layer.width, 0))
    picture = None
    if layer.width > 0 and layer.height > 0:
        if layer.kind == PIXELS:
            picture = layer.topil()
        else:
            remarks[f"{layer.name[:80]!r} is a {layer.kind} layer; taken as its pixels"] = None
            picture = layer.composite()
    if picture is None:
        return DocumentLayer(layer.name, np.zeros((1, 1, 4), np.uint8), opacity=opacity, visible=visible)
    pixels = with_opaque(pixels_of(picture if picture.mode in ("RGB", "RGBA") else picture.convert("RGBA"), alpha=True))
    if layer.kind == PIXELS and layer.has_mask() and not layer.mask.disabled:
        pixels = _masked(layer, pixels)
    return DocumentLayer(layer.name, pixels, layer.top, layer.left, opacity, visible)


def _masked(layer: Any, pixels: np.ndarray) -> np.ndarray:
    """Multiply alpha by the layer's mask, which goes on in its background colour."""
    mask = Image.new("L", (layer.width, layer.height), int(layer.mask.background_color))
    drawn = layer.mask.topil()
    if drawn is not None:
        mask.paste(drawn.convert("L"), (layer.mask.left - layer.left, layer.mask.top - layer.top))
    alpha = np.rint(pixels[..., 3] * (np.asarray(mask) / 255.0)).astype(np.uint8)
    return np.dstack([pixels[..., :3], alpha])

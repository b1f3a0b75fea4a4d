"""Maps of Tiled (.tmx), as Tiled saves what was exported: tiles, tile objects and image layers become one document.

Read by the published description of the format (doc.mapeditor.org, TMX). Only files below the folder of the export are opened.
"""

import base64
import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from delaminate.data.reading import read_with_alpha
from delaminate.errors import FormatError, reading
from delaminate.exporters.tile_sheet import turned
from delaminate.importers.document import Document, DocumentLayer, LayerBudget, check_canvas, plain_xml, with_opaque
from delaminate.scene.scenes import SceneLayer

BROKEN = "no map of Tiled"
MAX_BYTES = 256 * 2**20
MAX_CELLS = 16_000_000
NUMBER, FLAGS_FROM = 0x1FFFFFFF, 29
LAYER = "layer"
"""The property of an object that says which layer it is."""


@dataclass(frozen=True)
class _Tileset:
    first: int
    path: Path
    root: ElementTree.Element


class _Pictures:
    """Pictures of tiles by their global numbers, turned as the upper three bits say."""

    def __init__(self, sets: list[_Tileset], folder: Path) -> None:
        self.sets = sorted(sets, key=lambda each: -each.first)
        self.folder = folder
        self.known: dict[int, np.ndarray] = {}
        self.files: dict[Path, np.ndarray] = {}

    def __call__(self, number: int) -> np.ndarray:
        if number not in self.known:
            self.known[number] = turned(self._tile(number & NUMBER), number >> FLAGS_FROM)
        return self.known[number]

    def file(self, source: str | None, beside: Path) -> np.ndarray:
        path = _below(self.folder, beside, source)
        if path not in self.files:
            self.files[path] = with_opaque(read_with_alpha(path))
        return self.files[path]

    def _tile(self, number: int) -> np.ndarray:
        found = next((each for each in self.sets if each.first <= number), None)
        if found is None:
            raise FormatError(f"tile {number} is of no tileset")
        index, image = number - found.first, found.root.find("image")
        if image is None:
            for tile in found.root.iter("tile"):
                own = tile.find("image")
                if tile.get("id") == str(index) and own is not None:
                    return self.file(own.get("source"), found.path)
            raise FormatError(f"{found.path} has no tile {index}")
        sheet = self.file(image.get("source"), found.path)
        width, height, columns = (_number(found.root, key) for key in ("tilewidth", "tileheight", "columns"))
        margin, spacing = (_number(found.root, key, "0") for key in ("margin", "spacing"))
        row, column = divmod(index, max(columns, 1))
        top, left = margin + row * (height + spacing), margin + column * (width + spacing)
        pixels = sheet[top : top + height, left : left + width]
        if min(top, left) < 0 or pixels.shape[:2] != (height, width) or not pixels.size:
            raise FormatError(f"{found.path}: tile {index} is not on its image")
        return pixels


def read_tiled(path: str | Path, folder: str | Path, backdrop: SceneLayer | None = None) -> Document:
    """Read a map as a document: every tile and every object is a layer; image layers are one each.

    Args:
        path: The map.
        folder: Of the export: nothing outside is opened.
        backdrop: The scene's background; the first layer of the map is it as a whole, if it has its name.

    Raises:
        FormatError: It is none, is damaged, infinite or compressed otherwise than by zlib or gzip.
        DataError: A picture cannot be read.
    """
    path, folder, where = Path(path), Path(folder), str(path)
    with reading(path, FormatError, BROKEN):
        root = _parse(path, "map")
        if root.get("infinite") == "1" or root.get("orientation") != "orthogonal":
            raise FormatError("expected an orthogonal map that is not infinite")
        sets = [_tileset(each, path, folder) for each in root.findall("tileset")]
        pictures, budget = _Pictures(sets, folder), LayerBudget(where)
        width, height, across, down = (_number(root, key) for key in ("width", "height", "tilewidth", "tileheight"))
        facts = {each.get("name"): each.get("value", "") for each in root.iterfind("properties/property")}
        size = check_canvas(
            where, int(facts.get("canvas_height", height * down)), int(facts.get("canvas_width", width * across))
        )
        found: list[DocumentLayer] = []
        remarks: dict[str, None] = {}
        drawn = [each for each in root if each.tag in ("layer", "objectgroup", "imagelayer", "group")]
        for number, element in enumerate(drawn):
            if element.tag == "group":
                remarks[f"the group {element.get('name', '')[:80]!r} is left out; move its layers out of it"] = None
                continue
            layers = _layers(element, pictures, budget, (across, down), path)
            if backdrop is not None and number == 0 and element.get("name") == backdrop.name:
                layers = [_as_one(layers, size, backdrop.id, element)]
            found += layers
        return Document(where, size, tuple(found), tuple(remarks), opacity_inside=True, is_loose=True)


def _parse(path: Path, tag: str) -> ElementTree.Element:
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"{path}: has more than {MAX_BYTES:,} bytes")
    return plain_xml(path.read_bytes(), tag, f"{path}:")


def _tileset(element: ElementTree.Element, path: Path, folder: Path) -> _Tileset:
    first, source = _number(element, "firstgid"), element.get("source")
    if source is None:
        return _Tileset(first, path, element)
    where = _below(folder, path, source)
    return _Tileset(first, where, _parse(where, "tileset"))


def _below(folder: Path, beside: Path, source: str | None) -> Path:
    """A file that another one names, if it lies in the folder."""
    if not source:
        raise FormatError(f"{beside}: an image has no source")
    path = (beside.parent / source.replace("\\", "/")).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise FormatError(f"{beside}: names {source!r:.80}, which is not in {folder}")
    return path


def _number(element: ElementTree.Element, key: str, default: str | None = None) -> int:
    text = element.get(key, default)
    try:
        return round(float(text))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise FormatError(f"{element.tag} has {key} {text!r:.40}; expected a whole number") from None


def _layers(
    element: ElementTree.Element, pictures: _Pictures, budget: LayerBudget, tile: tuple[int, int], path: Path
) -> list[DocumentLayer]:
    left, top = _number(element, "offsetx", "0"), _number(element, "offsety", "0")
    visible, opacity = element.get("visible", "1") != "0", float(element.get("opacity", "1"))
    if element.tag == "imagelayer":
        image = element.find("image")
        pixels = pictures.file(None if image is None else image.get("source"), path)
        budget.take(*pixels.shape[:2])
        return [DocumentLayer(element.get("name", ""), pixels, top, left, opacity, visible)]
    if element.tag == "objectgroup":
        return [
            each
            for item in element.findall("object")
            if (each := _object(item, pictures, budget, (left, top), visible, opacity)) is not None
        ]
    found = []
    cells = _cells(element)
    for (row, column), number in np.ndenumerate(cells):
        if number:
            pixels = pictures(int(number))
            budget.take(*pixels.shape[:2])
            # Larger tiles reach up from the cell's lower edge.
            y = top + (row + 1) * tile[1] - pixels.shape[0]
            found.append(DocumentLayer("", pixels, y, left + column * tile[0], opacity, visible))
    return found


def _object(
    item: ElementTree.Element,
    pictures: _Pictures,
    budget: LayerBudget,
    offset: tuple[int, int],
    visible: bool,
    opacity: float,
) -> DocumentLayer | None:
    """A tile object, whose place is its lower left corner; None: a point, a shape or a text."""
    if item.get("gid") is None:
        return None
    pixels = pictures(_number(item, "gid"))
    budget.take(*pixels.shape[:2])
    facts = {each.get("name"): each.get("value") for each in item.iterfind("properties/property")}
    return DocumentLayer(
        item.get("name", ""),
        pixels,
        offset[1] + _number(item, "y") - pixels.shape[0],
        offset[0] + _number(item, "x"),
        opacity,
        visible and item.get("visible", "1") != "0",
        facts.get(LAYER),
    )


def _cells(element: ElementTree.Element) -> np.ndarray:
    """The global numbers of a layer's cells, rows first."""
    width, height = _number(element, "width"), _number(element, "height")
    data = element.find("data")
    if data is None or not 0 < width * height <= MAX_CELLS:
        raise FormatError(f"a layer has {width} x {height} cells and {'no' if data is None else 'its'} data")
    encoding, compression, text = data.get("encoding"), data.get("compression"), data.text or ""
    if encoding == "csv":
        numbers = np.array([int(each) for each in text.split(",")], np.int64)
    elif encoding == "base64":
        numbers = np.frombuffer(_unpacked(base64.b64decode(text), compression, 4 * width * height), "<u4").astype(
            np.int64
        )
    else:
        raise FormatError(f"a layer is encoded as {encoding!r:.40}; expected CSV or Base64 (map properties)")
    if numbers.size != width * height or numbers.min() < 0 or numbers.max() > 0xFFFFFFFF:
        raise FormatError(f"a layer has {numbers.size} numbers of cells; expected {width * height}")
    return numbers.reshape(height, width)


def _unpacked(data: bytes, compression: str | None, size: int) -> bytes:
    if not compression:
        return data
    if compression == "zlib":
        return zlib.decompressobj().decompress(data, size)
    if compression == "gzip":
        with gzip.open(io.BytesIO(data)) as file:
            return file.read(size)
    raise FormatError(f"a layer is compressed by {compression!r:.40}; expected zlib, gzip or none (map properties)")


def _as_one(
    layers: list[DocumentLayer], size: tuple[int, int], layer_id: str, element: ElementTree.Element
) -> DocumentLayer:
    """Flatten the tiles of a background, as far as the canvas shows them."""
    canvas = np.zeros((*size, 4), np.uint8)
    for layer in layers:
        first, begin = max(layer.top, 0), max(layer.left, 0)
        part = layer.pixels[first - layer.top :, begin - layer.left :][: size[0] - first, : size[1] - begin]
        canvas[first : first + part.shape[0], begin : begin + part.shape[1]] = part
    visible = element.get("visible", "1") != "0"
    return DocumentLayer(element.get("name", ""), canvas, 0, 0, float(element.get("opacity", "1")), visible, layer_id)

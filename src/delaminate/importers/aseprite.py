"""Aseprite files, as Aseprite and LibreSprite save them: every frame a document.

Read by the published specification of the format (aseprite, docs/ase-file-specs.md): colour of 32, 16 or 8 bits, cels that
are raw, compressed or linked, groups, opacities, z-index.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from delaminate.errors import FormatError, reading
from delaminate.importers.document import Document, DocumentLayer, LayerBudget, check_canvas

BROKEN = "no Aseprite file"
MAX_BYTES = 2**30
HEADER, FRAME = 128, 16
FILE_MAGIC, FRAME_MAGIC = 0xA5E0, 0xF1FA
OLD_PALETTE, OLDER_PALETTE, LAYER, CEL, PALETTE = 0x0004, 0x0011, 0x2004, 0x2005, 0x2019
RAW, LINKED, COMPRESSED = 0, 1, 2
VISIBLE, REFERENCE = 1, 64
GROUP = 1


@dataclass(frozen=True)
class _Layer:
    name: str
    flags: int
    kind: int
    level: int
    blend: int
    opacity: int


@dataclass(frozen=True, eq=False)
class _Cel:
    layer: int
    left: int
    top: int
    opacity: int
    z_index: int
    size: tuple[int, int]  # height, width
    data: bytes | int  # of the picture, or the frame that has it


@dataclass
class _File:
    where: str
    size: tuple[int, int] = (1, 1)
    depth: int = 32
    clear: int = 0
    flags: int = 0
    layers: list[_Layer] = field(default_factory=list)
    frames: list[list[_Cel]] = field(default_factory=list)
    palette: np.ndarray = field(default_factory=lambda: np.zeros((256, 4), np.uint8))
    remarks: dict[str, None] = field(default_factory=dict)


def read_aseprite(path: str | Path) -> list[Document]:
    """Read every frame of an .aseprite file as a document; groups are taken apart.

    Raises:
        FormatError: It is none, is damaged, or claims more than memory should hold.
    """
    with reading(Path(path), FormatError, BROKEN):
        if Path(path).stat().st_size > MAX_BYTES:
            raise FormatError(f"{path}: has more than {MAX_BYTES:,} bytes.")
        found = _parse(Path(path).read_bytes(), str(path))
        budget = LayerBudget(found.where)
        return [_document(found, number, budget) for number in range(len(found.frames))]


def _parse(data: bytes, where: str) -> _File:
    if len(data) < HEADER or struct.unpack_from("<H", data, 4)[0] != FILE_MAGIC:
        raise FormatError(f"{where}: {BROKEN}.")
    _, _, frames, width, height, depth, flags = struct.unpack_from("<IHHHHHI", data)
    if depth not in (8, 16, 32):
        raise FormatError(f"{where}: has {depth} bits a pixel; expected 8, 16 or 32.")
    found = _File(where, check_canvas(where, height, width), depth, data[28], flags)
    at = HEADER
    for _ in range(frames):
        length, magic, old_count, _, count = struct.unpack_from("<IHHH2xI", data, at)
        if magic != FRAME_MAGIC or length < FRAME:
            raise FormatError(f"{where}: frame {len(found.frames)} is damaged.")
        found.frames.append([])
        for kind, body in _chunks(data[at + FRAME : at + length], count or old_count, where):
            _take(found, kind, body)
        at += length
    return found


def _chunks(data: bytes, count: int, where: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    for _ in range(count):
        length, kind = struct.unpack_from("<IH", data, at)
        if length < 6 or at + length > len(data):
            raise FormatError(f"{where}: a chunk is damaged.")
        yield kind, data[at + 6 : at + length]
        at += length


def _take(found: _File, kind: int, body: bytes) -> None:
    if kind == LAYER:
        flags, what, level, _, _, blend, opacity = struct.unpack_from("<HHHHHHB", body)
        (length,) = struct.unpack_from("<H", body, 16)
        name = body[18 : 18 + length].decode("utf-8", "replace")
        found.layers.append(_Layer(name, flags, what, level, blend, opacity if found.flags & 1 else 255))
        if blend:
            found.remarks[f"{name[:80]!r} is blended by mode {blend}; taken as normal"] = None
    elif kind == CEL:
        _take_cel(found, body)
    elif kind == PALETTE:
        _, first, last = struct.unpack_from("<III", body)
        at = 20
        for number in range(first, min(last, 255) + 1):
            (named,) = struct.unpack_from("<H", body, at)
            found.palette[number] = list(body[at + 2 : at + 6])
            at += 6
            if named & 1:
                at += 2 + struct.unpack_from("<H", body, at)[0]
    elif kind in (OLD_PALETTE, OLDER_PALETTE) and not found.palette.any():
        _take_old_palette(found, body, 1 if kind == OLD_PALETTE else 255 / 63)


def _take_old_palette(found: _File, body: bytes, scale: float) -> None:
    (packets,) = struct.unpack_from("<H", body)
    at, number = 2, 0
    for _ in range(packets):
        number += body[at]
        count = body[at + 1] or 256
        at += 2
        for colour in range(count):
            rgb = body[at + 3 * colour : at + 3 * colour + 3]
            found.palette[number + colour] = [*(round(part * scale) for part in rgb), 255]
        number, at = number + count, at + 3 * count


def _take_cel(found: _File, body: bytes) -> None:
    layer, left, top, opacity, kind, z_index = struct.unpack_from("<HhhBHh", body)
    if kind == LINKED:
        (frame,) = struct.unpack_from("<H", body, 16)
        found.frames[-1].append(_Cel(layer, left, top, opacity, z_index, (0, 0), frame))
        return
    if kind not in (RAW, COMPRESSED):
        found.remarks["tilemaps are left out; convert them to layers in Aseprite"] = None
        return
    width, height = struct.unpack_from("<HH", body, 16)
    data = body[20:]
    if kind == COMPRESSED:
        LayerBudget(found.where).take(height, width)
        data = zlib.decompressobj().decompress(data, height * width * found.depth // 8)
    if len(data) < height * width * found.depth // 8:
        raise FormatError(f"{found.where}: a cel of frame {len(found.frames) - 1} is cut short.")
    found.frames[-1].append(_Cel(layer, left, top, opacity, z_index, (height, width), data))


def _pixels(found: _File, cel: _Cel) -> np.ndarray:
    """A cel's picture, RGBA."""
    assert isinstance(cel.data, bytes)
    height, width = cel.size
    flat = np.frombuffer(cel.data, np.uint8, height * width * found.depth // 8)
    if found.depth == 32:
        return flat.reshape(height, width, 4)
    if found.depth == 16:
        grey, alpha = flat.reshape(height, width, 2).transpose(2, 0, 1)
        return np.stack([grey, grey, grey, alpha], -1)
    numbers = flat.reshape(height, width)
    pixels = found.palette[numbers]
    background = found.layers[cel.layer].flags & 8
    return pixels if background else np.where((numbers == found.clear)[..., None], 0, pixels).astype(np.uint8)


def _document(found: _File, number: int, budget: LayerBudget) -> Document:
    cels = sorted(found.frames[number], key=lambda cel: (cel.layer + cel.z_index, cel.z_index))
    layers = []
    for cel in cels:
        if cel.layer >= len(found.layers):
            raise FormatError(f"{found.where}: a cel is of layer {cel.layer} of {len(found.layers)}.")
        layer, (opacity, visible) = found.layers[cel.layer], _inherited(found, cel.layer)
        if layer.flags & REFERENCE:
            continue
        drawn = _linked(found, cel)
        budget.take(*drawn.size)
        pixels = _pixels(found, drawn) if min(drawn.size) else np.zeros((1, 1, 4), np.uint8)
        layers.append(DocumentLayer(layer.name, pixels, drawn.top, drawn.left, opacity * drawn.opacity / 255, visible))
    return Document(f"{found.where}: frame {number}", found.size, tuple(layers), tuple(found.remarks))


def _linked(found: _File, cel: _Cel) -> _Cel:
    """The cel that has the picture, and the place, of a linked one."""
    if isinstance(cel.data, bytes):
        return cel
    for other in found.frames[cel.data] if cel.data < len(found.frames) else ():
        if other.layer == cel.layer and isinstance(other.data, bytes):
            return other
    raise FormatError(f"{found.where}: a cel is linked to frame {cel.data}, which has none.")


def _inherited(found: _File, index: int) -> tuple[float, bool]:
    """A layer's opacity and visibility, with those of the groups around it."""
    layer = found.layers[index]
    opacity, visible, level = layer.opacity / 255, bool(layer.flags & VISIBLE), layer.level
    for outer in reversed(found.layers[:index]):
        if outer.level < level and outer.kind == GROUP:
            level = outer.level
            visible &= bool(outer.flags & VISIBLE)
            if found.flags & 2:
                opacity *= outer.opacity / 255
    return opacity, visible

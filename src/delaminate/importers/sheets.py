"""Sprite sheets with JSON: TexturePacker's and Aseprite's, as hash or as list, packed by us or by them."""

import json
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from delaminate.data.reading import read_with_alpha
from delaminate.errors import FormatError, reading
from delaminate.importers.document import with_opaque
from delaminate.scene import validation as values

MAX_FRAMES, MAX_SIDE, MAX_BYTES = 100_000, 100_000, 256 * 2**20
BROKEN = "no sprite sheet's JSON"
PICTURES = (".png", ".webp", ".bmp", ".gif", ".aseprite", ".ase", ".psd")
"""What names of frames may end with."""


@dataclass(frozen=True, eq=False)
class SheetFrame:
    """One frame of a sheet.

    Attributes:
        pixels: RGBA of its rectangle, upright.
        left, top: Where the rectangle lies in its source.
    """

    pixels: UInt8[np.ndarray, "_h _w 4"]
    left: int
    top: int


def read_sheet(path: str | Path) -> dict[str, SheetFrame]:
    """Read the frames of a sheet by their names, without endings such as .png.

    Args:
        path: The JSON; the picture that it names lies beside it.

    Raises:
        FormatError: It is none, or is damaged.
        DataError: The picture cannot be read.
    """
    path = Path(path)
    with reading(path, FormatError, BROKEN):
        if path.stat().st_size > MAX_BYTES:
            raise FormatError(f"{path}: has more than {MAX_BYTES:,} bytes.")
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        rows, image = _rows(document, str(path))
    picture = path.parent / image
    sheet = with_opaque(read_with_alpha(picture))
    return {name: _frame(sheet, row, f"{path}: frame {name!r:.60}", picture) for name, row in rows}


def _rows(document: Any, where: str) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Names and rows of frames, and the file name of the picture."""
    frames = document.get("frames") if isinstance(document, dict) else None
    meta = document.get("meta") if isinstance(document, dict) else None
    image = meta.get("image") if isinstance(meta, dict) else None
    if not isinstance(frames, dict | list) or not isinstance(image, str) or not 0 < len(frames) <= MAX_FRAMES:
        raise FormatError(f"{where}: expected an object with 'frames' and 'meta' that names an 'image'.")
    name = posixpath.basename(image.replace("\\", "/"))
    if not name or name in (".", ".."):
        raise FormatError(f"{where}: image is {image!r:.60}; expected the name of a file beside it.")
    pairs = frames.items() if isinstance(frames, dict) else ((_name(row, where), row) for row in frames)
    return [(_plain(key), values.typed(row, where, dict)) for key, row in pairs], name


def _name(row: Any, where: str) -> str:
    name = row.get("filename") if isinstance(row, dict) else None
    if not isinstance(name, str):
        raise FormatError(f"{where}: a frame has no 'filename'.")
    return name


def _plain(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix}".lower() in PICTURES else name


def _box(value: Any, where: str) -> tuple[int, int, int, int]:
    """x, y, w and h."""
    if not isinstance(value, dict):
        raise FormatError(f"{where}: is {value!r:.40}; expected x, y, w and h.")
    return tuple(values.whole(value.get(key, 0), f"{where}: {key}", -MAX_SIDE, MAX_SIDE) for key in "xywh")  # type: ignore[return-value]


def _frame(sheet: np.ndarray, row: dict[str, Any], where: str, picture: Path) -> SheetFrame:
    x, y, width, height = _box(row.get("frame"), where)
    turned = row.get("rotated", False) is True
    across, down = (height, width) if turned else (width, height)
    if min(x, y) < 0 or min(width, height) < 1 or x + across > sheet.shape[1] or y + down > sheet.shape[0]:
        raise FormatError(f"{where}: {width} x {height} at ({x}, {y}) is not on {picture}.")
    pixels = sheet[y : y + down, x : x + across]
    if turned:  # a quarter clockwise
        pixels = np.rot90(pixels)
    left, top, _, _ = _box(row.get("spriteSourceSize", {}), where)
    return SheetFrame(np.ascontiguousarray(pixels), left, top)

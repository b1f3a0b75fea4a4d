"""Sprite sheet and atlas: the dictionary for a game engine.

    OUT/atlas.png     the sprites, trimmed and packed; never turned, because not every engine turns them back
    OUT/atlas.json    frames by name, the "hash" form of TexturePacker

The packer keeps a skyline: the height of what is already there over every column. Each rectangle, tallest first, goes
where its top would be lowest (Jylänki, A Thousand Ways to Pack the Bin, 2010, bottom-left skyline).
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from delaminate.errors import OutputError
from delaminate.exporters.files import ExportResult, covered, difference
from delaminate.files import from_pixels, png_bytes, to_pixels, write_atomic
from delaminate.scene.collection import shared_dictionary
from delaminate.scene.placements import Dictionary
from delaminate.scene.scenes import Scene
from delaminate.scene.validation import MAX_SIDE

Size = tuple[int, int]  # width, height


def pack(sizes: Sequence[Size], padding: int = 0, width: int | None = None) -> tuple[list[tuple[int, int]], Size]:
    """Place rectangles without overlap on a sheet.

    Args:
        sizes: Width and height of each, at least 1.
        padding: Free pixels between neighbours and at the border.
        width: Width of the sheet, widened where a rectangle needs it; about square when None.

    Returns:
        Left and top of each rectangle in the order given, and the sheet's width and height.
    """
    if width is None:
        area = sum((w + padding) * (h + padding) for w, h in sizes)
        width = math.ceil(1.08 * math.sqrt(area)) + padding
    width = max([width, 1, *(w + 2 * padding for w, _ in sizes)])
    skyline = np.full(width, padding)
    corners = [(0, 0)] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i][1], -sizes[i][0], i)):
        wide, high = sizes[index][0] + padding, sizes[index][1] + padding
        # The top of a rectangle with its left edge at x is the skyline's highest point under it.
        tops = np.lib.stride_tricks.sliding_window_view(skyline[padding:], wide).max(1)
        x = int(tops.argmin()) + padding
        y = int(tops[x - padding])
        skyline[x : x + wide] = y + high
        corners[index] = (x, y)
    height = max([int(skyline.max()), 1])
    return corners, (width, height)


@dataclass(frozen=True, eq=False)
class Sheet:
    """Packed sprites.

    Attributes:
        pixels: The sheet, RGBA.
        entries: The dictionary entries on it.
        frames: Where each lies: TexturePacker's `frame`, `rotated`, `trimmed`, `spriteSourceSize`, `sourceSize`.
        restored: The dictionary as an engine gets it back from the sheet.
    """

    pixels: UInt8[np.ndarray, "H W 4"]
    entries: tuple[int, ...]
    frames: tuple[dict[str, Any], ...]
    restored: Dictionary

    def size(self) -> dict[str, int]:
        """The sheet's width and height."""
        return {"w": self.pixels.shape[1], "h": self.pixels.shape[0]}

    def error(self, scenes: Sequence[Scene]) -> float:
        """Measure how far scenes drawn with the restored sprites are from their composites at the worst pixel."""
        errors = (difference(each, dataclasses.replace(each, dictionary=self.restored).composite()) for each in scenes)
        return max(errors, default=0.0)


def _frame(corner: tuple[int, int], rows: slice, columns: slice, source: tuple[int, int]) -> dict[str, Any]:
    width, height = columns.stop - columns.start, rows.stop - rows.start
    return {
        "frame": {"x": corner[0], "y": corner[1], "w": width, "h": height},
        "rotated": False,
        "trimmed": (height, width) != source,
        "spriteSourceSize": {"x": columns.start, "y": rows.start, "w": width, "h": height},
        "sourceSize": {"w": source[1], "h": source[0]},
    }


def draw_sheet(dictionary: Dictionary, padding: int = 2, margin: int = 1, backgrounds: bool = False) -> Sheet:
    """Trim and pack sprites.

    Args:
        dictionary: The sprites.
        padding: Free pixels between sprites and at the border.
        margin: Pixels of a sprite's own colour kept around what is not transparent.
        backgrounds: Pack backgrounds too.

    Raises:
        OutputError: The sheet would be too large.
    """
    entries = [e for e in range(len(dictionary)) if backgrounds or e not in dictionary.backgrounds]
    pictures = [to_pixels(dictionary.sprites[entry]) for entry in entries]
    cuts = [covered(picture, margin) for picture in pictures]
    sizes = [(columns.stop - columns.start, rows.stop - rows.start) for rows, columns in cuts]
    corners, (width, height) = pack(sizes, padding)
    if max(width, height) > MAX_SIDE:
        raise OutputError(f"atlas: the sheet would be {width} x {height} pixels; expected sides up to {MAX_SIDE}.")
    sheet = np.zeros((height, width, 4), np.uint8)
    frames = []
    restored = [from_pixels(to_pixels(sprite)) for sprite in dictionary.sprites]
    for entry, picture, cut, corner in zip(entries, pictures, cuts, corners, strict=True):
        rows, columns = cut
        part = picture[rows, columns]
        sheet[corner[1] : corner[1] + part.shape[0], corner[0] : corner[0] + part.shape[1]] = part
        frames.append(_frame(corner, rows, columns, (picture.shape[0], picture.shape[1])))
        # What an engine gets back from the sheet.
        again = np.zeros_like(picture)
        again[rows, columns] = part
        restored[entry] = from_pixels(again)
    packed = dataclasses.replace(dictionary, sprites=tuple(restored))
    return Sheet(sheet, tuple(entries), tuple(frames), packed)


def write_atlas(
    scenes: Sequence[Scene], out: str | Path, *, padding: int = 2, margin: int = 1, backgrounds: bool = False
) -> ExportResult:
    """Write the dictionary that the scenes share as a sprite sheet with an atlas.

    Args:
        scenes: Scenes of one decomposition.
        out: The folder.
        padding: Free pixels between sprites.
        margin: Pixels of a sprite's own colour kept around what is not transparent, so that smooth scaling in an
            engine finds true colours at the border; 0 trims tightly.
        backgrounds: Pack backgrounds too.

    Raises:
        ConfigError: The scenes do not share a dictionary.
        OutputError: The sheet would be too large, or a file cannot be written.
    """
    out = Path(out)
    dictionary = shared_dictionary(scenes)
    sheet = draw_sheet(dictionary, padding, margin, backgrounds)
    frames = {dictionary.name(entry): frame for entry, frame in zip(sheet.entries, sheet.frames, strict=True)}
    meta = {"app": "delaminate", "version": "1.0", "image": "atlas.png", "format": "RGBA8888", "size": sheet.size()}
    document = {"frames": frames, "meta": {**meta, "scale": "1"}}
    write_atomic(out / "atlas.png", png_bytes(sheet.pixels))
    write_atomic(out / "atlas.json", (json.dumps(document, indent=1) + "\n").encode())
    return ExportResult((out / "atlas.png", out / "atlas.json"), sheet.error(scenes))

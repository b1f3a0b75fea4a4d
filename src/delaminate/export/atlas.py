"""Sprite sheet and atlas: the dictionary for a game engine.

    OUT/atlas.png     the sprites, trimmed and packed
    OUT/atlas.json    frames in the "array" form that TexturePacker and Aseprite write

The packer keeps a skyline: the height of what is already there over every column. Each rectangle, tallest first, goes
where its top would be lowest (Jylänki, A Thousand Ways to Pack the Bin, 2010, bottom-left skyline).
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from delaminate.errors import OutputError
from delaminate.export.files import ExportResult, covered, difference
from delaminate.scene.document import MAX_SIDE, from_pixels, json_bytes, png_bytes, to_pixels, write_atomic
from delaminate.scene.scenes import Scene, shared_dictionary

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


def _frame(name: str, corner: tuple[int, int], rows: slice, columns: slice, source: tuple[int, int]) -> dict[str, Any]:
    width, height = columns.stop - columns.start, rows.stop - rows.start
    return {
        "filename": name,
        "frame": {"x": corner[0], "y": corner[1], "w": width, "h": height},
        "rotated": False,
        "trimmed": (height, width) != source,
        "spriteSourceSize": {"x": columns.start, "y": rows.start, "w": width, "h": height},
        "sourceSize": {"w": source[1], "h": source[0]},
    }


def write_atlas(
    scenes: Sequence[Scene], out: str | Path, *, padding: int = 1, margin: int = 1, backgrounds: bool = False
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
        frames.append(_frame(dictionary.name(entry), corner, rows, columns, picture.shape[:2]))
        # What an engine gets back from the sheet.
        again = np.zeros_like(picture)
        again[rows, columns] = part
        restored[entry] = from_pixels(again)
    size = {"w": width, "h": height}
    meta = {"app": "delaminate", "image": "atlas.png", "format": "RGBA8888", "size": size, "scale": "1"}
    packed = dataclasses.replace(dictionary, sprites=tuple(restored))
    errors = [difference(scene, dataclasses.replace(scene, dictionary=packed).composite()) for scene in scenes]
    write_atomic(out / "atlas.png", png_bytes(sheet))
    write_atomic(out / "atlas.json", json_bytes({"frames": frames, "meta": meta}))
    return ExportResult((out / "atlas.png", out / "atlas.json"), max(errors, default=0.0))

"""Sprite sheet and atlas: the dictionary for a game engine.

    OUT/atlas.png     the sprites, trimmed and packed; never turned, because not every engine turns them back
    OUT/atlas.json    frames by name, the "hash" form of TexturePacker

Poses of one character share a source size and a pivot, so that they follow one another without a jump. A pose that is a
sprite mirrored, turned or coloured is a picture of its own beside the sprite.

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
import torch
from jaxtyping import UInt8

from delaminate.errors import OutputError
from delaminate.exporters.canvases import Canvas
from delaminate.exporters.characters import Character, Pose, find_characters
from delaminate.exporters.files import (
    ExportResult,
    covered,
    difference,
    frame_durations,
    frame_milliseconds,
    indexed_png_bytes,
)
from delaminate.exporters.tile_sheet import turned
from delaminate.files import from_pixels, png_bytes, to_pixels, write_atomic
from delaminate.scene.collection import shared_dictionary
from delaminate.scene.placements import NEUTRAL, Dictionary
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
        frames: By name where each lies: TexturePacker's `frame`, `rotated`, `trimmed`, `spriteSourceSize`, `sourceSize`, and
            `pivot` for a character's pose.
        restored: The dictionary as an engine gets it back from the sheet, poses of their own behind the sprites.
        characters: The characters whose poses are on it, and for each the names of its poses.
    """

    pixels: UInt8[np.ndarray, "H W 4"]
    frames: dict[str, dict[str, Any]]
    restored: Dictionary
    characters: tuple[tuple[Character, tuple[str, ...]], ...]

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


def _on_canvas(frame: dict[str, Any], canvas: Canvas, pose: int) -> dict[str, Any]:
    """Say where a pose lies on its character's canvas."""
    (left, top), inner = canvas.corners[pose], frame["spriteSourceSize"]
    height, width = canvas.size
    return {
        **frame,
        "trimmed": (inner["w"], inner["h"]) != (width, height),
        "spriteSourceSize": {**inner, "x": inner["x"] + left, "y": inner["y"] + top},
        "sourceSize": {"w": width, "h": height},
        "pivot": {"x": canvas.pivot[0] / width, "y": canvas.pivot[1] / height},
    }


def _pose_picture(dictionary: Dictionary, pose: Pose) -> UInt8[np.ndarray, "h w 4"]:
    """A sprite as a pose shows it."""
    sprite = dictionary.sprites[pose.entry]
    gain, offset = torch.tensor(pose.colour, dtype=sprite.dtype).view(2, 3, 1, 1)
    coloured = torch.cat([torch.addcmul(offset, sprite[:3], gain).clamp(0, 1), sprite[3:]])
    return turned(to_pixels(coloured), pose.orientation)


def _pose_names(dictionary: Dictionary, characters: Sequence[Character]) -> dict[Pose, str]:
    """Name poses: plain ones as their sprites, others for how they differ."""
    names: dict[Pose, str] = {}
    colours: dict[int, list[tuple[float, ...]]] = {}
    for pose in (pose for character in characters for pose in character.poses):
        name = dictionary.name(pose.entry)
        if pose.colour != NEUTRAL:
            known = colours.setdefault(pose.entry, [])
            if pose.colour not in known:
                known.append(pose.colour)
            name += f"-colour-{known.index(pose.colour)}"
        if pose.orientation:
            name += "-mirrored" if pose.orientation == 4 else f"-turned-{pose.orientation}"
        names[pose] = name
    return names


def draw_sheet(
    dictionary: Dictionary,
    characters: Sequence[Character] = (),
    *,
    padding: int = 2,
    margin: int = 1,
    backgrounds: bool = False,
    cleared: bool = False,
) -> Sheet:
    """Trim and pack sprites and poses.

    Args:
        dictionary: The sprites.
        characters: Whose poses share a canvas.
        padding: Free pixels between sprites and at the border.
        margin: Pixels of a sprite's own colour kept around what is not transparent.
        backgrounds: Pack backgrounds too.
        cleared: Make what is transparent black, so that it is one colour.

    Raises:
        OutputError: The sheet would be too large.
    """
    entries = [e for e in range(len(dictionary)) if backgrounds or e not in dictionary.backgrounds]
    of_pose = _pose_names(dictionary, characters)
    pictures = {dictionary.name(entry): to_pixels(dictionary.sprites[entry]) for entry in entries}
    pictures.update({name: _pose_picture(dictionary, p) for p, name in of_pose.items() if name not in pictures})
    if cleared:
        pictures = {name: picture * (picture[..., 3:] > 0) for name, picture in pictures.items()}
    cuts = {name: covered(picture, margin) for name, picture in pictures.items()}
    corners, (width, height) = pack([(c.stop - c.start, r.stop - r.start) for r, c in cuts.values()], padding)
    if max(width, height) > MAX_SIDE:
        raise OutputError(f"atlas: the sheet would be {width} x {height} pixels; expected sides up to {MAX_SIDE}.")
    sheet = np.zeros((height, width, 4), np.uint8)
    frames = {}
    restored = [from_pixels(to_pixels(sprite)) for sprite in dictionary.sprites]
    for (name, picture), corner in zip(pictures.items(), corners, strict=True):
        rows, columns = cuts[name]
        part = picture[rows, columns]
        sheet[corner[1] : corner[1] + part.shape[0], corner[0] : corner[0] + part.shape[1]] = part
        frames[name] = _frame(corner, rows, columns, (picture.shape[0], picture.shape[1]))
        if len(frames) <= len(entries):
            # What an engine gets back from the sheet.
            again = np.zeros_like(picture)
            again[rows, columns] = part
            restored[entries[len(frames) - 1]] = from_pixels(again)
    for character in characters:
        for number, pose in enumerate(character.poses):
            frames[of_pose[pose]] = _on_canvas(frames[of_pose[pose]], character.canvas, number)
    named = tuple((each, tuple(of_pose[pose] for pose in each.poses)) for each in characters)
    return Sheet(sheet, frames, dataclasses.replace(dictionary, sprites=tuple(restored)), named)


def draw_clip_sheet(
    scenes: Sequence[Scene], rate: float | None, durations: Sequence[float] | None, indexed: bool
) -> tuple[Sheet, float]:
    """Draw the sheet of a clip's sprites and characters; also say for how many milliseconds a frame is seen in the mean.

    Args:
        scenes: Scenes of one decomposition, in the clip's order.
        rate: Frames per second; 10 where it is not known.
        durations: Milliseconds that each scene is seen, instead of a rate.
        indexed: For a PNG with a palette.

    Raises:
        ConfigError: The scenes do not share a dictionary, or the rate is out of range.
        OutputError: The sheet would be too large.
    """
    lasting = frame_durations(len(scenes), rate, durations)
    milliseconds = sum(lasting) / len(lasting) if lasting else frame_milliseconds(rate)
    sheet = draw_sheet(shared_dictionary(scenes), find_characters(scenes, durations), cleared=indexed)
    return sheet, milliseconds


def sheet_bytes(what: str, sheet: Sheet, indexed: bool) -> bytes:
    """Encode a sheet as PNG, in full colour or as numbers of a palette.

    Raises:
        OutputError: A palette was asked for, and the sheet has more colours than it holds.
    """
    return indexed_png_bytes(what, sheet.pixels) if indexed else png_bytes(sheet.pixels)


def atlas_document(sheet: Sheet) -> dict[str, Any]:
    """TexturePacker's hash form."""
    meta = {"app": "delaminate", "version": "1.0", "image": "atlas.png", "format": "RGBA8888", "size": sheet.size()}
    return {"frames": sheet.frames, "meta": {**meta, "scale": "1"}}


def write_atlas(
    scenes: Sequence[Scene],
    out: str | Path,
    *,
    padding: int = 2,
    margin: int = 1,
    backgrounds: bool = False,
    indexed: bool = False,
) -> ExportResult:
    """Write the dictionary that the scenes share as a sprite sheet with an atlas.

    Args:
        scenes: Scenes of one decomposition.
        out: The folder.
        padding: Free pixels between sprites.
        margin: Pixels of a sprite's own colour kept around what is not transparent, so that smooth scaling in an
            engine finds true colours at the border; 0 trims tightly.
        backgrounds: Pack backgrounds too.
        indexed: Write the sheet as a PNG with a palette.

    Raises:
        ConfigError: The scenes do not share a dictionary.
        OutputError: The sheet would be too large or has too many colours, or a file cannot be written.
    """
    out = Path(out)
    characters = find_characters(scenes)
    sheet = draw_sheet(
        shared_dictionary(scenes), characters, padding=padding, margin=margin, backgrounds=backgrounds, cleared=indexed
    )
    picture = sheet_bytes("atlas", sheet, indexed)
    write_atomic(out / "atlas.png", picture)
    write_atomic(out / "atlas.json", (json.dumps(atlas_document(sheet), indent=1) + "\n").encode())
    return ExportResult((out / "atlas.png", out / "atlas.json"), sheet.error(scenes))

"""Aseprite: a sheet with the JSON that Aseprite exports, and the clip as a file that Aseprite opens.

    OUT/sheet.png, OUT/sheet.json    the sprites, then the animations of each character that has several poses
    OUT/clip.aseprite                every frame with every placement as a cel; a layer for each track

In the sheet, frames of an animation share the rectangle of the pose that they show, last as long as it is held, and a
tag spans them; the poses of a character share a source size, and a slice has its pivot. In the file, placements without a
track share numbered layers; where the order of layers differs from frame to frame, the cels say so by their z-index
(Aseprite 1.3). Cels keep what lies outside the canvas.
"""

import json
import struct
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from delaminate.errors import OutputError
from delaminate.exporters.atlas import Sheet, draw_clip_sheet, sheet_bytes
from delaminate.exporters.blits import Stamp, Stamps, cut_stamps
from delaminate.exporters.characters import Character
from delaminate.exporters.files import ExportResult, clip_size, frame_durations, whole_durations, write_files
from delaminate.files import write_atomic
from delaminate.scene.scenes import Scene

GROUND, UNTRACKED = "ground", "untracked"  # names of layers in files that people have
LARGEST_WORD = 0xFFFF
Key = tuple[str, int]  # a layer: ("background", 0), ("track", 7) or ("untracked", 2)


# ---- The sheet --------------------------------------------------------------------------------------------------


def write_aseprite(
    scenes: Sequence[Scene],
    out: str | Path,
    *,
    rate: float | None = None,
    durations: Sequence[float] | None = None,
    indexed: bool = False,
) -> ExportResult:
    """Write the dictionary as a sheet, with the animations of characters as tags.

    Args:
        scenes: Scenes of one decomposition, in the clip's order.
        out: The folder.
        rate: Frames per second; 10 where it is not known.
        durations: Milliseconds that each scene is seen, instead of a rate.
        indexed: Write the sheet as a PNG with a palette.

    Raises:
        ConfigError: The scenes do not share a dictionary, or the rate is out of range.
        OutputError: The sheet would be too large or has too many colours, or a file cannot be written.
    """
    sheet, milliseconds = draw_clip_sheet(scenes, rate, durations, indexed)
    document = json.dumps(sheet_document(sheet, milliseconds), indent=1) + "\n"
    files = {"sheet.png": sheet_bytes("aseprite", sheet, indexed), "sheet.json": document.encode()}
    return write_files(out, files, sheet.error(scenes))


def sheet_document(sheet: Sheet, milliseconds: float) -> dict[str, Any]:
    """Aseprite's JSON: a frame for each sprite, then the animations of each character that has several poses.

    Args:
        sheet: The sheet.
        milliseconds: How long a frame of the clip is seen, where the characters do not say.
    """
    frames: list[dict[str, Any]] = []
    tags: list[dict[str, Any]] = []
    slices: list[dict[str, Any]] = []

    def add(title: str, name: str, duration: float) -> None:
        place = {key: value for key, value in sheet.frames[name].items() if key != "pivot"}
        frames.append({"filename": title, **place, "duration": max(round(duration), 1)})

    for name in sheet.frames:
        add(name, name, milliseconds)
    for character, names in sheet.characters:
        if len(names) < 2:
            continue
        slices.append(_slice(character, len(frames)))
        for animation in character.animations:
            title = f"{character.name}-{animation.name}"
            tag = {"name": title, "from": len(frames), "to": len(frames) + len(animation.poses) - 1}
            tags.append({**tag, "direction": "forward", **({"repeat": "1"} if animation.kind == "once" else {})})
            for number, (pose, duration) in enumerate(
                zip(animation.poses, animation.durations(milliseconds), strict=True)
            ):
                add(f"{title} {number} {names[pose]}", names[pose], duration)
    meta = {"app": "delaminate", "version": "1.3", "image": "sheet.png", "format": "RGBA8888", "size": sheet.size()}
    layers = [{"name": "sprites", "opacity": 255, "blendMode": "normal"}]
    return {"frames": frames, "meta": {**meta, "scale": "1", "frameTags": tags, "layers": layers, "slices": slices}}


def _slice(character: Character, frame: int) -> dict[str, Any]:
    """A character's canvas and pivot, from its first frame on; whole pixels, as Aseprite counts."""
    height, width = character.canvas.size
    x, y = character.canvas.pivot
    key = {"frame": frame, "bounds": {"x": 0, "y": 0, "w": width, "h": height}, "pivot": {"x": int(x), "y": int(y)}}
    return {"name": character.name, "color": "#0000ffff", "keys": [key]}


# ---- The file ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cel:
    stamp: Stamp
    layer: int
    z_index: int


def _keys(scene: Scene, frame: Sequence[Stamp]) -> list[Key]:
    """Name the layer of each stamp of a frame; a second placement of one track counts as untracked."""
    keys: list[Key] = []
    taken: set[int] = set()
    free = 0
    for index, stamp in enumerate(frame):
        track = stamp.layer.placement.track
        if scene.background and index == 0:
            keys.append((GROUND, 0))
        elif track is not None and track not in taken:
            taken.add(track)
            keys.append(("track", track))
        else:
            keys.append((UNTRACKED, free))
            free += 1
    return keys


def _arrange(scenes: Sequence[Scene], stamps: Stamps) -> tuple[list[Key], list[list[_Cel]]]:
    """Order the layers by how far in front they are on average; the z-index corrects what differs in a frame."""
    ranks: dict[Key, list[float]] = defaultdict(list)
    keys = [_keys(scene, frame) for scene, frame in zip(scenes, stamps.frames, strict=True)]
    for names in keys:
        for rank, key in enumerate(names):
            ranks[key].append(rank / len(names))
    order = sorted(ranks, key=lambda key: (key[0] != GROUND, sum(ranks[key]) / len(ranks[key]), key))
    numbers = {key: number for number, key in enumerate(order)}
    frames = []
    for names, frame in zip(keys, stamps.frames, strict=True):
        own = [numbers[key] for key in names]
        frames.append([_Cel(s, n, goal - n) for s, n, goal in zip(frame, own, sorted(own), strict=True)])
    return order, frames


def _chunk(kind: int, data: bytes) -> bytes:
    return struct.pack("<IH", 6 + len(data), kind) + data


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<H", len(data)) + data


def _layer_name(key: Key) -> str:
    return GROUND if key[0] == GROUND else f"{key[0]} {key[1]}"


def cel_layers(scenes: Sequence[Scene]) -> list[dict[str, str]]:
    """Say for each frame of the file which layer of the scene the cel of each of the file's layers shows.

    Raises:
        ConfigError: The scenes do not share a dictionary.
    """
    stamps = cut_stamps(scenes, sprites=False)
    return [
        {_layer_name(key): stamp.layer.id for key, stamp in zip(_keys(scene, frame), frame, strict=True)}
        for scene, frame in zip(scenes, stamps.frames, strict=True)
    ]


def _layer_chunk(key: Key) -> bytes:
    name = _layer_name(key)
    # Flags: visible and editable; an image layer in normal mode at full opacity.
    return _chunk(0x2004, struct.pack("<HHHHHHB3x", 3, 0, 0, 0, 0, 0, 255) + _string(name))


def _cel_chunk(stamps: Stamps, cel: _Cel, packed: dict[tuple[int, bool], bytes]) -> bytes:
    stamp = cel.stamp
    key = (stamp.picture, stamp.mirrored)
    if key not in packed:
        packed[key] = zlib.compress(np.ascontiguousarray(stamps.pixels(stamp)).tobytes())
    height, width = stamps.pictures[stamp.picture].shape[:2]
    # A cel has no eye of its own, so a hidden placement is one of opacity 0.
    opacity = round(255 * stamp.opacity) if stamp.layer.visible else 0
    head = struct.pack("<HhhBHh5x", cel.layer, stamp.left, stamp.top, opacity, 2, cel.z_index)
    return _chunk(0x2005, head + struct.pack("<HH", width, height) + packed[key])


def _frame(chunks: Sequence[bytes], milliseconds: int) -> bytes:
    data = b"".join(chunks)
    return (
        struct.pack("<IHHH2xI", 16 + len(data), 0xF1FA, min(len(chunks), LARGEST_WORD), milliseconds, len(chunks))
        + data
    )


def write_ase(
    scenes: Sequence[Scene], out: str | Path, *, rate: float | None = None, durations: Sequence[float] | None = None
) -> ExportResult:
    """Write the clip as `OUT/clip.aseprite`: frames, layers, cels.

    Args:
        scenes: Scenes of one decomposition, in the clip's order.
        out: The folder.
        rate: Frames per second; 10 where it is not known. A frame lasts whole milliseconds.
        durations: Milliseconds that each scene is seen, instead of a rate.

    Raises:
        ConfigError: There is no scene, the scenes do not share a dictionary, or the rate is out of range.
        ShapeError: The scenes differ in size.
        OutputError: The format cannot hold so many frames or layers or such a place, or the file cannot be written.
    """
    height, width = clip_size("ase", scenes)
    stamps = cut_stamps(scenes, sprites=False)
    layers, frames = _arrange(scenes, stamps)
    far = max([max(abs(s.left), abs(s.top)) for frame in stamps.frames for s in frame], default=0)
    if max(len(frames), len(layers) * 2, far * 2) > LARGEST_WORD:
        raise OutputError(
            f"ase: {len(frames)} frames, {len(layers)} layers and places up to {far} pixels; the format holds 65535 "
            "frames, 32767 layers and places up to 32767. Export a part of the clip."
        )
    milliseconds = whole_durations(frame_durations(len(scenes), rate, durations), 1, 1, LARGEST_WORD)
    packed: dict[tuple[int, bool], bytes] = {}
    parts = []
    for number, cels in enumerate(frames):
        chunks = [_cel_chunk(stamps, cel, packed) for cel in sorted(cels, key=lambda cel: cel.layer)]
        if number == 0:
            # The colours are sRGB; layers belong to the first frame.
            chunks = [_chunk(0x2007, struct.pack("<HHI8x", 1, 0, 0)), *map(_layer_chunk, layers), *chunks]
        parts.append(_frame(chunks, milliseconds[number]))
    body = b"".join(parts)
    header = struct.pack("<IHHHHHIH8xB3xHBBhhHH84x", 128 + len(body), 0xA5E0, len(frames), width, height, 32, 1,
                         milliseconds[0], 0, 0, 1, 1, 0, 0, 16, 16)  # fmt: skip
    assert len(header) == 128
    path = Path(out) / "clip.aseprite"
    write_atomic(path, header + body)
    return ExportResult((path,), _rounded_opacity(stamps).error(scenes))


def _rounded_opacity(stamps: Stamps) -> Stamps:
    """What the file says: opacities in 255 steps."""
    frames = [
        [Stamp(s.layer, s.picture, s.left, s.top, s.mirrored, round(255 * s.opacity) / 255) for s in frame]
        for frame in stamps.frames
    ]
    return Stamps(stamps.names, stamps.pictures, frames)

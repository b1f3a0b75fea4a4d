"""Godot 4: characters as SpriteFrames, and the tiles of maps as a TileSet with one atlas.

    OUT/sheet.png               the sprites and poses, packed
    OUT/character-0.tres ...    SpriteFrames for an AnimatedSprite2D: the animations of each character

Regions of the sheet have margins, so that all poses of a character have one size: feet stay where they are, and `flip_h`
moves nothing. The metadata `pivot` is where the feet are, in pixels from the upper left corner.

    OUT/tiles.png       the sheet, as `tiled` writes it
    OUT/tiles.tres      TileSet with a TileSetAtlasSource; the image is found beside it

Flips and transposition are Godot's own (alternative tiles 4096, 8192 and 16384 of a cell), so each tile is there once.
What lies at free places is no tile: `atlas` has the sprites.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from delaminate.exporters.atlas import draw_clip_sheet, sheet_bytes
from delaminate.exporters.characters import Animation, Character
from delaminate.exporters.files import ExportResult, write_files
from delaminate.exporters.tile_sheet import TileSheet
from delaminate.exporters.tiled import tile_sheet
from delaminate.files import png_bytes
from delaminate.scene.scenes import Scene


def tileset_text(sheet: TileSheet) -> str:
    """Write the resource, in Godot's text format 3."""
    height, width = sheet.size
    if not len(sheet):
        head = '[gd_resource type="TileSet" format=3]'
        return f"{head}\n\n[resource]\ntile_size = Vector2i({width}, {height})\n"
    places = [divmod(number, sheet.columns) for number in range(len(sheet))]
    return "\n".join(
        [
            '[gd_resource type="TileSet" load_steps=3 format=3]',
            "",
            '[ext_resource type="Texture2D" path="tiles.png" id="1"]',
            "",
            '[sub_resource type="TileSetAtlasSource" id="1"]',
            'resource_name = "tiles"',
            'texture = ExtResource("1")',
            f"texture_region_size = Vector2i({width}, {height})",
            *(f"{column}:{row}/0 = 0" for row, column in places),
            "",
            "[resource]",
            f"tile_size = Vector2i({width}, {height})",
            'sources/0 = SubResource("1")',
            "",
        ]
    )


def write_godot_tileset(scenes: Sequence[Scene], out: str | Path) -> ExportResult:
    """Write `OUT/tiles.tres` and `OUT/tiles.png`; a TileSet without an atlas, and no picture, where there are no tiles.

    Args:
        scenes: Scenes of one decomposition.
        out: The folder.

    Raises:
        ConfigError: The scenes do not share a dictionary.
        OutputError: A file cannot be written.
    """
    sheet = tile_sheet(scenes)
    files = {"tiles.tres": tileset_text(sheet).encode()}
    if len(sheet):
        files["tiles.png"] = png_bytes(sheet.image())
    return write_files(out, files, None)


# ---- Characters -------------------------------------------------------------------------------------------------


def _number(value: float) -> str:
    """A float as Godot writes it, with a point."""
    text = f"{value:.6f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text


def _texture(number: int, frame: dict[str, Any]) -> str:
    """A region of the sheet, and the margin that makes it as large as the canvas."""
    place, inner, whole = frame["frame"], frame["spriteSourceSize"], frame["sourceSize"]
    region = f"{place['x']}, {place['y']}, {place['w']}, {place['h']}"
    margin = f"{inner['x']}, {inner['y']}, {whole['w'] - inner['w']}, {whole['h'] - inner['h']}"
    lines = [
        f'[sub_resource type="AtlasTexture" id="{number}"]',
        'atlas = ExtResource("1")',
        f"region = Rect2({region})",
        f"margin = Rect2({margin})",
        "filter_clip = true",
    ]
    return "\n".join(lines)


def _played(animation: Animation, milliseconds: float) -> str:
    """An animation; Godot counts durations in parts of 1 / speed."""
    durations = animation.durations(milliseconds)
    speed = 1000 / milliseconds
    frames = ", ".join(
        f'{{\n"duration": {_number(duration * speed / 1000)},\n"texture": SubResource("{pose + 1}")\n}}'
        for pose, duration in zip(animation.poses, durations, strict=True)
    )
    loop = "true" if animation.kind == "cycle" else "false"
    return f'{{\n"frames": [{frames}],\n"loop": {loop},\n"name": &"{animation.name}",\n"speed": {_number(speed)}\n}}'


def sprite_frames_text(character: Character, frames: Sequence[dict[str, Any]], milliseconds: float) -> str:
    """Write a character as a SpriteFrames resource, in Godot's text format 3.

    Args:
        character: The character.
        frames: Where each of its poses lies on the sheet, see `atlas.Sheet`.
        milliseconds: How long a frame of the clip is seen.
    """
    x, y = character.canvas.pivot
    parts = [
        f'[gd_resource type="SpriteFrames" load_steps={len(frames) + 2} format=3]',
        '[ext_resource type="Texture2D" path="sheet.png" id="1"]',
        *(_texture(number, frame) for number, frame in enumerate(frames, 1)),
        "[resource]\nanimations = ["
        + ", ".join(_played(animation, milliseconds) for animation in character.animations)
        + f"]\nmetadata/pivot = Vector2({_number(x)}, {_number(y)})\n",
    ]
    return "\n\n".join(parts)


def write_godot(
    scenes: Sequence[Scene],
    out: str | Path,
    *,
    rate: float | None = None,
    durations: Sequence[float] | None = None,
    indexed: bool = False,
) -> ExportResult:
    """Write `OUT/sheet.png`, and `OUT/character-N.tres` for each character of the clip.

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
    files = {"sheet.png": sheet_bytes("godot", sheet, indexed)}
    for character, names in sheet.characters:
        text = sprite_frames_text(character, [sheet.frames[name] for name in names], milliseconds)
        files[f"{character.name}.tres"] = text.encode()
    return write_files(out, files, sheet.error(scenes))

"""Godot 4: the tiles of maps as a TileSet resource with one atlas.

    OUT/tiles.png       the sheet, as `tiled` writes it
    OUT/tiles.tres      TileSet with a TileSetAtlasSource; the image is found beside it

Flips and transposition are Godot's own (alternative tiles 4096, 8192 and 16384 of a cell), so each tile is there once.
What lies at free places is no tile: `atlas` has the sprites.
"""

from collections.abc import Sequence
from pathlib import Path

from delaminate.exporters.files import ExportResult
from delaminate.exporters.tile_sheet import TileSheet
from delaminate.exporters.tiled import tile_sheet
from delaminate.files import png_bytes, write_atomic
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
    for name, data in files.items():
        write_atomic(Path(out) / name, data)
    return ExportResult(tuple(Path(out) / name for name in files), None)

"""Tiled: one map per scene with tilesets that all share, for level editors.

    OUT/<name>.tmx          layers back to front: backgrounds and tiles as tile layers, everything else as objects
    OUT/tiles.tsx, .png     what lies on a lattice: one image, with animations where cells cycle
    OUT/sprites.tsx         a collection of images, one tile for each picture that lies at free places
    OUT/sprites/*.png       those pictures, trimmed
    OUT/background-0.tmx    the whole of a background that is larger than the canvas, or whose tiles move

What becomes a tile layer says `map_layout`. Layers are CSV, with the orientation in bits 31 to 29 of the tile's number.
"""

import posixpath
from collections.abc import Sequence
from pathlib import Path

from delaminate.exporters.files import ExportResult, frame_milliseconds
from delaminate.exporters.map_layout import ImageLayer, MapLayout, TileLayer
from delaminate.exporters.tile_sheet import TileSheet
from delaminate.exporters.tiled_xml import MapWriter, Tilesets, collection_text, sheet_text
from delaminate.files import png_bytes, write_atomic
from delaminate.scene.scenes import Scene


def _up(scene: Scene) -> str:
    """The way from a scene's map to the folder of all."""
    up = posixpath.relpath(".", posixpath.dirname(scene.name) or ".")
    return "" if up == "." else f"{up}/"


def _properties(layout: MapLayout, number: int) -> dict[str, int | str]:
    stamp = layout.backgrounds[number]
    properties: dict[str, int | str] = {"image": layout.scenes[number].name}
    if stamp is not None and stamp.picture in layout.levels:
        name = _up(layout.scenes[number]) + layout.level_name(stamp.picture)
        properties |= {"level": f"{name}.tmx", "level_x": -stamp.left, "level_y": -stamp.top}
    return properties


def _files(layout: MapLayout, milliseconds: float) -> dict[str, bytes]:
    """What every file holds, by its path."""
    found: dict[str, bytes] = {}
    tilesets = Tilesets(layout.sheet, {index: tile for tile, index in enumerate(layout.placed)}, layout.stamps)
    pictures = set(layout.placed)
    pictures |= {layer.stamp.picture for layers in layout.layers for layer in layers if isinstance(layer, ImageLayer)}
    for index in sorted(pictures):
        found[f"sprites/{layout.stamps.names[index]}.png"] = png_bytes(layout.stamps.pictures[index])
    if len(layout.sheet):
        found["tiles.png"] = png_bytes(layout.sheet.image())
        found["tiles.tsx"] = sheet_text(layout.sheet, milliseconds).encode()
    if tilesets.sprites:
        found["sprites.tsx"] = collection_text(layout.stamps, tilesets.sprites).encode()
    for number, scene in enumerate(layout.scenes):
        writer = MapWriter(tilesets, layout.tile, (scene.size[1], scene.size[0]))
        text = writer.text(layout.layers[number], _up(scene), _properties(layout, number))
        found[f"{scene.name}.tmx"] = text.encode()
    for picture, laid in layout.levels.items():
        layer = TileLayer("background", laid.tiles, laid.orientation, laid.left, laid.top)
        writer = MapWriter(tilesets, layout.tile, (laid.shape[1], laid.shape[0]))
        found[f"{layout.level_name(picture)}.tmx"] = writer.text([layer], "", {}).encode()
    return found


def tile_sheet(scenes: Sequence[Scene]) -> TileSheet:
    """Collect the tiles of scenes, as `write_tiled` does; none where nothing lies on a lattice.

    Raises:
        ConfigError: The scenes do not share a dictionary.
    """
    layout = MapLayout(scenes)
    layout.animate()
    return layout.sheet


def write_tiled(scenes: Sequence[Scene], out: str | Path, rate: float | None = None) -> ExportResult:
    """Write `OUT/<name>.tmx` for each scene, and the tilesets.

    Args:
        scenes: Scenes of one decomposition.
        out: The folder.
        rate: Frames per second, for tiles that cycle; 10 where None.

    Raises:
        ConfigError: The scenes do not share a dictionary, or the rate is out of range.
        OutputError: A file cannot be written.
    """
    out = Path(out)
    milliseconds = frame_milliseconds(rate)
    layout = MapLayout(scenes)
    layout.animate()
    files = []
    for name, data in _files(layout, milliseconds).items():
        files.append(out / name)
        write_atomic(files[-1], data)
    return ExportResult(tuple(files), layout.stamps.error(scenes))

"""Every format that layers are written in: one row each, from which the command line and the documents are made.

Light to import: what writes a format is imported when it is written.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from delaminate.exporters.files import ExportResult


@dataclass(frozen=True)
class Format:
    """One way out, as the command line offers it.

    Attributes:
        writer: `write_x(scenes, out, **options) -> ExportResult`, which fills the folder that it is given; or where it is
            within this package, as "module:name".
        about: What it writes, in a few words.
        options: What may be chosen besides: "rate" in frames per second, "durations" (milliseconds of each
            scene), "background" (with the background), "residuals" (what was not explained), "indexed"
            (pictures with a palette), "images" (where the originals are), "split" (things that touch apart), "fill",
            "margin" and "webp" (of cut-outs).
        extra: The extra that it needs, or None.
        of_sprites: It writes the sprites that scenes share, and nothing where they share none.
        by_scene: Every scene has files of its own, and there are no others: parts may be written apart.
    """

    writer: Callable[..., Any] | str
    about: str
    options: tuple[str, ...] = ()
    extra: str | None = None
    of_sprites: bool = False
    by_scene: bool = False

    def write(self, scenes: Any, out: Path, **options: Any) -> "ExportResult":
        """Write scenes into a folder."""
        writer = self.writer
        if isinstance(writer, str):
            module, _, name = writer.partition(":")
            writer = getattr(importlib.import_module(f"delaminate.exporters.{module}"), name)
        result: ExportResult = writer(scenes, out, **options)
        return result


# By name, as on the command line.
FORMATS = {
    "png": Format("pngs:write_pngs", "every layer as a transparent picture, and a manifest"),
    "masks": Format("pngs:write_masks", "which layer, and which sprite, is seen at each pixel", by_scene=True),
    "atlas": Format(
        "atlas:write_atlas", "a sprite sheet with TexturePacker's JSON, for game engines", ("indexed",), of_sprites=True
    ),
    "aseprite": Format(
        "aseprite:write_aseprite",
        "a sprite sheet with Aseprite's JSON: animations as tags",
        ("rate", "durations", "indexed"),
        of_sprites=True,
    ),
    "godot": Format(
        "godot:write_godot",
        "characters and their animations as SpriteFrames for Godot 4",
        ("rate", "durations", "indexed"),
        of_sprites=True,
    ),
    "phaser": Format(
        "phaser:write_phaser",
        "a sprite sheet and animations for Phaser 3",
        ("rate", "durations", "indexed"),
        of_sprites=True,
    ),
    "ase": Format("aseprite:write_ase", "the clip as one Aseprite file: a layer for each track", ("rate", "durations")),
    "tiled": Format(
        "tiled:write_tiled", "maps and a tileset for Tiled; tiles are found, in backgrounds too", ("rate",)
    ),
    "ldtk": Format("ldtk:write_ldtk", "one LDtk project, a level for each scene; tiles are found as for Tiled"),
    "godot-tileset": Format("godot:write_godot_tileset", "the tiles of maps as a TileSet for Godot 4"),
    "ora": Format("openraster:write_openraster", "OpenRaster, layered files for Krita and GIMP", by_scene=True),
    "psd": Format(
        "photoshop:write_psd", "layered files for Photoshop and its relatives", extra="export", by_scene=True
    ),
    "svg": Format("svg:write_svg", "vector drawings that place each sprite by reference", by_scene=True),
    "gif": Format(
        "animations:write_gif", "the objects as an animation of 256 colours", ("rate", "durations", "background")
    ),
    "apng": Format(
        "animations:write_apng", "the objects as an animated PNG, nothing lost", ("rate", "durations", "background")
    ),
    "webp": Format(
        "animations:write_webp", "the objects as an animated WebP, nothing lost", ("rate", "durations", "background")
    ),
    "mp4": Format("video:write_mp4", "the clip as a video", ("rate", "durations", "background"), "video"),
    "placements": Format(
        "placements:write_placements", "where every sprite is, as CSV and JSON", ("rate", "durations")
    ),
    "parquet": Format(
        "parquet:write_parquet",
        "placements and masks as one table, for data frames",
        ("rate", "durations"),
        "table",
    ),
    "coco": Format("coco:write_coco", "masks as annotations, for training detectors"),
    "objects": Format(
        "objects:write_objects",
        "what can be counted: areas, boxes, centroids, colours as CSV, labels as TIFF",
        ("split",),
    ),
    "cutouts": Format(
        "cutouts:write_cutouts", "every object as a trimmed picture, least sure first", ("fill", "margin", "webp")
    ),
    "catalogue": Format(
        "catalogue:write_catalogue",
        "every sprite with all its occurrences: a page, tables, Web Annotations, PAGE-XML",
        ("residuals", "images"),
        of_sprites=True,
    ),
    "html": Format("html:write_html", "one page to look at and to send to a colleague", ("residuals",)),
}

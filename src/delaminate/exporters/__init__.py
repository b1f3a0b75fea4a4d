"""Ways out: layer pictures, sheets, maps, layered files, drawings, animations, tables, annotations and a report.

Every exporter is `write_X(scenes, out, ...) -> ExportResult`. It writes each file whole or not at all, gives the same
bytes for the same scenes, and says how closely what it wrote composites back to the reconstruction.
"""

import importlib
from typing import TYPE_CHECKING, Any

from delaminate.exporters.formats import FORMATS, Format

if TYPE_CHECKING:
    from delaminate.exporters.animations import write_apng, write_gif, write_webp
    from delaminate.exporters.aseprite import write_ase, write_aseprite
    from delaminate.exporters.atlas import write_atlas
    from delaminate.exporters.coco import write_coco
    from delaminate.exporters.files import ExportResult
    from delaminate.exporters.godot import write_godot, write_godot_tileset
    from delaminate.exporters.html import write_html, write_report
    from delaminate.exporters.ldtk import write_ldtk
    from delaminate.exporters.openraster import write_openraster
    from delaminate.exporters.parquet import write_parquet
    from delaminate.exporters.phaser import write_phaser
    from delaminate.exporters.photoshop import write_psd
    from delaminate.exporters.placements import write_placements
    from delaminate.exporters.pngs import write_masks, write_pngs
    from delaminate.exporters.svg import write_svg
    from delaminate.exporters.tiled import write_tiled
    from delaminate.exporters.video import write_mp4

# Imported when first used: the command line lists formats without waiting for what writes them.
_PLACES = {
    "ExportResult": "files",
    "write_apng": "animations",
    "write_ase": "aseprite",
    "write_aseprite": "aseprite",
    "write_atlas": "atlas",
    "write_coco": "coco",
    "write_gif": "animations",
    "write_godot": "godot",
    "write_godot_tileset": "godot",
    "write_html": "html",
    "write_ldtk": "ldtk",
    "write_masks": "pngs",
    "write_mp4": "video",
    "write_openraster": "openraster",
    "write_parquet": "parquet",
    "write_phaser": "phaser",
    "write_placements": "placements",
    "write_pngs": "pngs",
    "write_psd": "photoshop",
    "write_report": "html",
    "write_svg": "svg",
    "write_tiled": "tiled",
    "write_webp": "animations",
}

__all__ = [
    "FORMATS",
    "ExportResult",
    "Format",
    "write_apng",
    "write_ase",
    "write_aseprite",
    "write_atlas",
    "write_coco",
    "write_gif",
    "write_godot",
    "write_godot_tileset",
    "write_html",
    "write_ldtk",
    "write_masks",
    "write_mp4",
    "write_openraster",
    "write_parquet",
    "write_phaser",
    "write_placements",
    "write_pngs",
    "write_psd",
    "write_report",
    "write_svg",
    "write_tiled",
    "write_webp",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'delaminate.exporters' has no attribute {name!r}")
    return getattr(importlib.import_module(f"delaminate.exporters.{_PLACES[name]}"), name)

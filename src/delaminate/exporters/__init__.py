"""Ways out: layer pictures, sheets, maps, layered files, drawings, animations, tables, annotations and a report.

Every exporter is `write_X(scenes, out, ...) -> ExportResult`. It writes each file whole or not at all, gives the same
bytes for the same scenes, and says how closely what it wrote composites back to the reconstruction.
"""

from collections.abc import Callable
from dataclasses import dataclass

from delaminate.exporters.animations import write_apng, write_gif, write_webp
from delaminate.exporters.aseprite import write_ase, write_aseprite
from delaminate.exporters.atlas import write_atlas
from delaminate.exporters.coco import write_coco
from delaminate.exporters.files import ExportResult
from delaminate.exporters.html import write_html, write_report
from delaminate.exporters.openraster import write_openraster
from delaminate.exporters.photoshop import write_psd
from delaminate.exporters.placements import write_placements
from delaminate.exporters.pngs import write_masks, write_pngs
from delaminate.exporters.svg import write_svg
from delaminate.exporters.tiled import write_tiled
from delaminate.exporters.video import write_mp4


@dataclass(frozen=True)
class Format:
    """One way out, as the command line offers it.

    Attributes:
        write: `write(scenes, out, **options)`; it fills the folder that it is given.
        about: What it writes, in a few words.
        options: What may be chosen besides: "rate" in frames per second, "background" (with the background),
            "residuals" (what was not explained).
        extra: The extra that it needs, or None.
        of_sprites: It writes the sprites that scenes share, and nothing where they share none.
    """

    write: Callable[..., ExportResult]
    about: str
    options: tuple[str, ...] = ()
    extra: str | None = None
    of_sprites: bool = False


# By name, as on the command line.
FORMATS = {
    "png": Format(write_pngs, "every layer as a transparent picture, and a manifest"),
    "masks": Format(write_masks, "which layer, and which sprite, is seen at each pixel"),
    "atlas": Format(write_atlas, "a sprite sheet with TexturePacker's JSON, for game engines", of_sprites=True),
    "aseprite": Format(
        write_aseprite, "a sprite sheet with Aseprite's JSON: animations as tags", ("rate",), of_sprites=True
    ),
    "ase": Format(write_ase, "the clip as one Aseprite file: a layer for each track", ("rate",)),
    "tiled": Format(write_tiled, "maps and a tileset for Tiled; the grid is found"),
    "ora": Format(write_openraster, "OpenRaster, layered files for Krita and GIMP"),
    "psd": Format(write_psd, "layered files for Photoshop and its relatives", extra="export"),
    "svg": Format(write_svg, "vector drawings that place each sprite by reference"),
    "gif": Format(write_gif, "the objects as an animation of 256 colours", ("rate", "background")),
    "apng": Format(write_apng, "the objects as an animated PNG, nothing lost", ("rate", "background")),
    "webp": Format(write_webp, "the objects as an animated WebP, nothing lost", ("rate", "background")),
    "mp4": Format(write_mp4, "the clip as a video", ("rate", "background"), "video"),
    "placements": Format(write_placements, "where every sprite is, as CSV and JSON", ("rate",)),
    "coco": Format(write_coco, "masks as annotations, for training detectors"),
    "html": Format(write_html, "one page to look at and to send to a colleague", ("residuals",)),
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
    "write_html",
    "write_masks",
    "write_mp4",
    "write_openraster",
    "write_placements",
    "write_pngs",
    "write_psd",
    "write_report",
    "write_svg",
    "write_tiled",
    "write_webp",
]

"""Ways out: layer pictures, masks, sprite atlases, layered files, annotations and a report.

Every exporter is `write_X(scenes, out, ...) -> ExportResult`. It writes each file whole or not at all, gives the same
bytes for the same scenes, and says how closely what it wrote composites back to the reconstruction.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from delaminate.export.atlas import write_atlas
from delaminate.export.coco import write_coco
from delaminate.export.files import ExportResult
from delaminate.export.openraster import write_openraster
from delaminate.export.pngs import write_masks, write_pngs
from delaminate.export.report import write_html, write_report
from delaminate.scene.scenes import Scene

Writer = Callable[[Sequence[Scene], str | Path], ExportResult]

# Names for the command line. Each writer fills the folder that it is given.
FORMATS: dict[str, Writer] = {
    "png": write_pngs,
    "masks": write_masks,
    "atlas": write_atlas,
    "ora": write_openraster,
    "coco": write_coco,
    "html": write_html,
}

__all__ = [
    "FORMATS",
    "ExportResult",
    "Writer",
    "write_atlas",
    "write_coco",
    "write_html",
    "write_masks",
    "write_openraster",
    "write_pngs",
    "write_report",
]

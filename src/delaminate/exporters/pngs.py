"""One PNG per layer and one manifest; label maps.

OUT/<name>/00-background.png ...   canvas-sized RGBA, hidden parts included, back to front
OUT/manifest.json                  files, layers and sizes of every scene
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from delaminate.exporters.files import ExportResult, difference, flatten, painted_layers
from delaminate.files import json_bytes, png_bytes, write_atomic
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import OWN_RASTER
from delaminate.scene.scenes import Scene, SceneLayer

FORMAT, VERSION = "delaminate-layers", 1
EIGHT_BITS = 255


def _describe(scene: Scene, layer: SceneLayer) -> dict[str, Any]:
    entry = layer.placement.entry
    return {
        "id": layer.id,
        "name": layer.name,
        "entry": None if entry == OWN_RASTER else scene.dictionary.name(entry),
        "visible": layer.visible,
        "track": layer.placement.track,
    }


def write_pngs(scenes: Sequence[Scene], out: str | Path) -> ExportResult:
    """Write every layer as a canvas-sized picture that any program can stack.

    Hidden layers are written too, and the manifest says that they are hidden.

    Raises:
        OutputError: A file cannot be written.
    """
    out = Path(out)
    files: list[Path] = []
    images: list[dict[str, Any]] = []
    worst = 0.0
    for scene in scenes:
        painted = list(painted_layers(scene))
        rows = []
        for index, picture in enumerate(painted):
            path = out / scene.name / f"{index:02d}-{picture.layer.id}.png"
            write_atomic(path, png_bytes(picture.canvas()))
            files.append(path)
            rows.append({"file": path.relative_to(out).as_posix(), **_describe(scene, picture.layer)})
        error = difference(scene, flatten(scene.size, painted, [float(p.layer.visible) for p in painted]))
        worst = max(worst, error)
        height, width = scene.size
        images.append(
            {
                "name": scene.name,
                "height": height,
                "width": width,
                "background": scene.background,
                "max_error": error,
                "layers": rows,
            }
        )
    manifest = {"format": FORMAT, "version": VERSION, "max_error": worst, "images": images}
    write_atomic(out / "manifest.json", json_bytes(manifest))
    return ExportResult((*files, out / "manifest.json"), worst)


def label_picture(labels: np.ndarray) -> np.ndarray:
    """Hold labels in 8 bits where they fit, else in 16."""
    return labels.astype(np.uint8 if labels.max(initial=0) <= EIGHT_BITS else np.uint16)


def write_masks(scenes: Sequence[Scene], out: str | Path) -> ExportResult:
    """Write label maps: which layer, and which dictionary entry + 1, is seen most; 0 is the background.

    `instances.png` counts layers from 1 (with a background, that is the layer's position); `classes.png` is entry + 1,
    and 0 for layers with a picture of their own. 8-bit grey, or 16-bit where labels are above 255.

    Raises:
        OutputError: A file cannot be written.
    """
    out = Path(out)
    files = []
    for scene in scenes:
        instances, classes = Decomposition.from_scene(scene).labels()
        for name, labels in (("instances", instances), ("classes", classes)):
            path = out / scene.name / f"{name}.png"
            write_atomic(path, png_bytes(label_picture(labels[0].numpy())))
            files.append(path)
    return ExportResult(tuple(files), None)

"""Photoshop: one layered file per scene, for Photoshop, Affinity, Procreate and whatever else opens PSD.

RGBA, 8 bits. Layers are trimmed and lie at their offset; names, opacity (in 255 steps) and visibility stay values that a
person can change, and the flattened picture is inside for programs that read no layers.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from delaminate.errors import MissingExtra, OutputError
from delaminate.exporters.files import ExportResult, difference, flatten, merged, painted_layers
from delaminate.files import write_atomic
from delaminate.scene.scenes import Scene

LARGEST_SIDE = 30_000  # of the format; larger ones would be PSB
LONGEST_NAME = 255


def _library() -> tuple[Any, Any]:
    """What makes documents, and what makes layers in them."""
    try:
        from psd_tools import PSDImage
        from psd_tools.api.layers import PixelLayer
    except ImportError as error:
        raise MissingExtra("PSD", "export") from error
    return PSDImage, PixelLayer


def write_psd(scenes: Sequence[Scene], out: str | Path) -> ExportResult:
    """Write `OUT/<name>.psd` for each scene.

    Args:
        scenes: Scenes; they need not share a dictionary.
        out: The folder.

    Raises:
        MissingExtra: psd-tools is not installed.
        OutputError: A picture has more pixels than the format holds, or a file cannot be written.
    """
    new_document, new_layer = _library()
    files, worst = [], 0.0
    for scene in scenes:
        if max(scene.size) > LARGEST_SIDE:
            raise OutputError(f"psd: {scene.name!r} is {scene.size}; expected sides up to {LARGEST_SIDE} pixels.")
        document = new_document.frompil(Image.fromarray(merged(scene)))
        painted = list(painted_layers(scene, opacity=False, whole=True))
        opacities = []
        for picture in painted:
            layer = new_layer.frompil(
                Image.fromarray(picture.pixels),
                document,
                f"{picture.layer.name} [{picture.layer.id}]"[:LONGEST_NAME],
                picture.top,
                picture.left,
            )
            layer.opacity = round(255 * picture.layer.placement.opacity)
            layer.visible = picture.layer.visible
            opacities.append(layer.opacity / 255 if picture.layer.visible else 0.0)
        buffer = io.BytesIO()
        document.save(buffer)
        path = Path(out) / f"{scene.name}.psd"
        write_atomic(path, buffer.getvalue())
        files.append(path)
        worst = max(worst, difference(scene, flatten(scene.size, painted, opacities)))
    return ExportResult(tuple(files), worst)

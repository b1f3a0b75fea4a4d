"""OpenRaster: one layered file per scene, for Krita, MyPaint and other paint programs.

An .ora file is a ZIP archive (OpenRaster 0.0.5): `mimetype` first and stored, `stack.xml` front to back, a PNG for
each layer with its offset, the flattened picture and a thumbnail. Layers are trimmed; opacity and visibility stay
values that a person can change. The same scene gives the same bytes.
"""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from delaminate.exporters.files import ExportResult, Painted, difference, flatten, merged, painted_layers
from delaminate.files import png_bytes, write_atomic
from delaminate.scene.scenes import Scene

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that ZIP knows
THUMBNAIL_SIDE = 256


def _stack(scene: Scene, painted: Sequence[Painted]) -> str:
    height, width = scene.size
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    lines.append(f'<image version="0.0.5" w="{width}" h="{height}" xres="72" yres="72">')
    lines.append(f" <stack name={quoteattr(scene.name)}>")
    for picture in reversed(painted):
        layer = picture.layer
        lines.append(
            f"  <layer name={quoteattr(f'{layer.name} [{layer.id}]')} src={quoteattr(f'data/{layer.id}.png')} "
            f'x="{picture.left}" y="{picture.top}" opacity="{float(layer.placement.opacity)!r}" '
            f'visibility="{"visible" if layer.visible else "hidden"}" composite-op="svg:src-over"/>'
        )
    return "\n".join([*lines, " </stack>", "</image>", ""])


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    return np.asarray(image)


def _archive(members: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            # PNGs are compressed already, and readers find the type by the first stored bytes.
            info.compress_type = zipfile.ZIP_DEFLATED if name.endswith(".xml") else zipfile.ZIP_STORED
            archive.writestr(info, data)
    return buffer.getvalue()


def write_openraster(scenes: Sequence[Scene], out: str | Path) -> ExportResult:
    """Write `OUT/<name>.ora` for each scene.

    Raises:
        OutputError: A file cannot be written.
    """
    files, worst = [], 0.0
    for scene in scenes:
        painted = list(painted_layers(scene, opacity=False, whole=True))
        flat = merged(scene)
        members = [("mimetype", b"image/openraster"), ("stack.xml", _stack(scene, painted).encode())]
        members += [(f"data/{picture.layer.id}.png", png_bytes(picture.pixels)) for picture in painted]
        members += [("mergedimage.png", png_bytes(flat)), ("Thumbnails/thumbnail.png", png_bytes(_thumbnail(flat)))]
        path = Path(out) / f"{scene.name}.ora"
        write_atomic(path, _archive(members))
        files.append(path)
        opacities = [p.layer.placement.opacity if p.layer.visible else 0.0 for p in painted]
        worst = max(worst, difference(scene, flatten(scene.size, painted, opacities)))
    return ExportResult(tuple(files), worst)

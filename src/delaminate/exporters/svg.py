"""SVG: one drawing per scene, for vector programs and web pages.

Each picture is a `symbol` with a PNG inside, shown with square pixels; each placement is a `use` with its transform,
mirroring included, so that a change of one symbol changes every place that shows it. Opacity and visibility stay values
that a person can change. What was turned, scaled, warped or lies between pixels is a symbol of its own, as painted.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from delaminate.exporters.blits import Stamp, Stamps, cut_stamps
from delaminate.exporters.files import ExportResult
from delaminate.files import png_bytes, write_atomic
from delaminate.scene.scenes import Scene


def _symbol(name: str, data: str, width: int, height: int) -> str:
    return (
        f'  <symbol id={quoteattr(name)} viewBox="0 0 {width} {height}"><image width="{width}" height="{height}" '
        f'preserveAspectRatio="none" style="image-rendering:pixelated" href="data:image/png;base64,{data}"/></symbol>'
    )


def _use(stamps: Stamps, stamp: Stamp) -> str:
    height, width = stamps.pictures[stamp.picture].shape[:2]
    matrix = f"-1 0 0 1 {stamp.left + width}" if stamp.mirrored else f"1 0 0 1 {stamp.left}"
    layer = stamp.layer
    extra = "" if stamp.opacity == 1 else f' opacity="{float(stamp.opacity)!r}"'
    extra += "" if layer.visible else ' display="none"'
    extra += "" if layer.placement.track is None else f' data-track="{layer.placement.track}"'
    return (
        f"  <use id={quoteattr(f'place-{layer.id}')} href={quoteattr('#' + stamps.names[stamp.picture])} "
        f'width="{width}" height="{height}" transform="matrix({matrix} {stamp.top})"{extra}>'
        f"<title>{escape(layer.name)}</title></use>"
    )


def write_svg(scenes: Sequence[Scene], out: str | Path) -> ExportResult:
    """Write `OUT/<name>.svg` for each scene.

    Args:
        scenes: Scenes of one decomposition.
        out: The folder.

    Raises:
        ConfigError: The scenes do not share a dictionary.
        OutputError: A file cannot be written.
    """
    stamps = cut_stamps(scenes, sprites=False)
    encoded: dict[int, str] = {}
    files = []
    for scene, frame in zip(scenes, stamps.frames, strict=True):
        height, width = scene.size
        lines = ['<?xml version="1.0" encoding="UTF-8"?>']
        lines.append(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        )
        lines += [f" <title>{escape(scene.name)}</title>", " <defs>"]
        for index in dict.fromkeys(stamp.picture for stamp in frame):
            picture = stamps.pictures[index]
            if index not in encoded:
                encoded[index] = base64.b64encode(png_bytes(picture)).decode()
            lines.append(_symbol(stamps.names[index], encoded[index], picture.shape[1], picture.shape[0]))
        lines += [" </defs>", " <g>", *(_use(stamps, stamp) for stamp in frame), " </g>", "</svg>", ""]
        path = Path(out) / f"{scene.name}.svg"
        write_atomic(path, "\n".join(lines).encode())
        files.append(path)
    return ExportResult(tuple(files), stamps.error(scenes))

"""Cut-outs: every object as a picture of its own, in one flat folder, least sure first.

    OUT/0001-NAME.png    the object, trimmed, with a margin
    OUT/cutouts.csv      one row a file: image, layer, box, how sure its outline is

How sure: 1 less the share of what is covered by half, 2 min(a, 1 - a) over all alphas a; 1 for hard outlines.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageColor

from delaminate.errors import ConfigError
from delaminate.exporters.files import ExportResult, Painted, painted_layers
from delaminate.exporters.placements import csv_cell
from delaminate.files import png_bytes, write_atomic
from delaminate.scene.scenes import BORDER, Scene

TRANSPARENT = "transparent"
MARGINS = (0, 10_000)


def colour_of_fill(fill: str) -> tuple[int, int, int] | None:
    """Read what a cut-out lies on; None: nothing.

    Raises:
        ConfigError: It is no colour.
    """
    if fill == TRANSPARENT:
        return None
    try:
        red, green, blue, *_ = ImageColor.getcolor(fill, "RGB")  # type: ignore[misc]
    except ValueError as error:
        raise ConfigError(
            f"fill: {fill!r:.40}; expected 'transparent', a name such as 'white' or a colour such as '#f4f1ea'."
        ) from error
    return int(red), int(green), int(blue)


def write_cutouts(
    scenes: Sequence[Scene], out: str | Path, *, fill: str = TRANSPARENT, margin: int = 0, webp: bool = False
) -> ExportResult:
    """Write every object that is seen; backgrounds and borders are none.

    Args:
        scenes: Scenes; they need not share a dictionary.
        out: The folder.
        fill: "transparent", or the colour that the object lies on.
        margin: Free pixels around it.
        webp: Lossless WebP instead of PNG.

    Raises:
        ConfigError: The colour or the margin is none.
        OutputError: A file cannot be written.
    """
    ground, out = colour_of_fill(fill), Path(out)
    if not MARGINS[0] <= margin <= MARGINS[1]:
        raise ConfigError(f"margin: {margin} pixels; expected {MARGINS[0]} to {MARGINS[1]:,}.")
    # Painted twice, one scene at a time, so that not all pictures have to be kept until their order is known.
    sure = [
        (_sureness(painted), number, index)
        for number, scene in enumerate(scenes)
        for index, painted in enumerate(_objects(scene))
    ]
    ranks = {(number, index): rank for rank, (_, number, index) in enumerate(sorted(sure), start=1)}
    digits, kept = max(len(str(len(ranks))), 4), "webp" if webp else "png"
    rows: dict[int, list[object]] = {}
    for number, scene in enumerate(scenes):
        for index, painted in enumerate(_objects(scene)):
            rank = ranks[number, index]
            name = f"{rank:0{digits}d}-{_flat_name(scene.name)}.{kept}"
            write_atomic(out / name, _encoded(_framed(painted.inside, margin, ground), webp))
            (down, across), (height, width) = painted.window, painted.inside.shape[:2]
            rows[rank] = [
                name, scene.name, painted.layer.id, painted.layer.name, round(_sureness(painted), 4), across.start, down.start,
                width, height,
            ]  # fmt: skip
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "image", "layer", "name", "sureness", "x", "y", "width", "height"])
    ordered = [rows[rank] for rank in sorted(rows)]
    table.writerows([[csv_cell(each) for each in row] for row in ordered])
    write_atomic(out / "cutouts.csv", text.getvalue().encode())
    return ExportResult((*(out / str(row[0]) for row in ordered), out / "cutouts.csv"), None)


def _objects(scene: Scene) -> Iterator[Painted]:
    """Layers that are objects and are seen, as pictures."""
    for position, painted in enumerate(painted_layers(scene)):
        layer, is_background = painted.layer, scene.background and position == 0
        if layer.visible and layer.id != BORDER and not is_background and painted.pixels[..., 3].any():
            yield painted


def _sureness(painted: Painted) -> float:
    alpha = painted.pixels[..., 3] / 255.0
    return float(1 - (2 * np.minimum(alpha, 1 - alpha)).sum() / max(alpha.sum(), 1e-9))


def _flat_name(name: str) -> str:
    """A name without folders and without its ending, for one folder."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", name)
    return re.sub(r"[^\w.-]+", "_", stem)[-100:].strip(".") or "object"


def _framed(
    pixels: UInt8[np.ndarray, "h w 4"], margin: int, ground: tuple[int, int, int] | None
) -> UInt8[np.ndarray, "H W c"]:
    pixels = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)))
    if ground is None:
        return pixels
    alpha = pixels[..., 3:] / 255.0
    return np.rint(alpha * pixels[..., :3] + (1 - alpha) * np.array(ground)).astype(np.uint8)


def _encoded(pixels: UInt8[np.ndarray, "h w c"], webp: bool) -> bytes:
    if not webp:
        return png_bytes(pixels)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True, exact=True)
    return buffer.getvalue()

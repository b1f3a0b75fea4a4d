"""Placements as a table: where every sprite is, in every image.

    OUT/placements.csv     one row per layer, for spreadsheets and data frames
    OUT/placements.json    the same with all transforms, and what is needed to put the images together again
    OUT/sprites/*.png      the dictionary
    OUT/rasters/...        pictures of layers that show no sprite

Numbers are plain numbers. A text that a spreadsheet would take for a formula (`=`, `+`, `-` or `@` at its start) has an
apostrophe before it in the CSV.
"""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from delaminate.exporters.files import ExportResult, difference, frame_durations
from delaminate.files import from_pixels, json_bytes, png_bytes, to_pixels, write_atomic
from delaminate.scene.collection import shared_dictionary
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement
from delaminate.scene.scenes import Scene, SceneLayer

FORMAT, VERSION = "delaminate-placements", 1
FORMULA = ("=", "+", "-", "@", "\t", "\r")
GAINS = ("red_gain", "green_gain", "blue_gain", "red_offset", "green_offset", "blue_offset")
COLUMNS = (
    *("frame", "seconds", "image", "order", "layer", "name", "sprite", "track"),
    *("x", "y", "width", "height", "flip", "opacity", "visible"),
    *("a", "b", "c", "d", "e", "f"),
    *GAINS,
)


def _plain(number: float) -> int | float:
    """Write whole numbers without a point."""
    return int(number) if math.isfinite(number) and number == int(number) and abs(number) < 2**53 else float(number)


def _affine(placement: Placement) -> np.ndarray | None:
    """The placement as one affine matrix; None where it is not affine."""
    if len(placement.transforms) != 1 or placement.transforms[0].kind != "matrix":
        return None
    matrix = placement.transforms[0].matrix
    return matrix if tuple(matrix[2]) == (0, 0, 1) else None


def describe(layer: SceneLayer, dictionary: Dictionary) -> dict[str, Any]:
    """Describe one layer by the columns from `layer` on.

    `x`, `y`, `width` and `height` bound the sprite's whole picture on the canvas, in pixels that may be broken; `flip`
    says that it is mirrored. The matrix maps a sprite's pixel (u, v) to (a u + c v + e, b u + d v + f), as in SVG. What
    a perspective or a spline does not bound has None there; `transforms` in the JSON says how it lies.
    """
    placement = layer.placement
    raster = dictionary.sprites[placement.entry] if placement.raster is None else placement.raster
    row: dict[str, Any] = {
        "layer": layer.id,
        "name": layer.name,
        "sprite": None if placement.entry == OWN_RASTER else dictionary.name(placement.entry),
        "track": placement.track,
        **dict.fromkeys(("x", "y", "width", "height", "flip")),
        "opacity": _plain(placement.opacity),
        "visible": layer.visible,
        **dict.fromkeys("abcdef"),
    }
    matrix = _affine(placement)
    if matrix is not None:
        height, width = raster.shape[1:]
        corners = np.array([[x, y, 1] for x in (0, width) for y in (0, height)]) @ matrix.T
        (left, top), (right, bottom) = corners[:, :2].min(0), corners[:, :2].max(0)
        for key, number in zip(("x", "y", "width", "height"), (left, top, right - left, bottom - top), strict=True):
            row[key] = _plain(number)
        row["flip"] = bool(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0] < 0)
        for key, number in zip("abcdef", matrix[:2].T.ravel(), strict=True):
            row[key] = _plain(number)
    row.update({key: _plain(number) for key, number in zip(GAINS, placement.colour, strict=True)})
    return row


def csv_cell(value: object) -> object:
    """Make a CSV cell; None is an empty one."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return value


def _eight_bits(scene: Scene, dictionary: Dictionary) -> Scene:
    """The scene as it comes back from the files."""
    layers = []
    for layer in scene.layers:
        if layer.placement.raster is not None:
            raster = from_pixels(to_pixels(layer.placement.raster))
            layer = dataclasses.replace(layer, placement=dataclasses.replace(layer.placement, raster=raster))
        layers.append(layer)
    return dataclasses.replace(scene, layers=tuple(layers), dictionary=dictionary)


def write_placements(
    scenes: Sequence[Scene], out: str | Path, *, rate: float | None = None, durations: Sequence[float] | None = None
) -> ExportResult:
    """Write all placements as CSV and JSON, with the pictures that they place.

    Args:
        scenes: Scenes of one decomposition, in the clip's order; `frame` counts them from 0.
        out: The folder.
        rate: Frames per second, for the column `seconds`; empty where it is not known.
        durations: Milliseconds that each scene is seen, instead of a rate.

    Raises:
        ConfigError: The scenes do not share a dictionary, or the rate is out of range.
        OutputError: A file cannot be written.
    """
    out = Path(out)
    dictionary = shared_dictionary(scenes)
    lasting = frame_durations(len(scenes), rate, durations)
    timed = rate is not None or durations is not None
    now = 0.0
    files: list[Path] = []
    sprites = []
    for entry, sprite in enumerate(dictionary.sprites):
        name, (height, width) = dictionary.name(entry), sprite.shape[1:]
        files.append(out / "sprites" / f"{name}.png")
        write_atomic(files[-1], png_bytes(to_pixels(sprite)))
        size = {"height": height, "width": width, "background": entry in dictionary.backgrounds}
        sprites.append({"name": name, "file": f"sprites/{name}.png", **size})
    rounded = tuple(from_pixels(to_pixels(sprite)) for sprite in dictionary.sprites)
    eight_bits = dataclasses.replace(dictionary, sprites=rounded)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    frames, worst = [], 0.0
    for frame, scene in enumerate(scenes):
        rows = []
        seconds = _plain(round(now / 1000, 6)) if timed else None
        now += lasting[frame]
        for order, layer in enumerate(scene.layers):
            row = describe(layer, dictionary)
            head = {"frame": frame, "seconds": seconds, "image": scene.name, "order": order}
            table.writerow([csv_cell(({**head, **row})[key]) for key in COLUMNS])
            raster = layer.placement.raster
            if raster is not None:
                file = f"rasters/{scene.name}/{layer.id}.png"
                row["raster"] = file
                files.append(out / file)
                write_atomic(files[-1], png_bytes(to_pixels(raster)))
            row["transforms"] = [
                {"kind": step.kind, "parameters": [_plain(x) for x in step.parameters], "size": list(step.size)}
                for step in layer.placement.transforms
            ]
            rows.append({"order": order, **row})
        size = {"height": scene.size[0], "width": scene.size[1], "background": scene.background}
        frames.append({"frame": frame, "seconds": seconds, "image": scene.name, **size, "placements": rows})
        if durations is not None:
            frames[-1]["milliseconds"] = _plain(lasting[frame])
        worst = max(worst, difference(scene, _eight_bits(scene, eight_bits).composite()))
    document = {"format": FORMAT, "version": VERSION, "rate": rate, "sprites": sprites, "frames": frames}
    write_atomic(out / "placements.csv", text.getvalue().encode())
    write_atomic(out / "placements.json", json_bytes(document))
    return ExportResult((*files, out / "placements.csv", out / "placements.json"), worst)

"""Objects: what can be counted and measured, as tables and label images.

    OUT/objects.csv        one row an object: size, place, shape, colour
    OUT/counts.csv         one row an image: how many objects, how much they cover
    OUT/labels/NAME.tif    16 bits: 0 is the background, then the numbers of the objects in objects.csv

A layer that shows a sprite in one piece is one object; a layer in several pieces, such as a mask of all cells, is as many. Only
what is seen counts. Specks, much smaller than what is usual in the collection, are left out.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from PIL import Image
from scipy import ndimage

from delaminate.exporters.files import ExportResult, Seen, seen_layers
from delaminate.exporters.placements import csv_cell
from delaminate.files import write_atomic
from delaminate.matching.blobs import SPECK, areas_of, parts_of, separate, usual_area, without_specks
from delaminate.scene.collection import shared_dictionary
from delaminate.scene.placements import OWN_RASTER, Dictionary
from delaminate.scene.scenes import BORDER, Scene

ONE_PIECE = 0.9
"""Of a sprite's pixels: that many in its largest piece make it one object."""

LUMA = (0.299, 0.587, 0.114)
LARGEST_16_BITS = 0xFFFF
COLUMNS = (
    *("image", "object", "layer", "name", "sprite", "track"),
    *("area", "x", "y", "width", "height", "centroid_x", "centroid_y"),
    *("major_axis", "minor_axis", "orientation", "touches_border"),
    *("red", "green", "blue", "intensity"),
)


@dataclass(frozen=True, eq=False)
class SceneObjects:
    """The objects of one image.

    Attributes:
        labels: Their numbers from 1; 0 is the background.
        layers: Positions of their layers in the scene.
    """

    labels: Int64[np.ndarray, "H W"]
    layers: tuple[int, ...]


def find_objects(scenes: Sequence[Scene], split: bool = False) -> Iterator[SceneObjects]:
    """Find what can be counted in each scene.

    Args:
        scenes: Scenes of one decomposition.
        split: Take round things apart that touch (`matching.blobs`), where a layer has more pieces than one.
    """
    dictionary = shared_dictionary(scenes)
    whole = [_is_one_piece(dictionary, entry) for entry in range(len(dictionary))]

    def is_one(scene: Scene, seen: Seen) -> bool:
        entry = scene.layers[seen.position].placement.entry
        return entry != OWN_RASTER and whole[entry]

    # What is usual is known only after all scenes; they are gone through twice, so that none has to be kept.
    areas = [
        area
        for scene in scenes
        for seen in _seen(scene)
        for area in ([int(seen.mask.sum())] if is_one(scene, seen) else areas_of(seen.mask))
    ]
    least, usual = SPECK * usual_area(areas, 1), usual_area(areas)
    for scene in scenes:
        labels, layers = np.zeros(scene.size, np.int64), list[int]()
        for seen in _seen(scene):
            if is_one(scene, seen):
                pieces = seen.mask.astype(np.int64)
            else:
                pieces = (separate(seen.mask, usual) if split else parts_of(seen.mask))[0]
            pieces, count = without_specks(pieces, least)
            labels[seen.window] = np.where(pieces > 0, pieces + len(layers), labels[seen.window])
            layers += [seen.position] * count
        yield SceneObjects(labels, tuple(layers))


def _seen(scene: Scene) -> Iterator[Seen]:
    """What is seen of layers that are objects."""
    return (seen for seen in seen_layers(scene) if scene.layers[seen.position].id != BORDER)


def _is_one_piece(dictionary: Dictionary, entry: int) -> bool:
    sizes = areas_of((dictionary.sprites[entry][3] > 0.5).numpy())
    return bool(sizes) and max(sizes) >= ONE_PIECE * sum(sizes)


def measure(scene: Scene, objects: SceneObjects) -> Iterator[dict[str, Any]]:
    """Measure each object, by the columns of objects.csv; lengths in pixels, colours from 0 to 255.

    Axes are those of the ellipse with the same second moments; the orientation is that of the major one, in degrees from the
    right downwards.
    """
    picture = scene.composite().permute(1, 2, 0).double().numpy() * 255
    luma = picture @ LUMA
    for number, (position, window) in enumerate(
        zip(objects.layers, ndimage.find_objects(objects.labels), strict=True), 1
    ):
        layer, (rows, columns) = scene.layers[position], window
        inside = objects.labels[window] == number
        y, x = (axis.astype(np.float64) for axis in np.nonzero(inside))
        y, x = y + rows.start + 0.5, x + columns.start + 0.5
        major, minor, angle = _ellipse(x, y)
        colour = picture[window][inside].mean(0)
        entry = layer.placement.entry
        yield {
            "image": scene.name, "object": number, "layer": layer.id, "name": layer.name,
            "sprite": None if entry == OWN_RASTER else scene.dictionary.name(entry), "track": layer.placement.track,
            "area": len(x), "x": columns.start, "y": rows.start,
            "width": columns.stop - columns.start, "height": rows.stop - rows.start,
            "centroid_x": round(float(x.mean()), 3), "centroid_y": round(float(y.mean()), 3),
            "major_axis": round(major, 3), "minor_axis": round(minor, 3), "orientation": round(angle, 2),
            "touches_border": _touches_border(scene.size, rows, columns),
            **{key: round(float(each), 2) for key, each in zip(("red", "green", "blue"), colour, strict=True)},
            "intensity": round(float(luma[window][inside].mean()), 2),
        }  # fmt: skip


def _touches_border(size: tuple[int, int], rows: slice, columns: slice) -> bool:
    return rows.start == 0 or columns.start == 0 or rows.stop == size[0] or columns.stop == size[1]


def _ellipse(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Axes and orientation of the ellipse of equal second moments; a pixel is a square of side 1."""
    spread = np.cov(np.stack([x, y]), bias=True) + np.eye(2) / 12
    values, vectors = np.linalg.eigh(spread)
    across, down = vectors[:, 1]
    angle = float(np.degrees(np.arctan2(down, across))) % 180
    return float(4 * np.sqrt(values[1])), float(4 * np.sqrt(values[0])), angle


def write_objects(scenes: Sequence[Scene], out: str | Path, *, split: bool = False) -> ExportResult:
    """Write the objects of scenes as tables and label images.

    Args:
        scenes: Scenes of one decomposition.
        out: The folder.
        split: Take round things apart that touch.

    Raises:
        ConfigError: The scenes do not share a dictionary.
        OutputError: A file cannot be written.
    """
    out, files = Path(out), []
    tables = {name: io.StringIO() for name in ("objects.csv", "counts.csv")}
    objects_table = csv.DictWriter(tables["objects.csv"], COLUMNS, lineterminator="\n")
    counts_table = csv.writer(tables["counts.csv"], lineterminator="\n")
    objects_table.writeheader()
    counts_table.writerow(["image", "objects", "covered"])
    for scene, found in zip(scenes, find_objects(scenes, split), strict=True):
        for row in measure(scene, found):
            objects_table.writerow({key: csv_cell(value) for key, value in row.items()})
        counts_table.writerow([csv_cell(scene.name), len(found.layers), round(float((found.labels > 0).mean()), 6)])
        path = out / "labels" / f"{scene.name}.tif"
        write_atomic(path, _tiff(found.labels))
        files.append(path)
    for name, text in tables.items():
        files.append(out / name)
        write_atomic(files[-1], text.getvalue().encode())
    return ExportResult(tuple(files), None)


def _tiff(labels: Int64[np.ndarray, "H W"]) -> bytes:
    """Numbers of 16 bits, or of 32 where there are more objects."""
    image = Image.fromarray(labels.astype(np.uint16 if labels.max(initial=0) <= LARGEST_16_BITS else np.int32))
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", compression="tiff_deflate")
    return buffer.getvalue()

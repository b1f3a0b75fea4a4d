"""Parquet: placements and masks as one table, for data frames and databases, also of a million images.

OUT/placements.parquet    one row per layer, the columns of `placements.csv` and:
                          canvas_height, canvas_width    of the image, in pixels
                          area    pixels in which the layer is what is seen
                          mask    which ones: COCO's string of run lengths (`coco.expand` reads it), null where there are none

Rows are written group by group, so that memory does not grow with the number of scenes.
"""

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from delaminate.errors import MissingExtra, OutputError
from delaminate.exporters.coco import compress, run_lengths
from delaminate.exporters.files import ExportResult, frame_durations
from delaminate.exporters.placements import COLUMNS, describe
from delaminate.scene.collection import shared_dictionary
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.scenes import Scene

AT_A_TIME = 1000
"""Scenes in a group of rows, about."""
TEXTS = ("image", "layer", "name", "sprite", "mask")
WHOLE = ("frame", "order", "track", "canvas_height", "canvas_width", "area")
YES_OR_NO = ("flip", "visible")
ALL_COLUMNS = (*COLUMNS, "canvas_height", "canvas_width", "area", "mask")


def _library() -> tuple[Any, Any]:
    """Tables, and how they are written."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("Parquet", "table") from error
    return pyarrow, pyarrow.parquet


def write_parquet(
    scenes: Sequence[Scene], out: str | Path, *, rate: float | None = None, durations: Sequence[float] | None = None
) -> ExportResult:
    """Write `OUT/placements.parquet`.

    Args:
        scenes: Scenes of one decomposition, in the clip's order; `frame` counts them from 0.
        out: The folder.
        rate: Frames per second, for the column `seconds`; null where it is not known.
        durations: Milliseconds that each scene is seen, instead of a rate.

    Raises:
        MissingExtra: pyarrow is not installed.
        ConfigError: The scenes do not share a dictionary, or the rate is out of range.
        OutputError: The file cannot be written.
    """
    arrow, parquet = _library()
    shared_dictionary(scenes)
    lasting = frame_durations(len(scenes), rate, durations)
    timed = rate is not None or durations is not None
    schema = arrow.schema([(name, _type(arrow, name)) for name in ALL_COLUMNS])
    path = Path(out) / "placements.parquet"
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with parquet.ParquetWriter(temporary, schema, compression="zstd") as table:
                now = 0.0
                for first in range(0, len(scenes), AT_A_TIME):
                    rows: list[dict[str, Any]] = []
                    for frame in range(first, min(first + AT_A_TIME, len(scenes))):
                        head = {"frame": frame, "seconds": round(now / 1000, 6) if timed else None}
                        rows += ({**head, **row} for row in _rows(scenes[frame]))
                        now += lasting[frame]
                    columns = {name: [row[name] for row in rows] for name in ALL_COLUMNS}
                    table.write_table(arrow.table(columns, schema=schema))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}).") from error
    return ExportResult((path,), None)


def _type(arrow: Any, name: str) -> Any:
    if name in TEXTS:
        return arrow.string()
    if name in WHOLE:
        return arrow.int64()
    return arrow.bool_() if name in YES_OR_NO else arrow.float64()


def _rows(scene: Scene) -> Iterator[dict[str, Any]]:
    """The rows of one scene, back to front."""
    found = Decomposition.from_scene(scene)
    labels = found.labels()[0][0].numpy()
    number = 0 if found.background else 1  # the label of the next visible layer
    for order, layer in enumerate(scene.layers):
        mask = None
        if layer.visible:
            mask, number = labels == number, number + 1
        area = 0 if mask is None else int(mask.sum())
        yield {
            "image": scene.name,
            "order": order,
            **describe(layer, scene.dictionary),
            "canvas_height": scene.size[0],
            "canvas_width": scene.size[1],
            "area": area,
            "mask": None if mask is None or not area else compress(run_lengths(mask)),
        }

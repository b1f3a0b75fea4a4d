"""COCO: instance masks as run lengths, for annotation and evaluation tools.

A mask is read column by column; its runs of 0 and 1 alternate, the first a run of 0. The compressed form writes each
run as the difference to the run two before (from the fourth on), in groups of five bits, lowest first: bit 5 says that
another group follows, the last group's bit 4 is the sign, and 48 makes it a printable character. An annotation's mask
is what is *seen* of a layer: `segment`'s label.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from delaminate.errors import FormatError
from delaminate.exporters.files import ExportResult, seen_layers
from delaminate.files import json_bytes, write_atomic
from delaminate.scene.collection import shared_dictionary
from delaminate.scene.placements import OWN_RASTER
from delaminate.scene.scenes import Scene


def run_lengths(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """Count the runs of a mask, column by column, the first a run of 0."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *runs] if flat.size and flat[0] else runs


def compress(runs: Sequence[int]) -> str:
    """Write run lengths as COCO's string."""
    text = []
    for index, run in enumerate(runs):
        rest = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            group = rest & 31
            rest >>= 5
            # Done when what is left is only the sign, and the group's top bit says the same sign.
            more = rest != (-1 if group & 16 else 0)
            text.append(chr(48 + (group | (32 if more else 0))))
    return "".join(text)


def expand(text: str) -> list[int]:
    """Read COCO's string back into run lengths.

    Raises:
        FormatError: The string is no list of run lengths.
    """
    runs: list[int] = []
    value = shift = 0
    for char in text:
        group = ord(char) - 48
        if not 0 <= group < 64 or shift > 60:
            raise FormatError(f"COCO: {char!r} in a mask; expected characters from '0' to 'o'.")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift or any(run < 0 for run in runs):
        raise FormatError("COCO: a mask's string ends early or has negative runs.")
    return runs


def mask_of(runs: Sequence[int], height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """Draw run lengths.

    Raises:
        FormatError: They do not fill the picture.
    """
    if sum(runs) != height * width:
        raise FormatError(f"COCO: runs of {sum(runs)} pixels; expected {height} x {width}.")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _annotation(mask: np.ndarray, image: int, category: int, compressed: bool) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    runs = run_lengths(mask)
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": {"size": list(mask.shape), "counts": compress(runs) if compressed else runs},
    }


def write_coco(scenes: Sequence[Scene], out: str | Path, *, compressed: bool = True) -> ExportResult:
    """Write `OUT/annotations.json`: images, one annotation per visible layer, dictionary entries as categories.

    Layers that are nowhere seen most have no annotation; layers with a picture of their own have the last category.

    Args:
        scenes: Scenes of one decomposition.
        out: The folder.
        compressed: Write masks as strings, else as lists of run lengths.

    Raises:
        ConfigError: The scenes do not share a dictionary.
        OutputError: The file cannot be written.
    """
    dictionary = shared_dictionary(scenes)
    own = len(dictionary) + 1
    categories: list[dict[str, Any]] = [
        {"id": entry + 1, "name": dictionary.name(entry), "supercategory": "sprite"}
        for entry in range(len(dictionary))
        if entry not in dictionary.backgrounds
    ]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, 1):
        images.append({"id": number, "file_name": scene.name, "height": scene.size[0], "width": scene.size[1]})
        for seen in seen_layers(scene):
            layer = scene.layers[seen.position]
            entry = layer.placement.entry
            category = own if entry == OWN_RASTER or entry in dictionary.backgrounds else entry + 1
            annotation = _annotation(seen.whole(scene.size), number, category, compressed)
            extra = {"layer": layer.id, "track": layer.placement.track}
            annotations.append({"id": len(annotations) + 1, **annotation, **extra})
    if any(annotation["category_id"] == own for annotation in annotations):
        categories.append({"id": own, "name": "object", "supercategory": "layer"})
    path = Path(out) / "annotations.json"
    document = {"images": images, "annotations": annotations, "categories": categories}
    write_atomic(path, json_bytes(document))
    return ExportResult((path,), None)

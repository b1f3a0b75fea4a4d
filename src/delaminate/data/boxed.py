"""Real sets whose labels are boxes: frames of a console game, and printed pages with a box per glyph."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from delaminate.data.images import Box, LabelledSet, Labels, load_folder
from delaminate.data.reading import Fit
from delaminate.errors import DataError
from delaminate.scene.frame import Frame

# Boxes of the game that are no objects: their memory is unreliable, or they are written over the field.
UNJUDGED = ("Bullet", "P1Score", "P2Score", "Lives", "Satellite")
GROUND = ("Ground", 0.0, 195.0, 160.0, 15.0)
INK = 0.5
PAGE = (1782, 1156)  # the size of most pages; the others were scanned a third finer


def load_space_invaders_sample(
    folder: str | Path, size: tuple[int, int] | None = None, fit: Fit = "squash", limit: int | None = None
) -> LabelledSet:
    """Read frames of Space Invaders with the boxes that the console's memory gives.

    Boxes without a lit pixel are dropped: hidden and blinking things keep theirs. Aliens, shields and the player are
    to be found; bullets, scores, lives and the ground are `ignored_boxes`.

    Args:
        folder: Holds frames as PNG files and `boxes.json`.
        size, fit, limit: As in `load_folder`.

    Raises:
        DataError: A file is absent or not in this layout.
    """
    root = Path(folder)
    raw, images = load_folder(root, limit=limit), load_folder(root, size, fit, limit)
    document = _read_json(root / "boxes.json")
    judged, ignored = [], []
    for name, pixels, frame in zip(images.names, raw.pixels.numpy(), images.frames, strict=True):
        try:
            boxes: list[Box] = []
            for row in document["frames"][f"{name}.png"]["ram"]:
                x, y, width, height = map(float, row["xywh"])
                boxes.append((str(row["category"]), x, y, width, height))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{root / 'boxes.json'}: no boxes for frame '{name}.png': {error!r}") from error
        lit = [box for box in boxes if _is_lit(pixels, box)]
        judged.append(_on_canvas([box for box in lit if box[0] not in UNJUDGED], frame))
        ignored.append(_on_canvas([*(box for box in lit if box[0] in UNJUDGED), GROUND], frame))
    return LabelledSet(images, Labels(boxes=tuple(judged), ignored_boxes=tuple(ignored)), root.name)


def load_text_pages(
    folder: str | Path, size: tuple[int, int] | None = None, fit: Fit = "squash", limit: int | None = None
) -> LabelledSet:
    """Read pages of printed text with a box per glyph; the category is the character.

    Args:
        folder: Holds `images/` and `boxes/` with one JSON file per page: width and height of the page as it was read,
            and `chars` as rows (character, left, top, right, bottom, ...), right and bottom one past the last pixel.
        size: Height and width of the canvas in pixels; None: 1782 x 1156, as most pages of the 1809 book are.
        fit, limit: As in `load_folder`.

    Raises:
        DataError: A file is absent or not in this layout.
    """
    root = Path(folder)
    images = load_folder(root / "images", size or PAGE, fit, limit)
    boxes = []
    for name, frame in zip(images.names, images.frames, strict=True):
        path = root / "boxes" / f"{name}.json"
        document = _read_json(path)
        try:
            across, down = frame.original[1] / document["width"], frame.original[0] / document["height"]
            page: list[Box] = []
            for kind, *edges in document["chars"]:
                left, top, right, bottom = map(float, edges[:4])
                page.append((str(kind), left * across, top * down, (right - left) * across, (bottom - top) * down))
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise DataError(f"{path}: not boxes of a page: {error!r}; expected width, height and chars") from error
        boxes.append(_on_canvas(page, frame))
    return LabelledSet(images, Labels(boxes=tuple(boxes), ink=INK), root.name)


BOXED: dict[str, Callable[[str | Path, tuple[int, int] | None, Fit, int | None], LabelledSet]] = {
    "invaders": load_space_invaders_sample,
    "text": load_text_pages,
}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error


def _is_lit(pixels: np.ndarray, box: Box) -> bool:
    """Whether any pixel (3, H, W) inside a box is not black."""
    _, x, y, width, height = box
    inside = pixels[:, max(int(y), 0) : max(int(y + height), 0), max(int(x), 0) : max(int(x + width), 0)]
    return bool(inside.any())


def _on_canvas(boxes: Sequence[Box], frame: Frame) -> tuple[Box, ...]:
    """Boxes of the original in pixels of the canvas; parts outside are cut off, boxes outside dropped."""
    left, top, width, height = frame.box
    rows, columns = frame.canvas
    placed = []
    for kind, x, y, w, h in boxes:
        x0, x1 = (np.clip((edge - left) * columns / width, 0, columns) for edge in (x, x + w))
        y0, y1 = (np.clip((edge - top) * rows / height, 0, rows) for edge in (y, y + h))
        if x1 > x0 and y1 > y0:
            placed.append((kind, float(x0), float(y0), float(x1 - x0), float(y1 - y0)))
    return tuple(placed)

"""Real samples with labels of their own kinds: frames of two games, and printed pages with a box per glyph."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from delaminate.data.folders import load_folder
from delaminate.data.reading import Fit, fit_image, fit_mask, read_image, read_mask
from delaminate.data.sets import Box, ImageSet, LabelledSet, Labels
from delaminate.errors import DataError, reading
from delaminate.scene.canvas_map import CanvasMap

# Boxes of the game that are no objects: their memory is unreliable, or they are written over the field.
UNJUDGED = ("Bullet", "P1Score", "P2Score", "Lives", "Satellite")
GROUND = ("Ground", 0.0, 195.0, 160.0, 15.0)
INK = 0.5
FARTHEST = 1e6  # pixels, of any edge of a box
# Sprites of the game by file number, to the classes of the drawn set; -1 is the border, 1 and 7 to 11 are the player.
DUBEY_KINDS = {0: 1, 1: 2, 2: 3, 3: 4, 4: -1, 5: 5, 6: 6, **dict.fromkeys(range(7, 12), 2)}
PAGE = (1782, 1156)  # the size of most pages; the others were scanned a third finer


def load_space_invaders_sample(
    folder: str | Path, size: tuple[int, int] | None = None, fit: Fit = "squash", limit: int | None = None
) -> LabelledSet:
    """Read frames of Space Invaders with the boxes that the console's memory gives.

    Boxes without a lit pixel are dropped: hidden and blinking things keep theirs. Aliens, shields and the player are
    to be found; bullets, scores, lives and all below the ground line are `ignored_boxes`.

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
    for name, pixels, canvas_map in zip(images.names, raw.pixels.numpy(), images.canvas_maps, strict=True):
        with reading(root / "boxes.json", DataError, f"no boxes for frame '{name}.png'"):
            boxes: list[Box] = []
            for row in document["frames"][f"{name}.png"]["ram"]:
                x, y, width, height = _numbers(row["xywh"])
                boxes.append((str(row["category"]), x, y, width, height))
        lit = [box for box in boxes if _is_lit(pixels, box)]
        judged.append(_on_canvas([box for box in lit if box[0] not in UNJUDGED], canvas_map))
        ignored.append(_on_canvas([*(box for box in lit if box[0] in UNJUDGED), GROUND], canvas_map))
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
    for name, frame in zip(images.names, images.canvas_maps, strict=True):
        path = root / "boxes" / f"{name}.json"
        document = _read_json(path)
        with reading(path, DataError, "not boxes of a page; expected width, height and chars"):
            width, height = _numbers([document["width"], document["height"]])
            across, down = frame.original[1] / width, frame.original[0] / height
            page: list[Box] = []
            for kind, *edges in document["chars"]:
                left, top, right, bottom = _numbers(edges[:4])
                page.append((str(kind), left * across, top * down, (right - left) * across, (bottom - top) * down))
        boxes.append(_on_canvas(page, frame))
    return LabelledSet(images, Labels(boxes=tuple(boxes), ink=INK), root.name)


def load_dubey_sample(
    folder: str | Path, size: tuple[int, int] | None = None, fit: Fit = "squash", limit: int | None = None
) -> LabelledSet:
    """Read frames of the platform game of Dubey et al. with the number of the object at each pixel.

    Kinds are those of the drawn set `platform-game-dubey`. The black border tiles, which it does not draw, are left
    out of every figure.

    Args:
        folder: Holds `0.png`, `0_ids.png` and so on, and `objects.json` with the sprite of each number.
        size, fit, limit: As in `load_folder`.

    Raises:
        DataError: A file is absent or not in this layout.
    """
    root = Path(folder)
    paths = sorted((path for path in root.glob("*.png") if path.stem.isdigit()), key=lambda path: int(path.stem))
    if not paths:
        raise DataError(f"{root}: found no frames; expected 0.png, 1.png, ...")
    document = _read_json(root / "objects.json")
    pixels, frames, maps = [], [], []
    for path in paths[:limit]:
        raw = read_image(path)
        shown, frame = fit_image(raw, size or (raw.shape[0], raw.shape[1]), fit)
        numbers = path.with_name(f"{path.stem}_ids.png")
        ids = read_mask(numbers)
        if ids.shape != frame.original:
            raise DataError(f"{numbers}: is {ids.shape}, its image {frame.original} (height, width); expected the same")
        kinds = np.zeros(int(ids.max()) + 1, dtype=np.int64)
        with reading(root / "objects.json", DataError, f"no objects of frame '{path.name}'"):
            for row in document[path.name]["objects"]:
                if row["id"] < len(kinds):
                    kinds[row["id"]] = DUBEY_KINDS[row["class"]]
        classes = kinds[ids]
        both = np.stack([np.where(classes == -1, -1, ids), classes])
        maps.append(np.stack([fit_mask(each, frame) for each in both]))
        pixels.append(shown)
        frames.append(frame)
    images = ImageSet.from_arrays(np.stack(pixels), [path.stem for path in paths[:limit]])
    labels = torch.from_numpy(np.stack(maps, axis=1))
    return LabelledSet(replace(images, canvas_maps=tuple(frames)), Labels(labels[0], labels[1]), root.name)


SAMPLES: dict[str, Callable[[str | Path, tuple[int, int] | None, Fit, int | None], LabelledSet]] = {
    "invaders": load_space_invaders_sample,
    "text": load_text_pages,
    "dubey": load_dubey_sample,
}


def _read_json(path: Path) -> Any:
    with reading(path, DataError, "cannot be read as JSON"):
        return json.loads(path.read_text(encoding="utf-8"))


def _numbers(values: Sequence[Any]) -> list[float]:
    """Numbers of a box, in pixels."""
    found = [float(value) for value in values]
    if not all(abs(each) < FARTHEST for each in found):
        raise ValueError(f"{found} are no places on a picture")
    return found


def _is_lit(pixels: np.ndarray, box: Box) -> bool:
    """Whether any pixel (3, H, W) inside a box is not black."""
    _, x, y, width, height = box
    inside = pixels[:, max(int(y), 0) : max(int(y + height), 0), max(int(x), 0) : max(int(x + width), 0)]
    return bool(inside.any())


def _on_canvas(boxes: Sequence[Box], frame: CanvasMap) -> tuple[Box, ...]:
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

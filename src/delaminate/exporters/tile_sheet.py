"""A tile sheet: pictures of one size in one image, each once, however it is turned."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from delaminate.matching.tile_cells import COMPOSE, INVERSE, orient, orientations_of

COLUMNS = 16

Picture = UInt8[np.ndarray, "_h _w 4"]


@dataclass(frozen=True)
class SheetAnimation:
    """Tiles that follow one another: the tile that stands for all of them, theirs, and how many frames each is seen."""

    tile: int
    tiles: tuple[int, ...]
    durations: tuple[int, ...]


def turned(picture: Picture, orientation: int) -> Picture:
    """Turn an RGBA picture, see `orient`; a copy where it has to be one."""
    return np.ascontiguousarray(orient(picture, orientation, rows=0))


class TileSheet:
    """Collects pictures.

    Attributes:
        size: Height and width of a tile in pixels.
        tiles: The pictures, in their order on the sheet.
        animations: What cycles.
    """

    def __init__(self, size: tuple[int, int], flips_only: bool = False) -> None:
        self.size = size
        self.tiles: list[Picture] = []
        self.animations: list[SheetAnimation] = []
        self.orientations = [o for o in orientations_of(size) if not (flips_only and o & 1)]
        self._known: dict[bytes, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.tiles)

    def add(self, picture: Picture) -> tuple[int, int]:
        """Say which tile a picture is, and how it is turned; one that is new becomes the next tile."""
        key = picture.tobytes()
        if key not in self._known:
            for orientation in reversed(self.orientations):
                self._known[turned(picture, orientation).tobytes()] = len(self.tiles), orientation
            self.tiles.append(np.ascontiguousarray(picture))
        return self._known[key]

    def show(self, picture: Picture, orientation: int) -> tuple[int, int]:
        """As `add`, for a picture that is to be shown turned."""
        if orientation not in self.orientations:
            return self.add(turned(picture, orientation))
        tile, own = self.add(picture)
        return tile, int(COMPOSE[own, orientation])

    @staticmethod
    def combine(first: int, then: int) -> int:
        """Turn what is turned once more."""
        return int(COMPOSE[first, then])

    def animate(self, tiles: list[tuple[int, int]], durations: tuple[int, ...]) -> tuple[int, int]:
        """Have a tile of its own stand for a cycle of (tile, orientation); say which, and how it is turned."""
        first = tiles[0][1]
        pictures = [turned(self.tiles[tile], int(COMPOSE[own, INVERSE[first]])) for tile, own in tiles]
        frames = []
        for (tile, own), picture in zip(tiles, pictures, strict=True):
            if own == first:
                frames.append(tile)
            else:
                self.tiles.append(picture)
                frames.append(len(self.tiles) - 1)
        made = SheetAnimation(len(self.tiles), tuple(frames), durations)
        for known in self.animations:
            if (known.tiles, known.durations) == (made.tiles, made.durations):
                return known.tile, first
        self.tiles.append(pictures[0])
        self.animations.append(made)
        return made.tile, first

    def image(self) -> UInt8[np.ndarray, "H W 4"]:
        """Lay the tiles out in rows of 16."""
        (height, width), columns = self.size, self.columns
        rows = -(-len(self.tiles) // columns)
        out = np.zeros((rows, height, columns, width, 4), np.uint8)
        for number, tile in enumerate(self.tiles):
            out[number // columns, :, number % columns] = tile
        return out.reshape(rows * height, columns * width, 4)

    @property
    def columns(self) -> int:
        return min(COLUMNS, max(len(self.tiles), 1))

"""What level editors have in common: scenes as layers of tiles on lattices, of sprites at free places, and of whole pictures.

The lattice is found, not asked for. A background that is laid out in tiles becomes a tile layer, else an image layer. Of
the placements, those of the size are tiles that have most pixels on a lattice of their own step, whose phase may differ
from scene to scene (a clip that scrolls); where the background has tiles, of its tiles' size. The order of placements that
overlap is kept. Opacity is in the pictures.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64, UInt8

from delaminate.exporters.blits import Stamp, Stamps, cut_stamps
from delaminate.exporters.map_backgrounds import (
    TiledPicture,
    animate,
    backgrounds_of,
    find_background_grids,
    lay_out,
)
from delaminate.exporters.tile_sheet import TileSheet
from delaminate.matching.tile_cells import MIRRORED
from delaminate.scene.scenes import Scene

Size = tuple[int, int]  # width, height


@dataclass(frozen=True, eq=False)
class TileLayer:
    """Cells: tiles of the sheet, -1 for none, and their orientations; the first one's corner lies at (left, top)."""

    name: str
    tiles: Int64[np.ndarray, "rows columns"]
    orientation: UInt8[np.ndarray, "rows columns"]
    left: int
    top: int
    visible: bool = True


@dataclass(frozen=True, eq=False)
class ObjectLayer:
    """Sprites at free places, back to front."""

    stamps: Sequence[Stamp]


@dataclass(frozen=True, eq=False)
class ImageLayer:
    """A whole picture."""

    stamp: Stamp


Layer = TileLayer | ObjectLayer | ImageLayer


NO_GRID = (16, 16)  # shown by the editor where nothing repeats
SIZES_TRIED, LEAST_SIDE = 6, 4


@dataclass(frozen=True)
class Grid:
    """Where tiles lie: cell (column, row) has its corner at (left + column * width, top + row * height).

    Attributes:
        width, height: Of a cell in pixels.
        corners: Left and top of cell (0, 0) in each scene, above -width and -height and at most 0.
        count: How many visible placements lie on it.
    """

    width: int
    height: int
    corners: tuple[tuple[int, int], ...]
    count: int


def _objects(scene: Scene, frame: Sequence[Stamp]) -> Sequence[Stamp]:
    return frame[1:] if scene.background else frame


def _size(stamps: Stamps, stamp: Stamp) -> Size:
    height, width = stamps.pictures[stamp.picture].shape[:2]
    return width, height


def find_grid(scenes: Sequence[Scene], stamps: Stamps, only: Size | None = None) -> Grid:
    """Find the lattice that most pixels of repeated placements lie on.

    Args:
        scenes: Scenes of one decomposition.
        stamps: Them, as stamps.
        only: The width and height that tiles must have, if any.

    Returns:
        The grid; `count` is 0, and its cells are 16 x 16 or as asked for, where no size comes twice on one lattice of a
        scene.
    """
    seen: Counter[Size] = Counter()
    for scene, frame in zip(scenes, stamps.frames, strict=True):
        seen.update(_size(stamps, stamp) for stamp in _objects(scene, frame) if stamp.layer.visible)
    best = Grid(*(only or NO_GRID), ((0, 0),) * len(scenes), 0)
    common = sorted(seen.items(), key=lambda item: (-item[1] * item[0][0] * item[0][1], item[0]))
    sizes = [size for size, _ in common if min(size) >= LEAST_SIDE and only in (None, size)]
    for width, height in sizes[:SIZES_TRIED]:
        corners, count = [], 0
        for scene, frame in zip(scenes, stamps.frames, strict=True):
            phases = Counter(
                (stamp.left % width, stamp.top % height)
                for stamp in _objects(scene, frame)
                if stamp.layer.visible and _size(stamps, stamp) == (width, height)
            )
            (x, y), number = min(phases.items(), key=lambda item: (-item[1], item[0])) if phases else ((0, 0), 0)
            corners.append((x - width if x else 0, y - height if y else 0))
            count += number if number > 1 else 0
        if count * width * height > best.count * best.width * best.height:
            best = Grid(width, height, tuple(corners), count)
    return best


@dataclass
class _Kind:
    """A layer of the map: tiles by their cell, or objects in their order."""

    tiles: dict[tuple[int, int], Stamp] | None = None
    objects: list[Stamp] = field(default_factory=list)


def _sort_into_layers(
    stamps: Stamps, frame: Sequence[Stamp], grid: Grid, corner: tuple[int, int], size: Size
) -> list[_Kind]:
    """Give every stamp the first layer of its kind that no overlapping stamp behind it comes after."""
    layers: list[_Kind] = []
    boxes = np.zeros((len(frame), 4), np.int64)
    places = np.full(len(frame), -1)
    for index, stamp in enumerate(frame):
        width, height = _size(stamps, stamp)
        left, top, right, bottom = stamp.left, stamp.top, stamp.left + width, stamp.top + height
        column, off_column = divmod(left - corner[0], grid.width)
        row, off_row = divmod(top - corner[1], grid.height)
        fits = (width, height) == (grid.width, grid.height) and off_column == off_row == 0
        inside = left < size[0] and top < size[1] and column >= 0 and row >= 0
        tile = grid.count > 0 and fits and inside and stamp.layer.visible
        behind = boxes[:index]
        overlap = (behind[:, 0] < right) & (behind[:, 2] > left) & (behind[:, 1] < bottom) & (behind[:, 3] > top)
        lowest = int(places[:index][overlap].max(initial=-1))
        place = max(lowest, 0)
        while place < len(layers):
            tiles = layers[place].tiles
            if (tiles is not None) == tile and (tiles is None or (column, row) not in tiles):
                break
            place += 1
        if place == len(layers):
            layers.append(_Kind({} if tile else None))
        tiles = layers[place].tiles
        if tiles is None:
            layers[place].objects.append(stamp)
        else:
            tiles[column, row] = stamp
        boxes[index] = left, top, right, bottom
        places[index] = place
    return layers


def _cut(scenes: Sequence[Scene], only: Size | None) -> tuple[Stamps, Grid]:
    """Cut stamps: trimmed, or whole where that puts more of them on a lattice, as tiles with transparent borders."""
    trimmed = cut_stamps(scenes, opacity=False, trim=True)
    grid = find_grid(scenes, trimmed, only)
    visible = sum(
        stamp.layer.visible
        for scene, frame in zip(scenes, trimmed.frames, strict=True)
        for stamp in _objects(scene, frame)
    )
    if 2 * grid.count < visible:
        whole = cut_stamps(scenes, opacity=False, trim=False)
        other = find_grid(scenes, whole, only)
        if 2 * other.count >= visible:
            return whole, other
    return trimmed, grid


class MapLayout:
    """Lays scenes out for a level editor.

    Attributes:
        scenes: The scenes.
        stamps: Them, as stamps.
        backgrounds: The background of each, None where it has none.
        tile: Width and height of a cell in pixels; 16 x 16 where nothing lies on a lattice.
        sheet: The tiles; with those that stand for cycles after `animate`.
        layers: Of each scene, back to front.
        levels: Backgrounds that are larger than a canvas, whole, by the picture that they are.
        placed: The pictures that lie at free places, and the sprites that no scene shows.

    Args:
        scenes: Scenes of one decomposition.
        flips_only: The editor can flip tiles and not transpose them.

    Raises:
        ConfigError: The scenes do not share a dictionary.
    """

    def __init__(self, scenes: Sequence[Scene], flips_only: bool = False) -> None:
        self.scenes = scenes
        pictures = cut_stamps(scenes, opacity=False, trim=True, sprites=False)
        shown = {stamp.picture for stamp in backgrounds_of(scenes, pictures) if stamp is not None}
        found = find_background_grids({index: pictures.pictures[index] for index in sorted(shown)})
        size = next((grid.size for grid, _ in found.values()), None)
        self.stamps, self._grid = _cut(scenes, None if size is None else (size[1], size[0]))
        self.backgrounds = backgrounds_of(scenes, self.stamps)
        by_pixels = {pictures.pictures[index].tobytes(): grid for index, grid in found.items()}
        self._grids = {
            stamp.picture: by_pixels[self.stamps.pictures[stamp.picture].tobytes()]
            for stamp in self.backgrounds
            if stamp is not None and self.stamps.pictures[stamp.picture].tobytes() in by_pixels
        }
        self.tile: Size = (self._grid.width, self._grid.height)
        self.sheet = TileSheet((self._grid.height, self._grid.width), flips_only)
        self._laid = {index: lay_out(grid, number, self.sheet) for index, (grid, number) in self._grids.items()}
        self.layers = [self._layers_of(number) for number in range(len(scenes))]
        self.levels = self._levels()
        used = {stamp.picture for layers in self.layers for layer in layers if isinstance(layer, ObjectLayer)
                for stamp in layer.stamps}  # fmt: skip
        self.placed = sorted(used | self._unused_sprites())

    def _unused_sprites(self) -> set[int]:
        """Sprites of the dictionary that no scene shows."""
        if not self.scenes:
            return set()
        dictionary = self.scenes[0].dictionary
        shown = {layer.placement.entry for scene in self.scenes for layer in scene.layers}
        # The first pictures are the sprites of the dictionary, without backgrounds.
        sprites = [entry for entry in range(len(dictionary)) if entry not in dictionary.backgrounds]
        return {picture for picture, entry in enumerate(sprites) if entry not in shown}

    def _covers(self, stamp: Stamp, size: tuple[int, int]) -> bool:
        height, width = self.stamps.pictures[stamp.picture].shape[:2]
        return stamp.left <= 0 and stamp.top <= 0 and stamp.left + width >= size[1] and stamp.top + height >= size[0]

    def _background(self, scene: Scene, stamp: Stamp) -> Layer:
        if stamp.picture not in self._laid or not self._covers(stamp, scene.size):
            return ImageLayer(stamp)
        # Only the cells that the canvas shows.
        laid, (width, height) = self._laid[stamp.picture], self.tile
        left, top = stamp.left + laid.left, stamp.top + laid.top
        column, row = -left // width, -top // height
        left, top = left + column * width, top + row * height
        window = (
            slice(row, row - (top - scene.size[0]) // height),
            slice(column, column - (left - scene.size[1]) // width),
        )
        return TileLayer(stamp.layer.name, laid.tiles[window], laid.orientation[window], left, top, stamp.layer.visible)

    def _layers_of(self, number: int) -> list[Layer]:
        scene, background = self.scenes[number], self.backgrounds[number]
        found: list[Layer] = [] if background is None else [self._background(scene, background)]
        objects = list(_objects(scene, self.stamps.frames[number]))
        corner = self._grid.corners[number]
        for kind in _sort_into_layers(self.stamps, objects, self._grid, corner, (scene.size[1], scene.size[0])):
            found.append(
                ObjectLayer(kind.objects) if kind.tiles is None else self._tiles(kind.tiles, corner, len(found))
            )
        return found

    def _tiles(self, placed: dict[tuple[int, int], Stamp], corner: tuple[int, int], number: int) -> TileLayer:
        columns, rows = (max(cell[axis] for cell in placed) + 1 for axis in (0, 1))
        tiles, orientation = np.full((rows, columns), -1), np.zeros((rows, columns), np.uint8)
        for (column, row), stamp in placed.items():
            shown = self.sheet.show(self.stamps.pictures[stamp.picture], MIRRORED * stamp.mirrored)
            tiles[row, column], orientation[row, column] = shown
        return TileLayer(f"tiles {number + 1}", tiles, orientation, *corner)

    def _levels(self) -> dict[int, TiledPicture]:
        found: dict[int, TiledPicture] = {}
        for scene, stamp in zip(self.scenes, self.backgrounds, strict=True):
            if stamp is not None and stamp.picture in self._laid and self._laid[stamp.picture].shape != scene.size:
                found[stamp.picture] = self._laid[stamp.picture]
        return found

    def animate(self) -> None:
        """Have tiles of the sheet stand for cycles, and a level for a background whose tiles cycle."""
        moving = animate(self.backgrounds, self._grids, self._laid, self.sheet)
        if moving is not None:
            self.levels[moving[0]] = moving[1]

    def level_name(self, picture: int) -> str:
        """Name a level as no scene is named."""
        name = self.stamps.names[picture]
        while any(scene.name == name for scene in self.scenes):
            name += "-level"
        return name

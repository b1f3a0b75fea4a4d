"""Maps of games, each a picture laid out in tiles: every tile a sprite, every cell a layer; nothing is learned or rounded.

The lattice is found for each picture (`matching.tiles`); tiles that several pictures share, in any orientation, are one
sprite. What is of the commonest colour, such as the sky, is the background.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from delaminate.data import ImageSet, detect_enlargement
from delaminate.data.transparency import Colour, replace_transparency, with_alpha
from delaminate.errors import DataError
from delaminate.files import from_pixels, to_pixels
from delaminate.matching.tile_cells import COMPOSE, INVERSE, orient, orientations_of
from delaminate.matching.tiles import TileGrid, find_tiles
from delaminate.pipelines.images import Images
from delaminate.pipelines.pictures import open_pictures
from delaminate.scene.collection import SceneSet
from delaminate.scene.format import MAX_ENTRIES, MAX_LAYERS
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement, Transform
from delaminate.scene.scenes import Scene, SceneLayer

LEAST_BUSY, LEAST_RECURRING = 250, 0.85
"""Cells of a map that are not of one colour, at least; and of these the share whose tile comes again.

Of 269 pictures of levels with a lattice, 247 have as many (`benchmarks/level_maps.py`); single screens of games have few cells.
"""

Picture = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class TileCounts:
    """What was found in some maps.

    Attributes:
        tiles: Different tiles that are not of one colour.
        once: Those of them that a single cell shows.
        cells: Cells that show them.
        size: Height and width of a tile in pixels of the pictures, of most maps.
        equal: Maps whose composite is the image, to the bit, holes included.
        whole: Pictures that are one layer each, and why.
    """

    tiles: int
    once: int
    cells: int
    size: tuple[int, int]
    equal: int
    whole: tuple[tuple[str, str], ...] = ()


def is_map(picture: Picture) -> bool:
    """Say whether a picture, of pixels that are not enlarged, is laid out in tiles that recur nearly everywhere."""
    grid = find_tiles(picture[None])
    if grid is None:
        return False
    busy = ~np.array([_is_flat(tile) for tile in grid.tiles])
    uses = np.bincount(grid.cells[grid.cells >= 0], minlength=len(grid.tiles))
    count = int(uses[busy].sum())
    return count >= LEAST_BUSY and int(uses[busy & (uses > 1)].sum()) >= LEAST_RECURRING * count


def tile_scenes(images: Images) -> tuple[SceneSet, TileCounts, list[tuple[str, str]]]:
    """Take maps apart into their tiles, each map at its own size; their composites are the images.

    Args:
        images: What `open_images` takes.

    Returns:
        The scenes, what was found, and the name and reason of every image that cannot be read.

    Raises:
        DataError: No image can be used.
    """
    names, read, skipped = open_pictures(images, alpha=True)
    tiles, equal, uses = _Tiles(), 0, Counter[int]()
    maps: list[tuple[str, _Map]] = []
    for index, name in enumerate(names):
        try:
            shown, transparent = replace_transparency([read(index)], "auto")
        except DataError as error:
            skipped.append((name, str(error)))
            continue
        picture, before = _rgba(shown[0], transparent), len(tiles.sprites)
        found = tiles.add(shown[0], transparent)
        is_equal = _is_equal(found, tiles.sprites, picture)
        if not is_equal and found.tile is not None:
            tiles.forget(before)
            found = _Map(found.size, picture, (), None, "its tiles do not give it back")
            is_equal = _is_equal(found, tiles.sprites, picture)
        uses.update(cell.entry for cell in found.cells)
        maps.append((name, found))
        equal += is_equal
    if not maps:
        raise DataError(f"{images}: no image can be read; the first, '{skipped[0][0]}': {skipped[0][1]}")
    dictionary = Dictionary(tuple(tiles.sprites))
    scenes = SceneSet([name for name, _ in maps], dictionary, lambda n: _scene(maps[n][0], maps[n][1], dictionary))
    sizes = Counter(each.tile for _, each in maps if each.tile is not None)
    whole = tuple((name, each.reason) for name, each in maps if each.tile is None)
    size = sizes.most_common(1)[0][0] if sizes else (0, 0)
    once = sum(count == 1 for count in uses.values())
    return scenes, TileCounts(len(uses), once, sum(uses.values()), size, equal, whole), skipped


def _zoom(picture: Picture) -> int:
    """By how much a picture was enlarged, where every pixel is a block."""
    return detect_enlargement(ImageSet.from_arrays(picture[None]).pixels)


def _rgba(picture: Picture, transparent: Colour | None) -> UInt8[np.ndarray, "h w 4"]:
    """A picture with alpha; black where it is transparent, so that equal tiles of several maps are equal."""
    rgba = with_alpha(picture, transparent)
    rgba[rgba[..., 3] == 0] = 0
    return rgba


def _is_flat(tile: np.ndarray) -> bool:
    return bool((tile == tile[:1, :1]).all())


@dataclass(frozen=True)
class _Cell:
    """A sprite at a place: entry, orientation, top, left, and height and width as shown."""

    entry: int
    orientation: int
    top: int
    left: int
    shown: tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Map:
    """A map: what is behind its cells, one colour or the whole picture or nothing, and these in reading order."""

    size: tuple[int, int]
    behind: UInt8[np.ndarray, "h w 4"] | None
    cells: tuple[_Cell, ...]
    tile: tuple[int, int] | None
    reason: str = ""


class _Tiles:
    """The sprites of all maps, each once in any orientation."""

    def __init__(self) -> None:
        self.sprites: list[torch.Tensor] = []
        self._known: dict[tuple[tuple[int, ...], bytes], int] = {}

    def add(self, picture: Picture, transparent: Colour | None) -> _Map:
        """Take a picture apart, in which a colour may stand for nothing."""
        size, zoom = (picture.shape[0], picture.shape[1]), _zoom(picture)
        grid = find_tiles(np.ascontiguousarray(picture[None, ::zoom, ::zoom]))
        if grid is None:
            return _Map(size, _rgba(picture, transparent), (), None, "no lattice was found")
        before = len(self.sprites)
        colour = _commonest_colour(grid) if transparent is None else np.array(transparent, np.uint8)
        cells = []
        pitch = grid.size[0] + grid.spacing[0], grid.size[1] + grid.spacing[1]
        looks: dict[tuple[int, int], tuple[int, int] | None] = {}
        for row, column in np.argwhere(grid.cells[0] >= 0).tolist():
            tile, palette = int(grid.cells[0, row, column]), int(grid.palette[0, row, column])
            if (tile, palette) not in looks:
                shown = grid.coloured(tile, palette)
                plain = _is_flat(shown) and (shown[0, 0] == colour).all()
                looks[tile, palette] = None if plain else self._entry(shown, grid.seen[tile], zoom, transparent)
            look = looks[tile, palette]
            if look is None:
                continue
            entry, turn = look
            orientation = int(COMPOSE[turn, int(grid.orientation[0, row, column])])
            top, left = (int(grid.origins[0, axis]) + at * pitch[axis] for axis, at in ((0, row), (1, column)))
            cells.append(_Cell(entry, orientation, top * zoom, left * zoom, (grid.size[0] * zoom, grid.size[1] * zoom)))
        if len(cells) >= MAX_LAYERS or len(self.sprites) > MAX_ENTRIES:
            self.forget(before)
            reason = f"{len(cells):,} cells are too many layers, or their tiles too many sprites"
            return _Map(size, _rgba(picture, transparent), (), None, reason)
        behind = None if transparent is not None else _rgba(np.broadcast_to(colour, picture.shape), None)
        return _Map(size, behind, tuple(cells), (grid.size[0] * zoom, grid.size[1] * zoom))

    def forget(self, count: int) -> None:
        """Keep the first sprites only."""
        del self.sprites[count:]
        self._known = {key: entry for key, entry in self._known.items() if entry < count}

    def _entry(
        self, tile: Picture, seen: Bool[np.ndarray, "h w"], zoom: int, transparent: Colour | None
    ) -> tuple[int, int]:
        """The sprite that a tile is, and how the tile shows it."""
        rgba = _rgba(tile, transparent)
        rgba[~seen] = 0
        rgba = rgba.repeat(zoom, 0).repeat(zoom, 1)
        for orientation in orientations_of((rgba.shape[0], rgba.shape[1])):
            turned = orient(rgba, orientation, rows=-3)
            entry = self._known.get((turned.shape, turned.tobytes()))
            if entry is not None:
                return entry, int(INVERSE[orientation])
        self._known[rgba.shape, rgba.tobytes()] = len(self.sprites)
        self.sprites.append(from_pixels(rgba))
        return len(self.sprites) - 1, 0


def _commonest_colour(grid: TileGrid) -> UInt8[np.ndarray, " 3"]:
    """The colour behind the cells: between them, where there are lines, else that of most cells of one colour."""
    if max(grid.spacing) > 0:
        return np.array(grid.line, np.uint8)
    uses = np.bincount(grid.cells[grid.cells >= 0], minlength=len(grid.tiles))
    flat = [index for index, tile in enumerate(grid.tiles) if _is_flat(tile)]
    best = max(flat, key=lambda index: int(uses[index]), default=None)
    return np.zeros(3, np.uint8) if best is None else grid.tiles[best][0, 0]


def _is_equal(each: _Map, sprites: Sequence[torch.Tensor], picture: UInt8[np.ndarray, "h w 4"]) -> bool:
    """Whether what is behind a map, and its cells before that, are the picture; with holes, before black and before white."""
    dictionary = Dictionary(tuple(sprites))
    equal = bool((to_pixels(_scene("map", each, dictionary).composite()) == picture[..., :3]).all())
    if each.behind is not None or not equal:
        return equal
    before_white = _scene("map", replace(each, behind=np.full_like(picture, 255)), dictionary).composite()
    return bool((to_pixels(before_white) == np.where(picture[..., 3:] > 0, picture[..., :3], 255)).all())


def _scene(name: str, each: _Map, dictionary: Dictionary) -> Scene:
    layers = []
    if each.behind is not None:
        ground = Placement(OWN_RASTER, (Transform.shift(0, 0, each.size),), raster=from_pixels(each.behind))
        layers.append(SceneLayer("background", "background", ground))
    for number, cell in enumerate(each.cells):
        place = Transform.oriented(cell.orientation, cell.left, cell.top, cell.shown, each.size)
        title = f"{dictionary.name(cell.entry)} at {cell.left}, {cell.top}"
        layers.append(SceneLayer(f"layer-{number:02d}", title, Placement(cell.entry, (place,))))
    opaque = each.behind is not None and bool((each.behind[..., 3] == 255).all())
    return Scene(name, each.size, tuple(layers), dictionary, background=opaque)

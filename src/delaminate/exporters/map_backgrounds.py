"""Backgrounds as tiles: which of them lie on a lattice, and what each cell shows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64, UInt8

from delaminate.exporters.blits import Stamp, Stamps
from delaminate.exporters.tile_sheet import TileSheet
from delaminate.matching.tile_animations import tile_animations
from delaminate.matching.tiles import TileGrid, find_tiles
from delaminate.scene.scenes import Scene

MAX_PIXELS = 24_000_000  # of pictures whose tiles are looked for together
GIVE_UP = 4  # pictures of one size without tiles


@dataclass(frozen=True, eq=False)
class TiledPicture:
    """A background as cells of a sheet.

    Attributes:
        tiles: Which tile of the sheet each cell shows, -1 for none.
        orientation: How it is turned.
        top, left: Where cell (0, 0) lies on the picture, at most 0.
        shape: Height and width of the picture.
    """

    tiles: Int64[np.ndarray, "rows columns"]
    orientation: UInt8[np.ndarray, "rows columns"]
    top: int
    left: int
    shape: tuple[int, int]


def backgrounds_of(scenes: Sequence[Scene], stamps: Stamps) -> list[Stamp | None]:
    """Choose each scene's background, one that is not mirrored: as a mirrored one, a picture is another picture."""
    chosen: list[Stamp | None] = []
    turned: dict[int, int] = {}
    for scene, frame in zip(scenes, stamps.frames, strict=True):
        if not (scene.background and frame):
            chosen.append(None)
            continue
        stamp = frame[0]
        if stamp.mirrored:
            if stamp.picture not in turned:
                turned[stamp.picture] = len(stamps.pictures)
                stamps.pictures.append(np.ascontiguousarray(stamps.pictures[stamp.picture][:, ::-1]))
                stamps.names.append(f"{stamps.names[stamp.picture]}-mirrored")
            stamp = replace(stamp, picture=turned[stamp.picture], mirrored=False)
        chosen.append(stamp)
    return chosen


def _find(pictures: Sequence[UInt8[np.ndarray, "h w 4"]]) -> list[tuple[TileGrid, int] | None]:
    """Find the tiles of pictures of one size, together if that works: the grid of each, and its number there."""
    if len(pictures) > 1 and sum(picture.size // 4 for picture in pictures) <= MAX_PIXELS:
        grid = find_tiles(np.stack([picture[..., :3] for picture in pictures]))
        if grid is not None:
            return [(grid, number) for number in range(len(pictures))]
    found: list[tuple[TileGrid, int] | None] = []
    for picture in pictures:
        # Where the first ones have none, as cut-outs of photos, the others have none either.
        hopeless = len(found) >= GIVE_UP and not any(found)
        grid = None if hopeless else find_tiles(np.ascontiguousarray(picture[None, ..., :3]))
        found.append(None if grid is None else (grid, 0))
    return found


def find_background_grids(pictures: dict[int, UInt8[np.ndarray, "h w 4"]]) -> dict[int, tuple[TileGrid, int]]:
    """Find the backgrounds that are laid out in tiles of the size that most of them have.

    Args:
        pictures: By their numbers, those that are opaque.

    Returns:
        The grid, and the picture's number in it.
    """
    found: dict[int, tuple[TileGrid, int]] = {}
    opaque = {index: picture for index, picture in pictures.items() if (picture[..., 3] == 255).all()}
    for shape in dict.fromkeys(picture.shape for picture in opaque.values()):
        some = [index for index, picture in opaque.items() if picture.shape == shape]
        for index, match in zip(some, _find([opaque[index] for index in some]), strict=True):
            if match is not None and match[0].spacing == (0, 0):
                found[index] = match
    areas: Counter[tuple[int, int]] = Counter()
    for index, (grid, _) in found.items():
        areas[grid.size] += opaque[index].size
    size = areas.most_common(1)[0][0] if areas else None
    return {index: match for index, match in found.items() if match[0].size == size}


class _Looks:
    """Puts the tiles of a grid on a sheet as they are needed."""

    def __init__(self, grid: TileGrid, sheet: TileSheet) -> None:
        self.grid, self.sheet = grid, sheet
        self.known: dict[tuple[int, int, int], tuple[int, int]] = {}

    def __call__(self, tile: int, palette: int, orientation: int) -> tuple[int, int]:
        key = tile, palette, orientation
        if key not in self.known:
            alpha = np.where(self.grid.seen[tile], 255, 0)[..., None].astype(np.uint8)
            picture = np.concatenate([self.grid.coloured(tile, palette), alpha], -1)
            picture[alpha[..., 0] == 0] = 0
            self.known[key] = self.sheet.show(picture, orientation)
        return self.known[key]


def lay_out(grid: TileGrid, number: int, sheet: TileSheet) -> TiledPicture:
    """Write one picture of a grid in tiles of a sheet."""
    looks = np.stack([grid.cells[number], grid.palette[number], grid.orientation[number]]).reshape(3, -1)
    kinds, which = np.unique(looks, axis=1, return_inverse=True)
    look = _Looks(grid, sheet)
    shown = np.array([look(*kind) if kind[0] >= 0 else (-1, 0) for kind in kinds.T.tolist()], np.int64)
    cells = shown[which].reshape(*grid.cells.shape[1:], 2)
    top, left = grid.origins[number].tolist()
    return TiledPicture(cells[..., 0], cells[..., 1].astype(np.uint8), top, left, grid.shape)


def animate(
    stamps: Sequence[Stamp | None],
    grids: dict[int, tuple[TileGrid, int]],
    laid: dict[int, TiledPicture],
    sheet: TileSheet,
) -> tuple[int, TiledPicture] | None:
    """Find the tiles that cycle, where the backgrounds of all scenes are pictures of one grid at one place.

    Returns:
        The first scene's background, and the same with cells that move; None where none does.
    """
    shown = [stamp for stamp in stamps if stamp is not None]
    if len(shown) != len(stamps) or len({stamp.picture for stamp in shown}) < 2:
        return None
    if any(stamp.picture not in grids for stamp in shown) or len({(s.left, s.top) for s in shown}) > 1:
        return None
    if len({id(grids[stamp.picture][0]) for stamp in shown}) > 1:
        return None
    grid = grids[shown[0].picture][0]
    frames = np.array([grids[stamp.picture][1] for stamp in shown])
    moving = tile_animations(
        replace(
            grid,
            origins=grid.origins[frames],
            cells=grid.cells[frames],
            orientation=grid.orientation[frames],
            palette=grid.palette[frames],
        )
    )
    if not moving:
        return None
    first = laid[shown[0].picture]
    tiles, orientation = first.tiles.copy(), first.orientation.copy()
    look = _Looks(grid, sheet)
    for animation in moving:
        frames_of = [look(tile, palette, turn) for tile, turn, palette in animation.tiles]
        animated, own = sheet.animate(frames_of, animation.durations)
        rows, columns = animation.cells.T
        base = grid.orientation[frames[0]][rows, columns]
        tiles[rows, columns] = animated
        orientation[rows, columns] = [sheet.combine(own, int(turn)) for turn in base]
    return shown[0].picture, replace(first, tiles=tiles, orientation=orientation)

"""Animated tiles: cells that change through the same pictures at the same times share one animation."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from delaminate.matching.tile_cells import COMPOSE, INVERSE
from delaminate.matching.tiles import TileGrid


@dataclass(frozen=True, eq=False)
class TileAnimation:
    """One cycle of tiles, and the cells that show it.

    Attributes:
        tiles: Tile, orientation and palette, one after the other. The cell's own orientation, the grid's at picture 0,
            turns all of them besides.
        durations: How many pictures each is seen for.
        cells: Row and column.
    """

    tiles: tuple[tuple[int, int, int], ...]
    durations: tuple[int, ...]
    cells: Int64[np.ndarray, "n 2"]


def _period(sequence: Int64[np.ndarray, " N"]) -> int:
    """The fewest steps after which a sequence repeats, of which it has at least two whole cycles; else all of it."""
    for period in range(1, len(sequence) // 2 + 1):
        if (sequence[period:] == sequence[:-period]).all():
            return period
    return len(sequence)


def tile_animations(grid: TileGrid) -> tuple[TileAnimation, ...]:
    """Find the cells that cycle, in pictures that are frames of a camera at rest.

    What one cell alone shows is an animation only if it is seen to repeat: something may just have passed by.

    Returns:
        The animations, by their first cell; none where the pictures have origins of their own.
    """
    number, rows, columns = grid.cells.shape
    if number < 2 or (grid.origins != grid.origins[0]).any():
        return ()
    relative = COMPOSE[grid.orientation, INVERSE[grid.orientation[0]]]
    looks = np.stack([grid.cells, relative, grid.palette]).reshape(3, -1)
    kinds, which = np.unique(looks, axis=1, return_inverse=True)
    sequences = which.reshape(number, rows * columns).T
    changing = np.flatnonzero((sequences != sequences[:, :1]).any(1) & (grid.cells.reshape(number, -1) >= 0).all(0))
    if not len(changing):
        return ()
    distinct, first, members = np.unique(sequences[changing], axis=0, return_index=True, return_inverse=True)
    found = []
    for group in np.argsort(first).tolist():
        sequence = distinct[group]
        cells = changing[members.ravel() == group]
        period = _period(sequence)
        if period == number and len(cells) < 2:
            continue
        cycle = sequence[:period]
        starts = np.concatenate([[0], np.flatnonzero(np.diff(cycle)) + 1])
        durations = np.diff(np.concatenate([starts, [period]]))
        tiles = tuple((int(t), int(o), int(p)) for t, o, p in kinds[:, cycle[starts]].T)
        found.append(TileAnimation(tiles, tuple(durations.tolist()), np.stack(np.divmod(cells, columns), 1)))
    return tuple(found)

"""Drawn games of still pictures: sprites afloat, and random levels of a platform game.

Replicas of two sets of the MarioNette paper (Smirnov et al., 2021) that were never published. The sprites
are Kenney's (CC0) or, with DELAMINATE_DATA, those of the game that the paper took its frames from (Dubey
et al., Investigating Human Priors for Playing Video Games, 2018).
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from delaminate.data.real.root import data_folder
from delaminate.data.synthetic.drawing import Drawing, Map, Raster, Stamp, packaged, stamp_file

# Sprites afloat ---------------------------------------------------------------------------------------

FLOATING = ("grass", "crate", "ladder", "spikes", "green-0", "pink", "block", "rover-0", "coin-0", "key", "heart")
FLOATING_COUNTS = (5, 15)


def floating_sprites() -> tuple[Stamp, ...]:
    """The eleven sprites; entry k has class k + 1."""
    return tuple(packaged(name) for name in FLOATING)


def _paint_floating(rng: np.random.Generator, pixels: Raster, instances: Map, classes: Map) -> None:
    """5 to 15 of 11 sprites, with repetition, on white, 128 x 128 pixels, later ones in front.

    Replica of the paper's floating sprites. Departs: the sprites are Kenney's at their own size of 18 or
    24 pixels; the paper's are the game's, shrunk to 16.
    """
    pixels[:] = 255
    stamps = floating_sprites()
    low, high = FLOATING_COUNTS
    for number in range(1, int(rng.integers(low, high + 1)) + 1):
        kind = int(rng.integers(len(stamps)))
        height, width = stamps[kind].size
        top = int(rng.integers(instances.shape[0] - height + 1))
        left = int(rng.integers(instances.shape[1] - width + 1))
        stamps[kind].onto(pixels, instances, classes, top, left, number, kind + 1)


# A platform game --------------------------------------------------------------------------------------

COLUMNS, ROWS = 26, 24  # tiles of a level; the frame shows a part
DUBEY_FOLDER = "dubey_sample"

Cell = tuple[int, int]


@dataclass(frozen=True)
class Theme:
    """The looks of a platform game.

    Attributes:
        grid: Side of a tile in pixels.
        background: Colour behind everything.
        walls, ladder, fire, enemies, player, princess: Sprites by role. Several walls or enemies are several
            kinds; several pictures of the player are one.
        pits: Fire fills gaps in the floors, as in the game of Dubey et al., rather than standing on them.
    """

    grid: int
    background: tuple[int, int, int]
    walls: tuple[Stamp, ...]
    ladder: Stamp
    fire: Stamp
    enemies: tuple[Stamp, ...]
    player: tuple[Stamp, ...]
    princess: Stamp
    pits: bool

    @property
    def sprites(self) -> tuple[Stamp, ...]:
        """Every sprite, in the order of the classes."""
        return (self.ladder, *self.player, self.fire, *self.enemies, *self.walls, self.princess)


@dataclass(frozen=True)
class Level:
    """Which cells (row, column) of a level hold what; the walls with their kind."""

    walls: dict[Cell, int]
    ladders: frozenset[Cell]
    fire: frozenset[Cell]


@functools.cache
def kenney_theme() -> Theme:
    """Kenney's Pixel Platformer, 18-pixel tiles and 24-pixel characters; spikes for fire."""
    return Theme(
        18,
        (34, 32, 52),
        (packaged("crate"), packaged("grass")),
        packaged("ladder"),
        packaged("spikes"),
        (packaged("block"), packaged("rover-0")),
        (packaged("green-0"),),
        packaged("pink"),
        pits=False,
    )


def dubey_theme() -> Theme:
    """The sprites of the game itself, read from files; its black border tile is left out.

    Raises:
        DataError: DELAMINATE_DATA is not set, or does not hold them.
    """
    return _dubey_theme(str(data_folder(DUBEY_FOLDER, "platform-game-dubey")))


@functools.cache
def _dubey_theme(folder: str) -> Theme:
    sprite = {number: stamp_file(Path(folder) / f"class_{number}.png") for number in range(12) if number != 4}
    poses = tuple(sprite[number] for number in (1, 7, 8, 9, 10, 11))
    return Theme(15, (40, 20, 0), (sprite[5],), sprite[0], sprite[2], (sprite[3],), poses, sprite[6], pits=True)


def random_level(rng: np.random.Generator, theme: Theme) -> Level:
    """Floors of runs of 1 to 10 walls with gaps between, joined by ladders, with fire on or between them."""
    floors = list(_floors(rng))
    walls: dict[Cell, int] = {}
    gaps: list[list[Cell]] = []
    for row in floors:
        column = -int(rng.integers(0, 5))
        while column < COLUMNS:
            run, kind = int(rng.integers(1, 11)), int(rng.integers(len(theme.walls)))
            walls |= {(row, c): kind for c in range(max(column, 0), min(column + run, COLUMNS))}
            gap = int(rng.integers(1, 4))
            gaps.append([(row, c) for c in range(column + run, min(column + run + gap, COLUMNS))])
            column += run + gap
    ladders = set()
    for upper, lower in itertools.pairwise(floors):
        for cell in _ladders(rng, walls, upper, lower):
            walls.pop(cell, None)
            ladders.add(cell)
    candidates = gaps if theme.pits else _stretches(rng, walls, ladders)
    burning = {
        cell
        for cells in candidates
        if rng.random() < (0.6 if theme.pits else 0.45)
        for cell in cells
        if cell not in ladders and cell[1] >= 0
    }
    return Level(walls, frozenset(ladders), frozenset(burning))


def _floors(rng: np.random.Generator) -> Iterator[int]:
    """Rows of the floors, 3 to 5 apart."""
    row = int(rng.integers(1, 4))
    while row < ROWS:
        yield row
        row += int(rng.choice((3, 3, 4, 5)))


def _ladders(rng: np.random.Generator, walls: dict[Cell, int], upper: int, lower: int) -> Iterator[Cell]:
    """Cells of two to four ladders, one or two wide, from a floor up to the next, half of them one further."""
    feet = [column for row, column in walls if row == lower]
    taken: set[int] = set()
    for _ in range(int(rng.integers(2, 5))):
        column, width = int(rng.choice(feet)), int(rng.integers(1, 3))
        top = upper - int(rng.integers(0, 2))
        if taken & set(range(column - 1, column + width + 1)):
            continue
        for each in range(column, min(column + width, COLUMNS)):
            if (lower, each) in walls:
                taken.add(each)
                yield from ((row, each) for row in range(max(top, 0), lower))


def _stretches(rng: np.random.Generator, walls: dict[Cell, int], ladders: set[Cell]) -> Iterator[list[Cell]]:
    """Now and then one to three free cells above walls."""
    for row, column in sorted(walls):
        if column % 4 == 0:
            cells = [(row - 1, column + step) for step in range(int(rng.integers(1, 4)))]
            yield [c for c in cells if (c[0] + 1, c[1]) in walls and c not in ladders and c not in walls and c[0] >= 0]


def _paint_game(
    rng: np.random.Generator, pixels: Raster, instances: Map, classes: Map, theme_of: str = "kenney"
) -> None:
    """A random level under a camera at any pixel, 230 x 230 pixels.

    Replica of the platform game of Dubey et al. as the paper uses it. Drawn back to front: ladders,
    player, fire, enemies, walls, princess. Departs: every picture has a level of its own, since with one
    level the things that stand still would never be seen in another place; there is no black border.
    """
    theme = dubey_theme() if theme_of == "dubey" else kenney_theme()
    pixels[:] = np.array(theme.background, dtype=np.uint8)[:, None, None]
    height, width = instances.shape
    grid = theme.grid
    level = random_level(rng, theme)
    top = int(rng.integers(0, ROWS * grid - height + 1))
    left = int(rng.integers(0, COLUMNS * grid - width + 1))
    spots = _spots(level, theme, top, left, height, width)
    kinds = itertools.count(1)
    ladder_kind, player_kind, fire_kind = next(kinds), next(kinds), next(kinds)
    enemy_kinds = [next(kinds) for _ in theme.enemies]
    wall_kinds = [next(kinds) for _ in theme.walls]
    princess_kind = next(kinds)

    drawn: list[tuple[Stamp, int, int, int]] = []
    drawn += [(theme.ladder, row * grid, column * grid, ladder_kind) for row, column in sorted(level.ladders)]
    player = theme.player[int(rng.integers(len(theme.player)))]
    climbing = [cell for cell in level.ladders if top < cell[0] * grid and left < cell[1] * grid < left + width - grid]
    if climbing and rng.random() < 0.25:
        row, column = sorted(climbing)[int(rng.integers(len(climbing)))]
        place = (min(row * grid + int(rng.integers(grid)), top + height - grid), column * grid - 2)
    else:
        place = _stand(rng, player, spots, grid)
    drawn.append((player, *place, player_kind))
    drawn += [(theme.fire, row * grid, column * grid, fire_kind) for row, column in sorted(level.fire)]
    for _ in range(int(rng.integers(1, 5))):
        which = int(rng.integers(len(theme.enemies)))
        drawn.append((theme.enemies[which], *_stand(rng, theme.enemies[which], spots, grid), enemy_kinds[which]))
    for (row, column), kind in sorted(level.walls.items()):
        drawn.append((theme.walls[kind], row * grid, column * grid, wall_kinds[kind]))
    drawn.append((theme.princess, *_stand(rng, theme.princess, spots, grid), princess_kind))

    number = 0
    for stamp, y, x, kind in drawn:
        rows, columns = stamp.size
        if -rows < y - top < height and -columns < x - left < width:
            number += 1
            stamp.onto(pixels, instances, classes, y - top, x - left, number, kind)


def _spots(level: Level, theme: Theme, top: int, left: int, height: int, width: int) -> list[Cell]:
    """Walls within the frame that one can stand on."""
    grid, room = theme.grid, 26
    return [
        (row, column)
        for row, column in sorted(level.walls)
        if top + room <= row * grid < top + height
        and left <= column * grid <= left + width - 2 * grid
        and (row - 1, column) not in level.fire
        and (row - 1, column) not in level.walls
    ]


def _stand(rng: np.random.Generator, stamp: Stamp, spots: list[Cell], grid: int) -> tuple[int, int]:
    """Top and left, in pixels of the level, of a sprite that stands on a wall at any pixel."""
    if not spots:
        return -(10**6), 0  # nothing to stand on is seen: nor is the sprite
    row, column = spots[int(rng.integers(len(spots)))]
    if len(spots) > 4:
        spots[:] = [spot for spot in spots if spot[0] != row or abs(spot[1] - column) > 1]  # the next stands elsewhere
    offset = int(rng.integers(-grid // 2, grid // 2 + 1))
    return row * grid - stamp.feet, column * grid + (grid - stamp.size[1]) // 2 + offset


GAMES = {
    "floating-sprites": Drawing(
        (128, 128),
        "5 to 15 overlapping game sprites on white, 128 x 128 (replica)",
        _paint_floating,
        sprites=floating_sprites,
        sprite_iou=0.95,
    ),
    "platform-game": Drawing(
        (230, 230),
        "random levels of a platform game, 230 x 230 (replica)",
        _paint_game,
        sprites=lambda: kenney_theme().sprites,
    ),
    "platform-game-dubey": Drawing(
        (230, 230),
        "the same with the sprites of the game of Dubey et al., 230 x 230 (replica)",
        functools.partial(_paint_game, theme_of="dubey"),
        sprites=lambda: dubey_theme().sprites,
        folder=DUBEY_FOLDER,
    ),
}

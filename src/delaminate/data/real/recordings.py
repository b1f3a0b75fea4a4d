"""A console game, recorded on the spot: nothing of it is stored or shipped with the library.

The extra `games` brings the emulator and its games (see their own licences); a seeded player presses random buttons.
"""

import importlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from delaminate.data.sets import ImageSet, numbered
from delaminate.data.synthetic.scenes import SPLITS, Split
from delaminate.errors import DataError, MissingExtra
from delaminate.rng import numpy_stream

SKIP = 4  # emulated frames from one picture to the next
RATE = 60 / SKIP
HOLD = (2, 12)  # pictures for which the player holds a button
WARM_UP = (60, 260)  # pictures played before the first one kept, so that clips do not begin alike


@dataclass(frozen=True)
class Recording:
    """A game that can be recorded.

    Attributes:
        rom: Its name in the emulator.
        size: Height and width of the screen in pixels.
        description: One line for a list of names.
    """

    rom: str
    size: tuple[int, int]
    description: str


SCREEN = (210, 160)
RECORDINGS = {
    name: Recording(rom, SCREEN, f"{what}, played at random on the spot, 210 x 160")
    for name, rom, what in (
        ("space-invaders", "space_invaders", "the arcade game"),
        ("pong", "pong", "two paddles and a ball"),
        ("boxing", "boxing", "two boxers, seen from above"),
        ("skiing", "skiing", "a skier between flags and trees"),
        ("freeway", "freeway", "a chicken and ten lanes of cars"),
        ("ms-pacman", "ms_pacman", "a maze of pills and four ghosts"),
    )
}


def record(name: str, count: int, seed: int = 0, split: Split = "train", start: int = 0) -> ImageSet:
    """Play a game and keep what the screen shows.

    Args:
        name: A key of `RECORDINGS`.
        count: How many pictures.
        seed: Which player; picture i of a (name, split, seed) is the same however many are recorded.
        split: Training, development or test players never meet.
        start: The number of the first picture kept.

    Returns:
        RGB pictures, 15 per second of the game.

    Raises:
        MissingExtra: The emulator is not installed.
        DataError: The name or split is unknown, or a number is negative.
    """
    if name not in RECORDINGS:
        raise DataError(f"recordings: unknown name '{name}'; expected one of {', '.join(RECORDINGS)}")
    if split not in SPLITS:
        raise DataError(f"recordings: split is '{split}'; expected one of {', '.join(SPLITS)}")
    if count < 0 or start < 0:
        raise DataError(f"recordings: count is {count} and start {start}; neither can be negative")
    try:
        ale_py: Any = importlib.import_module("ale_py")
        path = importlib.import_module("ale_py.roms").get_rom_path(RECORDINGS[name].rom)
    except ImportError as error:
        raise MissingExtra(f"recording {name}", "games") from error
    rng = numpy_stream(name, split, seed)
    game = _started(ale_py, str(path), int(rng.integers(2**31 - 1)))
    actions = game.getMinimalActionSet()
    pixels = np.zeros((count, *RECORDINGS[name].size, 3), dtype=np.uint8)
    first = start + int(rng.integers(*WARM_UP))
    held = 0
    for index in range(first + count):
        if held == 0:
            action, held = actions[int(rng.integers(len(actions)))], int(rng.integers(*HOLD))
        held -= 1
        for _ in range(SKIP):
            game.act(action)
        if game.game_over():
            game.reset_game()
        if index >= first:
            game.getScreenRGB(pixels[index - first])
    return replace(ImageSet.from_arrays(pixels, numbered(count, start)), rate=RATE)


def _started(ale_py: Any, path: str, seed: int) -> Any:
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    game = ale_py.ALEInterface()
    game.setInt("random_seed", seed)
    game.setFloat("repeat_action_probability", 0.0)
    game.setBool("sound", False)
    game.setBool("display_screen", False)
    game.loadROM(path)
    game.reset_game()
    return game

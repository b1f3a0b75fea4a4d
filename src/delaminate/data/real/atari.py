"""Where the objects of six console games are, read off their clean screens by colour and place.

A reader knows the game and nothing of any method: every object has a colour of its own, or a place. What is read is the
tight box of an object's pixels that are seen; of two that overlap, the hidden part of one is in no box. What shows one
picture at one place in all frames of a recording is told apart from scenery by nothing: `standing` finds it.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from scipy.ndimage import binary_dilation, find_objects, label

from delaminate.data.sets import Box

Colour = tuple[int, int, int]
Area = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are one past the last pixel

SCREEN: Area = (0, 0, 160, 210)
LEAST_PIXELS = 4  # of an object that is to be found, as predictions count from 4 pixels on


def pixels_of(frame: UInt8[np.ndarray, "H W 3"], colour: Colour, area: Area = SCREEN) -> Bool[np.ndarray, "H W"]:
    """Which pixels of an area have a colour."""
    left, top, right, bottom = area
    shown = np.zeros(frame.shape[:2], dtype=bool)
    shown[top:bottom, left:right] = (frame[top:bottom, left:right] == np.array(colour, dtype=np.uint8)).all(-1)
    return shown


def groups(name: str, shown: Bool[np.ndarray, "H W"], gap: int = 1) -> list[Box]:
    """The box of each group of pixels that lie at most `gap` pixels apart, across and down; 1: they touch, corners count."""
    near = binary_dilation(shown, np.ones((gap, gap), dtype=bool)) if gap > 1 else shown
    labels = np.where(shown, label(near, np.ones((3, 3)))[0], 0)
    boxes = []
    for number, place in enumerate(find_objects(labels), start=1):
        if place is not None and (labels[place] == number).sum() >= LEAST_PIXELS:
            boxes.append(_box(name, place))
    return boxes


def whole(name: str, shown: Bool[np.ndarray, "H W"]) -> list[Box]:
    """One box around all pixels; none where there are fewer than an object has."""
    if shown.sum() < LEAST_PIXELS:
        return []
    return [_box(name, find_objects(shown.astype(np.int64))[0])]


def _box(name: str, place: tuple[slice, ...]) -> Box:
    rows, columns = place
    return (
        name,
        float(columns.start),
        float(rows.start),
        float(columns.stop - columns.start),
        float(rows.stop - rows.start),
    )


def space_invaders(frame: UInt8[np.ndarray, "210 160 3"]) -> list[Box]:
    """Aliens by row (Alien1 is the highest that is left), the three shields however eroded, the player, shots, digits.

    Shots are grey or as their shooter, and thinner than 4 pixels; the saucer on top is one object. What lies below the
    ground line is not read.
    """
    field = (0, 22, 160, 195)
    boxes: list[Box] = []
    aliens = groups("Alien", pixels_of(frame, (134, 134, 29), field), gap=4)
    highest = min((box[2] for box in aliens if box[3] > 3), default=0.0)
    for _, left, top, width, height in aliens:
        name = f"Alien{1 + round((top - highest) / 18)}" if width > 3 else "Shot"
        boxes.append((name, left, top, width, height))
    for corner in (42, 74, 106):
        boxes += whole("Shield", pixels_of(frame, (181, 83, 40), (corner, 150, corner + 8, 180)))
    for box in groups("Player", pixels_of(frame, (50, 132, 50), field), gap=3):
        boxes.append(box if box[3] > 3 else ("Shot", *box[1:]))
    boxes += groups("Shot", pixels_of(frame, (142, 142, 142), field))
    boxes += groups("Saucer", pixels_of(frame, (151, 25, 122), field), gap=3)
    for colour in ((50, 132, 50), (162, 134, 56)):
        for corner in range(4, 148, 16):
            boxes += whole("Digit", pixels_of(frame, colour, (corner, 8, corner + 16, 21)))
    return boxes


def pong(frame: UInt8[np.ndarray, "210 160 3"]) -> list[Box]:
    """Both paddles, the ball, and the digits of both scores, each side a class."""
    field, score = (0, 34, 160, 194), (0, 0, 160, 24)
    player, enemy = (92, 186, 92), (213, 130, 74)
    return [
        *groups("Player", pixels_of(frame, player, field)),
        *groups("Enemy", pixels_of(frame, enemy, field)),
        *groups("Ball", pixels_of(frame, (236, 236, 236), field)),
        *groups("PlayerScore", pixels_of(frame, player, score)),
        *groups("EnemyScore", pixels_of(frame, enemy, score)),
    ]


def boxing(frame: UInt8[np.ndarray, "210 160 3"]) -> list[Box]:
    """Both boxers with head and gloves, the digits of both scores, and the clock's digits and colon."""
    ring, score = (32, 36, 128, 177), (8, 0, 160, 14)
    white, black = (214, 214, 214), (0, 0, 0)
    return [
        *whole("White", pixels_of(frame, white, ring)),
        *whole("Black", pixels_of(frame, black, ring)),
        *groups("WhiteScore", pixels_of(frame, white, score)),
        *groups("BlackScore", pixels_of(frame, black, score)),
        *groups("Clock", pixels_of(frame, (20, 60, 0), (8, 15, 71, 25))),
        *whole("Clock", pixels_of(frame, (20, 60, 0), (71, 15, 77, 25))),
        *groups("Clock", pixels_of(frame, (20, 60, 0), (77, 15, 160, 25))),
    ]


def skiing(frame: UInt8[np.ndarray, "210 160 3"]) -> list[Box]:
    """The skier, poles with a flag (blue and red ones), trees in each of their colours, moguls, digits of both clocks."""
    slope = (8, 28, 152, 184)
    boxes = whole("Skier", pixels_of(frame, (214, 92, 92), slope))
    for colour in ((66, 72, 200), (184, 50, 50)):
        boxes += groups("Flag", pixels_of(frame, colour, slope))
    for colour in ((82, 126, 45), (158, 208, 101), (72, 160, 72), (110, 156, 66)):
        boxes += groups("Tree", pixels_of(frame, colour, slope), gap=4)
    for colour in ((192, 192, 192), (214, 214, 214)):
        boxes += groups("Mogul", pixels_of(frame, colour, slope), gap=2)
    return boxes + groups("Digit", pixels_of(frame, (0, 0, 0), (8, 5, 152, 24)))


CARS = (
    (167, 26, 26), (180, 231, 117), (105, 105, 15), (228, 111, 111), (24, 26, 167),
    (162, 98, 33), (84, 92, 214), (184, 50, 50), (135, 183, 84), (210, 210, 64),
)  # fmt: skip


def freeway(frame: UInt8[np.ndarray, "210 160 3"]) -> list[Box]:
    """Both chickens, the car of each of ten lanes (each lane is a class) with its black tyres, the digits of the scores."""
    boxes = []
    for lane, colour in enumerate(CARS):
        area = (8, 25 + 16 * lane, 160, 39 + 16 * lane)
        boxes += groups(f"Car{lane + 1}", pixels_of(frame, colour, area) | pixels_of(frame, (0, 0, 0), area), gap=4)
    feathers = pixels_of(frame, (252, 252, 84), (8, 15, 160, 195))
    feathers[102:105] &= ~_dashes(feathers[102:105])
    boxes += groups("Chicken", feathers, gap=2)
    return boxes + groups("Digit", pixels_of(frame, (228, 111, 111), (8, 4, 160, 14)))


def _dashes(shown: Bool[np.ndarray, "h W"]) -> Bool[np.ndarray, "h W"]:
    """The double yellow line between the fifth lane and the sixth: rows 102 and 104, 4 pixels of 8."""
    columns = np.arange(shown.shape[1])
    line = np.zeros_like(shown)
    line[0] = line[2] = (columns >= 12) & ((columns - 12) % 8 < 4)
    return line


def ms_pacman(frame: UInt8[np.ndarray, "210 160 3"]) -> list[Box]:
    """The player, ghosts by colour (blue ones are a class), pills, power pills, spare lives, digits; fruit below the maze.

    Pills have the walls' colour: they are its groups of 4 x 2 pixels; power pills, of 4 x 7, blink.
    """
    maze = (0, 0, 160, 171)
    boxes = whole("Player", pixels_of(frame, (210, 164, 74), maze))
    ghosts = {"Blinky": (200, 72, 72), "Pinky": (198, 89, 179), "Inky": (84, 184, 153), "Sue": (180, 122, 48)}
    for name, colour in ghosts.items():
        boxes += whole(name, pixels_of(frame, colour, maze))
    boxes += groups("Frightened", pixels_of(frame, (66, 114, 194), maze), gap=2)
    for box in groups("Pill", pixels_of(frame, (228, 111, 111), maze)):
        if box[3] <= 4 and box[4] <= 2:
            boxes.append(box)
        elif box[3] <= 4 and box[4] <= 8:
            boxes.append(("PowerPill", *box[1:]))
    boxes += groups("Life", pixels_of(frame, (187, 187, 53), (0, 172, 160, 186)), gap=2)
    boxes += groups("Fruit", pixels_of(frame, (184, 50, 50), (0, 172, 160, 186)), gap=3)
    return boxes + groups("Digit", pixels_of(frame, (195, 144, 61), (0, 186, 160, 196)))


READERS: dict[str, Callable[[UInt8[np.ndarray, "210 160 3"]], list[Box]]] = {
    "space-invaders": space_invaders,
    "pong": pong,
    "boxing": boxing,
    "skiing": skiing,
    "freeway": freeway,
    "ms-pacman": ms_pacman,
}


def standing(frames: UInt8[np.ndarray, "N H W 3"], boxes: Sequence[Sequence[Box]]) -> set[Box]:
    """The boxes whose pixels are the same in all frames: what never moves, changes or goes is part of the scenery."""
    still = (frames == frames[:1]).all((0, 3))
    return {box for some in boxes for box in some if _within(still, box).all()}


def _within(values: Bool[np.ndarray, "H W"], box: Box) -> Bool[np.ndarray, "h w"]:
    left, top, width, height = map(int, box[1:])
    return values[top : top + height, left : left + width]

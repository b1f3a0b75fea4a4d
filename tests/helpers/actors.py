"""Clips of drawn things that walk, turn, spin and jump, as scenes with tracks."""

from dataclasses import dataclass, field

from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import NEUTRAL, Dictionary, Placement, Transform
from helpers.exports import solid


@dataclass
class Stage:
    """A canvas on which things are put frame by frame; sprites (height, width) have random colours of 8 bits."""

    sizes: list[tuple[int, int]]
    canvas: tuple[int, int] = (64, 400)
    frames: dict[int, list[Placement]] = field(default_factory=dict)

    def put(self, frame, track, entry, left, top, mirrored=False, colour=NEUTRAL):
        """Put a sprite's corner at (left, top)."""
        width = self.sizes[entry][1]
        place = Transform.mirror(left, top, width, self.canvas) if mirrored else Transform.shift(left, top, self.canvas)
        self.frames.setdefault(frame, []).append(Placement(entry, (place,), colour, track=track))

    def scenes(self, count=None):
        """One scene for each frame."""
        count = max(self.frames, default=-1) + 1 if count is None else count
        images = tuple(tuple(self.frames.get(frame, [])) for frame in range(count))
        sprites = tuple(solid(size, 50 + number) for number, size in enumerate(self.sizes))
        return Decomposition(Dictionary(sprites), images, self.canvas).scenes()


def patrol(turns=3, steps=48, hold=4, kept_mirrored=(1,)):
    """A walker of four poses of different sizes who turns at both ends; its feet are at row 50, its axis in the middle.

    Each pose lies about the axis by its `CENTRES`, and some sprites are kept mirrored in the dictionary.
    """
    stage = Stage([(20, 10), (18, 14), (20, 12), (17, 8)])
    x, frame, speed = 40, 0, 2
    for turn in range(turns + 1):
        for _ in range(steps):
            entry = frame // hold % 4
            _, width = stage.sizes[entry]
            off = CENTRES[entry]
            left = x + off if speed > 0 else x - off - width
            flipped = (speed < 0) ^ (entry in kept_mirrored)
            stage.put(frame, 3, entry, left, 50 - stage.sizes[entry][0], flipped)
            frame, x = frame + 1, x + speed
        if turn < turns:
            speed = -speed
    return stage.scenes()


CENTRES = (-5, -8, -6, -3)  # left of each of the walker's poses, from its axis


def coins(phases=(0, 3, 5, 2, 7, 11), length=30, hold=(2, 3, 2, 3)):
    """Coins that spin in their places: wide, half, thin, half, each seen from a moment of its own on."""
    stage = Stage([(12, 12), (12, 8), (12, 3)])
    order = [entry for entry, frames in zip((0, 1, 2, 1), hold, strict=True) for _ in range(frames)]
    for track, phase in enumerate(phases):
        for frame in range(length):
            entry = order[(frame + phase) % len(order)]
            stage.put(frame, track, entry, 20 + 30 * track + 6 - stage.sizes[entry][1] // 2, 20)
    return stage.scenes()


def crouching(times=4, hold=6, speed=1):
    """A thing that walks on, tall and crouching in turns; its feet stay at row 48, its left side is one line."""
    stage = Stage([(16, 14), (8, 18)])
    for frame in range(2 * times * hold):
        entry = frame // hold % 2
        stage.put(frame, 0, entry, 5 + speed * frame, 48 - stage.sizes[entry][0])
    return stage.scenes()


def hero():
    """One who stands for a while, walks and jumps: entries 0, 1 to 3, and 4 up then 5 down, at row 50."""
    stage = Stage([(18, 10), (18, 12), (17, 11), (18, 12), (20, 14), (16, 14)])
    frame, x = 0, 10

    def act(entry, count, speed, lift=None):
        nonlocal frame, x
        for step in range(count):
            height = stage.sizes[entry][0]
            stage.put(frame, 0, entry, x - stage.sizes[entry][1] // 2, 50 - height - (lift(step) if lift else 0))
            frame, x = frame + 1, x + speed

    def walk(events):
        for number in range(events):
            act(1 + number % 3, 3, 2)

    for still, steps in ((25, 8), (41, 11), (30, 7)):
        act(0, still, 0)
        walk(steps)
        act(4, 9, 2, lambda step: 4 * step + 4)
        act(5, 9, 2, lambda step: 36 - 4 * step)
    act(0, 20, 0)
    return stage.scenes()

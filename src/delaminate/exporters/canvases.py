"""One canvas for all poses of a character, so that nothing jumps when one pose follows another.

Where a pose belongs beside another is seen when a thing changes from one to the other: its corner goes as far as the thing
itself moves, and by the difference of the two poses besides. The motion is what it was just before and just after, or from
one sight of a pose to the next of the same. Where a thing turns round, the axis of mirroring is seen. What is never seen
lies with its bottom centre on that of the commonest pose.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

WINDOW = 6
"""Frames before and after a change in which the motion is measured."""
LONGEST = 48
"""Frames from one sight of a pose to the next of the same, for its motion; more is another walk."""
LEAST_TURNS = 2
"""Turns that show the axis of mirroring."""
WEAK = 1e-4
"""Weight of what is assumed, beside 1 for what was seen once."""


class Sighting(NamedTuple):
    """A pose on its place in a frame.

    Attributes:
        frame: Its number.
        pose: Its number.
        mirrored: The thing faces the other way.
        left, top: The corner of the pose as it is seen, in pixels of the world.
    """

    frame: int
    pose: int
    mirrored: bool
    left: float
    top: float


@dataclass(frozen=True)
class Canvas:
    """The picture that all poses of a character share.

    Attributes:
        size: Height and width in pixels; symmetric about the pivot from left to right, so that flipping moves nothing.
        corners: Left and top of each pose on it.
        pivot: x and y of the commonest pose's bottom centre, in pixels.
    """

    size: tuple[int, int]
    corners: tuple[tuple[int, int], ...]
    pivot: tuple[float, float]


Pair = tuple[int, int]
Offsets = dict[Pair, list[float]]


class Turn(NamedTuple):
    """A change of direction.

    Attributes:
        first, second: The poses before and after.
        total: The sum of their lefts as seen from the axis of mirroring, in pixels.
        doubt: How far that may be wrong.
    """

    first: int
    second: int
    total: float
    doubt: float


class _Walk:
    """A track in coordinates in which it always faces the same way."""

    def __init__(self, sightings: Sequence[Sighting], sizes: Sequence[tuple[int, int]], unit: float) -> None:
        self.unit = unit
        self.frame = np.array([each.frame for each in sightings])
        self.pose = np.array([each.pose for each in sightings])
        self.mirrored = np.array([each.mirrored for each in sightings])
        left = np.array([-(s.left + sizes[s.pose][1]) if s.mirrored else s.left for s in sightings], dtype=np.float64)
        self.place = np.stack([left, [each.top for each in sightings]], 1)  # n 2
        turns = self.mirrored[1:] != self.mirrored[:-1]
        self.heading = np.concatenate([[0], np.cumsum(turns)])  # stretches without a turn
        gap = np.diff(self.frame)
        self.near = gap <= 3
        steady = self.near & (self.pose[1:] == self.pose[:-1]) & ~turns
        self.steady = np.flatnonzero(steady)
        self.speed = np.diff(self.place, axis=0)[steady] / gap[steady][:, None]

    def motion(self, index: int, before: bool, heading: int) -> Float[np.ndarray, " 2"] | None:
        """Pixels a frame before or after a change; None: not seen."""
        when = self.frame[self.steady]
        at = self.frame[index]
        chosen = (when < at) & (when >= at - WINDOW) if before else (when > at) & (when <= at + WINDOW)
        chosen &= self.heading[self.steady] == heading
        return np.asarray(self.speed[chosen].mean(0)) if chosen.any() else None

    def period(self, index: int) -> Float[np.ndarray, " 2"] | None:
        """Pixels a frame from one sight of a pose to the next, across a change; None: not seen."""
        found = []
        for anchor, others in ((index, range(index + 2, len(self.pose))), (index + 1, range(index - 1, -1, -1))):
            for other in others:
                apart = int(self.frame[other] - self.frame[anchor])
                if abs(apart) > LONGEST or self.heading[other] != self.heading[anchor]:
                    break
                if self.pose[other] == self.pose[anchor]:
                    found.append((self.place[other] - self.place[anchor]) / apart)
                    break
        return np.asarray(np.mean(found, 0)) if found else None

    def changes(self, across: Offsets, down: Offsets) -> None:
        """Collect how far each pose lies from the one before, along both axes, where the motion is clear."""
        for index in map(
            int, np.flatnonzero(self.near & (self.pose[1:] != self.pose[:-1]) & (np.diff(self.heading) == 0))
        ):
            heading = int(self.heading[index])
            before, after = self.motion(index, True, heading), self.motion(index, False, heading)
            period = self.period(index)
            gap = int(self.frame[index + 1] - self.frame[index])
            moved = self.place[index + 1] - self.place[index]
            first, second = int(self.pose[index]), int(self.pose[index + 1])
            for axis, found in enumerate((across, down)):
                speed = self._clear(*(None if each is None else float(each[axis]) for each in (before, after, period)))
                if speed is not None:
                    offset = float(moved[axis]) - speed * gap
                    found[min(first, second), max(first, second)].append(offset if first < second else -offset)

    def _clear(self, before: float | None, after: float | None, period: float | None) -> float | None:
        """The speed at a change; None where it changes, too, or is not known."""
        beside = [each for each in (before, after) if each is not None]
        if len(beside) == 2 and abs(beside[0] - beside[1]) > self.unit:
            return None
        if not beside:
            return period
        mean = float(np.mean(beside))
        if period is not None and abs(period - mean) <= self.unit:
            return period
        return mean if len(beside) == 2 else None

    def turns(self) -> list[Turn]:
        """Where the thing turns: it may go on for a step as before, or go back at once."""
        found = []
        for index in map(int, np.flatnonzero(self.near & (np.diff(self.heading) == 1))):
            sign = -1 if self.mirrored[index] else 1
            sides = [
                (self.motion(index, True, int(self.heading[index])), sign),
                (self.motion(index, False, int(self.heading[index + 1])), -sign),
            ]
            speeds = [facing * float(speed[0]) for speed, facing in sides if speed is not None]
            moved = float(np.mean(speeds)) * int(self.frame[index + 1] - self.frame[index]) if len(speeds) == 2 else 0.0
            total = float(self.place[index, 0] + self.place[index + 1, 0]) + sign * moved
            doubt = max((abs(speed) for speed in speeds), default=0.0)
            found.append(Turn(int(self.pose[index]), int(self.pose[index + 1]), total, doubt))
        return found


def _middle(values: Sequence[float]) -> float:
    """The mean of the middle half: neither a slip nor rounding to whole pixels moves it."""
    ordered = np.sort(values)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def _solve(
    offsets: Offsets, assumed: Sequence[float], commonest: int, turns: Sequence[Turn] = ()
) -> Float[np.ndarray, " P"]:
    """Where each pose lies: least squares over what was seen, and weakly what is assumed.

    Args:
        offsets: By pair of poses, how far the second lies from the first.
        assumed: Where each pose lies if nothing tells.
        commonest: The pose whose assumed place counts most.
        turns: Each tells the sum of two places.
    """
    rows, values = [], []
    count = len(assumed)

    def add(parts: dict[int, float], value: float, weight: float) -> None:
        row = np.zeros(count)
        for pose, factor in parts.items():
            row[pose] += factor * weight
        rows.append(row)
        values.append(value * weight)

    for (first, second), seen in offsets.items():
        add({first: -1.0, second: 1.0}, _middle(seen), math.sqrt(len(seen)))
    for first, second, total, _ in turns:
        add({first: 2.0} if first == second else {first: 1.0, second: 1.0}, total, 1.0)
    for pose, place in enumerate(assumed):
        add({pose: 1.0}, place, WEAK * (100 if pose == commonest else 1))
    return np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]


def _unit(sizes: Sequence[tuple[int, int]]) -> int:
    """Pixels of the picture for one of the drawing, where it was enlarged."""
    return max(math.gcd(*(side for size in sizes for side in size)), 1)


def common_canvas(sizes: Sequence[tuple[int, int]], tracks: Sequence[Sequence[Sighting]], commonest: int) -> Canvas:
    """Put the poses of a character on one canvas.

    Args:
        sizes: Height and width of each pose in pixels.
        tracks: Where each thing that shows them was seen, frame by frame.
        commonest: The pose that says where the pivot is.

    Returns:
        The smallest canvas that holds all poses and is symmetric about the pivot.
    """
    across: Offsets = defaultdict(list)
    down: Offsets = defaultdict(list)
    turns: list[Turn] = []
    unit = float(_unit(sizes)) if len(sizes) > 1 else 1.0
    for sightings in tracks:
        if len(sightings) > 1:
            walk = _Walk(sightings, sizes, unit)
            walk.changes(across, down)
            turns += walk.turns()
    turns = turns if len(turns) >= LEAST_TURNS else []
    lefts = _solve(across, [-width / 2 for _, width in sizes], commonest, turns)
    tops = _solve(down, [-height for height, _ in sizes], commonest)
    # The axis is the commonest pose's middle, unless turning shows another; it lies on a pixel's border or in its middle.
    left = -sizes[commonest][1] / 2
    if turns:
        doubt = float(np.mean([turn.doubt for turn in turns])) / 2
        left = round(2 * float(np.clip(left, lefts[commonest] - doubt, lefts[commonest] + doubt))) / 2
    top = -sizes[commonest][0]
    places = [
        (left + round(x - lefts[commonest]), top + round(y - tops[commonest])) for x, y in zip(lefts, tops, strict=True)
    ]
    half = max(max(-x, x + width) for (x, _), (_, width) in zip(places, sizes, strict=True))
    highest = min(y for _, y in places)
    lowest = max(y + height for (_, y), (height, _) in zip(places, sizes, strict=True))
    corners = tuple((round(x + half), y - highest) for x, y in places)
    return Canvas((lowest - highest, round(2 * half)), corners, (half, float(-highest)))

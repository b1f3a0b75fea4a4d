"""Link placements through a clip, so that a thing keeps its number from frame to frame."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from delaminate.scene.placements import OWN_RASTER, Decomposition, Placement

FAR = 1e6


@dataclass
class Track:
    """One thing that is followed.

    Attributes:
        number: Its identity.
        entry: The sprite it showed last.
        centre: Where it was last, x and y in pixels of the landscape.
        velocity: Pixels a frame.
        seen: The frame in which it was seen last.
    """

    number: int
    entry: int
    centre: np.ndarray
    velocity: np.ndarray
    seen: int


class Tracker:
    """Follows things frame by frame, with no look ahead, so that it works on streams.

    A placement continues the nearest track: nearest to where that should be by now, the camera's own motion taken out.
    Another sprite may continue a track (a leg moves), at a price.

    Args:
        memory: Frames for which a lost thing is remembered.
        reach: How far from its expected place a thing may be, in pixels.
        change: Price of another sprite, in pixels.
    """

    def __init__(self, memory: int = 5, reach: float = 14.0, change: float = 5.0) -> None:
        self.memory, self.reach, self.change = memory, reach, change
        self.tracks: list[Track] = []
        self.frame = 0
        self.count = 0

    def follow(self, found: Decomposition) -> Decomposition:
        """Give the placements of the next frames their tracks."""
        return replace(found, images=tuple(self._next(placements, found) for placements in found.images))

    def _next(self, placements: tuple[Placement, ...], found: Decomposition) -> tuple[Placement, ...]:
        camera = np.zeros(2)
        first = 0
        if found.background and placements:
            camera, first = -placements[0].transforms[-1].matrix[:2, 2], 1
        objects = placements[first:]
        sizes = [_size(placement, found) for placement in objects]
        centres = np.array(
            [p.transforms[-1].matrix[:2] @ (w / 2, h / 2, 1) + camera for p, (h, w) in zip(objects, sizes, strict=True)]
        ).reshape(-1, 2)
        self.tracks = [track for track in self.tracks if self.frame - track.seen <= self.memory]
        cost = np.full((len(objects), len(self.tracks)), FAR)
        for j, track in enumerate(self.tracks):
            gone = self.frame - track.seen
            expected = track.centre + track.velocity * gone
            distance = np.minimum(
                np.linalg.norm(centres - expected, axis=1), np.linalg.norm(centres - track.centre, axis=1) + 1
            )
            for i, placement in enumerate(objects):
                price = 0.0 if placement.entry == track.entry else self.change
                if distance[i] <= self.reach * min(gone, 2):
                    cost[i, j] = distance[i] + price
        numbers = [-1] * len(objects)
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if cost[i, j] < FAR:
                track = self.tracks[j]
                moved = (centres[i] - track.centre) / (self.frame - track.seen)
                track.velocity = moved if track.entry == objects[i].entry else 0.5 * (track.velocity + moved)
                track.centre, track.entry, track.seen = centres[i], objects[i].entry, self.frame
                numbers[i] = track.number
        for i, placement in enumerate(objects):
            if numbers[i] < 0:
                numbers[i] = self.count
                self.count += 1
                self.tracks.append(Track(numbers[i], placement.entry, centres[i], np.zeros(2), self.frame))
        self.frame += 1
        tracked = (replace(placement, track=number) for placement, number in zip(objects, numbers, strict=True))
        return (*placements[:first], *tracked)


def _size(placement: Placement, found: Decomposition) -> tuple[int, int]:
    raster = placement.raster if placement.entry == OWN_RASTER else found.dictionary.sprites[placement.entry]
    assert raster is not None
    return raster.shape[1], raster.shape[2]

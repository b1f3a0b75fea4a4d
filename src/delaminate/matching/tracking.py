"""Link placements through a clip, so that a thing keeps its number from frame to frame, also behind another."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from torch import Tensor

from delaminate.scene.decomposition import Decomposition
from delaminate.scene.painting import Window, paint
from delaminate.scene.placements import OWN_RASTER, Placement, Transform

NUDGE = 2
"""Pixels by which a hidden thing may be off its expected place, up, down and to the sides."""
NEAREST_FIRST = sorted(np.ndindex(2 * NUDGE + 1, 2 * NUDGE + 1), key=lambda place: math.dist(place, (NUDGE, NUDGE)))
"""Rows and columns of a square of such places."""
LARGE = 2**14
"""Pixels from which a thing is tried at one place after the other."""
SLIVER = 3
"""Pixels of a frame that a hidden thing must mend, at least."""
ALIKE = 0.06
"""Distance in RGB, in [0, 1] units, below which two colours count as one."""
LOOKS = 4
"""Sprites of a thing that is lost that are looked for, at most."""
FRAGMENT = 0.5
"""A placement of which no more is seen may be a part of something else that is hidden there."""
YOUNG = 3
"""A track that was seen no more often may be a guess."""
TOGETHER = 4.0
"""Pixels between the middles of two looks of one thing, at most."""


@dataclass
class Track:
    """One thing that is followed.

    Attributes:
        number: Its identity.
        entry: The sprite it showed last.
        centre: Where it was last, x and y in pixels of the panorama.
        velocity: Pixels a frame.
        seen: The frame in which it was seen last.
        placement: How it was seen last.
        shown: All sprites that it has shown.
        times: In how many frames it was seen.
    """

    number: int
    entry: int
    centre: np.ndarray
    velocity: np.ndarray
    seen: int
    placement: Placement
    shown: set[int]
    times: int = 1


class Tracker:
    """Follows things frame by frame, so that it works on streams; of frames that are given together, it goes back once more.

    A placement continues the nearest track: nearest to where that should be by now, the camera's own motion taken out.
    Another sprite may continue a track (a leg moves), at a price, which is less for one that the thing has shown before.

    Args:
        memory: Frames for which a lost thing is remembered.
        reach: How far from its expected place a thing may be, in pixels.
        change: Price of a sprite that a thing has not shown before, in pixels; a tenth for another that it has.
        lost: Price of a track that is not continued; dearer pairs are two things.
        frame_of: Gives the frame of a number. With it a lost thing is looked for once more where it should be, behind all
            others: the little of it that shows would not tell by itself. None: lost things are not looked for.
    """

    def __init__(
        self,
        memory: int = 5,
        reach: float = 14.0,
        change: float = 10.0,
        lost: float = 15.0,
        frame_of: Callable[[int], Float[Tensor, "3 H W"]] | None = None,
    ) -> None:
        self.memory, self.reach, self.change, self.lost, self.frame_of = memory, reach, change, lost, frame_of
        self.tracks: list[Track] = []
        self.frame = 0
        self.count = 0

    def follow(self, found: Decomposition) -> Decomposition:
        """Give the placements of the next frames their tracks; those that end in a warp are not followed."""
        if any(each.transforms[-1].kind != "matrix" for placements in found.images for each in placements):
            self.frame += len(found.images)
            return found
        start = self.frame
        images = [self._next(placements, found) for placements in found.images]
        if self.frame_of is not None:
            self._look_back(images, found, start)
        return replace(found, images=tuple(images))

    def _next(self, placements: tuple[Placement, ...], found: Decomposition) -> tuple[Placement, ...]:
        first = 1 if found.background and placements else 0
        camera, objects = _camera(placements, found), placements[first:]
        centres = np.array([_centre(placement, found) + camera for placement in objects]).reshape(-1, 2)
        self.tracks = [track for track in self.tracks if self.frame - track.seen <= self.memory]
        numbers = [-1] * len(objects)
        for i, j in assign(self._links(objects, centres), self.lost):
            track = self.tracks[j]
            moved = (centres[i] - track.centre) / (self.frame - track.seen)
            track.velocity = moved if track.entry == objects[i].entry else 0.5 * (track.velocity + moved)
            track.centre, track.entry, track.seen = centres[i], objects[i].entry, self.frame
            track.placement = objects[i]
            track.shown.add(objects[i].entry)
            track.times += 1
            numbers[i] = track.number
        fragments, unseen = self._fragments(placements, first, numbers, found)
        dropped = unseen | {i for i in fragments if self._is_a_look(objects[i], centres[i], numbers)}
        hidden = self._hidden(placements, found, camera, fragments - dropped, dropped)
        for i, placement in enumerate(objects):
            if numbers[i] < 0 and i not in dropped:
                numbers[i] = self.count
                self.count += 1
                self.tracks.append(
                    Track(
                        numbers[i], placement.entry, centres[i], np.zeros(2), self.frame, placement, {placement.entry}
                    )
                )
        self.frame += 1
        tracked = (replace(placement, track=numbers[i]) for i, placement in enumerate(objects) if i not in dropped)
        return (*placements[:first], *hidden, *tracked)

    def _fragments(
        self, placements: tuple[Placement, ...], first: int, numbers: list[int], found: Decomposition
    ) -> tuple[set[int], set[int]]:
        """Objects that may be parts of something else, and objects of which nothing is seen.

        The few pixels that are seen of a thing behind others may also be those of another sprite: so may be all objects that
        are mostly hidden, unless they were followed for a while. Those that are new and wholly hidden are guesses.
        """
        known = {track.number for track in self.tracks if track.times > YOUNG}
        young = [at for at, number in enumerate(numbers) if self.tracks and number not in known]
        if not young:
            return set(), set()
        objects = placements[first:]
        middles, reaches = (np.array(each) for each in zip(*(_extent(each, found) for each in objects), strict=True))
        height, width = found.size
        fragments, unseen = set(), set()
        for i in young:
            apart = np.abs(middles[i + 1 :] - middles[i]) >= reaches[i + 1 :] + reaches[i]
            over = i + 1 + np.flatnonzero(~apart.any(1))
            inside = (middles[i] >= reaches[i]).all() and (middles[i] + reaches[i] <= (width, height)).all()
            if inside and not len(over):
                continue
            seen = _seen_of(objects[i], [objects[j] for j in over], found)
            if numbers[i] < 0 and not seen:
                unseen.add(i)
            elif seen <= FRAGMENT * int((_raster(objects[i], found)[3] > 0.5).sum()):
                fragments.add(i)
        return fragments, unseen

    def _is_a_look(self, placement: Placement, centre: Float64[np.ndarray, "2"], numbers: list[int]) -> bool:
        """Whether a fragment is another look of a thing that was found at its place, and is known for longer."""
        return any(
            track.times > YOUNG
            and track.number in numbers
            and placement.entry in track.shown
            and math.dist(track.centre, centre) <= TOGETHER
            for track in self.tracks
        )

    def _links(
        self, objects: tuple[Placement, ...], centres: Float64[np.ndarray, "n 2"]
    ) -> dict[tuple[int, int], float]:
        """What it costs that a placement continues a track, for each pair (placement, track) in reach of each other."""
        if not len(objects) or not self.tracks:
            return {}
        last, velocity = (np.array([getattr(track, name) for track in self.tracks]) for name in ("centre", "velocity"))
        gone = np.array([self.frame - track.seen for track in self.tracks])
        expected, reach = last + velocity * gone[:, None], self.reach * np.minimum(gone, 2)
        tree, links = KDTree(centres), {}
        around = zip(
            tree.query_ball_point(expected, reach), tree.query_ball_point(last, (reach - 1).clip(0)), strict=True
        )
        for j, (near, stayed) in enumerate(around):
            track = self.tracks[j]
            for i in {*near, *stayed}:
                distance = min(math.dist(centres[i], expected[j]), math.dist(centres[i], last[j]) + 1)
                price = 0.1 * self.change if objects[i].entry in track.shown else self.change
                links[i, j] = distance + (0.0 if objects[i].entry == track.entry else price)
        return links

    def _hidden(
        self,
        placements: tuple[Placement, ...],
        found: Decomposition,
        camera: np.ndarray,
        fragments: set[int],
        dropped: set[int],
    ) -> list[Placement]:
        """Things that were lost and show a little behind others; their tracks go on.

        Args:
            placements: Of the frame.
            found: Their sprites.
            camera: Where the frame lies.
            fragments: Objects that may be parts of such things.
            dropped: Objects that are left out; those of `fragments` that a lost thing explains are added.
        """
        lost = [track for track in self.tracks if track.seen < self.frame and len(track.placement.transforms) == 1]
        if self.frame_of is None or not lost:
            return []
        frame, back = _Frame(placements, found, self.frame_of(self.frame)), []
        for track in lost:
            expected = track.centre + track.velocity * (self.frame - track.seen) - camera
            spot = self._found_again(track, expected, frame, fragments, dropped)
            if spot is not None:
                moved = (spot[1] + camera - track.centre) / (self.frame - track.seen)
                track.velocity = 0.5 * (track.velocity + moved)
                track.centre, track.seen = spot[1] + camera, self.frame
                track.placement = replace(spot[0], track=track.number)
                back.append(track.placement)
        return back

    def _look_back(self, images: list[tuple[Placement, ...]], found: Decomposition, start: int) -> None:
        """Look for things in the frames before they were found: there too little of them was seen, or it was taken for others.

        Args:
            images: Frames with their tracks; they are changed.
            found: Their sprites.
            start: Number of the first of them.
        """
        first = 1 if found.background else 0
        times = Counter(placement.track for placements in images for placement in placements[first:])
        looked: Counter[int] = Counter()
        for index in reversed(range(len(images) - 1)):
            if len(images[index]) < first:
                continue
            frame: _Frame | None = None
            here = {placement.track for placement in images[index][first:]}
            for placement in images[index + 1][first:]:
                number = placement.track
                if number is None or number in here or times[number] <= YOUNG or len(placement.transforms) > 1:
                    continue
                looked[number] += 1
                if looked[number] <= self.memory:
                    track = self._turned_back(number, images[index + 1 : index + 2 + YOUNG], found)
                    few = {i for i, each in enumerate(images[index][first:]) if times[each.track] <= YOUNG}
                    frame = frame or _Frame(images[index], found, self.frame_of(start + index))  # type: ignore[misc]
                    dropped: set[int] = set()
                    expected = track.centre + track.velocity - _camera(images[index], found)
                    spot = self._found_again(track, expected, frame, few, dropped)
                    if spot is not None:
                        frame = None  # it is another
                        objects = [each for i, each in enumerate(images[index][first:]) if i not in dropped]
                        images[index] = (*images[index][:first], replace(spot[0], track=number), *objects)

    def _turned_back(self, number: int, images: list[tuple[Placement, ...]], found: Decomposition) -> Track:
        """A track as it is in the first of some frames, its velocity turned back."""
        own, places = [], []
        for placements in images:
            for placement in placements[1 if found.background else 0 :]:
                if placement.track == number:
                    own.append(placement)
                    places.append(_centre(placement, found) + _camera(placements, found))
        back = (places[0] - places[-1]) / max(len(places) - 1, 1)
        return Track(number, own[0].entry, places[0], back, self.frame, own[0], {placement.entry for placement in own})

    def _found_again(
        self, track: Track, expected: np.ndarray, frame: "_Frame", fragments: set[int], dropped: set[int]
    ) -> tuple[Placement, np.ndarray, float] | None:
        """Where a thing is behind all others; objects of `fragments` are `dropped` that it explains as well as they do."""
        seen = frame.seen(dropped)
        spot = self._look_out(track, expected, frame, seen)
        rivals = {i for i in fragments - dropped if _touches(frame, i, expected, track.placement)}
        if rivals:
            bare = frame.seen(dropped | rivals)
            instead = self._look_out(track, expected, frame, bare)
            needed = int(bare.wrong.sum()) - int(seen.wrong.sum())
            if instead is not None and instead[2] >= needed + (0 if spot is None else spot[2]):
                dropped |= rivals
                return instead
        return spot

    def _look_out(
        self, track: Track, expected: np.ndarray, frame: "_Frame", seen: "_Seen"
    ) -> tuple[Placement, np.ndarray, float] | None:
        """Where around its expected centre a thing mends most of a frame, being behind all others, and how many pixels.

        It may look as last or as before: a leg moves also where it is hidden. None: nowhere.
        """
        others = sorted(track.shown - {track.entry, OWN_RASTER})[: LOOKS - 1] if track.entry != OWN_RASTER else []
        best, winner, found = SLIVER - 0.5, None, frame.found
        for entry in (track.entry, *others):
            look = replace(track.placement, entry=entry)
            if seen.mendable(expected, _extent(look, found)[1] + NUDGE + 1) <= best:
                continue
            matrix = look.transforms[0].matrix
            h, w = _size(look, found)
            start = np.rint(expected - matrix[:2] @ (w / 2, h / 2, 1))
            gains = seen.gains(paint(found.dictionary, _shifted(look, start, found)), frame.wanted)
            for down, right in NEAREST_FIRST:
                tried = _shifted(look, start + np.array([right - NUDGE, down - NUDGE]), found)
                gain = (
                    seen.gain(paint(found.dictionary, tried), frame.wanted)
                    if gains is None
                    else float(gains[down, right])
                )
                if gain > best:
                    best, winner = gain, (tried, _centre(tried, found), gain)
        return winner


@dataclass
class _Frame:
    """A frame, what was found in it, and what that explains."""

    placements: tuple[Placement, ...]
    found: Decomposition
    wanted: Float[Tensor, "3 H W"]
    known: dict[frozenset[int], "_Seen"] = field(default_factory=dict)

    @property
    def objects(self) -> tuple[Placement, ...]:
        """All placements but for the background."""
        return self.placements[1 if self.found.background else 0 :]

    @cached_property
    def shapes(self) -> list[tuple[tuple[slice, slice], Bool[Tensor, "_ _"]]]:
        """Where each object lies, and which pixels it covers there."""
        windows = [paint(self.found.dictionary, each) for each in self.objects]
        return [(window.slices, window.alpha[0] > 0.5) for window in windows]

    def seen(self, without: set[int]) -> "_Seen":
        """The frame explained by all placements but some objects."""
        key = frozenset(without)
        if key not in self.known:
            objects = [each for i, each in enumerate(self.objects) if i not in without]
            behind = self.placements[: len(self.placements) - len(self.objects)]
            shown = replace(self.found, images=((*behind, *objects),), canvas_maps=None).composite()[0]
            covered = torch.zeros(self.found.size, dtype=torch.bool)
            for i, (slices, shape) in enumerate(self.shapes):
                if i not in without:
                    covered[slices] |= shape
            self.known[key] = _Seen(covered, (self.wanted - shown).square().sum(0) > ALIKE**2)
        return self.known[key]


@dataclass(frozen=True)
class _Seen:
    """A frame as its placements explain it.

    Attributes:
        covered: Pixels that objects cover.
        wrong: Pixels that are shown otherwise than they are.
    """

    covered: Bool[Tensor, "H W"]
    wrong: Bool[Tensor, "H W"]

    @cached_property
    def sums(self) -> Int64[np.ndarray, "H1 W1"]:
        """Pixels that are wrong and that nothing covers, above and to the left of each corner between pixels."""
        return np.pad((self.wrong & ~self.covered).numpy().cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def mendable(self, middle: Float64[np.ndarray, "2"], reach: Float64[np.ndarray, "2"]) -> int:
        """Pixels that what lies in a box behind all objects can mend, at most; middle and half size across and down."""
        most = np.array(self.wrong.shape[::-1])
        (left, top), (right, bottom) = (
            np.clip(edge, 0, most).astype(int) for edge in (np.floor(middle - reach), np.ceil(middle + reach))
        )
        sums = self.sums
        return int(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])

    def gains(self, window: Window, wanted: Float[Tensor, "3 H W"]) -> Float64[np.ndarray, "5 5"] | None:
        """What `gain` says of a window moved by up to `NUDGE` pixels either way; None: it is large, or the border cuts it."""
        (height, width), (h, w) = self.covered.shape, window.alpha.shape[1:]
        top, left, side = window.top - NUDGE, window.left - NUDGE, 2 * NUDGE + 1
        if (
            not 0 < h * w <= LARGE
            or top < 0
            or left < 0
            or window.top + h + NUDGE > height
            or window.left + w + NUDGE > width
        ):
            return None
        around = slice(top, top + h + 2 * NUDGE), slice(left, left + w + 2 * NUDGE)

        def moved(pixels: Tensor) -> Tensor:
            return pixels[..., around[0], around[1]].unfold(-2, h, 1).unfold(-2, w, 1)  # ... side side h w

        alpha = (window.alpha[0] > 0.5) & ~moved(self.covered)
        misses = (moved(wanted) - window.rgb[:, None, None]).square().sum(0) > ALIKE**2
        was = moved(self.wrong)
        found = (alpha & was & ~misses).sum((2, 3)) - (alpha & ~was & misses).sum((2, 3))
        return found.view(side, side).double().numpy()

    def gain(self, window: Window, wanted: Float[Tensor, "3 H W"]) -> float:
        """Pixels that a window behind all objects mends, less those that it spoils."""
        alpha = (window.alpha[0] > 0.5) & ~self.covered[window.slices]
        if not alpha.any():
            return 0.0
        rows, columns = window.slices
        misses = (wanted[:, rows, columns] - window.rgb).square().sum(0) > ALIKE**2
        was = self.wrong[window.slices]
        return float((alpha & was & ~misses).sum()) - float((alpha & ~was & misses).sum())


def _shifted(placement: Placement, by: np.ndarray, found: Decomposition) -> Placement:
    """A placement moved by pixels across and down."""
    matrix = placement.transforms[0].matrix.copy()
    matrix[:2, 2] += by
    return replace(placement, transforms=(Transform("matrix", tuple(matrix.ravel().tolist()), found.size),))


def _touches(frame: _Frame, index: int, expected: np.ndarray, lost: Placement) -> bool:
    """Whether an object lies where a lost thing is expected."""
    placement, found = frame.objects[index], frame.found
    (high, wide), (h, w) = _size(lost, found), _size(placement, found)
    x, y = _centre(placement, found) - expected
    return bool(2 * abs(x) < wide + w and 2 * abs(y) < high + h)


def _seen_of(placement: Placement, before: Sequence[Placement], found: Decomposition) -> int:
    """Pixels that are seen of a placement behind some others."""
    own = paint(found.dictionary, placement)
    seen = own.alpha[0] > 0.5
    for other in before:
        over = paint(found.dictionary, other)
        rows, columns = _common(own.slices, over.slices)
        if rows.start < rows.stop and columns.start < columns.stop:
            hides = over.alpha[0][_from(rows, over.top), _from(columns, over.left)] > 0.5
            seen[_from(rows, own.top), _from(columns, own.left)] &= ~hides
    return int(seen.sum())


def _extent(placement: Placement, found: Decomposition) -> tuple[np.ndarray, np.ndarray]:
    """The middle of the box that a placement takes on the canvas, and half of its width and height."""
    height, width = _size(placement, found)
    matrix = placement.transforms[-1].matrix
    return _centre(placement, found), np.abs(matrix[:2, :2]) @ (width / 2, height / 2)


def _common(one: tuple[slice, slice], other: tuple[slice, slice]) -> tuple[slice, slice]:
    """The rows and columns that two windows share."""
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return rows, columns


def _from(some: slice, begin: int) -> slice:
    """A part of a canvas, counted from where a window begins."""
    return slice(some.start - begin, some.stop - begin)


def assign(links: Mapping[tuple[int, int], float], most: float) -> list[tuple[int, int]]:
    """Pair rows with columns so that the sum of costs is least, if whatever is left over costs `most`.

    Args:
        links: The cost of each pair (row, column) that is possible; dearer ones than `most` are not.
        most: Cost of what is in no pair.

    Pairs that no others link are solved apart, so that many things take as many times as long as one.

    Reference: Kuhn, The Hungarian Method for the Assignment Problem, 1955.
    """
    cheap = {pair: cost for pair, cost in links.items() if cost < most}
    if not cheap:
        return []
    rows, columns = (np.array(n) for n in zip(*cheap, strict=True))
    size = int(rows.max()) + 1, int(columns.max()) + 1
    edges = coo_array((np.ones(len(rows)), (rows, columns + size[0])), shape=(sum(size),) * 2)
    part = connected_components(edges, directed=False)[1][rows]
    order = np.argsort(part, kind="stable")
    found = []
    for some in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
        (own_rows, row), (own_columns, column) = (np.unique(n[some], return_inverse=True) for n in (rows, columns))
        cost = np.full((len(own_rows), len(own_columns)), float(most))
        cost[row, column] = [cheap[int(rows[n]), int(columns[n])] for n in some]
        pairs = zip(*linear_sum_assignment(cost), strict=True)
        found += [(int(own_rows[i]), int(own_columns[j])) for i, j in pairs if cost[i, j] < most]
    return found


def _centre(placement: Placement, found: Decomposition) -> Float64[np.ndarray, "2"]:
    """Where the middle of a placement lies on the canvas, x and y."""
    height, width = _size(placement, found)
    middle: np.ndarray = placement.transforms[-1].matrix[:2] @ (width / 2, height / 2, 1)
    return middle


def _camera(placements: tuple[Placement, ...], found: Decomposition) -> Float64[np.ndarray, "2"]:
    """Where a frame lies on the panorama, x and y."""
    return -placements[0].transforms[-1].matrix[:2, 2] if found.background and placements else np.zeros(2)


def _raster(placement: Placement, found: Decomposition) -> Float[Tensor, "4 h w"]:
    """What a placement shows, before it is placed."""
    raster = placement.raster if placement.entry == OWN_RASTER else found.dictionary.sprites[placement.entry]
    assert raster is not None
    return raster


def _size(placement: Placement, found: Decomposition) -> tuple[int, int]:
    raster = _raster(placement, found)
    return raster.shape[1], raster.shape[2]

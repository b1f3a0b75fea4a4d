"""Cycles: what repeats in the poses that things show, frame by frame.

Poses that are held for some frames are events. A cycle is the shortest order of events that describes most of them: each
stretch in which it is followed saves as many words as it has events, and costs one; the cycle itself costs a word for each
of its poses. It may begin anywhere, be hidden for a while and skip what does not belong. What no cycle describes is a
pose at rest ("still"), or a sequence that is seen once ("once").
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

MAX_POSES = 32
"""Events of the longest cycle that is looked for, and of the longest sequence that is told as one."""
MAX_CANDIDATES = 64
"""Cycles that are tried at a time, those that come back most often."""
WORTH = 500
"""Events in all for each word that a cycle must save: what a long clip shows by chance is none."""
SHORTEST = 3
"""Events of the shortest stretch that shows a cycle."""

MAX_HIDDEN = 5
"""Frames for which a thing may be hidden and go on; after more it is another time that it is seen."""
REGULAR = 0.25
"""Part of its median by which a duration may differ from it, and be regular; a frame and a half always."""

Cycle = tuple[int, ...]


class Event(NamedTuple):
    """A pose that is held.

    Attributes:
        pose: Its number.
        start, stop: Frames, the second excluded.
        whole: Its beginning and its end were both seen.
        seen: Frames in which it was seen; fewer than its length where it was hidden in between.
    """

    pose: int
    start: int
    stop: int
    whole: bool
    seen: int

    @property
    def length(self) -> int:
        """Frames."""
        return self.stop - self.start


@dataclass(frozen=True)
class PoseSequence:
    """An order of poses.

    Attributes:
        kind: "still", "cycle" or "once".
        poses: Their numbers in order.
        events: For each of them where it was held.
        num_pieces: Stretches in which the sequence is followed.
    """

    kind: str
    poses: Cycle
    events: tuple[tuple[Event, ...], ...]
    num_pieces: int = 1

    @property
    def frames(self) -> int:
        """Frames in which it was seen."""
        return sum(event.length for held in self.events for event in held)

    @property
    def start(self) -> int:
        """The first frame in which it was seen."""
        return min(event.start for held in self.events for event in held)


def events_of(poses: Sequence[int | None]) -> list[list[Event]]:
    """Join equal neighbours; None is where nothing was seen.

    Returns:
        Events in their order, in a list of its own for each time that the thing was in sight. A pose that is hidden for
        MAX_HIDDEN frames at the most is held meanwhile.

    >>> [[(event.pose, event.length, event.whole) for event in events] for events in events_of([4, 4, 5, None, 5, 4])]
    [[(4, 2, False), (5, 3, False), (4, 1, False)]]
    """
    found: list[list[Event]] = []
    for frame, pose in enumerate(poses):
        if pose is None:
            continue
        last = found[-1][-1] if found else None
        if last is None or frame - last.stop > MAX_HIDDEN:
            found.append([Event(pose, frame, frame + 1, False, 1)])
            continue
        hidden = frame > last.stop
        if pose == last.pose:
            found[-1][-1] = Event(pose, last.start, frame + 1, last.whole and not hidden, last.seen + 1)
            continue
        found[-1][-1] = last._replace(whole=last.whole and not hidden)
        found[-1].append(Event(pose, frame, frame + 1, not hidden, 1))
    for events in found:
        events[-1] = events[-1]._replace(whole=False)
    return found


def canonical(cycle: Cycle) -> Cycle:
    """Choose the rotation of a cycle that comes first in order.

    >>> canonical((3, 1, 2))
    (1, 2, 3)
    """
    return min(cycle[turn:] + cycle[:turn] for turn in range(len(cycle)))


def usual_length(lengths: Sequence[float], unit: float = 1.0) -> float:
    """The duration that most others are near to, averaged with those: rounding is evened out, what was cut short left out.

    Args:
        lengths: Durations.
        unit: How long a frame lasts.

    >>> usual_length([3, 3, 4, 30, 1])
    3.3333333333333335
    """
    values = np.asarray(lengths, dtype=np.float64)
    near = np.abs(values - values[:, None]) <= np.maximum(1.5 * unit, REGULAR * values)[:, None]
    best = max(range(len(values)), key=lambda index: (near[index].sum(), -values[index]))
    return float(values[near[best]].mean())


def regular_events(held: Sequence[Event]) -> Sequence[Event]:
    """Those whose duration is known; all of them where none is."""
    return [event for event in held if event.whole] or held


def find_sequences(tracks: Sequence[Sequence[Event]]) -> list[PoseSequence]:
    """Describe the events of things that move alike by few cycles, poses at rest and single sequences.

    Args:
        tracks: Events of each time that a thing was in sight, see `events_of`. Poses have the same numbers in all.

    Returns:
        Cycles in the order in which they were found, the one that describes most first, then poses at rest, then the others.
    """
    search = _Search([list(track) for track in tracks])
    refused: set[Cycle] = set()
    while (best := search.best(refused)) is not None:
        if not search.take(best):
            refused.add(best)
    for cycle in search.cycles:
        search.adopt(cycle)
    return search.sequences()


def description_length(sequences: Sequence[PoseSequence]) -> int:
    """Words that sequences take: their poses, and one for each stretch in which they are followed."""
    return sum(len(each.poses) + each.num_pieces for each in sequences)


REST = (-1,)  # an event that is a pose at rest, though a cycle has that pose, too


@dataclass
class _Search:
    """What each event belongs to: a cycle and a place in it, REST, or nothing yet."""

    tracks: list[list[Event]]
    owner: list[list[tuple[Cycle, int] | None]] = field(init=False)
    cycles: list[Cycle] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.owner = [[None] * len(track) for track in self.tracks]

    def best(self, refused: set[Cycle]) -> Cycle | None:
        """The cycle that saves most words; None: no further one saves any."""
        counts: Counter[Cycle] = Counter()
        for track, owner in zip(self.tracks, self.owner, strict=True):
            for last in range(len(track)):
                for first in range(last - 1, max(last - MAX_POSES - 1, -1), -1):
                    if owner[last] is not None or owner[first] is not None:
                        break
                    if track[first].pose == track[last].pose:
                        cycle = canonical(tuple(event.pose for event in track[first:last]))
                        counts[cycle] += 1
        likely = sorted(counts, key=lambda cycle: (-counts[cycle] * len(cycle), cycle))
        gains = {}
        for cycle in [each for each in likely if each not in refused and each not in self.cycles][:MAX_CANDIDATES]:
            pieces = [piece for number in range(len(self.tracks)) for piece in self._stretches(number, cycle)]
            gains[cycle] = sum(len(piece) - 1 for piece in pieces) - len(cycle)
        best = max(gains, key=lambda cycle: (gains[cycle], -len(cycle), [-pose for pose in cycle]), default=None)
        least = sum(map(len, self.tracks)) // WORTH
        return best if best is not None and gains[best] > least else None

    def _stretches(self, number: int, cycle: Cycle, shortest: int = SHORTEST) -> list[list[tuple[int, int]]]:
        """Where a track follows a cycle: (event, place in the cycle), the longest first, apart from one another."""
        track, owner = self.tracks[number], self.owner[number]
        places = defaultdict(list)
        for place, pose in enumerate(cycle):
            places[pose].append(place)
        runs: dict[tuple[int, int], list[tuple[int, int]]] = {}
        found = []
        for index, event in enumerate(track):
            here = places.get(event.pose, []) if owner[index] is None else []
            grown = {}
            for place in here:
                before = runs.pop((index - 1, (place - 1) % len(cycle)), [])
                grown[index, place] = [*before, (index, place)]
            found += [run for run in runs.values() if len(run) >= shortest]
            runs = grown
        found += [run for run in runs.values() if len(run) >= shortest]
        taken: set[int] = set()
        apart = []
        for run in sorted(found, key=lambda run: (-len(run), run)):
            left = [pair for pair in run if pair[0] not in taken]
            if len(left) >= shortest:
                apart.append(left)
                taken.update(index for index, _ in left)
        return apart

    def take(self, cycle: Cycle) -> bool:
        """Give a cycle its events; poses that last irregularly long are at rest. False: nothing is left of it."""
        pieces = [(n, piece) for n in range(len(self.tracks)) for piece in self._stretches(n, cycle)]
        resting = self._resting(cycle, pieces)
        kept = []
        for number, piece in pieces:
            run: list[tuple[int, int]] = []
            for index, place in [*piece, (-1, -1)]:
                if (number, index) not in resting and index >= 0:
                    run.append((index, place))
                    continue
                kept += [(number, run)] if len(run) >= SHORTEST - 1 else []
                run = []
        for number, index in resting:
            self.owner[number][index] = REST, 0
        shown = {place for _, run in kept for _, place in run}
        if len(shown) < len(cycle) or sum(len(run) - 1 for _, run in kept) <= len(cycle) - len(resting):
            return False
        self.cycles.append(cycle)
        for number, run in kept:
            for index, place in run:
                self.owner[number][index] = cycle, place
        return True

    def _resting(self, cycle: Cycle, pieces: list[tuple[int, list[tuple[int, int]]]]) -> set[tuple[int, int]]:
        """Events (track, index) of a cycle that last far longer than it takes, or as long as they please."""
        at: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for number, piece in pieces:
            for index, place in piece:
                at[place].append((number, index))
        whole = {place: [self.tracks[n][i].length for n, i in at[place] if self.tracks[n][i].whole] for place in at}
        every = [length for lengths in whole.values() for length in lengths]
        resting = set()
        for place, where in at.items():
            known = whole[place] or every
            if not known:
                continue
            usual = usual_length(known)
            resting |= {(n, i) for n, i in where if self.tracks[n][i].seen > 2 * usual + 2}
            lengths = [length for length in known if length <= 2 * usual + 2]
            near = [abs(length - usual) <= max(1.5, REGULAR * usual) for length in lengths]
            if 2 * sum(near) <= len(near):
                resting |= set(where)
        return resting

    def adopt(self, cycle: Cycle) -> None:
        """Give a cycle what is left beside it: shorter stretches, and what is irregular between two of its own."""
        usual = [usual_length([event.length for event in regular_events(held)]) for held in self._held(cycle)]
        for number, (track, owner) in enumerate(zip(self.tracks, self.owner, strict=True)):
            for run in self._stretches(number, cycle, 1):
                fits = all(track[index].seen <= 2 * usual[place] + 2 for index, place in run)
                if fits:
                    for index, place in run:
                        owner[index] = cycle, place
            for first, last in _gaps(owner):
                beside = first > 0 and last < len(track) and owner[first - 1], last < len(track) and owner[last]
                if not (beside[0] and beside[1] and beside[0][0] == beside[1][0] == cycle):
                    continue
                frames = sum(event.length for event in track[first:last])
                if last - first <= max(1, len(cycle) // 2) and frames <= max(2, sum(usual) / 2):
                    owner[first:last] = [(cycle, -1)] * (last - first)
                    for index in (first - 1, last):  # what was cut short tells no duration
                        track[index] = track[index]._replace(whole=False)

    def _held(self, cycle: Cycle) -> list[list[Event]]:
        held: list[list[Event]] = [[] for _ in cycle]
        for track, owner in zip(self.tracks, self.owner, strict=True):
            for event, own in zip(track, owner, strict=True):
                if own is not None and own[0] == cycle and own[1] >= 0:
                    held[own[1]].append(event)
        return held

    def sequences(self) -> list[PoseSequence]:
        """All that was found, and what is left."""
        found = []
        for cycle in self.cycles:
            pieces = sum(
                own is not None and own[0] == cycle and (index == 0 or (owner[index - 1] or REST)[0] != cycle)
                for owner in self.owner
                for index, own in enumerate(owner)
            )
            found.append(PoseSequence("cycle", cycle, tuple(map(tuple, self._held(cycle))), pieces))
        pieces_of: dict[Cycle, list[list[Event]]] = defaultdict(list)
        for piece in self._left():
            pieces_of[tuple(event.pose for event in piece)].append(piece)
        shown = {pose for each in self.cycles for pose in each}
        shown |= {pose for poses in pieces_of if len(poses) > 1 for pose in poses}
        left = []
        for poses, alike in pieces_of.items():
            # A single frame of what is known otherwise is a slip, no state.
            if len(poses) == 1 and poses[0] in shown and max(piece[0].length for piece in alike) < 2:
                continue
            left.append(
                PoseSequence("once" if len(poses) > 1 else "still", poses, tuple(zip(*alike, strict=True)), len(alike))
            )
        left.sort(key=lambda each: (each.kind == "once", -each.frames, each.start, each.poses))
        return [*found, *left]

    def _left(self) -> list[list[Event]]:
        """The events that no cycle describes, piece by piece; poses that are known at rest are pieces by themselves."""
        rest = []
        pieces = []
        for track, owner in zip(self.tracks, self.owner, strict=True):
            rest += [[event] for event, own in zip(track, owner, strict=True) if own == (REST, 0)]
            for first, last in _gaps(owner):
                pieces += _split_at_rest(track[first:last])
        while True:
            resting = {piece[0].pose for piece in [*rest, *pieces] if len(piece) == 1}
            parts = [part for piece in pieces for part in _cut_out(piece, resting)]
            if len(parts) == len(pieces):
                # Whoever changes as he pleases for long plays no sequence.
                return rest + [p for part in parts for p in ([part] if len(part) <= MAX_POSES else [[e] for e in part])]
            pieces = parts


def _gaps(owner: Sequence[object]) -> list[tuple[int, int]]:
    """Stretches of events that belong to nothing."""
    found, first = [], None
    for index, own in enumerate([*owner, REST]):
        if own is None and first is None:
            first = index
        elif own is not None and first is not None:
            found.append((first, index))
            first = None
    return found


def _split_at_rest(events: Sequence[Event]) -> list[list[Event]]:
    """Cut a sequence at poses that are held far longer than the others."""
    pieces: list[list[Event]] = [[]]
    for index, event in enumerate(events):
        others = [other.length for place, other in enumerate(events) if place != index]
        if others and event.length >= max(4, 3 * float(np.median(others))):
            pieces += [[event], []]
        else:
            pieces[-1].append(event)
    return [piece for piece in pieces if piece]


def _cut_out(events: Sequence[Event], resting: set[int]) -> list[list[Event]]:
    """Cut a sequence before and after each of some poses."""
    pieces: list[list[Event]] = [[]]
    for event in events:
        if event.pose in resting:
            pieces += [[event], []]
        else:
            pieces[-1].append(event)
    return [piece for piece in pieces if piece]

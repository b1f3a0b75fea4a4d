"""Characters: the things of a clip as a game engine plays them.

Looks that tracks change between are one character, and so are all tracks that show them: six equal coins are one. Its poses
lie on one canvas (`canvases.common_canvas`), and what its tracks show is folded into few animations
(`cycles.find_sequences`): poses at rest, cycles with the duration of each pose, and sequences that are seen once.

A pose is a sprite as it is turned and coloured. Mirroring is no pose of its own where the thing turns round; it is one where
it comes back with the cycle, as in a coin that spins or in steps seen from the front.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from delaminate.errors import ConfigError
from delaminate.exporters.canvases import Canvas, Sighting, common_canvas
from delaminate.exporters.cycles import (
    Event,
    PoseSequence,
    description_length,
    events_of,
    find_sequences,
    regular_events,
    usual_length,
)
from delaminate.scene.placements import OWN_RASTER, Placement
from delaminate.scene.scenes import Scene

ALIKE = 0.03
"""Difference of gains and offsets below which two colours of a sprite are one."""
SHARE = 0.1
"""Of the frames of a track's commonest look, what another look must have to count as one that the track shows."""
FEW, SELDOM = 3, 0.05
"""Changes between two looks that tie them although each is known without the other: at least so many, and so many of the
times that the rarer one is seen."""
STEP = 0.25
"""Pixels a frame that a thing must move either way, for its mirroring to be turning round."""

Look = tuple[int, int, int]  # entry, orientation but for mirroring, colour


@dataclass(frozen=True)
class Pose:
    """A sprite as it is seen.

    Attributes:
        entry: Index into the dictionary.
        orientation: One of eight, see `Transform.oriented`.
        colour: Gains and offsets, see `Placement`.
    """

    entry: int
    orientation: int
    colour: tuple[float, ...]


@dataclass(frozen=True)
class Animation:
    """What an engine plays.

    Attributes:
        name: `still-0`, `cycle-0`, `once-0` and so on, each kind counted by itself.
        kind: "still": one pose at rest; "cycle": played again and again; "once": in the order in which it was seen.
        poses: Indices into the character's poses.
        frames: How long each is seen, in frames.
        milliseconds: The same in milliseconds; None where nobody says how long frames last.
    """

    name: str
    kind: str
    poses: tuple[int, ...]
    frames: tuple[float, ...]
    milliseconds: tuple[float, ...] | None = None

    def durations(self, frame_milliseconds: float) -> tuple[float, ...]:
        """How long each pose is seen, in milliseconds, where a frame of the clip lasts so long unless it is known better."""
        if self.milliseconds is not None:
            return self.milliseconds
        return tuple(frame_milliseconds * count for count in self.frames)


@dataclass(frozen=True)
class Character:
    """One kind of thing.

    Attributes:
        name: `character-0` and so on, in the order in which they are seen first.
        tracks: The things' numbers.
        poses: Its poses, by their entries.
        animations: The one that is seen most first, within each kind.
        canvas: Where each pose lies on the picture that they share.
    """

    name: str
    tracks: tuple[int, ...]
    poses: tuple[Pose, ...]
    animations: tuple[Animation, ...]
    canvas: Canvas


@dataclass(frozen=True)
class _Seen:
    """A look on its place in a frame; corner and size as it is seen, in pixels of the world."""

    frame: int
    look: Look
    flip: int
    left: float
    top: float


def find_characters(
    scenes: Sequence[Scene], frame_milliseconds: Sequence[float] | None = None
) -> tuple[Character, ...]:
    """Find characters and their animations in a clip.

    Args:
        scenes: Scenes of one decomposition, in the clip's order. Layers that are hidden, without a track or with a raster of
            their own take no part.
        frame_milliseconds: How long each scene is seen.

    Raises:
        ConfigError: There is not one duration for each scene.
    """
    if frame_milliseconds is not None and len(frame_milliseconds) != len(scenes):
        raise ConfigError(
            f"characters: {len(frame_milliseconds)} durations for {len(scenes)} scenes; expected one each."
        )
    colours: dict[int, list[tuple[float, ...]]] = defaultdict(list)
    tracks = _follow(scenes, colours)
    return tuple(
        _character(f"character-{number}", members, scenes, colours, frame_milliseconds)
        for number, members in enumerate(_characters_of(tracks))
    )


# ---- What each track shows --------------------------------------------------------------------------------------


def _colour_index(known: list[tuple[float, ...]], colour: tuple[float, ...]) -> int:
    for index, other in enumerate(known):
        if max(abs(a - b) for a, b in zip(colour, other, strict=True)) <= ALIKE:
            return index
    known.append(colour)
    return len(known) - 1


def _shown_size(scene: Scene, entry: int, orientation: int) -> tuple[int, int]:
    height, width = scene.dictionary.sprites[entry].shape[1:]
    return (width, height) if orientation & 1 else (height, width)


def _leading_matrix(placement: Placement) -> np.ndarray | None:
    """Where the first step puts the sprite; what follows it is the same for all, as where pixel art was enlarged."""
    first = placement.transforms[0]
    return first.matrix if first.kind == "matrix" else None


def _corner(scene: Scene, placement: Placement) -> tuple[float, float, int]:
    """Left, top and orientation of a placement; what is warped or scaled counts as upright, about its centre."""
    height, width = scene.dictionary.sprites[placement.entry].shape[1:]
    matrix = _leading_matrix(placement)
    orientation = 0 if matrix is None else placement.transforms[0].orientation or 0
    x, y = (width / 2, height / 2) if matrix is None else (matrix[:2] @ (width / 2, height / 2, 1)).tolist()
    high, wide = _shown_size(scene, placement.entry, orientation)
    return x - wide / 2, y - high / 2, orientation


def _camera(scene: Scene) -> tuple[float, float]:
    """How far the background has moved, where it is a picture that scrolls."""
    matrix = _leading_matrix(scene.layers[0].placement) if scene.background and scene.layers else None
    return (0.0, 0.0) if matrix is None else (float(matrix[0, 2]), float(matrix[1, 2]))


def _follow(scenes: Sequence[Scene], colours: dict[int, list[tuple[float, ...]]]) -> dict[int, list[_Seen]]:
    """By track what it shows, frame by frame."""
    tracks: dict[int, list[_Seen]] = defaultdict(list)
    for frame, scene in enumerate(scenes):
        x, y = _camera(scene)
        met: set[int] = set()
        for layer in scene.layers[1 if scene.background else 0 :]:
            placement = layer.placement
            track = placement.track
            if not layer.visible or track is None or track in met or placement.entry == OWN_RASTER:
                continue
            met.add(track)
            left, top, orientation = _corner(scene, placement)
            look = placement.entry, orientation & 3, _colour_index(colours[placement.entry], placement.colour)
            tracks[track].append(_Seen(frame, look, orientation >> 2, left - x, top - y))
    return dict(tracks)


def _characters_of(tracks: dict[int, list[_Seen]]) -> list[dict[int, list[_Seen]]]:
    """Group looks that tracks change between, and give each group what the tracks show of it, by track.

    Tracking slips: a change that is seldom, between looks that are known without each other, ties nothing.
    """
    changes: Counter[tuple[Look, Look]] = Counter()
    visits: Counter[Look] = Counter()
    shown = {}
    for track, seen in tracks.items():
        looks = [look for look, _ in groupby(each.look for each in seen)]
        visits.update(looks)
        changes.update((min(pair), max(pair)) for pair in pairwise(looks))
        counts = Counter(each.look for each in seen)
        shown[track] = {look for look in counts if counts[look] >= SHARE * max(counts.values())}
    parent = {look: look for look in visits}

    def root(look: Look) -> Look:
        while parent[look] != look:
            look = parent[look]
        return look

    for (one, other), count in changes.items():
        apart = any(one in some and other not in some for some in shown.values()) and any(
            other in some and one not in some for some in shown.values()
        )
        if not apart or count >= max(FEW, SELDOM * min(visits[one], visits[other])):
            first, second = sorted((root(one), root(other)))
            parent[second] = first
    groups: dict[Look, dict[int, list[_Seen]]] = defaultdict(lambda: defaultdict(list))
    for track in sorted(tracks):
        for each in tracks[track]:
            groups[root(each.look)][track].append(each)
    return sorted(
        (dict(group) for group in groups.values()),
        key=lambda group: (min(seen[0].frame for seen in group.values()), sorted(group)),
    )


# ---- Mirroring --------------------------------------------------------------------------------------------------


def _handedness(members: dict[int, list[_Seen]]) -> dict[Look, int]:
    """Which looks were kept mirrored to the others: a thing seldom turns when its look changes."""
    votes: Counter[tuple[Look, Look]] = Counter()
    for seen in members.values():
        for one, other in pairwise(seen):
            if one.look != other.look:
                pair = (min(one.look, other.look), max(one.look, other.look))
                votes[pair] += 1 if one.flip == other.flip else -1
    frames = Counter(each.look for seen in members.values() for each in seen)
    # Looks are tied together by the clearest pairs; each knows its side within its group.
    group = {look: look for look in frames}
    side = dict.fromkeys(frames, 0)
    for (first, second), vote in sorted(votes.items(), key=lambda item: (-abs(item[1]), item[0])):
        if vote == 0 or group[first] == group[second]:
            continue
        turn = side[first] ^ side[second] ^ int(vote < 0)
        moved = group[second]
        for look in frames:
            if group[look] == moved:
                group[look], side[look] = group[first], side[look] ^ turn
    for name in set(group.values()):
        mine = [look for look in frames if group[look] == name]
        if side[max(mine, key=lambda look: (frames[look], look))]:
            side.update({look: 1 - side[look] for look in mine})
    return side


def _turns_round(members: dict[int, list[_Seen]], side: dict[Look, int]) -> bool:
    """Whether the things move the other way when they are mirrored."""
    steps: tuple[list[float], list[float]] = ([], [])
    for seen in members.values():
        for one, other in pairwise(seen):
            facing = one.flip ^ side[one.look]
            if one.look == other.look and one.flip == other.flip:
                steps[facing].append((other.left - one.left) / (other.frame - one.frame))
    means = [float(np.mean(each)) if each else 0.0 for each in steps]
    return means[0] * means[1] < 0 and min(map(abs, means)) >= STEP


Posed = dict[
    int, list[tuple[Look, int, int]]
]  # by track and sighting: look, its flip as a pose, and the thing's facing


def _sequences(posed: Posed, members: dict[int, list[_Seen]]) -> tuple[list[PoseSequence], list[tuple[Look, int]]]:
    """Fold what the members show; poses are numbered by entry."""
    poses = sorted({(look, flip) for some in posed.values() for look, flip, _ in some})
    numbers = {pose: number for number, pose in enumerate(poses)}
    tracks: list[list[Event]] = []
    for track, seen in members.items():
        shown: list[int | None] = [None] * (seen[-1].frame + 1)
        for each, (look, flip, _) in zip(seen, posed[track], strict=True):
            shown[each.frame] = numbers[look, flip]
        tracks += events_of(shown)
    return find_sequences(tracks), poses


def _fold(members: dict[int, list[_Seen]]) -> tuple[list[PoseSequence], list[tuple[Look, int]], Posed]:
    """Decide what mirroring is: turning round, or part of the poses; whatever tells the clip in fewer words."""
    side = _handedness(members)
    turning = {t: [(s.look, side[s.look], s.flip ^ side[s.look]) for s in seen] for t, seen in members.items()}
    num_turns = sum(one[2] != other[2] for some in turning.values() for one, other in pairwise(some))
    found, poses = _sequences(turning, members)
    if num_turns and not _turns_round(members, side):
        mirrored = {track: [(s.look, s.flip, 0) for s in seen] for track, seen in members.items()}
        other, others = _sequences(mirrored, members)
        if description_length(other) < description_length(found) + num_turns:
            return other, others, mirrored
    return found, poses, turning


# ---- A character ------------------------------------------------------------------------------------------------


def _character(
    name: str,
    members: dict[int, list[_Seen]],
    scenes: Sequence[Scene],
    colours: dict[int, list[tuple[float, ...]]],
    milliseconds: Sequence[float] | None,
) -> Character:
    sequences, poses, posed = _fold(members)
    numbers = {pose: number for number, pose in enumerate(poses)}
    sizes = [_shown_size(scenes[0], entry, turn) for (entry, turn, _), _ in poses]
    sightings = [
        [
            Sighting(each.frame, numbers[look, flip], bool(facing), each.left, each.top)
            for each, (look, flip, facing) in zip(seen, posed[track], strict=True)
        ]
        for track, seen in members.items()
    ]
    frames = Counter(each.pose for some in sightings for each in some)
    commonest = max(range(len(poses)), key=lambda pose: (frames[pose], -pose))
    kept = tuple(Pose(entry, turn | 4 * flip, colours[entry][colour]) for (entry, turn, colour), flip in poses)
    return Character(
        name, tuple(members), kept, _animations(sequences, milliseconds), common_canvas(sizes, sightings, commonest)
    )


def _animations(sequences: Sequence[PoseSequence], milliseconds: Sequence[float] | None) -> tuple[Animation, ...]:
    """Name sequences and say how long each pose is seen."""
    order = {"still": 0, "cycle": 1, "once": 2}
    until = None if milliseconds is None else np.concatenate([[0.0], np.cumsum(milliseconds)])
    counts: Counter[str] = Counter()
    found = []
    for each in sorted(sequences, key=lambda one: (order[one.kind], -one.frames, one.start, one.poses)):
        regular = [regular_events(held) for held in each.events]
        frames = tuple(usual_length([event.length for event in events]) for events in regular)
        lasting = None
        if until is not None:
            lasting = tuple(
                usual_length(
                    [float(until[event.stop] - until[event.start]) for event in events], until[-1] / (len(until) - 1)
                )
                for events in regular
            )
        found.append(Animation(f"{each.kind}-{counts[each.kind]}", each.kind, each.poses, frames, lasting))
        counts[each.kind] += 1
    return tuple(found)

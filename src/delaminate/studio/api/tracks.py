"""Tracks of a project: where each thing is seen through the frames of a clip."""

from delaminate.scene.placements import OWN_RASTER
from delaminate.scene.summary import read_summary
from delaminate.studio.api.common import Id, Space, Strict, router
from delaminate.studio.session import LayerFacts
from delaminate.studio.workspace import scene_id

api = router("tracks")

USUAL = 100.0
"""Milliseconds that a frame is seen where nothing is known, as browsers take it."""


class TrackRow(Strict):
    """A thing through the frames: numbers of the frames in order, the layer that it is in each, its sprite in the first."""

    track: int
    name: str
    sprite: str | None
    frames: list[int]
    layers: list[str]


class TrackList(Strict):
    """All tracks of a project, the longest first.

    `is_clip`: its images are known to be the frames of one. `scenes`: ids of the frames. `durations`: milliseconds that each is
    seen.
    """

    revision: int
    is_clip: bool
    scenes: list[str]
    durations: list[float]
    tracks: list[TrackRow]


@api.get("/projects/{project}/tracks")
def list_tracks(space: Space, project: Id) -> TrackList:
    """List tracks as they are now, with how long each frame is seen."""
    session = space.session(project)
    summary = read_summary(session.folder)
    with session.lock:
        found: dict[int, list[tuple[int, LayerFacts]]] = {}
        for frame, name in enumerate(session.names):
            for layer in session.layer_facts(name):
                if layer.track is not None:
                    found.setdefault(layer.track, []).append((frame, layer))
        ids = session.sprite_ids
        usual = USUAL if summary.rate is None else 1000 / summary.rate
        known = summary.durations or {}
        rows = [
            TrackRow(
                track=track, name=places[0][1].name,
                sprite=None if places[0][1].entry == OWN_RASTER else ids[places[0][1].entry],
                frames=[frame for frame, _ in places], layers=[layer.id for _, layer in places],
            )
            for track, places in found.items()
        ]  # fmt: skip
        return TrackList(
            revision=session.revision, is_clip=summary.rate is not None or summary.durations is not None,
            scenes=[scene_id(name) for name in session.names],
            durations=[float(known.get(name, usual)) for name in session.names],
            tracks=sorted(rows, key=lambda row: (-len(row.frames), row.track)),
        )  # fmt: skip

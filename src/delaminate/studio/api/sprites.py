"""Sprites of a project: the dictionary, its pictures, and where each is shown."""

from typing import Annotated, Literal

from fastapi import Path, Request, Response

from delaminate.studio import pictures
from delaminate.studio.api.common import PNG, Id, Limit, Offset, Pictures, Side, Space, Strict, picture_answer, router
from delaminate.studio.workspace import scene_id

api = router("sprites")
LOOKED_THROUGH, MOST_DOUBTED = 200, 150
"""Scenes, and sprites at most, among which it is looked for what is wrong."""
LONGEST_CLIP = 5000
"""Frames of a clip, at most, whose things are followed to say which sprites are poses of one."""
SpriteId = Annotated[str, Path(max_length=40, pattern=r"^(sprite|background)-[0-9]+$")]


class SpriteRow(Strict):
    """A sprite. Its id stays when others go.

    `title`: what people call it; `layers` and `scenes`: how many show it; `version` grows when it changes.
    """

    id: str
    title: str
    background: bool
    width: int
    height: int
    version: int
    layers: int
    scenes: int


class SpriteList(Strict):
    """The dictionary."""

    revision: int
    sprites: list[SpriteRow]


class Doubt(Strict):
    """Something that looks wrong.

    `kind`: unused; alike: two may be one; parts: two may be parts of one thing; pieces: one may be several things.
    """

    kind: Literal["unused", "alike", "parts", "pieces"]
    sprites: list[str]
    text: str


class SpriteOrder(Strict):
    """Ids of sprites, those that look alike side by side (`by_likeness`; else by use), and what looks wrong.

    `characters`: sprites that are the poses of one thing of a clip, as an engine plays them.
    """

    revision: int
    by_likeness: bool
    order: list[str]
    doubts: list[Doubt]
    characters: list[list[str]]


class OccurrenceRow(Strict):
    """A scene that shows a sprite, and the layers that do."""

    scene: str
    layers: list[str]


class OccurrenceList(Strict):
    """Some of the scenes that show a sprite."""

    revision: int
    total: int
    occurrences: list[OccurrenceRow]


@api.get("/projects/{project}/sprites")
def list_sprites(space: Space, project: Id) -> SpriteList:
    """List the dictionary with its use."""
    session = space.session(project)
    with session.lock:
        dictionary, usage, rows = session.dictionary, session.usage(), []
        for entry, (name, sprite) in enumerate(zip(session.sprite_ids, dictionary.sprites, strict=True)):
            rows.append(
                SpriteRow(
                    id=name, title=dictionary.title(entry), background=entry in dictionary.backgrounds,
                    width=int(sprite.shape[2]), height=int(sprite.shape[1]), version=session.sprite_version(name),
                    layers=sum(usage[entry].values()), scenes=len(usage[entry]),
                )
            )  # fmt: skip
        return SpriteList(revision=session.revision, sprites=rows)


@api.get("/projects/{project}/sprites/order")
def order_sprites(space: Space, project: Id) -> SpriteOrder:
    """Say which sprites look wrong, and in which order those that look alike are side by side."""
    from delaminate.exporters.characters import find_characters
    from delaminate.exporters.similarity import sprite_order  # here, so that the studio opens at once
    from delaminate.pipelines.checks import suspicions

    session = space.session(project)
    with session.lock:
        ids, dictionary, revision = session.sprite_ids, session.dictionary, session.revision
        key = project, session.all_sprites_version
        if key in space.orders:
            return space.orders[key].model_copy(update={"revision": revision})
        usage, scenes = [sum(each.values()) for each in session.usage()], session.some_scenes(LOOKED_THROUGH)
        frames = session.some_scenes(LONGEST_CLIP) if len(session.names) <= LONGEST_CLIP else []
    order, by_likeness = sprite_order(dictionary, usage)
    names = [dictionary.title(entry) for entry in range(len(dictionary))]
    doubts = [
        Doubt(kind=each.kind, sprites=[ids[entry] for entry in each.entries], text=each.text(names))
        for each in (suspicions(scenes) if len(dictionary) <= MOST_DOUBTED else [])
    ]
    poses = [sorted({pose.entry for pose in each.poses}) for each in find_characters(frames)]
    found = SpriteOrder(
        revision=revision, by_likeness=by_likeness, order=[ids[entry] for entry in order], doubts=doubts,
        characters=[[ids[entry] for entry in some] for some in poses if len(some) > 1],
    )  # fmt: skip
    space.orders.clear()
    space.orders[key] = found
    return found


@api.get("/projects/{project}/sprites/{sprite}.png", response_class=Response, responses=PNG)
def get_sprite(
    space: Space, cache: Pictures, request: Request, project: Id, sprite: SpriteId, side: Side = 4096
) -> Response:
    """A sprite as a picture."""
    session = space.session(project)
    with session.lock:
        raster, version = session.dictionary.sprites[session.sprite_entry(sprite)], session.sprite_version(sprite)
    tag = f"sprite-{project}-{sprite}-{version}-{side}-{space.epoch}"
    return picture_answer(request, tag, lambda: cache.paint((tag,), lambda: pictures.sprite_picture(raster, side)))


@api.get("/projects/{project}/sprites/{sprite}/occurrences")
def list_occurrences(
    space: Space, project: Id, sprite: SpriteId, offset: Offset = 0, limit: Limit = 200
) -> OccurrenceList:
    """List where a sprite is shown."""
    session = space.session(project)
    with session.lock:
        entry = session.sprite_entry(sprite)
        names = [name for name in session.names if name in session.usage()[entry]]
        rows = []
        for name in names[offset : offset + limit]:
            layers = [layer.id for layer in session.scene(name).layers if layer.placement.entry == entry]
            rows.append(OccurrenceRow(scene=scene_id(name), layers=layers))
        return OccurrenceList(revision=session.revision, total=len(names), occurrences=rows)

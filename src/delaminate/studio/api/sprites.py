"""Sprites of a project: the dictionary, its pictures, and where each is shown."""

from typing import Annotated

from fastapi import Path, Request, Response

from delaminate.studio import pictures
from delaminate.studio.api.common import PNG, Id, Limit, Offset, Pictures, Side, Space, Strict, picture_answer, router
from delaminate.studio.workspace import scene_id

api = router("sprites")
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


@api.get("/projects/{project}/sprites/{sprite}.png", response_class=Response, responses=PNG)
def get_sprite(
    space: Space, cache: Pictures, request: Request, project: Id, sprite: SpriteId, side: Side = 4096
) -> Response:
    """A sprite as a picture."""
    session = space.session(project)
    with session.lock:
        raster, version = session.dictionary.sprites[session.sprite_entry(sprite)], session.sprite_version(sprite)
    tag = f"sprite-{project}-{sprite}-{version}-{side}-{space.epoch}"
    return picture_answer(request, tag, lambda: cache.get((tag,), lambda: pictures.sprite_picture(raster, side)))


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

"""Scenes of a project: lists, layers, pictures at the size shown, all layers as one atlas."""

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Query, Request, Response
from pydantic import Field

from delaminate.errors import ConfigError
from delaminate.exporters.files import painted_layers
from delaminate.scene.placements import OWN_RASTER
from delaminate.scene.scenes import Scene
from delaminate.studio import pictures
from delaminate.studio.api.common import PNG, Id, Limit, Offset, Pictures, Side, Space, Strict, picture_answer, router
from delaminate.studio.session import Session
from delaminate.studio.workspace import Workspace, scene_id

api = router("scenes")


class SceneRow(Strict):
    """A scene in the list. `version` grows when it looks different; `title` is what its image was called."""

    id: str
    name: str
    title: str
    version: int


class SceneList(Strict):
    """Some scenes of a project."""

    revision: int
    total: int
    scenes: list[SceneRow]


class NewScene(Strict):
    """A scene to add: its name, the id of one that it is as large as, and whether it has that one's background."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    like: str
    background: bool = True


class NewSceneAnswer(SceneRow):
    """The scene that was added, and the equal command."""

    command: str


class LayerRow(Strict):
    """A layer, as it is edited.

    `sprite`: the dictionary's, or null for a raster of its own. `centre`: of its raster on the canvas, across and down.
    `matrix`: nine numbers from the raster's pixels to the canvas's, null where more than matrices place it. `raster`: width and
    height of what it shows.
    """

    id: str
    name: str
    visible: bool
    opacity: float
    gain: list[float]
    offset: list[float]
    sprite: str | None
    track: int | None
    centre: list[float]
    matrix: list[float] | None
    raster: list[int]


class SceneState(SceneRow):
    """A scene with its layers, back to front."""

    revision: int
    width: int
    height: int
    background: bool
    layers: list[LayerRow]


class BoxRow(Strict):
    """Where a layer lies in the atlas (x, y, width, height) and goes on the canvas (left, top; `scale` canvas pixels each)."""

    layer: str
    x: int
    y: int
    width: int
    height: int
    left: int
    top: int
    scale: float


class AtlasState(Strict):
    """All layers of a scene in one picture: hidden ones too, coloured, without opacity."""

    version: int
    width: int
    height: int
    boxes: list[BoxRow]


def titles(space: Workspace, project: str) -> dict[str, str]:
    """What the images of scenes were called when they were sent."""
    images = space.project(project).images
    known = {each.id: each for each in space.projects()}
    return space.shown_names(Path(known[images].path)) if images in known else {}


@api.get("/projects/{project}/scenes")
def list_scenes(space: Space, project: Id, offset: Offset = 0, limit: Limit = 200) -> SceneList:
    """List scenes in their order."""
    session, shown = space.session(project), titles(space, project)
    with session.lock:
        rows = [
            SceneRow(id=scene_id(name), name=name, title=shown.get(name, name), version=session.listed_version(name))
            for name in session.names[offset : offset + limit]
        ]
        return SceneList(revision=session.revision, total=len(session.names), scenes=rows)


@api.post("/projects/{project}/scenes")
def add_scene(space: Space, project: Id, asked: NewScene) -> NewSceneAnswer:
    """Add a scene with nothing on it but a background, for sprites to be laid out."""
    session, like = space.session(project), space.scene_name(project, asked.like)
    session.add_scene(asked.name, like, asked.background)
    space.publish({"type": "reload", "project": project})
    words = ["new", space.project(project).name, asked.name, "--like", like]
    return NewSceneAnswer(
        id=scene_id(asked.name), name=asked.name, title=asked.name, version=session.version(asked.name),
        command=shlex.join(["delaminate", "scenes", *words, *([] if asked.background else ["--no-background"])]),
    )  # fmt: skip


@api.get("/projects/{project}/scenes/{scene}")
def get_scene(space: Space, project: Id, scene: Id) -> SceneState:
    """A scene with its layers."""
    session, name = space.session(project), space.scene_name(project, scene)
    with session.lock:
        found = session.scene(name)
        return SceneState(
            id=scene, name=name, title=titles(space, project).get(name, name), version=session.version(name),
            revision=session.revision, width=found.size[1], height=found.size[0], background=found.background,
            layers=[layer_row(found, layer.id, session.sprite_ids) for layer in found.layers],
        )  # fmt: skip


def layer_row(scene: Scene, layer_id: str, sprite_ids: Sequence[str]) -> LayerRow:
    """Describe a layer."""
    layer = scene.layer(layer_id)
    placement = layer.placement
    raster = placement.raster if placement.raster is not None else scene.dictionary.sprites[placement.entry]
    matrix = None
    if all(step.kind == "matrix" for step in placement.transforms):
        product = placement.transforms[0].matrix
        for step in placement.transforms[1:]:
            product = step.matrix @ product
        matrix = [float(number) for number in product.ravel()]
    return LayerRow(
        id=layer.id, name=layer.name, visible=layer.visible, opacity=float(placement.opacity),
        gain=[float(x) for x in placement.colour[:3]], offset=[float(x) for x in placement.colour[3:]],
        sprite=None if placement.entry == OWN_RASTER else sprite_ids[placement.entry], track=placement.track,
        centre=[float(x) for x in scene.centre(layer_id)], matrix=matrix, raster=[int(raster.shape[2]), int(raster.shape[1])],
    )  # fmt: skip


@api.get("/projects/{project}/scenes/{scene}/atlas.png", response_class=Response, responses=PNG)
def get_atlas_picture(
    space: Space, cache: Pictures, request: Request, project: Id, scene: Id, side: Side = 4096
) -> Response:
    """All layers of a scene in one picture."""
    tag, part = atlas_of(space, cache, project, scene, side)
    return picture_answer(request, tag, lambda: part("picture"))


def atlas_of(
    space: Workspace, cache: pictures.PictureCache, project: str, scene: str, side: int
) -> tuple[str, Callable[[Literal["picture", "boxes"]], bytes]]:
    """The atlas of a scene as it is now: its tag, and what gives its picture, or its boxes as JSON.

    Whoever asks for one will ask for the other, so both are kept.
    """
    session, name = space.session(project), space.scene_name(project, scene)
    with session.lock:
        version, found = session.version(name), session.scene(name)
    tag = f"atlas-{project}-{scene}-{version}-{side}-{space.epoch}"

    def made(part: str) -> bytes:
        atlas, boxes = pictures.pack_layers(found, side)
        rows = [BoxRow(**vars(box)) for box in boxes]
        state = AtlasState(version=version, width=atlas.shape[1], height=atlas.shape[0], boxes=rows)
        parts = {"picture": pictures.shown_bytes(atlas), "boxes": state.model_dump_json().encode()}
        for each, data in parts.items():
            cache.keep((tag, each), data)
        return parts[part]

    return tag, lambda part: cache.paint((tag, part), lambda: made(part))


@api.get("/projects/{project}/scenes/{scene}/{view}.png", response_class=Response, responses=PNG)
def get_picture(
    space: Space, cache: Pictures, request: Request, project: Id, scene: Id, view: pictures.View, side: Side = 1024
) -> Response:
    """A scene as a picture: as it is now, as it was found, its segmentation, what it does not explain, its image."""
    session, name = space.session(project), space.scene_name(project, scene)
    if view == "original":
        tag = f"original-{project}-{scene}-{side}-{space.epoch}"
        return picture_answer(request, tag, lambda: original(space, cache, project, name, side))
    with session.lock:
        version = session.version(name) if view in ("composite", "segmentation") else 0
        found = session.base_scene(name) if view == "reconstruction" else session.scene(name)
    tag = f"{view}-{project}-{scene}-{version}-{side}-{space.epoch}"
    return picture_answer(request, tag, lambda: cache.paint((tag,), lambda: make_picture(session, found, view, side)))


def make_picture(session: Session, scene: Scene, view: pictures.View, side: int) -> bytes:
    """Make a view of a scene.

    Raises:
        ConfigError: There is no such view of it.
    """
    if view == "residual":
        data = session.residual(scene.name)
        if data is None:
            raise ConfigError("no residual was measured for this scene.")
        return pictures.shrunk(data, side)
    return pictures.segmentation(scene, side) if view == "segmentation" else pictures.composite_picture(scene, side)


def original(space: Workspace, cache: pictures.PictureCache, project: str, name: str, side: int) -> bytes:
    """The image that a scene was made of."""
    found = space.original_of(space.project(project), name)
    if found is None:
        raise ConfigError("no image is known that this scene was made of.")
    path, frame = found

    def make() -> bytes:
        with space.incoming() as place:
            space.reader.ask("thumbnail", path=str(path), to=str(place), side=side, frame=frame)
            return place.read_bytes()

    return cache.get(("original", str(path), frame, side), make)


@api.get("/projects/{project}/scenes/{scene}/atlas")
def get_atlas(space: Space, cache: Pictures, project: Id, scene: Id, side: Side = 4096) -> AtlasState:
    """Where each layer lies in `atlas.png` of the same `side` and version."""
    _, part = atlas_of(space, cache, project, scene, side)
    return AtlasState.model_validate_json(part("boxes"))


@api.get("/projects/{project}/scenes/{scene}/layers/{layer}.png", response_class=Response, responses=PNG)
def get_layer_picture(
    space: Space, request: Request, project: Id, scene: Id, layer: Annotated[str, "id of the layer"],
    side: Side = 4096, raster: Annotated[bool, Query(description="Its raster as it is, before it is placed.")] = False,
) -> Response:  # fmt: skip
    """One layer: as it lies on the canvas, cut to where it is seen; or its raster as it is, to be painted on."""
    session, name = space.session(project), space.scene_name(project, scene)
    with session.lock:
        version, found = session.version(name), session.scene(name)
    placement = found.layer(layer).placement

    def make() -> bytes:
        if raster:
            own = placement.raster if placement.raster is not None else found.dictionary.sprites[placement.entry]
            return pictures.sprite_picture(own, side)
        only = dataclasses.replace(found, layers=(found.layer(layer),))
        return pictures.shown_bytes(next(painted_layers(only)).canvas(), side)

    tag = f"layer-{project}-{scene}-{scene_id(layer)}-{version}-{side}-{raster}-{space.epoch}"
    return picture_answer(request, tag, make)

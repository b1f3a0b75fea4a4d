"""Places: what can be opened from the page without the command line. They are named by ids."""

from typing import Literal

from fastapi import Request, Response

from delaminate.errors import ConfigError
from delaminate.studio import places
from delaminate.studio.api.common import PNG, Id, Space, Strict, picture_answer, router
from delaminate.studio.api.projects import ProjectRow, row
from delaminate.studio.places import Place
from delaminate.studio.workspace import Workspace, scene_id

api = router("places")


class PlaceRow(Strict):
    """Something that can be opened. `about` says more of it, for what lies on this machine the folders that it is in."""

    id: str
    kind: Literal["scenes", "images", "run", "model", "example"]
    name: str
    about: str


class PlaceList(Strict):
    """Examples, models of the box, and what lies near where the studio was started."""

    examples: list[PlaceRow]
    models: list[PlaceRow]
    near: list[PlaceRow]


def place_id(place: Place) -> str:
    """The id of a place."""
    return scene_id(f"{place.kind} {place.path}")


def rows(found: list[Place]) -> list[PlaceRow]:
    """Places without where they are."""
    return [PlaceRow(id=place_id(each), kind=each.kind, name=each.name, about=each.about) for each in found]


@api.get("/places")
def list_places(space: Space) -> PlaceList:
    """List what can be opened."""
    return PlaceList(
        examples=rows(places.examples()),
        models=rows(places.models()),
        near=rows(places.near(space.started_in, space.home)),
    )


def find_place(space: Workspace, place: str) -> Place:
    """Find a place by its id.

    Raises:
        ConfigError: There is none.
    """
    for found in (places.examples(), places.models(), places.near(space.started_in, space.home)):
        for each in found:
            if place_id(each) == place:
                return each
    raise ConfigError(f"no place {place!r:.40}; the list may be another by now.")


@api.post("/places/{place}/open")
def open_place(space: Space, place: Id) -> ProjectRow:
    """Open a place: scenes, a run, a model or images; of an example a copy that can be edited."""
    found = find_place(space, place)
    if found.kind == "example":
        images, scenes = places.unpack_example(found.path, space.home / "uploads")
        of = space.open(images, "images", found.name)
        return ProjectRow(**row(space.open(scenes, "scenes", found.name, of.id)))  # type: ignore[arg-type]
    return ProjectRow(**row(space.open(found.path, found.kind, found.name)))  # type: ignore[arg-type]


@api.get("/places/{place}/cover.png", response_class=Response, responses=PNG)
def get_cover(space: Space, request: Request, place: Id) -> Response:
    """The picture of an example."""
    path = next((each.path for each in places.examples() if place_id(each) == place), None)
    if path is None:
        raise ConfigError(f"no example {place!r:.40}.")
    return picture_answer(request, f"cover-{place}-{path.stat().st_mtime_ns}", lambda: places.cover(path))

"""Projects: scenes, images, runs and models that are open in the studio; edits of scenes, undo and saving."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_type_hints

from fastapi import Request
from pydantic import Field, create_model

from delaminate.pipelines.edit_history import EDITS, MAX_OPERATIONS
from delaminate.scene.operations import MAX_SPRITES, OPERATIONS, Operation, operation_from
from delaminate.studio.api.common import BYTES, Id, Space, Strict, router
from delaminate.studio.session import Change, Session
from delaminate.studio.texts import without_places
from delaminate.studio.workspace import Kind, Project, Workspace, scene_id

api = router("projects")
MAX_PICTURE = 2**26


class ProjectRow(Strict):
    """A project in the list."""

    id: str
    kind: Kind
    name: str
    images: str | None
    job: str | None
    opened: float


class ProjectList(Strict):
    """All projects, the latest first."""

    projects: list[ProjectRow]


class ProjectState(ProjectRow):
    """A project, and for scenes how their edits stand.

    `revision` goes with every edit; `problem` says why files could not be saved.
    """

    revision: int = 0
    can_undo: bool = False
    can_redo: bool = False
    unsaved: bool = False
    problem: str | None = None
    scenes: int = 0
    sprites: int = 0


def _model(kind: type[Operation]) -> type[Strict]:
    """An operation as it comes from a page, strict as all models are."""
    bounds: dict[Any, dict[str, Any]] = {
        list[float]: {"min_length": 3, "max_length": 3}, list[str]: {"min_length": 1, "max_length": MAX_SPRITES},
        str: {"max_length": 1024}, int: {"ge": -(2**31), "le": 2**31},
    }  # fmt: skip
    hints = get_type_hints(kind)
    given: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        facts = dict(bounds.get(hints[field.name], {}))
        if field.default is not dataclasses.MISSING and field.name != "operation":
            facts["default"] = field.default
        given[field.name] = (hints[field.name], Field(**facts))
    return create_model(kind.__name__, __base__=Strict, __doc__=kind.__doc__, **given)


OperationModel: Any = Union[tuple(_model(kind) for kind in OPERATIONS.values())]  # noqa: UP007


class EditRequest(Strict):
    """Operations that are done together, at a revision. Scenes and sprites of an operation are named by their ids."""

    revision: Annotated[int, Field(ge=0, le=2**53)]
    operations: Annotated[
        list[Annotated[OperationModel, Field(discriminator="operation")]],
        Field(min_length=1, max_length=MAX_OPERATIONS),
    ]


class RevisionRequest(Strict):
    """At which revision to undo or redo."""

    revision: Annotated[int, Field(ge=0, le=2**53)]


class KeepRequest(Strict):
    """Whose files stay after another program has changed some: the studio's, or those of the folder."""

    whose: Literal["ours", "theirs"]


class ChangeAnswer(Strict):
    """What has changed: ids of scenes (null: maybe all), ids of sprites that look different (null: some came or went)."""

    revision: int
    scenes: list[str] | None
    sprites: list[str] | None
    can_undo: bool
    can_redo: bool
    commands: list[str]


class PictureAnswer(Strict):
    """A picture that operations can bring."""

    picture: str
    width: int
    height: int


def row(project: Project) -> dict[str, object]:
    """A project without its place."""
    return {key: value for key, value in dataclasses.asdict(project).items() if key != "path"}


def state(project: Project, session: Session | None) -> ProjectState:
    """A project with how its edits stand."""
    found = ProjectState(**row(project))  # type: ignore[arg-type]
    if session is None:
        return found
    with session.lock:
        return found.model_copy(
            update={
                "revision": session.revision, "can_undo": session.can_undo, "can_redo": session.can_redo,
                "unsaved": session.unsaved, "problem": without_places(session.problem) if session.problem else None,
                "scenes": len(session.names), "sprites": len(session.dictionary),
            }
        )  # fmt: skip


@api.get("/projects")
def list_projects(space: Space) -> ProjectList:
    """List what is open, the latest first; what jobs have finished is among it."""
    space.made_by_jobs()
    return ProjectList(projects=[ProjectRow(**row(each)) for each in space.projects()])  # type: ignore[arg-type]


@api.get("/projects/{project}")
def get_project(space: Space, project: Id) -> ProjectState:
    """Say what a project is and how its edits stand; sprites painted elsewhere come in by themselves."""
    found = space.project(project)
    return state(found, space.session(project) if found.kind == "scenes" else None)


@api.delete("/projects/{project}")
def forget_project(space: Space, project: Id) -> ProjectList:
    """Take a project from the list. Pictures that were sent are removed with it, other files stay."""
    space.forget(project)
    return list_projects(space)


@api.post("/projects/{project}/edits")
def edit_project(space: Space, project: Id, asked: EditRequest) -> ChangeAnswer:
    """Do operations together: one step of undo. 409: another page was first; load the project again."""
    session = space.session(project)
    named = session.with_names([each.model_dump() for each in asked.operations])
    edit = tuple(operation(space, project, each) for each in named)
    change = session.edit(edit, asked.revision)
    commands = [command(space.project(project).name, each.words()) for each in edit[:100]]
    return answer(space, project, session, change, commands)


def operation(space: Workspace, project: str, given: dict[str, Any]) -> Operation:
    """An operation whose scene is named, as the journal has it."""
    if "scene" in given:
        given["scene"] = space.scene_name(project, given["scene"])
    return operation_from(given, "edit")


@api.post("/projects/{project}/undo")
def undo(space: Space, project: Id, asked: RevisionRequest) -> ChangeAnswer:
    """Undo the last step, on whatever image."""
    session = space.session(project)
    return answer(space, project, session, session.undo(asked.revision))


@api.post("/projects/{project}/redo")
def redo(space: Space, project: Id, asked: RevisionRequest) -> ChangeAnswer:
    """Do the step again that was undone last."""
    session = space.session(project)
    return answer(space, project, session, session.redo(asked.revision))


@api.post("/projects/{project}/save")
def save(space: Space, project: Id) -> ProjectState:
    """Bring the files to what is seen, now; this happens by itself a second after each edit."""
    session = space.session(project)
    session.save()
    session.problem = None
    return state(space.project(project), session)


@api.post("/projects/{project}/keep")
def keep(space: Space, project: Id, asked: KeepRequest) -> ProjectState:
    """After another program has changed scenes: save over them, or begin a new history from them."""
    session = space.session(project)
    if asked.whose == "ours":
        session.keep_ours()
    else:
        session.keep_theirs()
        space.publish({"type": "reload", "project": project})
    session.problem = None
    return state(space.project(project), session)


@api.post(
    "/projects/{project}/pictures",
    openapi_extra=BYTES,
)
async def add_picture(space: Space, project: Id, request: Request) -> PictureAnswer:
    """Send a picture, such as a PNG with alpha, that operations can bring: the body is its bytes."""
    from fastapi.concurrency import run_in_threadpool

    session = await run_in_threadpool(space.session, project)
    with space.incoming() as place:
        with place.open("wb") as file:
            async for some in request.stream():
                file.write(some)
        given = await run_in_threadpool(
            space.reader.ask, "picture", path=str(place), folder=str(session.folder / EDITS)
        )
    return PictureAnswer(**given)


def answer(
    space: Workspace, project: str, session: Session, change: Change, commands: list[str] | None = None
) -> ChangeAnswer:
    """Tell everybody of a change, and say what it is."""
    space.changed(project, change)
    scenes = None if change.scenes is None else [scene_id(name) for name in change.scenes]
    sprites = None if change.sprites is None else list(change.sprites)
    return ChangeAnswer(
        revision=change.revision, scenes=scenes, sprites=sprites, can_undo=session.can_undo, can_redo=session.can_redo,
        commands=commands or [],
    )  # fmt: skip


def command(name: str, words: list[str]) -> str:
    """The same as a command, to copy."""
    import shlex

    return shlex.join(["delaminate", "edit", Path(name).name, *words])

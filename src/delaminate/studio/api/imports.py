"""Imports: what was edited in another program comes back, as one step of undo."""

import shlex
import shutil
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from delaminate.errors import ConfigError, DataError
from delaminate.pipelines.edit_history import EDITS
from delaminate.scene.operations import operation_from
from delaminate.studio.api.common import Id, Space, Strict, router
from delaminate.studio.api.images import shown_name
from delaminate.studio.api.projects import ChangeAnswer, answer
from delaminate.studio.reading import suffix_of
from delaminate.studio.texts import value_without_places
from delaminate.studio.workspace import Workspace

api = router("imports")
MAX_FILES = 2000
SECONDS = 300.0
BESIDE = (".png", ".webp", ".tsx")
"""Files that those which are imported name."""
SCOPES = ("everywhere", "only-here")
FORM = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
    "type": "object", "required": ["files", "revision"],
    "properties": {
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "revision": {"type": "integer"}, "repaint": {"enum": list(SCOPES)}, "scene": {"type": "string"},
    },
}}}}}  # fmt: skip


class Question(Strict):
    """A layer that was repainted, and how many others show its sprite: does the sprite change, or this layer alone?"""

    scene: str
    layer: str
    sprite: str
    others: int


class ImportAnswer(Strict):
    """What came back. With `asks` nothing has changed: send it again with `repaint`.

    `words`: what was understood; `remarks`: what was not. `change` null: the files say nothing new.
    """

    words: list[str]
    remarks: list[str]
    asks: list[Question]
    edits: int
    change: ChangeAnswer | None


@api.post("/projects/{project}/imports", openapi_extra=FORM)
async def import_files(space: Space, project: Id, request: Request) -> ImportAnswer:
    """Bring back `files` of a form: OpenRaster, Photoshop, Aseprite, Tiled maps, sprite sheets, or a zip of an export.

    `revision` as of edits. `repaint`: what a repainted layer changes that shows a sprite which others show, too. `scene`: the
    id of the scene that a layered file is of; else it is found by the file's name.
    """
    async with request.form(max_files=MAX_FILES, max_fields=10) as form:
        files = [each for each in form.getlist("files") if isinstance(each, UploadFile)]
        given = {key: str(form[key]) for key in ("revision", "repaint", "scene") if key in form}
        return await run_in_threadpool(bring_back, space, project, files, given)


def bring_back(space: Workspace, project: str, files: list[UploadFile], given: dict[str, str]) -> ImportAnswer:
    """Compare files with the scenes as they are, and do what differs.

    Raises:
        DataError: There are none, or they cannot be read.
        ConfigError: They are of no scene here.
        ConflictError: Another page was first.
    """
    session = space.session(project)
    repaint, revision = given.get("repaint"), given.get("revision", "")
    if not revision.isdecimal() or (repaint is not None and repaint not in SCOPES):
        raise ConfigError(f"imports: expected a revision, and repaint to be one of {', '.join(SCOPES)}.")
    scene = space.scene_name(project, given["scene"]) if given.get("scene") else None
    with space.incoming() as place:
        folder = place.with_name(f"{place.name}-files")
        try:
            edited = laid_out(space, files, folder)
            session.save()  # what it is compared with
            told = space.looker.reader.ask(
                "import", SECONDS, path=str(edited), scenes=str(session.folder), pictures=str(session.folder / EDITS),
                repaint=repaint, scene=scene,
            )  # fmt: skip
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    operations = tuple(operation_from(each, "import") for each in told.pop("operations"))
    change = None
    if operations and not told["asks"]:
        name = space.project(project).name
        words = [
            "delaminate",
            "import",
            shown_name(files[0].filename or ""),
            name,
            *([f"--{repaint}"] if repaint else []),
        ]
        change = answer(space, project, session, session.edit(operations, int(revision)), [shlex.join(words)])
    questions = [Question(**each) for each in told.pop("asks")]
    return ImportAnswer(**value_without_places(told), asks=questions, edits=len(operations), change=change)


def laid_out(space: Workspace, files: list[UploadFile], folder: Path) -> Path:
    """Lay files down under their own names, zips unpacked; say what to import: the only file, or the folder.

    Raises:
        DataError: There are none of a kind that comes back, or two have one name.
    """
    from delaminate.pipelines.importing import SUFFIXES  # here, so that the studio opens at once

    folder.mkdir(parents=True)
    kept: list[Path] = []
    for number, file in enumerate(files):
        target = folder / shown_name(file.filename or f"file-{number}")
        if target.exists():
            raise DataError(
                f"two files called {target.name} were sent; send one at a time, or a zip with their folders."
            )
        with target.open("wb") as out:
            shutil.copyfileobj(file.file, out, 2**20)
        with target.open("rb") as source:
            is_zip = suffix_of(source.read(12)) == ".zip" and target.suffix.lower() == ".zip"
        kept += unzipped(space, target, folder, (*SUFFIXES, *BESIDE)) if is_zip else [target]
    wanted = [path for path in kept if path.suffix.lower() in SUFFIXES]
    if not wanted:
        raise DataError(f"nothing that comes back was sent; expected {', '.join(SUFFIXES)}, or a zip of these.")
    for path in kept:
        if path.suffix.lower() not in (*SUFFIXES, *BESIDE):
            path.unlink()
    return wanted[0] if len(kept) == 1 else folder


def unzipped(space: Workspace, path: Path, folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Unpack a zip with its folders, files of some kinds; its names are checked while it is read."""
    loose = folder / f"{path.name}.parts"
    loose.mkdir()
    names: list[Any] = space.reader.ask("unpack", 300, path=str(path), folder=str(loose))["names"]
    kept = []
    for number, name in enumerate(names):
        target = folder / name
        if target.suffix.lower() in suffixes:
            if target.exists():
                raise DataError(f"{name} was sent twice, in {path.name} and beside it; send one of them.")
            target.parent.mkdir(parents=True, exist_ok=True)
            (loose / f"{number:06d}").rename(target)
            kept.append(target)
    shutil.rmtree(loose)
    path.unlink()
    return kept

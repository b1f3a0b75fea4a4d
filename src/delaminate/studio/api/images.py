"""Images: sent from the page, or of a folder that was given on the command line."""

import json
import re
import secrets
import shutil
import unicodedata
from collections.abc import Container
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field
from starlette.datastructures import UploadFile

from delaminate.data.clips import MAX_CLIP_FRAMES
from delaminate.data.sets import natural_key
from delaminate.errors import ConfigError, DataError
from delaminate.scene.format import SUMMARY
from delaminate.scene.scenes import is_plain_text
from delaminate.studio.api.common import PNG, Id, Limit, Offset, Pictures, Side, Space, Strict, picture_answer, router
from delaminate.studio.api.projects import ProjectRow, row
from delaminate.studio.reading import suffix_of
from delaminate.studio.texts import without_places
from delaminate.studio.workspace import NAMES, Workspace

api = router("images")
MAX_FILES = 20_000
CHUNK = 2**20
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for itself."""
SENT, SCENES = "sent", "scenes"
LONGEST = 1000
"""Characters of a path in a folder that is sent."""
READING = 300.0
"""Seconds that a zip may take, or a folder of scenes."""
PART = r"[^/\\:\x00-\x1f]{1,200}"
OF_SCENES = re.compile(
    rf"summary\.json|errors\.json|(dictionary|residuals)/{PART}\.png|packs/{PART}\.tar|scenes/({PART}/)+{PART}\.(json|png)"
)
"""Files of a folder of scenes."""


class SkippedRow(Strict):
    """A file that was sent and is not used, and why."""

    name: str
    reason: str


class Received(Strict):
    """What became of files that were sent."""

    project: ProjectRow
    count: int
    skipped: list[SkippedRow]


class ImageRow(Strict):
    """An image in the list."""

    id: str
    name: str


class ImageList(Strict):
    """Some images of a project."""

    total: int
    images: list[ImageRow]


FORM = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
    "type": "object", "required": ["files"],
    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
}}}}}  # fmt: skip


@api.post("/images", openapi_extra=FORM)
async def send_images(space: Space, request: Request) -> Received:
    """Send pictures, one clip, or a zip of pictures, as `files` of a form. What each is, is told by what it holds.

    The files of a folder of scenes, named by their paths in it, or a zip of one, become a project of scenes.
    """
    async with request.form(max_files=MAX_FILES, max_fields=100) as form:
        files = [each for each in form.getlist("files") if isinstance(each, UploadFile)]
        return await run_in_threadpool(receive, space, files)


def receive(space: Workspace, files: list[UploadFile]) -> Received:
    """Keep files that can be read, in the order of their names, and make a project of them.

    Raises:
        DataError: None can be read; or they are scenes that are damaged or packed.
    """
    place = space.home / "uploads" / secrets.token_hex(6)
    images = place / "images"
    images.mkdir(parents=True)
    (place / SENT).mkdir()
    skipped: list[SkippedRow] = []
    try:
        sent = unpacked(space, files, place / SENT, skipped)
        scenes = scenes_among(sent)
        if scenes is not None:
            return received_scenes(space, scenes, place)
        taken = sorted(((shown_name(given), path) for given, path in sent), key=lambda each: natural_key(each[0]))
        names, clips, failed = dict[str, str](), list[str](), list[SkippedRow]()
        for name, path in taken:
            kept = keep(space, path, images, {each.lower() for each in names}, failed, name)
            if kept is None:
                continue
            stored, clip = kept
            names[stored] = name
            clips += [stored] if clip else []
        skipped += failed
        if not names:
            reason = f" The first: {skipped[0].name}: {skipped[0].reason}" if skipped else ""
            raise DataError(f"no picture that can be read was sent.{reason}")
        if clips and len(names) > 1:
            raise DataError("a clip was sent among pictures; send the clip by itself, or the pictures.")
        (place / NAMES).write_text(json.dumps(names), encoding="utf-8")
        shutil.rmtree(place / SENT)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    shown = next(iter(names.values())) if len(names) == 1 else f"{len(names)} images"
    project = space.open(images / clips[0] if clips else images, "images", shown)
    return Received(project=ProjectRow(**row(project)), count=len(names), skipped=skipped[:1000])  # type: ignore[arg-type]


def scenes_among(sent: list[tuple[str, Path]]) -> tuple[str, dict[str, Path]] | None:
    """The folder of scenes that was sent, its name and its files by their path in it; None: what was sent is none.

    Its names lead nowhere else; what such a folder does not have is left out.
    """
    plain = {given.replace("\\", "/").strip("/"): path for given, path in sent}
    tops = sorted((given.removesuffix(SUMMARY) for given in plain if PurePosixPath(given).name == SUMMARY), key=len)
    for top in tops:
        files = {given.removeprefix(top): path for given, path in plain.items() if given.startswith(top)}
        kept = {
            each: path
            for each, path in files.items()
            if OF_SCENES.fullmatch(each) and not {".", ".."} & {*each.split("/")} and len(each) <= LONGEST
        }
        if any(each.startswith(("scenes/", "packs/")) for each in kept):
            return PurePosixPath(top).name or "scenes", kept
    return None


def received_scenes(space: Workspace, found: tuple[str, dict[str, Path]], place: Path) -> Received:
    """Lay the files of a folder of scenes down, let another process read all of it, and make a project of it."""
    name, files = found
    folder = place / SCENES
    for each, path in files.items():
        target = folder / each
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        except OSError as error:  # such as a file that another has for its folder
            raise DataError(f"{each[:80]!r}: cannot be written ({error.strerror or error}).") from error
    shutil.rmtree(place / SENT)
    count = space.reader.ask("scenes", READING, path=str(folder))["scenes"]
    project = space.open(folder, "scenes", shown_name(name))
    return Received(project=ProjectRow(**row(project)), count=count, skipped=[])  # type: ignore[arg-type]


def unpacked(
    space: Workspace, files: list[UploadFile], place: Path, skipped: list[SkippedRow]
) -> list[tuple[str, Path]]:
    """Write down what was sent, zips unpacked: what each file was called, with its folders, and where it is now."""
    found = []
    for number, file in enumerate(files):
        name, path = file.filename or "", place / f"{number:06d}"
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target, CHUNK)
        with path.open("rb") as source:
            if suffix_of(source.read(12)) != ".zip":
                found.append((name, path))
                continue
        folder = place / f"zip-{number:06d}"
        folder.mkdir()
        try:
            inside = space.reader.ask("unpack", READING, path=str(path), folder=str(folder))["names"]
            found += [(each, folder / f"{index:06d}") for index, each in enumerate(inside)]
        except DataError as error:
            skipped.append(SkippedRow(name=shown_name(name), reason=without_places(str(error))))
        path.unlink()
    return found


def keep(
    space: Workspace, path: Path, images: Path, taken: Container[str], skipped: list[SkippedRow], name: str
) -> tuple[str, bool] | None:
    """Keep a file that can be decoded: its name there, and whether it is a clip; None: it cannot be."""
    with path.open("rb") as file:
        suffix = suffix_of(file.read(12))
    try:
        if suffix is None or suffix == ".zip":
            raise DataError("not an image that we read (PNG, JPEG, WebP, GIF, TIFF, BMP), nor a clip")
        target = path.with_name(f"{path.name}{suffix}")
        path.rename(target)
        checked = space.reader.ask("check", path=str(target))
    except DataError as error:
        skipped.append(SkippedRow(name=name, reason=without_places(str(error))[:300]))
        return None
    stored = plain_file_name(name, suffix, taken)
    target.replace(images / stored)
    return stored, bool(checked["clip"])


def plain_file_name(name: str, suffix: str, taken: Container[str]) -> str:
    """A name that any disk takes and that leads nowhere: letters, digits, dots and dashes of what a file was called.

    Args:
        name: What it was called.
        suffix: By what it holds.
        taken: Names, in lower case, that are taken.
    """
    text = unicodedata.normalize("NFC", name.rpartition(".")[0] or name)
    stem = re.sub(r"[^\w.-]+", "-", text).strip(".-").encode()[:100].decode(errors="ignore") or "image"
    stem = f"image-{stem}" if RESERVED.fullmatch(stem) else stem
    tries = (f"{stem}{more}{suffix}" for more in ("", *(f"-{number}" for number in range(2, MAX_FILES + 2))))
    return next(each for each in tries if each.lower() not in taken)


def shown_name(given: str) -> str:
    """What a file was called, fit to be shown: its last part, of plain characters."""
    last = given.replace("\\", "/").rpartition("/")[2][:120]
    return last if is_plain_text(last, 120) and last.strip(". ") else "picture"


@api.get("/projects/{project}/images")
def list_images(space: Space, project: Id, offset: Offset = 0, limit: Limit = 200) -> ImageList:
    """List the images of a project in their order; a clip is one."""
    found = list(space.images(space.project(project, "images")).items())
    rows = [ImageRow(id=key, name=name) for key, (name, _) in found[offset : offset + limit]]
    return ImageList(total=len(found), images=rows)


class RecognitionAnswer(Strict):
    """What the images of a project are. `state` looking: not known yet, an event `recognition` tells when.

    `sentence`: the kind, what is recommended and why; `evidence`: what was read, and by what it was recognised; `method` null:
    nothing here takes them apart. `seconds` on one core and `num_bytes` of memory, where they are known.
    """

    state: Literal["looking", "done", "failed"]
    error: str | None = None
    kind: str | None = None
    sentence: str | None = None
    evidence: list[str] = Field(default_factory=list)
    images: int | None = None
    method: str | None = None
    preset: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    reason: str | None = None
    exports: list[str] = Field(default_factory=list)
    seconds: float | None = None
    num_bytes: float | None = None


@api.get("/projects/{project}/recognition")
def get_recognition(space: Space, project: Id) -> RecognitionAnswer:
    """Say what the images of a project are and what suits them; they are looked at when this is first asked."""
    found = space.project(project, "images")
    looked = space.looker.look(project, Path(found.path))
    told = {key: value for key, value in (looked.found or {}).items() if key in RecognitionAnswer.model_fields}
    return RecognitionAnswer(**told, state=looked.state, error=looked.error)


@api.get("/projects/{project}/images/{image}.png", response_class=Response, responses=PNG)
def get_image(
    space: Space, cache: Pictures, request: Request, project: Id, image: Id, side: Side = 512,
    frame: Annotated[int, Query(ge=0, le=MAX_CLIP_FRAMES, description="Of a clip, counted from 0.")] = 0,
) -> Response:  # fmt: skip
    """An image, or a frame of a clip, as a PNG."""
    files = space.images(space.project(project, "images"))
    if image not in files:
        raise ConfigError(f"no image {image!r:.40} in this project.")
    path = files[image][1]

    def make() -> bytes:
        with space.incoming() as place:
            space.reader.ask("thumbnail", path=str(path), to=str(place), side=side, frame=frame)
            return place.read_bytes()

    try:
        stamp = path.stat().st_mtime_ns
    except OSError as error:
        raise ConfigError(f"image {image}: is gone.") from error
    return picture_answer(
        request,
        f"image-{image}-{stamp}-{side}-{frame}",
        lambda: cache.get(("image", str(path), stamp, side, frame), make),
    )

"""Exports: layers in the formats of other programs, made by a job, taken away as files or as one zip."""

import mimetypes
import shlex
import time
import zipfile
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path as Place
from typing import Annotated

from fastapi import Query, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import Field

from delaminate.errors import ConfigError
from delaminate.exporters.formats import FORMATS
from delaminate.pipelines.output_folders import EXPORTED, read_record
from delaminate.studio.api.common import BINARY, Id, Space, Strict, router
from delaminate.studio.api.jobs import JobRow, Word, job_row
from delaminate.studio.jobs import Job
from delaminate.studio.workspace import scene_id

api = router("exports")
TAKEN: dict[str, tuple[str, ...]] = {
    "export": ("**/*",),
    "auto": ("exports/**/*", "counts.csv", "report.html"),
    "compare": ("comparison.html", "comparison.json"),
}
"""Files to take away, by the kind of job that makes them."""


class FormatRow(Strict):
    """A format; `extra`: what must be installed for it; `of_sprites`: it holds what scenes share."""

    id: str
    about: str
    options: list[str]
    extra: str | None
    of_sprites: bool


class FormatList(Strict):
    """All formats."""

    formats: list[FormatRow]


class ExportRequest(Strict):
    """Which formats, and what may be chosen."""

    formats: Annotated[list[Word], Field(min_length=1, max_length=50)]
    rate: Annotated[float, Field(gt=0, le=1000)] | None = None
    background: bool | None = None
    native: bool = False
    indexed: bool = False
    split: bool = False
    fill: Annotated[str, Field(max_length=32, pattern=r"^(transparent|[a-z]{3,20}|#[0-9a-fA-F]{3,8})$")] | None = None
    margin: Annotated[int, Field(ge=0, le=1000)] | None = None
    webp: bool = False
    scale: Annotated[int, Field(ge=1, le=64)] = 1


class FileRow(Strict):
    """A file that an export has made."""

    id: str
    name: str
    bytes: int


class WrittenFormat(Strict):
    """A format that was written: `max_error`, of 1, is how closely it composites back; null: it holds no colours."""

    id: str
    files: int
    bytes: int
    max_error: float | None


class FileList(Strict):
    """All of them."""

    total: int
    bytes: int
    files: list[FileRow]
    formats: list[WrittenFormat]


@api.get("/exports/formats")
def list_formats() -> FormatList:
    """List what layers can be taken away as."""
    rows = [
        FormatRow(id=name, about=each.about, options=list(each.options), extra=each.extra, of_sprites=each.of_sprites)
        for name, each in FORMATS.items()
    ]
    return FormatList(formats=rows)


@api.post("/projects/{project}/exports")
def start_export(space: Space, project: Id, asked: ExportRequest) -> JobRow:
    """Save, and start a job that writes the scenes of a project in some formats."""
    from delaminate.pipelines.exporting import format_names  # here, so that the studio opens at once

    found, session = space.project(project, "scenes"), space.session(project)
    names = format_names(asked.formats)
    session.save()
    options = ["--to", ",".join(names), "--scale", str(asked.scale)]
    options += ["--rate", f"{asked.rate:g}"] if asked.rate is not None else []
    options += [] if asked.background is None else ["--background" if asked.background else "--no-background"]
    switches = {"--native": asked.native, "--indexed": asked.indexed, "--split": asked.split, "--webp": asked.webp}
    options += [flag for flag, wanted in switches.items() if wanted]
    options += ["--fill", asked.fill] if asked.fill is not None else []
    options += ["--margin", str(asked.margin)] if asked.margin is not None else []
    job_id = space.jobs.new_id()
    words = ("export", found.path, "--out", str(space.jobs.out(job_id)), *options)
    shown = shlex.join(["delaminate", "export", found.name, "--out", "layers", *options])
    title = f"{found.name} as {', '.join(names)}"
    job = Job(job_id, "export", title, words, ("--resume",), shown, project, len(names), time.time())
    space.jobs.start(job)
    return job_row(space, job)


def files_of(space: Space, job: str) -> list[tuple[str, Place]]:
    """Names and places of the files of a job that is done and that makes files to take away.

    Raises:
        ConfigError: It is another, or not done.
    """
    made = space.jobs.get(job)
    if made.kind not in TAKEN or space.jobs.state(job) != "done":
        raise ConfigError(f"job {job}: expected an export that is done.")
    out = space.jobs.out(job)
    found = (path for pattern in TAKEN[made.kind] for path in out.glob(pattern))
    files = sorted(path for path in found if path.is_file() and not path.is_symlink() and path.name != EXPORTED)
    return [(path.relative_to(out).as_posix(), path) for path in files]


@api.get("/exports/{job}/files")
def list_files(space: Space, job: Id) -> FileList:
    """List the files of an export that is done, the first thousand."""
    files = files_of(space, job)
    rows = [FileRow(id=scene_id(name), name=name, bytes=path.stat().st_size) for name, path in files[:1000]]
    return FileList(
        total=len(files),
        bytes=sum(path.stat().st_size for _, path in files),
        files=rows,
        formats=written(space, job, files),
    )


def written(space: Space, job: str, files: list[tuple[str, Place]]) -> list[WrittenFormat]:
    """Say of each format that a job has written how large it is, and how closely it composites back."""
    out = space.jobs.out(job)
    folder = "exports/" if space.jobs.get(job).kind == "auto" else ""
    found = []
    for name, told in (read_record(out / folder / EXPORTED) or {}).items():
        mine = [path for shown, path in files if shown.startswith(f"{folder}{name}/")]
        error = told.get("max_error") if isinstance(told, dict) else None
        size = sum(path.stat().st_size for path in mine)
        found.append(WrittenFormat(id=name, files=len(mine), bytes=size, max_error=error))
    return found


@api.get(
    "/exports/{job}/file", response_class=Response, responses={200: {"content": {"application/octet-stream": BINARY}}}
)
def get_file(space: Space, job: Id, file: Annotated[str, Query(max_length=40)]) -> Response:
    """Take one file away, by its id."""
    for name, path in files_of(space, job):
        if scene_id(name) == file:
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            return FileResponse(path, media_type=kind, filename=path.name, content_disposition_type="attachment")
    raise ConfigError(f"export {job}: has no file {file!r:.40}.")


@api.get("/exports/{job}/files.zip", response_class=Response, responses={200: {"content": {"application/zip": BINARY}}})
def get_zip(space: Space, job: Id) -> Response:
    """Take all files away as one zip."""
    headers = {"content-disposition": f'attachment; filename="layers-{job}.zip"'}
    return StreamingResponse(zipped(files_of(space, job)), media_type="application/zip", headers=headers)


class _Chunks(RawIOBase):
    """Collects what is written."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        some = bytes(data)  # type: ignore[call-overload]
        self.data += some
        return len(some)

    def take(self) -> bytes:
        taken = bytes(self.data)
        self.data.clear()
        return taken


def zipped(files: list[tuple[str, Place]]) -> Iterator[bytes]:
    """A zip of files, piece by piece; pictures are not compressed again."""
    chunks = _Chunks()
    with zipfile.ZipFile(chunks, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files:
            with path.open("rb") as source, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as target:
                while some := source.read(2**20):
                    target.write(some)
                    yield chunks.take()
    yield chunks.take()

"""Jobs: trainings and decompositions, as commands of the library; their progress, figures and pictures."""

import json
import shlex
import time
from pathlib import Path as Place
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request, Response
from pydantic import Field

from delaminate import zoo
from delaminate.config import build, suggest
from delaminate.errors import ConfigError
from delaminate.studio.api.common import PNG, Id, Space, Strict, picture_answer, router
from delaminate.studio.jobs import Job
from delaminate.studio.jobs import Kind as JobKind
from delaminate.studio.jobs import State as JobState
from delaminate.studio.texts import value_without_places, without_places
from delaminate.studio.workspace import Workspace

api = router("jobs")
Word = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
Count = Annotated[int, Field(ge=1, le=2**31)]


class TrainRequest(Strict):
    """Train a method on the images of a project."""

    kind: Literal["train"]
    images: Word
    method: Word
    preset: Word | None = None
    settings: dict[Word, Any] = Field(default_factory=dict, max_length=200)
    fit: Literal["squash", "crop", "pad"] = "squash"
    steps: Count | None = None
    minutes: Annotated[float, Field(gt=0, le=1e5)] | None = None
    count: Count | None = None
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0


class DecomposeRequest(Strict):
    """Decompose the images of a project by a model: one in the box, or a project (a run, or a model)."""

    kind: Literal["decompose"]
    images: Word
    model: Word
    by: Word | None = None
    fit: Literal["squash", "crop", "pad"] = "squash"
    limit: Count | None = None


class JobRow(Strict):
    """A job: what it is and how far it is.

    `done` of `total` (0: not known) steps or images, `stage` of a training. `previews`: the step of the latest picture.
    `verdict`: what came out. `project`: what it has made, once that can be opened.
    """

    id: str
    kind: JobKind
    title: str
    command: str
    source: str
    state: JobState
    started: float
    ended: float | None
    stage: str | None
    done: int
    total: int
    previews: list[int]
    verdict: dict[str, Any] | None
    error: str | None
    project: str | None


class JobList(Strict):
    """All jobs, the latest first."""

    jobs: list[JobRow]


class MetricsAnswer(Strict):
    """Rows of a training's log: total_step, and stage, step, time and figures, or a note."""

    rows: list[dict[str, Any]]
    previews: list[int]


class LogAnswer(Strict):
    """The end of what a job said."""

    text: str


def job_row(space: Workspace, job: Job) -> JobRow:
    """Describe a job."""
    made = next((each.id for each in space.projects() if each.job == job.id), None)
    told = value_without_places(space.jobs.describe(job))
    return JobRow(**told, project=made)


@api.get("/jobs")
def list_jobs(space: Space) -> JobList:
    """List jobs, those of earlier days too."""
    space.made_by_jobs()
    return JobList(jobs=[job_row(space, each) for each in space.jobs.all()])


@api.post("/jobs")
def start_job(space: Space, asked: Annotated[TrainRequest | DecomposeRequest, Field(discriminator="kind")]) -> JobRow:
    """Start a training or a decomposition. It goes on when the page, or the server, is closed."""
    job = training(space, asked) if isinstance(asked, TrainRequest) else decomposition(space, asked)
    space.jobs.start(job)
    return job_row(space, job)


def training(space: Workspace, asked: TrainRequest) -> Job:
    """Make the job of a training; settings are checked before it starts."""
    from delaminate.methods import METHODS  # here, so that the studio opens at once

    images = space.project(asked.images, "images")
    method = METHODS.find(asked.method, "train")
    preset = asked.preset or next(iter(method.presets))
    build(method.preset_config(preset), asked.settings, asked.method)
    options = ["--preset", preset, "--seed", str(asked.seed), "--fit", asked.fit]
    for key, value in asked.settings.items():
        options += ["--set", f"{key}={json.dumps(value)}"]
    for flag, number in (("--steps", asked.steps), ("--minutes", asked.minutes), ("-n", asked.count)):
        if number is not None:
            options += [flag, f"{number:g}" if isinstance(number, float) else str(number)]
    job_id = space.jobs.new_id()
    out = str(space.jobs.out(job_id))
    words = ("train", asked.method, images.path, "--out", out, *options)
    shown = shlex.join(["delaminate", "train", asked.method, images.name, "--out", f"runs/{asked.method}", *options])
    title = f"{asked.method} on {images.name}"
    return Job(job_id, "train", title, words, ("--resume",), shown, images.id, 0, time.time())


def decomposition(space: Workspace, asked: DecomposeRequest) -> Job:
    """Make the job of a decomposition."""
    images = space.project(asked.images, "images")
    model = name = asked.model
    if model not in zoo.names():
        known = {each.id: each for each in space.projects() if each.kind in ("run", "model")}
        if model not in known:
            raise ConfigError(f"decompose: no model {model!r}. {suggest(model, list(zoo.names()))}")
        model, name = known[model].path, known[model].name
    options = ["--fit", asked.fit]
    options += ["--by", asked.by] if asked.by is not None else []
    options += ["-n", str(asked.limit)] if asked.limit is not None else []
    job_id = space.jobs.new_id()
    words = ("decompose", model, images.path, "--out", str(space.jobs.out(job_id)), *options)
    shown = shlex.join(["delaminate", "decompose", name, images.name, "--out", "scenes", *options])
    total = 0 if Place(images.path).is_file() else min(len(space.images(images)), asked.limit or 2**31)
    title = f"{images.name} by {name}"
    return Job(job_id, "decompose", title, words, ("--resume",), shown, images.id, total, time.time())


@api.get("/jobs/{job}")
def get_job(space: Space, job: Id) -> JobRow:
    """Say how far a job is."""
    space.made_by_jobs()
    return job_row(space, space.jobs.get(job))


@api.post("/jobs/{job}/stop")
def stop_job(space: Space, job: Id) -> JobRow:
    """Stop a job as Ctrl-C does; what it has made is kept, and it can be resumed."""
    space.jobs.stop(job)
    return get_job(space, job)


@api.post("/jobs/{job}/resume")
def resume_job(space: Space, job: Id) -> JobRow:
    """Go on with a job that was stopped, was lost with the machine, or failed."""
    space.jobs.resume(job)
    return get_job(space, job)


@api.delete("/jobs/{job}")
def remove_job(space: Space, job: Id) -> JobList:
    """Remove a job that has ended, with what it has made."""
    made = [each for each in space.projects() if each.job == job]
    if space.jobs.state(job) != "running":
        for each in made:
            space.forget(each.id)
    space.jobs.remove(job)
    return list_jobs(space)


@api.get("/jobs/{job}/metrics")
def get_metrics(space: Space, job: Id, since: Annotated[int, Query(ge=-1, le=2**53)] = -1) -> MetricsAnswer:
    """Read the figures of a training after a step."""
    space.jobs.get(job)
    return MetricsAnswer(rows=value_without_places(space.jobs.metrics(job, since)[:100_000]), previews=space.jobs.previews(job))


@api.get("/jobs/{job}/previews/{step}.png", response_class=Response, responses=PNG)
def get_preview(space: Space, request: Request, job: Id, step: Annotated[int, Path(ge=0, lt=10**8)]) -> Response:
    """A picture of how a training is going."""
    space.jobs.get(job)
    path = space.jobs.out(job) / "previews" / f"{step:08d}.png"
    try:
        data = path.read_bytes()
    except OSError:
        raise ConfigError(f"job {job}: no picture of step {step}.") from None
    return picture_answer(request, f"preview-{job}-{step}-{len(data)}", lambda: data)


@api.get("/jobs/{job}/log")
def get_log(space: Space, job: Id) -> LogAnswer:
    """The end of what a job said."""
    space.jobs.get(job)
    return LogAnswer(text=without_places(space.jobs.log(job)))


def described(space: Workspace) -> list[dict[str, Any]]:
    """All jobs as they are told to pages that listen."""
    space.made_by_jobs()
    return [job_row(space, each).model_dump() for each in space.jobs.all()]

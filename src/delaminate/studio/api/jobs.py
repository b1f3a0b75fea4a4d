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
from delaminate.pipelines.output_folders import read_record
from delaminate.studio.api.common import PNG, Id, Space, Strict, picture_answer, router
from delaminate.studio.jobs import ACTIVE, Job
from delaminate.studio.jobs import Kind as JobKind
from delaminate.studio.jobs import State as JobState
from delaminate.studio.texts import value_without_places, without_places
from delaminate.studio.workspace import Project, Workspace

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


class AutoRequest(Strict):
    """Let the library choose: recognise the images of a project, train what suits them, take them apart, export them."""

    kind: Literal["auto"]
    images: Word
    minutes: Annotated[float, Field(gt=0, le=1e5)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0


class CompareRequest(Strict):
    """Compare models, each one in the box or a project (a run, or a model), on some images of a project."""

    kind: Literal["compare"]
    images: Word
    models: Annotated[list[Word], Field(min_length=2, max_length=8)]
    count: Annotated[int, Field(ge=1, le=64)] = 8


class DecomposeRequest(Strict):
    """Decompose the images of a project by a model: one in the box, or a project (a run, or a model)."""

    kind: Literal["decompose"]
    images: Word
    model: Word
    by: Word | None = None
    fit: Literal["squash", "crop", "pad"] = "squash"
    limit: Count | None = None


class PrepareRequest(Strict):
    """Make images of a project ready: some of them, a part of each, contrast stretched.

    `first` to `last`: counted from 0; `last` is not among them. `crop`: left, top, width, height in pixels.
    """

    kind: Literal["prepare"]
    images: Word
    first: Annotated[int, Field(ge=0, le=2**31)] = 0
    last: Count | None = None
    crop: Annotated[list[Annotated[int, Field(ge=0, le=2**31)]], Field(min_length=4, max_length=4)] | None = None
    stretch: bool = False


class JobRow(Strict):
    """A job: what it is and how far it is.

    `done` of `total` (0: not known) steps or images, `stage` of a training. `previews`: the step of the latest picture.
    `verdict`: what came out. `project`: what it has made, once that can be opened. `live`: grows when there are new
    sprites of a training.
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
    live: float | None
    project: str | None


class JobList(Strict):
    """All jobs, the latest first."""

    jobs: list[JobRow]


class MetricsAnswer(Strict):
    """Rows of a training's log: total_step, and stage, step, time and figures, or a note."""

    rows: list[dict[str, Any]]
    previews: list[int]


class LiveAnswer(Strict):
    """A training as it is now: `count` sprites, the first of them as data URLs."""

    stage: str | None
    figures: dict[str, float]
    count: int
    sprites: list[str]


class CommandAnswer(Strict):
    """What would be started, as the equal command."""

    command: str


class ComparisonAnswer(Strict):
    """What a comparison found: names of the models, and by name one value for each."""

    models: list[str]
    settings: dict[str, list[Any]]
    figures: dict[str, list[Any]]


class LogAnswer(Strict):
    """The end of what a job said."""

    text: str


def job_row(space: Workspace, job: Job) -> JobRow:
    """Describe a job."""
    projects = [each for each in space.projects() if each.job == job.id]
    projects.sort(key=lambda each: each.kind != "scenes")
    made = projects[0].id if projects else None
    told = value_without_places(space.jobs.describe(job))
    return JobRow(**told, project=made)


@api.get("/jobs")
def list_jobs(space: Space) -> JobList:
    """List jobs, those of earlier days too."""
    space.made_by_jobs()
    return JobList(jobs=[job_row(space, each) for each in space.jobs.all()])


JobRequest = Annotated[
    AutoRequest | TrainRequest | DecomposeRequest | CompareRequest | PrepareRequest, Field(discriminator="kind")
]


@api.post("/jobs")
def start_job(space: Space, asked: JobRequest) -> JobRow:
    """Start a job. It goes on when the page, or the server, is closed."""
    job = job_of(space, asked)
    space.jobs.start(job)
    return job_row(space, job)


@api.post("/jobs/command")
def show_command(space: Space, asked: JobRequest) -> CommandAnswer:
    """Check what would be started, and say it as the equal command; nothing happens."""
    return CommandAnswer(command=job_of(space, asked).command)


def job_of(space: Workspace, asked: JobRequest) -> Job:
    """Make the job that is asked for."""
    if isinstance(asked, AutoRequest):
        return automatic(space, asked)
    if isinstance(asked, TrainRequest):
        return training(space, asked)
    if isinstance(asked, PrepareRequest):
        return preparation(space, asked)
    return decomposition(space, asked) if isinstance(asked, DecomposeRequest) else comparison(space, asked)


def automatic(space: Workspace, asked: AutoRequest) -> Job:
    """Make the job of a collection from its recognition to its layers."""
    images = space.project(asked.images, "images")
    options = ["--seed", str(asked.seed)] if asked.seed else []
    options += ["--minutes", f"{asked.minutes:g}"] if asked.minutes is not None else []
    job_id = space.jobs.new_id()
    words = ("auto", images.path, "--out", str(space.jobs.out(job_id)), *options)
    shown = shlex.join(["delaminate", "auto", images.name, "--out", "layers", *options])
    return Job(job_id, "auto", images.name, words, (), shown, images.id, count_of(space, images), time.time())


def comparison(space: Workspace, asked: CompareRequest) -> Job:
    """Make the job of a comparison."""
    images = space.project(asked.images, "images")
    models = [model_of(space, each) for each in asked.models]
    options = ["-n", str(asked.count)]
    job_id = space.jobs.new_id()
    out = str(space.jobs.out(job_id))
    words = ("compare", *(place for place, _ in models), "--images", images.path, "--out", out, *options)
    names = [name for _, name in models]
    shown = shlex.join(["delaminate", "compare", *names, "--images", images.name, "--out", "comparison", *options])
    return Job(job_id, "compare", " and ".join(names), words, (), shown, images.id, 0, time.time())


def preparation(space: Workspace, asked: PrepareRequest) -> Job:
    """Make the job of images that are made ready."""
    images = space.project(asked.images, "images")
    if asked.last is not None and asked.last <= asked.first:
        raise ConfigError(f"images {asked.first} to {asked.last}: expected an end behind the beginning.")
    if asked.crop is not None and min(asked.crop[2:]) < 1:
        raise ConfigError("the part of each image is empty.")
    options = []
    if asked.first or asked.last is not None:
        options += ["--frames", f"{asked.first}:{'' if asked.last is None else asked.last}"]
    options += ["--crop", ",".join(map(str, asked.crop))] if asked.crop is not None else []
    options += ["--stretch"] if asked.stretch else []
    if not options:
        raise ConfigError("nothing is to be done: choose a part of the images, or stretch their contrast.")
    job_id = space.jobs.new_id()
    words = ("data", "prepare", images.path, "--out", str(space.jobs.out(job_id)), *options)
    shown = shlex.join(["delaminate", "data", "prepare", images.name, "--out", "prepared", *options])
    again = ("--overwrite",)
    return Job(job_id, "prepare", images.name, words, again, shown, images.id, count_of(space, images), time.time())


def count_of(space: Workspace, images: Project) -> int:
    """How many images a project has; 0: a clip, whose frames are not counted."""
    return 0 if Place(images.path).is_file() else len(space.images(images))


def model_of(space: Workspace, model: str) -> tuple[str, str]:
    """Where a model is, and what it is called.

    Raises:
        ConfigError: There is none.
    """
    if model in zoo.names():
        return model, model
    known = {each.id: each for each in space.projects() if each.kind in ("run", "model")}
    if model not in known:
        raise ConfigError(f"model {model!r}: there is none. {suggest(model, list(zoo.names()))}")
    return known[model].path, known[model].name


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
    model, name = model_of(space, asked.model)
    options = ["--fit", asked.fit]
    options += ["--by", asked.by] if asked.by is not None else []
    options += ["-n", str(asked.limit)] if asked.limit is not None else []
    job_id = space.jobs.new_id()
    words = ("decompose", model, images.path, "--out", str(space.jobs.out(job_id)), *options)
    shown = shlex.join(["delaminate", "decompose", name, images.name, "--out", "scenes", *options])
    total = min(count_of(space, images), asked.limit or 2**31)
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


@api.post("/jobs/{job}/pause")
def pause_job(space: Space, job: Id) -> JobRow:
    """Let a job stand still; `resume` goes on at once, and time that was given to it passes meanwhile."""
    space.jobs.pause(job)
    return get_job(space, job)


@api.post("/jobs/{job}/resume")
def resume_job(space: Space, job: Id) -> JobRow:
    """Go on with a job that was paused, stopped, lost with the machine, or failed."""
    space.jobs.resume(job)
    return get_job(space, job)


@api.delete("/jobs/{job}")
def remove_job(space: Space, job: Id) -> JobList:
    """Remove a job that has ended, with what it has made."""
    made = [each for each in space.projects() if each.job == job]
    if space.jobs.state(job) not in ACTIVE:
        for each in made:
            space.forget(each.id)
    space.jobs.remove(job)
    return list_jobs(space)


@api.get("/jobs/{job}/metrics")
def get_metrics(space: Space, job: Id, since: Annotated[int, Query(ge=-1, le=2**53)] = -1) -> MetricsAnswer:
    """Read the figures of a training after a step."""
    space.jobs.get(job)
    return MetricsAnswer(
        rows=value_without_places(space.jobs.metrics(job, since)[:100_000]), previews=space.jobs.previews(job)
    )


@api.get("/jobs/{job}/previews/{step}.png", response_class=Response, responses=PNG)
def get_preview(space: Space, request: Request, job: Id, step: Annotated[int, Path(ge=0, lt=10**8)]) -> Response:
    """A picture of how a training is going."""
    space.jobs.get(job)
    path = space.jobs.training(job) / "previews" / f"{step:08d}.png"
    try:
        data = path.read_bytes()
    except OSError:
        raise ConfigError(f"job {job}: no picture of step {step}.") from None
    return picture_answer(request, f"preview-{job}-{step}-{len(data)}", lambda: data)


@api.get("/jobs/{job}/live")
def get_live(space: Space, job: Id) -> LiveAnswer:
    """The sprites of a training as they are now."""
    space.jobs.get(job)
    found = space.jobs.live(job)
    pictures = [f"data:image/png;base64,{each}" for each in found.get("sprites", ())]
    return LiveAnswer(
        stage=found.get("stage"), figures=found.get("figures", {}), count=found.get("count", 0), sprites=pictures
    )


@api.get("/jobs/{job}/comparison")
def get_comparison(space: Space, job: Id) -> ComparisonAnswer:
    """What a comparison that is done has found."""
    made = space.jobs.get(job)
    record = read_record(space.jobs.out(job) / "comparison.json")
    if made.kind != "compare" or record is None:
        raise ConfigError(f"job {job}: expected a comparison that is done.")
    names = {each.path: each.name for each in space.projects()}
    given = made.words[1 : made.words.index("--images")]
    told = value_without_places(record)
    return ComparisonAnswer(
        models=[names.get(each, each) for each in given], settings=told["settings"], figures=told["figures"]
    )


@api.get("/jobs/{job}/log")
def get_log(space: Space, job: Id) -> LogAnswer:
    """The end of what a job said."""
    space.jobs.get(job)
    return LogAnswer(text=without_places(space.jobs.log(job)))


def described(space: Workspace) -> list[dict[str, Any]]:
    """All jobs as they are told to pages that listen."""
    space.made_by_jobs()
    return [job_row(space, each).model_dump() for each in space.jobs.all()]

"""Jobs: trainings, decompositions and exports as processes of their own, which are the library's commands.

    JOBS/<id>/job.json      what it is: kind, words of the command, projects
    JOBS/<id>/lock          held while it runs: who finds it free knows that the job has ended, however that happened
    JOBS/<id>/ended.json    exit code and time
    JOBS/<id>/log.txt       what it said
    JOBS/<id>/out/          what it makes: a run, scenes, files

A page, or the server, may go away meanwhile: the job goes on, and whoever looks at the folder again finds it. `Jobs` is the
server's side; the same module, run as a program with a job's folder, runs its command and writes down how it ended.
"""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

try:
    import fcntl as locks
except ImportError:  # Windows
    locks = None  # type: ignore[assignment]

from delaminate.errors import ConfigError, ConflictError, OutputError

Kind = Literal["auto", "train", "decompose", "export", "compare", "prepare"]
State = Literal["running", "paused", "done", "failed", "stopped", "lost"]
ACTIVE = ("running", "paused")
"""States in which a job's process is there."""
MAX_RUNNING = 2
MAX_JOBS = 1000
STEP = re.compile(r"^(\S+) (\d+)/(\d+): ", re.MULTILINE)
PREVIEW = re.compile(r"[0-9]{8}\.png")
CLIP, IMAGES, PREPARED = "clip.png", "images", "prepared.json"
"""What `data prepare` writes."""
TAIL = 2**16
"""Bytes of a log that are read."""
STARTING = 20.0
"""Seconds in which a job takes its lock."""


@dataclass(frozen=True)
class Job:
    """A job as it was asked for.

    Attributes:
        id: Names its folder.
        kind: auto, train, decompose, export, compare or prepare.
        title: In words.
        words: Of the command, after `delaminate`.
        resume: What more is said when it is gone on with.
        command: The same to be read and copied, without places on this machine.
        source: The project that it works on.
        total: Images it goes through, where that is known; 0: not.
        started: Seconds since 1970.
    """

    id: str
    kind: Kind
    title: str
    words: tuple[str, ...]
    resume: tuple[str, ...]
    command: str
    source: str
    total: int
    started: float


class Jobs:
    """All jobs of a folder.

    Args:
        folder: Of jobs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.Lock()

    def new_id(self) -> str:
        """An id that no job has."""
        return secrets.token_hex(6)

    def place(self, job_id: str) -> Path:
        """Say where a job lies.

        Raises:
            ConfigError: There is no such job.
        """
        path = self.folder / job_id
        if not re.fullmatch(r"[0-9a-f]{12}", job_id) or not (path / "job.json").is_file():
            raise ConfigError(f"no job {job_id!r:.40}.")
        return path

    def out(self, job_id: str) -> Path:
        """Say where a job puts what it makes."""
        return self.folder / job_id / "out"

    def training(self, job_id: str) -> Path:
        """Say where a training's run is: `auto` has it in a folder beside the scenes."""
        out = self.out(job_id)
        return out / "training" if (out / "training").is_dir() else out

    def scenes(self, job_id: str) -> Path:
        """Say where the scenes are that it makes."""
        out = self.out(job_id)
        return out / "scenes" if (out / "scenes" / "scenes").is_dir() or (out / "training").is_dir() else out

    def images(self, job_id: str) -> Path | None:
        """Say where images are that it has made ready; None: there are none yet."""
        out = self.out(job_id)
        found = [place for place in (out / CLIP, out / IMAGES) if place.exists()]
        return found[0] if found and (out / PREPARED).is_file() else None

    def get(self, job_id: str) -> Job:
        """Read what a job is.

        Raises:
            ConfigError: There is no such job, or its file is damaged.
        """
        try:
            value = json.loads((self.place(job_id) / "job.json").read_bytes())
            return Job(**{**value, "words": tuple(value["words"]), "resume": tuple(value["resume"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"job {job_id}: its file is damaged.") from error

    def all(self) -> list[Job]:
        """List jobs, the latest first."""
        found = []
        for path in self.folder.glob("*/job.json"):
            with suppress(ConfigError):
                found.append(self.get(path.parent.name))
        return sorted(found, key=lambda job: job.started, reverse=True)

    def running(self) -> int:
        """Count those that run."""
        return sum(self.state(job.id) == "running" for job in self.all())

    def start(self, job: Job) -> None:
        """Start a job.

        Raises:
            ConflictError: As many run as may, or there are too many.
            OutputError: Its folder cannot be written.
        """
        with self.lock:
            self._check_room()
            if len(list(self.folder.glob("*/job.json"))) >= MAX_JOBS:
                raise ConflictError(f"there are {MAX_JOBS} jobs; remove some of them first.")
            try:
                (self.folder / job.id / "out").mkdir(parents=True)
                (self.folder / job.id / "job.json").write_text(json.dumps(vars(job)), encoding="utf-8")
            except OSError as error:
                raise OutputError(f"jobs: cannot be written ({error.strerror or error}).") from error
            self._run(job.id)

    def pause(self, job_id: str) -> None:
        """Let a job stand still where it is; it keeps its memory.

        Raises:
            ConflictError: It is not running.
            ConfigError: There is no such job.
        """
        path = self.place(job_id)
        if self.state(job_id) != "running" or os.name != "posix":
            raise ConflictError(f"job {job_id}: only what is running can be paused.")
        (path / "paused").touch()
        self._signal(job_id, signal.SIGSTOP)

    def _signal(self, job_id: str, number: int) -> None:
        """Tell a job's processes."""
        with suppress(OSError, ValueError, AttributeError):  # Windows has no groups of processes
            os.killpg(int((self.place(job_id) / "lock").read_text()), number)

    def resume(self, job_id: str) -> None:
        """Go on with a job that was paused, stopped, lost or failed.

        Raises:
            ConflictError: It runs, or as many run as may.
            ConfigError: There is no such job, or it is finished.
        """
        with self.lock:
            state = self.state(job_id)
            if state == "running":
                raise ConflictError(f"job {job_id}: is running.")
            if state == "done":
                raise ConfigError(f"job {job_id}: is finished.")
            self._check_room()
            if state == "paused":
                (self.place(job_id) / "paused").unlink(missing_ok=True)
                self._signal(job_id, signal.SIGCONT)
                return
            for name in ("ended.json", "stopped", "paused"):
                (self.place(job_id) / name).unlink(missing_ok=True)
            self._run(job_id, "--resume")

    def _check_room(self) -> None:
        if self.running() >= MAX_RUNNING:
            raise ConflictError(f"{MAX_RUNNING} jobs are running; wait until one has ended, or stop one.")

    def _run(self, job_id: str, *more: str) -> None:
        command = [sys.executable, "-m", "delaminate.studio.jobs", str(self.place(job_id)), *more]
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        threading.Thread(target=process.wait, daemon=True).start()  # so that it leaves no zombie
        until = time.monotonic() + STARTING
        while time.monotonic() < until and process.poll() is None and not self._held(job_id):
            time.sleep(0.02)

    def stop(self, job_id: str) -> None:
        """Stop a job as Ctrl-C does: what it has made is kept.

        Raises:
            ConfigError: There is no such job.
        """
        path = self.place(job_id)
        state = self.state(job_id)
        if state not in ACTIVE:
            return
        (path / "stopped").touch()
        self._signal(job_id, signal.SIGINT)
        if state == "paused":
            (path / "paused").unlink(missing_ok=True)
            self._signal(job_id, signal.SIGCONT)

    def remove(self, job_id: str) -> None:
        """Remove a job that has ended, with what it has made.

        Raises:
            ConflictError: It is running.
            ConfigError: There is no such job.
        """
        if self.state(job_id) in ACTIVE:
            raise ConflictError(f"job {job_id}: is running; stop it first.")
        shutil.rmtree(self.place(job_id), ignore_errors=True)

    def state(self, job_id: str) -> State:
        """Say whether a job runs, and if not, how it ended."""
        path = self.place(job_id)
        ended = _read_json(path / "ended.json")
        if ended is None:
            return "lost" if not self._held(job_id) else "paused" if (path / "paused").exists() else "running"
        record = _read_json(path / "out" / "auto.json") if ended.get("code") == 1 else None
        if record is not None:  # `auto` ends with 1 where nothing worth having was found, or the time was over
            return "done" if record.get("finished") else "stopped"
        if ended.get("code") == 0:
            return "done" if not (path / "stopped").exists() else "stopped"
        return "stopped" if (path / "stopped").exists() else "failed"

    def _held(self, job_id: str) -> bool:
        """Say whether the job's process holds its lock."""
        path = self.folder / job_id / "lock"
        if locks is None:
            return path.exists() and not (self.folder / job_id / "ended.json").exists()
        try:
            with path.open("rb") as file:
                locks.flock(file, locks.LOCK_SH | locks.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def describe(self, job: Job) -> dict[str, Any]:
        """Say what a job is and how far it is."""
        path = self.folder / job.id
        ended = _read_json(path / "ended.json")
        log = self.log(job.id)
        done, total, stage = self._progress(job, log)
        state = self.state(job.id)
        return {
            "id": job.id, "kind": job.kind, "title": job.title, "command": job.command, "source": job.source,
            "state": state, "started": job.started, "ended": None if ended is None else ended.get("time"),
            "stage": stage, "done": done, "total": total, "previews": self.previews(job.id)[-1:],
            "verdict": self._verdict(job), "error": _last_line(log) if state in ("failed", "lost") else None,
            "live": self._live_stamp(job.id),
        }  # fmt: skip

    def _progress(self, job: Job, log: str) -> tuple[int, int, str | None]:
        """Steps or images that are done, how many there are (0: not known), and the stage."""
        out = self.out(job.id)
        scenes = self.scenes(job.id)
        if job.kind == "auto" and any(scenes.glob("journal*.jsonl")):
            return (
                max(sum(_count_lines(each) for each in scenes.glob("journal*.jsonl")) - 2, 0),
                job.total,
                "taking apart",
            )
        if job.kind in ("train", "auto"):
            rows = [row for row in self.metrics(job.id, -1, 1) if "step" in row]
            told = list(STEP.finditer(log))
            total = int(told[-1][3]) if told else 0
            if rows:
                return int(rows[-1]["step"]), total, str(rows[-1].get("stage"))
            return (int(told[-1][2]), total, told[-1][1]) if told else (0, 0, None)
        if job.kind == "decompose":
            count = sum(_count_lines(each) for each in out.glob("journal*.jsonl"))
            return max(count - 2, 0), job.total, None  # two lines say what it is about
        finished = _read_json(out / "exported.json") or {}
        return len(finished), job.total, None

    def metrics(self, job_id: str, since: int = -1, last: int | None = None) -> list[dict[str, Any]]:
        """Rows of a training's log after a step of the whole.

        Args:
            job_id: The job.
            since: Only rows after this step.
            last: Only so many, the last ones, from the end of the file.
        """
        path = self.training(job_id) / "metrics.jsonl"
        data = _tail(path, TAIL if last is not None else 2**26)
        found = []
        for line in data.splitlines():
            with suppress(ValueError, TypeError):
                row = json.loads(line)
                if isinstance(row, dict) and row.get("total_step", -1) > since:
                    found.append(row)
        return found if last is None else found[-last:]

    def previews(self, job_id: str) -> list[int]:
        """Steps of which there are pictures."""
        folder = self.training(job_id) / "previews"
        return sorted(int(path.stem) for path in folder.glob("*.png") if PREVIEW.fullmatch(path.name))

    def live(self, job_id: str) -> dict[str, Any]:
        """Sprites and figures of a training as they are while it goes on; empty: there are none yet."""
        return _read_json(self.training(job_id) / "live.json") or {}

    def _live_stamp(self, job_id: str) -> float | None:
        try:
            return (self.training(job_id) / "live.json").stat().st_mtime
        except OSError:
            return None

    def log(self, job_id: str) -> str:
        """The end of what a job said."""
        return _tail(self.folder / job_id / "log.txt", TAIL).decode("utf-8", "replace").replace("\r", "\n")

    def _verdict(self, job: Job) -> dict[str, Any] | None:
        if job.kind == "auto":
            record = _read_json(self.out(job.id) / "auto.json")
            told = ("level", "text", "remarks", "finished")
            return None if record is None else {key: value for key, value in record.items() if key in told}
        found = _read_json(self.out(job.id) / ("verdict.json" if job.kind == "train" else "errors.json"))
        if found is not None and job.kind != "train":
            found.pop("images", None)
        return found


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _tail(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - most, 0))
            return file.read(most)
    except OSError:
        return b""


def _count_lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except OSError:
        return 0


def _last_line(log: str) -> str | None:
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1][:1000] if lines else None


def run(folder: Path, more: Sequence[str] = ()) -> int:
    """Run a job's command, and write down how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command gets it too, and ends in its own way
    lock = (folder / "lock").open("a+b")
    if locks is not None:
        locks.flock(lock, locks.LOCK_EX | locks.LOCK_NB)
    lock.truncate(0)
    lock.write(str(os.getpid()).encode())
    lock.flush()
    job = json.loads((folder / "job.json").read_bytes())
    words = [*job["words"], *(job["resume"] if "--resume" in more else ())]
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "delaminate", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            preexec_fn=_interruptible if os.name == "posix" else None,
        )  # fmt: skip
        code = process.wait()
    temporary = folder / "ended.tmp"
    temporary.write_text(json.dumps({"code": code, "time": time.time()}))
    temporary.replace(folder / "ended.json")
    return code


def _interruptible() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))

"""What the studio knows: projects, open sessions, jobs, uploads; and who wants to hear of changes.

    HOME/projects.json      projects by id: kind, name, place on this machine
    HOME/uploads/<id>/      pictures that were sent, named by what they hold
    HOME/jobs/<id>/         jobs (`jobs`)

Pages speak of ids; where something lies is known here alone.
"""

import asyncio
import hashlib
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from delaminate import zoo
from delaminate.data.clips import is_clip
from delaminate.data.reading import SUFFIXES
from delaminate.data.sets import natural_key
from delaminate.errors import ConfigError, ConflictError, DelaminateError
from delaminate.files import json_bytes, write_atomic
from delaminate.scene.format import SUMMARY
from delaminate.studio.jobs import ACTIVE, Jobs
from delaminate.studio.looking import Looker
from delaminate.studio.reading import Reader
from delaminate.studio.session import Change, Session

Kind = Literal["scenes", "images", "run", "model"]
IDLE = 1.0
"""Seconds after an edit until files follow."""
LOOKED_AT = 5.0
"""Seconds after which a folder of images is looked through again."""
NAMES = "names.json"
MAX_LISTENERS = 16
MAX_WAITING = 1000
"""Events that a listener may be behind."""


@dataclass(frozen=True)
class Project:
    """Something that is open in the studio.

    Attributes:
        id: Names it in the API.
        kind: scenes, images, run or model.
        name: What people read.
        path: Where it lies; pages never hear of it.
        images: The project of the images that scenes were made of; None: not known.
        job: The job that made it; None: none did.
        opened: Seconds since 1970.
    """

    id: str
    kind: Kind
    name: str
    path: str
    images: str | None
    job: str | None
    opened: float


def home_folder() -> Path:
    """Say where the studio keeps what it knows: DELAMINATE_STUDIO, else the user's folder for data."""
    named = os.environ.get("DELAMINATE_STUDIO")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(named) if named else Path(base) / "delaminate" / "studio"


def kind_of(path: Path) -> Kind:
    """Say what lies at a place.

    Raises:
        ConfigError: Nothing, or nothing that can be opened.
    """
    if (path / SUMMARY).is_file():
        return "scenes"
    if (path / "config.yaml").is_file():
        return "run"
    if (path / "config.json").is_file():
        return "model"
    if path.is_dir() or is_clip(path) or (path.is_file() and path.suffix.lower() in SUFFIXES):
        return "images"
    raise ConfigError(f"studio: {path} is neither scenes, a run, a model, nor images.")


def scene_id(name: str) -> str:
    """The id of a scene or an image: it names nothing on the disk."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class Workspace:
    """Everything that a server of the studio holds.

    Args:
        home: Where it keeps it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "uploads").mkdir(parents=True, exist_ok=True)
        self.epoch = secrets.token_hex(4)  # in the tags of pictures, so that another server's are not taken for them
        self.jobs = Jobs(home / "jobs")
        self.reader = Reader()
        self.looker = Looker(lambda project: self.publish({"type": "recognition", "project": project}))
        self.started_in = Path.cwd()
        self.orders: dict[tuple[str, int], Any] = {}
        self.lock = threading.RLock()
        self.sessions: dict[str, Session] = {}
        self.scene_names: dict[str, dict[str, str]] = {}
        self._images: dict[str, tuple[float, dict[str, tuple[str, Path]]]] = {}
        self.listeners: list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[dict[str, Any]]]] = []
        self._ending = threading.Event()
        self._saving: threading.Thread | None = None

    # Projects

    def projects(self) -> list[Project]:
        """List projects, the latest first; those whose place is gone are left out."""
        try:
            rows = json.loads((self.home / "projects.json").read_bytes())["projects"]
            found = [Project(**row) for row in rows]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return sorted((each for each in found if Path(each.path).exists()), key=lambda each: each.opened, reverse=True)

    def project(self, project_id: str, *kinds: Kind) -> Project:
        """Find a project.

        Raises:
            ConfigError: There is none, or it is of another kind.
        """
        for each in self.projects():
            if each.id == project_id:
                if kinds and each.kind not in kinds:
                    raise ConfigError(f"project {project_id}: is of kind {each.kind}; expected {' or '.join(kinds)}.")
                return each
        raise ConfigError(f"no project {project_id!r:.40}.")

    def open(self, path: Path, kind: Kind, name: str, images: str | None = None, job: str | None = None) -> Project:
        """Make a project of what lies at a place, or find it again."""
        with self.lock:
            place = str(path.resolve())
            known = {each.path: each for each in self.projects()}
            old = known.get(place)
            project = Project(
                old.id if old is not None else secrets.token_hex(6), kind, name, place,
                images if images is not None or old is None else old.images, job if job is not None or old is None else old.job,
                time.time(),
            )  # fmt: skip
            known[place] = project
            self._write(list(known.values()))
        self.publish({"type": "project", "project": project.id})
        return project

    def forget(self, project_id: str) -> None:
        """Take a project from the list; uploads are removed, other files stay.

        Raises:
            ConfigError: There is no such project.
            ConflictError: A job works on it.
        """
        project = self.project(project_id)
        if any(job.source == project_id and self.jobs.state(job.id) in ACTIVE for job in self.jobs.all()):
            raise ConflictError(f"project {project_id}: a job works on it; stop that first.")
        with self.lock:
            session = self.sessions.pop(project_id, None)
            if session is not None:
                session.close()
            self._write([each for each in self.projects() if each.id != project_id])
        place = Path(project.path)
        if place.is_relative_to((self.home / "uploads").resolve()):
            shutil.rmtree(
                self.home / "uploads" / place.relative_to((self.home / "uploads").resolve()).parts[0],
                ignore_errors=True,
            )
        self.looker.forget(project_id)
        self.publish({"type": "project", "project": project_id})

    def _write(self, projects: list[Project]) -> None:
        write_atomic(self.home / "projects.json", json_bytes({"projects": [asdict(each) for each in projects]}))

    def open_given(self, given: str) -> Project:
        """Make a project of what stands on the command line: a place, or a model in the box."""
        if given in zoo.names():
            return self.open(zoo.folder(given), "model", given)
        path = Path(given)
        return self.open(path, kind_of(path), path.resolve().name)

    def made_by_jobs(self) -> None:
        """Make projects of what jobs have finished."""
        known = {(each.job, each.kind) for each in self.projects()}
        for job in self.jobs.all():
            run, scenes = self.jobs.training(job.id), self.jobs.scenes(job.id)
            if job.kind in ("train", "auto") and (job.id, "run") not in known and (run / "config.yaml").is_file():
                self.open(run, "run", job.title, job.source, job.id)
            if job.kind == "prepare" and (job.id, "images") not in known and (made := self.jobs.images(job.id)):
                self.open(made, "images", job.title, job.source, job.id)
            wanted = job.kind in ("decompose", "auto") and (job.id, "scenes") not in known
            if wanted and (scenes / SUMMARY).is_file() and self.jobs.state(job.id) not in ACTIVE:
                self.open(scenes, "scenes", job.title, job.source, job.id)

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """A place for something that is being sent; it is removed in the end."""
        folder = self.home / "incoming"
        folder.mkdir(exist_ok=True)
        place = folder / secrets.token_hex(8)
        try:
            yield place
        finally:
            place.unlink(missing_ok=True)

    # Scenes

    def session(self, project_id: str) -> Session:
        """The session of a project of scenes, opened when it is first asked for.

        Raises:
            ConfigError: There is no such project, its scenes are packed, or another program has them open.
            FormatError: They are damaged.
        """
        with self.lock:
            project = self.project(project_id, "scenes")
            if project_id not in self.sessions:
                self.sessions[project_id] = Session(Path(project.path))
                self.scene_names[project_id] = {}
            return self.sessions[project_id]

    def scene_name(self, project_id: str, scene: str) -> str:
        """The name of a scene, by its id.

        Raises:
            ConfigError: There is none.
        """
        session = self.session(project_id)
        names = self.scene_names[project_id]
        if len(names) != len(session.names):
            names = self.scene_names[project_id] = {scene_id(name): name for name in session.names}
        if scene not in names:
            raise ConfigError(f"no scene {scene!r:.40} in this project.")
        return names[scene]

    def changed(self, project_id: str, change: Change) -> None:
        """Tell everybody that scenes have changed."""
        scenes = None if change.scenes is None else [scene_id(name) for name in change.scenes]
        sprites = None if change.sprites is None else list(change.sprites)
        told = {
            "type": "change",
            "project": project_id,
            "revision": change.revision,
            "scenes": scenes,
            "sprites": sprites,
        }
        self.publish(told)

    # Images

    def images(self, project: Project) -> dict[str, tuple[str, Path]]:
        """Names and files of a project's images by their ids, in their order; as they were some seconds ago."""
        known = self._images.get(project.id)
        if known is None or time.monotonic() - known[0] > LOOKED_AT:
            known = self._images[project.id] = time.monotonic(), self._look_for_images(Path(project.path))
        return known[1]

    def _look_for_images(self, path: Path) -> dict[str, tuple[str, Path]]:
        if path.is_file():
            return {scene_id(path.name): (self.shown_names(path.parent).get(path.name, path.name), path)}
        inside = path.resolve()
        files = [
            each for each in path.rglob("*")
            if each.suffix.lower() in SUFFIXES and each.is_file() and not each.name.startswith(".")
            and each.resolve().is_relative_to(inside)
        ]  # fmt: skip
        names = sorted((each.relative_to(path).as_posix() for each in files), key=natural_key)
        shown = self.shown_names(path)
        return {scene_id(name): (shown.get(name, name), path / name) for name in names}

    def shown_names(self, path: Path) -> dict[str, str]:
        """What images were called that were sent, by their files' names."""
        if not path.is_relative_to((self.home / "uploads").resolve()):
            return {}
        try:
            value = json.loads((path.parent / NAMES).read_bytes())
        except (OSError, ValueError):
            return {}
        return {str(key): str(name) for key, name in value.items()} if isinstance(value, dict) else {}

    def original_of(self, project: Project, name: str) -> tuple[Path, int] | None:
        """The file that a scene was made of, and which frame of it; None: not known."""
        if project.images is None:
            return None
        with suppress(ConfigError):
            images = Path(self.project(project.images).path)
            frame = re.fullmatch(r"frame-([0-9]{1,9})", name)
            if images.is_file():
                return images, int(frame[1]) if frame else 0
            if (images / name).is_file() and (images / name).resolve().is_relative_to(images.resolve()):
                return images / name, 0
            found = [path for _, path in self.images(self.project(project.images)).values() if path.stem == name]
            if len(found) == 1:  # scenes may be named without the ending
                return found[0], 0
        return None

    # Who listens

    def listen(self) -> asyncio.Queue[dict[str, Any]]:
        """Hear of changes from now on.

        Raises:
            ConflictError: Too many do.
        """
        if len(self.listeners) >= MAX_LISTENERS:
            raise ConflictError(f"{MAX_LISTENERS} pages listen already; close one of them.")
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_WAITING)
        self.listeners.append((asyncio.get_running_loop(), queue))
        return queue

    def leave(self, queue: asyncio.Queue[dict[str, Any]]) -> None:
        """Hear no more."""
        self.listeners = [each for each in self.listeners if each[1] is not queue]

    def publish(self, event: dict[str, Any]) -> None:
        """Tell all listeners, from any thread."""
        for loop, queue in list(self.listeners):
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(_offer, queue, event)

    # Files follow

    def start(self) -> None:
        """Begin to save in the background."""
        self._saving = threading.Thread(target=self._save_now_and_then, daemon=True)
        self._saving.start()

    def _save_now_and_then(self) -> None:
        while not self._ending.wait(IDLE / 2):
            for project_id, session in list(self.sessions.items()):
                self.follow(project_id, session)

    def follow(self, project_id: str, session: Session, now: bool = False) -> None:
        """Save a session that has not been touched for a moment, and take up what was painted elsewhere.

        What goes wrong is told with the project, and tried again after the next edit.
        """
        try:
            change = session.take_painted()
            if change is not None:
                self.changed(project_id, change)
            if session.unsaved and (now or (session.problem is None and time.monotonic() - session.touched > IDLE)):
                session.save()
                session.problem = None
                self.publish({"type": "saved", "project": project_id, "revision": session.revision})
        except (DelaminateError, OSError) as error:
            if session.problem != str(error):
                session.problem = str(error)
                self.publish({"type": "problem", "project": project_id})

    @property
    def ending(self) -> bool:
        """Whether the server is about to end."""
        return self._ending.is_set()

    def close(self) -> None:
        """Save everything, and let go."""
        self._ending.set()
        self.publish({"type": "end"})
        if self._saving is not None:
            self._saving.join()
        with self.lock:
            for session in self.sessions.values():
                with suppress(DelaminateError, OSError):  # the history has it all
                    session.close()
            self.sessions.clear()
        self.reader.close()
        self.looker.close()


def _offer(queue: "asyncio.Queue[dict[str, Any]]", event: dict[str, Any]) -> None:
    """Put an event into a queue; who is too far behind is told to load everything again."""
    if queue.full():
        while not queue.empty():
            queue.get_nowait()
        event = {"type": "reload"}
    queue.put_nowait(event)

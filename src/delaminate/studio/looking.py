"""What images are, and what suits them: found out in a process of its own, one project after another."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from delaminate.errors import DataError
from delaminate.studio.reading import Reader
from delaminate.studio.texts import value_without_places, without_places

SECONDS = 120.0
"""How long looking at the images of a project may take."""
MOST = 200
"""Projects that are remembered."""


@dataclass(frozen=True)
class Looked:
    """What is known of the images of a project.

    Attributes:
        state: looking, done or failed.
        found: What `Recognition.to_json` says, and the plan's reason and exports; once it is done.
        error: Why it failed.
    """

    state: Literal["looking", "done", "failed"]
    found: dict[str, Any] | None = None
    error: str | None = None


class Looker:
    """Looks at images when it is first asked, and remembers.

    Args:
        tell: Is called with a project's id when its images have been looked at.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.reader = Reader()
        self.known: dict[str, Looked] = {}
        self.lock = threading.Lock()
        self.thread = ThreadPoolExecutor(1, "looking")

    def look(self, project: str, path: Path) -> Looked:
        """Say what is known; the first time somebody asks, looking begins.

        Args:
            project: The id of a project of images.
            path: Where they are.
        """
        with self.lock:
            if project not in self.known:
                while len(self.known) >= MOST:
                    del self.known[next(iter(self.known))]
                self.known[project] = Looked("looking")
                self.thread.submit(self._look, project, path)
            return self.known[project]

    def forget(self, project: str) -> None:
        """Look again when it is next asked."""
        with self.lock:
            self.known.pop(project, None)

    def _look(self, project: str, path: Path) -> None:
        try:
            found = value_without_places(self.reader.ask("recognise", SECONDS, path=str(path)))
            looked = Looked("done", found)
        except DataError as error:
            looked = Looked("failed", error=without_places(" ".join(str(error).split()))[:400])
        except Exception:  # an end of the server, meanwhile
            looked = Looked("failed", error="these images could not be looked at.")
        with self.lock:
            self.known[project] = looked
        self.tell(project)

    def close(self) -> None:
        """End the process."""
        self.thread.shutdown(wait=False, cancel_futures=True)
        self.reader.end()

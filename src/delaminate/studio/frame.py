"""The studio in a notebook: a server of its own, shown in a frame."""

import atexit
import html
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from delaminate.errors import OutputError
from delaminate.scene.saving import save_scenes
from delaminate.scene.scenes import Scene

ADDRESS = re.compile(r"http://127\.0\.0\.1:([0-9]+)/\S+")


class StudioFrame:
    """A studio that runs beside a notebook until `close`, or until Python ends; shown, it is a frame.

    Args:
        given: A folder of scenes, a run, images, a model; or scenes, which are saved to a folder of their own.
        height: Of the frame, in pixels.

    Attributes:
        folder: What is open; edits are saved there. None: a model of the box.
        address: Opens it once, in the frame or in a window.

    Raises:
        OutputError: It does not start.
    """

    def __init__(self, given: str | Path | Sequence[Scene], height: int = 720) -> None:
        self.height = height
        if isinstance(given, str | Path):
            opened = str(given)
        else:
            opened = tempfile.mkdtemp(prefix="delaminate-scenes-")
            save_scenes(given, opened)
        self.folder = Path(opened) if Path(opened).exists() else None
        command = [sys.executable, "-m", "delaminate", "studio", opened, "--no-browser", "--framed"]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = ADDRESS.search(said)
        if found is None:
            self.close()
            raise OutputError(f"studio: does not start. {said.strip()}")
        self.address = found[0].replace("127.0.0.1", "localhost", 1)
        atexit.register(self.close)

    def close(self) -> None:
        """End it; what was edited is saved."""
        self.process.terminate()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _repr_html_(self) -> str:
        address = html.escape(self.address, quote=True)
        return (
            f'<iframe src="{address}" width="100%" height="{self.height}" style="border:1px solid #8884;border-radius:12px" '
            'title="Delaminate studio"></iframe>'
        )

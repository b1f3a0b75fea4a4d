"""The run folder and the live progress: config.yaml, metrics.jsonl, previews/, checkpoint.pt, model/."""

import base64
import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column
from torch import Tensor

from delaminate.errors import FormatError, MissingExtra, OutputError, one_line, reading
from delaminate.files import json_bytes, png_bytes, reduced, to_pixels, write_atomic

PARTS = (
    "config.yaml",
    "metrics.jsonl",
    "checkpoint.pt",
    "report.html",
    "verdict.json",
    "previews",
    "live.json",
    "best",
    "model",
    "tensorboard",
)
"""What a run folder holds."""
LIVE_SPRITES, LIVE_SIDE = 200, 96
"""Sprites that are shown while a training goes on, and their longest side in pixels."""


@runtime_checkable
class Callback(Protocol):
    """Is told how a training goes: stages, steps with their figures, how a long step goes, and notes in words."""

    def stage(self, name: str, step: int, steps: int) -> None: ...

    def step(self, name: str, step: int, figures: dict[str, float]) -> None: ...

    def progress(self, name: str, step: int, figures: Mapping[str, float]) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


class SilentCallback:
    """Shows nothing."""

    def stage(self, name: str, step: int, steps: int) -> None:
        pass

    def step(self, name: str, step: int, figures: dict[str, float]) -> None:
        pass

    def progress(self, name: str, step: int, figures: Mapping[str, float]) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


SHARES = ("explained",)
"""Figures that are shares of 1, shown in per cent."""
SHOWN = ("loss", "check", "active", "idle")
"""Figures on the screen, besides the signals of the method; the others are in metrics.jsonl."""
LARGEST_PREVIEW = 2**24
"""Pixels of a preview: the page about a training shows it."""
WIDE = 110
"""Columns of a terminal from which on there is room for a bar."""
LARGEST_FIGURE = 1e30
LINE_SECONDS = 30.0
"""Where output goes to a file or a pipe there is no bar, but a line every so many seconds."""


class TerminalCallback:
    """Shows a line per stage with a bar, loss, images per second, time left, active and idle sprites.

    Where the terminal is narrow there is no bar, and only the figures go on in a second line. Where there is no terminal,
    a line is printed every half a minute.
    """

    def __init__(self, console: Console | None = None, signals: Sequence[str] = ()) -> None:
        self.shown = {*SHOWN, *signals}
        self.started = self.said = time.monotonic()
        self.steps = 1
        console = console or Console()
        self.bars = Progress(
            TextColumn("[bold]{task.description:<8}"),
            *([BarColumn(bar_width=28)] if console.width >= WIDE else []),
            TextColumn("{task.completed:>6.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", table_column=Column()),  # the one that may be broken
            console=console,
            disable=not console.is_terminal,
        )
        self.bars.start()
        self.task: TaskID | None = None

    def stage(self, name: str, step: int, steps: int) -> None:
        self.task = self.bars.add_task(name, total=steps, completed=step, note="")
        self.started, self.steps = time.monotonic(), steps

    def step(self, name: str, step: int, figures: dict[str, float]) -> None:
        assert self.task is not None
        if not figures:
            self.bars.update(self.task, completed=step)
            return
        shown = [f"{key} {value:.4g}" for key, value in figures.items() if key in self.shown]
        shown.append(f"{figures.get('images_per_second', 0):.0f} images/s")
        self.bars.update(self.task, completed=step, note="  ".join(shown))
        self._line(name, step, "  ".join(shown))

    def progress(self, name: str, step: int, figures: Mapping[str, float]) -> None:
        assert self.task is not None
        said = ", ".join(
            f"{100 * value:.1f} % {key}" if key in SHARES else f"{value:.4g} {key}" for key, value in figures.items()
        )
        self.bars.update(self.task, completed=step, note=said)
        self._line(name, step, said)

    def _line(self, name: str, step: int, said: str) -> None:
        """Print a line now and then, where there are no bars."""
        if self.bars.console.is_terminal or time.monotonic() - self.said < LINE_SECONDS:
            return
        self.said = time.monotonic()
        spent = self.said - self.started
        left = f", about {_duration(spent / step * (self.steps - step))} left" if step else ""
        self.note(f"{name} {step}/{self.steps}: {said}; {_duration(spent)} so far{left}")

    def note(self, text: str) -> None:
        self.bars.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self.bars.stop()


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


class RunLog:
    """Writes what happens in a run folder. Opening one again cuts the log back to the resumed step."""

    def __init__(self, folder: Path, tensorboard: bool = False) -> None:
        self.folder = folder
        self.path = folder / "metrics.jsonl"
        self.writer: Any = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written ({error.strerror}). Choose another --out.") from None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise MissingExtra("--tensorboard", "track") from None
            self.writer = SummaryWriter(str(folder / "tensorboard"))

    def cut(self, total_step: int) -> None:
        """Forget lines at or after a step, so that a resumed log tells one history."""
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text("utf-8", "replace").splitlines():
            found = _parse(line)
            if found is not None and found["total_step"] < total_step:
                kept.append(line)
        write_atomic(self.path, "".join(f"{line}\n" for line in kept).encode())

    def note(self, total_step: int, text: str) -> None:
        """Write what happened in words."""
        self._append({"total_step": total_step, "time": round(time.time(), 2), "note": text})

    def _append(self, line: dict[str, Any]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)  # it may have vanished; what is learned from here on is kept
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror}).") from None

    def log(self, total_step: int, stage: str, step: int, figures: dict[str, float]) -> None:
        self._append({"total_step": total_step, "stage": stage, "step": step, "time": round(time.time(), 2), **figures})
        if self.writer is not None:
            for key, value in figures.items():
                self.writer.add_scalar(f"{stage}/{key}", value, total_step)

    def preview(self, total_step: int, pictures: list[Tensor]) -> None:
        """Save rows of pictures, each (N, 3, H, W) in [0, 1], as one PNG."""
        rows = [_row(row.detach().cpu().clamp(0, 1).numpy()) for row in pictures]
        width = max(row.shape[1] for row in rows)
        rows = [np.pad(row, ((0, 2), (0, width - row.shape[1]), (0, 0)), constant_values=0.12) for row in rows]
        picture = Image.fromarray((np.concatenate(rows) * 255).round().astype(np.uint8))
        shrink = math.ceil(math.sqrt(picture.width * picture.height / LARGEST_PREVIEW))
        picture = picture.reduce(shrink) if shrink > 1 else picture  # rows of whole pages
        buffer = io.BytesIO()
        scale = max(1, 1200 // max(picture.width, 1))
        picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(buffer, "PNG")
        write_atomic(self.folder / "previews" / f"{total_step:08d}.png", buffer.getvalue())

    def live(self, stage: str, figures: Mapping[str, float], sprites: Sequence[Tensor]) -> None:
        """Show the sprites of a training that goes on: `live.json`, with their pictures as PNG in base64.

        Args:
            stage: Which stage it is.
            figures: How it goes.
            sprites: Each (4, h, w), RGBA in [0, 1].
        """
        pictures = [
            base64.b64encode(png_bytes(reduced(to_pixels(each), LIVE_SIDE))).decode() for each in sprites[:LIVE_SPRITES]
        ]
        document = {"stage": stage, "figures": dict(figures), "count": len(sprites), "sprites": pictures}
        write_atomic(self.folder / "live.json", json_bytes(document))

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def _row(pictures: np.ndarray) -> np.ndarray:
    framed = np.pad(pictures.transpose(0, 2, 3, 1), ((0, 0), (0, 0), (0, 2), (0, 0)), constant_values=0.12)
    return np.concatenate(list(framed), 1)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read metrics.jsonl, passing over lines that were cut short, or are none of ours.

    Returns:
        Lines with `total_step`, and a `note`, or a `stage` and figures.

    Raises:
        FormatError: There is no such file.
    """
    path = folder / "metrics.jsonl"
    with reading(path, FormatError, "cannot be read as text"):
        lines = path.read_text("utf-8", "replace").splitlines()
    return [line for line in map(_parse, lines) if line is not None]


def _parse(text: str) -> dict[str, Any] | None:
    """Read a line of the log, its words and numbers alone; None where it was cut short by a kill, or is none of ours."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict):
        return None
    words = {key: one_line(line[key]) for key in ("note", "stage") if isinstance(line.get(key), str)}
    numbers = {
        one_line(key): value
        for key, value in line.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) > LARGEST_FIGURE
    }
    return words | numbers if words and isinstance(numbers.get("total_step"), int) else None

"""Shared by the verbs that fill a folder: nothing that is there is written over unasked, and scenes come in batches."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from delaminate.scene.scenes import Scene

ERRORS = "errors.json"
SCENE_PARTS = ("summary.json", ERRORS, "dictionary", "scenes", "residuals")
"""What a folder of scenes holds; the summary is removed first, for without it there are no scenes."""


def make_room(out: Path, again: bool, parts: Sequence[str], precious: Sequence[str], held: str) -> None:
    """Remove what an earlier call has left in a folder, if that is asked for. Nothing else is touched.

    Args:
        out: The folder.
        again: Whether it is asked for.
        parts: Files and folders that such a call leaves.
        precious: Those of them by which one sees that a call has left something.
        held: What that is, and what could be done with it, in words.

    Raises:
        ConfigError: The folder holds something, and it is not asked for.
        OutputError: It is no folder.
    """
    import shutil

    from delaminate.errors import ConfigError, OutputError

    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; --out takes a folder.")
    if not any((out / part).exists() for part in precious):
        return
    if not again:
        raise ConfigError(f"{out}: holds {held}, choose another --out, or remove it and begin anew with --again.")
    for part in (out / name for name in parts):
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def make_room_for_scenes(out: Path, again: bool) -> None:
    """Make room for scenes, as `make_room` does."""
    held = "scenes already, maybe edited by hand. Export or recompose them"
    make_room(out, again, SCENE_PARTS, SCENE_PARTS[:1], held)


def refuse_files(paths: Sequence[Path], again: bool) -> None:
    """Leave files alone that are there and would be written over, unless that is asked for.

    Raises:
        ConfigError: One is there, and it is not asked for.
    """
    from delaminate.errors import ConfigError

    found = [path for path in paths if path.exists()]
    if found and not again:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise ConfigError(f"{found[0]}: is there already{more}. Choose another --out, or write over it with --again.")


def save_more(scenes: "list[Scene]", folder: Path, whole: dict[str, Any], rate: float | None = None) -> None:
    """Save a batch of scenes, and add its summary to that of the batches before, which begins empty."""
    from delaminate.scene.document import save_scenes

    save_scenes(scenes, folder, rate)
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    if not whole:
        whole.update(summary)
        return
    whole["scenes"] += summary["scenes"]
    for old, new in zip(whole["dictionary"], summary["dictionary"], strict=True):
        old["used"] += new["used"]

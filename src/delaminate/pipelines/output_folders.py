"""Folders that results go to: what is there is not written over unasked."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from delaminate.errors import ConfigError, OutputError
from delaminate.scene.format import MAX_SCENES

ERRORS = "errors.json"
EXPORTED = "exported.json"
"""Beside exported files, what is finished."""
SCENE_PARTS = ("summary.json", "journal*.jsonl", ERRORS, "dictionary", "scenes", "residuals", "packs", "edits")
"""What a folder of scenes holds; the summary is removed first, for without it there are no scenes."""


def make_room(out: Path, overwrite: bool, parts: Sequence[str], precious: Sequence[str], held: str) -> None:
    """Remove what an earlier call has left in a folder, if that is asked for. Nothing else is touched.

    Args:
        out: The folder.
        overwrite: Whether it is asked for.
        parts: Files and folders that such a call leaves: their names, or patterns of them.
        precious: Those of them by which one sees that a call has left something.
        held: What that is, and what could be done with it, in words.

    Raises:
        ConfigError: The folder holds something, and it is not asked for.
        OutputError: It is no folder.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; --out takes a folder.")
    if not any(any(out.glob(part)) for part in precious):
        return
    if not overwrite:
        raise ConfigError(f"{out}: holds {held}, choose another --out, or replace it with --overwrite.")
    for part in [path for name in parts for path in out.glob(name)]:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def make_room_for_scenes(out: Path, overwrite: bool, count: int, beside: bool = False) -> None:
    """Make room for so many scenes, as `make_room` does.

    Args:
        out, overwrite: As of `make_room`.
        count: How many will be there.
        beside: Those that are there stay, and others come beside them.

    Raises:
        ConfigError: The folder holds scenes, and it is not asked for; or they are more than could be read again.
        OutputError: It is no folder.
    """
    if count > MAX_SCENES:
        raise ConfigError(
            f"{out}: would hold {count:,} scenes; expected at most {MAX_SCENES:,} in a folder. Make them in parts, each "
            "with an --out of its own (-n takes fewer)."
        )
    held = "scenes already, maybe edited by hand. Go on with them by `decompose --resume`, export or recompose them"
    make_room(out, overwrite, SCENE_PARTS, () if beside else SCENE_PARTS[:2], held)


def read_record(path: Path) -> dict[str, Any] | None:
    """What an earlier call has noted of itself in a JSON file; None: there is no such note."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def refuse_files(paths: Sequence[Path], overwrite: bool) -> None:
    """Leave files alone that are there and would be written over, unless that is asked for.

    Raises:
        ConfigError: One is there, and it is not asked for.
    """
    found = [path for path in paths if path.exists()]
    if found and not overwrite:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise ConfigError(
            f"{found[0]}: is there already{more}. Choose another --out, or write over it with --overwrite."
        )

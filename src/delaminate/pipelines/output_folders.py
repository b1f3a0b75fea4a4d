"""Shared by the verbs that fill a folder: what is there is not written over unasked, and is counted when they are stopped."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from delaminate.scene.saving import SceneWriter

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


def make_room_for_scenes(out: Path, again: bool, count: int) -> None:
    """Make room for so many scenes, as `make_room` does.

    Raises:
        ConfigError: The folder holds scenes, and it is not asked for; or they are more than could be read again.
        OutputError: It is no folder.
    """
    from delaminate.errors import ConfigError
    from delaminate.scene.format import MAX_SCENES

    if count > MAX_SCENES:
        raise ConfigError(
            f"{out}: would hold {count:,} scenes; expected at most {MAX_SCENES:,} in a folder. Make them in parts, each "
            "with an --out of its own (-n takes fewer)."
        )
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


@contextmanager
def counted_if_stopped(writer: "SceneWriter", count: int) -> Iterator[None]:
    """When the user stops what runs within, say how many scenes there are by then."""
    import typer

    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"Stopped: {len(writer)} of {count} scenes are in {writer.folder}.", err=True)
        raise

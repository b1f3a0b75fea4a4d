"""Scenes from files of their own into few large ones, and back: the same bytes, in other places."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from delaminate.engine.record import Callback
from delaminate.errors import ConfigError, OutputError
from delaminate.files import json_bytes, remove_leftovers, write_atomic
from delaminate.pipelines.journal import journals
from delaminate.pipelines.output_folders import ERRORS, SCENE_PARTS, make_room
from delaminate.scene.format import SUMMARY, residual_file
from delaminate.scene.loading import load_dictionary, read_files, read_residual
from delaminate.scene.packing import Packed, PackWriter
from delaminate.scene.saving import AT_A_TIME, remove_packs
from delaminate.scene.summary import read_summary

Files = dict[str, bytes]
"""Of one scene, by their names from the folder."""


def pack_scenes(
    scenes: str | Path, out: str | Path, *, overwrite: bool = False, callback: Callback | None = None
) -> int:
    """Pack scenes into few large files, for collections of many images: 1,024 scenes in an archive (tar).

    `load_scenes` and everything that takes a folder of scenes takes both kinds. Any program opens the archives: taken apart
    side by side, they are the folder that they were packed from.

    Args:
        scenes: A folder of scenes.
        out: Another folder, for the packed ones: with the dictionary, residuals and the journal of `decompose`.
        overwrite: Remove the scenes in `out`.
        callback: Is told how far it is.

    Returns:
        How many scenes there are.

    Raises:
        ConfigError: They are packed already, or `out` holds scenes.
        FormatError: A file is missing, too large or not what it claims to be.
        OutputError: A file cannot be written.
    """
    source, target = Path(scenes), Path(out)

    def put(batch: Sequence[Files]) -> Sequence[Packed | None]:
        return writer.append(batch)

    count, begin = _prepare(source, target, overwrite, packed=False)
    writer = PackWriter(target)
    places = _copy(begin, put, callback, count)
    remove_packs(target, {place[0] for place in places if place is not None})
    _finish(source, target, places)
    return count


def unpack_scenes(
    scenes: str | Path, out: str | Path, *, overwrite: bool = False, callback: Callback | None = None
) -> int:
    """Give packed scenes files of their own again: the opposite of `pack_scenes`, to the byte.

    Args, returns and errors: As of `pack_scenes`; scenes that are not packed are refused.
    """
    source, target = Path(scenes), Path(out)

    def put(batch: Sequence[Files]) -> Sequence[Packed | None]:
        for files in batch:
            for name, data in files.items():
                write_atomic(target / name, data)
        return [None] * len(batch)

    count, begin = _prepare(source, target, overwrite, packed=True)
    _finish(source, target, _copy(begin, put, callback, count))
    return count


def _prepare(source: Path, target: Path, overwrite: bool, packed: bool) -> tuple[int, Iterator[Files]]:
    """Make room, and read the files of each scene, its residual first and its document last."""
    places = read_summary(source).places
    if any((place is not None) != packed for place in places.values()):
        raise ConfigError(f"{source}: its scenes {'lie in files of their own' if packed else 'are packed'} already.")
    if source.resolve() == target.resolve():
        raise ConfigError(f"{target}: is the folder itself; expected another --out.")
    make_room(target, overwrite, SCENE_PARTS, SCENE_PARTS[:2], "scenes already")
    remove_leftovers(target)

    def read() -> Iterator[Files]:
        for name, place in places.items():
            residual = None if place is not None else read_residual(source, name)
            beside = {} if residual is None else {residual_file(name): residual}
            yield {**beside, **read_files(source, name, place)}

    return len(places), read()


def _copy(
    scenes: Iterator[Files],
    put: Callable[[Sequence[Files]], Sequence[Packed | None]],
    callback: Callback | None,
    count: int,
) -> list[Packed | None]:
    """Write the files of scenes, some scenes at a time; say where they are."""
    places: list[Packed | None] = []
    if callback is not None:
        callback.stage("scenes", 0, count)
    while batch := [files for _, files in zip(range(AT_A_TIME), scenes, strict=False)]:
        places += put(batch)
        if callback is not None:
            callback.step("scenes", len(places), {})
    return places


def _finish(source: Path, target: Path, places: Sequence[Packed | None]) -> None:
    """Copy what scenes share, and write the summary: with it there are scenes."""
    summary: dict[str, Any] = json.loads((source / SUMMARY).read_bytes())
    load_dictionary(source, summary["dictionary"])  # checks it
    shared = [f"dictionary/{entry['id']}.png" for entry in summary["dictionary"]]
    extra = [path.name for path in (source / ERRORS, *journals(source)) if path.is_file()]
    for name in (*shared, *extra):
        try:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)
        except OSError as error:
            raise OutputError(f"{target / name}: cannot be written ({error.strerror or error}).") from error
    for row, place in zip(summary["scenes"], places, strict=True):
        row.pop("pack", None)
        if place is not None:
            row["pack"] = list(place)
    write_atomic(target / SUMMARY, json_bytes(summary))

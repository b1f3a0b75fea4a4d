"""The history of edits of a folder of scenes: unlimited undo on disk, replayed on these scenes or on others.

    SCENES/edits/journal.jsonl      append-only: a line for each edit, undo and redo, and before files are saved their digests
    SCENES/edits/pictures/*.png     pictures that edits bring, named by their SHA-256
    SCENES/edits/base/              files of scenes as they were before the first edit

A line is on the disk before an edit counts. What scenes are now is the base with the edits of the journal that are not undone;
the files in the folder follow when they are saved, so that whatever is killed at any moment, nothing is lost.
"""

import contextlib
import hashlib
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import RawIOBase
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from delaminate.config import suggest
from delaminate.data.reading import read_with_alpha
from delaminate.errors import ConfigError, DataError, FormatError, OutputError
from delaminate.files import from_pixels, png_bytes, remove_leftovers, write_atomic
from delaminate.scene.collection import SceneSet
from delaminate.scene.format import SUMMARY
from delaminate.scene.loading import load_dictionary, load_scene, load_scenes
from delaminate.scene.operations import (
    Operation,
    Picture,
    SceneOperation,
    apply_to_dictionary,
    apply_to_scene,
    operation_document,
    operation_from,
)
from delaminate.scene.packing import is_packed
from delaminate.scene.placements import Dictionary
from delaminate.scene.saving import save_scenes
from delaminate.scene.scenes import Scene
from delaminate.scene.summary import Summary, load_rate, read_summary

try:
    import fcntl as locks
except ImportError:  # Windows
    locks = None  # type: ignore[assignment]

EDITS, JOURNAL, PICTURES, BASE = "edits", "journal.jsonl", "pictures", "base"
FORMAT, VERSION = "delaminate-edits", 1
MAX_OPERATIONS = 20_000
"""Of one edit."""
PICTURE = re.compile(r"[0-9a-f]{64}")

Edit = tuple[Operation, ...]
"""Operations that are done and undone together."""


@dataclass
class Position:
    """Where a journal stands.

    Attributes:
        edits: Those that are done, and then those that could be done again.
        done: How many are done.
        revision: Lines so far that changed something: it only grows.
        written: Digests of all that was ever saved, by file.
    """

    edits: list[Edit]
    done: int
    revision: int
    written: dict[str, set[str]]

    def take(self, line: Mapping[str, Any], where: str) -> None:
        """Follow a line.

        Raises:
            FormatError: It makes no sense here.
        """
        if isinstance(line.get("saved"), dict):
            for name, digest in line["saved"].items():
                self.written[str(name)].add(str(digest))
            return
        if isinstance(line.get("edit"), list):
            edit = tuple(operation_from(each, where) for each in line["edit"])
            self.edits[self.done :] = [edit]
            self.done += 1
        elif line.get("undo") is True and self.done:
            self.done -= 1
        elif line.get("redo") is True and self.done < len(self.edits):
            self.done += 1
        else:
            raise FormatError(f"{where}: is {dict(line)!r:.80}; expected an edit, or an undo or redo that is possible.")
        self.revision += 1


def read_journal(path: Path) -> tuple[Position, int]:
    """Read a journal; a last line that was cut off is left out.

    Returns:
        Where it stands, and how many of its bytes are whole lines.

    Raises:
        FormatError: It is missing or damaged.
    """
    position = Position([], 0, 0, defaultdict(set))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error}).") from error
    whole = data.rfind(b"\n") + 1
    for number, text in enumerate(data[:whole].splitlines(), 1):
        where = f"{path}: line {number}"
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{where} is no JSON. Move the folder {path.parent.name} away to start over.") from error
        if not isinstance(line, dict):
            raise FormatError(f"{where}: is {line!r:.80}; expected an object.")
        if number > 1:
            position.take(line, where)
        elif line != {"format": FORMAT, "version": VERSION}:
            raise FormatError(f"{where}: is no journal of edits of this release.")
    return position, whole


def picture_file(folder: Path, digest: str) -> Path:
    """Say where a picture lies that edits bring.

    Raises:
        ConfigError: That is no digest of a picture.
    """
    if not PICTURE.fullmatch(digest):
        raise ConfigError(
            f"picture {digest!r:.80}: expected the 64 hexadecimal digits that its upload was answered with."
        )
    return folder / PICTURES / f"{digest}.png"


def add_picture(folder: Path, pixels: UInt8[np.ndarray, "h w 4"]) -> str:
    """Keep a picture for edits; say its digest.

    Args:
        folder: Beside the journal.
        pixels: RGBA.
    """
    digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    path = picture_file(folder, digest)
    if not path.exists():
        write_atomic(path, png_bytes(pixels), durable=True)
    return digest


def picture_pixels(path: Path) -> UInt8[np.ndarray, "h w 4"]:
    """Read a picture file as RGBA.

    Raises:
        DataError: It cannot be read.
    """
    pixels = read_with_alpha(path)
    if pixels.shape[2] == 4:
        return pixels
    return np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], 2)


def pictures_of(folder: Path) -> Picture:
    """Find pictures of a folder beside a journal; those of late are kept in memory."""

    @lru_cache(maxsize=64)
    def find(digest: str) -> Float[Tensor, "4 h w"]:
        try:
            return from_pixels(picture_pixels(picture_file(folder, digest)))
        except DataError as error:
            raise ConfigError(f"picture {digest[:12]}: is not there, or cannot be read; send it again.") from error

    return find


def apply(scenes: SceneSet, edits: Sequence[Edit], picture: Picture) -> SceneSet:
    """Do edits on scenes; each scene follows when it is asked for.

    Raises:
        ConfigError, ShapeError: An edit of the dictionary is impossible; others are refused when their scene is made.
    """
    operations, known = [operation for edit in edits for operation in edit], frozenset(scenes.names)
    for operation in operations:
        if isinstance(operation, SceneOperation) and operation.scene not in known:
            raise ConfigError(
                f"edit: no scene {operation.scene!r:.120} here. {suggest(operation.scene, scenes.names)[:300]}"
            )
    dictionaries = apply_to_dictionary(operations, scenes.dictionary, picture)
    last = dictionaries[-1] if dictionaries else scenes.dictionary

    def make(index: int) -> Scene:
        scene = scenes[index]
        for operation, dictionary in zip(operations, dictionaries, strict=True):
            scene = apply_to_scene(operation, scene, dictionary, picture)
        return scene

    return SceneSet(scenes.names, last, make, scenes.durations, scenes.blocks, scenes.residual)


def load_picture(path: Path) -> Float[Tensor, "4 h w"]:
    """Read a picture, RGBA in [0, 1].

    Raises:
        DataError: It cannot be read.
    """
    return from_pixels(picture_pixels(path))


def operate(
    scenes: "str | Path | Sequence[Scene]",
    operation: Mapping[str, Any],
    out: str | Path | None = None,
    picture: Path | None = None,
) -> SceneSet:
    """Do one operation on scenes, such as {"operation": "merge-sprites", "sprite": "sprite-03", "into": "sprite-01"}.

    Args:
        scenes: A folder of scenes, or scenes that share a dictionary.
        operation: As a journal has it (`delaminate.scene.operations`).
        out: Where the scenes are saved; None: where they are, or nowhere if they are in memory.
        picture: The file of its picture, where it brings one.

    Returns:
        The scenes after it.

    Raises:
        ConfigError, ShapeError: It is impossible here; nothing is written then.
    """
    loaded = _load_picture_once(picture) if picture is not None else None
    given = dict(operation) | ({} if picture is None else {"picture": picture.name})
    edit = (operation_from(given, "edit"),)
    from delaminate.pipelines.exporting import as_set  # here, for it brings all methods: the studio opens at once

    source = Path(scenes) if isinstance(scenes, str | Path) else None
    opened = load_scenes(source) if source is not None else as_set(scenes)  # type: ignore[arg-type]
    return save_edited(apply(opened, [edit], loaded or pictures_of(Path())), source, out)


def _load_picture_once(path: Path) -> Picture:
    raster = load_picture(path)
    return lambda name: raster


def replay(scenes: str | Path, journal: str | Path, out: str | Path | None = None) -> tuple[SceneSet, int]:
    """Do the edits of a journal on a folder of scenes: those that are not undone.

    Args:
        scenes: A folder of scenes: others than those that the journal is of, or these themselves as they were before the
            first edit.
        journal: A `journal.jsonl` that the studio wrote, its pictures beside it.
        out: Where the scenes are saved; None: where they are.

    Returns:
        The scenes after the edits, and how many edits were done.

    Raises:
        ConfigError, ShapeError: An edit is impossible on these scenes, or the journal is their own and there is no `out`;
            nothing is written then.
        FormatError: The journal is damaged.
    """
    source, path = Path(scenes), Path(journal)
    own = path.resolve() == (source / EDITS / JOURNAL).resolve()
    position, _ = read_journal(path)
    edits = position.edits[: position.done]
    if not own:
        return save_edited(apply(load_scenes(source), edits, pictures_of(path.parent)), source, out), len(edits)
    if out is None:
        raise ConfigError(
            f"{journal}: is the history of {scenes} itself. Give another --out; `delaminate studio {scenes}` brings the files "
            "themselves to what it says."
        )
    with contextlib.closing(EditHistory(source)) as history:
        return save_edited(apply(history.base_scenes(), edits, history.picture), source, out), len(edits)


def save_edited(changed: SceneSet, source: Path | None, out: str | Path | None) -> SceneSet:
    """Save edited scenes in another folder, or where they came from; nothing if that is memory.

    Every edit is tried before anything is written.
    """
    for _ in changed:
        pass
    target = source if out is None else Path(out)
    if target is not None:
        began = time.time()
        save_scenes(changed, target, None if source is None else load_rate(source))
        remove_sprites(target, changed.dictionary)
        remove_leftovers(target, began)
    return changed


def remove_sprites(folder: Path, dictionary: Dictionary) -> None:
    """Remove pictures of sprites that are no longer in the dictionary."""
    kept = {f"{dictionary.name(entry)}.png" for entry in range(len(dictionary))}
    for path in (folder / "dictionary").glob("*.png"):
        if path.name not in kept and re.fullmatch(r"(sprite|background)-[0-9]+\.png", path.name):
            path.unlink(missing_ok=True)


def digest_of(data: bytes) -> str:
    """Take the digest of what a file holds."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def digest_of_file(path: Path) -> str | None:
    """Take the digest of a file; None: there is none that can be read."""
    try:
        return digest_of(path.read_bytes())
    except OSError:
        return None


class EditHistory:
    """The history of a folder of scenes, open for appending.

    Args:
        scenes: The folder.

    Attributes:
        position: Where the journal stands.
        picture: Finds pictures that edits bring.

    Raises:
        ConfigError: The scenes are packed, or another program has the history open.
        FormatError: The folder holds no scenes, or its journal is damaged.
        OutputError: It cannot be written.
    """

    def __init__(self, scenes: Path) -> None:
        if is_packed(scenes):
            raise ConfigError(
                f"{scenes}: its scenes are packed; `delaminate scenes unpack` makes a folder that can be edited."
            )
        read_summary(scenes)
        self.scenes, self.folder = scenes, scenes / EDITS
        self.path, self.base = self.folder / JOURNAL, self.folder / BASE
        self.picture = pictures_of(self.folder)
        try:
            self.folder.mkdir(exist_ok=True)
            self._file: RawIOBase = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error}).") from error
        try:
            self._lock()
            self.position, whole = read_journal(self.path)
            self._file.truncate(whole)
            self._size = whole
            if not whole:
                self._append({"format": FORMAT, "version": VERSION})
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Let others open the history."""
        self._file.close()

    def edit(self, edit: Edit) -> None:
        """Note an edit; it counts when this returns.

        Raises:
            OutputError: It cannot be written; then it does not count.
        """
        self._follow({"edit": [operation_document(each) for each in edit]})

    def undo(self) -> None:
        """Note that the last edit that is done is undone."""
        self._follow({"undo": True})

    def redo(self) -> None:
        """Note that the last edit that was undone is done again."""
        self._follow({"redo": True})

    def saving(self, files: Mapping[str, str]) -> None:
        """Note digests of files that are about to be saved."""
        self._follow({"saved": dict(files)})

    def keep_base(self, files: Iterable[str]) -> None:
        """Keep files as they are, before they are edited for the first time; names from the folder of scenes.

        Raises:
            OutputError: They cannot be kept.
        """
        for name in files:
            source, target = self.scenes / name, self.base / name
            if source.is_file() and not target.exists():
                try:
                    write_atomic(target, source.read_bytes(), durable=True)
                except OSError as error:
                    raise OutputError(f"{target}: cannot be written ({error.strerror or error}).") from error

    def keep_base_of_scene(self, name: str) -> None:
        """Keep the files of a scene, its document last: with it they are whole."""
        place = self.scenes / "scenes" / name
        if not (self.base / "scenes" / name / "scene.json").exists():
            rasters = sorted((place / "layers").glob("*.png"))
            self.keep_base(path.relative_to(self.scenes).as_posix() for path in (*rasters, place / "scene.json"))

    def keep_base_of_dictionary(self) -> None:
        """Keep the dictionary, the summary last."""
        if not (self.base / SUMMARY).exists():
            sprites = sorted((self.scenes / "dictionary").glob("*.png"))
            self.keep_base(path.relative_to(self.scenes).as_posix() for path in (*sprites, self.scenes / SUMMARY))

    def base_dictionary(self) -> Dictionary:
        """The dictionary before the first edit."""
        root = self.base if (self.base / SUMMARY).exists() else self.scenes
        return load_dictionary(root, read_summary(root).entries)

    def base_scene(self, name: str, dictionary: Dictionary) -> Scene:
        """A scene before the first edit; `dictionary` is the base's."""
        kept = (self.base / "scenes" / name / "scene.json").exists()
        return load_scene(self.base if kept else self.scenes, name, dictionary)

    def base_scenes(self) -> SceneSet:
        """All scenes before the first edit, each read when it is asked for."""
        summary: Summary = read_summary(self.scenes)
        names, dictionary = list(summary.places), self.base_dictionary()
        return SceneSet(
            names,
            dictionary,
            lambda index: self.base_scene(names[index], dictionary),
            summary.durations,
            summary.blocks,
        )

    def _follow(self, line: dict[str, Any]) -> None:
        self._append(line | {"time": round(time.time(), 2)})
        self.position.take(line, str(self.path))

    def _append(self, line: dict[str, Any]) -> None:
        data = json.dumps(line, allow_nan=False).encode() + b"\n"
        try:
            done = 0
            while done < len(data):
                done += self._file.write(data[done:])
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):  # half a line would spoil the next one
                self._file.truncate(self._size)
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error}).") from error
        self._size += len(data)

    def _lock(self) -> None:
        if locks is None:
            return
        try:
            locks.flock(self._file, locks.LOCK_EX | locks.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{self.scenes}: is open in another studio. Close it there, or work on a copy."
            ) from error
        except OSError:
            return  # a file system without locks

"""The journal of `decompose`: what has become of each image, so that a call that was cut off can be finished.

    FOLDER/journal.jsonl           of a whole collection
    FOLDER/journal-2-of-4.jsonl    of one shard of it: each process has its own

The first line says what was asked for, the others what was done: the dictionary, then one for each image. Lines are only
appended, when the files of their scenes are there; a last one that is not whole does not count.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import torch

from delaminate.config import to_dict
from delaminate.data import ImageSet
from delaminate.errors import ConfigError, FormatError, OutputError, reading
from delaminate.files import take_rows
from delaminate.methods import Method
from delaminate.pipelines.records import Record, Records, json_line, record_of
from delaminate.pipelines.shards import Shard

locks: ModuleType | None
try:
    import fcntl as locks
except ImportError:  # Windows: two calls in one folder are not noticed there
    locks = None

FORMAT, VERSION = "delaminate-journal", 1
DIGEST = re.compile(rb'"digest": "([0-9a-f]+)"')
NAME = re.compile(r"journal(-[0-9]+-of-[0-9]+)?\.jsonl")

Settings = dict[str, Any]
"""What decides what is found in an image: model (a digest), by, fit, zoom; of pictures also the rate that makes them a clip."""


def journal_path(folder: Path, shard: Shard | None) -> Path:
    """Say where the journal of a collection, or of a shard of it, lies."""
    return folder / ("journal.jsonl" if shard is None else f"journal-{shard[0]}-of-{shard[1]}.jsonl")


def journals(folder: Path) -> list[Path]:
    """List the journals in a folder."""
    return sorted(path for path in folder.glob("journal*.jsonl") if NAME.fullmatch(path.name))


def recorded_settings(folder: Path) -> Settings | None:
    """What the scenes of a folder were asked for with, by the first line of a journal; None: nothing is known."""
    for path in journals(folder):
        with suppress(OSError, ValueError), path.open("rb") as file:
            found = json.loads(file.readline())
            if isinstance(found, dict):
                return found
    return None


def image_digest(images: ImageSet, index: int) -> str:
    """Take the digest of an image as it is decomposed, and of where it lies in its original."""
    told = f"{images.canvas_maps[index]} {images.transparent} {tuple(images.pixels.shape[1:])}".encode()
    pixels = take_rows(images.pixels, torch.tensor([index])).cpu()
    return hashlib.blake2b(pixels.numpy().tobytes() + told, digest_size=16).hexdigest()


def model_digest(method: Method) -> str:
    """Take the digest of a model: its settings and its weights, wherever they lie."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([method.name, to_dict(method.config)], sort_keys=True, default=str).encode())
    for name, tensor in sorted(method.export_state().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Journal:
    """The journal of one call, open for appending, and those of other shards beside it.

    Args:
        folder: The folder of scenes.
        shard: Which part of the collection the call is for.
        settings: What is asked for.

    Attributes:
        records: What is known, by the images' names, from all journals in the folder.
        entries: Id of each dictionary entry, and whether it is a background; None: not known yet.
        begun: There was a journal before.

    Raises:
        ConfigError: What is there was made with other settings, or another call is writing.
        FormatError: A journal is damaged.
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path, shard: Shard | None, settings: Settings) -> None:
        self.folder, self.path, self.settings = folder, journal_path(folder, shard), settings
        self.records = Records()
        self.entries: list[tuple[str, bool]] | None = None
        self._read: dict[Path, tuple[int, int]] = {}
        """By the journal bytes and lines that are known."""
        self._empty = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = self.path.open("a+b")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error}).") from error
        try:
            _lock(self._file, self.path)
            self._empty = self.path.stat().st_size == 0
            if shard is None:
                self._wait_for_nobody()
            self.read()
            own = self._read[self.path][0]
            self._file.truncate(own)
            self.begun = any(size for size, _ in self._read.values())
            self._empty = not own
            if not own:
                self._append([json_line({"format": FORMAT, "version": VERSION, **settings})])
        except BaseException:
            self.close()
            raise

    def append(self, records: Sequence[Record], entries: Sequence[tuple[str, bool]]) -> None:
        """Write what has become of some images; before the first, which dictionary they share.

        Raises:
            OutputError: It cannot be written.
        """
        if self.entries is None:
            self.entries = list(entries)
            self._append([json_line({"dictionary": self.entries})])
        offset = self._read[self.path][0]
        lines = [record.line for record in records]
        self._append(lines)
        self._empty = self._empty and all(record.saved is None for record in records)
        for record, line in zip(records, lines, strict=True):
            self.records.add(record, self.path, offset)
            offset += len(line)

    def read(self) -> bool:
        """Read what all journals say by now, that of the whole collection last: it goes on with what shards have left.

        Returns:
            Whether that is more than before.

        Raises:
            ConfigError: One was made with other settings.
            FormatError: One is damaged.
        """
        before = dict(self._read)
        for path in journals(self.folder):
            self._read_on(path)
        return self._read != before

    def was_written(self, digest: str) -> bool:
        """Say whether files of this digest are a scene that was ever written here; else somebody has edited it."""
        return digest in self._digests

    @cached_property
    def _digests(self) -> set[str]:
        """Of all scenes that were written before this call; many a call never asks, and they may be a million."""
        found = set()
        for path in journals(self.folder):
            with reading(path, FormatError, "cannot be read"), path.open("rb") as file:
                found |= {match[1].decode() for line in file if (match := DIGEST.search(line)) is not None}
        return found

    def close(self) -> None:
        """Let others write. A journal that tells of no scene is removed: there is nothing to go on with."""
        self._file.close()
        self.records.close()
        if self._empty:
            self.path.unlink(missing_ok=True)
            with suppress(OSError):  # other things are in there
                self.folder.rmdir()

    def _append(self, lines: Sequence[bytes]) -> None:
        try:
            self._file.write(b"".join(lines))
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error}).") from error
        size, count = self._read.get(self.path, (0, 0))
        self._read[self.path] = size + sum(map(len, lines)), count + len(lines)

    def _read_on(self, path: Path) -> None:
        """Read the whole lines of a journal that are not known yet."""
        size, number = self._read.get(path, (0, 0))
        try:
            with path.open("rb") as file:
                file.seek(size)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._take(path, number + 1, size, line)
                    size, number = size + len(line), number + 1
        except OSError as error:
            raise FormatError(f"{path}: cannot be read ({error.strerror or error}).") from error
        self._read[path] = size, number

    def _take(self, path: Path, number: int, offset: int, line: bytes) -> None:
        where = f"{path}: line {number}"
        try:
            value = json.loads(line)
            if number == 1:
                self._check_settings(path, value)
            elif "dictionary" in value:
                self.entries = [(str(name), bool(background)) for name, background in value["dictionary"]]
            else:
                self.records.add(record_of(value, where), path, offset)
        except (FormatError, ConfigError):
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise FormatError(
                f"{where} is damaged ({error!s:.80}). Choose another --out, or start over with --overwrite."
            ) from error

    def _check_settings(self, path: Path, found: Mapping[str, Any]) -> None:
        if found.get("format") != FORMAT or found.get("version") != VERSION:
            raise FormatError(
                f"{path}: is no journal of this release. Choose another --out, or start over with --overwrite."
            )
        for key, asked in self.settings.items():
            was = found.get(key)
            if was != asked:
                shown = "another model" if key == "model" else f"{key} {_shown(was)} instead of {_shown(asked)}"
                raise ConfigError(
                    f"{self.folder}: its scenes were made with {shown}; --resume goes on with the same. Choose another --out, "
                    "or start over with --overwrite."
                )

    def _wait_for_nobody(self) -> None:
        """Make sure that no shard is being written."""
        for path in journals(self.folder):
            if path != self.path:
                with path.open("rb") as file:
                    _lock(file, path)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return "x".join(f"{each:g}" for each in value)
    return "none" if value is None else str(value)


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep other calls out; the lock goes with the process."""
    if locks is None:
        return
    try:
        locks.flock(file, locks.LOCK_EX | locks.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"{path}: another call is writing here. Wait until it has ended, or choose another --out."
        ) from error
    except OSError:
        return  # a file system without locks

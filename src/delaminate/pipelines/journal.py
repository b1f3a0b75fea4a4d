"""The journal of `decompose`: what has become of each image, so that a call that was cut off can be finished.

    FOLDER/journal.jsonl           of a whole collection
    FOLDER/journal-2-of-4.jsonl    of one shard of it: each process has its own

The first line says what was asked for, the others what was done: the dictionary, then one for each image. Lines are only
appended, when the files of their scenes are there; a last one that is not whole does not count.
"""

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import torch

from delaminate.config import to_dict
from delaminate.data import ImageSet
from delaminate.errors import ConfigError, FormatError, OutputError
from delaminate.files import take_rows
from delaminate.methods import Method
from delaminate.pipelines.shards import Shard
from delaminate.pipelines.verdict import ImageTally
from delaminate.scene.loading import place_from
from delaminate.scene.saving import SavedScene

locks: ModuleType | None
try:
    import fcntl as locks
except ImportError:  # Windows: two calls in one folder are not noticed there
    locks = None

FORMAT, VERSION = "delaminate-journal", 1
NAME = re.compile(r"journal(-[0-9]+-of-[0-9]+)?\.jsonl")

Settings = dict[str, Any]
"""What decides what is found in an image: model (a digest), by, fit, zoom."""


@dataclass(frozen=True, slots=True)
class Record:
    """What has become of an image. There may be a million of them in memory.

    Attributes:
        name: Its whole name, which is that of its scene.
        image: Digest of what was decomposed.
        tally: What was found.
        errors: `psnr` and `psnr_original` in dB, unless layers show the image itself.
        scattered: A layer lies in several large parts.
        saved: The scene on disk; None: there is none.
        skipped: Why it became no scene; None: it did.
    """

    name: str
    image: str
    tally: ImageTally
    errors: dict[str, float]
    scattered: bool
    saved: SavedScene | None = None
    skipped: str | None = None


def journal_path(folder: Path, shard: Shard | None) -> Path:
    """Say where the journal of a collection, or of a shard of it, lies."""
    return folder / ("journal.jsonl" if shard is None else f"journal-{shard[0]}-of-{shard[1]}.jsonl")


def journals(folder: Path) -> list[Path]:
    """List the journals in a folder."""
    return sorted(path for path in folder.glob("journal*.jsonl") if NAME.fullmatch(path.name))


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
        written: Digests of all scenes that were ever written: whatever else is there, somebody has edited.
        entries: Id of each dictionary entry, and whether it is a background; None: not known yet.
        begun: There was a journal before.

    Raises:
        ConfigError: What is there was made with other settings, or another call is writing.
        FormatError: A journal is damaged.
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path, shard: Shard | None, settings: Settings) -> None:
        self.folder, self.path, self.settings = folder, journal_path(folder, shard), settings
        self.records: dict[str, Record] = {}
        self.written: set[str] = set()
        self.entries: list[tuple[str, bool]] | None = None
        self._sizes: dict[Path, int] = {}
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
            self._file.truncate(self._sizes[self.path])
            self.begun = any(self._sizes.values())
            self._empty = not self._sizes[self.path]
            if not self._sizes[self.path]:
                self._append([{"format": FORMAT, "version": VERSION, **settings}])
        except BaseException:
            self.close()
            raise

    def append(self, records: Sequence[Record], entries: Sequence[tuple[str, bool]]) -> None:
        """Write what has become of some images; before the first, which dictionary they share.

        Raises:
            OutputError: It cannot be written.
        """
        lines: list[dict[str, Any]] = []
        if self.entries is None:
            self.entries = list(entries)
            lines.append({"dictionary": self.entries})
        self._append(lines + [_line(record) for record in records])
        self._empty = self._empty and all(record.saved is None for record in records)
        self.records.update((record.name, record) for record in records)

    def read(self) -> bool:
        """Read what all journals say by now; say whether that is more than before.

        Raises:
            ConfigError: One was made with other settings.
            FormatError: One is damaged.
        """
        before = dict(self._sizes)
        for path in journals(self.folder):
            try:
                data = path.read_bytes()
            except OSError as error:
                raise FormatError(f"{path}: cannot be read ({error.strerror or error}).") from error
            whole = data.rfind(b"\n") + 1
            if whole != self._sizes.get(path):
                self._take(path, data[:whole])
                self._sizes[path] = whole
        return self._sizes != before

    def close(self) -> None:
        """Let others write. A journal that tells of no scene is removed: there is nothing to go on with."""
        self._file.close()
        if self._empty:
            self.path.unlink(missing_ok=True)
            with suppress(OSError):  # other things are in there
                self.folder.rmdir()

    def _know(self, record: Record) -> None:
        self.records[record.name] = record
        if record.saved is not None:
            self.written.add(record.saved.digest)

    def _append(self, lines: Sequence[dict[str, Any]]) -> None:
        data = b"".join(json.dumps(line, allow_nan=False).encode() + b"\n" for line in lines)
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error}).") from error
        self._sizes[self.path] = self._sizes.get(self.path, 0) + len(data)

    def _take(self, path: Path, data: bytes) -> None:
        for number, line in enumerate(data.splitlines(), 1):
            where = f"{path}: line {number}"
            try:
                value = json.loads(line)
                if number == 1:
                    self._check_settings(path, value)
                elif "dictionary" in value:
                    self.entries = [(str(name), bool(background)) for name, background in value["dictionary"]]
                else:
                    self._know(_record(value, where))
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


@lru_cache(maxsize=2**16)
def _one_of(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return numbers


def _shared(numbers: Sequence[object]) -> tuple[int, ...]:
    """Numbers of which many images have the same."""
    return _one_of(tuple(int(each) for each in numbers))  # type: ignore[call-overload]


def _line(record: Record) -> dict[str, Any]:
    """What `_record` reads; `dataclasses.asdict`, which copies every number, takes ten times as long."""
    tally, saved = record.tally, record.saved
    told = None
    if saved is not None:
        told = {
            "name": saved.name, "layers": saved.layers, "rounding_error": saved.rounding_error, "entries": saved.entries,
            "digest": saved.digest, "place": saved.place,
        }  # fmt: skip
    return {
        "name": record.name, "image": record.image, "tally": {
            "objects": tally.objects, "shown": tally.shown, "there": tally.there, "explained": tally.explained,
            "psnr": tally.psnr,
        }, "errors": record.errors, "scattered": record.scattered, "saved": told, "skipped": record.skipped,
    }  # fmt: skip


def _record(value: Mapping[str, Any], where: str) -> Record:
    tally, saved = value["tally"], value["saved"]
    counted = ImageTally(
        int(tally["objects"]), _shared(tally["shown"]), int(tally["there"]), int(tally["explained"]),
        float(tally["psnr"]),
    )  # fmt: skip
    scene = None
    if saved is not None:
        place = saved["place"]
        scene = SavedScene(
            sys.intern(str(saved["name"])), int(saved["layers"]), float(saved["rounding_error"]), _shared(saved["entries"]),
            str(saved["digest"]), None if place is None else place_from(place, where),
        )  # fmt: skip
    errors = {sys.intern(str(key)): float(number) for key, number in value["errors"].items()}
    skipped = None if value["skipped"] is None else str(value["skipped"])
    return Record(
        sys.intern(str(value["name"])), str(value["image"]), counted, errors, bool(value["scattered"]), scene, skipped
    )

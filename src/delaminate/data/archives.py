"""Archives of images: tar (shards as WebDataset writes them), zip, and tables (Parquet, Arrow) with encoded images.

They come from strangers. Nothing is unpacked to disk, a member's name is never used as a path, and nothing is read that
claims more bytes than `MOST_BYTES`. Each member that cannot be used is one line, and the rest goes on.
"""

import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, Protocol, runtime_checkable

from delaminate.data.places import StoredFile
from delaminate.data.reading import MASK_SUFFIXES, SUFFIXES
from delaminate.data.sets import natural_key
from delaminate.errors import DataError, MissingExtra, one_line

ARCHIVES = frozenset({".tar", ".zip", ".parquet", ".arrow"})
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MOST_BYTES = 2**28
"""Of one member, and of whatever an archive says about itself."""
MOST_ROWS_BYTES = 2**31
"""Of the images in one group of rows of a table, which are read together."""
MOST_MEMBERS = 20_000_000
LONGEST_NAME = 240

Role = Literal["image", "mask", "classes", "class"]
"""What a member is: an image, its label map, its class map, or a text with its class."""
ROLES: tuple[Role, ...] = ("image", "mask", "classes", "class")
PLAIN = (("class", ("cls", "class", "label")), ("key", ("id", "name", "key")))
"""Columns of tables that hold no encoded images; the last one counts."""
FOLDERS: dict[str, Role] = {"images": "image", "masks": "mask", "classes": "classes"}
ENDINGS: dict[str, Role] = {"mask": "mask", "seg": "mask", "instances": "mask", "classes": "classes"}


@dataclass(frozen=True)
class Member:
    """Something in an archive.

    Attributes:
        key: What an image and its labels share.
        role: Which of them it is.
        name: Its whole name.
        place: Two numbers by which the archive finds it.
        problem: Why it cannot be used; empty: it can.
    """

    key: str
    role: Role
    name: str
    place: tuple[int, int]
    problem: str = ""


@runtime_checkable
class Archive(Protocol):
    """An archive that is open."""

    def members(self) -> Iterator[Member]:
        """Images and labels in their order, those of a zip in natural order; other things are passed over."""

    def read(self, place: tuple[int, int]) -> bytes:
        """The content of a member."""

    def close(self) -> None:
        """Let go of the file."""


def open_archive(file: StoredFile) -> Archive:
    """Open an archive by what its name says it is.

    Raises:
        Exception: Of any kind, where it is damaged: see `errors.reading`.
    """
    suffix = PurePosixPath(file.name).suffix.lower()
    opened = file.open()
    try:
        if suffix in (".parquet", ".arrow"):
            return _Table(opened, file, suffix)
        return (_Tar if suffix == ".tar" else _Zip)(_Bounded(opened))
    except BaseException:
        opened.close()
        raise


def role_of(name: str) -> tuple[str, Role] | None:
    """Say what a member is by its name, and which key it has; None: neither image nor label.

    Either by folders, `images/a.png` and `masks/a.png`, or as in WebDataset, where the key ends at the first dot of the
    file's name: `a.jpg`, `a.mask.png` (or `a.seg.png`), `a.classes.png` and `a.cls`.

    >>> role_of("images/x/a.png"), role_of("b/000.mask.png"), role_of("b/000.cls"), role_of("b/000.json")
    (('x/a', 'image'), ('b/000', 'mask'), ('b/000', 'class'), None)
    """
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if any(part.startswith((".", "__MACOSX")) and part != ".." for part in path.parts):
        return None
    for depth, part in enumerate(path.parts[:-1][:2]):
        if part in FOLDERS:
            role, known = FOLDERS[part], SUFFIXES if part == "images" else MASK_SUFFIXES
            return (
                (PurePosixPath(*path.parts[depth + 1 :]).with_suffix("").as_posix(), role) if suffix in known else None
            )
    stem, _, ending = path.name.partition(".")
    key = path.with_name(stem).as_posix() if stem else name
    if ending.lower() == "cls":
        return key, "class"
    kind = ENDINGS.get(ending.lower().split(".")[0])
    if kind is not None and suffix in MASK_SUFFIXES:
        return key, kind
    return (key, "image") if suffix in SUFFIXES else None


def _problem(name: str, num_bytes: int) -> str:
    """Why a member cannot be used, by its name and size alone."""
    parts = re.split(r"[/\\]", name)
    if any(part in ("", ".", "..") for part in parts) or not name.isprintable() or len(name) > LONGEST_NAME:
        return "its name is no plain relative path"
    return f"claims {num_bytes:,} bytes; expected at most {MOST_BYTES:,}" if num_bytes > MOST_BYTES else ""


def _member(name: str, place: tuple[int, int], num_bytes: int) -> Member | None:
    plain = name.removeprefix("./")
    found = role_of(plain)
    return None if found is None else Member(*found, one_line(plain, 200), place, _problem(plain, num_bytes))


class _Bounded(io.RawIOBase):
    """A file of which nobody reads more at a time than a member may have."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def read(self, size: int = -1) -> bytes:
        if size is None or size < 0 or size > MOST_BYTES:
            size = MOST_BYTES + 1
        data: bytes = self.file.read(size)
        if len(data) > MOST_BYTES:
            raise DataError(f"asks for more than {MOST_BYTES:,} bytes at a time")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self.file.seek(offset, whence))

    def tell(self) -> int:
        return int(self.file.tell())

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.file.close()
        super().close()


class _Tar:
    def __init__(self, file: _Bounded) -> None:
        self.file = file

    def members(self) -> Iterator[Member]:
        with tarfile.open(fileobj=self.file, mode="r:") as archive:
            while (found := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
                if found.isdir():
                    continue
                known = _member(found.name, (found.offset_data, found.size), found.size)
                if known is None:
                    continue
                if not found.isreg() or found.issparse():
                    known = Member(known.key, known.role, known.name, (0, 0), "is a link or device, no file")
                yield known

    def read(self, place: tuple[int, int]) -> bytes:
        self.file.seek(place[0])
        data = self.file.read(place[1])
        if len(data) < place[1]:
            raise DataError("the archive ends within it")
        return data

    def close(self) -> None:
        self.file.close()


class _Zip:
    def __init__(self, file: _Bounded) -> None:
        self.file = file
        self.archive = zipfile.ZipFile(file)
        self.infos = self.archive.infolist()

    def members(self) -> Iterator[Member]:
        # Whoever packed a folder did so in any order.
        for index in sorted(range(len(self.infos)), key=lambda index: natural_key(self.infos[index].filename)):
            found = self.infos[index]
            known = None if found.is_dir() else _member(found.filename, (index, found.file_size), found.file_size)
            if known is not None:
                yield known

    def read(self, place: tuple[int, int]) -> bytes:
        info = self.infos[place[0]]
        with self.archive.open(info) as member:
            return member.read(min(info.file_size, MOST_BYTES))

    def close(self) -> None:
        self.archive.close()
        self.file.close()


class _Table:
    """A table with one image a row, as data sets of Hugging Face are: bytes, or a struct of bytes and path.

    Columns: `image` (or the only one with bytes), and where they exist `key` (or `name`, `id`), `mask`, `classes` (encoded
    label maps) and `label` (or `class`, `cls`), the class of the image.
    """

    def __init__(self, opened: Any, file: StoredFile, suffix: str) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingExtra(f"{file.name}: reading Parquet and Arrow", "table") from error
        self.pa = pa
        self.file = opened
        self.parquet: Any = None
        self.groups: list[int] = []
        if suffix == ".parquet":
            self.parquet = pq.ParquetFile(self.file)
            meta = self.parquet.metadata
            self.groups = [meta.row_group(index).num_rows for index in range(meta.num_row_groups)]
            self.schema = self.parquet.schema_arrow
        else:
            self.batches = self._arrow(pa.memory_map(file.path) if file.store is None else self.file)
            self.groups = [batch.num_rows for batch in self.batches]
            self.schema = self.batches[0].schema
        self.columns = self._columns(pa)
        self.held: tuple[int, Any] = (-1, None)

    def _arrow(self, file: Any) -> list[Any]:
        """Record batches of a file, or of a stream, as they are mapped."""
        try:
            opened = self.pa.ipc.open_file(file)
            batches = [opened.get_batch(index) for index in range(opened.num_record_batches)]
        except self.pa.ArrowInvalid:
            file.seek(0)
            batches = list(self.pa.ipc.open_stream(file))
        for batch in batches:
            batch.validate(full=True)  # offsets are not looked at otherwise, and lead anywhere
        return batches

    def _columns(self, pa: Any) -> dict[str, str]:
        def encoded(kind: Any) -> bool:
            if pa.types.is_struct(kind):
                return any(field.name == "bytes" and encoded(field.type) for field in kind)
            return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

        holding = [field.name for field in self.schema if encoded(field.type)]
        names = set(self.schema.names)
        images = [name for name in ("image", "img", "jpg", "png", "bytes") if name in holding] or holding
        if not images:
            raise DataError(f"no column holds encoded images; its columns are {', '.join(sorted(names))[:200]}")
        found = {"image": images[0]}
        found |= {role: role for role in ("mask", "classes") if role in holding}
        plain = [(role, name) for role, known in PLAIN for name in known if name in names and name not in holding]
        return found | dict(plain)

    def members(self) -> Iterator[Member]:
        row = 0
        for group, count in enumerate(self.groups):
            keys = self._keys(group)
            for index in range(count):
                key = f"{row:06d}" if not keys or keys[index] is None else str(keys[index])
                problem = _problem(key, 0)
                for column, role in enumerate(ROLES):
                    if role in self.columns:
                        yield Member(key, role, f"{one_line(key, 200)}.{role}", (row, column), problem)
                row += 1

    def read(self, place: tuple[int, int]) -> bytes:
        row, role = place[0], ROLES[place[1]]
        group = 0
        while row >= self.groups[group]:
            row -= self.groups[group]
            group += 1
        value = self._rows(group)[role][row].as_py()
        if isinstance(value, dict):
            value = value.get("bytes")
        if value is None:
            raise DataError("the table has no bytes here")
        return value if isinstance(value, bytes) else str(value).encode()

    def _keys(self, group: int) -> list[Any]:
        """The keys of some rows, without their images; none where the table has none."""
        if "key" not in self.columns:
            return []
        name = self.columns["key"]
        if self.parquet is None:
            return list(self.batches[group].column(name).to_pylist())
        return list(self.parquet.read_row_group(group, columns=[name]).column(0).to_pylist())

    def _rows(self, group: int) -> dict[str, Any]:
        """The columns that are used of some rows; the last ones are kept."""
        if self.held[0] != group:
            if self.parquet is None:
                table = self.batches[group]
            else:
                num_bytes = self.parquet.metadata.row_group(group).total_byte_size
                if num_bytes > MOST_ROWS_BYTES:
                    raise DataError(
                        f"row group {group} has {num_bytes:,} bytes; expected at most {MOST_ROWS_BYTES:,}: write smaller ones"
                    )
                self.held = (-1, None)
                names = {name for role, name in self.columns.items() if role != "key"}
                table = self.parquet.read_row_group(group, columns=sorted(names))
                table.validate(full=True)
            self.held = (group, {r: table.column(name) for r, name in self.columns.items() if r != "key"})
        return dict(self.held[1])

    def close(self) -> None:
        self.held = (-1, None)
        self.file.close()

"""Where files lie: on this machine, or in a store that fsspec reads (`s3://`, `gs://`, `hf://`; extra `remote`)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from delaminate.errors import DataError, MissingExtra, reading

SCHEMES = ("s3", "gs", "hf", "file", "memory")
"""Stores that data are read from. Others, and addresses that wrap one another (`zip://a::s3://b`), are refused."""
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://")


def is_address(data: object) -> bool:
    """Say whether data are named by an address with a scheme, such as s3://bucket/folder.

    >>> is_address("s3://bucket/photos"), is_address("photos/")
    (True, False)
    """
    return isinstance(data, str) and ADDRESS.match(data) is not None


def is_place(data: object) -> bool:
    """Say whether data are named by where they lie: an address, or a path that exists; else they may be a built-in set."""
    return is_address(data) or (isinstance(data, str | Path) and Path(data).exists())


@dataclass(frozen=True)
class StoredFile:
    """A file somewhere.

    Attributes:
        name: Its path below the place that was asked for, with slashes.
        path: Where it is.
        store: The file system of fsspec that has it; None: this machine.
    """

    name: str
    path: str
    store: Any = None

    def open(self) -> Any:
        """Open it for reading and seeking, as a binary file; stores have classes of their own."""
        return Path(self.path).open("rb") if self.store is None else self.store.open(self.path, "rb")

    def state(self) -> str:
        """Say what is known of its content without reading it: size and time, or what its store says."""
        if self.store is not None:
            return str(self.store.ukey(self.path))
        found = Path(self.path).stat()
        return f"{found.st_size} {found.st_mtime_ns}"


def find_files(place: str) -> Iterator[StoredFile]:
    """List the files at a place: one file, or all below a folder that are not hidden, in no order.

    Raises:
        DataError: There are none, or the store cannot be reached; or what fsspec needs for it is not installed.
        MissingExtra: fsspec is not installed.
    """
    if not is_address(place):
        root = Path(place)
        if root.is_file():
            yield StoredFile(root.name, str(root))
        for each in root.rglob("*") if root.is_dir() else ():
            name = each.relative_to(root).as_posix()
            if each.is_file() and not _hidden(name):
                yield StoredFile(name, str(each))
        return
    with reading(place, DataError, "cannot be reached"):
        store, path = _store(place)
        if not store.exists(path):
            raise DataError(f"{place}: there is nothing")
        if store.isfile(path):
            yield StoredFile(PurePosixPath(path).name, path, store)
            return
        start = path.rstrip("/") + "/"
        for found in store.find(path):
            name = str(found).removeprefix(start)
            if not _hidden(name):
                yield StoredFile(name, str(found), store)


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _store(place: str) -> tuple[Any, str]:
    match = ADDRESS.match(place)
    scheme = match[1] if match else ""
    if scheme not in SCHEMES or "::" in place:
        raise DataError(f"{place}: is no address that we read; expected one of {', '.join(SCHEMES)}, then ://")
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtra(f"{place}: reading {scheme}://", "remote") from error
    try:
        store, path = url_to_fs(place)
    except ImportError as error:
        raise DataError(f"{place}: needs the package of its store ({error}); install it beside fsspec") from error
    return store, str(path)

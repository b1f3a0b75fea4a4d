"""Where images come from, one by one: files of a folder, members of archives, here or in a remote store.

A source lists its images without decoding any, so that they can be read in parts, in any order, and in several processes.
"""

import hashlib
import threading
from array import array
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int64, UInt8, UInt16

from delaminate.data.archives import (
    ARCHIVES,
    COMPRESSED,
    MOST_BYTES,
    MOST_MEMBERS,
    Archive,
    Member,
    Role,
    open_archive,
    role_of,
)
from delaminate.data.places import StoredFile, find_files, is_address
from delaminate.data.reading import SUFFIXES, decode_image, decode_mask, decode_values, decode_with_alpha
from delaminate.data.sets import natural_key
from delaminate.errors import DataError, reading

NO_ARCHIVE = "not an archive that can be read"


@dataclass
class _Column:
    """Where the images, or one kind of labels, lie: the file of each, and two numbers in it; file -1: nowhere."""

    files: array = field(default_factory=lambda: array("i"))
    first: array = field(default_factory=lambda: array("q"))
    second: array = field(default_factory=lambda: array("q"))

    def put(self, index: int, file: int, place: tuple[int, int]) -> None:
        missing = index + 1 - len(self.files)
        if missing > 0:
            self.files.extend([-1] * missing)
            self.first.extend([0] * missing)
            self.second.extend([0] * missing)
        self.files[index], self.first[index], self.second[index] = file, *place

    def get(self, index: int) -> tuple[int, tuple[int, int]] | None:
        if index >= len(self.files) or self.files[index] < 0:
            return None
        return self.files[index], (self.first[index], self.second[index])


class Source:
    """Images, and labels where there are some, in archives or as files that need not be on this machine.

    Args:
        place: An archive, or a folder of archives or images, whose addresses may begin with s3://, gs:// or hf://.

    Attributes:
        names: One per image, unique: its key; with several archives, behind the archive's name.
        skipped: Name and reason of what cannot be used, by its name or place alone.

    Raises:
        DataError: There is nothing, or no image.
        MissingExtra: What reads this kind of place is not installed.
    """

    def __init__(self, place: str | Path) -> None:
        self.place = str(place)
        self.names: list[str] = []
        self.skipped: list[tuple[str, str]] = []
        self._suffixes: list[str] = []  # few, shared
        self._columns: dict[Role, _Column] = {role: _Column() for role in ("image", "mask", "classes", "class")}
        self._lock = threading.Lock()
        self._open: tuple[int, Archive | None] = (-1, None)
        found = sorted(find_files(self.place), key=lambda file: natural_key(file.name))
        archives = [file for file in found if PurePosixPath(file.name).suffix.lower() in ARCHIVES]
        self.are_archives = bool(archives)
        self.files = archives or found
        for file in found:
            if file.name.lower().endswith(COMPRESSED):
                self.skipped.append((file.name, "compressed archives cannot be read in parts; decompress it to .tar"))
        self._list()
        if not self.names:
            reasons = "".join(f"; {name}: {reason}" for name, reason in self.skipped[:1])
            raise DataError(f"{self.place}: found no image among {len(found)} files{reasons}")

    def __len__(self) -> int:
        return len(self.names)

    def full_name(self, index: int) -> str:
        """The name with the suffix of the image, where it has one."""
        return self.names[index] + self._suffixes[index]

    def has(self, role: Role) -> bool:
        """Say whether any image has labels of a kind."""
        return any(number >= 0 for number in self._columns[role].files)

    def fingerprint(self) -> str:
        """Take the digest of what is known of all files without reading them: names, sizes and times."""
        digest = hashlib.blake2b(digest_size=16)
        for file in self.files:
            with reading(self._where(file), DataError, "cannot be reached"):
                digest.update(f"{file.name}\n{file.state()}\n".encode())
        return digest.hexdigest()

    def content(self, index: int, role: Role = "image") -> bytes:
        """The encoded image, or a label of it.

        Raises:
            DataError: It cannot be read, or there is none.
        """
        found = self._columns[role].get(index)
        with reading(self.label(index), DataError, "cannot be read"):
            if found is None:
                raise DataError(f"there is no {role} for this image")
            number, place = found
            with self._lock:
                return self._archive(number).read(place) if self.are_archives else self._file(self.files[number])

    def label(self, index: int) -> str:
        """What an image is called in messages."""
        found = self._columns["image"].get(index)
        where = self._where(self.files[found[0]]) if found is not None else self.place
        return f"{where}: {self.full_name(index)}" if self.are_archives else where

    def picture(self, index: int, alpha: bool = False) -> UInt8[np.ndarray, "H W C"]:
        """Decode an image as `read_image`, or with alpha as `read_with_alpha` does.

        Raises:
            DataError: It cannot be read.
        """
        decode = decode_with_alpha if alpha else decode_image
        return decode(self.content(index), self.label(index))

    def values(self, index: int) -> UInt8[np.ndarray, "H W C"] | UInt16[np.ndarray, "H W"]:
        """Decode an image as `read_values` does.

        Raises:
            DataError: It cannot be read.
        """
        return decode_values(self.content(index), self.label(index))

    def mask(self, index: int, role: Role = "mask") -> Int64[np.ndarray, "H W"]:
        """Decode a label map as `read_mask` does.

        Raises:
            DataError: It cannot be read, or there is none.
        """
        return decode_mask(self.content(index, role), f"{self.label(index)} ({role})")

    def has_labels(self) -> bool:
        """Say whether any image has labels of any kind."""
        return any(self.has(role) for role in ("mask", "classes", "class"))

    def image_class(self, index: int) -> int:
        """The class of an image, from 0.

        Raises:
            DataError: It is no whole number, or there is none.
        """
        label = f"{self.label(index)} (class)"
        with reading(label, DataError, "not a whole number from 0 on"):
            value = int(self.content(index, "class").decode("ascii")[:20])
            if value < 0:
                raise DataError(f"the class is {value}; expected a whole number from 0 on")
            return value

    def __del__(self) -> None:
        if "_open" in vars(self):  # it was listed
            self.close()

    def close(self) -> None:
        """Let go of files, until something is read again."""
        archive, self._open = self._open[1], (-1, None)
        if archive is not None:
            archive.close()

    def _where(self, file: StoredFile) -> str:
        return self.place if len(self.files) == 1 else f"{self.place.rstrip('/')}/{file.name}"

    def _archive(self, number: int) -> Archive:
        """The archive of a number; the last one stays open."""
        if self._open[0] != number or self._open[1] is None:
            self.close()
            self._open = (number, open_archive(self.files[number]))
        assert self._open[1] is not None
        return self._open[1]

    def _file(self, file: StoredFile) -> bytes:
        with file.open() as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise DataError(f"is larger than {MOST_BYTES:,} bytes")
        return data

    # --- listing ------------------------------------------------------------------------------------------------------

    def _list(self) -> None:
        known: dict[str, int] = {}
        for number, file in enumerate(self.files):
            before = PurePosixPath(file.name).with_suffix("").as_posix() + "/" if len(self.files) > 1 else ""
            if not self.are_archives:
                self._take_file(number, file, known)
                continue
            known.clear()
            try:
                with reading(self._where(file), DataError, NO_ARCHIVE):
                    for member in self._archive(number).members():
                        self._take(number, member, before, known)
            except DataError as error:
                self.skipped.append((file.name, str(error).removeprefix(f"{self._where(file)}: ").removesuffix(".")))
            with suppress(Exception):
                self.close()
        self._drop_labels_alone()

    def _drop_labels_alone(self) -> None:
        """Leave out labels whose image is not there."""
        image = self._columns["image"]
        kept = [index for index in range(len(self.names)) if image.get(index) is not None]
        if len(kept) == len(self.names):
            return
        alone = sorted(set(range(len(self.names))) - set(kept))
        self.skipped += [(self.names[index], "labels without an image") for index in alone]
        self.names, self._suffixes = [self.names[i] for i in kept], [self._suffixes[i] for i in kept]
        for role, before in self._columns.items():
            after = _Column()
            for index, old in enumerate(kept):
                found = before.get(old)
                if found is not None:
                    after.put(index, *found)
            self._columns[role] = after

    def _take_file(self, number: int, file: StoredFile, known: dict[str, int]) -> None:
        found = role_of(file.name)
        if found is not None:
            self._take(number, Member(*found, file.name, (0, 0)), "", known)

    def _take(self, number: int, member: Member, before: str, known: dict[str, int]) -> None:
        """Put a member beside those of its key; labels may come before their image."""
        if member.problem:
            self.skipped.append((before + member.name, member.problem))
            return
        if len(self.names) >= MOST_MEMBERS:
            raise DataError(f"{self.place}: more than {MOST_MEMBERS:,} images")
        key, column = before + member.key, self._columns[member.role]
        index = known.get(key)
        if index is not None and column.get(index) is not None:
            if member.role != "image":
                self.skipped.append((before + member.name, f"a second {member.role} of '{member.key}'"))
                return
            key, index = before + member.name, None  # a.png beside a.jpg
            if key in known:
                self.skipped.append((key, "a second image of this name"))
                return
        if index is None:
            index = known[key] = len(self.names)
            self.names.append(key)
            self._suffixes.append("")
        column.put(index, number, member.place)
        if member.role == "image":
            suffix = PurePosixPath(member.name).suffix
            shown = suffix.lower() in SUFFIXES and not key.endswith(suffix)
            self._suffixes[index] = next((each for each in _SHARED if each == suffix), suffix) if shown else ""


_SHARED = tuple(sorted(SUFFIXES))


def is_source(place: str | Path) -> bool:
    """Say whether a place is for `Source`: an address, an archive, or a folder with archives and no image beside them."""
    if is_address(place):
        return True
    path = Path(place)
    if path.is_file():
        return path.suffix.lower() in ARCHIVES or path.name.lower().endswith(COMPRESSED)
    if not path.is_dir() or (path / "images").is_dir():
        return False
    suffixes = {each.suffix.lower() for each in path.iterdir() if not each.name.startswith(".")}
    return bool(suffixes & ARCHIVES) and not suffixes & SUFFIXES

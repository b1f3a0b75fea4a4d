"""Scenes packed into few files: tar archives, which any program opens.

    FOLDER/packs/000000.tar    the files of up to 1,024 scenes, under the names that they have in a folder

The files of a scene lie one after the other, and `summary.json` says where: a scene is one read. Archives only grow. What
an archive holds beyond the last scene that is listed is what a call that was killed has left; the next one writes over it.
"""

import io
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from delaminate.errors import FormatError, OutputError
from delaminate.scene.format import residual_file
from delaminate.scene.scenes import LAYER_ID

PACKS = "packs"
SCENES_PER_PACK = 1024
MAX_PACK_BYTES = 2**32
"""Of an archive: from there on the next one is begun."""
MAX_PACKED_BYTES = 2**30
"""Of the files of one scene together."""
NAME = re.compile(r"([0-9]+-of-[0-9]+-)?[0-9]{6}")
END = bytes(2 * tarfile.BLOCKSIZE)


Packed = tuple[str, int, int]
"""Where the files of a scene lie: name of the archive without its suffix, first byte, number of bytes. A plain tuple, for
there may be a million of them, and the garbage collector passes over those."""


def is_packed(folder: Path) -> bool:
    """Say whether the scenes of a folder are packed, or are to be."""
    return (folder / PACKS).is_dir()


def pack_path(folder: Path, pack: str) -> Path:
    """Say where an archive lies."""
    return folder / PACKS / f"{pack}.tar"


def read_packed(folder: Path, name: str, place: Packed) -> dict[str, bytes]:
    """Read the files of a packed scene: their names from the folder, and what they hold.

    Raises:
        FormatError: The archive is missing or damaged, or holds other files there than those of this scene.
    """
    pack, offset, size = place
    path = pack_path(folder, pack)
    where = f"{path}: scene {name!r:.80} at byte {offset}"
    if size > MAX_PACKED_BYTES:
        raise FormatError(f"{where}: has {size} bytes; expected at most {MAX_PACKED_BYTES}.")
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise FormatError(f"{path}: leads out of {folder}.")
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
    except FileNotFoundError as error:
        raise FormatError(f"{path}: is missing; the scenes are not complete.") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read ({error}).") from error
    if len(data) < size:
        raise FormatError(f"{where}: the file ends within it; expected {size} bytes.")
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            found = {member.name: _content(archive, member) for member in archive}
    except (tarfile.TarError, ValueError, KeyError, OverflowError, EOFError, OSError, RecursionError) as error:
        raise FormatError(f"{where}: is no tar archive that can be read ({error!s:.120}).") from error
    for file_name in found:
        if not _belongs(file_name, name):
            raise FormatError(f"{where}: holds {file_name!r:.120}, which is no file of this scene.")
    return found


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if not member.isreg() or member.issparse():
        raise ValueError(f"{member.name!r:.80} is no plain file")
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def _belongs(file_name: str, name: str) -> bool:
    """Say whether a file is one of a scene's: its document, a layer's raster, its residual."""
    place = f"scenes/{name}/"
    if file_name in (f"{place}scene.json", residual_file(name)):
        return True
    raster = file_name.removeprefix(f"{place}layers/")
    return raster != file_name and raster.endswith(".png") and bool(LAYER_ID.fullmatch(raster[:-4]))


class PackWriter:
    """Appends the files of scenes to archives, each batch in one piece.

    Args:
        folder: The folder of scenes.
        prefix: Put before the number of an archive: several processes that write into one folder have one each.
        places: Where the scenes lie that are there already; whatever else archives of this prefix hold is written over.
        number: Of the first archive, where there are no scenes.
    """

    def __init__(self, folder: Path, prefix: str = "", places: Iterable[Packed] = (), number: int = 0) -> None:
        self.folder, self.prefix = folder, prefix
        self.number, self.end, self.count = -1, 0, 0
        own = re.compile(re.escape(prefix) + r"[0-9]{6}")
        for pack, offset, size in places:
            if not own.fullmatch(pack) or int(pack[-6:]) < self.number:
                continue
            if int(pack[-6:]) > self.number:
                self.number, self.end, self.count = int(pack[-6:]), 0, 0
            self.end, self.count = max(self.end, offset + size), self.count + 1
        if self.number < 0:
            self.number = number

    @property
    def pack(self) -> str:
        """Name of the archive that is being written."""
        return f"{self.prefix}{self.number:06d}"

    def append(self, scenes: Sequence[Mapping[str, bytes]]) -> list[Packed]:
        """Append the files of scenes, by their names from the folder; say where they are.

        Raises:
            OutputError: A file cannot be written, or a scene is too large to be read again.
        """
        places: list[Packed] = []
        waiting: list[bytes] = []
        start = self.end
        for files in scenes:
            data = b"".join(_member(name, content) for name, content in files.items())
            if len(data) > MAX_PACKED_BYTES:
                raise OutputError(
                    f"{self.folder}: the files of a scene have {len(data):,} bytes; expected at most {MAX_PACKED_BYTES:,} "
                    "in a pack. Leave --packed out."
                )
            if self.count >= SCENES_PER_PACK or (self.count and self.end + len(data) > MAX_PACK_BYTES):
                self._write(start, waiting)
                self.number, self.end, self.count, waiting, start = self.number + 1, 0, 0, [], 0
            places.append((self.pack, self.end, len(data)))
            waiting.append(data)
            self.end, self.count = self.end + len(data), self.count + 1
        self._write(start, waiting)
        return places

    def _write(self, start: int, data: Sequence[bytes]) -> None:
        """Write from some byte on, with the end of an archive behind; what is before stays as it is."""
        if not data:
            return
        path = pack_path(self.folder, self.pack)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("r+b" if start else "wb") as file:
                file.seek(start)
                file.write(b"".join((*data, END)))
                file.truncate()
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror or error}).") from error


def _member(name: str, content: bytes) -> bytes:
    """A file in an archive: the same bytes for the same file, whenever and by whomever it is written."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict") + content + bytes(-len(content) % tarfile.BLOCKSIZE)

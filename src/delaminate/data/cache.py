"""Images that do not fit into memory: decoded once into a file of bytes, which is mapped from then on.

    CACHE/NAME/pixels.bin    RGB of one image after another, 3 x H x W bytes each
    CACHE/NAME/rows.jsonl    what it is made of, then one line for each image of the source: the number of its canvas map,
                             or why it cannot be read; a line that is no number or text is the next canvas map

NAME is a digest of place, size and fit. Pixels come first, then their lines: whoever is killed while it is made goes on where
the lines end. Sources that have changed since (names, sizes, times) are noticed, and the cache is made anew.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock

from delaminate.data.folders import MAX_CACHE_BYTES, Pictures, nothing, read_all, reason_of
from delaminate.data.reading import Fit
from delaminate.data.sets import ImageSet
from delaminate.errors import DataError, FormatError, OutputError, reading
from delaminate.files import mapped_bytes
from delaminate.scene.canvas_map import CanvasMap

FORMAT = 1
AT_A_TIME = 2**25
"""Bytes of pixels between two writings."""
COMFORTABLE = 0.25
"""Share of the memory that is free which images may take without a cache."""


def fits_in_memory(count: int, size: tuple[int, int]) -> bool:
    """Say whether so many images of a height and width are comfortably held: in a quarter of the free memory."""
    num_bytes = 3 * count * size[0] * size[1]
    return num_bytes <= min(MAX_CACHE_BYTES, COMFORTABLE * _free_memory())


def _free_memory() -> float:
    """Bytes that the system could give us; where it does not say, half of what there is, or 8 GiB."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 8.0 * 2**30


def cached_images(
    source: Pictures,
    size: tuple[int, int],
    fit: Fit,
    folder: str | Path,
    limit: int | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> ImageSet:
    """Read the images of a source through a cache, which is made or finished first. Two that want it take turns.

    Args:
        source: Has the images.
        size: Height and width of the canvas in pixels.
        fit: How images get onto it.
        folder: Holds caches; it may be shared by many data sets.
        limit: Only so many images, the first ones that can be read.
        note: Is told what is being done.

    Raises:
        DataError: No image can be read.
        OutputError: The cache cannot be written.
    """
    named = json.dumps([str(Path(source.place).resolve()) if "://" not in source.place else source.place, size, fit])
    place = Path(folder) / hashlib.blake2b(named.encode(), digest_size=8).hexdigest()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / ".lock"):
            cache = _Cache(place, source, size, fit, note)
            cache.fill(len(source) if limit is None else limit)
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{place}: the cache cannot be written ({error}). Choose another --cache.") from error
    source.close()
    return cache.images(limit)


class _Cache:
    def __init__(
        self, place: Path, source: Pictures, size: tuple[int, int], fit: Fit, note: Callable[[str], None]
    ) -> None:
        self.pixels, self.lines = place / "pixels.bin", place / "rows.jsonl"
        self.source, self.size, self.fit, self.note = source, size, fit, note
        self.made_of = {"format": FORMAT, "size": list(size), "fit": fit, "source": source.fingerprint()}
        self.row_bytes = 3 * size[0] * size[1]
        self.maps: list[CanvasMap] = []
        self.found: list[int | str] = []
        """Of each image that was looked at the number of its canvas map, or why it cannot be read."""
        self.count = 0
        self._known: dict[CanvasMap, int] = {}
        self._read()

    def _read(self) -> None:
        """Take up what is there, if it is of these images."""
        whole = 0
        if self.lines.exists():
            with reading(self.lines, FormatError, "a damaged cache; remove it"), self.lines.open("rb") as file:
                if self._made_of(file.readline()) == self.made_of:
                    whole = file.tell()
                    for line in file:
                        if not line.endswith(b"\n"):
                            break  # cut off
                        self._take(json.loads(line))
                        whole += len(line)
                else:
                    self.note("The images have changed since they were cached: they are read anew.")
        if not self.pixels.exists() or self.pixels.stat().st_size < self.count * self.row_bytes:
            whole, self.count = 0, 0
            self.maps, self.found, self._known = [], [], {}
        for path, length in ((self.lines, whole), (self.pixels, self.count * self.row_bytes)):
            with path.open("ab") as file:
                file.truncate(length)
        if not whole:
            self.lines.write_bytes(json.dumps(self.made_of).encode() + b"\n")

    @staticmethod
    def _made_of(line: bytes) -> Any:
        try:
            return json.loads(line)
        except ValueError:
            return None

    def _take(self, value: Any) -> None:
        if isinstance(value, list):
            original, box, canvas, *_ = value
            self._number(CanvasMap(tuple(original), tuple(box), tuple(canvas)))
        elif isinstance(value, str) or 0 <= value < len(self.maps):
            self.found.append(value)
            self.count += not isinstance(value, str)
        else:
            raise ValueError(f"canvas map {value} of {len(self.maps)}")

    def _number(self, canvas_map: CanvasMap) -> int:
        if canvas_map not in self._known:
            self._known[canvas_map] = len(self.maps)
            self.maps.append(canvas_map)
        return self._known[canvas_map]

    def fill(self, wanted: int) -> None:
        """Read on until there are so many images, or all."""
        if self.count >= wanted or len(self.found) >= len(self.source):
            return
        shown = min(wanted, len(self.source))
        self.note(
            f"{shown} images are decoded once, into {self.pixels.parent} ({shown * self.row_bytes / 1e9:.2g} GB)."
        )
        with self.pixels.open("ab") as pixels, self.lines.open("ab") as lines:
            for some, told in self._parts(wanted):
                pixels.write(some)
                _flush(pixels)
                lines.write(told)
                _flush(lines)

    def _parts(self, wanted: int) -> Iterator[tuple[bytes, bytes]]:
        """Pixels and lines, part by part."""
        rows, told = bytearray(), bytearray()
        for _, read in read_all(self.source, range(len(self.found), len(self.source)), self.size, self.fit):
            index = len(self.found)
            if isinstance(read, DataError):
                value: int | str = reason_of(self.source, index, read)
            else:
                value = len(self.maps) if (new := read[1] not in self._known) else self._known[read[1]]
                if new:
                    self._number(read[1])
                    told += json.dumps(astuple(read[1])[:3]).encode() + b"\n"
                rows += np.ascontiguousarray(read[0].transpose(2, 0, 1)).tobytes()
            self._take(value)
            told += json.dumps(value).encode() + b"\n"
            if len(rows) >= AT_A_TIME or self.count >= wanted:
                yield bytes(rows), bytes(told)
                rows, told = bytearray(), bytearray()
            if self.count >= wanted:
                return
        yield bytes(rows), bytes(told)

    def images(self, limit: int | None) -> ImageSet:
        """The images, mapped; those that can be read."""
        skipped = list(self.source.skipped)
        names: list[str] = []
        maps: list[CanvasMap] = []
        for index, value in enumerate(self.found):
            if len(names) == limit:
                break
            if isinstance(value, str):
                skipped.append((self.source.full_name(index), value))
            else:
                names.append(self.source.names[index])
                maps.append(self.maps[value])
        if not names:
            raise DataError(nothing(self.source.place, skipped))
        pixels = mapped_bytes(self.pixels, (len(names), 3, *self.size))
        return ImageSet(pixels, tuple(names), tuple(maps), tuple(skipped))


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())

"""What has become of images: a line of a journal each, read again when it is asked for.

There may be millions. So what is in memory of each is where its line lies: 16 bytes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from delaminate.errors import FormatError, reading
from delaminate.pipelines.verdict import ImageTally
from delaminate.scene.saving import SavedScene
from delaminate.scene.summary import place_from

MOST_LINE = 2**12
"""Bytes that nearly every line has at the most: what is read at once."""
OFFSET_BITS = 44
"""Of where a line begins; the bits above tell in which file."""
FRESH = 2**15
"""Lines that are looked up one by one before they are sorted in among the others."""
KEPT = 2**14
"""Records that are kept in memory, about 1 kB each: small collections are never read again."""


@dataclass(frozen=True, slots=True)
class Record:
    """What has become of an image.

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

    @property
    def line(self) -> bytes:
        """It as `record_of` reads it; `dataclasses.asdict`, which copies every number, takes ten times as long."""
        tally, saved = self.tally, self.saved
        told = None
        if saved is not None:
            told = {
                "name": saved.name, "layers": saved.layers, "rounding_error": saved.rounding_error,
                "entries": saved.entries, "digest": saved.digest, "place": saved.place,
            }  # fmt: skip
        value = {
            "name": self.name, "image": self.image, "tally": {
                "objects": tally.objects, "shown": tally.shown, "there": tally.there, "explained": tally.explained,
                "psnr": tally.psnr,
            }, "errors": self.errors, "scattered": self.scattered, "saved": told, "skipped": self.skipped,
        }  # fmt: skip
        return json_line(value)


def json_line(value: Mapping[str, Any]) -> bytes:
    """A line of a journal."""
    return json.dumps(value, allow_nan=False).encode() + b"\n"


def record_of(value: Mapping[str, Any], where: str) -> Record:
    """Take a record from the JSON of its line.

    Raises:
        FormatError: The place of its scene is none.
        ValueError, TypeError, KeyError, AttributeError: It is no record.
    """
    tally, saved = value["tally"], value["saved"]
    counted = ImageTally(
        int(tally["objects"]), tuple(map(int, tally["shown"])), int(tally["there"]), int(tally["explained"]),
        float(tally["psnr"]),
    )  # fmt: skip
    scene = None
    if saved is not None:
        place = saved["place"]
        scene = SavedScene(
            str(saved["name"]), int(saved["layers"]), float(saved["rounding_error"]), tuple(map(int, saved["entries"])),
            str(saved["digest"]), None if place is None else place_from(place, where),
        )  # fmt: skip
    errors = {str(key): float(number) for key, number in value["errors"].items()}
    skipped = None if value["skipped"] is None else str(value["skipped"])
    return Record(str(value["name"]), str(value["image"]), counted, errors, bool(value["scattered"]), scene, skipped)


class Records(Mapping[str, Record]):
    """What has become of images, by their names, out of the lines of journals; of several lines of one the last counts.

    Attributes:
        num_scenes: Images that became scenes.
    """

    def __init__(self) -> None:
        self._file: tuple[int, BinaryIO] | None = None
        self.num_scenes = 0
        self._count = 0
        self._numbers: dict[Path, int] = {}
        self._paths: list[Path] = []
        self._hashes = np.empty(0, np.int64)  # of names, sorted; equal ones as they came
        self._places = np.empty(0, np.int64)
        self._fresh: dict[int, int] = {}
        self._kept: dict[int, Record] = {}

    def __len__(self) -> int:
        return self._count

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __getitem__(self, name: str) -> Record:
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return found[0]

    def get(self, name: str, default: Any = None) -> Any:
        """The record of a name, or else `default`."""
        found = self._find(name)
        return default if found is None else found[0]

    def __iter__(self) -> Iterator[str]:
        return (record.name for record in self.each())

    def each(self) -> Iterator[Record]:
        """Go through the records as they lie in the journals, so that each is one short read."""
        self._sort_in()
        places, hashes = self._places, self._hashes
        alike = np.zeros(len(hashes), bool)
        alike[1:] |= hashes[1:] == hashes[:-1]
        alike[:-1] |= hashes[1:] == hashes[:-1]
        for index in np.argsort(places, kind="stable"):
            record, place = self._read(int(places[index])), int(places[index])
            if not alike[index] or self._find(record.name) == (record, place):
                yield record

    def add(self, record: Record, path: Path, offset: int) -> None:
        """Take up a record.

        Args:
            record: What its line says.
            path: The journal.
            offset: The byte at which the line begins.
        """
        old = self._find(record.name)
        self._count += old is None
        self.num_scenes += (record.skipped is None) - (old is not None and old[0].skipped is None)
        value = hash(record.name)
        if value in self._fresh or len(self._fresh) >= FRESH:
            self._sort_in()
        if path not in self._numbers:
            self._numbers[path] = len(self._paths)
            self._paths.append(path)
        place = (self._numbers[path] << OFFSET_BITS) | offset
        self._fresh[value] = place
        if len(self._kept) < KEPT:
            self._kept[place] = record

    def __del__(self) -> None:
        if "_file" in vars(self):
            self.close()

    def close(self) -> None:
        """Let go of the journal that was read last; it is opened again when it is needed."""
        if self._file is not None:
            self._file[1].close()
            self._file = None

    def _sort_in(self) -> None:
        new = np.fromiter(self._fresh.keys(), np.int64, len(self._fresh))
        places = np.fromiter(self._fresh.values(), np.int64, len(self._fresh))
        order = np.argsort(new, kind="stable")
        where = np.searchsorted(self._hashes, new[order], "right")
        self._hashes = np.insert(self._hashes, where, new[order])
        self._places = np.insert(self._places, where, places[order])
        self._fresh = {}

    def _find(self, name: str) -> tuple[Record, int] | None:
        """A record, and where its line lies."""
        value = hash(name)
        if value in self._fresh and (found := self._read(self._fresh[value])).name == name:
            return found, self._fresh[value]
        index = int(self._hashes.searchsorted(value, "right")) - 1
        while index >= 0 and self._hashes[index] == value:
            if (found := self._read(int(self._places[index]))).name == name:
                return found, int(self._places[index])
            index -= 1
        return None

    def _read(self, place: int) -> Record:
        """Read a record.

        Raises:
            FormatError: The journal is gone, or another one by now.
        """
        if place in self._kept:
            return self._kept[place]
        number, offset = place >> OFFSET_BITS, place & ((1 << OFFSET_BITS) - 1)
        path = self._paths[number]
        with reading(path, FormatError, "has changed since it was opened"):
            if self._file is None or self._file[0] != number:
                self.close()
                self._file = (number, path.open("rb", buffering=0))
            self._file[1].seek(offset)
            line = self._file[1].read(MOST_LINE)
            while b"\n" not in line:
                more = self._file[1].read(len(line))
                if not more:
                    break
                line += more
            return record_of(json.loads(line[: line.index(b"\n")]), str(path))

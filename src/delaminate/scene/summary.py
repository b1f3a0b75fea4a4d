"""`summary.json`: what a folder of scenes says of all of them. There may be millions, so it is read row by row."""

import codecs
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from delaminate.errors import FormatError, reading
from delaminate.scene import validation as values
from delaminate.scene.canvas_map import LARGEST_STEP, Blocks
from delaminate.scene.format import (
    DURATIONS,
    MAX_FILE_BYTES,
    MAX_SCENES,
    RATES,
    SUMMARY,
    SUMMARY_FORMAT,
    VERSION,
)
from delaminate.scene.packing import NAME as PACK_NAME
from delaminate.scene.packing import Packed
from delaminate.scene.scenes import check_name

CHUNK = 2**18
"""Bytes that are read at a time."""
SPACE = " \t\n\r"
BEHIND = f"{SPACE},:]}}"
"""What may follow a value or a key."""
LONGEST_VALUE = 2**26
"""Characters of one value that is no list of scenes: the durations of as many as there may be take most of them."""


@dataclass(frozen=True)
class Summary:
    """What `summary.json` says; still images and older folders have neither rate, durations nor blocks.

    Attributes:
        entries: The dictionary's rows.
        places: Where each scene lies, by its name, in the order of the list; None: in files of its own.
        rate: Frames per second.
        durations: Milliseconds that each scene is seen, by its name.
        blocks: What the originals are made of.
    """

    entries: list[Any]
    places: dict[str, Packed | None]
    rate: float | None
    durations: dict[str, float] | None
    blocks: Blocks | None


def read_summary(folder: str | Path) -> Summary:
    """Read `folder/summary.json`.

    Raises:
        FormatError: It is missing or not what it claims to be.
    """
    where, places, count = f"{Path(folder) / SUMMARY}", dict[str, Packed | None](), 0

    def take(name: str, place: Packed | None) -> None:
        nonlocal count
        places[name] = place
        count += 1

    found, durations = _read(Path(folder), take)
    if len(places) != count:
        raise FormatError(f"{where}: two scenes have the same name.")
    if durations is None:
        return replace(found, places=places)
    listed = values.items(durations, f"{where}: durations", count, count)
    lasting = [values.number(each, f"{where}: durations", *DURATIONS) for each in listed]
    return replace(found, places=places, durations=dict(zip(places, lasting, strict=True)))


def scan_summary(folder: str | Path, take: Callable[[str, Packed | None], None] = lambda name, place: None) -> Summary:
    """Read `folder/summary.json` without keeping what it says of each scene.

    Args:
        folder: The folder of scenes.
        take: Is told the name of each scene, in the order of the list, and where it lies.

    Returns:
        The rest: places are empty, durations left out.

    Raises:
        FormatError: It is missing or not what it claims to be.
    """
    return _read(Path(folder), take)[0]


def _read(root: Path, take: Callable[[str, Packed | None], None]) -> tuple[Summary, Any]:
    """What a summary says but for scenes, and its durations as they stand there."""
    path, count = root / SUMMARY, 0

    def row(value: Any) -> None:
        nonlocal count
        if count == MAX_SCENES:
            raise FormatError(f"{path}: scenes: has more items; expected a list of 0 to {MAX_SCENES}.")
        take(*_place(value, f"{path}: scenes[{count}]"))
        count += 1

    with reading(root, FormatError, "cannot be read"):
        if not path.resolve().is_relative_to(root.resolve()):
            raise FormatError(f"{path}: leads out of {root}.")
        if not path.exists():
            raise FormatError(
                f"{root}: holds no scenes (there is no summary.json). Give the folder that was --out of `decompose`."
            )
        if path.stat().st_size > MAX_FILE_BYTES:
            raise FormatError(f"{path}: has {path.stat().st_size} bytes; expected at most {MAX_FILE_BYTES}.")
    with reading(path, FormatError, "is no JSON"), path.open("rb") as file:
        found = _Text(file).object("scenes", row)
    found = values.versioned(found, str(path), SUMMARY_FORMAT, VERSION)
    rate, durations, blocks = (found.pop(key, None) for key in ("rate", "durations", "blocks"))
    if rate is not None:
        rate = values.number(rate, f"{path}: rate", *RATES)
    entries, _ = values.fields(found, str(path), "dictionary", "scenes")
    whole = None if blocks is None else _blocks(blocks, f"{path}: blocks")
    return Summary(entries, {}, rate, None, whole), durations


class _Text:
    """JSON that is decoded value by value, so that a long list is never whole in memory."""

    def __init__(self, file: BufferedIOBase) -> None:
        self.file, self.text, self.at, self.ended = file, "", 0, False
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._decode = json.JSONDecoder(
            parse_constant=values.no_constant, object_pairs_hook=values.unique_pairs
        ).raw_decode

    def object(self, key: str, take: Callable[[Any], None]) -> Any:
        """Decode the object that the file holds; the items of its list `key` are handed to `take`, and it is True.

        Raises:
            ValueError: The file holds no JSON.
            FormatError: That key holds no list.
        """
        if self._next() != "{":
            value = self._value()
            self._end()
            return value
        pairs: list[tuple[str, Any]] = []
        for _ in self._items("}"):
            name = self._value()
            if not isinstance(name, str) or self._next() != ":":
                raise ValueError("a key or its colon is missing")
            self.at += 1
            pairs.append((name, self._value() if name != key else self._list(key, take)))
        self._end()
        return values.unique_pairs(pairs)

    def _list(self, key: str, take: Callable[[Any], None]) -> bool:
        if self._next() != "[":
            raise FormatError(f"{key}: has {self._value()!r:.40}; expected a list.")
        for _ in self._items("]"):
            take(self._value())
        return True

    def _items(self, closing: str) -> Any:
        """Stand before each item of a list or an object in turn."""
        self.at += 1
        if self._next() == closing:
            self.at += 1
            return
        while True:
            yield
            sign = self._next()
            self.at += 1
            if sign == closing:
                return
            if sign != ",":
                raise ValueError(f"{sign!r} where ',' or '{closing}' was expected")

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = self._decode(self.text, self.at)
            except json.JSONDecodeError:
                end = len(self.text)
                if self.ended:
                    raise
            # A number may go on in what has not been read: 1 as 1.5, 1. or 1e as well.
            if self.ended or (end < len(self.text) and self.text[end] in BEHIND):
                self.at = end
                return value
            if len(self.text) - self.at > LONGEST_VALUE:
                raise ValueError(f"a value of more than {LONGEST_VALUE:,} characters")
            self._more()

    def _next(self) -> str:
        """The next character that is no space."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in SPACE:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if self.ended:
                raise ValueError("it ends too early")
            self._more()

    def _more(self) -> None:
        data = self.file.read(max(CHUNK, len(self.text) - self.at))
        self.ended = not data
        self.text, self.at = self.text[self.at :] + self._utf8.decode(data, self.ended), 0

    def _end(self) -> None:
        while not self.ended:
            self._more()
            if len(self.text) > LONGEST_VALUE:
                break
        if self.text[self.at :].strip(SPACE):
            raise ValueError("something follows the end")


def _place(row: object, where: str) -> tuple[str, Packed | None]:
    """The name of a scene, and where it lies."""
    packed = ("pack",) if isinstance(row, dict) and "pack" in row else ()
    name, _, _, *place = values.fields(row, where, "name", "layers", "rounding_error", *packed)
    with reading(where, FormatError, "lists what is no name of a scene"):
        check_name(values.typed(name, f"{where}.name", str))
    return name, place_from(place[0], f"{where}.pack") if packed else None


def place_from(value: object, where: str) -> Packed:
    """Read where a packed scene lies: [name of the archive, byte, number of bytes].

    Raises:
        FormatError: It is something else.
    """
    pack, offset, size = values.items(value, where, 3, 3)
    if not PACK_NAME.fullmatch(values.typed(pack, where, str)):
        raise FormatError(f"{where}: is {pack!r:.60}; expected the name of a pack, such as '000000'.")
    return sys.intern(pack), values.whole(offset, where, 0, 2**53), values.whole(size, where, 1, 2**53)


def _blocks(value: object, where: str) -> Blocks:
    step, phase, box, original = values.fields(value, where, "step", "phase", "box", "original")
    down, across = (values.number(each, where, 1, LARGEST_STEP) for each in values.items(step, where, 2, 2))
    begins = [values.number(each, where, 0, LARGEST_STEP) for each in values.items(phase, where, 2, 2)]
    top, left, bottom, right = (
        values.whole(side, where, 0, values.MAX_SIDE) for side in values.items(box, where, 4, 4)
    )
    with reading(where, FormatError, "are no blocks"):
        return Blocks((down, across), (begins[0], begins[1]), (top, left, bottom, right), values.size(original, where))


def titles_of(entries: list[Any]) -> dict[str, str]:
    """What people call sprites, by their ids, out of a summary's rows; those without a title are left out."""
    named = {row.get("id"): row.get("title") for row in entries if isinstance(row, dict)}
    return {name: title for name, title in named.items() if isinstance(name, str) and isinstance(title, str) and title}


def load_rate(folder: str | Path) -> float | None:
    """Load the frames per second that `folder/summary.json` states; None where the scenes are no clip.

    Raises:
        FormatError: The summary is missing or not what it claims to be.
    """
    return scan_summary(folder).rate

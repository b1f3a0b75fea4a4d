"""Values of an LMDB database, the form in which LSUN is published.

Read here and not by the library of that name, which trusts its files: a damaged one ends the whole process. Numbers of pages
and lengths are held against what is there, and no more pages are followed than there are.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from delaminate.errors import DataError

MAGIC, VERSION = 0xBEEFC0DE, 1
HEAD = 16  # bytes of a page before its content
BRANCH, LEAF, OVERFLOW = 1, 2, 4  # kinds of pages
ELSEWHERE, DUPLICATES = 1, 6  # flags of entries: the value lies on pages of its own; it is a database itself
PAGE_SIZES = tuple(2**power for power in range(9, 17))  # bytes
NO_PAGE = 2**64 - 1


def read_values(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Read keys and values of the main database of a file, in the order of its keys.

    Raises:
        DataError: It is no such file, or damaged.

    Reference: the layout of LMDB 0.9 on 64-bit machines of little-endian order, in which LSUN was made (mdb.c, "Page
    headers").
    """
    if path.stat().st_size < 2 * PAGE_SIZES[0]:
        raise DataError(f"{path}: too short for an LMDB database")
    with path.open("rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    size, root = _newest(view)
    if root != NO_PAGE:
        yield from _Pages(view, size).walk(root)


def _newest(view: memoryview) -> tuple[int, int]:
    """The size of pages, and the root of the main database as it was committed last."""
    size = struct.unpack_from("<I", view, 40)[0]
    if size not in PAGE_SIZES:
        raise DataError("no LMDB database of version 1: expected pages of 512 to 65,536 bytes")
    found = []
    for start in (0, size):
        magic, version = struct.unpack_from("<II", view, start + HEAD)
        if (magic, version) == (MAGIC, VERSION):
            root, _, transaction = struct.unpack_from("<QQQ", view, start + 128)
            found.append((transaction, root))
    if not found:
        raise DataError("no LMDB database of version 1")
    return size, max(found)[1]


class _Pages:
    """The pages of a database."""

    def __init__(self, view: memoryview, size: int) -> None:
        self.view, self.size = view, size
        self.left = len(view) // size

    def walk(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values below a page."""
        pending = [number]
        while pending:
            page, kind = self.page(pending.pop())
            (lower,) = struct.unpack_from("<H", page, 12)
            places = struct.unpack_from(f"<{(lower - HEAD) // 2}H", page, HEAD)
            if kind & BRANCH:
                entries = [struct.unpack_from("<HHH", page, place) for place in reversed(places)]
                pending += [low | middle << 16 | high << 32 for low, middle, high in entries]
            elif kind & LEAF:
                yield from (self.entry(page, place) for place in places)
            else:
                raise DataError("damaged: a page is neither branch nor leaf")

    def page(self, number: int, count: int = 1) -> tuple[memoryview, int]:
        """The bytes of pages that lie one after the other, and the kind of the first."""
        begin, end = number * self.size, (number + count) * self.size
        self.left -= count
        if self.left < 0 or end > len(self.view):
            raise DataError(f"damaged: page {number} comes twice, or is not there; is the file whole?")
        page = self.view[begin:end]
        return page, struct.unpack_from("<H", page, 10)[0]

    def entry(self, page: memoryview, place: int) -> tuple[bytes, bytes]:
        low, high, flags, length = struct.unpack_from("<HHHH", page, place)
        key, start, size = place + 8, place + 8 + length, low | high << 16
        if flags & DUPLICATES:
            raise DataError("holds several databases, or several values for a key; expected one value for each")
        name = bytes(page[key:start])
        if not flags & ELSEWHERE:
            return name, self.cut(page, start, size)
        (number,) = struct.unpack_from("<Q", page, start)
        pages, kind = self.page(number, -(-(HEAD + size) // self.size))
        if not kind & OVERFLOW:
            raise DataError(f"damaged: page {number} holds no value")
        return name, self.cut(pages, HEAD, size)

    @staticmethod
    def cut(page: memoryview, start: int, size: int) -> bytes:
        if start + size > len(page):
            raise DataError("damaged: a value is longer than its page")
        return bytes(page[start : start + size])

"""Matrices of numbers in MATLAB files (level 5), of which published sets make their lists and small archives.

Read here and not by a general reader, whose compiled code breaks down on damaged files: a file is followed by its lengths, and
each is held against what is there. Text, structures, cells and sparse matrices are passed over.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from delaminate.errors import DataError

HEAD = 128  # bytes of text, version and order of bytes
LARGEST = 2**31  # bytes of one matrix, unpacked
MOST_AXES = 8
MATRIX, PACKED = 14, 15
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of stored numbers, which may be smaller than those of the matrix."""
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


def read_matrices(path: Path) -> dict[str, np.ndarray]:
    """Read every matrix of real numbers in a file, by its name.

    Raises:
        DataError: It is no such file.
        Exception: It is damaged; for `errors.reading`.

    Reference: The MathWorks, MAT-File Format, chapter 1 (level 5).
    """
    content = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
    if order is None:
        raise DataError(f"{path}: no MATLAB file of level 5")
    found = {}
    for kind, data in _elements(content[HEAD:], order):
        if kind == PACKED:
            unpacker = zlib.decompressobj()
            unpacked = unpacker.decompress(data, LARGEST)
            if unpacker.unconsumed_tail or not unpacker.eof:
                raise DataError(f"{path}: a matrix is cut off, or unpacks to more than {LARGEST:,} bytes")
            kind, data = next(_elements(memoryview(unpacked), order))
        if kind == MATRIX and (matrix := _matrix(data, order)) is not None:
            found[matrix[0]] = matrix[1]
    return found


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Types and data of the elements that lie one after the other."""
    place = 0
    while place + 8 <= len(content):
        kind, length = struct.unpack_from(f"{order}II", content, place)
        if kind >> 16:  # a short element has both in four bytes, and its data in the next four
            kind, length, start, step = kind & 0xFFFF, kind >> 16, place + 4, 8
        else:
            start, step = place + 8, 8 + (length if kind == PACKED else -(-length // 8) * 8)
        if start + length > len(content):
            raise ValueError("it breaks off")
        yield kind, content[start : start + length]
        place += step


def _matrix(content: memoryview, order: str) -> tuple[str, np.ndarray] | None:
    """The name and the numbers of a matrix; None where it holds something else."""
    (_, flags), (_, sides), (_, name), *rest = _elements(content, order)
    (kind,) = struct.unpack_from(f"{order}I", flags)
    shape = np.frombuffer(sides, f"{order}i4").tolist()
    if kind & 0xFF not in CLASSES or kind & 0x800 or not rest:
        return None
    stored, numbers = rest[0]
    values = np.frombuffer(numbers, f"{order}{STORED[stored]}")
    if not 2 <= len(shape) <= MOST_AXES or min(shape) < 0:
        raise ValueError(f"a matrix of {shape} is none")
    return bytes(name).decode("ascii"), values.astype(CLASSES[kind & 0xFF]).reshape(shape, order="F")

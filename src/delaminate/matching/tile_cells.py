"""Cells of a lattice: cut from pictures, and hashed so that the eight orientations of one tile are one.

Orientations are numbered as Tiled does: 1 transposes a tile first, then 4 flips it left to right, 2 top to bottom.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, UInt8, UInt32

NUM_ORIENTATIONS = 8
# Exact in float64: colours and weights below 2^20, and fewer than 2^13 pixels.
HASH_BITS = 20


@dataclass(frozen=True)
class Axis:
    """Tiles along one axis: the first pixel of tile k is at phase + k * pitch; `spacing` pixels after each are no tile's."""

    pitch: int
    phase: int
    spacing: int = 0

    @property
    def size(self) -> int:
        return self.pitch - self.spacing


MIRRORED = 4
"""The orientation that is flipped left to right, see `orient`."""


def orient(pictures: np.ndarray, orientation: int, rows: int = -2) -> np.ndarray:
    """Turn pictures as Tiled's bits say: 1 transposes them first, 4 flips them left to right, 2 top to bottom; a view.

    Args:
        pictures: (..., h, w), or with more axes behind.
        orientation: 0 to 7.
        rows: The axis of rows; that of columns follows it. -3 where channels come last.
    """
    if orientation & 1:
        pictures = pictures.swapaxes(rows, rows + 1)
    if orientation & 4:
        pictures = np.flip(pictures, rows + 1)
    return np.flip(pictures, rows) if orientation & 2 else pictures


def _tables() -> tuple[Int64[np.ndarray, "8 8"], Int64[np.ndarray, " 8"]]:
    probe = np.arange(4).reshape(2, 2)
    name = {orient(probe, o).tobytes(): o for o in range(8)}
    compose = np.array([[name[orient(orient(probe, a), b).tobytes()] for b in range(8)] for a in range(8)])
    return compose, (compose == 0).argmax(1)


COMPOSE, INVERSE = _tables()  # orient(orient(x, a), b) is orient(x, COMPOSE[a, b])


def orientations_of(shape: tuple[int, int]) -> list[int]:
    """List the orientations that a tile of this height and width may have in its cell."""
    return list(range(8)) if shape[0] == shape[1] else [0, 2, 4, 6]


def colour_codes(pictures: UInt8[np.ndarray, "*S 3"]) -> UInt32[np.ndarray, "*S"]:
    """Write each colour as one number: red * 65536 + green * 256 + blue."""
    codes = pictures[..., 0].astype(np.uint32)
    for channel in (1, 2):
        codes <<= np.uint32(8)
        codes |= pictures[..., channel]
    return codes


def colours_of(codes: UInt32[np.ndarray, "..."]) -> UInt8[np.ndarray, "... 3"]:
    """Go back from `colour_codes`."""
    return np.stack([codes >> np.uint32(16), codes >> np.uint32(8), codes], -1).astype(np.uint8)


def _starts(axis: Axis, length: int) -> tuple[int, int]:
    """First pixel and number of the whole tiles within `length` pixels."""
    first = axis.phase % axis.pitch
    return first, max((length - first - axis.size) // axis.pitch + 1, 0)


def cut_cells(
    codes: UInt32[np.ndarray, "N H W"], rows: Axis, columns: Axis
) -> tuple[UInt32[np.ndarray, "n pixels"], tuple[int, int, int]]:
    """Cut out the cells that lie wholly inside the pictures; also say how many pictures, rows and columns there are."""
    (top, down), (left, across) = _starts(rows, codes.shape[1]), _starts(columns, codes.shape[2])
    number = len(codes)
    strides = codes.strides
    view = np.lib.stride_tricks.as_strided(
        codes[:, top:, left:],
        (number, down, across, rows.size, columns.size),
        (strides[0], strides[1] * rows.pitch, strides[2] * columns.pitch, strides[1], strides[2]),
        writeable=False,
    )
    return view.reshape(number * down * across, rows.size * columns.size), (number, down, across)


def hash_values(codes: UInt32[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Spread colours over whole numbers below 2^20."""
    mixed = codes * np.uint32(0x9E3779B1)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(0x85EBCA77)
    mixed >>= np.uint32(32 - HASH_BITS)
    return mixed.astype(np.float64)


def hash_weights(shape: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """Whole numbers below 2^20, a fixed one for each pixel of a tile."""
    numbers = np.arange(1, shape[0] * shape[1] + 1, dtype=np.uint32)
    return hash_values(numbers * np.uint32(0xC2B2AE3D)).reshape(shape)


def hash_cells(
    cells: UInt32[np.ndarray, "n pixels"], shape: tuple[int, int]
) -> tuple[Float[np.ndarray, " n"], UInt8[np.ndarray, " n"]]:
    """Hash cells, the same in all orientations, and say in which each one shows the tile that has this hash.

    Returns:
        The least hash of all orientations, and the orientation o: the cell is `orient(tile, o)`.
    """
    chosen = orientations_of(shape)
    weights = hash_weights(shape)
    columns = np.stack([orient(weights, o).ravel() for o in chosen], 1)
    hashes = hash_values(cells) @ columns  # n o
    best = hashes.argmin(1)
    return hashes[np.arange(len(cells)), best], np.array(chosen, np.uint8)[best]


def novel_pixels(tiles: UInt32[np.ndarray, "T h w"]) -> Int64[np.ndarray, " T"]:
    """Count the pixels of each tile that differ from their left and from their upper neighbour."""
    inner = tiles[:, 1:, 1:]
    return ((inner != tiles[:, 1:, :-1]) & (inner != tiles[:, :-1, 1:])).sum((1, 2))


def count_orientations(orientation: UInt8[np.ndarray, " n"]) -> Int64[np.ndarray, " 8"]:
    return np.bincount(orientation, minlength=NUM_ORIENTATIONS)

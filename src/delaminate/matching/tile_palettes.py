"""Palette swaps: tiles that are another one in other colours, in any orientation."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt32

from delaminate.matching.tile_cells import COMPOSE, INVERSE, colours_of, novel_pixels, orient, orientations_of

COLOUR_BITS, PIXEL_BITS = 24, 10
PAYS = 1.0  # share of a tile's bits that its colours in another palette may cost


@dataclass(frozen=True)
class FoldedTiles:
    """Which tiles are left, and what the others are in terms of them.

    Attributes:
        kept: Numbers of the tiles that are left.
        tile: For each tile, the place in `kept` of the one that it is.
        orientation: How that one is turned, before anything else.
        row: In which palette.
        palettes: For each tile in `kept` its palettes.
    """

    kept: Int64[np.ndarray, " K"]
    tile: Int64[np.ndarray, " T"]
    orientation: Int64[np.ndarray, " T"]
    row: Int64[np.ndarray, " T"]
    palettes: tuple[UInt8[np.ndarray, "_rows _colours 3"], ...]


def own_palette(tile: UInt32[np.ndarray, "h w"]) -> tuple[UInt32[np.ndarray, " colours"], Int64[np.ndarray, "h w"]]:
    """List a tile's colours in the order in which it first shows them, row by row, and number its pixels by them."""
    colours, first, index = np.unique(tile, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return colours[order], rank[index].reshape(tile.shape)


def _signatures(tiles: UInt32[np.ndarray, "T h w"]) -> Int64[np.ndarray, "T S"]:
    """Numbers that no orientation and no palette changes: how many pixels equal others at some distance."""

    def equal(down: int, right: int) -> np.ndarray:
        height, width = tiles.shape[1:]
        forward = (tiles[:, down:, right:] == tiles[:, : height - down, : width - right]).sum((1, 2))
        if not (down and right):
            return forward
        return forward + (tiles[:, down:, : width - right] == tiles[:, : height - down, right:]).sum((1, 2))

    return np.stack([equal(a, b) + equal(b, a) for a, b in ((0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (2, 3))], 1)


def _pattern(tile: UInt32[np.ndarray, "h w"]) -> tuple[bytes, int, UInt32[np.ndarray, " colours"]]:
    """The least numbering of a tile's pixels in any orientation, that orientation, and the colours in its order."""
    found = []
    for orientation in orientations_of((tile.shape[0], tile.shape[1])):
        turned = orient(tile, int(INVERSE[orientation]))
        colours, index = own_palette(turned)
        found.append((index.astype(np.uint16).tobytes(), orientation, colours))
    return min(found, key=lambda each: each[:2])


def fold_palettes(tiles: UInt32[np.ndarray, "T h w"], seen: Bool[np.ndarray, "T h w"]) -> FoldedTiles:
    """Find the tiles that are an earlier one in other colours, where naming the colours is cheaper than another tile.

    Tiles of one colour stay what they are, and so do tiles of which a part was never seen.
    """
    number = len(tiles)
    first = np.arange(number)
    orientation, row = np.zeros(number, np.int64), np.zeros(number, np.int64)
    palettes: dict[int, list[np.ndarray]] = {}
    by_pattern: dict[bytes, tuple[int, int, np.ndarray]] = {}
    for tile in _worth_looking_at(tiles, seen).tolist():
        pattern, turned, colours = _pattern(tiles[tile])
        if pattern not in by_pattern:
            by_pattern[pattern] = tile, turned, colours
            continue
        base, base_turned, base_colours = by_pattern[pattern]
        own = own_palette(tiles[base])[0]
        shown = colours[[int(np.flatnonzero(base_colours == colour)[0]) for colour in own]]
        known = palettes.setdefault(base, [own])
        same = [place for place, other in enumerate(known) if (other == shown).all()]
        if not same:
            known.append(shown)
        first[tile], row[tile] = base, same[0] if same else len(known) - 1
        orientation[tile] = COMPOSE[INVERSE[base_turned], turned]
    kept = np.flatnonzero(first == np.arange(number))
    place = np.full(number, -1)
    place[kept] = np.arange(len(kept))
    rows = tuple(colours_of(np.stack(palettes.get(tile) or [own_palette(tiles[tile])[0]])) for tile in kept.tolist())
    return FoldedTiles(kept, place[first], orientation, row, rows)


def _worth_looking_at(tiles: UInt32[np.ndarray, "T h w"], seen: Bool[np.ndarray, "T h w"]) -> Int64[np.ndarray, " n"]:
    """The tiles that could be another one in other colours, in their order."""
    signatures = _signatures(tiles)
    _, which, counts = np.unique(signatures, axis=0, return_inverse=True, return_counts=True)
    allowed = PAYS * PIXEL_BITS * novel_pixels(tiles) / COLOUR_BITS  # colours
    likely = np.flatnonzero((counts[which.ravel()] > 1) & seen.all((1, 2)) & (allowed >= 2))
    number = np.array([len(np.unique(tiles[tile])) for tile in likely.tolist()], np.int64)
    return likely[(number > 1) & (number <= allowed[likely])]

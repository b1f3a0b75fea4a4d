"""Tiles of maps: pictures that were laid out in cells of one size become few tiles, and for each cell which one it shows.

The lattice is found (`lattices`), then every cell is cut out. Cells that show the same picture, turned in any of eight
ways or in other colours, are one tile. Cells that the border cuts show the tile whose part they are, where there is one.
Nothing is rounded: `draw` gives the pictures back, pixel by pixel.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8, UInt32

from delaminate.matching.lattices import SIZES, Lattice, Pieces, find_lattice
from delaminate.matching.tile_cells import (
    COMPOSE,
    INVERSE,
    NUM_ORIENTATIONS,
    Axis,
    colour_codes,
    colours_of,
    cut_cells,
    hash_cells,
    hash_values,
    hash_weights,
    orient,
    orientations_of,
)
from delaminate.matching.tile_palettes import fold_palettes, own_palette

LEAST_FAMILIAR = 0.3  # share of a picture's whole cells that other pictures show, for it to lie on their lattice
MOST_POOLED = 12  # pictures that are looked at together, where one alone says too little
PHASE_ROWS = 96  # rows of pixels in which the origin of a further picture is looked for


@dataclass(frozen=True, eq=False)
class TileGrid:
    """Pictures as tiles on a lattice.

    Cell (row, column) of picture n has its corner at origins[n] + (row, column) * (size + spacing).

    Attributes:
        size: Height and width of a tile in pixels.
        spacing: Pixels between the rows, and between the columns, of tiles, all of colour `line`.
        origins: Top and left of cell (0, 0) of each picture, above -(size + spacing) and at most 0.
        shape: Height and width of the pictures.
        tiles: The different tiles.
        seen: Which of their pixels any picture shows; others are guesses: a tile that the border cuts everywhere.
        palettes: For each tile its colours in the order in which it first shows them, row 0, and then, in the same order,
            the colours that other cells show instead.
        cells: Which tile; -1 where the picture has no such cell.
        orientation: How it is turned, in Tiled's bits: 1 transposes it first, 4 flips it left to right, 2 top to bottom.
        palette: In which row of its tile's palettes.
        line: The colour between tiles.
    """

    size: tuple[int, int]
    spacing: tuple[int, int]
    origins: Int64[np.ndarray, "N 2"]
    shape: tuple[int, int]
    tiles: UInt8[np.ndarray, "T h w 3"]
    seen: Bool[np.ndarray, "T h w"]
    palettes: tuple[UInt8[np.ndarray, "_rows _colours 3"], ...]
    cells: Int64[np.ndarray, "N rows columns"]
    orientation: UInt8[np.ndarray, "N rows columns"]
    palette: Int64[np.ndarray, "N rows columns"]
    line: tuple[int, int, int] = (0, 0, 0)

    def coloured(self, tile: int, palette: int) -> UInt8[np.ndarray, "h w 3"]:
        """Show a tile in one of its palettes."""
        if palette == 0:
            return self.tiles[tile]
        _, index = own_palette(colour_codes(self.tiles[tile][None])[0])
        return self.palettes[tile][palette][index]


def draw(grid: TileGrid) -> UInt8[np.ndarray, "N H W 3"]:
    """Draw the pictures that a grid describes; black where it has no cell."""
    (height, width), (down, across) = grid.size, grid.spacing
    number, rows, columns = grid.cells.shape
    kinds, which = np.unique(
        np.stack([grid.cells, grid.palette, grid.orientation]).reshape(3, -1), axis=1, return_inverse=True
    )
    looks = np.zeros((kinds.shape[1], height, width, 3), np.uint8)
    for look, (tile, palette, orientation) in zip(looks, kinds.T.tolist(), strict=True):
        if tile >= 0:
            picture = grid.coloured(tile, palette)
            look[:] = np.stack([orient(picture[..., channel], orientation) for channel in range(3)], -1)
    whole = np.empty((number, rows, height + down, columns, width + across, 3), np.uint8)
    whole[:] = np.array(grid.line, np.uint8)
    whole[:, :, :height, :, :width] = looks[which.reshape(number, rows, columns)].transpose(0, 1, 3, 2, 4, 5)
    sheets = whole.reshape(number, rows * (height + down), columns * (width + across), 3)
    out = np.empty((number, *grid.shape, 3), np.uint8)
    for picture, canvas, (top, left) in zip(out, sheets, grid.origins.tolist(), strict=True):
        picture[:] = canvas[-top : grid.shape[0] - top, -left : grid.shape[1] - left]
    return out


def _phase_among(known: np.ndarray, codes: UInt32[np.ndarray, "H W"], axis: Axis) -> int:
    """Find the phase at which most pieces of pixel rows are known ones."""
    step = max(len(codes) // PHASE_ROWS, 1)
    pieces = Pieces(codes[::step])
    count = max(pieces.width - axis.size + 1, 1)
    hits = np.isin(pieces.keys(axis.size, count), known).sum(0)
    return int(np.bincount(np.arange(count) % axis.pitch, hits, minlength=axis.pitch).argmax())


def _known_pieces(codes: UInt32[np.ndarray, "H W"], axis: Axis) -> np.ndarray:
    """Hash the pieces of pixel rows within tiles."""
    first = axis.phase % axis.pitch
    pieces = Pieces(codes)
    keys = pieces.keys(axis.size, max(pieces.width - axis.size + 1, 1))[:, first :: axis.pitch]
    return np.unique(keys)


def _cell_hashes(codes: UInt32[np.ndarray, "H W"], rows: Axis, columns: Axis) -> Float[np.ndarray, " n"]:
    """Hash the whole cells in which something is drawn."""
    cells, _ = cut_cells(codes[None], rows, columns)
    drawn = cells[(cells != cells[:, :1]).any(1)]
    return hash_cells(drawn, (rows.size, columns.size))[0]


def _share_familiar(familiar: Float[np.ndarray, " known"], hashes: Float[np.ndarray, " n"]) -> float:
    """Which share of hashes is familiar; all of none."""
    return float(np.isin(hashes, familiar).mean()) if len(hashes) else 1.0


def _first(axis: Axis) -> int:
    """Where the first cell begins, at most 0."""
    phase = axis.phase % axis.pitch
    return phase - axis.pitch if phase else 0


def _origins(codes: UInt32[np.ndarray, "N H W"], lattice: Lattice, reference: int) -> Int64[np.ndarray, "N 2"] | None:
    """Find where the lattice begins in each picture: where it does in the first one, or where most is familiar."""
    rows, columns = lattice.rows, lattice.columns
    origins = np.tile(np.array([_first(rows), _first(columns)], np.int64), (len(codes), 1))
    if len(codes) == 1:
        return origins
    familiar = np.unique(_cell_hashes(codes[reference], rows, columns))
    across = down = None
    for number, picture in enumerate(codes):
        if number == reference:
            continue
        hashes = _cell_hashes(picture, rows, columns)
        if _share_familiar(familiar, hashes) < LEAST_FAMILIAR:
            if across is None or down is None:
                across = _known_pieces(codes[reference], columns)
                down = _known_pieces(np.ascontiguousarray(codes[reference].T), rows)
            moved = (
                Axis(rows.pitch, _phase_among(down, np.ascontiguousarray(picture.T), rows), rows.spacing),
                Axis(columns.pitch, _phase_among(across, picture, columns), columns.spacing),
            )
            hashes = _cell_hashes(picture, *moved)
            if _share_familiar(familiar, hashes) < LEAST_FAMILIAR:
                return None
            origins[number] = _first(moved[0]), _first(moved[1])
        familiar = np.union1d(familiar, hashes)
    return origins


class _Cells:
    """All cells of pictures, those cut by the border filled up with zeros.

    Attributes:
        codes: UInt32[N rows columns h w]
        whole: Bool[N rows columns]   the picture shows all of the cell
        bounds: Int64[N rows columns 4]   the part that it shows: top, left, bottom, right
    """

    def __init__(self, codes: UInt32[np.ndarray, "N H W"], origins: np.ndarray, rows: Axis, columns: Axis) -> None:
        number, height, width = codes.shape
        down = int((-(-(height - origins[:, 0]) // rows.pitch)).max())
        across = int((-(-(width - origins[:, 1]) // columns.pitch)).max())
        padded = np.zeros((number, down * rows.pitch, across * columns.pitch), np.uint32)
        for target, picture, (top, left) in zip(padded, codes, origins.tolist(), strict=True):
            target[-top : height - top, -left : width - left] = picture
        view = padded.reshape(number, down, rows.pitch, across, columns.pitch)[:, :, : rows.size, :, : columns.size]
        self.codes = np.ascontiguousarray(view.transpose(0, 1, 3, 2, 4))
        spans = []
        for axis, count, length, at in ((rows, down, height, 0), (columns, across, width, 1)):
            begin = origins[:, at : at + 1] + np.arange(count) * axis.pitch
            spans.append((np.clip(-begin, 0, axis.size), np.clip(length - begin, 0, axis.size)))
        shape = (number, down, across)
        ends = [np.broadcast_to(end[:, :, None], shape) for end in spans[0]]
        sides = [np.broadcast_to(side[:, None], shape) for side in spans[1]]
        self.bounds = np.stack([ends[0], sides[0], ends[1], sides[1]], -1)
        self.whole = (self.bounds == (0, 0, rows.size, columns.size)).all(-1)
        self.shown = (self.bounds[..., 2] > self.bounds[..., 0]) & (self.bounds[..., 3] > self.bounds[..., 1])


@dataclass
class _Tiles:
    """Tiles that are being collected, with the cells that show them."""

    codes: UInt32[np.ndarray, "T h w"]
    seen: Bool[np.ndarray, "T h w"]
    cells: Int64[np.ndarray, "N rows columns"]
    orientation: UInt8[np.ndarray, "N rows columns"]


def _fold_orientations(cells: _Cells) -> _Tiles:
    """Make one tile of all whole cells that show the same in any orientation, turned as most of them are."""
    shape = cells.codes.shape[3:]
    whole = cells.codes[cells.whole]  # n h w
    hashes, orientation = hash_cells(whole.reshape(len(whole), -1), shape)
    # Tiles are numbered as they first come.
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    first, which = first[order], rank[which]
    counts = np.bincount(which * NUM_ORIENTATIONS + orientation, minlength=len(first) * NUM_ORIENTATIONS)
    usual = counts.reshape(-1, NUM_ORIENTATIONS).argmax(1)
    # The cell that was found first is orient(x, orientation[first]) of the tile x that has the hash; show x as usual.
    turn = COMPOSE[INVERSE[orientation[first]], usual]
    tiles = np.empty((len(first), *shape), np.uint32)
    for o in orientations_of(shape):
        tiles[turn == o] = orient(whole[first[turn == o]], o)
    orientation = COMPOSE[INVERSE[usual][which], orientation].astype(np.uint8)
    out = _Tiles(
        tiles, np.ones(tiles.shape, bool), np.full(cells.whole.shape, -1), np.zeros(cells.whole.shape, np.uint8)
    )
    out.cells[cells.whole], out.orientation[cells.whole] = which, orientation
    _keep_exact(out, cells)
    return out


def _keep_exact(tiles: _Tiles, cells: _Cells) -> None:
    """Give a tile of its own to each cell that is not what its tile shows: hashes that were equal by accident."""
    wrong = np.zeros(cells.whole.shape, bool)
    for o in np.unique(tiles.orientation[cells.whole]).tolist():
        here = cells.whole & (tiles.orientation == o)
        wrong[here] = (orient(tiles.codes, o)[tiles.cells[here]] != cells.codes[here]).any((1, 2))
    if wrong.any():
        added = cells.codes[wrong]
        tiles.cells[wrong] = len(tiles.codes) + np.arange(len(added))
        tiles.orientation[wrong] = 0
        tiles.codes = np.concatenate([tiles.codes, added])
        tiles.seen = np.concatenate([tiles.seen, np.ones(added.shape, bool)])


def _recognise_cut_cells(tiles: _Tiles, cells: _Cells) -> None:
    """Let cells that the border cuts show the commonest tile with that part; what no tile shows is one of its own."""
    shape = cells.codes.shape[3:]
    cut = cells.shown & ~cells.whole
    if not cut.any():
        return
    chosen = orientations_of(shape)
    number = len(tiles.codes)
    looks = tiles.cells[cells.whole] * NUM_ORIENTATIONS + tiles.orientation[cells.whole]
    common = np.bincount(looks, minlength=number * NUM_ORIENTATIONS).reshape(-1, NUM_ORIENTATIONS)[:, chosen].ravel()
    values = hash_values(tiles.codes.reshape(number, -1))
    order = np.argsort(-common, kind="stable")
    for top, left, bottom, right in np.unique(cells.bounds[cut], axis=0).tolist():
        here = cut & (cells.bounds == (top, left, bottom, right)).all(-1)
        weights = np.zeros(shape)
        weights[top:bottom, left:right] = hash_weights(shape)[top:bottom, left:right]
        # <weights, orient(tile, o)> is <orient(weights, inverse of o), tile>.
        turned = np.stack([orient(weights, int(INVERSE[o])).ravel() for o in chosen], 1)
        hashes = (values @ turned).ravel()[order]
        parts = cells.codes[here]
        wanted, members = np.unique(hash_values(parts.reshape(len(parts), -1)) @ weights.ravel(), return_inverse=True)
        known, first = np.unique(hashes, return_index=True)
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        tile, turn = np.divmod(order[first[place]], len(chosen))
        _settle(tiles, here, parts, (slice(top, bottom), slice(left, right)), members, tile, np.array(chosen)[turn])


def _settle(
    tiles: _Tiles,
    here: np.ndarray,
    parts: np.ndarray,
    window: tuple[slice, slice],
    members: np.ndarray,
    tile: np.ndarray,
    turn: np.ndarray,
) -> None:
    """Take the tiles that were proposed for groups of equal parts where they fit, pixel by pixel; else add the part."""
    _, first = np.unique(members, return_index=True)
    added: list[np.ndarray] = []
    shown = np.zeros(parts.shape[1:], bool)
    shown[window] = True
    for group, member in enumerate(first.tolist()):
        look = orient(tiles.codes[tile[group]], int(turn[group]))
        if (look[window] != parts[member][window]).any():
            tile[group], turn[group] = len(tiles.codes) + len(added), 0
            inner = parts[member][window]
            pads = [(window[axis].start, shown.shape[axis] - window[axis].stop) for axis in (0, 1)]
            added.append(np.pad(inner, pads, mode="edge"))
    tiles.cells[here], tiles.orientation[here] = tile[members], turn[members]
    if added:
        tiles.codes = np.concatenate([tiles.codes, np.stack(added)])
        tiles.seen = np.concatenate([tiles.seen, np.broadcast_to(shown, (len(added), *shown.shape))])


def _reference(codes: UInt32[np.ndarray, "N H W"]) -> int:
    """The picture in which most changes."""
    return int((codes[:, ::2, 1:] != codes[:, ::2, :-1]).sum((1, 2)).argmax())


def find_tiles(pictures: UInt8[np.ndarray, "N H W 3"], sizes: tuple[int, int] = SIZES) -> TileGrid | None:
    """Find the tiles that pictures are laid out in.

    Args:
        pictures: One map, or several pictures of one: frames of a camera at rest, or screens that scroll, each with an
            origin of its own.
        sizes: Smallest and largest side of a tile in pixels.

    Returns:
        The grid, which `draw` turns back into the pictures exactly; None where there is no lattice on which pictures recur:
        photos, noise, sprites at free places.
    """
    if min(pictures.shape[:3]) == 0:
        return None
    codes = colour_codes(pictures)
    reference = _reference(codes) if len(codes) > 1 else 0
    lattice = find_lattice(codes[reference : reference + 1], sizes)
    if lattice is None and len(codes) > 1:
        lattice = find_lattice(codes[:: -(-len(codes) // MOST_POOLED)], sizes)
    if lattice is None:
        return None
    origins = _origins(codes, lattice, reference)
    if origins is None:
        return None
    cells = _Cells(codes, origins, lattice.rows, lattice.columns)
    tiles = _fold_orientations(cells)
    _recognise_cut_cells(tiles, cells)
    folded = fold_palettes(tiles.codes, tiles.seen)
    shown = tiles.cells >= 0
    palette = np.where(shown, folded.row[tiles.cells], 0)
    orientation = np.where(shown, COMPOSE[folded.orientation[tiles.cells], tiles.orientation], 0).astype(np.uint8)
    line = 0 if lattice.lines is None else lattice.lines
    return TileGrid(
        (lattice.rows.size, lattice.columns.size),
        (lattice.rows.spacing, lattice.columns.spacing),
        origins,
        (pictures.shape[1], pictures.shape[2]),
        colours_of(tiles.codes[folded.kept]),
        tiles.seen[folded.kept],
        folded.palettes,
        np.where(shown, folded.tile[tiles.cells], -1),
        orientation,
        palette,
        (line >> 16, line >> 8 & 255, line & 255),
    )

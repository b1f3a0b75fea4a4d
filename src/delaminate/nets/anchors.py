"""Anchors: the grid of cells that may hold one sprite each, and how shifted sprites become a picture.

An anchor of a grid of stride s owns an s x s cell; its sprite is a k x k window centred on the cell, and moves by at most
s / 2. Everything here is a product of matrices or a change of shape, so gradients are exact and deterministic.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def windows_of(images: Float[Tensor, "B C H W"], size: int, stride: int) -> Float[Tensor, "B R S C {size} {size}"]:
    """Cut the size x size window around every anchor out of images, zero beyond their border.

    Args:
        images: Height and width are multiples of `stride`.
        size: Side of a window, k; k - s is even.
        stride: Side of a cell, s.

    Returns:
        A view of padded images, by rows and columns of anchors.
    """
    margin = (size - stride) // 2
    padded = F.pad(images, (margin, margin, margin, margin))
    return padded.unfold(2, size, stride).unfold(3, size, stride).permute(0, 2, 3, 1, 4, 5)


def toeplitz(values: Float[Tensor, "N o"], columns: int) -> Float[Tensor, "N rows {columns}"]:
    """Make Toeplitz matrices whose columns are `values`, each one row lower than the last.

        M[r, c] = values[r - c],   r < o + columns - 1

    A product with M is the full convolution with `values`.
    """
    padded = F.pad(values, (columns - 1, columns - 1))
    return padded.unfold(-1, columns, 1).flip(-1)


def crop_matrix(values: Float[Tensor, "N o"], columns: int) -> Float[Tensor, "N {columns} rows"]:
    """Make the matrices that average all crops of `columns` neighbours, the crop that starts at j weighted values[j].

    M[c, r] = values[r - c]
    """
    return toeplitz(values, columns).transpose(1, 2)


def shift_matrices(chances: Float[Tensor, "N o"], size: int, clip: bool) -> Float[Tensor, "N w {size}"]:
    """Make the matrices of the expected shift along one axis.

    Outcome i of s + 1 shifts by s / 2 - i pixels; the matrix averages over all of them.

    Args:
        chances: Probability of each outcome.
        size: Side of a sprite, k.
        clip: Cut the result to the k pixels of the unshifted sprite; otherwise it is k + s wide and nothing is lost.
    """
    reach = chances.shape[1] - 1
    matrices = toeplitz(chances.flip(-1), size)
    return matrices[:, reach // 2 : reach // 2 + size] if clip else matrices


def bilinear_shift_matrices(
    shift: Float[Tensor, " N"], size: int, reach: int, clip: bool, border: bool
) -> Float[Tensor, "N w {size}"]:
    """Make the matrices that shift by fractions of a pixel, bilinearly, along one axis.

    Args:
        shift: In pixels, to the right or down.
        size: Side of a sprite.
        reach: Widest range of shifts, s; without `clip` the result is k + s wide.
        clip: Cut the result to the pixels of the unshifted sprite.
        border: Continue the sprite beyond its border; otherwise it is zero there.
    """
    extra = 0 if clip else reach
    rows = torch.arange(size + extra, dtype=shift.dtype, device=shift.device) - extra // 2
    looked = rows - shift[:, None]  # N w
    if border:
        looked = looked.clamp(0, size - 1)
    nodes = torch.arange(size, dtype=shift.dtype, device=shift.device)
    return (1 - (looked[..., None] - nodes).abs()).clamp_min(0)


def apply_matrices(
    sprites: Float[Tensor, "N C k k"], rows: Float[Tensor, "N w k"], columns: Float[Tensor, "N w k"]
) -> Float[Tensor, "N C w w"]:
    """Shift every sprite along both axes."""
    count, channels, size, _ = sprites.shape
    high, wide = rows.shape[1], columns.shape[1]
    across = sprites.reshape(count, channels * size, size) @ columns.transpose(1, 2)  # N Ck w
    across = across.view(count, channels, size, wide).transpose(1, 2).reshape(count, size, channels * wide)  # N k Cw
    return (rows @ across).view(count, high, channels, wide).transpose(1, 2)


def lattice_side(window: int, stride: int) -> int:
    """Anchors this far apart along an axis have windows that do not overlap."""
    return -(-window // stride)


def fixed_order(layers: int, side: int) -> list[tuple[int, int]]:
    """List (layer, sub-lattice) back to front as drawn at test time."""
    # The original's list, for its four: even/even, odd/odd, odd/even, even/odd.
    within = [0, 3, 2, 1] if side == 2 else list(range(side * side))
    return [(layer, lattice) for layer in range(layers) for lattice in within]


def lattices(
    windows: Float[Tensor, "B L R S C w w"], stride: int, size: tuple[int, int]
) -> list[list[Float[Tensor, "B C H W"]]]:
    """Lay the windows of every layer out on canvases, one per sub-lattice whose windows do not overlap.

    Args:
        windows: By image, layer, row and column of anchors; each is centred on its anchor's cell.
        stride: Side of a cell.
        size: Height and width of the canvas, which begins at the corner of the first cell; it is cut off there.

    Returns:
        Per layer, per sub-lattice (row of q x q, then column), what it shows.

    Reference: the paper's section 3.5 has overlapping neighbours; four sub-lattices are the authors' code 2169016. Here
        there are ceil(w / s)^2 of them.
    """
    batch, layers, rows, columns, channels, window, _ = windows.shape
    side = lattice_side(window, stride)
    cell, margin = side * stride, (window - stride) // 2
    more = cell - window
    windows = F.pad(windows, (0, more, 0, more, 0, 0, 0, -columns % side, 0, -rows % side))
    high, wide = windows.shape[2] // side, windows.shape[3] // side
    split = windows.view(batch, layers, high, side, wide, side, channels, cell, cell)
    # L q q B C R' cell S' cell
    flat = split.permute(1, 3, 5, 0, 6, 2, 7, 4, 8).reshape(
        layers, side * side, batch, channels, high * cell, wide * cell
    )
    found = []
    for layer in flat.unbind(0):
        canvases = []
        for index, canvas in enumerate(layer.unbind(0)):
            row, column = divmod(index, side)
            if row >= rows or column >= columns:  # no anchor is in it
                canvases.append(canvas.new_zeros(batch, channels, *size))
                continue
            top, left = row * stride - margin, column * stride - margin
            down, right = size[0] - top - high * cell, size[1] - left - wide * cell
            canvases.append(F.pad(canvas, (left, right, top, down)))
        found.append(canvases)
    return found


def pad_transparent(rgba: Float[Tensor, "n 4 k k"]) -> Float[Tensor, "n 4 _ _"]:
    """Add a transparent pixel all around: bilinear shifts continue colours there, while alpha ends."""
    colours = F.pad(rgba[:, :3], (1, 1, 1, 1), mode="replicate")
    return torch.cat([colours, F.pad(rgba[:, 3:], (1, 1, 1, 1))], 1)

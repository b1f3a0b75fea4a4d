"""Many sprites under few transforms: what lets a method try every sprite in every layer without copies.

All sprites of a layer share its one grid (or its two hat-function matrices); where each sprite moves by itself, the batch
goes into the grid's rows.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from delaminate.scene.placements import NEUTRAL, Transform
from delaminate.scene.transforms import (
    MATRIX_KINDS,
    colour_parts,
    grid_of,
    hat_weights,
    matrix_grid,
    morphological,
    pixel_matrix,
    sample,
    sampling_matrix,
    warp_separable,
    warp_stack,
)


def with_aligned_corners(matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """Read a sampling map in the convention that corners are pixel centres (parity)."""
    stretch = [n / max(n - 1, 1) for n in (size[1], size[0])]
    diagonal = torch.tensor([*stretch, 1.0], dtype=matrix.dtype, device=matrix.device)
    return matrix * diagonal[None, None] / diagonal[None, :, None]


def sampling_of(kind: str, values: Tensor, size: tuple[int, int], aligned: bool) -> Tensor:
    matrix = sampling_matrix(kind, values)
    return with_aligned_corners(matrix, size) if aligned and kind == "projective" else matrix


def sampling_grid(
    kind: str, values: Float[Tensor, "N P"], size: tuple[int, int], aligned: bool
) -> Float[Tensor, "N H W 2"]:
    if kind in MATRIX_KINDS:
        return matrix_grid(sampling_of(kind, values, size, aligned), size)
    return grid_of(kind, values, size)


def move_sprites(
    planes: Tensor, kind: str, values: Float[Tensor, "N K P"], aligned: bool
) -> Float[Tensor, "N K C h w"]:
    """Move sprites inside their own square, each by its own parameters."""
    n, count = values.shape[:2]
    size = (planes.shape[-2], planes.shape[-1])
    if kind == "morphological":
        shared = planes if planes.ndim == 5 else planes.expand(n, -1, -1, -1, -1)
        return morphological(shared.flatten(0, 1), values.flatten(0, 1)).view(n, count, *shared.shape[2:])
    grid = sampling_grid(kind, values.flatten(0, 1), size, aligned)  # NK h w 2
    if planes.ndim == 4:
        return warp_stack(planes, grid.view(n, count, *size, 2).transpose(0, 1))
    return sample(planes.flatten(0, 1), grid).view(n, count, -1, *size)


def move_to_canvas(
    planes: Tensor, layer: dict[str, Tensor], size: tuple[int, int], with_cover: bool
) -> tuple[Float[Tensor, "N K C H W"], Float[Tensor, "N 1 1 H W"] | None]:
    """Put sprites on the canvas by the layer's one transform; also return how far their squares reach, if asked for."""
    moving = [kind for kind in layer if kind != "colour"]
    if not moving:
        return (planes if planes.ndim == 5 else planes[None]), None
    (kind,) = moving
    values, (h, w) = layer[kind], (planes.shape[-2], planes.shape[-1])
    if kind == "position":
        scale = 1 + values[:, 0].exp()
        rows = hat_weights(scale, values[:, 2], h, size[0])
        columns = hat_weights(scale, values[:, 1], w, size[1])
        cover = (rows.sum(2)[:, :, None] * columns.sum(2)[:, None, :])[:, None, None] if with_cover else None
        return warp_separable(planes, rows, columns), cover
    grid = grid_of(kind, values, size)  # N H W 2
    n = grid.shape[0]
    stacked = planes.flatten(0, 1)[None] if planes.ndim == 4 else planes.flatten(1, 2)
    if planes.ndim == 4:
        out = sample(stacked, grid.view(1, n * size[0], size[1], 2))[0].view(-1, n, *size).transpose(0, 1)
    else:
        out = sample(stacked, grid)
    cover = sample(torch.ones_like(out[:, :1, :1, :1]).expand(-1, -1, h, w), grid)[:, None] if with_cover else None
    channels = planes.shape[-3]
    return out.reshape(n, -1, channels, *size), cover


def at_rest(
    kind: str, values: Float[Tensor, "N P"], source: tuple[int, int], target: tuple[int, int], aligned: bool
) -> list[Transform]:
    """Turn predicted parameters into transforms in pixels."""
    if kind in MATRIX_KINDS:
        matrices = pixel_matrix(sampling_of(kind, values, target, aligned), source, target)
        return [Transform("matrix", tuple(m), target) for m in matrices.flatten(1).tolist()]
    return [Transform(kind, tuple(v), target) for v in values.tolist()]


def compose_colours(parameters: list[Tensor], count: int) -> list[tuple[float, ...]]:
    """Compose colour changes, first to last, into gains and offsets."""
    if not parameters:
        return [NEUTRAL] * count
    gain, offset = colour_parts(parameters[0].detach())
    for values in parameters[1:]:
        more_gain, more_offset = colour_parts(values.detach())
        gain, offset = gain * more_gain, offset * more_gain + more_offset
    return [tuple(row) for row in torch.cat([gain, offset], 1).tolist()]

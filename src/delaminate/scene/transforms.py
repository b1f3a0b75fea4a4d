"""Where a sprite lands, and in what colour.

Coordinates lie in [-1, 1], x right, y down, pixel centres inside (`align_corners=False`): pixel i of n has its
centre at (2 i + 1) / n - 1. Networks predict, as in the papers, the *sampling* map: where each output pixel looks in
the source. Zero parameters are the identity for every kind but `position`, whose sampling scale is
1 + exp(s): at s = 0 a sprite fills half of its canvas, and it never exceeds it (Monnier et al., ICCV 2021,
and the authors' code c98a37c).

| kind | parameters | sampling map |
|---|---|---|
| colour | 6: w, b per channel | x (1 + w) + b |
| position | 3: s, tx, ty | (1 + e^s) p + t |
| similarity | 4: a, b, tx, ty | [[1 + a, -b], [b, 1 + a]] p + t |
| affine | 6 | (I + beta) p + t |
| projective | 9 | (I + beta) applied to (p, 1), divided by z |
| thin_plate_spline | 32 | p + spline through displacements of a 4 x 4 grid |
| morphological | 10: softness, 3 x 3 kernel | soft dilation or erosion |
"""

import functools
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from delaminate.errors import ConfigError

Padding = Literal["zeros", "border"]

NUM_PARAMETERS = {
    "colour": 6,
    "position": 3,
    "similarity": 4,
    "affine": 6,
    "projective": 9,
    "thin_plate_spline": 32,
    "morphological": 10,
}
MATRIX_KINDS = ("position", "similarity", "affine", "projective")
SPLINE_SIDE = 4


def soft_clamp(x: Tensor, slope: float = 0.01) -> Tensor:
    """Clip to [0, 1] with a small slope outside, so that gradients come back.

    clip(x, 0, 1) + slope * (min(x, 0) + max(x - 1, 0)), computed as a mix of x and its clip.
    """
    return x.clamp(0, 1).lerp_(x, slope)


def colour_parts(parameters: Float[Tensor, "... 6"]) -> tuple[Tensor, Tensor]:
    """Split into gain 1 + w and offset b, each (..., 3)."""
    return 1 + parameters[..., :3], parameters[..., 3:]


def recolour(x: Float[Tensor, "... 3 h w"], parameters: Float[Tensor, "... 6"]) -> Float[Tensor, "... 3 h w"]:
    """Change colours channel by channel, x (1 + w) + b, softly clamped to [0, 1]."""
    gain, offset = colour_parts(parameters)
    return soft_clamp(torch.addcmul(offset[..., None, None], x, gain[..., None, None]))


def sampling_matrix(kind: str, parameters: Float[Tensor, "N P"]) -> Float[Tensor, "N 3 3"]:
    """Build the homogeneous sampling map of a matrix kind.

    Raises:
        ConfigError: `kind` has no matrix.
    """
    zero, one = torch.zeros_like(parameters[:, 0]), torch.ones_like(parameters[:, 0])
    if kind == "projective":
        return parameters.view(-1, 3, 3) + torch.eye(3, dtype=parameters.dtype, device=parameters.device)
    if kind == "affine":
        a, b, x, c, d, y = parameters.unbind(1)
        rows = [1 + a, b, x, c, 1 + d, y]
    elif kind == "similarity":
        a, b, x, y = parameters.unbind(1)
        rows = [1 + a, -b, x, b, 1 + a, y]
    elif kind == "position":
        s, x, y = parameters.unbind(1)
        scale = 1 + s.exp()
        rows = [scale, zero, x, zero, scale, y]
    else:
        raise ConfigError(f"sampling_matrix: {kind!r} has no matrix; expected one of {', '.join(MATRIX_KINDS)}.")
    return torch.stack([*rows, zero, zero, one], 1).view(-1, 3, 3)


def pixel_centres(count: int, like: Tensor) -> Float[Tensor, " n"]:
    """List the normalised coordinates of `count` pixel centres."""
    return (2 * torch.arange(count, dtype=like.dtype, device=like.device) + 1) / count - 1


# Cached tensors must serve training, even when they are first asked for in inference mode.
@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)
def _base_grid(size: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Float[Tensor, "HW 3"]:
    like = torch.empty(0, dtype=dtype, device=device)
    y, x = torch.meshgrid(pixel_centres(size[0], like), pixel_centres(size[1], like), indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3)


def matrix_grid(matrix: Float[Tensor, "N 3 3"], size: tuple[int, int]) -> Float[Tensor, "N H W 2"]:
    """Say where each output pixel looks, dividing by z (kept away from 0)."""
    homogeneous = _base_grid(size, matrix.dtype, matrix.device) @ matrix.transpose(1, 2)  # N HW 3
    z = homogeneous[..., 2:]
    z = torch.where(z.abs() > 1e-8, z, 1.0)
    return (homogeneous[..., :2] / z).view(matrix.shape[0], *size, 2)


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)
def _spline_basis(size: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Float[Tensor, "HW 16"]:
    """Map displacements of the control points to displacements of every pixel.

    Thin-plate spline with kernel r^2 log r on a 4 x 4 grid over [-1, 1]^2 (Bookstein, 1989); the linear system is
    solved once in float64.
    """
    line = torch.linspace(-1, 1, SPLINE_SIDE, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], 1)  # 16 2

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        distance = torch.cdist(a, b)
        return torch.where(distance > 0, distance**2 * distance.clamp_min(1e-300).log(), 0.0)

    def affine(a: Tensor) -> Tensor:
        return torch.cat([torch.ones(len(a), 1, dtype=a.dtype), a], 1)

    count = len(points)
    system = torch.zeros(count + 3, count + 3, dtype=torch.float64)
    system[:count, :count] = kernel(points, points)
    system[:count, count:] = affine(points)
    system[count:, :count] = affine(points).T
    weights = torch.linalg.inv(system)[:, :count]  # 19 16
    pixels = _base_grid(size, torch.float64, torch.device("cpu"))[:, :2]
    basis = torch.cat([kernel(pixels, points), affine(pixels)], 1) @ weights
    return basis.to(device=device, dtype=dtype)


def spline_grid(parameters: Float[Tensor, "N 32"], size: tuple[int, int]) -> Float[Tensor, "N H W 2"]:
    """Say where each output pixel looks under thin-plate splines."""
    displacement = parameters.view(-1, SPLINE_SIDE**2, 2)
    basis = _spline_basis(size, parameters.dtype, parameters.device)
    base = _base_grid(size, parameters.dtype, parameters.device)[:, :2]
    return (base + basis @ displacement).view(parameters.shape[0], *size, 2)


def grid_of(kind: str, parameters: Float[Tensor, "N P"], size: tuple[int, int]) -> Float[Tensor, "N H W 2"]:
    """Say where each output pixel looks, for any kind that moves pixels."""
    if kind == "thin_plate_spline":
        return spline_grid(parameters, size)
    return matrix_grid(sampling_matrix(kind, parameters), size)


def sample(
    x: Float[Tensor, "N C h w"], grid: Float[Tensor, "N H W 2"], padding: Padding = "zeros"
) -> Float[Tensor, "N C H W"]:
    """Look up `x` bilinearly at `grid`."""
    return F.grid_sample(x, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def warp(
    x: Float[Tensor, "N C h w"],
    kind: str,
    parameters: Float[Tensor, "N P"],
    size: tuple[int, int],
    padding: Padding = "zeros",
) -> Float[Tensor, "N C H W"]:
    """Move each image of a batch by its own parameters onto a canvas of `size`."""
    if kind == "morphological":
        return morphological(x, parameters)
    return sample(x, grid_of(kind, parameters, size), padding)


def warp_stack(
    sprites: Float[Tensor, "K C h w"], grid: Float[Tensor, "K B H W 2"], padding: Padding = "zeros"
) -> Float[Tensor, "B K C H W"]:
    """Move every sprite by B grids of its own, without a copy of any sprite.

    The batch goes into the grid's rows, so each sprite is one source image and its gradient needs no sum.
    """
    count, batch, height, width, _ = grid.shape
    out = sample(sprites, grid.reshape(count, batch * height, width, 2), padding)  # K C BH W
    return out.view(count, -1, batch, height, width).permute(2, 0, 1, 3, 4)


def hat_weights(
    scale: Float[Tensor, " N"],
    shift: Float[Tensor, " N"],
    source: int,
    target: int,
    start: Float[Tensor, " N"] | None = None,
    count: int | None = None,
) -> Float[Tensor, "N rows source"]:
    """Weights of bilinear sampling along one axis: hat functions around scale * p + shift.

    Args:
        scale, shift: The sampling map along this axis.
        source, target: Sizes in pixels.
        start, count: Only the rows start .. start + count - 1 of the target (whole numbers).

    Returns:
        Rows of the target; each holds at most two neighbours' weights, fewer where it looks outside (zeros padding).
    """
    rows = torch.arange(target if count is None else count, dtype=scale.dtype, device=scale.device)[None]
    if start is not None:
        rows = rows + start[:, None]
    centre = (2 * rows + 1) / target - 1
    looked = ((scale[:, None] * centre + shift[:, None] + 1) * source - 1) / 2  # N rows, in source pixels
    nodes = torch.arange(source, dtype=scale.dtype, device=scale.device)
    return (1 - (looked[..., None] - nodes).abs()).clamp_min(0)


def warp_separable(
    sprites: Float[Tensor, "*K C h w"],
    rows: Float[Tensor, "N H h"],
    columns: Float[Tensor, "N W w"],
) -> Float[Tensor, "N K C H W"]:
    """Move sprites by axis-aligned scales and shifts as two matrix products.

    Equal to bilinear sampling with zeros padding. `sprites` is (K, C, h, w), shared by all N placements, or
    (N, K, C, h, w).
    """
    if sprites.ndim == 4:
        count, channels, h, w = sprites.shape
        # Columns first: one product of (K C h, w) with (w, N W).
        n, width = columns.shape[:2]
        half = sprites.reshape(-1, w) @ columns.reshape(n * width, w).T  # KCh NW
        half = half.view(count * channels, h, n, width).permute(2, 1, 0, 3).reshape(n, h, -1)  # N h KCW
        out = rows @ half  # N H KCW
        return out.view(n, -1, count, channels, width).permute(0, 2, 3, 1, 4)  # N K C H W
    return rows[:, None, None] @ sprites @ columns.transpose(1, 2)[:, None, None]


def morphological(x: Float[Tensor, "N C h w"], parameters: Float[Tensor, "N 10"]) -> Float[Tensor, "N C h w"]:
    """Dilate or erode softly: sum_i a_i x_i e^{s x_i} / sum_i a_i e^{s x_i} over 3 x 3 neighbours.

    a = sigmoid(5 at the centre, -5 around it, plus the nine predicted numbers); s is predicted: above 0 dilates,
    below erodes. Reference: Monnier, Groueix, Aubry, Deep Transformation-Invariant Clustering, NeurIPS 2020.
    """
    n, channels, height, width = x.shape
    base = torch.full((9,), -5.0, dtype=x.dtype, device=x.device)
    base[4] = 5.0
    kernel = torch.sigmoid(base + parameters[:, 1:])[:, None, :, None]  # N 1 9 1
    patches = F.unfold(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3).view(n, channels, 9, height * width)
    weights = kernel * torch.softmax(parameters[:, :1, None, None] * patches, 2)
    return ((weights * patches).sum(2) / weights.sum(2)).view(n, channels, height, width)


def pixel_matrix(
    sampling: Float[Tensor, "N 3 3"], source: tuple[int, int], target: tuple[int, int]
) -> Float[Tensor, "N 3 3"]:
    """Turn a normalised sampling map into where source pixels *go*, in pixels.

    Pixel coordinates put the centre of pixel i at i + 0.5. The inverse is taken once, in float64.
    """

    def to_pixels(size: tuple[int, int]) -> Tensor:
        height, width = size
        return torch.tensor([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]], dtype=torch.float64)

    inverse = torch.linalg.inv(sampling.detach().double().cpu())
    return to_pixels(target) @ inverse @ torch.linalg.inv(to_pixels(source))

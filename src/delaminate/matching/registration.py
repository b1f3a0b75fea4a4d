"""Registration: the pose at which a shape fits what an image shows, to a fraction of a pixel, for many pairs at once.

Gauss-Newton on the squared error, damped where a step does not help (Levenberg, 1944; Marquardt, 1963). What may hide a shape
weighs nothing. In turn, shapes are estimated from what registered images show of them (expectation and maximisation).
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

DAMPING, EASIER, HARDER = 1e-2, 0.3, 5.0
"""Damping at first, and its factor after a step that helped and after one that did not."""
SHARPEN = 1.5
"""Slope at a half of estimated shapes: sampling between pixels blurs them."""
SEEN = 5.0
"""So often a pixel of a shape must be seen to be estimated again."""


def similarity(
    centre: Float[Tensor, "N 2"], scale: Float[Tensor, " N"], angle: Float[Tensor, " N"], size: int
) -> Float[Tensor, "N 3 3"]:
    """Matrices that put the middle of a square of `size` pixels at `centre` (x, y), scaled and turned; in pixels."""
    cos, sin = scale * angle.cos(), scale * angle.sin()
    half = size / 2
    x = centre[:, 0] - (cos - sin) * half
    y = centre[:, 1] - (sin + cos) * half
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack([cos, -sin, x, sin, cos, y, zero, zero, one], 1).view(-1, 3, 3)


def matrices(poses: Float[Tensor, "N 4"], size: int) -> Float[Tensor, "N 3 3"]:
    """`similarity` of poses: centre (x, y) in pixels, log scale, angle."""
    return similarity(poses[:, :2], poses[:, 2].exp(), poses[:, 3], size)


def render(
    sprites: Float[Tensor, "N 1 h h"], matrix: Float[Tensor, "N 3 3"], size: tuple[int, int]
) -> Float[Tensor, "N H W"]:
    """Draw one sprite per matrix onto a canvas of its own."""
    inverse = torch.linalg.inv(matrix.double()).float()
    looked = (inverse[:, :2] @ pixel_middles(size)).transpose(1, 2) * (2 / sprites.shape[-1]) - 1
    return F.grid_sample(sprites, looked.reshape(-1, *size, 2), align_corners=False)[:, 0]


def pixel_middles(size: tuple[int, int]) -> Float[Tensor, "3 P"]:
    """The middles of all pixels, row by row: x, y and 1."""
    y, x = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    return torch.stack([x.flatten(), y.flatten(), torch.ones(x.numel())])


@torch.no_grad()
def register(
    shapes: Float[Tensor, "n s s"],
    start: Float[Tensor, "n 4"],
    target: Float[Tensor, "n H W"],
    weight: Float[Tensor, "n H W"],
    rounds: int = 8,
) -> tuple[Float[Tensor, "n 4"], Float[Tensor, " n"]]:
    """Move, scale and turn shapes such that each fits its target: sum of weight (target - shape)² is least, nearby.

    Args:
        shapes: Alphas, one for each pair.
        start: Centre (x, y) in pixels, log scale, angle.
        target: Alphas that images show.
        weight: 0 where the target says nothing, such as behind what may hide it.
        rounds: Steps; only those that help are taken.

    Returns:
        Poses as `start`, and the error of each.
    """
    if len(start) == 0:
        return start, start.new_zeros(0)
    planes, goal, sure = _with_slopes(shapes), target.flatten(1), weight.flatten(1)
    points = pixel_middles((target.shape[1], target.shape[2]))

    def look(poses: Float[Tensor, "n 4"]) -> tuple[Float[Tensor, "n P"], Float[Tensor, "n 4 P"], Float[Tensor, " n"]]:
        """What targets show beyond shapes, how shapes change with their pose, and the error."""
        alpha, slopes = _drawn_with_slopes(planes, poses, points)
        residual = goal - alpha
        return residual, slopes, (sure * residual.square()).sum(1)

    poses, damping = start, start.new_full((len(start),), DAMPING)
    residual, slopes, error = look(poses)
    for _ in range(rounds):
        weighted = slopes * sure[:, None]
        normal = weighted @ slopes.mT
        damped = normal + torch.diag_embed(normal.diagonal(dim1=1, dim2=2) * damping[:, None] + 1e-3)
        there = poses + torch.linalg.solve(damped, weighted @ residual[..., None])[..., 0].clamp(-1, 1)
        residual_there, slopes_there, error_there = look(there)
        helps = error_there < error
        poses = torch.where(helps[:, None], there, poses)
        residual = torch.where(helps[:, None], residual_there, residual)
        slopes = torch.where(helps[:, None, None], slopes_there, slopes)
        error = torch.where(helps, error_there, error)
        damping = torch.where(helps, damping * EASIER, damping * HARDER)
    return poses, error


def _with_slopes(shapes: Float[Tensor, "n s s"]) -> Float[Tensor, "n 3 s s"]:
    """Shapes, and how much they rise a pixel to the right and down."""
    wide = F.pad(shapes, (1, 1, 1, 1))
    return torch.stack(
        [shapes, (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]) / 2, (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]) / 2], 1
    )


def _drawn_with_slopes(
    planes: Float[Tensor, "n 3 s s"], poses: Float[Tensor, "n 4"], points: Float[Tensor, "3 P"]
) -> tuple[Float[Tensor, "n P"], Float[Tensor, "n 4 P"]]:
    """Draw shapes at some points, as `render` does, and how that changes with each number of their poses."""
    side = planes.shape[-1]
    cos, sin = (poses[:, 3].cos() / poses[:, 2].exp())[:, None], (poses[:, 3].sin() / poses[:, 2].exp())[:, None]
    right, down = points[0] - poses[:, :1], points[1] - poses[:, 1:2]
    # On the shape, from its middle: turned back and scaled back.
    x, y = cos * right + sin * down, cos * down - sin * right
    grid = torch.stack([x, y], 2)[:, None] * (2 / side)
    alpha, rise, fall = F.grid_sample(planes, grid, align_corners=False)[:, :, 0].unbind(1)
    return alpha, torch.stack(
        [sin * fall - cos * rise, -sin * rise - cos * fall, -rise * x - fall * y, rise * y - fall * x], 1
    )


@torch.no_grad()
def shapes_seen(
    shapes: Float[Tensor, "K s s"],
    found: Iterable[
        tuple[Int[Tensor, " _n"], Float[Tensor, "_n 3 3"], Float[Tensor, "_n H W"], Bool[Tensor, "_n H W"]]
    ],
) -> Float[Tensor, "K s s"]:
    """Estimate shapes again from registered images: at each of their pixels, how often images show the shape there.

    Args:
        shapes: As they were thought to be.
        found: For each image: which shapes it has, their matrices, masks of what is seen of each, and where that tells.

    Returns:
        Alphas in [0, 1]; as before where a pixel was hardly ever seen.
    """
    side = shapes.shape[-1]
    shown, seen, middles = torch.zeros_like(shapes), torch.zeros_like(shapes), pixel_middles((side, side))
    for entry, matrix, masks, tells in found:
        extent = matrix.new_tensor([[masks.shape[2]], [masks.shape[1]]])
        looked = ((matrix[:, :2] @ middles) * 2 / extent - 1).transpose(1, 2)
        both = torch.stack([masks, tells.to(masks)], 1)
        sampled = F.grid_sample(both, looked.reshape(-1, side, side, 2), align_corners=False)
        shown.index_add_(0, entry, sampled[:, 0])
        seen.index_add_(0, entry, sampled[:, 1])
    told = ((shown / seen.clamp_min(1e-3) - 0.5) * SHARPEN + 0.5).clamp(0, 1)
    return torch.where(seen > SEEN, told, shapes)

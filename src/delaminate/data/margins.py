"""Uniform margins of clips, which no frame ever changes: black bars, the frame of a window."""

from dataclasses import replace

import torch
from torch import Tensor

from delaminate.data.sets import ImageSet
from delaminate.scene.canvas_map import CanvasMap, Margins

LEAST_FRAMES = 5  # fewer show too little of what may change
LEAST_WIDTH = 2
UNIFORM = 8  # values of one row or column differ by at most so much, of 255, over all frames
BLACK = 16
EDGE, EDGE_SHARE = 24, 0.5  # where a margin ends, so much of its length differs by so much in at least one frame of two


def find_margins(images: ImageSet) -> Margins | None:
    """Find rows and columns at the border of a clip that have one colour each, in every frame.

    A margin ends at an edge over most of its length: a plain sky or a dark room has none. Margins that are not black come
    on opposite sides only.

    Returns:
        None where there is none, where the images are no clip, or are fewer than 5 frames.
    """
    if images.rate is None or len(images) < LEAST_FRAMES or images.transparent is not None:
        return None
    low, high = images.pixels.amin(0), images.pixels.amax(0)  # 3 H W
    down = _ends(low, high, images.pixels)
    inner = slice(down[0], images.size[0] - down[1])
    pixels = images.pixels[:, :, inner].transpose(2, 3)
    across = _ends(low[:, inner].transpose(1, 2), high[:, inner].transpose(1, 2), pixels)
    if not any((*down, *across)):
        return None
    middle = ((low.int() + high.int()) // 2).permute(1, 2, 0)  # H W 3
    height, width = images.size
    rows = middle[:, width // 2].tolist()
    columns = middle[(down[0] + height - down[1]) // 2].tolist()
    as_colours = [tuple((red, green, blue) for red, green, blue in some) for some in (rows, columns)]
    return Margins(
        as_colours[0][: down[0]],
        as_colours[1][: across[0]],
        as_colours[0][height - down[1] :],
        as_colours[1][width - across[1] :],
    )


def cut_margins(images: ImageSet, margins: Margins) -> ImageSet:
    """Cut margins off; canvas maps remember them."""
    height, width = images.size
    top, left = len(margins.top), len(margins.left)
    bottom, right = height - len(margins.bottom), width - len(margins.right)
    pixels = images.pixels[:, :, top:bottom, left:right].contiguous()
    size = bottom - top, right - left
    box = (float(left), float(top), float(size[1]), float(size[0]))
    canvas_map = CanvasMap(images.size, box, size, margins=margins)
    return replace(images, pixels=pixels, canvas_maps=(canvas_map,) * len(images))


def _ends(low: Tensor, high: Tensor, pixels: Tensor) -> tuple[int, int]:
    """How many rows at the beginning and at the end are a margin; arguments are (3, H, W) twice and (N, 3, H, W)."""
    uniform = ((high.amax(2).int() - low.amin(2).int()) <= UNIFORM).all(0)  # H
    black = (high.amax((0, 2)) < BLACK).tolist()
    count = len(uniform)
    ends = []
    for order in (range(count), range(count - 1, -1, -1)):
        plain = next((rows for rows, at in enumerate(order) if not bool(uniform[at])), count)
        # It ends at the first edge: what is plain behind that is a sky. Where codecs blur, the edge is a row deeper.
        places = [*((rows, 0) for rows in range(LEAST_WIDTH, min(plain, count - 1) + 1)), (plain, 1)]
        ends.append(next((rows for rows, deeper in places if _has_edge(pixels, order, rows, deeper)), 0))
    dark = black[: ends[0]] + black[count - ends[1] :]
    return (ends[0], ends[1]) if all(ends) or all(dark) else (0, 0)


def _has_edge(pixels: Tensor, order: range, rows: int, deeper: int) -> bool:
    """Whether the picture differs from its margin of so many rows over most of where it begins, or of a row deeper."""
    if rows < LEAST_WIDTH or rows + deeper >= len(order):
        return False
    margin, inside = pixels[:, :, order[rows - 1]].int(), pixels[:, :, order[rows + deeper]].int()
    share = ((inside - margin).abs().amax(1) > EDGE).float().mean(1)  # N
    return float(torch.median(share)) >= EDGE_SHARE

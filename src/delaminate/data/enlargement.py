"""Pixel art that was enlarged by a whole number, made small again."""

import math
from dataclasses import replace

from jaxtyping import UInt8
from torch import Tensor

from delaminate.data.sets import ImageSet
from delaminate.errors import DataError


def detect_enlargement(pixels: UInt8[Tensor, "N 3 H W"]) -> int:
    """By how much all images were blown up, each pixel an n x n block of one colour: the largest such n.

    It is the greatest common divisor of all places where a row or column differs from the one before, and of height
    and width. Images without any edge tell nothing.

    Returns:
        n >= 2, or 1 where they were not.
    """
    factor = 0
    for each in pixels:  # one by one: a clip is large
        for place in _edges(each):
            factor = math.gcd(factor, place)
        if factor == 1:
            return 1
    return math.gcd(factor, pixels.shape[2], pixels.shape[3]) if factor else 1


def is_enlarged(pixels: UInt8[Tensor, "N 3 H W"], factor: int) -> bool:
    """Whether images are made of factor x factor blocks of one colour each; images of one colour are, if their size fits."""
    if factor < 1 or pixels.shape[2] % factor or pixels.shape[3] % factor:
        return False
    return all(place % factor == 0 for each in pixels for place in _edges(each))


def _edges(pixels: UInt8[Tensor, "3 H W"]) -> list[int]:
    """Rows and columns that differ from the one before."""
    rows = (pixels[:, 1:] != pixels[:, :-1]).any(2).any(0)  # H - 1
    columns = (pixels[..., 1:] != pixels[..., :-1]).any(1).any(0)  # W - 1
    return [*(rows.nonzero()[:, 0] + 1).tolist(), *(columns.nonzero()[:, 0] + 1).tolist()]


def undo_enlargement(images: ImageSet, factor: int) -> ImageSet:
    """Undo an exact enlargement: one pixel for each block. Canvas maps keep the original size, and the factor.

    Args:
        images: A set of which `is_enlarged` says so.
        factor: 1 changes nothing.

    Raises:
        DataError: The images are not made of such blocks.
    """
    if not is_enlarged(images.pixels, factor):
        found = detect_enlargement(images.pixels)
        raise DataError(
            f"undo_enlargement: the images were enlarged {found}-fold; asked to undo {factor}-fold. Use a divisor of {found}."
        )
    size = images.size[0] // factor, images.size[1] // factor
    pixels = images.pixels[:, :, ::factor, ::factor].contiguous()
    maps = tuple(replace(m, canvas=size, zoom=factor if m.is_identity else 1) for m in images.canvas_maps)
    return replace(images, pixels=pixels, canvas_maps=maps)

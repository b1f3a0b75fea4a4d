"""Residuals: what layers do not explain, as small grey pictures beside the scenes, and as heat on a page.

A residual is the mean absolute difference of the channels, 255 for 1, shrunk by averaging.
"""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from delaminate.errors import FormatError, reading
from delaminate.files import to_pixels

SIDE = 160  # pixels of the longest side, at most
Residuals = str | Path | Callable[[str], bytes | None]
LARGEST_READ = 4096
FULL_HEAT = 0.5  # a difference that is shown at its hottest
# From nothing over dark red and orange to pale yellow.
HEAT = np.array([[13, 8, 26], [92, 18, 76], [178, 42, 58], [236, 118, 36], [252, 226, 130]], dtype=np.float64)


def residual_picture(
    original: Float[Tensor, "3 H W"], rebuilt: Float[Tensor, "3 H W"], side: int = SIDE
) -> UInt8[np.ndarray, "h w"]:
    """Picture the mean absolute difference of two images in [0, 1], shrunk to at most `side` pixels."""
    difference = (original - rebuilt).abs().mean(0, keepdim=True)  # 1 H W
    height, width = difference.shape[1:]
    shrink = max(height, width) / side
    if shrink > 1:
        size = (max(round(height / shrink), 1), max(round(width / shrink), 1))
        difference = F.interpolate(difference[None], size=size, mode="area")[0]
    return to_pixels(difference)[..., 0]


def read_residual(residuals: Residuals, name: str) -> UInt8[np.ndarray, "h w"] | None:
    """Read a scene's residual; None where there is none.

    Args:
        residuals: The folder `residuals`, or what gives the bytes of the PNG.
        name: The scene's name.

    Raises:
        FormatError: It is no such picture.
    """
    if callable(residuals):
        where = f"residual of {name!r:.120}"
        data = residuals(name)
        return None if data is None else _decoded(data, where)
    path = Path(residuals) / f"{name}.png"
    if not path.is_file():
        return None
    with reading(path, FormatError, "cannot be read"):
        return _decoded(path.read_bytes(), path)


def _decoded(data: bytes, where: str | Path) -> UInt8[np.ndarray, "h w"]:
    with reading(where, FormatError, "is no PNG that can be read"), warnings.catch_warnings():
        warnings.simplefilter("error")
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode != "L" or max(image.size) > LARGEST_READ:
                raise FormatError(
                    f"{where}: {image.width} x {image.height} pixels of kind {image.mode}; expected 8-bit grey, at "
                    f"most {LARGEST_READ}. Delete it, or decompose again."
                )
            return np.array(image)


def heat_picture(residual: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Colour a residual: black is explained; from a difference of a half on it is as hot as can be."""
    place = np.clip(residual / 255 / FULL_HEAT, 0, 1) * (len(HEAT) - 1)
    steps = np.arange(len(HEAT))
    return np.stack([np.interp(place, steps, HEAT[:, channel]) for channel in range(3)], 2).round().astype(np.uint8)

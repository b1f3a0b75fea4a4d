"""What a notebook shows of a result: a few facts, and pictures in rows, as one piece of HTML."""

import base64
from collections.abc import Mapping, Sequence
from html import escape

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from delaminate.files import png_bytes, to_pixels

SIDE = 96
"""Pixels of the longer side of a picture, about."""


def page_of(title: str, facts: Mapping[str, str], rows: Sequence[Float[Tensor, "_n _c _h _w"]] = ()) -> str:
    """Write facts and rows of pictures, RGB or RGBA in [0, 1], as HTML without any script."""
    told = "".join(
        f"<tr><th style='text-align:left'>{escape(key)}</th><td>{escape(value)}</td></tr>"
        for key, value in facts.items()
    )
    shown = "".join(f"<div style='margin:4px 0'>{_row(row)}</div>" for row in rows if len(row))
    return f"<div><b>{escape(title)}</b><table>{told}</table>{shown}</div>"


def _row(pictures: Float[Tensor, "N C h w"]) -> str:
    return "".join(picture_html(picture) for picture in pictures[:24])


def picture_html(picture: Float[Tensor, "C h w"]) -> str:
    """Write one picture as an image that HTML carries within itself, enlarged by a whole number if it is small."""
    times = max(1, SIDE // max(picture.shape[1:]))
    large = F.interpolate(picture[None].detach().cpu().clamp(0, 1), scale_factor=times, mode="nearest")[0]
    data = base64.b64encode(png_bytes(to_pixels(large))).decode()
    return (
        f"<img alt='' src='data:image/png;base64,{data}' style='margin:2px;max-height:{2 * SIDE}px;"
        "background:repeating-conic-gradient(#ddd 0 25%,#fff 0 50%) 0 0/12px 12px'>"
    )


def sprites_row(sprites: Sequence[Float[Tensor, "4 _h _w"]]) -> str:
    """Write sprites, each of its own size, in a row."""
    return "".join(picture_html(sprite) for sprite in sprites)


def joined(pictures: Sequence[Float[Tensor, "C _h _w"]]) -> Float[Tensor, "N C H W"]:
    """Put pictures of different sizes into one batch, each in the top left corner."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (1, 2))
    return torch.stack(
        [F.pad(picture, (0, width - picture.shape[2], 0, height - picture.shape[1])) for picture in pictures]
    )

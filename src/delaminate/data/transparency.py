"""Transparent pixels among images that are taken as they are: they become one colour that no opaque pixel has.

Methods see three channels. Over black, the colour of an empty canvas, the black outlines of sprites would be cut out with
what surrounds them; over a colour of their own transparent pixels stay apart from everything that is shown.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from delaminate.errors import DataError

Colour = tuple[int, int, int]
Transparency = Colour | Literal["auto"] | None
"""What transparent pixels become: this colour; "auto": one that no opaque pixel has; None: black, mixed by alpha."""

CANDIDATES: tuple[Colour, ...] = (
    (255, 0, 255), (0, 255, 0), (0, 255, 255), (255, 255, 0), (255, 0, 0), (0, 0, 255), (255, 128, 0), (128, 0, 255),
)  # fmt: skip
FAR = 0.3  # distance of colours in [0, 1]^3 beyond which they are told apart
SHOWN = 128  # least alpha, of 255, that shows its colour
HIDDEN_SHARE = 0.1  # of all pixels, below which transparent ones are no background
SOFT, SOFT_SHARE = (
    (16, 239),
    0.05,
)  # alpha between these is soft; more of it is an anti-aliased picture or a cut-out photo
CELLS = 64  # of the grid of colours that is searched, a side

Pixels = UInt8[np.ndarray, "_h _w _c"]


def over_black(pixels: Pixels) -> UInt8[np.ndarray, "H W 3"]:
    """Composite RGBA pixels over black; RGB pixels stay."""
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3]
    if not ((alpha > 0) & (alpha < 255)).any():
        return np.ascontiguousarray(pixels[..., :3] * (alpha[..., None] // 255))
    rgba = Image.fromarray(pixels, "RGBA")
    return np.array(Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB"))


def replace_transparency(
    pictures: Sequence[Pixels], transparent: Transparency
) -> tuple[list[UInt8[np.ndarray, "_h _w 3"]], Colour | None]:
    """Turn RGBA pictures, RGB ones among them, into RGB ones.

    Alpha from 128 on shows its colour, less is transparent. By "auto", pictures whose alpha is soft (between 16 and 239 for
    more than 5 % of what is not transparent) are composited over black, and so are pictures of which less than a tenth is
    transparent.

    Args:
        pictures: Of one clip or folder.
        transparent: What transparent pixels become.

    Returns:
        The pictures, and the colour that stands for nothing; None where there is none.

    Raises:
        DataError: `transparent` is no colour.
    """
    key = transparency_key(pictures, transparent)
    return [shown_over(picture, key) for picture in pictures], key


def with_alpha(picture: UInt8[np.ndarray, "h w 3"], key: Colour | None) -> UInt8[np.ndarray, "h w 4"]:
    """Go back from `replace_transparency`: alpha is 0 where a picture has the colour that stands for nothing, else 255."""
    hidden = np.zeros((*picture.shape[:2], 1), bool)
    if key is not None:
        hidden = (picture == np.array(key, np.uint8)).all(2, keepdims=True)
    return np.concatenate([picture, np.where(hidden, 0, 255).astype(np.uint8)], 2)


def transparency_key(pictures: Sequence[Pixels], transparent: Transparency) -> Colour | None:
    """Choose the colour that transparent pixels of these pictures become, as `replace_transparency` says; None: black.

    Raises:
        DataError: `transparent` is no colour.
    """
    if transparent is None or (transparent == "auto" and not _has_hard_alpha(pictures)):
        return None
    return unused_colour(pictures) if transparent == "auto" else check_colour(transparent)


def shown_over(picture: Pixels, key: Colour | None) -> UInt8[np.ndarray, "_h _w 3"]:
    """Turn an RGBA picture into an RGB one: over black, or with a colour in place of what is transparent."""
    if picture.shape[2] == 3 or key is None:
        return over_black(picture)
    return np.where(picture[..., 3:] >= SHOWN, picture[..., :3], np.array(key, np.uint8))


def check_colour(colour: Sequence[int]) -> Colour:
    """Take red, green and blue in 0..255.

    Raises:
        DataError: They are none.
    """
    numbers = tuple(int(number) for number in colour)
    if len(numbers) != 3 or not all(0 <= number <= 255 for number in numbers):
        raise DataError(f"transparent: got {colour!r:.60}; expected red, green and blue in 0..255.")
    return numbers[0], numbers[1], numbers[2]


def _has_hard_alpha(pictures: Sequence[Pixels]) -> bool:
    """Whether much is transparent, and alpha is nearly all or nothing.

    A GIF that clears a little of an opaque first frame has no transparent background.
    """
    hidden = soft = seen = 0
    for picture in pictures:
        if picture.shape[2] == 4:
            alpha = picture[..., 3]
            hidden += int((alpha < SHOWN).sum())
            soft += int(((alpha > SOFT[0]) & (alpha < SOFT[1])).sum())
            seen += int((alpha > 0).sum())
        else:
            seen += picture.shape[0] * picture.shape[1]
    return hidden > HIDDEN_SHARE * (hidden + seen) and soft <= SOFT_SHARE * seen


def unused_colour(pictures: Sequence[Pixels]) -> Colour:
    """Choose a colour that no opaque pixel has, far from all that are there where that is possible.

    Raises:
        DataError: All 2^24 colours are used.
    """
    from scipy.ndimage import distance_transform_edt  # here, so that the studio opens at once

    used = np.zeros(2**24, bool)
    for picture in pictures:
        shown = picture[picture[..., 3] >= SHOWN] if picture.shape[2] == 4 else picture.reshape(-1, 3)
        used[shown[:, :3].astype(np.int64) @ (65536, 256, 1)] = True
    colours = np.flatnonzero(used)
    values = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], 1)
    for candidate in CANDIDATES:
        if not len(values) or np.sqrt(((values - candidate) ** 2).sum(1).min()) > 255 * FAR:
            return candidate
    # The cell of colours that is farthest from every used one.
    free = np.ones((CELLS,) * 3, bool)
    free[tuple((values // (256 // CELLS)).T)] = False
    if free.any():
        cell = np.unravel_index(int(distance_transform_edt(free).argmax()), free.shape)
        red, green, blue = (int(at) * (256 // CELLS) + 256 // CELLS // 2 for at in cell)
        return red, green, blue
    if used.all():
        raise DataError("transparent: the images use all colours; none is left to stand for what is transparent.")
    first = int(np.argmin(used))
    return first >> 16, first >> 8 & 255, first & 255

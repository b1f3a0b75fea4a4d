"""Sprites that people have already: a folder of pictures, or a sheet with its JSON."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from delaminate.data.folders import FolderSource
from delaminate.errors import DataError
from delaminate.importers.document import with_opaque
from delaminate.importers.sheets import read_sheet
from delaminate.scene.scenes import MAX_TITLE, is_plain_text

MAX_SIDE = 512
"""Pixels that a sprite may be high and wide."""

Sprites = Mapping[str, UInt8[np.ndarray, "_h _w 4"]]
"""RGBA, not premultiplied, by their names."""


def read_sprites(place: str | Path) -> Sprites:
    """Read sprites, at the size that they have in the images.

    Args:
        place: A folder of pictures with alpha, or the JSON of a sprite sheet (TexturePacker's or Aseprite's).

    Raises:
        DataError: There is none; one cannot be read, shows nothing or is too large.
        FormatError: The JSON is no sheet's.
    """
    place = Path(place)
    if place.suffix.lower() == ".json":
        found = {name: frame.pixels for name, frame in read_sheet(place).items()}
    else:
        source = FolderSource(place)
        found = {name: with_opaque(source.picture(index, alpha=True)) for index, name in enumerate(source.names)}
    titled: dict[str, UInt8[np.ndarray, "_h _w 4"]] = {}
    for name, pixels in found.items():
        title = _title(name)
        while title in titled:
            title = f"{title[: MAX_TITLE - 1]}'"
        titled[title] = _checked(pixels, f"{place}: {name!r:.80}")
    return titled


def _title(name: str) -> str:
    """A name as sprites have it: one line."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:MAX_TITLE]
    return plain if is_plain_text(plain, MAX_TITLE) else "sprite"


def _checked(pixels: UInt8[np.ndarray, "h w 4"], where: str) -> UInt8[np.ndarray, "_h _w 4"]:
    if not (pixels[..., 3] >= 6).any():
        raise DataError(f"{where}: every pixel is transparent; expected a sprite.")
    rows, columns = np.flatnonzero(pixels[..., 3].any(1)), np.flatnonzero(pixels[..., 3].any(0))
    cut = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if max(cut.shape[:2]) > MAX_SIDE:
        raise DataError(
            f"{where}: is {cut.shape[1]} x {cut.shape[0]} pixels; expected a sprite of up to {MAX_SIDE} a side."
        )
    return np.ascontiguousarray(cut)

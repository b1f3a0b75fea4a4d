"""What the drawn sets share: how a drawing is described, and sprites that are stamped on a canvas."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from PIL import Image

from delaminate.data.reading import MAX_PIXELS, open_picture
from delaminate.errors import DataError, reading

Raster = UInt8[np.ndarray, "3 H W"]
Map = Int64[np.ndarray, "H W"]
Painter = Callable[[np.random.Generator, Raster, Map, Map], None]
FramePainter = Callable[[int, Raster, Map, Map], None]


@dataclass(frozen=True)
class Stamp:
    """One sprite, ready to be put on a canvas.

    Attributes:
        rgb, alpha: Colour, not premultiplied, and opacity, in 0..255.
        mask: Where the sprite is what one sees: opaque by more than half.
        soft: Some of the alpha is neither 0 nor 255.
    """

    rgb: UInt8[np.ndarray, "3 h w"]
    alpha: UInt8[np.ndarray, "h w"]
    mask: Bool[np.ndarray, "h w"]
    soft: bool

    @classmethod
    def of(cls, rgba: UInt8[np.ndarray, "h w 4"]) -> "Stamp":
        """Make a stamp from a picture with alpha."""
        alpha = rgba[..., 3].copy()
        rgb = np.ascontiguousarray(rgba[..., :3].transpose(2, 0, 1))  # 3 h w
        return cls(rgb, alpha, alpha > 127, bool(((alpha > 0) & (alpha < 255)).any()))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.alpha.shape[0], self.alpha.shape[1]

    @property
    def feet(self) -> int:
        """The row below the lowest one that is seen, counted from the top."""
        return int(np.flatnonzero(self.mask.any(axis=1))[-1]) + 1

    @functools.cached_property
    def mirrored(self) -> "Stamp":
        """The same sprite facing the other way."""
        return Stamp(
            np.ascontiguousarray(self.rgb[..., ::-1]),
            np.ascontiguousarray(self.alpha[:, ::-1]),
            np.ascontiguousarray(self.mask[:, ::-1]),
            self.soft,
        )

    def onto(self, pixels: Raster, instances: Map, classes: Map, top: int, left: int, number: int, kind: int) -> None:
        """Put the sprite over what is there, its corner at (top, left); what lies outside is cut off.

        Args:
            pixels, instances, classes: Changed in place.
            top, left: In pixels; may be negative.
            number, kind: Written into the maps where the sprite is what one sees.
        """
        height, width = self.alpha.shape
        first, last = max(top, 0), min(top + height, instances.shape[0])
        begin, end = max(left, 0), min(left + width, instances.shape[1])
        if first >= last or begin >= end:
            return
        there = slice(first, last), slice(begin, end)
        here = slice(first - top, last - top), slice(begin - left, end - left)
        mask, rgb, behind = self.mask[here], self.rgb[:, *here], pixels[:, *there]
        if self.soft:
            alpha = self.alpha[here].astype(np.uint16)
            behind[:] = (alpha * rgb + (255 - alpha) * behind + 127) // 255
        else:
            np.copyto(behind, rgb, where=mask)
        np.copyto(instances[there], number, where=mask)
        np.copyto(classes[there], kind, where=mask)


@dataclass(frozen=True)
class Drawing:
    """How the scenes of one name are drawn.

    Attributes:
        size: Height and width of the canvas in pixels, unless another one is asked for.
        description: One line for a list of names.
        paint: Draws one scene into black pixels, instances and classes, whose size is that of the canvas.
        paint_split: Makes that painter for the split of its name, where a split has digits or photos of its own.
        film: Makes the painter of a clip's frames by number from the clip's random stream; one of the three is given.
        rate: Frames per second of a clip.
        sprites: The sprites that are drawn, where they are fixed; kept for measuring dictionaries.
        sprite_iou: The alpha-IoU from which one of them counts as found.
        folder: What must lie below DELAMINATE_DATA, or empty.
        replica: Drawn after a published description.
        sizes: All sizes in which it can be drawn, where there are several.
        regions: Every image consists of the same so many regions, the background included; None: it does not.
    """

    size: tuple[int, int]
    description: str
    paint: Painter | None = None
    paint_split: Callable[[str], Painter] | None = None
    film: Callable[[np.random.Generator], FramePainter] | None = None
    rate: float | None = None
    sprites: Callable[[], Sequence[Stamp]] | None = None
    sprite_iou: float = 0.9
    folder: str = ""
    replica: bool = True
    sizes: tuple[tuple[int, int], ...] = ()
    regions: int | None = None

    def canvas(self, name: str, size: tuple[int, int] | None) -> tuple[int, int]:
        """The size to draw in: the one asked for, else the drawing's own.

        Raises:
            DataError: It cannot be drawn in that size.
        """
        known = self.sizes or (self.size,)
        if size is not None and tuple(size) not in known:
            having = ", ".join(f"{height} x {width}" for height, width in known)
            raise DataError(
                f"synthetic: '{name}' is drawn in {having} pixels; asked for {size[0]} x {size[1]}. Leave the size out, "
                "or write it with `delaminate data write` and give that folder, which is brought to any size."
            )
        return self.size if size is None else (size[0], size[1])


@functools.cache
def packaged(name: str) -> Stamp:
    """A sprite that comes with the package: Kenney's Pixel Platformer, CC0, licence beside the files."""
    with resources.files("delaminate.data.synthetic").joinpath("sprites", "kenney", f"{name}.png").open("rb") as file:
        return Stamp.of(np.array(Image.open(file).convert("RGBA")))


def stamp_file(path: Path) -> Stamp:
    """Read a sprite from a PNG file with alpha.

    Raises:
        DataError: The file is absent or no such picture.
    """
    fault = "cannot be read as a sprite; expected a PNG with alpha"
    with reading(path, DataError, fault), open_picture(path, ("PNG",), MAX_PIXELS) as image:
        return Stamp.of(np.array(image.convert("RGBA")))

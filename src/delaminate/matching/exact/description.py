"""Description length in bits: one currency for backgrounds, sprites, placements and what nothing explains.

A picture is told pixel by pixel: one that continues what is left of it and above it costs next to nothing, any other the
choice of a colour. What stands for itself in a frame is told as a connected region; regions that come again are told once,
as a sprite, and then only placed. (Minimum description length; Rissanen, 1978)
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

SMOOTH, EDGE = 0.1, 1.5
"""Bits of a pixel that is like both neighbours told before it, and like one of them."""
OUTLINE = 1.5
"""Bits of a step along a region's outline."""
HEADER = 16.0
"""Bits of a picture's size."""
THING = 0.5
"""Of a frame, the share that a thing covers, at most: a region that covers more is another scene, and is told each time."""
HOLE = 6.0
"""Bits of a pixel that a background hides and that shows the commonest colour: more likely nothing was in front of it."""


@dataclass(frozen=True)
class Prices:
    """What things cost in one clip, in bits.

    Attributes:
        colour: A colour that nothing predicts.
        place: Where a thing is in a frame, and which it is.
    """

    colour: float
    place: float

    @property
    def pixel(self) -> float:
        """A pixel that nothing explains: every other one continues its neighbour."""
        return EDGE + self.colour / 2

    @classmethod
    def of(cls, frames: UInt8[np.ndarray, "N H W 3"], sprites: int = 32) -> "Prices":
        """Prices for some frames: rarely seen colours need many bits."""
        few = frames[:: max(1, len(frames) // 16)] >> 2
        packed = (few.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)).ravel()
        _, counts = np.unique(packed, return_counts=True)
        shares = counts / counts.sum()
        entropy = float(-(shares * np.log2(shares)).sum())
        return cls(min(24.0, max(entropy, 1.0) + 2.0), math.log2(frames.shape[1] * frames.shape[2] * sprites) + 2.0)


def picture_bits(
    rgb: np.ndarray, prices: Prices, mask: Bool[np.ndarray, "h w"] | None = None, tolerance: float = 0.0
) -> float:
    """Bits that tell a picture, or its part under a mask with the outline of that.

    Args:
        rgb: Colours (h, w, 3): 0..255, or any numbers where `tolerance` is in their units.
        prices: What colours cost.
        mask: What is told of it; None: all.
        tolerance: Largest difference, in a channel, of colours that are alike.
    """
    shown = np.ones(rgb.shape[:2], bool) if mask is None else mask
    if not shown.any():
        return 0.0
    values = rgb.astype(np.float32)
    left, above = np.zeros(shown.shape, bool), np.zeros(shown.shape, bool)
    left[:, 1:] = (np.abs(values[:, 1:] - values[:, :-1]) <= tolerance).all(2) & shown[:, :-1]
    above[1:] = (np.abs(values[1:] - values[:-1]) <= tolerance).all(2) & shown[:-1]
    both, one = left & above & shown, (left ^ above) & shown
    told = int(shown.sum()) - int(both.sum()) - int(one.sum())
    bits = HEADER + SMOOTH * int(both.sum()) + EDGE * int(one.sum()) + (EDGE + prices.colour) * told
    return bits if mask is None else bits + OUTLINE * outline(mask)


def outline(mask: Bool[np.ndarray, "h w"]) -> int:
    """Steps along the outline of a region."""
    wide = np.pad(mask, 1)
    return int((wide[1:] != wide[:-1]).sum()) + int((wide[:, 1:] != wide[:, :-1]).sum())


@dataclass(frozen=True, eq=False)
class Region:
    """A connected region of a frame that the background does not explain.

    Attributes:
        frame: Its frame.
        top, left: Corner in pixels.
        colour: (h, w, 3), 0..255.
        mask: Shape (h, w).
        cut: It touches the frame's border.
    """

    frame: int
    top: int
    left: int
    colour: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    cut: bool

    @property
    def key(self) -> bytes:
        """Equal for regions of one shape and the same colours."""
        shown = (self.colour * self.mask[..., None]).tobytes() + np.packbits(self.mask).tobytes()
        return hashlib.blake2b(shown + str(self.mask.shape).encode(), digest_size=16).digest()


def regions_of(frame: UInt8[np.ndarray, "H W 3"], is_open: Bool[np.ndarray, "H W"], number: int = 0) -> list[Region]:
    """Cut out the connected regions of open pixels; corners connect."""
    labels, _ = ndimage.label(is_open, np.ones((3, 3)))
    found = []
    for index, window in enumerate(ndimage.find_objects(labels), start=1):
        rows, columns = window
        cut = rows.start == 0 or columns.start == 0 or rows.stop == is_open.shape[0] or columns.stop == is_open.shape[1]
        found.append(Region(number, rows.start, columns.start, frame[window], labels[window] == index, cut))
    return found


def frames_bits(
    frames: UInt8[np.ndarray, "n H W 3"],
    behind: Float32[np.ndarray, "#n #H #W 3"],
    prices: Prices,
    count: int,
    tolerance: float,
    common: UInt8[np.ndarray, "3"] | None = None,
) -> float:
    """Bits that tell a clip once its background is known, estimated from some of its frames.

    Args:
        frames: Some frames.
        behind: What is behind each, or behind all, in [0, 1].
        prices: What things cost.
        count: Frames of the whole clip.
        tolerance: Distance in RGB below which two colours count as one, in [0, 1] units.
        common: The commonest colour, which costs extra where a background is hidden by it.
    """
    seen: dict[bytes, tuple[Region, int]] = {}
    holes = total = 0
    for index, frame in enumerate(frames):
        shown = behind[index if len(behind) > 1 else 0]
        is_open = np.square(frame / np.float32(255) - shown).sum(2) > max(tolerance, 0.5 / 255) ** 2
        if common is not None:
            holes += int((np.abs(frame[is_open].astype(np.int16) - common) <= 2).all(1).sum())
        for region in regions_of(frame, is_open, index):
            total += 1
            first, times = seen.get(region.key, (region, 0))
            seen[region.key] = (first, times + 1)
    scale = count / len(frames)
    bits = scale * (total * prices.place + HOLE * holes)
    for region, times in seen.values():
        told = picture_bits(region.colour, prices, region.mask, 255 * tolerance / 3)
        is_thing = region.mask.sum() <= THING * frames.shape[1] * frames.shape[2]
        bits += told if times > 1 and is_thing else scale * times * told
    return bits

"""Frames of a GIF as browsers show them.

Pillow decodes the pixels of each frame; where a frame lies, what it leaves of the frames before and what is transparent
is settled here, because Pillow has rules of its own (it fills with the background colour, and refuses frames that reach
beyond the screen). Chrome and Firefox agree on these: the canvas begins transparent and is the logical screen, enlarged
where the first frame is larger; later frames are cut at it; disposal 2 clears to transparent, never to a colour; 3 (and 4,
which some programs write) brings back what was there before; the background colour is not looked at.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from delaminate.errors import DataError

NO_TRANSPARENCY = -1
CLEARED, RESTORED = (2,), (3, 4)  # values of the field "disposal method"
TRAILER, EXTENSION, IMAGE = 0x3B, 0x21, 0x2C
GRAPHIC_CONTROL = 0xF9


@dataclass(frozen=True)
class GifFrame:
    """One image of a GIF, not yet decoded.

    Attributes:
        left, top, width, height: Where it lies on the screen, in pixels.
        interlaced: Its rows come in four passes.
        colours: The table of its colours, RGB; empty where the file has none.
        data: Its compressed pixels as they stand in the file, from the byte of the code size on.
        disposal: What becomes of it before the next one.
        transparent: The number that paints nothing, or -1.
        duration: Milliseconds, as the file says.
    """

    left: int
    top: int
    width: int
    height: int
    interlaced: bool
    colours: UInt8[np.ndarray, "n 3"]
    data: bytes
    disposal: int
    transparent: int
    duration: int


class _Reader:
    """Takes bytes one after the other; EOFError where there are no more."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def take(self, count: int) -> bytes:
        if self.place + count > len(self.content):
            raise EOFError("the file breaks off")
        self.place += count
        return self.content[self.place - count : self.place]

    def colours(self, flags: int) -> UInt8[np.ndarray, "n 3"]:
        """The table of colours that the flags announce."""
        count = 2 << (flags & 7) if flags & 0x80 else 0
        return np.frombuffer(self.take(3 * count), np.uint8).reshape(count, 3)

    def blocks(self) -> list[bytes]:
        """A chain of blocks, up to the empty one."""
        found = []
        while length := self.take(1)[0]:
            found.append(self.take(length))
        return found


def parse_gif(content: bytes) -> tuple[tuple[int, int], Iterator[GifFrame]]:
    """Take a GIF file apart, without decoding pixels.

    Args:
        content: The whole file.

    Returns:
        Width and height of the logical screen in pixels, and the frames, whose iterator raises EOFError where the file
        breaks off.

    Raises:
        EOFError: The file is shorter than its head.
        DataError: It is no GIF.
    """
    reader = _Reader(content)
    if reader.take(6) not in (b"GIF87a", b"GIF89a"):
        raise DataError("the file is no GIF")
    width, height, flags, _, _ = struct.unpack("<HHBBB", reader.take(7))
    return (width, height), _frames(reader, (width, height), reader.colours(flags))


def _frames(reader: _Reader, screen: tuple[int, int], shared: UInt8[np.ndarray, "n 3"]) -> Iterator[GifFrame]:
    control = (0, 0, NO_TRANSPARENCY)
    while (kind := reader.take(1)[0]) != TRAILER:
        if kind == EXTENSION:
            label, blocks = reader.take(1)[0], reader.blocks()
            if label == GRAPHIC_CONTROL and blocks and len(blocks[0]) >= 4:
                packed, delay, number = struct.unpack("<BHB", blocks[0][:4])
                control = (packed >> 2 & 7, 10 * delay, number if packed & 1 else NO_TRANSPARENCY)
        elif kind == IMAGE:
            left, top, width, height, flags = struct.unpack("<HHHHB", reader.take(9))
            own = reader.colours(flags)
            start = reader.place
            reader.take(1)
            reader.blocks()
            disposal, duration, transparent = control
            yield GifFrame(
                left,
                top,
                width or screen[0],  # as browsers mend it
                height or screen[1],
                bool(flags & 0x40),
                own if len(own) else shared,
                reader.content[start : reader.place],
                disposal,
                transparent,
                duration,
            )
            control = (0, 0, NO_TRANSPARENCY)  # a control block is for the next image alone
        # What is neither is passed over, as browsers do.


def count_gif_frames(path: Path, most: int = 2) -> int:
    """Count the frames of a GIF, up to `most`; those before a break."""
    try:
        count = 0
        for _ in parse_gif(path.read_bytes())[1]:
            count += 1
            if count == most:
                break
    except (EOFError, DataError):
        pass
    return count


def gif_frames(content: bytes, max_pixels: int) -> Iterator[tuple[UInt8[np.ndarray, "H W 4"], int]]:
    """Compose the frames that a browser shows.

    Args:
        content: The whole file.
        max_pixels: The largest canvas that is decoded.

    Yields:
        The canvas as RGBA, whose alpha is 0 or 255, and the milliseconds that the file states.

    Raises:
        EOFError: The file breaks off; whole frames before that were given.
        DataError: It is no GIF, or the canvas is larger.
        OSError: The pixels of a frame cannot be decoded.
    """
    screen, frames = parse_gif(content)
    canvas = np.zeros((0, 0, 4), np.uint8)
    for number, frame in enumerate(frames):
        if number == 0:
            size = max(screen[1], frame.top + frame.height), max(screen[0], frame.left + frame.width)
            if size[0] * size[1] > max_pixels:
                raise DataError(f"{size[1]} x {size[0]} pixels are more than the {max_pixels:,} we decode")
            canvas = np.zeros((*size, 4), np.uint8)
        elif frame.width * frame.height > max_pixels:
            raise DataError(
                f"a frame of {frame.width} x {frame.height} pixels is more than the {max_pixels:,} we decode"
            )
        window = canvas[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width]
        before = window.copy() if frame.disposal in RESTORED else None
        _paint(window, frame)
        yield canvas.copy(), frame.duration
        if before is not None:
            window[:] = before
        elif frame.disposal in CLEARED:
            window[:] = 0


def _paint(window: UInt8[np.ndarray, "h w 4"], frame: GifFrame) -> None:
    """Paint a frame on its window, which may be smaller, cut at the canvas."""
    height, width = window.shape[:2]
    if not height or not width:
        return
    numbers = _numbers(frame)[:height, :width]
    painted = (numbers != frame.transparent) & (numbers < len(frame.colours))
    window[painted, :3] = frame.colours[numbers[painted]]
    window[painted, 3] = 255


def _numbers(frame: GifFrame) -> UInt8[np.ndarray, "h w"]:
    """Decode a frame's numbers of colours: Pillow reads it as a file of its own, grey by a table that keeps the numbers."""
    table = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1).tobytes()
    head = b"GIF89a" + struct.pack("<HHBBB", frame.width, frame.height, 0xF7, 0, 0) + table
    place = struct.pack("<BHHHHB", IMAGE, 0, 0, frame.width, frame.height, 0x40 if frame.interlaced else 0)
    with Image.open(io.BytesIO(head + place + frame.data + bytes([TRAILER])), formats=("GIF",)) as image:
        return np.array(image.convert("L"))

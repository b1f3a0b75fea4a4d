"""Clips in: video files, animated GIF, PNG and WebP, frame by frame; and pixel art that was blown up, made small again.

Files come from strangers. What a file is follows from its first bytes, never from its name alone; only local files are
opened, and only by the one reader that fits, so that no playlist can make us fetch anything.
"""

import importlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from delaminate.data.gif import count_gif_frames, gif_frames
from delaminate.data.pictures import PictureStack
from delaminate.data.reading import BROKEN, MAX_PIXELS, VIDEO_SUFFIXES, Fit, fit_image, open_picture
from delaminate.data.sets import ImageSet
from delaminate.data.transparency import Transparency, over_black
from delaminate.errors import LONGEST_REASON, DataError, DelaminateError, MissingExtra, one_line, reading
from delaminate.scene.canvas_map import CanvasMap

ANIMATION_SUFFIXES = frozenset({".gif", ".png", ".apng", ".webp"})
ANIMATION_FORMATS = ("GIF", "PNG", "WEBP")

MAX_CLIP_FRAMES = 20_000
MAX_CLIP_BYTES = 4 * 2**30
MAX_FRAME_PIXELS = 2**24  # of a GIF, APNG or WebP, whose small files may claim many frames of any size
SHORTEST, SHORTEST_SHOWN = 10.0, 100.0  # browsers show a frame of at most 10 ms for 100 ms
DEFAULT_VIDEO_RATE = 25.0


def is_clip(path: str | Path) -> bool:
    """Whether a path is a file with several frames: any video, or a GIF, PNG or WebP that moves.

    A file that cannot be read is none; whoever reads it then says why.
    """
    file = Path(path)
    if not file.is_file():
        return False
    if file.suffix.lower() in VIDEO_SUFFIXES:
        return True
    if file.suffix.lower() not in ANIMATION_SUFFIXES:
        return False
    try:
        if file.suffix.lower() == ".gif":
            return count_gif_frames(file) > 1
        with open_picture(file, ANIMATION_FORMATS, MAX_PIXELS) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:
        return False


def read_clip(
    path: str | Path,
    size: tuple[int, int] | None = None,
    limit: int | None = None,
    fit: Fit = "squash",
    transparent: Transparency = None,
    first: int = 0,
) -> ImageSet:
    """Read the frames of a clip, in order.

    MP4, MOV, WebM, MKV and AVI need the extra `video`; GIF, APNG and WebP do not. Frames are what a player shows:
    what a frame leaves transparent shows the frames before it, as far as the file's disposal rules keep them, and
    then nothing: black, the colour of an empty canvas, or `transparent`. A video's rotation is applied. A clip that breaks
    off gives the frames before the break, and says so in `skipped`.

    Args:
        path: A file on this machine; addresses of other places are refused.
        size: Height and width of the canvas in pixels; None: as in the clip.
        limit: Read at most so many frames.
        fit: How a frame of another shape gets onto the canvas: `squash`, `crop` or `pad`.
        transparent: What transparent pixels become in frames as large as in the clip: see `data.transparency`.
        first: The first frame that is kept, counted from 0; those before it are only decoded.

    Returns:
        Frames with the names `frame-000000`, ... and how long each is seen. A frame of an animation that states at most 10
        ms lasts 100 ms, as in browsers; 40 ms where a video states nothing.

    Raises:
        DataError: There is no such file, no frame can be read, or the clip is larger than we hold.
        MissingExtra: The file is a video and PyAV is not installed.
    """
    file = Path(path)
    if "://" in str(path) or ":/" in str(path)[2:]:
        raise DataError(f"{path}: is an address; only files on this machine are read. Download it first")
    if not file.is_file():
        raise DataError(f"{path}: there is no such file")
    if limit is not None and limit < 1:
        raise DataError(f"{path}: limit is {limit}; expected at least 1 frame")
    with reading(file, DataError, BROKEN):
        container = _container(file)
        source = _Animation(file) if container is None else _Video(file, container=container)
        return _collect(source, size, limit, fit, transparent, first)


def _container(file: Path) -> str | None:
    """FFmpeg's name of the reader for a video, by its first bytes; None for animations.

    Raises:
        DataError: The bytes begin no clip that we read.
    """
    with file.open("rb") as stream:
        head = stream.read(12)
    if head[:4] in (b"GIF8", b"\x89PNG") or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return None
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    empty = "the file is empty" if not head else "not a clip that we read (mp4, mov, webm, mkv, avi, gif, apng, webp)"
    raise DataError(f"{file}: {empty}")


@dataclass
class _Source:
    """Frames one by one; `problem` is final when all were taken."""

    file: Path
    problem: str = ""

    def whole_frames(self) -> Iterator[UInt8[np.ndarray, "H W C"]]:
        """The frames before the file breaks off; decoders throw errors of any kind there, and `problem` says which.

        Raises:
            DataError: Our own errors, with the file's name.
        """
        with reading(self.file, DataError, BROKEN):
            try:
                yield from self.frames()
            except DelaminateError:
                raise
            except Exception as error:
                self.problem = one_line(str(error), LONGEST_REASON) or type(error).__name__

    def frames(self) -> Iterator[UInt8[np.ndarray, "H W C"]]:
        """What the decoder gives."""
        raise NotImplementedError

    def durations(self, count: int) -> list[float]:
        """Milliseconds that the first frames are seen, which were taken already."""
        raise NotImplementedError


@dataclass
class _Animation(_Source):
    stated: list[float] = field(default_factory=list)

    def frames(self) -> Iterator[UInt8[np.ndarray, "H W C"]]:
        for picture, milliseconds in self._pictures():
            self.stated.append(milliseconds)
            yield picture

    def _pictures(self) -> Iterator[tuple[UInt8[np.ndarray, "H W 4"], float]]:
        with self.file.open("rb") as stream:
            is_gif = stream.read(4) == b"GIF8"
        if is_gif:
            for pixels, milliseconds in gif_frames(self.file.read_bytes(), MAX_FRAME_PIXELS):
                yield pixels, float(milliseconds)
            return
        with open_picture(self.file, ANIMATION_FORMATS, MAX_FRAME_PIXELS) as image:
            for number in range(MAX_CLIP_FRAMES + 1):
                try:
                    image.seek(number)
                except EOFError:
                    return
                picture = np.array(image.convert("RGBA"))  # decodes, and only then WebP knows how long it is seen
                yield picture, float(image.info.get("duration", 0) or 0)

    def durations(self, count: int) -> list[float]:
        return [SHORTEST_SHOWN if each <= SHORTEST else each for each in self.stated[:count]]


@dataclass
class _Video(_Source):
    container: str = ""
    rate: float = DEFAULT_VIDEO_RATE
    tick: float = 1.0
    starts: list[float | None] = field(default_factory=list)
    lasted: list[float] = field(default_factory=list)

    def frames(self) -> Iterator[UInt8[np.ndarray, "H W C"]]:
        try:
            av: Any = importlib.import_module("av")
        except ImportError as error:
            raise MissingExtra("reading video", "video") from error
        with self.file.open("rb") as stream:
            try:
                # A stream instead of a name, and a fixed reader: FFmpeg gets nothing that it could follow elsewhere.
                opened = av.open(stream, format=self.container)
            except av.FFmpegError as error:
                self.problem = f"cannot be opened as a video; is it whole? ({error.strerror or error})"
                return
            with opened:
                yield from self._decode(av, opened)

    def _decode(self, av: Any, opened: Any) -> Iterator[UInt8[np.ndarray, "H W C"]]:
        if not opened.streams.video:
            self.problem = "the file holds no pictures"
            return
        video = opened.streams.video[0]
        if video.width * video.height > MAX_PIXELS:
            raise DataError(
                f"{self.file}: frames of {video.width} x {video.height} pixels are more than the {MAX_PIXELS:,} we "
                "decode; make the clip smaller"
            )
        self.rate = float(video.average_rate or video.guessed_rate or DEFAULT_VIDEO_RATE)
        self.tick = 1000 * float(video.time_base)
        given = broken = 0
        try:
            for packet in opened.demux(video):
                try:
                    decoded = packet.decode()
                except av.FFmpegError:
                    broken += 1
                    continue
                for frame in decoded:
                    given += 1
                    self.starts.append(None if frame.pts is None else 1000 * float(frame.pts * frame.time_base))
                    self.lasted.append(1000 * float((frame.duration or 0) * frame.time_base))
                    yield _video_pixels(frame)
        except av.FFmpegError as error:
            self.problem = f"breaks off after {given} frames: {error.strerror or error}"
            return
        stated = video.frames or 0
        if not stated and video.average_rate and opened.duration:
            stated = int(opened.duration / av.time_base * float(video.average_rate) * 0.9)
        if broken or given < stated:
            lost = f"{broken} pieces could not be decoded" if broken else f"about {max(stated, given)} are stated"
            self.problem = f"only {given} frames could be read; {lost}"

    def durations(self, count: int) -> list[float]:
        """By the times of the frames; all alike where these differ by what rounding them makes."""
        mean = 1000 / self.rate
        starts = [start for start in self.starts[: count + 1] if start is not None]
        steps = [round(after - start, 6) for start, after in itertools.pairwise(starts)]
        if len(starts) < min(len(self.starts), count + 1) or any(step <= 0 for step in steps):
            return [mean] * count
        if len(steps) < count:
            steps.append(round(self.lasted[count - 1], 6) or mean)
        usual = sum(steps[:-1]) / len(steps[:-1]) if len(steps) > 1 else mean
        mean = mean if abs(usual - mean) <= self.tick else usual
        close = max(self.tick, 0.01) * 1.001
        return [mean] * count if all(abs(step - mean) <= close for step in steps) else steps


def _video_pixels(frame: Any) -> UInt8[np.ndarray, "H W C"]:
    has_alpha = any(component.is_alpha for component in frame.format.components)
    pixels = frame.to_ndarray(format="rgba" if has_alpha else "rgb24")
    quarters = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarters))


def _collect(
    source: _Source,
    size: tuple[int, int] | None,
    limit: int | None,
    fit: Fit,
    transparent: Transparency,
    first: int = 0,
) -> ImageSet:
    pictures = PictureStack(str(source.file), MAX_CLIP_BYTES, 0 if limit is None else min(limit, MAX_CLIP_FRAMES))
    places: list[CanvasMap] = []
    for number, pixels in enumerate(source.whole_frames()):
        if number < first:
            continue
        if limit is not None and len(pictures) >= limit:
            source.problem = ""
            break
        if len(pictures) >= MAX_CLIP_FRAMES:
            raise DataError(
                f"{source.file}: more than {MAX_CLIP_FRAMES:,} frames; give a limit (-n 1000), or cut the clip"
            )
        if size is None and transparent is not None:
            opaque = pixels.shape[2] == 4 and bool((pixels[..., 3] == 255).all())
            shown, place = pixels[..., :3] if opaque else pixels, CanvasMap.whole(*pixels.shape[:2])
        else:
            shown, place = fit_image(over_black(pixels), size or (pixels.shape[0], pixels.shape[1]), fit)
        if places and place.canvas != places[0].canvas:
            raise DataError(
                f"{source.file}: frame 0 is {places[0].canvas} and frame {len(places)} {place.canvas} "
                "(height, width); give one size for all: cut them, or add margins"
            )
        pictures.add(shown)
        places.append(place)
    if not places:
        raise DataError(f"{source.file}: no frame can be read: {source.problem or 'the clip is empty'}")
    stacked, key = pictures.stacked(None if size is not None else transparent)
    names = tuple(f"frame-{index:06d}" for index in range(first, first + len(places)))
    skipped = ((source.file.name, source.problem),) if source.problem else ()
    durations = tuple(source.durations(first + len(places)))[first:]
    return ImageSet(stacked, names, tuple(places), skipped, durations=durations, transparent=key)

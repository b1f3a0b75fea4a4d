"""MP4: the clip drawn again from its scenes, as a video that every player shows.

H.264 (MPEG-4 Part 2 where PyAV comes without it), 8-bit 4:2:0, colours of BT.601 said in the file, background included.
4:2:0 keeps one colour for four pixels, so small pictures, pixel art above all, are shown twice as large: each of their
pixels keeps its colour. Larger ones with an odd side get one more row or column, a copy of their last.
"""

import io
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from delaminate.errors import ConfigError, MissingExtra, OutputError
from delaminate.exporters.animations import without_background
from delaminate.exporters.files import ExportResult, clip_size, frame_durations, whole_durations
from delaminate.files import to_pixels, write_atomic
from delaminate.scene.scenes import Scene

DOUBLED_SIDE = 960  # pictures up to this are shown twice as large
LARGEST_SCALE = 16
MOST_MP4 = 2**31 - 1  # milliseconds that a frame may last
QUALITY = {"libx264": {"crf": "12", "preset": "medium"}, "mpeg4": {"qmin": "1", "qmax": "2"}}
BT601, VIDEO_RANGE = 6, 1  # as the standard numbers them


def _library() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtra("MP4", "video") from error
    return av


def _codec(av: Any) -> str:
    for name in QUALITY:
        try:
            av.codec.Codec(name, "w")
        except (av.error.FFmpegError, ValueError):
            continue
        return name
    raise OutputError(f"mp4: this PyAV has none of the encoders {', '.join(QUALITY)}; install the wheel from PyPI.")


def _pictures(scenes: Sequence[Scene], background: bool, scale: int) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Draw the frames one by one, enlarged, with even sides."""
    for scene in scenes:
        pixels = to_pixels((scene if background else without_background(scene)).composite())
        pixels = pixels.repeat(scale, 0).repeat(scale, 1)
        odd = [(0, side % 2) for side in pixels.shape[:2]]
        yield np.ascontiguousarray(np.pad(pixels, (*odd, (0, 0)), mode="edge"))


def _encode(av: Any, scenes: Sequence[Scene], background: bool, scale: int, durations: Sequence[float]) -> bytes:
    codec = _codec(av)
    height, width = (scale * side + scale * side % 2 for side in scenes[0].size)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        alike = len(set(durations)) == 1
        rate = Fraction(1000 / durations[0] if alike else 1000).limit_denominator(1001)
        stream = file.add_stream(codec, rate=rate, options=QUALITY[codec])
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.thread_count = 1  # the same bytes on every machine
        if not alike:
            context.max_b_frames = 0  # packets in the order of the frames, or the last one's duration is another's
        context.colorspace = context.color_primaries = context.color_trc = BT601
        context.color_range = VIDEO_RANGE
        starts = [0, *itertools.accumulate(whole_durations(durations, 1, 1, MOST_MP4))]
        for number, pixels in enumerate(_pictures(scenes, background, scale)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            flat = frame.reformat(format="yuv420p", dst_colorspace="ITU601", interpolation="AREA")
            flat.colorspace, flat.color_range = BT601, VIDEO_RANGE
            if not alike:
                # Times of the frames themselves, in ticks of a millisecond: a video of variable rate.
                flat.pts, flat.time_base = starts[number], Fraction(1, 1000)
                flat.duration = starts[number + 1] - starts[number]
            file.mux(stream.encode(flat))
        for packet in stream.encode():
            if not alike and packet.pts is not None and packet.pts * packet.time_base * 1000 >= starts[-2]:
                packet.duration = round(Fraction(starts[-1] - starts[-2], 1000) / packet.time_base)  # of the last frame
            file.mux(packet)
    return buffer.getvalue()


def _error(av: Any, data: bytes, scenes: Sequence[Scene], background: bool, scale: int) -> float:
    """Decode the video, bring it back to the scenes' size, and compare."""
    worst = 0.0
    with av.open(io.BytesIO(data)) as file:
        for frame, scene in zip(file.decode(video=0), scenes, strict=True):
            height, width = scene.size
            pixels = frame.to_ndarray(format="rgb24")[: height * scale, : width * scale] / 255
            small = pixels.reshape(height, scale, width, scale, 3).mean((1, 3))
            drawn = (scene if background else without_background(scene)).composite().permute(1, 2, 0).numpy()
            worst = max(worst, float(np.abs(small - drawn).max()))
    return worst


def write_mp4(
    scenes: Sequence[Scene],
    out: str | Path,
    *,
    rate: float | None = None,
    background: bool = True,
    scale: int | None = None,
    durations: Sequence[float] | None = None,
) -> ExportResult:
    """Write the clip as `OUT/clip.mp4`. The error in the result is that of the decoded video.

    Args:
        scenes: Scenes in the clip's order.
        out: The folder.
        rate: Frames per second; 10 where it is not known.
        background: With the background; else the objects on black.
        durations: Milliseconds that each scene is seen, instead of a rate; where they differ, the video's rate varies.
        scale: Show each pixel as so many squared, 1 to 16; None: 2 where no side is above 960, else 1.

    Raises:
        MissingExtra: PyAV is not installed.
        ConfigError: There is no scene, or the rate or the scale is out of range.
        ShapeError: The scenes differ in size.
        OutputError: PyAV has no encoder or cannot encode this, or the file cannot be written.
    """
    size = clip_size("mp4", scenes)
    lasting = frame_durations(len(scenes), rate, durations)
    chosen = scale if scale is not None else 2 if max(size) <= DOUBLED_SIDE else 1
    if not 1 <= chosen <= LARGEST_SCALE:
        raise ConfigError(f"mp4: scale {chosen}; expected 1 to {LARGEST_SCALE}.")
    av = _library()
    try:
        data = _encode(av, scenes, background, chosen, lasting)
    except av.error.FFmpegError as error:
        raise OutputError(f"mp4: {size[1]} x {size[0]} pixels cannot be encoded ({error}).") from error
    path = Path(out) / "clip.mp4"
    write_atomic(path, data)
    return ExportResult((path,), _error(av, data, scenes, background, chosen))

"""What lies behind everything: one colour, a static picture, or a panorama that the camera scrolls over."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float32, Int64, UInt8
from scipy import ndimage

from delaminate.errors import ConfigError

Kind = Literal["solid", "static", "panorama", "auto"]
MAX_PANORAMA = 2**25
"""Pixels of a scrolled panorama, at most."""
NEAR = 8
"""Levels of 255 by which colours may differ and still count as the same place."""
MENDERS = 4
"""Frames that must show a pixel of the background before its colour is corrected."""
GAIN_OF_STATIC = 0.7
"""A static picture is taken for the background if it leaves less than this share of what one colour leaves unexplained."""


@dataclass(frozen=True, eq=False)
class Background:
    """The background.

    Attributes:
        rgb: In [0, 1], (h, w, 3): 1 x 1 for one colour, of the frames' size, or larger where the camera scrolls.
    """

    rgb: Float32[np.ndarray, "h w 3"]

    def offset(self, frame: UInt8[np.ndarray, "H W 3"], near: tuple[int, int] | None = None) -> tuple[int, int]:
        """Where a frame lies on the panorama: its top and left in pixels; (0, 0) unless that is larger."""
        height, width = frame.shape[:2]
        if self.rgb.shape[0] <= height and self.rgb.shape[1] <= width:
            return 0, 0
        return self.locator(frame, near)

    @functools.cached_property
    def locator(self) -> "Locator":
        """What finds frames on this background."""
        return Locator(self.rgb)

    def crop(self, size: tuple[int, int], offset: tuple[int, int]) -> Float32[np.ndarray, "H W 3"]:
        """The part of the background that a frame of `size` at `offset` shows."""
        if self.rgb.shape[:2] == (1, 1):
            return np.broadcast_to(self.rgb, (*size, 3))
        rows = (offset[0] + np.arange(size[0])).clip(0, self.rgb.shape[0] - 1)
        columns = (offset[1] + np.arange(size[1])).clip(0, self.rgb.shape[1] - 1)
        return self.rgb[rows[:, None], columns[None]]


def solid(frames: UInt8[np.ndarray, "N H W 3"]) -> Background:
    """The commonest colour: the median of the fullest of 32 x 32 x 32 bins."""
    some = frames[np.linspace(0, len(frames) - 1, min(len(frames), 100)).astype(int)].reshape(-1, 3)
    bins = (some >> 3).astype(np.int64) @ np.array([1024, 32, 1])
    fullest = some[bins == np.bincount(bins).argmax()]
    return Background((np.median(fullest, 0) / 255).astype(np.float32)[None, None])


def static(frames: UInt8[np.ndarray, "N H W 3"]) -> Background:
    """The median of every pixel over time."""
    some = frames[np.linspace(0, len(frames) - 1, min(len(frames), 101)).astype(int)]
    return Background((np.median(some, 0) / 255).astype(np.float32))


def panorama(frames: UInt8[np.ndarray, "N H W 3"], rounds: int = 2) -> Background:
    """Put the frames of a clip together to the picture that the camera scrolls over.

    Each frame is laid where most of its pixels agree with the one before; the median of all that fall on a pixel is the
    panorama, onto which every frame is laid once more.

    Raises:
        ConfigError: The panorama would be too large.
    """
    height, width = frames.shape[1:3]
    places = [(0, 0)]
    for before, frame in itertools.pairwise(frames):
        down, right = step(before, frame)
        places.append((places[-1][0] + down, places[-1][1] + right))
    background = _stack(frames, np.array(places))
    for _ in range(rounds):
        top, left = (min(place[axis] for place in places) for axis in (0, 1))
        corners = [(y - top, x - left) for y, x in places]
        places = [background.locator(frame, corner) for frame, corner in zip(frames, corners, strict=True)]
        background = _stack(frames, np.array(places))
    if background.rgb.shape[:2] == (height, width):
        return static(frames)
    return background


def _stack(frames: np.ndarray, places: np.ndarray, most: int = 31) -> Background:
    """The median of frames laid at places, of at most `most` frames for each column; what never settles is filled in."""
    places = places - places.min(0)
    height, width = frames.shape[1:3]
    rows, columns = (places.max(0) + np.array([height, width])).tolist()
    if rows * columns > MAX_PANORAMA:
        raise ConfigError(
            f"background: the frames would make a panorama of {rows} x {columns} pixels. If the camera does not scroll, "
            "use --set background=static; else train on a shorter clip."
        )
    rgb = np.zeros((rows, columns, 3), np.float32)
    restless = np.zeros((rows, columns), bool)
    for left, right, stack in _blocks(frames, places, (rows, columns), most):
        rgb[:, left:right], seen, same = _settled(stack)
        restless[:, left:right] = (seen >= 5) & (same < 0.75 * seen)
    return Background(fill_in(rgb, restless) / 255)


def _blocks(
    frames: np.ndarray, places: np.ndarray, size: tuple[int, int], most: int, hidden: np.ndarray | None = None
) -> Iterator[tuple[int, int, Float32[np.ndarray, "n h w 3"]]]:
    """Cut frames laid at places to blocks of columns: left, right, and what up to `most` frames show; else no number."""
    height, width = frames.shape[1:3]
    block = max(16, width // 8)
    for left in range(0, size[1], block):
        right = min(left + block, size[1])
        shows = np.flatnonzero((places[:, 1] < right) & (places[:, 1] + width > left))
        if len(shows) == 0:
            continue
        shows = shows[np.linspace(0, len(shows) - 1, min(len(shows), most)).astype(int)]
        stack = np.full((len(shows), size[0], right - left, 3), np.nan, np.float32)
        for n, i in enumerate(shows):
            top, start = places[i]
            begin, end = max(left, start), min(right, start + width)
            window = stack[n, top : top + height, begin - left : end - left]
            window[:] = frames[i, :, begin - start : end - start]
            if hidden is not None:
                window[hidden[i, :, begin - start : end - start]] = np.nan
        yield left, right, stack


def _settled(
    stack: Float32[np.ndarray, "n h w 3"],
) -> tuple[Float32[np.ndarray, "h w 3"], Int64[np.ndarray, "h w"], Int64[np.ndarray, "h w"]]:
    """The median over time, a colour that was seen; how many tell, and how many of these show it."""
    there = np.isfinite(stack[..., 0])
    seen = there.sum(0)
    ranked = np.sort(stack, 0)  # values that are not numbers come last
    middle = ((seen - 1) // 2).clip(0)[None, ..., None].repeat(3, -1)
    median = np.nan_to_num(np.take_along_axis(ranked, middle, 0)[0])
    same = ((np.abs(np.nan_to_num(stack) - median) <= NEAR).all(-1) & there).sum(0)
    return median, seen, same


def mended(
    background: Background,
    frames: UInt8[np.ndarray, "N H W 3"],
    places: tuple[tuple[int, int], ...],
    hidden: Bool[np.ndarray, "N H W"],
) -> Background:
    """Correct a static picture or a panorama where frames, sprites taken away, agree on another colour.

    Args:
        background: As it was thought to be.
        frames: Some frames.
        places: Top and left of each on the background.
        hidden: Pixels where sprites hide it.
    """
    rgb = background.rgb.copy()
    for left, right, stack in _blocks(frames, np.array(places), rgb.shape[:2], len(frames), hidden):
        colour, seen, same = _settled(stack)
        part = rgb[:, left:right]
        sure = (seen >= MENDERS) & (same >= 0.75 * seen) & (np.abs(part * 255 - colour) > NEAR).any(2)
        part[sure] = colour[sure] / 255
    return Background(rgb)


def fill_in(rgb: Float32[np.ndarray, "h w 3"], restless: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w 3"]:
    """Fill what never settles, such as a coin that spins in its place, with what is beside it, row by row.

    Regions are closed first: the middle of the coin may stand still.
    """
    solid_ = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(restless, 4), np.ones((5, 5))))[4:-4, 4:-4]
    labels, _ = ndimage.label(solid_)
    sizes = np.bincount(labels.ravel())
    solid_ = ndimage.binary_dilation(solid_ & (sizes[labels] >= 6), np.ones((5, 5)))
    filled = rgb.copy()
    columns = np.arange(rgb.shape[1])
    for y in np.flatnonzero(solid_.any(1) & ~solid_.all(1)):
        known = ~solid_[y]
        for channel in range(3):
            filled[y, ~known, channel] = np.interp(columns[~known], columns[known], rgb[y, known, channel])
    return filled


def step(before: UInt8[np.ndarray, "H W 3"], after: UInt8[np.ndarray, "H W 3"]) -> tuple[int, int]:
    """How far the camera moved down and right between two frames, by phase correlation; whole pixels."""
    one, two = (_edges(frame) for frame in (before, after))
    spectrum = scipy.fft.rfft2(one) * np.conj(scipy.fft.rfft2(two))
    peaks = scipy.fft.irfft2(spectrum / (np.abs(spectrum) + 1e-3 * np.abs(spectrum).max() + 1e-9), one.shape)
    height, width = one.shape
    best, winner = -1.0, (0, 0)
    for flat in [*np.argpartition(peaks.ravel(), -4)[-4:].tolist(), 0]:
        down, right = flat // width, flat % width
        for y in {down, down - height}:
            for x in {right, right - width}:
                if abs(y) <= height // 2 and abs(x) <= width // 2:
                    share = _agreement(before, after, y, x)
                    # Standing still wins where nothing tells.
                    if share > best + (0.002 if (y, x) != (0, 0) else -0.002):
                        best, winner = share, (y, x)
    return _climb(before, after, winner, best)


def _climb(
    before: UInt8[np.ndarray, "H W 3"], after: UInt8[np.ndarray, "H W 3"], start: tuple[int, int], share: float
) -> tuple[int, int]:
    """Go to neighbouring steps while more of the frames agrees: large sprites draw the peaks of correlation aside."""
    (height, width), reach = before.shape[:2], 2
    best, tried = start, {start}
    while True:
        y, x = best
        around = itertools.product(range(y - reach, y + reach + 1), range(x - reach, x + reach + 1))
        fresh = [p for p in around if p not in tried and abs(p[0]) <= height // 2 and abs(p[1]) <= width // 2]
        tried.update(fresh)
        shares = [_agreement(before, after, *place) for place in fresh]
        if not shares or max(shares) <= share + 0.002:
            return best
        share = max(shares)
        best = fresh[shares.index(share)]


def _edges(frame: np.ndarray) -> np.ndarray:
    grey = frame.astype(np.float32).mean(2)
    window = np.hanning(grey.shape[0] + 2)[1:-1, None] * np.hanning(grey.shape[1] + 2)[None, 1:-1]
    return (grey - grey.mean()) * window.astype(np.float32)


def _agreement(before: np.ndarray, after: np.ndarray, down: int, right: int) -> float:
    """Share of the overlapping pixels that are alike when the camera moved by (down, right)."""
    height, width = before.shape[:2]
    a = before[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    b = after[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
    return _alike(a.astype(np.int16), b)


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    """Share of pixels that are alike, of every other one as on a chequerboard.

    Not of every other row and column: where pixels are doubled, those cannot tell a shift by one.
    """
    near = [(np.abs(one[n::2, n::2] - other[n::2, n::2]) <= NEAR).all(2).ravel() for n in (0, 1)]
    return float(np.concatenate(near).mean())


class Locator:
    """Finds where frames lie on a larger picture; what depends on the picture alone is worked out once.

    Args:
        rgb: The picture, in [0, 1].
    """

    def __init__(self, rgb: Float32[np.ndarray, "h w 3"]) -> None:
        self.rgb = rgb
        self.levels = np.rint(rgb * 255).astype(np.int16)
        self.middle = rgb.mean()  # taken off everywhere, which changes no difference and keeps sums small
        self.size = [scipy.fft.next_fast_len(n, real=True) for n in rgb.shape[:2]]
        self.spectra = [scipy.fft.rfft2(rgb[..., channel] - self.middle, self.size) for channel in range(3)]
        self.squares = scipy.fft.rfft2(np.square(rgb - self.middle).sum(2), self.size)

    def __call__(
        self, frame: UInt8[np.ndarray, "H W 3"], near: tuple[int, int] | None = None, reach: int = 4
    ) -> tuple[int, int]:
        """Find a frame near a guess, else anywhere by correlation; its top and left in pixels."""
        height, width = frame.shape[:2]
        rows, columns = max(self.rgb.shape[0] - height, 0), max(self.rgb.shape[1] - width, 0)
        tried: dict[tuple[int, int], float] = {}

        def look(top: int, left: int) -> None:
            if (top, left) not in tried:
                tried[top, left] = _alike(self.levels[top : top + height, left : left + width], frame)

        if near is not None:
            for y in range(max(near[0] - reach, 0), min(near[0] + reach, rows) + 1):
                for x in range(max(near[1] - reach, 0), min(near[1] + reach, columns) + 1):
                    look(y, x)
            best = max(tried, key=lambda place: (tried[place], -abs(place[0] - near[0]) - abs(place[1] - near[1])))
            if tried[best] > 0.5:
                return best
        error = self._error(frame)[: rows + 1, : columns + 1]
        for flat in np.argsort(error, axis=None)[:6].tolist():
            y, x = flat // (columns + 1), flat % (columns + 1)
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    look(min(max(y + dy, 0), rows), min(max(x + dx, 0), columns))
        return max(tried, key=lambda place: tried[place])

    def _error(self, frame: UInt8[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "Y X"]:
        """Squared error of a frame at every place of the picture, but for a constant; places wrap around."""
        view = frame.astype(np.float32) / 255 - self.middle
        box = np.conj(scipy.fft.rfft2(np.ones(view.shape[:2], np.float32), self.size))
        # |p - v|^2 = p^2 - 2 p v + v^2, summed over the frame's box; the last is the same everywhere.
        total = self.squares * box
        for channel, spectrum in enumerate(self.spectra):
            total -= 2 * spectrum * np.conj(scipy.fft.rfft2(view[..., channel], self.size))
        return np.asarray(scipy.fft.irfft2(total, self.size))


def is_scrolled(frames: UInt8[np.ndarray, "N H W 3"], sample: int = 12) -> bool:
    """Whether images follow each other as a camera moves: neighbours agree once one is shifted onto the other."""
    if len(frames) < 10:
        return False
    pairs = np.linspace(0, len(frames) - 2, min(len(frames) - 1, sample)).astype(int)
    agreements = [_agreement(frames[i], frames[i + 1], *step(frames[i], frames[i + 1])) for i in pairs]
    return float(np.median(agreements)) > 0.7


def estimate(frames: UInt8[np.ndarray, "N H W 3"], kind: Kind, tolerance: float) -> Background:
    """Estimate the background.

    Args:
        frames: The images; of a clip in their order.
        kind: What to look for. `auto` takes one colour unless a static picture, or a panorama that is scrolled over,
            leaves much less unexplained.
        tolerance: Distance in RGB below which colours count as one, in [0, 1] units.

    Raises:
        ConfigError: The panorama would be too large.
    """
    if kind == "solid":
        return solid(frames)
    if kind == "static":
        return static(frames)
    if kind == "panorama":
        return panorama(frames)
    some = frames[np.linspace(0, len(frames) - 1, min(len(frames), 30)).astype(int)]

    def unexplained(background: Background) -> float:
        left = []
        for frame in some:
            behind = background.crop(frame.shape[:2], background.offset(frame))
            left.append((np.square(frame / 255 - behind).sum(2) > tolerance**2).mean())
        return float(np.mean(left))

    plain = solid(frames)
    if len(frames) < 5:
        return plain
    best, least = plain, unexplained(plain)
    choices = [static(frames)]
    if unexplained(choices[0]) > 0.05 and is_scrolled(frames):
        choices.append(panorama(frames))
    for other in choices:
        left = unexplained(other)
        if left < GAIN_OF_STATIC * least:
            best, least = other, left
    return best

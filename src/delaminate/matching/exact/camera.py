"""How a camera moves: steps between frames, and where frames lie on a larger picture."""

import itertools
from collections.abc import Sequence

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float32, Int16, Int64, UInt8
from scipy import ndimage

NEAR = 8
"""Levels of 255 by which colours may differ and still count as the same place."""
CUT = 0.35
"""Neighbouring frames that agree in less than this share of their pixels, however one is shifted, show two scenes."""

BELIEVED = 0.6
"""A camera is believed if a shifted frame disagrees in less than this share of the pixels in which it disagrees as it is."""


FIXED, FIXED_SAMPLE = 0.97, 48
"""What stands still on the screen looks the same in this share of so many frames."""
PANEL_REACH, PANEL_MOST = 6, 0.6
"""Pixels around its outlines that may belong to it, as the digits of a score; a camera is told by what is left, if that is more
than a part of the frame."""
PANEL_EDGE = 4, 0.06
"""Pixels from the edge of the screen, or parts of it, within which a panel begins with its surroundings."""


def near_of(noisy: bool) -> int:
    """Levels of 255 by which colours may differ and still count as the same place."""
    return 2 * NEAR if noisy else NEAR


def smoothed(frame: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Means of 3 x 3 pixels: compression with loss moves a colour by more than 16 levels beside outlines, their mean by few."""
    mean = ndimage.uniform_filter(frame.astype(np.float32), (3, 3, 0), mode="nearest")
    return np.rint(mean).astype(np.uint8)


def telling(
    frames: UInt8[np.ndarray, "N H W 3"], near: int = NEAR, axes: Sequence[int] = (0, 1)
) -> Bool[np.ndarray, "H W"] | None:
    """Which pixels tell how the camera moves: those that are not near an outline which stands still on the screen.

    Scores and lives in front of a landscape that scrolls move against it, and where that is mostly sky they are most of what is
    drawn.

    Args:
        frames: A clip.
        near: Levels of 255 by which colours may differ.
        axes: Along which the camera may move, 0 down and 1 right: an outline along that axis, as the border of the ground, may
            move with it.

    Returns:
        None: all of them, as where nothing or nearly everything stands still.
    """
    some = frames[np.linspace(0, len(frames) - 1, min(len(frames), FIXED_SAMPLE)).astype(int)].astype(np.int16)
    typical = np.median(some, 0).astype(np.int16)
    fixed = (np.abs(some - typical) <= near).all(3).mean(0) >= FIXED
    outline = np.zeros(fixed.shape, bool)
    for axis in axes:
        one, other = ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1]))[axis]
        edge = fixed[one] & fixed[other] & (np.abs(typical[one] - typical[other]) > near).any(2)
        outline[one] |= edge
        outline[other] |= edge
    seen = ~ndimage.binary_dilation(outline, np.ones((2 * PANEL_REACH + 1,) * 2))
    return seen if outline.any() and seen.mean() >= 1 - PANEL_MOST else None


def panel(
    frames: UInt8[np.ndarray, "N H W 3"], places: Int64[np.ndarray, "N 2"], near: int = NEAR
) -> Bool[np.ndarray, "H W"] | None:
    """Where something stands still at the edge of the screen, and around it, while the camera moves; None: nothing does.

    In its middle, that is who the camera follows.

    Args:
        frames: A clip.
        places: Top and left of each frame on what is behind.
        near: Levels of 255 by which colours may differ.
    """
    seen = telling(frames, near, [axis for axis in (0, 1) if np.ptp(places[:, axis])])
    if seen is None:
        return None
    labels, _ = ndimage.label(~seen, np.ones((3, 3)))
    inner = np.zeros(seen.shape, bool)
    rows, columns = (max(PANEL_EDGE[0], round(PANEL_EDGE[1] * side)) for side in seen.shape)
    inner[rows:-rows, columns:-columns] = True
    found = np.isin(labels, np.unique(labels[~inner & ~seen]))
    return found & ~seen if (found & ~seen).any() else None


def step(
    before: UInt8[np.ndarray, "H W 3"],
    after: UInt8[np.ndarray, "H W 3"],
    near: int = NEAR,
    seen: Bool[np.ndarray, "H W"] | None = None,
) -> tuple[int, int]:
    """How far the camera moved down and right between two frames, by phase correlation; whole pixels.

    Args:
        before, after: The frames.
        near: Levels of 255 by which colours may differ.
        seen: Pixels that tell; None: all.
    """
    one, two = (_edges(frame, seen) for frame in (before, after))
    spectrum = scipy.fft.rfft2(one) * np.conj(scipy.fft.rfft2(two))
    peaks = scipy.fft.irfft2(spectrum / (np.abs(spectrum) + 1e-3 * np.abs(spectrum).max() + 1e-9), one.shape)
    height, width = one.shape
    best, winner = -1.0, (0, 0)
    for flat in [*np.argpartition(peaks.ravel(), -4)[-4:].tolist(), 0]:
        down, right = flat // width, flat % width
        for y in {down, down - height}:
            for x in {right, right - width}:
                if abs(y) <= height // 2 and abs(x) <= width // 2:
                    share = agreement(before, after, y, x, near, seen)
                    # Standing still wins where nothing tells.
                    if share > best + (0.002 if (y, x) != (0, 0) else -0.002):
                        best, winner = share, (y, x)
    return _climb(before, after, winner, best, near, seen)


def best_step(
    pairs: Sequence[tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W 3"]]],
    seen: Bool[np.ndarray, "H W"] | None = None,
) -> tuple[int, int]:
    """As `step`, for the same two frames in several versions: of the steps that each tells, the one that all agree on most."""
    tried = {step(*pair, seen=seen) for pair in pairs}
    if len(tried) == 1:
        return tried.pop()
    agreed = lambda y, x: sum(agreement(one, other, y, x, seen=seen) for one, other in pairs)  # noqa: E731
    return max(sorted(tried), key=lambda each: agreed(*each))


def _climb(
    before: UInt8[np.ndarray, "H W 3"],
    after: UInt8[np.ndarray, "H W 3"],
    start: tuple[int, int],
    share: float,
    near: int,
    seen: Bool[np.ndarray, "H W"] | None,
) -> tuple[int, int]:
    """Go to neighbouring steps while more of the frames agrees: large sprites draw the peaks of correlation aside."""
    (height, width), reach = before.shape[:2], 2
    best, tried = start, {start}
    while True:
        y, x = best
        around = itertools.product(range(y - reach, y + reach + 1), range(x - reach, x + reach + 1))
        fresh = [p for p in around if p not in tried and abs(p[0]) <= height // 2 and abs(p[1]) <= width // 2]
        tried.update(fresh)
        shares = [agreement(before, after, *place, near, seen) for place in fresh]
        if not shares or max(shares) <= share + 0.002:
            return best
        share = max(shares)
        best = fresh[shares.index(share)]


def _edges(frame: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    grey = frame.astype(np.float32).mean(2)
    window = np.hanning(grey.shape[0] + 2)[1:-1, None] * np.hanning(grey.shape[1] + 2)[None, 1:-1]
    lit = grey - (grey.mean() if seen is None else grey[seen].mean())
    return (lit if seen is None else lit * seen) * window.astype(np.float32)


def _overlap(size: tuple[int, int], down: int, right: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What two frames share when the camera moved by (down, right): its place in the first, and in the second."""
    height, width = size
    then = np.s_[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    return then, np.s_[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]


def overlap(
    before: UInt8[np.ndarray, "H W 3"], after: UInt8[np.ndarray, "H W 3"], down: int, right: int
) -> tuple[Int16[np.ndarray, "h w 3"], Int16[np.ndarray, "h w 3"]]:
    """What two frames share when the camera moved by (down, right), as each shows it."""
    then, now = _overlap((before.shape[0], before.shape[1]), down, right)
    return before[then].astype(np.int16), after[now].astype(np.int16)


def agreement(
    before: np.ndarray,
    after: np.ndarray,
    down: int,
    right: int,
    near: int = NEAR,
    seen: np.ndarray | None = None,
    drawn: Sequence[np.ndarray] | None = None,
) -> float:
    """Share of the overlapping pixels that are alike when the camera moved by (down, right).

    Args:
        before, after: The frames.
        down, right: By how much it moved.
        near: Levels of 255 by which colours may differ.
        seen: Of the screen, which pixels count; None: all.
        drawn: Of each frame, which pixels count: where one of the two does; None: all.
    """
    then, now = _overlap((before.shape[0], before.shape[1]), down, right)
    counts = None if seen is None else seen[then] & seen[now]
    if drawn is not None:
        counts = drawn[0][then] | drawn[1][now]
    return alike(before[then], after[now], near, counts)


def alike(
    one: UInt8[np.ndarray, "H W 3"],
    other: UInt8[np.ndarray, "H W 3"],
    near: int = NEAR,
    seen: Bool[np.ndarray, "H W"] | None = None,
) -> float:
    """Share of pixels that are alike, of every other one as on a chequerboard, or of those of them that are seen.

    Not of every other row and column: where pixels are doubled, those cannot tell a shift by one.
    """
    same = near_in_each(one, other, near)  # of all: they lie side by side, which is faster than half of them
    board = [np.s_[n::2, n::2] for n in (0, 1)]
    drawn = np.concatenate([same[part].ravel() for part in board])
    if seen is None:
        return float(drawn.mean())
    told = np.concatenate([seen[part].ravel() for part in board])
    return float((drawn & told).sum() / told.sum()) if told.any() else 0.0


def near_in_each(one: np.ndarray, other: np.ndarray, near: int) -> np.ndarray:
    """Where colours (..., 3) differ by no more than some levels of 255 in each channel; of bytes, too, which never wrap."""
    close = np.maximum(one, other) - np.minimum(one, other) <= near
    return close[..., 0] & close[..., 1] & close[..., 2]


class Locator:
    """Finds where frames lie on a larger picture; what depends on the picture alone is worked out once.

    Args:
        rgb: The picture, in [0, 1].
    """

    def __init__(self, rgb: Float32[np.ndarray, "h w 3"]) -> None:
        self.rgb = rgb
        self.levels = np.rint(rgb * 255).astype(np.uint8)
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
                tried[top, left] = alike(self.levels[top : top + height, left : left + width], frame)

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


def is_scrolled(frames: UInt8[np.ndarray, "N H W 3"], noisy: bool = False, sample: int = 12) -> bool:
    """Whether images follow each other as a camera moves: neighbours agree clearly better once one is shifted.

    A thing that moves over one colour makes a shifted frame agree better, too; but a camera moves what lies all over
    the frame.
    """
    if len(frames) < 10:
        return False
    near = near_of(noisy)
    seen = telling(frames, near)
    pairs = np.linspace(0, len(frames) - 2, min(len(frames) - 1, 4 * sample)).astype(int)
    some = {i: smoothed(frames[i]) if noisy else frames[i] for i in np.union1d(pairs, pairs + 1).tolist()}
    still = np.array([agreement(some[i], some[i + 1], 0, 0, near, seen) for i in pairs])
    least = np.argsort(still, kind="stable")[:sample]  # a camera may rest most of the time
    steps = [step(some[i], some[i + 1], near, seen) for i in pairs[least]]
    shifted = [agreement(some[i], some[i + 1], *each, near, seen) for i, each in zip(pairs[least], steps, strict=True)]
    better = (1 - np.array(shifted)) < BELIEVED * (1 - still[least])
    spread = [_is_spread(some[i], some[i + 1], *each, near) for i, each in zip(pairs[least], steps, strict=True)]
    return bool(np.median(shifted) > 0.6 and np.mean(better & np.array(spread)) > 0.4)


def _is_spread(before: np.ndarray, after: np.ndarray, down: int, right: int, near: int, cells: int = 10) -> bool:
    """Whether what agrees only if a frame is shifted lies all along the frame, not in one place."""
    height, width = before.shape[:2]
    rows = slice(max(-down, 0), height - max(down, 0))
    columns = slice(max(-right, 0), width - max(right, 0))
    now = after[rows, columns]
    moved = before[rows.start + down : rows.stop + down, columns.start + right : columns.stop + right]
    tells = near_in_each(now, moved, near) & ~near_in_each(now, before[rows, columns], near)
    covered = [sum(bool(part.any()) for part in np.array_split(tells.any(axis), cells)) for axis in (0, 1)]
    return max(covered) >= 0.7 * cells

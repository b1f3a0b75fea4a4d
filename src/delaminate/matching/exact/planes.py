"""Two planes that scroll at different speeds: a far one, and a near one with holes through which that is seen."""

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float32, Int64, UInt8
from scipy import ndimage

from delaminate.matching.exact.background import Plane, laid
from delaminate.matching.exact.camera import near_of

LEAST_SHARE = 0.03
"""Of all pixels, the share that one panorama must leave unexplained for a second plane to be looked for."""
OPAQUE = 0.75
"""Share of the frames that show a place of the near plane in which it must look the same to be opaque there."""
PAIRS = 60


def second_plane(
    frames: UInt8[np.ndarray, "N H W 3"],
    rgb: Float32[np.ndarray, "h w 3"],
    places: Int64[np.ndarray, "N 2"],
    noisy: bool = False,
) -> tuple[Float32[np.ndarray, "h2 w2 3"], Plane] | None:
    """Look for a second plane in what a panorama does not explain.

    Args:
        frames: A clip.
        rgb: The panorama of the plane that fills most of the frames, in [0, 1].
        places: Top and left of each frame on it.
        noisy: Colours recur about, not to the bit.

    Returns:
        The far plane's picture and the near plane; None where there is no second motion.
    """
    height, width = frames.shape[1:3]
    slack = near_of(noisy)
    levels = np.rint(rgb * 255).astype(np.int16)
    rest = np.stack(
        [
            (np.abs(levels[y : y + height, x : x + width] - frame) > slack).any(2)
            for frame, (y, x) in zip(frames, places, strict=True)
        ]
    )
    if rest.mean() < LEAST_SHARE:
        return None
    ratio = _relative_speed(frames, rest, places, slack)
    if ratio is None:
        return None
    others = np.rint((places - places[0]) * ratio).astype(np.int64)
    others = others - others.min(0)
    # The faster plane is the nearer one; one that stands still in front of all is a panel.
    near_is_rest = ratio > 1 or ratio < 0.05
    near, far = (others, places) if near_is_rest else (places, others)
    shown = rest if near_is_rest else ~rest
    for attempt in range(3):
        # At first all pixels tell of the far plane: what is the same in both belongs to that.
        far_matches = _far_matches(frames, far, shown if attempt else shown & False, slack)
        picture, alpha = _near(frames, near, shown, far_matches, slack)
        shown = np.stack([_window(alpha, place, (height, width)) for place in near])
    if not 0.01 < shown.mean() < 0.95:
        return None
    far_rgb, seen = laid(frames, far, hidden=shown)
    lost = seen == 0
    if lost.all():
        return None
    nearest = ndimage.distance_transform_edt(lost, return_distances=False, return_indices=True)
    far_rgb = far_rgb[nearest[0], nearest[1]]
    speed = 1 / ratio if not near_is_rest else ratio
    origin = np.rint(np.median(near - speed * far, 0)).astype(np.int64)
    rgba = np.concatenate([picture * alpha[..., None], alpha[..., None]], 2).astype(np.float32)
    return far_rgb, Plane(rgba, float(speed), (int(origin[0]), int(origin[1])))


def _window(mask: Bool[np.ndarray, "h w"], place: np.ndarray, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    return mask[place[0] : place[0] + size[0], place[1] : place[1] + size[1]]


def _far_matches(
    frames: UInt8[np.ndarray, "N H W 3"], far: Int64[np.ndarray, "N 2"], shown: Bool[np.ndarray, "N H W"], slack: int
) -> Bool[np.ndarray, "N H W"]:
    """Where frames look like the far plane, estimated from what does not show the near one."""
    height, width = frames.shape[1:3]
    rgb, _ = laid(frames, far, hidden=shown)
    levels = np.rint(rgb * 255).astype(np.int16)
    return np.stack(
        [
            (np.abs(levels[y : y + height, x : x + width] - frame) <= slack).all(2)
            for frame, (y, x) in zip(frames, far, strict=True)
        ]
    )


def _near(
    frames: UInt8[np.ndarray, "N H W 3"],
    near: Int64[np.ndarray, "N 2"],
    shown: Bool[np.ndarray, "N H W"],
    far_matches: Bool[np.ndarray, "N H W"],
    slack: int,
) -> tuple[Float32[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """The near plane's picture, and where it is opaque: where it explains clearly more frames than the far one does."""
    rgb, _ = laid(frames, near, hidden=~shown)
    height, width = frames.shape[1:3]
    levels = np.rint(rgb * 255).astype(np.int16)
    views, mine, theirs = (np.zeros(rgb.shape[:2], np.int64) for _ in range(3))
    for index, (y, x) in enumerate(near):
        window = slice(y, y + height), slice(x, x + width)
        views[window] += 1
        mine[window] += (np.abs(levels[window] - frames[index]) <= slack).all(2)
        theirs[window] += far_matches[index]
    alpha = (mine >= OPAQUE * views) & (views >= 3) & (mine > theirs + 0.1 * views)
    return rgb, alpha


def _relative_speed(
    frames: UInt8[np.ndarray, "N H W 3"], rest: Bool[np.ndarray, "N H W"], places: Int64[np.ndarray, "N 2"], slack: int
) -> float | None:
    """How fast what is left moves, compared with the panorama; None where nothing moves together."""
    count = len(frames)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, min(i + 24, count))]
    moved = [(i, j) for i, j in pairs if 4 <= np.abs(places[j] - places[i]).max() <= frames.shape[2] // 4]
    if len(moved) < 6:
        return None
    votes = []
    for i, j in [moved[n] for n in np.linspace(0, len(moved) - 1, min(len(moved), PAIRS)).astype(int)]:
        shift = _shift_of(frames[i], frames[j], rest[i], rest[j], places[j] - places[i], slack)
        axis = int(np.abs(places[j] - places[i]).argmax())
        if shift is not None:
            votes.append(shift[axis] / float((places[j] - places[i])[axis]))
    if len(votes) < 5:
        return None
    values = np.array(votes)
    near = np.abs(values[:, None] - values[None]) < 0.12
    best = int(near.sum(1).argmax())
    ratio = float(np.median(values[near[best]]))
    if near[best].mean() < 0.35 or abs(ratio - 1) < 0.15 or ratio < -0.05 or ratio > 8:
        return None
    return min(RATIOS, key=lambda each: abs(each - ratio)) if min(abs(r - ratio) for r in RATIOS) < 0.08 else ratio


RATIOS = (0.0, 0.25, 1 / 3, 0.5, 2 / 3, 0.75, 1.25, 4 / 3, 1.5, 2.0, 3.0, 4.0)
"""Speeds that games use."""


def _shift_of(
    before: UInt8[np.ndarray, "H W 3"],
    after: UInt8[np.ndarray, "H W 3"],
    one: Bool[np.ndarray, "H W"],
    other: Bool[np.ndarray, "H W"],
    camera: Int64[np.ndarray, "2"],
    slack: int,
) -> tuple[int, int] | None:
    """By how much what two masks show moved, other than by the camera's own step; None where they hardly agree."""
    spectra = []
    for frame, mask in ((before, one), (after, other)):
        grey = frame.astype(np.float32).mean(2)
        middle = grey[mask].mean() if mask.any() else 0.0
        spectra.append(scipy.fft.rfft2(np.where(mask, grey - middle, 0.0), [2 * n for n in grey.shape]))
    product = spectra[0] * np.conj(spectra[1])
    peaks = scipy.fft.irfft2(product / (np.abs(product) ** 0.7 + 1e-6), [2 * n for n in one.shape])
    high, wide = peaks.shape
    best, winner = 0.6, None
    for flat in np.argpartition(peaks.ravel(), -8)[-12:].tolist():
        down, right = flat // wide, flat % wide
        down, right = down - high if down > high // 2 else down, right - wide if right > wide // 2 else right
        if abs(down) >= one.shape[0] // 2 or abs(right) >= one.shape[1] // 2:
            continue
        if max(abs(down - camera[0]), abs(right - camera[1])) <= 1:
            continue
        a = slice(max(down, 0), one.shape[0] + min(down, 0)), slice(max(right, 0), one.shape[1] + min(right, 0))
        b = slice(max(-down, 0), one.shape[0] + min(-down, 0)), slice(max(-right, 0), one.shape[1] + min(-right, 0))
        both = one[a] & other[b]
        if both.sum() < max(20, 0.3 * min(one.sum(), other.sum())):
            continue
        share = float((np.abs(before[a].astype(np.int16) - after[b]) <= slack).all(2)[both].mean())
        if share > best:
            best, winner = share, (down, right)
    return winner

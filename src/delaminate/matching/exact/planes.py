"""Two planes that scroll at different speeds: a far one, and a near one with holes through which that is seen."""

from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from delaminate.matching.exact.background import Plane
from delaminate.matching.exact.camera import near_of, panel
from delaminate.matching.exact.colour_model import THINGS, ColourModel, filled
from delaminate.matching.exact.stacking import coarse, colours_at, laid

LEAST_SHARE = 0.0015
"""Of all pixels, the share that one panorama must leave unexplained for a second plane to be looked for."""
OPAQUE = 0.75
"""Share of the frames that show a place of the near plane in which it must look the same to be opaque there."""
NUMERATORS = {1: (0, 2, 3, 4, 5, 6, 8), 2: (1, 3, 5), 3: (1, 2, 4, 5), 4: (1, 3, 5), 5: (1, 2, 3, 4), 6: (1,), 8: (1,)}
SPEEDS = tuple(Fraction(n, denominator) for denominator, several in NUMERATORS.items() for n in several)
"""Speeds of one plane compared with the other, as games use them."""
AGREES, TRIED = 0.5, 5
"""Of what one panorama leaves, the share that must agree at a speed for that to be tried; and how many are, at most."""
SAMPLE = 2**16
"""Pixels by which speeds are judged, at most."""


def second_plane(
    frames: UInt8[np.ndarray, "N H W 3"],
    rgb: Float32[np.ndarray, "h w 3"],
    places: Int64[np.ndarray, "N 2"],
    colours: ColourModel,
    noisy: bool = False,
) -> tuple[Float32[np.ndarray, "h2 w2 3"], Plane] | None:
    """Look for a second plane in what a panorama does not explain.

    Args:
        frames: A clip.
        rgb: The panorama of the plane that fills most of the frames, in [0, 1].
        places: Top and left of each frame on it.
        colours: Which colours are of neither plane.
        noisy: Colours recur about, not to the bit.

    Returns:
        The far plane's picture and the near plane; None where there is no second motion.
    """
    things, still = _are_things(frames, colours, noisy), panel(frames, places, near_of(noisy))
    if still is not None:
        things &= ~still
    rest = ~_matches(frames, rgb, places, near_of(noisy)) & ~things
    if rest.mean() < LEAST_SHARE:
        return None
    likely = _likely_speeds(frames, rest, places, noisy)
    found = [_planes(frames, places, others, speed, rest, things, noisy) for speed, others in likely]
    return min((each for each in found if each is not None), key=lambda each: each[0], default=(0, None))[1]


def _planes(
    frames: UInt8[np.ndarray, "N H W 3"],
    places: Int64[np.ndarray, "N 2"],
    others: Int64[np.ndarray, "N 2"],
    speed: Fraction,
    rest: Bool[np.ndarray, "N H W"],
    things: Bool[np.ndarray, "N H W"],
    noisy: bool,
) -> tuple[int, tuple[Float32[np.ndarray, "h2 w2 3"], Plane]] | None:
    """Tell two planes from each other, one of which moves at some speed; and how many pixels neither explains."""
    height, width = frames.shape[1:3]
    slack = near_of(noisy)
    # The faster plane is the nearer one; one that stands still in front of all is a panel.
    near_is_rest = speed > 1 or speed == 0
    near, far = (others, places) if near_is_rest else (places, others)
    shown = rest if near_is_rest else ~rest
    # What moves against one plane may stand still on the other.
    things = things & _are_things(frames, colours_at(frames, others, noisy), noisy)
    for attempt in range(3):
        # At first all pixels tell of the far plane: what is the same in both belongs to that.
        behind, _ = laid(frames, far, hidden=things | shown if attempt else things)
        far_matches = _matches(frames, behind, far, slack)
        picture, alpha = _near(frames, near, ~shown | things, far_matches, things, slack)
        shown = np.stack([_window(alpha, place, (height, width)) for place in near])
    if not 0.01 < shown.mean() < 0.95:
        return None
    far_rgb, seen = laid(frames, far, hidden=shown | things)
    lost = seen == 0
    if lost.all():
        return None
    far_rgb = filled(far_rgb, lost, row=1)
    ratio = float(speed if near_is_rest else 1 / speed)
    origin = np.rint(np.median(near - ratio * far, 0)).astype(np.int64)
    rgba = np.concatenate([picture * alpha[..., None], alpha[..., None]], 2).astype(np.float32)
    explained = np.where(shown, _matches(frames, picture, near, slack), _matches(frames, far_rgb, far, slack))
    left = int((~explained & ~things).sum())
    return left, (far_rgb, Plane(rgba, ratio, (int(origin[0]), int(origin[1]))))


def _are_things(frames: UInt8[np.ndarray, "N H W 3"], colours: ColourModel, noisy: bool) -> Bool[np.ndarray, "N H W"]:
    """Which pixels have colours of things."""
    return np.stack([colours.of(coarse(frame.astype(np.int32), noisy)) < THINGS for frame in frames])


def _window(picture: np.ndarray, place: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return picture[place[0] : place[0] + size[0], place[1] : place[1] + size[1]]


def _matches(
    frames: UInt8[np.ndarray, "N H W 3"],
    rgb: Float32[np.ndarray, "h w 3"],
    places: Int64[np.ndarray, "N 2"],
    slack: int,
) -> Bool[np.ndarray, "N H W"]:
    """Where frames show what a picture, in [0, 1], has at their places."""
    levels = np.rint(rgb * 255).astype(np.int16)
    return np.stack(
        [
            (np.abs(_window(levels, place, frame.shape[:2]) - frame) <= slack).all(2)
            for frame, place in zip(frames, places, strict=True)
        ]
    )


def _near(
    frames: UInt8[np.ndarray, "N H W 3"],
    near: Int64[np.ndarray, "N 2"],
    hidden: Bool[np.ndarray, "N H W"],
    far_matches: Bool[np.ndarray, "N H W"],
    things: Bool[np.ndarray, "N H W"],
    slack: int,
) -> tuple[Float32[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """The near plane's picture, and where it is opaque: where it explains clearly more frames than the far one does."""
    rgb, _ = laid(frames, near, hidden)
    height, width = frames.shape[1:3]
    levels = np.rint(rgb * 255).astype(np.int16)
    views, mine, theirs = (np.zeros(rgb.shape[:2], np.int64) for _ in range(3))
    for index, (y, x) in enumerate(near):
        window = slice(y, y + height), slice(x, x + width)
        views[window] += ~things[index]
        mine[window] += (np.abs(levels[window] - frames[index]) <= slack).all(2)
        theirs[window] += far_matches[index]
    alpha = (mine >= OPAQUE * views) & (views >= 3) & (mine > theirs + 0.1 * views)
    return rgb, alpha


def _likely_speeds(
    frames: UInt8[np.ndarray, "N H W 3"], rest: Bool[np.ndarray, "N H W"], places: Int64[np.ndarray, "N 2"], noisy: bool
) -> list[tuple[Fraction, Int64[np.ndarray, "N 2"]]]:
    """The speeds, compared with the panorama, at which what it leaves would show most of its places the same each time.

    Also where the frames lie at each. Games round down; from where on is told by what agrees best.
    """
    index, y, x = np.nonzero(rest)
    colour = coarse(frames[index, y, x].astype(np.int32), noisy)
    tried: list[tuple[float, Fraction, Int64[np.ndarray, "N 2"]]] = []
    for speed in SPEEDS:
        phases = []
        for phase in range(speed.denominator):
            moved = ((places - places[0]) * speed.numerator + phase) // speed.denominator
            moved -= moved.min(0)
            row, column = np.stack([y, x]) + moved[index].T
            place = row * (column.max() + 1) + column
            some = place % max(1, len(place) // SAMPLE) == 0
            phases.append((_agreement(place[some], colour[some]), speed, moved))
        tried.append(max(phases, key=lambda each: each[0]))
    tried.sort(key=lambda each: -each[0])
    return [(speed, moved) for agreement, speed, moved in tried[:TRIED] if agreement >= AGREES]


def _agreement(place: Int64[np.ndarray, " n"], colour: Int32[np.ndarray, " n"]) -> float:
    """The share of some pixels that lie where most of at least three show one colour, and show that."""
    if not len(place):
        return 0.0
    _, where = np.unique(place, return_inverse=True)
    members = np.bincount(where)
    order = np.lexsort((colour, where))
    starts = np.flatnonzero(np.diff(where[order], prepend=-1) | np.diff(colour[order], prepend=-1))
    length = np.diff(starts, append=len(order))
    most = np.zeros(len(members), np.int64)
    np.maximum.at(most, where[order[starts]], length)
    return float(most[members >= 3].sum() / len(place))

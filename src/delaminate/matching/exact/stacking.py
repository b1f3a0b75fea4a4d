"""Frames laid where the camera was: what lies behind all that moves, told from frames that show different things there."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32, Int16, Int32, Int64, Integer, UInt8
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from delaminate.errors import ConfigError
from delaminate.matching.exact.camera import NEAR, near_in_each
from delaminate.matching.exact.colour_model import (
    SAMPLE,
    STEADY,
    SURELY,
    THINGS,
    ColourModel,
    behind_things,
    filled,
    surroundings,
)
from delaminate.matching.exact.filling import commonest, continue_around, fill_in, pack, restless_areas, small_areas

MAX_PANORAMA = 2**25
"""Pixels of a scrolled panorama, at most."""
BLOCK = 2**19
"""Pixels of the picture that are told at a time, at most."""
SETTLES = 0.75
"""Of the frames that see a pixel, the share that must agree on it for it to settle."""
ASKED = 5
"""Frames that must see a pixel for what they disagree on to tell."""
FLICKERS = 0.5
"""An area of one colour is a thing's where frames disagree on more than this share of it."""
AT_REST = 24
"""Pixels to a side of a place where frames disagree that is a thing's at rest, at most; what passes leaves longer trails."""
SPREAD = 32
"""Levels of 255 over which compression spreads a colour beside outlines."""
CALM = 0.97
"""How steady, in the mean, the surroundings of a thing at rest are."""


def stacked(
    frames: UInt8[np.ndarray, "N H W 3"],
    places: Int64[np.ndarray, "N 2"],
    noisy: bool,
    colours: ColourModel | None = None,
    most: int = 31,
    hidden: Bool[np.ndarray, "H W"] | None = None,
) -> tuple[Float32[np.ndarray, "h w 3"], ColourModel]:
    """What lies behind what moves, in [0, 1], and which colours are its.

    Where frames agree, that is what most show; where they do not, what is around counts too. What is behind a thing in all of
    them is filled in.

    Args:
        frames: Some frames.
        places: Top and left of each.
        noisy: Colours recur about, not to the bit.
        colours: Which colours are the background's; None: learned here.
        most: Frames that are asked at each place, at most.
        hidden: Pixels of all frames that do not count; what is never seen has the nearest colour.

    Raises:
        ConfigError: The picture would be too large.
    """
    places = places - places.min(0)
    rows, columns = (places.max(0) + np.array(frames.shape[1:3])).tolist()
    if places.any() and rows * columns > MAX_PANORAMA:
        raise ConfigError(
            f"background: the frames would make a panorama of {columns} x {rows} pixels. If the camera does not scroll, "
            "use --set background=static; else train on a shorter clip."
        )
    covered = None if hidden is None else np.broadcast_to(hidden, frames.shape[:3])
    colours = colours_at(frames, places, noisy, most=most, hidden=covered) if colours is None else colours
    rgb, packed = np.zeros((rows, columns, 3), np.float32), np.zeros((rows, columns), np.int32)
    seen, same = np.zeros((2, rows, columns), np.int64)
    shown_at = lambda: blocks(frames, places, (rows, columns), most, covered, noisy)  # noqa: E731
    for left, right, stack, there in shown_at():
        part = slice(None), slice(left, right)
        rgb[part], seen[part], same[part], packed[part] = settled_colours(stack, there, noisy, colours)
    of_things = (colours.of(packed) < THINGS) & (seen > 0)
    unsteady = (seen >= ASKED) & (same < SETTLES * seen)
    around = surroundings(np.where(unsteady | of_things | (seen == 0), -1, packed))
    for left, right, stack, there in shown_at() if unsteady.any() else ():
        y, x = np.nonzero(unsteady[:, left:right])
        shown, known = stack[:, y, x], there[:, y, x]
        best, fits = colours.settled_around(np.where(known, coarse(shown, noisy), -1), around[y, x + left])
        packed[y, x + left], of_things[y, x + left] = best, ~fits
        rgb[y, x + left], same[y, x + left] = _typical(shown, known, best, noisy)
    # What the background shows that is hidden now and then goes on where it is not; what a coin that spins shows does not.
    areas, count = areas_of_one_colour(packed[..., None])
    flickers = np.bincount(areas.ravel(), unsteady.ravel()) > FLICKERS * count
    of_things |= flickers[areas] & (colours.of(packed) < SURELY) & (seen > 0)
    steady = (same / seen.clip(1)).astype(np.float32)
    areas = _left_alone(small_areas(restless_areas(unsteady), AT_REST), steady)
    if noisy and places.any():
        # A camera that moves shows what is behind nearly everything; what differs beside outlines is what was lost.
        areas, of_things = np.zeros_like(areas), of_things & (steady < STEADY)
    picture = fill_in(rgb, areas)
    if not noisy and areas.any():
        continue_around(picture, rgb, ndimage.binary_dilation(areas, np.ones((5, 5))), areas, shown_at)
    picture = filled(picture, behind_things(of_things & ~areas, steady))
    if hidden is not None:
        picture = filled(picture, seen == 0, row=1)
    return picture / 255, colours


def _left_alone(areas: Bool[np.ndarray, "h w"], steady: Float32[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Those of some areas around which nothing moves; of others, what moves there is a reason for what they show."""
    labels, count = ndimage.label(areas, np.ones((3, 3)))
    around = ndimage.grey_dilation(labels, (7, 7)) * ~ndimage.binary_dilation(areas, np.ones((3, 3)))
    beside = np.bincount(around.ravel(), minlength=count + 1)
    calm = np.bincount(around.ravel(), steady.ravel(), count + 1) >= CALM * beside.clip(1)
    return np.asarray(areas & calm[labels])


def laid(
    frames: UInt8[np.ndarray, "N H W 3"],
    places: Int64[np.ndarray, "N 2"],
    hidden: Bool[np.ndarray, "N H W"],
    most: int = 63,
) -> tuple[Float32[np.ndarray, "h w 3"], Int64[np.ndarray, "h w"]]:
    """The commonest colours, in [0, 1], of what frames show that are laid at places, and how many tell.

    Args:
        frames: Some frames.
        places: Top and left of each; none is negative.
        hidden: What does not count.
        most: Frames that are asked at each place, at most.
    """
    rows, columns = (places.max(0) + np.array(frames.shape[1:3])).tolist()
    rgb, told = np.zeros((rows, columns, 3), np.float32), np.zeros((rows, columns), np.int64)
    for left, right, stack, there in blocks(frames, places, (rows, columns), most, hidden):
        colour, seen, _, _ = settled_colours(stack, there, noisy=False)
        rgb[:, left:right], told[:, left:right] = colour / 255, seen
    return rgb, told


def colours_at(
    frames: UInt8[np.ndarray, "N H W 3"],
    places: Int64[np.ndarray, "N 2"],
    noisy: bool,
    most: int = 31,
    hidden: Bool[np.ndarray, "N H W"] | None = None,
) -> ColourModel:
    """Learn which colours are of the picture over which frames are laid.

    Args:
        frames: Some frames.
        places: Top and left of each; none is negative.
        noisy: Colours recur about, not to the bit.
        most: Frames that are asked at each place, at most.
        hidden: What does not count.
    """
    rows, columns = (places.max(0) + np.array(frames.shape[1:3])).tolist()
    every = max(1, rows * columns // SAMPLE)
    return ColourModel.learned(
        [
            np.where(there, coarse(stack, noisy), -1).reshape(len(stack), -1)[:, ::every]
            for _, _, stack, there in blocks(frames, places, (rows, columns), most, hidden, noisy)
        ]
    )


def some_pixels(frames: UInt8[np.ndarray, "n H W 3"], noisy: bool) -> Int32[np.ndarray, "n p"]:
    """Packed colours of evenly spread pixels, from which those of the background are learned."""
    every = max(1, -(-frames[0, ..., 0].size // SAMPLE))
    pixels = frames.reshape(len(frames), 1, -1, 3)[:, :, ::every].astype(np.int32)
    if noisy:
        pixels = gathered(pixels, np.ones(pixels.shape[:3], bool))
    return coarse(pixels[:, 0], noisy)


def coarse(colours: Int32[np.ndarray, "*S"], noisy: bool) -> Int32[np.ndarray, "*T"]:
    """Packed colours; of noisy ones, the bins that they fall into."""
    return pack((colours >> 4) << 4 if noisy else colours)


def areas_of_one_colour(
    rgb: Integer[np.ndarray, "h w _c"],
) -> tuple[Int32[np.ndarray, "h w"], Int64[np.ndarray, " n"]]:
    """The connected areas of one colour, numbered from 0, and how many pixels each has."""
    number = np.arange(rgb[..., 0].size).reshape(rgb.shape[:2])
    across, down = (rgb[:, 1:] == rgb[:, :-1]).all(2), (rgb[1:] == rgb[:-1]).all(2)
    one = np.concatenate([number[:, :-1][across], number[:-1][down]])
    other = np.concatenate([number[:, 1:][across], number[1:][down]])
    graph = coo_array((np.ones(len(one), bool), (one, other)), (number.size, number.size))
    areas = connected_components(graph, directed=False)[1]
    return areas.reshape(number.shape).astype(np.int32), np.bincount(areas)


def blocks(
    frames: np.ndarray,
    places: np.ndarray,
    size: tuple[int, int],
    most: int,
    hidden: np.ndarray | None = None,
    noisy: bool = False,
) -> Iterator[tuple[int, int, Int32[np.ndarray, "n h w 3"], Bool[np.ndarray, "n h w"]]]:
    """Cut frames laid at places to blocks of columns: left, right, what up to `most` frames show, and where they do."""
    height, width = frames.shape[1:3]
    block = max(16, min(width // 8, BLOCK // size[0]))
    for left in range(0, size[1], block):
        right = min(left + block, size[1])
        shows = np.flatnonzero((places[:, 1] < right) & (places[:, 1] + width > left))
        if len(shows) == 0:
            continue
        shows = shows[np.linspace(0, len(shows) - 1, min(len(shows), most)).astype(int)]
        stack = np.zeros((len(shows), size[0], right - left, 3), np.int32)
        there = np.zeros(stack.shape[:3], bool)
        for n, i in enumerate(shows):
            top, start = places[i]
            begin, end = max(left, start), min(right, start + width)
            window = slice(top, top + height), slice(begin - left, end - left)
            stack[n][window] = frames[i, :, begin - start : end - start]
            there[n][window] = True if hidden is None else ~hidden[i, :, begin - start : end - start]
        yield left, right, gathered(stack, there) if noisy else stack, there


def gathered(stack: Int32[np.ndarray, "n h w 3"], there: Bool[np.ndarray, "n h w"]) -> Int32[np.ndarray, "n h w 3"]:
    """Colours over time, those near the middle of all at a pixel replaced by their mean; then the same of the others.

    So the colours of two things at a pixel stay two, however many bins the noise has spread each of them over.
    """
    stack = stack.astype(np.int16)
    found, left = stack, there
    for _ in range(2):
        ranked = np.sort(np.where(left[..., None], stack, np.int16(1 << 14)), 0)
        middle = np.take_along_axis(
            ranked, (np.count_nonzero(left, 0) // 2).clip(max=len(stack) - 1)[None, ..., None], 0
        )
        near = near_in_each(stack, middle, SPREAD) & left
        mean = _mean(stack, near)
        closer = near & near_in_each(stack, mean, SPREAD // 2)  # without the rims of things that pass
        mean = np.where(closer.any(0)[..., None], _mean(stack, closer), mean)
        found = np.where(near[..., None], mean, found)
        left = left & ~near
    return found.astype(np.int32)


def _mean(stack: Int16[np.ndarray, "n h w 3"], of: Bool[np.ndarray, "n h w"]) -> Int16[np.ndarray, "h w 3"]:
    """The mean colour over time of what counts, 0 where nothing does."""
    total = (stack * of[..., None]).sum(0, dtype=np.int32)
    return np.rint(total / np.count_nonzero(of, 0).clip(1)[..., None]).astype(np.int16)


def settled_colours(
    stack: Int32[np.ndarray, "n h w 3"],
    there: Bool[np.ndarray, "n h w"],
    noisy: bool,
    colours: ColourModel | None = None,
) -> tuple[Float32[np.ndarray, "h w 3"], Int64[np.ndarray, "h w"], Int64[np.ndarray, "h w"], Int32[np.ndarray, "h w"]]:
    """The commonest colour over time, how many frames tell, how many of these show it, and the colour packed.

    Never a mix of channels: where an animation goes on, a median by channel would be a colour that nobody has seen.
    """
    packed = np.where(there, coarse(stack, noisy), -1)
    best = commonest(packed)[0] if colours is None else colours.settled(packed)
    colour, same = _typical(stack, there, best, noisy)
    return colour, there.sum(0), same, best


def _typical(
    stack: Int32[np.ndarray, "_n *S"],  # noqa: F821
    there: Bool[np.ndarray, "_n *T"],  # noqa: F821
    packed: Int32[np.ndarray, "*T"],
    noisy: bool,
) -> tuple[Float32[np.ndarray, "*U"], Int64[np.ndarray, "*T"]]:
    """The colours (..., 3) that packed ones stand for, and how many frames show them; of bins, the mean of what lies around."""
    colour = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], -1).astype(np.float32)
    if noisy:  # the middle of the bin, then the mean of what lies around
        for reach in (20, 14):
            near = near_in_each(stack, colour + (8 if reach == 20 else 0), reach) & there
            count = np.count_nonzero(near, axis=0)[..., None]
            colour = np.where(count > 0, (stack * near[..., None]).sum(0) / np.maximum(count, 1), colour).astype(
                np.float32
            )
    return colour, (near_in_each(stack, colour, SPREAD if noisy else NEAR) & there).sum(0)

"""Which background a clip has: candidates compete by the description length of the whole clip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from delaminate.matching.exact.background import (
    BRIEF,
    Background,
    panorama_and_places,
    rooms,
    scenes_of,
    solid,
    static,
    with_flashes,
    without_things_at_rest,
)
from delaminate.matching.exact.camera import is_scrolled
from delaminate.matching.exact.description import HOLE, Prices, frames_bits, picture_bits
from delaminate.matching.exact.noise import is_noisy
from delaminate.matching.exact.planes import second_plane
from delaminate.matching.exact.readouts import Readout, find_readouts, without_readouts
from delaminate.matching.tile_cells import colour_codes

Kind = Literal["solid", "static", "rooms", "panorama", "parallax", "auto"]
CLEARLY = 0.95
"""A background that holds more must shorten the description to this share at least."""
SURELY, MOSTLY = 0.8, 0.85
"""The same for a picture that is mostly of the commonest colour: what else it shows may be things at rest."""
SAMPLE = 24
"""Frames on which candidates are tried."""


@dataclass(frozen=True, eq=False)
class BackgroundChoice:
    """What was taken for the background.

    Attributes:
        background: The background.
        kind: Its kind: solid, static, rooms, panorama or parallax.
        bits: What the clip takes with each candidate, in bits; empty where the kind was given.
        readouts: Scores and clocks, where the background is a still picture without loss.
    """

    background: Background
    kind: str
    bits: Mapping[str, float]
    readouts: tuple[Readout, ...] = ()


def choose_background(
    frames: UInt8[np.ndarray, "N H W 3"],
    kind: Kind = "auto",
    tolerance: float = 0.06,
    colour: tuple[int, int, int] | None = None,
) -> BackgroundChoice:
    """Estimate the background.

    Args:
        frames: The images; of a clip in their order.
        kind: What to look for. `auto`: what makes the description of the images shortest, in which the background costs what
            anything else costs that is drawn: a picture must be seen often enough to pay for itself.
        tolerance: Distance in RGB below which colours count as one, in [0, 1] units.
        colour: Of a solid background, 0..255, if it is known.

    Raises:
        ConfigError: A panorama would be too large.
    """
    noisy = is_noisy(tolerance)
    plain = solid(frames) if colour is None else Background(np.array(colour, np.float32)[None, None] / 255)
    if kind == "solid" or (kind == "auto" and colour is not None):
        return BackgroundChoice(plain, "solid", {})
    if kind == "static":
        still, readouts = _still(frames, noisy)
        return BackgroundChoice(still, kind, {}, readouts)
    if kind in ("panorama", "parallax"):
        found = _scrolled(frames, tolerance, plain)
        return BackgroundChoice(found.get(kind, found["panorama"]), kind if kind in found else "panorama", {})
    if kind == "rooms":
        shots = scenes_of(frames, noisy)
        base = rooms(frames, noisy, shots) or _still(frames, noisy)[0]
        cut = base if noisy else with_flashes(base, frames, shots)
        one = cut.rgb.shape[:2] == frames.shape[1:3]
        return choose_background(frames, "static", tolerance) if one else BackgroundChoice(cut, kind, {})
    if len(frames) < 5:
        return BackgroundChoice(plain, "solid", {})
    return _shortest(frames, tolerance, plain)


def _shortest(frames: UInt8[np.ndarray, "N H W 3"], tolerance: float, plain: Background) -> BackgroundChoice:
    """The candidate with which the description is shortest."""
    noisy, candidates = is_noisy(tolerance), {"solid": plain}
    shots = scenes_of(frames, noisy)
    samples = _samples(shots)
    calm = frames if len(samples) == 1 else frames[~_brief(shots)]
    still, readouts = _still(calm, noisy)
    if _is_settled(calm, still, plain, tolerance):
        candidates["static"] = still
    cut = rooms(frames, noisy, shots)
    if cut is not None:
        candidates["rooms"] = cut
    elif is_scrolled(frames, noisy):
        candidates |= _scrolled(frames, tolerance, plain)
    # Where no room scrolls, which one is seen is told at each cut only.
    moves = len(shots) if cut is not None and _has_size_of(cut, frames) else None
    bits = {
        name: clip_bits(frames, each, tolerance, plain, moves if name == "rooms" else None, samples)
        for name, each in candidates.items()
    }
    bare = None
    if "static" in candidates and not noisy:
        bare = without_things_at_rest(still, calm, HOLE, Prices.of(frames).place)
        # Where nothing of the picture is ever gone, the two are one.
        without = clip_bits(frames, bare, tolerance, plain, samples=samples)
        if without <= bits["static"]:
            candidates["static"], bits["static"] = bare, without
    base = cut or candidates[min(("solid", *{"static"} & {*candidates}), key=lambda name: bits[name])]
    flashed = base if noisy or len(shots) < 2 else with_flashes(base, frames, shots)
    if flashed is not base:
        candidates["rooms"] = flashed
        told = max(base.rgb.shape[0], frames.shape[1])
        bits["rooms"] = clip_bits(frames, flashed, tolerance, plain, len(shots), samples, rows=told)
    best = "solid"
    for name in candidates:
        nearly_plain = best == "solid" and candidates[name] is not bare and _share_of(candidates[name], plain) > MOSTLY
        if bits[name] < (SURELY if nearly_plain else CLEARLY) * bits[best]:
            best = name
    over_still = best == "static" or (best == "rooms" and cut is None)
    return BackgroundChoice(candidates[best], best, bits, readouts if over_still else ())


def _has_size_of(background: Background, frames: UInt8[np.ndarray, "N H W 3"]) -> bool:
    """Whether a background is one picture of the frames' size, or several below each other."""
    return background.rgb.shape[1] == frames.shape[2] and background.rgb.shape[0] % frames.shape[1] == 0


def _samples(shots: Sequence[tuple[int, int]]) -> list[tuple[Int64[np.ndarray, " _"], int]]:
    """Frames that stand for a clip, and for how many each group does: those of flashes are a group of their own."""
    brief = _brief(shots)
    groups = [each for each in (np.flatnonzero(~brief), np.flatnonzero(brief)) if len(each)]
    return [(each[np.linspace(0, len(each) - 1, min(len(each), SAMPLE)).astype(int)], len(each)) for each in groups]


def _brief(shots: Sequence[tuple[int, int]]) -> Bool[np.ndarray, " n"]:
    """Which frames are of scenes that are as brief as flashes."""
    return np.concatenate([np.full(last - first, last - first <= BRIEF) for first, last in shots])


def _still(frames: UInt8[np.ndarray, "N H W 3"], noisy: bool) -> tuple[Background, tuple[Readout, ...]]:
    """A still picture, with nothing but their paper where readouts are; and these."""
    still, readouts = static(frames, noisy), () if noisy else find_readouts(frames)
    return without_readouts(still, readouts), readouts


def _is_settled(
    frames: UInt8[np.ndarray, "N H W 3"], picture: Background, plain: Background, tolerance: float, most: float = 0.7
) -> bool:
    """Whether most of a picture that is not of the commonest colour is seen in half of the frames: it is no trail."""
    some = frames[np.linspace(0, len(frames) - 1, min(len(frames), SAMPLE)).astype(int)]
    seen = np.mean([np.square(frame / np.float32(255) - picture.rgb).sum(2) <= tolerance**2 for frame in some], axis=0)
    drawn = (np.abs(picture.rgb - plain.rgb) > 0.02).any(2)
    return not drawn.any() or bool((seen[drawn] >= 0.5).mean() >= most)


def _share_of(background: Background, plain: Background) -> float:
    """Of a background's pixels, the share that has the commonest colour."""
    return float((np.abs(background.rgb - plain.rgb) < 0.02).all(2).mean())


def _scrolled(frames: UInt8[np.ndarray, "N H W 3"], tolerance: float, plain: Background) -> dict[str, Background]:
    """The panorama of a clip, with a panel in front if that is shorter, and its two planes if there are two motions."""
    noisy = is_noisy(tolerance)
    one, places, colours = panorama_and_places(frames, noisy=noisy)
    found = {"panorama": one if one.rgb.shape[:2] != frames.shape[1:3] else static(frames, noisy)}
    two = second_plane(frames, one.rgb, places, colours, noisy)
    if two is None:
        return found
    both = Background(*two)
    if both.plane is None or both.plane.speed:
        return found | {"parallax": both}
    bits = [clip_bits(frames, each, tolerance, plain) for each in (found["panorama"], both)]
    return {"panorama": both} if bits[1] < CLEARLY * bits[0] else found


def clip_bits(
    frames: UInt8[np.ndarray, "N H W 3"],
    background: Background,
    tolerance: float,
    plain: Background,
    moves: int | None = None,
    samples: Sequence[tuple[Int64[np.ndarray, " _"], int]] = (),
    rows: int | None = None,
) -> float:
    """Bits that tell a clip over a background, that itself included.

    Args:
        frames: The clip.
        background: What is tried.
        tolerance: Distance in RGB below which colours count as one, in [0, 1] units.
        plain: The commonest colour: a picture that is "hidden" by it was not there.
        moves: How often the place of a frame on the background is told; None: for each, where that is larger than a frame.
        samples: Frames on which it is tried, in groups, and for how many each group stands; none: some, evenly.
        rows: Of its picture, so many are told; those below are the same picture in other colours. None: all.
    """
    prices = Prices.of(frames)
    size = (frames.shape[1], frames.shape[2])
    is_picture = background.rgb.shape[:2] != (1, 1)
    common = np.rint(plain.rgb[0, 0] * 255).astype(np.uint8) if is_picture else None
    bits = 0.0
    for some, count in samples or _samples([(0, len(frames))]):
        behind = np.stack([background.behind(size, *background.locate(frame)) for frame in frames[some]])
        bits += frames_bits(frames[some], behind, prices, count, tolerance, common)
        common = None  # flashes have other colours
    if not is_picture:
        return bits + prices.colour
    if background.plane is not None:
        front, alpha = (
            np.rint(background.plane.rgba[..., :3] * 255).astype(np.uint8),
            background.plane.rgba[..., 3] > 0.5,
        )
        bits += picture_bits(front, prices, alpha, 255 * tolerance / 3)
    if moves is None:
        is_larger = background.rgb.shape[0] > size[0] or background.rgb.shape[1] > size[1]
        moves = len(frames) if is_larger else 0
    picture = np.rint(background.rgb * 255).astype(np.uint8)
    bits += picture_bits(picture[:rows], prices, tolerance=255 * tolerance / 3) + moves * prices.place
    others = range(len(picture) if rows is None else rows, len(picture), size[0])
    return bits + prices.colour * sum(len(np.unique(colour_codes(picture[n : n + size[0]]))) for n in others)

"""How noisy a source is: whether colours recur to the bit, or only about."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from delaminate.matching.blobs import otsu
from delaminate.matching.exact.camera import overlap, step
from delaminate.matching.exact.subsampling import LUMA
from delaminate.matching.tile_cells import colour_codes

LOSSLESS_TOLERANCE, REQUANTISED_TOLERANCE, LOSSY_TOLERANCE, DITHERED_TOLERANCE = 0.02, 0.06, 0.16, 0.25
LOSSLESS_MATCH, LOSSY_MATCH = 0.95, 0.8
SMEARED_CHROMA, SMOOTH = 0.5, 0.65
"""What chroma counts where it is smeared; so smooth it is then, beside luma."""
SMALL = 6
"""Levels of 255: compression leaves steps of so few between neighbours, drawings seldom do."""
REQUANTISED = 0.15
"""Of what changes in time, the share that changes by such steps where frames have palettes of their own.

As they were drawn, at most 0.06 of animated drawings does, by half-transparent sprites; of GIFs of rendered pictures 0.3.
"""
RESTS = 0.75
"""Of the frames, the share in which what changes so is near what it mostly is."""
FEW_COLOURS = 0.11
"""Drawings have fewer colours than this, in a window of a frame, for each pixel at which the colour changes: theirs recur."""
OUTLINE = 24
"""Levels of 255 between neighbours of an outline; what changes by no more than twice that recurs, nearly."""
RECURS, RESTLESS = 0.6, 0.2
"""Of what lies along outlines, the share that recurs, and the share of that which changes by more than SMALL: 0.11 at most in
75 GIFs of games and of rendered pictures, 0.37 and 0.60 in GIFs of videos of games."""
SPECKS, FAINT = 0.08, 96
"""Of the pixels at which the colour changes, the share that are specks where frames were dithered: a pixel among four of one
colour, from which it differs by so many levels of 255 at most. 0.02 at the most in GIFs that were not."""
CUBES: tuple[float, ...] = (36.0, 85.0, 63.75, 51.0, 42.5, 255 / 7)
"""Steps between the levels of a channel in palettes that writers of GIFs know beforehand."""
WINDOW, LEAST_CHANGES = 128, 200
"""Side of such a window in pixels, and changes in it, at least, for it to tell."""


def is_noisy(tolerance: float) -> bool:
    """Whether a tolerance is one of noisy sources."""
    return tolerance > 0.07


def is_lossy(frames: UInt8[np.ndarray, "N H W 3"]) -> bool:
    """Whether a source was compressed with loss: many small steps between neighbours, in space and in time.

    A photograph stored without loss has small steps in space; but what stands still in it does so to the bit. Pictures that
    have nothing to do with each other differ by steps of any size; but where drawings recur, so do their colours. A GIF has
    few colours whatever it was made of: there the outlines tell, which recur from frame to frame but for what was lost.
    """
    chosen = frames[np.linspace(0, len(frames) - 1, min(len(frames), 16)).astype(int)]
    some = chosen.astype(np.int16)
    space = np.abs(np.diff(some, axis=2)).max(3)
    if _share_of_small(space) < 0.1:
        return False
    if _colours_a_change(chosen) < FEW_COLOURS:
        return len(frames) > 1 and _are_outlines_restless(frames)
    if len(frames) < 2:
        return True
    few = np.linspace(0, len(frames) - 2, min(len(frames) - 1, 16)).astype(int)
    return _share_of_small(np.stack([np.abs(frames[i].astype(np.int16) - frames[i + 1]).max(2) for i in few])) > 0.02


def _are_outlines_restless(frames: UInt8[np.ndarray, "N H W 3"]) -> bool:
    """Whether what is beside an outline recurs in the next frame, wherever the camera went, but seldom as it was."""
    shares = []
    for index in np.linspace(0, len(frames) - 2, min(len(frames) - 1, 8)).astype(int):
        before, after = overlap(frames[index], frames[index + 1], *step(frames[index], frames[index + 1], OUTLINE))
        outline = np.zeros(before.shape[:2], bool)
        for axis in (0, 1):
            one, other = ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1]))[axis]
            edge = (np.abs(before[one] - before[other]) > OUTLINE).any(2)
            outline[one] |= edge
            outline[other] |= edge
        change = np.abs(before - after).max(2)[outline]
        recurs = change <= 2 * OUTLINE
        if recurs.sum() >= LEAST_CHANGES and recurs.mean() >= RECURS:
            shares.append(float((change[recurs] > SMALL).mean()))
    return bool(shares) and float(np.median(shares)) > RESTLESS


def is_requantised(frames: UInt8[np.ndarray, "N H W 3"]) -> bool:
    """Whether frames were given few colours each by itself, as GIFs of rendered pictures are: colours recur nearly."""
    some = frames[np.linspace(0, len(frames) - 1, min(len(frames), 16)).astype(int)].astype(np.int16)
    if len(some) < 2:
        return False
    steps = np.abs(np.diff(some, axis=0)).max(3)
    if _share_of_small(steps) <= REQUANTISED:
        return False
    # What a gradient shows that scrolls changes a little from frame to frame, and much in the end.
    restless = ((steps > 0) & (steps <= SMALL)).any(0)
    near = (np.abs(some - np.median(some, axis=0)).max(3) <= SMALL).mean(0)
    return float(near[restless].mean()) >= RESTS


def is_dithered(frames: UInt8[np.ndarray, "N H W 3"]) -> bool:
    """Whether frames were dithered to a palette that is no picture's own: specks in what was one colour, on a grid of levels.

    What is drawn with specks, such as gravel, has colours of its own.
    """
    some = frames[np.linspace(0, len(frames) - 1, min(len(frames), 8)).astype(int)]
    for channel in range(3):
        levels = np.unique(some[..., channel]).astype(np.float64)
        if all(bool((np.abs((levels + step / 2) % step - step / 2) > 1).any()) for step in CUBES):
            return False
    codes = colour_codes(some)
    middle, above, left = codes[:, 1:-1, 1:-1], codes[:, :-2, 1:-1], codes[:, 1:-1, :-2]
    around = (above == left) & (above == codes[:, 2:, 1:-1]) & (above == codes[:, 1:-1, 2:])
    near = np.abs(some[:, 1:-1, 1:-1].astype(np.int16) - some[:, :-2, 1:-1]).max(3) <= FAINT
    changes = (middle != above) | (middle != left)
    return bool(np.count_nonzero(around & near & (middle != above)) > SPECKS * max(int(np.count_nonzero(changes)), 1))


def _colours_a_change(frames: UInt8[np.ndarray, "N H W 3"]) -> float:
    """How many colours windows of some frames have for each pixel at which the colour changes: the median."""
    shares = []
    for frame in colour_codes(frames):
        for top in range(0, frame.shape[0], WINDOW):
            for left in range(0, frame.shape[1], WINDOW):
                window = frame[top : top + WINDOW, left : left + WINDOW]
                changes = np.count_nonzero(np.diff(window, axis=0)) + np.count_nonzero(np.diff(window, axis=1))
                if changes >= LEAST_CHANGES:
                    shares.append(2 * len(np.unique(window)) / changes)
    return float(np.median(shares)) if shares else 1.0


def _share_of_small(steps: np.ndarray) -> float:
    changed, small = int(np.count_nonzero(steps)), int(np.count_nonzero((steps > 0) & (steps <= SMALL)))
    return small / max(changed, 1)


@dataclass(frozen=True)
class Noise:
    """What a source leaves of equal colours.

    Attributes:
        tolerance: Distance in RGB below which colours count as one, in [0, 1] units, as `Search` takes it.
        match: Share of the pixels of a patch that must agree, as `RegionGrowing` takes it.
        chroma: What chroma counts in the distance of two colours.
    """

    tolerance: float = LOSSLESS_TOLERANCE
    match: float = LOSSLESS_MATCH
    chroma: float = 1.0


def estimate_noise(frames: UInt8[np.ndarray, "N H W 3"]) -> Noise:
    """Estimate how noisy a source is."""
    if is_dithered(frames):
        return Noise(DITHERED_TOLERANCE, LOSSY_MATCH, SMEARED_CHROMA)
    if not is_lossy(frames):
        return Noise(REQUANTISED_TOLERANCE) if is_requantised(frames) else Noise()
    return Noise(LOSSY_TOLERANCE, LOSSY_MATCH, SMEARED_CHROMA if is_chroma_smeared(frames) else 1.0)


def ink_tolerance(pages: UInt8[np.ndarray, "N H W 3"]) -> float:
    """The distance in RGB, in [0, 1] units, from white paper to half the darkness of ink: nearer to it is paper."""
    halves = []
    for page in pages[np.linspace(0, len(pages) - 1, min(len(pages), 8)).astype(int)]:
        light = (page @ LUMA.astype(np.float32)).ravel()
        dark = light < otsu(light)[0]
        if dark.any() and not dark.all():
            halves.append((float(light[dark].mean()) + float(light[~dark].mean())) / 2)
    return float(np.sqrt(3) * (1 - np.median(halves) / 255)) if halves else LOSSY_TOLERANCE


def is_chroma_smeared(frames: UInt8[np.ndarray, "N H W 3"]) -> bool:
    """Whether chroma was kept at half the resolution of luma (4:2:0), so that it changes more slowly, or every second pixel."""
    some = frames[np.linspace(0, len(frames) - 1, min(len(frames), 8)).astype(int)].astype(np.float32)
    luma = some @ LUMA.astype(np.float32)
    chroma = np.stack([some[..., 2] - luma, some[..., 0] - luma])
    if _sharpness(chroma) < SMOOTH * _sharpness(luma[None]):
        return True
    steps = np.abs(np.diff(chroma, axis=3)), np.abs(np.diff(luma[None], axis=3))
    of_chroma, of_luma = (
        min(each[..., 0::2].sum(), each[..., 1::2].sum()) / max(float(each.sum()), 1) for each in steps
    )
    return bool(of_chroma < min(0.25, 0.5 * of_luma))


def _sharpness(values: Float32[np.ndarray, "C N H W"]) -> float:
    """The second differences of some planes, as a multiple of the first: 2 where edges are sharp, 1 where they are smooth."""
    first = sum(float(np.abs(np.diff(values, axis=axis)).sum()) for axis in (2, 3))
    second = sum(float(np.abs(np.diff(values, 2, axis=axis)).sum()) for axis in (2, 3))
    return second / max(first, 1.0)

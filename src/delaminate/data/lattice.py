"""The lattice on which the edges of enlarged pixel art lie: a step and a phase an axis, by majority.

    F(f) = |sum_x e(x) exp(2 pi i x / f)| / sum_x e(x),   e(x): how many edges lie between the pixels x - 1 and x

is 1 where all edges lie on a lattice of step f, also for divisors of the step; chance gives 1 / sqrt(number of edges). A few
edges elsewhere (a cursor, a title bar) lower it a little, and blur does not move an edge's middle. Boundaries of a broken
step lie at whole pixels beside it, which lowers F by a known amount.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from delaminate.scene.canvas_map import block_starts

SMALLEST, LARGEST = 1.45, 16.5  # steps that are looked for, in pixels
STRONG = 0.3  # an edge, as a share of the strong edges' contrast
LEAST_CONTRAST, LEAST_KINK = 6.0, 3.0  # of an edge, of a change of slope, of 255
LONGEST = 4.0  # a line of edges counts at most so many times the median line
LEAST_LINES = 6.0  # lines of edges, weighed by their length, below which nothing is said
LEAST_EVIDENCE = 8.0  # nats: some thousand steps and phases are tried, and a few lines lie on many of them by chance
LEAST_STRENGTH = 0.2  # of F, below which a step is chance
BLURRED = 0.3  # of an edge's height, beyond which its neighbours say where its middle is
BROKEN = 0.15  # share of edges at half pixels, of a picture that was resampled
SMALL = 3.0  # steps below are told from chance by edges at their very place
SIDE_LOBES = 0.06  # frequencies so close to a stronger one, relative to it, are its echo
ALIKE = 0.7  # of the best score, for a step that the other axis has
NEAR_BEST = 0.9  # of the best score: the largest such step is taken, because divisors score as well


@dataclass(frozen=True)
class Lattice:
    """Boundaries between blocks along one axis, at phase + k * step.

    Attributes:
        step: Pixels from one to the next.
        phase: Where the first one lies, in [0, step).
        score: The share of edges on it, of what the lattice can have: 1 at best.
        evidence: By how many nats the lines of edges on it are more than chance puts there.
    """

    step: float
    phase: float
    score: float
    evidence: float


def edge_profile(luma: Float[Tensor, "N H W"]) -> np.ndarray:
    """Count strong edges between neighbours of the last axis, at the middle of each; entry 2 x is just before pixel x.

    An edge counts once, where it is steepest, so that blur makes no second one.
    """
    return _peaks(luma[..., 1:] - luma[..., :-1], luma.shape[2], LEAST_CONTRAST)


def kink_profile(luma: Float[Tensor, "N H W"]) -> np.ndarray:
    """Count places where the slope along the last axis changes most; entry 2 x is at the middle of pixel x.

    Interpolated pixel art is straight from the middle of one of its pixels to that of the next.
    """
    return _peaks(luma[..., 2:] - 2 * luma[..., 1:-1] + luma[..., :-2], luma.shape[2], LEAST_KINK)


def _peaks(change: Float[Tensor, "N H w"], length: int, least: float) -> np.ndarray:
    """Count where |change| is a strong peak along the last axis, to half a pixel; column 0 is at 1."""
    size = change.abs()
    noticed = size[size > least]
    if not len(noticed):
        return np.zeros(2 * length)
    typical = float(noticed[:: max(len(noticed) // 20_000, 1)].quantile(0.9))
    padded = torch.nn.functional.pad(size, (1, 1))
    peak = (size > max(least, STRONG * typical)) & (size >= padded[..., :-2]) & (size > padded[..., 2:])
    row, line, at = peak.nonzero().unbind(1)
    # The middle of the edge, from its neighbours of the same sign.
    signed = torch.nn.functional.pad(change, (1, 1))
    here, before, after = (signed[row, line, at + step] for step in (1, 0, 2))
    before, after = ((each * here.sign()).clamp_min(0) for each in (before, after))
    offset = (after - before) / (here.abs() + before + after)
    offset = torch.where(torch.maximum(before, after) < BLURRED * here.abs(), 0.0, offset)
    halves = torch.round(2 * (at + 1 + offset.double())).long()
    return np.bincount(halves.numpy(), minlength=2 * length)[: 2 * length].astype(np.float64)


def find_lattices(profile: np.ndarray) -> list[Lattice]:
    """Find the lattices that hold more edges than chance, best first; none where there are too few lines."""
    used = profile[profile > 0]
    if not len(used):
        return []
    weights = np.minimum(profile, LONGEST * float(np.median(used)))
    total = float(weights.sum())
    if total**2 / float((weights**2).sum()) < LEAST_LINES:
        return []
    length = len(profile) / 2
    size = 2 ** math.ceil(math.log2(4 * len(profile)))
    strength = np.abs(np.fft.rfft(weights, size)) / total
    frequencies = 2 * np.arange(len(strength)) / size
    inside = (frequencies >= 1 / LARGEST) & (frequencies <= 1 / SMALLEST)
    padded = np.pad(strength, 1)
    peaks = np.flatnonzero(inside & (strength >= padded[:-2]) & (strength >= padded[2:]) & (strength > LEAST_STRENGTH))
    taken: list[float] = []
    for index in peaks[np.argsort(-strength[peaks])][:40]:
        frequency = float(frequencies[index])
        if all(abs(frequency - other) > max(2 / length, SIDE_LOBES * other) for other in taken):
            taken.append(frequency)
    # Frequencies f and 1 - f are one at whole places; near a half they are also too close to be two peaks.
    taken += [1 - frequency for frequency in taken if 2 / length < abs(1 - 2 * frequency) < 2 * SIDE_LOBES]
    found = [_refined(weights, frequency) for frequency in taken]
    sure = [each for each in found if each.score > 0 and each.evidence >= LEAST_EVIDENCE]
    return sorted(sure, key=lambda each: -each.score)


def pairs(rows: list[Lattice], columns: list[Lattice]) -> list[tuple[Lattice, Lattice]]:
    """Pair lattices of the two axes, the most likely pairs first: the largest steps, and steps that both axes have.

    Divisors of a step score as the step itself, so multiples of the best one are taken that score nearly as well.
    """
    if not rows or not columns:
        return []
    own = []
    for some in (rows, columns):
        near = [each for each in some if each.score >= NEAR_BEST * some[0].score and _is_multiple(each, some[0])]
        own.append(max(near, key=lambda each: each.step))
    alike = []
    for row in rows:
        for column in columns:
            close = abs(row.step / column.step - 1) < 0.01
            if close and row.score >= ALIKE * rows[0].score and column.score >= ALIKE * columns[0].score:
                alike.append((row, column))
    alike.sort(key=lambda each: -each[0].step)
    largest = max(each.step for each in own)
    found = [*[each for each in alike if each[0].step > 0.99 * largest][-1:], (own[0], own[1])]
    return found + [each for each in alike if each[0].step <= 0.99 * largest][:2]


def is_ambiguous(lattice: Lattice, found: list[Lattice]) -> bool:
    """Whether a broken step is one of several unrelated ones that hold as many edges: a few long lines fit many lattices."""
    if lattice.step == round(lattice.step):
        return False
    rivals = [each for each in found if each.score >= NEAR_BEST * lattice.score and each.step != lattice.step]
    return sum(not (_is_multiple(lattice, each) or _is_multiple(each, lattice)) for each in rivals) > 1


def _is_multiple(lattice: Lattice, best: Lattice) -> bool:
    """Whether a step is a multiple of the best one, or of the step that looks like it where edges lie between whole pixels."""
    times = lattice.step / best.step
    if abs(times - max(round(times), 1)) < 0.01 * times:
        return True
    if best.step >= 2:
        return False
    times = lattice.step * (best.step - 1) / best.step  # frequencies f and 1 - f are one at whole places
    least = 1 if lattice.score >= best.score - 0.01 else 2
    return abs(times - max(round(times), least)) < 0.01 * times


def _refined(weights: np.ndarray, frequency: float) -> Lattice:
    """Move a frequency to where its wave is strongest, and score it by the lattice that it means."""
    length = len(weights) // 2
    places = np.arange(2 * length) / 2
    total = weights.sum()

    def wave(at: float) -> complex:
        return complex(np.exp(2j * np.pi * at * places) @ weights / total)

    reach = 1 / (16 * length)
    for _ in range(14):
        around = [abs(wave(frequency + shift)) for shift in (-reach, 0, reach)]
        best = int(np.argmax(around))
        frequency += (-reach, 0, reach)[best]
        reach /= 2 if best == 1 else 1
    step = 1 / frequency
    if abs(step - round(step)) * length / step < 0.5:
        step = float(round(step))
    found = wave(1 / step)
    phase = float((np.angle(found) / (2 * math.pi) * step) % step)
    if step != round(step) and weights[1::2].sum() <= BROKEN * total:
        step, phase = _rounded_alike(weights, step, phase)
    lines = block_starts(step, phase, length)[1:]
    if len(lines) < 3:
        return Lattice(step, phase, 0.0, 0.0)
    possible = abs(np.exp(2j * np.pi * lines / step).mean())
    score = min(abs(found) / max(possible, 0.2), 1.0)
    # Resampled pictures have the middles of edges at the broken places themselves.
    near = np.abs((places - phase + step / 2) % step - step / 2) <= 0.26
    if step < SMALL:
        # Boundaries of small steps stand so close that only those at their very place tell them from chance.
        expected = len(lines) / length
        sharp = float((weights[2 * lines].sum() / total - expected) / (1 - expected))
        blurred = 0.0
        if weights[1::2].sum() > BROKEN * total:
            blurred = float((weights[near].sum() / total - near.mean()) / (1 - near.mean()))
        score = sharp if sharp > 0.9 else min(score, max(sharp, blurred))
    shares = ((2 * lines, len(lines) / length), (near, float(near.mean())))
    evidence = max(_surprise(float(weights[on].sum() / total), by_chance) for on, by_chance in shares)
    return Lattice(step, phase, score, float(total**2 / (weights**2).sum()) * evidence)


def _surprise(share: float, chance: float) -> float:
    """Relative entropy of a share that is larger than chance, in nats for each one that was drawn; 0 if it is not larger."""
    share = min(share, 1 - 1e-9)
    if share <= chance:
        return 0.0
    return share * math.log(share / chance) + (1 - share) * math.log((1 - share) / (1 - chance))


def _rounded_alike(weights: np.ndarray, step: float, phase: float) -> tuple[float, float]:
    """Move a broken step and its phase a little, so that most edges are where its boundaries are rounded to.

    A whole number of blocks that begins at the border comes first: most captures are not cut.
    """
    length = len(weights) // 2
    sums = weights[::2]
    whole = length / max(round(length / step), 1)
    near = [(whole, 0.0)] if abs(whole - step) * length < step**2 else []
    for shift in (0.0, -0.3, 0.3, -0.6, 0.6, -1.0, 1.0):
        moved = step * (1 + shift * step / (4 * length))
        # The middle of the picture stays where it is.
        middle = phase - (moved - step) * length / (2 * step)
        near += [(moved, (middle + by) % moved) for by in (0.0, -0.1, 0.1, -0.2, 0.2, -0.35, 0.35)]
    found = [float(sums[block_starts(*each, length)].sum()) for each in near]
    return near[int(np.argmax(found))]


def phase_of(profile: np.ndarray, step: float) -> float:
    """Say where the boundaries of a known step lie: where most edges are."""
    places = np.arange(len(profile)) / 2
    found = complex(np.exp(2j * np.pi * places / step) @ profile)
    phase = float((np.angle(found) / (2 * math.pi) * step) % step) if abs(found) > 0 else 0.0
    if step == round(step):
        phase = float(round(phase) % step)
    return 0.0 if step - phase < 1e-3 else phase

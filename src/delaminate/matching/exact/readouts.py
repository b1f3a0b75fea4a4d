"""Readouts of a screen: a score or a clock, which stands still and changes, a digit at a time.

The commonest colour of every pixel is no background there: it is what its digits have in common. What surrounds it is.

Digits that touch each other are one region, another with every number. But they change independently of each other: what is
on the left of a cut between two digits says little about what is on its right, other than in a cut through a digit. So a
readout is cut where the mutual information of both sides is small. Its parts are believed if some of them come again at
another of its places, as digits do.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8, UInt32
from scipy import ndimage

from delaminate.matching.exact.background import Background, sampled
from delaminate.matching.exact.templates import HardSprite, packed
from delaminate.matching.tile_cells import colours_of

LOOKED_AT = 400
"""Frames that are looked at, at most."""
VALUES = 2**24
"""Pixels of frames, at most, in which those are looked for that have two colours."""
LEAST_SAMPLE = 25
"""Frames, at least, in which these are looked for."""
LEAST_SIZE, MOST_PLACES = 6, 50
"""Such pixels of a readout, at least; and places that are looked at, at most: those of most such pixels."""
SECOND = 0.08
"""In this share of the frames a pixel of a readout has its second colour, at least: what passes by is seen less often."""
HIGHEST, BROADEST = 48, 256
"""Pixels that a readout is high and broad, at most."""
NUMBERS = 6
"""Different contents that a readout shows, at least."""
OFTEN = 0.7
"""In this share of the frames there is only paper around a readout, at least: now and then something passes by."""
RESTLESS = 0.5
"""In this share of the frames, at most, a readout shows something else than in the frame before."""
STANDING = 0.8
"""Of the contents, the share that differ not only by where they are, at least: in a lane things move."""
TURNS = 0.2
"""Of what is ever part of a readout, the share that changes, at least: a wall that something reaches into is none."""
TELLS = 0.4
"""The columns on one side of a cut say less than this about the column on its other side, as a share of all there is to say."""
SHARED = 2
"""Pieces that come again at another place of a readout, at least."""


@dataclass(frozen=True, eq=False)
class Readout:
    """Digits that stand still and change.

    Attributes:
        rows, columns: Where it is in every frame.
        inked: Shape (H, W) of that window, what is ever part of it.
        paper: The colour that it stands on, 0..255.
        pieces: What its parts show, each once; empty where they cannot be told apart.
    """

    rows: slice
    columns: slice
    inked: Bool[np.ndarray, "H W"]
    paper: UInt8[np.ndarray, "3"]
    pieces: list[HardSprite]

    def moved(self, down: int, right: int) -> "Readout":
        return replace(self, rows=_moved(self.rows, down), columns=_moved(self.columns, right))


def find_readouts(frames: UInt8[np.ndarray, "N H W 3"]) -> tuple[Readout, ...]:
    """Find the readouts of a clip without loss.

    Args:
        frames: The clip in its order, 0..255; fewer than 12 frames have none.

    Returns:
        Those at places where most changes first.
    """
    if len(frames) < 2 * NUMBERS:
        return ()
    few = max(VALUES // (frames.shape[1] * frames.shape[2]), LEAST_SAMPLE)
    turns = _second_share(packed(sampled(frames, min(few, LOOKED_AT)))) >= SECOND
    # What stands between digits may never change.
    labels, count = ndimage.label(ndimage.binary_dilation(turns, np.ones((3, 3)), 2))
    sizes = np.bincount(labels[turns], minlength=count + 1)[1:]
    windows = ndimage.find_objects(labels)
    first = np.linspace(0, len(frames) - 2, min(len(frames), LOOKED_AT // 2)).astype(int)
    pairs = np.stack([first, first + 1], 1).ravel()  # frames that follow each other
    places = [windows[n] for n in np.argsort(-sizes, kind="stable") if sizes[n] >= LEAST_SIZE]
    places = [(r, c) for r, c in places if r.stop - r.start <= HIGHEST + 4 and c.stop - c.start <= BROADEST + 4]
    found = []
    for rows, columns in places[:MOST_PLACES]:
        top, left = max(rows.start - HIGHEST, 0), max(columns.start - BROADEST, 0)
        around = frames[pairs, top : rows.stop + HIGHEST, left : columns.stop + BROADEST]
        readout = _readout_at(around, _moved(rows, -top), _moved(columns, -left))
        found += [] if readout is None else [readout.moved(top, left)]
    return tuple(found)


def _moved(window: slice, by: int) -> slice:
    return slice(window.start + by, window.stop + by)


def without_readouts(background: Background, readouts: Sequence[Readout]) -> Background:
    """A still background with nothing but their paper where readouts are."""
    rgb = background.rgb.copy()
    for each in readouts:
        rgb[each.rows, each.columns][each.inked] = each.paper / np.float32(255)
    return Background(rgb) if readouts else background


def _second_share(values: UInt32[np.ndarray, "n H W"]) -> Float32[np.ndarray, "H W"]:
    """In which share of some frames each pixel has its second commonest colour."""
    ordered = np.sort(values, axis=0)
    run, best, second = (np.zeros(values.shape[1:], np.int32) for _ in range(3))
    for n, row in enumerate(ordered):
        run = np.where(row == ordered[n - 1], run + 1, 1) if n else run + 1
        ends = ordered[n + 1] != row if n + 1 < len(ordered) else np.ones(run.shape, bool)
        second = np.where(ends, np.maximum(second, np.minimum(best, run)), second)
        best = np.where(ends, np.maximum(best, run), best)
    return (second / np.float32(len(values))).astype(np.float32)


def _readout_at(frames: UInt8[np.ndarray, "N H W 3"], rows: slice, columns: slice) -> Readout | None:
    """What is at a place where pixels change, if that is a readout."""
    paper = _paper(frames, rows, columns)
    if paper is None:
        return None
    place = _widened(frames, paper, rows, columns)
    if place is None:
        return None
    window, inked = place[:2], place[2]
    content, alone = packed(frames[(slice(None), *window)]), _is_alone(frames, paper, *window)
    if (content[::2] != content[1::2]).any((1, 2))[alone[::2] & alone[1::2]].mean() > RESTLESS:
        return None
    content = content[alone]
    ink = np.where(content == packed(paper[None]), np.uint32(0), content + np.uint32(1))
    different = np.unique(ink.reshape(len(ink), -1), axis=0).reshape(-1, *ink.shape[1:])
    if len(different) < NUMBERS or len(_pieces(different)) < STANDING * len(different):
        return None
    if np.count_nonzero((different != different[0]).any(0)) < TURNS * np.count_nonzero(inked):
        return None
    return Readout(window[0], window[1], inked, paper, _shared_pieces(different))


def _shared_pieces(different: UInt32[np.ndarray, "u h w"]) -> list[HardSprite]:
    """The pieces that some contents of a readout are made of; none where hardly one comes at several places."""
    cuts = [0, *_cuts(_numbered(different)), different.shape[2]]
    parts = [_pieces(different[..., first:last]) for first, last in itertools.pairwise(cuts)]
    pieces = {piece.key: piece for part in parts for piece in part}
    times = Counter(piece.key for part in parts for piece in part)
    return list(pieces.values()) if sum(count > 1 for count in times.values()) >= SHARED else []


def _paper(frames: UInt8[np.ndarray, "N H W 3"], rows: slice, columns: slice) -> UInt8[np.ndarray, "3"] | None:
    """The colour that is mostly around a place; None: there is none."""
    ring = frames[:, _beyond(rows, columns, frames.shape[1:3])]
    colours, counts = np.unique(packed(ring), return_counts=True)
    return colours_of(colours[[counts.argmax()]])[0] if len(counts) and 2 * counts.max() > counts.sum() else None


def _beyond(rows: slice, columns: slice, size: tuple[int, ...]) -> Bool[np.ndarray, "H W"]:
    """The pixels beside a window, within a frame."""
    ring = np.zeros(size, bool)
    ring[max(rows.start - 1, 0) : rows.stop + 1, max(columns.start - 1, 0) : columns.stop + 1] = True
    ring[rows, columns] = False
    return ring


def _widened(
    frames: UInt8[np.ndarray, "N H W 3"], paper: UInt8[np.ndarray, "3"], rows: slice, columns: slice
) -> tuple[slice, slice, Bool[np.ndarray, "h w"]] | None:
    """The window around a place beyond which there is only paper, and what is ever inked in it; None: it has no end."""
    height, width = frames.shape[1:3]
    top, bottom = max(rows.start - HIGHEST, 0), min(rows.stop + HIGHEST, height)
    left, right = max(columns.start - BROADEST, 0), min(columns.stop + BROADEST, width)
    inked = (frames[:, top:bottom, left:right] != paper).any(3)
    often = inked.mean(0) > 1 - OFTEN
    inside = np.zeros(often.shape, bool)
    inside[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = True
    labels, _ = ndimage.label(often | (inside & inked.any(0)), np.ones((3, 3)))
    mine = np.isin(labels, np.unique(labels[inside & (labels > 0)]))
    if not mine.any():
        return None
    (y0, y1), (x0, x1) = (np.flatnonzero(mine.any(axis))[[0, -1]] for axis in (1, 0))
    window = slice(int(top + y0), int(top + y1 + 1)), slice(int(left + x0), int(left + x1 + 1))
    if y1 - y0 >= HIGHEST or x1 - x0 >= BROADEST:
        return None
    alone = _is_alone(frames, paper, *window)
    if alone.mean() < OFTEN:
        return None
    return *window, (frames[alone][(slice(None), *window)] != paper).any((0, 3)) & mine[y0 : y1 + 1, x0 : x1 + 1]


def _is_alone(
    frames: UInt8[np.ndarray, "N H W 3"], paper: UInt8[np.ndarray, "3"], rows: slice, columns: slice
) -> Bool[np.ndarray, " N"]:
    """In which frames there is only paper around a window."""
    around = (frames[:, _beyond(rows, columns, frames.shape[1:3])] == paper).all(2)
    return np.asarray(around.all(1))


def _numbered(different: UInt32[np.ndarray, "u h w"]) -> Int64[np.ndarray, "u w"]:
    """What each column shows, as a number: equal columns have equal ones."""
    columns = [np.unique(different[..., n], axis=0, return_inverse=True)[1].ravel() for n in range(different.shape[2])]
    return np.stack(columns, 1).astype(np.int64)


def _cuts(columns: Int64[np.ndarray, "u w"]) -> list[int]:
    """Before which columns a readout is cut: those of which the columns on the left say little, and the other way round."""
    varying = np.flatnonzero((columns != columns[:1]).any(0))
    found = []
    for n in range(1, len(varying)):
        left, right = columns[:, varying[max(n - 2, 0) : n]], columns[:, varying[n : n + 2]]
        if max(_told(left, right[:, :1]), _told(right, left[:, -1:])) < TELLS:
            found.append(int(varying[n]))
    return found


def _told(some: Int64[np.ndarray, "u n"], column: Int64[np.ndarray, "u 1"]) -> float:
    """What some columns say about another one, as a share of all there is to say; 1 where too few contents were seen to tell.

    A small sample says more than is true, by about what is taken off (Miller, 1955).
    """
    whole = _entropy(column)
    kinds = [len(np.unique(each, axis=0)) - 1 for each in (some, column)]
    too_much = kinds[0] * kinds[1] / (2 * len(column) * np.log(2))
    if too_much > 0.5 * whole:
        return 1.0
    return (_entropy(some) + whole - _entropy(np.concatenate([some, column], 1)) - too_much) / whole


def _entropy(columns: Int64[np.ndarray, "u w"]) -> float:
    """Entropy of what some columns show together, in bits."""
    counts = np.unique(columns, axis=0, return_counts=True)[1] / len(columns)
    return float(-(counts * np.log2(counts)).sum())


def _pieces(content: UInt32[np.ndarray, "u h w"]) -> list[HardSprite]:
    """What a part shows, each once, without what is empty around it."""
    shown = np.unique(content.reshape(len(content), -1), axis=0).reshape(-1, *content.shape[1:])
    cut = [HardSprite.cut(colours_of(ink - (ink > 0)) / np.float32(255), ink > 0)[0] for ink in shown]
    return list({piece.key: piece for piece in cut if piece.area}.values())

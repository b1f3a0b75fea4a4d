"""How patterns are looked for, and what a dictionary explains of frames over their background."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32, UInt8

from delaminate.matching.exact.background import Background
from delaminate.matching.exact.detection import ComponentBank, PlacementCost, TemplateBank
from delaminate.matching.exact.growth import RegionGrowing
from delaminate.matching.exact.hashing import bank_of
from delaminate.matching.exact.parsing import Parse, parse
from delaminate.matching.exact.processes import digest_of, kept_ready, shared_out
from delaminate.matching.exact.progress import Progress
from delaminate.matching.exact.readouts import Readout
from delaminate.matching.exact.templates import ColourCodes, Frames, HardSprite, Spots

AT_ONCE = 2**22
"""Pixels of frames that are explained at a time where only the explanation is wanted."""
KEPT = 2**23
"""Pixels of frames, with their margins, that are kept ready at most."""
WORTH, PART = 10**8, 3 * 10**7
"""Pixels of frames times patterns from which processes share them, about 1.5 s; and that one is given at a time."""


@dataclass(frozen=True)
class Search:
    """How to look for patterns.

    Attributes:
        tolerance: Distance in RGB below which two colours count as one, in [0, 1] units.
        growth: How patterns grow.
        price: What a placement must gain.
        most: Patterns in the dictionary, at most.
        patience: Vain attempts to find another pattern before a round ends.
        flips: Also look for mirror images of what has been found.
        components: Sprites are whole connected regions, not grown from patches.
        largest_region: Height and width, in pixels, of a region that is taken whole.
        chroma: What chroma counts in the distance of two colours, beside luma; 1: as in RGB.
        readouts: Scores and clocks of the frames, over a still background.
        progress: Is told of what is found, and may stop the search.
        processes: So many may share what takes long.
    """

    tolerance: float = 0.06
    growth: RegionGrowing = field(default_factory=RegionGrowing)
    price: PlacementCost = field(default_factory=PlacementCost)
    most: int = 150
    patience: int = 8
    flips: bool = False
    components: bool = False
    largest_region: int = 64
    chroma: float = 1.0
    readouts: tuple[Readout, ...] = ()
    progress: Progress = field(default_factory=Progress)
    processes: int = 1

    def bank(self, patterns: list[HardSprite], frames: Frames, strict: bool = False) -> TemplateBank:
        """Make patterns ready for search; `strict` while the dictionary is not complete."""
        price = self.strict_price if strict else self.price
        return ComponentBank(patterns, frames, price) if self.components else bank_of(patterns, frames, price)

    @property
    def strict_price(self) -> PlacementCost:
        """What a placement must gain while the dictionary is not complete: what is left may be of what is not yet known."""
        return replace(self.price, misfit=self.growth.misfit, slivers=False)

    @property
    def margin(self) -> int:
        return self.growth.reach + self.growth.seed + 1


@dataclass(frozen=True, eq=False)
class FrameStack:
    """Frames with what lies behind each.

    Attributes:
        frames: RGB in 0..255.
        behind: In [0, 1], one for each frame or one for all.
        offsets: Top and left of each frame on the background, in pixels.
        kept: Frames made ready, by margin, tolerance and chroma, where they are not too many to keep.
        whole: Of what was cut out of others: these, and frame, top and left of each in pixels.
    """

    frames: UInt8[np.ndarray, "N H W 3"]
    behind: Float32[np.ndarray, "G H2 W2 3"]
    offsets: tuple[tuple[int, int], ...]
    kept: dict[tuple[int, float, float], Frames] = field(default_factory=dict, repr=False)
    whole: "tuple[FrameStack, Spots] | None" = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        frames: UInt8[np.ndarray, "N H W 3"],
        background: Background,
        places: Sequence[tuple[tuple[int, int], tuple[int, int]]] | None = None,
    ) -> "FrameStack":
        """Lay frames on their background.

        Args:
            frames: RGB in 0..255.
            background: What is behind them.
            places: What `background.locate` says of each, if that is known.
        """
        size = (frames.shape[1], frames.shape[2])
        if background.plane is None and background.rgb.shape[0] <= size[0] and background.rgb.shape[1] <= size[1]:
            return cls(frames, background.rgb[None], ((0, 0),) * len(frames))
        places = [background.locate(frame) for frame in frames] if places is None else places
        # What stands still does so on the nearer plane.
        return cls(
            frames, np.stack([background.behind(size, *each) for each in places]), tuple(near for _, near in places)
        )

    def __len__(self) -> int:
        return len(self.frames)

    def surroundings(self, spots: list[tuple[int, int, int]], size: tuple[int, int], rim: int = 8) -> "FrameStack":
        """Cut what is around some places, a frame each.

        Args:
            spots: Frame, top and left of each in pixels.
            size: Height and width of what lies there.
            rim: Pixels around it.
        """
        height, width = (min(n + 2 * rim, most) for n, most in zip(size, self.frames.shape[1:3], strict=True))
        cut, behind, corners = [], [], []
        for index, top, left in spots:
            y = min(max(top - rim, 0), self.frames.shape[1] - height)
            x = min(max(left - rim, 0), self.frames.shape[2] - width)
            cut.append(self.frames[index, y : y + height, x : x + width])
            shown = self.behind[index if len(self.behind) > 1 else 0]
            if shown.shape[:2] != (1, 1):
                shown = shown[y : y + height, x : x + width]
            behind.append(shown)
            corners.append((index, y, x))
        whole = self, np.array(corners, np.int64)
        return FrameStack(np.stack(cut), np.stack(behind), ((0, 0),) * len(cut), whole=whole)

    def part(self, rows: list[int]) -> tuple[UInt8[np.ndarray, "n H W 3"], Float32[np.ndarray, "G H2 W2 3"]]:
        """Some of the frames, and what is behind them."""
        return self.frames[rows], self.behind if len(self.behind) == 1 else self.behind[rows]

    def fresh(self, search: Search, rows: list[int] | None = None, patterns: Sequence[HardSprite] = ()) -> Frames:
        """The frames with nothing explained yet; with room for patterns of which the border leaves a line.

        Only where colours recur to the bit: else a line tells too little, and correlations take time for all that room.
        """
        whole = rows is None or rows == list(range(len(self)))
        codes = ColourCodes(search.tolerance, search.chroma)
        margin = max([search.margin, *(max(pattern.size) - 1 for pattern in patterns if codes.exact)])
        key = margin, search.tolerance, search.chroma
        if whole and key in self.kept:
            return self.kept[key].fresh()
        rows = list(range(len(self))) if rows is None else rows
        stack, spots = self.whole or (self, np.pad(np.arange(len(self))[:, None], ((0, 0), (0, 2))))
        source = (stack.kept[key], spots[rows]) if key in stack.kept else None
        frames = Frames(*self.part(rows), margin, codes, source)
        if whole and frames.kind.size <= KEPT:
            self.kept[key] = frames
            return frames.fresh()
        return frames


def parse_all(
    scenes: FrameStack, patterns: list[HardSprite], search: Search, rows: list[int] | None = None
) -> tuple[Frames, Parse]:
    """Find the patterns in frames; return these with all that is explained closed."""
    frames = scenes.fresh(search, rows, patterns)
    if not any(p.area for p in patterns):
        return frames, parse(frames, TemplateBank([], frames, search.price), list(range(len(frames))))
    found = parse(frames, search.bank(patterns, frames), list(range(len(frames))), search.progress.check)
    return frames, found


def explained(scenes: FrameStack, patterns: list[HardSprite], search: Search, rows: list[int] | None = None) -> Parse:
    """What `parse_all` finds, without the frames: a few at a time, so that memory does not grow with their number.

    Shared among processes where it takes long; frames say nothing of each other here, so that the result is the same.
    """
    rows = list(range(len(scenes))) if rows is None else rows
    size = scenes.frames.shape[1] * scenes.frames.shape[2]
    if search.processes > 1 and scenes.whole is None and len(rows) > 1 and len(rows) * size * len(patterns) >= WORTH:
        few = max(1, min(PART // (size * len(patterns)), AT_ONCE // 8 // size, -(-len(rows) // search.processes)))
        alone = replace(search, processes=1, progress=Progress())
        tasks = ((*scenes.part(rows[n : n + few]), patterns, alone) for n in range(0, len(rows), few))
        parts = list(shared_out(_explained_part, tasks, search.processes, search.progress.check))
    else:
        few = max(1, AT_ONCE // size)
        parts = [parse_all(scenes, patterns, search, rows[n : n + few])[1] for n in range(0, len(rows), few)]
    return Parse(
        [some for part in parts for some in part.places],
        np.concatenate([part.left for part in parts]),
        np.concatenate([part.pieces for part in parts]),
    )


def _explained_part(frames: np.ndarray, behind: np.ndarray, patterns: list[HardSprite], search: Search) -> Parse:
    """Explain some frames over what is behind them, in a process that may have had them before."""

    def make() -> FrameStack:
        return FrameStack(frames, behind, ((0, 0),) * len(frames))

    return explained(kept_ready(digest_of(frames, behind), make), patterns, search)

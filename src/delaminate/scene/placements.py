"""Dictionary, Placement, Transform: which sprite, where, in what colour, in what order.

A decomposition is what every method's `decompose` returns. It is ragged and exact: per image a back-to-front list
of placements, each a sprite of the dictionary (or a raster of its own) with the transforms that put it on the canvas.
`composite` paints windows only, so a hundred sprites on a 4K frame need no hundred canvases.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float
from torch import Tensor

from delaminate.errors import ConfigError, ShapeError
from delaminate.scene.canvas_map import Blocks, Pair
from delaminate.scene.views import page_of, sprites_row

NEUTRAL = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)
OWN_RASTER = -1
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Transform:
    """One step from a raster to the next, the last of them the canvas.

    Attributes:
        kind: "matrix", "thin_plate_spline", "morphological" or "blocks".
        parameters: matrix: nine numbers, row by row, homogeneous, where raster pixels *go* in output pixels (the centre
            of pixel i is i + 0.5). thin_plate_spline: 32 displacements of the sampling map, in [-1, 1] coordinates.
            morphological: softness and 3 x 3 kernel. blocks: each pixel becomes a block of enlarged pixel art; step and
            phase of the blocks, each down and across, and their box: top, left, bottom, right.
        size: Height and width of the output in pixels.
    """

    kind: str
    parameters: tuple[float, ...]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        expected = {"matrix": 9, "thin_plate_spline": 32, "morphological": 10, "blocks": 8}.get(self.kind)
        if expected is None:
            raise ConfigError(
                f"Transform: unknown kind {self.kind!r}; expected matrix, thin_plate_spline, morphological or blocks."
            )
        if len(self.parameters) != expected:
            raise ShapeError(f"Transform: {self.kind} has {len(self.parameters)} parameters; expected {expected}.")
        if not all(math.isfinite(number) for number in self.parameters):
            raise ShapeError(f"Transform: {self.kind} has parameters that are not finite numbers.")
        if self.kind == "blocks":
            _ = self.blocks  # refuses what is none

    @classmethod
    def shift(cls, left: float, top: float, size: tuple[int, int]) -> "Transform":
        """Put the raster's corner at (left, top)."""
        return cls("matrix", (1.0, 0.0, float(left), 0.0, 1.0, float(top), 0.0, 0.0, 1.0), size)

    @classmethod
    def mirror(cls, left: float, top: float, width: int, size: tuple[int, int]) -> "Transform":
        """Put a raster of `width` pixels, flipped left to right, with its corner at (left, top)."""
        return cls("matrix", (-1.0, 0.0, float(left + width), 0.0, 1.0, float(top), 0.0, 0.0, 1.0), size)

    @classmethod
    def oriented(
        cls, orientation: int, left: float, top: float, shown: tuple[int, int], size: tuple[int, int]
    ) -> "Transform":
        """Put a raster, in one of its eight orientations, with its corner at (left, top).

        Args:
            orientation: Bits as in Tiled: 1 swaps rows and columns first, 2 flips top to bottom, 4 left to right.
            left, top: In pixels.
            shown: Height and width of the raster as it is shown.
            size: Of the canvas.
        """
        swap = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]) if orientation & 1 else np.eye(3)
        down = np.array([[1.0, 0, 0], [0, -1, shown[0]], [0, 0, 1]]) if orientation & 2 else np.eye(3)
        across = np.array([[-1.0, 0, shown[1]], [0, 1, 0], [0, 0, 1]]) if orientation & 4 else np.eye(3)
        matrix = np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]]) @ across @ down @ swap
        return cls.of_matrix(matrix + 0.0, size)

    def whole_place(self, raster: tuple[int, int]) -> tuple[int, int, int] | None:
        """Where a raster lies that was only moved by whole pixels, flipped or turned by quarters.

        Args:
            raster: Its height and width.

        Returns:
            Left and top of what is shown in pixels, and the orientation, see `oriented`; None: the matrix does something else.
        """
        orientation = self.orientation
        if orientation is None:
            return None
        height, width = raster[::-1] if orientation & 1 else raster
        left = self.parameters[2] - (width if orientation & 4 else 0)
        top = self.parameters[5] - (height if orientation & 2 else 0)
        if left != round(left) or top != round(top):
            return None
        return int(left), int(top), orientation

    @property
    def orientation(self) -> int | None:
        """Which of the eight orientations a matrix shows, see `oriented`; None: it does something else."""
        a, b, _, c, d, _, *last = self.parameters
        if tuple(last) != (0, 0, 1):
            return None
        turned = a == 0
        one, other, *rest = (b, c, a, d) if turned else (a, d, b, c)
        if abs(one) != 1 or abs(other) != 1 or any(rest):
            return None
        return int(turned) | (2 if other < 0 else 0) | (4 if one < 0 else 0)

    @classmethod
    def of_matrix(cls, matrix: np.ndarray | Tensor, size: tuple[int, int]) -> "Transform":
        return cls("matrix", tuple(float(x) for x in np.asarray(matrix, dtype=np.float64).ravel()), size)

    @classmethod
    def of_blocks(cls, blocks: Blocks) -> "Transform":
        """Turn every pixel into its block."""
        return cls("blocks", (*blocks.step, *blocks.phase, *map(float, blocks.box)), blocks.original)

    def enlarged(self, zoom: int) -> "Transform":
        """The same step for a raster and an output that are both `zoom` times as large; of kind "matrix"."""
        return self.rescaled((zoom, zoom), (self.size[0] * zoom, self.size[1] * zoom))

    def rescaled(self, factor: tuple[float, float], size: tuple[int, int], corner: Pair = (0.0, 0.0)) -> "Transform":
        """The same step for a raster and an output that are both enlarged, down and across; of kind "matrix".

        Args:
            factor: By how much.
            size: Height and width of the new output, which may cut the enlarged one.
            corner: Where in it the enlarged one's corner lies, down and right.
        """
        down, across = factor
        matrix = np.diag([across, down, 1.0]) @ self.matrix @ np.diag([1 / across, 1 / down, 1.0])
        if (self.matrix[2, :2] == 0).all() and (down == across or not self.matrix[[0, 1], [1, 0]].any()):
            matrix[:2, :2] = self.matrix[:2, :2]  # to the bit
        if corner != (0.0, 0.0):
            matrix = np.array([[1, 0, corner[1]], [0, 1, corner[0]], [0, 0, 1]]) @ matrix
        return Transform.of_matrix(matrix, size)

    @property
    def matrix(self) -> np.ndarray:
        """The matrix (3, 3) of kind "matrix", float64."""
        assert self.kind == "matrix"
        return np.array(self.parameters, dtype=np.float64).reshape(3, 3)

    @property
    def blocks(self) -> Blocks:
        """The blocks of kind "blocks"."""
        assert self.kind == "blocks"
        down, across, phase_down, phase_across, *box = self.parameters
        top, left, bottom, right = (int(side) for side in box)
        return Blocks((down, across), (phase_down, phase_across), (top, left, bottom, right), self.size)


@dataclass(frozen=True, eq=False)
class Placement:
    """One sprite, or a raster of its own, put on the canvas.

    Attributes:
        entry: Index into the dictionary, or -1.
        transforms: Steps from the raster to the canvas; the last one's size is the canvas.
        colour: Gain of red, green, blue, then offset of each; colour becomes clip(gain * x + offset, 0, 1).
        opacity: Factor on alpha, in [0, 1].
        track: Identity through a clip, or None.
        raster: RGBA (4, h, w) in [0, 1] when `entry` is -1.
    """

    entry: int
    transforms: tuple[Transform, ...]
    colour: tuple[float, ...] = NEUTRAL
    opacity: float = 1.0
    track: int | None = None
    raster: Float[Tensor, "4 h w"] | None = None

    def __post_init__(self) -> None:
        if (self.entry == OWN_RASTER) != (self.raster is not None):
            raise ShapeError(
                f"Placement: entry is {self.entry} and raster is {'given' if self.raster is not None else 'None'}; "
                "expected a raster exactly when entry is -1."
            )
        if len(self.colour) != 6:
            raise ShapeError(f"Placement: colour has {len(self.colour)} numbers; expected gain and offset, 6.")
        if not self.transforms:
            raise ShapeError("Placement: no transforms; expected at least one, whose size is the canvas.")

    def then(self, matrix: np.ndarray, size: tuple[int, int]) -> "Placement":
        """Follow the last transform by a map of the canvas, exactly where it is a matrix."""
        last = self.transforms[-1]
        if last.kind == "matrix":
            moved = (*self.transforms[:-1], Transform.of_matrix(matrix @ last.matrix, size))
        else:
            moved = (*self.transforms, Transform.of_matrix(matrix, size))
        return replace(self, transforms=moved)


@dataclass(frozen=True, eq=False)
class Dictionary:
    """The sprites that placements share.

    Attributes:
        sprites: RGBA in [0, 1], not premultiplied, each (4, h, w) of its own size.
        backgrounds: Which entries are backgrounds: opaque, continued beyond their border.
        titles: What people call each entry, one line; empty: by its name. No titles at all: every entry by its name.
    """

    sprites: tuple[Float[Tensor, "4 _h _w"], ...]
    backgrounds: tuple[int, ...] = ()
    titles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.titles and len(self.titles) != len(self.sprites):
            raise ShapeError(f"Dictionary: {len(self.titles)} titles of {len(self.sprites)} sprites; expected as many.")
        for index, sprite in enumerate(self.sprites):
            if sprite.ndim != 3 or sprite.shape[0] != 4:
                raise ShapeError(f"Dictionary: sprite {index} is {tuple(sprite.shape)}; expected (4, h, w).")

    def __len__(self) -> int:
        return len(self.sprites)

    def _repr_html_(self) -> str:
        return page_of(f"{len(self)} sprites", {"backgrounds": str(len(self.backgrounds))}) + sprites_row(self.sprites)

    def name(self, entry: int) -> str:
        """Name an entry for files and lists, such as `sprite-03` or `background-0`."""
        if entry in self.backgrounds:
            return f"background-{self.backgrounds.index(entry)}"
        return f"sprite-{entry:02d}"

    def entry(self, name: str) -> int:
        """Find an entry by its name.

        Raises:
            ConfigError: There is none.
        """
        if name in self._entries:
            return self._entries[name]
        raise ConfigError(f"dictionary: no sprite {name!r:.80} among {len(self)}; expected a name such as 'sprite-00'.")

    @cached_property
    def _entries(self) -> dict[str, int]:
        return {self.name(entry): entry for entry in range(len(self))}

    def title(self, entry: int) -> str:
        """What people call an entry."""
        return (self.titles[entry] if self.titles else "") or self.name(entry)

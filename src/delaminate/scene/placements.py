"""Dictionary, Placement, Decomposition: which sprite, where, in what colour, in what order.

A decomposition is what every method's `decompose` returns. It is ragged and exact: per image a back-to-front list
of placements, each a sprite of the dictionary (or a raster of its own) with the transforms that put it on the canvas.
`composite` paints windows only, so a hundred sprites on a 4K frame need no hundred canvases.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from delaminate.errors import ConfigError, ShapeError
from delaminate.scene.frame import Frame
from delaminate.scene.layers import Layers
from delaminate.scene.transforms import Padding, morphological, spline_grid

NEUTRAL = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)
OWN_RASTER = -1
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Transform:
    """One step from a raster to the next, the last of them the canvas.

    Attributes:
        kind: "matrix", "thin_plate_spline" or "morphological".
        parameters: matrix: nine numbers, row by row, homogeneous, where raster pixels *go* in output pixels (the centre
            of pixel i is i + 0.5). thin_plate_spline: 32 displacements of the sampling map, in [-1, 1] coordinates.
            morphological: softness and 3 x 3 kernel.
        size: Height and width of the output in pixels.
    """

    kind: str
    parameters: tuple[float, ...]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        expected = {"matrix": 9, "thin_plate_spline": 32, "morphological": 10}.get(self.kind)
        if expected is None:
            raise ConfigError(
                f"Transform: unknown kind {self.kind!r}; expected matrix, thin_plate_spline or morphological."
            )
        if len(self.parameters) != expected:
            raise ShapeError(f"Transform: {self.kind} has {len(self.parameters)} parameters; expected {expected}.")
        if not all(math.isfinite(number) for number in self.parameters):
            raise ShapeError(f"Transform: {self.kind} has parameters that are not finite numbers.")

    @classmethod
    def shift(cls, left: float, top: float, size: tuple[int, int]) -> "Transform":
        """Put the raster's corner at (left, top)."""
        return cls("matrix", (1.0, 0.0, float(left), 0.0, 1.0, float(top), 0.0, 0.0, 1.0), size)

    @classmethod
    def mirror(cls, left: float, top: float, width: int, size: tuple[int, int]) -> "Transform":
        """Put a raster of `width` pixels, flipped left to right, with its corner at (left, top)."""
        return cls("matrix", (-1.0, 0.0, float(left + width), 0.0, 1.0, float(top), 0.0, 0.0, 1.0), size)

    @classmethod
    def of_matrix(cls, matrix: np.ndarray | Tensor, size: tuple[int, int]) -> "Transform":
        return cls("matrix", tuple(float(x) for x in np.asarray(matrix, dtype=np.float64).ravel()), size)

    def enlarged(self, zoom: int) -> "Transform":
        """The same step for a raster and an output that are both `zoom` times as large; of kind "matrix"."""
        scale = np.diag([zoom, zoom, 1.0])
        matrix = scale @ self.matrix @ np.diag([1 / zoom, 1 / zoom, 1.0])
        if (self.matrix[2, :2] == 0).all():
            matrix[:2, :2] = self.matrix[:2, :2]  # to the bit
        return Transform.of_matrix(matrix, (self.size[0] * zoom, self.size[1] * zoom))

    @property
    def matrix(self) -> np.ndarray:
        """The matrix (3, 3) of kind "matrix", float64."""
        assert self.kind == "matrix"
        return np.array(self.parameters, dtype=np.float64).reshape(3, 3)


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


@dataclass(frozen=True)
class Window:
    """A painted part of a canvas: RGB (3, h, w) and alpha (1, h, w) with the corner at (top, left)."""

    rgb: Float[Tensor, "3 h w"]
    alpha: Float[Tensor, "1 h w"]
    top: int
    left: int

    @property
    def slices(self) -> tuple[slice, slice]:
        height, width = self.alpha.shape[1:]
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass(frozen=True, eq=False)
class Dictionary:
    """The sprites that placements share.

    Attributes:
        sprites: RGBA in [0, 1], not premultiplied, each (4, h, w) of its own size.
        backgrounds: Which entries are backgrounds: opaque, continued beyond their border.
    """

    sprites: tuple[Float[Tensor, "4 _h _w"], ...]
    backgrounds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for index, sprite in enumerate(self.sprites):
            if sprite.ndim != 3 or sprite.shape[0] != 4:
                raise ShapeError(f"Dictionary: sprite {index} is {tuple(sprite.shape)}; expected (4, h, w).")

    def __len__(self) -> int:
        return len(self.sprites)

    def name(self, entry: int) -> str:
        """Name an entry for files and lists, such as `sprite-03` or `background-0`."""
        if entry in self.backgrounds:
            return f"background-{self.backgrounds.index(entry)}"
        return f"sprite-{entry:02d}"


def _bounds(matrix: np.ndarray, source: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Find the rectangle (top, left, bottom, right) of the canvas that a raster can touch."""
    height, width = source
    # Bilinear sampling reaches half a pixel beyond the raster's edge.
    corners = np.array([[x, y, 1] for x in (-0.5, width + 0.5) for y in (-0.5, height + 0.5)])
    mapped = corners @ matrix.T
    if (np.sign(mapped[:, 2]) != np.sign(mapped[0, 2])).any() or np.abs(mapped[:, 2]).min() < 1e-8:
        return 0, 0, *size  # the horizon crosses the raster: look everywhere
    points = mapped[:, :2] / mapped[:, 2:]
    (left, top), (right, bottom) = np.floor(points.min(0)), np.ceil(points.max(0))
    return (
        int(np.clip(top, 0, size[0])),
        int(np.clip(left, 0, size[1])),
        int(np.clip(bottom, 0, size[0])),
        int(np.clip(right, 0, size[1])),
    )


def _apply_matrix(raster: Tensor, transform: Transform, padding: Padding) -> tuple[Tensor, int, int]:
    """Move a raster (C, h, w); return the touched window and its corner (top, left)."""
    matrix, size = transform.matrix, transform.size
    source = (raster.shape[1], raster.shape[2])
    flipped = matrix[0, 0] < 0
    left, top = matrix[0, 2] - (source[1] if flipped else 0), matrix[1, 2]
    plain = np.array([[-1 if flipped else 1, 0, matrix[0, 2]], [0, 1, top], [0, 0, 1]])
    covers = left <= 0 and top <= 0 and left + source[1] >= size[1] and top + source[0] >= size[0]
    whole = bool((matrix == plain).all()) and left == round(left) and top == round(top)
    if whole and (padding == "zeros" or covers):
        # A shift by whole pixels, flipped or not, is a copy, exact to the bit.
        raster = raster.flip(2) if flipped else raster
        column, row = int(left), int(top)
        first, last = max(row, 0), max(min(row + source[0], size[0]), max(row, 0))
        begin, end = max(column, 0), max(min(column + source[1], size[1]), max(column, 0))
        return raster[:, first - row : last - row, begin - column : end - column], first, begin
    top_, left_, bottom, right = (0, 0, *size) if padding == "border" else _bounds(matrix, source, size)
    height, width = max(bottom - top_, 0), max(right - left_, 0)
    if height == 0 or width == 0:
        return raster.new_zeros(len(raster), 0, 0), min(top_, size[0]), min(left_, size[1])
    inverse = np.linalg.inv(matrix)
    columns = torch.arange(left_, right, dtype=torch.float64) + 0.5
    rows = torch.arange(top_, bottom, dtype=torch.float64) + 0.5
    y, x = rows[:, None], columns[None, :]
    z = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2]
    z = torch.where(z.abs() > 1e-8, z, 1.0)
    looked_x = (inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]) / z * (2 / source[1]) - 1
    looked_y = (inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]) / z * (2 / source[0]) - 1
    grid = torch.stack([looked_x, looked_y], -1).to(raster.dtype)
    out = F.grid_sample(raster[None], grid[None], mode="bilinear", padding_mode=padding, align_corners=False)
    return out[0], top_, left_


def paint(dictionary: Dictionary, placement: Placement) -> Window:
    """Paint one placement: only the window that it can touch (a background covers the canvas)."""
    background = placement.entry in dictionary.backgrounds
    raster = placement.raster if placement.raster is not None else dictionary.sprites[placement.entry]
    padding: Padding = "border" if background else "zeros"
    top = left = 0
    for index, transform in enumerate(placement.transforms):
        if transform.kind == "matrix":
            raster, top, left = _apply_matrix(raster, transform, padding)
            if index < len(placement.transforms) - 1:
                canvas = raster.new_zeros(len(raster), *transform.size)
                canvas[:, top : top + raster.shape[1], left : left + raster.shape[2]] = raster
                raster, top, left = canvas, 0, 0
            continue
        parameters = torch.tensor([transform.parameters], dtype=raster.dtype)
        if transform.kind == "morphological":
            raster = morphological(raster[None], parameters)[0]
        else:
            grid = spline_grid(parameters, transform.size)
            raster = F.grid_sample(raster[None], grid, "bilinear", padding, align_corners=False)[0]
    gain, offset = torch.tensor(placement.colour, dtype=raster.dtype).view(2, 3, 1, 1)
    rgb = torch.addcmul(offset, raster[:3], gain).clamp(0, 1)
    return Window(rgb, raster[3:] * placement.opacity, top, left)


@dataclass(frozen=True, eq=False)
class Decomposition:
    """What `decompose` finds in a batch of images.

    Attributes:
        dictionary: The sprites.
        images: Per image its placements, back to front.
        size: Height and width of the canvas in pixels.
        background: The first placement of every image is a background: no object, label 0.
        frames: How each canvas sits in its original image, or None.
    """

    dictionary: Dictionary
    images: tuple[tuple[Placement, ...], ...]
    size: tuple[int, int]
    background: bool = False
    frames: tuple[Frame, ...] | None = None

    @classmethod
    def from_rasters(cls, rasters: Float[Tensor, "B L 4 H W"], background: bool) -> "Decomposition":
        """Take layers (colour and alpha, back to front) that show no sprites: each is its own raster, where it stands."""
        size = (rasters.shape[3], rasters.shape[4])
        still = (Transform.shift(0, 0, size),)
        stacks = (tuple(Placement(OWN_RASTER, still, raster=raster) for raster in stack) for stack in rasters.cpu())
        return cls(Dictionary(()), tuple(stacks), size, background)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: slice) -> "Decomposition":
        frames = None if self.frames is None else self.frames[index]
        return replace(self, images=self.images[index], frames=frames)

    def _canvas(self, channels: int) -> Tensor:
        dtype = self.dictionary.sprites[0].dtype if len(self.dictionary) else torch.float32
        return torch.zeros(channels, *self.size, dtype=dtype)

    def composite(self) -> Float[Tensor, "B 3 H W"]:
        """Paint every image: the reconstruction that the method reports."""
        pictures = []
        for placements in self.images:
            canvas = self._canvas(3)
            for placement in placements:
                window = paint(self.dictionary, placement)
                rows, columns = window.slices
                behind = canvas[:, rows, columns]
                canvas[:, rows, columns] = window.alpha * window.rgb + (1 - window.alpha) * behind
            pictures.append(canvas)
        return torch.stack(pictures) if pictures else self._canvas(3)[None][:0]

    def layers(self) -> Layers:
        """Rasterise into a dense stack; images with fewer placements get transparent layers in front."""
        count = max((len(placements) for placements in self.images), default=0)
        rgb = self._canvas(3).repeat(len(self), count, 1, 1, 1)
        alpha = self._canvas(1).repeat(len(self), count, 1, 1, 1)
        entry = torch.full((len(self), count), OWN_RASTER)
        for i, placements in enumerate(self.images):
            for j, placement in enumerate(placements):
                window = paint(self.dictionary, placement)
                rows, columns = window.slices
                rgb[i, j, :, rows, columns] = window.rgb
                alpha[i, j, :, rows, columns] = window.alpha
                entry[i, j] = placement.entry
        return Layers(rgb, alpha, entry=entry, background=self.background)

    def labels(self) -> tuple[Int[Tensor, "B H W"], Int[Tensor, "B H W"]]:
        """Name the placement, and the dictionary entry + 1, seen most at each pixel; 0 is the background.

        Equal to `segment(layers())`, painting windows only. Own rasters count as entry -1, so class 0.
        """
        instances = torch.zeros(len(self), *self.size, dtype=torch.int64)
        classes = torch.zeros_like(instances)
        for i, placements in enumerate(self.images):
            through = self._canvas(1)[0] + 1
            best = torch.full_like(through, -1.0)
            for j in reversed(range(len(placements))):
                window = paint(self.dictionary, placements[j])
                rows, columns = window.slices
                alpha = window.alpha[0]
                seen = alpha * through[rows, columns]
                wins = (seen >= best[rows, columns]) & (seen > 0)  # nobody wins where nothing is seen
                is_background = self.background and j == 0
                best[rows, columns] = torch.where(wins, seen, best[rows, columns])
                label = 0 if is_background else (j if self.background else j + 1)
                kind = 0 if is_background else placements[j].entry + 1
                instances[i, rows, columns] = torch.where(wins, label, instances[i, rows, columns])
                classes[i, rows, columns] = torch.where(wins, kind, classes[i, rows, columns])
                through[rows, columns] = through[rows, columns] * (1 - alpha)
            if not self.background:
                nothing = through > best
                instances[i][nothing] = 0
                classes[i][nothing] = 0
        return instances, classes

    def at_original(self) -> "tuple[Decomposition, ...]":
        """Map every image to its original size, one decomposition per image.

        Matrices are mapped exactly, sprites are resampled once, and what a crop left out is background. Where the
        originals are enlarged pixel art, sprites are enlarged as it was, pixel by pixel, and nothing is resampled.
        """
        if self.frames is None:
            return tuple(self[i : i + 1] for i in range(len(self)))
        zooms = {frame.zoom for frame in self.frames}
        steps = (step for placements in self.images for placement in placements for step in placement.transforms)
        if len(zooms) == 1 and max(zooms) > 1 and all(step.kind == "matrix" for step in steps):
            return self._enlarged(max(zooms))
        singles = []
        for placements, frame in zip(self.images, self.frames, strict=True):
            if not frame.is_identity:
                placements = tuple(p.then(frame.to_original, frame.original) for p in placements)
            whole = (Frame.whole(*frame.original),)
            singles.append(replace(self, images=(placements,), size=frame.original, frames=whole))
        return tuple(singles)

    def _enlarged(self, zoom: int) -> "tuple[Decomposition, ...]":
        """The images, a decomposition each, with every pixel as a block."""

        def blocks(raster: Tensor) -> Tensor:
            return raster.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)

        def enlarged(placement: Placement) -> Placement:
            steps = tuple(step.enlarged(zoom) for step in placement.transforms)
            raster = None if placement.raster is None else blocks(placement.raster)
            return replace(placement, transforms=steps, raster=raster)

        size = (self.size[0] * zoom, self.size[1] * zoom)
        dictionary = replace(self.dictionary, sprites=tuple(blocks(sprite) for sprite in self.dictionary.sprites))
        return tuple(
            Decomposition(dictionary, (tuple(map(enlarged, some)),), size, self.background, (Frame.whole(*size),))
            for some in self.images
        )

    def scenes(self, names: Sequence[str] | None = None) -> "list[scenes.Scene]":
        """Make one editable scene per image, at the original size.

        Args:
            names: A relative path for each image, such as `a/b.png`; numbered when None.

        Raises:
            ShapeError: There is not one name for each image.
            ConfigError: A name is no relative path.
        """
        return scenes.scenes_of(self, names)


# Scenes are made of placements, and a decomposition makes scenes: the second import has to wait for the classes.
from delaminate.scene import scenes  # noqa: E402

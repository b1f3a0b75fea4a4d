"""Stamps: every placement as an 8-bit picture at whole pixels, for formats that know only those.

A sprite that was only moved, mirrored or coloured stays one picture that all its stamps share; turned by quarters or
upside down it is another one, whole; what was scaled, warped, turned otherwise or lies between pixels becomes a picture
of its own, as painted on the canvas. Pictures with equal pixels are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from delaminate.exporters.files import covered, difference
from delaminate.exporters.tile_sheet import turned
from delaminate.files import to_pixels
from delaminate.matching.tile_cells import MIRRORED
from delaminate.scene.collection import shared_dictionary
from delaminate.scene.painting import paint
from delaminate.scene.placements import NEUTRAL, Dictionary, Placement, Transform
from delaminate.scene.scenes import Scene, SceneLayer

Occurrence = tuple[int, int, bool]  # left, top, mirrored


@dataclass(frozen=True)
class Stamp:
    """One layer of a scene as a picture on its canvas.

    Attributes:
        layer: The scene's layer.
        picture: Index into `Stamps.pictures`.
        left, top: Where the picture's corner lies on the canvas, in pixels; parts may lie outside.
        mirrored: The picture is flipped left to right.
        opacity: Factor on alpha; 1 where it is in the picture already.
    """

    layer: SceneLayer
    picture: int
    left: int
    top: int
    mirrored: bool
    opacity: float


@dataclass(frozen=True)
class Stamps:
    """Scenes as stamps.

    Attributes:
        names: A name of its own for each picture.
        pictures: RGBA, not premultiplied.
        frames: The stamps of each scene, back to front, hidden ones too.
    """

    names: list[str] = field(default_factory=list)
    pictures: list[UInt8[np.ndarray, "_h _w 4"]] = field(default_factory=list)
    frames: list[list[Stamp]] = field(default_factory=list)

    def pixels(self, stamp: Stamp) -> UInt8[np.ndarray, "h w 4"]:
        """Show a stamp's pixels as they lie on the canvas, mirrored where it is."""
        picture = self.pictures[stamp.picture]
        return picture[:, ::-1] if stamp.mirrored else picture

    def flatten(self, size: tuple[int, int], frame: int) -> Float[Tensor, "3 H W"]:
        """Composite the visible stamps of a scene back to front over black, in float64."""
        canvas = np.zeros((*size, 3))
        for stamp in self.frames[frame]:
            if not stamp.layer.visible:
                continue
            pixels = self.pixels(stamp)
            rows, columns = slice(max(stamp.top, 0), size[0]), slice(max(stamp.left, 0), size[1])
            part = pixels[max(-stamp.top, 0) :, max(-stamp.left, 0) :] / 255
            window = canvas[rows, columns][: part.shape[0], : part.shape[1]]
            part = part[: window.shape[0], : window.shape[1]]
            alpha = part[..., 3:] * stamp.opacity
            window += alpha * (part[..., :3] - window)
        return torch.from_numpy(canvas).permute(2, 0, 1)

    def error(self, scenes: Sequence[Scene]) -> float:
        """Measure how far the flattened stamps are from the scenes' composites at the worst pixel."""
        errors = [difference(scene, self.flatten(scene.size, frame)) for frame, scene in enumerate(scenes)]
        return max(errors, default=0.0)


def whole_place(dictionary: Dictionary, placement: Placement) -> Occurrence | None:
    """Say where a raster lies that was moved by whole pixels, mirrored or not; None for everything else."""
    found = _place(dictionary, placement)
    if found is None or found[2] not in (0, MIRRORED):
        return None
    left, top, orientation = found
    if placement.entry in dictionary.backgrounds:
        # A background goes on beyond its border, so only one that covers the canvas is its picture.
        height, width = _raster(dictionary, placement).shape[1:]
        size = placement.transforms[0].size
        if left > 0 or top > 0 or left + width < size[1] or top + height < size[0]:
            return None
    return left, top, orientation == MIRRORED


def turned_place(dictionary: Dictionary, placement: Placement) -> tuple[int, int, int] | None:
    """Say where a raster lies that was turned by quarters or flipped, and moved by whole pixels: left, top, orientation.

    The orientation is in Tiled's bits; None for everything else, and for backgrounds.
    """
    return None if placement.entry in dictionary.backgrounds else _place(dictionary, placement)


def _raster(dictionary: Dictionary, placement: Placement) -> Float[Tensor, "4 h w"]:
    return dictionary.sprites[placement.entry] if placement.raster is None else placement.raster


def _place(dictionary: Dictionary, placement: Placement) -> tuple[int, int, int] | None:
    """Left, top and orientation of a raster that was moved by whole pixels, in one step."""
    transform = placement.transforms[0]
    if len(placement.transforms) > 1 or transform.kind != "matrix":
        return None
    height, width = _raster(dictionary, placement).shape[1:]
    return transform.whole_place((height, width))


class _Cutter:
    """Makes each picture once."""

    def __init__(self, dictionary: Dictionary, opacity: bool, trim: bool) -> None:
        self.dictionary = dictionary
        self.opacity = opacity
        self.trim = trim
        self.stamps = Stamps()
        self.by_pixels: dict[tuple[tuple[int, ...], bytes], int] = {}
        self.by_turn: dict[tuple[object, ...], tuple[int, int, int]] = {}
        self.by_sprite: dict[tuple[object, ...], tuple[int, int, int, int]] = {}

    def keep(self, pixels: np.ndarray, name: str, exact_name: bool = False) -> int:
        key = (pixels.shape, pixels.tobytes())
        if key not in self.by_pixels or exact_name:
            self.by_pixels.setdefault(key, len(self.stamps.pictures))
            self.stamps.names.append(name)
            self.stamps.pictures.append(pixels)
            return len(self.stamps.pictures) - 1
        return self.by_pixels[key]

    def coloured(self, placement: Placement, opacity: float) -> UInt8[np.ndarray, "h w 4"]:
        """A placement's raster in its colour, as it is before it is moved."""
        raster = _raster(self.dictionary, placement)
        gain, offset = torch.tensor(placement.colour, dtype=raster.dtype).view(2, 3, 1, 1)
        rgb = torch.addcmul(offset, raster[:3], gain).clamp(0, 1)
        return to_pixels(torch.cat([rgb, raster[3:] * opacity]))

    def turned(self, placement: Placement, opacity: float, orientation: int) -> tuple[int, int, int]:
        """The picture of a raster that was turned, and what trimming took from its left and top."""
        raster = placement.entry if placement.raster is None else id(placement.raster)
        key = (raster, placement.raster is None, placement.colour, opacity, orientation)
        if key not in self.by_turn:
            pixels = turned(self.coloured(placement, opacity), orientation)
            rows, columns = covered(pixels) if self.trim else (slice(0, None), slice(0, None))
            index = self.keep(pixels[rows, columns], f"picture-{len(self.stamps.pictures):04d}")
            self.by_turn[key] = index, columns.start, rows.start
        return self.by_turn[key]

    def sprite(self, placement: Placement, opacity: float) -> tuple[int, int, int, int]:
        """The picture of a moved raster, what trimming took from its left and top, and its width before that."""
        key: tuple[object, ...] = (placement.entry, placement.colour, opacity)
        if placement.raster is not None:
            key = (id(placement.raster), placement.colour, opacity)
        if key not in self.by_sprite:
            plain = placement.colour == NEUTRAL and opacity == 1
            pixels = self.coloured(placement, opacity)
            rows, columns = covered(pixels) if self.trim else (slice(0, None), slice(0, None))
            if placement.raster is not None:
                name = f"picture-{len(self.stamps.pictures):04d}"
            else:
                name = self.dictionary.name(placement.entry)
                name = name if plain else f"{name}-colour-{len(self.stamps.pictures):04d}"
            index = self.keep(pixels[rows, columns], name, plain and placement.raster is None)
            self.by_sprite[key] = index, columns.start, rows.start, pixels.shape[1]
        return self.by_sprite[key]

    def stamp(self, layer: SceneLayer) -> Stamp:
        placement = layer.placement
        left_over, inside = (placement.opacity, 1.0) if self.opacity else (1.0, placement.opacity)
        place = whole_place(self.dictionary, placement)
        if place is not None:
            left, top, mirrored = place
            index, cut_left, cut_top, width = self.sprite(placement, inside)
            if mirrored:
                cut_left = width - cut_left - self.stamps.pictures[index].shape[1]
            return Stamp(layer, index, left + cut_left, top + cut_top, mirrored, left_over)
        turn = turned_place(self.dictionary, placement)
        if turn is not None:
            index, cut_left, cut_top = self.turned(placement, inside, turn[2])
            return Stamp(layer, index, turn[0] + cut_left, turn[1] + cut_top, False, left_over)
        window = paint(self.dictionary, replace(placement, opacity=inside))
        pixels = to_pixels(torch.cat([window.rgb, window.alpha]))
        if not pixels.size:
            # Nothing of the layer lies on the canvas: one transparent pixel stands for it.
            pixels = np.zeros((1, 1, 4), np.uint8)
        rows, columns = covered(pixels)
        index = self.keep(pixels[rows, columns], f"picture-{len(self.stamps.pictures):04d}")
        return Stamp(layer, index, window.left + columns.start, window.top + rows.start, False, left_over)


def cut_stamps(scenes: Sequence[Scene], *, opacity: bool = True, trim: bool = False, sprites: bool = True) -> Stamps:
    """Turn scenes into stamps.

    Args:
        scenes: Scenes of one decomposition.
        opacity: Leave the opacity a value of the stamp; else it is multiplied into the picture's alpha.
        trim: Cut pictures to where alpha is above 0.
        sprites: Have a picture for every sprite of the dictionary (backgrounds left out), used or not.

    Raises:
        ConfigError: The scenes do not share a dictionary.
    """
    dictionary = shared_dictionary(scenes)
    cutter = _Cutter(dictionary, opacity, trim)
    if sprites:
        nowhere = Transform.shift(0, 0, (1, 1))
        for entry in range(len(dictionary)):
            if entry not in dictionary.backgrounds:
                cutter.sprite(Placement(entry, (nowhere,)), 1.0)
    for scene in scenes:
        cutter.stamps.frames.append([cutter.stamp(layer) for layer in scene.layers])
    return cutter.stamps

"""Scene: one image as named layers that a person can edit.

A scene is what save, export and the studio work on. It is exact in memory: nothing is painted or rounded until somebody
asks for the composite or saves. Editing returns a new scene, so that undo is keeping the old one.
"""

import dataclasses
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from delaminate.errors import ConfigError, ShapeError
from delaminate.scene.matting import foreground_colours
from delaminate.scene.painting import composite_placements, paint
from delaminate.scene.placements import NEUTRAL, OWN_RASTER, Dictionary, Placement, Transform
from delaminate.scene.views import page_of

LAYER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_TITLE = 256
"""Characters of a name that people read: of a layer, of a sprite."""

PLAIN_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._ -]{0,254}/)*[A-Za-z0-9_-][A-Za-z0-9._ -]{0,254}")
"""What names of scenes mostly are; such a name needs no closer look."""

BORDER = "border"
"""The id of the layer that shows the margins around a picture: black bars, a window's frame."""


@dataclass(frozen=True, eq=False)
class SceneLayer:
    """One layer of a scene.

    Attributes:
        id: Stable name in files and commands: letters, digits, `.`, `_` and `-`.
        name: What people read; free text of one line.
        placement: Sprite or own raster, transforms, colour, opacity and track.
        visible: False leaves the layer out of the composite.
    """

    id: str
    name: str
    placement: Placement
    visible: bool = True

    def __post_init__(self) -> None:
        where = f"layer {self.id!r}"
        if not LAYER_ID.fullmatch(self.id):
            raise ConfigError(f"{where}: expected an id of 1 to 64 letters, digits, '.', '_' or '-'.")
        if not is_plain_text(self.name, MAX_TITLE):
            raise ConfigError(
                f"{where}: the name is {self.name!r:.80}; expected one line of 1 to {MAX_TITLE} characters."
            )
        placement = self.placement
        if not all(math.isfinite(number) for number in placement.colour):
            raise ConfigError(f"{where}: colour is {placement.colour}; expected finite numbers.")
        if not 0 <= placement.opacity <= 1:
            raise ConfigError(f"{where}: opacity is {placement.opacity}; expected 0 to 1.")


@dataclass(frozen=True, eq=False)
class Scene:
    """One image as layers that a person can edit. Editing returns a new scene.

    Attributes:
        name: The image's name: a relative path with `/`.
        size: Height and width of the canvas in pixels.
        layers: Back to front.
        dictionary: The sprites, shared with the other scenes of a decomposition.
        background: Layer 0 is a background: no object, and it stays at the back.
        rounding_error: The largest error in the composite that saving has made so far.
    """

    name: str
    size: tuple[int, int]
    layers: tuple[SceneLayer, ...]
    dictionary: Dictionary
    background: bool = False
    rounding_error: float = 0.0

    def __post_init__(self) -> None:
        check_name(self.name)
        if len({layer.id.casefold() for layer in self.layers}) != len(self.layers):
            raise ConfigError(f"scene {self.name!r}: two layers have the same id; expected ids of their own.")
        for layer in self.layers:
            if layer.placement.transforms[-1].size != self.size:
                raise ShapeError(
                    f"scene {self.name!r}: layer {layer.id!r} ends on a canvas of "
                    f"{layer.placement.transforms[-1].size}; expected {self.size}."
                )
            if not OWN_RASTER <= layer.placement.entry < len(self.dictionary):
                raise ConfigError(
                    f"scene {self.name!r}: layer {layer.id!r} shows entry {layer.placement.entry} of a dictionary "
                    f"of {len(self.dictionary)}; expected a number below that, or {OWN_RASTER} for a raster of its own."
                )

    def layer(self, layer_id: str) -> SceneLayer:
        """Find a layer by its id.

        Raises:
            ConfigError: There is no such layer.
        """
        for layer in self.layers:
            if layer.id == layer_id:
                return layer
        known = ", ".join(layer.id for layer in self.layers[:12])
        raise ConfigError(f"scene {self.name!r}: no layer {layer_id!r}; the layers are {known}.")

    @property
    def visible_placements(self) -> tuple[Placement, ...]:
        """What the layers that are not hidden show, back to front."""
        return tuple(layer.placement for layer in self.layers if layer.visible)

    def composite(self) -> Float[Tensor, "3 H W"]:
        """Flatten the visible layers; bit for bit the decomposition's composite when nothing was edited."""
        return composite_placements(self.dictionary, self.visible_placements, self.size)

    def _repr_html_(self) -> str:
        """The picture, and each layer by itself, back to front."""
        layers = [_on_canvas(self, layer.placement) for layer in self.layers]
        facts = {"size": f"{self.size[1]} x {self.size[0]} pixels", "layers": str(len(layers))}
        return page_of(self.name, facts, [self.composite()[None], *([torch.stack(layers)] if layers else [])])

    def _with(self, layer_id: str, change: Callable[[Placement], Placement]) -> "Scene":
        placement = change(self.layer(layer_id).placement)
        return self._changed(layer_id, placement=placement)

    def _changed(self, layer_id: str, **fields: Any) -> "Scene":
        old = self.layer(layer_id)
        new = dataclasses.replace(old, **fields)
        return dataclasses.replace(self, layers=tuple(new if layer is old else layer for layer in self.layers))

    def move(self, layer_id: str, dx: float, dy: float) -> "Scene":
        """Move a layer by pixels of the canvas, x to the right and y down.

        Raises:
            ConfigError: The numbers are not finite.
        """
        if not (math.isfinite(dx) and math.isfinite(dy)):
            raise ConfigError(f"move: by ({dx}, {dy}); expected finite numbers of pixels.")
        matrix = np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]], dtype=np.float64)
        return self._with(layer_id, lambda placement: placement.then(matrix, self.size))

    def scale(self, layer_id: str, across: float, down: float) -> "Scene":
        """Scale a layer about its centre; negative factors flip it.

        Raises:
            ConfigError: A factor is 0, not finite or beyond 1,000.
        """
        if not all(1e-3 <= abs(factor) <= 1e3 for factor in (across, down)):
            raise ConfigError(
                f"scale: by ({across}, {down}); expected factors from 0.001 to 1000, or negative ones to flip."
            )
        return self._about_centre(layer_id, np.diag([across, down, 1.0]))

    def rotate(self, layer_id: str, degrees: float) -> "Scene":
        """Turn a layer about its centre, clockwise; quarters are exact.

        Raises:
            ConfigError: The angle is not finite.
        """
        if not math.isfinite(degrees):
            raise ConfigError(f"rotate: by {degrees}; expected a finite number of degrees.")
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        if degrees % 90 == 0:
            cosine, sine = float(round(cosine)), float(round(sine))
        return self._about_centre(layer_id, np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]))

    def _about_centre(self, layer_id: str, matrix: np.ndarray) -> "Scene":
        x, y = self.centre(layer_id)
        around = matrix.astype(np.float64)
        around[:2, 2] = np.array([x, y]) - around[:2, :2] @ (x, y)
        old = self.layer(layer_id).placement.transforms[-1]
        turned = Transform.of_matrix(around, self.size)
        if turned.orientation is not None and (old.kind != "matrix" or (old.matrix[:2, 2] % 1 == 0).all()):
            # Flipped, or turned by quarters: whole pixels stay whole.
            around[:2, 2] = np.floor(around[:2, 2])
        return self._with(layer_id, lambda placement: placement.then(around + 0.0, self.size))

    def centre(self, layer_id: str) -> tuple[float, float]:
        """Say where the centre of a layer's raster lies on the canvas, across and down, in pixels.

        Where more than matrices place it, this is the middle of the window that it is painted in.
        """
        placement = self.layer(layer_id).placement
        if all(step.kind == "matrix" for step in placement.transforms):
            height, width = self._raster(placement).shape[1:]
            point = np.array([width / 2, height / 2, 1.0])
            for step in placement.transforms:
                point = step.matrix @ point
            if abs(point[2]) > 1e-8:
                return float(point[0] / point[2]), float(point[1] / point[2])
        window = paint(self.dictionary, placement)
        return window.left + window.alpha.shape[2] / 2, window.top + window.alpha.shape[1] / 2

    def rename(self, layer_id: str, name: str) -> "Scene":
        """Set what people read; the id stays."""
        return self._changed(layer_id, name=name)

    def duplicate(self, layer_id: str) -> "Scene":
        """Put a copy of a layer in front of it, of no track."""
        layer = self.layer(layer_id)
        self._refuse_background("duplicate", layer)
        placement = dataclasses.replace(layer.placement, track=None)
        copy = dataclasses.replace(layer, id=self._new_id(), placement=placement)
        place = self.layers.index(layer) + 1
        return dataclasses.replace(self, layers=(*self.layers[:place], copy, *self.layers[place:]))

    def remove(self, layer_id: str) -> "Scene":
        """Take a layer away.

        Raises:
            ConfigError: It is the background.
        """
        layer = self.layer(layer_id)
        self._refuse_background("remove", layer)
        return dataclasses.replace(self, layers=tuple(other for other in self.layers if other is not layer))

    def add(self, entry: int, x: float, y: float) -> "Scene":
        """Add a sprite of the dictionary in front of all layers, its centre near (x, y) so that its pixels meet the canvas's.

        It lies as the frontmost layer that shows it does, as large and as turned; else it is only moved.

        Raises:
            ConfigError: The dictionary has no such entry, it is a background, or the place is not finite.
        """
        if not 0 <= entry < len(self.dictionary) or entry in self.dictionary.backgrounds:
            raise ConfigError(f"add: entry {entry} of a dictionary of {len(self.dictionary)}; expected a sprite's.")
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ConfigError(f"add: at ({x}, {y}); expected finite numbers of pixels.")
        like = next((each.placement for each in reversed(self.layers) if each.placement.entry == entry), None)
        enlarged = (each.placement.transforms for each in self.layers if each.placement.transforms[-1].kind == "blocks")
        blocks = next(enlarged, ())
        if like is not None:
            placement = Placement(entry, like.transforms)
        elif blocks:
            placement = Placement(entry, (Transform.shift(0, 0, blocks[-2].size), blocks[-1]))
        else:
            placement = Placement(entry, (Transform.shift(0, 0, self.size),))
        added = SceneLayer(self._new_id(), self.dictionary.title(entry), placement)
        scene = dataclasses.replace(self, layers=(*self.layers, added))
        here = scene.centre(added.id)
        return scene.move(added.id, round(x - here[0]), round(y - here[1]))

    def mend(self, layer_id: str, alpha: Float[Tensor, "1 h w"]) -> "Scene":
        """Give a layer another alpha, of its raster's size; its colours stay. It has a raster of its own from then on.

        Raises:
            ShapeError: The alpha has another size.
        """
        raster = self._raster(self.layer(layer_id).placement)
        if alpha.shape != (1, *raster.shape[1:]):
            raise ShapeError(
                f"mend: the alpha is {alpha.shape[2]} x {alpha.shape[1]} pixels; expected {raster.shape[2]} x "
                f"{raster.shape[1]}, as layer {layer_id!r}."
            )
        return self.redraw(layer_id, torch.cat([raster[:3], alpha.to(raster.dtype)]))

    def _new_id(self) -> str:
        """An id that no layer has."""
        taken = {layer.id.casefold() for layer in self.layers}
        return next(name for number in range(len(taken) + 1) if (name := f"added-{number:02d}") not in taken)

    def _refuse_background(self, verb: str, layer: SceneLayer) -> None:
        if self.background and layer is self.layers[0]:
            raise ConfigError(
                f"{verb}: layer {layer.id!r} is the background of {self.name!r}, and stays. Hide it instead."
            )

    def hide(self, layer_id: str) -> "Scene":
        """Leave a layer out of the composite."""
        return self._changed(layer_id, visible=False)

    def show(self, layer_id: str) -> "Scene":
        """Take a hidden layer back in."""
        return self._changed(layer_id, visible=True)

    def fade(self, layer_id: str, opacity: float) -> "Scene":
        """Set a layer's opacity, a factor on its alpha in [0, 1]."""
        return self._with(layer_id, lambda placement: dataclasses.replace(placement, opacity=float(opacity)))

    def recolour(self, layer_id: str, gain: Sequence[float], offset: Sequence[float]) -> "Scene":
        """Set a layer's colour: clip(gain * rgb + offset, 0, 1), three numbers each."""
        colour = tuple(float(number) for number in (*gain, *offset))
        return self._with(layer_id, lambda placement: dataclasses.replace(placement, colour=colour))

    def replace(self, layer_id: str, entry: int) -> "Scene":
        """Show another dictionary entry in a layer; its centre goes where the old one's was.

        Raises:
            ConfigError: The dictionary has no such entry.
        """
        if not 0 <= entry < len(self.dictionary):
            raise ConfigError(
                f"replace: entry {entry} of a dictionary of {len(self.dictionary)}; expected 0 or more, below that."
            )
        old = self.layer(layer_id).placement
        old_size = self._raster(old).shape[1:]
        return self._recentred(layer_id, old_size, self.dictionary.sprites[entry].shape[1:], entry=entry, raster=None)

    def redraw(self, layer_id: str, raster: Float[Tensor, "4 h w"]) -> "Scene":
        """Give one layer a raster of its own, RGBA in [0, 1]; other layers keep the dictionary's sprite."""
        old_size = self._raster(self.layer(layer_id).placement).shape[1:]
        return self._recentred(layer_id, old_size, raster.shape[1:], entry=OWN_RASTER, raster=raster)

    def paste(self, layer_id: str, raster: Float[Tensor, "4 h w"], left: int, top: int) -> "Scene":
        """Give one layer a raster of its own as it lies on the canvas, its corner at (left, top); opacity and track stay."""
        old = self.layer(layer_id).placement
        there = (Transform.shift(left, top, self.size),)
        return self._with(layer_id, lambda _: Placement(OWN_RASTER, there, NEUTRAL, old.opacity, old.track, raster))

    def insert(self, raster: Float[Tensor, "4 h w"], left: int, top: int, name: str) -> "Scene":
        """Put a raster of its own in front of all layers, its corner at (left, top) of the canvas.

        Raises:
            ConfigError: The name is no line of 1 to 256 characters.
        """
        placement = Placement(OWN_RASTER, (Transform.shift(left, top, self.size),), raster=raster)
        return dataclasses.replace(self, layers=(*self.layers, SceneLayer(self._new_id(), name, placement)))

    def _raster(self, placement: Placement) -> Tensor:
        return self.dictionary.sprites[placement.entry] if placement.raster is None else placement.raster

    def _recentred(self, layer_id: str, old: Sequence[int], new: Sequence[int], **fields: Any) -> "Scene":
        placement = self.layer(layer_id).placement
        transforms = placement.transforms
        if tuple(old) != tuple(new):
            # The new raster's pixels go to the old one's, centre on centre, before all else.
            inner = np.eye(3)
            inner[:2, 2] = (old[1] - new[1]) / 2, (old[0] - new[0]) / 2
            first = transforms[0]
            if first.kind == "matrix":
                transforms = (Transform.of_matrix(first.matrix @ inner, first.size), *transforms[1:])
            else:
                transforms = (Transform.of_matrix(inner, (int(old[0]), int(old[1]))), *transforms)
        return self._with(layer_id, lambda _: dataclasses.replace(placement, transforms=transforms, **fields))

    def reorder(self, layer_id: str, position: int) -> "Scene":
        """Move a layer to a position, counted from the back; 0 is furthest back.

        Raises:
            ConfigError: There is no such position, or the background would leave the back.
        """
        layer = self.layer(layer_id)
        count = len(self.layers)
        if not 0 <= position < count:
            raise ConfigError(f"reorder: position {position} of {count} layers; expected 0 to {count - 1}.")
        if self.background and (position == 0) != (layer is self.layers[0]):
            raise ConfigError(f"reorder: layer {layer_id!r} to position {position}; the background stays at 0.")
        others = [other for other in self.layers if other is not layer]
        return dataclasses.replace(self, layers=(*others[:position], layer, *others[position:]))


def with_photo(scene: Scene, photo: Float[Tensor, "3 H W"]) -> Scene:
    """Let layers with rasters of their own show the photo through their alphas, at the photo's own size (`foreground_colours`).

    For decompositions whose layers carry the photo itself, the first of them a background: alpha is enlarged and rounded to 8
    bits, colour is never resampled. What a crop left out is background.

    Args:
        scene: Its layers have rasters of their own.
        photo: The original image in [0, 1], of the scene's size.

    Raises:
        ShapeError: The photo has another size than the scene, or there is no background.
    """
    if tuple(photo.shape) != (3, *scene.size):
        raise ShapeError(
            f"with_photo: the photo is {tuple(photo.shape)}; expected (3, {scene.size[0]}, {scene.size[1]})."
        )
    if not scene.background or any(layer.placement.entry != OWN_RASTER for layer in scene.layers):
        raise ShapeError("with_photo: expected a background, and layers with rasters of their own.")
    still = (Transform.shift(0, 0, scene.size),)
    alpha = photo.new_zeros(len(scene.layers), 1, *scene.size)
    for own, layer in zip(alpha, scene.layers, strict=True):
        window = paint(scene.dictionary, layer.placement)
        own[:, *window.slices] = (255 * window.alpha.clamp(0, 1)).round() / 255
    alpha[0] = 1
    rasters = torch.cat([foreground_colours(photo[None], alpha[None])[0], alpha], 1)  # L 4 H W
    layers = tuple(
        dataclasses.replace(layer, placement=dataclasses.replace(layer.placement, transforms=still, raster=raster))
        for layer, raster in zip(scene.layers, rasters, strict=True)
    )
    return dataclasses.replace(scene, layers=layers)


def is_plain_text(text: str, longest: int) -> bool:
    """Say whether text is one line without control characters, fit for JSON, XML and a list on the screen."""
    bad = any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in "\ufffe\uffff" for char in text)
    return 0 < len(text) <= longest and not bad


def check_name(name: str) -> None:
    """Make sure that a scene's name is a relative path that stays in its folder.

    Raises:
        ConfigError: It is absolute, has `..`, a drive letter, a backslash or a control character, or is too long.
    """
    if len(name) <= 1024 and PLAIN_NAME.fullmatch(name):
        return
    parts = name.split("/")
    outside = any(part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > 255 for part in parts)
    if not is_plain_text(name, 1024) or outside or "\\" in name or re.match(r"[A-Za-z]:", name):
        raise ConfigError(f"scene name {name!r:.120}: expected a relative path such as 'a/b.png', without '..'.")


def _on_canvas(scene: Scene, placement: Placement) -> Float[Tensor, "4 H W"]:
    """Paint one placement on a transparent canvas."""
    canvas = torch.zeros(4, *scene.size)
    window = paint(scene.dictionary, placement)
    canvas[:, *window.slices] = torch.cat([window.rgb, window.alpha]).float()
    return canvas

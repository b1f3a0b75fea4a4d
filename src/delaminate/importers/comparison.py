"""Comparison: which edits lead from a scene to a document that another program saved of it.

The scene is painted as the exporters paint it, so that a document nobody touched compares as equal, and only what a person
did becomes an edit: layers moved, flipped, repainted, hidden, shown, faded, renamed, reordered, deleted, copied and added.
"""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from delaminate.errors import FormatError
from delaminate.exporters.files import Painted, covered, painted_layers
from delaminate.files import from_pixels, to_pixels
from delaminate.importers.document import Document, DocumentLayer, plain_line
from delaminate.scene.operations import (
    Add,
    Duplicate,
    Fade,
    Hide,
    Insert,
    Move,
    Operation,
    Paste,
    Remove,
    Rename,
    Reorder,
    RepaintSprite,
    Rotate,
    Scale,
    SceneOperation,
    Show,
)
from delaminate.scene.placements import OWN_RASTER
from delaminate.scene.scenes import BORDER, Scene, SceneLayer
from delaminate.scene.unwarping import Patch, RepaintedSprite, repainted_sprite

ID_IN_NAME = re.compile(r"\s*\[([A-Za-z0-9][A-Za-z0-9._-]{0,63})\]")
OURS = re.compile(r"(layer|added)-[0-9]+|background|border")
"""What ids of layers look like, of other scenes, too."""

SAME_COLOUR = 1.5
"""Of 255, colour times alpha: what programs that multiply colour by alpha lose."""

SAME_ALPHA = 1
SAME_OPACITY = 0.003
"""Below a step of 255."""

LEAST_COMMON = 0.5
"""Of the opaque pixels: that many are equal in a layer that was moved and painted on."""


@dataclass(frozen=True, eq=False)
class Repaint:
    """A layer that was painted on and shows a sprite which other layers may show too.

    Attributes:
        scene, layer: Where; the layer as it was.
        sprite: The sprite's id.
        everywhere: The sprite that would show it; None: there is no way back to it.
    """

    scene: Scene
    layer: SceneLayer
    sprite: str
    everywhere: RepaintedSprite | None


Decide = Callable[[Repaint], bool]
"""Says whether a repainted layer changes the sprite everywhere; else only this layer."""


@dataclass
class Comparison:
    """What was understood of a document.

    Attributes:
        operations: Edits of the scene, in their order.
        sprites: Edits of sprites, to be done after those of all scenes.
        pictures: The pictures that edits bring, RGBA in [0, 1], by digest.
        words: Each edit in words.
        remarks: What was not understood, in words.
    """

    operations: list[Operation] = field(default_factory=list)
    sprites: list[RepaintSprite] = field(default_factory=list)
    pictures: dict[str, Float[Tensor, "4 _h _w"]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def keep(self, raster: Float[Tensor, "4 h w"]) -> str:
        """Keep a picture; say its digest."""
        data = raster.contiguous().numpy().tobytes()
        digest = hashlib.sha256(f"{tuple(raster.shape)}".encode() + data).hexdigest()
        self.pictures[digest] = raster
        return digest


def compare(scene: Scene, document: Document, decide: Decide) -> Comparison:
    """Find the edits that lead from a scene to a document.

    Args:
        scene: As it was exported.
        document: As it came back.
        decide: Asked for every layer that shows a sprite and was painted on.

    Raises:
        FormatError: The canvas has another size.
    """
    if document.size != scene.size:
        raise FormatError(
            f"{document.where}: the canvas is {document.size[1]} x {document.size[0]} pixels; expected {scene.size[1]} x "
            f"{scene.size[0]}, as scene {scene.name!r}. Edit layers, not the size of the image."
        )
    return _Comparer(scene, document, decide).compare()


def same_picture(one: UInt8[np.ndarray, "h w 4"], other: UInt8[np.ndarray, "H W 4"]) -> bool:
    """Say whether two pictures look the same; what lies under alpha 0 does not count."""
    return one.shape == other.shape and bool(_same_pixels(one, other).all())


def _same_pixels(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    if one is other or np.array_equal(one, other):
        return np.ones(one.shape[:2], bool)
    alphas = one[..., 3:].astype(np.int16), other[..., 3:].astype(np.int16)
    colours = (one[..., :3] * (alphas[0] / 255), other[..., :3] * (alphas[1] / 255))
    return (np.abs(alphas[0] - alphas[1])[..., 0] <= SAME_ALPHA) & (
        np.abs(colours[0] - colours[1]).max(2) <= SAME_COLOUR
    )


def _trimmed(pixels: np.ndarray, top: int, left: int) -> Patch:
    if not (pixels[..., 3] > 0).any():
        return Patch(np.zeros((1, 1, 4), np.uint8), 0, 0)
    rows, columns = covered(pixels)
    return Patch(pixels[rows, columns], top + rows.start, left + columns.start)


def _patch(picture: Painted) -> Patch:
    return Patch(picture.pixels, picture.top, picture.left)


def _key(patch: Patch) -> tuple[object, ...]:
    return patch.top, patch.left, patch.pixels.shape, patch.pixels.tobytes()


def _equal(one: Patch, other: Patch) -> bool:
    return (one.top, one.left) == (other.top, other.left) and same_picture(one.pixels, other.pixels)


class _Comparer:
    def __init__(self, scene: Scene, document: Document, decide: Decide) -> None:
        self.scene, self.document, self.decide = scene, document, decide
        self.start = scene
        self.result = Comparison(remarks=list(document.remarks))
        self.painted = {each.layer.id: each for each in self._paint(scene)}
        self.patches = {name: _patch(each) for name, each in self.painted.items()}
        self.sprites: dict[int, np.ndarray] = {}
        self.shown = [_trimmed(each.pixels, each.top, each.left) for each in document.layers]

    def _paint(self, scene: Scene) -> Iterator[Painted]:
        return painted_layers(scene, opacity=self.document.opacity_inside, whole=True)

    def compare(self) -> Comparison:
        """Layer by layer, then what went, what came, and the order."""
        owners = self._match()
        for number, layer_id in enumerate(owners):
            if layer_id is not None:
                self._compare_layer(layer_id, self.document.layers[number], self.shown[number])
        for layer in self.start.layers:
            if layer.id not in owners:
                self._gone(layer)
        order = [name if name is not None else self._added(number) for number, name in enumerate(owners)]
        self._reorder([(name, shown) for name, shown in zip(order, self.shown, strict=True) if name is not None])
        return self.result

    # ---- Which layer is which ----------------------------------------------------------------------------------------

    def _match(self) -> list[str | None]:
        """The scene's layer that each layer of the document was."""
        layers = self.document.layers
        owners: list[str | None] = [None] * len(layers)
        claims: dict[str, list[int]] = {}
        for number, layer in enumerate(layers):
            claimed = layer.layer_id or self._id_in(layer.name)
            if claimed in self.patches:
                claims.setdefault(claimed, []).append(number)
        for layer_id, numbers in claims.items():
            owners[min(numbers, key=lambda number: self._unlikeness(number, layer_id))] = layer_id
        copies = {number for numbers in claims.values() for number in numbers}
        self._match_rest(owners, [n for n in range(len(layers)) if owners[n] is None and n not in copies])
        return owners

    def _id_in(self, name: str) -> str | None:
        found = [each for each in ID_IN_NAME.findall(name) if each in self.patches]
        return found[-1] if found else None

    def _name_in(self, name: str) -> str:
        """What a layer is called, without the id that the export wrote behind it."""

        def without(found: re.Match[str]) -> str:
            return "" if found[1] in self.patches or OURS.fullmatch(found[1]) else found[0]

        return plain_line(ID_IN_NAME.sub(without, name))

    def _unlikeness(self, number: int, layer_id: str) -> tuple[bool, bool, bool, int]:
        """Rank those who claim to be a layer: the original before its copies."""
        shown, was, layer = self.shown[number], self.patches[layer_id], self.start.layer(layer_id)
        own_name = self.document.layers[number].name.strip() == f"{layer.name} [{layer_id}]"
        same = same_picture(shown.pixels, was.pixels)
        return not own_name, not (same and _equal(shown, was)), not same, number

    def _match_rest(self, owners: list[str | None], free: Sequence[int]) -> None:
        """Layers whose names lost the id: by the same picture at the same place, by name, by picture, by place."""
        left = {layer.id: layer for layer in self.start.layers if layer.id not in owners}
        at_place: dict[tuple[object, ...], list[str]] = {}
        for name in left:
            at_place.setdefault(_key(self.patches[name]), []).append(name)

        def take(number: int, name: str) -> None:
            owners[number] = name
            del left[name]

        def match(fits: Callable[[int, SceneLayer], bool], alone: bool = False) -> None:
            for number in free:
                found = [name for name, layer in left.items() if fits(number, layer)] if owners[number] is None else []
                if found and (len(found) == 1 or not alone):
                    take(number, found[0])

        for number in free:
            same = at_place.get(_key(self.shown[number]))
            if same:
                take(number, same.pop(0))
        match(lambda number, layer: _equal(self.shown[number], self.patches[layer.id]))
        match(lambda number, layer: self.document.layers[number].name.strip() == layer.name, alone=True)
        match(lambda number, layer: same_picture(self.shown[number].pixels, self.patches[layer.id].pixels))
        match(lambda number, layer: self._is_repainted(self.shown[number], self.patches[layer.id]))

    def _is_repainted(self, shown: Patch, was: Patch) -> bool:
        """Say whether a picture that no other layer shows lies exactly where one was."""
        here = (shown.top, shown.left, shown.pixels.shape) == (was.top, was.left, was.pixels.shape)
        known = any(same_picture(shown.pixels, other.pixels) for other in self.patches.values()) if here else True
        return not known and self._sprite_of(shown) is None

    # ---- What became of it -------------------------------------------------------------------------------------------

    def _do(self, operation: SceneOperation, words: str = "") -> None:
        self.scene = operation.change(self.scene, lambda digest: self.result.pictures[digest])
        self.result.operations.append(operation)
        if words:
            self.result.words.append(words)

    def _label(self, layer: SceneLayer) -> str:
        """What to call a layer: by its id, too, where others have its name."""
        alone = sum(each.name == layer.name for each in self.scene.layers) < 2
        return layer.name if alone else f"{layer.name} [{layer.id}]"

    def _compare_layer(self, layer_id: str, layer: DocumentLayer, shown: Patch) -> None:
        was, scene = self.start.layer(layer_id), self.start.name
        label = self._label(was)
        if not self._is_unchanged(layer_id, shown):
            self._follow_picture(was, shown)
        self._fade(self.scene.layer(layer_id), layer.opacity, label)
        if layer.visible != was.visible:
            kind = Show if layer.visible else Hide
            self._do(kind(scene=scene, layer=layer_id), f"{label}: {'shown' if layer.visible else 'hidden'}")
        name = self._name_in(layer.name)
        if layer.layer_id is None and name and name != plain_line(was.name) and not self._was_cut(layer.name, was):
            self._do(Rename(scene=scene, layer=layer_id, name=name), f"{label}: renamed to {name!r}")

    def _fade(self, now: SceneLayer, opacity: float, label: str) -> None:
        """Let a layer have an opacity, which is a factor on its own where that is in the picture already."""
        before = now.placement.opacity
        wanted = opacity * before if self.document.opacity_inside else opacity
        if abs(wanted - before) > SAME_OPACITY:
            words = f"{label}: opacity {before:.2f} -> {wanted:.2f}"
            self._do(Fade(scene=self.start.name, layer=now.id, opacity=wanted), words)

    def _was_cut(self, name: str, was: SceneLayer) -> bool:
        """Say whether a format has only cut a long name short."""
        return len(name) >= 31 and f"{was.name} [{was.id}]".startswith(name)

    def _is_unchanged(self, layer_id: str, shown: Patch) -> bool:
        was = self.painted[layer_id]
        if _equal(shown, self.patches[layer_id]):
            return True
        # Programs may cut what lies outside the canvas.
        cut = was.inside
        if not cut.size:
            return not (shown.pixels[..., 3] > 0).any()
        return _equal(shown, _trimmed(cut, max(was.top, 0), max(was.left, 0)))

    def _follow_picture(self, was: SceneLayer, shown: Patch) -> None:
        before = self.patches[was.id]
        if not same_picture(shown.pixels, before.pixels) and not self._was_turned(was, shown):
            dx, dy = self._likely_shift(before, shown)
            self._move(was, dx, dy)
            self._repaint(was, Patch(before.pixels, before.top + dy, before.left + dx), shown)
            return
        now = next(each for each in self._paint(self._only(was.id)))
        self._move(was, shown.left - now.left, shown.top - now.top)

    def _only(self, layer_id: str) -> Scene:
        return replace(self.scene, layers=(self.scene.layer(layer_id),), background=False)

    def _move(self, was: SceneLayer, dx: int, dy: int) -> None:
        if dx or dy:
            move = Move(scene=self.start.name, layer=was.id, dx=float(dx), dy=float(dy))
            self._do(move, f"{self._label(was)}: moved by {dx} across and {dy} down")

    def _was_turned(self, was: SceneLayer, shown: Patch) -> bool:
        """Try flips and quarter turns; do the one that gives what is shown."""
        scene = self.start.name
        ways: tuple[tuple[SceneOperation, str], ...] = (
            (Scale(scene=scene, layer=was.id, across=-1.0, down=1.0), "flipped left to right"),
            (Scale(scene=scene, layer=was.id, across=1.0, down=-1.0), "flipped top to bottom"),
            *(
                (Rotate(scene=scene, layer=was.id, degrees=float(angle)), f"turned by {angle} degrees")
                for angle in (90, 180, 270)
            ),
        )
        for way, words in ways:
            height, width = self.patches[was.id].pixels.shape[:2]
            if shown.pixels.shape[:2] not in ((height, width), (width, height)):
                return False
            turned = way.change(self._only(was.id), lambda _: torch.empty(0))
            (picture,) = self._paint(turned)
            if same_picture(picture.pixels, shown.pixels):
                self._do(way, f"{self._label(was)}: {words}")
                return True
        return False

    def _likely_shift(self, before: Patch, shown: Patch) -> tuple[int, int]:
        """How far a layer was moved that was painted on, too: the shift at which most pixels are equal."""
        (height, width), (rows, columns) = before.pixels.shape[:2], shown.pixels.shape[:2]
        across = {0, shown.left - before.left, shown.left + columns - before.left - width}
        down = {0, shown.top - before.top, shown.top + rows - before.top - height}
        opaque = before.pixels[..., 3] > 0

        def common(shift: tuple[int, int]) -> int:
            seen = shown.within(before.top + shift[1], before.left + shift[0], height, width)
            return int((_same_pixels(before.pixels, seen) & opaque).sum())

        best = max(((x, y) for x in across for y in down), key=lambda s: (common(s), -abs(s[0]) - abs(s[1])))
        return best if common(best) > max(common((0, 0)), LEAST_COMMON * opaque.sum()) else (0, 0)

    def _repaint(self, was: SceneLayer, before: Patch, shown: Patch) -> None:
        entry = was.placement.entry
        if entry != OWN_RASTER and not (self.document.opacity_inside and was.placement.opacity < 1):
            sprite = self.start.dictionary.name(entry)
            repainted = repainted_sprite(self.start.dictionary, self.scene.layer(was.id).placement, before, shown)
            if self.decide(Repaint(self.start, was, sprite, repainted)) and repainted is not None:
                picture = self.result.keep(repainted.raster)
                left, top = repainted.left, repainted.top
                self.result.sprites.append(RepaintSprite(sprite=sprite, picture=picture, left=left, top=top))
                self.result.words.append(f"{self._label(was)}: repainted, {sprite} everywhere")
                return
        picture = self.result.keep(from_pixels(np.ascontiguousarray(shown.pixels)))
        paste = Paste(scene=self.start.name, layer=was.id, picture=picture, left=shown.left, top=shown.top)
        self._do(paste, f"{self._label(was)}: repainted" + ("" if entry == OWN_RASTER else ", only here"))
        if self.document.opacity_inside:
            self._do(Fade(scene=self.start.name, layer=was.id, opacity=1.0))

    # ---- What went, what came, and the order -------------------------------------------------------------------------

    def _gone(self, layer: SceneLayer) -> None:
        scene = self.start.name
        if self.start.background and layer is self.start.layers[0]:
            if layer.visible:
                self._do(
                    Hide(scene=scene, layer=layer.id),
                    f"{self._label(layer)}: deleted; the background is hidden instead",
                )
        elif (self.patches[layer.id].pixels[..., 3] > 0).any() or layer.id == BORDER:
            self._do(Remove(scene=scene, layer=layer.id), f"{self._label(layer)}: deleted")
        # Some programs drop layers without a pixel: nobody deleted them.

    def _added(self, number: int) -> str | None:
        """Add a layer of the document; its id."""
        layer, shown, scene = self.document.layers[number], self.shown[number], self.start.name
        if not (shown.pixels[..., 3] > 0).any():
            return None
        before = {each.id for each in self.scene.layers}
        name, original, sprite = self._name_in(layer.name), self._copied(shown), self._sprite_of(shown)
        if original is not None:
            name = name or self.scene.layer(original).name
            words = f"{name}: a copy of {self._label(self.scene.layer(original))}"
            self._do(Duplicate(scene=scene, layer=original), words)
        elif sprite is not None:
            name = name or self.start.dictionary.title(sprite)
            add = Add(scene=scene, sprite=self.start.dictionary.name(sprite), x=float(shown.left), y=float(shown.top))
            self._do(add, f"{name}: added, {add.sprite}")
        else:
            name = name or "added"
            picture = self.result.keep(from_pixels(np.ascontiguousarray(shown.pixels)))
            insert = Insert(scene=scene, picture=picture, left=shown.left, top=shown.top, name=name)
            self._do(insert, f"{name}: added")
        (new,) = {each.id for each in self.scene.layers} - before
        added = self.scene.layer(new)
        now = next(self._paint(self._only(new)))
        self._move(added, shown.left - now.left, shown.top - now.top)
        if name != added.name:
            self._do(Rename(scene=scene, layer=new, name=name))
        self._fade(added, layer.opacity, name)
        if layer.visible != added.visible:
            kind = Show if layer.visible else Hide
            self._do(kind(scene=scene, layer=new), f"{name}: {'shown' if layer.visible else 'hidden'}")
        return new

    def _sprite_of(self, shown: Patch) -> int | None:
        """The sprite that would show the same picture if it were added."""
        dictionary = self.start.dictionary
        for entry in range(len(dictionary)):
            if entry in dictionary.backgrounds or not same_picture(self._sprite(entry), shown.pixels):
                continue
            scene = self.scene.add(entry, 0.0, 0.0)
            (now,) = self._paint(replace(scene, layers=scene.layers[-1:], background=False))
            if same_picture(now.pixels, shown.pixels):
                return entry
        return None

    def _sprite(self, entry: int) -> np.ndarray:
        """A sprite's own picture, trimmed."""
        if entry not in self.sprites:
            self.sprites[entry] = _trimmed(to_pixels(self.start.dictionary.sprites[entry]), 0, 0).pixels
        return self.sprites[entry]

    def _copied(self, shown: Patch) -> str | None:
        """The layer that shows the same picture and can be copied as it is now."""
        for layer in self.scene.layers:
            was = self.patches.get(layer.id)
            if was is None or (self.scene.background and layer is self.scene.layers[0]):
                continue
            if same_picture(shown.pixels, was.pixels):
                (now,) = self._paint(self._only(layer.id))
                if same_picture(now.pixels, shown.pixels):
                    return layer.id
        return None

    def _is_order_seen(self, wanted: Sequence[tuple[str, Patch]]) -> bool:
        """Say whether layers that overlap are in the wanted order already."""
        rank = {layer.id: position for position, layer in enumerate(self.scene.layers)}
        now = np.array([rank[name] for name, _ in wanted])
        boxes = np.array([[p.top, p.left, p.top + p.pixels.shape[0], p.left + p.pixels.shape[1]] for _, p in wanted])
        return not any(
            (_overlap(boxes[index], boxes[index + 1 :]) & (now[index + 1 :] < now[index])).any()
            for index in range(len(wanted))
        )

    def _reorder(self, wanted: list[tuple[str, Patch]]) -> None:
        """Move those layers that are not in the longest part that kept its order."""
        if self.document.is_loose and self._is_order_seen(wanted):
            return
        target = [name for name, _ in wanted]
        now = [layer.id for layer in self.scene.layers]
        if self.scene.background and target[:1] != now[:1]:
            if now[0] in target:
                self.result.remarks.append("the background stays behind all other layers")
            target = [now[0], *(name for name in target if name != now[0])]
        missing = [name for name in now if name not in target]  # without a pixel, and dropped by the program
        rank = {name: position for position, name in enumerate(target)}
        settled = {*_longest_rising([name for name in now if name in rank], rank), *missing}
        for position, name in enumerate(target):
            if name in settled:
                continue
            others = [layer.id for layer in self.scene.layers if layer.id != name]
            place = others.index(target[position - 1]) + 1 if position else 0
            settled.add(name)
            if [layer.id for layer in self.scene.layers].index(name) != place:
                words = f"{self._label(self.scene.layer(name))}: now at {place} from the back"
                self._do(Reorder(scene=self.start.name, layer=name, position=place), words)


def _overlap(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which boxes (top, left, bottom, right) meet one."""
    return np.logical_and((others[:, :2] < one[2:]).all(1), (others[:, 2:] > one[:2]).all(1))


def _longest_rising(names: Sequence[str], rank: dict[str, int]) -> list[str]:
    """The longest subsequence of rising ranks (patience sorting)."""
    tails: list[int] = []
    back: dict[int, int | None] = {}
    ranks = [rank[name] for name in names]
    for index, value in enumerate(ranks):
        place = bisect_left(tails, value, key=lambda tail: ranks[tail])
        back[index] = tails[place - 1] if place else None
        tails[place : place + 1] = [index]
    found: list[str] = []
    index_or_none: int | None = tails[-1] if tails else None
    while index_or_none is not None:
        found.append(names[index_or_none])
        index_or_none = back[index_or_none]
    return found[::-1]

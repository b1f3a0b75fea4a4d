"""Operations: edits of scenes as values, which a journal keeps, a page sends and a command line repeats.

    {"operation": "move", "scene": "a.png", "layer": "layer-01", "dx": 12, "dy": -4}

One row of OPERATIONS each. An operation names layers and sprites by their ids and pictures by their digests; what it does is
a method of `Scene` or a function of `scene.sprites`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from jaxtyping import Float
from torch import Tensor

from delaminate.errors import FormatError
from delaminate.scene import sprites
from delaminate.scene import validation as values
from delaminate.scene.format import MAX_NUMBER
from delaminate.scene.placements import Dictionary
from delaminate.scene.scenes import Scene

MAX_SPRITES = 20_000
"""That an operation names."""
Picture = Callable[[str], Float[Tensor, "4 h w"]]
"""Finds a picture, RGBA in [0, 1], by its digest."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An edit as a value."""

    def on_dictionary(self, dictionary: Dictionary, picture: Picture) -> Dictionary:
        """Change what all scenes share."""
        return dictionary

    def touches(self, scene: str) -> bool:
        """Say whether the scene of a name may change by more than its sprites."""
        return False

    def on_scene(self, scene: Scene, dictionary: Dictionary, picture: Picture) -> Scene:
        """Change a scene that it touches, or let it follow the changed dictionary."""
        return sprites.with_dictionary(scene, dictionary)

    def words(self) -> list[str]:
        """The same as words of `delaminate edit SCENES`."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class SceneOperation(Operation):
    """An edit of one scene."""

    scene: str

    def touches(self, scene: str) -> bool:
        return scene == self.scene

    def on_scene(self, scene: Scene, dictionary: Dictionary, picture: Picture) -> Scene:
        return self.change(scene, picture) if self.touches(scene.name) else scene

    def change(self, scene: Scene, picture: Picture) -> Scene:
        """Make the changed scene."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class LayerOperation(SceneOperation):
    """An edit of one layer."""

    layer: str

    def words(self) -> list[str]:
        return [OPERATION_NAMES[type(self)], "--scene", self.scene, "--layer", self.layer, *self.options()]

    def options(self) -> list[str]:
        """What the words say besides scene and layer."""
        return []


@dataclass(frozen=True, kw_only=True)
class Move(LayerOperation):
    """Move a layer by pixels of the canvas."""

    operation: Literal["move"] = "move"
    dx: float
    dy: float

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.move(self.layer, self.dx, self.dy)

    def options(self) -> list[str]:
        return ["--by", f"{self.dx:g}", f"{self.dy:g}"]


@dataclass(frozen=True, kw_only=True)
class Scale(LayerOperation):
    """Scale a layer about its centre; negative factors flip it."""

    operation: Literal["scale"] = "scale"
    across: float
    down: float

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.scale(self.layer, self.across, self.down)

    def options(self) -> list[str]:
        return ["--by", f"{self.across:g}", f"{self.down:g}"]


@dataclass(frozen=True, kw_only=True)
class Rotate(LayerOperation):
    """Turn a layer about its centre, clockwise."""

    operation: Literal["rotate"] = "rotate"
    degrees: float

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.rotate(self.layer, self.degrees)

    def options(self) -> list[str]:
        return ["--by", f"{self.degrees:g}"]


@dataclass(frozen=True, kw_only=True)
class Show(LayerOperation):
    """Take a hidden layer back in."""

    operation: Literal["show"] = "show"

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.show(self.layer)


@dataclass(frozen=True, kw_only=True)
class Hide(LayerOperation):
    """Leave a layer out."""

    operation: Literal["hide"] = "hide"

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.hide(self.layer)


@dataclass(frozen=True, kw_only=True)
class Fade(LayerOperation):
    """Set a layer's opacity."""

    operation: Literal["fade"] = "fade"
    opacity: float

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.fade(self.layer, self.opacity)

    def options(self) -> list[str]:
        return ["--opacity", f"{self.opacity:g}"]


@dataclass(frozen=True, kw_only=True)
class Rename(LayerOperation):
    """Set what people read of a layer."""

    operation: Literal["rename"] = "rename"
    name: str

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.rename(self.layer, self.name)

    def options(self) -> list[str]:
        return ["--to", self.name]


@dataclass(frozen=True, kw_only=True)
class Reorder(LayerOperation):
    """Move a layer to a position from the back."""

    operation: Literal["reorder"] = "reorder"
    position: int

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.reorder(self.layer, self.position)

    def options(self) -> list[str]:
        return ["--to", str(self.position)]


@dataclass(frozen=True, kw_only=True)
class Recolour(LayerOperation):
    """Set a layer's colour: gain * rgb + offset."""

    operation: Literal["recolour"] = "recolour"
    gain: list[float]
    offset: list[float]

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.recolour(self.layer, self.gain, self.offset)

    def options(self) -> list[str]:
        return ["--gain", *(f"{x:g}" for x in self.gain), "--offset", *(f"{x:g}" for x in self.offset)]


@dataclass(frozen=True, kw_only=True)
class Replace(LayerOperation):
    """Show another sprite in a layer, centre on centre."""

    operation: Literal["replace"] = "replace"
    sprite: str

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.replace(self.layer, scene.dictionary.entry(self.sprite))

    def options(self) -> list[str]:
        return ["--with", self.sprite]


@dataclass(frozen=True, kw_only=True)
class Duplicate(LayerOperation):
    """Put a copy of a layer in front of it."""

    operation: Literal["duplicate"] = "duplicate"

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.duplicate(self.layer)


@dataclass(frozen=True, kw_only=True)
class Remove(LayerOperation):
    """Take a layer away."""

    operation: Literal["remove"] = "remove"

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.remove(self.layer)


@dataclass(frozen=True, kw_only=True)
class Repaint(LayerOperation):
    """Give this one layer a picture of its own."""

    operation: Literal["repaint"] = "repaint"
    picture: str

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.redraw(self.layer, picture(self.picture))

    def options(self) -> list[str]:
        return ["--with", f"{self.picture}.png"]


@dataclass(frozen=True, kw_only=True)
class Mend(LayerOperation):
    """Give a layer the alpha of a picture; its colours stay."""

    operation: Literal["mend"] = "mend"
    picture: str

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.mend(self.layer, picture(self.picture)[3:])

    def options(self) -> list[str]:
        return ["--with", f"{self.picture}.png"]


@dataclass(frozen=True, kw_only=True)
class Paste(LayerOperation):
    """Give this one layer a picture of its own, its corner at a pixel of the canvas."""

    operation: Literal["paste"] = "paste"
    picture: str
    left: int
    top: int

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.paste(self.layer, picture(self.picture), self.left, self.top)

    def options(self) -> list[str]:
        return ["--with", f"{self.picture}.png", "--at", str(self.left), str(self.top)]


@dataclass(frozen=True, kw_only=True)
class Insert(SceneOperation):
    """Put a picture of its own in front of all layers, its corner at a pixel of the canvas."""

    operation: Literal["insert"] = "insert"
    picture: str
    left: int
    top: int
    name: str

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.insert(picture(self.picture), self.left, self.top, self.name)

    def words(self) -> list[str]:
        place = ["--with", f"{self.picture}.png", "--at", str(self.left), str(self.top)]
        return ["insert", "--scene", self.scene, *place, "--name", self.name]


@dataclass(frozen=True, kw_only=True)
class Add(SceneOperation):
    """Add a sprite of the dictionary in front of all layers, its centre near (x, y)."""

    operation: Literal["add"] = "add"
    sprite: str
    x: float
    y: float

    def change(self, scene: Scene, picture: Picture) -> Scene:
        return scene.add(scene.dictionary.entry(self.sprite), self.x, self.y)

    def words(self) -> list[str]:
        return ["add", self.sprite, "--scene", self.scene, "--at", f"{self.x:g}", f"{self.y:g}"]


@dataclass(frozen=True, kw_only=True)
class RenameSprite(Operation):
    """Set what people call a sprite."""

    operation: Literal["rename-sprite"] = "rename-sprite"
    sprite: str
    name: str

    def on_dictionary(self, dictionary: Dictionary, picture: Picture) -> Dictionary:
        return sprites.rename_sprite(dictionary, dictionary.entry(self.sprite), self.name)

    def words(self) -> list[str]:
        return ["rename-sprite", self.sprite, "--to", self.name]


@dataclass(frozen=True, kw_only=True)
class RepaintSprite(Operation):
    """Redraw a sprite; every image that shows it follows. The picture's corner lies at (left, top) of the sprite as it was."""

    operation: Literal["repaint-sprite"] = "repaint-sprite"
    sprite: str
    picture: str
    left: int = 0
    top: int = 0

    def on_dictionary(self, dictionary: Dictionary, picture: Picture) -> Dictionary:
        return sprites.repaint_sprite(dictionary, dictionary.entry(self.sprite), picture(self.picture))

    def touches(self, scene: str) -> bool:
        return bool(self.left or self.top)

    def on_scene(self, scene: Scene, dictionary: Dictionary, picture: Picture) -> Scene:
        if not (self.left or self.top):
            return sprites.with_dictionary(scene, dictionary)
        return sprites.follow_corner(scene, dictionary.entry(self.sprite), self.left, self.top, dictionary)

    def words(self) -> list[str]:
        corner = ["--at", str(self.left), str(self.top)] if self.left or self.top else []
        return ["repaint-sprite", self.sprite, "--with", f"{self.picture}.png", *corner]


@dataclass(frozen=True, kw_only=True)
class RecolourSprites(Operation):
    """Give one colour of some sprites another, such as "#d03030"; every image that shows them follows."""

    operation: Literal["recolour-sprites"] = "recolour-sprites"
    sprites: list[str]
    colour: str
    to: str

    def on_dictionary(self, dictionary: Dictionary, picture: Picture) -> Dictionary:
        entries = [dictionary.entry(name) for name in dict.fromkeys(self.sprites)]
        return sprites.recolour_sprites(dictionary, entries, self.colour, self.to)

    def words(self) -> list[str]:
        return ["recolour-sprites", *self.sprites, "--colour", self.colour, "--to", self.to]


@dataclass(frozen=True, kw_only=True)
class DropSprite(Operation):
    """Take a sprite out of the dictionary, and the layers that show it out of every image."""

    operation: Literal["drop-sprite"] = "drop-sprite"
    sprite: str

    def on_dictionary(self, dictionary: Dictionary, picture: Picture) -> Dictionary:
        return sprites.drop_sprite(dictionary, dictionary.entry(self.sprite))

    def touches(self, scene: str) -> bool:
        return True

    def on_scene(self, scene: Scene, dictionary: Dictionary, picture: Picture) -> Scene:
        return sprites.without_sprite(scene, scene.dictionary.entry(self.sprite), dictionary)

    def words(self) -> list[str]:
        return ["drop-sprite", self.sprite]


@dataclass(frozen=True, kw_only=True)
class MergeSprites(Operation):
    """Show another sprite wherever a sprite is shown, centre on centre, and take it out of the dictionary."""

    operation: Literal["merge-sprites"] = "merge-sprites"
    sprite: str
    into: str

    def on_dictionary(self, dictionary: Dictionary, picture: Picture) -> Dictionary:
        entry, into = dictionary.entry(self.sprite), dictionary.entry(self.into)
        if entry == into or into in dictionary.backgrounds:
            raise FormatError(f"merge-sprites: {self.sprite} into {self.into}; expected another sprite, no background.")
        return sprites.drop_sprite(dictionary, entry)

    def touches(self, scene: str) -> bool:
        return True

    def on_scene(self, scene: Scene, dictionary: Dictionary, picture: Picture) -> Scene:
        before = scene.dictionary
        return sprites.without_sprite(scene, before.entry(self.sprite), dictionary, before.entry(self.into))

    def words(self) -> list[str]:
        return ["merge-sprites", self.sprite, "--into", self.into]


@dataclass(frozen=True, kw_only=True)
class SplitSprite(Operation):
    """Split a part off a sprite, as a sprite of its own: where the picture, of the sprite's size, is opaque."""

    operation: Literal["split-sprite"] = "split-sprite"
    sprite: str
    picture: str

    def on_dictionary(self, dictionary: Dictionary, picture: Picture) -> Dictionary:
        return sprites.split_sprite(dictionary, dictionary.entry(self.sprite), picture(self.picture)[3:])

    def touches(self, scene: str) -> bool:
        return True

    def on_scene(self, scene: Scene, dictionary: Dictionary, picture: Picture) -> Scene:
        return sprites.follow_split(scene, dictionary.entry(self.sprite), dictionary)

    def words(self) -> list[str]:
        return ["split-sprite", self.sprite, "--with", f"{self.picture}.png"]


AnyOperation = (
    Move | Scale | Rotate | Show | Hide | Fade | Rename | Reorder | Recolour | Replace | Duplicate | Remove | Repaint | Mend
    | Paste | Insert | Add | RenameSprite | RepaintSprite | RecolourSprites | DropSprite | MergeSprites
    | SplitSprite
)  # fmt: skip
OPERATIONS: dict[str, type[Operation]] = {kind.operation: kind for kind in get_args(AnyOperation)}
"""By name."""
OPERATION_NAMES = {kind: name for name, kind in OPERATIONS.items()}


def operation_document(operation: Operation) -> dict[str, Any]:
    """Describe an operation as JSON values."""
    return {"operation": OPERATION_NAMES[type(operation)], **dataclasses.asdict(operation)}


def operation_from(value: object, where: str) -> Operation:
    """Read an operation from JSON values.

    Raises:
        FormatError: It is none.
    """
    name = value.get("operation") if isinstance(value, dict) else None
    kind = OPERATIONS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise FormatError(f"{where}: is {value!r:.80}; expected an object whose operation is {', '.join(OPERATIONS)}.")
    keys = [each.name for each in dataclasses.fields(kind)]
    defaults = {each.name: each.default for each in dataclasses.fields(kind) if each.default is not dataclasses.MISSING}
    hints = get_type_hints(kind)
    assert isinstance(value, dict)
    given = dict(zip(keys, values.fields({**defaults, **value}, where, *keys), strict=True))
    del given["operation"]
    return kind(**{key: _value(item, hints[key], f"{where}: {key}") for key, item in given.items()})


def _value(value: object, hint: Any, where: str) -> Any:
    if hint is float:
        return values.number(value, where, -MAX_NUMBER, MAX_NUMBER)
    if hint is int:
        return values.whole(value, where, -(2**31), 2**31)
    if hint is str:
        return values.typed(value, where, str)
    if hint == list[str]:
        return [values.typed(each, where, str) for each in values.items(value, where, 1, MAX_SPRITES)]
    assert hint == list[float]
    return [values.number(each, where, -MAX_NUMBER, MAX_NUMBER) for each in values.items(value, where, 3, 3)]


def apply_to_scene(operation: Operation, scene: Scene, dictionary: Dictionary, picture: Picture) -> Scene:
    """Take one operation on a scene.

    Args:
        operation: What to do.
        scene: With the dictionary as it was before.
        dictionary: As it is after the operation.
        picture: Finds pictures.
    """
    if isinstance(operation, SceneOperation) and not operation.touches(scene.name):
        return scene
    return operation.on_scene(scene, dictionary, picture)


def apply_to_dictionary(operations: Sequence[Operation], dictionary: Dictionary, picture: Picture) -> list[Dictionary]:
    """Take operations on a dictionary: as it is after each."""
    found = []
    for operation in operations:
        dictionary = operation.on_dictionary(dictionary, picture)
        found.append(dictionary)
    return found

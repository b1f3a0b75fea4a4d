"""Edits of the dictionary that scenes share: repaint, recolour, rename, split, merge and drop sprites.

A sprite is named by its position, so that those behind one that goes move up. Each scene follows by `with_dictionary`, or
`without_sprite` where a sprite goes.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from delaminate.errors import ConfigError
from delaminate.scene.placements import Dictionary
from delaminate.scene.scenes import MAX_TITLE, Scene, is_plain_text
from delaminate.scene.unwarping import shifted_corner


def _check(dictionary: Dictionary, entry: int, verb: str) -> None:
    if not 0 <= entry < len(dictionary):
        raise ConfigError(
            f"{verb}: entry {entry} of a dictionary of {len(dictionary)}; expected 0 or more, below that."
        )


def repaint_sprite(dictionary: Dictionary, entry: int, sprite: Float[Tensor, "4 h w"]) -> Dictionary:
    """Redraw one sprite, RGBA in [0, 1]; its top left corner keeps its place.

    Raises:
        ConfigError: There is no such entry.
    """
    _check(dictionary, entry, "repaint-sprite")
    sprites = (*dictionary.sprites[:entry], sprite, *dictionary.sprites[entry + 1 :])
    return replace(dictionary, sprites=sprites)


def recolour_sprites(dictionary: Dictionary, entries: Sequence[int], colour: str, to: str) -> Dictionary:
    """Give one colour of some sprites another, as a palette does; what is half transparent keeps its alpha.

    Args:
        dictionary: With the sprites.
        entries: Which.
        colour: "#rrggbb", as 8-bit PNGs have it.
        to: What it becomes, in the same form.

    Raises:
        ConfigError: There is no such entry or colour, or no pixel that is seen has it.
    """
    was, now = _colour(colour), _colour(to)
    sprites, found = list(dictionary.sprites), 0
    for entry in entries:
        _check(dictionary, entry, "recolour-sprites")
        sprite = sprites[entry]
        levels = (sprite * 255).round()
        there = (levels[:3] == was.to(sprite).view(3, 1, 1)).all(0) & (levels[3] > 0)
        if there.any():
            found += 1
            rgb = torch.where(there, (now.to(sprite) / 255).view(3, 1, 1), sprite[:3])
            sprites[entry] = torch.cat([rgb, sprite[3:]])
    if not found:
        names = ", ".join(dictionary.name(entry) for entry in entries[:8])
        raise ConfigError(f"recolour-sprites: no pixel of {names or 'no sprite'} has the colour {colour}.")
    return replace(dictionary, sprites=tuple(sprites))


def _colour(text: str) -> Float[Tensor, " 3"]:
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise ConfigError(f"recolour-sprites: colour {text!r:.40}; expected one such as #d03030.")
    return torch.tensor([float(int(text[at : at + 2], 16)) for at in (1, 3, 5)])


def follow_corner(scene: Scene, entry: int, left: int, top: int, dictionary: Dictionary) -> Scene:
    """Follow `repaint_sprite` by a picture that begins elsewhere: each pixel stays where it is seen.

    Args:
        scene: With the dictionary as it was.
        entry: What was repainted.
        left, top: Where the new picture's corner lies in the old one, in pixels.
        dictionary: With the new picture.

    Raises:
        ConfigError: A layer warps the sprite before it moves it.
    """
    layers = []
    for layer in scene.layers:
        if layer.placement.entry == entry:
            if layer.placement.transforms[0].kind != "matrix":
                raise ConfigError(
                    f"repaint-sprite: layer {layer.id!r} of {scene.name!r} warps {dictionary.name(entry)}; expected a picture "
                    "whose corner stays."
                )
            layer = replace(layer, placement=shifted_corner(layer.placement, left, top))
        layers.append(layer)
    return replace(scene, layers=tuple(layers), dictionary=dictionary)


def rename_sprite(dictionary: Dictionary, entry: int, title: str) -> Dictionary:
    """Set what people call a sprite; empty: by its name.

    Raises:
        ConfigError: There is no such entry, or the title is no line of at most 256 characters.
    """
    _check(dictionary, entry, "rename-sprite")
    if title and not is_plain_text(title, MAX_TITLE):
        raise ConfigError(f"rename-sprite: to {title!r:.80}; expected one line of at most {MAX_TITLE} characters.")
    titles = list(dictionary.titles or [""] * len(dictionary))
    titles[entry] = title
    return replace(dictionary, titles=tuple(titles) if any(titles) else ())


def split_sprite(dictionary: Dictionary, entry: int, mask: Float[Tensor, "1 h w"]) -> Dictionary:
    """Split a part off a sprite, which becomes a sprite of its own, the last one; both keep its size.

    Args:
        dictionary: With the sprite.
        entry: Which.
        mask: Of the sprite's size: the part is where it is above 0.5.

    Raises:
        ConfigError: There is no such entry, it is a background, the mask is of another size, or a part would show nothing.
    """
    _check(dictionary, entry, "split-sprite")
    name, sprite = dictionary.name(entry), dictionary.sprites[entry]
    if entry in dictionary.backgrounds:
        raise ConfigError(f"split-sprite: {name} is a background, and stays whole.")
    if mask.shape[1:] != sprite.shape[1:]:
        raise ConfigError(
            f"split-sprite: a mask of {tuple(mask.shape[1:])} for {name} of {tuple(sprite.shape[1:])} (height, width); "
            "expected one size."
        )
    inside = (mask > 0.5).to(sprite)
    # Colours stay where nothing is seen: painting between pixels mixes them.
    parts = tuple(torch.cat([sprite[:3], sprite[3:] * seen]) for seen in (1 - inside, inside))
    if not all(bool((part[3] > 0).any()) for part in parts):
        raise ConfigError(
            f"split-sprite: one of the parts of {name} would show nothing; choose some of its pixels, not all."
        )
    sprites = (*dictionary.sprites[:entry], parts[0], *dictionary.sprites[entry + 1 :], parts[1])
    titles = (*dictionary.titles, "") if dictionary.titles else ()
    return replace(dictionary, sprites=sprites, titles=titles)


def follow_split(scene: Scene, entry: int, dictionary: Dictionary) -> Scene:
    """Follow `split_sprite`: in front of each layer that shows the sprite comes one that shows the part, at the same place.

    Args:
        scene: With the dictionary as it was.
        entry: What was split.
        dictionary: With the part as its last sprite.
    """
    part, taken = len(dictionary) - 1, {layer.id for layer in scene.layers}
    free = (name for name in map("part-{:02d}".format, itertools.count()) if name not in taken)
    layers = []
    for layer in scene.layers:
        layers.append(layer)
        if layer.placement.entry == entry:
            placement = replace(layer.placement, entry=part, track=None)
            layers.append(replace(layer, id=next(free), name=dictionary.name(part), placement=placement))
    return replace(scene, layers=tuple(layers), dictionary=dictionary)


def drop_sprite(dictionary: Dictionary, entry: int) -> Dictionary:
    """Take a sprite out; those behind it move up.

    Raises:
        ConfigError: There is no such entry, or it is a background.
    """
    _check(dictionary, entry, "drop-sprite")
    if entry in dictionary.backgrounds:
        raise ConfigError(f"drop-sprite: {dictionary.name(entry)} is a background, and stays. Hide its layers instead.")
    kept = [index for index in range(len(dictionary)) if index != entry]
    return Dictionary(
        tuple(dictionary.sprites[index] for index in kept),
        tuple(kept.index(index) for index in dictionary.backgrounds),
        tuple(dictionary.titles[index] for index in kept) if dictionary.titles else (),
    )


def without_sprite(scene: Scene, entry: int, dictionary: Dictionary, into: int | None = None) -> Scene:
    """Follow `drop_sprite` in a scene.

    Args:
        scene: With the dictionary as it was.
        entry: What was dropped.
        dictionary: What is left.
        into: The sprite, as it was numbered before, that its layers show from now on, centre on centre; None: they go.
    """
    shown = [layer.id for layer in scene.layers if layer.placement.entry == entry]
    for layer_id in shown if into is not None else ():
        assert into is not None
        scene = scene.replace(layer_id, into)
    layers = [layer for layer in scene.layers if layer.placement.entry != entry]
    moved = tuple(
        replace(layer, placement=replace(layer.placement, entry=layer.placement.entry - 1))
        if layer.placement.entry > entry
        else layer
        for layer in layers
    )
    background = scene.background and bool(moved) and moved[0].id == scene.layers[0].id
    return replace(scene, layers=moved, dictionary=dictionary, background=background)


def with_dictionary(scene: Scene, dictionary: Dictionary) -> Scene:
    """Let a scene show a dictionary of as many sprites."""
    return scene if scene.dictionary is dictionary else replace(scene, dictionary=dictionary)

"""Many scenes that share one dictionary."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

from delaminate.errors import ConfigError
from delaminate.scene.canvas_map import Blocks
from delaminate.scene.placements import Dictionary
from delaminate.scene.scenes import Scene
from delaminate.scene.views import joined, page_of

KEPT_PIXELS = 2**26
"""Pixels of own rasters that a `SceneSet` keeps: 1 GiB in memory."""
KEPT_LAYERS = 2**18
"""Layers that it keeps, without their rasters."""


class SceneSet(Sequence[Scene]):
    """Scenes that are made when they are asked for. They are kept as far as KEPT_PIXELS and KEPT_LAYERS go, else made again.

    Attributes:
        names: The scenes' names.
        dictionary: The sprites that they share.
        durations: Milliseconds that each is seen, by its name, where they are the frames of a clip and that is known.
        blocks: What the originals are made of, where they are enlarged pixel art.
        residual: Reads the picture (PNG) of what the scene of a name does not explain; it gives None where there is none.

    Args:
        names, dictionary, durations, blocks, residual: As above.
        make: Makes the scene of an index.
    """

    def __init__(
        self,
        names: Sequence[str],
        dictionary: Dictionary,
        make: Callable[[int], Scene],
        durations: Mapping[str, float] | None = None,
        blocks: Blocks | None = None,
        residual: Callable[[str], bytes | None] = lambda name: None,
    ) -> None:
        self.names = tuple(names)
        self.dictionary = dictionary
        self.durations = durations
        self.blocks = blocks
        self.residual = residual
        self._make = make
        self._kept: dict[int, Scene] = {}
        self._room, self._layers_left = KEPT_PIXELS, KEPT_LAYERS

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Scene: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Scene]: ...

    def __getitem__(self, index: int | slice) -> Scene | Sequence[Scene]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return self.only(places)
        if places in self._kept:
            return self._kept[places]
        scene = self._make(places)
        rasters = [layer.placement.raster for layer in scene.layers if layer.placement.raster is not None]
        pixels = sum(raster.shape[1] * raster.shape[2] for raster in rasters)
        if pixels <= self._room and len(scene.layers) < self._layers_left:
            self._kept[places] = scene
            self._room -= pixels
            self._layers_left -= len(scene.layers) + 1
        return scene

    def _repr_html_(self) -> str:
        shown = [self[index].composite() for index in range(min(8, len(self)))]
        facts = {"sprites": str(len(self.dictionary)), "names": ", ".join(self.names[:8])}
        return page_of(f"{len(self)} scenes", facts, [joined(shown)] if shown else [])

    def only(self, places: Sequence[int]) -> "SceneSet":
        """Choose some, in this order."""
        return SceneSet(
            [self.names[place] for place in places],
            self.dictionary,
            lambda index: self[places[index]],
            self.durations,
            self.blocks,
            self.residual,
        )

    def changed(self, change: Callable[[Scene], Scene]) -> "SceneSet":
        """Change each scene when it is asked for; names and dictionary stay."""
        return SceneSet(
            self.names, self.dictionary, lambda index: change(self[index]), self.durations, self.blocks, self.residual
        )


def with_sprite(scenes: Sequence[Scene], entry: int, sprite: Float[Tensor, "4 h w"]) -> list[Scene]:
    """Redraw one dictionary entry, RGBA in [0, 1], in every scene that uses it.

    Raises:
        ConfigError: The scenes do not share a dictionary, or it has no such entry.
    """
    dictionary = shared_dictionary(scenes)
    if not 0 <= entry < len(dictionary):
        raise ConfigError(
            f"with_sprite: entry {entry} of a dictionary of {len(dictionary)}; expected 0 or more, below that."
        )
    sprites = (*dictionary.sprites[:entry], sprite, *dictionary.sprites[entry + 1 :])
    changed = dataclasses.replace(dictionary, sprites=sprites)
    return [dataclasses.replace(scene, dictionary=changed) for scene in scenes]


def shared_dictionary(scenes: Sequence[Scene]) -> Dictionary:
    """Find the dictionary that all scenes share.

    Raises:
        ConfigError: They have different ones.
    """
    if isinstance(scenes, SceneSet):
        return scenes.dictionary
    if not scenes:
        return Dictionary(())
    first = scenes[0].dictionary
    for scene in scenes[1:]:
        other = scene.dictionary
        same = other is first or (
            len(other) == len(first)
            and other.backgrounds == first.backgrounds
            and all(a is b or torch.equal(a, b) for a, b in zip(first.sprites, other.sprites, strict=True))
        )
        if not same:
            raise ConfigError(f"scenes: {scene.name!r} has another dictionary than {scenes[0].name!r}; expected one.")
    return first

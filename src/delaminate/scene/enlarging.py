"""Enlarging by whole numbers: every pixel becomes a block, nothing is resampled."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from delaminate.errors import ConfigError
from delaminate.scene.collection import SceneSet, shared_dictionary
from delaminate.scene.placements import Dictionary, Placement
from delaminate.scene.scenes import Scene

LARGEST_ZOOM = 64


def blocks(raster: Tensor, zoom: int) -> Tensor:
    """Turn every pixel of a raster (C, h, w) into a block of zoom by zoom."""
    return raster.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)


def enlarged_dictionary(dictionary: Dictionary, zoom: int) -> Dictionary:
    """The same sprites, each pixel a block."""
    return replace(dictionary, sprites=tuple(blocks(sprite, zoom) for sprite in dictionary.sprites))


def enlarged_placement(placement: Placement, zoom: int) -> Placement:
    """A placement whose sprite and canvas are enlarged; its transforms are of kind "matrix"."""
    steps = tuple(
        step.rescaled((zoom, zoom), (step.size[0] * zoom, step.size[1] * zoom)) for step in placement.transforms
    )
    raster = None if placement.raster is None else blocks(placement.raster, zoom)
    return replace(placement, transforms=steps, raster=raster)


def enlarged(scenes: Sequence[Scene], zoom: int) -> Sequence[Scene]:
    """Enlarge scenes by a whole number.

    Args:
        scenes: Scenes that share a dictionary.
        zoom: 1 to 64.

    Raises:
        ConfigError: The number is out of range, or the scenes do not share a dictionary; or, when a scene is made, a layer is
            warped by more than a matrix.
    """
    if not 1 <= zoom <= LARGEST_ZOOM:
        raise ConfigError(f"scale: {zoom}; expected a whole number from 1 to {LARGEST_ZOOM}.")
    if zoom == 1 or not len(scenes):
        return scenes
    dictionary = enlarged_dictionary(shared_dictionary(scenes), zoom)

    def change(index: int) -> Scene:
        scene = scenes[index]
        for layer in scene.layers:
            kinds = {step.kind for step in layer.placement.transforms} - {"matrix"}
            if kinds:
                raise ConfigError(
                    f"scale: layer {layer.id!r} of {scene.name!r} is drawn by a step of kind {min(kinds)}; only sprites that "
                    "are moved, turned or scaled can be enlarged. Leave --scale away, or take --native with it."
                )
        layers = tuple(replace(each, placement=enlarged_placement(each.placement, zoom)) for each in scene.layers)
        size = (scene.size[0] * zoom, scene.size[1] * zoom)
        return replace(scene, layers=layers, dictionary=dictionary, size=size)

    names = scenes.names if isinstance(scenes, SceneSet) else [scene.name for scene in scenes]
    return SceneSet(names, dictionary, change, scenes.durations if isinstance(scenes, SceneSet) else None)

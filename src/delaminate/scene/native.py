"""Scenes of enlarged pixel art at the pixels' own size."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from delaminate.scene.canvas_map import Blocks, CanvasMap
from delaminate.scene.collection import SceneSet, shared_dictionary
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement, Transform
from delaminate.scene.scenes import BORDER, Scene


def native_scenes(scenes: Sequence[Scene], blocks: Blocks) -> SceneSet:
    """Bring scenes of enlarged pixel art to one pixel for each block; margins around the blocks are left out.

    Args:
        scenes: Scenes that share a dictionary, at the size of their originals.
        blocks: What their originals are made of.
    """
    names = scenes.names if isinstance(scenes, SceneSet) else [scene.name for scene in scenes]
    dictionary = shared_dictionary(scenes)
    sprites = tuple(_reduced(sprite, blocks) for sprite in dictionary.sprites)
    small = dataclasses.replace(dictionary, sprites=sprites)
    durations = scenes.durations if isinstance(scenes, SceneSet) else None
    return SceneSet(names, small, lambda index: _native(scenes[index], blocks, small), durations)


def _native(scene: Scene, blocks: Blocks, small: Dictionary) -> Scene:
    layers = []
    for layer in scene.layers:
        if layer.id != BORDER:
            layers.append(dataclasses.replace(layer, placement=_placed(layer.placement, scene, blocks, small)))
    return dataclasses.replace(scene, size=blocks.canvas, layers=tuple(layers), dictionary=small)


def _placed(placement: Placement, scene: Scene, blocks: Blocks, small: Dictionary) -> Placement:
    """One placement at the blocks' own size."""
    back = np.linalg.inv(CanvasMap.of_blocks(blocks).to_original)
    kinds = [step.kind for step in placement.transforms]
    if "blocks" in kinds:
        # The placement was at its own size up to there; what was moved since is moved by as much less.
        at = kinds.index("blocks")
        own = dataclasses.replace(placement, transforms=placement.transforms[:at])
        for step in placement.transforms[at + 1 :]:
            own = own.then(back @ step.matrix @ np.linalg.inv(back), blocks.canvas)
        return own
    raster = placement.raster
    before = scene.dictionary.sprites[placement.entry] if raster is None else raster
    after = small.sprites[placement.entry] if raster is None else _reduced(raster, blocks)
    if kinds != ["matrix"]:
        after = before if placement.entry == OWN_RASTER else after
        return dataclasses.replace(placement.then(back, blocks.canvas), raster=None if raster is None else after)
    down, across = before.shape[1] / after.shape[1], before.shape[2] / after.shape[2]
    grown = placement.transforms[0].matrix
    matrix = back @ grown @ np.diag([across, down, 1.0])
    if (down, across) == blocks.step and not grown[[0, 1], [1, 0]].any() and (grown[2] == (0, 0, 1)).all():
        matrix[:2, :2] = grown[:2, :2]  # to the bit
    transforms = (Transform.of_matrix(matrix, blocks.canvas),)
    return dataclasses.replace(placement, transforms=transforms, raster=None if raster is None else after)


def _reduced(raster: Float[Tensor, "4 h w"], blocks: Blocks) -> Float[Tensor, "4 _h _w"]:
    """Take the middle of each block of a picture that is made of whole ones; others stay."""
    if not blocks.is_regular:
        return raster
    down, across = (int(step) for step in blocks.step)
    if raster.shape[1] % down or raster.shape[2] % across:
        return raster
    return raster[:, down // 2 :: down, across // 2 :: across].contiguous()

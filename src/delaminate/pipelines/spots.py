"""Bright spots on dark, as two layers: what is lit, and what is not. A threshold, which learns nothing.

What a camera counts is photons, whose noise grows with their number; their square root is evenly noisy (Anscombe, The
transformation of Poisson data, 1948), so the threshold (Otsu, 1979) is found there.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from scipy import ndimage

from delaminate.errors import DataError
from delaminate.pipelines.image_facts import otsu
from delaminate.pipelines.images import Images, open_images, source_of
from delaminate.scene.collection import SceneSet
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement, Transform
from delaminate.scene.scenes import Scene, SceneLayer

Picture = UInt8[np.ndarray, "h w 3"]


def lit(picture: Picture) -> Bool[np.ndarray, "h w"]:
    """Say where an image is bright; single pixels of grain are not."""
    root = ndimage.median_filter(np.sqrt(picture.max(-1).astype(np.float32)), 3)
    return root > otsu(root)[0]


def spot_scene(name: str, picture: Picture) -> Scene:
    """Take an image apart into what is not lit, and what is; its composite is the image."""
    colour = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)
    size = (picture.shape[0], picture.shape[1])
    whole = torch.cat([colour, torch.ones(1, *size)])
    bright = torch.cat([colour, torch.from_numpy(lit(picture))[None].float()])
    still = (Transform.shift(0, 0, size),)
    layers = (
        SceneLayer("background", "background", Placement(OWN_RASTER, still, raster=whole)),
        SceneLayer("layer-01", "spots", Placement(OWN_RASTER, still, raster=bright)),
    )
    return Scene(name, size, layers, Dictionary(()), background=True)


def spot_scenes(images: Images) -> tuple[SceneSet, list[tuple[str, str]]]:
    """Take images apart, each when it is asked for, at its own size.

    Returns:
        The scenes, and the name and reason of every image that cannot be read.

    Raises:
        DataError: No image can be used.
    """
    names, read, skipped = _pictures(images)
    good = []
    for index, name in enumerate(names):
        try:
            read(index)
            good.append(index)
        except DataError as error:
            skipped.append((name, str(error)))
    if not good:
        raise DataError(f"{images}: no image can be read; the first, '{skipped[0][0]}': {skipped[0][1]}")
    chosen = [names[index] for index in good]
    return SceneSet(chosen, Dictionary(()), lambda number: spot_scene(chosen[number], read(good[number]))), skipped


def _pictures(images: Images) -> tuple[Sequence[str], Callable[[int], Picture], list[tuple[str, str]]]:
    """Names of images, what reads one, and what was passed over."""
    source = source_of(images)
    if source is not None:
        found = source
        names = [found.full_name(index) for index in range(len(found))]
        return names, lambda index: found.picture(index), list(found.skipped)
    opened = open_images(images, zoom=(1.0, 1.0))
    return opened.names, lambda index: opened.pixels[index].permute(1, 2, 0).numpy(), list(opened.skipped)

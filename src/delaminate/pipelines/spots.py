"""Bright spots on dark, each a layer: a threshold, and pieces of several waists apart, which learns nothing.

What a camera counts is photons, whose noise grows with their number; their square root is evenly noisy (Anscombe, The
transformation of Poisson data, 1948), so the threshold (Otsu, 1979) is found there.
"""

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from scipy import ndimage

from delaminate.errors import DataError
from delaminate.matching.blobs import SPECK, areas_of, otsu, separate, usual_area, without_specks
from delaminate.pipelines.images import Images
from delaminate.pipelines.pictures import open_pictures
from delaminate.scene.collection import SceneSet
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement, Transform
from delaminate.scene.scenes import Scene, SceneLayer

Picture = UInt8[np.ndarray, "h w 3"]


def lit(picture: Picture) -> Bool[np.ndarray, "h w"]:
    """Say where an image is bright; single pixels of grain are not."""
    root = ndimage.median_filter(np.sqrt(picture.max(-1).astype(np.float32)), 3)
    return root > otsu(root)[0]


def spot_scene(name: str, picture: Picture, usual: float) -> Scene:
    """Take an image apart into its spots and the dark behind them; its composite is the image.

    Args:
        name: Of the scene.
        picture: The image.
        usual: How large spots usually are, in pixels (`matching.blobs.usual_area`), where the image has too few to tell.
    """
    mask, size = lit(picture), (picture.shape[0], picture.shape[1])
    labels, count = without_specks(separate(mask, usual)[0], SPECK * usual)
    colour = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)
    behind = colour.clone()
    spots: list[SceneLayer] = []
    dark = colour[:, torch.from_numpy(~mask)].median(1).values if not mask.all() else torch.zeros(3)
    for number, window in enumerate(ndimage.find_objects(labels, count), start=1):
        inside = torch.from_numpy(labels[window] == number)
        behind[:, window[0], window[1]][:, inside] = dark[:, None]
        place = (Transform.shift(window[1].start, window[0].start, size),)
        raster = torch.cat([colour[:, window[0], window[1]], inside[None].float()])
        spots.append(SceneLayer(f"layer-{number:02d}", f"spot {number}", Placement(OWN_RASTER, place, raster=raster)))
    ground = Placement(OWN_RASTER, (Transform.shift(0, 0, size),), raster=torch.cat([behind, torch.ones(1, *size)]))
    layers = (SceneLayer("background", "background", ground), *spots)
    return Scene(name, size, layers, Dictionary(()), background=True)


def spot_scenes(images: Images) -> tuple[SceneSet, list[tuple[str, str]]]:
    """Take images apart, each when it is asked for, at its own size.

    Returns:
        The scenes, and the name and reason of every image that cannot be read.

    Raises:
        DataError: No image can be used.
    """
    names, read, skipped = open_pictures(images)
    good: list[int] = []
    areas: list[int] = []
    for index, name in enumerate(names):
        try:
            areas += areas_of(lit(read(index)))
            good.append(index)
        except DataError as error:
            skipped.append((name, str(error)))
    if not good:
        raise DataError(f"{images}: no image can be read; the first, '{skipped[0][0]}': {skipped[0][1]}")
    chosen, usual = [names[index] for index in good], usual_area(areas)
    scenes = SceneSet(chosen, Dictionary(()), lambda number: spot_scene(chosen[number], read(good[number]), usual))
    return scenes, skipped

"""A few small scenes with three sprites, a background and a raster of their own, for tests of edits and of the studio."""

import torch

from delaminate.scene.collection import SceneSet
from delaminate.scene.placements import Dictionary, Placement, Transform
from delaminate.scene.saving import save_scenes
from delaminate.scene.scenes import Scene, SceneLayer

SIZE = (24, 32)


def picture(seed, height, width, opaque=False):
    """Random RGBA of 8 bits."""
    made = torch.randint(0, 256, (4, height, width), generator=torch.Generator().manual_seed(seed)).float() / 255
    if opaque:
        made[3] = 1
    return made


def small_dictionary():
    return Dictionary((picture(1, 6, 8), picture(2, 5, 5), picture(3, 4, 6)))


def a_colour(entry=0):
    """One that a pixel of a sprite has that is seen, as #rrggbb."""
    sprite = (small_dictionary().sprites[entry] * 255).round().int()
    y, x = torch.nonzero(sprite[3])[0].tolist()
    return "#" + "".join(f"{level:02x}" for level in sprite[:3, y, x].tolist())


def small_scene(name="a.png", dictionary=None, shift=0):
    dictionary = dictionary or small_dictionary()
    here = Transform.shift(0, 0, SIZE)
    layers = (
        SceneLayer("background", "background", Placement(-1, (here,), raster=picture(4, *SIZE, opaque=True))),
        SceneLayer("layer-01", "one", Placement(0, (Transform.shift(3 + shift, 4, SIZE),), track=1)),
        SceneLayer("layer-02", "two", Placement(1, (Transform.shift(10, 8, SIZE),), opacity=0.5)),
        SceneLayer("layer-03", "three", Placement(2, (Transform.shift(20, 15 - shift, SIZE),))),
    )
    return Scene(name, SIZE, layers, dictionary, background=True)


def small_scenes(count=3):
    dictionary = small_dictionary()
    names = [f"{'abcdefgh'[index]}.png" for index in range(count)]
    scenes = [small_scene(name, dictionary, index) for index, name in enumerate(names)]
    return SceneSet(names, dictionary, lambda index: scenes[index])


def write_small_scenes(folder, count=3):
    save_scenes(small_scenes(count), folder)
    return folder


def same_scene(one, other):
    """Whether two scenes have the same layers, sprites and pictures."""
    if (one.name, one.size, one.background) != (other.name, other.size, other.background):
        return False
    if len(one.layers) != len(other.layers) or one.dictionary.titles != other.dictionary.titles:
        return False
    for a, b in zip(one.layers, other.layers, strict=True):
        p, q = a.placement, b.placement
        same = (a.id, a.name, a.visible, p.entry, p.transforms, p.colour, p.opacity, p.track)
        if same != (b.id, b.name, b.visible, q.entry, q.transforms, q.colour, q.opacity, q.track):
            return False
        if p.raster is not None and not torch.equal(p.raster, q.raster):
            return False
    pairs = zip(one.dictionary.sprites, other.dictionary.sprites, strict=True)
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)

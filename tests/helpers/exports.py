"""Scenes drawn for the tests of exporters: pieces on a smooth background, and the format's corners."""

import dataclasses

import numpy as np
import torch

from delaminate.rng import stream
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform

CANVAS = (24, 30)
NAMES = ["set/one.png", "set/one.jpg", 'two <&"> é.png']


def random(seed, *shape):
    return torch.rand(*shape, generator=stream("export", seed))


def disc(size, colour, seed):
    line = torch.arange(size) + 0.5 - size / 2
    inside = (line[:, None] ** 2 + line[None] ** 2) < (size / 2) ** 2
    rgb = torch.tensor(colour)[:, None, None] * (0.7 + 0.3 * random(seed, 1, size, size))
    return torch.cat([rgb, inside[None].float()])


def decomposition(background=True):
    shade = torch.linspace(0.2, 0.7, 8)
    back = torch.stack([shade[:, None].expand(8, 8), shade[None].expand(8, 8), shade[:, None].expand(8, 8)])
    sprites = [disc(7, (0.9, 0.4, 0.2), 1), disc(10, (0.2, 0.6, 0.9), 2), random(3, 4, 5, 8)]
    sprites.append(torch.cat([back, torch.ones(1, 8, 8)]))
    images = []
    for number in range(3):
        numbers = [float(x) for x in random(10 + number, 8)]
        placements = []
        if background:
            placements.append(Placement(3, (Transform.of_matrix(np.diag([30 / 8, 3, 1]), CANVAS),)))
        placements += [
            Placement(0, (Transform.shift(int(20 * numbers[0]), int(15 * numbers[1]), CANVAS),), track=number),
            Placement(1, (Transform.shift(18 * numbers[2], 14 * numbers[3], CANVAS),), opacity=0.6),
            Placement(2, (Transform.shift(-2.5, 10.25, CANVAS),), (0.5, 0.5, 1.0, 0.2, 0.1, 0.0)),
            Placement(-1, (Transform.shift(3, 3, CANVAS),), raster=random(20 + number, 4, 6, 4)),
            Placement(0, (Transform.shift(100, 100, CANVAS),)),
        ]
        images.append(tuple(placements))
    return Decomposition(Dictionary(tuple(sprites), (3,)), tuple(images), CANVAS, background)


def scenes(background=True):
    """Three scenes; the last has a hidden layer with a name that needs escaping."""
    found = decomposition(background).scenes(NAMES)
    last = found[2].hide("layer-02")
    layers = [
        dataclasses.replace(layer, name="<b>&'\" ü") if layer.id == "layer-01" else layer for layer in last.layers
    ]
    return [*found[:2], dataclasses.replace(last, layers=tuple(layers))]


def composite(scene):
    """A scene's picture as exporters are compared with it: (H, W, 3), float64."""
    return scene.composite().permute(1, 2, 0).double().numpy()


def over(canvas, pixels, left, top, opacity=1.0):
    """Paint RGBA pixels, 8 bits, on a canvas at whole pixels; what lies outside is lost."""
    height, width = canvas.shape[:2]
    for row in range(max(top, 0), min(top + pixels.shape[0], height)):
        begin, end = max(left, 0), min(left + pixels.shape[1], width)
        if begin < end:
            part = pixels[row - top, begin - left : end - left] / 255
            alpha = part[:, 3:] * opacity
            canvas[row, begin:end] = alpha * part[:, :3] + (1 - alpha) * canvas[row, begin:end]


def solid(size, seed, alpha=None):
    """A sprite with random colours of 8 bits, opaque but for its given alpha."""
    picture = (random(seed, 4, *size) * 255).round() / 255
    picture[3] = 1 if alpha is None else alpha
    return picture


def clip(count=6, background=True):
    """A scrolling game: a background larger than the canvas, tiles on a grid, a runner who turns, a ghost, a sign.

    The last two scenes are the background alone and nothing at all.
    """
    height, width = 40, 60
    edge = torch.zeros(12, 10)
    edge[2:11, 1:8] = 1
    walk = [solid((12, 10), seed, edge) for seed in (31, 32)]
    soft = solid((9, 9), 33, torch.linspace(0, 1, 81).reshape(9, 9))
    tile = solid((8, 8), 34)
    sprites = [walk[0], walk[1], soft, tile, solid((44, 90), 35), solid((5, 7), 36)]
    images = []
    for number in range(count):
        scroll = 3 * number
        placements = [Placement(4, (Transform.shift(-scroll, -2, (height, width)),))] if background else []
        if number < count - 1 or not background:
            for column in range(-1, 9):
                where = Transform.shift(8 * column - scroll % 8, 30, (height, width))
                placements.append(Placement(3, (where,)))
            place = (5 * number - 4, 19, 10) if number % 2 else (5 * number - 4, 19)
            runner = (Transform.mirror if number % 2 else Transform.shift)(*place, (height, width))
            placements.append(Placement(number % 2 if number < 4 else 0, (runner,), track=7))
            placements.append(
                Placement(2, (Transform.shift(50 - 6 * number, 14, (height, width)),), opacity=0.5, track=8)
            )
            half = Transform.of_matrix(np.array([[1.5, 0, 20.25], [0, 1.5, 3], [0, 0, 1]]), (height, width))
            placements.append(Placement(5, (half,), (0.5, 1, 1, 0.25, 0, 0)))
        images.append(tuple(placements))
    found = Decomposition(Dictionary(tuple(sprites), (4,)), tuple(images), (height, width), background)
    made = found.scenes([f"shot/{number}.png" for number in range(count)])
    if not background:
        return made
    nothing = dataclasses.replace(made[-1], name=f"shot/{count}.png", layers=())
    return [*made, nothing]

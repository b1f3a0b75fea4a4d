"""Scenes drawn for the tests of exporters: pieces on a smooth background, and the format's corners."""

import dataclasses

import numpy as np
import torch

from delaminate.rng import stream
from delaminate.scene.placements import Decomposition, Dictionary, Placement, Transform

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

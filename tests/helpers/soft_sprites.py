"""Soft sprites for tests of search by least squares."""

import torch

from delaminate.matching.soft.correlation import Sprites
from delaminate.matching.soft.pursuit import Canvas, Selections
from delaminate.rng import stream

SHAPES = (
    (".....", ".####", ".#...", ".#...", "....."),
    (".....", "#####", ".....", ".....", "....."),
    (".....", "..#..", ".###.", "..#..", "....."),
    ("##...", "##...", ".....", "...##", "...##"),
)


def alphas():
    return torch.tensor([[[float(c == "#") for c in row] for row in shape] for shape in SHAPES])[:, None].double()


def shadings(seed=0):
    """Sprites of one channel, brightest pixel 1, all pixels different."""
    alpha = alphas()
    value = 0.6 + 0.4 * torch.rand(alpha.shape, generator=stream("shading", seed), dtype=torch.float64)
    value = value / (value * alpha).flatten(1).amax(1)[:, None, None, None]
    return Sprites(value * alpha, alpha)


def coloured(seed=0):
    alpha = alphas()
    rgb = 0.2 + 0.8 * torch.rand(len(alpha), 3, 5, 5, generator=stream("colour", seed), dtype=torch.float64)
    return Sprites(rgb, alpha)


def draw(sprites, picks, size, background=None):
    """Paint placements, which are front to back."""
    images = torch.zeros(len(picks), 3, *size, dtype=torch.float64)
    canvas = Canvas.of(images, background, margin=5)
    for placement_index in range(picks.entry.shape[1]):
        canvas.place(sprites, picks, placement_index)
    return -canvas.residual[:, :, 5:-5, 5:-5]


def scattered(count, num_placements, free_colour, seed=0, size=(16, 18)):
    """Placements that do not overlap, some hanging over the border by a pixel."""
    rng = stream("scattered", seed)
    found = Selections.empty(count, num_placements, torch.zeros((), dtype=torch.float64))
    cells = [(y, x) for y in (-1, 5, 11) for x in (-1, 6, 13)]
    for i in range(count):
        for placement_index, cell in enumerate(torch.randperm(len(cells), generator=rng)[:num_placements].tolist()):
            found.entry[i, placement_index] = int(torch.randint(len(SHAPES), (1,), generator=rng))
            found.top[i, placement_index], found.left[i, placement_index] = cells[cell]
            gain = 0.2 + 0.8 * torch.rand(3, generator=rng, dtype=torch.float64)
            found.gain[i, placement_index] = gain if free_colour else 1
    return found

"""Random stacks, dictionaries and decompositions for property tests, in float64."""

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st

from delaminate.rng import stream
from delaminate.scene.canvas_map import CanvasMap
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.layers import Layers
from delaminate.scene.placements import Dictionary, Placement, Transform

laws = settings(max_examples=25, deadline=None, database=None)
few = settings(laws, max_examples=10)
seeds = st.integers(0, 2**31)


def random(seed, *shape):
    return torch.rand(*shape, generator=stream("tests", seed), dtype=torch.float64)


def random_alpha(seed, *shape):
    """Soft values with many exact zeros and ones among them."""
    return (random(seed, *shape) * 1.6 - 0.3).clamp(0, 1)


@st.composite
def stacks(draw, occlusion=False, background=None, min_layers=1):
    batch, count = draw(st.integers(1, 2)), draw(st.integers(min_layers, 4))
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    seed = draw(seeds)
    rgb = random(seed, batch, count, 3, height, width)
    alpha = random_alpha(seed + 1, batch, count, 1, height, width)
    if background is None:
        background = draw(st.booleans())
    if background:
        alpha[:, 0] = 1
    matrix = random(seed + 2, batch, count, count) if occlusion else None
    entry = torch.arange(count).expand(batch, count)
    return Layers(rgb, alpha, matrix, entry, background)


def random_transforms(number, sprite, canvas):
    """Draw steps of every kind; `number` yields uniform numbers in [0, 1)."""

    def matrix(projective):
        spread = 1 + 0.6 * (np.array([number() for _ in range(4)]).reshape(2, 2) - 0.5) * [[1, 2], [2, 1]]
        linear = spread * [[1, 0.3], [-0.3, 1]]
        shift = [number() * canvas[1] * 1.4 - 3, number() * canvas[0] * 1.4 - 3]
        last = [0.01 * number(), 0.01 * number(), 1] if projective else [0, 0, 1]
        return np.array([[*linear[0], shift[0]], [*linear[1], shift[1]], last])

    kind = int(number() * 5)
    if kind == 0:
        return (Transform.shift(int(number() * 20) - 8, int(number() * 20) - 8, canvas),)
    if kind in (1, 2):
        return (Transform.of_matrix(matrix(kind == 2), canvas),)
    first = Transform("morphological", tuple(2 * number() - 1 for _ in range(10)), sprite)
    spline = Transform("thin_plate_spline", tuple(0.3 * number() - 0.15 for _ in range(32)), canvas)
    place = Transform.of_matrix(matrix(False), canvas)
    return (first, place) if kind == 3 else (place, spline)


@st.composite
def decompositions(draw, dtype=torch.float64, framed=False, covering=True):
    """Up to three sprites of different sizes, up to four placements an image, own rasters among them."""
    seed, background = draw(seeds), draw(st.booleans())
    canvas = (draw(st.integers(3, 12)), draw(st.integers(3, 12)))
    generator = stream("decomposition", seed)

    def number():
        return float(torch.rand((), generator=generator, dtype=torch.float64))

    def raster(height, width):
        picture = torch.rand(4, height, width, generator=generator, dtype=torch.float64)
        picture[3] = (picture[3] * 1.6 - 0.3).clamp(0, 1)
        return picture.to(dtype)

    sizes = [(2 + int(6 * number()), 2 + int(6 * number())) for _ in range(3)]
    sprites = [raster(*size) for size in sizes]
    if background:
        sprites.append(torch.cat([raster(4, 4)[:3], torch.ones(1, 4, 4, dtype=dtype)]))
    dictionary = Dictionary(tuple(sprites), (3,) if background else ())
    images = []
    for _ in range(2):
        placements = []
        if background and covering:
            stretch = Transform.of_matrix(np.diag([canvas[1] / 4, canvas[0] / 4, 1]), canvas)
            placements.append(Placement(3, (stretch,)))
        elif background:
            placements.append(Placement(-1, (Transform.shift(1, 1, canvas),), raster=sprites[3]))
        for _ in range(int(4 * number())):
            entry = int(4 * number()) - 1
            own = raster(3, 5) if entry == -1 else None
            size = (3, 5) if entry == -1 else sizes[entry]
            colour = tuple(0.5 + number() for _ in range(3)) + tuple(0.4 * number() - 0.2 for _ in range(3))
            steps = random_transforms(number, size, canvas)
            placements.append(Placement(entry, steps, colour, number(), int(9 * number()), own))
        images.append(tuple(placements))
    canvas_maps = None
    if framed:
        box = (number() * 4 - 1, number() * 4 - 1, canvas[1] * (1 + number()), canvas[0] * (1 + number()))
        canvas_maps = (CanvasMap((2 * canvas[0], 2 * canvas[1] + 1), box, canvas), CanvasMap.whole(*canvas))
    return Decomposition(dictionary, tuple(images), canvas, background, canvas_maps)

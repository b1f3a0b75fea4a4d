"""Pages as they were scanned or photographed: light is evened out, paper becomes white, and skew is turned back.

Canvas maps remember all of it.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from scipy import ndimage

from delaminate.data.sets import ImageSet
from delaminate.scene.canvas_map import CanvasMap, Colour, Light

Page = UInt8[np.ndarray, "_h _w 3"]

CELLS = 40
"""Cells along the longer side of a page in which its paper's colour is looked for."""
BRIGHT = 0.85
"""Of a cell's pixels, so many are no lighter than its paper."""
SLOWLY = 0.8
"""From one cell to the next, light falls to so much, at most."""
DARKEST = 0.25
"""Light falls to so much of the page's typical one, at most: what is darker is no paper."""
WHITE = 0.94
"""Light is evened out where paper, but for its darkest twentieth, is not all as light as this; of white."""
LIGHT_PAGE = 0.7
"""A page is dark on light if its middle tone has so much of its paper's light: others are left as they are."""
LARGEST_SKEW = 8.0
"""Degrees by which pages are skewed, at most."""
LEAST_SKEW = 0.5
"""Degrees from which on a page is turned: less changes letters less than turning does."""
SHARPER = 1.15
"""Lines must be so much sharper on a turned page than on the page as it is."""
EDGE, MOST_AROUND = 0.01, 0.8
"""What is dark and reaches the border is no ink from so much of a page on; where it is more than so much, there is no page."""
FINER = 4
"""Times as many cells tell what lies around a page."""
GLEAMS = 0.001
"""Of a page's pixels, so many may be lighter than its paper as paper is than ink."""
INK = 0.6
"""Ink is darker than so much of the paper around it."""
LOOKED_AT = 1000
"""Pixels along the longer side at which skew, and what lies around a page, are looked for."""


def straightened(images: ImageSet) -> tuple[ImageSet, tuple[str, ...]]:
    """Even out the light of pages and turn them upright, where they need it.

    Args:
        images: Pages at their own size, padded to one at the right and below.

    Returns:
        The pages, and what was done, in words; a set in which no page needs it is returned as it is, and so are images that
        are transparent, enlarged or resampled.
    """
    if images.transparent is not None or not all(map(_is_plain, images.canvas_maps)):
        return images, ()
    pages, turns, lights = [], [], []
    for pixels, canvas_map in zip(images.pixels, images.canvas_maps, strict=True):
        page = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
        own = page[: canvas_map.original[0], : canvas_map.original[1]]
        paper = paper_of(own)
        light = uneven_light(own, paper)
        even = own if light is None else evened(own, light)
        around = surroundings(even)
        if around is not None:
            light = _with_surroundings(light, own, around)
            even = np.where(around[..., None], np.uint8(255), even)
        pages.append(page if light is None else even)
        turns.append(skew(even, paper if light is None else None))
        lights.append(light)
    if not any(turns) and not any(lights):
        return images, ()
    size = _room(images, turns)
    maps, straight = [], []
    for page, turn, light, before in zip(pages, turns, lights, images.canvas_maps, strict=True):
        after = _map(before, turn, light, size)
        maps.append(after)
        straight.append(_turned(page[: before.original[0], : before.original[1]], after))
    stacked = torch.from_numpy(np.stack(straight)).permute(0, 3, 1, 2).contiguous()
    return replace(images, pixels=stacked, canvas_maps=tuple(maps)), _said(turns, lights)


def _is_plain(canvas_map: CanvasMap) -> bool:
    """Whether a canvas shows the pixels of its original, one by one, from the corner on."""
    untouched = canvas_map.zoom == 1 and canvas_map.blocks is None and canvas_map.margins is None
    return untouched and canvas_map.box == (0.0, 0.0, float(canvas_map.canvas[1]), float(canvas_map.canvas[0]))


def _said(turns: list[float], lights: list[Light | None]) -> tuple[str, ...]:
    """What was done, in words."""
    turned, lit = [turn for turn in turns if turn], [light for light in lights if light is not None]
    said = []
    if lit:
        said.append(
            f"Paper of {len(lit)} of {len(lights)} pages is not white, lit unevenly, or lies on something dark: evened out; "
            "scenes have it again."
        )
    if turned:
        span = f"{min(turned):+.1f} to {max(turned):+.1f}" if len(turned) > 1 else f"{turned[0]:+.1f}"
        said.append(
            f"{len(turned)} of {len(turns)} pages are skewed; turned by {span} degrees (clockwise), and back in scenes."
        )
    return tuple(said)


# ---- Light ------------------------------------------------------------------------------------------------------------


def paper_of(page: Page) -> Float[np.ndarray, "y x 3"]:
    """The colour of the paper in each cell of a page, in 0..255.

    Cells that show hardly any paper (pictures, thick letters) take that of cells around them.
    """
    side = max(1, -(-max(page.shape[:2]) // CELLS))
    rows, columns = (max(2, round(length / side)) for length in page.shape[:2])
    down, across = (
        np.linspace(0, length, count + 1).astype(int)
        for length, count in zip(page.shape[:2], (rows, columns), strict=True)
    )
    found = np.empty((rows, columns, 3))
    for y in range(rows):
        strip = page[down[y] : max(down[y + 1], down[y] + 1) : 2]
        for x in range(columns):
            found[y, x] = np.quantile(strip[:, across[x] : max(across[x + 1], across[x] + 1) : 2], BRIGHT, (0, 1))
    _, nearest = ndimage.distance_transform_edt(~_shows_paper(found.mean(2)), return_indices=True)
    filled = found[nearest[0], nearest[1]]
    smooth = ndimage.median_filter(filled, (3, 3, 1), mode="nearest")
    return ndimage.gaussian_filter(smooth, (1, 1, 0), mode="nearest")


def _shows_paper(lightness: Float[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """Which cells show paper: the lightest, and what darkens from one to the next as light does, slowly; a picture does not."""
    paper = lightness >= np.quantile(lightness, 0.95)
    while True:
        beside = ndimage.maximum_filter(np.where(paper, lightness, 0), 3, mode="nearest")
        grown = paper | ((lightness >= SLOWLY * beside) & (beside > 0))
        if (grown == paper).all():
            return paper
        paper = grown


def uneven_light(page: Page, paper: Float[np.ndarray, "y x 3"]) -> Light | None:
    """How a page is lit, given its paper in cells; None where all is white, or the page is not dark on light."""
    lightness = paper.mean(2)
    typical = float(np.median(lightness))
    if np.quantile(lightness, 0.05) >= WHITE * 255 or float(np.median(page[::4, ::4])) < LIGHT_PAGE * typical:
        return None
    lit = np.maximum(paper, max(DARKEST * typical, 1.0))
    light = Light(tuple(tuple(_colour(each) for each in row) for row in lit))
    some = page[::2, ::2]
    lighter = some.mean(2) > light.over((some.shape[0], some.shape[1])).mean(2) * (255 / INK)
    return None if lighter.mean() > GLEAMS else light  # what is lighter than paper is light on dark


def evened(page: Page, light: Light) -> Page:
    """A page as an even light shows it, on white paper."""
    return np.rint((page / light.over((page.shape[0], page.shape[1]))).clip(0, 255)).astype(np.uint8)


def surroundings(page: Page) -> Bool[np.ndarray, "_h _w"] | None:
    """What lies around a page that is shown on something dark, or was scanned with black edges; None: nothing does.

    Args:
        page: In even light, on white paper.
    """
    small = _small(page)
    labels, count = ndimage.label(small < INK * 255)
    if not count:
        return None
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    around = np.array([n for n in np.unique(rim[rim > 0]) if areas[n] >= EDGE * labels.size], np.int64)
    if not len(around):
        return None
    mask = ndimage.binary_dilation(np.isin(labels, around), iterations=2)
    rest, _ = ndimage.label(~mask)
    largest = np.bincount(rest.ravel())[1:].max(initial=0)
    if mask.mean() > MOST_AROUND or largest < 0.5 * (~mask).sum():  # letters on something dark are no page
        return None
    return np.asarray(Image.fromarray(mask).resize((page.shape[1], page.shape[0]), Image.Resampling.NEAREST))


def _with_surroundings(light: Light | None, page: Page, around: Bool[np.ndarray, "_h _w"]) -> Light:
    """The light of a page, on a finer grid, with the colours of what lies around it."""
    step = max(1, -(-max(page.shape[:2]) // (FINER * CELLS)))
    rows, columns = (len(range(0, length, step)) for length in page.shape[:2])
    shown = np.full((rows, columns, 3), 255.0) if light is None else light.over((rows, columns)) * 255
    down, across = range(0, page.shape[0], step), range(0, page.shape[1], step)

    def summed(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(values.astype(np.float64), down, 0), across, 1)

    hidden, whole = summed(around), summed(np.ones(around.shape))
    for channel in range(3):
        own = summed(np.where(around, page[..., channel], 0))
        shown[..., channel] = (own + (whole - hidden) * shown[..., channel]) / whole
    return Light(tuple(tuple(_colour(each) for each in row) for row in shown))


def _colour(values: Float[np.ndarray, "3"]) -> Colour:
    red, green, blue = np.rint(values).astype(int).tolist()
    return red, green, blue


# ---- Skew -------------------------------------------------------------------------------------------------------------


def skew(page: Page, paper: Float[np.ndarray, "y x 3"] | None = None) -> float:
    """Degrees by which a page is to be turned, clockwise, for its lines to lie level; 0 where that is little or unsure.

    Lines of text that lie level make rows of pixels that have much ink, or none: of all angles, that is taken whose
    projection profile varies most (Baird, The skew angle of printed documents, 1987).

    Args:
        page: In even light.
        paper: Its paper in cells, if that is known.
    """
    ink = _ink(page, paper_of(page) if paper is None else paper)
    y, x = np.nonzero(ink)
    if len(y) < 200:
        return 0.0
    x = x - ink.shape[1] / 2

    def sharpness(degrees: float) -> float:
        rows = np.rint(y + x * math.tan(math.radians(degrees))).astype(np.int64)
        profile = np.bincount(rows - rows.min()).astype(np.float64)
        return float(np.square(np.diff(profile)).sum())

    coarse = np.arange(-LARGEST_SKEW, LARGEST_SKEW + 0.1, 0.25)
    best = float(max(coarse, key=sharpness))
    best = float(max(best + np.arange(-0.25, 0.26, 0.05), key=sharpness))
    sure = abs(best) < LARGEST_SKEW and sharpness(best) > SHARPER * sharpness(0.0)
    return round(best, 2) if sure and abs(best) >= LEAST_SKEW else 0.0


def _ink(page: Page, paper: Float[np.ndarray, "y x 3"]) -> Bool[np.ndarray, "h w"]:
    """Where ink is, on a page made smaller."""
    small = _small(page)
    size = small.shape[1], small.shape[0]
    around = np.asarray(Image.fromarray(paper.mean(2).astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    return small < INK * around


def _small(page: Page) -> UInt8[np.ndarray, "h w"]:
    """The lightness of a page, made so small that its longer side has at most `LOOKED_AT` pixels."""
    shrink = max(1.0, max(page.shape[:2]) / LOOKED_AT)
    size = max(1, round(page.shape[1] / shrink)), max(1, round(page.shape[0] / shrink))
    return np.asarray(Image.fromarray(page).convert("L").resize(size, Image.Resampling.BOX))


# ---- Turning ----------------------------------------------------------------------------------------------------------


def _room(images: ImageSet, turns: list[float]) -> tuple[int, int]:
    """A canvas on which every page, turned, is whole."""
    height, width = images.size
    for turn, canvas_map in zip(turns, images.canvas_maps, strict=True):
        cosine, sine = math.cos(math.radians(turn)), abs(math.sin(math.radians(turn)))
        rows, columns = canvas_map.original
        height = max(height, math.ceil(rows * cosine + columns * sine))
        width = max(width, math.ceil(columns * cosine + rows * sine))
    return height, width


def _map(before: CanvasMap, turn: float, light: Light | None, size: tuple[int, int]) -> CanvasMap:
    """Where a page lies on a canvas of `size`: turned about its middle, or in the corner if it stays as it is."""
    rows, columns = before.original
    left, top = ((columns - size[1]) / 2, (rows - size[0]) / 2) if turn else (0.0, 0.0)
    return CanvasMap(before.original, (left, top, float(size[1]), float(size[0])), size, turn=turn, light=light)


def _turned(page: Page, canvas_map: CanvasMap) -> Page:
    """A page on its canvas; what lies beyond it is paper."""
    rows, columns = canvas_map.canvas
    edge = tuple(np.median(np.concatenate([page[0], page[-1], page[:, 0], page[:, -1]]), 0).astype(int).tolist())
    if not canvas_map.turn:
        whole = np.empty((rows, columns, 3), np.uint8)
        whole[:] = edge
        whole[: page.shape[0], : page.shape[1]] = page
        return whole
    matrix = canvas_map.to_original
    # Pillow maps pixel centres by the same matrix.
    return np.asarray(
        Image.fromarray(page).transform(
            (columns, rows),
            Image.Transform.AFFINE,
            tuple(matrix[:2].ravel().tolist()),
            Image.Resampling.BICUBIC,
            fillcolor=edge,
        )
    )

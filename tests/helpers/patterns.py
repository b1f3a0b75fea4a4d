"""Hand-made frames for the tests of search: sprites of many colours, pasted where we know."""

import numpy as np

from delaminate.matching.exact.detection import Occurrence, PlacementCost, TemplateBank
from delaminate.matching.exact.growth import RegionGrowing
from delaminate.matching.exact.search import Search
from delaminate.matching.exact.templates import ColourCodes, Frames, HardSprite

BACKGROUND = np.array([[[30, 40, 60]]], np.uint8)
TOLERANCE = 0.06


def pattern(size, seed, alpha=None, tint=None):
    """A sprite in which nothing looks like anything else; 8-bit colours."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform(0.35, 0.65, 3) if tint is None else np.array(tint)
    colour = (255 * (middle + rng.uniform(-0.3, 0.3, (*size, 3)))).round().clip(0, 255) / 255
    alpha = np.ones(size, bool) if alpha is None else np.asarray(alpha, bool)
    return HardSprite((colour * alpha[..., None]).astype(np.float32), alpha)


def disc(side):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.hypot(y, x) < side / 2 + 0.2


def paste(frame, some, top, left):
    """Paste a pattern onto a frame of bytes, cut at the border."""
    for y, x in np.argwhere(some.alpha):
        if 0 <= top + y < frame.shape[0] and 0 <= left + x < frame.shape[1]:
            frame[top + y, left + x] = np.rint(some.colour[y, x] * 255)


def frame_of(size, places, patterns):
    """A frame with (entry, top, left) pasted back to front."""
    frame = np.broadcast_to(BACKGROUND, (*size, 3)).copy()
    for entry, top, left in places:
        paste(frame, patterns[entry], top, left)
    return frame


def scattered(count, size, patterns, each, seed=0, apart=False, hang=0):
    """Frames with patterns at random, and where they are; `apart`: none touches another; `hang`: over the border."""
    rng, frames, truth = np.random.default_rng(seed), [], []
    for _ in range(count):
        places, used = [], np.zeros(size, bool)
        while len(places) < each:
            entry = int(rng.integers(len(patterns)))
            h, w = patterns[entry].size
            top, left = (
                int(rng.integers(-hang, size[0] - h + 1 + hang)),
                int(rng.integers(-hang, size[1] - w + 1 + hang)),
            )
            window = slice(max(top - 2, 0), max(top + h + 2, 0)), slice(max(left - 2, 0), max(left + w + 2, 0))
            if apart and used[window].any():
                continue
            used[window] = True
            places.append((entry, top, left))
        frames.append(frame_of(size, places, patterns))
        truth.append(places)
    return np.stack(frames), truth


def opened(frames, margin=12, background=None, tolerance=TOLERANCE):
    """Frames with nothing explained yet."""
    frames = frames[None] if frames.ndim == 3 else frames
    background = BACKGROUND.astype(np.float32)[None] / 255 if background is None else background
    return Frames(frames, background, margin, ColourCodes(tolerance))


def bank_of(patterns, frames, **price):
    return TemplateBank(list(patterns), frames, PlacementCost(**price))


def placed(places):
    """Places as (entry, top, left), in their order."""
    return [(p.entry, p.top, p.left) if isinstance(p, Occurrence) else tuple(p) for p in places]


def search(**settings):
    growth = {"seed": 5, "reach": 10} | settings.pop("growth", {})
    return Search(growth=RegionGrowing(**growth), **settings)


def alike(one, other, share=0.97):
    """Whether two patterns are one: same size, same shape, same colours."""
    if one.size != other.size:
        return False
    either, both = one.alpha | other.alpha, one.alpha & other.alpha
    same = np.abs(one.colour - other.colour).max(2) < 0.03
    return (both & same).sum() >= share * either.sum()

"""Sprites that let the background shine through: their alpha follows from what they look like over several backgrounds.

Over two backgrounds the same sprite shows I = a S + (1 - a) B: where B differs, I differs by (1 - a) times as much, all over
the sprite alike. (Smith and Blinn, Blue Screen Matting, 1996: two backgrounds tell colour and alpha)
"""

import numpy as np
from scipy import ndimage

from delaminate.matching.exact.search import Search
from delaminate.matching.exact.templates import OPEN, Frames, HardSprite

LEAST_AREA, LEAST_SEEN = 12, 4
SPREAD = 6 / 255
"""By how much the backgrounds must differ, in [0, 1] units, to tell anything."""
CLEAREST, FAINTEST = 0.92, 0.15
"""Opacities that are told from 1 and from 0."""


def translucent_sprites(frames: Frames, search: Search, most: int) -> list[HardSprite]:
    """Find sprites of one opacity below 1 among open regions of one shape whose colours follow the background.

    Args:
        frames: Frames under explanation, over a picture; what is explained is left alone.
        search: How to look.
        most: Sprites, at most.
    """
    if frames.background is not None or most < 1:
        return []
    groups: dict[tuple[bytes, tuple[int, ...]], list[tuple[int, int, int]]] = {}
    shapes: dict[tuple[bytes, tuple[int, ...]], np.ndarray] = {}
    margin, (height, width) = frames.margin, frames.size
    for index in range(len(frames)):
        search.progress.check()
        labels, _ = ndimage.label(frames.kind[index] == OPEN, np.ones((3, 3)))
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            inside = rows.start > margin and columns.start > margin
            inside = inside and rows.stop < height - margin and columns.stop < width - margin
            if not inside or max(rows.stop - rows.start, columns.stop - columns.start) > 2 * search.growth.reach:
                continue
            alpha = labels[rows, columns] == number
            if alpha.sum() < LEAST_AREA:
                continue
            key = alpha.tobytes(), alpha.shape
            groups.setdefault(key, []).append((index, rows.start, columns.start))
            shapes[key] = alpha
    found: list[HardSprite] = []
    for key in sorted(groups, key=lambda key: -len(groups[key]) * int(shapes[key].sum())):
        if len(groups[key]) >= LEAST_SEEN and len(found) < most:
            sprite = _unmixed(frames, np.array(groups[key], np.int64)[: search.growth.sample], shapes[key])
            if sprite is not None:
                found.append(sprite)
    return found


def _unmixed(frames: Frames, spots: np.ndarray, alpha: np.ndarray) -> HardSprite | None:
    """The sprite behind some sights of one shape; None if its colours do not follow the background."""
    size = (alpha.shape[0], alpha.shape[1])
    colour, _ = frames.windows(spots, 0, 0, size)
    shown, behind = colour[:, alpha], frames.behind_at(spots, size)[:, alpha]  # n a 3
    varies, follows = behind - behind.mean(0), shown - shown.mean(0)
    if np.sqrt(np.square(varies).mean()) < SPREAD:
        return None
    through = float((varies * follows).sum() / np.square(varies).sum())
    if not 1 - CLEAREST < through < 1 - FAINTEST:
        return None
    if (np.abs(follows - through * varies) <= frames.slack).all(2).mean() < 0.9:
        return None
    own = (shown - through * behind).mean(0) / (1 - through)
    if own.min() < -0.05 or own.max() > 1.05:
        return None
    picture = np.zeros((*size, 3), np.float32)
    picture[alpha] = own.clip(0, 1)
    return HardSprite(picture, alpha, round(1 - through, 3))

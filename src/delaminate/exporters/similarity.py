"""Sprites in an order that puts what looks alike side by side: a one-dimensional t-SNE of small pictures."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64

from delaminate.scene.placements import Dictionary

FEWEST = 5  # below this, an order by use says more
MOST = 600  # above this, t-SNE takes too long for a page
THUMBNAIL = 12  # pixels


def _thumbnails(dictionary: Dictionary, entries: Sequence[int]) -> Float64[np.ndarray, "N F"]:
    """Small pictures of sprites as rows: alpha, and colour times alpha."""
    rows = []
    for entry in entries:
        sprite = dictionary.sprites[entry].detach().float().cpu()
        flat = torch.cat([sprite[:3] * sprite[3:], sprite[3:]])[None]
        rows.append(F.interpolate(flat, size=(THUMBNAIL, THUMBNAIL), mode="area").ravel().numpy())
    return np.stack(rows).astype(np.float64)


def sprite_order(dictionary: Dictionary, usage: Sequence[int]) -> tuple[list[int], bool]:
    """Order the dictionary for showing: sprites, then backgrounds.

    Args:
        dictionary: The sprites.
        usage: How often each is used.

    Returns:
        The entries, and whether they are sorted by likeness; else they are by use, the most used first. There are too
        few or too many sprites for likeness, or all are the same. The same sprites give the same order.

    Reference: van der Maaten and Hinton, Visualizing Data using t-SNE, 2008.
    """
    by_use = sorted(range(len(dictionary)), key=lambda entry: (entry in dictionary.backgrounds, -usage[entry], entry))
    sprites = [entry for entry in range(len(dictionary)) if entry not in dictionary.backgrounds]
    if not FEWEST <= len(sprites) <= MOST:
        return by_use, False
    rows = _thumbnails(dictionary, sprites)
    rows -= rows.mean(0)
    # Start on the line along which the pictures differ most, its sign fixed.
    line = rows @ np.linalg.svd(rows, full_matrices=False)[2][0]
    spread = float(line.std())
    if not spread > 1e-6:
        return by_use, False
    line *= np.sign(line[np.abs(line).argmax()]) * 1e-4 / spread
    from sklearn.manifold import TSNE

    perplexity = min(20.0, (len(sprites) - 1) / 3)
    # On a line nothing can step aside: small steps and little exaggeration keep groups whole.
    embedding = TSNE(
        1,
        perplexity=perplexity,
        init=line[:, None],
        method="exact",
        early_exaggeration=4.0,
        learning_rate=max(10.0, len(sprites) / 12),
        random_state=0,
    )
    places = embedding.fit_transform(rows)[:, 0]
    order = sorted(range(len(sprites)), key=lambda index: (float(places[index]), sprites[index]))
    backgrounds = [entry for entry in by_use if entry in dictionary.backgrounds]
    return [*(sprites[index] for index in order), *backgrounds], True

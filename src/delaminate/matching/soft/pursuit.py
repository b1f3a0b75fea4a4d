"""Greedy pursuit: choose placements one by one, front to back, at a price each.

What a chosen sprite covers is explained: its transmittance falls, so that later sprites, which lie behind it, neither
gain nor lose there. After the first round every placement may be taken back and chosen again given the others.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from delaminate.matching.soft.correlation import Sprites, score


@dataclass(frozen=True)
class Selections:
    """The placements of a batch, front to back; unused ones have entry -1.

    Attributes:
        entry: Which sprite, -1 for none, shape (B, L).
        top, left: Corner of the sprite's square on the canvas in pixels, shape (B, L).
        gain: Colour gain of each channel, shape (B, L, 3).
    """

    entry: Int[Tensor, "B L"]
    top: Int[Tensor, "B L"]
    left: Int[Tensor, "B L"]
    gain: Float[Tensor, "B L 3"]

    def __len__(self) -> int:
        return len(self.entry)

    @property
    def used(self) -> Bool[Tensor, "B L"]:
        return self.entry >= 0

    def to(self, device: torch.device) -> "Selections":
        return Selections(self.entry.to(device), self.top.to(device), self.left.to(device), self.gain.to(device))

    def rows(self, index: Tensor | slice) -> "Selections":
        return Selections(self.entry[index], self.top[index], self.left[index], self.gain[index])

    def reordered(self, order: list[int]) -> "Selections":
        return Selections(self.entry[:, order], self.top[:, order], self.left[:, order], self.gain[:, order])

    def take(self, rows: Tensor, other: "Selections", better: Bool[Tensor, " n"]) -> None:
        """Put the other's placements into those of the given rows that are better, in place."""
        for name in ("entry", "top", "left", "gain"):
            mine, theirs = getattr(self, name), getattr(other, name)
            mine[rows] = torch.where(better.view((-1,) + (1,) * (theirs.ndim - 1)), theirs, mine[rows])

    @classmethod
    def empty(cls, batch: int, num_placements: int, like: Tensor) -> "Selections":
        index = torch.full((batch, num_placements), -1, device=like.device)
        zero = torch.zeros_like(index)
        return cls(index, zero, zero.clone(), like.new_zeros(batch, num_placements, 3))


@dataclass
class Canvas:
    """Images under explanation, with a margin in which sprites may hang over the border.

    Attributes:
        residual: Image minus composite; 0 in the margin.
        through: Transmittance of all that is placed; 0 in the margin, which nobody sees.
        padded_background: The background at full strength, margin included, or None where it is black.
        margin: Width of the border in pixels.
    """

    residual: Float[Tensor, "B 3 H W"]
    through: Float[Tensor, "B 1 H W"]
    padded_background: Float[Tensor, "B 3 H W"] | None
    margin: int

    @classmethod
    def of(cls, images: Tensor, background: Tensor | None, margin: int) -> "Canvas":
        pad = (margin,) * 4
        padded_background = None if background is None else F.pad(background.expand_as(images), pad)
        residual = images if background is None else images - background
        return cls(F.pad(residual, pad), F.pad(torch.ones_like(images[:, :1]), pad), padded_background, margin)

    def windows(self, picks: Selections, placement_index: int, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Index the squares of one placement of each image: image, rows and columns, to be used as `tensor[i, :, y, x]`."""
        device = picks.entry.device
        y = (picks.top[:, placement_index] + self.margin)[:, None] + torch.arange(size[0], device=device)
        x = (picks.left[:, placement_index] + self.margin)[:, None] + torch.arange(size[1], device=device)
        i = torch.arange(len(picks), device=device)[:, None, None]
        return i, y[:, :, None], x[:, None, :]

    def place(self, sprites: Sprites, picks: Selections, placement_index: int) -> None:
        """Put the sprites of one placement index behind all that is placed."""
        where = self.windows(picks, placement_index, sprites.size)
        entry = picks.entry[:, placement_index].clamp_min(0)
        used = picks.used[:, placement_index, None, None, None].to(self.residual.dtype)
        alpha = (sprites.alpha[entry] * used).permute(0, 2, 3, 1)  # B h w 1
        colour = (sprites.premultiplied[entry] * used * picks.gain[:, placement_index, :, None, None]).permute(
            0, 2, 3, 1
        )
        i, y, x = where
        through = self.through[i, :, y, x]
        change = through * colour
        if self.padded_background is not None:
            change = change - through * alpha * self.padded_background[i, :, y, x]
        self.residual[i, :, y, x] -= change
        self.through[i, :, y, x] = through * (1 - alpha)


@dataclass(frozen=True)
class Search:
    """How to look for placements.

    Attributes:
        num_placements: The most placements of an image.
        price: What a placement must gain, in summed squared error, to be worth its place.
        passes: Times that every placement is chosen again, given the others.
        free_colour: Fit the colour gain; otherwise it is 1.
        reach: How far sprites may hang over the border, in pixels; None is half a sprite.
        chunk: Images searched at a time.
        beam: Other first choices to try, each with all that follows, where something is left unexplained.
    """

    num_placements: int
    price: float
    passes: int = 1
    free_colour: bool = True
    reach: int | None = None
    chunk: int = 64
    beam: int = 0

    def margin(self, size: tuple[int, int]) -> int:
        """How far sprites of `size` may hang over the border, in pixels."""
        return max(size) // 2 if self.reach is None else self.reach


def _choose(
    canvas: Canvas, sprites: Sprites, picks: Selections, placement_index: int, rows: Tensor, search: Search
) -> None:
    """Fill one placement index of the given images with the best placement, or leave it empty."""
    margin = canvas.margin
    padded_background = None if canvas.padded_background is None else canvas.padded_background[rows]
    scores = score(
        sprites, canvas.residual[rows], canvas.through[rows], padded_background, reach=0, free_colour=search.free_colour
    )
    count, width = scores.drop.shape[2:]
    best, index = scores.drop.flatten(1).max(1)
    entry = index // (count * width)
    top = index // width % count
    left = index % width
    gain = scores.gain.flatten(2).gather(2, index[:, None, None].expand(-1, 3, 1))[..., 0]
    good = best > search.price
    picks.entry[rows, placement_index] = torch.where(good, entry, -1)
    picks.top[rows, placement_index] = torch.where(good, top - margin, 0)
    picks.left[rows, placement_index] = torch.where(good, left - margin, 0)
    picks.gain[rows, placement_index] = torch.where(good[:, None], gain, 0.0)


def replay(
    images: Float[Tensor, "B 3 H W"],
    sprites: Sprites,
    picks: Selections,
    search: Search,
    background: Float[Tensor, "#B 3 H W"] | None = None,
) -> tuple[Canvas, list[Float[Tensor, "B 1 H2 W2"]]]:
    """Place all picks again; return the canvas, and the transmittance that each of them met."""
    canvas = Canvas.of(images, background, search.margin(sprites.size))
    met = []
    for placement_index in range(picks.entry.shape[1]):
        met.append(canvas.through.clone())
        canvas.place(sprites, picks, placement_index)
    return canvas, met


def _rebuild(images: Tensor, background: Tensor | None, sprites: Sprites, picks: Selections, margin: int) -> Canvas:
    """`replay` without remembering: the canvas after all picks."""
    canvas = Canvas.of(images, background, margin)
    for placement_index in range(picks.entry.shape[1]):
        canvas.place(sprites, picks, placement_index)
    return canvas


def _error(canvas: Canvas) -> Float[Tensor, " B"]:
    return canvas.residual.square().flatten(1).sum(1)


def _choose_again(
    images: Tensor,
    background: Tensor | None,
    sprites: Sprites,
    search: Search,
    picks: Selections,
    error: Tensor,
    margin: int,
) -> bool:
    """Take back every image's front placement, and look for a better one behind the others; change picks in place.

    Only images that still have something to explain take part. Whether replaced or kept, the front one moves to the
    back where that does no harm, so that repeated calls visit every placement.
    """
    rows = torch.nonzero(error > search.price)[:, 0]
    if len(rows) == 0:
        return False
    some = images[rows]
    local_background = None if background is None else background.expand_as(images)[rows]
    old = picks.rows(rows)
    turned = old.reordered([*range(1, search.num_placements), 0])
    same = _error(_rebuild(some, local_background, sprites, turned, margin)) <= error[rows] + 1e-6
    trial = old.reordered([*range(1, search.num_placements), 0])
    trial.entry[:, -1] = -1
    canvas = _rebuild(some, local_background, sprites, trial, margin)
    _choose(canvas, sprites, trial, search.num_placements - 1, torch.arange(len(rows), device=images.device), search)
    canvas.place(sprites, trial, search.num_placements - 1)
    new = _error(canvas)
    better = new + 1e-6 < error[rows]
    picks.take(rows, turned, same)
    picks.take(rows, trial, better)
    error[rows] = torch.where(better, new, error[rows])
    return True


def _complete(
    images: Tensor,
    background: Tensor | None,
    sprites: Sprites,
    search: Search,
    picks: Selections,
    filled: int,
    margin: int,
) -> Float[Tensor, " B"]:
    """Fill the placements from index `filled` on, then choose each again; change picks in place, return the error."""
    canvas = _rebuild(images, background, sprites, picks, margin)
    everyone = torch.arange(len(images), device=images.device)
    for placement_index in range(filled, search.num_placements):
        _choose(canvas, sprites, picks, placement_index, everyone, search)
        canvas.place(sprites, picks, placement_index)
    error = _error(canvas)
    for _ in range(search.passes * search.num_placements):
        if not _choose_again(images, background, sprites, search, picks, error, margin):
            break
    return error


def _try_others(
    images: Tensor,
    background: Tensor | None,
    sprites: Sprites,
    search: Search,
    picks: Selections,
    error: Tensor,
    margin: int,
) -> None:
    """Where something is left unexplained, start over from the next best first sprites; change picks in place."""
    rows = torch.nonzero(error > search.price)[:, 0]
    if len(rows) == 0 or search.beam == 0:
        return
    some = images[rows]
    local_background = None if background is None else background.expand_as(images)[rows]
    canvas = Canvas.of(some, local_background, margin)
    scores = score(
        sprites, canvas.residual, canvas.through, canvas.padded_background, reach=0, free_colour=search.free_colour
    )
    best, place = scores.drop.flatten(2).max(2)  # n K
    ranking = best.argsort(dim=1, descending=True, stable=True)
    width = scores.drop.shape[3]
    everyone = torch.arange(len(rows), device=images.device)
    for rank in range(min(search.beam, len(sprites))):
        entry = ranking[:, rank]
        index = place[everyone, entry]
        trial = Selections.empty(len(rows), search.num_placements, images)
        trial.entry[:, 0] = entry
        trial.top[:, 0] = index // width - margin
        trial.left[:, 0] = index % width - margin
        trial.gain[:, 0] = scores.gain[everyone, :, entry].flatten(2)[everyone, :, index]
        new = _complete(some, local_background, sprites, search, trial, 1, margin)
        better = new + 1e-6 < error[rows]
        picks.take(rows, trial, better)
        error[rows] = torch.where(better, new, error[rows])


def _pursue_chunk(
    images: Tensor, background: Tensor | None, sprites: Sprites, search: Search, start: Selections | None
) -> Selections:
    margin = search.margin(sprites.size)
    picks, filled = Selections.empty(len(images), search.num_placements, images), 0
    if start is not None:
        # What hangs over the border further than search reaches is brought back to where search may look.
        ends = [side + margin - part for side, part in zip(images.shape[2:], sprites.size, strict=True)]
        top, left = start.top.clamp(-margin, ends[0]), start.left.clamp(-margin, ends[1])
        picks, filled = (
            Selections(start.entry.clone(), top, left, start.gain.to(images.dtype, copy=True)),
            search.num_placements,
        )
    error = _complete(images, background, sprites, search, picks, filled, margin)
    _try_others(images, background, sprites, search, picks, error, margin)
    return picks


@torch.no_grad()
def pursue(
    images: Float[Tensor, "B 3 H W"],
    sprites: Sprites,
    search: Search,
    background: Float[Tensor, "#B 3 H W"] | None = None,
    start: Selections | None = None,
) -> Selections:
    """Find the placements of every image.

    Args:
        images: In [0, 1].
        sprites: The dictionary.
        search: Number of placements, price, passes.
        background: What lies behind everything, or None for black.
        start: Placements to begin from, which are only chosen again where they leave something unexplained; those
            further out than search reaches are brought back to its edge.

    Returns:
        Placements front to back.
    """
    parts = []
    for begin_at in range(0, len(images), search.chunk):
        some = images[begin_at : begin_at + search.chunk]
        local_background = background
        if background is not None and len(background) > 1:
            local_background = background[begin_at : begin_at + search.chunk]
        begin = None if start is None else start.rows(slice(begin_at, begin_at + search.chunk)).to(images.device)
        parts.append(_pursue_chunk(some, local_background, sprites, search, begin))
    return Selections(*(torch.cat([getattr(p, name) for p in parts]) for name in ("entry", "top", "left", "gain")))

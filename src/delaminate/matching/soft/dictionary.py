"""Learn a dictionary by matching: pursue placements, then re-estimate every sprite from the pixels it explains (EM).

A pixel of a sprite that explains T (g q + (1 - a) b), with b the background, is a linear least-squares problem in its
premultiplied colour q and alpha a, summed over all its occurrences. Where the background tells nothing about a (it is
black, or always the same), alpha is the share of the pixel's energy that the sprite explains.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from delaminate.matching.soft.correlation import Sprites, correlate
from delaminate.matching.soft.pursuit import Search, Selections, pursue, replay


@dataclass(frozen=True)
class SufficientStatistics:
    """Sums over the occurrences of each sprite, per pixel; sums of batches and of processes add up.

    With y the residual as if the occurrence were taken away, T its transmittance, g its gain and b what lies behind it:
    `gg` = T^2 g^2, `gy` = T g y, `gb` = T^2 g b (each (K, C, h, w)), `yy` = y^2, `bb` = T^2 b^2, `by` = T b y (each
    (K, 1, h, w)), `seen` = T (K, 1, h, w), and `usage`, the number of occurrences (K,).
    """

    gg: Float[Tensor, "K C h w"]
    gy: Float[Tensor, "K C h w"]
    gb: Float[Tensor, "K C h w"]
    yy: Float[Tensor, "K 1 h w"]
    bb: Float[Tensor, "K 1 h w"]
    by: Float[Tensor, "K 1 h w"]
    seen: Float[Tensor, "K 1 h w"]
    usage: Float[Tensor, " K"]

    @classmethod
    def zeros(cls, sprites: Sprites) -> "SufficientStatistics":
        c, a = torch.zeros_like(sprites.colour), torch.zeros_like(sprites.alpha)
        return cls(c, c.clone(), c.clone(), a, a.clone(), a.clone(), a.clone(), a.new_zeros(len(sprites)))

    def tensors(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def blend(self, other: "SufficientStatistics", keep: float) -> "SufficientStatistics":
        """Forget all but `keep` of this evidence and add the other's."""
        mine, theirs = self.tensors(), other.tensors()
        return SufficientStatistics(**{name: mine[name] * keep + theirs[name] for name in mine})

    def forget(self, entries: list[int]) -> "SufficientStatistics":
        """Drop the evidence about some sprites."""
        fresh = {name: value.clone() for name, value in self.tensors().items()}
        for value in fresh.values():
            value[entries] = 0
        return SufficientStatistics(**fresh)


@torch.no_grad()
def accumulate(
    images: Float[Tensor, "B 3 H W"],
    sprites: Sprites,
    picks: Selections,
    search: Search,
    background: Float[Tensor, "#B 3 H W"] | None = None,
) -> tuple[SufficientStatistics, Float[Tensor, "B 3 H W"]]:
    """Collect what the occurrences say about their sprites.

    Returns:
        The evidence, and what is left unexplained of each image.
    """
    canvas, throughs = replay(images, sprites, picks, search, background)
    evidence = SufficientStatistics.zeros(sprites)
    for placement_index, through_map in enumerate(throughs):
        used = picks.used[:, placement_index]
        if not used.any():
            continue
        i, y, x = canvas.windows(picks, placement_index, sprites.size)
        i, y, x = i[used], y[used], x[used]
        entry, gain = picks.entry[used, placement_index], picks.gain[used, placement_index][:, :, None, None]
        through = through_map[i, :, y, x].permute(0, 3, 1, 2)  # n 1 h w
        left = canvas.residual[i, :, y, x].permute(0, 3, 1, 2)
        q, a = sprites.premultiplied[entry], sprites.alpha[entry]
        padded_background = torch.zeros_like(left)
        if canvas.padded_background is not None:
            padded_background = canvas.padded_background[i, :, y, x].permute(0, 3, 1, 2)
        own = left + through * (gain * q - a * padded_background)  # the residual without this occurrence
        tinted = q.shape[1] == 1

        def over_channels(value: Tensor, tinted: bool = tinted) -> Tensor:
            return value.sum(1, keepdim=True) if tinted else value

        sums = {
            "gg": over_channels((through * gain).square()),
            "gy": over_channels(through * gain * own),
            "gb": over_channels(through.square() * gain * padded_background),
            "yy": (own.square() * (through > 0.5)).sum(1, keepdim=True),
            "bb": (through * padded_background).square().sum(1, keepdim=True),
            "by": (through * padded_background * own).sum(1, keepdim=True),
            "seen": through,
            "usage": torch.ones_like(entry, dtype=left.dtype),
        }
        for name, value in sums.items():
            getattr(evidence, name).index_add_(0, entry, value)
    margin = canvas.margin
    inner = slice(margin, margin + images.shape[2]), slice(margin, margin + images.shape[3])
    return evidence, canvas.residual[:, :, inner[0], inner[1]]


@torch.no_grad()
def without_misfits(
    images: Float[Tensor, "B 3 H W"],
    sprites: Sprites,
    picks: Selections,
    search: Search,
    background: Float[Tensor, "#B 3 H W"] | None = None,
    tolerance: float = 0.05,
) -> Selections:
    """Take away the placements that do not fit: the error under their alpha exceeds `tolerance` of their own energy.

    A sprite that stands in for one that is still missing explains a part of it and is wrong in the rest; without it the
    whole of what is missing can be seen.
    """
    canvas, throughs = replay(images, sprites, picks, search, background)
    entry = picks.entry.clone()
    for placement_index, through_map in enumerate(throughs):
        i, y, x = canvas.windows(picks, placement_index, sprites.size)
        chosen = picks.entry[:, placement_index].clamp_min(0)
        through = through_map[i, :, y, x].permute(0, 3, 1, 2)
        wrong = canvas.residual[i, :, y, x].permute(0, 3, 1, 2).square() * (through * sprites.alpha[chosen] > 0.1)
        own = (through * sprites.premultiplied[chosen] * picks.gain[:, placement_index, :, None, None]).square()
        misfit = wrong.flatten(1).sum(1) > tolerance * own.flatten(1).sum(1)
        entry[:, placement_index] = torch.where(misfit, -1, entry[:, placement_index])
    return replace(picks, entry=entry)


def reestimate(sprites: Sprites, evidence: SufficientStatistics, hard: bool = False, share: float = 0.5) -> Sprites:
    """Solve for the sprites that explain the evidence best; sprites without occurrences stay.

    Args:
        sprites: The present sprites.
        evidence: Sums over occurrences.
        hard: Round alpha to 0 or 1, as in pixel art.
        share: Share of explained energy at which a pixel over a mute background becomes opaque.
    """
    e = evidence
    gg = e.gg.clamp_min(1e-8)
    q_black = e.gy / gg  # the best colour if nothing shines through
    explained = (e.gy.square() / gg).sum(1, keepdim=True) / e.yy.clamp_min(1e-8)
    # A pixel belongs to a sprite when the sprite explains it, and it is not nearly black beside the rest.
    level = (q_black.square() * e.gg).sum(1, keepdim=True) / e.gg.sum(1, keepdim=True).clamp_min(1e-8)
    bright = level > 0.004 * level.flatten(1).amax(1)[:, None, None, None]
    belief = ((explained - share) / (1 - share) * 2).clamp(0, 1) * bright
    # Eliminate q: what the background says about alpha.
    weight = (e.bb - (e.gb.square() / gg).sum(1, keepdim=True)).clamp_min(0)
    push = (e.gb * q_black).sum(1, keepdim=True) - e.by
    known = weight / (weight + 0.002 * e.seen + 1e-8)
    alpha = (known * (push / weight.clamp_min(1e-8)).clamp(0, 1) + (1 - known) * belief).clamp(0, 1)
    if hard:
        alpha = (alpha > 0.5).to(alpha.dtype)
    q = ((e.gy + alpha * e.gb) / gg).clamp(min=0)
    colour = torch.where(alpha > 1e-3, q / alpha.clamp_min(1e-3), 0.0)
    # Gauge: the brightest opaque pixel is 1, gains carry the colour.
    peak = (colour * (alpha > 0.5)).flatten(1).amax(1).clamp_min(1e-6)[:, None, None, None]
    tinted = colour.shape[1] == 1
    colour = (colour / peak if tinted else colour).clamp(0, 1)
    alive = (e.usage > 0.5)[:, None, None, None] & (alpha.flatten(1).sum(1) > 1)[:, None, None, None]
    return Sprites(
        torch.where(alive, colour, sprites.colour),
        torch.where(alive, alpha, sprites.alpha),
    )


def recentre(sprites: Sprites, evidence: SufficientStatistics) -> tuple[Sprites, SufficientStatistics]:
    """Shift each sprite by whole pixels so that the box of its alpha is in the middle; the evidence moves along."""
    height, width = sprites.size
    opaque = sprites.alpha[:, 0] > 0.2
    tensors = {"colour": sprites.colour.clone(), "alpha": sprites.alpha.clone()}
    tensors |= {name: value.clone() for name, value in evidence.tensors().items() if name != "usage"}
    for k in range(len(sprites)):
        rows, columns = opaque[k].any(1).nonzero()[:, 0], opaque[k].any(0).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        down = (height - 1 - int(rows[0]) - int(rows[-1])) // 2
        right = (width - 1 - int(columns[0]) - int(columns[-1])) // 2
        if down == 0 and right == 0:
            continue
        for value in tensors.values():
            value[k] = _shift(value[k], down, right)
    moved = {name: value for name, value in tensors.items() if name not in ("colour", "alpha")}
    return Sprites(tensors["colour"], tensors["alpha"]), replace(evidence, **moved)


def _shift(value: Tensor, down: int, right: int) -> Tensor:
    """Shift (C, h, w) with zero fill."""
    height, width = value.shape[-2:]
    padded = F.pad(value, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
    return padded[..., max(-down, 0) : max(-down, 0) + height, max(-right, 0) : max(-right, 0) + width]


def seed(
    count: int,
    residual: Float[Tensor, "B 3 H W"],
    size: tuple[int, int],
    tinted: bool,
    rng: Generator,
) -> Sprites:
    """Cut new sprites out of what is least explained.

    Images are drawn with probability in proportion to their unexplained energy; each gives the square with the most of it.
    """
    energy = residual.square().sum(1, keepdim=True)  # B 1 H W
    total = energy.flatten(1).sum(1).cpu() + 1e-9
    chosen = torch.multinomial(total.double(), count, replacement=count > len(total), generator=rng)
    patches = []
    margin = max(size) // 2
    box = torch.ones(1, 1, *size, dtype=residual.dtype, device=residual.device)
    # Look through a window somewhat smaller than the sprite, so that whole objects beat pairs of halves.
    window = torch.hann_window(size[0] + 2)[1:-1, None] * torch.hann_window(size[1] + 2)[None, 1:-1]
    box = box * window.to(box)
    for index in chosen.tolist():
        heat = correlate(energy[index : index + 1], box, margin)[0, 0, 0]
        spot = int(heat.argmax())
        top, left = spot // heat.shape[1], spot % heat.shape[1]
        padded = F.pad(residual[index], (margin,) * 4)
        patches.append(padded[:, top : top + size[0], left : left + size[1]].clamp(min=0))
    patch = torch.stack(patches)  # n 3 h w
    strength = patch.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
    patch = patch / strength
    if tinted:
        # The shading is the pixel's brightest channel.
        patch = patch.amax(1, keepdim=True)
    alpha = (patch.amax(1, keepdim=True) > 0.1).to(patch.dtype)
    return Sprites(patch, alpha)


def replace_sprites(sprites: Sprites, entries: list[int], fresh: Sprites) -> Sprites:
    colour, alpha = sprites.colour.clone(), sprites.alpha.clone()
    colour[entries], alpha[entries] = fresh.colour, fresh.alpha
    return Sprites(colour, alpha)


def similarity_of(sprites: Sprites) -> Float[Tensor, "K K"]:
    """Compare sprites in their best relative shift: cosine of premultiplied colours together with alpha, in [0, 1]."""
    height, width = sprites.size
    q = torch.cat([sprites.premultiplied, sprites.alpha], 1)  # K C+1 h w
    reach = max(height, width) // 3
    maps = q.transpose(0, 1)  # C+1 K h w
    total: Tensor | float = 0.0
    for channel in maps:
        total = total + correlate(channel[None], channel[:, None], reach)[0]  # K K Y X
    norm = q.flatten(1).norm(dim=1).clamp_min(1e-6)
    assert isinstance(total, Tensor)
    return total.flatten(2).amax(2) / (norm[:, None] * norm[None])


def duplicates(sprites: Sprites, usage: Float[Tensor, " K"], threshold: float = 0.97) -> list[int]:
    """List the sprites that look like a more used one."""
    close = similarity_of(sprites) > threshold
    order = usage.argsort(descending=True, stable=True).tolist()
    kept: list[int] = []
    out = []
    for k in order:
        if any(bool(close[k, j]) for j in kept):
            out.append(k)
        else:
            kept.append(k)
    return out


@torch.no_grad()
def prune(
    images: Float[Tensor, "B 3 H W"],
    sprites: Sprites,
    search: Search,
    sprite_price: float,
    background: Float[Tensor, "#B 3 H W"] | None = None,
    sample: int = 64,
) -> list[int]:
    """Choose the sprites that are worth their description, without labels.

    The description length of a set of images, in units of squared error, is the error left, plus `search.price` a
    placement, plus `sprite_price` a sprite. Starting from the least used, a sprite is dropped if the others can take over
    its occurrences for less than its own price.

    Returns:
        The entries to keep, in their old order.
    """
    picks = pursue(images, sprites, search, background)
    cost = _cost(images, sprites, picks, search, background)
    usage = torch.bincount(picks.entry[picks.used], minlength=len(sprites))
    keep = [k for k in range(len(sprites)) if usage[k] > 0]
    for k in sorted(keep, key=lambda k: int(usage[k])):
        users = ((picks.entry == k).any(1)).nonzero()[:, 0]
        others = [j for j in keep if j != k]
        if not others:
            break
        some = users[:sample]
        local_background = None if background is None else background.expand_as(images)[some]
        rest = Sprites(sprites.colour[others], sprites.alpha[others])
        again = pursue(images[some], rest, search, local_background)
        new = _cost(images[some], rest, again, search, local_background)
        rise = float((new - cost[some]).sum()) * len(users) / len(some)
        if rise < sprite_price:
            keep = others
            picks = pursue(images, Sprites(sprites.colour[keep], sprites.alpha[keep]), search, background)
            cost = _cost(images, Sprites(sprites.colour[keep], sprites.alpha[keep]), picks, search, background)
            back = torch.tensor([*keep, -1], device=picks.entry.device)
            picks = replace(picks, entry=back[picks.entry])
    return keep


def _cost(
    images: Tensor, sprites: Sprites, picks: Selections, search: Search, background: Tensor | None
) -> Float[Tensor, " B"]:
    _, left = accumulate(images, sprites, picks, search, background)
    return left.square().flatten(1).sum(1) + search.price * picks.used.sum(1)

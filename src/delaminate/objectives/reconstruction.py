"""Pixel error, and the choice of sprite that makes it small.

All candidates of one layer share everything around them. With candidate k in layer l the composite is

    x_k = A + m_k (P c_k - S)
    A = sum_{i != l} m_i c_i V_i              what the others show where l is empty
    S = sum_{i != l} occlusion[l, i] m_i c_i V_i    what l takes from them
    P = prod_{j != l} (1 - occlusion[j, l] m_j)     what the others leave of l
    V_i = prod_{j != i, l} (1 - occlusion[j, i] m_j)

so A, S and P are made once per layer and each candidate costs a few planes instead of a whole composite: equal to
recomposing, for about 1/K of the work. The background is a layer with m = 1 that everything covers.
"""

import itertools
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from delaminate.scene.compositing import composite
from delaminate.scene.layers import Layers

Candidates = Callable[[int], tuple[Tensor, Tensor]]
"""Maps a layer to its candidates' rgb (B, K, 3, H, W) and alpha (B, K, 1, H, W)."""


def image_error(target: Float[Tensor, "B 3 H W"], image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Mean squared error of each image, over channels and pixels."""
    return (target - image).square().flatten(1).mean(1)


def _surroundings(
    rgb: Tensor, alpha: Tensor, occlusion: Tensor | None, background: Tensor | None, layer: int, filled: list[int]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Make A, S and P for one layer; None stands for 0, 0 and 1."""

    def hides(j: int, i: int) -> Tensor | float:
        """How much layer j hides layer i: a number per image, or 0 or 1 in the plain order."""
        return float(j > i) if occlusion is None else occlusion[:, j, i, None, None, None]

    others = [i for i in filled if i != layer]
    shown: Tensor | None = None
    taken: Tensor | None = None
    left: Tensor | None = None
    if background is not None:
        shown_background = background
        for j in others:
            shown_background = shown_background * (1 - alpha[:, j])
        shown, taken = shown_background, shown_background
    for i in others:
        part = alpha[:, i] * rgb[:, i]
        for j in others:
            weight = hides(j, i) if j != i else 0.0
            if not (isinstance(weight, float) and weight == 0):
                part = part * (1 - weight * alpha[:, j])
        shown = part if shown is None else shown + part
        weight = hides(layer, i)
        if not (isinstance(weight, float) and weight == 0):
            taken = weight * part if taken is None else taken + weight * part
        weight = hides(i, layer)
        if not (isinstance(weight, float) and weight == 0):
            through = 1 - weight * alpha[:, i]
            left = through if left is None else left * through
    return shown, taken, left


def candidate_errors(
    target: Float[Tensor, "B 3 H W"],
    candidate_rgb: Float[Tensor, "B K 3 H W"],
    candidate_alpha: Float[Tensor, "B K 1 H W"],
    shown: Float[Tensor, "B 3 H W"] | None,
    taken: Float[Tensor, "B 3 H W"] | None,
    left: Float[Tensor, "B 1 H W"] | None,
) -> tuple[Float[Tensor, "B K"], Float[Tensor, " B"]]:
    """Measure the mean squared error with each candidate in place, and with none."""
    missing = target if shown is None else target - shown
    own = candidate_rgb
    if left is not None and taken is not None:
        own = torch.addcmul(-taken[:, None], own, left[:, None])
    elif left is not None:
        own = own * left[:, None]
    elif taken is not None:
        own = own - taken[:, None]
    # own = P c - S; the error is the mean of (m own - missing)^2.
    difference = torch.addcmul(-missing[:, None], own, candidate_alpha)
    count = missing[0].numel()
    errors = torch.linalg.vector_norm(difference.flatten(2), dim=2).square() / count
    return errors, missing.square().flatten(1).mean(1)


@torch.no_grad()
def select_greedy(
    target: Float[Tensor, "B 3 H W"],
    candidates: Candidates,
    num_layers: int,
    background: Float[Tensor, "B 3 H W"] | None = None,
    occlusion: Float[Tensor, "B L L"] | None = None,
    passes: int = 1,
    empty_price: float | None = None,
) -> Int[Tensor, "B L"]:
    """Choose the sprite of each layer in turn, the others as they stand; repeat `passes` times or until nothing changes.

    Args:
        target: The images.
        candidates: Gives a layer's candidates.
        num_layers: Number of object layers L; all start empty.
        background: What lies behind, or None for black.
        occlusion: `occlusion[b, j, i]`: how much layer j hides layer i; None is the plain order.
        passes: The most rounds over the layers.
        empty_price: Added to the error of every sprite but the empty one, which is index K; None rules the empty
            sprite out. A bias of the choice, never part of the loss (authors' code c98a37c).

    Returns:
        Indices, K for the empty sprite. Ties go to the first.

    Reference: Monnier et al., ICCV 2021, section 3.3 (greedy algorithm).
    """
    batch, _, height, width = target.shape
    rgb = target.new_zeros(batch, num_layers, 3, height, width)
    alpha = target.new_zeros(batch, num_layers, 1, height, width)
    entry = torch.full((batch, num_layers), -1, device=target.device)
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    everyone = torch.arange(batch, device=target.device)
    for round_ in range(passes):
        before = entry.clone()
        for layer in range(num_layers):
            filled = list(range(layer)) if round_ == 0 else list(range(num_layers))
            if layer not in kept:
                kept[layer] = candidates(layer)
            some_rgb, some_alpha = kept[layer]
            around = _surroundings(rgb, alpha, occlusion, background, layer, filled)
            errors, none = candidate_errors(target, some_rgb, some_alpha, *around)
            if empty_price is not None:
                errors = torch.cat([errors + empty_price, none[:, None]], 1)
            chosen = errors.argmin(1)
            entry[:, layer] = chosen
            count = some_rgb.shape[1]
            full = (chosen < count)[:, None, None, None]
            safe = chosen.clamp_max(count - 1)
            rgb[:, layer] = some_rgb[everyone, safe] * full
            alpha[:, layer] = some_alpha[everyone, safe] * full
            if passes == 1:
                kept.clear()
        # A graph cannot stop early: it goes through all rounds, which change nothing more.
        if round_ and passes > round_ + 1 and not torch.compiler.is_exporting() and bool((entry == before).all()):
            break
    return entry


@torch.no_grad()
def select_exhaustive(
    target: Float[Tensor, "B 3 H W"],
    candidates: Candidates,
    num_layers: int,
    background: Float[Tensor, "B 3 H W"] | None = None,
    occlusion: Float[Tensor, "B L L"] | None = None,
    empty_price: float | None = None,
) -> Int[Tensor, "B L"]:
    """Choose the best of all K^L combinations, for few layers.

    All but the last layer are enumerated; the last is chosen by the affine form, so K^(L-1) rounds suffice.
    """
    made = [candidates(layer) for layer in range(num_layers)]
    batch, count, _, height, width = made[0][0].shape
    options = range(count + (empty_price is not None))
    best = target.new_full((batch,), float("inf"))
    entry = torch.zeros(batch, num_layers, dtype=torch.int64, device=target.device)
    last = num_layers - 1
    for combination in itertools.product(options, repeat=last):
        rgb = target.new_zeros(batch, num_layers, 3, height, width)
        alpha = target.new_zeros(batch, num_layers, 1, height, width)
        for layer, k in enumerate(combination):
            if k < count:
                rgb[:, layer], alpha[:, layer] = made[layer][0][:, k], made[layer][1][:, k]
        around = _surroundings(rgb, alpha, occlusion, background, last, list(range(last)))
        errors, none = candidate_errors(target, *made[last], *around)
        if empty_price is not None:
            used = sum(k < count for k in combination)
            errors = torch.cat([errors + empty_price, none[:, None]], 1) + empty_price * used
        value, chosen = errors.min(1)
        better = value < best
        best = torch.where(better, value, best)
        option = torch.tensor(combination, device=target.device, dtype=torch.int64).expand(batch, last)
        entry = torch.where(better[:, None], torch.cat([option, chosen[:, None]], 1), entry)
    return entry


def stack(
    rgb: Float[Tensor, "B L 3 H W"],
    alpha: Float[Tensor, "B L 1 H W"],
    occlusion: Float[Tensor, "B L L"] | None,
    background: Float[Tensor, "B 3 H W"] | None,
) -> Layers:
    """Put object layers on a background that everything covers."""
    if background is None:
        return Layers(rgb, alpha, occlusion)
    shown_background = torch.ones_like(alpha[:, :1])
    if occlusion is not None:
        batch, count = occlusion.shape[:2]
        whole = occlusion.new_zeros(batch, count + 1, count + 1)
        whole[:, 1:, 1:] = occlusion
        whole[:, 1:, 0] = 1
        occlusion = whole
    return Layers(
        torch.cat([background[:, None], rgb], 1), torch.cat([shown_background, alpha], 1), occlusion, background=True
    )


def recompose_errors(target: Float[Tensor, "B 3 H W"], layers: list[Layers]) -> Float[Tensor, "K B"]:
    """Measure every stack by composing it whole: the plain form that the affine one is proved against."""
    return torch.stack([image_error(target, composite(some)) for some in layers])

"""Edits: functions from a stack of layers to a new stack.

PerturbGAN trains by one (shift), ReDO by another (redraw), and users get them all. Each returns new `Layers` and leaves
its argument alone; gradients flow through; none synchronises with the device. `layer` is one index for the whole batch, or one
for each image. The same verbs on one named layer of an editable document are methods of `Scene`.

An edit keeps the order: the occlusion matrix belongs to positions, so that the plain order and its matrix
(`plain_order`) stay the same thing after every edit.
"""

from collections.abc import Sequence
from dataclasses import replace as changed

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from delaminate.errors import ConfigError, ShapeError
from delaminate.scene.layers import Layers

LayerIndex = int | Int[Tensor, " B"]


def _chosen(layers: Layers, layer: LayerIndex) -> Bool[Tensor, "B L 1 1 1"]:
    """Mark the chosen layer of each image.

    Raises:
        ConfigError: A whole-batch index is outside the stack.
    """
    count = layers.num_layers
    if isinstance(layer, int):
        if not -count <= layer < count:
            raise ConfigError(f"edits: layer {layer} of a stack of {count}; expected {-count} to {count - 1}.")
        layer = torch.full((len(layers),), layer % count, device=layers.rgb.device)
    positions = torch.arange(count, device=layers.rgb.device)
    return (positions == layer[:, None])[:, :, None, None, None]


def _taps(offset: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Say which source pixels each target pixel mixes along one axis, and with what weights.

    Returns:
        Index and weight, shape (B, L, T, count): one tap for whole offsets, two for fractional ones. Taps outside the
        image have weight 0.
    """
    looked = torch.arange(count, device=offset.device) - offset[..., None]  # B L n
    if offset.is_floating_point():
        first = looked.detach().floor()
        share = looked - first
        index = torch.stack([first, first + 1], 2).long()  # B L 2 n
        weight = torch.stack([1 - share, share], 2)
    else:
        index, weight = looked[:, :, None].long(), None  # B L 1 n
    inside = (index >= 0) & (index < count)
    return index.clamp(0, count - 1), inside if weight is None else weight * inside


def shift(layers: Layers, offset: Float[Tensor, "B L 2"] | Int[Tensor, "B L 2"]) -> Layers:
    """Move every layer by its own number of pixels: out(x, y) = in(x - dx, y - dy), 0 where that is outside.

    One gather serves the whole batch. Whole numbers give exact copies in either dtype; fractions mix four
    neighbours bilinearly, and gradients reach the offsets.

    Args:
        layers: The stack.
        offset: dx to the right and dy downwards, in pixels, for each layer; shape (B, L, 2).

    Raises:
        ShapeError: `offset` does not go with the stack.
    """
    batch, count, _, height, width = layers.rgb.shape
    if offset.shape != (batch, count, 2):
        raise ShapeError(f"shift: offset is {tuple(offset.shape)}; expected {(batch, count, 2)}.")
    columns, column_weight = _taps(offset[..., 0], width)
    rows, row_weight = _taps(offset[..., 1], height)
    # Row taps and column taps make one list of source pixels.
    index = rows[:, :, :, None, :, None] * width + columns[:, :, None, :, None, :]  # B L T T H W
    weight = row_weight[:, :, :, None, :, None] * column_weight[:, :, None, :, None, :]
    taps = index.shape[2] * index.shape[3]
    source = torch.cat([layers.rgb, layers.alpha], 2).flatten(3)  # B L 4 HW
    gathered = source.gather(3, index.reshape(batch, count, 1, -1).expand(-1, -1, 4, -1))
    gathered = gathered.view(batch, count, 4, taps, height, width)
    weight = weight.reshape(batch, count, 1, taps, height, width).to(source.dtype)
    gathered = gathered * weight
    moved = gathered.sum(3) if taps > 1 else gathered[:, :, :, 0]  # B L 4 H W
    return changed(layers, rgb=moved[:, :, :3], alpha=moved[:, :, 3:])


def hide(layers: Layers, layer: LayerIndex) -> Layers:
    """Make one layer transparent; the image is as if the layer had been removed."""
    return changed(layers, alpha=layers.alpha.masked_fill(_chosen(layers, layer), 0))


def reorder(layers: Layers, order: Sequence[int] | Int[Tensor, "B L"]) -> Layers:
    """Put layer `order[l]` at position l; positions count from the back.

    Raises:
        ConfigError: `order` is no permutation of the layers, or it moves the background.
    """
    count = layers.num_layers
    index = torch.as_tensor(order, device=layers.rgb.device).expand(len(layers), -1)  # B L
    if index.shape[1] != count or not bool((index.sort(1).values == torch.arange(count, device=index.device)).all()):
        raise ConfigError(f"reorder: order is {index.tolist()}; expected a permutation of 0 to {count - 1}.")
    if layers.background and not bool((index[:, 0] == 0).all()):
        raise ConfigError("reorder: order moves the background; expected 0 first.")
    batch = torch.arange(len(layers), device=index.device)[:, None]
    entry = None if layers.entry is None else layers.entry[batch, index]
    return changed(layers, rgb=layers.rgb[batch, index], alpha=layers.alpha[batch, index], entry=entry)


def recolour(layers: Layers, layer: LayerIndex, gain: Float[Tensor, "*B 3"], offset: Float[Tensor, "*B 3"]) -> Layers:
    """Change one layer's colours channel by channel: clip(gain * rgb + offset, 0, 1)."""
    gain, offset = gain[..., None, :, None, None], offset[..., None, :, None, None]
    coloured = (layers.rgb * gain + offset).clamp(0, 1)
    return changed(layers, rgb=torch.where(_chosen(layers, layer), coloured, layers.rgb))


def contrast(layers: Layers, layer: LayerIndex, factor: Float[Tensor, "*B"]) -> Layers:
    """Stretch one layer's colours around their mean, within their own range: clip(mean + factor * (rgb - mean), min, max).

    Mean, least and largest colour are those of each channel over the canvas, so the range may be any.

    Args:
        layers: The stack.
        layer: Which of its layers.
        factor: Below 1 the layer gets flatter, above 1 livelier; one number, or one for each image.
    """
    mean = layers.rgb.mean((3, 4), keepdim=True)
    flat = layers.rgb.flatten(3)
    least, most = (bound[..., None, None] for bound in (flat.amin(3), flat.amax(3)))  # B L 3 1 1
    stretched = torch.lerp(mean, layers.rgb, factor[..., None, None, None, None])
    stretched = torch.minimum(torch.maximum(stretched, least), most)
    return changed(layers, rgb=torch.where(_chosen(layers, layer), stretched, layers.rgb))


def replace(
    layers: Layers,
    layer: LayerIndex,
    rgb: Float[Tensor, "*B 3 H W"],
    alpha: Float[Tensor, "*B 1 H W"],
    entry: int = -1,
) -> Layers:
    """Show something else in one layer, such as another dictionary sprite that was warped to the same place."""
    chosen = _chosen(layers, layer)
    entries = layers.entry
    if entries is not None:
        entries = entries.masked_fill(chosen[:, :, 0, 0, 0], entry)
    return changed(
        layers,
        rgb=torch.where(chosen, rgb.unsqueeze(-4), layers.rgb),
        alpha=torch.where(chosen, alpha.unsqueeze(-4), layers.alpha),
        entry=entries,
    )


def redraw(layers: Layers, layer: LayerIndex, rgb: Float[Tensor, "*B 3 H W"]) -> Layers:
    """Put new colour in one layer and keep its alpha."""
    return changed(layers, rgb=torch.where(_chosen(layers, layer), rgb.unsqueeze(-4), layers.rgb))

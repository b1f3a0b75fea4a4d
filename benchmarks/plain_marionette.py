"""The published training step of MarioNette, written plainly: what our step is measured and proved against.

Masks are convolved at every partial convolution, the expected sprite is a sum over an (N, m, 4 k k) tensor, the expected
shift a sum over all shifted copies, and the step goes forward a second time, hard and with its graph, to report the error
of the test mode. It computes what `delaminate.methods.marionette` computes, on the same parameters, so the two can be
compared in one process. It knows frames of whole cells alone.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from delaminate.methods.marionette import MarioNette


def partial_convolution(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Convolve what the mask shows, rescale by how much of it the kernel saw; return the mask of the next map as well."""
    with torch.no_grad():
        ones = torch.ones(1, 1, 3, 3, dtype=x.dtype)
        seen = F.conv2d(mask, ones, stride=stride, padding=1)
        ratio = 9 / seen
        mask = seen.clamp(0, 1)
    raw = F.conv2d(x, weight, bias, stride=stride, padding=1)
    shift = bias.view(1, -1, 1, 1)
    out = (raw - shift) * ratio + shift
    return out * mask, mask


def encode(encoder: torch.nn.Module, x: Tensor, layer_norm: bool) -> list[Tensor]:
    """Go through the blocks; one map (B, d, h, w) per head, normalised over channels."""
    mask = torch.ones_like(x[:, :1])
    for block in encoder.blocks:
        x, mask = partial_convolution(x, mask, block.weight_1, block.bias_1, 1)
        x = F.leaky_relu(F.group_norm(x, 8, block.gain_1, block.offset_1), 0.01)
        x, mask = partial_convolution(x, mask, block.weight_2, block.bias_2, 2)
        x = F.leaky_relu(F.group_norm(x, 8, block.gain_2, block.offset_2), 0.01)
    maps = [partial_convolution(x, mask, head.weight, head.bias, 1)[0] for head in encoder.heads]
    if not layer_norm:
        return maps
    return [F.layer_norm(m.permute(0, 2, 3, 1), (m.shape[1],)).permute(0, 3, 1, 2) for m in maps]


def mlp(rows: torch.nn.Module, x: Tensor) -> Tensor:
    hidden = F.group_norm(F.linear(x, rows.weight_1, rows.bias_1), 8, rows.gain, rows.offset)
    return F.linear(F.leaky_relu(hidden, 0.01), rows.weight_2, rows.bias_2)


def decode(generator: torch.nn.Module, codes: Tensor) -> Tensor:
    hidden = F.linear(codes, generator.weight_1, generator.bias_1)
    hidden = F.relu(F.group_norm(hidden, 8, generator.gain, generator.offset))
    return torch.sigmoid(F.linear(hidden, generator.weight_2, generator.bias_2)).view(-1, *generator.shape)


def expected_shift(sprites: Tensor, across: Tensor, down: Tensor, margin: int) -> Tensor:
    """Average all shifted copies, along y and then along x; `margin` is how far the sprite is padded first."""
    padded = F.pad(sprites, (margin,) * 4)
    copies = padded.unfold(2, padded.shape[2] - down.shape[1] + 1, 1)  # N 4 o W w
    moved = (copies * down[:, None, :, None, None]).sum(2).transpose(2, 3)  # N 4 w W
    copies = moved.unfold(3, padded.shape[3] - across.shape[1] + 1, 1)  # N 4 w o w
    return (copies * across[:, None, None, :, None]).sum(3)


def grid_shift(sprites: Tensor, shift: Tensor, size: int, premultiplied: bool) -> Tensor:
    """Move sprites by (x, y) pixels, bilinearly: colours continue at the border, alpha ends there."""
    k = sprites.shape[2]
    extra = (size - k) // 2
    sprites = F.pad(sprites[:, :3], (extra,) * 4, mode="replicate"), F.pad(sprites[:, 3:], (extra,) * 4)
    theta = torch.eye(2, 3, dtype=shift.dtype).repeat(len(shift), 1, 1)
    theta[:, :, 2] = -2 * shift / size
    grid = F.affine_grid(theta, [len(shift), 4, size, size], align_corners=False)
    rgb = F.grid_sample(sprites[0], grid, padding_mode="border", align_corners=False)
    alpha = F.grid_sample(sprites[1], grid, padding_mode="zeros", align_corners=False)
    return torch.cat([rgb * alpha if premultiplied else rgb, alpha], 1)


def backdrop(model: MarioNette, images: Tensor) -> Tensor:
    """The expected crop of the background, from all crops."""
    c = model.config
    (height, width), batch = c.image_size, len(images)
    if c.background != "learned":
        return model.colour.view(1, 3, 1, 1).repeat(batch, 1, height, width)
    code = model.backdrop_code
    code = F.layer_norm(code, code.shape[1:]) if c.layer_norm else code
    image = decode(model.backdrop, code)
    if max(c.background_size) == 1:
        return image.repeat(batch, 1, 1, 1)
    features = encode(model.backdrop_encoder, images, c.layer_norm)[0].flatten(1)
    heads = iter(model.backdrop_heads)
    found = image.expand(batch, -1, -1, -1)
    for axis, length in ((2, height), (3, width)):
        if c.background_size[axis - 2] > 1:
            chances = F.softmax(mlp(next(heads), features), 1)
            crops = found.unfold(axis, length, 1).transpose(axis, -1).transpose(-1, axis)
            crops = crops.movedim(axis, 1)  # B o 3 ...
            found = (crops * chances[:, :, None, None, None]).sum(1)
            found = found.movedim(-1, axis)
    return found


def forward(
    model: MarioNette, images: Tensor, order: list[tuple[int, int]], hard: bool
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Reconstruct, softly or hard: image, scores (N, m), switches (B, L, R, S), probabilities of shifts."""
    c = model.config
    k, s, d = c.sprite_size, c.step_size, c.code_width
    batch, (rows, columns) = len(images), c.grid

    # Dictionary and frame encoder.
    codes = F.layer_norm(model.codes, (d,)) if c.layer_norm else model.codes
    sprites = decode(model.generator, codes)
    if model.faded:
        sprites = torch.cat([sprites[:, :3] * sprites[:, 3:], sprites[:, 3:]], 1)
    features = torch.stack(encode(model.encoder, images, c.layer_norm), 1)  # B L d R S
    flat = features.permute(0, 1, 3, 4, 2).reshape(-1, d)
    switch = torch.sigmoid(mlp(model.switch, flat))[:, 0]
    keys = F.linear(flat, model.key["weight"], model.key["bias"])
    keys = F.layer_norm(keys, (d,)) if c.layer_norm else keys
    scores = F.softmax(keys @ codes.T / math.sqrt(d), 1)

    # Every sprite at every anchor, weighted.
    table = sprites.flatten(1)[None]
    mixed = (scores[:, :, None] * table).sum(1).view(-1, 4, k, k)
    shown, shown_switch = mixed, switch
    if hard:
        one_hot = F.one_hot(scores.argmax(1), c.num_sprites).to(scores.dtype)
        shown = (one_hot[:, :, None] * table).sum(1).view(-1, 4, k, k)
        shown_switch = switch.round()
    elif c.straight_through:
        shown_switch = switch + (switch.round() - switch).detach()

    # Shifts, from crops of the frame and the mixes.
    margin = (k - s) // 2
    crops = F.unfold(F.pad(images, (margin,) * 4), k, stride=s).transpose(1, 2).reshape(batch, -1, 3, k, k)
    crops = crops[:, None].repeat(1, c.num_layers, 1, 1, 1, 1).flatten(0, 2)
    seen = encode(model.shift_encoder, torch.cat([crops, mixed], 1), c.layer_norm)[0].flatten(1)
    outputs = [mlp(head, seen) for head in model.shift_heads]
    window = k if c.clip_window else k + s
    if c.offsets == "discrete":
        chances = [F.softmax(each, 1) for each in outputs]
        used = [F.one_hot(each.argmax(1), s + 1).to(each.dtype) for each in chances] if hard else chances
        windows = expected_shift(shown, *used, margin=s // 2 if c.clip_window else s)
    else:
        chances = []
        windows = grid_shift(shown, -torch.tanh(outputs[0]) * s / 2, k + s, c.premultiplied)
        if c.clip_window:
            windows = windows[:, :, s // 2 : s // 2 + k, s // 2 : s // 2 + k]
    windows = windows * shown_switch.view(-1, 1, 1, 1)
    windows = windows.view(batch, c.num_layers, rows, columns, 4, window, window)

    # Every sub-lattice of every layer as a canvas of its own.
    image = backdrop(model, images)
    side = -(-window // s)
    corner = (window - s) // 2
    for layer, lattice in order:
        first = divmod(lattice, side)
        if first[0] >= rows or first[1] >= columns:
            continue
        patches = windows[:, layer, first[0] :: side, first[1] :: side]  # B R' S' 4 w w
        high, wide = patches.shape[1:3]
        patches = patches.permute(0, 3, 4, 5, 1, 2).reshape(batch, 4 * window * window, high * wide)
        size = [(count - 1) * side * s + window for count in (high, wide)]
        canvas = F.fold(patches, size, window, stride=side * s)
        top, left = (place * s - corner for place in first)
        canvas = F.pad(canvas, (left, images.shape[3] - left - size[1], top, images.shape[2] - top - size[0]))
        rgb, alpha = canvas[:, :3], canvas[:, 3:]
        image = (1 - alpha) * image + (rgb if c.premultiplied else alpha * rgb)
    return image, scores, switch.view(batch, c.num_layers, rows, columns), chances


def loss(model: MarioNette, images: Tensor, order: list[tuple[int, int]]) -> Tensor:
    """The training loss, of the code or of the paper."""
    c = model.config
    image, scores, switch, chances = forward(model, images, order, hard=False)
    error = ((image - images) ** 2).mean()
    if c.regularizer == "paper":
        total = 0
        for each in (scores, switch, *chances):
            each = each.clamp(1e-5, 1 - 1e-5)
            total = total + torch.distributions.Beta(each.new_tensor(0.5), each.new_tensor(0.5)).log_prob(each).sum()
        return error - c.choice_weight * total / len(images)
    beta = torch.distributions.Beta(switch.new_tensor(2.0), switch.new_tensor(2.0))
    densities = [beta.log_prob(each.clamp(1e-5, 1 - 1e-5)).exp().mean() for each in (scores, switch)]
    prices = switch.new_tensor(c.sparsity_weights).view(1, -1, 1, 1)
    return error + c.choice_weight * (densities[0] + densities[1]) / 2 + (prices * switch).mean()


def step(model: MarioNette, images: Tensor, order: list[tuple[int, int]]) -> float:
    """The original's step up to the optimiser: the loss and its gradients, and a hard forward to report its error."""
    total = loss(model, images, order)
    image = forward(model, images, order, hard=True)[0]
    reported = -10 * ((image - images) ** 2).mean().log10()
    total.backward()
    return float(reported.detach())

"""The published training step of DTI-Sprites, written plainly: what our step is measured and proved against.

One regressor module per layer and transform, B copies of every sprite, one grid per copy, autograd through all K L warps,
and a whole recomposition per candidate. It computes what `delaminate.methods.dti_sprites` computes, on the same
parameters, so the two can be compared in one process.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from delaminate.methods.dti_sprites import DTISprites
from delaminate.nets.resnet import pooled
from delaminate.scene.transforms import soft_clamp


def head(stack: torch.nn.Module, index: int, features: Tensor) -> Tensor:
    """Run one of the stacked regressors as three ordinary linear layers."""
    y = F.relu(F.linear(features, stack.weight_1[index].T, stack.bias_1[index, 0]))
    y = F.relu(F.linear(y, stack.weight_2[index].T, stack.bias_2[index, 0]))
    return F.linear(y, stack.weight_3[index].T, stack.bias_3[index, 0])


def transformed(model: DTISprites, images: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    """Warp every sprite for every layer and image: rgb (L, K, B, 3, H, W) and alpha (L, K, B, 1, H, W)."""
    c = model.config
    flat = pooled(model.encode(images), c.pool)
    batch, size = len(images), c.image_size
    rgbs, alphas = [], []
    for layer in range(c.num_layers):
        colour = head(model.heads["layer_colour"], layer, flat)
        position = head(model.heads["layer_position"], layer, flat)
        for k in range(c.num_sprites):
            copies = model.sprites_rgb[k].expand(batch, -1, -1, -1)
            alpha = model.sprites_alpha[k].expand(batch, -1, -1, -1)
            canvas = torch.ones_like(alpha)
            source = torch.cat([soft_clamp(copies), alpha, canvas], 1)
            scale = 1 + position[:, 0].exp()
            zero = torch.zeros_like(scale)
            rows = torch.stack(
                [torch.stack([scale, zero, position[:, 1]], 1), torch.stack([zero, scale, position[:, 2]], 1)], 1
            )
            grid = F.affine_grid(rows, [batch, 5, *size], align_corners=False)
            moved = F.grid_sample(source, grid, align_corners=False)
            rgb = moved[:, :3] * (1 + colour[:, :3, None, None]) + colour[:, 3:, None, None]
            mask = moved[:, 3:4]
            if noise is not None:
                mask = soft_clamp(mask + moved[:, 4:5] * noise[k])
            rgbs.append(soft_clamp(rgb))
            alphas.append(mask)
    shape = (c.num_layers, c.num_sprites)
    return torch.stack(rgbs).view(*shape, batch, 3, *size), torch.stack(alphas).view(*shape, batch, 1, *size)


def compose(rgb: Tensor, alpha: Tensor, occlusion: Tensor) -> Tensor:
    """Composite (L, B, 3, H, W) by the whole product over pairs of layers."""
    factors = 1 - occlusion[:, :, None, None, None, None] * alpha[:, None]  # j i B 1 H W
    return (alpha * rgb * factors.prod(0)).sum(0)


@torch.no_grad()
def select(images: Tensor, rgb: Tensor, alpha: Tensor) -> Tensor:
    """Choose greedily, recomposing everything for every candidate; entries (L, B)."""
    num_layers, num_sprites, batch = alpha.shape[:3]
    occlusion = torch.tril(torch.ones(num_layers, num_layers), diagonal=-1)
    now_rgb, now_alpha = torch.zeros_like(rgb[:, 0]), torch.zeros_like(alpha[:, 0])
    entries = []
    for layer in range(num_layers):
        distances = []
        for k in range(num_sprites):
            trial_rgb, trial_alpha = now_rgb.clone(), now_alpha.clone()
            trial_rgb[layer], trial_alpha[layer] = rgb[layer, k], alpha[layer, k]
            image = compose(trial_rgb, trial_alpha, occlusion)
            distances.append((images - image).square().flatten(1).mean(1))
        best = torch.stack(distances).argmin(0)
        entries.append(best)
        everyone = torch.arange(batch)
        now_rgb[layer], now_alpha[layer] = rgb[layer][best, everyone], alpha[layer][best, everyone]
    return torch.stack(entries)


def loss(model: DTISprites, images: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    """The training loss and the chosen entries (L, B), with autograd through every candidate."""
    rgb, alpha = transformed(model, images, noise)
    entries = select(images, rgb.detach(), alpha.detach())
    one_hot = F.one_hot(entries, rgb.shape[1]).permute(0, 2, 1)[..., None, None, None].to(rgb.dtype)  # L K B 1 1 1
    num_layers = len(rgb)
    occlusion = torch.tril(torch.ones(num_layers, num_layers, dtype=rgb.dtype), diagonal=-1)
    image = compose((rgb * one_hot).sum(1), (alpha * one_hot).sum(1), occlusion)
    return (images - image).square().mean(), entries

"""Small DTI-Sprites models in every shape."""

from dataclasses import replace

import torch

from delaminate.methods.dti_sprites import Config, DTISprites
from delaminate.rng import stream

OBJECTS = Config(
    image_size=(20, 18), sprite_size=(10, 9), num_sprites=3, num_layers=2, background=True, alpha_sigma=3, empty_sprite=True,
    sprite_transforms=("similarity",), steps=10, batch=4,
)  # fmt: skip


WHOLE = replace(
    OBJECTS, sprite_size=(20, 18), num_layers=1, layer_transforms=(), empty_sprite=False,
    sprite_transforms=("colour", "projective", "thin_plate_spline"),
    background_transforms=("colour", "projective", "thin_plate_spline"), unlock_steps=(3, 6),
)  # fmt: skip


SHAPES = {
    "objects": OBJECTS,
    "soft occlusion": replace(OBJECTS, soft_occlusion=True),
    "placed by similarity": replace(OBJECTS, layer_transforms=("colour", "similarity"), sprite_transforms=()),
    "affine and colour": replace(OBJECTS, sprite_transforms=("colour", "affine", "morphological")),
    "whole": WHOLE,
    "aligned corners": replace(WHOLE, aligned_corners=True, sprite_transforms=("colour", "projective")),
    "no background": replace(OBJECTS, background=False, empty_sprite=False),
    "peaks": replace(OBJECTS, image_size=(16, 16), readout="peaks", background=False, sprite_transforms=()),
}


def trained(config, seed=0, spread=0.02):
    """A model whose heads and pixels are random, as if it had been trained; colours stay inside [0, 1]."""
    model = DTISprites(config, seed)
    rng = stream("trained", seed)
    with torch.no_grad():
        for name, parameter in model.heads.named_parameters():
            if ".out." in name:
                parameter.mul_(0.02)
            elif name.endswith("_3"):
                parameter.add_(spread * torch.randn(parameter.shape, generator=rng))
            if name.endswith("colour.bias_3"):
                parameter[..., 3:] += 0.12  # even the black beyond a sprite's edge stays in range
        model.sprites_rgb.copy_(0.35 + 0.3 * torch.rand(model.sprites_rgb.shape, generator=rng))
        model.sprites_alpha.copy_(torch.rand(model.sprites_alpha.shape, generator=rng))
        if config.background:
            model.background_rgb.copy_(0.35 + 0.3 * torch.rand(model.background_rgb.shape, generator=rng))
    model.progress.fill_(1000)
    # Statistics of batches, so that features have their usual size.
    model.train()
    with torch.no_grad():
        for step in range(20):
            model.encoder(images_of(config, 4, step))
    return model.eval()


def images_of(config, count=3, seed=0):
    return torch.rand(count, 3, *config.image_size, generator=stream("images", seed))

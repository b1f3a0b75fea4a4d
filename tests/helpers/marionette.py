"""Small MarioNette models in every shape."""

from dataclasses import replace

import torch

from delaminate.methods.marionette import Config, MarioNette
from delaminate.rng import stream

SMALL = Config(image_size=(32, 32), sprite_size=8, num_sprites=5, code_width=16, steps=10, batch=2)


SHAPES = {
    "solid": SMALL,
    "odd canvas": replace(SMALL, image_size=(29, 18)),
    "cut windows": replace(SMALL, clip_window=True),
    "not premultiplied": replace(SMALL, premultiplied=False),
    "coarse anchors": replace(SMALL, stride=8),
    "fine anchors": replace(SMALL, stride=2, sprite_size=6, image_size=(11, 13)),
    "black": replace(SMALL, background="black"),
    "learned": replace(SMALL, background="learned"),
    "scrolls up and down": replace(SMALL, background="learned", background_size=(3, 1)),
    "one frame large": replace(SMALL, background="learned", background_size=(1, 1)),
    "soft background": replace(SMALL, background="learned", soft_background=True, background_size=(2, 2)),
    "mixed sprites": replace(SMALL, mix_sprites=True),
    "mixed, not premultiplied": replace(SMALL, mix_sprites=True, premultiplied=False, clip_window=True),
    "raw codes": replace(SMALL, layer_norm=False),
    "bfloat16": replace(SMALL, bf16=True),
}


CONTINUOUS = {
    "continuous": replace(SMALL, offsets="continuous"),
    "continuous, cut": replace(SMALL, offsets="continuous", clip_window=True, premultiplied=False),
    "continuous, mixed": replace(SMALL, offsets="continuous", mix_sprites=True, image_size=(29, 18)),
}


EVERY = SHAPES | CONTINUOUS


def images_of(config, count=3, seed=0):
    return torch.rand(count, 3, *config.image_size, generator=stream("images", seed))


def trained(config, seed=0):
    """A model with decided switches, scores and shifts, about half of its anchors on."""
    model = MarioNette(config, seed)
    rng = stream("trained", seed)
    with torch.no_grad():
        model.colour.copy_(torch.rand(3, generator=rng))
        model.codes.mul_(2)
        for mlp in (model.switch, *model.shift_heads):
            mlp.weight_2.mul_(8)
            mlp.bias_2.zero_()
        model.generator.weight_2.mul_(20)
        if config.background == "learned":
            model.backdrop.weight_2.mul_(5)
    return model.eval()


def floating(count, seed=0):
    """Two little sprites, a red square and a blue bar, afloat on pale yellow."""
    rng = stream("floating", seed)
    images = torch.tensor([0.9, 0.9, 0.6]).view(1, 3, 1, 1).repeat(count, 1, 32, 32)
    for image in images:
        for size, colour in (((4, 4), (0.9, 0.1, 0.1)), ((3, 6), (0.1, 0.2, 0.8))) * 2:
            top, left = (int(torch.randint(33 - n, (1,), generator=rng)) for n in size)
            image[:, top : top + size[0], left : left + size[1]] = torch.tensor(colour).view(3, 1, 1)
    return (images * 255).round().to(torch.uint8)

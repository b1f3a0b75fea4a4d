"""Colours for layers of a photo, also where one hides another: they composite back to the photo."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

UNSEEN = 1 / 510
"""Less than half a level of an image of 8 bits."""


def foreground_colours(
    photos: Float[Tensor, "B 3 H W"], alpha: Float[Tensor, "B L 1 H W"]
) -> Float[Tensor, "B L 3 H W"]:
    """Give a background, and the layers before it, colours that composite to photos in [0, 1].

        photo = seen * background + (1 - seen) * front,    seen = prod_{l > 0} (1 - alpha_l)

    Where the background is hidden it is a guess, smooth between what is seen of it around there. Where it is seen in part, the
    guess gives way until the front's colour, which is the same in all layers before the background, lies in [0, 1].

    Args:
        photos: What the layers show.
        alpha: Of the layers from back to front; the first is the background, whose alpha is taken to be 1.

    Reference: the compositing equation of matting; pull and push (Gortler et al., The Lumigraph, 1996, section 3.4) for
    what is hidden.
    """
    seen = (1 - alpha[:, 1:]).prod(1)  # B 1 H W
    hidden = 1 - seen
    # What is half hidden is a mixture and says little about the background.
    guess = _pulled_and_pushed(photos, (2 * seen - 1).clamp_min(0) ** 4 + 1e-6)
    some_seen, some_hidden = seen.clamp_min(UNSEEN), hidden.clamp_min(UNSEEN)
    allowed = guess.maximum((photos - hidden) / some_seen).minimum(photos / some_seen)
    background = torch.where(seen < UNSEEN, guess, allowed)
    front = torch.where(hidden < UNSEEN, photos, ((photos - seen * background) / some_hidden).clamp(0, 1))
    return torch.stack([background, *[front] * (alpha.shape[1] - 1)], 1)


def _pulled_and_pushed(images: Float[Tensor, "B 3 H W"], weight: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Mix every pixel, by how little it weighs, with the same of images of half the size."""
    if max(images.shape[-2:]) == 1:
        return images
    sums = 4 * F.avg_pool2d(torch.cat([weight * images, weight], 1), 2, ceil_mode=True)
    coarse = _pulled_and_pushed(sums[:, :3] / sums[:, 3:], sums[:, 3:].clamp_max(1))
    around = F.interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)
    return torch.lerp(around, images, weight.clamp_max(1))

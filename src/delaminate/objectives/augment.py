"""The same random changes to what the discriminator sees, real and made alike, so that it cannot learn few images by heart.

Every change is differentiable, so the generator learns through it. Zhao et al., Differentiable Augmentation for
Data-Efficient GAN Training, 2020, section 3.2 and appendix.
"""

import torch
from jaxtyping import Float
from torch import Generator, Tensor


def augment(
    images: Float[Tensor, "B C H W"], rng: Generator, rows: slice | None = None, batch: int | None = None
) -> Float[Tensor, "B C H W"]:
    """Change colours, move by up to an eighth (zeros come in), and cut out a square of half the size.

    Brightness by up to 0.5, saturation by up to 2 times, contrast by 0.5 to 1.5 times.

    Args:
        images: In [-1, 1].
        rng: Draws the changes, for a global batch.
        rows, batch: This process's part of the global batch and its size; None: the images are the whole.
    """
    count = batch or len(images)

    def draw(low: float, high: float) -> Float[Tensor, "B 1 1 1"]:
        drawn = torch.rand(count, 1, 1, 1, generator=rng) * (high - low) + low
        return drawn[rows or slice(None)].to(images)

    images = images + draw(-0.5, 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * draw(0, 2)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = middle + (images - middle) * draw(0.5, 1.5)

    def along(n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Where each of n pixels comes from, whether that is inside the image, and whether the pixel is cut out."""
        place = torch.arange(n, device=images.device)
        source = place - draw(-(n // 8), n // 8 + 1)[:, 0, 0].floor().long()  # B n
        hole = place - draw(-(n // 4), n - n // 4)[:, 0, 0].floor().long()
        return source.clamp(0, n - 1), (source >= 0) & (source < n), (hole >= 0) & (hole < n // 2)

    y, inside_y, cut_y = (each[:, :, None] for each in along(images.shape[2]))
    x, inside_x, cut_x = (each[:, None] for each in along(images.shape[3]))
    batch_row = torch.arange(len(images), device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[batch_row, y, x].permute(0, 3, 1, 2)
    return moved * (inside_y & inside_x & ~(cut_y & cut_x))[:, None]

"""Losses of two players, one that makes images and one that tells them from real ones. Scores are high for real."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from delaminate.errors import DataError, ShapeError

FEW = 100


def few_images(pixels: UInt8[Tensor, "N 3 H W"], augment_below: int) -> tuple[bool, tuple[str, ...]]:
    """Say whether a discriminator would learn so few images by heart, and what the user should know about that.

    Args:
        pixels: All training images, RGB in 0..255.
        augment_below: With fewer images than this, they are augmented.

    Returns:
        Whether to augment what the discriminator sees, and sentences.

    Raises:
        DataError: All images are the same.
    """
    if all(torch.equal(image, pixels[0]) for image in pixels):  # ends at the first that differs
        said = "There is only one image" if len(pixels) == 1 else f"All {len(pixels)} images are the same"
        raise DataError(f"train: {said}; nothing can be learned from that. Give several different images.")
    augment, remarks = len(pixels) < augment_below, []
    if augment:
        remarks.append(f"{len(pixels)} images are few: what the discriminator sees is augmented.")
    if len(pixels) < FEW:
        remarks.append(f"Expect little from fewer than {FEW} images of a class.")
    return augment, tuple(remarks)


def hinge_real(scores: Float[Tensor, "*N"]) -> Float[Tensor, ""]:
    """mean max(0, 1 - D(x)) over real images. Lim and Ye, Geometric GAN, 2017, section 3."""
    return F.relu(1 - scores).mean()


def hinge_fake(scores: Float[Tensor, "*N"]) -> Float[Tensor, ""]:
    """mean max(0, 1 + D(x)) over made images. Lim and Ye, Geometric GAN, 2017, section 3."""
    return F.relu(1 + scores).mean()


def logistic_real(scores: Float[Tensor, "*N"]) -> Float[Tensor, ""]:
    """mean -log sigmoid(D(x)): the discriminator's over real images, and the generator's over its own (non-saturating).

    Reference: Goodfellow et al., Generative Adversarial Networks, 2014, section 3.
    """
    return F.softplus(-scores).mean()


def logistic_fake(scores: Float[Tensor, "*N"]) -> Float[Tensor, ""]:
    """mean -log(1 - sigmoid(D(x))) over made images. Goodfellow et al., 2014, section 3."""
    return F.softplus(scores).mean()


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real: Float[Tensor, "B C H W"],
    fake: Float[Tensor, "B C H W"],
    rng: Generator,
    rows: slice | None = None,
    batch: int | None = None,
) -> Float[Tensor, ""]:
    """Hold the discriminator's slope near 1 between real and made images.

        E[(||grad D(x)||_2 - 1)^2],   x uniform on segments from fake to real

    Args:
        discriminator: Maps images to scores, one each.
        real, fake: Images in the discriminator's own range; the penalty depends on it.
        rng: Draws one position per segment, for a global batch.
        rows, batch: This process's part of the global batch and its size; None: the images are the whole.

    Returns:
        The penalty before its weight (10 in the paper), at least 0.

    Raises:
        ShapeError: `real` and `fake` differ in shape.

    Reference: Gulrajani et al., Improved Training of Wasserstein GANs, 2017, section 4.
    """
    if real.shape != fake.shape:
        raise ShapeError(f"gradient_penalty: real is {tuple(real.shape)}, fake {tuple(fake.shape)}; expected the same.")
    share = torch.rand(batch or len(real), 1, 1, 1, generator=rng)[rows or slice(None)].to(real)
    between = (fake + share * (real - fake)).detach().requires_grad_(True)
    slope = _slope(discriminator, between)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Float[Tensor, "B C H W"]) -> Float[Tensor, ""]:
    """E[||grad D(x)||_2^2] over real images, before its weight (gamma / 2 in the paper).

    Reference: Mescheder et al., Which Training Methods for GANs do actually Converge?, 2018, section 4.1 (R1).
    """
    real = real.detach().requires_grad_(True)
    return _slope(discriminator, real).square().sum((1, 2, 3)).mean()


def _slope(discriminator: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    # The gradient of the sum is every image's own, but for what a minibatch deviation passes on between them (as published).
    (slope,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    return slope

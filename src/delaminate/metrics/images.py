"""How close images are: PSNR and explained ink for pairs, the Fréchet distance for two crowds."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from delaminate.errors import ShapeError

MAX_PSNR = 100.0


def psnr(images: Float[Tensor, "B 3 H W"], reconstructions: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Peak signal-to-noise ratio of each image: -10 log10(MSE) dB for values in [0, 1].

    Returns:
        At most 100 dB, so that a perfect reconstruction still has a number.

    Raises:
        ShapeError: The shapes differ.
    """
    if images.shape != reconstructions.shape:
        raise ShapeError(
            f"psnr: images are {tuple(images.shape)}, reconstructions {tuple(reconstructions.shape)}; "
            "expected the same shape"
        )
    error = (images.double() - reconstructions.double()).square().flatten(1).mean(1)
    return (-10 * torch.log10(error.clamp_min(10 ** (-MAX_PSNR / 10)))).float()


def ink_explained(
    pages: Float[Tensor, "B 3 H W"], reconstructions: Float[Tensor, "B 3 H W"], ink: float, tolerance: float = 0.25
) -> tuple[int, int]:
    """Count the pixels of ink that a reconstruction shows.

    Args:
        pages, reconstructions: In [0, 1].
        ink: A pixel of the page is ink where its mean colour is below this.
        tolerance: It is explained where the mean colour of the reconstruction is no further from the page's.

    Returns:
        Explained pixels of ink, and all of them.

    Raises:
        ShapeError: The shapes differ.
    """
    if pages.shape != reconstructions.shape:
        raise ShapeError(
            f"ink_explained: pages are {tuple(pages.shape)}, reconstructions {tuple(reconstructions.shape)}; "
            "expected the same shape"
        )
    grey = pages.mean(1)
    dark = grey < ink
    close = (reconstructions.mean(1) - grey).abs() <= tolerance
    return int((dark & close).sum()), int(dark.sum())


def frechet_distance(first: Float[Tensor, "N D"] | np.ndarray, second: Float[Tensor, "M D"] | np.ndarray) -> float:
    """Distance of two Gaussians fitted to features; with Inception features, this is FID.

        |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))

    The trace of the root is the sum of the square roots of the eigenvalues of S1 S2.

    Args:
        first, second: One row of features per image, at least two rows each.

    Raises:
        ShapeError: The features differ in length, or there are fewer than two rows.

    Reference: Heusel et al., GANs Trained by a Two Time-Scale Update Rule, 2017, Eq. 6.
    """
    one, two = (torch.as_tensor(rows).detach().cpu().double() for rows in (first, second))
    if one.ndim != 2 or two.ndim != 2 or one.shape[1] != two.shape[1] or min(len(one), len(two)) < 2:
        raise ShapeError(
            f"frechet_distance: features are {tuple(one.shape)} and {tuple(two.shape)}; "
            "expected (N, D) and (M, D), two rows or more"
        )
    cov_one, cov_two = _covariance(one), _covariance(two)
    roots = torch.linalg.eigvals(cov_one @ cov_two).real.clamp_min(0).sqrt()
    means = (one.mean(0) - two.mean(0)).square().sum()
    return float((means + cov_one.trace() + cov_two.trace() - 2 * roots.sum()).clamp_min(0))


def _covariance(features: Float[Tensor, "N D"]) -> Float[Tensor, "D D"]:
    centred = features - features.mean(0)
    return centred.T @ centred / (len(features) - 1)

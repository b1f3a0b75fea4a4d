import numpy as np
import pytest
import scipy.linalg
import torch

from delaminate.errors import ShapeError
from delaminate.metrics.images import frechet_distance, ink_explained, psnr


def test_psnr_is_in_decibels():
    images = torch.zeros(3, 3, 4, 4)
    worse = images + torch.tensor([1.0, 0.1, 0.0])[:, None, None, None]
    assert psnr(images, worse).tolist() == pytest.approx([0, 20, 100], abs=1e-4)


def test_psnr_of_two_shapes_is_refused():
    with pytest.raises(ShapeError, match="same shape"):
        psnr(torch.zeros(3, 3, 4, 4), torch.zeros(2, 3, 4, 4))


def test_frechet_distance_agrees_with_the_matrix_root():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(200, 6)), rng.normal(0.3, 2, size=(150, 6)) @ rng.normal(size=(6, 6))
    root = scipy.linalg.sqrtm(np.cov(one.T) @ np.cov(two.T)).real
    oracle = ((one.mean(0) - two.mean(0)) ** 2).sum() + np.trace(np.cov(one.T) + np.cov(two.T) - 2 * root)
    assert frechet_distance(one, two) == pytest.approx(oracle)
    assert frechet_distance(torch.from_numpy(two), one) == pytest.approx(oracle)


def test_a_crowd_is_at_no_distance_from_itself():
    rows = np.random.default_rng(0).normal(size=(5, 8))  # fewer rows than features: a singular covariance
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(rows, rows + 2) == pytest.approx(32, abs=1e-4)


def test_features_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="two rows"):
        frechet_distance(np.zeros((5, 2)), np.zeros((5, 3)))
    with pytest.raises(ShapeError, match="two rows"):
        frechet_distance(np.zeros((1, 2)), np.zeros((5, 2)))


def test_ink_is_explained_within_a_quarter():
    pages = torch.ones(1, 3, 1, 5)
    pages[..., :3] = torch.tensor([0.0, 0.2, 0.4])
    shown = torch.tensor([0.2, 0.5, 0.4, 0.0, 1.0]).expand(1, 3, 1, 5)
    assert ink_explained(pages, shown, 0.5) == (2, 3)  # 0.2 and 0.5 are 0.3 apart; paper does not count
    assert ink_explained(pages, shown, 0.1) == (1, 1)


def test_ink_of_two_shapes_is_refused():
    with pytest.raises(ShapeError, match="expected the same shape"):
        ink_explained(torch.zeros(1, 3, 1, 5), torch.zeros(1, 3, 1, 4), 0.5)

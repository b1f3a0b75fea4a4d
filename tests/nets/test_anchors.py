"""Anchors: windows, shifts as products of matrices, sub-lattices."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from delaminate.nets.anchors import (
    apply_matrices,
    bilinear_shift_matrices,
    crop_matrix,
    fixed_order,
    lattice_side,
    lattices,
    shift_matrices,
    toeplitz,
    windows_of,
)
from delaminate.rng import stream


def noise(*shape):
    return torch.rand(shape, generator=stream("noise", *shape), dtype=torch.float64)


def chances(count, outcomes):
    return torch.softmax(5 * noise(count, outcomes), 1)


def moved(sprites, down, right):
    """Copy sprites to other pixels; what leaves the frame is lost, what comes in is zero."""
    return F.pad(sprites, (right, -right, down, -down))


@pytest.mark.parametrize(("size", "stride"), [(8, 4), (4, 4), (8, 2)])
def test_windows_are_centred_on_their_cells(size, stride):
    images = noise(2, 3, 8, 12)
    found = windows_of(images, size, stride)
    assert found.shape == (2, 8 // stride, 12 // stride, 3, size, size)
    margin = (size - stride) // 2
    padded = F.pad(images, (margin,) * 4)
    for row, column in ((0, 0), (1, 2), (found.shape[1] - 1, found.shape[2] - 1)):
        y, x = row * stride, column * stride
        assert torch.equal(found[:, row, column], padded[:, :, y : y + size, x : x + size])


def test_bands_are_convolutions():
    values, signal = noise(3, 5), noise(3, 7)
    expected = torch.stack(
        [
            F.conv1d(s.view(1, 1, -1), v.flip(0).view(1, 1, -1), padding=4)[0, 0]
            for s, v in zip(signal, values, strict=True)
        ]
    )
    assert_close((toeplitz(values, 7) @ signal[..., None])[..., 0], expected)


def test_the_expected_crop_is_the_mean_of_all_crops():
    values, picture = chances(4, 6), noise(12)
    crops = picture.unfold(0, 7, 1)  # 6 7
    assert_close(crop_matrix(values, 7) @ picture, values @ crops)


@pytest.mark.parametrize("clip", [True, False])
def test_the_expected_shift_is_the_mean_of_all_shifted_copies(clip):
    k, s = 8, 4
    sprites, across, down = noise(3, 4, k, k), chances(3, s + 1), chances(3, s + 1)
    found = apply_matrices(sprites, shift_matrices(down, k, clip), shift_matrices(across, k, clip))
    frame = sprites if clip else F.pad(sprites, (s // 2,) * 4)
    expected = torch.zeros_like(frame)
    for i in range(s + 1):
        for j in range(s + 1):
            weight = (down[:, i] * across[:, j]).view(-1, 1, 1, 1)
            expected += weight * moved(frame, s // 2 - i, s // 2 - j)
    assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("border", [True, False])
def test_fractional_shifts_are_bilinear_sampling(clip, border):
    k, s = 8, 4
    sprites, across, down = (
        noise(3, 4, k, k),
        torch.tensor([-2.0, 0.3, 1.9]).double(),
        torch.tensor([0.5, -1.2, 2]).double(),
    )
    found = apply_matrices(sprites, *(bilinear_shift_matrices(shift, k, s, clip, border) for shift in (down, across)))
    size = k if clip else k + s
    theta = torch.zeros(3, 2, 3, dtype=torch.float64)
    theta[:, 0, 0] = theta[:, 1, 1] = size / k
    theta[:, 0, 2], theta[:, 1, 2] = -2 * across / k, -2 * down / k
    grid = F.affine_grid(theta, [3, 4, size, size], align_corners=False)
    expected = F.grid_sample(sprites, grid, padding_mode="border" if border else "zeros", align_corners=False)
    assert_close(found, expected, rtol=0, atol=1e-12)


def test_no_sprites_shift_to_none():
    none = noise(2, 5)[:0]
    assert apply_matrices(
        noise(1, 4, 8, 8)[:0], shift_matrices(none, 8, False), shift_matrices(none, 8, False)
    ).shape == (
        0,
        4,
        12,
        12,
    )


@pytest.mark.parametrize(("window", "stride", "side"), [(8, 4, 2), (12, 4, 3), (4, 4, 1), (10, 4, 3)])
@pytest.mark.parametrize("grid", [(4, 4), (5, 3), (1, 2)], ids=str)
def test_sub_lattices_hold_every_window_once_without_overlap(window, stride, side, grid):
    assert lattice_side(window, stride) == side
    size = (grid[0] * stride - 1, grid[1] * stride - 2)  # the last cells are cut
    windows = noise(2, 1, *grid, 3, window, window)
    canvases = lattices(windows, stride, size)[0]
    assert len(canvases) == side**2
    margin = (window - stride) // 2
    whole = [count * stride + window - stride for count in grid]
    columns = windows[:, 0].permute(0, 3, 4, 5, 1, 2).reshape(2, -1, grid[0] * grid[1])
    expected = F.fold(columns, whole, window, stride=stride)[:, :, margin : margin + size[0], margin : margin + size[1]]
    assert_close(torch.stack(canvases).sum(0), expected)
    ones = torch.stack(lattices(torch.ones_like(windows), stride, size)[0])
    assert float(ones.max()) <= 1


def test_the_fixed_order_goes_layer_by_layer_through_all_sub_lattices():
    assert fixed_order(2, 2) == [(0, 0), (0, 3), (0, 2), (0, 1), (1, 0), (1, 3), (1, 2), (1, 1)]
    assert sorted(fixed_order(1, 3)) == [(0, i) for i in range(9)]

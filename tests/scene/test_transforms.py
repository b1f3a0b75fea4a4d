import math

import pytest
import torch
import torch.nn.functional as F
from helpers.stacks import few, laws, random, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from delaminate.errors import ConfigError
from delaminate.scene import transforms
from delaminate.scene.painting import paint
from delaminate.scene.placements import Dictionary, Placement, Transform
from delaminate.scene.transforms import (
    MATRIX_KINDS,
    NUM_PARAMETERS,
    grid_of,
    hat_weights,
    matrix_grid,
    morphological,
    pixel_centres,
    pixel_matrix,
    recolour,
    sample,
    sampling_matrix,
    soft_clamp,
    warp,
    warp_separable,
    warp_stack,
)

KINDS = st.sampled_from([*MATRIX_KINDS, "thin_plate_spline"])
sides = st.integers(1, 8)


def parameters(seed, kind, count, spread=0.3):
    return spread * (2 * random(seed, count, NUM_PARAMETERS[kind]) - 1)


@laws
@given(sides, sides)
def test_pixel_centres_are_those_of_torch(height, width):
    theta = torch.eye(2, 3, dtype=torch.float64)[None]
    grid = F.affine_grid(theta, [1, 1, height, width], align_corners=False)
    assert_close(matrix_grid(torch.eye(3, dtype=torch.float64)[None], (height, width)), grid)
    assert_close(pixel_centres(width, theta), grid[0, 0, :, 0])


@laws
@given(st.sampled_from(["similarity", "affine", "projective", "thin_plate_spline"]), sides, sides, seeds)
def test_zero_parameters_change_nothing(kind, height, width, seed):
    x = random(seed, 2, 3, height, width)
    zero = torch.zeros(2, NUM_PARAMETERS[kind], dtype=torch.float64)
    assert_close(warp(x, kind, zero, (height, width), "border"), x)


def test_a_sprite_at_scale_zero_fills_half_of_its_canvas_and_never_exceeds_it():
    zero = torch.zeros(1, 3, dtype=torch.float64)
    out = warp(torch.ones(1, 1, 4, 4, dtype=torch.float64), "position", zero, (8, 8))[0, 0]
    assert_close(out[2:6, 2:6], torch.ones(4, 4, dtype=torch.float64))
    assert_close(out.sum().item(), 16.0)
    huge = torch.tensor([[-50.0, 0, 0]], dtype=torch.float64)
    x = random(1, 1, 1, 8, 8)
    assert_close(warp(x, "position", huge, (8, 8)), x)


@laws
@given(seeds)
def test_splines_move_their_control_points_exactly(seed):
    moved = parameters(seed, "thin_plate_spline", 1)
    # On a canvas of 6 x 6 pixels, centres at +-1/2 and +-1/6...; ask at a canvas whose centres are the points.
    basis = transforms._spline_basis((64, 64), torch.float64, torch.device("cpu"))
    assert_close(basis.sum(1), torch.ones(64 * 64, dtype=torch.float64))  # a common displacement moves everything
    line = torch.linspace(-1, 1, 4, dtype=torch.float64)
    points = torch.cartesian_prod(line, line).flip(1)  # x y
    # Affine displacements are reproduced everywhere, others at the control points (nearest pixels, by continuity).
    affine = (0.2 * points[:, :1] - 0.1 * points[:, 1:]).repeat(1, 2).flatten()[None]
    pixels = transforms._base_grid((64, 64), torch.float64, torch.device("cpu"))[:, :2]
    expected = pixels + 0.2 * pixels[:, :1] - 0.1 * pixels[:, 1:]
    assert_close(grid_of("thin_plate_spline", affine, (64, 64)).view(-1, 2), expected)
    fine = grid_of("thin_plate_spline", moved, (301, 301))[0]
    for number, (x, y) in enumerate(points):
        column, row = (round(((float(c) + 1) * 301 - 1) / 2) for c in (x, y))
        row, column = min(max(row, 0), 300), min(max(column, 0), 300)
        centre = torch.tensor([(2 * column + 1) / 301 - 1, (2 * row + 1) / 301 - 1], dtype=torch.float64)
        displacement = fine[row, column] - centre
        assert_close(displacement, moved.view(16, 2)[number], atol=0.02, rtol=0)


@laws
@given(st.sampled_from(MATRIX_KINDS), seeds)
def test_matrices_are_their_formulas(kind, seed):
    values = parameters(seed, kind, 1)
    matrix = sampling_matrix(kind, values)[0]
    p = values[0].tolist()
    expected = {
        "position": lambda: [[1 + math.exp(p[0]), 0, p[1]], [0, 1 + math.exp(p[0]), p[2]], [0, 0, 1]],
        "similarity": lambda: [[1 + p[0], -p[1], p[2]], [p[1], 1 + p[0], p[3]], [0, 0, 1]],
        "affine": lambda: [[1 + p[0], p[1], p[2]], [p[3], 1 + p[4], p[5]], [0, 0, 1]],
        "projective": lambda: [[1 + p[0], p[1], p[2]], [p[3], 1 + p[4], p[5]], [p[6], p[7], 1 + p[8]]],
    }[kind]()
    assert_close(matrix, torch.tensor(expected, dtype=torch.float64))


def test_a_kind_without_a_matrix_is_refused():
    with pytest.raises(ConfigError, match="no matrix"):
        sampling_matrix("morphological", torch.zeros(1, 10))


@laws
@given(sides, sides, sides, sides, seeds)
def test_separable_warps_are_bilinear_sampling(height, width, rows, columns, seed):
    sprites = random(seed, 2, 4, height, width)
    values = parameters(seed + 1, "position", 3, 1.0)
    matrix = sampling_matrix("position", values)
    row = hat_weights(matrix[:, 1, 1], matrix[:, 1, 2], height, rows)
    column = hat_weights(matrix[:, 0, 0], matrix[:, 0, 2], width, columns)
    out = warp_separable(sprites, row, column)
    for k in range(2):
        expected = warp(sprites[k].expand(3, -1, -1, -1), "position", values, (rows, columns))
        assert_close(out[:, k], expected)
    own = sprites.expand(3, -1, -1, -1, -1)
    assert_close(warp_separable(own, row, column), out)
    # A part of the rows is that part of the whole.
    part = hat_weights(matrix[:, 1, 1], matrix[:, 1, 2], height, rows, torch.ones(3, dtype=torch.float64), 2)
    assert_close(part[:, : rows - 1][:, :2], row[:, 1:3])


@laws
@given(KINDS, seeds)
def test_a_warped_stack_is_each_sprite_warped_by_itself(kind, seed):
    sprites, values = random(seed, 3, 4, 5, 6), parameters(seed + 1, kind, 6)
    grid = grid_of(kind, values, (7, 4)).view(3, 2, 7, 4, 2)
    out = warp_stack(sprites, grid)
    for k in range(3):
        for b in range(2):
            assert_close(out[b, k], sample(sprites[k : k + 1], grid[k, b : b + 1])[0])


@laws
@given(st.sampled_from(MATRIX_KINDS), seeds, sides, sides)
def test_painting_by_the_pixel_matrix_is_the_warp(kind, seed, height, width):
    sprite, canvas = random(seed, 4, height, width), (9, 7)
    values = parameters(seed + 1, kind, 1, 0.2)
    matrix = pixel_matrix(sampling_matrix(kind, values), (height, width), canvas)[0]
    window = paint(Dictionary((sprite,)), Placement(0, (Transform.of_matrix(matrix, canvas),)))
    out = torch.zeros(4, *canvas, dtype=torch.float64)
    out[:, window.slices[0], window.slices[1]] = torch.cat([window.rgb, window.alpha])
    assert_close(out, warp(sprite[None], kind, values, canvas)[0], atol=1e-9, rtol=1e-9)


def test_neutral_dilation_is_nearly_the_identity_and_its_sign_matters():
    x = random(3, 1, 1, 9, 9).round()
    zero = torch.zeros(1, 10, dtype=torch.float64)
    assert_close(morphological(x, zero), x, atol=0.06, rtol=0)
    wide = torch.full((1, 10), 6.0, dtype=torch.float64)
    thin = wide.clone()
    wide[:, 0], thin[:, 0] = 40, -40
    assert_close(morphological(x, wide), F.max_pool2d(F.pad(x, (1, 1, 1, 1), "replicate"), 3, 1), atol=1e-4, rtol=0)
    assert_close(morphological(x, thin), -F.max_pool2d(-F.pad(x, (1, 1, 1, 1), "replicate"), 3, 1), atol=1e-4, rtol=0)


@laws
@given(seeds)
def test_neutral_colour_changes_nothing_and_the_clamp_lets_gradients_back(seed):
    x = random(seed, 2, 3, 4, 4)
    assert_close(recolour(x, torch.zeros(2, 6, dtype=torch.float64)), x)
    far = torch.tensor([-2.0, 0.3, 3.0], dtype=torch.float64, requires_grad=True)
    out = soft_clamp(far)
    assert_close(out.detach(), torch.tensor([-0.02, 0.3, 1.02], dtype=torch.float64))
    out.sum().backward()
    assert_close(far.grad, torch.tensor([0.01, 1.0, 0.01], dtype=torch.float64))


@few
@given(st.sampled_from([*MATRIX_KINDS, "thin_plate_spline", "morphological"]), seeds)
def test_gradients_of_warps_are_right(kind, seed):
    x = random(seed, 1, 2, 3, 3).requires_grad_()
    # Away from the kinks of bilinear sampling.
    values = (0.05 + 0.02 * random(seed + 1, 1, NUM_PARAMETERS[kind])).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, v: warp(x, kind, v, (4, 4)), (x, values), eps=1e-7, atol=1e-4)


def test_a_grid_first_used_without_gradients_serves_training_later():
    size = (11, 13)  # a size no other test uses
    values = torch.zeros(1, 6, requires_grad=True)
    with torch.inference_mode():
        grid_of("affine", torch.zeros(1, 6), size)
        grid_of("thin_plate_spline", torch.zeros(1, 32), size)
    grid_of("affine", values, size).sum().backward()
    assert values.grad is not None
    spline = torch.zeros(1, 32, requires_grad=True)
    grid_of("thin_plate_spline", spline, size).sum().backward()
    assert spline.grad is not None

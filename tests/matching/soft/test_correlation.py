"""Every sprite at every position: the correlations, and the drop in error they promise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from delaminate.matching.soft.correlation import Sprites, correlate, score
from delaminate.matching.soft.pursuit import Canvas, Selections
from delaminate.rng import stream

laws = settings(max_examples=25, deadline=None, database=None)


def random(seed, *shape):
    return torch.rand(*shape, generator=stream("correlate", seed), dtype=torch.float64)


def by_loops(maps, templates, reach):
    """The definition, position by position."""
    batch, count, height, width = maps.shape
    sprites, shared, h, w = templates.shape
    out = maps.new_zeros(batch, count, sprites, height + 2 * reach - h + 1, width + 2 * reach - w + 1)
    for y in range(out.shape[3]):
        for x in range(out.shape[4]):
            for i in range(h):
                for j in range(w):
                    row, column = y - reach + i, x - reach + j
                    if 0 <= row < height and 0 <= column < width:
                        part = templates[:, :, i, j].T if shared > 1 else templates[:, 0, i, j][None]
                        out[:, :, :, y, x] += maps[:, :, row, column][:, :, None] * part
    return out


@laws
@given(
    st.integers(0, 2**31),
    st.tuples(st.integers(1, 2), st.integers(2, 3), st.integers(4, 9), st.integers(4, 9)),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    st.integers(0, 3),
)
def test_direct_products_and_the_fourier_transform_equal_the_definition(seed, shape, template, reach):
    maps = random(seed, *shape) - 0.5
    count, h, w = template
    shared = random(seed + 1, count, 1, h, w) - 0.5
    expected = by_loops(maps, shared, reach)
    assert_close(correlate(maps, shared, reach), expected, rtol=0, atol=1e-12)
    # The same template for every map, written out, takes the way through the Fourier transform.
    assert_close(correlate(maps, shared.expand(-1, shape[1], -1, -1), reach), expected, rtol=0, atol=1e-12)
    own = random(seed + 2, count, shape[1], h, w) - 0.5
    assert_close(correlate(maps, own, reach), by_loops(maps, own, reach), rtol=0, atol=1e-12)


def test_large_templates_equal_a_convolution():
    maps, templates = random(0, 2, 3, 64, 50), random(1, 4, 1, 25, 21)
    padded = torch.nn.functional.pad(maps, (5, 5, 5, 5))
    expected = torch.nn.functional.conv2d(padded.flatten(0, 1)[:, None], templates).unflatten(0, (2, 3))
    assert_close(correlate(maps, templates, 5), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("free_colour", [True, False], ids=["free colour", "own colour"])
@pytest.mark.parametrize("local_background", [True, False], ids=["coloured background", "black background"])
@pytest.mark.parametrize("channels", [1, 3], ids=["tinted", "RGB"])
def test_scores_are_the_drop_in_squared_error_that_placing_brings(channels, local_background, free_colour):
    sprites = Sprites(random(0, 3, channels, 4, 5), (random(1, 3, 1, 4, 5) * 1.6 - 0.3).clamp(0, 1))
    images = random(2, 2, 3, 9, 8)
    background = random(3, 2, 3, 9, 8) if local_background else None
    canvas = Canvas.of(images, background, margin=2)
    # Something soft is in front already.
    front = Selections(
        torch.tensor([[2], [0]]), torch.tensor([[1], [3]]), torch.tensor([[2], [-1]]), random(4, 2, 1, 3)
    )  # fmt: skip
    canvas.place(sprites, front, 0)
    before = canvas.residual.square().sum((1, 2, 3))
    found = score(sprites, canvas.residual, canvas.through, canvas.padded_background, reach=0, free_colour=free_colour)
    for k in range(3):
        for y in range(found.drop.shape[2]):
            for x in range(found.drop.shape[3]):
                after = Canvas(canvas.residual.clone(), canvas.through.clone(), canvas.padded_background, 2)
                place = torch.tensor([[y - 2], [y - 2]]), torch.tensor([[x - 2], [x - 2]])
                gain = found.gain[:, :, k, y, x][:, None]
                after.place(sprites, Selections(torch.tensor([[k], [k]]), *place, gain), 0)
                drop = before - after.residual.square().sum((1, 2, 3))
                assert_close(found.drop[:, k, y, x], drop, rtol=0, atol=1e-10)
    if not free_colour:
        assert bool((found.gain == 1).all())


def test_no_other_gain_between_zero_and_one_would_be_better():
    sprites = Sprites(random(0, 2, 1, 4, 4), (random(1, 2, 1, 4, 4) * 1.6 - 0.3).clamp(0, 1))
    canvas = Canvas.of(random(2, 1, 3, 7, 7), random(3, 1, 3, 7, 7), margin=1)
    found = score(sprites, canvas.residual, canvas.through, canvas.padded_background, reach=0)
    before = canvas.residual.square().sum()
    for gain in torch.linspace(0, 1, 11, dtype=torch.float64):
        after = Canvas(canvas.residual.clone(), canvas.through.clone(), canvas.padded_background, 1)
        one = torch.ones(1, 1, dtype=torch.int64)
        after.place(sprites, Selections(one, 2 * one, one, gain.expand(1, 1, 3)), 0)
        assert float(before - after.residual.square().sum()) <= float(found.drop[0, 1, 3, 2]) + 1e-12

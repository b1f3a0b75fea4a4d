"""Registration: poses to a fraction of a pixel, and shapes told from them."""

import itertools
import math

import pytest
import torch
from helpers.shapes import square

from delaminate import train
from delaminate.data import draw
from delaminate.matching import registration
from delaminate.matching import shapes as regional
from delaminate.matching.registration import matrices, register, render, shapes_seen, similarity
from delaminate.matching.shapes import PoseFinder, flat_regions, reestimated
from delaminate.metrics import ari_fg

TRUE = torch.tensor([[30.3, 28.7, math.log(1.2), 0.4], [40.6, 31.1, math.log(0.9), -0.3]])


def drawn(poses, size=(64, 64)):
    return render(square().expand(len(poses), 1, 28, 28), matrices(poses, 28), size)


def test_similarity_puts_the_middle_where_it_is_told():
    matrix = similarity(torch.tensor([[10.0, 7.0]]), torch.tensor([1.3]), torch.tensor([0.7]), 28)
    middle = matrix[0] @ torch.tensor([14.0, 14.0, 1.0])
    assert torch.allclose(middle, torch.tensor([10.0, 7.0, 1.0]), atol=1e-5)


def test_shapes_are_moved_scaled_and_turned_to_where_they_fit():
    start = TRUE + torch.tensor([[2.0, -1.5, 0.1, 0.15], [-1.5, 1.0, -0.1, -0.15]])
    shapes, target = square().expand(2, 28, 28), drawn(TRUE)
    poses, error = register(shapes, start, target, torch.ones_like(target), rounds=20)
    assert (poses - TRUE).abs()[:, :2].max() < 0.05 and (poses - TRUE).abs()[:, 2:].max() < 0.01
    plain = (target.double() - drawn(poses).double()).square().sum((1, 2))
    assert torch.allclose(error.double(), plain, rtol=1e-3, atol=1e-4)


def test_slopes_are_those_of_what_is_drawn():
    line = torch.arange(28) - 13.5
    soft = torch.exp(-(line[:, None] ** 2) / 20 - line[None] ** 2 / 35 - line[:, None] * line[None] / 60).expand(
        2, 28, 28
    )
    points = registration.pixel_middles((64, 64))
    planes = registration._with_slopes(soft).double()
    alpha, slopes = registration._drawn_with_slopes(planes, TRUE.double(), points.double())
    assert torch.allclose(alpha.view(2, 64, 64).float(), render(soft[:, None], matrices(TRUE, 28), (64, 64)), atol=1e-4)
    for number, step in enumerate((0.5, 0.5, 0.03, 0.03)):
        move = torch.zeros(4, dtype=torch.float64)
        move[number] = step
        ahead, behind = (
            registration._drawn_with_slopes(planes, TRUE.double() + sign * move, points.double())[0] for sign in (1, -1)
        )
        plain = (ahead - behind) / (2 * step)
        # Between pixels a drawn shape is bilinear, and has kinks.
        assert torch.cosine_similarity(plain.flatten(), slopes[:, number].flatten(), 0) > 0.98
        assert slopes[:, number].norm() == pytest.approx(float(plain.norm()), rel=0.1)


def test_what_may_hide_a_shape_weighs_nothing():
    start = TRUE[:1] + torch.tensor([[1.0, -1.0, 0.05, 0.1]])
    target = drawn(TRUE[:1])
    weight = torch.ones_like(target)
    weight[:, :, 34:] = 0
    spoilt = target.clone()
    spoilt[:, :, 34:] = torch.rand(1, 64, 30, generator=torch.Generator().manual_seed(0))
    poses, _ = register(square()[None], start, spoilt, weight, rounds=20)
    assert (poses - TRUE[:1]).abs().max() < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_no_step_makes_it_worse(seed):
    rng = torch.Generator().manual_seed(seed)
    start = TRUE + torch.randn(2, 4, generator=rng) * torch.tensor([8, 8, 0.5, 1.0])
    target = torch.rand(2, 64, 64, generator=rng)
    shapes, weight = square().expand(2, 28, 28), torch.rand(2, 64, 64, generator=rng)
    errors = [register(shapes, start, target, weight, rounds)[1] for rounds in (0, 1, 4, 12)]
    assert torch.allclose(errors[0], (weight * (target - drawn(start)).square()).sum((1, 2)), rtol=1e-4)
    assert all((after <= before).all() for before, after in itertools.pairwise(errors))
    assert all(error.isfinite().all() for error in errors)


def test_nothing_to_register_is_no_error():
    none = torch.zeros(0, 64, 64)
    poses, error = register(torch.zeros(0, 28, 28), torch.zeros(0, 4), none, none)
    assert poses.shape == (0, 4) and error.shape == (0,)


def test_shapes_are_told_from_where_images_show_them():
    rng = torch.Generator().manual_seed(0)
    poses = torch.cat([20 + 24 * torch.rand(30, 2, generator=rng), 0.3 * torch.randn(30, 1, generator=rng)], 1)
    poses = torch.cat([poses, 6 * torch.rand(30, 1, generator=rng)], 1)
    masks = (drawn(poses) > 0.5).float()
    blob = torch.full((2, 28, 28), 0.5)
    everywhere = torch.ones(1, 64, 64, dtype=torch.bool)
    found = [
        (torch.zeros(1, dtype=torch.int64), matrices(pose[None], 28), mask[None], everywhere)
        for pose, mask in zip(poses, masks, strict=True)
    ]
    shapes = shapes_seen(blob, found)
    assert ((shapes[0] > 0.5) == (square() > 0.5)).float().mean() > 0.99
    assert torch.equal(shapes[1], blob[1])  # nobody saw it


def painted(poses, colours, size=(64, 64)):
    """Squares on grey, back to front."""
    image = torch.full((3, *size), 0.5)
    for cover, colour in zip(drawn(poses, size) > 0.5, colours, strict=True):
        image[:, cover] = torch.tensor(colour)[:, None]
    return image


def fits(image, poses, colours, shapes):
    """How well each square is found: IoU of all of it."""
    regions = flat_regions(image)
    found = PoseFinder(shapes, (64, 64), torch.linspace(0.6, 1.5, 7)).find(regions)
    shares = []
    for colour, cover in zip(colours, drawn(poses) > 0.5, strict=True):
        pose = found[int((regions.colours[1:] - torch.tensor(colour)).abs().sum(1).argmin())]
        again = render(shapes[pose.entry][None, None], pose.matrix(28)[None], (64, 64))[0] > 0.5
        shares.append(float((again & cover).sum()) / float((again | cover).sum()))
    return shares


RED, GREEN, BLUE = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]


def test_a_shape_of_which_less_than_half_is_seen_is_found_by_search(monkeypatch):
    poses = torch.tensor([[26.0, 30.0, math.log(1.2), 0.8], [32.0, 33.0, math.log(1.5), 0.0]])
    image = painted(poses, [RED, BLUE])
    assert min(fits(image, poses, [RED, BLUE], square()[None])) > 0.85
    monkeypatch.setattr(regional, "BAD", 10.0)
    assert min(fits(image, poses, [RED, BLUE], square()[None])) < 0.7


def test_what_lies_in_front_does_not_cover_what_is_seen_of_others(monkeypatch):
    """Of the middle one little is seen: what lies on the back one tells where it ends."""
    poses = torch.tensor(
        [[30.0, 32.0, math.log(1.5), 0.0], [37.0, 36.0, math.log(0.7), 0.6], [42.0, 30.0, math.log(0.9), 0.2]]
    )
    colours = [RED, GREEN, BLUE]
    image = painted(poses, colours)
    with_order = fits(image, poses, colours, square()[None])
    assert min(with_order) > 0.8
    monkeypatch.setattr(regional, "ORDERS", 0)
    assert min(fits(image, poses, colours, square()[None])) < min(with_order) - 0.1


def test_shapes_come_closer_to_what_images_show():
    rng = torch.Generator().manual_seed(0)
    images = []
    for _ in range(20):
        pose = torch.cat([20 + 24 * torch.rand(2, generator=rng), torch.tensor([0.2]), torch.rand(1, generator=rng)])
        images.append(painted(pose[None], [RED]))
    dented = square()
    dented[6:12, 6:9] = 0
    found = reestimated(dented[None], torch.stack(images), torch.linspace(1.0, 1.4, 3))[0]
    assert (found - square()).abs().sum() < 0.5 * (dented - square()).abs().sum()
    assert (found[8:20, 8:20] > 0.9).all()


@pytest.mark.slow
def test_objects_of_multi_dsprites_are_seen_as_they_are():
    data = draw("multi-dsprites", 60, split="test")
    images = draw("multi-dsprites", 500, split="train").images
    run = train(images, "dti-sprites", preset="multi-dsprites")
    labels = run.model.decompose(data.images.batch(range(60))).labels()[0]
    assert ari_fg(data.labels.instances.numpy(), labels.numpy()).mean() > 0.96

"""Choosing sprites by the affine form equals recomposing everything; gradients need the chosen sprites alone."""

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from delaminate.methods.dti_sprites import Config, DTISprites
from delaminate.objectives.reconstruction import (
    _surroundings,
    candidate_errors,
    image_error,
    recompose_errors,
    select_exhaustive,
    select_greedy,
    stack,
)
from delaminate.rng import stream
from delaminate.scene.compositing import composite
from delaminate.scene.transforms import recolour, soft_clamp, warp

laws = settings(max_examples=40, deadline=None, database=None)


def random(seed, *shape):
    return torch.rand(*shape, generator=stream("objectives", seed), dtype=torch.float64)


class Problem:
    """Random images, candidates for every layer, and what surrounds them."""

    def __init__(self, seed, batch, count, layers, size, ground, soft, price, passes):
        self.target = random(seed, batch, 3, *size)
        self.rgb = random(seed + 1, layers, batch, count, 3, *size)
        # Soft values, with exact zeros and ones among them.
        self.alpha = (random(seed + 2, layers, batch, count, 1, *size) * 1.6 - 0.3).clamp(0, 1)
        self.background = random(seed + 3, batch, 3, *size) if ground else None
        self.occlusion = None
        if soft:
            upper = random(seed + 4, batch, layers, layers).triu(1)
            self.occlusion = upper + (1 - upper.transpose(1, 2)).tril(-1)
        self.count, self.layers, self.price, self.passes = count, layers, price, passes

    def candidates(self, layer):
        return self.rgb[layer], self.alpha[layer]

    def options(self):
        return range(self.count + (self.price is not None))

    def errors(self, layer, entry):
        """Recompose every candidate of a layer, the others as `entry` says (K shows nothing): (B, options)."""
        stacks = []
        for k in self.options():
            tried = entry.clone()
            tried[:, layer] = k
            stacks.append(self.compose(tried))
        errors = recompose_errors(self.target, stacks).T.clone()
        if self.price is not None:
            errors[:, : self.count] += self.price
        return errors

    def compose(self, entry):
        one_hot = F.one_hot(entry, self.count + 1)[..., : self.count].double()  # B L K
        rgb = torch.einsum("blk,lbkchw->blchw", one_hot, self.rgb)
        alpha = torch.einsum("blk,lbkchw->blchw", one_hot, self.alpha)
        return stack(rgb, alpha, self.occlusion, self.background)

    def greedy_by_recomposing(self):
        entry = torch.full((len(self.target), self.layers), self.count)
        for _ in range(self.passes):
            for layer in range(self.layers):
                entry[:, layer] = self.errors(layer, entry).argmin(1)
        return entry


@st.composite
def problems(draw, max_layers=4, max_count=5):
    sizes = st.integers(1, 6)
    return Problem(
        draw(st.integers(0, 2**31)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, max_count)),
        draw(st.integers(1, max_layers)),
        (draw(sizes), draw(sizes)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from([None, 1e-4, 0.05])),
        draw(st.integers(1, 3)),
    )


@laws
@given(problems())
def test_greedy_choice_equals_recomposing_every_candidate(problem):
    p = problem
    found = select_greedy(p.target, p.candidates, p.layers, p.background, p.occlusion, p.passes, p.price)
    assert found.tolist() == p.greedy_by_recomposing().tolist()


@laws
@given(problems(), st.data())
def test_the_error_of_every_candidate_equals_that_of_the_recomposed_image(problem, data):
    p = problem
    layer = data.draw(st.integers(0, p.layers - 1))
    entry = torch.randint(p.count + 1, (len(p.target), p.layers), generator=stream("entry", layer, p.count))
    drawn = p.compose(entry)
    first = int(p.background is not None)
    rgb, alpha = drawn.rgb[:, first:], drawn.alpha[:, first:]
    around = _surroundings(rgb, alpha, p.occlusion, p.background, layer, list(range(p.layers)))
    errors, none = candidate_errors(p.target, *p.candidates(layer), *around)
    p.price = 0.0
    assert_close(torch.cat([errors, none[:, None]], 1), p.errors(layer, entry), rtol=0, atol=1e-12)


@laws
@given(problems(max_layers=3, max_count=3))
def test_exhaustive_choice_equals_brute_force(problem):
    p = problem
    found = select_exhaustive(p.target, p.candidates, p.layers, p.background, p.occlusion, p.price)

    def cost(entry):
        used = (entry < p.count).sum(1) * (p.price or 0)
        return image_error(p.target, composite(p.compose(entry))) + used

    everything = [
        cost(torch.tensor(some).expand(len(p.target), -1)) for some in itertools.product(p.options(), repeat=p.layers)
    ]
    assert_close(cost(found), torch.stack(everything).amin(0), rtol=0, atol=1e-12)


@laws
@given(problems())
def test_more_passes_never_raise_the_error(problem):
    p = problem
    costs = []
    for passes in (1, 2, 3):
        entry = select_greedy(p.target, p.candidates, p.layers, p.background, p.occlusion, passes, None)
        costs.append(image_error(p.target, composite(p.compose(entry))))
    assert bool((costs[1] <= costs[0] + 1e-12).all())
    assert bool((costs[2] <= costs[1] + 1e-12).all())


def test_ties_go_to_the_first_sprite():
    rgb, alpha = torch.full((1, 3, 3, 2, 2), 0.5), torch.ones(1, 3, 1, 2, 2)
    target = torch.full((1, 3, 2, 2), 0.5)
    assert select_greedy(target, lambda layer: (rgb, alpha), 1).tolist() == [[0]]
    assert select_exhaustive(target, lambda layer: (rgb, alpha), 1).tolist() == [[0]]


# --- gradients ----------------------------------------------------------------------------------------------------

SMALL = Config(
    image_size=(12, 11), sprite_size=(8, 7), num_sprites=3, num_layers=2, alpha_sigma=2, soft_occlusion=True,
    sprite_transforms=("similarity",), empty_sprite=True, passes=2,
)  # fmt: skip
WHOLE = replace(
    SMALL, sprite_size=(12, 11), num_layers=1, layer_transforms=(), soft_occlusion=False, empty_sprite=False,
    sprite_transforms=("colour", "projective", "thin_plate_spline"),
    background_transforms=("colour", "projective", "thin_plate_spline"),
)  # fmt: skip
SHAPES = {
    "soft occlusion, two levels": SMALL,
    "plain order, black behind": replace(
        SMALL, background=False, soft_occlusion=False, sprite_transforms=(), empty_sprite=False
    ),
    "placed by similarity": replace(SMALL, layer_transforms=("colour", "similarity"), sprite_transforms=("affine",)),
    "one layer as large as the image": WHOLE,
    "chosen exhaustively": replace(SMALL, selection="exhaustive", empty_sprite=False),
    "peaks": replace(
        SMALL,
        image_size=(16, 16),
        background=False,
        readout="peaks",
        soft_occlusion=False,
        sprite_transforms=(),
        empty_sprite=False,
    ),
}


def trained(config, seed=0):
    """A model in float64 whose heads and pixels are random, as if it had been trained."""
    model = DTISprites(config, seed).double().eval()
    rng = stream("trained", seed)
    with torch.no_grad():
        for name, parameter in model.heads.named_parameters():
            if ".out." in name:
                parameter.mul_(0.02)  # so that the peaks' offsets stay on the canvas
            elif name.endswith("_3"):
                parameter.add_(0.03 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
        for pixels in (model.sprites_rgb, model.sprites_alpha):
            pixels.copy_(torch.rand(pixels.shape, generator=rng, dtype=torch.float64) * 1.2 - 0.1)
        if config.background:
            model.background_rgb.copy_(torch.rand(model.background_rgb.shape, generator=rng, dtype=torch.float64))
    return model


def drawn_plainly(model, prediction, layer, image, k, noise):
    """Draw one sprite in one layer of one image by the warps of the scene, one after the other."""
    alpha = model.sprites_alpha[k] if noise is not None else soft_clamp(model.sprites_alpha[k])
    planes = torch.cat([soft_clamp(model.sprites_rgb[k]), alpha, torch.ones_like(alpha)])[None]
    for kind, values in prediction.sprite.items():
        if kind != "colour":
            planes = warp(planes, kind, values[image, layer, k][None], model.config.sprite_size)
    for kind, values in prediction.layer.items():
        if kind != "colour":
            planes = warp(planes, kind, values[image, layer][None], model.config.image_size)
    rgb, alpha = planes[:, :3], planes[:, 3:4]
    if noise is not None:
        alpha = soft_clamp(alpha + planes[:, 4:] * noise[k])
    gain, offset = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for values in (
        prediction.sprite["colour"][image, layer, k] if "colour" in prediction.sprite else None,
        prediction.layer["colour"][image, layer] if "colour" in prediction.layer else None,
    ):
        if values is not None:
            gain, offset = gain * (1 + values[:3]), offset * (1 + values[:3]) + values[3:]
    return recolour(rgb, torch.cat([gain - 1, offset])[None])[0], alpha[0]


def plain_loss(model, images, entry, noise):
    """Draw all sprites in all layers with gradient, contract with the choice, compose: the published way."""
    prediction = model.predict(images)
    count, layers = model.config.num_sprites, model.config.num_layers
    one_hot = F.one_hot(entry, count + 1)[..., :count].double()
    every = [
        [[drawn_plainly(model, prediction, j, i, k, noise) for k in range(count)] for j in range(layers)]
        for i in range(len(images))
    ]
    rgb = torch.stack([torch.stack([torch.stack([x[0] for x in row]) for row in image]) for image in every])
    alpha = torch.stack([torch.stack([torch.stack([x[1] for x in row]) for row in image]) for image in every])
    rgb = (rgb * one_hot[..., None, None, None]).sum(2)
    alpha = (alpha * one_hot[..., None, None, None]).sum(2)
    background = model.draw_background(prediction.background, len(images))
    return image_error(images, composite(stack(rgb, alpha, prediction.occlusion, background))).mean()


@pytest.mark.parametrize("noisy", [False, True], ids=["still", "noisy"])
@pytest.mark.parametrize("name", SHAPES)
def test_drawing_the_chosen_sprites_gives_the_loss_and_gradients_of_drawing_all(name, noisy):
    model = trained(SHAPES[name])
    images = random(7, 3, 3, *model.image_size)
    noise = None
    if noisy:
        noise = (2 * random(8, model.config.num_sprites, 1, *model.image_size) - 1) * 0.4
    image, entry = model.reconstruct(images, noise)
    loss = image_error(images, image).mean()
    ours = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    plain = plain_loss(model, images, entry, noise)
    theirs = torch.autograd.grad(plain, list(model.parameters()), allow_unused=True)
    assert_close(loss, plain, rtol=1e-12, atol=1e-12)
    moved = 0
    for (label, _), mine, reference in zip(model.named_parameters(), ours, theirs, strict=True):
        if reference is None or mine is None:
            assert mine is None and (reference is None or not reference.any()), label
            continue
        assert_close(mine, reference, rtol=1e-8, atol=1e-13, msg=lambda text, label=label: f"{label}: {text}")
        moved += bool(mine.abs().max() > 0)
    assert moved > 20


@pytest.mark.parametrize("name", SHAPES)
def test_the_chosen_sprites_are_those_of_plain_recomposition(name):
    model = trained(SHAPES[name])
    c, images = model.config, random(9, 3, 3, *model.image_size)
    with torch.no_grad():
        prediction = model.predict(images)
        entry = model.choose(images, prediction, None)
        price = c.empty_sprite_cost if c.empty_sprite else None
        problem = Problem(0, 3, c.num_sprites, c.num_layers, c.image_size, False, False, price, c.passes)
        problem.target, problem.occlusion = images, prediction.occlusion
        problem.background = model.draw_background(prediction.background, 3)
        for layer, image, k in itertools.product(range(c.num_layers), range(3), range(c.num_sprites)):
            drawn = drawn_plainly(model, prediction, layer, image, k, None)
            problem.rgb[layer, image, k], problem.alpha[layer, image, k] = drawn
        if c.selection == "exhaustive":
            expected = select_exhaustive(
                images, problem.candidates, c.num_layers, problem.background, problem.occlusion, price
            )
        else:
            expected = problem.greedy_by_recomposing()
    assert entry.tolist() == expected.tolist()


def saved_bytes(num_sprites):
    """Memory that autograd keeps from prediction to loss, the encoder and its heads left out."""
    config = replace(
        SMALL, image_size=(64, 64), sprite_size=(8, 8), num_sprites=num_sprites, num_layers=3, sprite_transforms=()
    )
    model = DTISprites(config)
    images = torch.rand(2, 3, 64, 64, generator=stream("images"))
    prediction = model.predict(images)
    entry = torch.tensor([[0, 1, 2], [2, 3, 0]])
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = max(kept.get(tensor.data_ptr(), 0), tensor.numel() * tensor.element_size())
        return tensor

    noise = torch.zeros(num_sprites, 1, 64, 64)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        error = image_error(images, composite(model.compose(prediction, entry, noise))).mean()
    error.backward()
    return sum(kept.values())


def test_memory_for_gradients_does_not_grow_with_the_number_of_sprites():
    few, many = saved_bytes(4), saved_bytes(16)
    # Twelve more sprites of 4 x 8 x 8 floats, kept a few times over; no canvas of 64 x 64 among them.
    assert many - few <= 12 * 4 * 64 * 4 * 8
    assert many < 1.1 * few

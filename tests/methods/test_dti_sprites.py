"""The model of DTI-Sprites: decompositions, curriculum, freezing, new starts for unused sprites."""

from dataclasses import replace

import pytest
import torch
from helpers.dti_sprites import OBJECTS, SHAPES, WHOLE, images_of, trained
from torch.testing import assert_close

from delaminate.data import ImageSet
from delaminate.engine import train
from delaminate.errors import ConfigError, ShapeError
from delaminate.methods.dti_sprites import Config, DTISprites
from delaminate.methods.dti_sprites import training as players
from delaminate.methods.players import StepContext
from delaminate.objectives.reconstruction import image_error
from delaminate.pipelines.verdict import judge
from delaminate.rng import stream
from delaminate.scene.compositing import composite, pairwise_occlusion

# --- decompositions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_layers_compose_to_the_reported_reconstruction(name):
    model = trained(SHAPES[name])
    found = model.decompose(images_of(model.config))
    assert len(found) == 3
    assert found.background == model.config.background
    assert_close(composite(found.layers()), found.composite(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_decomposing_is_deterministic_and_leaves_the_model_alone(name):
    model = trained(SHAPES[name])
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = images_of(model.config)
    first, again = model.decompose(images), model.decompose(images)
    assert torch.equal(first.composite(), again.composite())
    assert first.images == again.images or all(
        (a.entry, a.transforms, a.colour) == (b.entry, b.transforms, b.colour)
        for x, y in zip(first.images, again.images, strict=True)
        for a, b in zip(x, y, strict=True)
    )
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-9), (False, 1e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("name", [name for name in SHAPES if name != "soft occlusion"])
def test_a_decomposition_shows_what_the_model_reconstructs(name, double, tolerance):
    model, images = trained(SHAPES[name]), images_of(SHAPES[name])
    if double:
        model, images = model.double(), images.double()
    with torch.no_grad():
        image, _ = model.reconstruct(images, None)
    assert_close(model.decompose(images, by="network").composite(), image, rtol=0, atol=tolerance)
    assert_close(model.error(images, "refine"), image_error(images, image.clamp(0, 1)))


def test_images_do_not_depend_on_their_neighbours():
    model = trained(OBJECTS)
    images = images_of(OBJECTS, 5)
    whole = model.decompose(images).composite()
    assert_close(torch.cat([model.decompose(image).composite() for image in images]), whole, rtol=0, atol=1e-5)


def test_images_of_another_size_come_back_at_their_own():
    model = trained(OBJECTS)
    found = model.decompose(torch.rand(2, 3, 40, 30, generator=stream("large")))
    assert found.size == (20, 18)
    scene = found.scenes()[0]
    assert tuple(scene.composite().shape[-2:]) == (40, 30)


def test_dead_sprites_are_neither_chosen_nor_shown():
    model = trained(OBJECTS)
    model.alive[1] = 0
    found = model.decompose(images_of(OBJECTS, 6))
    assert len(found.dictionary) == 3  # two sprites and the background
    assert found.dictionary.backgrounds == (2,)
    assert {p.entry for image in found.images for p in image} <= {0, 1, 2}
    _, entry = model.reconstruct(images_of(OBJECTS, 6), None)
    assert 1 not in entry.tolist()


def test_undecided_occlusion_matrices_are_halves_that_sum_to_one():
    matrix = pairwise_occlusion(torch.zeros(2, 6), 4)
    assert torch.equal(matrix.diagonal(dim1=1, dim2=2), torch.zeros(2, 4))
    logits = torch.randn(2, 6, generator=stream("logits"))
    matrix = pairwise_occlusion(logits, 4)
    off = 1 - torch.eye(4)
    assert_close(matrix + matrix.transpose(1, 2), off.expand(2, -1, -1))
    assert float(matrix[0, 1, 0]) == pytest.approx(float(torch.sigmoid(logits[0, 0])))


def test_a_way_that_was_never_trained_is_refused():
    with pytest.raises(ConfigError, match="cannot decompose by 'search': this model holds network"):
        trained(OBJECTS).decompose(images_of(OBJECTS), by="search")


@pytest.mark.parametrize("shape", [(20, 18), (1, 1, 20, 18), (1, 2, 3, 20, 18)], ids=str)
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ShapeError, match="dti-sprites: images are"):
        trained(OBJECTS).decompose(torch.zeros(shape))


def test_bytes_are_refused():
    with pytest.raises(ShapeError, match=r"images are torch\.uint8"):
        trained(OBJECTS).decompose(torch.zeros(1, 3, 20, 18, dtype=torch.uint8))


# --- curriculum ----------------------------------------------------------------------------------------------------


def refine(model, images, step=0):
    """One turn of the refiner, differentiated."""
    for parameter in model.parameters():
        parameter.grad = None
    context = StepContext("refine", step, model.config.steps, slice(0, len(images)), len(images))
    terms = players.Refiner(model).turn(images, stream("turn", step), context)
    torch.stack(list(terms.values())).sum().backward()
    return context


def test_transforms_that_are_locked_get_no_gradient_at_all():
    model = trained(WHOLE)
    order = ("colour", "projective", "thin_plate_spline")
    for progress, unlocked in ((0, 1), (2, 1), (3, 2), (5, 2), (6, 3), (100, 3)):
        model.progress.fill_(progress)
        refine(model, images_of(WHOLE))
        for index, kind in enumerate(order):
            for head in (model.heads[f"sprite_{kind}"], model.heads[f"background_{kind}"]):
                for parameter in head.parameters():
                    assert (parameter.grad is None) == (index >= unlocked), (progress, kind)


def test_sprites_and_the_empty_sprite_wait_while_frozen():
    config = replace(OBJECTS, frozen_steps=5, empty_sprite_cost=0.0)
    model = trained(config)
    model.progress.fill_(4)
    images = images_of(config)
    refine(model, images)
    assert model.sprites_rgb.grad is None
    assert model.sprites_alpha.grad is None
    assert model.background_rgb.grad is not None
    _, entry = model.reconstruct(images, None)
    assert bool((entry < config.num_sprites).all())
    model.progress.fill_(5)
    black = torch.zeros_like(images)
    model.background_rgb.data.fill_(0)
    _, entry = model.reconstruct(black, None)
    assert bool((entry == config.num_sprites).all())
    refine(model, images)
    assert model.sprites_rgb.grad is not None


def test_training_leaves_locked_transforms_where_they_were():
    config = replace(WHOLE, steps=2, unlock_steps=(1, 5), noise=0.0)
    model = DTISprites(config)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train(model, (images_of(config, 4) * 255).to(torch.uint8))
    after = model.state_dict()
    for key in before:
        if "thin_plate_spline" in key:
            assert torch.equal(before[key], after[key]), key
    assert not torch.equal(before["heads.sprite_projective.weight_3"], after["heads.sprite_projective.weight_3"])


def test_a_mean_background_starts_as_the_mean():
    config = replace(OBJECTS, background_start="mean", steps=1, batch=4, sprite_learning_rate=0.0)
    pixels = (images_of(config, 4) * 255).to(torch.uint8)
    model = DTISprites(config)
    train(model, pixels)
    assert_close(model.background_rgb.detach(), pixels.float().mean(0) / 255)


# --- new starts ----------------------------------------------------------------------------------------------------


def test_an_unused_sprite_begins_again_as_a_copy_of_the_most_used():
    config = replace(OBJECTS, reassign_every=5)
    model = trained(config)
    model.usage.copy_(torch.tensor([[90.0, 1, 60], [80.0, 2, 70]]))
    model.progress.fill_(9)
    before = model.planes(clamp_alpha=False).detach().clone()
    head = model.heads["sprite_similarity"]
    heads = head.weight_3.detach().clone()
    figures = players.after_update(model, stream("after"), refine_carry(config))
    assert figures == {"reassigned": 1.0}
    after = model.planes(clamp_alpha=False).detach()
    assert torch.equal(after[1, 3], before[0, 3])  # alpha exactly, colour with a little noise
    assert 0 < float((after[1, :3] - before[0, :3]).abs().max()) < 1e-3
    assert torch.equal(after[2], before[2])
    for layer in range(2):
        assert torch.equal(head.weight_3[3 * layer + 1], heads[3 * layer])
        assert torch.equal(head.weight_3[3 * layer + 2], heads[3 * layer + 2])
    assert not model.usage.any()


def refine_carry(config):
    return StepContext("refine", 9, config.steps, slice(0, 4), 4)


@pytest.mark.parametrize(
    ("change", "progress"),
    [({"reassign_every": 0}, 9), ({"reassign_every": 5}, 7), ({"reassign_every": 5, "frozen_steps": 50}, 9)],
    ids=["never", "between checks", "frozen"],
)
def test_nothing_begins_again_out_of_turn(change, progress):
    model = trained(replace(OBJECTS, **change))
    model.usage.copy_(torch.tensor([[90.0, 0, 60], [80.0, 0, 70]]))
    model.progress.fill_(progress)
    before = model.planes(clamp_alpha=False).detach().clone()
    players.after_update(model, stream("after"), refine_carry(model.config))
    assert torch.equal(model.planes(clamp_alpha=False), before)


def test_usage_counts_every_layer_of_every_image():
    model = trained(replace(OBJECTS, empty_sprite=False))
    refine(model, images_of(OBJECTS, 5))
    assert model.usage.sum(1).tolist() == [5, 5]


# --- matching ------------------------------------------------------------------------------------------------------


def test_search_learns_squares_and_offers_every_way_to_decompose():
    config = Config(
        image_size=(16, 16), sprite_size=(8, 8), num_sprites=4, num_layers=2, background=False, alpha_sigma=2,
        search_steps=8, search_batch=24, search_placement_cost=0.3, search_sprite_cost=1.0, distil_steps=2,
        distil_batch=8, steps=0,
    )  # fmt: skip
    rng = stream("squares")
    pixels = torch.zeros(24, 3, 16, 16, dtype=torch.uint8)
    for image in pixels:
        for column in (0, 8):
            top, left = (int(torch.randint(4, (1,), generator=rng)) for _ in range(2))
            image[:, top + 2 : top + 6, column + left : column + left + 4] = torch.randint(
                100, 256, (3, 1, 1), generator=rng, dtype=torch.uint8
            )
    model = DTISprites(config)
    train(model, pixels)
    images = pixels.float() / 255
    assert model.decomposers == ("refined", "network", "search")
    assert float(image_error(images, model.decompose(images, by="search").composite()).mean()) < 2e-3
    for by in model.decomposers:
        found = model.decompose(images[:4], by=by)
        assert_close(composite(found.layers()), found.composite(), rtol=0, atol=1e-6)


def test_refined_layers_are_cut_out_of_the_photo_along_its_outlines():
    config = Config(
        image_size=(32, 32), sprite_size=(32, 32), num_sprites=1, layer_transforms=(), background_transforms=("colour",),
        sprite_transforms=("colour",), alpha_sigma=6, steps=0, refine_weight=10.0,
    )  # fmt: skip
    model = DTISprites(config).eval()
    assert model.decomposers == ("despeckled", "refined", "network")
    assert [model.copies_input(by) for by in model.decomposers] == [True, True, False]
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    true = (y > 6) & (y < 27) & (x > 9) & (x < 24)
    rng = torch.Generator().manual_seed(0)
    images = torch.where(
        true, torch.tensor([0.8, 0.3, 0.2])[:, None, None], torch.tensor([0.2, 0.5, 0.3])[:, None, None]
    )
    images = (images + 0.02 * torch.randn(2, 3, 32, 32, generator=rng)).clamp(0, 1)

    def iou(by):
        shown = model.decompose(images, by=by).labels()[0] > 0
        return float((shown & true).sum() / (shown | true).sum())

    assert iou("network") < 0.8 and iou("refined") > 0.95 and iou("despeckled") > 0.95
    found = model.decompose(images, by="refined")
    assert found.background
    assert_close(found.composite(), images, rtol=0, atol=1e-4)
    # A verdict asks how well photos are rebuilt, which cut-outs always are.
    assert model.judged_by == "network"
    assert judge(model, ImageSet.from_arrays((images * 255).round().byte())).level != "good"
    again = DTISprites(replace(config, min_region_area=0.0))
    assert again.decomposers == ("refined", "network")


@pytest.mark.parametrize(
    "wrong", [{"background": False}, {"empty_sprite": True}, {"search_steps": 1, "search": "regions", "steps": 0}]
)
def test_refining_needs_a_background_and_a_network(wrong):
    with pytest.raises(ConfigError, match="refine_weight"):
        Config(image_size=(16, 16), sprite_size=(8, 8), num_sprites=1, refine_weight=1.0, **wrong)

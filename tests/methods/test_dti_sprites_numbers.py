"""Search finds how many sprites and layers there are: offered more while they are used, kept where they pay."""

import pytest
import torch

from delaminate.config import build
from delaminate.data import ImageSet, draw_images
from delaminate.engine import Budget, train
from delaminate.errors import ConfigError
from delaminate.methods.dti_sprites import DTISprites
from delaminate.methods.dti_sprites.config import FIRST_LAYERS, FIRST_SPRITES, MOST_SPRITES, PRESETS

SEARCH_ALONE = {"distil_steps": 0, "steps": 0, "frozen_steps": 0, "readout": "pooled"}


def squares(count=40, each=2):
    """Squares and crosses of random colour on black."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    for image in pixels:
        cells = torch.randperm(4, generator=rng)[:each]
        for cell in cells.tolist():
            top, left = (16 * n + 2 + int(torch.randint(4, (1,), generator=rng)) for n in divmod(cell, 2))
            colour = torch.randint(120, 255, (3, 1, 1), generator=rng).to(torch.uint8)
            if torch.rand(1, generator=rng) < 0.5:
                image[:, top : top + 8, left : left + 8] = colour
            else:
                image[:, top + 3 : top + 5, left : left + 8] = image[:, top : top + 8, left + 3 : left + 5] = colour
    return ImageSet.from_arrays(pixels)


def model_of(**settings):
    return DTISprites.preset("tetrominoes", 0, **SEARCH_ALONE, num_sprites="auto", num_layers="auto", **settings)


def test_auto_is_a_number_that_search_finds():
    model = model_of()
    assert (model.config.num_sprites, model.config.num_layers) == (0, 0) and model.decomposers == ("search",)
    assert int(model.alive.sum()) == FIRST_SPRITES and model.num_layers == FIRST_LAYERS
    assert len(model.alive) == MOST_SPRITES and not list(model.heads)


def test_two_shapes_and_as_many_layers_as_there_are_things(tmp_path):
    images = squares()
    model = model_of(image_size=[32, 32], sprite_size=[12, 12], search_steps=8, search_batch=40)
    train(model, images.pixels, seed=0)
    assert int(model.alive.sum()) == 2 and model.num_layers == 2
    model.save_pretrained(tmp_path)
    again = DTISprites.from_pretrained(tmp_path)
    assert again.num_layers == 2
    one, other = (each.decompose(images.batch(range(4))).composite() for each in (model, again))
    assert torch.equal(one, other)


def test_shapes_that_turn_are_counted_too():
    images = draw_images("multi-dsprites", 60)
    config = build(PRESETS["multi-dsprites"], {"num_sprites": 0, "num_layers": 0, "search_batch": 60}, "test")
    model = DTISprites(config)
    train(model, images.pixels, seed=0)
    assert model.num_layers >= 4 and 2 <= int(model.alive.sum()) <= 4


def test_a_run_that_is_cut_and_resumed_ends_alike(tmp_path):
    images, settings = (
        squares(),
        {"image_size": [32, 32], "sprite_size": [12, 12], "search_steps": 6, "search_batch": 40},
    )
    whole, cut = model_of(**settings), model_of(**settings)
    train(whole, images.pixels, seed=0)
    train(cut, images.pixels, tmp_path, seed=0, budget=Budget(steps=3))
    again = model_of(**settings)
    train(again, images.pixels, tmp_path, seed=0, resume=True)
    for name, value in whole.export_state().items():
        assert torch.equal(value, again.export_state()[name]), name


@pytest.mark.parametrize("settings", [{"num_sprites": 0}, {"num_layers": 0}])
def test_networks_need_the_numbers_beforehand(settings):
    with pytest.raises(ConfigError, match="search finds the number"):
        DTISprites.preset("tetrominoes", 0, **settings)

"""Numbers that were chosen, held by what they do: each of these could once be moved without a test noticing."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from delaminate.data.reading import read_image
from delaminate.matching.exact.background import Background
from delaminate.matching.exact.dictionary import Appearance
from delaminate.matching.exact.fitting import PatternPixels
from delaminate.matching.exact.templates import CODE_WIDTH, ColourCodes, Frames, HardSprite, templates
from delaminate.methods.dti_sprites import Config as DTISpritesConfig
from delaminate.methods.dti_sprites import DTISprites
from delaminate.methods.dti_sprites import training as dti_sprites
from delaminate.methods.marionette import Config as MarioNetteConfig
from delaminate.methods.marionette import MarioNette, distillation
from delaminate.methods.players import StepContext
from delaminate.objectives.priors import border_and_inside
from delaminate.objectives.reconstruction import image_error
from delaminate.objectives.schedules import warmup_cosine
from delaminate.refinement.crf import refine
from delaminate.rng import stream


@pytest.mark.parametrize(("weight", "stays"), [(2.8, True), (3.2, False)])
def test_a_pixel_that_is_sure_is_outvoted_by_votes_of_about_three(weight, stays):
    """A mask is trusted to nine tenths, so that 1 against 0 are odds of 19; log 19 is 2.9."""
    masks = torch.zeros(1, 2, 1, 9, 9, dtype=torch.float64)
    masks[:, 0], masks[:, 0, 0, 4, 4] = 1, 0
    masks[:, 1] = 1 - masks[:, 0]
    flat = torch.full((1, 3, 9, 9), 0.5, dtype=torch.float64)
    found = refine(flat, masks, weight=weight)
    assert bool(found[0, 1, 0, 4, 4] > 0.5) == stays
    assert bool((found[0, 0, 0, 0] > 0.5).all())


@pytest.mark.parametrize(("side", "width"), [(16, 1), (32, 2), (64, 4)])
def test_a_border_is_a_sixteenth_of_the_canvas_wide(side, width):
    frame = torch.ones(1, 1, side, side, dtype=torch.float64)
    frame[..., width:-width, width:-width] = 0
    edge, inside = border_and_inside(frame)
    assert (float(edge), float(inside)) == (1, 0)
    edge, inside = border_and_inside(1 - frame)
    assert (float(edge), float(inside)) == (0, 1)


def test_a_refiner_that_goes_on_teaching_anchors_counts_the_error_of_images_fifty_times():
    config = DTISpritesConfig(
        image_size=(16, 16),
        sprite_size=(8, 8),
        num_sprites=2,
        num_layers=2,
        background=False,
        alpha_sigma=3,
        readout="peaks",
        noise=0.0,
    )
    model = DTISprites(config).eval()
    refiner = dti_sprites.Refiner(model)
    refiner.distiller.terms = lambda images, context: {"presence": torch.tensor(0.25)}
    images = torch.rand(2, 3, 16, 16, generator=stream("images"))
    terms = refiner.turn(images, stream(0), StepContext("refine", 0, 1, slice(0, 2), 2))
    image, _ = model.reconstruct(images, None)
    assert_close(terms["error"], 50 * image_error(images, image).mean())
    assert float(terms["presence"]) == 0.25  # what is taught counts as it does while distilling


def test_the_error_of_taught_sprites_counts_ten_times():
    config = MarioNetteConfig(
        image_size=(16, 16), sprite_size=4, num_sprites=2, code_width=16, search_steps=1, distil_steps=1, steps=0
    )
    model, rng = MarioNette(config), np.random.default_rng(0)
    colour = rng.integers(80, 255, (4, 4, 3)).astype(np.float32) / 255
    model.store.put((HardSprite(colour, np.ones((4, 4), bool)),), (Appearance(0),))
    model.store.put_background(Background(np.zeros((1, 1, 3), np.float32)))
    model.learned[0] = 1
    model.on_stage_start("distil")
    terms = distillation.Distiller(model).turn(
        torch.zeros(1, 3, 16, 16), stream(0), StepContext("distil", 0, 1, slice(0, 1), 1)
    )
    painted = model.sprites()[0].detach()
    wanted = torch.from_numpy(colour).permute(2, 0, 1)
    # Colours as they are seen, and alpha, which is 1 everywhere.
    squares = torch.cat([painted[:3] * painted[3:] - wanted, painted[3:] - 1]).square()
    assert_close(terms["sprites"].detach(), 10 * squares.mean())


@pytest.mark.parametrize(("rows", "worthwhile"), [(2, False), (3, True), (4, True)])
def test_a_pattern_is_worth_something_if_three_tenths_of_what_it_covers_agree(rows, worthwhile):
    """An open pixel that does not match costs 0.4: 0.2 of them are worth 0.2 - 0.4 0.8 < 0, 0.3 are 0.3 - 0.4 0.7 > 0."""
    rng, codes = np.random.default_rng(1), ColourCodes(0.06)
    colour = rng.integers(100, 250, (10, 10, 3)).astype(np.float32) / 255
    some = HardSprite(colour, np.ones((10, 10), bool))
    frame = np.zeros((1, 20, 20, 3), np.uint8)
    frame[0, 5:15, 5:15] = (255, 0, 0)  # something else, which is not the background
    frame[0, 5 : 5 + rows, 5:15] = np.rint(255 * colour[:rows])
    frames = Frames(frame, np.zeros((1, 1, 1, 3), np.float32), 2, codes)
    (gain,), _, (matched,) = PatternPixels([some]).fit(frames, 0, np.array([[0, 7, 7]]))
    assert matched == 10 * rows
    assert gain == pytest.approx(10 * rows - 0.4 * (100 - 10 * rows))
    assert (gain > 0) == worthwhile
    # What proposes places leaves out what something in front may explain.
    bank = templates([some], codes)
    assert_close(bank[0, CODE_WIDTH], torch.full((10, 10), -1.0))


def test_every_level_of_8_bits_comes_back_from_16(tmp_path):
    levels = np.arange(256, dtype=np.uint16)[None]
    Image.fromarray(levels * 257).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.repeat(levels[..., None], 3, 2))


@pytest.mark.parametrize(("steps", "warm"), [(400, 40), (2_000, 200), (50_000, 200)])
def test_rates_rise_over_a_warm_up_and_fall_to_nothing(steps, warm):
    rates = np.array([warmup_cosine(step, steps) for step in range(steps)])
    rise, fall = rates[:warm], rates[warm - 1 :]
    assert rates[0] == pytest.approx(1 / warm)
    assert (np.diff(rise) > 0).all()
    assert rates[warm - 1] == rates.max() > 0.97
    assert rates[warm // 2 - 1] == pytest.approx(0.5, abs=0.01)
    assert (np.diff(fall) < 0).all()
    assert rates[steps // 2] == pytest.approx(0.5)
    assert rates[-1] < 1e-4
    assert warmup_cosine(steps, steps) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("steps", [1, 5, 9])
def test_runs_too_short_to_warm_up_begin_at_the_full_rate(steps):
    assert warmup_cosine(0, steps) == 1

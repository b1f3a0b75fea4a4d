"""MarioNette's stage `distil`: the network learns what search has found."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.afloat import GROUND, OFTEN, SMALL, afloat, pattern, sprites
from torch.testing import assert_close

from delaminate.engine import train
from delaminate.engine.loop import Budget
from delaminate.errors import ConfigError, TrainingError
from delaminate.matching.exact.background import Background
from delaminate.matching.exact.dictionary import Appearance
from delaminate.matching.exact.templates import HardSprite
from delaminate.methods import load_model
from delaminate.methods.marionette import PRESETS, MarioNette, distillation
from delaminate.methods.marionette.method import placements_of
from delaminate.methods.marionette.model import Hard
from delaminate.methods.players import StepContext
from delaminate.objectives.reconstruction import image_error
from delaminate.rng import stream


def with_sheet(config, patterns, looks=None):
    """A model whose search has found these patterns, about to be distilled."""
    model = MarioNette(config)
    model.store.put(tuple(patterns), tuple(Appearance(k) for k in range(len(patterns))) if looks is None else looks)
    model.store.put_background(Background(np.array(GROUND, np.float32)[None, None] / 255))
    model.learned[0] = 1
    model.on_stage_start("distil")
    return model.eval()


def paint(boxes, patterns, size=(48, 48)):
    """Frames with patterns (entry, top, left) back to front, cut at the border."""
    frame = np.full((*(n + 64 for n in size), 3), GROUND, np.float32) / 255
    for entry, top, left in boxes:
        some = patterns[entry]
        window = frame[top + 32 : top + 32 + some.size[0], left + 32 : left + 32 + some.size[1]]
        window[some.alpha] = some.colour[some.alpha]
    return torch.from_numpy(frame[32:-32, 32:-32].copy()).permute(2, 0, 1)[None]


def where(placement):
    """Which sprite, and where its corner is."""
    return placement.entry, *placement.transforms[-1].matrix[:2, 2]


def spoken(model, images):
    """What a network shows that says exactly what it was taught."""
    distiller = distillation.Distiller(model)
    targets, dropped = distiller.targets(images)
    image, layer, row, column, entry, down, across = targets.unbind(1)
    shift = model.config.step_size / 2 - torch.stack([down, across], 1)
    anchor = torch.stack([image, layer, row, column], 1)
    rasters = distiller.teacher.rasters
    ground = model.colour.view(1, 3, 1, 1).expand_as(images)
    hard = Hard(anchor, entry, shift, rasters[entry], ground, torch.zeros(len(images), 2, dtype=torch.int64))
    model.set_sprites(torch.cat([rasters, torch.zeros(len(model.alive) - len(rasters), *rasters.shape[1:])]))
    dictionary = model.network_dictionary()
    found = placements_of(model, hard, dictionary)
    return replace(model.decompose(images, by="search"), dictionary=dictionary, images=tuple(found)), dropped


# --- what is taught -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_what_is_taught_is_what_search_found(stride):
    model = with_sheet(replace(SMALL, stride=stride, num_layers=3), sprites())
    images = afloat(12, seed=5, each=5) / 255
    (found, dropped), search = spoken(model, images), model.decompose(images, by="search")
    assert dropped == 0
    for one, other in zip(found.images, search.images, strict=True):
        assert sorted(map(where, one[1:])) == sorted(map(where, other[1:]))


def test_sprites_at_the_border_are_taught_while_their_centres_are_inside():
    those = sprites()
    model = with_sheet(SMALL, those)
    inside = [(2, -4, 20), (2, 44, 20), (2, 20, -3), (2, 20, 43)]
    image = paint(inside, those)
    found, dropped = spoken(model, image)
    assert dropped == 0
    assert_close(found.composite(), image, rtol=0, atol=1e-6)
    # An anchor of the first row reaches half a step, 2 pixels, above the middle of its cell.
    found, dropped = spoken(model, paint([*inside, (0, 30, 30), (2, -5, 3)], those))
    assert (len(found.images[0]), dropped) == (1 + 5, 1)


def test_sprites_of_other_sizes_lie_in_the_middle():
    small, large = pattern((5, 6), 4), pattern((11, 10), 5)
    raster = distillation.centred(small, 8)
    assert torch.equal(raster[:, 1:6, 1:7], small.rgba())
    assert float(raster.sum()) == float(raster[:, 1:6, 1:7].sum())
    assert torch.equal(distillation.centred(large, 8), large.rgba()[:, 2:10, 1:9])
    model = with_sheet(SMALL, [small, large])
    image = paint([(0, 7, 9), (1, 20, 31)], [small, large])
    found, _ = spoken(model, image)
    cut = HardSprite(large.colour[2:10, 1:9], large.alpha[2:10, 1:9])
    assert_close(found.composite(), paint([(0, 7, 9), (1, 22, 32)], [small, cut]), rtol=0, atol=1e-6)


def test_mirrored_and_recoloured_sprites_are_entries_of_their_own():
    one = sprites()[1]
    looks = (Appearance(0), Appearance(0, 4), Appearance(0, 0, (0.5, 0.5, 0.5, 0.25, 0.0, 0.125)))
    shown = [look.of(one) for look in looks]
    model = with_sheet(SMALL, [one], looks)
    assert model.alive.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    image = paint([(0, 3, 4), (1, 30, 30), (2, 12, 33)], shown)
    found, dropped = spoken(model, image)
    assert dropped == 0
    assert sorted(placement.entry for placement in found.images[0][1:]) == [0, 1, 2]
    assert_close(found.composite(), image, rtol=0, atol=1e-6)


def test_of_several_at_one_anchor_those_in_front_are_taught():
    those = [pattern((8, 8), 1), pattern((4, 8), 2), pattern((8, 3), 3)]
    boxes = [(0, 20, 20), (1, 22, 20), (2, 20, 22)]  # back to front, in one cell
    image = paint(boxes, those)
    for layers, lost in ((3, 0), (2, 1), (1, 2)):
        model = with_sheet(replace(SMALL, stride=8, num_layers=layers, search_min_pixels=4.0), those)
        found, dropped = spoken(model, image)
        assert dropped == lost
        assert_close(found.composite(), paint(boxes[lost:], those), rtol=0, atol=1e-6)


# --- training -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def distilled():
    """Twenty frames, a round of search and 220 steps; seconds on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = MarioNette(SMALL)
    train(model, afloat(20), intervals=OFTEN)
    torch.set_num_threads(threads)
    return model


def test_the_network_learns_what_search_has_found(distilled):
    assert distilled.decomposers == ("search", "network")
    assert distilled.alive.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert_close(distilled.colour, torch.tensor(GROUND) / 255)
    images = afloat(20) / 255
    search, network = (distilled.decompose(images, by=by) for by in ("search", "network"))
    assert float(image_error(images, search.composite()).mean()) < 1e-9
    blank = image_error(images, distilled.colour.view(1, 3, 1, 1).expand_as(images)).mean()
    # Measured: 17.2 dB above the blank; 79 of 80 placements.
    assert float(10 * torch.log10(blank / image_error(images, network.composite()).mean())) > 12
    taught, said = (
        [set(map(where, placements[1:])) for placements in found.images]
        for found in (spoken(copy.deepcopy(distilled), images)[0], network)
    )
    assert sum(len(a & b) for a, b in zip(taught, said, strict=True)) > 0.9 * sum(map(len, taught))
    assert sum(map(len, said)) < 1.1 * sum(map(len, taught))


def test_a_distilled_model_comes_back_from_its_folder(distilled, tmp_path):
    distilled.save_pretrained(tmp_path)
    again, images = load_model(tmp_path), afloat(3, seed=4) / 255
    assert again.decomposers == ("search", "network")
    for by in again.decomposers:
        one, other = again.decompose(images, by=by), distilled.decompose(images, by=by)
        assert torch.equal(one.composite(), other.composite())


def test_stages_follow_each_other_and_search_finds_the_background():
    config = replace(SMALL, distil_steps=2, steps=3)
    assert [stage.name for stage in MarioNette(config).stages()] == ["search", "distil", "refine"]
    plain = replace(config, search_steps=0, distil_steps=0)
    assert [stage.name for stage in MarioNette(plain).stages()] == ["background", "refine"]
    model = MarioNette(config)
    assert train(model, afloat(8), intervals=OFTEN).total_step == 6
    assert model.learned.tolist() == [1, 1]
    assert_close(model.colour, torch.tensor(GROUND) / 255)


@pytest.mark.parametrize("name", ["floating-sprites", "platform-game", "space-invaders"])
def test_recommendations_can_be_distilled(name):
    """They leave it out; benchmarks switch it on."""
    assert PRESETS[name].distil_steps == 0
    config = replace(
        PRESETS[name], image_size=(48, 41), code_width=16, num_sprites=7, search_steps=1, distil_steps=2, distil_batch=2
    )
    model = MarioNette(config)
    assert train(model, afloat(12, size=(48, 41)), intervals=OFTEN).finished
    assert len(model.active_entries) == 3
    found = model.decompose(afloat(2, size=(48, 41), seed=1) / 255, by="network")
    assert_close(found.composite(), model.reconstruct(afloat(2, size=(48, 41), seed=1) / 255), rtol=0, atol=1e-6)


def test_refining_begins_with_what_search_has_found():
    model = MarioNette(replace(SMALL, distil_steps=0, steps=2))
    train(model, afloat(8), intervals=OFTEN)
    assert model.alive.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert_close(model.colour, torch.tensor(GROUND) / 255)


def test_terms_are_means_over_what_they_compare():
    model = with_sheet(SMALL, sprites())
    distiller, images = distillation.Distiller(model), afloat(2, seed=8) / 255
    context = StepContext("distil", 0, 10, slice(0, 2), 2)
    terms = distiller.turn(images, stream(0), context)
    targets, _ = distiller.targets(images)
    logits, switch = model.look(images)
    there = torch.zeros_like(switch)
    choice, shift = [], []
    for image, layer, row, column, entry, down, across in targets.tolist():
        there[image, layer, row, column] = 1
        number = ((image * 2 + layer) * 12 + row) * 12 + column
        choice.append(-logits[number].log_softmax(0)[entry])
        mixed = (logits[number].softmax(0) @ model.planes(model.sprites()).flatten(1)).view(1, 4, 8, 8)
        crop = torch.nn.functional.pad(images[image], (2, 2, 2, 2))[:, row * 4 : row * 4 + 8, column * 4 :][..., :8]
        x, y = model.shift_logits(crop[None], mixed)
        shift += [-x[0].log_softmax(0)[across], -y[0].log_softmax(0)[down]]
    chances = switch.sigmoid()
    expected = {
        "switch": -(there * chances.log() + (1 - there) * (1 - chances).log()).mean(),
        "choice": torch.stack(choice).mean(),
        "shift": torch.stack(shift).mean(),
    }
    for name, value in expected.items():
        assert_close(terms[name], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    shown, wanted = model.sprites()[:3], torch.stack([distillation.centred(some, 8) for some in sprites()])
    shown, wanted = (torch.cat([x[:, :3] * x[:, 3:], x[:, 3:]], 1) for x in (shown, wanted))
    assert_close(terms["sprites"], distillation.SPRITE_WEIGHT * (shown - wanted).square().mean())
    assert model.after_update(stream(0), context) == {"dropped": 0.0}


def test_halves_of_a_batch_average_to_the_whole():
    """What two processes do: each has half of the images, and sums that are those of both."""
    model = with_sheet(SMALL, sprites()).double()
    images = torch.cat([afloat(2, seed=6, each=2), afloat(2, seed=7, each=6)]).double() / 255
    images[:1] = torch.tensor(GROUND).view(1, 3, 1, 1) / 255  # nothing is in it
    distiller, gradients = distillation.Distiller(model), []
    count = float(len(distiller.targets(images)[0]))
    for parts in ([images], images.split(2), images.split(1)):
        model.zero_grad()
        for part in parts:
            held = slice(0, len(part))
            context = StepContext("distil", 0, 1, held, 4, all_reduce=lambda each: torch.full_like(each, count))
            terms = distiller.turn(part, stream(5), context)
            (sum(terms.values()) / len(parts)).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for other in gradients[1:]:
        for a, b in zip(gradients[0], other, strict=True):
            assert_close(a, b, rtol=0, atol=1e-10)


def test_a_training_resumed_while_distilling_ends_with_the_same_bits(tmp_path):
    config, pixels = replace(SMALL, distil_steps=5, steps=2, ema=0.9), afloat(8)
    whole = MarioNette(config)
    train(whole, pixels, seed=3)
    assert not train(MarioNette(config), pixels, tmp_path, seed=3, budget=Budget(steps=4)).finished
    resumed = MarioNette(config)
    assert train(resumed, pixels, tmp_path, seed=3, resume=True).finished
    state = whole.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in resumed.state_dict().items())


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"search_steps": 0}, "distil_steps is 220; there is nothing to distil"),
        ({"background": "auto"}, "distil_steps is 220; expected background=solid or black"),
        ({"background": "learned"}, "distil_steps is 220; expected background=solid or black"),
        ({"offsets": "continuous"}, "distil_steps is 220; search places at whole pixels"),
        ({"distil_steps": -1}, "distil_steps is -1; expected 0 or more"),
        ({"distil_batch": 0}, "distil_batch is 0"),
        ({"distil_learning_rate": float("nan")}, "distil_learning_rate is nan"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_distilled_are_refused(settings, why):
    with pytest.raises(ConfigError, match=f"marionette: {why}"):
        replace(SMALL, **settings)


def test_images_without_sprites_are_refused():
    pixels = torch.tensor(GROUND, dtype=torch.uint8).view(1, 3, 1, 1).repeat(4, 1, 48, 48)
    with pytest.raises(TrainingError, match="search has found no sprite that recurs"):
        train(MarioNette(SMALL), pixels, intervals=OFTEN)

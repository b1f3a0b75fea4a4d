"""MarioNette's stage `search`: from frames to a sprite sheet, at rest, interrupted, damaged."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.afloat import GROUND, afloat, sprites
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from delaminate.engine import train
from delaminate.engine.loop import Budget, Intervals
from delaminate.errors import ConfigError, FormatError
from delaminate.matching.exact.dictionary import Appearance
from delaminate.methods import load_model, save_model
from delaminate.methods.marionette import Config, MarioNette
from delaminate.methods.marionette.config import PRESETS
from delaminate.methods.marionette.training import _showing, _spread

SMALL = Config(
    image_size=(48, 48), search_steps=2, search_batch=20, search_seed=5, max_sprite=16, num_sprites=6, steps=0,
    code_width=8, sprite_size=8,
)  # fmt: skip
QUIET = Intervals(check=10_000, preview=10_000)


def scrolling(count=24):
    """A camera that pans over a landscape, with sprites that move over it."""
    rng = np.random.default_rng(0)
    rgb = np.kron(rng.integers(20, 120, (12, 26, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    frames = np.stack([rgb[:, 2 * n : 2 * n + 48] for n in range(count)])
    for n, frame in enumerate(frames):
        for k, sprite in enumerate(sprites()):
            top, left = (4 + 13 * k + n) % 40, (9 * k + 5 * n * (-1) ** k) % 40
            window = frame[top : top + 8, left : left + 8]
            window[sprite.alpha] = (sprite.colour * 255).round().astype(np.uint8)[sprite.alpha]
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module")
def searched():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = MarioNette(SMALL)
    train(model, afloat(20), intervals=QUIET)
    torch.set_num_threads(threads)
    return model


@pytest.fixture
def folder(searched, tmp_path):
    searched.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


# --- what it finds --------------------------------------------------------------------------------------------------


def test_sprites_and_ground_are_found(searched):
    assert searched.decomposers == ("search",)
    assert_close(searched.store.ground.flatten(), torch.tensor(GROUND) / 255)
    sheet = searched.store.sheet()
    wanted = {sprite.rgba().mul(255).round().numpy().tobytes() for sprite in sprites()}
    assert {sprite.rgba().mul(255).round().numpy().tobytes() for sprite in sheet.sprites} == wanted
    assert searched.alive.tolist() == [1, 1, 1, 0, 0, 0]
    images = afloat(6, seed=9) / 255
    found = searched.decompose(images)
    # What shows fewer pixels than the price is left out.
    assert float((found.composite() - images).abs().gt(0.01).any(1).float().mean()) < 1e-3
    assert len(found.dictionary) == 4 and found.background


def test_the_same_frames_give_the_same_model_and_the_same_answers(searched):
    again = MarioNette(SMALL)
    train(again, afloat(20), intervals=QUIET)
    for key, value in searched.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    images = afloat(3, seed=9) / 255
    one, other = searched.decompose(images), searched.decompose(images)
    for a, b in zip(one.images, other.images, strict=True):
        assert [(p.entry, p.transforms, p.colour) for p in a] == [(p.entry, p.transforms, p.colour) for p in b]
    alone = torch.cat([searched.decompose(image).composite() for image in images])
    assert torch.equal(alone, one.composite())


def test_frames_of_any_size_are_explained_where_the_ground_is_one_colour(searched):
    images = afloat(2, seed=3, size=(33, 70)) / 255
    found = searched.decompose(images)
    assert (found.size, found.canvas_maps) == ((33, 70), None)
    assert_close(found.composite(), images, rtol=0, atol=1e-6)


def test_a_landscape_is_found_behind_sprites():
    model, pixels = MarioNette(replace(SMALL, background="auto", search_steps=1)), scrolling()
    train(model, pixels, intervals=QUIET)
    assert model.store.ground.shape == (3, 48, 94)
    images = pixels[::5] / 255
    found = model.decompose(images)
    lefts = [-placements[0].transforms[0].matrix[0, 2] for placements in found.images]
    assert lefts == [2 * n for n in range(0, 24, 5)]
    assert float((found.composite() - images).abs().gt(0.05).any(1).float().mean()) < 0.03
    assert not model.accepts_size((33, 70), "search")


# --- interrupted ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("background", "done"), [("solid", 1), ("auto", 1)])
def test_a_search_resumed_after_a_round_ends_with_the_same_bits(background, done, tmp_path):
    config = replace(SMALL, search_steps=3, search_batch=6, background=background)
    pixels = afloat(12, each=3) if background == "solid" else scrolling(18)
    whole = MarioNette(config)
    train(whole, pixels, seed=3)
    assert not train(MarioNette(config), pixels, tmp_path, seed=3, budget=Budget(steps=done)).finished
    resumed = MarioNette(config)
    assert train(resumed, pixels, tmp_path, seed=3, resume=True).finished
    state = whole.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in resumed.state_dict().items())


# --- at rest --------------------------------------------------------------------------------------------------------


def test_a_searched_model_comes_back_from_its_folder(searched, folder):
    tensors = load_file(folder / "model.safetensors")
    assert not any(name.startswith(("generator.", "encoder.", "codes", "pixels")) for name in tensors)
    again, images = load_model(folder), afloat(3, seed=4) / 255
    assert (again.config, again.decomposers) == (SMALL, ("search",))
    assert torch.equal(again.decompose(images).composite(), searched.decompose(images).composite())
    with pytest.raises(ConfigError, match="this model holds search"):
        again.decompose(images, by="network")


def test_a_landscape_comes_back_from_its_folder(tmp_path):
    model, images = MarioNette(replace(SMALL, background="panorama")), scrolling()[:3] / 255
    model.prepare(scrolling())
    model.learned[0] = 1
    save_model(model, tmp_path, half=True)
    again = load_model(tmp_path)
    assert again.store.ground.shape == model.store.ground.shape == (3, 48, 94)
    assert_close(again.decompose(images).composite(), model.decompose(images).composite(), rtol=0, atol=1e-3)


def set_sizes(tensors):
    tensors["dictionary.sizes"][1, 0] = 17


def set_no_width(tensors):
    tensors["dictionary.sizes"][1, 1] = 0


def set_look(tensors):
    tensors["looks"][0, 0] = 3


def drop_look(tensors):
    tensors["looks"][1] = -1


def set_rgba(tensors):
    tensors["dictionary.rgba"] = torch.zeros(6, 4, 12, 16)


def set_ground(tensors):
    tensors["background.rgb"] = torch.zeros(4, 1, 1)


def set_looks(tensors):
    tensors["looks"] = torch.zeros(6, 8)


def set_numbers(tensors):
    tensors["looks"][0, 3] = float("nan")


def drop_sizes(tensors):
    del tensors["dictionary.sizes"]


DAMAGES = {
    set_sizes: "sizes of sprites are out of range; expected 1 to 16 pixels",
    set_no_width: "sizes of sprites are out of range; expected 1 to 16 pixels",
    set_look: "appearance 0 is of sprite 3, orientation 0; expected one of the 3 sprites",
    drop_look: "appearance 2 .* none missing",
    set_rgba: r"dictionary.rgba is not \(6, 4, 16, 16\)",
    set_ground: r"background.rgb is \(4, 1, 1\); expected \(3, 1, 1\)",
    set_looks: r"looks is \(6, 8\); expected \(12, 8\)",
    set_numbers: "looks holds numbers that are not finite",
    drop_sizes: "'dictionary.sizes' is missing",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_sheets_are_refused(damage, folder):
    tensors = load_file(folder / "model.safetensors")
    damage(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(FormatError, match=DAMAGES[damage]):
        load_model(folder)


def test_a_model_stored_in_half_precision_decomposes_as_well(tmp_path):
    frames = afloat(20, each=5)
    model = MarioNette(SMALL)
    train(model, frames, tmp_path / "run", intervals=QUIET)
    # A swap of colours whose gains float16 has not.
    look = Appearance(0, 0, (0.7, 0.9, 0.333333, 0.1234567, 0.0, 0.2))
    sheet = model.store.sheet()
    model.store.put(sheet.sprites, (*sheet.looks, look))
    for name, half in (("whole", False), ("half", True)):
        save_model(model, tmp_path / name, half=half)
    whole, half = (load_model(tmp_path / name) for name in ("whole", "half"))
    assert_close(half.store.rgba, whole.store.rgba, atol=1e-5, rtol=0)
    assert torch.equal(half.store.looks, model.store.looks)
    unseen = afloat(6, seed=5, each=5).float() / 255
    one, two = whole.decompose(unseen), half.decompose(unseen)
    assert_close(one.composite(), two.composite(), atol=1e-5, rtol=0)
    assert [[(p.entry, p.transforms) for p in some] for some in one.images] == [
        [(p.entry, p.transforms) for p in some] for some in two.images
    ]


def test_what_is_explained_is_judged_as_search_compares_colours():
    """A verdict on noisy pages must not ask sprites to explain the grain of paper."""
    page = torch.full((1, 3, 4, 4), 0.8)
    grain, ink, chroma = page - 0.1, page - 0.4, page + torch.tensor([0.1, -0.051, 0.0]).view(1, 3, 1, 1)
    pages = MarioNette(replace(SMALL, background="solid", search_tolerance=0.3, search_match=0.8), 0)
    exact = MarioNette(SMALL, 0)
    assert pages.same_colours(page, grain).all() and not pages.same_colours(page, ink).any()
    assert not exact.same_colours(page, grain).any() and not exact.same_colours(page, page + 2 * (chroma - page)).any()
    smeared = MarioNette(replace(SMALL, search_tolerance=0.16, search_match=0.8, search_chroma=0.3), 0)
    assert smeared.same_colours(page, page + 2 * (chroma - page)).all()


# --- which frames it sees -------------------------------------------------------------------------------------------


def test_later_rounds_look_at_what_is_not_explained():
    """A sprite in five frames of eighty is seldom drawn three times, yet it is found."""
    pixels, rare = afloat(80), sprites()[0]
    for n in range(40, 45):
        window = pixels[n, :, 2:10, 3 * n % 36 : 3 * n % 36 + 8]
        window[:, torch.from_numpy(rare.alpha.T.copy())] = torch.tensor([[250], [10], [250]], dtype=torch.uint8)
    model = MarioNette(replace(SMALL, search_steps=3, search_batch=20))
    train(model, pixels, intervals=QUIET)
    shown = [sprite[:3, sprite[3] > 0] for sprite in model.dictionary().sprites]
    assert any(((colour * 255).round() == torch.tensor([[250.0], [10], [250]])).all() for colour in shown)


def test_frames_are_spread_along_the_clip_by_what_is_left():
    left = np.array([0] * 50 + [90] * 10 + [0] * 40)
    chosen = _spread(left, 20, start=0.3)
    assert len(chosen) == len(set(chosen.tolist())) == 20 and (np.diff(chosen) > 0).all()
    assert set(range(50, 60)) <= set(chosen.tolist())
    assert chosen.min() < 20 and chosen.max() > 80
    assert np.array_equal(_spread(np.zeros(5, np.int64), 5, start=0.9), np.arange(5))


def test_what_is_seldom_seen_is_seen_again():
    used = np.zeros((50, 3), bool)
    used[:, 0] = used[7:9, 1] = used[[3, 20, 21, 30, 44, 45], 2] = True
    chosen = set(_showing(used, 4, 20).tolist())
    assert {7, 8} <= chosen and len(chosen & {3, 20, 21, 30, 44, 45}) == 4 and len(chosen) == 6
    assert _showing(used, 4, 2).tolist() == [7, 8]


def test_small_frames_are_seen_more():
    video = PRESETS["video"]
    assert video.frames_a_round((60, 80)) == 324
    assert video.frames_a_round((120, 160)) == 96
    assert video.frames_a_round((240, 256)) == 48
    assert video.frames_a_round((1080, 1920)) == 12
    assert video.frames_a_round((1, 1)) == 4080
    assert replace(video, search_batch=7).frames_a_round((120, 160)) == 7

"""Search that begins with sprites that people have."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import delaminate
from delaminate.errors import ConfigError, DataError
from delaminate.pipelines.known_sprites import read_sprites
from delaminate.scene.loading import load_scenes

GROUND = (30, 40, 60)
SETTINGS = {"search_seed": 5, "max_sprite": 16, "num_sprites": 8}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def picture(seed, shape):
    """A sprite in which nothing looks like anything else."""
    rgb = np.random.default_rng(seed).integers(90, 250, (*shape.shape, 3)).astype(np.uint8)
    return np.dstack([rgb, np.where(shape, 255, 0).astype(np.uint8)])


def disc(side):
    y, x = np.abs(np.mgrid[:side, :side] - (side - 1) / 2)
    return np.hypot(y, x) < side / 2 + 0.2


HERO, COIN, ABSENT = picture(1, disc(8)), picture(2, np.ones((8, 8), bool)), picture(3, disc(9))


def frames(count=12, sprites=(HERO, COIN)):
    """Sprites afloat that do not touch, each in every frame, now and then mirrored."""
    rng = np.random.default_rng(0)
    drawn = np.full((count, 40, 48, 3), GROUND, np.uint8)
    for frame in drawn:
        for cell, sprite in zip(rng.permutation(12).tolist(), sprites, strict=False):
            row, column = divmod(cell, 4)
            shown = sprite[:, ::-1] if rng.random() < 0.3 else sprite
            top, left = 12 * row + int(rng.integers(3)), 12 * column + int(rng.integers(3))
            left = min(left, 48 - shown.shape[1])
            window = frame[top : top + len(shown), left : left + shown.shape[1]]
            window[shown[..., 3] > 0] = shown[shown[..., 3] > 0][:, :3]
    return drawn


def rgba(dictionary, entry):
    return dictionary.sprites[entry].permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy()


def folder_of(place, sprites):
    place.mkdir()
    for name, pixels in sprites.items():
        Image.fromarray(pixels).save(place / f"{name}.png")
    return place


def test_given_sprites_are_first_keep_their_pixels_and_names_and_the_rest_is_found(tmp_path):
    given = folder_of(tmp_path / "known", {"hero": np.pad(HERO, ((1, 2), (3, 0), (0, 0))), "never seen": ABSENT})
    run = delaminate.train(list(frames()), "marionette", settings=SETTINGS, sprites=given)
    dictionary = run.model.dictionary()
    assert dictionary.titles[:3] == ("hero", "never seen", "")
    for entry, sprite in enumerate((HERO, ABSENT)):
        assert (rgba(dictionary, entry) == sprite * (sprite[..., 3:] > 0)).all()
    assert len(dictionary) - len(dictionary.backgrounds) == 3
    found = rgba(dictionary, 2)
    assert (found == COIN).all() or (found == COIN[:, ::-1]).all()
    taken = delaminate.decompose(run.model, list(frames()))
    assert min(row["psnr"] for row in taken.rows) > 60
    used = {layer.placement.entry for scene in taken.scenes for layer in scene.layers if layer.id != "background"}
    assert used == {0, 2}


def test_a_sprite_too_rare_to_be_found_is_seen_where_it_is_given():
    drawn = frames(9, (COIN,))
    drawn[4, 30:38, 38:46][disc(8)] = HERO[disc(8)][:, :3]
    for given, seen in (({}, False), ({"hero": HERO}, True)):
        run = delaminate.train(list(drawn), "marionette", settings=SETTINGS, sprites=given or None)
        taken = delaminate.decompose(run.model, list(drawn))
        titles = [taken.scenes[4].dictionary.title(layer.placement.entry) for layer in taken.scenes[4].layers]
        assert ("hero" in titles) == seen


def test_two_given_sprites_that_mirror_each_other_and_always_touch_stay_two():
    both = np.concatenate([HERO, HERO[:, ::-1]], 1)
    run = delaminate.train(
        list(frames(12, (both,))), "marionette", settings=SETTINGS, sprites={"a": HERO, "b": HERO[:, ::-1].copy()}
    )
    dictionary = run.model.dictionary()
    assert dictionary.titles[:2] == ("a", "b")
    assert (rgba(dictionary, 1) == (HERO * (HERO[..., 3:] > 0))[:, ::-1]).all()
    assert len(dictionary) - len(dictionary.backgrounds) == 2


def test_a_run_that_was_cut_goes_on_with_them_to_the_same_bits(tmp_path):
    known = {"hero": HERO, "never seen": ABSENT}
    words = {"settings": {**SETTINGS, "search_steps": 2, "search_batch": 6}, "sprites": known}
    whole = delaminate.train(list(frames()), "marionette", out=tmp_path / "whole", **words)
    delaminate.train(list(frames()), "marionette", out=tmp_path / "parts", steps=1, **words)
    with pytest.raises(ConfigError, match="began with 2 sprites"):
        delaminate.train(list(frames()), "marionette", out=tmp_path / "parts", resume=True, sprites={"x": HERO})
    again = delaminate.train(list(frames()), "marionette", out=tmp_path / "parts", resume=True, sprites=known)
    state = whole.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.model.state_dict().items())
    stored = delaminate.load_model(tmp_path / "parts")
    assert stored.dictionary().titles[:2] == ("hero", "never seen")


def test_the_command_reads_a_folder_and_a_sheet_and_scenes_carry_the_names(command, tmp_path):
    clip = tmp_path / "clip"
    clip.mkdir()
    for number, frame in enumerate(frames()):
        Image.fromarray(frame).save(clip / f"{number:02d}.png")
    sheet = np.zeros((12, 24, 4), np.uint8)
    sheet[2:10, 1:9], sheet[2:10, 12:20] = HERO, COIN
    Image.fromarray(sheet).save(tmp_path / "sheet.png")
    rows = {
        f"{name}.png": {"frame": {"x": x, "y": 2, "w": 8, "h": 8}, "rotated": False}
        for name, x in (("hero", 1), ("coin", 12))
    }
    (tmp_path / "sheet.json").write_text(json.dumps({"frames": rows, "meta": {"image": "sheet.png"}}))
    words = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    out = str(tmp_path / "run")
    code, said, _ = command(
        "train", "marionette", str(clip), "--sprites", str(tmp_path / "sheet.json"), "--out", out, *words
    )
    assert code == 0, said
    assert command("decompose", out, str(clip), "--out", str(tmp_path / "scenes"))[0] == 0
    dictionary = load_scenes(tmp_path / "scenes")[0].dictionary
    assert {dictionary.title(entry) for entry in range(len(dictionary))} == {"hero", "coin", "background-0"}
    code, _, said = command("train", "dti-sprites", str(clip), "--preset", "instagram", "--sprites", str(clip))
    assert code != 0
    assert "only marionette's search can" in " ".join(said.split())


def test_what_is_no_sprite_is_refused_by_name(tmp_path):
    empty = folder_of(tmp_path / "empty", {"nothing": np.zeros((5, 5, 4), np.uint8)})
    with pytest.raises(DataError, match="'nothing': every pixel is transparent"):
        read_sprites(empty)
    large = folder_of(tmp_path / "large", {"wall": np.full((600, 4, 4), 255, np.uint8)})
    with pytest.raises(DataError, match="4 x 600 pixels; expected a sprite of up to 512"):
        read_sprites(large)
    with pytest.raises(DataError, match="no such folder"):
        read_sprites(tmp_path / "missing")
    with pytest.raises(ConfigError, match="given_sprites names 1 sprites, and none came"):
        delaminate.train(list(frames()), "marionette", settings={**SETTINGS, "given_sprites": ["hero"]})
    with pytest.raises(ConfigError, match="9 sprites are given, and num_sprites is 8"):
        delaminate.train(list(frames()), "marionette", settings=SETTINGS, sprites={str(n): HERO for n in range(9)})


def test_a_given_sprite_may_be_larger_than_a_byte_can_tell():
    rgb = np.random.default_rng(0).integers(90, 250, (12, 300, 3)).astype(np.uint8)
    pixels = np.zeros((6, 40, 320, 3), np.uint8)
    for n, frame in enumerate(pixels):
        frame[4 + 4 * n : 16 + 4 * n, 3 * n : 3 * n + 300] = rgb
    large = np.dstack([rgb, np.full((12, 300), 255, np.uint8)])
    settings = {**SETTINGS, "search_steps": 2, "background": "solid"}
    run = delaminate.train(list(pixels), "marionette", settings=settings, sprites={"large": large})
    assert run.model.store.sheet().sprites[0].size == (12, 300)

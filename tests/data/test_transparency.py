"""Transparent pixels of clips, folders and images in memory: one colour that nothing else has."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import delaminate
from delaminate.data import open_data
from delaminate.data.transparency import FAR, check_colour, replace_transparency, unused_colour
from delaminate.errors import DataError

CASES = Path(os.environ.get("DELAMINATE_DATA", "/nowhere")) / "cases_games"
MAGENTA = (255, 0, 255)


def figure(number, size=(32, 40), body=(200, 40, 40)):
    """A figure with a black outline on nothing, somewhere else in every frame."""
    pixels = np.zeros((*size, 4), np.uint8)
    left, top = 2 + 3 * number % 29, 3 + 5 * number % 20
    pixels[top : top + 9, left : left + 7] = (0, 0, 0, 255)
    pixels[top + 1 : top + 8, left + 1 : left + 6] = (*body, 255)
    pixels[top + 2, left + 2] = pixels[top + 4, left + 3] = (0, 0, 0, 255)
    return pixels


def folder(path, pictures):
    path.mkdir(exist_ok=True)
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(path / f"f{number:02d}.png")
    return path


def test_transparent_pixels_become_a_colour_of_their_own_and_black_stays(tmp_path):
    pictures = [figure(number) for number in range(3)]
    places = [folder(tmp_path / "set", pictures), pictures, [Image.fromarray(each) for each in pictures]]
    saved = [Image.fromarray(each) for each in pictures]
    saved[0].save(tmp_path / "a.png", save_all=True, append_images=saved[1:], duration=50, disposal=1)
    saved[0].save(tmp_path / "a.webp", save_all=True, append_images=saved[1:], duration=50, lossless=True, exact=True)
    saved[0].save(tmp_path / "a.gif", save_all=True, append_images=saved[1:], duration=50, disposal=2)
    for place in (*places, tmp_path / "a.png", tmp_path / "a.webp", tmp_path / "a.gif"):
        images = delaminate.open_images(place)
        assert images.transparent == MAGENTA, place
        shown = images.pixels.permute(0, 2, 3, 1).numpy()
        for pixels, picture in zip(shown, pictures, strict=True):
            hidden = picture[..., 3] == 0
            assert (pixels[hidden] == MAGENTA).all()
            assert np.array_equal(pixels[~hidden], picture[~hidden][:, :3])
        assert images.subset([1]).transparent == MAGENTA


def test_reading_for_a_canvas_stays_over_black(tmp_path):
    place = folder(tmp_path / "set", [figure(number) for number in range(2)])
    for images in (delaminate.open_images(place, (16, 16)), open_data(place, labels=False), open_data(place)):
        assert images.transparent is None
        assert int(images.pixels[:, :, 0, 0].max()) == 0


def test_a_colour_that_frames_use_is_not_taken(tmp_path):
    pictures = [figure(0, body=MAGENTA), figure(1, body=(0, 255, 0))]
    assert delaminate.open_images(folder(tmp_path / "set", pictures)).transparent == (0, 255, 255)
    rng = np.random.default_rng(0)
    crowded = [rng.integers(0, 8, (200, 200, 3), dtype=np.uint8) * 36 for _ in range(3)]
    found = unused_colour(crowded)
    used = np.concatenate(crowded).reshape(-1, 3).astype(float)
    assert np.sqrt(((used - found) ** 2).sum(1)).min() > 20
    few = unused_colour([np.zeros((2, 2, 4), np.uint8)])
    assert few == MAGENTA
    black = np.zeros((1, 1, 3)) / 255
    assert np.sqrt(((black - np.array(unused_colour([np.zeros((1, 1, 3), np.uint8)])) / 255) ** 2).sum()) > FAR


def test_a_model_may_say_which_colour_it_knows(tmp_path):
    place = folder(tmp_path / "set", [figure(0)])
    images = delaminate.open_images(place, transparent=(1, 2, 3))
    assert images.transparent == (1, 2, 3)
    assert images.pixels[0, :, 0, 0].tolist() == [1, 2, 3]
    for wrong in ((1, 2), (0, 0, 256), (-1, 0, 0)):
        with pytest.raises(DataError, match="red, green and blue"):
            check_colour(wrong)


def test_soft_alpha_is_composited_over_black_as_ever(tmp_path):
    soft = figure(0)
    soft[..., 3] = np.linspace(0, 255, soft[..., 3].size).reshape(soft.shape[:2])
    images = delaminate.open_images(folder(tmp_path / "set", [soft]))
    assert images.transparent is None
    assert torch.equal(images.pixels, open_data(tmp_path / "set").pixels)
    edge = figure(0)
    edge[3, 2, 3] = 200  # one soft pixel of an outline shows its colour
    found, key = replace_transparency([edge], "auto")
    assert key == MAGENTA
    assert found[0][3, 2].tolist() == [0, 0, 0]


def test_opaque_images_have_nothing_transparent(tmp_path):
    opaque = figure(0)
    opaque[..., 3] = 255
    images = delaminate.open_images(folder(tmp_path / "set", [opaque, figure(1)[..., :3]]))
    assert images.transparent is None


def test_sets_of_different_transparent_colours_are_not_joined():
    pictures = [figure(0)]
    one, other = (delaminate.open_images(pictures, transparent=key) for key in (MAGENTA, (0, 255, 0)))
    with pytest.raises(DataError, match="one transparent colour"):
        one.joined(other)


def test_a_transparent_clip_comes_back_transparent_and_exact(tmp_path):
    pictures = [figure(number) for number in range(6)]
    place = folder(tmp_path / "set", pictures)
    settings = {"background": "solid", "search_steps": 1, "max_sprite": 16, "num_sprites": 3, "steps": 0}
    run = delaminate.train(place, "marionette", settings=settings, out=tmp_path / "run", device="cpu")
    assert run.images.transparent == MAGENTA
    found = delaminate.decompose(run.model, place, tmp_path / "scenes", device="cpu")
    assert all(not scene.background for scene in found)
    assert found.means["psnr"] > 60
    written = delaminate.recompose(tmp_path / "scenes", tmp_path / "out")
    for path, picture in zip(written, pictures, strict=True):
        assert np.array_equal(np.asarray(Image.open(path)), picture)


def test_a_hidden_background_is_transparent_in_recomposed_images(tmp_path):
    from helpers.exports import clip

    scenes = clip(3)[:2]
    (whole, bare) = (scenes[0], scenes[0].hide("background"))
    for name, scene in (("whole", whole), ("bare", bare)):
        (path,) = delaminate.recompose([scene], tmp_path / name)
        with Image.open(path) as picture:
            assert picture.mode == ("RGB" if name == "whole" else "RGBA")
            if name == "bare":
                assert np.asarray(picture)[..., 3].min() == 0


@pytest.mark.skipif(not CASES.is_dir(), reason="cases_games is not there")
def test_the_recorded_case_keeps_its_black_outlines():
    images = delaminate.open_images(CASES / "m1_alpha")
    control = delaminate.open_images(CASES / "m1_control")
    assert images.transparent == MAGENTA
    assert control.transparent is None
    hidden = (images.pixels == torch.tensor(MAGENTA).view(1, 3, 1, 1)).all(1)
    picture = np.asarray(Image.open(CASES / "m1_alpha" / "f000.png"))
    assert np.array_equal(hidden[0].numpy(), picture[..., 3] == 0)

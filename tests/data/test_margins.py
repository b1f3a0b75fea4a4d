"""Uniform margins of clips, cut off and painted again; folders of images of different sizes."""

import numpy as np
import pytest
import torch
from helpers.notes import Notes
from PIL import Image

import delaminate
from delaminate.data import ImageSet, open_data
from delaminate.data.margins import cut_margins, find_margins
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.native import native_scenes
from delaminate.scene.scenes import BORDER


def frames(count=6, size=(40, 48)):
    """A clip of a busy picture that scrolls."""
    picture = np.random.default_rng(0).integers(40, 256, (size[0], size[1] + count, 3), dtype=np.uint8)
    return np.stack([picture[:, at : at + size[1]] for at in range(count)])


def clip(pixels):
    images = ImageSet.from_arrays(pixels)
    return ImageSet(images.pixels, images.names, images.canvas_maps, rate=10.0)


def bars(pixels, top=0, left=0, bottom=0, right=0, colour=(0, 0, 0)):
    height, width = pixels.shape[1:3]
    out = np.empty((len(pixels), top + height + bottom, left + width + right, 3), np.uint8)
    out[:] = colour
    out[:, top : top + height, left : left + width] = pixels
    return out


@pytest.mark.parametrize(
    ("widths", "colour"),
    [((5, 0, 7, 0), (0, 0, 0)), ((0, 4, 0, 2), (2, 3, 4)), ((6, 3, 6, 3), (90, 80, 200)), ((9, 0, 0, 0), (0, 0, 0))],
)
def test_margins_are_found_cut_and_painted_again(widths, colour):
    inside = frames()
    images = clip(bars(inside, *widths, colour))
    margins = find_margins(images)
    assert tuple(map(len, (margins.top, margins.left, margins.bottom, margins.right))) == widths
    cut = cut_margins(images, margins)
    assert np.array_equal(cut.pixels.permute(0, 2, 3, 1).numpy(), inside)
    rgba = torch.cat([cut.pixels[:, :3] / 255, torch.ones(6, 1, 40, 48)], 1)
    found = Decomposition.from_rasters(rgba[:, None], True)
    found = Decomposition(found.dictionary, found.images, found.size, True, cut.canvas_maps)
    for scene, picture in zip(found.scenes(), images.pixels, strict=True):
        assert (scene.composite() - picture / 255).abs().max() < 1e-6
        assert scene.layers[-1].id == BORDER
        assert scene.layers[0].id == "background"


def test_what_is_no_margin_stays():
    inside = frames()
    sky = inside.copy()
    sky[:, :12] = (90, 150, 250)
    sky[:, 12:14, :20] = (90, 150, 250)
    assert find_margins(clip(sky)) is None  # plain above, and nothing like it below
    dark = np.zeros((6, 40, 48, 3), np.uint8)
    for at, frame in enumerate(dark):
        frame[14:20, 5 + at : 12 + at] = 200
    assert find_margins(clip(dark)) is None  # figures before black: no edge
    moving = bars(inside, 5, 0, 5, 0, (90, 80, 200))  # one of the two changes, so neither is cut
    moving[3, 1] = 99
    assert find_margins(clip(moving)) is None
    assert find_margins(clip(bars(inside, 1, 0, 1, 0))) is None
    assert find_margins(clip(bars(inside, 5, 0, 5, 0)[:4])) is None
    assert find_margins(ImageSet.from_arrays(bars(inside, 5, 0, 5, 0))) is None
    assert find_margins(clip(np.zeros((6, 9, 9, 3), np.uint8))) is None


def test_a_letterboxed_capture_of_enlarged_art_comes_back_at_its_own_size(tmp_path):
    native = frames(size=(24, 32))
    large = bars(native.repeat(3, 1).repeat(3, 2), 11, 0, 10, 0)
    pictures = [Image.fromarray(each) for each in large]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:], duration=50)
    said = Notes()
    images = delaminate.open_images(tmp_path / "a.png", callback=said)
    assert np.array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), native)
    assert said.notes == [
        "Uniform margins are left out: 11 pixels above, 10 pixels below; scenes have them again.",
        "The images are pixel art, enlarged 3 times; worked on at their own size.",
    ]
    rgba = torch.cat([images.pixels / 255, torch.ones(6, 1, 24, 32)], 1)
    found = Decomposition.from_rasters(rgba[:, None], True)
    found = Decomposition(found.dictionary, found.images, found.size, True, images.canvas_maps)
    scenes = found.scenes()
    for scene, picture in zip(scenes, large, strict=True):
        assert (scene.composite().permute(1, 2, 0) * 255 - torch.from_numpy(picture)).abs().max() < 1e-3
    small = native_scenes(scenes, images.canvas_maps[0].blocks)
    assert [len(scene.layers) for scene in small] == [1] * 6
    assert (small[2].composite() - images.pixels[2] / 255).abs().max() < 1e-6


def test_images_of_different_sizes_are_padded_with_the_colour_of_their_borders(tmp_path):
    paper = (240, 230, 210)
    sizes = [(30, 20), (28, 24), (31, 22)]
    for number, size in enumerate(sizes):
        page = np.full((*size, 3), paper, np.uint8)
        page[5:9, 4:12] = 30 * number
        page[0, number] = 0
        Image.fromarray(page).save(tmp_path / f"page-{number}.png")
    said = Notes()
    images = delaminate.open_images(tmp_path, callback=said)
    assert images.size == (31, 24)
    assert "padded to 24 x 31" in said.notes[0]
    assert [canvas_map.original for canvas_map in images.canvas_maps] == sizes
    assert images.pixels[0, :, 30, 23].tolist() == list(paper)
    rgba = torch.cat([images.pixels / 255, torch.ones(3, 1, 31, 24)], 1)
    found = Decomposition.from_rasters(rgba[:, None], True)
    found = Decomposition(found.dictionary, found.images, found.size, True, images.canvas_maps)
    for number, scene in enumerate(found.scenes()):
        page = np.asarray(Image.open(tmp_path / f"page-{number}.png"))
        assert np.abs(scene.composite().permute(1, 2, 0).numpy() * 255 - page).max() < 1e-3
    same = delaminate.open_images([np.zeros((5, 6, 3), np.uint8)] * 2)
    assert same.canvas_maps[0].is_identity
    with pytest.raises(delaminate.DataError, match="give one size"):
        open_data(tmp_path)


def test_captures_are_brought_to_a_models_size_by_undoing_what_was_done_to_them(tmp_path):
    rng = np.random.default_rng(2)
    native = np.full((6, 40, 50, 3), (30, 40, 60), np.uint8)
    for at, frame in enumerate(native):
        for number in range(5):
            frame[3 + 7 * number : 9 + 7 * number, 4 + 6 * number + at : 11 + 6 * number + at] = rng.integers(
                90, 255, (6, 7, 3)
            )
    rows, columns = (((np.arange(round(side * 2.5)) + 0.5) / 2.5).astype(int) for side in (40, 50))
    large = bars(native[:, rows][:, :, columns], 9, 0, 9, 0)
    pictures = [Image.fromarray(each) for each in large]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:], duration=50)
    images = delaminate.open_images(tmp_path / "a.png", (40, 50))
    assert np.array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), native)
    assert images.canvas_maps[0].blocks.step == (2.5, 2.5)
    resampled = delaminate.open_images(tmp_path / "a.png", (36, 44))
    assert resampled.canvas_maps[0].blocks is None


def test_a_narrow_margin_is_left_out_again_for_a_model_of_what_is_inside(tmp_path):
    """Resampled to the model's size, every row would be at another place."""
    inside = np.kron(frames(), np.ones((1, 2, 2, 1), np.uint8))  # 80 x 96, which nothing enlarges
    inside[:, 1::2] ^= 16
    inside[:, :, 1::3] ^= 32
    whole = bars(inside, bottom=6)
    whole[0] = 0  # the first frame has wider margins than the others
    pictures = [Image.fromarray(each).convert("P", palette=Image.Palette.ADAPTIVE) for each in whole]
    shown = np.stack([np.asarray(each.convert("RGB")) for each in pictures])
    pictures[0].save(tmp_path / "clip.gif", save_all=True, append_images=pictures[1:], duration=100)
    notes = Notes()
    images = delaminate.open_images(tmp_path / "clip.gif", size=(80, 96), callback=notes)
    assert np.array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), shown[:, :80])
    assert any("6 pixels below" in note for note in notes.notes)


def test_margins_that_are_not_left_out_are_not_spoken_of(tmp_path):
    whole = bars(frames(), top=10, bottom=10)
    pictures = [Image.fromarray(each) for each in whole]
    pictures[0].save(tmp_path / "clip.gif", save_all=True, append_images=pictures[1:], duration=100)
    notes = Notes()
    assert delaminate.open_images(tmp_path / "clip.gif", size=(32, 32), callback=notes).size == (32, 32)
    assert not any("margins" in note for note in notes.notes)


def test_an_enlarged_clip_that_begins_in_the_dark_is_undone_for_a_model_of_its_own_pixels(tmp_path):
    """What few frames are cut to says nothing of the others."""
    native = np.random.default_rng(3).integers(60, 255, (16, 40, 48, 3)).astype(np.uint8)
    native[:8, :, :10] = native[:8, :, 38:] = 0
    large = native.repeat(3, 1).repeat(3, 2)
    pictures = [Image.fromarray(each) for each in large]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:], duration=50)
    images = delaminate.open_images(tmp_path / "a.png", (40, 48))
    assert np.array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), native)
    assert images.canvas_maps[0].zoom == 3

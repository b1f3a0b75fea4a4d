"""Python and the command line do the same with every model in the box, and Python takes images of every kind."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.folders import contents
from PIL import Image
from torch.testing import assert_close

import delaminate
from delaminate import zoo
from delaminate.data import draw_images, write_folder
from delaminate.errors import ConfigError, DataError
from delaminate.files import to_pixels

PHOTO_METHODS = ("redo", "perturbgan")


def photo(height, width):
    """An object in the middle of a textured background."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([90 + 40 * np.sin(x / 7), 120 + 50 * np.cos(y / 9 + x / 30), 80 + 30 * np.sin((x + y) / 11)], 2)
    inside = ((y - height / 2) / (0.3 * height)) ** 2 + ((x - width / 2) / (0.25 * width)) ** 2 < 1
    image[inside] = (220, 60, 90)
    return image.clip(0, 255).astype(np.uint8)


def inputs_for(name, folder):
    """Photos of different sizes, or frames of a game, enlarged twice."""
    folder.mkdir()
    if name.split("/")[0] in PHOTO_METHODS:
        arrays = [photo(96, 150), photo(70, 64)]
    else:
        drawn = {"space-invaders": "platform-game"}.get(name.split("/")[1], name.split("/")[1])
        pixels = draw_images(drawn, 2, split="dev").pixels.permute(0, 2, 3, 1).numpy()
        arrays = [frame.repeat(2, 0).repeat(2, 1) for frame in pixels]
    for index, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{index:06d}.png")
    return arrays


@pytest.mark.parametrize("name", zoo.names())
def test_every_model_in_the_box_does_the_same_both_ways(name, tmp_path, command):
    arrays = inputs_for(name, tmp_path / "images")
    found = delaminate.decompose(name, tmp_path / "images", tmp_path / "python", device="cpu")
    code = command("decompose", name, tmp_path / "images", "--out", tmp_path / "cli", "--device", "cpu")[0]
    assert code == int(found.verdict.level == "nothing")
    assert contents(tmp_path / "python") == contents(tmp_path / "cli")
    # In memory, too, at the images' own size; photos are seen through their own masks.
    model = delaminate.load_model(name)
    inside = delaminate.decompose(model, [Image.fromarray(array) for array in arrays], device="cpu")
    for own, kept, array in zip(inside, found, arrays, strict=True):
        assert own.size == kept.size == array.shape[:2]
        # Files are rounded to 8 bits.
        assert_close(own.composite(), kept.composite(), atol=2 / 255, rtol=0)
        if found.copies_input:
            assert np.array_equal(to_pixels(own.composite()), array)


KINDS = {
    "PIL images": lambda arrays: [Image.fromarray(array) for array in arrays],
    "a list of arrays": list,
    "an array": np.stack,
    "an array of floats": lambda arrays: np.stack(arrays).astype(np.float32) / 255,
    "a tensor": lambda arrays: torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2),
    "a tensor of floats": lambda arrays: torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 255,
    "with alpha": lambda arrays: [np.concatenate([a, np.full_like(a[..., :1], 255)], 2) for a in arrays],
    "an ImageSet": lambda arrays: delaminate.ImageSet.from_arrays(np.stack(arrays)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_every_kind_are_the_same_images(kind):
    arrays = [photo(20, 30), photo(20, 30)[::-1].copy()]
    for size in (None, (16, 16)):
        images = delaminate.open_images(KINDS[kind](arrays), size)
        expected = delaminate.open_images(arrays, size)
        assert torch.equal(images.pixels, expected.pixels)
        assert images.names == expected.names == ("000000", "000001")
    assert len(delaminate.open_images(KINDS[kind](arrays), count=1)) == 1


def test_one_image_may_come_alone():
    for one in (photo(20, 30), Image.fromarray(photo(20, 30)), torch.from_numpy(photo(20, 30)).permute(2, 0, 1)):
        assert torch.equal(delaminate.open_images(one).pixels[0].permute(1, 2, 0), torch.from_numpy(photo(20, 30)))
    assert torch.equal(*(delaminate.open_images(np.full(shape, 7, np.uint8)).pixels for shape in ((4, 5), (4, 5, 1))))


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ([], "there is no image"),
        ("nowhere", "no built-in data set"),
        (np.zeros((4, 5, 2), np.uint8), "expected"),
        (np.zeros((4, 5, 3), np.int64), "holds int64"),
        (np.full((4, 5, 3), 255.0), "outside"),
        (np.full((4, 5, 3), np.nan), "outside"),
        (torch.zeros(5, 4, 4), "expected"),
        ([object()], "got object"),
        ([np.zeros((4, 5, 3), np.uint8), np.zeros((5, 5, 3), np.uint8)], "give one size for all"),
    ],
)
def test_what_is_no_image_is_refused(images, says):
    with pytest.raises(DataError, match=says):
        delaminate.open_images(images)


def test_training_takes_images_a_name_or_a_class_and_shows_itself(tmp_path):
    images = np.stack([np.roll(photo(16, 16), shift, 1) for shift in range(4)])
    settings = {
        "mask_width": 8,
        "generator_width": 2,
        "discriminator_width": 16,
        "noise_width": 4,
        "batch": 2,
        "steps": 2,
    }
    settings |= {"image_size": [16, 16], "distil_steps": 0}
    heard = []

    class Hears(delaminate.SilentCallback):
        def step(self, name, step, figures):
            heard.append((name, step))

    run = delaminate.train(
        images, "redo", settings=settings, out=tmp_path / "run", device="cpu", callback=Hears(), overwrite=True
    )
    assert run.result.finished and run.page.exists() and heard[-1] == ("adversary", 2)
    assert "<img" in run._repr_html_()
    other = delaminate.train(images, delaminate.ReDO, "photos", settings=settings, device="cpu")
    third = delaminate.train(images, delaminate.ReDO.preset("photos", **settings), device="cpu")
    for name, weight in run.model.state_dict().items():
        assert torch.equal(weight, other.model.state_dict()[name]), name
        assert torch.equal(weight, third.model.state_dict()[name]), name
    with pytest.raises(ConfigError, match="holds a run already"):
        delaminate.train(images, "redo", settings=settings, out=tmp_path / "run", device="cpu")
    with pytest.raises(ConfigError, match="a model brings its own settings"):
        delaminate.train(images, third.model, "photos")
    with pytest.raises(ConfigError, match="needs a --preset"):
        delaminate.train(images, "dti-sprites")


def test_scenes_are_edited_recomposed_and_exported_in_memory(made, tmp_path):
    scenes = delaminate.load_scenes(made)
    layer = scenes[0].layers[-1].id
    edited, counts = delaminate.edit(scenes, lambda scene, name: scene.move(name, 2, 1), layers=[layer])
    assert counts[scenes[0].name] == 1
    assert not torch.equal(edited[0].composite(), scenes[0].composite())
    assert torch.equal(delaminate.load_scenes(made)[0].composite(), scenes[0].composite())  # nothing was saved
    assert len(delaminate.recompose(edited, tmp_path / "flat")) == len(scenes)
    assert delaminate.export(edited, tmp_path / "out", ["png"])["png"].files
    assert delaminate.export(edited, tmp_path / "out", (name for name in ("png", "coco"))).keys() == {"png", "coco"}


@pytest.mark.plain
@pytest.mark.parametrize("wrong", [Path("out"), [Path("out")], None])
def test_formats_that_are_no_names_are_told_in_words(made, tmp_path, wrong):
    with pytest.raises(ConfigError, match="expected names of formats"):
        delaminate.export(delaminate.load_scenes(made), tmp_path / "out", wrong)


def test_results_show_themselves_in_notebooks(made):
    scenes = delaminate.load_scenes(made)
    for shown in (scenes, scenes[0], scenes[0].dictionary, delaminate.Decomposition.from_scene(scenes[0])):
        assert "data:image/png;base64," in shown._repr_html_()
        assert "<script" not in shown._repr_html_()


def test_labelled_sets_are_evaluated_in_memory(tmp_path, model):
    drawn = delaminate.draw("tetrominoes", 3, split="dev")
    write_folder(drawn, tmp_path / "set")
    inside, folder = (delaminate.evaluate(str(model), data, device="cpu") for data in (drawn, tmp_path / "set"))
    assert inside["ari_fg"] == folder["ari_fg"]

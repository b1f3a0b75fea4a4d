import io
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers.exports import clip, composite, over, scenes, solid
from PIL import Image
from torch.testing import assert_close

from delaminate.exporters.openraster import write_openraster
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform


def read_stack(archive):
    text = archive.read("stack.xml")
    assert b"<!" not in text  # no DTD, so no entities
    return ElementTree.fromstring(text)


def flatten_file(path):
    """Composite an .ora as a paint program would."""
    with zipfile.ZipFile(path) as archive:
        root = read_stack(archive)
        canvas = np.zeros((int(root.get("h")), int(root.get("w")), 3))
        for layer in reversed(list(root.iter("layer"))):
            pixels = np.asarray(Image.open(io.BytesIO(archive.read(layer.get("src")))))
            if layer.get("visibility") != "hidden":
                over(canvas, pixels, int(layer.get("x")), int(layer.get("y")), float(layer.get("opacity")))
        return canvas


@pytest.mark.parametrize("background", [True, False])
def test_the_file_composites_to_the_scene_within_the_recorded_error(tmp_path, background):
    shown = scenes(background)
    result = write_openraster(shown, tmp_path)
    worst = 0.0
    for scene, path in zip(shown, result.files, strict=True):
        picture = scene.composite().permute(1, 2, 0).double().numpy()
        worst = max(worst, np.abs(flatten_file(path) - picture).max())
        with zipfile.ZipFile(path) as archive:
            merged = np.asarray(Image.open(io.BytesIO(archive.read("mergedimage.png")))) / 255
            assert np.abs(merged[..., 3:] * merged[..., :3] - picture).max() < 0.01
    assert_close(worst, result.max_error)
    assert result.max_error < 0.01


def test_the_archive_is_what_the_format_asks_for(tmp_path):
    path = write_openraster(scenes(), tmp_path).files[2]
    assert path.name == 'two <&"> é.png.ora'
    data = path.read_bytes()
    assert data[30:38] == b"mimetype"
    assert data[38:54] == b"image/openraster"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        assert max(Image.open(io.BytesIO(archive.read("Thumbnails/thumbnail.png"))).size) <= 256
        layers = list(read_stack(archive).iter("layer"))
    assert names[0] == "mimetype"
    assert names[-2:] == ["mergedimage.png", "Thumbnails/thumbnail.png"]
    assert layers[-1].get("name") == "background-0 [background]"  # furthest back is last
    assert layers[-2].get("name") == "<b>&'\" ü [layer-01]"
    assert [layer.get("visibility") for layer in layers] == ["visible"] * 3 + ["hidden"] + ["visible"] * 2


def test_the_same_scenes_give_the_same_bytes(tmp_path):
    first = [path.read_bytes() for path in write_openraster(scenes(), tmp_path / "a").files]
    assert [path.read_bytes() for path in write_openraster(scenes(), tmp_path / "b").files] == first


def test_clips_with_a_scrolling_ground_mirrors_and_tracks_come_back(tmp_path):
    shown = clip()
    result = write_openraster(shown, tmp_path)
    assert result.max_error < 0.01
    for scene, path in zip(shown, result.files, strict=True):
        assert np.abs(flatten_file(path) - composite(scene)).max() < 0.01


def test_a_sprite_that_is_half_outside_stays_whole(tmp_path):
    (scene,) = Decomposition(
        Dictionary((solid((9, 7), 1),)), ((Placement(0, (Transform.mirror(-3, 20, 7, (24, 30)),)),),), (24, 30)
    ).scenes()
    (path,) = write_openraster([scene], tmp_path).files
    with zipfile.ZipFile(path) as archive:
        (layer,) = read_stack(archive).iter("layer")
        picture = np.asarray(Image.open(io.BytesIO(archive.read(layer.get("src")))))
    assert (layer.get("x"), layer.get("y"), picture.shape) == ("-3", "20", (9, 7, 4))
    wanted = np.rint(scene.dictionary.sprites[0].permute(1, 2, 0).numpy()[:, ::-1] * 255)
    assert (picture == wanted).all()


def test_hundreds_of_placements_come_back(tmp_path):
    size = (90, 120)
    sprites = tuple(solid((9, 7), seed) for seed in range(5))
    places = [((37 * i) % 130 - 8, (53 * i) % 100 - 8, i % 3) for i in range(400)]
    placements = [
        Placement(i % 5, (Transform.mirror(x, y, 7, size) if turned else Transform.shift(x, y, size),), track=i)
        for i, (x, y, turned) in enumerate(places)
    ]
    (scene,) = Decomposition(Dictionary(sprites), (tuple(placements),), size).scenes()
    (path,) = write_openraster([scene], tmp_path).files
    with zipfile.ZipFile(path) as archive:
        assert len(list(read_stack(archive).iter("layer"))) == 400
    assert np.abs(flatten_file(path) - composite(scene)).max() < 0.01

import json

import numpy as np
import pytest
import torch
from helpers.exports import NAMES, scenes
from PIL import Image
from torch.testing import assert_close

from delaminate.errors import OutputError
from delaminate.exporters.pngs import label_picture, write_masks, write_pngs
from delaminate.scene.decomposition import Decomposition


@pytest.mark.parametrize("background", [True, False])
def test_the_layers_composite_to_the_scene_within_the_recorded_error(tmp_path, background):
    shown = scenes(background)
    result = write_pngs(shown, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["max_error"] == result.max_error < 0.01
    worst = 0.0
    for scene, image in zip(shown, manifest["images"], strict=True):
        canvas = np.zeros((*scene.size, 3))
        for row, layer in zip(image["layers"], scene.layers, strict=True):
            assert (row["id"], row["name"], row["visible"]) == (layer.id, layer.name, layer.visible)
            pixels = np.asarray(Image.open(tmp_path / row["file"])) / 255
            assert pixels.shape == (*scene.size, 4)
            if row["visible"]:
                canvas = pixels[..., 3:] * pixels[..., :3] + (1 - pixels[..., 3:]) * canvas
        picture = scene.composite().permute(1, 2, 0).double().numpy()
        worst = max(worst, np.abs(canvas - picture).max())
    assert_close(worst, result.max_error)
    assert set(result.files) == {path for path in tmp_path.rglob("*") if path.is_file()}


def test_hidden_parts_of_a_layer_are_in_its_picture(tmp_path):
    write_pngs(scenes(), tmp_path)
    alpha = np.asarray(Image.open(tmp_path / NAMES[0] / "00-background.png"))[..., 3]
    assert (alpha == 255).all()


def test_masks_are_the_labels(tmp_path):
    shown = scenes()
    assert write_masks(shown, tmp_path).max_error is None
    for scene in shown:
        instances, classes = Decomposition.from_scene(scene).labels()
        for name, labels in (("instances", instances), ("classes", classes)):
            read = np.asarray(Image.open(tmp_path / scene.name / f"{name}.png"))
            assert torch.equal(torch.from_numpy(read.astype(np.int64)), labels[0])


def test_many_labels_take_sixteen_bits():
    assert label_picture(np.array([[0, 255]])).dtype == np.uint8
    assert label_picture(np.array([[0, 256]])).dtype == np.uint16


def test_what_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_pngs(scenes(), tmp_path / "file")

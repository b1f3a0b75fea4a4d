"""Scenes from noise: layers like those of any image."""

import json

import torch

from delaminate.data import open_data
from delaminate.methods import save_model
from delaminate.methods.perturbgan import Config, PerturbGAN
from delaminate.scene.compositing import composite
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.loading import load_scenes

CONFIG = Config(image_size=(16, 16), noise_width=4, mapping_depth=1, width=8, max_channels=8, segmenter_width=8)


def test_scenes_from_noise_are_scenes_and_the_first_are_the_same_however_many_there_are(command, tmp_path):
    save_model(PerturbGAN(CONFIG), tmp_path / "model")
    for count in (3, 66):
        code, said, err = command(
            "sample", tmp_path / "model", "--out", tmp_path / str(count), "-n", count, "--seed", 2
        )
        assert code == 0, err
        assert f"{count} scenes from noise" in said
    few, many = load_scenes(tmp_path / "3"), load_scenes(tmp_path / "66")
    assert (len(few), len(many)) == (3, 66)
    pictures = torch.stack([scene.composite() for scene in many])
    assert torch.equal(torch.stack([scene.composite() for scene in few]), pictures[:3])
    assert len({picture.numpy().tobytes() for picture in pictures}) == 66
    assert all(scene.background and len(scene.layers) == 2 for scene in many)


def test_who_stops_it_keeps_every_finished_scene_and_hears_how_many(command, tmp_path, monkeypatch):
    save_model(PerturbGAN(CONFIG), tmp_path / "model")
    paint, out = PerturbGAN.sample, tmp_path / "made"

    def painted(self, *words):
        if out.exists() and len(load_scenes(out)) == 6:
            raise KeyboardInterrupt
        return paint(self, *words)

    monkeypatch.setattr(PerturbGAN, "sample", painted)
    monkeypatch.setattr("delaminate.pipelines.sampling.AT_A_TIME", 3)
    code, _, err = command("sample", tmp_path / "model", "--out", out, "-n", 10)
    assert code == 130
    assert f"6 of 10 scenes are in {out}" in err
    assert len(load_scenes(out)) == 6


def test_images_and_masks_of_scenes_from_noise_are_a_labelled_set(command, tmp_path):
    model = PerturbGAN(CONFIG)
    model.trained[-1] = 1.0  # its segmenter
    save_model(model, tmp_path / "model")
    assert command("sample", tmp_path / "model", "--out", tmp_path / "made", "-n", 2)[0] == 0
    assert command("recompose", tmp_path / "made", "--out", tmp_path / "set" / "images")[0] == 0
    assert command("export", tmp_path / "made", "--to", "masks,coco", "--out", tmp_path / "set")[0] == 0
    told = json.loads((tmp_path / "set" / "coco" / "annotations.json").read_text())
    assert [image["file_name"] for image in told["images"]] == ["000000.png", "000001.png"]
    assert sorted(path.name for path in (tmp_path / "set" / "images").iterdir()) == ["000000.png", "000001.png"]
    labelled = open_data(tmp_path / "set")
    true = torch.cat([Decomposition.from_scene(scene).labels()[0] for scene in load_scenes(tmp_path / "made")])
    assert torch.equal(labelled.labels.instances, true.long())
    code, said, err = command("evaluate", tmp_path / "model", tmp_path / "set")
    assert code == 0, err
    assert "iou" in said


def test_what_asks_for_sprites_is_refused_where_scenes_share_none(command, tmp_path):
    save_model(PerturbGAN(CONFIG), tmp_path / "model")
    assert command("sample", tmp_path / "model", "--out", tmp_path / "made", "-n", 1)[0] == 0
    code, _, err = command("export", tmp_path / "made", "--to", "png,atlas", "--out", tmp_path / "set")
    assert code == 2
    assert "--to atlas: these scenes share no sprites" in err
    assert not (tmp_path / "set").exists()
    code, _, err = command("edit", tmp_path / "made", "hide", "--entry", "sprite-00")
    assert code == 2
    assert "share no sprites. Name layers by --layer" in err


def test_saved_scenes_are_what_was_painted(command, tmp_path):
    from delaminate.rng import stream

    model = PerturbGAN(CONFIG)
    save_model(model, tmp_path / "model")
    assert command("sample", tmp_path / "model", "--out", tmp_path / "made", "-n", 2)[0] == 0
    layers = model.sample(64, stream(0, "sample", 0))[:2]
    saved = torch.stack([scene.composite() for scene in load_scenes(tmp_path / "made")])
    torch.testing.assert_close(saved, composite(layers), atol=3 / 255, rtol=0)


def test_scenes_that_are_there_are_kept_and_other_models_paint_nothing(command, model, scenes, tmp_path):
    save_model(PerturbGAN(CONFIG), tmp_path / "model")
    code, _, err = command("sample", tmp_path / "model", "--out", scenes)
    assert code == 2
    assert "--overwrite" in err
    code, _, err = command("sample", model, "--out", tmp_path / "out")
    assert code == 2
    assert "dti-sprites: this model paints nothing from noise" in err
    code, _, err = command("sample", "perturbgan/objects-on-texture", "--out", tmp_path / "out")
    assert code == 2
    assert "holds no generator" in err

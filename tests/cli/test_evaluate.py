import json
import shutil

import pytest

from delaminate.metrics import evaluation


def test_figures_are_printed_with_their_meaning_and_written(command, model, tmp_path):
    path = tmp_path / "deep" / "figures.json"
    code, out, _ = command("evaluate", model, "tetrominoes", "-n", 6, "--json", path)
    assert code == 0
    assert "1 is perfect, 0 is chance" in out
    figures = json.loads(path.read_text())
    expected = {"ari", "ari_fg", "ari_fg_helped", "class_accuracy", "class_miou", "precision", "recall", "f1"}
    expected |= {"f1_25", "f1_75", "f1_mean", "iou"}
    assert set(figures) == expected | {"psnr", "images_per_second", "count", "protocol"}
    assert figures["count"] == 6
    assert figures["protocol"].startswith(
        "tetrominoes, a replica drawn by this library (6 images, dev scenes of seed 0)"
    )


def test_a_written_folder_gives_the_figures_of_the_drawn_set(command, model, pieces, tmp_path):
    assert command("evaluate", model, "tetrominoes", "-n", 5, "--json", tmp_path / "a.json")[0] == 0
    assert command("evaluate", model, pieces, "--json", tmp_path / "b.json")[0] == 0
    one, other = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    for name in set(one) - {"images_per_second", "protocol"}:
        assert one[name] == pytest.approx(other[name])


def test_images_without_labels_give_error_and_speed(command, model, pieces, tmp_path):
    assert command("evaluate", model, pieces / "images", "--json", tmp_path / "a.json")[0] == 0
    assert set(json.loads((tmp_path / "a.json").read_text())) == {"psnr", "images_per_second", "count", "protocol"}


def test_ignored_values_are_left_out(command, model, pieces, tmp_path):
    assert command("evaluate", model, pieces, "--json", tmp_path / "a.json")[0] == 0
    assert command("evaluate", model, pieces, "--ignore", 1, "--ignore", 2, "--json", tmp_path / "b.json")[0] == 0
    one, other = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert one["ari"] != other["ari"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tetrominoes", "--split", "test"], "only `delaminate bench` opens the test scenes"),
        (["tetromino"], "Did you mean 'tetrominoes'?"),
        (["multi-dsprites", "-n", "2"], "'multi-dsprites' is drawn in 64 x 64 pixels; asked for 35 x 35"),
        (["tetrominoes", "--by", "search"], "cannot decompose by 'search'"),
    ],
)
def test_what_cannot_be_measured_is_refused(command, model, words, message):
    code, _, err = command("evaluate", model, *words)
    assert code == 2
    assert message in err


def test_models_are_listed_and_described(command, model):
    assert command("models")[0] == 0
    code, out, _ = command("models", model)
    assert code == 0
    assert "dti-sprites" in out
    assert "35 x 35 pixels" in out
    assert "3 sprites" in out


def test_fid_needs_a_model_that_paints_from_noise(command, model, tmp_path, monkeypatch):
    from delaminate.methods import save_model
    from delaminate.methods.perturbgan import Config, PerturbGAN

    code, _, err = command("evaluate", model, "tetrominoes", "-n", "4", "--fid", "inception.onnx")
    assert code == 2
    assert "paints nothing from noise" in err
    config = Config(image_size=(16, 16), noise_width=4, mapping_depth=1, width=8, max_channels=8, segmenter_width=8)
    painting = PerturbGAN(config)
    save_model(painting, tmp_path / "model")

    class Means:
        digest = "0123456789abcdef0123"

        def __init__(self, path):
            self.path = path

        def __call__(self, images):
            return images.mean((2, 3)).numpy()

    monkeypatch.setattr("delaminate.pipelines.evaluation.Features", Means)
    said = "fid is of 20 scenes from noise and as many images, by net.onnx (sha256 0123456789abcdef)."
    words = ("objects-on-texture", "-n", "20", "--fid", "net.onnx", "--json", tmp_path / "a.json")
    distances = []
    for stage in ("layers", "segmenter"):  # painting alone is enough
        painting.on_stage_start(stage)
        save_model(painting, tmp_path / stage)
        code, _, err = command("evaluate", tmp_path / stage, *words)
        assert code == 0, err
        found = json.loads((tmp_path / "a.json").read_text())
        assert said in found["protocol"]
        assert ("iou" in found) is (stage == "segmenter")
        distances.append(found["fid"])
    assert distances[0] == distances[1] > 0
    code, _, err = command("evaluate", tmp_path / "layers", *words, "--by", "segmenter")
    assert code == 2
    assert "segmenter" in err


def test_missing_labels_and_a_part_are_said(command, model, pieces, tmp_path):
    code, said, _ = command("evaluate", model, pieces / "images", "-n", 3, "--json", tmp_path / "a.json")
    assert code == 0
    assert "no labels, so little can be measured. Expected images/ and masks/" in said
    assert "(3 images, the first ones)" in json.loads((tmp_path / "a.json").read_text())["protocol"]
    code, said, _ = command("evaluate", model, pieces, "--json", tmp_path / "a.json")
    assert "no labels" not in said
    assert "(5 images, all)" in json.loads((tmp_path / "a.json").read_text())["protocol"]


def test_files_that_cannot_be_measured_are_named(command, model, pieces, tmp_path):
    folder = tmp_path / "pieces"
    shutil.copytree(pieces, folder)
    broken = sorted((folder / "images").iterdir())[0]
    broken.write_bytes(b"no picture")
    code, out, err = command("evaluate", model, folder)
    assert code == 0, err
    assert "1 files skipped" in out and broken.name in out


def figures_of(path):
    return {k: v for k, v in json.loads(path.read_text()).items() if k != "images_per_second"}


def test_a_measurement_that_was_cut_off_is_finished_with_the_same_end(command, model, pieces, tmp_path, monkeypatch):
    monkeypatch.setattr("delaminate.metrics.evaluation.PART_BATCHES", 1)
    words = ("evaluate", model, "tetrominoes", "-n", 10, "--batch", 3, "--json")
    assert command(*words, tmp_path / "whole.json")[0] == 0
    assert not (tmp_path / "whole.json.parts").exists()
    real = evaluation.measure_part
    calls = []

    def counted(*args, **more):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(args[4])
        return real(*args, **more)

    monkeypatch.setattr(evaluation, "measure_part", counted)
    assert command(*words, tmp_path / "cut.json")[0] != 0
    assert calls == [range(0, 3), range(3, 6)]
    assert len(list((tmp_path / "cut.json.parts").iterdir())) == 2
    # Something else is not gone on with.
    code, _, err = command(
        "evaluate", model, "tetrominoes", "-n", 9, "--batch", 3, "--json", tmp_path / "cut.json", "--resume"
    )
    assert (code, "another model, other images or other settings" in err) == (2, True)
    calls.clear()
    monkeypatch.setattr(evaluation, "measure_part", lambda *args, **more: calls.append(args[4]) or real(*args, **more))
    assert command(*words, tmp_path / "cut.json", "--resume")[0] == 0
    assert calls == [range(6, 9), range(9, 10)]
    assert figures_of(tmp_path / "cut.json") == figures_of(tmp_path / "whole.json")
    assert not (tmp_path / "cut.json.parts").exists()


def test_resuming_without_a_file_is_refused(command, model):
    code, _, err = command("evaluate", model, "tetrominoes", "--resume")
    assert (code, "needs the --json FILE" in err) == (2, True)


def test_labels_in_an_archive_give_the_figures_of_their_folder(command, model, pieces, tmp_path):
    shutil.make_archive(str(tmp_path / "pieces"), "zip", pieces)
    assert command("evaluate", model, pieces, "--json", tmp_path / "a.json")[0] == 0
    assert command("evaluate", model, tmp_path / "pieces.zip", "--json", tmp_path / "b.json")[0] == 0
    one, other = figures_of(tmp_path / "a.json"), figures_of(tmp_path / "b.json")
    assert one.pop("protocol").startswith("pieces (") and other.pop("protocol").startswith("pieces (")
    assert one == other

"""Models as ONNX graphs: made, checked, run by ONNX Runtime, and refused where they are not what they should be."""

import json

import numpy as np
import pytest
import torch
from fifth_method import ColourRegions
from helpers import tiny
from torch.testing import assert_close

from delaminate.errors import ConfigError, MissingExtra, OutputError
from delaminate.methods import load_model, save_model
from delaminate.methods.graph import LAYERS, LayerGraph, composited
from delaminate.methods.redo import ReDO
from delaminate.pipelines import model_export
from delaminate.pipelines.model_export import drawn_images, export_model

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    return export_model("redo/colored-2-mnist", folder)


def test_a_graph_runs_alone_on_any_number_of_images(exported):
    session = onnxruntime.InferenceSession(str(exported.folder / "model.onnx"))
    model = load_model("redo/colored-2-mnist")
    for count in (1, 3, 8):
        images = drawn_images(model.dictionary(), (32, 32), count, seed=7)
        layers, visibility, rebuilt = map(torch.from_numpy, session.run(None, {"images": images.numpy()}))
        found = model.decompose(images, "network").layers()
        assert layers.shape == (count, 3, 4, 32, 32) and visibility.shape == (count, 3, 1, 32, 32)
        assert_close(layers[:, :, 3:], found.alpha, atol=1e-4, rtol=0)
        assert_close(layers[:, :, :3] * layers[:, :, 3:], found.rgb * found.alpha, atol=1e-4, rtol=0)
        assert_close((visibility * layers[:, :, :3]).sum(1), rebuilt, atol=1e-5, rtol=0)


def test_what_goes_in_and_comes_out_is_said_in_the_file_and_beside_it(exported):
    facts = json.loads((exported.folder / "model.json").read_text())
    proto = onnx.load(exported.folder / "model.onnx")
    assert json.loads(next(each.value for each in proto.metadata_props if each.key == "delaminate")) == facts
    assert facts["input"] == {
        "name": "images", "type": "float32", "shape": ["batch", 3, 32, 32], "range": [0, 1], "channels": "RGB",
    }  # fmt: skip
    assert [each.name for each in proto.graph.input] == ["images"]
    shapes = {
        each.name: [size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim]
        for each in proto.graph.output
    }
    assert shapes == {each["name"]: each["shape"] for each in facts["outputs"]}
    assert facts["checked"]["largest_difference"] == exported.difference <= 1e-4
    assert proto.opset_import[0].version == facts["opset"] == 20
    assert facts["title"] == "Even digit, odd digit and background, 32 x 32"


def test_a_graph_names_no_folder_of_the_machine_that_made_it(exported):
    written = (exported.folder / "model.onnx").read_bytes()
    assert not any(word in written for word in (b"site-packages", b"networks.py", b"File "))


def test_the_same_model_gives_the_same_graph(exported, tmp_path):
    again = export_model(load_model("redo/colored-2-mnist"), tmp_path)
    one, other = (onnx.load(each.folder / "model.onnx").graph for each in (exported, again))
    assert one.SerializeToString() == other.SerializeToString()


@pytest.mark.parametrize("name", ["dti-sprites/tetrominoes", "perturbgan/objects-on-texture"])
def test_models_of_other_methods_are_exported(name, tmp_path):
    made = export_model(name, tmp_path)
    assert made.difference <= 1e-4 and made.num_images == 16 and made.left_out in ("refined", "despeckled")


def test_a_network_of_anchors_is_exported(tmp_path):
    from helpers import marionette

    made = export_model(marionette.trained(marionette.SMALL), tmp_path)
    assert made.facts["method"] == "marionette" and made.left_out == ""
    assert {each["name"] for each in made.facts["outputs"]} >= {"entries", "shifts"}


def test_it_is_checked_on_images_that_are_given(tmp_path):
    images = torch.rand(5, 3, 32, 32)
    assert export_model("redo/colored-2-mnist", tmp_path, images=images).num_images == 5


class Wrong(LayerGraph):
    """Half transparent, unlike what `decompose` finds."""

    def forward(self, images):
        alpha = torch.stack([torch.ones_like(images[:, :1]), *[torch.full_like(images[:, :1], 0.5)] * 2], 1)
        return composited(images[:, None].expand(-1, 3, -1, -1, -1), alpha)


def test_a_graph_that_differs_is_refused_and_nothing_written(tmp_path, monkeypatch):
    monkeypatch.setattr(ReDO, "graph", lambda self, by: Wrong())
    with pytest.raises(OutputError, match="differs from torch by"):
        export_model("redo/colored-2-mnist", tmp_path / "graph")
    assert not (tmp_path / "graph").exists()


def test_choices_that_are_equally_good_are_ties_and_others_are_not():
    image = torch.zeros(3, 4, 4)
    left, right = image.clone(), image.clone()
    left[:, :, 0], right[:, :, 3] = 0.5, 0.5
    assert model_export._tied(image, left, right)
    right[:, 0, 3] = 0.6
    assert not model_export._tied(image, left, right)


class Unknown(Wrong):
    """Looks at values, which a graph cannot."""

    def forward(self, images):
        return super().forward(images if float(images.sum()) > 0 else -images)


def test_a_network_that_no_graph_can_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ReDO, "graph", lambda self, by: Unknown())
    with pytest.raises(OutputError, match="cannot be exported"):
        export_model("redo/colored-2-mnist", tmp_path / "graph")


@pytest.mark.parametrize(
    ("model", "options", "word"),
    [
        ("marionette/platform-game", {}, "no trained network, and search is none"),
        ("redo/flowers17", {"by": "despeckled"}, "expected network"),
        ("redo/flowers17", {"to": "tflite"}, "expected one of onnx, web-demo"),
        ("redo/flowers17", {"to": "web-demo"}, "npm pack onnxruntime-web"),
        ("redo/flowers17", {"runtime": "package.tgz"}, "takes no --runtime"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_a_way_out(model, options, word, tmp_path):
    with pytest.raises(ConfigError, match=word):
        export_model(model, tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_method_from_outside_without_a_graph_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="colour-regions: this model holds no trained network"):
        export_model(ColourRegions(tiny.OUTSIDE), tmp_path)


def test_files_that_are_there_are_refused(exported):
    with pytest.raises(ConfigError, match="--overwrite"):
        export_model("redo/colored-2-mnist", exported.folder)


def test_without_the_extra_it_says_what_to_install(monkeypatch, tmp_path):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(model_export.importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match=r"\[onnx\]"):
        export_model("redo/colored-2-mnist", tmp_path)


def test_pictures_to_check_on_are_in_range_and_of_eight_bits():
    for name in ("dti-sprites/tetrominoes", "marionette/floating-sprites", "redo/flowers17"):
        model = load_model(name)
        pictures = drawn_images(model.dictionary(), model.image_size, 4)
        assert pictures.shape == (4, 3, *model.image_size)
        assert_close(pictures * 255, (pictures * 255).round(), atol=1e-4, rtol=0)
        assert pictures.min() >= 0 and pictures.max() <= 1 and pictures.std() > 0.01


def test_the_command_line_lists_looks_into_and_exports(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = command("models")
    assert code == 0 and "redo/colored-2-mnist" in out
    code, shown, _ = command("models", "redo/colored-2-mnist")
    assert code == 0 and "exports as ONNX" in shown
    assert command("models", "show", "redo/colored-2-mnist")[:2] == (0, shown)
    save_model(load_model("redo/colored-2-mnist"), tmp_path / "export")
    code, out, _ = command("models", "./export")
    assert code == 0 and "redo" in out
    code, out, _ = command("models", "export", "./export", "--out", "graph")
    assert code == 0 and "of torch on 16 images" in out and "`decompose` takes refined by default" in out
    assert (tmp_path / "graph" / "model.onnx").is_file()
    code, _, err = command("models", "nosuch")
    assert code == 2 and "nosuch" in err
    code, _, err = command("models", "export", "marionette/platform-game", "--out", "none")
    assert code == 2 and "no trained network" in err


def test_outputs_are_what_numpy_reads(exported):
    session = onnxruntime.InferenceSession(str(exported.folder / "model.onnx"))
    found = session.run([LAYERS], {"images": np.zeros((1, 3, 32, 32), np.float32)})[0]
    assert found.dtype == np.float32 and np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1

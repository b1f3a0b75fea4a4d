"""What is known about images reaches no training: the same images with other labels, or none, give the same weights."""

import shutil
from dataclasses import replace

import pytest
import torch

from delaminate.data import Labels, draw, load_labelled_folder, write_folder
from delaminate.data.synthetic import scenes as synthetic
from delaminate.rng import numpy_stream, stream

SETTINGS = {
    "perturbgan": (
        "noise_width=8", "mapping_depth=2", "width=8", "max_channels=8", "batch=2", "steps=3", "monitor_from=1000",
        "encoder_steps=2", "encoder_batch=2", "encoder_depth=32", "segmenter_steps=2", "segmenter_batch=2", "segmenter_width=8",
        "self_training_steps=2",
    ),
    "redo": (
        "mask_width=8", "generator_width=2", "discriminator_width=16", "noise_width=4", "batch=2", "steps=3", "distil_steps=2",
    ),
    "dti-sprites": (
        "sprite_size=[8, 8]", "num_layers=2", "num_sprites=3", "search_steps=3", "search_batch=6", "distil_steps=0", "steps=0",
    ),
    "marionette": (
        "sprite_size=8", "num_sprites=3", "code_width=8", "background_images=4", "background_clusters=2", "steps=2", "batch=2",
    ),
    "colour-regions": ("num_regions=3", "width=8", "steps=2", "batch=2"),
}  # fmt: skip
PRESETS = {
    "perturbgan": "photos", "redo": "photos", "dti-sprites": "tetrominoes", "marionette": "floating-sprites-paper",
    "colour-regions": "colour-regions",
}  # fmt: skip


@pytest.fixture
def trained(command, tmp_path, fifth):
    """Train a method on data by the command line, at 16 x 16 pixels; all weights that it has learned."""

    def run(method, data, name, *words):
        sets = [word for setting in ("image_size=[16, 16]", *SETTINGS[method]) for word in ("--set", setting)]
        out, preset = tmp_path / "runs" / name, PRESETS[method]
        words = ("train", method, data, "--preset", preset, *words, *sets, "--quiet", "--device", "cpu", "--out", out)
        code, _, err = command(*words)
        assert code == 0, err
        return torch.load(out / "checkpoint.pt", weights_only=True)["weights"]

    return run


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(other[name], tensor), name


@pytest.mark.parametrize("method", SETTINGS)
def test_labels_in_a_folder_never_reach_training(method, trained, tmp_path):
    known, kept, mixed, bare = draw("tetrominoes", 5), tmp_path / "kept", tmp_path / "mixed", tmp_path / "bare"
    rng, shape = stream("scrambled"), known.labels.instances.shape
    scrambled = Labels(
        *(torch.randint(4, shape, generator=rng) for _ in range(2)), torch.randint(9, (5,), generator=rng)
    )
    write_folder(known, kept)
    write_folder(replace(known, labels=scrambled), mixed)
    shutil.copytree(kept / "images", bare / "images")
    assert not torch.equal(*(load_labelled_folder(folder).labels.instances for folder in (kept, mixed)))
    first = trained(method, kept, "kept")
    for other in (mixed, bare):
        assert_same(first, trained(method, other, other.name))


@pytest.mark.parametrize("method", SETTINGS)
def test_labels_of_a_drawn_set_never_reach_training(method, trained, monkeypatch):
    name = "objects-on-texture"
    drawing = synthetic.DRAWINGS[name]

    def painted_with_other_labels(rng, pixels, *maps):
        drawing.paint(rng, pixels, *maps)
        for number, labels in enumerate(maps):
            labels[:] = numpy_stream("scrambled", number, int(pixels.sum())).integers(0, 4, labels.shape)

    first, known = trained(method, name, "kept", "-n", 6), draw(name, 6)
    monkeypatch.setitem(synthetic.DRAWINGS, name, replace(drawing, paint=painted_with_other_labels))
    mixed = draw(name, 6)
    assert torch.equal(mixed.images.pixels, known.images.pixels)
    assert not torch.equal(mixed.labels.instances, known.labels.instances)
    assert_same(first, trained(method, name, "mixed", "-n", 6))

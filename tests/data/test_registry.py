import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from delaminate.data.labelled import write_folder
from delaminate.data.registry import BENCHMARKS, load_benchmark, load_photos, names, open_data
from delaminate.data.sets import ImageSet, LabelledSet
from delaminate.data.synthetic.scenes import draw
from delaminate.errors import DataError


def fake(root, folder, values):
    for name in ("images", "masks"):
        (root / folder / name).mkdir(parents=True)
    for index in range(3):
        Image.fromarray(np.zeros((*values.shape, 3), dtype=np.uint8)).save(root / folder / f"images/{index}.jpg")
        Image.fromarray(values).save(root / folder / f"masks/{index}.png")


def test_horses_are_foreground_whatever_the_mask_value(tmp_path):
    fake(tmp_path, "weizmann_horse", np.array([[0, 255], [255, 0]], dtype=np.uint8))
    horses = load_benchmark("weizmann-horse", tmp_path)
    assert horses.labels.instances[0].tolist() == [[0, 1], [1, 0]]
    assert torch.equal(horses.labels.instances, horses.labels.classes)
    assert horses.name == "weizmann-horse"


def test_undecided_flower_pixels_are_ignored(tmp_path):
    fake(tmp_path, "flowers17_seg", np.array([[0, 1, 2], [3, 4, 5]], dtype=np.uint8))
    assert load_benchmark("flowers17", tmp_path).labels.instances[0].tolist() == [[-1, 1, 0], [0, 0, -1]]


def test_classes_and_instances_are_kept(tmp_path):
    fake(tmp_path, "car_sideview", np.array([[0, 3]], dtype=np.uint8))
    fake(tmp_path, "pennfudan", np.array([[0, 3]], dtype=np.uint8))
    cars, people = load_benchmark("car-sideview", tmp_path), load_benchmark("pennfudan", tmp_path)
    assert (cars.labels.instances[0, 0].tolist(), cars.labels.classes[0, 0].tolist()) == ([0, 1], [0, 3])
    assert (people.labels.instances[0, 0].tolist(), people.labels.classes) == ([0, 3], None)


def test_traffic_signs_come_from_an_archive(tmp_path, monkeypatch):
    (tmp_path / "gtsrb8_28").mkdir()
    archive = tmp_path / "gtsrb8_28/gtsrb8_28.npz"
    np.savez(archive, images=np.zeros((120, 28, 28, 3), dtype=np.uint8), labels=np.arange(120, dtype=np.uint8) % 8)
    monkeypatch.setenv("DELAMINATE_DATA", str(tmp_path))
    assert len(load_benchmark("gtsrb8")) == 120
    signs = open_data("gtsrb8", split="dev")
    assert signs.labels.image_classes.tolist() == [index % 8 for index in range(100)]
    assert isinstance(open_data("gtsrb8", count=5, labels=False), ImageSet)
    with pytest.raises(DataError, match="Leave the size out"):
        load_benchmark("gtsrb8", size=(32, 32))
    archive.write_bytes(b"broken")
    with pytest.raises(DataError, match="not an archive"):
        load_benchmark("gtsrb8")


def test_absent_data_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("DELAMINATE_DATA", raising=False)
    with pytest.raises(DataError, match="DELAMINATE_DATA is not set"):
        load_benchmark("ecssd")
    monkeypatch.setenv("DELAMINATE_DATA", str(tmp_path / "none"))
    with pytest.raises(DataError, match="is no folder"):
        load_benchmark("ecssd")
    with pytest.raises(DataError, match="found no folder"):
        load_benchmark("ecssd", tmp_path)
    with pytest.raises(DataError, match="unknown name"):
        load_benchmark("mnist", tmp_path)


def test_a_path_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(draw("multi-dsprites", 2), tmp_path / "tetrominoes")
    opened = open_data("tetrominoes", size=(16, 16), ignore=(1,))
    assert isinstance(opened, LabelledSet)
    assert opened.images.size == (16, 16)
    assert not opened.replica
    assert (opened.labels.instances == -1).any()
    assert isinstance(open_data("tetrominoes", labels=False), ImageSet)
    assert isinstance(open_data("tetrominoes/images"), ImageSet)


def test_a_folder_of_images_hides_none_that_lie_beside_it(tmp_path):
    write_folder(draw("tetrominoes", 2), tmp_path)
    pixels = draw("tetrominoes", 2).images.pixels

    def opened(labels=False):
        found = open_data(tmp_path, labels=labels)
        return found if isinstance(found, ImageSet) else found.images

    picture = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
    picture.save(tmp_path / "overview.png")
    assert (
        opened().names == opened(labels=True).names == ("000000", "000001")
    )  # a labelled set has its place for images
    for name in ("masks", "classes"):
        shutil.rmtree(tmp_path / name)
    assert opened().names == opened(labels=True).names == ("images/000000", "images/000001", "overview")
    (tmp_path / "overview.png").rename(tmp_path / ".overview.png")
    assert opened().names == ("000000", "000001")


def test_names_open_drawn_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert torch.equal(open_data("tetrominoes", 3, seed=2).images.pixels, draw("tetrominoes", 3, seed=2).images.pixels)
    assert isinstance(open_data("multi-dsprites", 2, labels=False), ImageSet)
    with pytest.raises(DataError, match="Did you mean 'weizmann-horse'"):
        open_data("weizman-horses")
    with pytest.raises(DataError, match="Built-in names: tetrominoes"):
        open_data("zzz")
    assert {name for name, _, _ in names()} >= {"tetrominoes", "gtsrb8", "multi-dsprites-colour"}


@pytest.mark.skipif("DELAMINATE_DATA" not in os.environ, reason="DELAMINATE_DATA is not set")
@pytest.mark.parametrize("name", ["weizmann-horse", "pennfudan", "flowers17"])
def test_the_real_sets_load(name):
    try:
        found = load_benchmark(name, split="dev")
    except DataError as error:
        pytest.skip(str(error))
    assert len(found) == BENCHMARKS[name].num_dev
    assert found.images.size == (128, 128)
    assert 0.05 < (found.labels.instances > 0).float().mean() < 0.6
    assert not found.images.skipped


def test_photos_without_masks_come_after_those_with_them(tmp_path):
    fake(tmp_path, "weizmann_horse", np.zeros((4, 5), dtype=np.uint8))
    folder = tmp_path / "weizmann_horse" / "images_unlabelled"
    with pytest.raises(DataError, match="images_unlabelled"):
        load_photos("weizmann-horse", tmp_path)
    folder.mkdir()
    Image.fromarray(np.full((4, 5, 3), 7, np.uint8)).save(folder / "z.png")
    known, photos = load_benchmark("weizmann-horse", tmp_path).images, load_photos("weizmann-horse", tmp_path)
    assert photos.names == (*known.names, "z")
    assert bool((photos.pixels[-1] == 7).all())
    with pytest.raises(DataError, match="two images have the same name"):
        photos.joined(known)
    with pytest.raises(DataError, match="are no set"):
        photos.joined(load_photos("weizmann-horse", tmp_path, size=(8, 8)))

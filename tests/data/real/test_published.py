"""Each published layout, made small."""

import importlib

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from delaminate.data.real.published import load_gtsrb, load_hdf5, load_sprites_folder, load_svhn
from delaminate.errors import DataError, MissingExtra

RNG = np.random.default_rng(0)


def scenes(path, ids, shape=None, visibility=None):
    num_masks = ids.max() + 1
    mask = (ids[:, None] == np.arange(num_masks)[None, :, None, None]).astype(np.uint8)[..., None] * 255
    image = RNG.integers(0, 256, (*ids.shape, 3), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        file["image"], file["mask"] = image, mask
        if shape is not None:
            file["shape"] = shape
        if visibility is not None:
            file["visibility"] = visibility
    return image


def test_hdf5_masks_become_instances_and_shapes_classes(tmp_path):
    ids = RNG.integers(0, 4, (5, 8, 9))
    shape = np.tile(np.array([0.0, 2, 1, 3], dtype=np.float32), (5, 1))
    image = scenes(tmp_path / "multi.h5", ids, shape)
    read = load_hdf5(tmp_path / "multi.h5", limit=3)
    assert (read.images.pixels.permute(0, 2, 3, 1).numpy() == image[:3]).all()
    assert (read.labels.instances.numpy() == ids[:3]).all()
    assert (read.labels.classes.numpy() == np.array([0, 2, 1, 3])[ids[:3]]).all()
    assert not read.replica
    assert load_hdf5(tmp_path / "multi.h5", size=(4, 4)).labels.instances.shape == (5, 4, 4)


def test_clevr6_is_cropped_and_keeps_small_scenes(tmp_path):
    ids = np.zeros((3, 240, 320), dtype=np.int64)
    ids[:, 29:31, 64:66] = 1
    ids[1, 100:110, 100:180] = np.arange(80) // 10 + 1
    ids[2, :10] = 2
    visibility = np.ones((3, 9), dtype=np.float32)
    visibility[[0, 2], 3:] = 0
    scenes(tmp_path / "clevr.h5", ids, visibility=visibility)
    read = load_hdf5(tmp_path / "clevr.h5", clevr=True)
    assert read.images.pixels.shape == (2, 3, 128, 128)
    assert read.labels.instances[0, 0, 0] == 1
    assert read.labels.instances[1].max() == 1
    frame = read.images.canvas_maps[0]
    assert frame.original == (240, 320)
    assert (frame.to_original @ np.array([0, 0, 1]))[:2].tolist() == [64, 29]
    assert (frame.to_original @ np.array([128, 128, 1]))[:2].tolist() == [256, 221]
    scenes(tmp_path / "small.h5", ids[:, :20, :20])
    with pytest.raises(DataError, match="published crop"):
        load_hdf5(tmp_path / "small.h5", clevr=True)


def test_hdf5_that_is_something_else_is_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"no")
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        load_hdf5(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["other"] = [1]
    with pytest.raises(DataError, match="holds other; expected image and mask"):
        load_hdf5(tmp_path / "b.h5")


def test_hdf5_without_its_package_names_the_extra(monkeypatch):
    def refuse(name, *rest):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(MissingExtra, match=r"\.\[bench\]"):
        load_hdf5("a.h5")


def test_svhn_digits_count_from_0(tmp_path):
    pixels = RNG.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    savemat(tmp_path / "test_32x32.mat", {"X": pixels, "y": np.array([[10], [1], [9], [10]], dtype=np.uint8)})
    read = load_svhn(tmp_path / "test_32x32.mat")
    assert read.labels.image_classes.tolist() == [0, 1, 9, 0]
    assert (read.images.pixels[2].permute(1, 2, 0).numpy() == pixels[..., 2]).all()
    (tmp_path / "bad.mat").write_bytes(b"MATLAB 5.0 but not")
    with pytest.raises(DataError, match=r"bad\.mat: no MATLAB file"):
        load_svhn(tmp_path / "bad.mat")


def test_gtsrb_reads_ppm_by_class_folder(tmp_path):
    for number in (3, 17):
        (tmp_path / f"{number:05d}").mkdir()
        (tmp_path / f"{number:05d}" / f"GT-{number:05d}.csv").write_text("Filename;Width")
        for index in range(2):
            image = Image.new("RGB", (30 + index, 40), (number, 0, 0))
            image.save(tmp_path / f"{number:05d}" / f"0000{index}_00000.ppm")
    read = load_gtsrb(tmp_path, classes=(3, 17))
    assert read.labels.image_classes.tolist() == [0, 0, 1, 1]
    assert read.images.pixels[:, 0, 5, 5].tolist() == [3, 3, 17, 17]
    assert read.images.names[3] == "00017/00001_00000"
    assert read.images.canvas_maps[1].original == (40, 31)
    assert len(load_gtsrb(tmp_path, classes=(3, 17), limit=3)) == 3
    with pytest.raises(DataError, match="GTSRB's training folder"):
        load_gtsrb(tmp_path)


def test_sprites_folders_have_class_maps(tmp_path):
    for name in ("images", "masks", "sem_masks"):
        (tmp_path / name).mkdir()
    for index in range(12):
        Image.fromarray(np.full((4, 4, 3), index, dtype=np.uint8)).save(tmp_path / f"images/{index}.png")
        Image.fromarray(np.full((4, 4), index % 3, dtype=np.uint8)).save(tmp_path / f"masks/{index}.png")
        Image.fromarray(np.full((4, 4), 5, dtype=np.uint8)).save(tmp_path / f"sem_masks/{index}.png")
    read = load_sprites_folder(tmp_path)
    assert read.images.names == tuple(str(index) for index in range(12))
    assert read.labels.instances[:, 0, 0].tolist() == [index % 3 for index in range(12)]
    assert (read.labels.classes == 5).all()

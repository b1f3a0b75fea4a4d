"""Each published layout, made small."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from delaminate.data import ImageSet, open_data
from delaminate.data.real.photos import load_cub, load_flowers102, load_flowers_and_lfw, load_lfw
from delaminate.errors import DataError

# Left half foreground, in a photo twice as wide as high: the middle square has its left half in front.
LEFT = np.repeat([[True] * 12 + [False] * 12], 12, axis=0)
SEEN = torch.tensor([[1] * 4 + [0] * 4] * 8)


def save(path, pixels, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)


def photo(level):
    return np.full((*LEFT.shape, 3), level, dtype=np.uint8)


@pytest.fixture
def flowers(tmp_path):
    root = tmp_path / "flowers102"
    blue = np.where(LEFT[..., None], [90, 160, 70], [0, 0, 254]).astype(np.uint8)
    for number in range(1, 7):
        save(root / f"jpg/image_{number:05d}.jpg", photo(10 * number))
        save(root / f"segmim/segmim_{number:05d}.jpg", blue, quality=100, subsampling=0)
    savemat(root / "setid.mat", {"trnid": [[4]], "valid": [[5, 2]], "tstid": [[1, 3, 6]]})
    return root


@pytest.fixture
def lfw(tmp_path):
    root = tmp_path / "lfw"
    parts = np.where(LEFT[..., None], [0, 255, 0], [0, 0, 255]).astype(np.uint8)
    for index in range(12):
        person = f"Person_{index // 2}"
        name = f"{person}_{index % 2 + 1:04d}"
        save(root / f"lfw_funneled/{person}/{name}.jpg", photo(10 * index))
        if index >= 4:
            save(root / f"parts_lfw_funneled_gt_images/{name}.ppm", parts)
    return root


@pytest.fixture
def cub(tmp_path):
    root = tmp_path / "cub"
    paths = [f"001.Bird/Bird_{index:04d}_9.jpg" for index in range(1, 13)]
    mask = np.where(LEFT, 204, 0).astype(np.uint8)
    for index, path in enumerate(paths):
        save(root / "images" / path, photo(10 * index))
        # Some of the published masks have an alpha channel.
        with_alpha = np.dstack([mask, mask, mask, np.full_like(mask, 255)])
        save((root / "segmentations" / path).with_suffix(".png"), with_alpha if index == 3 else mask)
    (root / "images.txt").write_text("".join(f"{index} {path}\n" for index, path in enumerate(paths, start=1)))
    return root


def test_flowers_take_their_parts_from_the_published_lists(flowers):
    sets = {split: load_flowers102(flowers, split, (8, 8)) for split in ("train", "dev", "test")}
    assert {split: found.images.names for split, found in sets.items()} == {
        "train": ("image_00001", "image_00003", "image_00006"),
        "dev": ("image_00005", "image_00002"),
        "test": ("image_00004",),
    }
    for found in sets.values():
        assert found.labels.regions == 2
        assert all(torch.equal(mask, SEEN) for mask in found.labels.instances)
    assert sets["dev"].images.pixels[:, 0, 0, 0].tolist() == [50, 20]
    assert sets["dev"].images.canvas_maps[0].original == (12, 24)
    assert len(load_flowers102(flowers, limit=2)) == 2
    assert load_flowers102(flowers).images.size == (128, 128)
    assert load_flowers102(flowers, fit="squash", size=(8, 8)).labels.instances.double().mean() == 0.5


def test_without_labels_no_mask_is_opened(flowers, cub):
    for path in [*flowers.rglob("segmim*.jpg"), *cub.rglob("*.png")]:
        path.write_bytes(b"broken")
    assert load_flowers102(flowers, labels=False).labels.instances is None
    assert load_cub(cub, labels=False).labels.instances is None
    with pytest.raises(DataError, match="segmim_00001"):
        load_flowers102(flowers)


def test_other_folders_of_flowers_are_refused(flowers):
    with pytest.raises(DataError, match="split is 'val'; expected one of train, dev, test"):
        load_flowers102(flowers, "val")
    save(flowers / "segmim/segmim_00004.jpg", photo(9)[:5])
    with pytest.raises(DataError, match=r"segmim_00004\.jpg: the mask is \(5, 24\)"):
        load_flowers102(flowers, "test")
    (flowers / "jpg/image_00006.jpg").unlink()
    with pytest.raises(DataError, match="no such file"):
        load_flowers102(flowers)
    savemat(flowers / "setid.mat", {"other": [[1]]})
    with pytest.raises(DataError, match=r"setid\.mat: not the splits of Flowers-102"):
        load_flowers102(flowers)
    (flowers / "setid.mat").unlink()
    with pytest.raises(DataError, match=r"setid\.mat"):
        load_flowers102(flowers)


def test_faces_without_part_labels_are_for_training_and_nobody_is_in_two_other_parts(lfw):
    train, dev, test = (load_lfw(lfw, split, (8, 8)) for split in ("train", "dev", "test"))
    assert len(train) == 4
    assert train.labels.instances is None
    people = [{name.split("/")[0] for name in found.images.names} for found in (train, dev, test)]
    assert set.union(*people) == {f"Person_{index}" for index in range(6)}
    assert sum(map(len, people)) == 6
    # 1327 of 2927 photos: of eight, three, and people come whole.
    assert (len(dev), len(test)) == (2, 6)
    for found in (dev, test):
        assert all(torch.equal(mask, SEEN) for mask in found.labels.instances)


def test_lists_of_faces_come_first(lfw):
    (lfw / "val.txt").write_text("Person_5 Person_5_0002\nPerson_2 Person_2_0001\n")
    found = load_lfw(lfw, "dev", (8, 8))
    assert found.images.names == ("Person_5/Person_5_0002", "Person_2/Person_2_0001")
    assert found.images.pixels[:, 0, 0, 0].tolist() == [110, 40]


def test_other_folders_of_faces_are_refused(lfw):
    (lfw / "train.txt").write_text("Person_0\n")
    with pytest.raises(DataError, match=r"train\.txt: line 1 is not two words"):
        load_lfw(lfw)
    (lfw / "train.txt").write_text("")
    with pytest.raises(DataError, match=r"train\.txt"):
        load_lfw(lfw)
    (lfw / "lfw_funneled").rename(lfw / "lfw")
    with pytest.raises(DataError, match="found no folder 'lfw_funneled'"):
        load_lfw(lfw)


def test_birds_follow_the_split_file(cub):
    (cub / "train_val_test_split.txt").write_text("".join(f"{index} {index % 3}\n" for index in range(1, 13)))
    for place, split in enumerate(("train", "dev", "test")):
        found = load_cub(cub, split, (8, 8))
        assert found.images.names == tuple(f"001.Bird/Bird_{i:04d}_9" for i in range(1, 13) if i % 3 == place)
        assert all(torch.equal(mask, SEEN) for mask in found.labels.instances)


def test_birds_without_a_split_file_have_a_fixed_random_one(cub):
    names = [load_cub(cub, split, (8, 8)).images.names for split in ("train", "dev", "test")]
    assert list(map(len, names)) == [10, 1, 1]
    assert len(set().union(*names)) == 12
    inner = cub / "CUB_200_2011"
    inner.mkdir()
    for name in ("images", "images.txt"):
        (cub / name).rename(inner / name)
    again = [load_cub(cub, split, (8, 8)).images.names for split in ("train", "dev", "test")]
    assert again == names


def test_other_folders_of_birds_are_refused(cub):
    (cub / "train_val_test_split.txt").write_text("1 0\n2 1\n")
    with pytest.raises(DataError, match="does not give 0, 1 or 2 to each index"):
        load_cub(cub)
    (cub / "segmentations").rename(cub / "masks")
    with pytest.raises(DataError, match="found no folder 'segmentations'"):
        load_cub(cub)
    (cub / "images.txt").unlink()
    with pytest.raises(DataError, match=r"images\.txt: there is no such file"):
        load_cub(cub)


def test_flowers_and_faces_are_one_set(flowers, lfw):
    train, test = (load_flowers_and_lfw(flowers, lfw, split, (8, 8)) for split in ("train", "test"))
    assert (len(train), len(test)) == (3 + 4, 1 + 6)
    assert train.labels.instances is None
    assert test.labels.instances.shape == (7, 8, 8)
    assert test.labels.regions == 2


def test_published_sets_have_names(flowers, lfw, cub, tmp_path, monkeypatch):
    monkeypatch.setenv("DELAMINATE_DATA", str(tmp_path))
    assert open_data("cub", split="dev", size=(8, 8)).images.size == (8, 8)
    assert open_data("flowers102", count=2).images.size == (128, 128)
    assert open_data("lfw", split="test", size=(8, 8)).name == "lfw"
    both = open_data("flowers-lfw", size=(8, 8), labels=False)
    assert isinstance(both, ImageSet)
    assert len(both) == 7

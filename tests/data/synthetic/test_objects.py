import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.cluster import KMeans

from delaminate.data import draw, open_data
from delaminate.data.synthetic.objects import FIGURES, recoloured
from delaminate.data.synthetic.textures import KINDS, photo_crops, texture
from delaminate.errors import DataError
from delaminate.rng import numpy_stream


@pytest.mark.parametrize("side", [16, 32, 64, 128])
def test_one_figure_covers_a_tenth_to_a_third_at_every_size(side):
    drawn = open_data("objects-on-texture", 60, split="dev", size=(side, side))
    assert drawn.images.size == (side, side)
    assert drawn.labels.regions == 2
    assert set(drawn.labels.instances.unique().tolist()) == {0, 1}
    assert ((drawn.labels.classes > 0) == (drawn.labels.instances == 1)).all()
    shares = drawn.labels.instances.float().mean((1, 2))
    assert shares.min() > 0.05 and shares.max() < 0.38
    assert 0.18 < shares.mean() < 0.24


def test_all_figures_come_and_some_are_cut_by_the_border():
    drawn = draw("objects-on-texture", 400)
    assert set(drawn.labels.classes.unique().tolist()) == set(range(len(FIGURES) + 1))
    maps = drawn.labels.instances
    border = torch.cat([maps[:, 0], maps[:, -1], maps[:, :, 0], maps[:, :, -1]], dim=1).amax(1).float().mean()
    assert 0.1 < border < 0.6


def test_a_threshold_on_colour_does_not_find_the_figure():
    drawn = draw("objects-on-texture", 60, split="dev")
    scores = []
    for pixels, true in zip(drawn.images.pixels.numpy(), drawn.labels.instances.numpy() == 1, strict=True):
        found = KMeans(2, n_init=1, random_state=0).fit_predict(pixels.reshape(3, -1).T).reshape(true.shape) == 1
        scores.append(max((part & true).sum() / (part | true).sum() for part in (found, ~found)))
    assert np.mean(scores) < 0.5


@pytest.mark.parametrize("side", [16, 64])
def test_every_kind_of_texture_has_two_far_ends(side):
    for kind in KINDS:
        for index in range(20):
            weight = kind(numpy_stream("texture", index), side)
            assert weight.shape == (side, side)
            assert weight.min() >= 0 and weight.max() <= 1
            assert weight.max() - weight.min() > 0.5
    assert texture(numpy_stream("texture"), side).shape == (3, side, side)


def test_new_colours_keep_grey_grey_and_its_order():
    grey = np.array([0, 40, 120, 200], dtype=np.uint8).reshape(1, 1, 4).repeat(3, axis=0)
    for index in range(10):
        new = recoloured(grey, numpy_stream("colour", index)).astype(int)
        assert np.abs(new - new[0]).max() <= 1
        assert (np.diff(new[0, 0]) > 0).all()
    red = np.array([200, 20, 20], dtype=np.uint8).reshape(3, 1, 1)
    hues = {recoloured(red, numpy_stream("hue", index)).reshape(3).argmax() for index in range(20)}
    assert hues == {0, 1, 2}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Twenty photos, each of one colour, with an object in the middle."""
    for name in ("images", "masks"):
        (tmp_path / "ecssd" / name).mkdir(parents=True)
    mask = np.zeros((128, 128), dtype=np.uint8)
    mask[54:74, 54:74] = 255
    for index in range(20):
        pixels = np.full((128, 128, 3), 10 * index, dtype=np.uint8)
        pixels[mask > 0] = 255
        Image.fromarray(pixels).save(tmp_path / f"ecssd/images/{index:02d}.png")
        Image.fromarray(mask).save(tmp_path / f"ecssd/masks/{index:02d}.png")
    monkeypatch.setenv("DELAMINATE_DATA", str(tmp_path))
    return tmp_path


def test_splits_share_no_photo_and_crops_avoid_what_photos_show(photos):
    seen = {}
    for split in ("train", "dev", "test"):
        crop = photo_crops(split, "test")
        crops = [crop(numpy_stream("crop", split, index), 16) for index in range(60)]
        seen[split] = {int(np.median(pixels)) // 10 for pixels in crops}
        assert np.mean([(pixels > 250).mean() for pixels in crops]) < 0.02
    assert seen["test"] == {0, 1, 10, 11}
    assert seen["dev"] == {2, 12}
    assert seen["train"] == set(range(20)) - seen["test"] - seen["dev"]
    drawn = draw("objects-on-photos", 10, size=(64, 64))
    assert drawn.images.size == (64, 64)
    assert not drawn.replica


def test_photos_that_are_not_there_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DELAMINATE_DATA", str(tmp_path))
    with pytest.raises(DataError, match="objects-on-photos: found no folder"):
        draw("objects-on-photos", 1)

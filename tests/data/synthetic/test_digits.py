import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from delaminate.data import draw, open_data
from delaminate.data.synthetic.digits import digit_masks, read_idx
from delaminate.errors import DataError

REAL = os.environ.get("DELAMINATE_DATA")
needs_mnist = pytest.mark.skipif(
    REAL is None or not (Path(REAL) / "mnist").is_dir(), reason="DELAMINATE_DATA is not set or holds no mnist"
)


def idx(values):
    head = bytes([0, 0, 8, values.ndim]) + b"".join(side.to_bytes(4, "big") for side in values.shape)
    return gzip.compress(head + values.astype(np.uint8).tobytes())


def small_mnist(root, count=10_004):
    """Digit `i` is a square of 4 x (i % 5 + 1) pixels in the upper left corner; labels count up from 0."""
    (root / "mnist").mkdir()
    for part, number in (("train", count), ("t10k", 6)):
        pixels = np.zeros((number, 28, 28), dtype=np.uint8)
        for index in range(number):
            side = 4 * (index % 5 + 1)
            pixels[index, :side, :side] = 255
        (root / f"mnist/{part}-images-idx3-ubyte.gz").write_bytes(idx(pixels))
        (root / f"mnist/{part}-labels-idx1-ubyte.gz").write_bytes(idx(np.arange(number) % 10))
    return root


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    return small_mnist(tmp_path_factory.mktemp("data"))


def test_idx_files_are_read_as_they_are(tmp_path):
    values = np.arange(24).reshape(2, 3, 4)
    (tmp_path / "a.gz").write_bytes(idx(values))
    assert (read_idx(tmp_path / "a.gz") == values).all()


def test_other_and_broken_idx_files_are_refused(tmp_path):
    path = tmp_path / "a.gz"
    with pytest.raises(DataError, match="no such file"):
        read_idx(path)
    path.write_bytes(b"plain")
    with pytest.raises(DataError, match="cannot be read as gzip"):
        read_idx(path)
    path.write_bytes(gzip.compress(b"\0\0\x0b\x03 something else"))
    with pytest.raises(DataError, match="expected 2051"):
        read_idx(path)
    path.write_bytes(gzip.compress(gzip.decompress(idx(np.zeros((2, 3, 4))))[:-1]))
    with pytest.raises(DataError, match="cut off"):
        read_idx(path)


def test_the_last_training_digits_are_the_development_part(mnist):
    even, odd = digit_masks("train", 28, mnist)
    assert (len(even), len(odd)) == (2, 2)
    assert even.sum(axis=(1, 2)).tolist() == [16, 144]
    assert odd.sum(axis=(1, 2)).tolist() == [64, 256]
    assert sum(map(len, digit_masks("dev", 28, mnist))) == 10_000
    assert sum(map(len, digit_masks("test", 28, mnist))) == 6


def test_digits_are_halved_by_area_and_doubled_exactly(mnist):
    native = digit_masks("train", 28, mnist)[0]
    assert (digit_masks("train", 14, mnist)[0] == native[:, ::2, ::2]).all()
    assert (digit_masks("train", 56, mnist)[0][:, 1::2, ::2] == native).all()
    assert digit_masks("train", 56, mnist)[0].sum() == 4 * native.sum()


def test_damaged_mnist_folders_are_refused(tmp_path):
    root = small_mnist(tmp_path, 10_000)
    with pytest.raises(DataError, match="0 digits for train"):
        digit_masks("train", 28, root)
    (root / "mnist/train-labels-idx1-ubyte.gz").write_bytes(idx(np.zeros(3)))
    with pytest.raises(DataError, match=r"labels \(3,\)"):
        digit_masks("dev", 28, root)
    with pytest.raises(DataError, match="colored-2-mnist: found no folder"):
        digit_masks("dev", 28, root / "mnist")


@pytest.mark.parametrize("side", [32, 64, 128])
def test_two_digits_are_three_flat_regions_in_the_published_colours(mnist, monkeypatch, side):
    monkeypatch.setenv("DELAMINATE_DATA", str(mnist))
    drawn = open_data("colored-2-mnist", 40, size=(side, side))
    assert drawn.images.size == (side, side)
    assert drawn.labels.regions == drawn.subset([0]).labels.regions == 3
    fronts = set()
    for pixels, regions in zip(drawn.images.pixels, drawn.labels.instances, strict=True):
        ground, even, odd = (pixels[:, regions == number].unique(dim=1) for number in range(3))
        assert ground.shape[1] == 1
        assert ground[0] == ground[1] and ground.min() >= 85 and ground.max() <= 170
        for digit, same, low, high in ((even, (1, 2), 0, 85), (odd, (0, 2), 170, 255)):
            assert digit.shape[1] <= 1
            assert (digit[same[0]] == digit[same[1]]).all() and ((low <= digit) & (digit <= high)).all()
        # Squares that hide part of the other one stay whole.
        sizes = [(int((regions == number).sum()) * 28**2) // (side * 7 // 16) ** 2 for number in (1, 2)]
        whole = [size in (16, 144) if even_one else size in (64, 256) for even_one, size in zip((1, 0), sizes)]
        assert any(whole)
        fronts.add(tuple(whole))
    assert {(True, False), (False, True)} <= fronts
    assert torch.equal(drawn.labels.instances, drawn.labels.classes)


def test_sizes_that_a_drawing_cannot_do_are_refused(mnist, monkeypatch):
    monkeypatch.setenv("DELAMINATE_DATA", str(mnist))
    with pytest.raises(DataError, match="drawn in 32 x 32, 64 x 64, 128 x 128 pixels; asked for 48 x 48"):
        draw("colored-2-mnist", 1, size=(48, 48))
    with pytest.raises(DataError, match="drawn in 35 x 35 pixels; asked for 64 x 64"):
        open_data("tetrominoes", 1, size=(64, 64))
    assert open_data("tetrominoes", 1, size=(35, 35), labels=False).size == (35, 35)


@needs_mnist
def test_the_real_digits_have_their_published_numbers():
    assert tuple(map(len, digit_masks("test", 28))) == (4926, 5074)
    assert sum(map(len, digit_masks("train", 28))) == 50_000
    drawn = draw("colored-2-mnist", 200, split="dev")
    shares = [(drawn.labels.instances == region).float().mean() for region in (1, 2)]
    assert all(0.01 < share < 0.05 for share in shares)

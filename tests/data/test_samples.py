"""Some images of a collection are read, in pairs of neighbours, spread over all."""

import numpy as np
import pytest
from PIL import Image

from delaminate.data import ImageSet
from delaminate.data.samples import MOST_PAIRS, sample_images, sample_path, spread
from delaminate.errors import DataError


def folder_of(path, count, size=(6, 8)):
    path.mkdir(exist_ok=True)
    for n in range(count):
        Image.fromarray(np.full((*size, 3), n % 256, np.uint8)).save(path / f"{n}.png")
    return path


@pytest.mark.parametrize("count", [0, 1, 2, 119, 120, 121, 1000, 100_000])
def test_positions_are_pairs_from_the_first_to_the_last(count):
    found = spread(count)
    assert found == sorted(set(found)) and len(found) <= 2 * MOST_PAIRS
    assert not count or (found[0], found[-1]) == (0, count - 1)
    # Every image has a neighbour beside it, so that an order in time can be seen.
    assert count < 2 or all(n - 1 in found or n + 1 in found for n in found)


def test_of_a_large_folder_a_part_is_read_in_natural_order(tmp_path):
    sample = sample_path(folder_of(tmp_path / "frames", 300))
    assert sample.count == 300 and len(sample.pictures) == len(sample.places) <= 2 * MOST_PAIRS
    assert [int(picture[0, 0, 0]) for picture in sample.pictures] == [place % 256 for place in sample.places]


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_taken(tmp_path):
    folder = folder_of(tmp_path / "frames", 3)
    (folder / "1.png").write_bytes(b"no picture")
    sample = sample_path(folder)
    assert sample.places == (0, 2) and [name for name, _ in sample.skipped] == ["1.png"]


def test_images_of_several_sizes_are_kept_as_they_are_and_make_no_set(tmp_path):
    folder_of(tmp_path / "frames", 2)
    Image.new("RGB", (9, 9)).save(tmp_path / "frames" / "9.png")
    sample = sample_path(tmp_path / "frames")
    assert sample.sizes == {(6, 8), (9, 9)}
    with pytest.raises(DataError, match="sizes"):
        sample.as_set()


def test_nothing_to_read_is_said(tmp_path):
    with pytest.raises(DataError, match="no image"):
        sample_path(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png"):
        sample_path(tmp_path)


def test_a_set_keeps_its_rate():
    from dataclasses import replace

    images = replace(ImageSet.from_arrays(np.zeros((500, 4, 4, 3), np.uint8)), rate=25.0)
    sample = sample_images(images)
    assert (sample.rate, sample.count, sample.as_set().rate) == (25.0, 500, 25.0)

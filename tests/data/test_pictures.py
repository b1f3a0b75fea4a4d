"""Pictures that come one by one are laid where they stay."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from delaminate.data.clips import read_clip
from delaminate.data.folders import load_folder
from delaminate.data.pictures import PictureStack
from delaminate.errors import DataError

RNG = np.random.default_rng(0)


def pictures(count, channels=3, size=(6, 7)):
    return [RNG.integers(0, 256, (*size, channels), dtype=np.uint8) for _ in range(count)]


def stacked(them, expected=0, **how):
    stack = PictureStack("x", 2**20, expected)
    for picture in them:
        stack.add(picture)
    return stack.stacked(**how)


@pytest.mark.parametrize("expected", [0, 3, 40, 100])
def test_pictures_come_out_as_they_went_in_however_many_were_expected(expected):
    them = pictures(40)
    found, key = stacked(them, expected)
    assert key is None and found.shape == (40, 3, 6, 7)
    assert (found.permute(0, 2, 3, 1).numpy() == np.stack(them)).all()


def test_pictures_with_alpha_lie_among_the_others():
    them = pictures(4)
    clear = np.dstack([pictures(1)[0], np.where(np.arange(7) < 5, 0, 255)[None].repeat(6, 0).astype(np.uint8)])
    for place in (0, 2, 4):
        found, key = stacked([*them[:place], clear, *them[place:]], transparent="auto")
        assert key is not None
        assert (found[place, :, :, :5].permute(1, 2, 0).numpy() == key).all()
        assert (found[place, :, :, 5:].permute(1, 2, 0).numpy() == clear[:, 5:, :3]).all()
        others = [index for index in range(5) if index != place]
        assert (found[others].permute(0, 2, 3, 1).numpy() == np.stack(them)).all()


def test_pictures_of_several_sizes_are_padded():
    found, _ = stacked([np.full((2, 3, 3), 9, np.uint8), np.full((4, 2, 3), 9, np.uint8)])
    assert found.shape == (2, 3, 4, 3) and (found == 9).all()


def test_more_than_may_be_held_is_refused():
    stack = PictureStack("folder", 2 * 6 * 7 * 3)
    for picture in pictures(2):
        stack.add(picture)
    with pytest.raises(DataError, match=r"folder: more than .* GiB of pixels; give a smaller size or a limit"):
        stack.add(pictures(1)[0])


def peak(read):
    tracemalloc.start()
    try:
        data = read().pixels.nbytes
        return tracemalloc.get_traced_memory()[1] / data
    finally:
        tracemalloc.stop()


def test_loading_takes_little_more_memory_than_the_images(tmp_path):
    for index in range(400):
        Image.fromarray(np.full((64, 48, 3), index % 251, np.uint8)).save(tmp_path / f"{index}.png", compress_level=1)
    assert peak(lambda: load_folder(tmp_path)) < 1.2


def test_a_clip_takes_little_more_memory_than_its_frames(tmp_path):
    frames = [Image.fromarray(np.full((64, 48, 3), index, np.uint8)) for index in range(200)]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:])
    read_clip(tmp_path / "clip.gif", limit=2)  # imports what it needs
    assert peak(lambda: read_clip(tmp_path / "clip.gif")) < 1.3  # it is not known how many come

import numpy as np
import pytest
from helpers.notes import Notes
from PIL import Image

import delaminate
from delaminate.data.clips import is_clip, read_clip
from delaminate.errors import ConfigError, DataError
from delaminate.pipelines.images import open_with_originals


def frames(count=6, size=(12, 16), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3)).astype(np.uint8)


def write_gif(path, pictures, durations):
    first, *rest = (Image.fromarray(each).quantize(256) for each in pictures)
    first.save(path, save_all=True, append_images=rest, duration=durations, loop=0)
    return path


def test_part_of_a_clip_is_a_clip_with_the_same_pixels_and_times(tmp_path):
    path = write_gif(tmp_path / "a.gif", frames(), [40, 60, 80, 100, 120, 140])
    before = read_clip(path)
    found = delaminate.prepare_images(path, tmp_path / "out", frames=(1, 5), crop=(2, 3, 8, 6))
    assert found.place == tmp_path / "out" / "clip.png" and is_clip(found.place)
    assert (found.count, found.size) == (4, (6, 8))
    after = read_clip(found.place)
    assert after.durations == (60, 80, 100, 120)
    assert (after.pixels == before.pixels[1:5, :, 3:9, 2:10]).all()


def test_transparent_pixels_of_a_clip_stay_transparent(tmp_path):
    pictures = np.zeros((4, 8, 8, 4), np.uint8)
    for number, each in enumerate(pictures):
        each[2:5, number : number + 3] = (200, 10 * number, 30, 255)
    first, *rest = map(Image.fromarray, pictures)
    first.save(tmp_path / "a.png", save_all=True, append_images=rest, duration=50, loop=0, disposal=1)
    found = delaminate.prepare_images(tmp_path / "a.png", tmp_path / "out", frames=(1, None))
    after = read_clip(found.place, transparent="auto")
    shown = (after.pixels.numpy() != np.array(after.transparent, np.uint8).reshape(1, 3, 1, 1)).any(1)
    assert (shown == (pictures[1:, ..., 3] > 0)).all()


def test_images_keep_their_names_and_pixels(tmp_path):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    pictures = frames(4)
    for number, each in enumerate(pictures):
        Image.fromarray(each).save(folder / ("deep" if number == 3 else "") / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    found = delaminate.prepare_images(folder, tmp_path / "out", frames=(1, None))
    names = sorted(path.relative_to(found.place).as_posix() for path in found.place.rglob("*.png"))
    assert names == ["1.png", "2.png", "deep/3.png"] and found.count == 3
    assert [name for name, _ in found.skipped] == ["broken.png"]
    assert (np.asarray(Image.open(found.place / "1.png")) == pictures[1]).all()


def test_twelve_bits_in_sixteen_are_named_and_stretched_with_all_their_bits(tmp_path):
    deep = np.linspace(40, 3900, 64 * 64).reshape(64, 64).astype(np.uint16)
    (tmp_path / "in").mkdir()
    for number in range(3):
        Image.fromarray(deep if number else deep.T).save(tmp_path / "in" / f"{number}.tif")
    told = Notes()
    open_with_originals(tmp_path / "in", callback=told)
    assert any("nearly black" in note and "data prepare" in note for note in told.notes)
    assert any("nearly black" in line for line in delaminate.recognise(tmp_path / "in").evidence)
    found = delaminate.prepare_images(tmp_path / "in", tmp_path / "out", stretch=True)
    made = np.asarray(Image.open(found.place / "1.png"))
    assert made.dtype == np.uint8 and made.shape == (64, 64)
    assert made.min() == 0 and made.max() == 255 and len(np.unique(made)) == 256  # from 8 bits there were 16 levels
    exact = (deep - np.quantile(deep, 0.001)) / (np.quantile(deep, 0.999) - np.quantile(deep, 0.001))
    assert np.abs(made - exact.clip(0, 1) * 255).max() <= 1
    told = Notes()
    open_with_originals(found.place, callback=told)
    assert told.notes == []


def test_all_images_are_stretched_by_one_line(tmp_path):
    (tmp_path / "in").mkdir()
    for number, level in enumerate((10, 20, 30)):
        picture = np.full((20, 20, 3), level, np.uint8)
        picture[5:9] = level + 20
        Image.fromarray(picture).save(tmp_path / "in" / f"{number}.png")
    found = delaminate.prepare_images(tmp_path / "in", tmp_path / "out", stretch=True)
    levels = [np.unique(np.asarray(Image.open(found.place / f"{number}.png"))).tolist() for number in range(3)]
    assert levels == [[0, 128], [64, 191], [128, 255]]


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"frames": (5, 5)}, ConfigError),
        ({"frames": (9, None)}, ConfigError),
        ({"crop": (0, 0, 17, 4)}, DataError),
        ({"crop": (-1, 0, 4, 4)}, ConfigError),
    ],
)
def test_what_is_impossible_is_refused_and_leaves_nothing(tmp_path, how, error):
    path = write_gif(tmp_path / "a.gif", frames(), 40)
    with pytest.raises(error):
        delaminate.prepare_images(path, tmp_path / "out", **how)
    assert not list((tmp_path / "out").glob("*.png"))


def test_earlier_images_stay_unless_they_are_to_be_replaced(tmp_path):
    path = write_gif(tmp_path / "a.gif", frames(), 40)
    delaminate.prepare_images(path, tmp_path / "out")
    with pytest.raises(ConfigError, match="--overwrite"):
        delaminate.prepare_images(path, tmp_path / "out", frames=(2, None))
    assert delaminate.prepare_images(path, tmp_path / "out", frames=(2, None), overwrite=True).count == 4


def test_one_colour_cannot_be_stretched(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "in" / "a.png")
    with pytest.raises(DataError, match="no contrast"):
        delaminate.prepare_images(tmp_path / "in", tmp_path / "out", stretch=True)


def test_what_is_read_is_never_removed(tmp_path):
    own = tmp_path / "own"
    (own / "images").mkdir(parents=True)
    for number, each in enumerate(frames(3)):
        Image.fromarray(each).save(own / "images" / f"{number}.png")
    for data, out in ((own, own), (own / "images", own), (own, own / "images" / "small")):
        with pytest.raises(ConfigError, match="among the images"):
            delaminate.prepare_images(data, out, overwrite=True)
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(frames(1)[0]).save(other / "a.png")
    with pytest.raises(ConfigError, match="no `data prepare` wrote it"):
        delaminate.prepare_images(other, own, overwrite=True)
    made = delaminate.prepare_images(write_gif(tmp_path / "a.gif", frames(), 40), tmp_path / "clip")
    with pytest.raises(ConfigError, match="among the images"):
        delaminate.prepare_images(made.place, tmp_path / "clip", overwrite=True)
    assert made.place.exists() and len(list((own / "images").iterdir())) == 3


def test_a_call_that_failed_is_made_again(tmp_path):
    (tmp_path / "in").mkdir()
    for number, size in enumerate(((12, 16), (8, 8))):
        Image.fromarray(frames(1, size)[0]).save(tmp_path / "in" / f"{number}.png")
    with pytest.raises(DataError, match="has no part"):
        delaminate.prepare_images(tmp_path / "in", tmp_path / "out", crop=(0, 0, 10, 10))
    assert delaminate.prepare_images(tmp_path / "in", tmp_path / "out", crop=(0, 0, 8, 8), overwrite=True).count == 2


def test_a_late_part_of_a_long_clip_needs_no_memory_for_what_is_before(tmp_path, monkeypatch):
    path = write_gif(tmp_path / "a.gif", frames(30), 40)
    monkeypatch.setattr("delaminate.data.clips.MAX_CLIP_BYTES", 8 * 12 * 16 * 3)
    found = delaminate.prepare_images(path, tmp_path / "out", frames=(25, 28))
    assert found.count == 3 and len(read_clip(found.place)) == 3


def test_few_bright_spots_are_stretched(tmp_path):
    (tmp_path / "in").mkdir()
    dark = np.zeros((200, 200), np.uint16)
    dark[50, 50:60] = 4000
    Image.fromarray(dark).save(tmp_path / "in" / "a.tif")
    found = delaminate.prepare_images(tmp_path / "in", tmp_path / "out", stretch=True)
    assert np.unique(np.asarray(Image.open(found.place / "a.png"))).tolist() == [0, 255]


def test_one_image_is_made_ready_beside_itself(tmp_path):
    Image.fromarray(frames(1)[0]).save(tmp_path / "a.png")
    assert delaminate.prepare_images(tmp_path / "a.png", tmp_path / "out", crop=(0, 0, 4, 4)).size == (4, 4)

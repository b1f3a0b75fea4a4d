"""Frames of a clip as a folder of pictures."""

import numpy as np
import pytest
from PIL import Image

from delaminate.errors import ConfigError
from delaminate.pipelines.decomposition import decompose
from delaminate.pipelines.images import FRAME_RATE, open_images
from delaminate.pipelines.training import train


def frames(count=12, bar=0):
    """A disc that crosses a room, between black bars."""
    rng = np.random.default_rng(3)
    room = rng.integers(40, 200, (48, 64, 3), dtype=np.uint8)
    y, x = np.mgrid[:48, :64]
    found = []
    for number in range(count):
        picture = room.copy()
        picture[np.hypot(y - 24, x - 6 - 4 * number) < 5] = 255, 210, 0
        found.append(np.pad(picture, ((bar, bar), (0, 0), (0, 0))))
    return found


def write(folder, pictures, name="{:03d}"):
    folder.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{name.format(number)}.png")
    return folder


def test_numbered_pictures_that_follow_one_another_are_a_clip(tmp_path):
    opened = open_images(write(tmp_path / "frames", frames(bar=6)))
    assert opened.rate == FRAME_RATE
    assert opened.size == (60, 64)  # with the bars: a single picture has them, too
    for some in (frames(), np.stack(frames())):  # in memory, too
        assert open_images(some).rate == open_images(some, (24, 32)).rate == FRAME_RATE
    assert open_images(opened.subset(range(12))).rate == FRAME_RATE
    assert open_images(write(tmp_path / "steps", frames()[::2], "walk {}x")).rate == FRAME_RATE


@pytest.mark.parametrize(
    ("order", "name"),
    [
        (np.random.default_rng(0).permutation(12), "{:03d}"),  # numbered, but in no order of time
        (range(12), "{0}-{0}"),  # two numbers that count
        (range(12), "a{0:0>40}"),  # no number of a frame
        (range(11, -1, -1), "{0:x}"),  # no numbers
        (range(3), "{:03d}"),  # too few to tell
    ],
)
def test_pictures_without_an_order_in_time_stand_for_themselves(tmp_path, order, name):
    some = frames()
    assert open_images(write(tmp_path / "some", [some[at] for at in order], name)).rate is None


def test_a_rate_is_as_it_is_asked_for(tmp_path):
    folder = write(tmp_path / "frames", frames())
    for images in (folder, frames(), open_images(folder)):
        for size in (None, (24, 32)):
            assert open_images(images, size, rate=24).rate == 24
            assert open_images(images, size, rate=0).rate is None


@pytest.mark.parametrize("rate", [-5, float("nan"), float("inf"), "24"])
def test_what_is_no_rate_is_refused(tmp_path, rate):
    with pytest.raises(ConfigError, match="expected frames a second"):
        open_images(write(tmp_path / "frames", frames()), rate=rate)


def test_frames_in_a_folder_get_tracks(tmp_path):
    folder = write(tmp_path / "frames", frames())
    train(folder, "marionette", preset="video", out=tmp_path / "run")
    scenes = decompose(tmp_path / "run", folder, tmp_path / "scenes")
    assert scenes.rate == FRAME_RATE
    discs = [layer.placement.track for scene in scenes for layer in scene.layers[1:]]
    assert len(discs) == 12 and len(set(discs)) == 1 and None not in discs
    alone = decompose(tmp_path / "run", folder, rate=0)
    assert alone.rate is None
    assert all(layer.placement.track is None for scene in alone for layer in scene.layers)
    assert decompose(tmp_path / "run", frames()).rate == FRAME_RATE
    with pytest.raises(ConfigError, match="leave --shard, --workers and --cluster"):
        decompose(tmp_path / "run", folder, tmp_path / "shared", workers=2)


def test_scenes_go_on_as_they_began(tmp_path):
    folder = write(tmp_path / "frames", frames())
    train(folder, "marionette", preset="video", out=tmp_path / "run")
    for name, first, rate in (("few", {"limit": 3}, None), ("alone", {"rate": 0}, None), ("fast", {"rate": 24}, 24)):
        begun = decompose(tmp_path / "run", folder, tmp_path / name, **first)
        assert begun.rate == rate
        done = decompose(tmp_path / "run", folder, tmp_path / name, resume=True)
        assert (len(done), done.rate) == (12, rate)
        tracks = {layer.placement.track for scene in done for layer in scene.layers[1:]}
        assert tracks == ({None} if rate is None else {0})
        with pytest.raises(ConfigError, match="rate"):
            decompose(tmp_path / "run", folder, tmp_path / name, resume=True, rate=12)

import dataclasses

import numpy as np
import pytest
from helpers.exports import clip, composite, scenes
from PIL import Image

from delaminate.errors import ConfigError, ShapeError
from delaminate.exporters.animations import without_background, write_apng, write_gif, write_webp
from delaminate.exporters.files import coverage
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary

WRITERS = {"apng": write_apng, "webp": write_webp, "gif": write_gif}


def flat_clip(count=4):
    """A clip of few colours and hard edges, as games have them."""
    base = clip(count, background=False)
    shown = []
    for scene in base:
        layers = tuple(layer for layer in scene.layers if layer.placement.opacity == 1)[:-1]
        shown.append(dataclasses.replace(scene, layers=layers))
    sprites = tuple((sprite * 3).round() / 3 for sprite in base[0].dictionary.sprites)
    return [dataclasses.replace(scene, dictionary=Dictionary(sprites)) for scene in shown]


def read(path, step):
    """The frames as they are shown: one for each `step` milliseconds."""
    frames = []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            pixels = np.asarray(image.convert("RGBA")) / 255
            frames += [pixels] * round(image.info["duration"] / step)
    return frames


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("shown", [clip(), flat_clip(), scenes()[:1]], ids=["clip", "flat", "one"])
def test_frames_are_the_scenes_within_the_recorded_error(tmp_path, name, shown, background):
    result = WRITERS[name](shown, tmp_path, rate=25.0, background=background)
    (path,) = result.files
    if len(shown) == 1:
        with Image.open(path) as image:
            frames = [np.asarray(image.convert("RGBA")) / 255]
    else:
        frames = read(path, 40)
    assert len(frames) == len(shown)
    worst = 0.0
    for scene, pixels in zip(shown, frames, strict=True):
        drawn = scene if background else without_background(scene)
        colour, alpha = pixels[..., 3:] * pixels[..., :3], pixels[..., 3]
        worst = max(worst, np.abs(colour - composite(drawn)).max(), np.abs(alpha - coverage(drawn)[0].numpy()).max())
    assert worst == pytest.approx(result.max_error, abs=1e-6)
    if name != "gif":
        assert worst < 0.006
    elif shown[0].name == "shot/0.png" and not shown[0].background:
        assert worst < 0.003  # few colours: exact
    else:
        assert worst <= 0.55  # half of an alpha


@pytest.mark.parametrize("name", WRITERS)
def test_the_rate_is_ten_where_nobody_knows_it(tmp_path, name):
    (path,) = WRITERS[name](flat_clip(), tmp_path).files
    with Image.open(path) as image:
        image.load()
        assert image.info["duration"] == 100
        assert image.info["loop"] == 0


@pytest.mark.parametrize("name", WRITERS)
def test_clips_that_are_none_are_refused(tmp_path, name):
    write = WRITERS[name]
    with pytest.raises(ConfigError, match="at least one frame"):
        write([], tmp_path)
    with pytest.raises(ShapeError, match=rf"^{name}: .* need one size"):
        write([*scenes(), *clip()], tmp_path)
    for rate in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(ConfigError, match="frames per second"):
            write(clip(), tmp_path, rate=rate)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", WRITERS)
def test_an_empty_scene_is_a_clear_frame(tmp_path, name):
    nothing = Decomposition(Dictionary(()), ((),), (5, 7)).scenes()
    result = WRITERS[name](nothing, tmp_path)
    assert result.max_error == 0
    with Image.open(result.files[0]) as image:
        assert image.size == (7, 5)
        assert not np.asarray(image.convert("RGBA"))[..., 3].any()

import sys
from fractions import Fraction

import numpy as np
import pytest
from helpers.exports import clip, composite, scenes

from delaminate.errors import ConfigError, MissingExtra, OutputError, ShapeError
from delaminate.exporters.animations import without_background
from delaminate.exporters.video import write_mp4
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary

av = pytest.importorskip("av")


def read(path):
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        rate = stream.average_rate
        return [frame.to_ndarray(format="rgb24") / 255 for frame in file.decode(video=0)], rate


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("shown", [clip(), scenes(False), scenes()[:1]], ids=["clip", "bare", "one"])
def test_frames_are_the_scenes_within_the_recorded_error(tmp_path, shown, background):
    result = write_mp4(shown, tmp_path, rate=25.0, background=background)
    frames, rate = read(result.files[0])
    assert (len(frames), rate) == (len(shown), 25)
    worst = 0.0
    for scene, pixels in zip(shown, frames, strict=True):
        height, width = scene.size
        assert pixels.shape == (2 * height, 2 * width, 3)
        small = (pixels[::2, ::2] + pixels[1::2, ::2] + pixels[::2, 1::2] + pixels[1::2, 1::2]) / 4
        worst = max(worst, np.abs(small - composite(scene if background else without_background(scene))).max())
    assert worst == pytest.approx(result.max_error, abs=1e-6)
    # Noise is the hardest to compress; twice as large, every pixel still keeps its colour.
    assert worst < 0.12


def test_odd_sides_become_even_and_a_rate_may_be_broken(tmp_path):
    nothing = Decomposition(Dictionary(()), ((), ()), (5, 7)).scenes()
    frames, rate = read(write_mp4(nothing, tmp_path, rate=29.97, scale=1).files[0])
    assert frames[0].shape == (6, 8, 3)
    assert abs(rate - Fraction(2997, 100)) < Fraction(1, 1000)
    assert max(frame.max() for frame in frames) < 0.02


def test_the_other_encoder_is_taken_where_the_first_is_missing(tmp_path, monkeypatch):
    from delaminate.exporters import video

    monkeypatch.setattr(video, "QUALITY", {"no-such-encoder": {}, "mpeg4": video.QUALITY["mpeg4"]})
    result = write_mp4(clip(), tmp_path)
    with av.open(str(result.files[0])) as file:
        assert file.streams.video[0].codec_context.name == "mpeg4"
    assert result.max_error < 0.4
    monkeypatch.setattr(video, "QUALITY", {"no-such-encoder": {}})
    with pytest.raises(OutputError, match="none of the encoders"):
        write_mp4(clip(), tmp_path)


def test_clips_that_are_none_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="at least one frame"):
        write_mp4([], tmp_path)
    with pytest.raises(ShapeError, match="need one size"):
        write_mp4([*scenes(), *clip()], tmp_path)
    with pytest.raises(ConfigError, match="frames per second"):
        write_mp4(clip(), tmp_path, rate=0.0)
    with pytest.raises(ConfigError, match="scale 17"):
        write_mp4(clip(), tmp_path, scale=17)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"\.\[video\]"):
        write_mp4(clip(), tmp_path)
    assert not list(tmp_path.iterdir())

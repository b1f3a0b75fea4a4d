"""How long each frame is seen: from a clip through scenes on disk to every format that knows time."""

import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.exports import clip
from PIL import Image

import delaminate
from delaminate.data import ImageSet
from delaminate.data.clips import read_clip
from delaminate.errors import ConfigError, DataError, FormatError
from delaminate.exporters import FORMATS
from delaminate.exporters.files import whole_durations
from delaminate.scene.loading import load_scenes
from delaminate.scene.saving import save_scenes
from delaminate.scene.summary import load_rate

LASTING = (40.0, 100.0, 800.0, 50.0, 30.0, 270.0)
CASES = Path(os.environ.get("DELAMINATE_DATA", "/nowhere")) / "cases_games"


def frames(count):
    return [Image.fromarray(np.full((6, 8, 3), 20 * number, np.uint8)) for number in range(count)]


def shown(count=6):
    """Frames that all differ, so that no format makes one of two."""
    return clip(count + 1)[:count]


def by_name(scenes, durations=LASTING):
    return {scene.name: lasted for scene, lasted in zip(scenes, durations, strict=True)}


def ase_durations(path):
    content, place, found = path.read_bytes(), 128, []
    while place < len(content):
        size, _, _, milliseconds = struct.unpack("<IHHH", content[place : place + 10])
        found.append(milliseconds)
        place += size
    return found


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_an_animations_durations_are_read(tmp_path, name):
    pictures = frames(4)
    more = {"lossless": True} if name == "a.webp" else {}
    pictures[0].save(
        tmp_path / name, save_all=True, append_images=pictures[1:], duration=[40, 800, 100, 60], loop=0, **more
    )
    found = read_clip(tmp_path / name)
    assert found.durations == (40, 800, 100, 60)
    assert found.rate == 4
    assert read_clip(tmp_path / name, limit=2).durations == (40, 800)
    assert found.subset([2, 0]).durations == (100, 40)
    again = replace(found, names=("a", "b", "c", "d"))
    assert found.joined(again).durations == (40, 800, 100, 60) * 2


@pytest.mark.parametrize("stated", [0, 10])
def test_frames_that_ask_for_less_than_browsers_show_last_a_tenth_of_a_second(tmp_path, stated):
    pictures = frames(3)
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[stated, 20, stated])
    assert read_clip(tmp_path / "a.gif").durations == (100, 20, 100)


def test_durations_that_do_not_fit_are_refused():
    images = ImageSet.from_arrays(np.zeros((2, 4, 4, 3), np.uint8))
    for wrong in ((1.0,), (1.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(DataError, match="durations for 2 images"):
            replace(images, durations=wrong)
    timed = replace(images, durations=(50.0, 150.0))
    assert timed.rate == 10
    with pytest.raises(DataError, match="no set"):
        timed.joined(replace(images, names=("a", "b")))


@pytest.mark.parametrize("container", ["a.mkv", "a.mp4"])
def test_a_video_of_variable_rate_has_the_times_of_its_frames(tmp_path, container):
    av = pytest.importorskip("av")
    from fractions import Fraction

    starts = [0, 40, 140, 940, 980, 1010]
    with av.open(str(tmp_path / container), "w") as out:
        stream = out.add_stream("libx264", rate=1000)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for number, start in enumerate(starts):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 30 * number, np.uint8), format="rgb24")
            picture.pts, picture.time_base = start, Fraction(1, 1000)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    found = read_clip(tmp_path / container)
    assert found.durations[:5] == pytest.approx((40, 100, 800, 40, 30))
    assert read_clip(tmp_path / container, limit=3).durations == pytest.approx((40, 100, 800))


def test_every_export_has_the_durations(tmp_path):
    scenes = shown()
    for name in ("gif", "apng", "webp", "mp4"):
        if name == "mp4":
            pytest.importorskip("av")
        (path,) = FORMATS[name].write(scenes, tmp_path / name, durations=LASTING, background=True).files
        assert read_clip(path).durations == pytest.approx(LASTING), name
    (path,) = FORMATS["ase"].write(scenes, tmp_path / "ase", durations=LASTING).files
    assert ase_durations(path) == list(LASTING)
    FORMATS["placements"].write(scenes, tmp_path / "table", durations=LASTING, rate=3.0)
    table = json.loads((tmp_path / "table" / "placements.json").read_text())
    assert [frame["seconds"] for frame in table["frames"]] == [0, 0.04, 0.14, 0.94, 0.99, 1.02]
    assert [frame["milliseconds"] for frame in table["frames"]] == list(LASTING)
    FORMATS["aseprite"].write(scenes, tmp_path / "sheet", durations=LASTING)
    sheet = json.loads((tmp_path / "sheet" / "sheet.json").read_text())
    tag = sheet["meta"]["frameTags"][0]
    lasting = [frame["duration"] for frame in sheet["frames"][tag["from"] : tag["to"] + 1]]
    # The runner's two poses in turns; the first and the last sight are cut off, and tell no duration.
    assert lasting == [800, 75]


def test_durations_reach_exports_through_a_folder_and_an_edit(tmp_path):
    scenes = shown()
    save_scenes(scenes, tmp_path / "scenes", 5.0, by_name(scenes))
    assert load_scenes(tmp_path / "scenes").durations == by_name(scenes)
    delaminate.edit(
        tmp_path / "scenes", lambda scene, layer: scene.hide(layer), layers=["layer-01"], out=tmp_path / "edited"
    )
    for folder in ("scenes", "edited"):
        written = delaminate.export(tmp_path / folder, tmp_path / f"{folder}-out", "ase,apng", background=True)
        assert ase_durations(written["ase"].files[0]) == list(LASTING)
        assert read_clip(written["apng"].files[0]).durations == LASTING
    written = delaminate.export(tmp_path / "scenes", tmp_path / "even", "ase", rate=20.0)
    assert ase_durations(written["ase"].files[0]) == [50] * 6


def test_durations_that_are_all_alike_are_told_by_the_rate(tmp_path):
    scenes = shown()
    save_scenes(scenes, tmp_path, 25.0, by_name(scenes, [40.0] * 6))
    assert "durations" not in json.loads((tmp_path / "summary.json").read_text())
    assert load_rate(tmp_path) == 25
    assert load_scenes(tmp_path).durations is None


@pytest.mark.parametrize("wrong", ["[1, 2]", "[1, 2, 3, 4, 5, 0]", '[1, 2, 3, 4, 5, "6"]', "7"])
def test_a_folder_with_wrong_durations_is_refused(tmp_path, wrong):
    scenes = shown()
    save_scenes(scenes, tmp_path, 5.0, by_name(scenes))
    summary = json.loads((tmp_path / "summary.json").read_text())
    (tmp_path / "summary.json").write_text(json.dumps({**summary, "durations": json.loads(wrong)}))
    with pytest.raises(FormatError, match="durations"):
        load_scenes(tmp_path)


def test_durations_of_other_frames_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="2 for 6 frames"):
        FORMATS["apng"].write(shown(), tmp_path, durations=[1.0, 2.0])


def test_rounded_durations_do_not_drift():
    assert whole_durations([1000 / 30] * 3, 10, 20, 655_350) == (30, 40, 30)
    assert whole_durations([1000 / 60] * 4, 10, 20, 655_350) == (20,) * 4
    assert whole_durations([1e9, 5.0], 10, 20, 655_350) == (655_350, 655_350)


@pytest.mark.skipif(not CASES.is_dir(), reason="cases_games is not there")
def test_the_recorded_case_keeps_its_times_through_decompose_and_export(command, model, tmp_path):
    pytest.importorskip("av")
    wanted = read_clip(CASES / "m10_dur.gif").durations
    assert wanted == (100, 100, 400, 100, 100, 100, 800, 100, 100, 40, 40, 40)
    code, _, err = command("decompose", model, CASES / "m10_dur.gif", "--out", tmp_path / "scenes")
    assert code == 0, err
    scenes = load_scenes(tmp_path / "scenes")
    assert tuple(scenes.durations[f"frame-{number:06d}"] for number in range(12)) == wanted
    assert command("export", tmp_path / "scenes", "--to", "ase,mp4,placements", "--out", tmp_path / "out")[0] == 0
    assert ase_durations(tmp_path / "out" / "ase" / "clip.aseprite") == list(wanted)
    assert read_clip(tmp_path / "out" / "mp4" / "clip.mp4").durations == wanted
    assert torch.equal(read_clip(CASES / "m10_dur.gif", limit=3).pixels, read_clip(CASES / "m10_dur.gif").pixels[:3])

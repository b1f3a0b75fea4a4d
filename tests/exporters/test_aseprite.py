import dataclasses
import json
import struct
import zlib

import numpy as np
import pytest
from helpers.actors import crouching, hero
from helpers.exports import CANVAS, clip, composite, over, scenes
from PIL import Image

from delaminate.errors import ConfigError, OutputError, ShapeError
from delaminate.exporters.aseprite import write_ase, write_aseprite
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform


class Reader:
    """Reads an Aseprite file by its specification: frames of cels, back to front."""

    def __init__(self, path):
        self.data, self.at = path.read_bytes(), 0
        size, magic, count, self.width, self.height, depth, flags = self.take("<IHHHHHI")
        assert (size, magic, depth, flags & 1) == (len(self.data), 0xA5E0, 32, 1)
        self.at = 128
        self.layers, self.frames, self.durations = [], [], []
        for _ in range(count):
            self.frames.append(self.frame())
        assert self.at == len(self.data)

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values

    def frame(self):
        start = self.at
        size, magic, old, duration, chunks = self.take("<IHHH2xI")
        assert magic == 0xF1FA
        assert old == chunks or old == 0xFFFF
        self.durations.append(duration)
        cels = []
        for _ in range(chunks):
            begin = self.at
            length, kind = self.take("<IH")
            if kind == 0x2004:
                flags, image, level, _, _, mode, opacity, letters = self.take("<HHHHHHB3xH")
                assert (flags & 1, image, level, mode, opacity) == (1, 0, 0, 0, 255)
                self.layers.append(self.data[self.at : self.at + letters].decode())
            elif kind == 0x2005:
                layer, x, y, opacity, form, z, width, height = self.take("<HhhBHh5xHH")
                assert form == 2
                packed = self.data[self.at : begin + length]
                pixels = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, width, 4)
                cels.append((layer + z, z, x, y, opacity / 255, pixels, layer))
            else:
                assert kind == 0x2007
            self.at = begin + length
        assert self.at == start + size
        return sorted(cels, key=lambda cel: cel[:2])

    def flatten(self, number):
        canvas = np.zeros((self.height, self.width, 3))
        for _, _, x, y, opacity, pixels, _ in self.frames[number]:
            over(canvas, pixels, x, y, opacity)
        return canvas


@pytest.mark.parametrize(
    "shown", [clip(), clip(background=False), scenes(), scenes(False)], ids=["clip", "bare", "a", "b"]
)
def test_the_file_composites_to_the_scenes_within_the_recorded_error(tmp_path, shown):
    result = write_ase(shown, tmp_path, rate=25.0)
    assert result.max_error < 0.01
    opened = Reader(result.files[0])
    assert opened.durations == [40] * len(shown)
    worst = max(np.abs(opened.flatten(i) - composite(scene)).max() for i, scene in enumerate(shown))
    assert worst == pytest.approx(result.max_error, abs=1e-9)


def test_a_track_has_a_layer_of_its_own(tmp_path):
    opened = Reader(write_ase(clip(), tmp_path).files[0])
    assert opened.layers[0] == "ground"
    assert opened.layers.count("track 7") == opened.layers.count("track 8") == 1
    # Five frames show the runner; each cel keeps all its pixels, even outside the canvas.
    runner = [cel for cels in opened.frames for cel in cels if opened.layers[cel[6]] == "track 7"]
    assert [cel[5].shape for cel in runner] == [(12, 10, 4)] * 5
    assert runner[0][2] == -4
    assert opened.durations == [100] * 7
    assert opened.frames[-1] == []


def test_an_order_that_changes_from_frame_to_frame_is_kept(tmp_path):
    generator = np.random.Generator(np.random.PCG64(4))
    base = scenes(background=False)[0].dictionary
    images = []
    for _ in range(12):
        places = generator.integers(0, 8, (6, 2))
        images.append(
            tuple(
                Placement(int(i) % 3, (Transform.shift(int(x), int(y), CANVAS),), track=int(i))
                for i, (x, y) in zip(generator.permutation(6), places, strict=True)
            )
        )
    shown = Decomposition(Dictionary(base.sprites), tuple(images), CANVAS).scenes()
    opened = Reader(write_ase(shown, tmp_path).files[0])
    assert len(opened.layers) == 6
    assert any(cel[1] for cels in opened.frames for cel in cels)
    for number, scene in enumerate(shown):
        assert np.abs(opened.flatten(number) - composite(scene)).max() < 0.01


def test_two_placements_of_one_track_are_both_kept(tmp_path):
    shown = clip()[:1]
    layers = tuple(
        dataclasses.replace(layer, placement=dataclasses.replace(layer.placement, track=5)) for layer in shown[0].layers
    )
    scene = dataclasses.replace(shown[0], layers=layers)
    opened = Reader(write_ase([scene], tmp_path).files[0])
    assert len(opened.frames[0]) == len(layers)
    assert np.abs(opened.flatten(0) - composite(scene)).max() < 0.01


def test_clips_that_are_none_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="at least one frame"):
        write_ase([], tmp_path)
    with pytest.raises(ShapeError, match="need one size"):
        write_ase([*clip(), *scenes()], tmp_path)
    with pytest.raises(ConfigError, match="frames per second"):
        write_aseprite(clip(), tmp_path, rate=0)
    monkeypatch.setattr("delaminate.exporters.aseprite.LARGEST_WORD", 3)
    with pytest.raises(OutputError, match="holds 65535 frames"):
        write_ase(clip(), tmp_path)
    assert not list(tmp_path.iterdir())


def pasted(sheet, frame):
    """A frame on its canvas, as an engine restores it."""
    place, inner, whole = (frame[key] for key in ("frame", "spriteSourceSize", "sourceSize"))
    canvas = np.zeros((whole["h"], whole["w"], 4), np.uint8)
    part = sheet[place["y"] : place["y"] + place["h"], place["x"] : place["x"] + place["w"]]
    canvas[inner["y"] : inner["y"] + inner["h"], inner["x"] : inner["x"] + inner["w"]] = part
    return canvas


def test_animations_are_tags_over_frames_of_the_sheet(tmp_path):
    shown = clip()
    result = write_aseprite(shown, tmp_path, rate=20.0)
    assert result.max_error < 0.02
    document = json.loads((tmp_path / "sheet.json").read_text())
    sheet = np.asarray(Image.open(tmp_path / document["meta"]["image"]))
    assert document["meta"]["size"] == {"w": sheet.shape[1], "h": sheet.shape[0]}
    # The runner's second sprite is seen mirrored whenever the first is not: that is a picture of its own.
    (tag,) = document["meta"]["frameTags"]
    assert tag == {"name": "character-0-cycle-0", "from": 6, "to": 7, "direction": "forward"}
    frames = document["frames"][tag["from"] : tag["to"] + 1]
    assert [frame["filename"].split()[-1] for frame in frames] == ["sprite-00", "sprite-01-mirrored"]
    assert [frame["duration"] for frame in frames] == [50] * 2
    dictionary = shown[0].dictionary
    for frame, picture in zip(frames, (dictionary.sprites[0], dictionary.sprites[1].flip(2)), strict=True):
        expected = picture.permute(1, 2, 0).numpy() * 255
        again = pasted(sheet, frame)
        assert again.shape == expected.shape
        seen = expected[..., 3] > 0
        assert np.abs(again[seen] - expected[seen]).max() < 0.51
        assert (again[~seen][..., 3] == 0).all()


def test_poses_of_a_character_share_a_canvas_on_which_its_feet_stay(tmp_path):
    write_aseprite(crouching(), tmp_path)
    document = json.loads((tmp_path / "sheet.json").read_text())
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    (tag,) = document["meta"]["frameTags"]
    tall, low = (pasted(sheet, frame) for frame in document["frames"][tag["from"] : tag["to"] + 1])
    assert tall.shape == low.shape == (16, 22, 4)
    assert np.flatnonzero(tall[..., 3].any(1))[-1] == np.flatnonzero(low[..., 3].any(1))[-1] == 15
    assert [frame["duration"] for frame in document["frames"][2:]] == [600, 600]
    (found,) = document["meta"]["slices"]
    assert found["keys"] == [
        {"frame": 2, "bounds": {"x": 0, "y": 0, "w": 22, "h": 16}, "pivot": {"x": 11, "y": 16}},
    ]


def test_what_is_seen_once_is_played_once_and_no_tracks_mean_no_tags(tmp_path):
    write_aseprite(hero(), tmp_path, rate=50.0)
    document = json.loads((tmp_path / "sheet.json").read_text())
    tags = {tag["name"].removeprefix("character-0-"): tag for tag in document["meta"]["frameTags"]}
    assert list(tags) == ["still-0", "cycle-0", "once-0"]
    assert tags["once-0"]["repeat"] == "1"
    assert [f["duration"] for f in document["frames"][tags["cycle-0"]["from"] : tags["cycle-0"]["to"] + 1]] == [60] * 3
    write_aseprite([], tmp_path)
    assert json.loads((tmp_path / "sheet.json").read_text())["meta"]["frameTags"] == []

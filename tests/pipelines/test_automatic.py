"""From a collection to layers, report and exports in one call; and what is said where there is nothing to find."""

import json

import numpy as np
import pytest
from PIL import Image

from delaminate.engine.record import SilentCallback
from delaminate.errors import ConfigError, DataError
from delaminate.pipelines.automatic import auto, look, spots
from delaminate.scene.loading import load_scenes

GROUND = (30, 40, 60)


@pytest.fixture
def clip(tmp_path):
    """A GIF in which a sprite of random pixels walks to and fro."""
    rng = np.random.default_rng(1)
    sprite = rng.integers(90, 250, (9, 9, 3)).astype(np.uint8)
    frames = np.full((16, 32, 48, 3), GROUND, np.uint8)
    for n, frame in enumerate(frames):
        left = 2 * n if n < 8 else 32 - 2 * n
        frame[12:21, left + 4 : left + 13] = sprite
    pictures = [Image.fromarray(frame).quantize(100) for frame in frames]
    pictures[0].save(tmp_path / "walk.gif", save_all=True, append_images=pictures[1:], duration=50)
    return tmp_path / "walk.gif"


class Notes(SilentCallback):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


def test_a_clip_is_taken_apart_and_written_for_other_programs(clip, tmp_path):
    notes = Notes()
    found = auto(clip, tmp_path / "out", callback=notes)
    assert (found.level, found.finished, found.recognition.kind) == ("good", True, "clip")
    assert len(load_scenes(tmp_path / "out" / "scenes")) == 16
    assert (tmp_path / "out" / "exports" / "atlas" / "atlas.json").exists()
    record = json.loads((tmp_path / "out" / "auto.json").read_text())
    assert record["level"] == "good" and record["commands"] == list(found.commands)
    assert all(f"$ {command}" in notes.said for command in found.commands)
    page = found.page.read_text()
    assert "walk.gif" in page and 'href="training/report.html"' in page and "data:image/png" in page


def test_a_second_call_goes_on_and_changes_no_scene(clip, tmp_path):
    auto(clip, tmp_path / "out")
    scenes = {path: path.read_bytes() for path in (tmp_path / "out" / "scenes").rglob("*") if path.is_file()}
    model = (tmp_path / "out" / "training" / "model" / "model.safetensors").read_bytes()
    again = auto(clip, tmp_path / "out")
    assert again.finished and again.level == "good"
    assert {path: path.read_bytes() for path in scenes} == scenes
    assert (tmp_path / "out" / "training" / "model" / "model.safetensors").read_bytes() == model


def test_without_time_it_says_so_and_a_second_call_ends_it(clip, tmp_path):
    cut = auto(clip, tmp_path / "out", minutes=0)
    assert not cut.finished and cut.remarks[0].startswith("UNFINISHED")
    assert auto(clip, tmp_path / "out").finished
    assert len(load_scenes(tmp_path / "out" / "scenes")) == 16


def test_a_look_writes_nothing(clip, tmp_path):
    before = sorted(tmp_path.iterdir())
    found = look(clip, tmp_path / "out")
    assert [command.split()[1] for command in found.commands] == ["train", "decompose", "export"]
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_of_something_else_is_left_alone(clip, tmp_path):
    (tmp_path / "out" / "scenes").mkdir(parents=True)
    with pytest.raises(ConfigError, match="not made"):
        auto(clip, tmp_path / "out")
    auto(clip, tmp_path / "other", minutes=0)
    with pytest.raises(ConfigError, match=r"walk\.gif"):
        auto("tetrominoes", tmp_path / "other")


def test_pictures_with_nothing_in_common_end_without_a_result(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for n in range(10):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(tmp_path / "in" / f"{n}.png")
    found = auto(tmp_path / "in", tmp_path / "out")
    assert (found.level, found.finished) == ("nothing", True) and "Segment Anything" in found.text
    assert not (tmp_path / "out" / "training").exists() and found.page.exists()


def test_spots_are_counted_in_a_table(tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    (tmp_path / "in").mkdir()
    for n in range(6):
        field = rng.normal(8, 2, (64, 64))
        for k in range(n + 1):
            field += 120 / (1 + np.exp(np.hypot(y - 10 - 20 * (k // 3), x - 10 - 20 * (k % 3)) - 5))
        Image.fromarray(field.clip(0, 255).astype(np.uint8)).save(tmp_path / "in" / f"{n}.png")
    found = auto(tmp_path / "in", tmp_path / "out")
    lines = (tmp_path / "out" / "counts.csv").read_text().splitlines()
    assert found.level == "fair" and lines[0] == "image,spots,median_area_px,share_lit"
    scenes = load_scenes(found.out / "scenes")
    assert [len(scene.layers) - 1 for scene in scenes] == [int(line.split(",")[1]) for line in lines[1:]]
    assert [int(line.split(",")[1]) for line in lines[1:]] == [1, 2, 3, 4, 5, 6]


def test_a_dark_picture_has_no_spots():
    areas, lit = spots(np.zeros((20, 20, 3), np.uint8))
    assert areas == [] and not lit.any()


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(DataError):
        auto(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()

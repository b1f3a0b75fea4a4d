"""A new scene among others."""

import json

import pytest
from helpers.small_scenes import same_scene, write_small_scenes

import delaminate
from delaminate.errors import ConfigError
from delaminate.pipelines.repacking import pack_scenes
from delaminate.scene.loading import load_scenes


@pytest.fixture
def folder(tmp_path):
    return write_small_scenes(tmp_path / "scenes")


def test_it_has_the_background_of_another_and_the_others_stay(folder):
    before = list(load_scenes(folder))
    made = delaminate.add_scene(folder, "levels/new", like="b.png")
    after = load_scenes(folder)
    assert after.names == ("a.png", "b.png", "c.png", "levels/new")
    assert all(same_scene(one, other) for one, other in zip(before, after, strict=False))
    assert same_scene(after[3], made)
    assert [layer.id for layer in made.layers] == ["background"]
    bare = before[1].hide("layer-01").hide("layer-02").hide("layer-03")
    assert (made.composite() == bare.composite()).all()


def test_it_may_be_empty_and_sprites_are_laid_on_it(folder):
    delaminate.add_scene(folder, "new", background=False)
    scene = load_scenes(folder)[3]
    assert (scene.layers, scene.background, scene.composite().abs().max().item()) == ((), False, 0.0)
    laid = scene.add(1, 10, 12)
    assert [round(each) for each in laid.centre(laid.layers[0].id)] == [10, 12]


def test_the_frames_of_a_clip_keep_their_durations(folder):
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "rate": 10.0, "durations": [50.0, 100.0, 150.0]}))
    delaminate.add_scene(folder, "new")
    assert load_scenes(folder).durations == {"a.png": 50.0, "b.png": 100.0, "c.png": 150.0, "new": 100.0}


@pytest.mark.parametrize(
    ("name", "why"),
    [("A.png", "already"), ("a.png/b", "inside one another"), ("../x", "relative path"), ("", "relative path")],
)
def test_names_that_are_taken_or_are_none_are_refused_and_nothing_is_written(folder, name, why):
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    with pytest.raises(ConfigError, match=why):
        delaminate.add_scene(folder, name)
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before


def test_packed_scenes_and_unknown_ones_are_refused(folder, tmp_path):
    pack_scenes(folder, tmp_path / "packed")
    with pytest.raises(ConfigError, match="unpack"):
        delaminate.add_scene(tmp_path / "packed", "new")
    with pytest.raises(ConfigError, match="no scene"):
        delaminate.add_scene(folder, "new", like="x.png")


@pytest.mark.plain
def test_the_command_says_what_it_made(folder, command):
    code, out, _ = command("scenes", "new", str(folder), "level", "--like", "c.png", "--no-background")
    assert code == 0
    assert "level, 32 x 24 pixels" in out
    assert command("edit", str(folder), "add", "sprite-01", "--scene", "level", "--at", "8", "9")[0] == 0
    assert len(load_scenes(folder)[3].layers) == 1
    assert command("scenes", "new", str(folder), "level")[0] != 0

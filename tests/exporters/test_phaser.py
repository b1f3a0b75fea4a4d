import json

import pytest
from helpers.actors import coins, hero

from delaminate.errors import ConfigError
from delaminate.exporters.phaser import write_phaser


def test_animations_name_frames_of_the_atlas_and_how_long_they_last(tmp_path):
    result = write_phaser(coins(), tmp_path, rate=20.0)
    assert [path.name for path in result.files] == ["atlas.png", "atlas.json", "animations.json"]
    frames = json.loads((tmp_path / "atlas.json").read_text())["frames"]
    document = json.loads((tmp_path / "animations.json").read_text())
    (animation,) = document["anims"]
    assert (animation["key"], animation["type"], animation["repeat"]) == ("character-0-cycle-0", "frame", -1)
    assert [frame["frame"] for frame in animation["frames"]] == [f"sprite-{number:02d}" for number in (0, 1, 2, 1)]
    assert {frame["key"] for frame in animation["frames"]} == {"atlas"}
    assert [frame["duration"] for frame in animation["frames"]] == [100, 150, 100, 150]
    assert animation["frameRate"] == 8
    assert document["globalTimeScale"] == 1
    assert all(frame["pivot"] == {"x": 0.5, "y": 1.0} for frame in frames.values())


def test_only_cycles_repeat(tmp_path):
    write_phaser(hero(), tmp_path)
    found = {each["key"]: each["repeat"] for each in json.loads((tmp_path / "animations.json").read_text())["anims"]}
    assert found == {"character-0-still-0": 0, "character-0-cycle-0": -1, "character-0-once-0": 0}


def test_a_rate_out_of_range_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="frames per second"):
        write_phaser(hero(), tmp_path, rate=0)
    assert not list(tmp_path.iterdir())

import builtins
import importlib
import itertools

import pytest
import torch

from delaminate.data import ImageSet, LabelledSet, names, open_data
from delaminate.data.real.recordings import record
from delaminate.errors import DataError, MissingExtra


def emulator():
    return pytest.importorskip("ale_py", reason="the extra 'games' is not installed")


def test_a_picture_does_not_depend_on_how_many_are_recorded():
    emulator()
    few, many = record("space-invaders", 20), record("space-invaders", 40)
    assert torch.equal(few.pixels, many.pixels[:20])
    assert torch.equal(record("space-invaders", 5, start=12).pixels, many.pixels[12:17])
    assert many.rate == 15
    assert many.size == (210, 160)


def test_players_of_other_seeds_and_splits_play_other_games():
    emulator()
    games = [record("space-invaders", 30, seed, split).pixels for seed in (0, 1) for split in ("train", "dev", "test")]
    seen = [{picture.numpy().tobytes() for picture in game} for game in games]
    for one, other in itertools.combinations(seen, 2):
        assert len(one & other) < min(len(one), len(other)) / 2


def test_the_game_goes_on():
    emulator()
    pixels = record("space-invaders", 300).pixels
    assert (pixels[1:] != pixels[:-1]).flatten(1).any(1).float().mean() > 0.5
    assert len({picture.numpy().tobytes() for picture in pixels}) > 150


def test_a_recording_opens_by_name_and_has_no_labels():
    emulator()
    found = open_data("space-invaders", 3, seed=4, split="dev")
    assert isinstance(found, LabelledSet)
    assert found.labels.instances is found.labels.boxes is None
    assert not found.replica
    assert isinstance(open_data("space-invaders", 3, labels=False), ImageSet)


def test_recording_without_the_extra_is_refused(monkeypatch):
    found = importlib.import_module

    def without(name, *rest):
        if name.startswith("ale_py"):
            raise builtins.ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtra, match=r"recording space-invaders.*\.\[games\]"):
        open_data("space-invaders", 3)
    assert ("space-invaders", "the extra 'games'") in [(name, needs) for name, _, needs in names()]


def test_unknown_recordings_are_refused():
    with pytest.raises(DataError, match="expected one of space-invaders"):
        record("chess", 1)
    with pytest.raises(DataError, match="expected one of train"):
        record("space-invaders", 1, split="val")
    with pytest.raises(DataError, match="negative"):
        record("space-invaders", -1)

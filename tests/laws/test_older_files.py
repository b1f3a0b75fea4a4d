"""Folders that an earlier version wrote (tests/golden/release-0, made at commit a2ed337) are opened, resumed and read."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import delaminate
from delaminate.config import settings_of
from delaminate.methods import METHODS

KEPT = Path(__file__).resolve().parents[1] / "golden" / "release-0"
METHODS_KEPT = sorted(path.name for path in (KEPT / "runs").iterdir())


def test_there_is_a_run_of_every_method():
    assert sorted(METHODS) == METHODS_KEPT


@pytest.mark.parametrize("name", METHODS_KEPT)
def test_models_are_loaded_with_the_settings_that_they_had(name):
    model = delaminate.load_model(KEPT / "runs" / name)
    stored = yaml.safe_load((KEPT / "runs" / name / "config.yaml").read_text())
    renamed, revalued = type(model.config).renamed, type(model.config).renamed_values
    assert set(stored) & set(renamed), "nothing in it has another name by now"
    for old, value in stored.items():
        new = renamed.get(old, old)
        now = getattr(model.config, new)
        expected = revalued.get(new, {}).get(value, value) if isinstance(value, str) else value
        assert (list(now) if isinstance(now, tuple) else now) == expected, old
    images = delaminate.open_images(KEPT / "images", model.image_size).batch(range(2))
    assert torch.isfinite(model.decompose(images).composite()).all() if model.decomposers else True


@pytest.mark.parametrize("name", [name for name in METHODS_KEPT if (KEPT / "runs" / name / "checkpoint.pt").exists()])
def test_runs_are_resumed(name, command, tmp_path):
    run = Path(shutil.copytree(KEPT / "runs" / name, tmp_path / "run"))
    before = torch.load(run / "checkpoint.pt", weights_only=True)
    code, _, err = command(
        "train", name, KEPT / "images", "--resume", "--out", run, "--seed", 1, "--device", "cpu", "--quiet"
    )
    verdict = json.loads((run / "verdict.json").read_text())
    assert code == int(verdict["level"] == "nothing"), err
    after = torch.load(run / "checkpoint.pt", weights_only=True)
    assert after["total_step"] > before["total_step"] == 3
    assert after["weights"].keys() >= before["weights"].keys()


@pytest.mark.parametrize("name", METHODS_KEPT)
def test_settings_files_are_read_under_their_older_names(name, command):
    code, said, err = command(
        "train", name, "nothing", "--config", KEPT / "runs" / name / "config.yaml", "--print-config"
    )
    assert code == 0, err
    known = settings_of(next(iter(METHODS[name].presets.values())))
    assert set(yaml.safe_load(said)) == set(known)


def test_scenes_are_loaded_and_saved_to_the_same_bytes(tmp_path):
    scenes = delaminate.load_scenes(KEPT / "scenes")
    delaminate.save_scenes(scenes, tmp_path / "scenes")
    for path in sorted((tmp_path / "scenes").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (KEPT / "scenes" / path.relative_to(tmp_path / "scenes")).read_bytes()
    assert scenes[0].composite().shape == (3, 16, 16)

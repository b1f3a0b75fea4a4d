"""The examples run."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def load(name):
    specification = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_train_and_edit(tmp_path):
    error = load("train_and_edit").main(tmp_path, images=24, steps=2)
    assert 0 <= error < 0.2
    assert (tmp_path / "scenes" / "summary.json").exists()
    assert list((tmp_path / "layers").rglob("*.png"))


def test_sprite_sheet(tmp_path):
    error = load("sprite_sheet").main(tmp_path, images=3, steps=1, sprites=3)
    assert 0 <= error < 0.2
    assert (tmp_path / "sprite_sheet.png").stat().st_size > 5_000
    assert (tmp_path / "scenes" / "summary.json").exists()


def test_cut_out(tmp_path):
    assert load("cut_out").main(tmp_path, count=4) > 0.7
    assert (tmp_path / "cut_out.png").stat().st_size > 5_000
    assert (tmp_path / "scenes" / "summary.json").exists()


def test_new_loss(tmp_path):
    assert load("new_loss").main(tmp_path / "run", steps=2) > 0
    assert "outlines" in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_new_encoder(tmp_path):
    assert 0 <= load("new_encoder").main(tmp_path / "run", steps=2) < 0.5


def test_fifth_method(tmp_path):
    assert 0 <= load("fifth_method").main(tmp_path, steps=2) <= 1
    assert list((tmp_path / "layers").rglob("*.png"))
    assert len((ROOT / "examples" / "fifth_method.py").read_text().splitlines()) < 100

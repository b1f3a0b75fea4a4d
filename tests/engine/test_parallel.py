"""Several processes do what one does."""

from dataclasses import replace

import pytest
import torch
from helpers.processes import command_together, train_together
from helpers.tiny import CONFIGS, RECOMMENDED, SELDOM, model, pixels, total_steps
from torch.testing import assert_close

from delaminate.engine import parallel, train
from delaminate.engine.record import read_log


def assert_alike(alone, first, second):
    """Two processes have the same weights, and those that one process has."""
    for key, value in alone.state_dict().items():
        assert value.is_floating_point() is False or value.dtype == torch.float64
        assert torch.equal(first[key], second[key]), key
        assert_close(first[key], value, rtol=0, atol=1e-9, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes_end_where_one_ends(name, tmp_path):
    alone = model(CONFIGS[name]).double()
    train(alone, pixels(12), seed=3, intervals=SELDOM)
    assert_alike(alone, *train_together(CONFIGS[name], tmp_path))
    # One of them keeps the record.
    steps = [line for line in read_log(tmp_path / "run") if "stage" in line]
    assert len(steps) == total_steps(CONFIGS[name])


def test_two_processes_begin_anew_together_and_give_up_together(tmp_path):
    config = replace(RECOMMENDED, restarts=1, monitor_from=1, border_ratio=1e-9)  # no mask keeps so far from the border
    alone = model(config).double()
    assert train(alone, pixels(12), seed=3, intervals=SELDOM).reason == "failed"
    assert_alike(alone, *train_together(config, tmp_path, ends="failed"))
    notes = [line["note"] for line in read_log(tmp_path / "run") if "note" in line]
    assert ["Started over, restart 1 of 1." in note for note in notes[-2:]] == [True, False]
    assert "Given up (after 1 restarts)" in notes[-1]


def test_of_several_processes_one_speaks_and_keeps_the_folder(tmp_path):
    settings = ("search_steps=2", "search_batch=8", "num_sprites=4", "distil_steps=0", "steps=0")
    words = ["train", "dti-sprites", "tetrominoes", "-n", "20", "--out", tmp_path / "run", "--device", "auto"]
    words += [word for setting in settings for word in ("--set", setting)]
    for more in ([], ["--overwrite"]):
        first, second = command_together([*words, *more], tmp_path)
        assert "Done. The model is" in first
        assert second == ""
        assert (tmp_path / "run" / "report.html").exists()
        assert len([line for line in read_log(tmp_path / "run") if "stage" in line]) == 2


def test_every_process_has_the_gpu_of_its_number(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert parallel.own_device() == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert parallel.own_device() == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert parallel.own_device() == "cuda:3"
    assert chosen == [3]


def test_one_process_is_its_own_world():
    assert parallel.world() == (0, 1)
    assert parallel.local_slice_of(7) == slice(0, 7)
    tensor = torch.ones(3)
    assert parallel.all_reduce(tensor) is tensor
    assert parallel.all_gather(tensor) is tensor
    assert parallel.from_first(True, torch.device("cpu"))
    assert not parallel.join(torch.device("cpu"))


def test_a_batch_that_does_not_divide_is_refused(monkeypatch):
    monkeypatch.setattr(parallel, "world", lambda: (0, 2))
    assert parallel.local_slice_of(8) == slice(0, 4)
    with pytest.raises(parallel.ConfigError, match="batch is 7; 2 processes need a multiple of 2"):
        parallel.local_slice_of(7)

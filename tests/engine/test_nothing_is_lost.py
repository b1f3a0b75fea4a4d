"""What happens around a training: a full disk, a folder that is not there, another training, a clock that is set back."""

import errno
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from helpers.processes import finish, start
from helpers.tiny import CONFIG, EVERY_STEP, SELDOM, differences, model, pixels, total_steps

from delaminate.engine import Budget, train
from delaminate.engine.checkpoint import load
from delaminate.engine.guards import alone_in
from delaminate.engine.record import SilentCallback, read_log
from delaminate.errors import OutputError
from delaminate.methods import load_model
from delaminate.pipelines.training import prepare_training


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class AtStep(SilentCallback):
    def __init__(self, number, act):
        self.left, self.act = number, act

    def step(self, name, step, figures):
        self.left -= 1
        if self.left == 0:
            self.act()


def test_a_second_training_into_a_folder_is_refused_and_changes_nothing(tmp_path):
    train(model(), pixels(), tmp_path, intervals=EVERY_STEP, budget=Budget(steps=2))
    before = contents(tmp_path)
    with alone_in(tmp_path):
        for resume in (False, True):
            with pytest.raises(OutputError, match="another training writes there"):
                train(model(), pixels(), tmp_path, resume=resume)
        again = prepare_training(pixels(), model(), out=tmp_path, overwrite=True)
        with pytest.raises(OutputError, match="another training writes there"):
            again.make_room()
    assert contents(tmp_path) == before
    assert train(model(), pixels(), tmp_path, resume=True).finished


def test_a_killed_training_leaves_its_folder_free(tmp_path):
    process = start(tmp_path)
    while not (tmp_path / "checkpoint.pt").exists() and process.is_alive():
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(OutputError, match="another training writes there"):
        train(model(), pixels(), tmp_path, seed=3, resume=True)
    process.kill()
    finish(process)
    assert train(model(), pixels(), tmp_path, seed=3, resume=True).finished


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_and_the_last_checkpoint_stays(tmp_path, monkeypatch):
    train(model(), pixels(), tmp_path / "straight", seed=3, intervals=SELDOM)
    out = tmp_path / "run"
    train(model(), pixels(), out, seed=3, intervals=EVERY_STEP, budget=Budget(steps=3))
    kept = (out / "checkpoint.pt").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"checkpoint\.pt: cannot be written \(No space left"):
            train(model(), pixels(), out, seed=3, intervals=EVERY_STEP, resume=True)
    assert (out / "checkpoint.pt").read_bytes() == kept
    assert not list(out.rglob("*.tmp"))
    assert train(model(), pixels(), out, seed=3, intervals=EVERY_STEP, resume=True).finished
    one, other = (load(tmp_path / name / "checkpoint.pt", "cpu")["weights"] for name in ("straight", "run"))
    assert differences(one, other) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no disk that is always full")  # noqa: PTH110
def test_a_log_that_cannot_grow_is_said(tmp_path):
    log = tmp_path / "metrics.jsonl"

    def fill():
        log.unlink()
        log.symlink_to("/dev/full")

    with pytest.raises(OutputError, match=r"metrics\.jsonl: cannot be written \(No space left"):
        train(model(), pixels(), tmp_path, intervals=EVERY_STEP, callback=AtStep(1, fill))


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_computed(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputError, match=r"cannot be written .* Choose another --out"):
            train(model(), pixels(), out)


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="everything can be written here")
def test_a_folder_that_is_read_only_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"cannot be written .* Choose another --out"):
        train(model(), pixels(), tmp_path / "run")


@pytest.mark.parametrize("intervals", [SELDOM, EVERY_STEP])
def test_a_folder_that_vanishes_is_made_again_and_holds_what_was_learned(intervals, tmp_path):
    out = tmp_path / "run"
    assert train(model(), pixels(), out, intervals=intervals, callback=AtStep(2, lambda: shutil.rmtree(out))).finished
    assert load_model(out / "model").decomposers
    assert load(out / "checkpoint.pt", "cpu")["total_step"] == total_steps(CONFIG)


def test_a_clock_that_is_set_back_changes_no_history(tmp_path, monkeypatch):
    train(model(), pixels(), tmp_path / "straight", seed=3, intervals=EVERY_STEP)
    backwards = itertools.count(2e9, -3600)
    monkeypatch.setattr(time, "time", lambda: next(backwards))
    train(model(), pixels(), tmp_path / "run", seed=3, intervals=EVERY_STEP, budget=Budget(steps=5))
    assert train(model(), pixels(), tmp_path / "run", seed=3, intervals=EVERY_STEP, resume=True).finished
    logs = [[line["total_step"] for line in read_log(tmp_path / name)] for name in ("straight", "run")]
    assert logs[0] == logs[1]
    one, other = (load(tmp_path / name / "checkpoint.pt", "cpu") for name in ("straight", "run"))
    assert differences(one, other) == []


DEAF = """
import signal, time
from delaminate import cli
cli.PATIENCE = 0.2
signal.signal(signal.{name}, lambda *_: None)
with cli.ends_in_time():
    print("ready", flush=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        sum(range(1_000_000))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_command_that_hears_nothing_ends_in_time(name):
    with subprocess.Popen([sys.executable, "-c", DEAF.format(name=name)], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        process.send_signal(signal.Signals[name])
        said = process.communicate(timeout=30)[1]
    assert time.monotonic() - began < 5
    assert process.returncode == 128 + signal.Signals[name]
    assert "what was saved until then stays" in said

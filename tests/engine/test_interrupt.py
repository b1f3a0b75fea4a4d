"""A long turn stops within, keeps what it has found, and goes on to the bit."""

import os
import signal

import pytest
import torch
from helpers.patterns import disc, pattern, scattered

from delaminate.engine import Budget, train
from delaminate.engine.checkpoint import load
from delaminate.engine.record import SilentCallback
from delaminate.errors import ConfigError
from delaminate.methods import METHODS, load_model
from delaminate.methods.storage import model_folder

CPU = torch.device("cpu")


def clip():
    those = [pattern((10, 10), 1, disc(10)), pattern((9, 12), 2), pattern((12, 8), 3)]
    frames = scattered(12, (56, 56), those, 5, seed=1, hang=3)[0]
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()


def model(pixels):
    config = METHODS["marionette"].preset_config("video")
    method = METHODS["marionette"]
    return method(method.fill_config(config, pixels))


class Interrupts(SilentCallback):
    """Sends a signal at the n-th time that a long turn tells of itself."""

    def __init__(self, at):
        self.at, self.told = at, []

    def progress(self, name, step, figures):
        self.told.append((name, step, dict(figures)))
        if len(self.told) == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("at", [1, 2])
def test_a_signal_ends_a_round_and_it_resumes_to_the_bit(at, tmp_path):
    pixels = clip()
    straight = model(pixels)
    assert train(straight, pixels, tmp_path / "straight", seed=3).finished
    callback = Interrupts(at)
    stopped = train(model(pixels), pixels, tmp_path / "run", seed=3, callback=callback)
    assert (stopped.finished, stopped.reason) == (False, "SIGTERM")
    assert callback.told[-1][0] == "search" and {"sprites", "explained"} <= callback.told[-1][2].keys()
    kept = load_model(tmp_path / "run")
    assert len(kept.store.sheet().sprites) >= 1
    again = model(pixels)
    assert train(again, pixels, tmp_path / "run", seed=3, resume=True).finished
    one, other = (load(tmp_path / name / "checkpoint.pt", CPU)["weights"] for name in ("straight", "run"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_minutes_are_kept_within_a_round(tmp_path):
    pixels = clip()
    result = train(model(pixels), pixels, tmp_path, seed=3, budget=Budget(minutes=0.4 / 60))
    assert result.reason in ("minutes", "finished")
    if result.reason == "minutes":
        assert (tmp_path / "checkpoint.pt").exists()


def test_a_run_without_a_model_says_what_to_do(tmp_path):
    (tmp_path / "config.yaml").write_text("method: marionette\n")
    with pytest.raises(ConfigError, match=r"broken off before there was a model.*--resume"):
        model_folder(tmp_path)

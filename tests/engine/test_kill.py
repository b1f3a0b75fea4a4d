"""Training survives kill -9 at any moment, and stops cleanly when asked to."""

import os
import random
import signal
import time

import pytest
import torch
from helpers.processes import finish, start
from helpers.tiny import CONFIG, EVERY_STEP, differences, model, pixels, total_steps

from delaminate.engine import train
from delaminate.engine.checkpoint import load
from delaminate.methods import load_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    out = tmp_path_factory.mktemp("straight")
    assert train(model(), pixels(), out, seed=3, intervals=EVERY_STEP).finished
    return load(out / "checkpoint.pt", CPU)


@pytest.mark.slow
def test_a_training_killed_at_twenty_random_moments_ends_with_the_same_weights(straight, tmp_path):
    path, rng, reached = tmp_path / "checkpoint.pt", random.Random(1), []

    def written():
        return path.stat().st_mtime_ns if path.exists() else 0

    for kill in range(20):
        before = written()
        process = start(tmp_path, resume=path.exists())
        while kill % 3 and written() == before and process.is_alive():
            time.sleep(0.002)  # two of three get at least one step further
        time.sleep(rng.random() * 0.1)
        process.kill()
        finish(process)
        if path.exists():
            reached.append(load(path, CPU)["total_step"])
    assert finish(start(tmp_path, resume=True)) == 0
    assert (tmp_path / "outcome.txt").read_text() == f"finished {total_steps(CONFIG)}"
    assert reached == sorted(reached)
    assert len(set(reached)) > 5
    assert differences(straight, load(path, CPU)) == [], reached


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_polite_stop_leaves_a_checkpoint_and_a_model(number, straight, tmp_path):
    process = start(tmp_path)
    while not (tmp_path / "checkpoint.pt").exists() and process.is_alive():
        time.sleep(0.005)
    os.kill(process.pid, number)
    assert finish(process) == 0
    reason, steps = (tmp_path / "outcome.txt").read_text().split()
    assert reason == number.name
    assert load(tmp_path / "checkpoint.pt", CPU)["total_step"] == int(steps) < total_steps(CONFIG)
    assert load_model(tmp_path).decomposers
    assert finish(start(tmp_path, resume=True)) == 0
    assert differences(straight, load(tmp_path / "checkpoint.pt", CPU)) == []

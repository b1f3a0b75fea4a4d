"""Training survives kill -9 at any moment, and stops cleanly when asked to."""

import os
import random
import signal
import time

import pytest
import torch

from delaminate.engine import train
from delaminate.engine.checkpoint import load
from delaminate.methods import load_model

from .processes import finish, start
from .tiny import CONFIG, EVERY_STEP, differences, model, pixels, total_steps

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    out = tmp_path_factory.mktemp("straight")
    begun = time.monotonic()
    assert train(model(), pixels(), out, seed=3, pace=EVERY_STEP).finished
    return load(out / "checkpoint.pt", CPU), time.monotonic() - begun


def kill_and_resume(out, straight, kills, seed):
    end, seconds = straight
    rng = random.Random(seed)
    reached = []
    for _ in range(kills):
        process = start(out, resume=(out / "checkpoint.pt").exists())
        time.sleep(rng.random() * seconds * 2 / kills)
        process.kill()
        finish(process)
        if (out / "checkpoint.pt").exists():
            reached.append(load(out / "checkpoint.pt", CPU)["total_step"])
    assert finish(start(out, resume=(out / "checkpoint.pt").exists())) == 0
    assert (out / "outcome.txt").read_text() == f"finished {total_steps(CONFIG)}"
    assert reached == sorted(reached)
    assert differences(end, load(out / "checkpoint.pt", CPU)) == [], reached


def test_a_training_killed_at_random_moments_ends_with_the_same_weights(straight, tmp_path):
    kill_and_resume(tmp_path, straight, 6, seed=0)


@pytest.mark.slow
@pytest.mark.skipif("DELAMINATE_SLOW" not in os.environ, reason="minutes; set DELAMINATE_SLOW=1")
def test_a_training_killed_at_twenty_moments_ends_with_the_same_weights(straight, tmp_path):
    kill_and_resume(tmp_path, straight, 20, seed=1)


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
    assert differences(straight[0], load(tmp_path / "checkpoint.pt", CPU)) == []

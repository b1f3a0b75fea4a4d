"""torchrun starts all processes again when one is lost, and training goes on from the last checkpoint."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from delaminate.engine.checkpoint import load

TESTS = Path(__file__).parents[1]
PATIENCE = 240
"""Seconds that two processes may take, on busy cores, too."""
SETTINGS = (
    "search_steps=2", "search_batch=8", "num_sprites=4", "distil_steps=4", "distil_batch=4", "steps=16", "batch=4",
    "reassign_every=0", "algorithm=adamw",
)  # fmt: skip


def start(folder):
    """Start two processes under torchrun."""
    folder.mkdir()
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--max-restarts",
        "2",
    ]
    command += [str(TESTS / "helpers" / "elastic.py"), str(folder), "train", "dti-sprites", "tetrominoes", "-n", "20"]
    command += ["--out", str(folder / "run"), "--device", "cpu", "--overwrite"]
    command += [word for setting in SETTINGS for word in ("--set", setting)]
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", str(TESTS.parent / "src"))])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    with (folder / "said.txt").open("w") as said:
        return subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)


def steps_of(folder):
    path = folder / "run" / "checkpoint.pt"
    return load(path, "cpu")["total_step"] if path.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_lost_process_costs_the_steps_since_the_last_checkpoint(rank, tmp_path):
    whole = start(tmp_path / "whole")
    assert whole.wait(PATIENCE) == 0, (tmp_path / "whole" / "said.txt").read_text()
    folder = tmp_path / "lost"
    process = start(folder)
    while steps_of(folder) < 9 and process.poll() is None:
        time.sleep(0.02)
    os.kill(int((folder / f"{rank}-0.pid").read_text()), signal.SIGKILL)
    reached = steps_of(folder)
    assert process.wait(PATIENCE) == 0, (folder / "said.txt").read_text()
    assert (folder / f"{rank}-1.pid").exists()
    assert 9 <= reached < 22
    logged = [line for line in (folder / "run" / "metrics.jsonl").read_text().splitlines() if '"stage"' in line]
    assert len(logged) == 22
    one, other = (load_file(tmp_path / name / "run" / "model" / "model.safetensors") for name in ("whole", "lost"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)

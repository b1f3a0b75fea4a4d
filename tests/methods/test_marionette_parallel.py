"""Two processes train MarioNette to where one trains it."""

import multiprocessing
import os
import socket
from dataclasses import replace

import pytest
import torch
from helpers.afloat import SMALL as DISTILLED
from helpers.afloat import afloat
from helpers.marionette import SMALL, floating
from torch.testing import assert_close

from delaminate.engine import train
from delaminate.methods.marionette import MarioNette

CONTEXT = multiprocessing.get_context("forkserver")
# With what a first training imports, so that not every process imports it again.
CONTEXT.set_forkserver_preload(["delaminate.engine", "delaminate.methods", "sklearn.cluster", "torch._dynamo"])
CONFIGS = {
    "solid": replace(SMALL, image_size=(16, 14), background_images=6, steps=3, ema=0.9, gradient_clip=1.0),
    "learned": replace(
        SMALL, image_size=(16, 14), steps=3, background="learned", background_size=(1, 2), regularizer="paper"
    ),
    "distilled": replace(
        DISTILLED, image_size=(24, 20), search_batch=8, distil_steps=3, distil_batch=4, steps=2, batch=2
    ),
}


def pixels(name):
    return afloat(8, size=(24, 20)) if name == "distilled" else floating(6)[:, :, :16, :14].contiguous()


def together(rank, port, name, out):
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    model = MarioNette(CONFIGS[name]).double()
    assert train(model, pixels(name), out / "run", seed=3).finished
    torch.save(model.state_dict(), out / f"rank{rank}.pt")


@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes_end_where_one_ends(name, tmp_path):
    alone = MarioNette(CONFIGS[name]).double()
    train(alone, pixels(name), seed=3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [CONTEXT.Process(target=together, args=(rank, port, name, tmp_path)) for rank in range(2)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    for key, value in alone.state_dict().items():
        assert torch.equal(first[key], second[key]), key
        # Adam divides small gradients by their own size: rounding of sums shows a little.
        assert_close(first[key], value, rtol=0, atol=1e-8, msg=lambda text, key=key: f"{key}: {text}")

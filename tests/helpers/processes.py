"""Trainings in processes of their own, forked from a server that has imported everything already."""

import multiprocessing
import os
import socket
import sys
from contextlib import redirect_stderr, redirect_stdout

import torch

from delaminate.engine import train
from helpers.tiny import CONFIG, EVERY_STEP, SELDOM, model, pixels

CONTEXT = multiprocessing.get_context("forkserver")
# With what a first training imports, so that not every process imports it again.
CONTEXT.set_forkserver_preload(["delaminate.engine", "delaminate.methods", "sklearn.cluster", "torch._dynamo"])


def _alone(out, resume, ready):
    torch.set_num_threads(1)
    ready.set()
    outcome = train(model(CONFIG), pixels(), out, seed=3, intervals=EVERY_STEP, resume=resume)
    (out / "outcome.txt").write_text(f"{outcome.reason} {outcome.total_step}")


def start(out, resume=False):
    """Start a training that writes a checkpoint after every step, and wait until it is about to begin."""
    ready = CONTEXT.Event()
    process = CONTEXT.Process(target=_alone, args=(out, resume, ready))
    process.start()
    assert ready.wait(60)
    return process


def finish(process):
    """Wait for its end; return its exit code."""
    process.join(120)
    assert process.exitcode is not None, "the training hangs"
    return process.exitcode


def _announce(rank, size, port):
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )


def _together(rank, size, port, config, out, ends):
    _announce(rank, size, port)
    some = model(config).double()
    assert train(some, pixels(12), out / "run", seed=3, intervals=SELDOM).reason == ends
    torch.save(some.state_dict(), out / f"rank{rank}.pt")


def _commanded(rank, size, port, words, out):
    _announce(rank, size, port)
    from delaminate.cli import main

    sys.argv = ["delaminate", *words]
    with (out / f"rank{rank}.txt").open("w") as said, redirect_stdout(said), redirect_stderr(said):
        main()


def command_together(words, out, size=2):
    """Give several processes one command line as `torchrun` would; return what each said."""
    _run_together(_commanded, size, [str(word) for word in words], out)
    return [(out / f"rank{rank}.txt").read_text() for rank in range(size)]


def train_together(config, out, size=2, ends="finished"):
    """Train in several processes as `torchrun` would, in float64; return the weights of each."""
    _run_together(_together, size, config, out, ends)
    return [torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in range(size)]


def _run_together(target, size, *arguments):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [CONTEXT.Process(target=target, args=(rank, size, port, *arguments)) for rank in range(size)]
    try:
        for process in processes:
            process.start()
        assert [finish(process) for process in processes] == [0] * size
    finally:
        for process in processes:
            process.kill()

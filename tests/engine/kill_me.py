"""A training in a process of its own: `python kill_me.py OUT SEED [resume]`."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from delaminate.engine import train
from engine.tiny import CONFIG, EVERY_STEP, model, pixels

if __name__ == "__main__":
    torch.set_num_threads(1)
    out, seed, resume = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["resume"]
    print("ready", flush=True)
    outcome = train(model(CONFIG), pixels(), out, seed=seed, pace=EVERY_STEP, resume=resume)
    print(outcome.reason, outcome.total_step, flush=True)

"""One of several processes that train together in float64: `python train_together.py CONFIG OUT`."""

import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from delaminate.engine import train
from engine.tiny import CONFIGS, SELDOM, model, pixels

if __name__ == "__main__":
    torch.set_num_threads(1)
    some = model(CONFIGS[sys.argv[1]]).double()
    out = Path(sys.argv[2])
    outcome = train(some, pixels(12), out / "run", seed=3, pace=SELDOM)
    assert outcome.finished
    torch.save(some.state_dict(), out / f"rank{os.environ.get('RANK', '0')}.pt")

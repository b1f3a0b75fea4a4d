"""One of the processes that `torchrun` starts: `delaminate` with a checkpoint after every step, and time to be killed."""

import os
import sys
import time
from pathlib import Path

import torch

from delaminate.cli import main
from delaminate.engine import loop

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv.pop(1))
    name = f"{os.environ['RANK']}-{os.environ['TORCHELASTIC_RESTART_COUNT']}.pid"
    (folder / name).write_text(str(os.getpid()))
    every_step = loop.Intervals(log=1, check=4, preview=1000, checkpoint_seconds=0)
    loop.Intervals = lambda: every_step
    save = loop._Run.save

    def slowly(run):
        save(run)
        time.sleep(0.1)

    loop._Run.save = slowly
    main()

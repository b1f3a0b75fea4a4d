"""What workers do in tests: the same, and a line in a file for each time that it was begun."""

import os
from pathlib import Path

from delaminate.pipelines.decomposition import decompose_shard


def noted_shard(model, images, out, shard, how):
    """Decompose a shard, and note who began it."""
    journal = Path(out) / f"journal-{shard[0]}-of-{shard[1]}.jsonl"
    done = journal.read_text().count('"tally"') if journal.exists() else 0
    with Path(f"{out}.log").open("a") as log:
        log.write(f"{shard[0]} {os.getpid()} {done}\n")
    return decompose_shard(model, images, out, shard, how)

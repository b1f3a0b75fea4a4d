"""Every random stream: a fresh generator made from what it is for, never a state that must be stored.

A stream is named by its key, such as (seed, stage, step, player, attempt). Two equal keys give equal
numbers on every machine; two different keys give unrelated ones. Streams live on the CPU, so that a run
draws the same numbers whatever it computes on.
"""

import hashlib

import numpy as np
import torch

Key = int | str


def _digest(key: tuple[Key, ...]) -> int:
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(*key: Key) -> torch.Generator:
    """Make the torch generator named by `key`.

    >>> int(torch.randint(0, 1000, (1,), generator=stream(0, "refine", 7)))
    767
    """
    return torch.Generator().manual_seed(_digest(key))


def numpy_stream(*key: Key) -> np.random.Generator:
    """Make the NumPy generator named by `key`; its numbers are unrelated to those of `stream`."""
    return np.random.Generator(np.random.PCG64(_digest(key)))

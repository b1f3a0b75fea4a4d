"""Which images a step sees, and what a set of images is known by."""

import hashlib

import torch
from jaxtyping import UInt8
from torch import Tensor

from delaminate.files import take_rows
from delaminate.rng import stream


def batch_indices(count: int, batch: int, seed: int, stage: str, step: int, cache: dict[int, Tensor]) -> Tensor:
    """List the images of one step: the step's stretch of an endless row of shuffled epochs."""
    first = step * batch
    picked: list[Tensor] = []
    while batch > 0:
        epoch, start = divmod(first, count)
        if epoch not in cache:
            for old in [e for e in cache if e < epoch - 1]:
                del cache[old]
            cache[epoch] = torch.randperm(count, generator=stream(seed, stage, "order", epoch))
        taken = cache[epoch][start : start + batch]
        picked.append(taken)
        first += len(taken)
        batch -= len(taken)
    return torch.cat(picked)


def fingerprint(pixels: UInt8[Tensor, "N 3 H W"], most: int = 1_000) -> str:
    """Name images by their number, size and the pixels of a thousand of them at the most."""
    some = take_rows(pixels, torch.arange(0, len(pixels), max(len(pixels) // most, 1))).cpu().contiguous()
    return f"{tuple(pixels.shape)} {hashlib.sha256(some.numpy().tobytes()).hexdigest()}"

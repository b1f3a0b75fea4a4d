"""How networks compute: in bfloat16 where a device is made for it, with channels side by side, and as at test."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn


@cache
def has_bfloat16(kind: str) -> bool:
    """Say whether devices of a kind, `cpu` or `cuda`, have units for bfloat16; without, it is emulated, and slow."""
    if kind == "cpu":
        # Private to torch, which has no other name for it in all versions that we allow.
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return kind != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def precision(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    """Compute networks in bfloat16 where that is asked for and the device has units for it, else as they are."""
    lower = bf16 and has_bfloat16(device.type)
    return torch.autocast(device.type, torch.bfloat16) if lower else nullcontext()


def channels_last(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Lay the channels of a pixel side by side in memory: convolutions are faster so, on CPUs and GPUs alike."""
    return images.contiguous(memory_format=torch.channels_last)


def weights_channels_last(network: nn.Module) -> None:
    """Lay the weights of all convolutions so, too."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = channels_last(parameter.data)


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Let a network compute as at test, and as before afterwards."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)

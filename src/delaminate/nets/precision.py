"""bfloat16, where a device is made for it."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch


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

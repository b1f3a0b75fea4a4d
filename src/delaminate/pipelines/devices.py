"""Where to compute."""

import torch

from delaminate.engine.parallel import own_device
from delaminate.errors import ConfigError


def pick_device(name: str) -> str:
    """Resolve `auto` to a GPU where there is one, each process of `torchrun` to its own.

    Raises:
        ConfigError: There is no such device here.
    """
    if name == "auto":
        return own_device()
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError):
        raise ConfigError(f"--device {name!r}: not available here. Use auto or cpu.") from None
    return name

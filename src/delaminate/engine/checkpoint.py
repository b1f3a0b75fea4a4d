"""Save and resume a run: written aside, then moved into place, so that a kill or a full disk leaves the last good one."""

import io
import warnings
from pathlib import Path
from typing import Any

import torch

from delaminate.errors import FormatError, reading
from delaminate.files import write_atomic

FORMAT = 1
FAULT = "damaged, or not a checkpoint of this library; put back the file that `train` wrote, or train again with --overwrite"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a run's whole state."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_atomic(path, buffer.getvalue(), durable=True)


def load(path: Path, device: torch.device | str) -> dict[str, Any]:
    """Read a state that `save` wrote. Only tensors and plain values are accepted; nothing in the file is executed.

    Raises:
        FormatError: The file is missing, damaged, of another version, or tries to be something else.
    """
    if not path.exists():
        raise FormatError(f"{path}: there is no checkpoint to resume. Start without --resume.")
    # The decoder's advice, to read the file without this guard, is not passed on.
    with reading(path, FormatError, FAULT, quote=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of foreign pickles, which are refused below
        state = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise FormatError(
            f"{path}: not a checkpoint of format {FORMAT}. Train again, or use the version that wrote it."
        )
    return state

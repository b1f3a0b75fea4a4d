"""Save and resume a run: written aside, then moved into place, so that a kill or a full disk leaves the last good one."""

import io
import warnings
from pathlib import Path
from typing import Any

import torch

from delaminate.errors import FormatError
from delaminate.files import write_atomic

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a run's whole state."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_atomic(path, buffer.getvalue(), durable=True)


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a state that `save` wrote. Only tensors and plain values are accepted; nothing in the file is executed.

    Raises:
        FormatError: The file is missing, damaged, of another version, or tries to be something else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of foreign pickles, which are refused below
            state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise FormatError(f"{path}: there is no checkpoint to resume. Start without --resume.") from None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or type(error).__name__}).") from None
    except torch.OutOfMemoryError:
        raise
    except Exception:  # a broken or foreign file raises errors of any kind, whose words say nothing to its owner
        raise FormatError(
            f"{path}: {_fault(path)}. Put back the file that `train` wrote, or train again: --overwrite, no --resume."
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise FormatError(
            f"{path}: not a checkpoint of format {FORMAT}. Train again, or use the version that wrote it."
        )
    return state


def _fault(path: Path) -> str:
    """What is wrong with a file that cannot be read."""
    return "damaged, or not a checkpoint of this library" if path.stat().st_size else "the file is empty"

"""What surrounds the steps of a training: images that do not fit, signals that stop it, too little memory, its folder."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from delaminate.config import to_dict
from delaminate.errors import DataError, OutputError, TrainingError
from delaminate.methods.players import Stage


@contextmanager
def enough_memory(config: Any, stage: Stage) -> Iterator[None]:
    """Say what to do when there is not.

    Raises:
        TrainingError: What runs inside has found no memory; names the setting of the batch, and half of it.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "alloc" not in str(error):
            raise
        settings, own = to_dict(config), f"{stage.name}_batch"
        key = stage.batch_setting or (own if own in settings else "batch")
        batch = settings[key]
        less = (
            f"'{key}={[max(n // 2, 1) for n in batch]}'" if isinstance(batch, list) else f"{key}={max(batch // 2, 1)}"
        )
        raise TrainingError(
            f"{stage.name}: a batch of {stage.batch} images does not fit into memory. Try --set {less}, or a smaller "
            "image_size."
        ) from error


LOCK = ".lock"
"""File of a run folder that the training holds which writes there."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a run folder: a second training into it is refused. However the first one ends, the folder is free again.

    Raises:
        OutputError: Another training holds it, or nothing can be written there.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"{folder}: another training writes there. Wait for its end, stop it, or choose another --out."
        ) from None
    except NotImplementedError:
        pass  # a network drive that knows no locks
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}). Choose another --out.") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def signals(tell: Callable[[str], None]) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a stop after the present step; a second Ctrl-C stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, _frame: FrameType | None) -> None:
        tell(signal.Signals(number).name)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    old = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)


def check_pixels(pixels: Tensor, size: tuple[int, int]) -> None:
    """Refuse images that a model of this height and width cannot be trained on.

    Raises:
        DataError: They have the wrong type or size, or there are none.
    """
    if tuple(pixels.shape[1:]) != (3, *size) or len(pixels) == 0 or pixels.dtype != torch.uint8:
        raise DataError(
            f"train: images are {pixels.dtype} {tuple(pixels.shape)}; expected torch.uint8 (N, 3, {size[0]}, {size[1]}), "
            "N at least 1."
        )

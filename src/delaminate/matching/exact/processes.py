"""Work on frames shared among processes, where there is so much of it that starting them pays."""

import multiprocessing
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
import torch

MOST = 4
"""Processes, at most: each holds the library in memory, and what it keeps ready: about 0.5 GB."""
IDLE = 60
"""Seconds that they wait for more, also for one that was killed."""
KEPT = 4
"""Parts of a clip that a process keeps ready."""

Result = TypeVar("Result")


def usual_number() -> int:
    """As many processes as torch has threads, `MOST` at most: OMP_NUM_THREADS bounds both."""
    return min(torch.get_num_threads(), MOST)


def shared_out(
    work: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], number: int, check: Callable[[], None]
) -> Iterator[Result]:
    """Do the same work for each of some tasks in so many processes; results come in their order.

    Processes are started once, and end when they have waited for `IDLE` seconds. One that is itself of a pool does all alone.

    Args:
        work: A function of a module.
        tasks: Its arguments, made when they are needed.
        number: Processes.
        check: Called after each task; may raise.
    """
    waiting: deque[tuple[Any, ...]] = deque()

    def given() -> Iterator[tuple[Any, ...]]:
        for task in tasks:
            waiting.append(task)
            yield task

    coming = given()
    if number > 1 and not multiprocessing.current_process().daemon:
        import joblib  # comes with scikit-learn, and takes a while

        # Numbers go through pipes: nothing is left on a disk when a process is killed.
        pool = joblib.Parallel(
            number,
            backend="loky",
            return_as="generator",
            max_nbytes=None,
            idle_worker_timeout=IDLE,
            pre_dispatch=2 * number,
        )
        results = pool(joblib.delayed(_alone)(work, *task) for task in coming)
        try:
            for result in results:
                waiting.popleft()
                check()
                yield result
            return
        except KeyboardInterrupt:
            check()  # Ctrl-C reaches all processes, and this one may know that it is to stop
            raise
        except BrokenProcessPool:  # one was killed, as where memory ran out: what is left is done here
            check()
        finally:
            with warnings.catch_warnings():  # that what was asked for is not waited for
                warnings.simplefilter("ignore")
                results.close()
    for task in (*waiting, *coming):
        check()
        yield work(*task)


def _alone(work: Callable[..., Result], *task: Any) -> Result:
    torch.set_num_threads(1)
    return work(*task)


_kept: OrderedDict[bytes, Any] = OrderedDict()


def kept_ready(digest: bytes, make: Callable[[], Any]) -> Any:
    """What this process has made ready of numbers of this digest; made if it has not, or no longer."""
    if digest not in _kept:
        _kept[digest] = make()
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(digest)
    return _kept[digest]


def digest_of(*arrays: np.ndarray) -> bytes:
    """A digest of arrays, by which equal ones are known."""
    found = blake2b(digest_size=16)
    for array in arrays:
        found.update(repr(array.shape).encode())
        found.update(np.ascontiguousarray(array).data)
    return found.digest()

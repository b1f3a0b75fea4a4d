"""Work that is shared by processes: on this machine, or on a cluster of Dask's (extra `scale`).

A task is a function of a module and plain arguments. Tasks are independent and may be done twice: what a lost worker was
doing is done again by another, and nothing else.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from delaminate.errors import ConfigError, MissingExtra, OutputError
from delaminate.methods import Method, load_model

RETRIES = 2
"""How often a task is tried again that ended in an error which is none of ours, such as a disk that was away."""
AHEAD = 3
"""Tasks that are handed out for each worker at a time."""


@dataclass(frozen=True)
class Workers:
    """Who does the work.

    Attributes:
        count: So many processes of this machine; None: `address` says where they are.
        address: Of a running scheduler, such as tcp://host:8786.

    Raises:
        ConfigError: Both are given, or none; or the number is below 1.
    """

    count: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if (self.count is None) == (self.address is None):
            raise ConfigError(
                "--workers starts processes here, --cluster asks those that run already: give one of them."
            )
        if self.count is not None and self.count < 1:
            raise ConfigError(f"--workers {self.count}: expected at least 1.")


def chosen_workers(count: int | None, address: str | None) -> Workers | None:
    """Who does the work; None: this process."""
    return None if count is None and address is None else Workers(count, address)


class Pool:
    """Workers that are there. Made by `pool`."""

    def __init__(self, client: Any) -> None:
        self.client = client

    @property
    def size(self) -> int:
        """How many there are by now, at least 1."""
        return max(len(self.client.scheduler_info(n_workers=-1)["workers"]), 1)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Hand out a task; what comes back is to be given to `result`."""
        return self.client.submit(function, *arguments, retries=RETRIES, pure=False)

    @staticmethod
    def result(future: Any) -> Any:
        """Wait for what a task gives.

        Raises:
            DelaminateError: As it was raised there.
            OutputError: Workers were lost again and again while they did it.
        """
        from distributed.scheduler import KilledWorker

        try:
            found = future.result()
        except KilledWorker as error:
            raise OutputError(
                "cluster: a task has cost several workers. They may have too little memory: give fewer --workers, or a smaller "
                "--batch."
            ) from error
        future.release()
        return found

    def each(self, function: Callable[..., Any], tasks: Sequence[Sequence[Any]]) -> Iterator[tuple[int, Any]]:
        """Do tasks; gives the number and the result of each as soon as it is done."""
        from distributed import as_completed

        numbers = {}
        waiting = iter(enumerate(tasks))
        done = as_completed([])

        def hand_out() -> None:
            for number, arguments in waiting:
                future = self.submit(function, *arguments)
                numbers[future.key] = number
                done.add(future)
                return

        for _ in range(AHEAD * self.size):
            hand_out()
        for future in done:
            number = numbers.pop(future.key)
            found = self.result(future)  # taken at once: what is done is not lost with its worker
            hand_out()
            yield number, found


@contextmanager
def pool(workers: Workers) -> Iterator[Pool]:
    """Start processes on this machine, or meet those of a cluster.

    Those of this machine listen to it alone, over TLS with a key of this run.

    Raises:
        MissingExtra: Dask is not installed.
        ConfigError: Nobody answers at the address.
    """
    try:
        from distributed import Client, LocalCluster, Security
    except ImportError as error:
        raise MissingExtra("sharing work among processes", "scale") from error
    if workers.count is None:
        try:
            client = Client(workers.address, timeout=20)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--cluster {workers.address}: no scheduler answers ({error}).") from error
        with client:
            yield Pool(client)
        return
    with (
        LocalCluster(
            n_workers=workers.count, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0",
            protocol="tls", security=Security.temporary(), memory_limit=0, silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield Pool(client)


@lru_cache(maxsize=2)
def model_here(model: str, device: str) -> Method:
    """The model of a path or name, loaded once in a process."""
    return load_model(model, device)


def for_workers(model: Any, data: Any, command: str) -> tuple[str, str]:
    """Names of a model and of data by which workers find them, too.

    Raises:
        ConfigError: They are in memory.
    """
    if not isinstance(model, str | Path):
        raise ConfigError(f"{command}: workers load the model by themselves; give its path or name.")
    if not isinstance(data, str | Path):
        raise ConfigError(f"{command}: workers read the data by themselves; give a path or address.")
    return absolute(model), absolute(data)


def absolute(name: str | Path) -> str:
    """A path as it is understood in other folders; names and addresses stay."""
    return str(Path(name).resolve()) if Path(name).exists() else str(name)

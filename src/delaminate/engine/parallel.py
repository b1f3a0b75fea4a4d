"""Several processes as one: shares of the global batch, sums and averages over all of them.

Started by `torchrun`. Random numbers are drawn for the global batch and sliced, so that many processes do what one does.
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from delaminate.errors import ConfigError


def join(device: torch.device) -> bool:
    """Join the process group that `torchrun` announced, if there is one; say whether this call did."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return False
    backend = "nccl" if device.type == "cuda" else "gloo"
    if restarted() and os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        # On one machine the store outlives its processes, with the addresses of those that are gone.
        store, rank, size = next(dist.rendezvous("env://"))
        fresh = dist.PrefixStore(f"restart-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
        dist.init_process_group(backend, store=fresh, rank=rank, world_size=size)
    else:
        dist.init_process_group(backend)
    return True


def own_device() -> str:
    """Where this process computes unless told otherwise: on the GPU of its number, or the CPU where there is none."""
    if not torch.cuda.is_available():
        return "cpu"
    if "LOCAL_RANK" not in os.environ:
        return "cuda"
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # what NCCL and bare "cuda" mean from now on
    return f"cuda:{os.environ['LOCAL_RANK']}"


def restarted() -> bool:
    """Say whether `torchrun` has started all processes again, because one was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def leads() -> bool:
    """This is the process that writes files and speaks; known before the group is joined."""
    return os.environ.get("RANK", "0") == "0"


def world() -> tuple[int, int]:
    """This process's rank and the number of processes."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def local_slice_of(batch: int) -> slice:
    """This process's slice of a global batch.

    Raises:
        ConfigError: The batch does not divide evenly.
    """
    rank, size = world()
    if batch % size:
        raise ConfigError(f"batch is {batch}; {size} processes need a multiple of {size}.")
    each = batch // size
    return slice(rank * each, (rank + 1) * each)


def all_reduce(tensor: Tensor) -> Tensor:
    """Sum over all processes; in one process, the tensor itself."""
    if world()[1] == 1:
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total


def all_gather(tensor: Tensor) -> Tensor:
    """Join the shares of all processes along the first axis."""
    size = world()[1]
    if size == 1:
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(size)]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over all processes. Absent everywhere: left absent. Absent on one process: zero there."""
    size = world()[1]
    if size == 1:
        return
    listed = list(parameters)
    present = torch.tensor([float(p.grad is not None) for p in listed], device=listed[0].device)
    dist.all_reduce(present)
    for parameter, count in zip(listed, present.tolist(), strict=True):
        if count == 0:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
        parameter.grad /= size


def from_first(value: bool, device: torch.device) -> bool:
    """Let the first process decide for all (when to stop)."""
    if world()[1] == 1:
        return value
    flag = torch.tensor([float(value)], device=device)
    dist.broadcast(flag, 0)
    return bool(flag.item())

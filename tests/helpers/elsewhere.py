"""A device that is not the CPU: its tensors lie in the same memory, but refuse to meet tensors of the CPU.

What a GPU refuses, this refuses, too, so that code that forgets where its tensors are fails on any machine.
"""

import contextlib

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "elsewhere"
POSSIBLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
aten = torch.ops.aten
CROSSING = (aten._to_copy.default, aten.copy_.default)
JOINING = (aten.cat.default, aten.stack.default)
KERNELS = torch.library.Library("aten", "IMPL")
INDEXING = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)


class Away(Tensor):
    """A tensor of the CPU, `inner`, that says it lies elsewhere."""

    @staticmethod
    def __new__(cls, inner):
        return Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(NAME, 0),
        )

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return f"Away({self.inner!r})"

    def tolist(self):
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return compute(operation, args, kwargs or {})


def _unwrapped(value, met):
    """Take the tensors within out of (lists of) arguments; what was met is noted down."""
    if isinstance(value, Tensor):
        met.append(value)
        return value.inner if isinstance(value, Away) else value
    return type(value)(_unwrapped(part, met) for part in value) if isinstance(value, list | tuple) else value


def _wrapped(value, known):
    """Wrap (lists of) results; what was changed in place stays what it is."""
    if isinstance(value, Tensor):
        return known[id(value)] if id(value) in known else Away(value)
    return type(value)(_wrapped(part, known) for part in value) if isinstance(value, list | tuple) else value


def compute(operation, args, kwargs):
    """Compute with the tensors within, once it is sure that they may meet."""
    met = []
    inner = [_unwrapped(value, met) for value in args]
    inner_kwargs = {name: _unwrapped(value, met) for name, value in kwargs.items()}
    if operation in INDEXING and isinstance(args[0], Away):
        met = [args[0], *args[2:3]]  # where the indices lie is no matter
    there = [value for value in met if isinstance(value, Away)]
    # A number from the CPU may meet anything, unless it is to be laid beside it.
    strangers = [value for value in met if not isinstance(value, Away) and (value.ndim or operation in JOINING)]
    if there and strangers and operation not in CROSSING:
        lying = ", ".join(f"{'elsewhere' if isinstance(value, Away) else 'here'} {tuple(value.shape)}" for value in met)
        raise RuntimeError(f"{operation}: expected all tensors on one device, got {lying}")
    device = kwargs.get("device")
    ends_there = bool(there) if device is None else torch.device(device).type == NAME
    if ends_there and kwargs.get("generator") is not None:
        raise RuntimeError(f"{operation}: a generator of the CPU draws nothing elsewhere")
    if device is not None and ends_there:
        inner_kwargs["device"] = torch.device("cpu")
    found = operation(*inner, **inner_kwargs)
    if operation is aten.copy_.default:
        return args[0]
    return _wrapped(found, {id(value.inner): value for value in there}) if ends_there else found


def _empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None):
    return Away(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source, target, non_blocking=False):
    inner = target.inner if isinstance(target, Away) else target
    inner.copy_(source.inner if isinstance(source, Away) else source)
    return target


def _register():
    """Tell torch of the device, by what it has for devices that are written in Python."""

    class Backend(backend_registration._DummyBackendModule):
        def get_amp_supported_dtype(self):
            return []

    backend_registration._setup_privateuseone_for_python_backend(NAME, Backend())
    # What torch calls by itself, below its modes, to make `torch.tensor(..., device=...)`.
    KERNELS.impl("empty_strided", _empty_strided, "PrivateUse1")
    KERNELS.impl("_copy_from", _copy_from, "PrivateUse1")


class _Elsewhere(TorchDispatchMode):
    """Makes tensors elsewhere, and brings them there."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return compute(operation, args, kwargs or {})


@contextlib.contextmanager
def elsewhere():
    """While this is on, `elsewhere` is a device like any other."""
    if torch._C._get_privateuse1_backend_name() != NAME:  # once a process
        _register()
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)  # parameters stay what optimisers hold
    try:
        with _Elsewhere():
            yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)

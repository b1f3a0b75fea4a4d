"""What this installation can do, and what it lacks: for `delaminate doctor`, and for reports of faults."""

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from delaminate.scene.compositing import composite
from delaminate.scene.layers import Layers
from delaminate.version import __version__

LEAST_PYTHON = (3, 11)
LEAST_TORCH = (2, 10)
"""Before it, reading weights alone could run code (CVE-2026-24747)."""

LEAST_FREE = 2**30
EXTRAS = {
    "video": ("av", "read and write videos"),
    "export": ("psd_tools", "Photoshop files"),
    "table": ("pyarrow", "Parquet files"),
    "studio": ("fastapi", "the studio"),
    "remote": ("fsspec", "images out of s3://, gs:// and hf://"),
    "scale": ("distributed", "several processes or machines"),
    "bench": ("h5py", "HDF5 files of published sets"),
    "fid": ("onnxruntime", "FID by a network of yours"),
    "onnx": ("onnxscript", "models as ONNX graphs"),
    "hub": ("huggingface_hub", "models from a hub"),
    "track": ("tensorboard", "TensorBoard files"),
    "games": ("ale_py", "recordings of Atari games"),
}
"""What an extra brings, and what for."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: In a word or two.
        found: What there is.
        remedy: What to do about it; empty: all is well, or it is a matter of taste.
        broken: Nothing works without it.
    """

    what: str
    found: str
    remedy: str = ""
    broken: bool = False


def examine() -> Iterator[Finding]:
    """Look at everything that commands rely on."""
    yield Finding("Delaminate", __version__)
    old = sys.version_info[:2] < LEAST_PYTHON
    needed = ".".join(map(str, LEAST_PYTHON))
    yield Finding("Python", f"{platform.python_version()} at {sys.executable}", f"needs {needed} or newer" * old, old)
    yield _torch()
    yield _computes()
    yield _device()
    yield _memory()
    yield from _places()
    yield from _extras()


def _torch() -> Finding:
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    old = version < LEAST_TORCH
    return Finding("torch", torch.__version__, f"needs {LEAST_TORCH[0]}.{LEAST_TORCH[1]} or newer" * old, old)


def _computes() -> Finding:
    """Composite a small stack, and compare it with what must come out."""
    start = time.perf_counter()
    rgb = torch.stack([torch.zeros(3, 64, 64), torch.ones(3, 64, 64)])[None]
    alpha = torch.stack([torch.ones(1, 64, 64), torch.full((1, 64, 64), 0.25)])[None]
    try:
        right = bool(torch.allclose(composite(Layers(rgb, alpha)), torch.full((1, 3, 64, 64), 0.25)))
    except RuntimeError as error:
        return Finding("Compositing", f"fails: {error!s:.80}", "install torch again", True)
    spent = 1000 * (time.perf_counter() - start)
    remedy = "" if right else "torch computes wrongly here; install it again"
    return Finding("Compositing", f"{'right' if right else 'wrong'}, {spent:.0f} ms", remedy, not right)


def _device() -> Finding:
    threads = torch.get_num_threads()
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        return Finding("Device", f"{name}, {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB")
    return Finding("Device", f"CPU, {threads} of {os.cpu_count()} threads; no GPU is needed")


def _memory() -> Finding:
    if os.name != "posix":
        return Finding("Memory", "not known")
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Finding("Memory", f"{size / 2**30:.1f} GiB", "large images and long clips may not fit" * (size < 4 * 2**30))


def _places() -> Iterator[Finding]:
    here = Path.cwd()
    free = shutil.disk_usage(here).free
    yield Finding(
        "This folder", f"{free / 2**30:.1f} GiB free", "runs and scenes may not fit" * (free < LEAST_FREE), free < 2**20
    )
    try:
        with tempfile.TemporaryFile(dir=here):
            pass
    except OSError as error:
        yield Finding("Writing here", f"refused ({error.strerror})", "go to a folder of yours, or give --out")
    data = os.environ.get("DELAMINATE_DATA")
    if data is not None:
        there = Path(data).is_dir()
        yield Finding(
            "DELAMINATE_DATA", data, "" if there else "there is no such folder; built-in real sets are not found"
        )


def _extras() -> Iterator[Finding]:
    for extra, (module, purpose) in EXTRAS.items():
        version = _version_of(module)
        if version is not None:
            yield Finding(f"[{extra}]", f"{version}: {purpose}")
        else:
            yield Finding(f"[{extra}]", f"not installed: {purpose}", f"{sys.executable} -m pip install -e '.[{extra}]'")


def _version_of(module: str) -> str | None:
    """The version of the package that has a module, if it is installed; it is not imported."""
    names = importlib.metadata.packages_distributions().get(module, [])
    return f"{names[0]} {importlib.metadata.version(names[0])}" if names else None

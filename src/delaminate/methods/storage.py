"""Model folders: model.safetensors, config.json and a card. No pickle is ever read from one.

Names, shapes and types are checked against the configuration before anything is read. Which tensors a model stores is its
own affair (`Method.export_state`); how, is settled here for all.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.overrides import TorchFunctionMode

from delaminate import zoo
from delaminate.config import suggest, to_dict
from delaminate.errors import ConfigError, FormatError, MissingExtra, one_line, reading
from delaminate.files import write_atomic

FORMAT = 1
BROKEN = "damaged, or not a safetensors file; train the model again, or fetch it again"
LARGEST_CONFIG = 100_000
LARGEST_MODEL = 2**28


@runtime_checkable
class Storable(Protocol):
    """What a model folder is written from."""

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> Any: ...

    @property
    def image_size(self) -> tuple[int, int]: ...

    @property
    def decomposers(self) -> tuple[str, ...]: ...

    @property
    def exact_tensors(self) -> tuple[str, ...]: ...

    def export_state(self) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class TensorRules:
    """What a model's tensors have to be.

    Attributes:
        expected: Every tensor that may be there: its shape and type.
        optional: Prefixes of tensors that may be absent together, because that part was never trained.
        resizable: Tensors whose height and width (the last two numbers of the shape) may be any.
    """

    expected: Mapping[str, Tensor]
    optional: tuple[str, ...] = ()
    resizable: tuple[str, ...] = ()


def save_model(model: Storable, folder: Path, card: str | None = None, half: bool = False) -> None:
    """Write a model folder, file by file, each moved into place when it is whole.

    Args:
        model: What to save.
        folder: Made if it is missing.
        card: Text of README.md; a plain one by default.
        half: Store floats as float16.

    Raises:
        OutputError: The folder cannot be written.
    """
    state = {name: tensor.cpu() for name, tensor in model.export_state().items()}
    if half:
        # Single numbers, such as counts of steps, are kept whole.
        whole = {name for name, tensor in state.items() if not (tensor.is_floating_point() and tensor.ndim)}
        whole.update(model.exact_tensors)
        state = {name: tensor if name in whole else tensor.half() for name, tensor in state.items()}
    config = {
        "format": FORMAT,
        "method": model.name,
        "config": to_dict(model.config),
        "decomposers": list(model.decomposers),
        "default": next(iter(model.decomposers), None),
    }
    files = {
        "model.safetensors": to_bytes({name: tensor.contiguous() for name, tensor in state.items()}),
        "config.json": (json.dumps(config, indent=2) + "\n").encode(),
        "README.md": (card or _card(model)).encode(),
    }
    for name, data in files.items():
        write_atomic(folder / name, data, durable=True)


def _card(model: Storable) -> str:
    height, width = model.image_size
    ways = ", ".join(model.decomposers) or "none yet"
    return (
        f"---\nlibrary_name: delaminate\npipeline_tag: image-segmentation\ntags:\n- unsupervised\n- layers\n- {model.name}\n"
        f"---\n\n# A {model.name} model\n\nDecomposes images of {width} x {height} pixels into layers, without labels.\n\n"
        f"    delaminate decompose THIS_FOLDER IMAGES --out scenes\n\nDecomposers: {ways}.\n"
    )


def read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    """Read which method a model folder is of, and its settings.

    Raises:
        FormatError: config.json is missing, too large or not what it should be.
    """
    path = folder / "config.json"
    with reading(path, FormatError, "cannot be read as JSON; is this a model folder?"):
        if path.stat().st_size > LARGEST_CONFIG:
            raise FormatError(f"{path}: larger than {LARGEST_CONFIG} bytes; that is no configuration.")
        found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise FormatError(f"{path}: not a model of format {FORMAT}. Train again, or use the version that wrote it.")
    if not isinstance(found.get("method"), str) or not isinstance(found.get("config"), dict):
        raise FormatError(f"{path}: `method` or `config` is missing.")
    return found["method"], found["config"]


class SizeLimit(TorchFunctionMode):
    """While it is on, tensors of more than `most` numbers in all are refused before there is memory for them.

    Shapes alone (device "meta") would say it, too; but for those torch loads its compiler, which takes a second.
    """

    MAKERS = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self.MAKERS:
            size = kwargs["size"] if "size" in kwargs else args[0] if isinstance(args[0], tuple | list) else args
            self.left -= math.prod(number for number in size if isinstance(number, int))
            if self.left < 0:
                raise OverflowError
        return func(*args, **kwargs)


def read_tensors(folder: Path, rules: TensorRules) -> dict[str, Tensor]:
    """Read the tensors of a model folder, of the types that are expected.

    Raises:
        FormatError: A tensor is missing, unexpected, of another shape or type, or holds numbers that are not finite.
    """
    path = folder / "model.safetensors"
    if not path.exists():
        raise FormatError(f"{path}: missing. A model folder holds model.safetensors and config.json.")
    with (
        reading(path, FormatError, BROKEN, quote=False),
        safe_open(path, framework="pt") as file,
    ):
        return _checked(path, file, rules)


def too_large(folder: Path) -> FormatError:
    """Say that a configuration asks for more than any model has."""
    return FormatError(
        f"{folder / 'config.json'}: asks for more than {LARGEST_MODEL} numbers; no model of this library has so many."
    )


def _checked(path: Path, file: Any, rules: TensorRules) -> dict[str, Tensor]:
    names = set(file.keys())
    for name in sorted(names - set(rules.expected)):
        raise FormatError(f"{path}: unexpected tensor {name!r}. {suggest(name, list(rules.expected))}")
    there = {prefix: any(n.startswith(prefix) for n in names) for prefix in rules.optional}
    found = {}
    for name, wanted in rules.expected.items():
        if name in names:
            found[name] = _tensor(path, file, name, wanted, name in rules.resizable)
        elif not any(name.startswith(prefix) and not known for prefix, known in there.items()):
            raise FormatError(f"{path}: tensor {name!r} is missing.")
    return found


def _tensor(path: Path, file: Any, name: str, wanted: Tensor, resizable: bool) -> Tensor:
    view = file.get_slice(name)
    shape = list(view.get_shape())
    any_size = resizable and math.prod(shape) <= LARGEST_MODEL and 0 not in shape
    fits = shape[:-2] == list(wanted.shape)[:-2] if any_size else shape == list(wanted.shape)
    if not fits or len(shape) != wanted.ndim:
        raise FormatError(f"{path}: {name} is {tuple(shape)}; expected {tuple(wanted.shape)} by config.json.")
    kinds = ("F32", "F16", "BF16") if wanted.is_floating_point() else ("I64",)
    if view.get_dtype() not in kinds:
        raise FormatError(f"{path}: {name} has type {view.get_dtype()}; expected one of {', '.join(kinds)}.")
    tensor: Tensor = file.get_tensor(name).to(wanted.dtype)
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise FormatError(f"{path}: {name} holds numbers that are not finite.")
    return tensor


def model_folder(name: str | Path) -> Path:
    """Find the folder of a model by path, zoo name or `hub:owner/name`; of a run folder, that of its model.

    Raises:
        ConfigError: There is no such model.
        FormatError: It cannot be fetched from the hub.
        MissingExtra: It is on the hub, and the package that fetches from there is not installed.
    """
    text, path = str(name), Path(name)
    if text.startswith("hub:"):
        return _from_hub(text.removeprefix("hub:"))
    if path.is_dir():
        inner = path / "model"
        if (path / "config.yaml").exists() and not inner.is_dir() and not (path / "config.json").exists():
            raise ConfigError(
                f"{text}: a run that was broken off before there was a model. Go on with it: the same words as before and "
                "--resume."
            )
        return inner if inner.is_dir() and not (path / "config.json").exists() else path
    if text in zoo.names():
        return zoo.folder(text)
    raise ConfigError(f"{text}: neither a folder nor a model in the box. {suggest(text, list(zoo.names()))}")


def _from_hub(repository: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise MissingExtra("a model from the hub", "hub") from None
    files = ["model.safetensors", "config.json", "README.md"]
    try:
        return Path(snapshot_download(repository, allow_patterns=files))
    except (OSError, ValueError) as error:
        raise FormatError(f"hub:{repository}: cannot be fetched ({one_line(str(error), 120)}).") from None

"""Model folders: model.safetensors, config.json and a card. No pickle is ever read from one.

Names, shapes and types are checked against the configuration before anything is read.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from delaminate.config import at_defaults, build, suggest, to_dict
from delaminate.errors import ConfigError, FormatError, MissingExtra
from delaminate.files import write_atomic

if TYPE_CHECKING:
    from delaminate.methods.base import Method

FORMAT = 1
LARGEST_CONFIG = 100_000
LARGEST_MODEL = 2**28


def save_model(method: "Method", folder: Path, card: str | None = None, half: bool = False) -> None:
    """Write a model folder, file by file, each moved into place when it is whole.

    Args:
        method: What to save.
        folder: Made if it is missing.
        card: Text of README.md; a plain one by default.
        half: Store floats as float16.

    Raises:
        OutputError: The folder cannot be written.
    """
    parts = {name: part.cpu() for name, part in method.parts().items()}
    if half:
        # Single numbers, such as counts of steps, are kept whole.
        whole = {name for name, part in parts.items() if not (part.is_floating_point() and part.ndim)}
        whole.update(method.exact_parts)
        parts = {name: part if name in whole else part.half() for name, part in parts.items()}
    config = {
        "format": FORMAT,
        "method": method.name,
        "config": to_dict(method.config),
        "decomposers": list(method.decomposers),
        "default": next(iter(method.decomposers), None),
    }
    files = {
        "model.safetensors": to_bytes({name: part.contiguous() for name, part in parts.items()}),
        "config.json": (json.dumps(config, indent=2) + "\n").encode(),
        "README.md": (card or _card(method)).encode(),
    }
    for name, data in files.items():
        write_atomic(folder / name, data, durable=True)


def _card(method: "Method") -> str:
    height, width = method.image_size
    ways = ", ".join(method.decomposers) or "none yet"
    return (
        f"# A {method.name} model\n\nDecomposes images of {height} x {width} pixels into layers, without labels.\n\n"
        f"    delaminate decompose THIS_FOLDER IMAGES --out scenes\n\nDecomposers: {ways}.\n"
    )


def _read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    path = folder / "config.json"
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise FormatError(f"{path}: larger than {LARGEST_CONFIG} bytes; that is no configuration.")
        found = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: cannot be read as JSON ({type(error).__name__}). Is this a model folder?") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise FormatError(f"{path}: not a model of format {FORMAT}.")
    if not isinstance(found.get("method"), str) or not isinstance(found.get("config"), dict):
        raise FormatError(f"{path}: `method` or `config` is missing.")
    return found["method"], found["config"]


def _check(
    path: Path, expected: dict[str, Tensor], optional: tuple[str, ...], free: tuple[str, ...]
) -> dict[str, Tensor]:
    """Read the tensors of a file whose names, shapes and types are as expected; `free` ones have any height and width."""
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            for name in sorted(names - set(expected)):
                raise FormatError(f"{path}: unexpected tensor {name!r}. {suggest(name, list(expected))}")
            parts = {}
            groups = {prefix: any(n.startswith(prefix) for n in names) for prefix in optional}
            for name, wanted in expected.items():
                if name not in names:
                    if any(name.startswith(prefix) and not there for prefix, there in groups.items()):
                        continue  # a part that was never trained
                    raise FormatError(f"{path}: tensor {name!r} is missing.")
                view = file.get_slice(name)
                shape = list(view.get_shape())
                any_size = name in free and math.prod(shape) <= LARGEST_MODEL and 0 not in shape
                fits = shape[:-2] == list(wanted.shape)[:-2] if any_size else shape == list(wanted.shape)
                if not fits or len(shape) != wanted.ndim:
                    raise FormatError(
                        f"{path}: {name} is {tuple(shape)}; expected {tuple(wanted.shape)} by config.json."
                    )
                kinds = ("F32", "F16", "BF16") if wanted.is_floating_point() else ("I64",)
                if view.get_dtype() not in kinds:
                    raise FormatError(
                        f"{path}: {name} has type {view.get_dtype()}; expected one of {', '.join(kinds)}."
                    )
                part = file.get_tensor(name).to(wanted.dtype)
                if part.is_floating_point() and not bool(torch.isfinite(part).all()):
                    raise FormatError(f"{path}: {name} holds numbers that are not finite.")
                parts[name] = part
    except FileNotFoundError:
        raise FormatError(f"{path}: missing. A model folder holds model.safetensors and config.json.") from None
    except (SafetensorError, OSError):
        raise FormatError(
            f"{path}: damaged, or not a safetensors file. Train the model again, or fetch it anew."
        ) from None
    return parts


def _expected(method_class: type["Method"], config: Any, path: Path) -> dict[str, Tensor]:
    """List shapes and types of a configured model's tensors, without memory for any of them."""
    try:
        with torch.device("meta"):
            expected = method_class(config).parts(everything=True)
        count = sum(part.numel() for part in expected.values())
    except RuntimeError:  # sizes beyond counting
        count = LARGEST_MODEL + 1
    if count > LARGEST_MODEL:
        raise FormatError(f"{path}: asks for more than {LARGEST_MODEL} numbers; that is no model of this library.")
    return expected


def load_folder_model(folder: Path, device: str | torch.device = "cpu") -> "Method":
    """Load a model folder.

    Raises:
        FormatError: Anything in the folder is not what it should be.
    """
    from delaminate.methods import METHODS

    name, values = _read_config(folder)
    if name not in METHODS:
        raise FormatError(f"{folder / 'config.json'}: unknown method {name!r}. {suggest(name, list(METHODS))}")
    method_class, presets = METHODS[name]
    try:
        # A setting that the folder lacks was added later; its default is what was done before.
        config = build(at_defaults(next(iter(presets.values()))), values, str(folder / "config.json"))
    except ConfigError as error:
        raise FormatError(str(error)) from None
    expected = _expected(method_class, config, folder / "config.json")
    parts = _check(folder / "model.safetensors", expected, method_class.optional_parts, method_class.free_parts)
    method = method_class(config)
    method.load_parts(parts)
    method.eval()
    return method.to(device)


def load_model(name: str | Path, device: str | torch.device = "cpu") -> "Method":
    """Load a model by path, zoo name or `hub:owner/name`.

    Args:
        name: A model folder or a run folder; else the name of a model in the box, such as
            "dti-sprites/tetrominoes"; else `hub:owner/name`.
        device: Where to put it.

    Raises:
        FormatError: The model is not what it claims to be.
        ConfigError: There is no such model.
    """
    from delaminate import zoo

    text = str(name)
    if text.startswith("hub:"):
        return load_folder_model(_from_hub(text.removeprefix("hub:")), device)
    path = Path(name)
    if path.is_dir():
        inner = path / "model"
        return load_folder_model(inner if inner.is_dir() and not (path / "config.json").exists() else path, device)
    if text in zoo.names():
        return load_folder_model(zoo.folder(text), device)
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
        reason = " ".join(str(error).split())[:120]
        raise FormatError(f"hub:{repository}: cannot be fetched ({reason}).") from None

"""Every method by its name, those of other packages included, and models of any of them."""

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from delaminate.config import suggest
from delaminate.errors import ConfigError, FormatError
from delaminate.methods import storage
from delaminate.methods.base import Method
from delaminate.methods.dti_sprites.method import DTISprites
from delaminate.methods.marionette.method import MarioNette
from delaminate.methods.perturbgan.method import PerturbGAN
from delaminate.methods.redo.method import ReDO

GROUP = "delaminate.methods"
"""Entry points by which an installed package offers its methods: `name = "package.module:Class"`."""


class Methods(Mapping[str, type[Method]]):
    """Method classes by name: the four of this library, and those that installed packages offer.

    The code of another package is imported when its method is asked for, not when names are listed.
    """

    def __init__(self, *own: type[Method]) -> None:
        self._known = {method.name: method for method in own}

    def register(self, method: type[Method]) -> type[Method]:
        """Add a method that no installed package offers, such as one of a notebook; usable as a decorator.

        Raises:
            ConfigError: Another class has this name.
        """
        if method.name in self and self[method.name] is not method:
            raise ConfigError(f"{method.name}: is the name of another method. Give the class another `name`.")
        self._known[method.name] = method
        return method

    def __getitem__(self, name: str) -> type[Method]:
        if name not in self._known:
            self._known[name] = _load(_offered()[name])
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._known, **_offered()})

    def __len__(self) -> int:
        return len({**self._known, **_offered()})

    def find(self, name: str, where: str) -> type[Method]:
        """Look a method up.

        Raises:
            ConfigError: There is none of this name.
        """
        if name not in self:
            raise ConfigError(f"{where}: unknown method {name!r}. {suggest(name, list(self))}")
        return self[name]


@runtime_checkable
class EntryPoint(Protocol):
    """What a package offers: of the standard library, or of its backport, which takes over where it is imported."""

    name: str
    value: str

    def load(self) -> Any: ...


def _offered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(point: EntryPoint) -> type[Method]:
    """Import a method of another package.

    Raises:
        ConfigError: It cannot be imported, is no method, or is named otherwise.
    """
    where = f"{point.name}: the method that {point.value} offers"
    try:
        found: Any = point.load()
    except Exception as error:
        raise ConfigError(
            f"{where} cannot be imported ({type(error).__name__}: {' '.join(str(error).split())[:200]}). Update or remove "
            "that package."
        ) from error
    if not isinstance(found, type) or not issubclass(found, Method) or found.name != point.name:
        raise ConfigError(f"{where} is no subclass of delaminate.Method whose `name` is {point.name!r}.")
    return found


METHODS = Methods(DTISprites, MarioNette, PerturbGAN, ReDO)
"""Every method by its name on the command line."""


def load_model(name: str | Path, device: str | torch.device = "cpu") -> Method:
    """Load a model by path, zoo name or `hub:owner/name`.

    Args:
        name: A model folder or a run folder; else the name of a model in the box, such as
            "dti-sprites/tetrominoes"; else `hub:owner/name`.
        device: Where to put it.

    Raises:
        FormatError: The model is not what it claims to be.
        ConfigError: There is no such model.
    """
    folder = storage.model_folder(name)
    method, _ = storage.read_config(folder)
    if method not in METHODS:
        raise FormatError(f"{folder / 'config.json'}: unknown method {method!r}. {suggest(method, list(METHODS))}")
    return METHODS[method].from_folder(folder, device)

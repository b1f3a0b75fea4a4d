"""Every error we raise, drawn as a tree.

    DelaminateError
    ├── ShapeError       a tensor does not fit its neighbours
    ├── ConfigError      a setting is unknown, of the wrong type or out of range
    ├── DataError        images, masks or videos cannot be used
    ├── FormatError      a model folder, scene, checkpoint or archive is not what it claims to be
    ├── OutputError      a result cannot be written
    ├── ConflictError    somebody else has changed it meanwhile
    ├── TrainingError    a training cannot go on (NaN, collapse)
    └── MissingExtra     a feature needs packages that are not installed

Messages say where, what came, what was expected and what to do. They are one line long, so that the
command line can print them as they are.
"""

import sys


class DelaminateError(Exception):
    """Anything Delaminate raises on purpose."""


class ShapeError(DelaminateError, ValueError):
    """A tensor does not fit its neighbours."""


class ConfigError(DelaminateError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(DelaminateError, ValueError):
    """Images, masks or videos cannot be used."""


class FormatError(DelaminateError, ValueError):
    """A model folder, scene, checkpoint or archive is not what it claims to be."""


class OutputError(DelaminateError, OSError):
    """A result cannot be written."""


class ConflictError(DelaminateError, RuntimeError):
    """Somebody else has changed it meanwhile."""


class TrainingError(DelaminateError, RuntimeError):
    """A training cannot go on."""


class MissingExtra(DelaminateError, ImportError):
    """A feature needs packages that are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        # Not by its name on an index: the project is not on any.
        super().__init__(
            f"{feature} needs more packages: in the project's folder, {sys.executable} -m pip install -e '.[{extra}]'"
        )

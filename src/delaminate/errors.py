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
command line can print them as they are. `reading` is the one door for files that come from elsewhere.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_REASON = 200
"""Characters of what a decoder says that are passed on."""


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


@contextmanager
def reading(path: str | Path, kind: type[DelaminateError], fault: str, quote: bool = True) -> Iterator[None]:
    """Turn whatever is thrown while a file is read into one line that begins with its name.

    Decoders throw errors of any kind on broken files. What is an error of ours already is only given the name, and the kind,
    if they are missing.

        with reading(path, DataError, "not an archive with images and labels"):
            ...

    Args:
        path: The file, or what else is read, such as "--set".
        kind: Of the error.
        fault: What is wrong with a file that its decoder refuses, in words.
        quote: Pass on what the decoder says.

    Raises:
        kind: Anything went wrong.
        MissingExtra: As it came.
    """
    try:
        yield
    except MissingExtra:
        raise
    except DelaminateError as error:
        text = one_line(str(error))
        if isinstance(error, kind) and one_line(str(path)) in str(error) and text == str(error):
            raise
        raise kind(text if one_line(str(path)) in text else f"{one_line(str(path))}: {text}") from error
    except Exception as error:
        raise kind(f"{one_line(str(path))}: {_reason(path, error, fault, quote)}.") from error


def one_line(text: str, longest: int | None = None) -> str:
    """Bring a text to one line that can be printed: what cannot is escaped."""
    joined = " ".join(text.split())
    shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in joined)
    return shown if longest is None else shown[:longest]


def _reason(path: str | Path, error: Exception, fault: str, quote: bool) -> str:
    """What is wrong with a file, by what was thrown."""
    # These answer where the name itself is impossible, too.
    if isinstance(path, Path) and not os.path.lexists(path):
        return "there is no such file"
    if isinstance(path, Path) and os.path.isfile(path) and os.path.getsize(path) == 0:  # noqa: PTH113, PTH202
        return "the file is empty"
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        return "does not fit into memory"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({one_line(error.strerror)})"
    reason = one_line(str(error), LONGEST_REASON)
    if not reason or str(path) in reason:  # which is said already
        reason = type(error).__name__
    return f"{fault} ({reason})" if quote else fault

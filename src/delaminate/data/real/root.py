"""Where real data lie: below the folder that DELAMINATE_DATA names."""

import os
from pathlib import Path

from delaminate.errors import DataError

DATA_VARIABLE = "DELAMINATE_DATA"


def data_root(root: str | Path | None = None) -> Path:
    """The folder of real data sets: `root`, or the one that DELAMINATE_DATA names.

    Raises:
        DataError: Neither is given, or it is no folder.
    """
    chosen = root or os.environ.get(DATA_VARIABLE)
    if not chosen:
        raise DataError(f"real data: {DATA_VARIABLE} is not set; point it at the folder that holds the sets")
    if not Path(chosen).is_dir():
        raise DataError(f"real data: '{chosen}' is no folder; point {DATA_VARIABLE} at the one with the sets")
    return Path(chosen)


def data_folder(folder: str, asked_by: str, root: str | Path | None = None) -> Path:
    """A folder below `data_root`.

    Args:
        folder: Its name.
        asked_by: The data set that needs it, for the message.
        root: As in `data_root`.

    Raises:
        DataError: There is no root, or no such folder below it.
    """
    found = data_root(root) / folder
    if not found.is_dir():
        raise DataError(f"{asked_by}: found no folder '{found}'; put the data there or set {DATA_VARIABLE}")
    return found

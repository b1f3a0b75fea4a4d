"""Provenance: of what a model was made, kept in run.json beside a run and in its model folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from delaminate.errors import FormatError, reading
from delaminate.files import json_bytes, write_atomic

RUN = "run.json"
LARGEST = 100_000


def write_provenance(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write facts beside a run, and into its model folder if there is one.

    Raises:
        OutputError: A folder cannot be written.
    """
    data = json_bytes(dict(facts))
    write_atomic(folder / RUN, data)
    if (folder / "model").is_dir():
        write_atomic(folder / "model" / RUN, data)


def read_provenance(folder: Path) -> dict[str, Any]:
    """Read what is known of a run or model folder; empty where nothing is.

    Raises:
        FormatError: There is such a file, and it is damaged.
    """
    path = folder / RUN
    if not path.is_file():
        return {}
    with reading(path, FormatError, "cannot be read as JSON"):
        if path.stat().st_size > LARGEST:
            raise FormatError(f"{path}: larger than {LARGEST:,} bytes; that is no provenance.")
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise FormatError(f"{path}: holds no object.")
    return found

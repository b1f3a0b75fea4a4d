"""Which tests run plainly: all others run with every annotation enforced (`./run test` without arguments does both)."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
# typer hands over contexts that are not of the class it asks us to name. Where other processes are started, nothing would
# be checked.
FILES = (
    "cli",
    "engine/test_devices.py",
    "engine/test_kill.py",
    "engine/test_parallel.py",
    "engine/test_resume.py",
    "methods/test_marionette_parallel.py",
    "test_examples.py",
)
# In tests of refusals the checker would answer first; trainings that are resumed go through what others do once more.
NAMES = ("refuse", "same_end", "same_bits", "same_weights")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        file = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
        known = file and not any(file == name or file.startswith(f"{name}/") for name in FILES)
        if not known or item.get_closest_marker("slow") or any(name in item.nodeid for name in NAMES):
            item.add_marker("plain")

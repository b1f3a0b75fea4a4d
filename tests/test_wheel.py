"""The wheel holds what the package needs at run time. Built without a network, where the build backend is there."""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import delaminate

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "delaminate"
BUILD = """
import hatchling.build, sys
print(hatchling.build.build_wheel(sys.argv[1]))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("hatchling") is None,
        reason="the build backend, hatchling, is not installed here: python -m pip install hatchling",
    ),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names of the files in a wheel of this checkout, and the text of its METADATA."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-c", BUILD, str(out)], cwd=ROOT, check=True, capture_output=True, timeout=300)
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        (scripts,) = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
        return names, archive.read(metadata).decode(), archive.read(scripts).decode()


def test_the_wheel_holds_every_file_of_the_package(wheel):
    there = {name for name in wheel[0] if name.startswith("delaminate/")}
    wanted = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= there
    assert not [name for name in there if "__pycache__" in name]


def test_the_wheel_holds_what_is_not_code(wheel):
    for path in ("py.typed", "exporters/html.css", "data/synthetic/sprites/kenney/rover-0.png"):
        assert f"delaminate/{path}" in wheel[0]


def test_the_wheel_holds_every_model_in_the_box(wheel):
    from delaminate import zoo

    for name in zoo.names():
        folder = f"delaminate/zoo/{name}/"
        assert {f"{folder}{file}" for file in ("model.safetensors", "config.json", "README.md")} <= set(wheel[0])


def test_the_wheel_knows_its_version_licence_and_command(wheel):
    _, metadata, scripts = wheel
    assert f"Version: {delaminate.__version__}" in metadata
    assert "License-Expression: MIT" in metadata
    assert "delaminate = delaminate.cli:main" in scripts


def test_the_wheel_holds_nothing_else(wheel):
    assert {name.split("/")[0].split("-")[0] for name in wheel[0]} == {"delaminate"}

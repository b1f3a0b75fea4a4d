"""Who may import whom: the plan of the house, held by reading every import statement."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "delaminate"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Besides `errors` and `rng`, which everything may import, and a package's own modules.
MAY_IMPORT = {
    "errors": (),
    "rng": (),
    "config": (),
    "scene": (),
    "nets": (),
    "zoo": (),
    "objectives": ("scene",),
    "matching": ("scene",),
    "methods": ("scene", "nets", "objectives", "matching", "config", "zoo"),
    "engine": ("methods", "scene", "config"),
    "data": ("scene", "config"),
    "metrics": ("scene",),
    "export": ("scene",),
    "studio": ("scene", "data", "export", "methods", "engine"),
}
EVERYTHING = {"cli"}
# Doors of the package: public names, and `python -m delaminate`.
DOORS = {"__init__": {"studio", "cli"}, "__main__": {"studio"}}
LEARNED = ("scipy", "sklearn")
WEB = ("fastapi", "uvicorn", "starlette", "aiohttp", "flask", "http.server")
PILLOW = ("data", "export", "scene/loading.py", "engine/record.py")
METHOD_DOORS = ("__init__", "base", "folder")


def relative(path):
    return path.relative_to(PACKAGE).as_posix()


def part_of(path):
    """The package or module of the table that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports(path):
    """Every module that a file names in an import, wherever the statement stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: name the package in full"
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


def own(path):
    """The parts of Delaminate that a file imports."""
    names = [name.split(".")[1] for name in imports(path) if name.startswith("delaminate.")]
    return {name for name in names if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()}


def uses(path, package):
    return any(name == package or name.startswith(f"{package}.") for name in imports(path))


def methods_of(path):
    """The methods that a file imports, by name."""
    parts = [name.split(".") for name in imports(path) if name.startswith("delaminate.methods.")]
    known = {p.stem for p in (PACKAGE / "methods").iterdir() if p.suffix == ".py" or p.is_dir()}
    return {part[2] for part in parts if part[2] in known} - set(METHOD_DOORS)


def test_there_are_modules_to_read():
    assert len(MODULES) > 30


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_imports_only_what_the_table_allows(path):
    part = part_of(path)
    if part in EVERYTHING:
        return
    if part in DOORS:
        assert not own(path) & DOORS[part]
        return
    allowed = {"errors", "rng", part, *MAY_IMPORT[part]}
    assert own(path) <= allowed, f"{relative(path)} may import {sorted(allowed)}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "methods").rglob("*.py")), ids=relative)
def test_methods_never_import_one_another(path):
    method = path.relative_to(PACKAGE / "methods").parts[0].removesuffix(".py")
    if method not in METHOD_DOORS:
        assert methods_of(path) <= {method}


def test_the_engine_meets_methods_through_their_base_alone():
    for path in (PACKAGE / "engine").rglob("*.py"):
        assert not methods_of(path), relative(path)


def test_labels_never_reach_what_trains():
    for part in ("methods", "engine", "objectives", "matching", "nets"):
        for path in (PACKAGE / part).rglob("*.py"):
            assert not own(path) & {"data", "metrics"}, relative(path)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_heavy_packages_stay_where_they_belong(path):
    name = relative(path)
    if part_of(path) in ("scene", "nets"):
        assert not any(uses(path, package) for package in LEARNED)
    if part_of(path) != "studio":
        assert not any(uses(path, package) for package in WEB)
    if not any(name == place or name.startswith(f"{place}/") for place in PILLOW):
        assert not uses(path, "PIL")


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_annotations_stay_alive(path):
    assert not uses(path, "__future__"), "`from __future__ import annotations` silences the checks of shapes"


def test_nothing_is_called_utils():
    assert not [relative(path) for path in PACKAGE.rglob("*util*.py")]

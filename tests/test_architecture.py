"""Who may import whom: the plan of the house, held by reading every import statement."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "delaminate"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Besides `errors`, `rng` and `version`, which everything may import, and a package's own modules.
MAY_IMPORT = {
    "errors": (),
    "rng": (),
    "version": (),
    "config": (),
    "files": (),
    "zoo": (),
    "nets": (),
    "scene": ("files",),
    "objectives": ("scene",),
    "matching": ("scene",),
    "refinement": ("scene",),
    "data": ("scene", "config", "files"),
    "methods": ("scene", "nets", "objectives", "matching", "refinement", "config", "files", "zoo"),
    "metrics": ("scene",),
    "exporters": ("scene", "matching", "files"),
    "importers": ("exporters", "data", "scene", "files"),
    "engine": ("methods", "scene", "config", "files"),
    "pipelines": (
        "engine", "methods", "matching", "refinement", "data", "metrics", "exporters", "importers", "scene",
        "config", "files", "zoo",
    ),
    "bench": (
        "pipelines", "engine", "methods", "nets", "objectives", "data", "metrics", "scene", "config", "files",
    ),
    "studio": ("pipelines", "engine", "methods", "data", "metrics", "exporters", "scene", "config", "files", "zoo"),
}  # fmt: skip
EVERYTHING = {"cli"}
# Doors of the package: public names, and `python -m delaminate`.
DOORS = {"__init__": {"studio", "cli", "bench"}, "__main__": {"studio"}}
LEARNED = ("scipy", "sklearn")
WEB = ("fastapi", "uvicorn", "starlette", "aiohttp", "flask", "http.server")
PILLOW = (
    "data",
    "exporters",
    "files.py",
    "scene/loading.py",
    "engine/record.py",
    "studio/pictures.py",
    "importers/photoshop.py",
)
PAPERS = ("dti_sprites", "marionette", "perturbgan", "redo")
# A paper's folder, from the ground up: each may import those before it.
PAPER_ORDER = ("config", "networks", "warping", "model", "graph", "distillation", "training", "method")
METHODS_ORDER = ("settings", "players", "storage", "graph", "base", *PAPERS, "registry")


def relative(path):
    return path.relative_to(PACKAGE).as_posix()


def module_of(path):
    """The dotted name of a file; a package is its __init__."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_of(path): path for path in MODULES}


def part_of(path):
    """The package or module of the table that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports(path):
    """Every module that a file names in an import, wherever the statement stands, those for type checkers included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: name the package in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            # `from package import module` is an import of the module; of a name, of the file that holds it.
            found += [name if name in NAMES else node.module for name in names]
    return tuple(found)


def own(path):
    """The parts of Delaminate that a file imports."""
    names = [name.split(".")[1] for name in imports(path) if name.startswith("delaminate.")]
    return {name for name in names if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()}


def uses(path, package):
    return any(name == package or name.startswith(f"{package}.") for name in imports(path))


def circles(graph):
    """Strongly connected components of more than one file (Tarjan, 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            component = stack[place:]
            del stack[place:]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_there_are_modules_to_read():
    assert len(MODULES) > 30


def test_the_finder_of_circles_finds_them():
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"], "d": ["a"]}) == [["b", "c"]]
    assert circles({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_no_files_import_one_another_in_a_circle():
    graph = {
        name: sorted({other for other in imports(path) if other in NAMES and other != name})
        for name, path in NAMES.items()
    }
    assert circles(graph) == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_imports_only_what_the_table_allows(path):
    part = part_of(path)
    if part in EVERYTHING:
        return
    if part in DOORS:
        assert not own(path) & DOORS[part]
        return
    allowed = {"errors", "rng", "version", part, *MAY_IMPORT[part]}
    assert own(path) <= allowed, f"{relative(path)} may import {sorted(allowed)}"


def below_methods(name):
    """Where in the folder of methods a module lies: the paper, or the file beside the papers."""
    parts = name.split(".")
    return parts[2] if name.startswith("delaminate.methods.") else None


@pytest.mark.parametrize("path", sorted((PACKAGE / "methods").rglob("*.py")), ids=relative)
def test_methods_are_built_from_the_ground_up(path):
    """Settings and players, then storage, then the base, then the papers, which never meet, then the registry."""
    here = below_methods(module_of(path))
    if here is None:
        return
    there = {below_methods(name) for name in imports(path)} - {None, here}
    assert there <= set(METHODS_ORDER[: METHODS_ORDER.index(here)]), relative(path)
    if here in PAPERS:
        assert not there & set(PAPERS), relative(path)
        assert not uses(path, "delaminate.methods.registry")


@pytest.mark.parametrize(
    "path", [p for paper in PAPERS for p in sorted((PACKAGE / "methods" / paper).glob("[a-z]*.py"))], ids=relative
)
def test_a_model_knows_nothing_of_its_training(path):
    """Within a paper: the model, then who trains it, then the method."""
    paper = f"delaminate.methods.{path.parent.name}."
    there = {name.removeprefix(paper) for name in imports(path) if name.startswith(paper)} - {path.stem}
    assert there <= set(PAPER_ORDER[: PAPER_ORDER.index(path.stem)]), relative(path)


def test_the_engine_and_what_users_do_meet_methods_through_their_base_alone():
    for part in ("engine", "pipelines", "bench"):
        for path in (PACKAGE / part).rglob("*.py"):
            assert not {below_methods(name) for name in imports(path)} & set(PAPERS), relative(path)


def test_nobody_asks_a_method_who_it_is():
    """Only what it can: no `isinstance` of a method's class, no `getattr` for what the base declares."""
    classes = {"DTISprites", "MarioNette", "PerturbGAN", "ReDO"}
    for part in ("engine", "pipelines", "bench", "cli", "studio"):
        for path in (PACKAGE / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    if node.func.id == "isinstance":
                        asked = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
                        assert not asked & classes, f"{relative(path)}:{node.lineno}"
                    if node.func.id in ("getattr", "hasattr"):
                        assert part == "cli" and path.stem == "__init__", f"{relative(path)}:{node.lineno}"


def test_labels_never_reach_what_trains():
    for part in ("methods", "engine", "objectives", "matching", "nets", "refinement"):
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


def test_the_command_line_only_parses_and_prints():
    for path in (PACKAGE / "cli").glob("*.py"):
        assert not uses(path, "torch"), relative(path)
        assert not own(path) & {"matching", "refinement", "nets", "objectives", "metrics"}, relative(path)


# Bodies that are longer than 40 lines, and why.
LONG = {
    "engine/loop.py:stage": "the training loop, told in one piece",
    "exporters/placements.py:write_placements": "the columns of a table, one after the other",
    "matching/exact/detection.py:order": "one argument about who hides whom, case by case",
    "matching/exact/growth.py:extract_tile": "one argument about periods, case by case",
    "matching/tracking.py:_next": "what becomes of each track, in the order in which it is decided",
    "pipelines/demonstration.py:demonstrate": "the whole library in one piece, read top to bottom",
}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_functions_are_short(path):
    long = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = node.end_lineno - body[0].lineno + 1 if body else 0
            if lines > 40:
                long.append(f"{relative(path)}:{node.name} ({lines})")
    assert [each for each in long if each.split(" (")[0] not in LONG] == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_annotations_stay_alive(path):
    assert not uses(path, "__future__"), "`from __future__ import annotations` silences the checks of shapes"


def test_nothing_is_called_utils():
    assert not [relative(path) for path in PACKAGE.rglob("*util*.py")]


def test_tests_do_not_import_tests():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        named = [name for name in imports_of_text(path) if any(part.startswith("test_") for part in name.split("."))]
        assert named == [], path.relative_to(ROOT)
    assert len(list((ROOT / "tests").rglob("conftest.py"))) == 1


def imports_of_text(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_types_in_quotes_exist(path):
    # Names of dimensions ("B 3 H W") are why linters let undefined names in quotes pass: whole names are read here.
    tree = ast.parse(path.read_text())
    known = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))
             for alias in node.names}  # fmt: skip
    known |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    written = [given for node in functions for given in (node.returns, *(each.annotation for each in _arguments(node)))]
    quoted = {node.value for each in written if each is not None for node in ast.walk(each)
              if isinstance(node, ast.Constant) and isinstance(node.value, str)}  # fmt: skip
    classes = {name for name in quoted if name.isidentifier() and len(name) > 1 and name[0].isupper()}
    assert not classes - known


def _arguments(function):
    given = function.args
    return [*given.posonlyargs, *given.args, *given.kwonlyargs]

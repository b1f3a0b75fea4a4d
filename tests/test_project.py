"""The project as a whole: what its files promise, and what they must not hold."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import lock
from helpers.tracked import tracked_texts
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import delaminate

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "delaminate"
# Split, so that this file does not hold what it looks for.
REGISTRIES = tuple(f"{name}.{end}" for name, end in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org")))
REGISTRIES += ("download." + "pytorch.org", "conda." + "anaconda.org")
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:work|root|home|Users)/\w")
NOT_REQUIRED = ("pydantic", "fastapi", "uvicorn", "starlette", "av", "psd_tools", "h5py", "tensorboard", "onnx")
NOT_REQUIRED += ("huggingface_hub", "pyarrow", "torchvision", "ale_py", "typer", "pytest", "hypothesis", "beartype")


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_no_file_names_a_registry():
    for name, text in tracked_texts():
        assert not [host for host in REGISTRIES if host in text], name


def test_no_file_names_a_place_on_somebodys_machine():
    for name, text in tracked_texts():
        assert not MACHINE_PATH.findall(text), name


def test_the_lock_holds_versions_and_nothing_else():
    assert "://" not in (ROOT / "constraints.txt").read_text()
    for line in constraints():
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(line.specifier)), line
        assert not line.name.startswith(("nvidia-", "cuda-", "triton"))


def test_the_lock_satisfies_every_requirement():
    project = pyproject()["project"]
    wanted = [*project["dependencies"], *(r for rows in project["optional-dependencies"].values() for r in rows)]
    locked = {}
    for line in constraints():
        locked.setdefault(canonicalize_name(line.name), []).append(str(line.specifier).removeprefix("=="))
    for requirement in map(Requirement, wanted):
        versions = locked.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement.name} is not in constraints.txt; run tools/lock.py"
        assert all(version in requirement.specifier for version in versions), requirement


def test_every_package_of_the_lock_has_hashes_but_torch_whose_builds_differ_by_machine():
    known = lock.known_hashes((ROOT / "constraints.txt").read_text())
    assert len(known) == len(constraints())
    assert [name for (name, _), hashes in known.items() if not hashes] == ["torch"]


def test_what_was_installed_is_held_against_the_hashes():
    good, bad = "a" * 64, "b" * 64
    text = f"one-two==1.0 ; python_full_version < '3.12'\n#   sha256:{good}\ntorch==2.13.0\n"

    def installed(name, version, digest):
        archive = {"archive_info": {"hashes": {"sha256": digest} if digest else {}}}
        return {"install": [{"metadata": {"name": name, "version": version}, "download_info": archive}]}

    reports = [installed("One_Two", "1.0", good), installed("torch", "2.13.0+cpu", bad), installed("other", "1", bad)]
    reports.append(
        {"install": [{"metadata": {"name": "delaminate", "version": "1"}, "download_info": {"dir_info": {}}}]}
    )
    assert lock.unknown_files(reports, lock.known_hashes(text)) == ([], 1)
    for digest in (bad, ""):
        wrong, _ = lock.unknown_files([installed("one.two", "1.0", digest)], lock.known_hashes(text))
        assert len(wrong) == 1 and wrong[0].startswith("one-two 1.0 came as")


def test_the_changelog_knows_this_version():
    assert f"## [{delaminate.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_module_says_what_it_is():
    for path in PACKAGE.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_every_public_name_is_documented():
    packages = [delaminate] + [
        importlib.import_module(f"delaminate.{path.parent.name}") for path in sorted(PACKAGE.glob("*/__init__.py"))
    ]
    for package in packages:
        for name in getattr(package, "__all__", ()):
            value = getattr(package, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert inspect.getdoc(value), f"{package.__name__}.{name}"


def test_the_core_imports_without_any_extra():
    modules = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in ("cli", "studio", "__main__.py")
    ]
    program = f"""
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {NOT_REQUIRED!r}:
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
for name in {modules!r}:
    importlib.import_module(name.removesuffix(".__init__"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_run_explains_itself_and_refuses_what_it_does_not_know():
    found = {}
    for verb in ("help", "demonstrate"):
        done = subprocess.run([sys.executable, ROOT / "run", verb], capture_output=True, text=True, timeout=60)
        found[verb] = (done.returncode, done.stdout)
    assert found["help"][0] == 0
    assert found["demonstrate"][0] == 2
    assert all("./run demo" in text for _, text in found.values())


def test_run_can_be_parsed_by_old_pythons():
    # They have to get as far as saying what is missing.
    ast.parse((ROOT / "run").read_text(encoding="utf-8"), feature_version=(3, 6))


PUBLIC = [
    "EMA",
    "METHODS",
    "AutomaticResult",
    "Budget",
    "Callback",
    "Comparison",
    "ConfigError",
    "DTISprites",
    "DataError",
    "DecomposedImages",
    "Decomposition",
    "DelaminateError",
    "Dictionary",
    "Evaluation",
    "ExportedModel",
    "FormatError",
    "ImageSet",
    "Imported",
    "LabelledSet",
    "Labels",
    "Layers",
    "MarioNette",
    "Method",
    "MethodConfig",
    "MissingExtra",
    "OutputError",
    "PerturbGAN",
    "Placement",
    "PreparedImages",
    "ReDO",
    "Recognition",
    "Scene",
    "SceneLayer",
    "SceneSet",
    "ShapeError",
    "SilentCallback",
    "TerminalCallback",
    "TrainResult",
    "TrainedRun",
    "TrainingError",
    "Transform",
    "add_scene",
    "auto",
    "compare",
    "composite",
    "decompose",
    "draw",
    "edit",
    "evaluate",
    "export",
    "export_model",
    "import_edited",
    "load_folder",
    "load_model",
    "load_scenes",
    "open_data",
    "open_images",
    "pack_scenes",
    "prepare_images",
    "recognise",
    "recompose",
    "sample",
    "save_model",
    "save_scenes",
    "segment",
    "train",
    "unpack_scenes",
]


def test_public_names_are_those_promised():
    """A name that goes, goes through here first, and through the changelog."""
    assert sorted(delaminate.__all__) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(delaminate, name) is not None
    importlib.import_module("delaminate.exporters")
    assert callable(delaminate.export)
    assert (PACKAGE / "py.typed").exists()

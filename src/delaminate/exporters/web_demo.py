"""A page that takes images apart in a browser: one folder that any web server can hand out, and that asks no other one.

OUT/index.html, demo.css, demo.mjs, graph.mjs, pixels.mjs, icon.svg, report.css    the page, as plain modules
OUT/model.onnx, model.json    the graph
OUT/ort/    onnxruntime-web, out of the npm package that the user gives: its WebAssembly is too large to be in ours
OUT/example-*.png    pictures to try
"""

import importlib.resources
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from delaminate.errors import FormatError, reading
from delaminate.files import json_bytes, png_bytes, to_pixels, write_atomic

NPM_NAME = "onnxruntime-web"
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
PAGE_FILES = ("index.html", "demo.css", "demo.mjs", "graph.mjs", "pixels.mjs", "icon.svg")
STYLE = "report.css"
DEMO_FILES = (*PAGE_FILES, STYLE, *(f"ort/{name}" for name in (*RUNTIME_FILES, "NOTICE.txt")))
LARGEST_FILE = 100_000_000
NUM_EXAMPLES = 6


@dataclass(frozen=True)
class Runtime:
    """What a browser runs graphs by, out of the npm package onnxruntime-web.

    Attributes:
        files: Their bytes by name.
        version, license: As the package says.
    """

    files: Mapping[str, bytes]
    version: str
    license: str

    @classmethod
    def open(cls, path: Path) -> "Runtime":
        """Read the package: its folder, one that holds it in node_modules, or the .tgz that `npm pack` fetches.

        Raises:
            FormatError: It is none of these, or another package.
        """
        with reading(path, FormatError, f"cannot be read as the npm package {NPM_NAME}"):
            if path.is_dir():
                return cls._of(path, _in_folder(path))
            with tarfile.open(path, "r:gz") as archive:
                return cls._of(path, _in_archive(archive))

    @classmethod
    def _of(cls, path: Path, read: Callable[[str], bytes | None]) -> "Runtime":
        about = read("package.json")
        known = json.loads(about) if about is not None else {}
        if not isinstance(known, dict) or known.get("name") != NPM_NAME:
            raise FormatError(
                f"{path}: is not the npm package {NPM_NAME}; expected its folder, or the .tgz that `npm pack {NPM_NAME}` "
                "fetches."
            )
        version, files = str(known.get("version", "?")), {}
        for name in RUNTIME_FILES:
            data = read(f"dist/{name}")
            if data is None:
                raise FormatError(f"{path}: {NPM_NAME} {version} holds no dist/{name}; expected 1.20 or newer.")
            files[name] = data
        return cls(files, version, str(known.get("license", "?")))


def _in_folder(path: Path) -> Callable[[str], bytes | None]:
    places = (path, path / "package", path / "node_modules" / NPM_NAME)
    root = next((place for place in places if (place / "package.json").is_file() and (place / "dist").is_dir()), path)

    def read(name: str) -> bytes | None:
        file = root / name
        return file.read_bytes() if file.is_file() and file.stat().st_size <= LARGEST_FILE else None

    return read


def _in_archive(archive: tarfile.TarFile) -> Callable[[str], bytes | None]:
    wanted = {f"package/{name}": name for name in ("package.json", *(f"dist/{name}" for name in RUNTIME_FILES))}
    found: dict[str, bytes] = {}
    for member in archive:
        if member.name in wanted and member.isfile() and member.size <= LARGEST_FILE:
            file = archive.extractfile(member)
            assert file is not None
            found[wanted[member.name]] = file.read()
    return found.get


def write_web_demo(
    folder: Path, runtime: Runtime, facts: dict[str, Any], examples: Float[Tensor, "N 3 H W"]
) -> tuple[str, ...]:
    """Write the page beside the graph that it shows.

    Args:
        folder: Where `model.onnx` is.
        runtime: What it is run by.
        facts: What `model.json` says; what the page needs besides is added there.
        examples: Pictures to try, in [0, 1]; the first six are taken.

    Returns:
        The names of the files.

    Raises:
        OutputError: A file cannot be written.
    """
    pages = importlib.resources.files("delaminate.exporters").joinpath("web_demo")
    found = {name: pages.joinpath(name).read_bytes() for name in PAGE_FILES}
    found[STYLE] = importlib.resources.files("delaminate.exporters").joinpath("html.css").read_bytes()
    found |= {f"ort/{name}": data for name, data in runtime.files.items()}
    found["ort/NOTICE.txt"] = (
        f"{NPM_NAME} {runtime.version}, {runtime.license}, Copyright (c) Microsoft Corporation.\n"
        "Two files of that npm package, unchanged: https://github.com/microsoft/onnxruntime\n"
    ).encode()
    names = []
    for index, picture in enumerate(examples[:NUM_EXAMPLES]):
        names.append(f"example-{index + 1}.png")
        found[names[-1]] = png_bytes(to_pixels(picture))
    page = {"runtime": {"version": runtime.version, "license": runtime.license}, "examples": names}
    found["model.json"] = json_bytes(facts | {"page": page})
    for stale in folder.glob("example-*.png"):
        stale.unlink()
    for name, data in found.items():
        write_atomic(folder / name, data)
    return tuple(found)

"""What can be opened from the page: what lies near where the studio was started, models of the box, and examples.

An example is a zip of ours in `examples/`: `images/` or a clip, `scenes/` that were made of them, and `cover.png`.
"""

import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from delaminate import zoo
from delaminate.data.clips import is_clip
from delaminate.data.reading import SUFFIXES
from delaminate.scene.format import SUMMARY

Kind = Literal["scenes", "images", "run", "model", "example"]
EXAMPLES = Path(__file__).parent / "examples"
MOST, SECONDS, DEPTH = 60, 1.0, 4
"""Places that are listed, how long is looked for them, and folders within folders."""
PASSED_OVER = frozenset({"node_modules", "__pycache__", "site-packages", "src", "tests", "docs", "build", "dist"})
FEW = 3
"""Pictures that make a folder one of images."""


@dataclass(frozen=True)
class Place:
    """Something that can be opened.

    Attributes:
        kind: scenes, images, run, model or example.
        name: What people read.
        about: More of it: for what lies on this machine the folders that it is in, from where the studio was started.
        path: Where it is; pages never hear of it.
    """

    kind: Kind
    name: str
    about: str
    path: Path


def examples() -> list[Place]:
    """List the examples that come with the library."""
    try:
        rows = json.loads((EXAMPLES / "examples.json").read_bytes())["examples"]
    except OSError:
        return []
    return [Place("example", row["title"], row["about"], EXAMPLES / f"{row['name']}.zip") for row in rows]


def models() -> list[Place]:
    """List the models of the box."""
    return [Place("model", name, title, zoo.folder(name)) for name, title in zoo.names().items()]


def near(root: Path, but: Path) -> list[Place]:
    """List scenes, runs, models and folders of images in and below a folder, the nearest first.

    Args:
        root: Where the studio was started.
        but: A folder that is passed over: the studio's own.
    """
    until, found, waiting = time.monotonic() + SECONDS, list[Place](), [(root, 0)]
    while waiting and len(found) < MOST and time.monotonic() < until:
        folder, depth = waiting.pop(0)
        place, folders = _looked_at(folder, root, until)
        if place is not None:
            found.append(place)
        if depth < DEPTH and (place is None or place.kind in ("images", "run")):
            waiting += [
                (each, depth + 1)
                for each in sorted(folders)
                if each.name not in PASSED_OVER and not each.name.startswith(".") and each.resolve() != but.resolve()
                and not (each / "pyvenv.cfg").exists() and (place is None or place.kind != "run")
            ]  # fmt: skip
    return found


def _looked_at(folder: Path, root: Path, until: float) -> tuple[Place | None, list[Path]]:
    """What a folder is, and the folders in it."""
    try:
        inside = list(_some(folder, until))
    except OSError:
        return None, []
    names = {each.name for each in inside}
    about = " in ".join(reversed(folder.parent.relative_to(root).parts)) if folder != root else ""
    kind: Kind | None = None
    if SUMMARY in names and ("scenes" in names or "packs" in names):
        kind = "scenes"
    elif "config.yaml" in names and "metrics.jsonl" in names:
        kind = "run"
    elif "config.json" in names and "model.safetensors" in names:
        kind = "model"
    elif sum(each.suffix.lower() in SUFFIXES for each in inside) >= FEW:
        kind = "images"
    place = None if kind is None else Place(kind, folder.name or "images", about, folder)
    return place, [each for each in inside if each.is_dir() and not each.is_symlink()]


def _some(folder: Path, until: float) -> Iterator[Path]:
    for number, each in enumerate(folder.iterdir()):
        if number > 5000 or time.monotonic() > until:
            return
        yield each


def unpack_example(place: Path, uploads: Path) -> tuple[Path, Path]:
    """Make a working copy of an example, unless there is one.

    Args:
        place: The zip.
        uploads: Where pictures lie that were sent.

    Returns:
        Its images (a folder or a clip) and its scenes.
    """
    images, scenes = uploads / f"example-{place.stem}-images", uploads / f"example-{place.stem}-scenes"
    with zipfile.ZipFile(place) as archive:
        for target, part in ((images, "images/"), (scenes, "scenes/")):
            if target.exists():
                continue
            temporary = uploads / f"{target.name}.part"
            shutil.rmtree(temporary, ignore_errors=True)
            for entry in archive.infolist():
                if entry.filename.startswith(part) and not entry.is_dir():
                    file = temporary / entry.filename.removeprefix(part)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(archive.read(entry))
            temporary.rename(target)
    clips = [each for each in images.iterdir() if is_clip(each)]
    return (clips[0] if len(clips) == 1 and len(list(images.iterdir())) == 1 else images), scenes


def cover(place: Path) -> bytes:
    """The picture of an example, as PNG."""
    with zipfile.ZipFile(place) as archive:
        return archive.read("cover.png")

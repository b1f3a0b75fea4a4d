"""Scenes out: as files for other programs, as flat images, and changed."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from delaminate.config import suggest
from delaminate.data.sets import natural_key
from delaminate.errors import ConfigError
from delaminate.exporters import FORMATS, ExportResult
from delaminate.exporters.files import coverage, frame_milliseconds, merged
from delaminate.files import json_bytes, png_bytes, read_made_of, remove_leftovers, to_pixels, write_atomic
from delaminate.pipelines.cluster import Workers, absolute, chosen_workers, pool
from delaminate.pipelines.decomposition import SHARDS_EACH, DecomposedImages
from delaminate.pipelines.images import Images, open_images, source_of
from delaminate.pipelines.output_folders import EXPORTED, refuse_files
from delaminate.pipelines.shards import shard_rows
from delaminate.scene.collection import SceneSet, shared_dictionary
from delaminate.scene.enlarging import enlarged
from delaminate.scene.loading import load_scenes
from delaminate.scene.native import native_scenes
from delaminate.scene.saving import save_scenes, scene_digest
from delaminate.scene.scenes import Scene
from delaminate.scene.summary import load_rate

Scenes = str | Path | Sequence[Scene]
"""A folder of scenes, or scenes."""


def export(
    scenes: Scenes,
    out: str | Path,
    to: str | Iterable[str] = "png",
    *,
    rate: float | None = None,
    background: bool | None = None,
    native: bool = False,
    indexed: bool = False,
    scale: int = 1,
    images: Images | None = None,
    split: bool = False,
    fill: str = "transparent",
    margin: int = 0,
    webp: bool = False,
    resume: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
) -> dict[str, ExportResult]:
    """Write layers in the formats of other programs. `out/exported.json` says which are finished.

    Args:
        scenes: A folder of scenes, or scenes that share a dictionary.
        out: Each format gets a folder of its own in here.
        to: Names of `delaminate.exporters.FORMATS`: one, several with commas, or a list.
        rate: Frames per second of animations; None: the clip's own times, else 10.
        background: Animations with the background; None: mp4 with, others without.
        native: Pixel art that was enlarged is written at its pixels' own size; other scenes as they are.
        indexed: Sheets as PNGs with a palette of up to 256 colours, the transparent one included.
        scale: Everything this many times as large, every pixel a block.
        images: The originals, which the catalogue cuts its crops from; None: from what the scenes rebuild.
        split: Objects: round things that touch are counted apart.
        fill: Cut-outs lie on "transparent", or on a colour such as "white" or "#f4f1ea".
        margin: Free pixels around cut-outs.
        webp: Cut-outs as lossless WebP instead of PNG.
        resume: Leave formats out that an earlier call has finished with the same scenes and options.
        workers: Share the work among so many processes of this machine (extra `scale`): formats whose scenes have files of
            their own in parts, others one by one. Scenes are to be given by their folder.
        cluster: Share it among the workers of Dask's scheduler at this address, which see the same files.

    Returns:
        By format what was written, and how closely it composites back; nothing of formats that were left out.

    Raises:
        ConfigError: A format is unknown, or holds sprites where the scenes share none; no format has a palette; the scale is
            not from 1 to 64, or a layer is warped so that it cannot be enlarged.
        OutputError: A sheet has more colours than a palette.
    """
    names = format_names(to)
    frame_milliseconds(rate)  # a rate out of range is refused before anything is written
    if indexed:
        _refuse_no_palette(names)
    loaded, folder = _opened(scenes)
    _refuse_sheets_of_nothing(names, loaded)
    given: dict[str, Any] = {"rate": _rate(scenes, folder) if rate is None else rate}
    if images is not None:
        given["images"] = images
    given |= {"split": split, "fill": fill, "margin": margin, "webp": webp}
    durations = _durations(loaded)
    if rate is None and durations is not None:
        given["durations"] = durations
    measured = loaded.scenes if isinstance(loaded, DecomposedImages) else loaded
    if not native and isinstance(measured, SceneSet):
        given["residuals"] = measured.residual
    if native:
        loaded = _at_native_size(loaded)
    loaded = enlarged(loaded, scale)
    if indexed:
        given["indexed"] = True
    if background is not None:
        given["background"] = background
    finished = _Finished(Path(out), loaded)
    chosen = {name: {key: given[key] for key in FORMATS[name].options if key in given} for name in names}
    left = {name: options for name, options in chosen.items() if not (resume and finished.has(name, options))}
    sharing = chosen_workers(workers, cluster)
    if sharing is None:
        written = _write_here(loaded, Path(out), left, finished)
    elif isinstance(scenes, str | Path):
        written = _share_out(sharing, (absolute(scenes), native, scale), len(loaded), Path(out), left, finished)
    else:
        raise ConfigError("export: workers read the scenes by themselves; give their folder.")
    return {name: written[name] for name in left}


def _write_here(
    scenes: Sequence[Scene], out: Path, formats: Mapping[str, dict[str, Any]], finished: "_Finished"
) -> dict[str, ExportResult]:
    written, began = {}, time.time()
    for name, options in formats.items():
        finished.remove(name)
        written[name] = FORMATS[name].write(scenes, out / name, **_ready(options))
        remove_leftovers(out / name, began)
        finished.add(name, options, written[name])
    remove_leftovers(out, began, deep=False)
    return written


def _share_out(
    sharing: Workers,
    scenes: tuple[str, bool, int],
    count: int,
    out: Path,
    formats: Mapping[str, dict[str, Any]],
    finished: "_Finished",
) -> dict[str, ExportResult]:
    """Let workers write formats with their options, in parts where scenes have files of their own."""
    written = {}
    with pool(sharing) as workers:
        tasks: list[tuple[Any, ...]] = []
        for name, options in formats.items():
            finished.remove(name)
            plain = {key: value for key, value in options.items() if key != "residuals"}
            parts = max(1, min(SHARDS_EACH * workers.size, count)) if FORMATS[name].by_scene else 1
            for part in range(1, parts + 1):
                tasks.append((name, *scenes, shard_rows(count, (part, parts)), str(out.resolve()), plain))
        found: dict[int, ExportResult] = {}
        for number, result in workers.each(export_shard, tasks):
            found[number] = result
            name = tasks[number][0]
            mine = [index for index, task in enumerate(tasks) if task[0] == name]
            if all(index in found for index in mine):
                written[name] = _joined([found[index] for index in mine], out)
                finished.add(name, formats[name], written[name])
    return written


def export_shard(
    name: str, scenes: str, native: bool, scale: int, rows: range, out: str, options: dict[str, Any]
) -> ExportResult:
    """Write some scenes of a folder in one format, in a process of its own; arguments as in `export`."""
    loaded = load_scenes(scenes, order=natural_key)
    some = loaded if len(rows) == len(loaded) else loaded.only(rows)
    if "residuals" in FORMATS[name].options and not native:
        options = options | {"residuals": some.residual}
    shown = enlarged(_at_native_size(some) if native else some, scale)
    return FORMATS[name].write(shown, Path(out) / name, **_ready(options))


def _ready(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as writers take them: with what reads the originals, instead of where they are."""
    ready = {key: value for key, value in options.items() if key != "images"}
    return ready | ({"originals": _originals(options["images"])} if "images" in options else {})


def _joined(results: Sequence[ExportResult], out: Path) -> ExportResult:
    """One result of several parts; their files lie below `out`, as it was given."""
    whole = out.resolve()
    files = [out / path.relative_to(whole) for result in results for path in result.files]
    errors = [result.max_error for result in results if result.max_error is not None]
    return ExportResult(tuple(files), max(errors) if errors else None)


class _Finished:
    """Which formats a folder holds, and what they were made of."""

    def __init__(self, out: Path, scenes: Sequence[Scene]) -> None:
        self.path = out / EXPORTED
        digest = hashlib.blake2b(digest_size=16)
        for scene in scenes:
            digest.update(scene_digest(scene).encode())
        self.scenes = digest.hexdigest()
        try:
            found = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            found = {}
        self.made_of = found if isinstance(found, dict) else {}

    def has(self, name: str, options: Mapping[str, Any]) -> bool:
        """Say whether a format is finished, with these scenes and options."""
        known = self.made_of.get(name)
        made_of = known.get("made_of") if isinstance(known, dict) else known  # older files have no more than this
        return (self.path.parent / name).is_dir() and bool(made_of == self._made_of(options))

    def remove(self, name: str) -> None:
        """Note that a format is being written."""
        if self.made_of.pop(name, None) is not None:
            write_atomic(self.path, json_bytes(dict(sorted(self.made_of.items()))))

    def add(self, name: str, options: Mapping[str, Any], result: ExportResult) -> None:
        """Note that a format is finished, and how closely it composites back."""
        error = None if result.max_error is None else float(result.max_error)
        self.made_of[name] = {"made_of": self._made_of(options), "max_error": error}
        write_atomic(self.path, json_bytes(dict(sorted(self.made_of.items()))))

    def _made_of(self, options: Mapping[str, Any]) -> str:
        told = {key: str(value) if key == "images" else value for key, value in options.items() if key != "residuals"}
        return hashlib.blake2b(f"{self.scenes} {json.dumps(told, sort_keys=True)}".encode(), digest_size=16).hexdigest()


def _originals(images: Images) -> Callable[[str], np.ndarray | None]:
    """Read originals by the names of their scenes."""
    source = source_of(images)
    if source is None:
        opened = open_images(images, zoom=(1.0, 1.0))
        places = {name: index for index, name in enumerate(opened.names)}
        return lambda name: opened.pixels[places[name]].permute(1, 2, 0).numpy() if name in places else None
    found, known = source, {source.full_name(index): index for index in range(len(source))}
    known |= {name: index for index, name in enumerate(found.names) if name not in known}
    return lambda name: found.picture(known[name]) if name in known else None


def _opened(scenes: Scenes) -> tuple[Sequence[Scene], Path | None]:
    if isinstance(scenes, str | Path):
        return load_scenes(scenes, order=natural_key), Path(scenes)
    return scenes, scenes.folder if isinstance(scenes, DecomposedImages) else None


def _refuse_no_palette(names: Sequence[str]) -> None:
    """Refuse a palette where no format has one."""
    able = [name for name, each in FORMATS.items() if "indexed" in each.options]
    if not set(names) & set(able):
        raise ConfigError(f"--indexed: {', '.join(names)} have no palette of their own. It is for {', '.join(able)}.")


def _at_native_size(scenes: Sequence[Scene]) -> Sequence[Scene]:
    blocks = scenes.blocks if isinstance(scenes, SceneSet | DecomposedImages) else None
    return scenes if blocks is None else native_scenes(scenes, blocks)


def _rate(scenes: Scenes, folder: Path | None) -> float | None:
    """Frames per second of a clip."""
    if folder is not None:
        return load_rate(folder)
    return scenes.rate if isinstance(scenes, DecomposedImages) else None


def _durations(scenes: Sequence[Scene]) -> list[float] | None:
    """Milliseconds that each scene of a clip is seen, where that is known and differs."""
    if not isinstance(scenes, SceneSet | DecomposedImages) or scenes.durations is None:
        return None
    names = scenes.names if isinstance(scenes, SceneSet) else [scene.name for scene in scenes]
    return [scenes.durations[name] for name in names]


def _refuse_sheets_of_nothing(names: Sequence[str], scenes: Sequence[Scene]) -> None:
    """Refuse formats that hold the sprites which scenes share, where they share none."""
    for name in names:
        if FORMATS[name].of_sprites and scenes and not len(scenes[0].dictionary):
            raise ConfigError(
                f"--to {name}: these scenes share no sprites. Cut-outs go to png, masks, coco, ora or psd."
            )


def format_names(to: str | Iterable[str]) -> list[str]:
    """The formats of a list, or of a text with commas, each once.

    Raises:
        ConfigError: One is unknown or no name, or there is none.
    """
    listed = to.split(",") if isinstance(to, str) else list(to) if isinstance(to, Iterable) else [to]
    if not all(isinstance(name, str) for name in listed):
        raise ConfigError(f"--to {to}: expected names of formats, such as 'png'; the folder is the second argument.")
    names = list(dict.fromkeys(name.strip() for name in listed if name.strip()))
    for name in names:
        if name not in FORMATS:
            raise ConfigError(f"--to {name}: unknown format. {suggest(name, list(FORMATS))}")
    if not names:
        raise ConfigError(f"--to: no format. Known: {', '.join(FORMATS)}.")
    return names


def recompose(scenes: Scenes, out: str | Path, *, overwrite: bool = False, resume: bool = False) -> list[Path]:
    """Flatten every scene into an image, PNG under the scene's name; transparent where no layer covers it.

    Args:
        scenes: A folder of scenes, or scenes.
        out: Where the images go.
        overwrite: Write over files of these names; others stay.
        resume: Leave images that are there and were made of the same scenes, and write over those that an earlier call has
            made of scenes as they were before.

    Returns:
        The files, in the order of the scenes.

    Raises:
        ConfigError: A file is there already; with `resume`, one that this did not make.
    """
    loaded = load_scenes(scenes) if isinstance(scenes, str | Path) else scenes
    names = loaded.names if isinstance(loaded, SceneSet) else [scene.name for scene in loaded]
    paths = [Path(out) / (name if name.lower().endswith(".png") else f"{name}.png") for name in names]
    there = {path: read_made_of(path) for path in paths if path.exists()} if resume else {}
    refuse_files([path for path in paths if there.get(path) is None], overwrite)
    for scene, path in zip(loaded, paths, strict=True):
        made_of = scene_digest(scene)
        if there.get(path) == made_of:
            continue
        opaque = bool(coverage(scene).min() > 1 - 0.5 / 255)
        write_atomic(path, png_bytes(to_pixels(scene.composite()) if opaque else merged(scene), made_of))
    return paths


def edit(
    scenes: Scenes,
    change: Callable[[Scene, str], Scene],
    *,
    names: Sequence[str] = (),
    layers: Sequence[str] = (),
    entries: Sequence[str] = (),
    out: str | Path | None = None,
) -> tuple[SceneSet, dict[str, int]]:
    """Change layers of scenes.

        delaminate.edit("scenes", lambda scene, layer: scene.move(layer, 12, -4), entries=["sprite-03"])

    Args:
        scenes: A folder of scenes, or scenes that share a dictionary.
        change: Makes the changed scene, given a scene and the id of a layer.
        names: Only these scenes; none: all.
        layers, entries: The layers: by their ids, and all that show these sprites, by their names.
        out: Where the scenes are saved; None: where they are, or nowhere if they are in memory.

    Returns:
        The scenes after the change, and how many layers of each were changed.

    Raises:
        ConfigError: Nothing is chosen, or there is no such scene, layer or sprite; nothing is written then.
    """
    if not layers and not entries:
        raise ConfigError("edit: nothing chosen. Name layers by --layer ID, or sprites by --entry NAME.")
    source = Path(scenes) if isinstance(scenes, str | Path) else None
    loaded = load_scenes(source) if source is not None else as_set(scenes)  # type: ignore[arg-type]
    where = source or "these scenes"
    for name in names:
        if name not in loaded.names:
            raise ConfigError(f"edit: no scene {name!r} in {where}. {suggest(name, list(loaded.names))[:300]}")
    counts: dict[str, int] = {}

    def edited(scene: Scene) -> Scene:
        ids = _chosen(scene, layers, entries) if not names or scene.name in names else []
        counts[scene.name] = len(ids)
        return reduce(change, ids, scene)

    result = loaded.changed(edited)
    for _ in result:
        pass  # every edit is tried before anything is written
    if not any(counts.values()):
        which = f"scene {names[0]!r}" if names else "any scene"
        raise ConfigError(f"edit: no such layer in {which}. Ids stand in {where}/scenes/NAME/scene.json.")
    target = source if out is None else Path(out)
    if target is not None:
        save_scenes(result, target, None if source is None else load_rate(source))
    return result, counts


def as_set(scenes: Sequence[Scene]) -> SceneSet:
    """Take scenes that share a dictionary as a set."""
    if isinstance(scenes, SceneSet):
        return scenes
    durations, blocks = (scenes.durations, scenes.blocks) if isinstance(scenes, DecomposedImages) else (None, None)
    names = [scene.name for scene in scenes]
    return SceneSet(names, shared_dictionary(scenes), lambda index: scenes[index], durations, blocks)


def find_entry(scene: Scene, name: str) -> int:
    """Find a dictionary entry by its name.

    Raises:
        ConfigError: There is none, or the scenes share no sprites.
    """
    names = [scene.dictionary.name(index) for index in range(len(scene.dictionary))]
    if not names:
        raise ConfigError("edit: these scenes share no sprites. Name layers by --layer; ids stand in scene.json.")
    if name not in names:
        raise ConfigError(f"edit: no sprite {name!r} in the dictionary. {suggest(name, names)}")
    return names.index(name)


def _chosen(scene: Scene, layers: Sequence[str], entries: Sequence[str]) -> list[str]:
    """List the ids of a scene's chosen layers, back to front."""
    shown = {find_entry(scene, name) for name in entries}
    return [each.id for each in scene.layers if each.id in layers or each.placement.entry in shown]

"""Scenes from disk.

Files that were sent by somebody else are read with bounds on every size and number, and no name leads out of the folder.
"""

import dataclasses
import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from delaminate.errors import FormatError, reading
from delaminate.files import from_pixels
from delaminate.scene import validation as values
from delaminate.scene.collection import SceneSet
from delaminate.scene.format import (
    MAX_ENTRIES,
    MAX_FILE_BYTES,
    MAX_LAYERS,
    MAX_NUMBER,
    MAX_SCENES,
    MAX_TRANSFORMS,
    SCENE_FORMAT,
    SUMMARY,
    VERSION,
    residual_file,
    scene_document,
)
from delaminate.scene.packing import Packed, read_packed
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement, Transform
from delaminate.scene.scenes import LAYER_ID, MAX_TITLE, Scene, SceneLayer, is_plain_text
from delaminate.scene.summary import read_summary


class _Folder:
    """Reads the dictionary, or one scene, of a folder that somebody else may have made, and keeps count of the pixels.

    Args:
        root: The folder.
        packed: The files of a packed scene, which are read instead.
    """

    def __init__(self, root: Path, packed: Mapping[str, bytes] | None = None) -> None:
        self.root = root
        self.inside = root.resolve()
        self.packed = packed
        self.pixels_left = values.MAX_SCENE_PIXELS

    def read(self, relative: str) -> bytes:
        path = self.root / relative
        if self.packed is not None:
            if relative not in self.packed:
                raise FormatError(f"{path}: is missing in its pack; the scenes are not complete.")
            return self.packed[relative]
        with reading(path, FormatError, "cannot be read"):
            if not path.resolve().is_relative_to(self.inside):
                raise FormatError(f"{path}: leads out of {self.root}.")
            if not path.exists():
                raise FormatError(f"{path}: is missing; the scenes are not complete.")
            if path.stat().st_size > MAX_FILE_BYTES:
                raise FormatError(f"{path}: has {path.stat().st_size} bytes; expected at most {MAX_FILE_BYTES}.")
            return path.read_bytes()

    def read_json(self, relative: str, kind: str) -> dict[str, Any]:
        """Read a versioned JSON object; NaN, infinities and doubled keys are refused."""
        path = self.root / relative
        with reading(path, FormatError, "is no JSON"):
            value = json.loads(
                self.read(relative).decode("utf-8"),
                parse_constant=values.no_constant,
                object_pairs_hook=values.unique_pairs,
            )
        return values.versioned(value, str(path), kind, VERSION)

    def read_png(self, relative: str) -> Float[torch.Tensor, "4 h w"]:
        """Read an RGBA picture with 8 bits."""
        path = self.root / relative
        data = self.read(relative)
        with reading(path, FormatError, "is no PNG that can be read"), warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                width, height = image.size
                if max(width, height) > values.MAX_SIDE or width * height > min(values.MAX_PIXELS, self.pixels_left):
                    raise FormatError(f"{path}: {width} x {height} pixels are more than a scene may hold.")
                if image.mode not in ("RGBA", "RGB", "P", "LA", "L", "1"):
                    raise FormatError(f"{path}: has pixels of kind {image.mode}; expected 8-bit RGBA.")
                self.pixels_left -= width * height
                return from_pixels(np.asarray(image.convert("RGBA")))


def _transform(value: object, where: str) -> Transform:
    kind, parameters, size = values.fields(value, where, "kind", "parameters", "size")
    numbers = tuple(values.number(x, where, -MAX_NUMBER, MAX_NUMBER) for x in values.items(parameters, where, 1, 32))
    transform = Transform(values.typed(kind, where, str), numbers, values.size(size, where))
    if transform.kind == "matrix" and transform.orientation is None:
        # A map that flattens the sprite has no inverse to paint with; shifts, flips and quarter turns have.
        try:
            inverse = np.linalg.inv(transform.matrix)
        except np.linalg.LinAlgError:
            inverse = np.full((3, 3), np.inf)
        if not np.abs(inverse).max() <= MAX_NUMBER:
            raise FormatError(f"{where}: the matrix {numbers} cannot be inverted.")
    return transform


def _layer(value: object, where: str, folder: _Folder, place: str, entries: dict[str, int]) -> SceneLayer:
    source = "raster" if isinstance(value, dict) and "raster" in value else "entry"
    layer_id, name, shown, steps, colour, opacity, visible, track = values.fields(
        value, where, "id", "name", source, "transforms", "colour", "opacity", "visible", "track"
    )
    layer_id = values.typed(layer_id, f"{where}.id", str)
    if not LAYER_ID.fullmatch(layer_id):
        raise FormatError(f"{where}.id: {layer_id!r:.80} has other characters than letters, digits, '.', '_', '-'.")
    raster, entry = None, OWN_RASTER
    if source == "raster":
        if shown != f"layers/{layer_id}.png":
            raise FormatError(f"{where}.raster: is {shown!r:.80}; expected 'layers/{layer_id}.png'.")
        raster = folder.read_png(f"{place}/{shown}")
    elif not isinstance(shown, str) or shown not in entries:
        raise FormatError(f"{where}.entry: {shown!r:.80} is not in the dictionary.")
    else:
        entry = entries[shown]
    gain, offset = values.fields(colour, f"{where}.colour", "gain", "offset")
    colours = [
        values.number(x, f"{where}.colour", -MAX_NUMBER, MAX_NUMBER)
        for part in (gain, offset)
        for x in values.items(part, f"{where}.colour", 3, 3)
    ]
    placement = Placement(
        entry,
        tuple(
            _transform(x, f"{where}.transforms") for x in values.items(steps, f"{where}.transforms", 1, MAX_TRANSFORMS)
        ),
        tuple(colours),
        values.number(opacity, f"{where}.opacity", 0, 1),
        None if track is None else values.whole(track, f"{where}.track", -(2**53), 2**53),
        raster,
    )
    return SceneLayer(layer_id, values.typed(name, f"{where}.name", str), placement, values.typed(visible, where, bool))


def _load_dictionary(folder: _Folder, rows: object, where: str) -> Dictionary:
    backgrounds: dict[int, int] = {}
    names, titles = [], []
    for index, row in enumerate(values.items(rows, where, 0, MAX_ENTRIES)):
        titled = ("title",) if isinstance(row, dict) and "title" in row else ()
        name, background, used, *title = values.fields(row, f"{where}[{index}]", "id", "background", "used", *titled)
        titles.append(values.typed(title[0], f"{where}[{index}].title", str) if title else "")
        if titles[-1] and not is_plain_text(titles[-1], MAX_TITLE):
            raise FormatError(
                f"{where}[{index}].title: is {titles[-1]!r:.80}; expected one line of up to {MAX_TITLE} characters."
            )
        values.whole(used, f"{where}[{index}].used", 0, MAX_LAYERS * MAX_SCENES)
        names.append(values.typed(name, f"{where}[{index}].id", str))
        if values.typed(background, f"{where}[{index}].background", bool):
            number = name.removeprefix("background-")
            if not (number.isascii() and number.isdigit() and len(number) < 6):
                raise FormatError(f"{where}[{index}].id: is {name!r:.60}; expected 'background-' and a number.")
            backgrounds[int(number)] = index
    order = tuple(backgrounds[number] for number in sorted(backgrounds))
    plain = Dictionary((), order)
    for index, name in enumerate(names):
        if name != plain.name(index):
            raise FormatError(f"{where}[{index}].id: is {name!r:.60}; expected {plain.name(index)!r}.")
    sprites = tuple(folder.read_png(f"dictionary/{name}.png") for name in names)
    return Dictionary(sprites, order, tuple(titles) if any(titles) else ())


def _load_scene(folder: _Folder, name: str, dictionary: Dictionary) -> Scene:
    place = f"scenes/{name}"
    where = str(folder.root / place / "scene.json")
    value = folder.read_json(f"{place}/scene.json", SCENE_FORMAT)
    own_name, canvas, background, error, rows = values.fields(
        value, where, "name", "canvas", "background", "rounding_error", "layers"
    )
    if own_name != name:
        raise FormatError(f"{where}: name is {own_name!r:.80}; expected {name!r:.80}, as in summary.json.")
    height, width = values.fields(canvas, f"{where}: canvas", "height", "width")
    entries = {dictionary.name(index): index for index in range(len(dictionary))}
    with reading(where, FormatError, "is no scene"):
        layers = tuple(
            _layer(row, f"{where}: layers[{index}]", folder, place, entries)
            for index, row in enumerate(values.items(rows, f"{where}: layers", 0, MAX_LAYERS))
        )
        return Scene(
            name,
            values.size([height, width], f"{where}: canvas"),
            layers,
            dictionary,
            values.typed(background, f"{where}: background", bool),
            values.number(error, f"{where}: rounding_error", 0, 1),
        )


class _InMemory(_Folder):
    """Takes the rasters of a scene for what its files would hold."""

    def __init__(self, scene: Scene) -> None:
        self.rasters = {f"{layer.id}.png": layer.placement.raster for layer in scene.layers}

    def read_png(self, relative: str) -> Float[torch.Tensor, "4 h w"]:
        raster = self.rasters[relative.rpartition("/")[2]]
        assert raster is not None
        return raster


def check_scene(scene: Scene, before: Scene | None = None) -> None:
    """Make sure that a scene could be read again once it was saved.

    Args:
        scene: The scene.
        before: One that can; layers that are in both are not looked at again.

    Raises:
        FormatError: A number of it is out of bounds, or there are too many layers.
        OutputError: A picture is too large.
    """
    old = {id(layer) for layer in before.layers} if before is not None else set()
    new = tuple(layer for layer in scene.layers if id(layer) not in old)
    where = f"scene {scene.name!r}"
    if len(scene.layers) > MAX_LAYERS:
        raise FormatError(f"{where}: has {len(scene.layers)} layers; expected at most {MAX_LAYERS}.")
    rasters = [layer.placement.raster for layer in scene.layers if layer.placement.raster is not None]
    values.check_bounds(scene.size, [(raster.shape[1], raster.shape[2]) for raster in rasters])
    entries = {scene.dictionary.name(layer.placement.entry): layer.placement.entry for layer in new}
    changed = dataclasses.replace(scene, layers=new)
    for row in scene_document(changed)["layers"]:
        _layer(row, f"{where}: layer {row['id']!r}", _InMemory(changed), "", entries)


def load_dictionary(folder: Path, entries: Sequence[object]) -> Dictionary:
    """Load the sprites of a folder of scenes, given their rows in its summary.

    Raises:
        FormatError: A file is missing, too large or not what it claims to be.
    """
    return _load_dictionary(_Folder(folder), list(entries), f"{folder / SUMMARY}: dictionary")


def load_scene(folder: Path, name: str, dictionary: Dictionary, place: Packed | None = None) -> Scene:
    """Load one scene of a folder.

    Args:
        folder: The folder of scenes.
        name: Of the scene.
        dictionary: The folder's.
        place: Where it lies, if it is packed.

    Raises:
        FormatError: A file is missing, too large or not what it claims to be.
    """
    files = None if place is None else read_packed(folder, name, place)
    return _load_scene(_Folder(folder, files), name, dictionary)


def read_files(folder: Path, name: str, place: Packed | None = None) -> dict[str, bytes]:
    """Read the files of a scene as they are: its document and rasters, packed ones with the residual.

    Args:
        folder, name, place: As of `load_scene`.

    Returns:
        Their names from the folder, and what they hold; nothing where there is no such scene.

    Raises:
        FormatError: A pack is damaged, or a file too large.
    """
    if place is not None:
        return read_packed(folder, name, place)
    here, reader = folder / "scenes" / name, _Folder(folder)
    rasters = sorted(path for path in (here / "layers").glob("*.png") if LAYER_ID.fullmatch(path.stem))
    found = [path.relative_to(folder).as_posix() for path in (*rasters, here / "scene.json") if path.is_file()]
    return {file_name: reader.read(file_name) for file_name in found}


def read_residual(folder: Path, name: str, place: Packed | None = None) -> bytes | None:
    """Read the picture of what a scene does not explain, as it is; None where there is none.

    Args:
        folder, name, place: As of `load_scene`.

    Raises:
        FormatError: It cannot be read.
    """
    if place is not None:
        return read_packed(folder, name, place).get(residual_file(name))
    return _Folder(folder).read(residual_file(name)) if (folder / residual_file(name)).is_file() else None


def load_scenes(folder: str | Path, order: Callable[[str], Any] | None = None) -> SceneSet:
    """Load the scenes that `folder/summary.json` lists; they share one dictionary.

    Scenes that have files of their own are all read and checked; packed ones are when they are asked for. Those whose rasters
    take much memory together are read again when they are asked for.

    Args:
        folder: Where they are.
        order: Sorts them, by their names; None: as they are listed.

    Raises:
        FormatError: A file is missing, too large or not what it claims to be.
    """
    root = Path(folder)
    summary = read_summary(root)
    dictionary = load_dictionary(root, summary.entries)
    places = summary.places
    names = list(places) if order is None else sorted(places, key=order)
    loaded = SceneSet(
        names,
        dictionary,
        lambda index: load_scene(root, names[index], dictionary, places[names[index]]),
        summary.durations,
        summary.blocks,
        lambda name: read_residual(root, name, places[name]),
    )
    for index, name in enumerate(names):
        if places[name] is None:
            loaded[index]  # read once, and so checked
    return loaded

"""Scenes on disk: JSON and PNG.

Saving rounds sprites and own rasters to 8 bits and records the largest error that this makes in the composite; loading
and saving again gives the same bytes.

    FOLDER/summary.json                  the dictionary's entries, the scenes' names, and a clip's rate
    FOLDER/dictionary/<entry>.png        one sprite each, shared by all scenes
    FOLDER/scenes/<name>/scene.json      layers back to front
    FOLDER/scenes/<name>/layers/*.png    rasters of layers that show no dictionary entry

`docs/scenes.md` describes the format and `docs/scene-schema.json` is its schema. Files that were sent by somebody else
are read with bounds on every size and number, and no name leads out of the folder.
"""

import dataclasses
import io
import json
import os
import secrets
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from delaminate.errors import ConfigError, DelaminateError, FormatError, OutputError
from delaminate.scene import values
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement, Transform
from delaminate.scene.scenes import LAYER_ID, LazyScenes, Scene, SceneLayer, check_name, shared_dictionary

SCENE_FORMAT, SUMMARY_FORMAT, VERSION = "delaminate-scene", "delaminate-scenes", 1

# Bounds on what a file may ask for.
MAX_LAYERS, MAX_ENTRIES, MAX_SCENES, MAX_TRANSFORMS = 4096, 4096, 100_000, 16
MAX_FILE_BYTES = 2**28
RATES = (0.01, 1000.0)  # frames per second
MAX_NUMBER = 1e9  # of a transform's parameters and their inverse


def to_pixels(raster: Float[torch.Tensor, "C h w"]) -> UInt8[np.ndarray, "h w C"]:
    """Round values in [0, 1] to 8 bits; what lies outside is clipped."""
    if not bool(torch.isfinite(raster).all()):
        raise OutputError("scene: a raster has values that are not finite numbers; it cannot be written.")
    pixels = (raster.detach().double().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).contiguous().numpy()


def from_pixels(pixels: UInt8[np.ndarray, "h w C"]) -> Float[torch.Tensor, "C h w"]:
    """Turn 8-bit pixels into float32 values in [0, 1]."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous().float() / 255


def png_bytes(pixels: np.ndarray) -> bytes:
    """Encode (h, w), (h, w, 3) or (h, w, 4) pixels, uint8, or (h, w) uint16."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_atomic(path: Path, data: bytes, durable: bool = False) -> None:
    """Write a file whole or not at all; what was there stays until then.

    Args:
        path: Its folder is made if it is missing.
        data: The whole content.
        durable: Wait until the disk holds it, for what must outlast a power cut.

    Raises:
        OutputError: The file cannot be written: a full disk, an unwritable folder.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}).") from error


def json_bytes(document: dict[str, Any]) -> bytes:
    """Write JSON with one line for each item of a list; floats keep every bit."""

    def text(value: object) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    lines = []
    for key, value in document.items():
        rows = ",\n  ".join(text(item) for item in value) if isinstance(value, list) else ""
        lines.append(f"{text(key)}: [\n  {rows}\n ]" if rows else f"{text(key)}: {text(value)}")
    return ("{\n " + ",\n ".join(lines) + "\n}\n").encode()


# ---- Saving -----------------------------------------------------------------------------------------------------


def _rounded(scene: Scene, dictionary: Dictionary) -> Scene:
    """What will be loaded again, with own rasters in 8 bits.

    Args:
        scene: What is saved.
        dictionary: Its sprites in 8 bits.
    """
    layers = []
    for layer in scene.layers:
        raster = layer.placement.raster
        if raster is not None:
            raster = from_pixels(to_pixels(raster))
        layers.append(dataclasses.replace(layer, placement=dataclasses.replace(layer.placement, raster=raster)))
    return dataclasses.replace(scene, layers=tuple(layers), dictionary=dictionary)


def scene_document(scene: Scene) -> dict[str, Any]:
    """Describe a scene as JSON values; rasters and sprites are named, not included."""
    layers = []
    for layer in scene.layers:
        placement = layer.placement
        shown = {"entry": scene.dictionary.name(placement.entry)}
        if placement.entry == OWN_RASTER:
            shown = {"raster": f"layers/{layer.id}.png"}
        transforms = [
            {"kind": step.kind, "parameters": [float(x) for x in step.parameters], "size": list(step.size)}
            for step in placement.transforms
        ]
        colour = [float(number) for number in placement.colour]
        layers.append(
            {
                "id": layer.id,
                "name": layer.name,
                **shown,
                "transforms": transforms,
                "colour": {"gain": colour[:3], "offset": colour[3:]},
                "opacity": float(placement.opacity),
                "visible": layer.visible,
                "track": placement.track,
            }
        )
    return {
        "format": SCENE_FORMAT,
        "version": VERSION,
        "name": scene.name,
        "canvas": {"height": scene.size[0], "width": scene.size[1]},
        "background": scene.background,
        "rounding_error": scene.rounding_error,
        "layers": layers,
    }


def _check_places(listed: Sequence[str]) -> None:
    names = set(listed)
    if len(names) != len(listed):
        raise ConfigError(f"save_scenes: {len(listed)} scenes have {len(names)} names; expected names of their own.")
    for name in listed:
        parts = name.split("/")
        for end in range(1, len(parts)):
            if "/".join(parts[:end]) in names:
                raise ConfigError(f"save_scenes: {name!r} lies inside the scene {'/'.join(parts[:end])!r}.")


class SceneWriter:
    """Saves the scenes of one decomposition batch by batch; after each, `summary.json` lists all that are there.

    Args:
        folder: Where they go.
        rate: Frames per second where the scenes are the frames of a clip.
    """

    def __init__(self, folder: str | Path, rate: float | None = None) -> None:
        self.folder = Path(folder)
        self.rate = rate
        self.rows: list[dict[str, Any]] = []
        self.used: list[int] = []

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, scenes: Sequence[Scene]) -> None:
        """Save a batch. Each scene is asked for once, so that those of the folder itself may be saved into it.

        Raises:
            ConfigError: The scenes do not share a dictionary, or two have the same name, here or in earlier batches.
            OutputError: They are too many, or one is too large, to be read again; or a file cannot be written.
        """
        dictionary = shared_dictionary(scenes)
        names = scenes.names if isinstance(scenes, LazyScenes) else [scene.name for scene in scenes]
        _check_places([*(row["name"] for row in self.rows), *names])
        if len(self) + len(scenes) > MAX_SCENES:
            raise OutputError(f"{self.folder}: would hold more than {MAX_SCENES:,} scenes; expected several folders.")
        used = self.used.copy() or [0] * len(dictionary)
        if len(used) != len(dictionary):
            raise ConfigError(f"save_scenes: {len(dictionary)} sprites after {len(used)}; expected one dictionary.")
        pictures = [to_pixels(sprite) for sprite in dictionary.sprites]
        for index, picture in enumerate(pictures):
            write_atomic(self.folder / "dictionary" / f"{dictionary.name(index)}.png", png_bytes(picture))
        eight_bits = dataclasses.replace(dictionary, sprites=tuple(map(from_pixels, pictures)))
        rows = []
        for scene in scenes:
            rows.append(self._save(scene, eight_bits))
            for layer in scene.layers:
                if layer.placement.entry != OWN_RASTER:
                    used[layer.placement.entry] += 1
        self.rows, self.used = self.rows + rows, used
        entries = [
            {"id": dictionary.name(index), "background": index in dictionary.backgrounds, "used": count}
            for index, count in enumerate(used)
        ]
        summary: dict[str, Any] = {"format": SUMMARY_FORMAT, "version": VERSION}
        if self.rate is not None:
            summary["rate"] = float(self.rate)
        summary |= {"dictionary": entries, "scenes": self.rows}
        write_atomic(self.folder / "summary.json", json_bytes(summary))

    def _save(self, scene: Scene, dictionary: Dictionary) -> dict[str, Any]:
        own = {layer.id: layer.placement.raster for layer in scene.layers if layer.placement.raster is not None}
        try:
            values.check_bounds(scene.size, [(raster.shape[1], raster.shape[2]) for raster in own.values()])
        except OutputError as problem:
            raise OutputError(f"scene {scene.name!r}: {problem}") from problem
        rounded = _rounded(scene, dictionary)
        error = (scene.composite().double() - rounded.composite().double()).abs().max().item() if scene.layers else 0.0
        error = max(error, scene.rounding_error)
        place = self.folder / "scenes" / scene.name
        for layer_id, raster in own.items():
            write_atomic(place / "layers" / f"{layer_id}.png", png_bytes(to_pixels(raster)))
        write_atomic(place / "scene.json", json_bytes(scene_document(dataclasses.replace(scene, rounding_error=error))))
        return {"name": scene.name, "layers": len(scene.layers), "rounding_error": error}


def save_scenes(scenes: Sequence[Scene], folder: str | Path, rate: float | None = None) -> float:
    """Save scenes and the dictionary that they share. Files of older scenes with other names stay, unlisted.

    Args:
        scenes: Scenes of one decomposition.
        folder: Where they go.
        rate: Frames per second where the scenes are the frames of a clip.

    Returns:
        The largest error in any composite that rounding to 8 bits has made.

    Raises:
        ConfigError: The scenes do not share a dictionary, or two have the same name.
        OutputError: A scene is too large to be read again, or a file cannot be written.
    """
    writer = SceneWriter(folder, rate)
    writer.add(scenes)
    return max((row["rounding_error"] for row in writer.rows), default=0.0)


# ---- Loading ----------------------------------------------------------------------------------------------------


class _Folder:
    """Reads the dictionary, or one scene, of a folder that somebody else may have made, and keeps count of the pixels."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inside = root.resolve()
        self.pixels_left = values.MAX_SCENE_PIXELS

    def read(self, relative: str) -> bytes:
        path = self.root / relative
        try:
            if not path.resolve().is_relative_to(self.inside):
                raise FormatError(f"{path}: leads out of {self.root}.")
            if path.stat().st_size > MAX_FILE_BYTES:
                raise FormatError(f"{path}: has {path.stat().st_size} bytes; expected at most {MAX_FILE_BYTES}.")
            return path.read_bytes()
        except FileNotFoundError as error:
            if relative == "summary.json":
                raise FormatError(
                    f"{self.root}: holds no scenes (there is no summary.json). Give the folder that was --out of `decompose`."
                ) from error
            raise FormatError(f"{path}: is missing; the scenes are not complete.") from error
        except (OSError, RuntimeError, ValueError) as error:
            raise FormatError(f"{path}: cannot be read ({error}).") from error

    def read_json(self, relative: str, kind: str) -> dict[str, Any]:
        """Read a versioned JSON object; NaN, infinities and doubled keys are refused."""
        path = self.root / relative
        try:
            value = json.loads(
                self.read(relative).decode("utf-8"),
                parse_constant=values.no_constant,
                object_pairs_hook=values.unique_pairs,
            )
        except FormatError:
            raise
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{path}: is no JSON ({str(error) or 'nested too deeply'}).") from error
        if not isinstance(value, dict) or value.pop("format", None) != kind:
            raise FormatError(f'{path}: is no {kind}; expected an object with "format": "{kind}".')
        version = value.pop("version", None)
        if version != VERSION or isinstance(version, bool):
            raise FormatError(f"{path}: has version {version!r:.40}; this release reads version {VERSION}.")
        return value

    def read_png(self, relative: str) -> Float[torch.Tensor, "4 h w"]:
        """Read an RGBA picture with 8 bits."""
        path = self.root / relative
        data = self.read(relative)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                    width, height = image.size
                    if max(width, height) > values.MAX_SIDE or width * height > min(
                        values.MAX_PIXELS, self.pixels_left
                    ):
                        raise FormatError(f"{path}: {width} x {height} pixels are more than a scene may hold.")
                    if image.mode not in ("RGBA", "RGB", "P", "LA", "L", "1"):
                        raise FormatError(f"{path}: has pixels of kind {image.mode}; expected 8-bit RGBA.")
                    self.pixels_left -= width * height
                    return from_pixels(np.asarray(image.convert("RGBA")))
        except FormatError:
            raise
        except (OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error, Warning) as error:
            raise FormatError(f"{path}: is no PNG that can be read ({error!s:.120}).") from error
        except Image.DecompressionBombError as error:
            raise FormatError(f"{path}: is too large a picture.") from error


def _transform(value: object, where: str) -> Transform:
    kind, parameters, size = values.fields(value, where, "kind", "parameters", "size")
    numbers = tuple(values.number(x, where, -MAX_NUMBER, MAX_NUMBER) for x in values.items(parameters, where, 1, 32))
    transform = Transform(values.typed(kind, where, str), numbers, values.size(size, where))
    if transform.kind == "matrix":
        # A map that flattens the sprite has no inverse to paint with.
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
    names = []
    for index, row in enumerate(values.items(rows, where, 0, MAX_ENTRIES)):
        name, background, used = values.fields(row, f"{where}[{index}]", "id", "background", "used")
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
    return Dictionary(tuple(folder.read_png(f"dictionary/{name}.png") for name in names), order)


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
    try:
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
    except FormatError:
        raise
    except DelaminateError as problem:
        raise FormatError(f"{where}: {problem}") from problem


def _read_summary(reader: _Folder) -> tuple[dict[str, Any], float | None]:
    """Read the summary and its rate, which still images and older folders do not have."""
    summary = reader.read_json("summary.json", SUMMARY_FORMAT)
    rate = summary.pop("rate", None)
    return summary, None if rate is None else values.number(rate, f"{reader.root / 'summary.json'}: rate", *RATES)


def load_rate(folder: str | Path) -> float | None:
    """Load the frames per second that `folder/summary.json` states; None where the scenes are no clip.

    Raises:
        FormatError: The summary is missing or not what it claims to be.
    """
    return _read_summary(_Folder(Path(folder)))[1]


def load_scenes(folder: str | Path, order: Callable[[str], Any] | None = None) -> LazyScenes:
    """Load the scenes that `folder/summary.json` lists; they share one dictionary.

    All are read and checked. Those whose rasters take much memory together are read anew when they are asked for.

    Args:
        folder: Where they are.
        order: Sorts them, by their names; None: as they are listed.

    Raises:
        FormatError: A file is missing, too large or not what it claims to be.
    """
    root = Path(folder)
    where = str(root / "summary.json")
    reader = _Folder(root)
    summary, _ = _read_summary(reader)
    rows, scenes = values.fields(summary, where, "dictionary", "scenes")
    dictionary = _load_dictionary(reader, rows, f"{where}: dictionary")
    names = []
    for index, row in enumerate(values.items(scenes, f"{where}: scenes", 0, MAX_SCENES)):
        name, _, _ = values.fields(row, f"{where}: scenes[{index}]", "name", "layers", "rounding_error")
        try:
            check_name(values.typed(name, f"{where}: scenes[{index}].name", str))
        except ConfigError as error:
            raise FormatError(f"{where}: {error}") from error
        names.append(name)
    if len(set(names)) != len(names):
        raise FormatError(f"{where}: two scenes have the same name.")
    if order is not None:
        names.sort(key=order)
    loaded = LazyScenes(names, dictionary, lambda index: _load_scene(_Folder(root), names[index], dictionary))
    for _ in loaded:
        pass  # read once, and so checked
    return loaded

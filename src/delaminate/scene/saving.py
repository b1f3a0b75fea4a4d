"""Scenes to disk: sprites and own rasters are rounded to 8 bits, and the largest error that this makes is recorded.

Loading and saving again gives the same bytes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from delaminate.errors import ConfigError, OutputError
from delaminate.files import from_pixels, json_bytes, png_bytes, to_pixels, write_atomic
from delaminate.scene import validation as values
from delaminate.scene.canvas_map import Blocks
from delaminate.scene.collection import SceneSet, shared_dictionary
from delaminate.scene.format import (
    MAX_SCENES,
    RATES,
    SUMMARY_FORMAT,
    VERSION,
    blocks_document,
    scene_document,
)
from delaminate.scene.placements import OWN_RASTER, Dictionary
from delaminate.scene.scenes import Scene


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
        durations: Milliseconds that each of its frames is seen, by the scenes' names; None: as long as `rate` says.
        blocks: What the originals are made of, where they are enlarged pixel art.
    """

    def __init__(
        self,
        folder: str | Path,
        rate: float | None = None,
        durations: Mapping[str, float] | None = None,
        blocks: Blocks | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.rate = rate
        self.durations = durations
        self.blocks = blocks
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
        names = scenes.names if isinstance(scenes, SceneSet) else [scene.name for scene in scenes]
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
            summary["rate"] = min(max(float(self.rate), RATES[0]), RATES[1])
        if self.durations is not None:
            durations = [float(self.durations[row["name"]]) for row in self.rows]
            # Where all are alike the rate says it, and releases that do not know the key read the folder.
            if len(set(durations)) > 1:
                summary["durations"] = durations
        if self.blocks is not None:
            summary["blocks"] = blocks_document(self.blocks)
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


def save_scenes(
    scenes: Sequence[Scene],
    folder: str | Path,
    rate: float | None = None,
    durations: Mapping[str, float] | None = None,
) -> float:
    """Save scenes and the dictionary that they share. Files of older scenes with other names stay, unlisted.

    Args:
        scenes: Scenes of one decomposition.
        folder: Where they go.
        rate: Frames per second where the scenes are the frames of a clip.
        durations: Milliseconds that each of its frames is seen, by the scenes' names; None: those that a `SceneSet` knows.

    Returns:
        The largest error in any composite that rounding to 8 bits has made.

    Raises:
        ConfigError: The scenes do not share a dictionary, or two have the same name.
        OutputError: A scene is too large to be read again, or a file cannot be written.
    """
    blocks = scenes.blocks if isinstance(scenes, SceneSet) else None
    if durations is None and isinstance(scenes, SceneSet):
        durations = scenes.durations
    writer = SceneWriter(folder, rate, durations, blocks)
    writer.add(scenes)
    return max((row["rounding_error"] for row in writer.rows), default=0.0)

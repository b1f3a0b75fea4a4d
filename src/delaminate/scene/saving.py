"""Scenes to disk: sprites and own rasters are rounded to 8 bits, and the largest error that this makes is recorded.

Loading and saving again gives the same bytes.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from delaminate.errors import ConfigError, OutputError
from delaminate.files import from_pixels, json_bytes, json_parts, png_bytes, to_pixels, write_atomic
from delaminate.scene import validation as values
from delaminate.scene.canvas_map import Blocks
from delaminate.scene.collection import SceneSet, shared_dictionary
from delaminate.scene.format import (
    MAX_ENTRIES,
    MAX_LAYERS,
    MAX_SCENES,
    RATES,
    SUMMARY,
    SUMMARY_FORMAT,
    VERSION,
    blocks_document,
    dictionary_row,
    residual_file,
    scene_document,
)
from delaminate.scene.packing import PACKS, Packed, PackWriter, is_packed
from delaminate.scene.placements import OWN_RASTER, Dictionary
from delaminate.scene.scenes import Scene

GROWTH = 1.25
"""The summary is written whole, so it is written again when there are so many times as many scenes: else writing the next
one would take the longer the more there are. Writing all of them costs what writing five lines a scene does."""
AT_A_TIME = 64
"""Scenes that are saved at a time where all are there."""


@dataclass(frozen=True, slots=True)
class SavedScene:
    """What is known of a scene on disk.

    Attributes:
        name: Of the scene.
        layers: How many it has.
        rounding_error: The largest error in its composite that 8 bits make.
        entries: The dictionary entry of each layer that shows one.
        digest: Of its files, by which one sees later whether they are as they were written.
        place: Where they are, if they are packed.
    """

    name: str
    layers: int
    rounding_error: float
    entries: tuple[int, ...]
    digest: str
    place: Packed | None = None

    @classmethod
    def of(cls, scene: Scene, files: Mapping[str, bytes], place: Packed | None = None) -> "SavedScene":
        """Describe a scene as it comes from its files."""
        shown = (layer.placement.entry for layer in scene.layers)
        entries = tuple(entry for entry in shown if entry != OWN_RASTER)
        return cls(scene.name, len(scene.layers), scene.rounding_error, entries, digest_of(scene.name, files), place)


def digest_of(name: str, files: Mapping[str, bytes]) -> str:
    """Take the digest of a scene's files, by their names from the folder; its residual is none of them."""
    digest = hashlib.blake2b(digest_size=16)
    for file_name in sorted(each for each in files if each.startswith(f"scenes/{name}/")):
        digest.update(f"{file_name}\0{len(files[file_name])}\0".encode())
        digest.update(files[file_name])
    return digest.hexdigest()


def scene_digest(scene: Scene) -> str:
    """Take the digest of all that decides how a scene looks: its layers, their rasters, the sprites that they show."""
    digest = hashlib.blake2b(json_bytes(scene_document(scene)), digest_size=16)
    sprites = scene.dictionary.sprites
    shown = sorted({layer.placement.entry for layer in scene.layers} - {OWN_RASTER})
    rasters = [layer.placement.raster for layer in scene.layers if layer.placement.raster is not None]
    for raster in (*(sprites[entry] for entry in shown), *rasters):
        digest.update(f"{raster.dtype} {tuple(raster.shape)}".encode())
        digest.update(raster.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


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


class SceneWriter:
    """Saves the scenes of one decomposition batch by batch.

    Args:
        folder: Where they go.
        rate: Frames per second where the scenes are the frames of a clip.
        durations: Milliseconds that each of its frames is seen, by the scenes' names; None: as long as `rate` says.
        blocks: What the originals are made of, where they are enlarged pixel art.
        packs: What packs them; None: each scene gets files of its own.
        saved: What is there already, by name; it takes up what comes.

    Attributes:
        saved: What is there, by name.
        entries: Id of each dictionary entry, and whether it is a background; None: no dictionary is there yet.
        titles: What people call entries, by their ids.
    """

    def __init__(
        self,
        folder: str | Path,
        rate: float | None = None,
        durations: Mapping[str, float] | None = None,
        blocks: Blocks | None = None,
        packs: PackWriter | None = None,
        saved: MutableMapping[str, SavedScene] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.rate = rate
        self.durations = durations
        self.blocks = blocks
        self.packs = packs
        self.saved: MutableMapping[str, SavedScene] = {} if saved is None else saved
        self.entries: list[tuple[str, bool]] | None = None
        self.titles: dict[str, str] = {}
        self._dictionary: Dictionary | None = None
        self._eight_bits = Dictionary(())
        self._parents: set[str] = set()
        self._listed = 0
        for name in self.saved:
            self._parents.update(_folders(name))

    def __len__(self) -> int:
        return len(self.saved)

    def add(self, scenes: Sequence[Scene]) -> None:
        """Save a batch, and list it in the summary when enough has come together, at the latest by `finish`.

        Raises:
            ConfigError: The scenes do not share a dictionary, or two have the same name, here or in earlier batches.
            OutputError: They are too many, or one is too large, to be read again; or a file cannot be written.
        """
        self.save(scenes)
        if self.is_due:
            self.finish()

    @property
    def is_due(self) -> bool:
        """Whether so many scenes have come since the summary was written that it is time to do so again."""
        return not self._listed or len(self) >= GROWTH * self._listed

    def save(self, scenes: Sequence[Scene], residuals: Mapping[str, bytes] | None = None) -> list[SavedScene]:
        """Save a batch without listing it. Each scene is asked for once: those of the folder itself may be saved into it.

        Args:
            scenes: The batch.
            residuals: Pictures of what scenes do not explain, by the scenes' names; they go beside them.

        Raises:
            ConfigError, OutputError: As of `add`.
        """
        if scenes or self.entries is None:
            self.save_dictionary(shared_dictionary(scenes))
        names = scenes.names if isinstance(scenes, SceneSet) else [scene.name for scene in scenes]
        self.check_names(names)
        if len(self) + len(scenes) > MAX_SCENES:
            raise OutputError(f"{self.folder}: would hold more than {MAX_SCENES:,} scenes; expected several folders.")
        saved, packed = [], []
        for scene in scenes:
            rounded, files = self.files(scene)
            residual = (residuals or {}).get(scene.name)
            beside = {} if residual is None else {residual_file(scene.name): residual}
            saved.append(SavedScene.of(rounded, files))
            if self.packs is not None:
                packed.append({**beside, **files})
                continue
            for name, data in (*beside.items(), *files.items()):  # the document comes last: with it the scene is whole
                write_atomic(self.folder / name, data)
        if self.packs is not None:
            places = self.packs.append(packed)
            saved = [dataclasses.replace(each, place=place) for each, place in zip(saved, places, strict=True)]
        self.take(saved)
        return saved

    def take(self, saved: Iterable[SavedScene]) -> None:
        """Take up scenes that are there."""
        for each in saved:
            self.saved[each.name] = each
            self._parents.update(_folders(each.name))

    def forget(self, name: str) -> None:
        """Let go of a scene, so that another may have its name."""
        self.saved.pop(name, None)

    def finish(self, order: Callable[[], Iterator[str]] | None = None) -> None:
        """Write the summary, which lists the scenes that are there. There may be millions, so they are gone through in parts.

        Args:
            order: Goes through the names of those to be listed, in their order, whether they are there or not; None: all, as
                they came.
        """

        def rows() -> Iterator[SavedScene]:
            names = iter(self.saved) if order is None else order()
            return (saved for name in names if (saved := self.saved.get(name)) is not None)

        used: Counter[int] = Counter()
        for row in rows():
            used.update(row.entries)
        entries = [
            dictionary_row(name, background, used[index], self.titles.get(name, ""))
            for index, (name, background) in enumerate(self.entries or [])
        ]
        summary: dict[str, Any] = {"format": SUMMARY_FORMAT, "version": VERSION}
        rate, known = self.rate, self.durations
        durations = [] if known is None else [float(known[row.name]) for row in rows()]
        if len(set(durations)) == 1 and rate is None:
            rate = 1000 / durations[0]
        if rate is not None:
            summary["rate"] = min(max(float(rate), RATES[0]), RATES[1])
        # Where all are alike the rate says it, and releases that do not know the key read the folder.
        if len(set(durations)) > 1:
            summary["durations"] = durations
        if self.blocks is not None:
            summary["blocks"] = blocks_document(self.blocks)
        summary |= {"dictionary": entries, "scenes": map(_row, rows())}
        write_atomic(self.folder / SUMMARY, json_parts(summary))
        self._listed = len(self)

    def check_names(self, names: Sequence[str]) -> None:
        """Make sure that scenes have names of their own, and that none lies inside another."""
        new = set(names)
        again = sum(name in self.saved for name in new)
        if len(new) != len(names) or again:
            count, distinct = len(self) + len(names), len(self) + len(new) - again
            raise ConfigError(f"save_scenes: {count} scenes have {distinct} names; expected names of their own.")
        inside: dict[str, str] = {}  # by the folder, a scene in it
        for name in names:
            inside.update((outer, name) for outer in _folders(name))
        for outer, name in inside.items():
            if outer in new or outer in self.saved:
                raise ConfigError(f"save_scenes: {name!r} lies inside the scene {outer!r}.")
        for name in new & self._parents:
            raise ConfigError(f"save_scenes: another scene lies inside the scene {name!r}.")

    def save_dictionary(self, dictionary: Dictionary, keep: bool = False) -> None:
        """Save the sprites, if no batch has done so; later ones have to have the same.

        Args:
            dictionary: The sprites.
            keep: Leave pictures as they are that are there.

        Raises:
            ConfigError: Earlier batches have other sprites.
            OutputError: There are more than are read again, or a file cannot be written.
        """
        entries = [(dictionary.name(index), index in dictionary.backgrounds) for index in range(len(dictionary))]
        if self.entries is not None and entries != self.entries:
            raise ConfigError(
                f"save_scenes: {len(entries)} sprites after {len(self.entries)}; expected one dictionary."
            )
        if self._dictionary is not None:
            pairs = zip(self._dictionary.sprites, dictionary.sprites, strict=True)
            if not all(one is other or torch.equal(one, other) for one, other in pairs):
                raise ConfigError("save_scenes: other sprites than in earlier batches; expected one dictionary.")
            return
        if len(entries) > MAX_ENTRIES:
            raise OutputError(
                f"save_scenes: {len(entries):,} sprites; expected at most {MAX_ENTRIES:,}, more are not read again."
            )
        pictures = [to_pixels(sprite) for sprite in dictionary.sprites]
        for (name, _), picture in zip(entries, pictures, strict=True):
            path = self.folder / "dictionary" / f"{name}.png"
            if not (keep and path.exists()):
                write_atomic(path, png_bytes(picture))
        self.entries, self._dictionary = entries, dictionary
        self.titles.update((dictionary.name(index), title) for index, title in enumerate(dictionary.titles) if title)
        self._eight_bits = dataclasses.replace(dictionary, sprites=tuple(map(from_pixels, pictures)))

    def files(self, scene: Scene) -> tuple[Scene, dict[str, bytes]]:
        """Make the files of a scene, by their names from the folder, the document last; and the scene that they hold.

        Raises:
            OutputError: It is too large to be read again.
        """
        own = {layer.id: layer.placement.raster for layer in scene.layers if layer.placement.raster is not None}
        if len(scene.layers) > MAX_LAYERS:
            raise OutputError(
                f"scene {scene.name!r}: has {len(scene.layers):,} layers; expected at most {MAX_LAYERS:,}, more are not read "
                "again."
            )
        try:
            values.check_bounds(scene.size, [(raster.shape[1], raster.shape[2]) for raster in own.values()])
        except OutputError as problem:
            raise OutputError(f"scene {scene.name!r}: {problem}") from problem
        rounded = _rounded(scene, self._eight_bits)
        error = (scene.composite().double() - rounded.composite().double()).abs().max().item() if scene.layers else 0.0
        rounded = dataclasses.replace(rounded, rounding_error=max(error, scene.rounding_error))
        place = f"scenes/{scene.name}"
        files = {f"{place}/layers/{layer_id}.png": png_bytes(to_pixels(raster)) for layer_id, raster in own.items()}
        files[f"{place}/scene.json"] = json_bytes(scene_document(rounded))
        return rounded, files


def _folders(name: str) -> list[str]:
    """The folders that a scene of this name lies in, from the outermost on."""
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _row(saved: SavedScene) -> dict[str, Any]:
    """A scene in the summary."""
    row = {"name": saved.name, "layers": saved.layers, "rounding_error": saved.rounding_error}
    return row if saved.place is None else row | {"pack": list(saved.place)}


def save_scenes(
    scenes: Sequence[Scene],
    folder: str | Path,
    rate: float | None = None,
    durations: Mapping[str, float] | None = None,
    packed: bool | None = None,
) -> float:
    """Save scenes and the dictionary that they share. Files of older scenes with other names stay, unlisted.

    Args:
        scenes: Scenes of one decomposition.
        folder: Where they go.
        rate: Frames per second where the scenes are the frames of a clip.
        durations: Milliseconds that each of its frames is seen, by the scenes' names; None: those that a `SceneSet` knows.
        packed: Into few large files instead of some for each scene; None: as what is there.

    Returns:
        The largest error in any composite that rounding to 8 bits has made.

    Raises:
        ConfigError: The scenes do not share a dictionary, or two have the same name; or those that are there lie in files of
            their own, and these are to be packed, or the other way round.
        OutputError: A scene is too large to be read again, or a file cannot be written.
    """
    folder = Path(folder)
    blocks = scenes.blocks if isinstance(scenes, SceneSet) else None
    if durations is None and isinstance(scenes, SceneSet):
        durations = scenes.durations
    packs = _new_packs(folder, packed)
    writer = SceneWriter(folder, rate, durations, blocks, packs)
    writer.check_names(scenes.names if isinstance(scenes, SceneSet) else [scene.name for scene in scenes])
    for first in range(0, max(len(scenes), 1), AT_A_TIME):
        some = scenes[first : first + AT_A_TIME]
        kept = (
            {name: some.residual(name) for name in some.names}
            if packs is not None and isinstance(some, SceneSet)
            else {}
        )
        writer.save(some, {name: picture for name, picture in kept.items() if picture is not None})
    writer.finish()
    if packs is not None:
        remove_packs(folder, {each.place[0] for each in writer.saved.values() if each.place is not None})
    return max((each.rounding_error for each in writer.saved.values()), default=0.0)


def _new_packs(folder: Path, packed: bool | None) -> PackWriter | None:
    """Archives behind those that are there, which may be read while these are written; None: scenes are not packed."""
    check_kind(folder, packed)
    if not (packed or is_packed(folder)):
        return None
    numbers = [int(path.stem) for path in (folder / PACKS).glob("[0-9]*.tar") if path.stem.isdigit()]
    return PackWriter(folder, number=max(numbers, default=-1) + 1)


def check_kind(folder: Path, packed: bool | None) -> None:
    """Make sure that a folder does not come to hold scenes of both kinds.

    Raises:
        ConfigError: It would.
    """
    if packed is None or not (folder / SUMMARY).exists() or packed == is_packed(folder):
        return
    has, verb = ("are packed", "unpack") if is_packed(folder) else ("lie in files of their own", "pack")
    raise ConfigError(
        f"{folder}: its scenes {has}; expected new ones like them. Leave `packed` out, or `delaminate scenes {verb}` first."
    )


def remove_packs(folder: Path, used: Collection[str]) -> None:
    """Remove archives that no scene is in any more."""
    for path in (folder / PACKS).glob("*.tar"):
        if path.stem not in used:
            path.unlink(missing_ok=True)

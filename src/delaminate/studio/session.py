"""An open project: scenes, their edits with undo, and the files that follow.

An edit is on the disk, in the history's journal, before it counts. The scenes' own files are written a moment later, by `save`.
"""

import json
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from delaminate.data.sets import natural_key
from delaminate.errors import ConfigError, ConflictError, DataError
from delaminate.files import json_bytes, png_bytes, to_pixels, write_atomic
from delaminate.pipelines.edit_history import (
    EDITS,
    MAX_OPERATIONS,
    Edit,
    EditHistory,
    add_picture,
    digest_of,
    digest_of_file,
    picture_pixels,
    remove_sprites,
)
from delaminate.pipelines.new_scene import emptied, save_new_scene
from delaminate.scene.format import SUMMARY, dictionary_row, scene_document
from delaminate.scene.loading import check_scene, read_residual
from delaminate.scene.operations import (
    DropSprite,
    MergeSprites,
    RepaintSprite,
    SceneOperation,
    SplitSprite,
    apply_to_dictionary,
    apply_to_scene,
)
from delaminate.scene.placements import OWN_RASTER, Dictionary
from delaminate.scene.scenes import Scene
from delaminate.scene.summary import read_summary

KEPT_PIXELS = 2**26
"""Pixels of rasters of their own in scenes that are kept in memory, 1 GiB, and as many snapshots of them."""
KEPT_LAYERS = 2**20
SNAPSHOTS = 64
"""Of each scene: undo within so many edits need not go back to the base."""


@dataclass(frozen=True)
class Change:
    """What an edit, undo or redo has changed.

    Attributes:
        revision: Of the project since.
        scenes: Names of scenes whose layers changed; None: maybe all.
        sprites: Ids of sprites that look different; None: some came or went.
    """

    revision: int
    scenes: tuple[str, ...] | None
    sprites: tuple[str, ...] | None


@dataclass(frozen=True)
class _Step:
    """An edit, the dictionary after each of its operations, and the ids of sprites after all of them."""

    edit: Edit
    dictionaries: tuple[Dictionary, ...]
    ids: tuple[str, ...]

    @property
    def renumbers(self) -> bool:
        return any(isinstance(each, DropSprite | MergeSprites | SplitSprite) for each in self.edit)

    @property
    def scenes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.scene for each in self.edit if isinstance(each, SceneOperation)))


@dataclass(frozen=True)
class LayerFacts:
    """A layer without its pixels: id, name, the number of its sprite (-1: a raster of its own), and its track."""

    id: str
    name: str
    entry: int
    track: int | None


class Session:
    """The scenes of a folder, open for editing. All of its methods may be called from any thread.

    Args:
        folder: Of scenes, not packed.

    Raises:
        ConfigError: The scenes are packed, or open elsewhere.
        FormatError: They, or their history, are damaged.
        OutputError: The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self._open()

    def _open(self) -> None:
        self.history = EditHistory(self.folder)
        try:
            self.names = tuple(sorted(read_summary(self.folder).places, key=natural_key))
            self._known = frozenset(self.names)
            self._base = self.history.base_dictionary()
            self._steps: list[_Step] = []
            for edit in self.history.position.edits:
                self._steps.append(self._step(edit, len(self._steps)))
        except BaseException:
            self.history.close()
            raise
        self._scenes: OrderedDict[str, dict[int, Scene]] = OrderedDict()  # by name, by how many edits were done
        self._sizes: dict[str, tuple[int, int]] = {}
        self._total = [0, 0]  # pixels and layers of what is kept
        self._loaded: dict[str, str | None] = {}
        self._stats: dict[str, tuple[int, int]] = {}
        self._versions: Counter[str] = Counter()
        self._sprite_versions: Counter[str] = Counter()
        self._all_version = self.revision  # versions grow over restarts
        self._saved_rasters: dict[str, Tensor] = {}
        self._layers: dict[str, tuple[int, tuple[LayerFacts, ...]]] = {}
        self.touched = 0.0
        self.problem: str | None = None
        # A save may have been cut off: whatever was ever edited is looked at again.
        touched = {name for step in self._steps for name in (self.names if step.renumbers else step.scenes)}
        self._unsaved = touched & self._known
        self._recount = bool(touched)  # the counts on the disk may be of another state than the scenes
        self._unsaved_sprites = (self.history.base / SUMMARY).exists()
        self._refresh_stats()

    def close(self) -> None:
        """Save, and let others open the folder.

        Raises:
            DelaminateError: Saving was impossible; the history has everything all the same.
        """
        with self.lock:
            try:
                self.save()
            finally:
                self.history.close()

    @property
    def revision(self) -> int:
        """How many edits, undos and redos there were; it only grows."""
        return self.history.position.revision

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit that is done."""
        return self.history.position.done > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is an edit that was undone."""
        return self.history.position.done < len(self._steps)

    @property
    def unsaved(self) -> bool:
        """Whether files are behind."""
        return bool(self._unsaved) or self._unsaved_sprites

    @property
    def dictionary(self) -> Dictionary:
        """The sprites as they are now."""
        return self._dictionary(self.history.position.done)

    def _dictionary(self, done: int) -> Dictionary:
        return self._steps[done - 1].dictionaries[-1] if done else self._base

    @property
    def sprite_ids(self) -> tuple[str, ...]:
        """Ids of the sprites, in their order: what each was named before the first edit, so that none ever changes."""
        return self._ids(self.history.position.done)

    def sprite_entry(self, sprite: str) -> int:
        """Find a sprite by its id.

        Raises:
            ConfigError: There is none, or no longer.
        """
        try:
            return self.sprite_ids.index(sprite)
        except ValueError:
            raise ConfigError(f"no sprite {sprite!r:.40} in this project.") from None

    def with_names(self, documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put into operations, as JSON values, the names that their sprites have by then, instead of ids.

        Raises:
            ConfigError: One names a sprite that there is not.
        """
        with self.lock:
            ids, found = list(self.sprite_ids), []
            entries = {sprite: entry for entry, sprite in enumerate(ids)}
            for each in documents:
                named = dict(each)
                named |= {key: _named(each[key], entries) for key in ("sprite", "into") if key in each}
                if "sprites" in each:
                    named["sprites"] = [_named(sprite, entries) for sprite in dict.fromkeys(each["sprites"])]
                if each["operation"] in ("drop-sprite", "merge-sprites") and not each["sprite"].startswith(
                    "background"
                ):
                    ids.remove(each["sprite"])
                    entries = {sprite: entry for entry, sprite in enumerate(ids)}
                if each["operation"] == "split-sprite":
                    ids.append("")  # it has its id once this is done
                found.append(named)
            return found

    def _ids(self, done: int) -> tuple[str, ...]:
        return self._steps[done - 1].ids if done else tuple(self._base.name(entry) for entry in range(len(self._base)))

    def _step(self, edit: Edit, done: int) -> _Step:
        dictionaries = tuple(apply_to_dictionary(edit, self._dictionary(done), self.history.picture))
        before, ids = self._dictionary(done), list(self._ids(done))
        parts = sum(isinstance(each, SplitSprite) for step in self._steps[:done] for each in step.edit)
        for operation, after in zip(edit, dictionaries, strict=True):
            if isinstance(operation, DropSprite | MergeSprites):
                del ids[before.entry(operation.sprite)]
            if isinstance(operation, SplitSprite):
                ids.append(f"sprite-{len(self._base) + parts:02d}")  # one that no other ever has
                parts += 1
            before = after
        return _Step(edit, dictionaries, tuple(ids))

    def scene(self, name: str) -> Scene:
        """A scene as it is now.

        Raises:
            ConfigError: There is none of this name.
            FormatError: Its files are damaged.
        """
        with self.lock:
            return self._scene(name, self.history.position.done)

    def base_scene(self, name: str) -> Scene:
        """A scene as it was before the first edit."""
        with self.lock:
            return self._scene(name, 0)

    def _scene(self, name: str, done: int) -> Scene:
        if name not in self._known:
            raise ConfigError(f"no scene {name!r:.120} in this project.")
        kept = self._scenes.setdefault(name, {})
        self._scenes.move_to_end(name)
        if done in kept:
            return kept[done]
        start = max((count for count in kept if count <= done), default=None)
        if start is None:
            start, kept[0] = 0, self._load(name)
        scene = kept[start]
        for step in self._steps[start:done]:
            scene = self._follow(scene, step)
        kept[done] = scene
        for count in sorted(kept)[1 : max(len(kept) - SNAPSHOTS, 1)]:
            del kept[count]
        self._uncount(name)
        self._let_go(name)
        return scene

    def _load(self, name: str) -> Scene:
        file = f"scenes/{name}/scene.json"
        self._loaded[file] = digest_of_file(self.folder / file)
        return self.history.base_scene(name, self._base)

    def _follow(self, scene: Scene, step: _Step) -> Scene:
        """Take an edit on a scene."""
        for operation, dictionary in zip(step.edit, step.dictionaries, strict=True):
            scene = apply_to_scene(operation, scene, dictionary, self.history.picture)
        return scene

    def _let_go(self, name: str) -> None:
        """Forget scenes that were not asked for lately, where they take too much memory; what they are can be made again."""
        snapshots = self._scenes[name].values()
        rasters = {id(raster): raster for each in snapshots for raster in _rasters(each).values()}
        pixels = sum(raster.shape[1] * raster.shape[2] for raster in rasters.values())
        self._sizes[name] = pixels, sum(len(each.layers) for each in snapshots) + 1
        self._total = [sum(each) for each in zip(self._total, self._sizes[name], strict=True)]
        while (self._total[0] > KEPT_PIXELS or self._total[1] > KEPT_LAYERS) and len(self._scenes) > 1:
            self._forget(next(iter(self._scenes)))

    def _forget(self, name: str) -> None:
        """Forget a scene that is kept in memory."""
        del self._scenes[name]
        self._uncount(name)

    def _uncount(self, name: str) -> None:
        sizes = self._sizes.pop(name, (0, 0))
        self._total = [total - size for total, size in zip(self._total, sizes, strict=True)]

    def version(self, name: str) -> int:
        """Say at which revision a scene last looked different, in this server."""
        with self.lock:
            shown = {layer.placement.entry for layer in self.scene(name).layers} - {OWN_RASTER}
            ids = self.sprite_ids
            sprites = (self._sprite_versions[ids[entry]] for entry in shown)
            return max((self._versions[name], self._all_version, *sprites))

    def listed_version(self, name: str) -> int:
        """As `version`, but without looking into the scene: it may be too new."""
        return max((self._versions[name], self._all_version, *self._sprite_versions.values()))

    @property
    def all_sprites_version(self) -> int:
        """At which revision any sprite, or the layers of any scene, last looked different."""
        return max((self._all_version, *self._sprite_versions.values(), *self._versions.values()))

    def sprite_version(self, sprite: str) -> int:
        """Say at which revision a sprite, by its id, last looked different."""
        return max(self._sprite_versions[sprite], self._all_version)

    def layer_facts(self, name: str) -> tuple[LayerFacts, ...]:
        """What is known of the layers of a scene, back to front."""
        with self.lock:
            version = max(self._versions[name], self._all_version)
            known = self._layers.get(name)
            if known is None or known[0] != version:
                rows = [(each.id, each.name, each.placement) for each in self.scene(name).layers]
                facts = tuple(LayerFacts(layer, title, shown.entry, shown.track) for layer, title, shown in rows)
                known = self._layers[name] = version, facts
            return known[1]

    def usage(self) -> list[dict[str, int]]:
        """Count, for each sprite, the layers that show it, by the scenes' names."""
        with self.lock:
            found: list[dict[str, int]] = [{} for _ in range(len(self.dictionary))]
            for name in self.names:
                counts = Counter(each.entry for each in self.layer_facts(name) if each.entry != OWN_RASTER)
                for entry, count in counts.items():
                    found[entry][name] = count
            return found

    def some_scenes(self, most: int) -> list[Scene]:
        """At most so many scenes as they are now, spread over all."""
        with self.lock:
            step = max(1, -(-len(self.names) // most))
            return [self.scene(name) for name in self.names[::step]]

    def add_scene(self, name: str, like: str, background: bool) -> None:
        """Add a scene with nothing but the background of another; it is there at once, and no step of undo.

        Raises:
            ConfigError: The name is taken or no name of a scene, or there is no such other.
            ConflictError, OutputError, FormatError: As of `save`; then nothing has changed.
        """
        with self.lock:
            self.save()
            save_new_scene(self.folder, emptied(self._scene(like, 0), name, background))
            self.names = tuple(sorted((*self.names, name), key=natural_key))
            self._known = frozenset(self.names)

    def residual(self, name: str) -> bytes | None:
        """The picture of what the scene did not explain when it was made."""
        return read_residual(self.folder, name)

    def edit(self, edit: Edit, revision: int) -> Change:
        """Do operations together.

        Args:
            edit: What to do.
            revision: The one that the person has seen.

        Raises:
            ConflictError: It is no longer that.
            ConfigError, ShapeError, FormatError: It is impossible; then nothing has changed.
            OutputError: The journal cannot be written; then nothing has changed.
        """
        with self.lock:
            self._check_revision(revision)
            if not 1 <= len(edit) <= MAX_OPERATIONS:
                raise ConfigError(f"edit: {len(edit)} operations; expected 1 to {MAX_OPERATIONS}.")
            done = self.history.position.done
            step = self._step(edit, done)
            for name in step.scenes:
                before = self._scene(name, done)
                check_scene(self._follow(before, step), before)
            for name in step.scenes:
                self.history.keep_base_of_scene(name)
            if step.dictionaries[-1] is not self.dictionary:
                self.history.keep_base_of_dictionary()
            self.history.edit(edit)
            del self._steps[done:]
            self._steps.append(step)
            for kept in self._scenes.values():
                for count in [count for count in kept if count > done]:
                    del kept[count]
            return self._changed(step, self._dictionary(done))

    def undo(self, revision: int) -> Change:
        """Undo the last edit that is done.

        Raises:
            ConflictError: The revision is another.
            ConfigError: There is none.
            OutputError: The journal cannot be written; then nothing has changed.
        """
        with self.lock:
            self._check_revision(revision)
            if not self.can_undo:
                raise ConfigError("undo: there is no edit to undo.")
            before = self.dictionary
            self.history.undo()
            return self._changed(self._steps[self.history.position.done], before)

    def redo(self, revision: int) -> Change:
        """Do the last edit that was undone again; errors as of `undo`."""
        with self.lock:
            self._check_revision(revision)
            if not self.can_redo:
                raise ConfigError("redo: there is no edit to do again.")
            before = self.dictionary
            self.history.redo()
            return self._changed(self._steps[self.history.position.done - 1], before)

    def _check_revision(self, revision: int) -> None:
        if revision != self.revision:
            raise ConflictError(
                f"edit: of revision {revision}, and the project is at {self.revision}: another page was first. Load it again."
            )

    def _changed(self, step: _Step, before: Dictionary) -> Change:
        """Note what an edit has changed that was done or undone."""
        self.touched = time.monotonic()
        now, after = self.revision, self.dictionary
        if step.renumbers:
            self._all_version = now
            self._unsaved.update(self.names)
            self._unsaved_sprites = self._recount = True
            return Change(now, None, None)
        for name in step.scenes:
            self._versions[name] = now
        self._unsaved.update(step.scenes)
        pairs = zip(before.sprites, after.sprites, strict=True)
        sprites = tuple(self.sprite_ids[entry] for entry, (old, new) in enumerate(pairs) if old is not new)
        for sprite in sprites:
            self._sprite_versions[sprite] = now
        self._unsaved_sprites |= before is not after
        return Change(now, step.scenes, sprites)

    def save(self) -> None:
        """Bring the files to what the scenes are.

        Raises:
            ConflictError: Another program has changed a scene; nothing is written over.
            OutputError: A file cannot be written.
            FormatError: A scene cannot be read.
        """
        with self.lock:
            self.take_painted()
            files = self._files()
            theirs = [name for name in files if not self._ours(name, files[name])]
            if theirs:
                raise ConflictError(
                    f"{len(theirs)} files were changed by another program, the first of them {theirs[0]!r:.120}: nothing was "
                    "saved. Keep theirs, or ours."
                )
            stale = {
                name: data for name, data in files.items() if digest_of_file(self.folder / name) != digest_of(data)
            }
            if stale:
                for name in self._unsaved:
                    self.history.keep_base_of_scene(name)
                if any(not name.startswith("scenes/") for name in stale):
                    self.history.keep_base_of_dictionary()
                self.history.saving({name: digest_of(data) for name, data in stale.items()})
            for name, data in stale.items():
                write_atomic(self.folder / name, data)
            if self._unsaved_sprites:
                remove_sprites(self.folder, self.dictionary)
            for name in self._unsaved:
                self._saved_rasters.update(_rasters(self.scene(name)))
            self._unsaved.clear()
            self._unsaved_sprites = self._recount = False
            self._refresh_stats()

    def _files(self) -> dict[str, bytes]:
        """What has to be in the files that may be behind, the summary last."""
        files: dict[str, bytes] = {}
        for name in sorted(self._unsaved):
            scene, place = self.scene(name), f"scenes/{name}"
            for file, raster in _rasters(scene).items():
                if self._saved_rasters.get(file) is not raster:
                    files[file] = png_bytes(to_pixels(raster))
            files[f"{place}/scene.json"] = json_bytes(scene_document(scene))
        if self._unsaved_sprites:
            for entry, sprite in enumerate(self.dictionary.sprites):
                files[f"dictionary/{self.dictionary.name(entry)}.png"] = png_bytes(to_pixels(sprite))
        if files:
            files[SUMMARY] = self._summary()
        return files

    def _summary(self) -> bytes:
        """The summary with the dictionary and the unsaved scenes as they are now."""
        document: dict[str, Any] = json.loads((self.folder / SUMMARY).read_bytes())
        dictionary, used = self.dictionary, self._used(document["dictionary"])
        document["dictionary"] = [
            dictionary_row(
                dictionary.name(entry),
                entry in dictionary.backgrounds,
                used[entry],
                dictionary.titles[entry] if dictionary.titles else "",
            )
            for entry in range(len(dictionary))
        ]
        for row in document["scenes"]:
            if row["name"] in self._unsaved:
                row["layers"] = len(self.scene(row["name"]).layers)
        return json_bytes(document)

    def _used(self, rows: list[dict[str, Any]]) -> list[int]:
        """Count the layers that show each sprite: as many as before, and what unsaved scenes have changed since."""
        if self._recount or len(rows) != len(self.dictionary):
            return [sum(each.values()) for each in self.usage()]
        used = [int(row["used"]) for row in rows]
        for name in self._unsaved:
            for layer in self.scene(name).layers:
                if layer.placement.entry != OWN_RASTER:
                    used[layer.placement.entry] += 1
            shown = json.loads((self.folder / "scenes" / name / "scene.json").read_bytes())["layers"]
            for entry in [self.dictionary.entry(layer["entry"]) for layer in shown if "entry" in layer]:
                used[entry] -= 1
        return used

    def _ours(self, name: str, data: bytes) -> bool:
        """Say whether a file may be written over: it is missing, or as it was read, or as it was written by a studio."""
        there = digest_of_file(self.folder / name)
        known = {
            None, digest_of(data), self._loaded.get(name), digest_of_file(self.history.base / name),
            *self.history.position.written.get(name, ()),
        }  # fmt: skip
        return name == SUMMARY or there in known

    def keep_ours(self) -> None:
        """Save over what another program has changed."""
        with self.lock:
            there = {name: digest_of_file(self.folder / name) for name in self._files()}
            self.history.saving({name: digest for name, digest in there.items() if digest is not None})
            self.save()

    def keep_theirs(self) -> None:
        """Begin a new history from what the folder holds; the old one stays beside it as `edits-1`, `edits-2`, ...

        Raises:
            FormatError: The folder holds no scenes that can be read; then the old history stays.
        """
        with self.lock:
            self.history.close()
            number = next(n for n in range(1, 10**6) if not (self.folder / f"{EDITS}-{n}").exists())
            old, revision = self.folder / f"{EDITS}-{number}", self.revision
            (self.folder / EDITS).rename(old)
            try:
                self._open()
            except BaseException:
                (self.folder / EDITS).joinpath("journal.jsonl").unlink(missing_ok=True)
                (self.folder / EDITS).rmdir()
                old.rename(self.folder / EDITS)
                self._open()
                raise
            self._all_version = revision

    def take_painted(self) -> Change | None:
        """Take up sprites that another program has painted, as an edit; None: there are none."""
        with self.lock:
            found = []
            for file, sprite in self._sprite_files():
                if self._stat(file) in (None, self._stats.get(file)):
                    continue
                there = digest_of_file(self.folder / file)
                known = self.history.position.written.get(file, set()) | {digest_of_file(self.history.base / file)}
                if there is not None and there not in known:
                    try:
                        pixels = picture_pixels(self.folder / file)
                    except DataError:
                        continue  # it is being written
                    self._keep_base_of_sprite(file, sprite)
                    self.history.saving({file: there})
                    found.append(RepaintSprite(sprite=sprite, picture=add_picture(self.history.folder, pixels)))
                self._note(file)
            return self.edit(tuple(found), self.revision) if found else None

    def _keep_base_of_sprite(self, file: str, sprite: str) -> None:
        """Keep a sprite as it was before somebody painted over its file."""
        if not (self.history.base / SUMMARY).exists():  # so that it was never renumbered
            before = self._base.sprites[self._base.entry(sprite)]
            write_atomic(self.history.base / file, png_bytes(to_pixels(before)), durable=True)

    def _sprite_files(self) -> list[tuple[str, str]]:
        names = (self.dictionary.name(entry) for entry in range(len(self.dictionary)))
        return [(f"dictionary/{name}.png", name) for name in names]

    def _stat(self, file: str) -> tuple[int, int] | None:
        try:
            found = (self.folder / file).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def _note(self, file: str) -> None:
        stat = self._stat(file)
        if stat is not None:
            self._stats[file] = stat

    def _refresh_stats(self) -> None:
        """Remember how pictures of sprites are in the folder; those that were edited before are looked at once more."""
        if self.history.base.joinpath(SUMMARY).exists() and not self._stats:
            return
        for file, _ in self._sprite_files():
            self._note(file)


def _named(sprite: str, entries: Mapping[str, int]) -> str:
    """The name that a sprite has in the dictionary, by its id."""
    if sprite not in entries:
        raise ConfigError(f"no sprite {sprite!r:.40} in this project.")
    return sprite if sprite.startswith("background") else f"sprite-{entries[sprite]:02d}"


def _rasters(scene: Scene) -> dict[str, Tensor]:
    """Rasters of a scene's own, by their files."""
    rasters = {layer.id: layer.placement.raster for layer in scene.layers}
    return {f"scenes/{scene.name}/layers/{name}.png": raster for name, raster in rasters.items() if raster is not None}

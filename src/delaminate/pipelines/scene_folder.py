"""A folder that scenes are written into, and that a later call can go on with.

The files of a batch come first, then its lines in the journal, and now and then the lists that others read, `summary.json`
and `errors.json`. A process may be killed anywhere: what the journal does not know is done again, to the same bytes.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from delaminate.errors import ConfigError, FormatError
from delaminate.files import json_parts, remove_leftovers, write_atomic
from delaminate.pipelines.images import OpenedImages
from delaminate.pipelines.journal import Journal, Settings, journal_path, journals
from delaminate.pipelines.output_folders import ERRORS, make_room_for_scenes
from delaminate.pipelines.records import Record, Records
from delaminate.pipelines.shards import Shard
from delaminate.scene.format import SUMMARY
from delaminate.scene.loading import load_dictionary, load_scene, read_files
from delaminate.scene.packing import Packed, PackWriter, is_packed
from delaminate.scene.placements import Dictionary
from delaminate.scene.saving import SavedScene, SceneWriter, check_kind, digest_of
from delaminate.scene.scenes import Scene
from delaminate.scene.summary import scan_summary, titles_of

NAMED = 5
"""Scenes that a note names."""


class _Saved(MutableMapping[str, SavedScene]):
    """The scenes of a folder as its journals tell of them, and what differs from that; only this is in memory."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.differing: dict[str, SavedScene | None] = {}
        """None: there is none by now."""
        self.beside: set[str] = set()
        """Those of them that no journal tells of."""

    def __getitem__(self, name: str) -> SavedScene:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """What is known of a scene, or else `default`."""
        if name in self.differing:
            found = self.differing[name]
        else:
            record = self.records.get(name)
            found = None if record is None else record.saved
        return default if found is None else found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __setitem__(self, name: str, saved: SavedScene) -> None:
        self.differing[name] = saved
        if name not in self.records:
            self.beside.add(name)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self.differing[name] = None
        self.beside.discard(name)

    def __iter__(self) -> Iterator[str]:
        return (saved.name for saved in self.each())

    def each(self) -> Iterator[SavedScene]:
        """Go through the scenes as they lie in the journals."""
        told = ((record.name, record.saved) for record in self.records.each())
        found = (self.differing.get(name, saved) for name, saved in told)
        yield from (saved for saved in found if saved is not None)
        yield from (saved for name in self.beside if (saved := self.differing[name]) is not None)

    def __len__(self) -> int:
        """How many there are, or a few more: images that became no scene later on count until the folder is opened again."""
        return self.records.num_scenes + len(self.beside)

    def told(self, records: Sequence[Record]) -> None:
        """Forget what the journal tells as well by now."""
        for record in records:
            self.beside.discard(record.name)
            if self.differing.get(record.name, record) == record.saved:
                del self.differing[record.name]


class SceneFolder:
    """Scenes on disk, and the journal of how they came.

    Args:
        folder: Where they are.
        opened: The images: rate, durations and blocks go into the summary.
        settings: What is asked for, for the journal.
        shard: Which part of the images this call is for.
        resume: Go on with what is there.
        overwrite: Remove it.
        packed: Pack the scenes; where there are some already, as these are.

    Raises:
        ConfigError: The folder holds scenes, and neither is asked for; or they were made with other settings, or are no
            scenes of `decompose`; or both are asked for.
        FormatError: What is there is damaged.
        OutputError: The folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        opened: OpenedImages,
        settings: Settings,
        shard: Shard | None = None,
        resume: bool = False,
        overwrite: bool = False,
        packed: bool = False,
    ) -> None:
        self.folder, self.shard = folder, shard
        _make_room(folder, shard, resume, overwrite, len(opened.images))
        check_kind(folder, packed or None)
        self.journal = Journal(folder, shard, settings)
        self.resumed = self.journal.begun
        self.edited: list[str] = []
        self.changed: list[str] = []
        self.saved = _Saved(self.journal.records)
        try:
            names = self._moved() if self.resumed else {}
            packs = None
            if packed or is_packed(folder):
                prefix = "" if shard is None else f"{shard[0]}-of-{shard[1]}-"
                packs = PackWriter(folder, prefix, (each.place for each in self.saved.each() if each.place is not None))
            images = opened.images
            self.writer = SceneWriter(folder, images.rate, opened.durations, opened.blocks, packs, self.saved)
        except BaseException:
            self.close()
            raise
        self.writer.entries = self.journal.entries
        self.writer.titles = names
        if resume and shard is None:
            self._remove_temporary()

    @property
    def is_due(self) -> bool:
        """Whether it is time to write the lists again; shards do at their end: each knows itself alone before."""
        return self.writer.is_due if self.shard is None else not (self.folder / SUMMARY).exists()

    @property
    def num_scenes(self) -> int:
        """Scenes that the journals tell of."""
        return self.journal.records.num_scenes

    @cached_property
    def dictionary(self) -> Dictionary:
        """The sprites as they are in the folder by now."""
        entries = self.writer.entries or []
        return load_dictionary(self.folder, [{"id": name, "background": back, "used": 0} for name, back in entries])

    def lacks_sprites(self) -> bool:
        """Say whether a picture of the dictionary is missing."""
        return any(not (self.folder / "dictionary" / f"{name}.png").exists() for name, _ in self.journal.entries or [])

    def has(self, name: str, image: str) -> bool:
        """Say whether an image is dealt with: its scene is there, as it was made of the image, or as somebody edited it.

        Args:
            name: Of the image.
            image: Its digest.
        """
        record = self.journal.records.get(name)
        if record is None:
            return False
        if record.saved is None:
            return record.image == image  # it was skipped
        place = self.saved[name].place  # where it lies by now
        files = self._files(name, place)
        digest = digest_of(name, files)
        if digest != record.saved.digest and not self.journal.was_written(digest):
            return self._keep_edited(name, files, place)
        if record.image != image:
            self.changed.append(name)
        return record.image == image and digest == record.saved.digest

    def add(
        self, dictionary: Dictionary, scenes: Sequence[Scene], residuals: Mapping[str, bytes], records: Sequence[Record]
    ) -> None:
        """Write scenes and then what has become of their images."""
        self.writer.save_dictionary(dictionary, keep=self.resumed)
        for record in records:
            self.writer.forget(record.name)
        self.writer.save([scene for scene in scenes if self._make_free(scene)], residuals)
        entries = self.writer.entries or []
        records = [replace(each, saved=self.saved.get(each.name)) for each in records]
        self.journal.append(records, entries)
        self.saved.told(records)

    def publish(self, names: Callable[[], Iterator[str]], figures: Mapping[str, Any]) -> None:
        """Write the lists.

        Args:
            names: Goes through those of all images: scenes of others stay in the folder, unlisted.
            figures: How closely scenes rebuild their images.
        """
        self.writer.finish(names)
        write_atomic(self.folder / ERRORS, json_parts(figures))

    def has_grown(self) -> bool:
        """Say whether other shards have come further, and take up what they did."""
        return self.shard is not None and self.journal.read()

    def close(self) -> None:
        """Let other calls write here."""
        self.journal.close()

    def notes(self) -> list[str]:
        """What a person should hear at the end."""
        said = []
        for names, what in (
            (self.edited, "edited since they were made; they stay as they are"),
            (self.changed, "made of images that have changed since; they were made anew"),
        ):
            if names:
                more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
                said.append(f"{len(names)} scenes were {what}: {', '.join(names[:NAMED])}{more}.")
        return said

    def _moved(self) -> dict[str, str]:
        """Take up where scenes lie by now: an edit, packing or unpacking may have moved them. Returns titles of sprites."""
        if not (self.folder / SUMMARY).exists():
            return {}

        def take(name: str, place: Packed | None) -> None:
            saved = self.saved.get(name)
            if saved is not None and saved.place != place:
                self.saved[name] = replace(saved, place=place)

        return titles_of(scan_summary(self.folder, take).entries)

    def _files(self, name: str, place: Packed | None) -> dict[str, bytes]:
        """The files of a scene as they are; what cannot be read counts as missing."""
        with suppress(FormatError):
            return read_files(self.folder, name, place)
        return {}

    def _keep_edited(self, name: str, files: Mapping[str, bytes], place: Packed | None) -> bool:
        """Take up a scene that is not as it was written, if it can be read."""
        try:
            scene = load_scene(self.folder, name, self.dictionary, place)
        except FormatError:
            return False
        self.edited.append(name)
        self.writer.forget(name)
        self.writer.take([SavedScene.of(scene, files, place)])
        return True

    def _make_free(self, scene: Scene) -> bool:
        """Remove what a scene's place holds, unless somebody has put something of their own there."""
        if not self.resumed or self.writer.packs is not None:
            return True
        there = self._files(scene.name, None)
        new = self.writer.files(scene)[1]
        # A call that was killed may have written a scene before its journal knew.
        fresh = digest_of(scene.name, new)
        old = digest_of(scene.name, there)
        edited = f"scenes/{scene.name}/scene.json" in there and old != fresh and not self.journal.was_written(old)
        if edited and self._keep_edited(scene.name, there, None):
            return False
        for name in reversed(there):  # the document first: what is half made has none
            if there[name] != new.get(name):
                (self.folder / name).unlink(missing_ok=True)
        return True

    def _remove_temporary(self) -> None:
        """Remove what a call that was killed was writing."""
        for part in ("", "dictionary", "scenes", "residuals"):
            remove_leftovers(self.folder / part, deep=bool(part))


def _make_room(folder: Path, shard: Shard | None, resume: bool, overwrite: bool, count: int) -> None:
    if resume and overwrite:
        raise ConfigError("--resume goes on with the scenes that are there, --overwrite removes them: choose one.")
    if shard is not None and overwrite:
        raise ConfigError(
            f"--overwrite: would remove the scenes of other shards in {folder}. Remove the folder before the first one starts, "
            "or choose another --out."
        )
    known = journals(folder)
    if (resume or shard is not None) and not known and (folder / SUMMARY).exists():
        raise ConfigError(
            f"{folder}: holds scenes without a journal (an older release made them, or another command), so that they "
            "cannot be gone on with. Choose another --out, or start over with --overwrite."
        )
    if shard is not None and not resume and journal_path(folder, shard) in known:
        raise ConfigError(f"{folder}: shard {shard[0]}/{shard[1]} was begun already. Go on with it by --resume.")
    make_room_for_scenes(folder, overwrite, count, beside=resume or shard is not None)

"""Edits made in other programs come back: layered files, clips and sprite sheets that were exported of scenes."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from delaminate.config import suggest
from delaminate.errors import ConfigError, DataError, FormatError
from delaminate.exporters.aseprite import cel_layers
from delaminate.files import remove_leftovers
from delaminate.importers.aseprite import read_aseprite
from delaminate.importers.comparison import Comparison, Repaint, compare
from delaminate.importers.document import Document
from delaminate.importers.openraster import read_openraster
from delaminate.importers.photoshop import read_psd
from delaminate.importers.sheet_comparison import compare_sheet
from delaminate.importers.sheets import read_sheet
from delaminate.importers.tiled import read_tiled
from delaminate.pipelines.edit_history import Edit, apply, save_edited
from delaminate.pipelines.exporting import as_set
from delaminate.pipelines.output_folders import EXPORTED
from delaminate.scene.collection import SceneSet
from delaminate.scene.loading import load_scenes
from delaminate.scene.operations import RepaintSprite
from delaminate.scene.placements import Placement, Transform
from delaminate.scene.scenes import Scene, SceneLayer

Scope = Literal["everywhere", "only-here"]
SCOPES = ("everywhere", "only-here")

DOCUMENTS: dict[str, Callable[[Path], Document]] = {
    ".ora": read_openraster,
    ".psd": read_psd,
    ".psb": read_psd,
}
CLIPS = (".aseprite", ".ase")
SHEETS = (".json",)
SAME = 1.5 / 255
"""What reading a picture twice may change of a colour."""

MAPS = (".tmx",)
WHOLE_BACKGROUND = "background"
"""The layer of a map that shows a whole background."""

SUFFIXES = (*DOCUMENTS, *CLIPS, *SHEETS, *MAPS)
KINDS = (tuple(DOCUMENTS), CLIPS, SHEETS, MAPS)


@dataclass(frozen=True, eq=False)
class Imported:
    """What came back.

    Attributes:
        scenes: With the edits.
        words: What was understood, by where it was found: a scene's name, or the file of a clip or sheet.
        remarks: What was not, by the same.
        edits: How many operations there were.
    """

    scenes: SceneSet
    words: dict[str, list[str]]
    remarks: dict[str, list[str]]
    edits: int


@dataclass(frozen=True, eq=False)
class EditedFiles:
    """What files hold that were edited elsewhere.

    Attributes:
        edits: In their order; those of sprites come last.
        pictures: That they bring, by the names that operations give them.
        words, remarks: As of `Imported`.
    """

    edits: list[Edit]
    pictures: dict[str, Float[Tensor, "4 _h _w"]]
    words: dict[str, list[str]]
    remarks: dict[str, list[str]]


@dataclass
class _Found:
    """Edits of all files, those of sprites apart, for they come last."""

    scenes: SceneSet
    decide: Callable[[Repaint], bool]
    edits: list[Edit] = field(default_factory=list)
    sprites: dict[str, tuple[RepaintSprite, str]] = field(default_factory=dict)
    pictures: dict[str, Float[Tensor, "4 _h _w"]] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)

    def add(self, where: str, comparison: Comparison) -> None:
        """Take what was understood of one document.

        Raises:
            ConfigError: A sprite was repainted in two ways.
        """
        if comparison.operations:
            self.edits.append(tuple(comparison.operations))
        self.pictures |= comparison.pictures
        for operation in comparison.sprites:
            known, there = self.sprites.setdefault(operation.sprite, (operation, where))
            if known != operation:
                self.sprites[operation.sprite] = self._together(known, operation, f"in {there} and in {where}"), there
        for target, lines in ((self.words, comparison.words), (self.remarks, comparison.remarks)):
            if lines:
                target.setdefault(where, []).extend(line for line in lines if line not in target.get(where, ()))

    def _together(self, one: RepaintSprite, other: RepaintSprite, where: str) -> RepaintSprite:
        """Join what two images changed of a sprite, where each changed other pixels of it, or the same in the same way."""
        dictionary = self.scenes.dictionary
        was = dictionary.sprites[dictionary.entry(one.sprite)]
        first, second = self.pictures[one.picture], self.pictures[other.picture]
        if first.shape == second.shape == was.shape and (one.left, one.top) == (other.left, other.top) == (0, 0):
            changed = [(each != was).any(0) for each in (first, second)]
            both = changed[0] & changed[1]
            if not ((first - second).abs().amax(0) > SAME)[both].any():
                joined = torch.where(changed[1], second, first)
                kept = Comparison()
                picture = kept.keep(joined)
                self.pictures |= kept.pictures
                return replace(one, picture=picture)
        raise ConfigError(
            f"import: {one.sprite} is repainted in two ways, {where}. Keep one of them, or import with only-here."
        )

    def document(self, name: str, scene: Scene, document: Document) -> None:
        """Compare a document with its scene."""
        self.add(name, compare(scene, document, self.decide))


def import_edited(
    edited: str | Path,
    scenes: str | Path | Sequence[Scene],
    *,
    repaint: Scope | Callable[[Repaint, int], Scope] | None = None,
    scene: str | None = None,
    out: str | Path | None = None,
    dry_run: bool = False,
) -> Imported:
    """Bring back what was edited in another program: in OpenRaster and Photoshop files, Aseprite files, sprite sheets.

    A file is compared with what the scenes export to now, and only what differs is an edit: import before you edit the scenes
    otherwise.

    Args:
        edited: A file, or a folder of files as `export` names them.
        scenes: A folder of scenes, or scenes that share a dictionary.
        repaint: What a repainted layer changes that shows a sprite which other layers show, too: the sprite "everywhere", or
            this layer "only-here"; or a function that is given the layer and how many others there are, and says which.
        scene: The scene that a layered file is of; None: by the file's name.
        out: Where the scenes are saved; None: where they are, or nowhere if they are in memory.
        dry_run: Save nothing.

    Raises:
        ConfigError: It is of no scene here, the size differs, or a shared sprite was repainted and `repaint` is None.
        FormatError, DataError: A file is damaged.
        MissingExtra: Photoshop files need psd-tools.
    """
    source = Path(scenes) if isinstance(scenes, str | Path) else None
    opened = load_scenes(source) if source is not None else as_set(scenes)  # type: ignore[arg-type]
    found = read_edited(edited, opened, repaint=repaint, scene=scene)
    changed = apply(opened, found.edits, lambda digest: found.pictures[digest])
    if not dry_run and found.edits:
        changed = save_edited(changed, source, out)
    elif not dry_run and source is not None:
        remove_leftovers(source, time.time())  # a call that was killed may have done all but the last file
    return Imported(changed, found.words, found.remarks, sum(len(edit) for edit in found.edits))


def read_edited(
    edited: str | Path,
    scenes: SceneSet,
    *,
    repaint: Scope | Callable[[Repaint, int], Scope] | None = None,
    scene: str | None = None,
) -> EditedFiles:
    """Say which edits lead from scenes to files that were edited elsewhere; arguments and errors as of `import_edited`."""
    uses = _Uses(scenes)
    found = _Found(scenes, lambda asked: _decide(asked, uses, repaint))
    for path, name in _files(Path(edited), scene):
        _import_file(path, name, Path(edited), found)
    edits: list[Edit] = [*found.edits, *((operation,) for operation, _ in found.sprites.values())]
    return EditedFiles(edits, found.pictures, found.words, found.remarks)


class _Uses:
    """Counts, when it is first asked, how many layers show each sprite."""

    def __init__(self, scenes: SceneSet) -> None:
        self.scenes = scenes
        self.counts: Counter[int] | None = None

    def of(self, entry: int) -> int:
        """How many layers of all scenes show a sprite."""
        if self.counts is None:
            self.counts = Counter(layer.placement.entry for scene in self.scenes for layer in scene.layers)
        return self.counts[entry]


def _decide(asked: Repaint, uses: _Uses, repaint: Scope | Callable[[Repaint, int], Scope] | None) -> bool:
    """Say whether a repainted layer changes its sprite."""
    others = uses.of(asked.layer.placement.entry) - 1
    if asked.everywhere is None:
        if repaint == "everywhere":
            raise ConfigError(
                f"import: {asked.scene.name}: {asked.layer.name} warps {asked.sprite}, so that what was painted cannot be "
                "carried back to the sprite; expected only-here."
            )
        return False
    if callable(repaint):
        return repaint(asked, others) == "everywhere" if others else asked.everywhere.exact
    if repaint is None and others:
        raise ConfigError(
            f"import: {asked.scene.name}: {asked.layer.name} was repainted, and {others} other layers show {asked.sprite}. "
            "Say --everywhere to change the sprite, or --only-here to change this layer alone."
        )
    return repaint == "everywhere" or (repaint is None and asked.everywhere.exact)


def _files(edited: Path, scene: str | None) -> Iterator[tuple[Path, str]]:
    """Files to import, each with the name that it has below the folder, without its ending."""
    if edited.is_dir():
        found = (path for path in edited.rglob("*") if path.suffix.lower() in SUFFIXES and path.name != EXPORTED)
        paths = sorted(path for path in found if path.is_file())
        kinds = {path.suffix.lower() for path in paths}
        if not paths or sum(bool(kinds & {*each}) for each in KINDS) > 1:
            what = f"files of {len(kinds)} kinds ({', '.join(sorted(kinds))})" if paths else "none"
            raise ConfigError(
                f"{edited}: {what}; expected files of one kind: {', '.join(SUFFIXES)}. Name the file or the folder of one."
            )
        if scene is not None and len(paths) > 1:
            raise ConfigError(f"{edited}: {len(paths)} files for the one scene {scene!r}; expected one file.")
        yield from ((path, scene or path.relative_to(edited).as_posix().removesuffix(path.suffix)) for path in paths)
        return
    if edited.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{edited}: expected a file that ends with {', '.join(SUFFIXES)}, or a folder of them.")
    if not edited.is_file():
        raise DataError(f"{edited}: there is no such file.")
    yield edited, scene or edited.name.removesuffix(edited.suffix)


def _import_file(path: Path, name: str, edited: Path, found: _Found) -> None:
    suffix = path.suffix.lower()
    if suffix in DOCUMENTS:
        document = DOCUMENTS[suffix](path)
        found.document(*_scene_of(path, name, found.scenes), document)
    elif suffix in MAPS:
        _import_map(path, name, edited, found)
    elif suffix in CLIPS:
        _import_clip(path, found)
    else:
        found.add(str(path), compare_sheet(found.scenes, read_sheet(path)))


def _scene_of(path: Path, name: str, scenes: SceneSet) -> tuple[str, Scene]:
    """The scene of a file: by its name, or by the end of it where a file was taken out of its folder."""
    names, last = list(scenes.names), PurePosixPath(name).name
    fitting = [name] if name in names else [each for each in names if PurePosixPath(each).name == last]
    fitting = fitting or [each for each in names if PurePosixPath(each).stem == last]
    if len(fitting) != 1:
        reason = f"{len(fitting)} scenes have that name" if fitting else f"there is none; {suggest(name, names)[:200]}"
        raise ConfigError(f"{path}: expected to find its scene {name!r:.120}: {reason} Name it by --scene.")
    return fitting[0], scenes[names.index(fitting[0])]


def _import_clip(path: Path, found: _Found) -> None:
    """Compare every frame with its scene; layers of the file are named by their tracks."""
    frames, scenes = read_aseprite(path), found.scenes
    if len(frames) != len(scenes):
        raise FormatError(
            f"{path}: has {len(frames)} frames for {len(scenes)} scenes; expected as many. Add and remove none."
        )
    owners = cel_layers(scenes)
    for name, scene, frame, owner in zip(scenes.names, scenes, frames, owners, strict=True):
        found.document(name, scene, _with_ids(frame, owner))


def _import_map(path: Path, name: str, edited: Path, found: _Found) -> None:
    """Compare a map with its scene; a map of a whole background with that."""
    dictionary, folder = found.scenes.dictionary, edited if edited.is_dir() else _export_of(path)
    backgrounds = {dictionary.name(entry): entry for entry in dictionary.backgrounds}
    if path.stem in backgrounds and name not in found.scenes.names:
        entry = backgrounds[path.stem]
        size = (dictionary.sprites[entry].shape[1], dictionary.sprites[entry].shape[2])
        layer = SceneLayer("background", WHOLE_BACKGROUND, Placement(entry, (Transform.shift(0, 0, size),)))
        whole = Scene(path.stem, size, (layer,), dictionary, background=True)
        found.add(path.stem, compare(whole, read_tiled(path, folder, layer), lambda _: True))
        return
    scene_name, scene = _scene_of(path, name, found.scenes)
    behind = scene.layers[0] if scene.background and scene.layers else None
    found.document(scene_name, scene, read_tiled(path, folder, behind))


def _export_of(path: Path) -> Path:
    """The folder of the export that a map is in: the nearest one with tilesets."""
    holds = (
        each for each in path.resolve().parents if (each / "tiles.tsx").exists() or (each / "sprites.tsx").exists()
    )
    return next(holds, path.parent)


def _with_ids(document: Document, owner: Mapping[str, str]) -> Document:
    """Say which layer of a scene each cel was."""
    layers = tuple(replace(layer, layer_id=owner.get(layer.name)) for layer in document.layers)
    return replace(document, layers=layers)

"""LDtk: one project with a level for each scene, for level editors and engines.

    OUT/maps.ldtk           the project, in version 1.5.3 of the format
    OUT/tiles.png           what lies on a lattice
    OUT/sprites.png         what lies at free places, packed: an entity for each, with the scene's layer and its track
    OUT/backgrounds/*.png   backgrounds that are no tiles

What becomes a tile layer says `map_layout`. LDtk flips tiles and entities' pictures never, and does not transpose tiles:
a tile that is, and a sprite that is mirrored, are pictures of their own. Its cells are square: a tile of w x h pixels is
w / g x h / g of them, g being their greatest common divisor. A background that is larger than the canvas has a level of
its own, the first. What is hidden is in a layer that is.

Source: the format's own description (deepnight/ldtk, docs/JSON_DOC.md).
"""

import itertools
import json
import math
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from delaminate.errors import OutputError
from delaminate.exporters.atlas import pack
from delaminate.exporters.blits import Stamp
from delaminate.exporters.files import ExportResult, write_files
from delaminate.exporters.map_layout import ImageLayer, Layer, MapLayout, TileLayer
from delaminate.files import png_bytes
from delaminate.scene.scenes import Scene
from delaminate.scene.validation import MAX_SIDE

VERSION = "1.5.3"
PADDING = 2
"""Free pixels between sprites on their sheet."""
COLOUR = "#000000"
"""What is seen where nothing is."""
FLIPS = {0: 0, 4: 1, 2: 2, 6: 3}
"""LDtk's flips (1: left to right, 2: top to bottom) by orientation."""
TILES, SPRITES = "Tiles", "Entities"
Part = TileLayer | list[Stamp]
"""What a layer of a level shows."""


@dataclass(frozen=True)
class _Slot:
    """A layer that all levels have, if only empty.

    Attributes:
        kind: LDtk's type of layer.
        visible: It is seen.
        name: Its identifier.
        uid: Its number.
    """

    kind: str
    visible: bool
    name: str
    uid: int


def _identifiers(names: Sequence[str]) -> list[str]:
    """Names as LDtk's identifiers: letters, digits and underscores, each once."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        plain = plain if plain[:1].isalpha() else f"N{plain}"
        number = itertools.count(2)
        unique = plain
        while unique in found:
            unique = f"{plain}_{next(number)}"
        found.append(unique)
    return found


def _iid(*parts: object) -> str:
    """An identifier that is the same for the same thing."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "delaminate:" + "/".join(map(str, parts))))


class _Project:
    """The document, and the pictures that it refers to."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self.layout = MapLayout(scenes, flips_only=True)
        self.stamps = self.layout.stamps
        self.next_uid = 1
        self.side = math.gcd(*self.layout.tile)
        self.files: dict[str, bytes] = {}
        self.tilesets: list[dict[str, Any]] = []
        self.tile_uid = self._tiles() if len(self.layout.sheet) else None
        self.sprites = self._sprites()
        self.slots: list[_Slot] = []
        for layers in self._all_layers():
            self._assigned(layers)

    def _uid(self) -> int:
        self.next_uid += 1
        return self.next_uid - 1

    # ---- Definitions ------------------------------------------------------------------------------------------

    def _tileset(self, name: str, pixels: np.ndarray, side: int) -> int:
        """Define a tileset; return its number."""
        uid, (height, width) = self._uid(), pixels.shape[:2]
        self.files[f"{name}.png"] = png_bytes(pixels)
        self.tilesets.append(
            {
                "__cWid": width // side, "__cHei": height // side, "identifier": name.capitalize(), "uid": uid,
                "relPath": f"{name}.png", "embedAtlas": None, "pxWid": width, "pxHei": height, "tileGridSize": side,
                "spacing": 0, "padding": 0, "tags": [], "tagsSourceEnumUid": None, "enumTags": [], "customData": [],
                "savedSelections": [], "cachedPixelData": None,
            }
        )  # fmt: skip
        return uid

    def _tiles(self) -> int:
        return self._tileset("tiles", self.layout.sheet.image(), self.side)

    def _sprites(self) -> dict[tuple[int, bool], dict[str, Any]]:
        """Define an entity for each picture at free places, mirrored ones apart; by picture and whether it is."""
        shown = {
            (stamp.picture, stamp.mirrored)
            for layers in self.layout.layers
            for layer in layers
            if not isinstance(layer, TileLayer | ImageLayer)
            for stamp in layer.stamps
        }
        seen = {picture for picture, _ in shown}
        kinds = sorted(shown | {(picture, False) for picture in self.layout.placed if picture not in seen})
        if not kinds:
            return {}
        pictures = [self.stamps.pictures[n][:, ::-1] if mirrored else self.stamps.pictures[n] for n, mirrored in kinds]
        corners, (width, height) = pack([(p.shape[1], p.shape[0]) for p in pictures], PADDING)
        if max(width, height) > MAX_SIDE:
            raise OutputError(f"ldtk: the sheet would be {width} x {height} pixels; expected sides up to {MAX_SIDE}.")
        sheet = np.zeros((height, width, 4), np.uint8)
        for (left, top), picture in zip(corners, pictures, strict=True):
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        tileset = self._tileset("sprites", sheet, 1)
        names = _identifiers([self.stamps.names[n] + "-mirrored" * mirrored for n, mirrored in kinds])
        return {
            kind: self._entity(name, tileset, corner, picture)
            for kind, name, corner, picture in zip(kinds, names, corners, pictures, strict=True)
        }

    def _entity(self, name: str, tileset: int, corner: tuple[int, int], picture: np.ndarray) -> dict[str, Any]:
        height, width = picture.shape[:2]
        return {
            "identifier": name, "uid": self._uid(), "tags": [], "exportToToc": False, "allowOutOfBounds": True,
            "doc": None, "width": width, "height": height, "resizableX": False, "resizableY": False,
            "minWidth": None, "maxWidth": None, "minHeight": None, "maxHeight": None, "keepAspectRatio": True,
            "tileOpacity": 1, "fillOpacity": 0, "lineOpacity": 0, "hollow": False, "color": "#94D9B3",
            "renderMode": "Tile", "showName": False, "tilesetId": tileset, "tileRenderMode": "FitInside",
            "tileRect": {"tilesetUid": tileset, "x": corner[0], "y": corner[1], "w": width, "h": height},
            "uiTileRect": None, "nineSliceBorders": [], "maxCount": 0, "limitScope": "PerLevel",
            "limitBehavior": "MoveLastOne", "pivotX": 0, "pivotY": 0,
            "fieldDefs": [self._field("layer", "String"), self._field("track", "Int")],
        }  # fmt: skip

    def _field(self, name: str, kind: str) -> dict[str, Any]:
        return {
            "identifier": name, "doc": None, "__type": kind, "uid": self._uid(), "type": f"F_{kind}",
            "isArray": False, "canBeNull": True, "arrayMinLength": None, "arrayMaxLength": None,
            "editorDisplayMode": "Hidden", "editorDisplayScale": 1, "editorDisplayPos": "Above",
            "editorLinkStyle": "StraightArrow", "editorDisplayColor": None, "editorAlwaysShow": False,
            "editorShowInWorld": False, "editorCutLongValues": True, "editorTextSuffix": None,
            "editorTextPrefix": None, "useForSmartColor": False, "exportToToc": False, "searchable": False,
            "min": None, "max": None, "regex": None, "acceptFileTypes": None, "defaultOverride": None,
            "textLanguageMode": None, "symmetricalRef": False, "autoChainRef": True, "allowOutOfLevelRef": True,
            "allowedRefs": "OnlySame", "allowedRefsEntityUid": None, "allowedRefTags": [], "tilesetUid": None,
        }  # fmt: skip

    def _assigned(self, layers: Sequence[Layer]) -> dict[int, Part]:
        """Give a scene's layers slots in their order, new ones where none is left; what is hidden has its own."""
        found: dict[int, Part] = {}
        place = 0
        for kind, visible, part in _parts(layers):
            fits = [
                n
                for n in range(place, len(self.slots))
                if (self.slots[n].kind, self.slots[n].visible) == (kind, visible)
            ]
            if not fits:
                number = 1 + sum((slot.kind, slot.visible) == (kind, visible) for slot in self.slots)
                name = ("Tiles" if kind == TILES else "Sprites") + ("" if visible else "_hidden")
                self.slots.append(_Slot(kind, visible, name if number == 1 else f"{name}_{number}", self._uid()))
            place = 1 + (fits[0] if fits else len(self.slots) - 1)
            found[place - 1] = part
        return found

    def _layer_definitions(self) -> list[dict[str, Any]]:
        return [
            {
                "__type": slot.kind, "identifier": slot.name, "type": slot.kind, "uid": slot.uid, "doc": None,
                "uiColor": None, "gridSize": self.side, "guideGridWid": 0, "guideGridHei": 0, "displayOpacity": 1,
                "inactiveOpacity": 1, "hideInList": False, "hideFieldsWhenInactive": True,
                "canSelectWhenInactive": True, "renderInWorldView": True, "pxOffsetX": 0, "pxOffsetY": 0,
                "parallaxFactorX": 0, "parallaxFactorY": 0, "parallaxScaling": True, "requiredTags": [],
                "excludedTags": [], "autoTilesKilledByOtherLayerUid": None, "uiFilterTags": [],
                "useAsyncRender": False, "intGridValues": [], "intGridValuesGroups": [], "autoRuleGroups": [],
                "autoSourceLayerDefUid": None, "tilesetDefUid": self.tile_uid if slot.kind == TILES else None,
                "tilePivotX": 0, "tilePivotY": 0, "biomeFieldUid": None,
            }
            for slot in reversed(self.slots)  # LDtk lists layers front to back
        ]  # fmt: skip

    def _all_layers(self) -> list[Sequence[Layer]]:
        """The layers of all levels: of whole backgrounds, then of scenes."""
        whole = [
            [TileLayer("background", laid.tiles, laid.orientation, laid.left, laid.top)]
            for laid in self.layout.levels.values()
        ]
        return [*whole, *self.layout.layers]

    # ---- Levels -----------------------------------------------------------------------------------------------

    def _cells(self, layer: TileLayer, columns: int) -> list[dict[str, Any]]:
        """The squares of a layer's tiles; a flipped tile has its squares flipped, each at its mirrored place."""
        sheet, side = self.layout.sheet, self.side
        across, down = self.layout.tile[0] // side, self.layout.tile[1] // side
        found = []
        for row, column in np.argwhere(layer.tiles >= 0).tolist():
            tile, flips = int(layer.tiles[row, column]), FLIPS[int(layer.orientation[row, column])]
            at_row, at_column = divmod(tile, sheet.columns)
            for y, x in itertools.product(range(down), range(across)):
                from_x = across - 1 - x if flips & 1 else x
                from_y = down - 1 - y if flips & 2 else y
                source = at_column * across + from_x, at_row * down + from_y
                place = column * across + x, row * down + y
                found.append(
                    {
                        "px": [place[0] * side, place[1] * side], "src": [source[0] * side, source[1] * side],
                        "f": flips, "t": source[1] * sheet.columns * across + source[0],
                        "d": [place[1] * columns + place[0]], "a": 1,
                    }
                )  # fmt: skip
        return found

    def _placed(self, stamp: Stamp, *where: object) -> dict[str, Any]:
        entity = self.sprites[stamp.picture, stamp.mirrored]
        track = stamp.layer.placement.track
        values = [
            ("layer", "String", "V_String", stamp.layer.id),
            ("track", "Int", "V_Int", track),
        ]
        return {
            "__identifier": entity["identifier"], "__grid": [stamp.left // self.side, stamp.top // self.side],
            "__pivot": [0, 0], "__tags": [], "__tile": entity["tileRect"], "__smartColor": entity["color"],
            "__worldX": None, "__worldY": None, "iid": _iid(*where), "width": entity["width"],
            "height": entity["height"], "defUid": entity["uid"], "px": [stamp.left, stamp.top],
            "fieldInstances": [
                {
                    "__identifier": name, "__type": kind, "__value": value, "__tile": None, "defUid": field["uid"],
                    "realEditorValues": [] if value is None else [{"id": form, "params": [value]}],
                }
                for field, (name, kind, form, value) in zip(entity["fieldDefs"], values, strict=True)
            ],
        }  # fmt: skip

    def _instance(self, slot: _Slot, part: Part | None, level: int, size: tuple[int, int]) -> Any:
        """A layer of a level; an empty one where the scene has none."""
        columns, rows = (-(-n // self.side) for n in size)
        left, top = (part.left, part.top) if isinstance(part, TileLayer) else (0, 0)
        if isinstance(part, TileLayer):
            columns = max(columns, part.tiles.shape[1] * self.layout.tile[0] // self.side)
            rows = max(rows, part.tiles.shape[0] * self.layout.tile[1] // self.side)
        stamps = part if isinstance(part, list) else []
        return {
            "__identifier": slot.name, "__type": slot.kind, "__cWid": columns, "__cHei": rows,
            "__gridSize": self.side, "__opacity": 1, "__pxTotalOffsetX": left, "__pxTotalOffsetY": top,
            "__tilesetDefUid": self.tile_uid if slot.kind == TILES else None,
            "__tilesetRelPath": "tiles.png" if slot.kind == TILES else None, "iid": _iid(level, slot.name),
            "levelId": level, "layerDefUid": slot.uid, "pxOffsetX": left, "pxOffsetY": top,
            "visible": slot.visible, "optionalRules": [], "intGridCsv": [], "autoLayerTiles": [], "seed": 0,
            "overrideTilesetUid": None,
            "gridTiles": self._cells(part, columns) if isinstance(part, TileLayer) else [],
            "entityInstances": [self._placed(stamp, level, slot.name, number) for number, stamp in enumerate(stamps)],
        }  # fmt: skip

    def _picture(self, stamp: Stamp, size: tuple[int, int]) -> dict[str, Any]:
        """A background that is no tiles, as the level's own picture: where it lies is said as a share of what is over."""
        pixels, name = self.stamps.pixels(stamp), self.stamps.names[stamp.picture]
        path = f"backgrounds/{name}.png"
        self.files[path] = png_bytes(np.ascontiguousarray(pixels))
        height, width = pixels.shape[:2]
        over = size[0] - width, size[1] - height
        pivots = [corner / rest if rest else 0.0 for corner, rest in zip((stamp.left, stamp.top), over, strict=True)]
        cut = max(-stamp.left, 0), max(-stamp.top, 0)
        shown = min(width - cut[0], size[0]), min(height - cut[1], size[1])
        return {
            "bgRelPath": path, "bgPos": "Unscaled", "bgPivotX": pivots[0], "bgPivotY": pivots[1],
            "__bgPos": {
                "topLeftPx": [max(stamp.left, 0), max(stamp.top, 0)], "scale": [1, 1], "cropRect": [*cut, *shown],
            },
        }  # fmt: skip

    def _level(self, name: str, size: tuple[int, int], layers: Sequence[Layer]) -> dict[str, Any]:
        uid, parts = self._uid(), self._assigned(layers)
        pictures = [layer.stamp for layer in layers if isinstance(layer, ImageLayer) and layer.stamp.layer.visible]
        no_picture = {"bgRelPath": None, "bgPos": None, "bgPivotX": 0.5, "bgPivotY": 0.5, "__bgPos": None}
        return {
            "identifier": name, "iid": _iid("level", uid), "uid": uid, "worldX": -1, "worldY": -1, "worldDepth": 0,
            "pxWid": size[0], "pxHei": size[1], "__bgColor": COLOUR, "bgColor": None, "useAutoIdentifier": False,
            **(self._picture(pictures[0], size) if pictures else no_picture), "__smartColor": "#ADADB5",
            "externalRelPath": None, "fieldInstances": [], "__neighbours": [],
            "layerInstances": [
                self._instance(slot, parts.get(number), uid, size)
                for number, slot in reversed(list(enumerate(self.slots)))
            ],
        }  # fmt: skip

    def document(self) -> dict[str, Any]:
        """The project."""
        layout, scenes = self.layout, self.layout.scenes
        names = _identifiers([*map(layout.level_name, layout.levels), *(scene.name for scene in scenes)])
        sizes = [laid.shape for laid in layout.levels.values()] + [scene.size for scene in scenes]
        levels = [
            self._level(name, (size[1], size[0]), layers)
            for name, size, layers in zip(names, sizes, self._all_layers(), strict=True)
        ]
        width, height = (levels[0]["pxWid"], levels[0]["pxHei"]) if levels else (256, 256)
        return {
            "__header__": {
                "fileType": "LDtk Project JSON", "app": "LDtk", "doc": "https://ldtk.io/json",
                "schema": "https://ldtk.io/files/JSON_SCHEMA.json", "appAuthor": "Sebastien 'deepnight' Benard",
                "appVersion": VERSION, "url": "https://ldtk.io",
            },
            "iid": _iid("project"), "jsonVersion": VERSION, "appBuildId": 473702, "nextUid": self.next_uid,
            "identifierStyle": "Free", "toc": [], "worldLayout": "LinearHorizontal", "worldGridWidth": width,
            "worldGridHeight": height, "defaultLevelWidth": width, "defaultLevelHeight": height, "defaultPivotX": 0,
            "defaultPivotY": 0, "defaultGridSize": self.side, "defaultEntityWidth": self.side,
            "defaultEntityHeight": self.side, "bgColor": "#40465B", "defaultLevelBgColor": COLOUR,
            "minifyJson": False, "externalLevels": False, "exportTiled": False, "simplifiedExport": False,
            "imageExportMode": "None", "exportLevelBg": True, "pngFilePattern": None, "backupOnSave": False,
            "backupLimit": 10, "backupRelPath": None, "levelNamePattern": "%world_Level_%idx", "tutorialDesc": None,
            "customCommands": [], "flags": [],
            "defs": {
                "layers": self._layer_definitions(), "entities": list(self.sprites.values()),
                "tilesets": self.tilesets, "enums": [], "externalEnums": [], "levelFields": [],
            },
            "levels": levels, "worlds": [], "dummyWorldIid": _iid("world"),
        }  # fmt: skip


def _parts(layers: Sequence[Layer]) -> Iterator[tuple[str, bool, Part]]:
    """What each layer of a scene is to a level, back to front: its type, whether it is seen, and what it shows."""
    for layer in layers:
        if isinstance(layer, TileLayer):
            yield TILES, layer.visible, layer
        elif not isinstance(layer, ImageLayer):
            for visible in (False, True):
                some = [stamp for stamp in layer.stamps if stamp.layer.visible == visible]
                if some:
                    yield SPRITES, visible, some


def write_ldtk(scenes: Sequence[Scene], out: str | Path) -> ExportResult:
    """Write `OUT/maps.ldtk` and the pictures of its tilesets.

    Args:
        scenes: Scenes of one decomposition.
        out: The folder.

    Raises:
        ConfigError: The scenes do not share a dictionary.
        OutputError: The sheet of sprites would be too large, or a file cannot be written.
    """
    project = _Project(scenes)
    document = json.dumps(project.document(), indent="\t", ensure_ascii=False) + "\n"
    files = {"maps.ldtk": document.encode(), **project.files}
    return write_files(out, files, project.stamps.error(scenes))

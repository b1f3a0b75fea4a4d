"""Tiled: one map per scene with a tileset that all share, for level editors.

    OUT/<name>.tmx          layers back to front: an image layer for the background, tile layers, object layers
    OUT/sprites.tsx         a collection of images, one tile for each picture
    OUT/sprites/*.png       the pictures, trimmed

The grid is found, not asked for: of the commonest sizes of trimmed sprites, the one with most pixels on a lattice of its
own step, whose phase may differ from scene to scene (a clip that scrolls). What lies on it goes into tile layers, in
CSV, with the mirror in bit 31 of the tile's number; everything else is an object at its place. The order of placements
that overlap is kept. Opacity is in the pictures.
"""

import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from delaminate.exporters.blits import Stamp, Stamps, cut_stamps
from delaminate.exporters.files import ExportResult
from delaminate.files import png_bytes, write_atomic
from delaminate.scene.scenes import Scene

MIRRORED = 0x80000000
NO_GRID = (16, 16)  # shown by the editor where nothing repeats
SIZES_TRIED, LEAST_SIDE = 6, 4
VERSION = 'version="1.10" tiledversion="1.10.2"'

Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Grid:
    """Where tiles lie: cell (column, row) has its corner at (left + column * width, top + row * height).

    Attributes:
        width, height: Of a cell in pixels.
        corners: Left and top of cell (0, 0) in each scene, above -width and -height and at most 0.
        count: How many visible placements lie on it.
    """

    width: int
    height: int
    corners: tuple[tuple[int, int], ...]
    count: int


def _objects(scene: Scene, frame: Sequence[Stamp]) -> Sequence[Stamp]:
    return frame[1:] if scene.background else frame


def _size(stamps: Stamps, stamp: Stamp) -> Size:
    height, width = stamps.pictures[stamp.picture].shape[:2]
    return width, height


def find_grid(scenes: Sequence[Scene], stamps: Stamps) -> Grid:
    """Find the lattice that most pixels of repeated placements lie on.

    Returns:
        The grid; `count` is 0, and its cells are 16 x 16, where no size comes twice on one lattice of a scene.
    """
    seen: Counter[Size] = Counter()
    for scene, frame in zip(scenes, stamps.frames, strict=True):
        seen.update(_size(stamps, stamp) for stamp in _objects(scene, frame) if stamp.layer.visible)
    best = Grid(*NO_GRID, ((0, 0),) * len(scenes), 0)
    common = sorted(seen.items(), key=lambda item: (-item[1] * item[0][0] * item[0][1], item[0]))
    for (width, height), _ in [item for item in common if min(item[0]) >= LEAST_SIDE][:SIZES_TRIED]:
        corners, count = [], 0
        for scene, frame in zip(scenes, stamps.frames, strict=True):
            phases = Counter(
                (stamp.left % width, stamp.top % height)
                for stamp in _objects(scene, frame)
                if stamp.layer.visible and _size(stamps, stamp) == (width, height)
            )
            (x, y), number = min(phases.items(), key=lambda item: (-item[1], item[0])) if phases else ((0, 0), 0)
            corners.append((x - width if x else 0, y - height if y else 0))
            count += number if number > 1 else 0
        if count * width * height > best.count * best.width * best.height:
            best = Grid(width, height, tuple(corners), count)
    return best


@dataclass
class _Layer:
    """A layer of the map: tiles by their cell, or objects in their order."""

    tiles: dict[tuple[int, int], Stamp] | None = None
    objects: list[Stamp] = field(default_factory=list)


def _sort_into_layers(
    stamps: Stamps, frame: Sequence[Stamp], grid: Grid, corner: tuple[int, int], size: Size
) -> list[_Layer]:
    """Give every stamp the first layer of its kind that no overlapping stamp behind it comes after."""
    layers: list[_Layer] = []
    boxes = np.zeros((len(frame), 4), np.int64)
    places = np.full(len(frame), -1)
    for index, stamp in enumerate(frame):
        width, height = _size(stamps, stamp)
        left, top, right, bottom = stamp.left, stamp.top, stamp.left + width, stamp.top + height
        column, off_column = divmod(left - corner[0], grid.width)
        row, off_row = divmod(top - corner[1], grid.height)
        fits = (width, height) == (grid.width, grid.height) and off_column == off_row == 0
        inside = left < size[0] and top < size[1] and column >= 0 and row >= 0
        tile = grid.count > 0 and fits and inside and stamp.layer.visible
        behind = boxes[:index]
        overlap = (behind[:, 0] < right) & (behind[:, 2] > left) & (behind[:, 1] < bottom) & (behind[:, 3] > top)
        lowest = int(places[:index][overlap].max(initial=-1))
        place = max(lowest, 0)
        while place < len(layers):
            tiles = layers[place].tiles
            if (tiles is not None) == tile and (tiles is None or (column, row) not in tiles):
                break
            place += 1
        if place == len(layers):
            layers.append(_Layer({} if tile else None))
        tiles = layers[place].tiles
        if tiles is None:
            layers[place].objects.append(stamp)
        else:
            tiles[column, row] = stamp
        boxes[index] = left, top, right, bottom
        places[index] = place
    return layers


class _Map:
    """Writes one scene."""

    def __init__(self, scene: Scene, stamps: Stamps, tile_ids: dict[int, int], grid: Grid, corner: tuple[int, int]):
        self.scene, self.stamps, self.tile_ids, self.grid, self.corner = scene, stamps, tile_ids, grid, corner
        self.columns = -(-(scene.size[1] - corner[0]) // grid.width)
        self.rows = -(-(scene.size[0] - corner[1]) // grid.height)
        self.next_object = 1

    def _number(self, stamp: Stamp) -> int:
        return self.tile_ids[stamp.picture] + 1 + (MIRRORED if stamp.mirrored else 0)

    def _tile_layer(self, number: int, tiles: dict[tuple[int, int], Stamp]) -> list[str]:
        cells = [[0] * self.columns for _ in range(self.rows)]
        for (column, row), stamp in tiles.items():
            cells[row][column] = self._number(stamp)
        left, top = self.corner
        shift = f' offsetx="{left}" offsety="{top}"' if (left, top) != (0, 0) else ""
        text = ",\n".join(",".join(map(str, row)) for row in cells)
        return [
            f' <layer id="{number}" name="tiles {number}" width="{self.columns}" height="{self.rows}"{shift}>',
            f'  <data encoding="csv">\n{text}\n</data>',
            " </layer>",
        ]

    def _object(self, stamp: Stamp) -> list[str]:
        width, height = _size(self.stamps, stamp)
        hidden = "" if stamp.layer.visible else ' visible="0"'
        # A tile object's place is its lower left corner.
        start = (
            f'  <object id="{self.next_object}" name={quoteattr(stamp.layer.name)} gid="{self._number(stamp)}" '
            f'x="{stamp.left}" y="{stamp.top + height}" width="{width}" height="{height}"{hidden}'
        )
        self.next_object += 1
        track = stamp.layer.placement.track
        if track is None:
            return [start + "/>"]
        row = f'   <properties><property name="track" type="int" value="{track}"/></properties>'
        return [start + ">", row, "  </object>"]

    def _object_layer(self, number: int, objects: Sequence[Stamp]) -> list[str]:
        lines = [f' <objectgroup id="{number}" name="objects {number}" draworder="index">']
        for stamp in objects:
            lines += self._object(stamp)
        return [*lines, " </objectgroup>"]

    def _image_layer(self, number: int, stamp: Stamp, source: str) -> list[str]:
        width, height = _size(self.stamps, stamp)
        hidden = "" if stamp.layer.visible else ' visible="0"'
        name = quoteattr(stamp.layer.name)
        return [
            f' <imagelayer id="{number}" name={name} offsetx="{stamp.left}" offsety="{stamp.top}"{hidden}>',
            f'  <image source={quoteattr(source)} width="{width}" height="{height}"/>',
            " </imagelayer>",
        ]

    def text(self, frame: Sequence[Stamp], up: str, background: str | None) -> str:
        """Write the map; `up` leads from its folder to the tileset's."""
        objects = list(_objects(self.scene, frame))
        height, width = self.scene.size
        parts: list[list[str]] = []
        if background is not None:
            parts.append(self._image_layer(1, frame[0], f"{up}sprites/{background}.png"))
        for layer in _sort_into_layers(self.stamps, objects, self.grid, self.corner, (width, height)):
            number = len(parts) + 1
            tiles = layer.tiles
            parts.append(
                self._object_layer(number, layer.objects) if tiles is None else self._tile_layer(number, tiles)
            )
        head = (
            f'<map {VERSION} orientation="orthogonal" renderorder="right-down" width="{self.columns}" '
            f'height="{self.rows}" tilewidth="{self.grid.width}" tileheight="{self.grid.height}" infinite="0" '
            f'nextlayerid="{len(parts) + 1}" nextobjectid="{self.next_object}">'
        )
        properties = [
            " <properties>",
            f'  <property name="canvas_height" type="int" value="{height}"/>',
            f'  <property name="canvas_width" type="int" value="{width}"/>',
            f'  <property name="image" value={quoteattr(self.scene.name)}/>',
            " </properties>",
        ]
        tileset = f' <tileset firstgid="1" source={quoteattr(up + "sprites.tsx")}/>'
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', head, *properties, tileset]
        return "\n".join([*lines, *(line for part in parts for line in part), "</map>", ""])


def _tileset(stamps: Stamps, tile_ids: dict[int, int]) -> str:
    sizes = [stamps.pictures[index].shape[:2] for index in tile_ids]
    high, wide = (max([size[axis] for size in sizes], default=1) for axis in (0, 1))
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<tileset {VERSION} name="sprites" tilewidth="{wide}" tileheight="{high}" tilecount="{len(tile_ids)}" '
        'columns="0">',
        ' <grid orientation="orthogonal" width="1" height="1"/>',
    ]
    for index, tile in tile_ids.items():
        height, width = stamps.pictures[index].shape[:2]
        name = stamps.names[index]
        image = f'<image width="{width}" height="{height}" source={quoteattr(f"sprites/{name}.png")}/>'
        lines.append(f' <tile id="{tile}" type={quoteattr(name)}>{image}</tile>')
    return "\n".join([*lines, "</tileset>", ""])


def _backgrounds(scenes: Sequence[Scene], stamps: Stamps) -> list[int | None]:
    """Choose each scene's background picture; an image layer knows no mirror, so a mirrored one becomes a picture."""
    chosen: list[int | None] = []
    turned: dict[int, int] = {}
    for scene, frame in zip(scenes, stamps.frames, strict=True):
        if not (scene.background and frame):
            chosen.append(None)
            continue
        index = frame[0].picture
        if frame[0].mirrored:
            if index not in turned:
                turned[index] = len(stamps.pictures)
                stamps.pictures.append(np.ascontiguousarray(stamps.pictures[index][:, ::-1]))
                stamps.names.append(f"{stamps.names[index]}-mirrored")
            index = turned[index]
        chosen.append(index)
    return chosen


def write_tiled(scenes: Sequence[Scene], out: str | Path) -> ExportResult:
    """Write `OUT/<name>.tmx` for each scene, and the tileset.

    Args:
        scenes: Scenes of one decomposition.
        out: The folder.

    Raises:
        ConfigError: The scenes do not share a dictionary.
        OutputError: A file cannot be written.
    """
    out = Path(out)
    stamps = cut_stamps(scenes, opacity=False, trim=True)
    error = stamps.error(scenes)
    grid = find_grid(scenes, stamps)
    used = {
        stamp.picture for scene, frame in zip(scenes, stamps.frames, strict=True) for stamp in _objects(scene, frame)
    }
    if scenes:
        used |= set(range(len(scenes[0].dictionary) - len(scenes[0].dictionary.backgrounds)))
    tile_ids = {index: tile for tile, index in enumerate(sorted(used))}
    backgrounds = _backgrounds(scenes, stamps)
    files = []
    for index in sorted(used | {index for index in backgrounds if index is not None}):
        files.append(out / "sprites" / f"{stamps.names[index]}.png")
        write_atomic(files[-1], png_bytes(np.ascontiguousarray(stamps.pictures[index])))
    files.append(out / "sprites.tsx")
    write_atomic(files[-1], _tileset(stamps, tile_ids).encode())
    for number, scene in enumerate(scenes):
        up = posixpath.relpath(".", posixpath.dirname(scene.name) or ".")
        background = backgrounds[number]
        written = _Map(scene, stamps, tile_ids, grid, grid.corners[number]).text(
            stamps.frames[number],
            "" if up == "." else f"{up}/",
            None if background is None else stamps.names[background],
        )
        files.append(out / f"{scene.name}.tmx")
        write_atomic(files[-1], written.encode())
    return ExportResult(tuple(files), error)

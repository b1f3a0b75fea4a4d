"""The XML of Tiled: maps (.tmx) and tilesets (.tsx)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

import numpy as np

from delaminate.exporters.blits import Stamp, Stamps
from delaminate.exporters.map_layout import Layer, ObjectLayer, Size, TileLayer
from delaminate.exporters.tile_sheet import TileSheet
from delaminate.matching.tile_cells import MIRRORED

VERSION = 'version="1.10" tiledversion="1.10.2"'
HEADER = '<?xml version="1.0" encoding="UTF-8"?>'
FLAGS_FROM = 29  # the first of the three bits of a tile's number that say how it is turned


@dataclass(frozen=True)
class Tilesets:
    """What all maps share: the sheet of tiles, and pictures by their number in the collection of sprites."""

    sheet: TileSheet
    sprites: dict[int, int]
    stamps: Stamps

    @property
    def first_sprite(self) -> int:
        """The number that maps give the first sprite; the sheet's tiles have 1 and on."""
        return 1 + len(self.sheet)

    def size(self, stamp: Stamp) -> Size:
        height, width = self.stamps.pictures[stamp.picture].shape[:2]
        return width, height

    def references(self, up: str) -> list[str]:
        """What a map says of its tilesets; `up` leads from its folder to theirs."""
        found = []
        if len(self.sheet):
            found.append(f' <tileset firstgid="1" source={quoteattr(up + "tiles.tsx")}/>')
        if self.sprites:
            found.append(f' <tileset firstgid="{self.first_sprite}" source={quoteattr(up + "sprites.tsx")}/>')
        return found


class MapWriter:
    """Writes one map.

    Args:
        tilesets: What all maps share.
        tile: Width and height of the map's cells.
        canvas: Width and height of the picture that the map shows.
    """

    def __init__(self, tilesets: Tilesets, tile: Size, canvas: Size) -> None:
        self.tilesets, self.tile, self.canvas = tilesets, tile, canvas
        self.columns, self.rows = 1, 1
        self.next_object = 1

    def _tile_layer(self, number: int, layer: TileLayer) -> list[str]:
        cells = np.zeros((self.rows, self.columns), np.int64)
        rows, columns = layer.tiles.shape
        flags = layer.orientation.astype(np.int64) << FLAGS_FROM
        cells[:rows, :columns] = np.where(layer.tiles >= 0, (layer.tiles + 1) | flags, 0)
        shift = f' offsetx="{layer.left}" offsety="{layer.top}"' if (layer.left, layer.top) != (0, 0) else ""
        hidden = "" if layer.visible else ' visible="0"'
        text = ",\n".join(",".join(map(str, row)) for row in cells.tolist())
        return [
            f' <layer id="{number}" name={quoteattr(layer.name)} width="{self.columns}" height="{self.rows}"'
            f"{shift}{hidden}>",
            f'  <data encoding="csv">\n{text}\n</data>',
            " </layer>",
        ]

    def _object(self, stamp: Stamp) -> list[str]:
        width, height = self.tilesets.size(stamp)
        gid = self.tilesets.first_sprite + self.tilesets.sprites[stamp.picture]
        gid |= (MIRRORED << FLAGS_FROM) * stamp.mirrored
        hidden = "" if stamp.layer.visible else ' visible="0"'
        # A tile object's place is its lower left corner.
        start = (
            f'  <object id="{self.next_object}" name={quoteattr(stamp.layer.name)} gid="{gid}" '
            f'x="{stamp.left}" y="{stamp.top + height}" width="{width}" height="{height}"{hidden}'
        )
        self.next_object += 1
        track = stamp.layer.placement.track
        rows = [f'<property name="layer" value="{stamp.layer.id}"/>']
        if track is not None:
            rows.append(f'<property name="track" type="int" value="{track}"/>')
        return [start + ">", f"   <properties>{''.join(rows)}</properties>", "  </object>"]

    def _layer(self, number: int, layer: Layer, up: str) -> list[str]:
        if isinstance(layer, TileLayer):
            return self._tile_layer(number, layer)
        if isinstance(layer, ObjectLayer):
            lines = [f' <objectgroup id="{number}" name="objects {number}" draworder="index">']
            for stamp in layer.stamps:
                lines += self._object(stamp)
            return [*lines, " </objectgroup>"]
        stamp = layer.stamp
        width, height = self.tilesets.size(stamp)
        hidden = "" if stamp.layer.visible else ' visible="0"'
        name = quoteattr(stamp.layer.name)
        source = f"{up}sprites/{self.tilesets.stamps.names[stamp.picture]}.png"
        return [
            f' <imagelayer id="{number}" name={name} offsetx="{stamp.left}" offsety="{stamp.top}"{hidden}>',
            f'  <image source={quoteattr(source)} width="{width}" height="{height}"/>',
            " </imagelayer>",
        ]

    def text(self, layers: Sequence[Layer], up: str, properties: dict[str, int | str]) -> str:
        """Write the map; `up` leads from its folder to the tilesets'."""
        (width, height), (across, down) = self.canvas, self.tile
        tiled = [layer for layer in layers if isinstance(layer, TileLayer)]
        self.columns = max([-(-width // across), *(layer.tiles.shape[1] for layer in tiled)])
        self.rows = max([-(-height // down), *(layer.tiles.shape[0] for layer in tiled)])
        parts = [self._layer(number, layer, up) for number, layer in enumerate(layers, 1)]
        head = (
            f'<map {VERSION} orientation="orthogonal" renderorder="right-down" width="{self.columns}" '
            f'height="{self.rows}" tilewidth="{across}" tileheight="{down}" infinite="0" '
            f'nextlayerid="{len(parts) + 1}" nextobjectid="{self.next_object}">'
        )
        rows = [" <properties>"]
        for name, value in sorted({**properties, "canvas_width": width, "canvas_height": height}.items()):
            kind = ' type="int"' if isinstance(value, int) else ""
            rows.append(f'  <property name="{name}"{kind} value={quoteattr(str(value))}/>')
        rows.append(" </properties>")
        lines = [HEADER, head, *rows, *self.tilesets.references(up)]
        return "\n".join([*lines, *(line for part in parts for line in part), "</map>", ""])


def sheet_text(sheet: TileSheet, milliseconds: float) -> str:
    """Write the tileset of a sheet, whose image is tiles.png; a frame is seen for so many milliseconds."""
    (height, width), columns = sheet.size, sheet.columns
    rows = -(-len(sheet) // columns)
    lines = [
        HEADER,
        f'<tileset {VERSION} name="tiles" tilewidth="{width}" tileheight="{height}" spacing="0" margin="0" '
        f'tilecount="{rows * columns}" columns="{columns}">',
        f' <image source="tiles.png" width="{columns * width}" height="{rows * height}"/>',
    ]
    for animation in sheet.animations:
        ends = [round(sum(animation.durations[:end]) * milliseconds) for end in range(len(animation.tiles) + 1)]
        spans = [after - before for before, after in itertools.pairwise(ends)]
        frames = "".join(
            f'<frame tileid="{tile}" duration="{span}"/>' for tile, span in zip(animation.tiles, spans, strict=True)
        )
        lines.append(f' <tile id="{animation.tile}"><animation>{frames}</animation></tile>')
    return "\n".join([*lines, "</tileset>", ""])


def collection_text(stamps: Stamps, sprites: dict[int, int]) -> str:
    """Write the tileset of sprites, a file for each."""
    sizes = [stamps.pictures[index].shape[:2] for index in sprites]
    high, wide = (max([size[axis] for size in sizes], default=1) for axis in (0, 1))
    lines = [
        HEADER,
        f'<tileset {VERSION} name="sprites" tilewidth="{wide}" tileheight="{high}" tilecount="{len(sprites)}" '
        'columns="0">',
        ' <grid orientation="orthogonal" width="1" height="1"/>',
    ]
    for index, tile in sprites.items():
        height, width = stamps.pictures[index].shape[:2]
        name = stamps.names[index]
        image = f'<image width="{width}" height="{height}" source={quoteattr(f"sprites/{name}.png")}/>'
        lines.append(f' <tile id="{tile}" type={quoteattr(name)}>{image}</tile>')
    return "\n".join([*lines, "</tileset>", ""])

"""Draws maps of Tiled from what pytiled-parser says of them."""

from pathlib import Path

import numpy as np
import pytiled_parser
from PIL import Image
from pytiled_parser import ImageLayer, ObjectLayer, TileLayer

from helpers.exports import over
from helpers.maps import oriented

NUMBER = 0x1FFFFFFF


def open_map(path):
    return pytiled_parser.parse_map(Path(path))


class Tiles:
    """The pictures of a map's tiles by their numbers, turned as the number's bits say."""

    def __init__(self, found):
        self.sets = sorted(found.tilesets.values(), key=lambda tileset: -tileset.firstgid)
        self.sheets = {tileset.firstgid: np.asarray(Image.open(tileset.image).convert("RGBA")) for tileset in self.sets
                       if tileset.image}  # fmt: skip
        self.cut = {}

    def __call__(self, number):
        if number not in self.cut:
            tileset = next(tileset for tileset in self.sets if tileset.firstgid <= number & NUMBER)
            index = (number & NUMBER) - tileset.firstgid
            if tileset.image:
                assert index < tileset.tile_count
                row, column = divmod(index, tileset.columns)
                top = tileset.margin + row * (tileset.tile_height + tileset.spacing)
                left = tileset.margin + column * (tileset.tile_width + tileset.spacing)
                sheet = self.sheets[tileset.firstgid]
                pixels = sheet[top : top + tileset.tile_height, left : left + tileset.tile_width]
            else:
                pixels = np.asarray(Image.open(tileset.tiles[index].image).convert("RGBA"))
            self.cut[number] = oriented(pixels, number >> 29)
        return self.cut[number]


def draw_tiled(found):
    """Composite a map: (H, W, 3), float64."""
    canvas = np.zeros((found.properties["canvas_height"], found.properties["canvas_width"], 3))
    picture = Tiles(found)
    for layer in found.layers:
        left, top = int(layer.offset.x), int(layer.offset.y)
        if not layer.visible:
            continue
        if isinstance(layer, ImageLayer):
            over(canvas, np.asarray(Image.open(found.map_file.parent / layer.image)), left, top)
        elif isinstance(layer, ObjectLayer):
            for placed in layer.tiled_objects:
                pixels = picture(placed.gid)
                assert (placed.size.height, placed.size.width) == pixels.shape[:2]
                if placed.visible:
                    over(canvas, pixels, int(placed.coordinates.x), int(placed.coordinates.y - placed.size.height))
        else:
            assert isinstance(layer, TileLayer)
            for row, numbers in enumerate(layer.data):
                for column, number in enumerate(numbers):
                    if number:
                        pixels = picture(number)
                        assert pixels.shape[:2] == (found.tile_size.height, found.tile_size.width)
                        over(canvas, pixels, left + column * pixels.shape[1], top + row * pixels.shape[0])
    return canvas

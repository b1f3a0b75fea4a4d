"""Draws levels of an LDtk project from its JSON and its pictures alone."""

import json

import numpy as np
from PIL import Image

from helpers.exports import over


def open_project(path):
    """The document, and the pictures of its tilesets by their numbers."""
    document = json.loads(path.read_text())
    sheets = {}
    for tileset in document["defs"]["tilesets"]:
        sheets[tileset["uid"]] = np.asarray(Image.open(path.parent / tileset["relPath"]).convert("RGBA"))
        assert sheets[tileset["uid"]].shape[:2] == (tileset["pxHei"], tileset["pxWid"])
    return document, sheets


def level_named(document, name):
    return next(level for level in document["levels"] if level["identifier"] == name)


def draw_level(path, level, document, sheets):
    """Composite a level: (H, W, 3), float64."""
    canvas = np.zeros((level["pxHei"], level["pxWid"], 3))
    if level["bgRelPath"] is not None:
        picture = np.asarray(Image.open(path.parent / level["bgRelPath"]).convert("RGBA"))
        left, top, width, height = level["__bgPos"]["cropRect"]
        over(canvas, picture[top : top + height, left : left + width], *level["__bgPos"]["topLeftPx"])
        # The editor works the same out of the pivot: a share of what the level is larger than the picture.
        for axis, (pivot, side) in enumerate((("bgPivotX", "pxWid"), ("bgPivotY", "pxHei"))):
            rest = level[side] - picture.shape[1 - axis]
            corner = level["__bgPos"]["topLeftPx"][axis] - level["__bgPos"]["cropRect"][axis]
            assert 0 <= level[pivot] <= 1
            assert round(level[pivot] * rest) == corner
    assert [layer["layerDefUid"] for layer in level["layerInstances"]] == [d["uid"] for d in document["defs"]["layers"]]
    for layer in reversed(level["layerInstances"]):
        if layer["visible"]:
            _draw_layer(canvas, layer, document, sheets)
    return canvas


def _draw_layer(canvas, layer, document, sheets):
    side, shift = layer["__gridSize"], (layer["__pxTotalOffsetX"], layer["__pxTotalOffsetY"])
    for tile in layer["gridTiles"]:
        sheet = sheets[layer["__tilesetDefUid"]]
        left, top = tile["src"]
        assert tile["t"] == top // side * (sheet.shape[1] // side) + left // side
        assert tile["d"] == [tile["px"][1] // side * layer["__cWid"] + tile["px"][0] // side]
        assert tile["px"][0] // side < layer["__cWid"]
        assert tile["px"][1] // side < layer["__cHei"]
        pixels = sheet[top : top + side, left : left + side]
        pixels = pixels[:, ::-1] if tile["f"] & 1 else pixels
        pixels = pixels[::-1] if tile["f"] & 2 else pixels
        over(canvas, pixels, tile["px"][0] + shift[0], tile["px"][1] + shift[1])
    kinds = {entity["uid"]: entity for entity in document["defs"]["entities"]}
    for placed in layer["entityInstances"]:
        entity, where = kinds[placed["defUid"]], placed["__tile"]
        assert (entity["identifier"], entity["tileRect"]) == (placed["__identifier"], where)
        assert (placed["width"], placed["height"]) == (where["w"], where["h"])
        sheet = sheets[where["tilesetUid"]]
        pixels = sheet[where["y"] : where["y"] + where["h"], where["x"] : where["x"] + where["w"]]
        over(canvas, pixels, placed["px"][0] + shift[0], placed["px"][1] + shift[1])

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from helpers.exports import CANVAS, clip, composite, random, scenes
from PIL import Image

from delaminate.errors import ConfigError
from delaminate.exporters.placements import COLUMNS, write_placements
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform


def picture(path):
    return torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1).float() / 255


def number(text):
    value = float(text)
    assert text == str(int(value)) or "." in text or "e" in text
    return value


def read_rows(folder):
    return list(csv.DictReader((folder / "placements.csv").read_text("utf-8").splitlines()))


def from_table(folder, size, dictionary):
    """Put the images together from the CSV and the sprites alone: every row with a sprite and a matrix."""
    images = {}
    for row in read_rows(folder):
        assert tuple(row) == COLUMNS
        placements = images.setdefault(row["image"], [])
        assert number(row["order"]) == len(placements)
        a, b, c, d, e, f = (number(row[key]) for key in "abcdef")
        colour = tuple(
            number(row[f"{name}_{kind}"]) for kind in ("gain", "offset") for name in ("red", "green", "blue")
        )
        entry = [dictionary.name(i) for i in range(len(dictionary))].index(row["sprite"])
        where = Transform("matrix", (a, c, e, b, d, f, 0, 0, 1), size)
        placements.append(Placement(entry, (where,), colour, number(row["opacity"])))
        assert row["visible"] == "1"
        assert row["flip"] == str(int(a < 0))
    return images


def test_images_come_back_from_the_csv_and_the_sprites(tmp_path):
    shown = clip()
    result = write_placements(shown, tmp_path, rate=25.0)
    old = shown[0].dictionary
    sprites = tuple(picture(tmp_path / "sprites" / f"{old.name(i)}.png") for i in range(len(old)))
    found = from_table(tmp_path, shown[0].size, old)
    worst = 0.0
    for scene in shown[:-1]:
        again = Decomposition(Dictionary(sprites, (4,)), (tuple(found[scene.name]),), scene.size, True)
        worst = max(worst, np.abs(again.composite()[0].permute(1, 2, 0).numpy() - composite(scene)).max())
    assert worst == pytest.approx(result.max_error, abs=1e-7)
    assert worst < 0.003
    rows = read_rows(tmp_path)
    runner = [row for row in rows if row["track"] == "7"]
    assert [(row["x"], row["y"], row["flip"]) for row in runner[:3]] == [
        ("-4", "19", "0"),
        ("1", "19", "1"),
        ("6", "19", "0"),
    ]
    assert [row["seconds"] for row in runner[:3]] == ["0", "0.04", "0.08"]


def test_images_come_back_from_the_json_whatever_they_hold(tmp_path):
    spline = Transform("thin_plate_spline", tuple(0.1 * float(x) for x in random(50, 32)), CANVAS)
    shown = scenes()
    layers = list(shown[0].layers)
    placement = dataclasses.replace(layers[2].placement, transforms=(*layers[2].placement.transforms, spline))
    layers[2] = dataclasses.replace(layers[2], placement=placement)
    shown[0] = dataclasses.replace(shown[0], layers=tuple(layers))
    result = write_placements(shown, tmp_path)
    document = json.loads((tmp_path / "placements.json").read_text())
    assert (document["format"], document["version"], document["rate"]) == ("delaminate-placements", 1, None)
    names = [row["name"] for row in document["sprites"]]
    sprites = tuple(picture(tmp_path / row["file"]) for row in document["sprites"])
    backgrounds = tuple(i for i, row in enumerate(document["sprites"]) if row["background"])
    worst = 0.0
    for scene, frame in zip(shown, document["frames"], strict=True):
        placements = []
        for row in frame["placements"]:
            if not row["visible"]:
                continue
            steps = tuple(Transform(s["kind"], tuple(s["parameters"]), tuple(s["size"])) for s in row["transforms"])
            colour = tuple(row[f"{name}_{kind}"] for kind in ("gain", "offset") for name in ("red", "green", "blue"))
            entry = -1 if row["sprite"] is None else names.index(row["sprite"])
            raster = picture(tmp_path / row["raster"]) if entry == -1 else None
            placements.append(Placement(entry, steps, colour, row["opacity"], row["track"], raster))
        size = (frame["height"], frame["width"])
        again = Decomposition(Dictionary(sprites, backgrounds), (tuple(placements),), size, frame["background"])
        worst = max(worst, np.abs(again.composite()[0].permute(1, 2, 0).numpy() - composite(scene)).max())
    assert worst == pytest.approx(result.max_error, abs=1e-7)
    assert worst < 0.01
    assert document["frames"][0]["placements"][2]["x"] is None


def test_no_cell_is_a_formula_and_numbers_stay_numbers(tmp_path):
    shown = clip(2)
    names = ["=1+1", "+x", "-x", "@SUM(A1)", 'a,"b"']
    layers = tuple(dataclasses.replace(layer, name=name) for layer, name in zip(shown[0].layers, names, strict=False))
    scene = dataclasses.replace(shown[0], layers=layers, name="=cmd.png")
    write_placements([scene], tmp_path)
    rows = read_rows(tmp_path)
    assert [row["name"] for row in rows] == ["'=1+1", "'+x", "'-x", "'@SUM(A1)", 'a,"b"']
    assert {row["image"] for row in rows} == {"'=cmd.png"}
    assert rows[1]["x"] == "-8"
    # JSON is for programs: it has the names as they are.
    document = json.loads((tmp_path / "placements.json").read_text())
    assert document["frames"][0]["placements"][0]["name"] == "=1+1"


def test_no_scenes_give_a_table_without_rows_and_a_wrong_rate_is_refused(tmp_path):
    write_placements([], tmp_path)
    assert (tmp_path / "placements.csv").read_text() == ",".join(COLUMNS) + "\n"
    with pytest.raises(ConfigError, match="frames per second"):
        write_placements([], tmp_path, rate=0.0)

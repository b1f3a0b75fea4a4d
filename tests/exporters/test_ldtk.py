import dataclasses
import re

import numpy as np
import pytest
from helpers.exports import clip, composite, scenes, solid
from helpers.ldtk_reader import draw_level, level_named, open_project
from helpers.maps import draw_map, generator, over_backgrounds

from delaminate.exporters.ldtk import write_ldtk
from delaminate.files import from_pixels
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform


def drawn_again(folder):
    """Every level by its name, as an independent reader draws it."""
    path = folder / "maps.ldtk"
    document, sheets = open_project(path)
    return {level["identifier"]: draw_level(path, level, document, sheets) for level in document["levels"]}


@pytest.mark.parametrize(
    "shown", [clip(), clip(background=False), scenes(), scenes(False)], ids=["clip", "bare", "a", "b"]
)
def test_levels_composite_to_the_scenes_within_the_recorded_error(tmp_path, shown):
    result = write_ldtk(shown, tmp_path)
    assert result.max_error < 0.01
    found = drawn_again(tmp_path)
    assert len(found) == len(shown)
    errors = [np.abs(each - composite(scene)).max() for each, scene in zip(found.values(), shown, strict=True)]
    assert max(errors) == pytest.approx(result.max_error, abs=1e-9)
    assert set(result.files) == {path for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", [(16, 16), (16, 24), (15, 10)])
def test_a_map_is_drawn_again_exactly_whatever_its_tiles_measure(tmp_path, size):
    drawn = draw_map(generator(3), size, (12 * size[0], 13 * size[1]))
    (scene,) = over_backgrounds([drawn.picture], [(0, 0, 0)], drawn.picture.shape[:2], ["map"])
    result = write_ldtk([scene], tmp_path)
    assert {path.name for path in result.files} == {"maps.ldtk", "tiles.png"}
    document, _ = open_project(tmp_path / "maps.ldtk")
    (layer,) = document["defs"]["layers"]
    assert layer["gridSize"] == np.gcd(*size)
    assert (np.rint(drawn_again(tmp_path)["map"] * 255) == drawn.picture).all()


def test_a_level_that_scrolls_is_one_level_and_each_frame_a_window_of_it(tmp_path):
    level = draw_map(generator(8), (18, 18), (200, 800), tiles=20, palettes=1, runs=0.3)
    corners = [(0, number % 7, 31 * number) for number in range(16)]
    placed = [(Placement(0, (Transform.shift(5 * number, 40, (180, 240)),), track=3),) for number in range(16)]
    names = [f"shot/{number}.png" for number in range(16)]
    shown = over_backgrounds([level.picture], corners, (180, 240), names, [solid((11, 9), 50)], placed)
    write_ldtk(shown, tmp_path)
    found = drawn_again(tmp_path)
    assert list(found)[:2] == ["background_0", "shot_0_png"]
    assert (np.rint(found["background_0"] * 255) == level.picture).all()
    for scene, picture in zip(shown, list(found.values())[1:], strict=True):
        assert np.abs(picture - composite(scene)).max() < 0.01
    document, _ = open_project(tmp_path / "maps.ldtk")
    frame = level_named(document, "shot_9_png")
    sprites = next(layer for layer in frame["layerInstances"] if layer["__type"] == "Entities")
    (entity,) = sprites["entityInstances"]
    assert entity["px"] == [45, 40]
    assert {each["__identifier"]: each["__value"] for each in entity["fieldInstances"]}["track"] == 3


def test_a_picture_that_scrolls_lies_where_the_camera_was(tmp_path):
    noise = generator(11).integers(0, 256, (130, 300, 3)).astype(np.uint8)
    shown = over_backgrounds([noise], [(0, 10, 7), (0, 0, 140), (0, 3, 0)], (120, 160), ["a", "b", "c"])
    write_ldtk(shown, tmp_path)
    for picture, scene in zip(drawn_again(tmp_path).values(), shown, strict=True):
        assert np.abs(picture - composite(scene)).max() < 1e-6


def test_the_order_of_what_overlaps_is_kept_in_layers_that_all_levels_share(tmp_path):
    rng = generator(3)
    sprites = [rng.integers(0, 256, (size, size, 4), dtype=np.uint8) for size in (8, 8, 11)]
    images = []
    for _ in range(3):
        placements = []
        for _ in range(40):
            entry = int(rng.integers(3))
            left, top = (int(n) for n in rng.integers(-1, 5, 2) * 8)
            placements.append(Placement(entry, (Transform.shift(left, top + (entry == 2), (40, 40)),)))
        images.append(tuple(placements))
    dictionary = Dictionary(tuple(from_pixels(sprite) for sprite in sprites))
    shown = Decomposition(dictionary, tuple(images), (40, 40)).scenes()
    write_ldtk(shown, tmp_path)
    for picture, scene in zip(drawn_again(tmp_path).values(), shown, strict=True):
        assert np.abs(picture - composite(scene)).max() < 0.01


def test_hidden_layers_mirrored_backgrounds_and_empty_lists_are_written(tmp_path):
    shown = clip(2)
    turned = Transform.mirror(-10, 0, 90, (40, 60))
    layers = list(shown[0].layers)
    placement = dataclasses.replace(layers[0].placement, transforms=(turned,))
    layers[0] = dataclasses.replace(layers[0], placement=placement)
    scene = dataclasses.replace(shown[0], layers=tuple(layers)).hide("layer-03")
    hidden = dataclasses.replace(scene.hide("background"), name="b.png")
    write_ldtk([scene, hidden], tmp_path / "one")
    for picture, each in zip(drawn_again(tmp_path / "one").values(), (scene, hidden), strict=True):
        assert np.abs(picture - composite(each)).max() < 0.01
    assert write_ldtk([], tmp_path / "none").max_error == 0
    assert drawn_again(tmp_path / "none") == {}


def test_names_are_identifiers_and_numbers_are_used_once(tmp_path):
    write_ldtk(scenes(), tmp_path)
    document, _ = open_project(tmp_path / "maps.ldtk")
    defined = [*document["defs"]["layers"], *document["defs"]["entities"], *document["defs"]["tilesets"]]
    fields = [field for entity in document["defs"]["entities"] for field in entity["fieldDefs"]]
    uids = [each["uid"] for each in (*defined, *fields, *document["levels"])]
    assert len(set(uids)) == len(uids)
    assert document["nextUid"] > max(uids)
    names = [each["identifier"] for each in (*defined, *document["levels"])]
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in names)
    assert len({level["iid"] for level in document["levels"]}) == len(document["levels"])

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_scenes import SIZE, a_colour, picture, same_scene, small_dictionary, small_scene, small_scenes
from torch.testing import assert_close

from delaminate.errors import ConfigError, FormatError, ShapeError
from delaminate.scene import sprites
from delaminate.scene.canvas_map import Blocks
from delaminate.scene.loading import load_scenes
from delaminate.scene.operations import (
    OPERATIONS,
    apply_to_dictionary,
    apply_to_scene,
    operation_document,
    operation_from,
)
from delaminate.scene.painting import paint
from delaminate.scene.placements import Placement, Transform
from delaminate.scene.saving import save_scenes
from delaminate.scene.scenes import Scene, SceneLayer


def window(scene, layer_id):
    return paint(scene.dictionary, scene.layer(layer_id).placement)


def test_a_layer_turned_four_times_by_a_quarter_is_back_to_the_bit():
    # The sprite is as wide as it is high, so that its middle stays on the pixels' own grid.
    scene = turned = small_scene()
    for _ in range(4):
        turned = turned.rotate("layer-02", 90)
    assert same_scene(scene, turned)
    quarter = window(scene.rotate("layer-02", 90), "layer-02")
    assert torch.equal(quarter.rgb, window(scene, "layer-02").rgb.rot90(-1, (1, 2)))


def test_a_turn_by_a_quarter_of_an_odd_shape_stays_on_whole_pixels():
    scene = small_scene().rotate("layer-03", 90)  # 6 x 4
    assert torch.equal(window(scene, "layer-03").rgb, picture(3, 4, 6)[:3].rot90(-1, (1, 2)))
    scene = Scene(
        "a",
        SIZE,
        (SceneLayer("a", "a", Placement(-1, (Transform.shift(9, 9, SIZE),), raster=picture(1, 3, 4))),),
        small_dictionary(),
    )
    assert torch.equal(window(scene.rotate("a", -90), "a").rgb, picture(1, 3, 4)[:3].rot90(1, (1, 2)))


def test_a_scaled_layer_keeps_its_centre_and_flips_exactly():
    scene = small_scene()
    larger = scene.scale("layer-01", 2, 3)
    assert_close(larger.centre("layer-01"), scene.centre("layer-01"))
    assert np.allclose(larger.layer("layer-01").placement.transforms[-1].matrix[:2, :2], [[2, 0], [0, 3]])
    flipped = scene.scale("layer-01", -1, 1)
    assert torch.equal(window(flipped, "layer-01").rgb, window(scene, "layer-01").rgb.flip(2))
    assert same_scene(flipped.scale("layer-01", -1, 1), scene)


@pytest.mark.parametrize("factor", [0, float("nan"), 1e-9, float("inf")])
def test_impossible_scales_and_turns_are_refused(factor):
    with pytest.raises(ConfigError, match="scale: by"):
        small_scene().scale("layer-01", factor, 1)
    if factor != 0 and factor != 1e-9:
        with pytest.raises(ConfigError, match="rotate: by"):
            small_scene().rotate("layer-01", factor)


def test_a_copy_lies_in_front_of_its_layer_and_is_of_no_track():
    scene = small_scene().duplicate("layer-01").duplicate("layer-01")
    assert [layer.id for layer in scene.layers] == [
        "background",
        "layer-01",
        "added-01",
        "added-00",
        "layer-02",
        "layer-03",
    ]
    copy, layer = scene.layer("added-00"), scene.layer("layer-01")
    assert copy.placement.transforms == layer.placement.transforms
    assert copy.placement.track is None


def test_a_removed_layer_is_as_if_it_were_hidden():
    scene = small_scene()
    assert torch.equal(scene.remove("layer-02").composite(), scene.hide("layer-02").composite())
    assert len(scene.remove("layer-02").layers) == 3


@pytest.mark.parametrize("verb", ["remove", "duplicate"])
def test_the_background_is_refused(verb):
    with pytest.raises(ConfigError, match="is the background"):
        getattr(small_scene(), verb)("background")


def test_a_renamed_layer_keeps_its_id_and_refuses_no_name():
    assert small_scene().rename("layer-01", "a name").layer("layer-01").name == "a name"
    with pytest.raises(ConfigError, match="expected one line"):
        small_scene().rename("layer-01", "two\nlines")


def test_an_added_sprite_lies_in_front_with_its_centre_near_the_place():
    scene = small_scene().add(1, 12, 9)
    added = scene.layers[-1]
    assert (added.id, added.name, added.placement.entry) == ("added-00", "sprite-01", 1)
    x, y = scene.centre("added-00")
    assert abs(x - 12) <= 0.5 and abs(y - 9) <= 0.5
    assert added.placement.transforms[-1].whole_place((5, 5)) is not None
    with pytest.raises(ConfigError, match="add: entry 7"):
        small_scene().add(7, 0, 0)


def test_an_added_sprite_is_as_large_as_those_that_are_there():
    scene = small_scene().scale("layer-01", 2, 2).add(0, 16, 12)
    assert np.allclose(scene.layers[-1].placement.transforms[-1].matrix[:2, :2], np.eye(2) * 2)


def test_an_added_sprite_of_enlarged_pixel_art_is_enlarged():
    blocks = Blocks((2, 2), (0, 0), (0, 0, 24, 32), SIZE)
    there = Placement(0, (Transform.shift(1, 1, (12, 16)), Transform.of_blocks(blocks)))
    scene = Scene("a", SIZE, (SceneLayer("a", "a", there),), small_dictionary()).add(1, 16, 12)
    assert window(scene, "added-00").alpha.gt(0).sum() > 80  # 5 x 5 pixels, each 2 x 2


def test_a_mended_alpha_leaves_colours_and_other_layers():
    scene = small_scene()
    alpha = picture(9, 6, 8)[3:]
    mended = scene.mend("layer-01", alpha)
    assert torch.equal(window(mended, "layer-01").rgb, window(scene, "layer-01").rgb)
    assert torch.equal(window(mended, "layer-01").alpha, alpha)
    with pytest.raises(ShapeError, match="expected 8 x 6"):
        scene.mend("layer-01", alpha[:, 1:])


def test_a_dropped_sprite_takes_its_layers_along_and_others_move_up(tmp_path):
    dictionary = sprites.rename_sprite(small_dictionary(), 2, "hero")
    left = sprites.drop_sprite(dictionary, 1)
    assert left.titles == ("", "hero")
    scene = sprites.without_sprite(small_scene(dictionary=dictionary), 1, left)
    assert [(layer.id, layer.placement.entry) for layer in scene.layers] == [
        ("background", -1),
        ("layer-01", 0),
        ("layer-03", 1),
    ]
    assert torch.equal(scene.composite(), small_scene().remove("layer-02").composite())
    save_scenes([scene], tmp_path)
    assert same_scene(load_scenes(tmp_path)[0], scene)


def test_merged_sprites_are_shown_centre_on_centre():
    dictionary = small_dictionary()
    scene = small_scene()
    merged = sprites.without_sprite(scene, 1, sprites.drop_sprite(dictionary, 1), into=2)
    assert torch.equal(merged.composite(), scene.replace("layer-02", 2).composite())


def test_titles_outlast_the_disk_and_are_left_out_where_there_are_none(tmp_path):
    scenes = small_scenes()
    save_scenes(scenes, tmp_path / "plain")
    assert b"title" not in (tmp_path / "plain" / "summary.json").read_bytes()
    named = sprites.rename_sprite(scenes.dictionary, 1, "héro")
    save_scenes([sprites.with_dictionary(scene, named) for scene in scenes], tmp_path / "named")
    assert load_scenes(tmp_path / "named").dictionary.titles == ("", "héro", "")
    assert named.title(1) == "héro" and named.title(0) == "sprite-00"
    assert sprites.rename_sprite(named, 1, "").titles == ()


def test_impossible_edits_of_sprites_are_refused():
    dictionary = small_dictionary()
    with pytest.raises(ConfigError, match="drop-sprite: entry 3"):
        sprites.drop_sprite(dictionary, 3)
    with pytest.raises(ConfigError, match="expected one line"):
        sprites.rename_sprite(dictionary, 0, "a\nb")
    with pytest.raises(ConfigError, match="no sprite 'hero'"):
        dictionary.entry("hero")


EXAMPLES = {
    "move": {"dx": 3, "dy": -2.5},
    "scale": {"across": 2, "down": -1},
    "rotate": {"degrees": 30},
    "show": {},
    "hide": {},
    "fade": {"opacity": 0.25},
    "rename": {"name": "x"},
    "reorder": {"position": 3},
    "recolour": {"gain": [1, 0, 0.5], "offset": [0, 0.1, 0]},
    "replace": {"sprite": "sprite-02"},
    "duplicate": {},
    "remove": {},
    "repaint": {"picture": "p"},
    "mend": {"picture": "p"},
    "paste": {"picture": "p", "left": -2, "top": 3},
    "insert": {"picture": "p", "left": 1, "top": 2, "name": "new"},
    "add": {"sprite": "sprite-01", "x": 4, "y": 5},
    "rename-sprite": {"sprite": "sprite-00", "name": "hero"},
    "repaint-sprite": {"sprite": "sprite-00", "picture": "p"},
    "recolour-sprites": {"sprites": ["sprite-00", "sprite-01"], "colour": a_colour(), "to": "#0102f3"},
    "drop-sprite": {"sprite": "sprite-00"},
    "merge-sprites": {"sprite": "sprite-00", "into": "sprite-02"},
    "split-sprite": {"sprite": "sprite-00", "picture": "p"},
}


def document(name):
    told = {"operation": name, **EXAMPLES[name]}
    if not name.endswith(("-sprite", "-sprites")):
        told["scene"] = "a.png"
        if name not in ("add", "insert"):
            told["layer"] = "layer-01"
    return told


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_a_value_that_changes_its_scene_alone(name):
    operation = operation_from(document(name), "here")
    assert operation_from(operation_document(operation), "there") == operation
    find = lambda digest: picture(11, 6, 8)  # noqa: E731
    scenes = small_scenes()
    dictionary = apply_to_dictionary([operation], scenes.dictionary, find)[-1]
    done = [apply_to_scene(operation, scene, dictionary, find) for scene in scenes]
    assert (not same_scene(done[0], scenes[0])) == (name != "show")
    if "scene" in document(name):
        assert done[1] is scenes[1]
    else:
        assert all(scene.dictionary is dictionary for scene in done)
    assert operation.words()[0] == name


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("move", "expected an object"),
        ({"operation": "explode"}, "expected an object whose operation is"),
        (document("move") | {"more": 1}, "unknown key 'more'"),
        (document("move") | {"dx": "3"}, "expected a number"),
        (document("reorder") | {"position": 1.5}, "whole number"),
        (document("recolour") | {"gain": [1, 2]}, "expected a list of 3"),
        (document("recolour-sprites") | {"sprites": []}, "expected a list of 1"),
        (document("recolour-sprites") | {"sprites": [3]}, "expected str"),
        ({"operation": "hide", "scene": "a.png"}, "has no 'layer'"),
    ],
)
def test_what_is_no_operation_is_refused(value, message):
    with pytest.raises(FormatError, match=message):
        operation_from(value, "here")


def test_one_colour_of_sprites_becomes_another_and_nothing_else_changes():
    dictionary = small_dictionary()
    red, green = torch.tensor([1.0, 0, 0]), torch.tensor([0, 128 / 255, 1.0])
    drawn = dictionary.sprites[0].clone()
    drawn[:3, 1, 2:5], drawn[3, 1, 2:5] = red[:, None], torch.tensor([1.0, 0.5, 0])
    dictionary = replace(dictionary, sprites=(drawn, *dictionary.sprites[1:]))
    after = sprites.recolour_sprites(dictionary, [0, 1], "#FF0000", "#0080ff")
    assert after.sprites[1] is dictionary.sprites[1]
    assert torch.equal(after.sprites[0][3], drawn[3])
    assert_close(after.sprites[0][:3, 1, 2:4], green[:, None].expand(3, 2))
    changed = (after.sprites[0] != drawn).any(0)
    assert changed.sum() == 2  # what is not seen keeps its colour
    for colour, to, message in (
        ("#010203", "#000000", "no pixel of sprite-00, sprite-01 has"), ("red", "#000000", "expected one such as"),
        ("#ff0000", "#00", "expected one such as"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            sprites.recolour_sprites(dictionary, [0, 1], colour, to)


def test_a_part_of_a_sprite_becomes_a_sprite_of_its_own_and_nothing_moves():
    scenes = list(small_scenes(2))
    mask = torch.zeros(1, 6, 8)
    mask[0, :, 5:] = 1
    dictionary = sprites.split_sprite(scenes[0].dictionary, 0, mask)
    assert len(dictionary) == 4
    assert torch.equal(dictionary.sprites[0][3:] + dictionary.sprites[3][3:], scenes[0].dictionary.sprites[0][3:])
    assert (dictionary.sprites[3][3, :, :5] == 0).all() and (dictionary.sprites[0][3, :, 5:] == 0).all()
    for scene in scenes:
        after = sprites.follow_split(scene, 0, dictionary)
        assert [layer.placement.entry for layer in after.layers] == [-1, 0, 3, 1, 2]
        assert after.layers[2].name == "sprite-03" and after.layers[2].placement.track is None
        assert_close(after.composite(), scene.composite())
        # The part is moved by itself.
        moved = after.move(after.layers[2].id, 4, 0)
        assert moved.layers[1] == after.layers[1]


@pytest.mark.parametrize("rows", [0, 6])
def test_a_part_that_is_nothing_or_all_is_refused(rows):
    mask = torch.zeros(1, 6, 8)
    mask[0, :rows] = 1
    with pytest.raises(ConfigError, match="show nothing"):
        sprites.split_sprite(small_dictionary(), 0, mask)
    with pytest.raises(ConfigError, match="one size"):
        sprites.split_sprite(small_dictionary(), 1, mask)


def test_a_split_changes_no_colour_between_pixels_and_no_background_is_in_its_way():
    red = torch.zeros(4, 8, 8)
    red[0], red[3] = 1, 1
    dictionary = replace(small_dictionary(), sprites=(red, *small_dictionary().sprites[1:]))
    scene = small_scene("a.png", dictionary).rotate("layer-01", 17.0).replace("background", 0)
    mask = torch.zeros(1, 8, 8)
    mask[0, :, 4:] = 1
    after = sprites.follow_split(scene, 0, sprites.split_sprite(dictionary, 0, mask))
    assert [layer.placement.entry for layer in after.layers] == [0, 3, 0, 3, 1, 2]
    assert len({layer.id for layer in after.layers}) == 6
    assert (after.dictionary.sprites[0][:3] == red[:3]).all() and (after.dictionary.sprites[3][:3] == red[:3]).all()
    # What is seen through the cut is what lies behind, by at most the share that the cut does not cover.
    assert (after.composite() - scene.composite()).abs().max() <= 0.25 + 1e-3

import dataclasses
import json
import random as python_random
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.stacks import decompositions, few, laws
from hypothesis import given
from PIL import Image
from torch.testing import assert_close

from delaminate.errors import ConfigError, DelaminateError, FormatError, OutputError, ShapeError
from delaminate.files import write_atomic
from delaminate.scene import collection as scenes_module
from delaminate.scene import saving
from delaminate.scene import validation as values
from delaminate.scene.canvas_map import CanvasMap
from delaminate.scene.collection import with_sprite
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.loading import load_scenes
from delaminate.scene.placements import Dictionary, Placement, Transform
from delaminate.scene.saving import SceneWriter, save_scenes
from delaminate.scene.scenes import Scene, SceneLayer, check_name

NAMES = ("a/b.png", "a/b.jpg")


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def sample():
    generator = torch.Generator().manual_seed(1)
    sprites = tuple(torch.rand(4, 4, 5, generator=generator) for _ in range(2))
    canvas = (10, 12)
    back = torch.rand(4, 10, 12, generator=generator)
    back[3] = 1
    placements = (
        Placement(-1, (Transform.shift(0, 0, canvas),), raster=back),
        Placement(0, (Transform.shift(1, 2, canvas),), (0.5, 1.0, 1.2, 0.1, 0.0, -0.1), 0.8, 3),
        Placement(1, (Transform.of_matrix(np.diag([1.5, 1.5, 1.0]), canvas),)),
    )
    return Decomposition(Dictionary(sprites), (placements, placements), canvas, background=True)


@laws
@given(decompositions(framed=True))
def test_an_unedited_scene_composites_to_the_reconstruction_bit_for_bit(found):
    for scene, single in zip(found.scenes(NAMES), found.at_original(), strict=True):
        assert scene.size == single.size
        assert torch.equal(scene.composite(), single.composite()[0])
        assert torch.equal(Decomposition.from_scene(scene).labels()[0], single.labels()[0])


@few
@given(decompositions(dtype=torch.float32, framed=True))
def test_loading_and_saving_gives_the_same_bytes_and_the_error_is_the_one_recorded(found):
    scenes = found.scenes(NAMES)
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        error = save_scenes(scenes, first)
        loaded = load_scenes(first)
        assert save_scenes(loaded, second) == error
        assert files_of(first) == files_of(second)
    worst = max(float((a.composite() - b.composite()).abs().max()) for a, b in zip(scenes, loaded, strict=True))
    assert_close(worst, error, atol=1e-9, rtol=0)
    assert error < 0.05
    for before, after in zip(scenes, loaded, strict=True):
        for one, other in zip(before.layers, after.layers, strict=True):
            assert one.placement.transforms == other.placement.transforms
            assert one.placement.colour == other.placement.colour
            assert (one.id, one.name, one.visible) == (other.id, other.name, other.visible)
            assert one.placement.track == other.placement.track


def test_saved_documents_follow_the_schema(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(__file__).parents[2] / "docs" / "scene-schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    scenes = sample().scenes(NAMES)
    twist = Transform("thin_plate_spline", (0.01,) * 32, (10, 12))
    placement = dataclasses.replace(scenes[0].layers[1].placement, transforms=(twist,))
    layer = dataclasses.replace(scenes[0].layers[1], placement=placement)
    scenes[0] = dataclasses.replace(scenes[0], layers=(scenes[0].layers[0], layer))
    save_scenes(scenes, tmp_path)
    for name in NAMES:
        saved = json.loads((tmp_path / "scenes" / name / "scene.json").read_text())
        jsonschema.validate(saved, schema)
        saved["layers"][1]["raster"] = "layers/layer-01.png"
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(saved, schema)


def test_scenes_lie_under_the_whole_name_of_their_image(tmp_path):
    save_scenes(sample().scenes(NAMES), tmp_path)
    assert sorted(files_of(tmp_path)) == [
        "dictionary/sprite-00.png",
        "dictionary/sprite-01.png",
        "scenes/a/b.jpg/layers/background.png",
        "scenes/a/b.jpg/scene.json",
        "scenes/a/b.png/layers/background.png",
        "scenes/a/b.png/scene.json",
        "summary.json",
    ]


def test_edits_do_what_they_say_and_leave_the_old_scene_alone():
    scene = sample().scenes()[0]
    before = scene.composite()
    there = scene.move("layer-01", 3, -1)
    assert_close(there.layers[1].placement.transforms[-1].matrix[:2, 2], np.array([4.0, 1.0]))
    assert torch.equal(there.move("layer-01", -3, 1).composite(), before)
    hidden = scene.hide("layer-02")
    removed = dataclasses.replace(scene, layers=scene.layers[:2])
    assert torch.equal(hidden.composite(), removed.composite())
    assert torch.equal(hidden.show("layer-02").composite(), before)
    assert torch.equal(scene.fade("layer-02", 0).composite(), removed.composite())
    assert torch.equal(scene.reorder("layer-01", 1).composite(), before)
    assert [layer.id for layer in scene.reorder("layer-01", 2).layers] == ["background", "layer-02", "layer-01"]
    neutral = scene.recolour("layer-01", (0.5, 1, 1.2), (0.1, 0, -0.1))
    assert torch.equal(neutral.composite(), before)
    assert not torch.equal(scene.recolour("layer-01", (0, 0, 0), (1, 0, 0)).composite(), before)
    assert torch.equal(scene.replace("layer-02", 1).composite(), before)
    assert scene.replace("layer-01", 1).layers[1].placement.entry == 1
    assert torch.equal(scene.redraw("layer-01", scene.dictionary.sprites[0]).composite(), before)
    assert torch.equal(scene.composite(), before)
    assert not Decomposition.from_scene(hidden.hide("background")).background


def test_another_sprite_has_its_centre_where_the_old_one_had_it():
    big, small = torch.ones(4, 7, 9), torch.ones(4, 3, 5)
    canvas = (20, 20)
    for steps in [
        (Transform.shift(4, 5, canvas),),
        (Transform("morphological", (0.0,) * 10, (7, 9)), Transform.shift(4, 5, canvas)),
    ]:
        found = Decomposition(Dictionary((big, small)), ((Placement(0, steps),),), canvas)
        alpha = Decomposition.from_scene(found.scenes()[0].replace("layer-00", 1)).layers().alpha[0, 0, 0] > 0.5
        rows, columns = alpha.any(1).nonzero(), alpha.any(0).nonzero()
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 9, 6, 10)


def test_a_new_sprite_changes_every_scene_that_uses_it(tmp_path):
    scenes = sample().scenes(NAMES)
    changed = with_sprite(scenes, 0, torch.ones(4, 4, 5))
    assert changed[0].dictionary is changed[1].dictionary
    assert all(not torch.equal(a.composite(), b.composite()) for a, b in zip(scenes, changed, strict=True))
    # The same happens when somebody draws over the file.
    save_scenes(scenes, tmp_path)
    Image.new("RGB", (5, 4), "white").save(tmp_path / "dictionary" / "sprite-00.png")
    for drawn, expected in zip(load_scenes(tmp_path), changed, strict=True):
        assert_close(drawn.composite(), expected.composite(), atol=0.01, rtol=0)


@pytest.mark.parametrize(
    "name",
    ["", "/etc/x", "../x", "a/../../x", "a//b", "./a", "a\\b", "C:x", "c:/x", "a\0b", "a\nb", "x" * 300, "\ud800"],
)
def test_names_that_lead_elsewhere_are_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="relative path"):
        check_name(name)
    save_scenes(sample().scenes(NAMES), tmp_path)
    path = tmp_path / "summary.json"
    summary = json.loads(path.read_text())
    summary["scenes"][0]["name"] = name
    path.write_text(json.dumps(summary))
    with pytest.raises(FormatError, match=r"summary\.json"):
        load_scenes(tmp_path)


def put(value, *path):
    def change(document):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("other", "format"),
        put(2, "version"),
        put(True, "version"),
        put(1, "surprise"),
        put("b", "name"),
        put(0, "canvas", "height"),
        put(10**9, "canvas", "width"),
        put("yes", "background"),
        put(-1, "rounding_error"),
        put({}, "layers"),
        put([None] * 5000, "layers"),
        put("../x", "layers", 1, "id"),
        put("background", "layers", 1, "id"),
        put("two\nlines", "layers", 1, "name"),
        put("sprite-07", "layers", 1, "entry"),
        put(["sprite-00"], "layers", 1, "entry"),
        put("../../dictionary/sprite-00.png", "layers", 0, "raster"),
        put("layers/x.png", "layers", 1, "raster"),
        put([], "layers", 1, "transforms"),
        put("twist", "layers", 1, "transforms", 0, "kind"),
        put([0.0] * 9, "layers", 1, "transforms", 0, "parameters"),
        put([1e-200, 0, 0, 0, 1, 0, 0, 0, 1], "layers", 1, "transforms", 0, "parameters"),
        put([1.0] * 8, "layers", 1, "transforms", 0, "parameters"),
        put([float("nan")] * 9, "layers", 1, "transforms", 0, "parameters"),
        put([1, 0, 10**400, 0, 1, 0, 0, 0, 1], "layers", 1, "transforms", 0, "parameters"),
        put([16384, 16384], "layers", 1, "transforms", 0, "size"),
        put([3, 3], "layers", 1, "transforms", 0, "size"),
        put([1, 1, "1"], "layers", 1, "colour", "gain"),
        put(1.5, "layers", 1, "opacity"),
        put(float("inf"), "layers", 1, "opacity"),
        put(1, "layers", 1, "visible"),
        put(0.5, "layers", 1, "track"),
    ],
)
def test_documents_that_lie_are_refused_in_one_line(change, tmp_path):
    save_scenes(sample().scenes(NAMES), tmp_path)
    path = tmp_path / "scenes" / NAMES[0] / "scene.json"
    saved = json.loads(path.read_text())
    change(saved)
    path.write_text(json.dumps(saved))
    with pytest.raises(FormatError, match=r"scene\.json") as caught:
        load_scenes(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"a": 1, "a": 2}', b"[]", b"1" * 5000])
def test_files_that_are_no_json_are_refused(data, tmp_path):
    (tmp_path / "summary.json").write_bytes(data)
    with pytest.raises(FormatError, match=r"summary\.json"):
        load_scenes(tmp_path)


def test_missing_and_outward_files_are_refused(tmp_path):
    with pytest.raises(FormatError, match="missing"):
        load_scenes(tmp_path / "nowhere")
    save_scenes(sample().scenes(NAMES), tmp_path / "here")
    sprite = tmp_path / "here" / "dictionary" / "sprite-00.png"
    outside = tmp_path / "outside.png"
    sprite.rename(outside)
    with pytest.raises(FormatError, match=r"sprite-00\.png: is missing"):
        load_scenes(tmp_path / "here")
    sprite.symlink_to(outside)
    with pytest.raises(FormatError, match="leads out"):
        load_scenes(tmp_path / "here")


def test_pictures_that_are_too_large_or_no_png_are_refused(tmp_path, monkeypatch):
    save_scenes(sample().scenes(NAMES), tmp_path)
    sprite = tmp_path / "dictionary" / "sprite-00.png"
    good = sprite.read_bytes()
    Image.new("RGB", (4, 4)).save(sprite, "BMP")
    with pytest.raises(FormatError, match="no PNG"):
        load_scenes(tmp_path)
    Image.new("I;16", (4, 4)).save(sprite, "PNG")
    with pytest.raises(FormatError, match="8-bit"):
        load_scenes(tmp_path)
    Image.new("1", (20_000, 8000)).save(sprite, "PNG")
    with pytest.raises(FormatError, match="sprite-00"):
        load_scenes(tmp_path)
    sprite.write_bytes(good)
    monkeypatch.setattr(values, "MAX_SCENE_PIXELS", 30)
    with pytest.raises(FormatError, match="more than a scene may hold"):
        load_scenes(tmp_path)


def test_a_folder_holds_any_number_of_scenes_and_a_scene_only_so_many_pixels(tmp_path, monkeypatch):
    names = [f"{index}.png" for index in range(4)]
    found = sample()
    scenes = dataclasses.replace(found, images=found.images[:1] * 4).scenes(names)
    monkeypatch.setattr(values, "MAX_SCENE_PIXELS", 10 * 12)
    save_scenes(scenes, tmp_path)
    assert [scene.name for scene in load_scenes(tmp_path)] == names
    monkeypatch.setattr(values, "MAX_SCENE_PIXELS", 10 * 12 - 1)
    with pytest.raises(FormatError, match="more than a scene may hold"):
        load_scenes(tmp_path)


@pytest.mark.parametrize(("bound", "value"), [("MAX_SIDE", 11), ("MAX_PIXELS", 119), ("MAX_SCENE_PIXELS", 119)])
def test_what_could_not_be_read_again_is_not_written(bound, value, tmp_path, monkeypatch):
    monkeypatch.setattr(values, bound, value)
    with pytest.raises(OutputError, match=rf"{NAMES[0]}.*expected"):
        save_scenes(sample().scenes(NAMES), tmp_path)
    assert not (tmp_path / "scenes").exists()
    assert not (tmp_path / "summary.json").exists()


def test_scenes_are_kept_as_far_as_there_is_room_and_else_read_anew(tmp_path, monkeypatch):
    save_scenes(sample().scenes(NAMES), tmp_path)
    monkeypatch.setattr(scenes_module, "KEPT_PIXELS", 10 * 12)  # room for one of the two
    loaded = load_scenes(tmp_path)
    assert loaded[0] is loaded[0]
    assert loaded[1] is not loaded[1]
    assert torch.equal(loaded[1].composite(), loaded[0].composite())
    assert [scene.name for scene in loaded[::-1]] == list(reversed(NAMES))
    with pytest.raises(IndexError):
        loaded[2]
    assert [scene.name for scene in load_scenes(tmp_path, order=lambda name: name)] == sorted(NAMES)


def test_after_every_batch_the_summary_lists_all_scenes_so_far(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    scenes = sample().scenes(NAMES)
    save_scenes(scenes, whole, rate=25.0)
    writer = SceneWriter(parts, rate=25.0)
    for count, scene in enumerate(scenes, 1):
        writer.add([scene])
        assert [scene.name for scene in load_scenes(parts)] == list(NAMES[:count])
    assert files_of(parts) == files_of(whole)
    for name, problem in ((NAMES[0], "3 scenes have 2 names"), ("a/b.jpg/c", "lies inside the scene .a/b.jpg")):
        with pytest.raises(ConfigError, match=problem):
            writer.add([dataclasses.replace(scenes[1], name=name)])
    assert files_of(parts) == files_of(whole)
    with pytest.raises(ConfigError, match="one dictionary"):
        writer.add([Scene("c", (3, 4), (), Dictionary((torch.zeros(4, 1, 1),)))])


def test_more_scenes_than_can_be_read_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "MAX_SCENES", 1)
    one, other = sample().scenes(NAMES)
    writer = SceneWriter(tmp_path)
    writer.add([one])
    kept = files_of(tmp_path)
    with pytest.raises(OutputError, match="more than 1 scenes"):
        writer.add([other])
    assert files_of(tmp_path) == kept
    assert len(load_scenes(tmp_path)) == 1


def test_damaged_files_give_our_errors_only(tmp_path):
    save_scenes(sample().scenes(NAMES), tmp_path)
    numbers = python_random.Random(7)
    messages = []
    targets = [path for path in tmp_path.rglob("*") if path.is_file()]
    for _ in range(150):
        path = numbers.choice(targets)
        good = path.read_bytes()
        bad = bytearray(good)
        for _ in range(numbers.randint(1, 3)):
            bad[numbers.randrange(len(bad))] = numbers.randrange(256)
        path.write_bytes(bad[: numbers.choice([len(bad), numbers.randrange(len(bad))])])
        try:
            for scene in load_scenes(tmp_path):
                scene.composite()
        except FormatError as error:
            messages.append(str(error))
        finally:
            path.write_bytes(good)
    assert len(messages) > 50
    assert not any("\n" in message for message in messages)


def test_edits_that_make_no_sense_are_refused():
    scene = sample().scenes()[0]
    for edit in [
        lambda: scene.hide("layer-09"),
        lambda: scene.fade("layer-01", 1.5),
        lambda: scene.fade("layer-01", float("nan")),
        lambda: scene.replace("layer-01", 2),
        lambda: scene.reorder("layer-01", 3),
        lambda: scene.reorder("layer-01", 0),
        lambda: scene.reorder("background", 1),
        lambda: scene.recolour("layer-01", (1, 1), (0, 0)),
        lambda: scene.move("layer-01", float("inf"), 0),
        lambda: with_sprite([scene], 5, torch.zeros(4, 2, 2)),
    ]:
        with pytest.raises(DelaminateError):
            edit()


def test_scenes_that_do_not_fit_are_refused(tmp_path):
    scene = sample().scenes()[0]
    with pytest.raises(ShapeError, match="names"):
        sample().scenes(["one"])
    with pytest.raises(ConfigError, match="names of their own"):
        save_scenes([scene, scene], tmp_path)
    with pytest.raises(ConfigError, match="lies inside"):
        save_scenes([scene, dataclasses.replace(scene, name=scene.name + "/layers")], tmp_path)
    other = dataclasses.replace(scene, name="b", dictionary=Dictionary((torch.zeros(4, 1, 1),) * 2))
    with pytest.raises(ConfigError, match="another dictionary"):
        save_scenes([scene, other], tmp_path)
    with pytest.raises(ShapeError, match="canvas"):
        dataclasses.replace(scene, size=(3, 3))
    with pytest.raises(ConfigError, match="same id"):
        dataclasses.replace(scene, layers=(scene.layers[1], dataclasses.replace(scene.layers[2], id="LAYER-01")))
    with pytest.raises(ConfigError, match="dictionary of 1"):
        dataclasses.replace(scene, dictionary=Dictionary(scene.dictionary.sprites[:1]))
    with pytest.raises(ConfigError, match="id of 1 to 64"):
        SceneLayer("a/b", "name", scene.layers[0].placement)
    with pytest.raises(OutputError, match="finite"):
        save_scenes(with_sprite([scene], 0, torch.full((4, 2, 2), float("nan"))), tmp_path)


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomic(path / "below", b"x")


def test_no_scenes_and_empty_scenes_are_saved_too(tmp_path):
    assert save_scenes([], tmp_path / "none") == 0
    assert list(load_scenes(tmp_path / "none")) == []
    empty = Scene("a", (3, 4), (), Dictionary(()))
    save_scenes([empty], tmp_path / "empty")
    loaded = load_scenes(tmp_path / "empty")[0]
    assert torch.equal(loaded.composite(), torch.zeros(3, 3, 4))
    assert CanvasMap.whole(3, 4) in Decomposition.from_scene(loaded).canvas_maps

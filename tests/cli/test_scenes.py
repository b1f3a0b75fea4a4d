"""decompose, export, recompose and edit: one folder of scenes on its way."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.small_scenes import a_colour, same_scene, write_small_scenes
from helpers.small_scenes import picture as random_picture
from PIL import Image

from delaminate.files import png_bytes, to_pixels
from delaminate.methods import load_model
from delaminate.pipelines.edit_history import EditHistory, add_picture
from delaminate.scene.loading import load_scenes
from delaminate.scene.operations import operation_from


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_image_becomes_a_scene_that_is_what_the_model_finds(scenes, model, pieces):
    loaded = load_scenes(scenes)
    assert [scene.name for scene in loaded] == [f"{i:06d}.png" for i in range(5)]
    from delaminate.data import load_folder

    images = load_folder(pieces / "images")
    found = load_model(model).decompose(images.batch(range(5))).composite()
    for scene, picture in zip(loaded, found, strict=True):
        assert (scene.composite() - picture).abs().max() < 2 / 255 + scene.rounding_error


def test_errors_are_reported_at_both_sizes(scenes):
    errors = json.loads((scenes / "errors.json").read_text())
    assert len(errors["images"]) == 5
    assert errors["skipped"] == []
    for row in errors["images"]:
        # The images have the model's size, so both are the same but for rounding.
        assert row["psnr_original"] == pytest.approx(row["psnr"], abs=1e-3)
    assert errors["psnr"] == pytest.approx(np.mean([row["psnr"] for row in errors["images"]]))


def test_batches_change_nothing(scenes, model, pieces, command, tmp_path):
    assert command("decompose", model, pieces / "images", "--out", tmp_path / "again", "--batch", 2)[0] == 0
    one, other = contents(scenes), contents(tmp_path / "again")
    errors = [json.loads(found.pop("errors.json"))["psnr"] for found in (one, other)]
    assert one == other
    assert errors[0] == pytest.approx(errors[1])


def test_bad_files_are_skipped_and_named_and_other_sizes_are_kept(command, model, pieces, tmp_path):
    folder = tmp_path / "mixed"
    (folder / "deep").mkdir(parents=True)
    Image.open(pieces / "images" / "000000.png").resize((50, 70)).save(folder / "deep" / "large.jpg")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "empty.gif").write_bytes(b"")
    code, out, _ = command("decompose", model, folder, "--out", tmp_path / "out")
    assert code == 0
    assert "2 files skipped" in out
    (scene,) = load_scenes(tmp_path / "out")
    assert (scene.name, scene.size) == ("deep/large.jpg", (70, 50))
    errors = json.loads((tmp_path / "out" / "errors.json").read_text())
    assert {row["name"] for row in errors["skipped"]} == {"broken.png", "empty.gif"}
    assert errors["images"][0]["psnr"] != errors["images"][0]["psnr_original"]


def test_scenes_that_are_there_are_kept_unless_told_otherwise(command, model, pieces, tmp_path):
    out = tmp_path / "out"
    words = ("decompose", model, pieces / "images", "--out", out)
    (out / "scenes").mkdir(parents=True)
    (out / "scenes" / "mine.txt").write_text("no scene")
    assert command(*words)[0] == 0
    (out / "mine.txt").write_text("no scene")
    kept = contents(out)
    code, _, err = command(*words, "--limit", 2)
    assert code == 2
    assert "--overwrite" in err
    assert contents(out) == kept
    assert command(*words, "--limit", 2, "--overwrite")[0] == 0
    assert len(load_scenes(out)) == len(list((out / "scenes").iterdir())) == 2
    assert (out / "mine.txt").exists()


def stopped(monkeypatch, out, after):
    """Let `decompose` be stopped after so many batches; how many scenes could be loaded before each."""
    from delaminate.pipelines import decomposition

    decomposed, there = decomposition._decomposed, []

    def take(*words):
        there.append(len(load_scenes(out)) if (out / "summary.json").exists() else 0)
        if there[-1]:
            # Whoever is killed here, and so cannot tidy up, keeps the figures too.
            assert len(json.loads((out / "errors.json").read_text())["images"]) == there[-1]
        if len(there) > after:
            raise KeyboardInterrupt
        return decomposed(*words)

    monkeypatch.setattr(decomposition, "_decomposed", take)
    return there


def test_who_stops_it_keeps_every_finished_scene_and_hears_how_many(command, model, pieces, tmp_path, monkeypatch):
    out = tmp_path / "out"
    there = stopped(monkeypatch, out, after=2)
    code, _, err = command("decompose", model, pieces / "images", "--out", out, "--batch", 2)
    assert code == 130
    # After each batch, whatever comes then.
    assert there == [0, 2, 4]
    assert f"4 of 5 scenes are in {out}" in err
    assert len(load_scenes(out)) == len(json.loads((out / "errors.json").read_text())["images"]) == 4


def test_more_scenes_than_a_folder_may_hold_are_refused_at_the_start(command, model, pieces, tmp_path, monkeypatch):
    monkeypatch.setattr("delaminate.pipelines.output_folders.MAX_SCENES", 4)
    words = ("decompose", model, pieces / "images", "--out", tmp_path / "out")
    code, _, err = command(*words)
    assert code == 2
    assert "would hold 5 scenes; expected at most 4" in err
    assert not (tmp_path / "out").exists()
    assert command(*words, "-n", 4)[0] == 0


def test_a_folder_that_holds_no_scenes_and_a_file_are_refused_in_words(command, model, pieces, scenes, tmp_path):
    for folder in (tmp_path / "nothing", pieces, scenes / "scenes"):
        code, _, err = command("export", folder, "--to", "png", "--out", tmp_path / "out")
        assert code == 2
        assert f"{folder}: holds no scenes" in err
    (tmp_path / "file").write_text("no folder")
    code, _, err = command("decompose", model, pieces / "images", "--out", tmp_path / "file")
    assert code == 2
    assert "is a file; --out takes a folder" in err


def test_a_limit_and_a_built_in_set_are_understood(command, model, tmp_path):
    assert command("decompose", model, "tetrominoes", "--out", tmp_path / "out", "--limit", 2)[0] == 0
    assert len(load_scenes(tmp_path / "out")) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no folder and no built-in data set"),
        (["tetrominoes", "--by", "magic"], "cannot decompose by 'magic'"),
        (["tetrominoes", "--fit", "stretch"], "expected squash, crop or pad"),
        (["tetrominoes", "--device", "abacus"], "not available here"),
    ],
)
def test_what_cannot_be_decomposed_is_refused(command, model, tmp_path, words, message):
    code, _, err = command("decompose", model, *words, "--out", tmp_path / "out")
    assert code == 2
    assert message in err
    assert not (tmp_path / "out").exists()


def test_scenes_written_among_their_images_are_no_images_the_next_time(command, model, pieces, tmp_path):
    folder = tmp_path / "one"
    shutil.copytree(pieces / "images", folder)
    for more in ([], ["--overwrite"]):
        code, said, err = command("decompose", model, folder, "--out", folder, *more)
        assert code == 0, err
        assert "5 scenes" in said
    assert "dictionary/, residuals/, scenes/: layers, not photos: written by `decompose`" in said


def test_images_beside_a_folder_of_images_keep_their_whole_names(command, model, pieces, tmp_path):
    for number, place in enumerate(("a.png", "images/a.png")):
        (tmp_path / "photos" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pieces / "images" / f"{number:06d}.png", tmp_path / "photos" / place)
    assert command("decompose", model, tmp_path / "photos", "--out", tmp_path / "out")[0] == 0
    assert {scene.name for scene in load_scenes(tmp_path / "out")} == {"a.png", "images/a.png"}


def test_exports_may_be_enlarged_and_have_palettes(command, scenes, tmp_path):
    words = ("export", scenes, "--to", "png,phaser", "--out", tmp_path / "out", "--scale", 2)
    assert command(*words)[0] == 0
    first = load_scenes(scenes)[0]
    path = min((tmp_path / "out" / "png" / first.name).glob("*.png"))
    with Image.open(path) as picture:
        assert picture.size == (2 * first.size[1], 2 * first.size[0])
    code, _, err = command("export", scenes, "--to", "png,ora", "--indexed", "--out", tmp_path / "none")
    assert code == 2
    assert "--indexed: png, ora have no palette" in err
    code, _, err = command("export", scenes, "--scale", 0, "--out", tmp_path / "none")
    assert code == 2
    assert "scale: 0" in err
    assert not (tmp_path / "none").exists()


def test_every_format_is_exported_into_its_own_folder(command, scenes, tmp_path):
    code, out, _ = command("export", scenes, "--to", "png,masks,atlas,ora,coco,html", "--out", tmp_path / "out")
    assert code == 0
    formats = {"png", "masks", "atlas", "ora", "coco", "html"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*formats, "exported.json"}
    assert out.count("composites back within") >= 3
    assert "report.html" in {path.name for path in (tmp_path / "out" / "html").iterdir()}


def test_an_unknown_format_is_refused_before_anything_is_written(command, scenes, tmp_path):
    code, _, err = command("export", scenes, "--to", "png,pngs", "--out", tmp_path / "out")
    assert code == 2
    assert "Did you mean 'png'?" in err
    assert not (tmp_path / "out").exists()


def test_recomposed_images_are_the_composites(command, scenes, tmp_path):
    assert command("recompose", scenes, "--out", tmp_path / "out")[0] == 0
    for scene in load_scenes(scenes):
        pixels = np.asarray(Image.open(tmp_path / "out" / scene.name)).astype(float) / 255
        assert pixels.shape[2] == 4  # these scenes have no background, so nothing is behind their layers
        shown = pixels[..., :3] * pixels[..., 3:]
        assert np.abs(shown - scene.composite().permute(1, 2, 0).numpy()).max() <= 1 / 255 + 1e-6


def test_recomposing_leaves_files_alone_that_are_there_unless_told_otherwise(command, scenes, tmp_path):
    out, photo = tmp_path / "photos", tmp_path / "photos" / "000001.png"
    out.mkdir()
    for path in (photo, out / "other.png"):
        path.write_bytes(b"a photo")
    code, _, err = command("recompose", scenes, "--out", out)
    assert code == 2
    assert f"{photo}: is there already. Choose another --out, or write over it with --overwrite." in err
    assert contents(out) == {"000001.png": b"a photo", "other.png": b"a photo"}
    assert command("recompose", scenes, "--out", out, "--overwrite")[0] == 0
    assert photo.read_bytes().startswith(b"\x89PNG")
    assert (out / "other.png").read_bytes() == b"a photo"
    code, _, err = command("recompose", scenes, "--out", out)
    assert code == 2
    assert f"{out / '000000.png'}: is there already, and 4 more." in err


def edited(command, scenes, tmp_path, *words):
    code, out, err = command("edit", scenes, *words, "--out", tmp_path / "edited")
    assert code == 0, err
    return load_scenes(scenes), load_scenes(tmp_path / "edited"), out


def test_a_layer_of_one_scene_is_moved(command, scenes, tmp_path):
    words = ("move", "--scene", "000001.png", "--layer", "layer-01", "--by", "3", "-2")
    old, new, out = edited(command, scenes, tmp_path, *words)
    assert "1 layers in 1 scenes" in out
    before, after = (s[1].layer("layer-01").placement.transforms[-1].matrix for s in (old, new))
    assert (after[:2, 2] - before[:2, 2]).tolist() == pytest.approx([3, -2])
    assert (old[0].composite() == new[0].composite()).all()


def test_all_layers_that_show_a_sprite_are_hidden_and_shown_again(command, scenes, tmp_path):
    entry = load_scenes(scenes)[0].layers[0].placement.entry
    name = f"sprite-{entry:02d}"
    old, new, _ = edited(command, scenes, tmp_path, "hide", "--entry", name)
    for scene in new:
        assert all(layer.visible == (layer.placement.entry != entry) for layer in scene.layers)
    assert command("edit", tmp_path / "edited", "show", "--entry", name)[0] == 0
    assert contents(tmp_path / "edited" / "scenes") == contents(scenes / "scenes")
    assert len(old) == len(new)


def test_colour_opacity_sprite_and_order_are_changed(command, scenes, tmp_path):
    layer = ("--layer", "layer-00")
    _, new, _ = edited(command, scenes, tmp_path, "recolour", *layer, "--gain", "1", "0", "0.5")
    assert new[0].layer("layer-00").placement.colour == (1, 0, 0.5, 0, 0, 0)
    _, new, _ = edited(command, scenes, tmp_path, "fade", *layer, "--opacity", "0.25")
    assert new[0].layer("layer-00").placement.opacity == 0.25
    _, new, _ = edited(command, scenes, tmp_path, "replace", *layer, "--with", "sprite-02")
    assert new[0].layer("layer-00").placement.entry == 2
    _, new, _ = edited(command, scenes, tmp_path, "reorder", *layer, "--to", "1")
    assert [each.id for each in new[0].layers] == ["layer-01", "layer-00"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hide"], "nothing chosen"),
        (["hide", "--layer", "layer-77"], "no such layer in any scene"),
        (["hide", "--layer", "layer-00", "--scene", "00000.png"], "Did you mean"),
        (["hide", "--entry", "sprite-3"], "no sprite 'sprite-3'"),
        (["fade", "--layer", "layer-00", "--opacity", "2"], "expected 0 to 1"),
        (["reorder", "--layer", "layer-00", "--to", "9"], "position 9 of 2 layers"),
    ],
)
def test_impossible_edits_are_refused_and_change_nothing(command, scenes, words, message):
    before = contents(scenes)
    code, _, err = command("edit", scenes, *words)
    assert code == 2
    assert message in err
    assert contents(scenes) == before


def test_folders_that_hold_no_scenes_are_refused(command, tmp_path):
    for words in (["export", "--out", "x"], ["recompose", "--out", "x"]):
        code, _, err = command(words[0], tmp_path, *words[1:])
        assert code == 2
        assert "summary.json" in err
    assert not Path("x").exists()


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """A model of ReDO that nothing has trained, and photos that it has divided."""
    from delaminate.methods import save_model
    from delaminate.methods.redo import Config, ReDO
    from delaminate.pipelines.decomposition import decompose

    root = tmp_path_factory.mktemp("divided")
    config = Config(image_size=(16, 16), mask_width=8, generator_width=2, discriminator_width=16, noise_width=4)
    save_model(ReDO(config, 0), root / "model")
    (root / "photos").mkdir()
    for name, size in (("a.png", (40, 30, 3)), ("grey.png", (16, 24))):
        pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(pixels).save(root / "photos" / name)
    decompose(str(root / "model"), str(root / "photos"), root / "scenes", device="cpu")
    return root


def test_photos_are_divided_at_their_own_size_without_loss(divided):
    errors = json.loads((divided / "scenes" / "errors.json").read_text())
    scenes = load_scenes(divided / "scenes")
    assert [scene.size for scene in scenes] == [(40, 30), (16, 24)]
    for scene in scenes:
        with Image.open(divided / "photos" / scene.name) as photo:
            assert np.array_equal(to_pixels(scene.composite()), np.asarray(photo.convert("RGB")))
    # Photos seen through their own masks are themselves: their likeness says nothing.
    assert "psnr" not in errors
    assert [row["name"] for row in errors["images"]] == ["a.png", "grey.png"]
    assert all("psnr" not in row for row in errors["images"])


def test_photos_that_could_not_be_read_again_are_skipped_and_named(command, divided, tmp_path, monkeypatch):
    from delaminate.scene import validation as values

    words = ("decompose", divided / "model", divided / "photos", "--out")
    for bound, value in (("MAX_SIDE", 30), ("MAX_SCENE_PIXELS", 2 * 16 * 24)):
        with monkeypatch.context() as change:
            change.setattr(values, bound, value)
            code, said, err = command(*words, tmp_path / bound)
            assert code == 0, err
            assert "1 files skipped" in said
            assert command("recompose", tmp_path / bound, "--out", tmp_path / bound / "pictures")[0] == 0
            assert [scene.name for scene in load_scenes(tmp_path / bound)] == ["grey.png"]
        (skipped,) = json.loads((tmp_path / bound / "errors.json").read_text())["skipped"]
        assert skipped["name"] == "a"
        assert f"{value:,}" in skipped["reason"]
    monkeypatch.setattr(values, "MAX_SIDE", 10)
    code, _, err = command(*words, tmp_path / "none")
    assert code == 2
    assert "no image became a scene" in err


def test_photos_are_taken_apart_fewer_at_a_time_where_they_are_large(command, divided, tmp_path, monkeypatch):
    from delaminate.pipelines import decomposition

    there = stopped(monkeypatch, tmp_path / "out", after=9)
    monkeypatch.setattr(decomposition, "BATCH_PIXELS", 40 * 30)  # one photo, but four of the model's size
    assert command("decompose", divided / "model", divided / "photos", "--out", tmp_path / "out")[0] == 0
    assert there == [0, 1]


def test_scenes_that_are_not_kept_in_memory_are_edited_and_exported_alike(command, divided, tmp_path, monkeypatch):
    from delaminate.scene import collection

    words = ("--layer", "layer-01", "--by", "3", "-2")
    for name, room in (("kept", collection.KEPT_PIXELS), ("anew", 0)):
        monkeypatch.setattr(collection, "KEPT_PIXELS", room)
        folder = tmp_path / name
        shutil.copytree(divided / "scenes", folder / "scenes")
        assert "2 layers in 2 scenes" in command("edit", folder / "scenes", "move", *words)[1]
        redrawing = ("redraw", "--with", divided / "model", "--layer", "background", "--grid", folder / "grid.png")
        assert command("edit", folder / "scenes", *redrawing)[0] == 0
        code, _, err = command("export", folder / "scenes", "--to", "png,svg,tiled,html", "--out", folder / "out")
        assert code == 0, err
    assert contents(tmp_path / "kept") == contents(tmp_path / "anew")


def test_a_region_is_redrawn_and_keeps_its_alpha(command, divided, tmp_path):
    scenes = divided / "scenes"
    words = ("edit", scenes, "redraw", "--with", divided / "model", "--layer", "layer-01")
    code, said, _ = command(*words, "--grid", tmp_path / "grid.png", "--out", tmp_path / "new")
    assert code == 0, said
    assert "2 scenes, redrawn eight times each" in said
    command(*words, "--seed", "1", "--out", tmp_path / "other")
    for old, new, other in zip(
        *(load_scenes(each) for each in (scenes, tmp_path / "new", tmp_path / "other")), strict=True
    ):
        was, now, then = (scene.layer("layer-01").placement.raster for scene in (old, new, other))
        assert (was[3] - now[3]).abs().max() <= 1 / 255
        assert not np.allclose(was[:3], now[:3], atol=0.1)
        assert not np.allclose(then[:3], now[:3], atol=0.01)
        assert np.allclose(old.layer("background").placement.raster, new.layer("background").placement.raster)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (10 * 18, 2 * 18)


def test_what_is_redrawn_depends_on_the_regions_and_not_on_what_they_show(command, divided, tmp_path):
    words = ("redraw", "--with", divided / "model", "--layer", "layer-01", "--layer", "background", "--out")
    command("edit", divided / "scenes", *words, tmp_path / "once")
    command("edit", tmp_path / "once", *words, tmp_path / "twice")
    for once, twice in zip(*(load_scenes(tmp_path / each) for each in ("once", "twice")), strict=True):
        for name in ("layer-01", "background"):
            one, two = (scene.layer(name).placement.raster for scene in (once, twice))
            assert np.allclose(one, two, atol=2 / 255), name


def test_redrawing_by_another_method_or_of_other_scenes_is_refused(command, divided, made, model, tmp_path):
    code, _, said = command("edit", made, "redraw", "--with", model, "--layer", "layer-01", "--out", tmp_path)
    assert code == 2
    assert "cannot repaint regions" in said
    code, _, said = command(
        "edit", made, "redraw", "--with", divided / "model", "--layer", "layer-01", "--out", tmp_path
    )
    assert code == 2
    assert "expected the regions of a photo" in said


def test_an_object_of_a_photo_can_be_hidden(command, divided, tmp_path):
    code, said, _ = command("edit", divided / "scenes", "hide", "--layer", "layer-01", "--out", tmp_path / "new")
    assert code == 0, said
    for old, new in zip(*(load_scenes(each) for each in (divided / "scenes", tmp_path / "new")), strict=True):
        behind = old.layer("background").placement.raster[:3]
        assert np.allclose(new.composite(), behind, atol=1e-6)
        assert (old.composite() - new.composite()).abs().max() > 0.1


@pytest.mark.parametrize("several", [True, False])
def test_photos_with_several_things_are_told_that_these_share_a_layer(command, tmp_path, monkeypatch, several):
    monkeypatch.setattr(
        "delaminate.pipelines.scene_output.has_separate_parts",
        lambda labels: torch.tensor([several, False, False][: len(labels)]),
    )
    words = ("decompose", "perturbgan/objects-on-texture", "objects-on-texture", "-n", 3, "--out", tmp_path)
    code, said, err = command(*words)
    assert code == 0, err
    assert ("In 1 of them a layer lies in several large parts" in said) is several


@pytest.mark.parametrize(
    "words",
    [
        ("scale", "--layer", "layer-01", "--by", "2", "-1"),
        ("rotate", "--layer", "layer-01", "--by", "90"),
        ("rename", "--layer", "layer-01", "--to", "hero"),
        ("duplicate", "--layer", "layer-01"),
        ("remove", "--layer", "layer-01"),
        ("repaint", "--layer", "layer-01", "--with", "PICTURE"),
        ("mend", "--layer", "layer-01", "--with", "PICTURE"),
        ("add", "sprite-01", "--scene", "a.png", "--at", "4", "5"),
        ("rename-sprite", "sprite-00", "--to", "hero"),
        ("repaint-sprite", "sprite-00", "--with", "PICTURE"),
        ("recolour-sprites", "sprite-00", "sprite-01", "--colour", a_colour(), "--to", "#0102f3"),
        ("drop-sprite", "sprite-00"),
        ("merge-sprites", "sprite-00", "--into", "sprite-02"),
        ("split-sprite", "sprite-00", "--with", "PICTURE"),
    ],
    ids=lambda words: words[0],
)
def test_every_edit_is_a_command(command, tmp_path, words):
    folder = write_small_scenes(tmp_path / "scenes")
    (tmp_path / "p.png").write_bytes(png_bytes(to_pixels(random_picture(11, 6, 8))))
    words = [str(tmp_path / "p.png") if word == "PICTURE" else word for word in words]
    code, _, err = command("edit", folder, *words, "--out", tmp_path / "edited")
    assert code == 0, err
    new = load_scenes(tmp_path / "edited")
    assert not same_scene(new[0], load_scenes(folder)[0])
    assert command("edit", folder, *words)[0] == 0
    assert contents(folder / "dictionary") == contents(tmp_path / "edited" / "dictionary")
    assert contents(folder / "scenes") == contents(tmp_path / "edited" / "scenes")


def test_a_journal_is_replayed_on_other_scenes_and_not_on_its_own_in_place(command, tmp_path):
    own, other = (write_small_scenes(tmp_path / name) for name in ("own", "other"))
    history = EditHistory(own)
    digest = add_picture(history.folder, to_pixels(random_picture(11, 3, 3)))
    for edit in (
        {"operation": "move", "scene": "a.png", "layer": "layer-01", "dx": 2, "dy": 1},
        {"operation": "repaint-sprite", "sprite": "sprite-01", "picture": digest},
        {"operation": "hide", "scene": "b.png", "layer": "layer-02"},
    ):
        history.edit((operation_from(edit, "here"),))
    history.undo()
    history.close()
    journal = own / "edits" / "journal.jsonl"
    code, out, err = command("edit", "--replay", journal, other)
    assert (code, "2 edits" in out) == (0, True), err
    code, _, err = command("edit", "--replay", journal, own)
    assert code == 2 and "itself" in err
    assert command("edit", "--replay", journal, "--out", tmp_path / "new", own)[0] == 0
    for one, two in zip(load_scenes(other), load_scenes(tmp_path / "new"), strict=True):
        assert same_scene(one, two)
    assert not same_scene(load_scenes(other)[0], load_scenes(own)[0])
    write_small_scenes(tmp_path / "fewer", 1)
    with journal.open("a") as file:
        file.write('{"redo": true}\n')
    code, _, err = command("edit", "--replay", journal, tmp_path / "fewer")
    assert code == 2 and "no scene 'b.png'" in err
    assert command("edit", other)[0] == 2

import json

import numpy as np
import pytest
from helpers.maps import draw_map
from helpers.tiled_reader import draw_tiled, open_map
from PIL import Image

import delaminate
from delaminate.data import draw_images
from delaminate.errors import DataError, OutputError
from delaminate.files import to_pixels
from delaminate.pipelines.automatic import look
from delaminate.pipelines.tile_maps import is_map, tile_scenes
from delaminate.scene.format import MAX_LAYERS
from delaminate.scene.placements import OWN_RASTER, Placement, Transform
from delaminate.scene.saving import save_scenes
from delaminate.scene.scenes import Scene, SceneLayer


def drawn(seed=0, canvas=(400, 640), **how):
    return draw_map(np.random.Generator(np.random.PCG64(seed)), (16, 16), canvas, **how).picture


def test_a_map_comes_apart_into_tiles_that_are_shared_in_all_orientations(tmp_path):
    picture = drawn()
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(np.ascontiguousarray(picture[:, ::-1])).save(tmp_path / "b.png")
    scenes, counts, skipped = tile_scenes(tmp_path)
    assert not skipped and counts.equal == 2 and counts.size == (16, 16) and not counts.whole
    for scene, shown in zip(scenes, (picture, picture[:, ::-1]), strict=True):
        assert (to_pixels(scene.composite()) == shown).all()
        assert scene.background and len(scene.layers) > 250
    whole = [sprite for sprite in scenes.dictionary.sprites if (sprite[3] == 1).all()]
    # Fourteen tiles in two palettes; the mirrored map has no sprite of its own but for what its border cuts.
    assert 14 <= len(whole) <= 2 * 14 + 1
    assert {layer.placement.entry for layer in scenes[0].layers} >= {0, 1, 2}


def test_enlarged_and_transparent_maps_keep_their_size_and_their_holes(tmp_path):
    picture = drawn(1).repeat(2, 0).repeat(2, 1)
    Image.fromarray(picture).save(tmp_path / "large.png")
    scenes, counts, _ = tile_scenes(tmp_path / "large.png")
    assert counts.size == (32, 32) and counts.equal == 1
    assert scenes[0].size == picture.shape[:2]
    plain = drawn(2)
    colours, often = np.unique(plain.reshape(-1, 3), axis=0, return_counts=True)
    sky = (plain == colours[often.argmax()]).all(-1)
    rgba = np.concatenate([plain, np.where(sky, 0, 255)[..., None].astype(np.uint8)], -1)
    Image.fromarray(rgba).save(tmp_path / "holes.png")
    scenes, counts, _ = tile_scenes(tmp_path / "holes.png")
    assert counts.equal == 1 and not scenes[0].background
    alpha = np.zeros(sky.shape, bool)
    for layer in scenes[0].layers:
        left, top, orientation = layer.placement.transforms[0].whole_place((16, 16))
        shown = scenes.dictionary.sprites[layer.placement.entry][3].numpy() > 0.5
        shown = shown.T if orientation & 1 else shown
        shown = shown[:, ::-1] if orientation & 4 else shown
        shown = shown[::-1] if orientation & 2 else shown
        window = slice(max(top, 0), top + 16), slice(max(left, 0), left + 16)
        part = shown[window[0].start - top :, window[1].start - left :]
        alpha[window] |= part[: alpha[window].shape[0], : alpha[window].shape[1]]
    assert (alpha == ~sky).all()


def test_only_maps_are_maps():
    assert is_map(drawn(3))
    for image in draw_images("platform-game", 4).pixels:
        assert not is_map(image.permute(1, 2, 0).numpy())
    assert not is_map(np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8))


def test_auto_lays_a_map_out_for_tiled(tmp_path):
    picture = drawn(4)
    Image.fromarray(picture).save(tmp_path / "level.png")
    said = delaminate.recognise(tmp_path / "level.png")
    assert said.kind == "maps" and "lattice" in said.sentence
    found = delaminate.auto(tmp_path / "level.png", tmp_path / "out")
    assert found.level == "good" and "1 of 1 composites equal" in found.text
    assert "16 x 16 tiles" in json.loads((tmp_path / "out" / "auto.json").read_text())["text"]
    (tmx,) = (tmp_path / "out" / "exports" / "tiled").glob("*.tmx")
    tiled = open_map(tmx)
    assert (np.rint(draw_tiled(tiled) * 255).astype(np.uint8) == picture).all()
    assert (tiled.tile_size.height, tiled.tile_size.width) == (16, 16)
    again = delaminate.auto(tmp_path / "level.png", tmp_path / "out")
    assert (again.text, again.level, again.remarks) == (found.text, "good", found.remarks)


def test_a_call_that_is_cut_off_while_it_writes_goes_on_with_what_it_said(tmp_path, monkeypatch):
    Image.fromarray(drawn(4)).save(tmp_path / "level.png")

    def cut_off(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("delaminate.pipelines.automatic.export", cut_off)
        with pytest.raises(KeyboardInterrupt):
            delaminate.auto(tmp_path / "level.png", tmp_path / "out")
    found = delaminate.auto(tmp_path / "level.png", tmp_path / "out")
    assert found.level == "good" and "1 of 1 composites equal" in found.text
    assert look(tmp_path / "level.png").level == "fair"


def test_maps_of_several_games_are_maps(tmp_path):
    for seed in range(3):
        Image.fromarray(drawn(seed)).save(tmp_path / f"{seed}.png")
    assert delaminate.recognise(tmp_path).kind == "maps"


def test_holes_of_arrays_and_lines_of_transparent_maps_are_kept():
    picture = drawn(2)
    colours, often = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    sky = (picture == colours[often.argmax()]).all(-1)
    rgba = np.concatenate([picture, np.where(sky, 0, 255)[..., None].astype(np.uint8)], -1)
    scenes, counts, _ = tile_scenes([rgba])
    assert counts.equal == 1 and not scenes[0].background
    lined = drawn(7, spacing=1, origin=(0, 0))
    rgba = np.concatenate([lined, np.full((*lined.shape[:2], 1), 255, np.uint8)], -1)
    for row in range(0, lined.shape[0] - 17, 34):
        rgba[row : row + 16, :16] = 0
        for column in range(0, lined.shape[1] - 17, 51):
            rgba[row : row + 16, column : column + 16] = 0
    assert tile_scenes([rgba])[1].equal == 1


def test_a_map_of_too_many_cells_is_one_layer_and_leaves_no_sprites(monkeypatch):
    monkeypatch.setattr("delaminate.pipelines.tile_maps.MAX_LAYERS", 500)
    scenes, counts, _ = tile_scenes([drawn(3)])
    assert len(scenes[0].layers) == 1 and len(scenes.dictionary) == 0
    assert "too many layers" in counts.whole[0][1] and counts.equal == 1


def test_pictures_without_a_lattice_are_one_layer_and_files_that_are_none_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    Image.fromarray(drawn(5)).save(tmp_path / "map.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    scenes, counts, skipped = tile_scenes(tmp_path)
    assert counts.whole == (("noise.png", "no lattice was found"),) and counts.equal == 2
    assert [name for name, _ in skipped] == ["broken.png"]
    assert len(scenes[list(scenes.names).index("noise.png")].layers) == 1
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match="no image can be read"):
        tile_scenes(tmp_path / "none")


def test_scenes_of_more_layers_than_are_read_are_refused_before_they_are_written(tmp_path):
    scene = tile_scenes([drawn(6)])[0][0]
    place = Placement(
        OWN_RASTER, (Transform.shift(0, 0, scene.size),), raster=scene.layers[0].placement.raster[:, :1, :1]
    )
    many = tuple(SceneLayer(f"layer-{n:02d}", "dot", place) for n in range(MAX_LAYERS + 1))
    with pytest.raises(OutputError, match="more are not read"):
        save_scenes([Scene("a", scene.size, many, scene.dictionary)], tmp_path)

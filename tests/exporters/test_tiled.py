import dataclasses

import numpy as np
import pytest
import torch
from helpers.exports import clip, composite, scenes, solid
from helpers.maps import draw_map, generator, oriented, over_backgrounds
from helpers.tiled_reader import draw_tiled, open_map
from pytiled_parser import ImageLayer, ObjectLayer, TileLayer

from delaminate.errors import ConfigError
from delaminate.exporters.blits import cut_stamps
from delaminate.exporters.map_layout import find_grid
from delaminate.exporters.tiled import write_tiled
from delaminate.files import from_pixels
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform

FLIP = 0x80000000


@pytest.mark.parametrize(
    "shown", [clip(), clip(background=False), scenes(), scenes(False)], ids=["clip", "bare", "a", "b"]
)
def test_maps_composite_to_the_scenes_within_the_recorded_error(tmp_path, shown):
    result = write_tiled(shown, tmp_path)
    assert result.max_error < 0.01
    worst = 0.0
    for scene in shown:
        picture = draw_tiled(open_map(tmp_path / f"{scene.name}.tmx"))
        worst = max(worst, np.abs(picture - composite(scene)).max())
    assert worst == pytest.approx(result.max_error, abs=1e-9)
    assert set(result.files) == {path for path in tmp_path.rglob("*") if path.is_file()}


def test_the_grid_is_found_and_its_tiles_are_in_tile_layers(tmp_path):
    shown = clip()
    grid = find_grid(shown, cut_stamps(shown, trim=True))
    assert (grid.width, grid.height) == (8, 8)
    assert grid.corners[:3] == ((0, -2), (-3, -2), (-6, -2))
    write_tiled(shown, tmp_path)
    found = open_map(tmp_path / "shot" / "1.png.tmx")
    kinds = [type(layer) for layer in found.layers]
    assert kinds == [ImageLayer, ObjectLayer, TileLayer]
    tiles = np.array(found.layers[2].data)
    # Eight of the ten tiles touch the canvas; the others lie outside it and are objects.
    assert (tiles > 0).sum() == 8
    names = [placed.name for placed in found.layers[1].tiled_objects]
    assert names == ["sprite-03", "sprite-03", "sprite-01", "sprite-02", "sprite-05"]
    runner = found.layers[1].tiled_objects[2]
    assert runner.gid & FLIP
    assert runner.properties["track"] == 7


def test_the_order_of_what_overlaps_is_kept(tmp_path):
    generator = np.random.Generator(np.random.PCG64(3))
    sprites = [generator.integers(0, 256, (size, size, 4), dtype=np.uint8) for size in (8, 8, 11)]
    dictionary = Dictionary(tuple(from_pixels(sprite) for sprite in sprites))
    placements = []
    for _ in range(80):
        entry = int(generator.integers(3))
        left, top = (int(n) for n in generator.integers(-1, 5, 2) * 8)
        placements.append(Placement(entry, (Transform.shift(left, top + (entry == 2), (40, 40)),)))
    shown = Decomposition(dictionary, (tuple(placements),), (40, 40)).scenes()
    write_tiled(shown, tmp_path)
    found = open_map(tmp_path / "image-00000.tmx")
    assert sum(isinstance(layer, TileLayer) for layer in found.layers) > 3
    assert np.abs(draw_tiled(found) - composite(shown[0])).max() < 0.01


def test_hidden_and_mirrored_backgrounds_and_empty_lists_are_written(tmp_path):
    shown = clip(2)
    turned = Transform.mirror(-10, 0, 90, (40, 60))
    layers = list(shown[0].layers)
    placement = dataclasses.replace(layers[0].placement, transforms=(turned,))
    layers[0] = dataclasses.replace(layers[0], placement=placement)
    scene = dataclasses.replace(shown[0], layers=tuple(layers)).hide("layer-03")
    hidden = dataclasses.replace(scene.hide("background"), name="b.png")
    write_tiled([scene, hidden], tmp_path / "one")
    for each in (scene, hidden):
        picture = draw_tiled(open_map(tmp_path / "one" / f"{each.name}.tmx"))
        assert np.abs(picture - composite(each)).max() < 0.01
    assert write_tiled([], tmp_path / "none").max_error == 0


def drawn_again(path):
    return np.rint(draw_tiled(open_map(path)) * 255).astype(np.uint8)


def pixels_of(scene):
    return np.rint(composite(scene) * 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(6))
def test_a_map_becomes_a_tile_layer_of_one_sheet_and_is_drawn_again_exactly(tmp_path, seed):
    rng = generator(seed)
    side = int(rng.integers(16, 65))
    drawn = draw_map(rng, (side, side), (15 * side, 15 * side))
    (scene,) = over_backgrounds([drawn.picture], [(0, 0, 0)], drawn.picture.shape[:2], ["map"])
    result = write_tiled([scene], tmp_path)
    assert {path.name for path in result.files} == {"map.tmx", "tiles.tsx", "tiles.png"}
    found = open_map(tmp_path / "map.tmx")
    assert [type(layer) for layer in found.layers] == [TileLayer]
    assert (found.tile_size.height, found.tile_size.width) == (side, side)
    (tileset,) = found.tilesets.values()
    assert (tileset.columns, tileset.margin, tileset.spacing) == (16, 0, 0)
    numbers = np.array(found.layers[0].data)
    assert set(np.unique(numbers[numbers > 0] >> 29).tolist()) == set(range(8))
    assert (drawn_again(tmp_path / "map.tmx") == drawn.picture).all()


def test_a_level_that_scrolls_is_one_map_and_each_frame_a_window_of_it(tmp_path):
    rng = generator(8)
    level = draw_map(rng, (18, 18), (200, 800), tiles=20, palettes=1, runs=0.3)
    sprite = solid((11, 9), 50)
    corners = [(0, number % 7, 31 * number) for number in range(16)]
    placed = [(Placement(0, (Transform.shift(5 * number, 40, (180, 240)),), track=1),) for number in range(16)]
    names = [f"shot/{number}.png" for number in range(16)]
    shown = over_backgrounds([level.picture], corners, (180, 240), names, [sprite], placed)
    result = write_tiled(shown, tmp_path)
    assert result.max_error < 0.01
    assert set(result.files) == {path for path in tmp_path.rglob("*") if path.is_file()}
    whole = [path for path in result.files if path.name == "background-0.tmx"]
    assert (drawn_again(whole[0]) == level.picture).all()
    for scene in shown:
        path = tmp_path / f"{scene.name}.tmx"
        found = open_map(path)
        assert [type(layer) for layer in found.layers] == [TileLayer, ObjectLayer]
        assert found.map_size.width <= 240 // 18 + 2
        assert path.parent / found.properties["level"] == path.parent / "../background-0.tmx"
        assert (drawn_again(path) == pixels_of(scene)).all()
    assert found.properties["level_x"] == 31 * 15


def test_tiles_that_cycle_are_animated_in_the_map_of_the_level(tmp_path):
    rng = generator(9)
    drawn = draw_map(rng, (16, 16), (160, 240), palettes=1, origin=(0, 0))
    water = rng.integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    pictures = [drawn.picture.copy() for _ in range(3)]
    for picture, shown in zip(pictures, water, strict=True):
        for column in range(15):
            picture[144:, 16 * column :][:16, :16] = oriented(shown, 4 * (column % 2))
    names = [f"{number:02}.png" for number in range(12)]
    corners = [(number // 2 % 3, 0, 0) for number in range(12)]
    shown = over_backgrounds(pictures, corners, (160, 240), names)
    write_tiled(shown, tmp_path, rate=20)
    for scene in shown:
        assert (drawn_again(tmp_path / f"{scene.name}.tmx") == pixels_of(scene)).all()
    level = open_map(tmp_path / "background-0.tmx")
    assert (drawn_again(tmp_path / "background-0.tmx") == pictures[0]).all()
    (tileset,) = level.tilesets.values()
    ((tile, animated),) = tileset.tiles.items()
    assert [frame.duration for frame in animated.animation] == [100, 100, 100]
    numbers = np.array(level.layers[0].data)
    assert (((numbers[9] & 0x1FFFFFFF) - 1) == tile).all()
    assert not (((numbers[:9] & 0x1FFFFFFF) - 1) == tile).any()


def test_placements_in_eight_orientations_are_tiles_of_one_sheet(tmp_path):
    size = (64, 96)
    sprites = [solid((16, 16), 60), solid((16, 16), 61, (torch.arange(256).reshape(16, 16) % 5 > 0).float())]
    sprites[1][3, 0] = sprites[1][3, :, -1] = 0  # a border that is transparent
    rng = generator(10)
    placements = []
    for row in range(5):
        for column in range(7):
            turn = (7 * row + column) % 8
            a, b = -1 if turn & 4 else 1, -1 if turn & 2 else 1
            left, top = 16 * column - 5, 16 * row - 11
            x, y = left + (16 if a < 0 else 0), top + (16 if b < 0 else 0)
            matrix = [[0, a, x], [b, 0, y]] if turn & 1 else [[a, 0, x], [0, b, y]]
            turned = Transform.of_matrix(np.array([*matrix, [0, 0, 1]], float), size)
            placements.append(Placement(int(rng.integers(2)), (turned,)))
    shown = Decomposition(Dictionary(tuple(sprites)), (tuple(placements),), size).scenes(["tiles"])
    result = write_tiled(shown, tmp_path)
    assert result.max_error < 1e-6
    assert {path.name for path in result.files} == {"tiles.tmx", "tiles.tsx", "tiles.png"}
    found = open_map(tmp_path / "tiles.tmx")
    assert [type(layer) for layer in found.layers] == [TileLayer]
    numbers = np.array(found.layers[0].data)
    assert (numbers > 0).sum() == 35
    assert set(np.unique(numbers[numbers > 0] & 0x1FFFFFFF).tolist()) == {1, 2}
    assert len(np.unique(numbers[numbers > 0] >> 29)) == 8
    assert (drawn_again(tmp_path / "tiles.tmx") == pixels_of(shown[0])).all()


def test_a_background_without_a_lattice_stays_a_picture(tmp_path):
    noise = generator(11).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    shown = over_backgrounds([noise], [(0, 0, 0)], (120, 160), ["photo"])
    result = write_tiled(shown, tmp_path)
    assert {path.name for path in result.files} == {"photo.tmx", "background-0.png"}
    assert (drawn_again(tmp_path / "photo.tmx") == noise).all()


def test_a_frame_rate_out_of_range_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="rate"):
        write_tiled([], tmp_path, rate=0)

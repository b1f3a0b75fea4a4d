import dataclasses
import numpy as np
import pytest
from helpers.exports import clip, composite, scenes
from helpers.tiled_reader import draw_tiled, open_map
from pytiled_parser import ImageLayer, ObjectLayer, TileLayer

from delaminate.exporters.blits import cut_stamps
from delaminate.exporters.tiled import find_grid, write_tiled
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

import re

import numpy as np
from helpers.exports import scenes
from helpers.maps import draw_map
from PIL import Image

from delaminate.exporters.godot import write_godot_tileset
from delaminate.files import from_pixels
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform


def test_every_tile_of_a_map_is_a_tile_of_the_atlas(tmp_path):
    rng = np.random.Generator(np.random.PCG64(1))
    drawn = draw_map(rng, (24, 24), (240, 360), tiles=20, palettes=1, origin=(0, 0))
    picture = np.concatenate([drawn.picture, np.full((240, 360, 1), 255, np.uint8)], -1)
    place = Placement(0, (Transform.shift(0, 0, (240, 360)),))
    shown = Decomposition(Dictionary((from_pixels(picture),), (0,)), ((place,),), (240, 360), True).scenes()
    result = write_godot_tileset(shown, tmp_path)
    assert [path.name for path in result.files] == ["tiles.tres", "tiles.png"]
    sheet = np.asarray(Image.open(tmp_path / "tiles.png"))
    text = (tmp_path / "tiles.tres").read_text()
    assert "texture_region_size = Vector2i(24, 24)" in text
    places = [tuple(map(int, pair)) for pair in re.findall(r"^(\d+):(\d+)/0 = 0$", text, re.MULTILINE)]
    tiles = [sheet[24 * row : 24 * row + 24, 24 * column : 24 * column + 24] for column, row in places]
    assert len({tile.tobytes() for tile in tiles}) == len(tiles) == 21
    assert all((tile[..., 3] == 255).all() for tile in tiles)


def test_scenes_without_tiles_write_a_tile_set_without_an_atlas(tmp_path):
    (file,) = write_godot_tileset(scenes(), tmp_path).files
    assert file.read_text() == '[gd_resource type="TileSet" format=3]\n\n[resource]\ntile_size = Vector2i(16, 16)\n'

import json
import re

import numpy as np
from helpers.actors import coins, crouching, hero
from helpers.exports import clip, scenes
from helpers.maps import draw_map
from PIL import Image

from delaminate.exporters.godot import write_godot, write_godot_tileset
from delaminate.files import from_pixels, to_pixels
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


VALUE = re.compile(r'Rect2\(([^)]*)\)|Vector2\(([^)]*)\)|(?:Sub|Ext)Resource\("([^"]*)"\)|&("[^"]*")')


def read_resource(text):
    """Read Godot's text format: the head, and (tag, attributes, properties) of every section."""
    sections = []
    for block in re.split(r"^(?=\[\w+[ \]])", text, flags=re.MULTILINE)[1:]:
        head, _, body = block.partition("\n")
        tag, attributes = re.fullmatch(r"\[(\w+) ?(.*)\]", head).groups()
        properties = {}
        for name, value in re.findall(r"^([\w/]+) = (.*?)(?=\n[\w/]+ = |\s*\Z)", body, flags=re.MULTILINE | re.DOTALL):
            plain = VALUE.sub(lambda m: f"[{m[1] or m[2]}]" if m[1] or m[2] else m[4] or f'"{m[3]}"', value)
            properties[name] = json.loads(plain)
        sections.append((tag, dict(re.findall(r'(\w+)="?([^" ]*)"?', attributes)), properties))
    return sections


def opened(path):
    """Each animation of a SpriteFrames resource: its properties, and its frames as pictures with their seconds."""
    (head, given, _), (tag, external, _), *parts, (last, _, resource) = read_resource(path.read_text())
    assert (head, tag, last) == ("gd_resource", "ext_resource", "resource")
    assert (given["type"], given["format"], int(given["load_steps"])) == ("SpriteFrames", "3", len(parts) + 2)
    sheet = np.asarray(Image.open(path.parent / external["path"]).convert("RGBA"))
    pictures = {}
    for kind, attributes, properties in parts:
        assert (kind, attributes["type"], properties["atlas"]) == ("sub_resource", "AtlasTexture", external["id"])
        x, y, width, height = properties["region"]
        left, top, wider, higher = properties["margin"]
        assert x >= 0
        assert y >= 0
        assert x + width <= sheet.shape[1]
        assert y + height <= sheet.shape[0]
        assert 0 <= left <= wider
        assert 0 <= top <= higher
        picture = np.zeros((height + higher, width + wider, 4), np.uint8)
        picture[top : top + height, left : left + width] = sheet[y : y + height, x : x + width]
        pictures[attributes["id"]] = picture
    assert len({picture.shape for picture in pictures.values()}) == 1
    found = {}
    for animation in resource["animations"]:
        frames = [(pictures[f["texture"]], f["duration"] / animation["speed"]) for f in animation["frames"]]
        found[animation["name"]] = animation["loop"], frames
    return found, resource["metadata/pivot"]


def test_a_character_is_sprite_frames_whose_feet_stay(tmp_path):
    result = write_godot(crouching(), tmp_path, rate=20.0)
    assert [path.name for path in result.files] == ["sheet.png", "character-0.tres"]
    assert result.max_error == 0
    animations, pivot = opened(tmp_path / "character-0.tres")
    ((name, (loop, frames)),) = animations.items()
    assert (name, loop, pivot) == ("cycle-0", True, [11.0, 16.0])
    assert [round(seconds, 6) for _, seconds in frames] == [0.3, 0.3]
    assert [int(np.flatnonzero(picture[..., 3].any(1))[-1]) for picture, _ in frames] == [15, 15]
    dictionary = crouching()[0].dictionary
    assert (frames[0][0][:16, 4:18] == to_pixels(dictionary.sprites[0])).all()


def test_cycles_loop_and_all_else_is_played_once(tmp_path):
    write_godot(hero(), tmp_path)
    animations, _ = opened(tmp_path / "character-0.tres")
    assert {name: loop for name, (loop, _) in animations.items()} == {
        "still-0": False,
        "cycle-0": True,
        "once-0": False,
    }
    write_godot(coins(), tmp_path / "coins", rate=10.0)
    animations, _ = opened(tmp_path / "coins" / "character-0.tres")
    assert [round(seconds, 6) for _, seconds in animations["cycle-0"][1]] == [0.2, 0.3, 0.2, 0.3]
    assert sorted(path.name for path in (tmp_path / "coins").iterdir()) == ["character-0.tres", "sheet.png"]


def test_every_character_has_a_file_and_scenes_without_tracks_have_the_sheet(tmp_path):
    write_godot(clip(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["character-0.tres", "character-1.tres", "sheet.png"]
    for number in range(2):
        opened(tmp_path / f"character-{number}.tres")
    assert [path.name for path in write_godot([], tmp_path / "none").files] == ["sheet.png"]

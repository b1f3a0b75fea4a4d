import json

import numpy as np
import pytest
from helpers.actors import crouching, patrol
from helpers.exports import scenes
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from delaminate.errors import OutputError
from delaminate.exporters import FORMATS
from delaminate.exporters.atlas import pack, write_atlas
from delaminate.files import from_pixels, to_pixels
from delaminate.scene.collection import with_sprite

sizes = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), max_size=20)


@settings(max_examples=60, deadline=None, database=None)
@given(sizes, st.integers(0, 3), st.none() | st.integers(1, 60))
def test_packed_rectangles_lie_inside_and_apart(sizes, padding, width):
    corners, (wide, high) = pack(sizes, padding, width)
    taken = np.zeros((high, wide), int)
    for (w, h), (x, y) in zip(sizes, corners, strict=True):
        assert padding <= x <= wide - w - padding
        assert padding <= y <= high - h - padding
        # Each brings its padding on the right and below: no two may meet.
        taken[y : y + h + padding, x : x + w + padding] += 1
    assert taken.max(initial=0) <= 1
    assert pack(sizes, padding, width) == (corners, (wide, high))


def test_packing_is_dense():
    generator = np.random.Generator(np.random.PCG64(1))
    sizes = [tuple(int(n) for n in generator.integers(8, 40, 2)) for _ in range(150)]
    _, (wide, high) = pack(sizes)
    assert sum(w * h for w, h in sizes) / (wide * high) > 0.85


@pytest.mark.parametrize(("margin", "backgrounds"), [(0, False), (1, False), (1, True)])
def test_frames_of_the_sheet_are_the_sprites(tmp_path, margin, backgrounds):
    shown = scenes()
    result = write_atlas(shown, tmp_path, margin=margin, backgrounds=backgrounds)
    atlas = json.loads((tmp_path / "atlas.json").read_text())
    sheet = np.asarray(Image.open(tmp_path / "atlas.png"))
    assert atlas["meta"]["size"] == {"w": sheet.shape[1], "h": sheet.shape[0]}
    assert atlas["meta"]["image"] == "atlas.png"
    dictionary = shown[0].dictionary
    names = ["sprite-00", "sprite-01", "sprite-02"] + ["background-0"] * backgrounds
    assert list(atlas["frames"]) == names
    for entry, frame in enumerate(atlas["frames"].values()):
        expected = to_pixels(dictionary.sprites[entry])
        place, offset = frame["frame"], frame["spriteSourceSize"]
        part = sheet[place["y"] : place["y"] + place["h"], place["x"] : place["x"] + place["w"]]
        again = np.zeros((frame["sourceSize"]["h"], frame["sourceSize"]["w"], 4), np.uint8)
        again[offset["y"] : offset["y"] + offset["h"], offset["x"] : offset["x"] + offset["w"]] = part
        assert (again[..., 3] == expected[..., 3]).all()
        seen = expected[..., 3] > 0
        assert (again[seen] == expected[seen]).all()
        assert frame["trimmed"] == (part.shape != expected.shape)
        assert frame["rotated"] is False
    # With its margin the sheet gives the scenes back, even where sprites lie between pixels.
    assert result.max_error < (0.02 if margin else 0.5)


def test_the_same_scenes_give_the_same_bytes_and_empty_sprites_are_packed(tmp_path):
    shown = scenes()
    shown = with_sprite(shown, 1, shown[0].dictionary.sprites[1] * 0)
    first = [path.read_bytes() for path in write_atlas(shown, tmp_path / "a").files]
    assert [path.read_bytes() for path in write_atlas(shown, tmp_path / "b").files] == first
    assert write_atlas([], tmp_path / "none").max_error == 0


def test_a_sheet_that_would_be_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("delaminate.exporters.atlas.MAX_SIDE", 10)
    with pytest.raises(OutputError, match="sheet would be"):
        write_atlas(scenes(), tmp_path)


def test_poses_of_a_character_share_a_source_size_and_a_pivot(tmp_path):
    write_atlas(crouching(), tmp_path)
    frames = json.loads((tmp_path / "atlas.json").read_text())["frames"]
    assert [frame["sourceSize"] for frame in frames.values()] == [{"w": 22, "h": 16}] * 2
    assert [frame["pivot"] for frame in frames.values()] == [{"x": 0.5, "y": 1.0}] * 2
    assert [frame["spriteSourceSize"]["y"] + frame["spriteSourceSize"]["h"] for frame in frames.values()] == [16, 16]


def test_a_pose_that_is_a_sprite_mirrored_is_a_picture_of_its_own(tmp_path):
    shown = patrol()
    write_atlas(shown, tmp_path, margin=0)
    frames = json.loads((tmp_path / "atlas.json").read_text())["frames"]
    assert list(frames) == [*(f"sprite-{number:02d}" for number in range(4)), "sprite-01-mirrored"]
    sheet = np.asarray(Image.open(tmp_path / "atlas.png"))
    place = frames["sprite-01-mirrored"]["frame"]
    part = sheet[place["y"] : place["y"] + place["h"], place["x"] : place["x"] + place["w"]]
    assert (part == to_pixels(shown[0].dictionary.sprites[1])[:, ::-1]).all()
    # The sprite as it was kept is no pose.
    assert "pivot" not in frames["sprite-01"]
    assert frames["sprite-01"]["sourceSize"] == {"w": 14, "h": 18}


def few_colours(scenes, count):
    """Scenes whose sprites have so many colours in all, none of them like another."""
    dictionary = scenes[0].dictionary
    for entry, sprite in enumerate(dictionary.sprites):
        numbers = np.arange(sprite[0].numel()) % count
        rgb = np.stack([numbers, numbers // 2, 255 - numbers]).reshape(3, *sprite.shape[1:])
        picture = sprite.clone()
        picture[:3] = from_pixels(rgb.transpose(1, 2, 0).astype(np.uint8))
        scenes = with_sprite(scenes, entry, picture)
    return scenes


@pytest.mark.parametrize("writer", ["atlas", "aseprite", "godot", "phaser"])
def test_a_sheet_of_few_colours_may_have_a_palette(tmp_path, writer):
    shown = few_colours(crouching(), 90)
    plain, indexed = (
        FORMATS[writer].write(shown, tmp_path / "a"),
        FORMATS[writer].write(shown, tmp_path / "b", indexed=True),
    )
    assert indexed.max_error == plain.max_error == 0
    (path,) = [each for each in indexed.files if each.suffix == ".png"]
    picture = Image.open(path)
    assert picture.mode == "P"
    numbers, before = (
        np.asarray(picture),
        np.asarray(Image.open(plain.files[plain.files.index(path.parents[1] / "a" / path.name)])),
    )
    assert len(np.unique(numbers)) == 91
    assert ((numbers == 0) == (before[..., 3] == 0)).all()
    again = np.asarray(picture.convert("RGBA"))
    assert (again[numbers > 0] == before[numbers > 0]).all()


def test_a_palette_that_is_too_small_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"atlas: 369 colours.*holds 256.*--indexed"):
        write_atlas(crouching(), tmp_path / "none", indexed=True)
    assert not (tmp_path / "none").exists()


def test_half_transparent_colours_are_in_the_palette(tmp_path):
    sprite = few_colours(crouching(), 4)[0].dictionary.sprites[0].clone()
    sprite[3, :8] = 128 / 255
    write_atlas(with_sprite(few_colours(crouching(), 4), 0, sprite), tmp_path, indexed=True)
    again = np.asarray(Image.open(tmp_path / "atlas.png").convert("RGBA"))
    assert set(np.unique(again[..., 3])) == {0, 128, 255}

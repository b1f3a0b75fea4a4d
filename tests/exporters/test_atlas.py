import json

import numpy as np
import pytest
from helpers.exports import scenes
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from delaminate.errors import OutputError
from delaminate.exporters.atlas import pack, write_atlas
from delaminate.files import to_pixels
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

"""Scenes of enlarged pixel art: at the original's size block by block, and back at the pixels' own."""

import json

import numpy as np
import pytest
import torch

import delaminate
from delaminate.data.clips import read_clip
from delaminate.errors import FormatError
from delaminate.files import from_pixels
from delaminate.scene.canvas_map import Blocks, CanvasMap
from delaminate.scene.collection import SceneSet
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.loading import load_scenes
from delaminate.scene.native import native_scenes
from delaminate.scene.placements import Dictionary, Placement, Transform
from delaminate.scene.saving import SceneWriter

SIZE = (20, 24)
KINDS = {
    "cut": Blocks((3.0, 3.0), (2.0, 1.0), (0, 0, 59, 70), (59, 70)),
    "two factors": Blocks((3.0, 2.0), (0.0, 0.0), (0, 0, 60, 48), (60, 48)),
    "broken": Blocks((3.5, 2.25), (0.0, 0.0), (0, 0, 70, 54), (70, 54)),
    "in a frame": Blocks((2.0, 2.0), (0.0, 0.0), (7, 3, 47, 51), (60, 70)),
}


def decomposition(blocks):
    rng = np.random.default_rng(0)

    def picture(height, width):
        return from_pixels(rng.integers(0, 256, (height, width, 4), dtype=np.uint8))

    ground = picture(*SIZE)
    ground[3] = 1
    images = []
    for frame in range(3):
        images.append(
            (
                Placement(1, (Transform.shift(0, 0, SIZE),)),
                Placement(0, (Transform.shift(3 * frame - 2, 2, SIZE),), track=0),
                Placement(0, (Transform.mirror(10, 17, 7, SIZE),), (0.5, 1, 1, 0.1, 0, 0)),
                Placement(-1, (Transform.shift(18, 4 + frame, SIZE),), raster=picture(4, 5)),
            )
        )
    maps = (CanvasMap.of_blocks(blocks),) * 3
    return Decomposition(Dictionary((picture(5, 7), ground), (1,)), tuple(images), SIZE, True, maps)


def enlarged(pictures, blocks):
    """Every pixel of (B, 3, H, W) as its block, black around."""
    rows, columns = blocks.edges
    inner = pictures.repeat_interleave(torch.from_numpy(np.diff(rows)), 2)
    inner = inner.repeat_interleave(torch.from_numpy(np.diff(columns)), 3)
    top, left, bottom, right = blocks.box
    out = torch.zeros(len(pictures), 3, *blocks.original)
    out[:, :, top:bottom, left:right] = inner
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_at_the_originals_size_are_made_of_its_blocks(kind, tmp_path):
    blocks = KINDS[kind]
    found = decomposition(blocks)
    expected = enlarged(found.composite(), blocks)
    scenes = found.scenes(["a", "b", "c"])
    top, left, bottom, right = blocks.box
    for scene, picture in zip(scenes, expected, strict=True):
        shown = scene.composite()
        assert shown.shape[1:] == blocks.original
        assert (shown - picture)[:, top:bottom, left:right].abs().max() < 1e-5
    writer = SceneWriter(tmp_path, 10.0, None, blocks)
    writer.add(scenes)
    loaded = load_scenes(tmp_path)
    assert loaded.blocks == blocks
    assert torch.equal(loaded[1].composite(), scenes[1].composite())


@pytest.mark.parametrize("kind", KINDS)
def test_native_scenes_are_what_was_found(kind):
    blocks = KINDS[kind]
    found = decomposition(blocks)
    scenes = found.scenes(["a", "b", "c"])
    native = native_scenes(scenes, blocks)
    assert isinstance(native, SceneSet)
    for scene, picture in zip(native, found.composite(), strict=True):
        assert scene.size == SIZE
        assert (scene.composite() - picture).abs().max() < 1e-5
    for small, sprite in zip(native.dictionary.sprites, found.dictionary.sprites, strict=True):
        assert torch.equal(small, sprite)
    # What is moved by one block at the original's size is moved by one pixel.
    down, across = blocks.step
    moved = native_scenes([scenes[0].move("layer-01", 4 * across, 2 * down)], blocks)[0]
    want = native[0].move("layer-01", 4, 2)
    assert (moved.composite() - want.composite()).abs().max() < 1e-4


def test_exports_are_written_at_the_pixels_own_size(tmp_path):
    blocks = KINDS["two factors"]
    found = decomposition(blocks)
    writer = SceneWriter(tmp_path / "scenes", 10.0, None, blocks)
    writer.add(found.scenes(["a", "b", "c"]))
    delaminate.edit(
        tmp_path / "scenes", lambda scene, layer: scene.hide(layer), layers=["layer-03"], out=tmp_path / "edited"
    )
    written = delaminate.export(tmp_path / "edited", tmp_path / "out", "apng,atlas,tiled", native=True, background=True)
    clip = read_clip(written["apng"].files[0])
    hidden = Decomposition(found.dictionary, tuple(some[:3] for some in found.images), SIZE, True).composite()
    assert clip.size == SIZE
    assert (clip.pixels / 255 - hidden).abs().max() < 0.003
    large = delaminate.export(tmp_path / "edited", tmp_path / "large", "apng", background=True)
    assert read_clip(large["apng"].files[0]).size == blocks.original
    frames = json.loads((tmp_path / "out" / "atlas" / "atlas.json").read_text())["frames"]
    assert frames["sprite-00"]["sourceSize"] == {"w": 7, "h": 5}


@pytest.mark.parametrize(
    "wrong", [{"step": [0, 3]}, {"box": [0, 0, 99, 48]}, {"phase": [5, 0]}, {"original": [60]}, {"more": 1}]
)
def test_blocks_in_a_file_are_checked(tmp_path, wrong):
    blocks = KINDS["two factors"]
    writer = SceneWriter(tmp_path, None, None, blocks)
    writer.add(decomposition(blocks).scenes(["a", "b", "c"]))
    summary = json.loads((tmp_path / "summary.json").read_text())
    summary["blocks"] |= wrong
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(FormatError, match="blocks"):
        load_scenes(tmp_path)

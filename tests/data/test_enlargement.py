"""Enlarged pixel art found by majority: factors an axis, cut blocks, and what captures are distorted by."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.notes import Notes
from PIL import Image

import delaminate
from delaminate.data import ImageSet, detect_enlargement
from delaminate.data.enlargement import Enlargement, enlargement_by, estimate_enlargement, undo_enlargement
from delaminate.data.lattice import edge_profile, find_lattices
from delaminate.errors import ConfigError, DataError, ShapeError
from delaminate.pipelines.images import parse_zoom
from delaminate.scene.canvas_map import Blocks, CanvasMap

CASES = Path(os.environ.get("DELAMINATE_DATA", "/nowhere")) / "cases_games"


def art(seed, size=(70, 90)):
    """Flat ground, a few tiles of bricks and figures with outlines: uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    colours = (0.5 * rng.integers(0, 256, (8, 3)) + 0.5 * np.linspace(20, 235, 8)[:, None]).astype(np.uint8)
    numbers = np.full(size, 5)
    numbers[-16:] = np.where((np.mgrid[:16, : size[1]][0] % 4 == 0) | (np.arange(size[1]) % 8 == 0), 2, 3)
    for _ in range(9):
        height, half = rng.integers(6, 14), rng.integers(3, 7)
        body = rng.random((height, half)) < 0.7
        body = np.concatenate([body, body[:, ::-1]], 1)
        top, left = rng.integers(0, size[0] - height), rng.integers(0, size[1] - 2 * half)
        window = numbers[top : top + height, left : left + 2 * half]
        window[body] = rng.integers(0, 8, body.shape)[body]
    return colours[numbers]


def nearest(pixels, down, across):
    height, width = round(pixels.shape[0] * down), round(pixels.shape[1] * across)
    rows = ((np.arange(height) + 0.5) * pixels.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * pixels.shape[1] / width).astype(int)
    return pixels[rows][:, columns]


def tensor(pixels):
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].contiguous()


def jpeg(pixels, quality=88):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def bilinear(pixels, down, across):
    size = round(pixels.shape[1] * across), round(pixels.shape[0] * down)
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def with_cursor(pixels):
    out = pixels.copy()
    for row in range(13):
        out[40 + row, 51 : 52 + row] = 255
        out[40 + row, [51, 51 + row]] = 0
    return out


def with_frame(pixels):
    out = np.full((pixels.shape[0] + 27, pixels.shape[1] + 8, 3), (60, 90, 160), np.uint8)
    out[23:-4, 4:-4] = pixels
    out[6:14, 9:80][np.random.default_rng(0).random((8, 71)) < 0.4] = 250
    return out


DISTORTED = {
    "whole": (lambda p: nearest(p, 4, 4), (4, 4)),
    "cut": (lambda p: nearest(p, 5, 5)[2:, 3:-1], (5, 5)),
    "two factors": (lambda p: nearest(p, 3, 2), (3, 2)),
    "three and a half": (lambda p: nearest(p, 3.5, 3.5), (3.5, 3.5)),
    "any factor": (lambda p: nearest(p, 2.7, 5.3), (189 / 70, 477 / 90)),
    "small factor": (lambda p: nearest(p, 2.3, 2.3), (2.3, 2.3)),
    "cursor": (lambda p: with_cursor(nearest(p, 3, 3)), (3, 3)),
    "frame": (lambda p: with_frame(nearest(p, 4, 4)), (4, 4)),
    "jpeg": (lambda p: jpeg(nearest(p, 4, 4)), (4, 4)),
    "jpeg cut": (lambda p: jpeg(nearest(p, 3, 3)[1:, 2:]), (3, 3)),
    "bilinear": (lambda p: bilinear(p, 5, 5), (5, 5)),
    "resampled": (lambda p: bilinear(nearest(p, 3, 3), 1.3, 1.3), (3.9, 3.9)),
    "palette": (lambda p: np.array(Image.fromarray(nearest(p, 6, 6)).quantize(8, dither=0).convert("RGB")), (6, 6)),
}


@pytest.mark.parametrize("name", DISTORTED)
@pytest.mark.parametrize("seed", range(4))
def test_the_factor_is_found_whatever_a_capture_went_through(name, seed):
    distort, factor = DISTORTED[name]
    found = estimate_enlargement(tensor(distort(art(seed))))
    assert found is not None
    for have, want, side in zip(found.factor, factor, (70, 90), strict=True):
        assert abs(side * want / have - side) < 0.5
    assert found.smooth == (name == "bilinear")


def test_a_compressed_video_of_pixel_art_is_found(tmp_path):
    av = pytest.importorskip("av")
    pixels = nearest(art(1), 4, 4)
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "20"})
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], "yuv420p"
        for shift in range(4):
            frame = np.roll(pixels, 4 * shift, 1)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        out.mux(stream.encode())
    notes = Notes()
    images = delaminate.open_images(tmp_path / "a.mp4", callback=notes)
    assert images.size == (70, 90)
    assert notes.notes == ["The images are pixel art, enlarged 4 times; worked on at their own size."]
    assert (images.pixels[0].float() - tensor(art(1))[0].float()).abs().mean() < 8


@pytest.mark.parametrize("seed", range(12))
def test_native_art_and_photographs_are_left_alone(seed):
    rng = np.random.default_rng(seed)
    assert estimate_enlargement(tensor(art(seed, (240, 320)))) is None
    assert estimate_enlargement(tensor(jpeg(art(seed, (240, 320)), 90))) is None
    smooth = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize(
        (320, 240), Image.Resampling.BICUBIC
    )
    photo = np.clip(np.asarray(smooth) + rng.normal(0, 6, (240, 320, 3)), 0, 255).astype(np.uint8)
    assert estimate_enlargement(tensor(photo)) is None
    assert estimate_enlargement(tensor(jpeg(photo, 40))) is None


def test_flat_images_and_single_tiles_tell_nothing():
    assert estimate_enlargement(torch.full((2, 3, 64, 64), 9, dtype=torch.uint8)) is None
    assert estimate_enlargement(tensor(nearest(art(0, (20, 20))[:9, :9], 4, 4))) is None
    assert find_lattices(edge_profile(torch.zeros(1, 8, 8))) == []


@pytest.mark.parametrize(
    ("down", "across", "cut"), [(3, 3, (1, 2)), (3, 2, (0, 0)), (3.5, 2.3, (0, 0)), (2.2, 2.2, (0, 0))]
)
def test_undone_is_the_native_picture_and_blocks_say_where_it_was(down, across, cut):
    native = art(3)
    pixels = nearest(native, down, across)[cut[0] :, cut[1] :]
    images = ImageSet.from_arrays(pixels[None])
    small = undo_enlargement(images, estimate_enlargement(images.pixels))
    assert np.array_equal(small.pixels[0].permute(1, 2, 0).numpy(), native)
    (rows, columns), canvas_map = small.canvas_maps[0].blocks.edges, small.canvas_maps[0]
    again = native.repeat(np.diff(rows), 0).repeat(np.diff(columns), 1)
    assert np.array_equal(again, pixels)
    assert canvas_map.original == pixels.shape[:2]
    assert canvas_map.to_original[[1, 0], [1, 0]] == pytest.approx((down, across), rel=0.01)


def test_a_cursor_changes_only_pixels_under_it():
    native = art(2)
    images = ImageSet.from_arrays(with_cursor(nearest(native, 3, 3))[None])
    small = undo_enlargement(images, estimate_enlargement(images.pixels))
    differs = (small.pixels[0].permute(1, 2, 0).numpy() != native).any(2)
    assert 0 < differs.sum() < 60
    assert not differs[:12].any()


def test_what_is_known_to_be_enlarged_may_be_said(tmp_path):
    native = art(5)
    Image.fromarray(nearest(native, 4, 4)).save(tmp_path / "a.png")
    assert delaminate.open_images(tmp_path).size == (70, 90)
    assert delaminate.open_images(tmp_path, zoom=(2, 2)).size == (140, 180)
    assert delaminate.open_images(tmp_path, zoom=(1, 1)).size == (280, 360)
    assert delaminate.open_images(tmp_path, zoom=(4, 2)).size == (70, 180)
    cut = enlargement_by(tensor(nearest(native, 4, 4)[3:, 1:]), (4, 4))
    assert cut == Enlargement((4, 4), (1, 3))
    with pytest.raises(DataError, match="zoom: 65 x 2"):
        delaminate.open_images(tmp_path, zoom=(65, 2))
    with pytest.raises(ConfigError, match="a size of its own"):
        delaminate.open_images(tmp_path, (70, 90), zoom=(4, 4))
    for wrong in ("", "0", "2x3x4", "two", "nan", "x"):
        with pytest.raises(ConfigError, match="height x width"):
            parse_zoom(wrong)


def test_the_exact_rule_still_comes_first():
    pixels = tensor(nearest(art(0), 3, 3))
    assert detect_enlargement(pixels) == 3
    images = delaminate.open_images(ImageSet.from_arrays(pixels))
    assert images.canvas_maps[0].zoom == 3
    assert images.canvas_maps[0].blocks is None
    assert images.canvas_maps[0].enlarged_blocks.canvas == (70, 90)


@pytest.mark.parametrize(
    ("step", "phase", "box"),
    [
        ((0.5, 2.0), (0.0, 0.0), (0, 0, 9, 9)),
        ((2.0, 2.0), (2.0, 0.0), (0, 0, 9, 9)),
        ((2.0, 2.0), (0.0, 0.0), (0, 0, 10, 9)),
        ((2.0, 99.0), (0.0, 0.0), (0, 0, 9, 9)),
    ],
)
def test_blocks_that_cannot_be_are_refused(step, phase, box):
    with pytest.raises(ShapeError, match="Blocks"):
        Blocks(step, phase, box, (9, 9))


def test_a_map_of_blocks_has_one_for_each_pixel():
    blocks = Blocks((3.0, 2.0), (0.0, 0.0), (0, 0, 9, 8), (9, 8))
    assert CanvasMap.of_blocks(blocks).canvas == (3, 4)
    with pytest.raises(ShapeError, match="one for each pixel"):
        CanvasMap((9, 8), (0.0, 0.0, 8.0, 9.0), (4, 4), blocks=blocks)


@pytest.mark.skipif(not CASES.is_dir(), reason="cases_games is not there")
@pytest.mark.parametrize(("name", "factor"), [("m3_zoom3_off1", (3, 3)), ("m3_zoom_2x3", (3, 2))])
def test_recorded_cases_come_back_at_their_own_size(name, factor):
    images = delaminate.open_images(CASES / name)
    assert images.size == (64, 64)
    assert images.canvas_maps[0].blocks.step == factor
    raw = delaminate.data.open_data(CASES / name, labels=False)
    rows, columns = images.canvas_maps[0].blocks.edges
    again = images.pixels.repeat_interleave(torch.from_numpy(np.diff(rows)), 2)
    assert torch.equal(again.repeat_interleave(torch.from_numpy(np.diff(columns)), 3), raw.pixels)


def test_what_a_model_knows_goes_before_what_few_frames_seem_to_be():
    """A map drawn in squares of two pixels, enlarged 2 x 3: a single frame looks like 4 x 6."""
    small = np.random.default_rng(0).integers(0, 256, (9, 10, 3)).astype(np.uint8).repeat(2, 0).repeat(2, 1)
    frame = small.repeat(2, 0).repeat(3, 1)
    for found in (delaminate.open_images([frame], (18, 20)), delaminate.open_images([frame], like=(18, 20))):
        assert np.array_equal(found.pixels[0].permute(1, 2, 0).numpy(), small)
    assert delaminate.open_images([frame]).size != (18, 20)

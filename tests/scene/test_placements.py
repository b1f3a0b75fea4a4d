from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.stacks import decompositions, laws, random, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from delaminate.errors import ConfigError, ShapeError
from delaminate.scene.canvas_map import CanvasMap
from delaminate.scene.compositing import composite, segment
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.painting import paint
from delaminate.scene.placements import Dictionary, Placement, Transform


@laws
@given(decompositions())
def test_windows_composite_to_what_the_dense_layers_composite_to(found):
    assert_close(composite(found.layers()), found.composite(), atol=1e-12, rtol=0)


@laws
@given(decompositions(dtype=torch.float32))
def test_windows_and_dense_layers_agree_within_a_millionth_in_float32(found):
    assert_close(composite(found.layers()), found.composite(), atol=1e-6, rtol=0)


@laws
@given(decompositions())
def test_a_window_is_all_that_a_placement_can_touch(found):
    for placements in found.images:
        for placement in placements:
            window = paint(found.dictionary, placement)
            background = placement.entry in found.dictionary.backgrounds
            # Painted over a canvas with a margin, the placement shows nothing more.
            matrix = np.array([[1, 0, 5], [0, 1, 5], [0, 0, 1]], dtype=np.float64)
            last = placement.transforms[-1]
            if background or last.kind != "matrix":
                continue
            height, width = found.size
            wide = paint(found.dictionary, placement.then(matrix, (height + 10, width + 10)))
            canvas = torch.zeros(1, height + 10, width + 10, dtype=torch.float64)
            canvas[:, wide.slices[0], wide.slices[1]] = wide.alpha
            narrow = torch.zeros(1, height, width, dtype=torch.float64)
            narrow[:, window.slices[0], window.slices[1]] = window.alpha
            assert_close(narrow, canvas[:, 5:-5, 5:-5], atol=1e-9, rtol=0)


@laws
@given(decompositions())
def test_labels_are_those_of_the_dense_layers(found):
    instances, classes = found.labels()
    assert torch.equal(instances, segment(found.layers()))
    for i, placements in enumerate(found.images):
        kinds = [placement.entry + 1 for placement in placements]
        kinds = [0, *kinds[1:]] if found.background else [0, *kinds]
        assert torch.equal(classes[i], torch.tensor(kinds)[instances[i]])


@laws
@given(decompositions(covering=False))
def test_labels_hold_where_the_background_leaves_a_margin(found):
    assert torch.equal(found.labels()[0], segment(found.layers()))


@laws
@given(seeds, st.integers(-9, 9), st.integers(-9, 9))
def test_a_whole_pixel_shift_is_a_copy(seed, left, top):
    sprite, canvas = random(seed, 4, 4, 6), (8, 7)
    window = paint(Dictionary((sprite,)), Placement(0, (Transform.shift(left, top, canvas),)))
    out = torch.zeros(4, *canvas, dtype=torch.float64)
    out[:, window.slices[0], window.slices[1]] = torch.cat([window.rgb, window.alpha])
    expected = torch.zeros(4, 40, 40, dtype=torch.float64)
    expected[:, 15 + top : 19 + top, 15 + left : 21 + left] = sprite
    assert torch.equal(out, expected[:, 15:23, 15:22])


@laws
@given(seeds, st.integers(-9, 9), st.integers(-9, 9))
def test_a_mirrored_placement_is_the_shift_of_the_flipped_sprite(seed, left, top):
    sprite, canvas = random(seed, 4, 4, 6), (8, 7)
    mirrored = paint(Dictionary((sprite,)), Placement(0, (Transform.mirror(left, top, 6, canvas),)))
    plain = paint(Dictionary((sprite.flip(2),)), Placement(0, (Transform.shift(left, top, canvas),)))
    assert mirrored.slices == plain.slices
    assert torch.equal(mirrored.rgb, plain.rgb) and torch.equal(mirrored.alpha, plain.alpha)


def test_a_background_larger_than_the_canvas_is_cut_out_exactly():
    wide = torch.cat([random(3, 3, 9, 20), torch.ones(1, 9, 20, dtype=torch.float64)])
    window = paint(Dictionary((wide,), (0,)), Placement(0, (Transform.shift(-7, -2, (6, 8)),)))
    assert window.slices == (slice(0, 6), slice(0, 8))
    assert torch.equal(window.rgb, wide[:3, 2:8, 7:15])


@laws
@given(decompositions(framed=True))
def test_the_original_size_is_mapped_exactly(found):
    for single, placements, frame in zip(found.at_original(), found.images, found.canvas_maps, strict=True):
        assert single.size == frame.original
        assert single.composite().shape[2:] == frame.original
        for before, after in zip(placements, single.images[0], strict=True):
            assert after.transforms[-1].size == frame.original
            matrix = np.eye(3) if frame.is_identity else frame.to_original
            if before.transforms[-1].kind == "matrix":
                expected = matrix @ before.transforms[-1].matrix
                assert_close(after.transforms[-1].matrix, expected)
                assert len(after.transforms) == len(before.transforms)


def test_the_corners_of_the_box_are_the_corners_of_the_canvas():
    frame = CanvasMap((100, 200), (20.0, -10.0, 80.0, 120.0), (64, 64))
    corners = frame.to_original @ np.array([[0, 0, 1], [64, 64, 1]]).T
    assert_close(corners[:2], np.array([[20.0, 100.0], [-10.0, 110.0]]))


def test_a_whole_number_zoom_of_the_canvas_keeps_flat_regions():
    sprite = torch.ones(4, 4, 4, dtype=torch.float64)
    place = Placement(0, (Transform.shift(2, 1, (8, 8)),))
    frame = CanvasMap((16, 16), (0.0, 0.0, 16.0, 16.0), (8, 8))
    found = Decomposition(Dictionary((sprite,)), ((place,),), (8, 8), canvas_maps=(frame,))
    alpha = found.at_original()[0].layers().alpha[0, 0, 0]
    assert_close(alpha[3:9, 5:11], torch.ones(6, 6, dtype=torch.float64))
    assert_close(alpha.sum().item(), 64.0)


@laws
@given(decompositions(), st.integers(2, 3))
def test_enlarged_pixel_art_is_enlarged_pixel_by_pixel(found, zoom):
    whole = [p for some in found.images for p in some if all(step.kind == "matrix" for step in p.transforms)]
    if len(whole) < sum(map(len, found.images)):
        return  # splines are mapped as ever
    size = (found.size[0] * zoom, found.size[1] * zoom)
    frame = CanvasMap(size, (0.0, 0.0, float(size[1]), float(size[0])), found.size, zoom)
    singles = replace(found, canvas_maps=(frame,) * len(found)).at_original()
    assert all(single.size == size and single.canvas_maps == (CanvasMap.whole(*size),) for single in singles)
    assert all(single.dictionary is singles[0].dictionary for single in singles)


def test_sprites_at_whole_pixels_of_enlarged_pixel_art_are_exact():
    rng = np.random.default_rng(0)
    size = (11, 9)
    ground = torch.cat([torch.from_numpy(rng.random((3, 15, 12))), torch.ones(1, 15, 12)])
    sprite, own = torch.from_numpy(rng.random((2, 4, 4, 3)))
    places = (
        Placement(1, (Transform.shift(-2, -3, size),)),
        Placement(0, (Transform.shift(7, -2, size),), colour=(0.5, 1, 1, 0.1, 0, 0)),
        Placement(0, (Transform.mirror(3, 8, 3, size),), opacity=0.5),
        Placement(-1, (Transform.shift(1, 4, size),), raster=own),
    )
    large = (33, 27)
    frame = CanvasMap(large, (0.0, 0.0, 27.0, 33.0), size, zoom=3)
    found = Decomposition(Dictionary((sprite, ground), (1,)), (places, places[:2]), size, True, (frame, frame))
    for index, single in enumerate(found.at_original()):
        expected = found[index : index + 1].composite().repeat_interleave(3, 2).repeat_interleave(3, 3)
        assert torch.equal(single.composite(), expected)
        assert torch.equal(found.scenes()[index].composite(), expected[0])
    assert [scene.size for scene in found.scenes()] == [large, large]
    assert found.scenes()[0].layers[1].placement.transforms[0].parameters[2] == 21


@pytest.mark.parametrize("frame", [((12, 9), (0.0, 0.0, 9.0, 12.0)), ((12, 12), (0.0, 3.0, 12.0, 9.0))])
def test_a_zoom_that_the_sizes_deny_is_refused(frame):
    with pytest.raises(ShapeError, match="zoom is 3"):
        CanvasMap(*frame, (4, 4), zoom=3)


@laws
@given(decompositions())
def test_parts_of_a_batch_are_the_batch(found):
    assert torch.equal(torch.cat([found[0:1].composite(), found[1:2].composite()]), found.composite())
    assert found[0:0].composite().shape == (0, 3, *found.size)


def test_names_of_entries_tell_backgrounds_from_sprites():
    picture = torch.zeros(4, 1, 1)
    dictionary = Dictionary((picture, picture, picture), backgrounds=(2,))
    assert [dictionary.name(entry) for entry in range(3)] == ["sprite-00", "sprite-01", "background-0"]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Transform("twist", (1.0,), (2, 2)), ConfigError),
        (lambda: Transform("matrix", (1.0,) * 8, (2, 2)), ShapeError),
        (lambda: Transform("matrix", (float("nan"),) * 9, (2, 2)), ShapeError),
        (lambda: Placement(0, (Transform.shift(0, 0, (2, 2)),), raster=torch.zeros(4, 1, 1)), ShapeError),
        (lambda: Placement(-1, (Transform.shift(0, 0, (2, 2)),)), ShapeError),
        (lambda: Placement(0, ()), ShapeError),
        (lambda: Placement(0, (Transform.shift(0, 0, (2, 2)),), (1.0,)), ShapeError),
        (lambda: Dictionary((torch.zeros(3, 2, 2),)), ShapeError),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, error):
    with pytest.raises(error):
        make()

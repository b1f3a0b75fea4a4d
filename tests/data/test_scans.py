import math

import numpy as np
import pytest
import torch
from helpers.notes import Notes
from helpers.printing import printed
from PIL import Image
from scipy import ndimage

import delaminate
from delaminate.data import ImageSet
from delaminate.data.scans import paper_of, skew, straightened, surroundings, uneven_light
from delaminate.errors import ShapeError
from delaminate.scene.canvas_map import CanvasMap, Light
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform

LINES = ["lineclic:nulle", "ecuilnelcuine", "nuceline:clin", "lic:nulecineu", "cuineluncelinc", "nelicuincule"]


def page(seed=0):
    return printed(LINES, (320, 420), seed)[0]


def photographed(straight, degrees, light):
    """A page, turned anticlockwise about its middle over white, times its light: by SciPy, not by what is tested."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.array([[cosine, sine], [-sine, cosine]])  # rows first: from the skewed page to the straight one
    middle = (np.array(straight.shape[:2]) - 1) / 2
    turned = np.stack(
        [
            ndimage.affine_transform(
                straight[..., c].astype(float), matrix, middle - matrix @ middle, order=1, cval=255
            )
            for c in range(3)
        ],
        -1,
    )
    return np.rint(turned * light).clip(0, 255).astype(np.uint8)


def gradient(shape, low, tint=(1.0, 1.0, 1.0)):
    across = np.linspace(low, 1, shape[1])[None, :, None]
    down = np.linspace(1, 0.9, shape[0])[:, None, None]
    return across * down * np.array(tint)


@pytest.mark.parametrize("degrees", [-6.0, -2.3, -0.6, 0.7, 1.5, 4.0])
def test_skew_is_found_within_a_fifth_of_a_degree(degrees):
    straight = page()
    assert abs(skew(photographed(straight, degrees, 1.0)) - degrees) <= 0.2


@pytest.mark.parametrize("degrees", [-0.3, 0.0, 0.3])
def test_pages_that_are_level_stay_as_they_are(degrees):
    assert skew(photographed(page(), degrees, 1.0)) == 0


def test_pictures_without_lines_are_not_turned():
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8)
    blobs = (ndimage.gaussian_filter(noise.astype(float), (6, 6, 0)) > 127).astype(np.uint8) * 255
    assert skew(noise) == 0 and skew(blobs) == 0 and skew(np.full((50, 60, 3), 255, np.uint8)) == 0


def test_clean_pages_are_given_back_as_they_are():
    images = ImageSet.from_arrays(np.stack([page(0), page(1)]))
    same, said = straightened(images)
    assert same is images and said == ()


def test_light_on_dark_is_not_evened():
    dark = 255 - page()
    assert uneven_light(dark, paper_of(dark)) is None


@pytest.mark.parametrize("tint", [(1.0, 1.0, 1.0), (0.95, 0.88, 0.7)])
def test_paper_becomes_white_and_ink_stays_dark(tint):
    straight = page()
    lit = np.rint(straight * gradient(straight.shape, 0.4, tint)).astype(np.uint8)
    found, _ = straightened(ImageSet.from_arrays(lit[None]))
    even, canvas_map = found.pixels[0].permute(1, 2, 0).numpy(), found.canvas_maps[0]
    assert canvas_map.turn == 0 and canvas_map.light is not None
    paper = (straight == 255).all(2)
    assert np.abs(even[paper].astype(int) - 255).mean() < 4 and even[~paper].max() < 40


def test_a_picture_on_a_page_is_no_shadow():
    straight = page()
    straight[210:300, 40:200] = 60
    lit = np.rint(straight * gradient(straight.shape, 0.6)).astype(np.uint8)
    found, _ = straightened(ImageSet.from_arrays(lit[None]))
    even = found.pixels[0].permute(1, 2, 0).numpy()
    assert even[220:290, 50:190].max() < 110


@pytest.mark.parametrize("edge", [(0, 0, 0), (70, 50, 30)])
def test_what_lies_around_a_page_is_no_ink_and_comes_back(edge):
    straight = page()
    shown = np.full((380, 480, 3), edge, np.uint8)
    shown[30:350, 30:450] = np.rint(straight * 0.9)
    # What comes in at the corners is white to the first of them; the table goes on there.
    mask = photographed(np.zeros_like(shown), 2.0, 1.0)
    skewed = np.where(mask > 127, np.array(edge, np.uint8), photographed(shown, 2.0, 1.0))
    found, said = straightened(ImageSet.from_arrays(skewed[None]))
    (canvas_map,) = found.canvas_maps
    assert abs(canvas_map.turn - 2) < 0.3 and "something dark" in said[0]
    even = found.pixels[0].permute(1, 2, 0).numpy()
    ink = (even < 128).all(2)
    assert abs(ink.sum() - (straight == 0).all(2).sum()) < 0.25 * (straight == 0).all(2).sum()
    light = canvas_map.light.over(canvas_map.original) * 255
    assert np.abs(light[4:12, 4:12] - np.array(edge)).max() < 12  # the table is in scenes again
    assert np.abs(light[185:195, 235:245] - 230).max() < 12


def test_a_dark_picture_within_a_page_is_not_what_lies_around_it():
    straight = page()
    straight[200:300, 40:300] = 40
    assert surroundings(straight) is None
    assert surroundings(255 - page()) is None


def test_pages_of_two_sizes_keep_their_own():
    small, large = page(0)[:300, :400], page(1)
    padded = np.full((2, *large.shape), 255, np.uint8)
    padded[0, :300, :400], padded[1] = photographed(small, 3.0, 0.8), photographed(large, -2.0, 0.7)
    maps = (
        CanvasMap((300, 400), (0.0, 0.0, float(large.shape[1]), float(large.shape[0])), large.shape[:2]),
        CanvasMap.whole(*large.shape[:2]),
    )
    pixels = torch.from_numpy(padded).permute(0, 3, 1, 2).contiguous()
    found, said = straightened(ImageSet(pixels, ("a", "b"), maps))
    assert [each.original for each in found.canvas_maps] == [(300, 400), large.shape[:2]]
    assert [round(each.turn) for each in found.canvas_maps] == [3, -2] and len(said) == 2
    assert all(each.canvas == found.size for each in found.canvas_maps)


def test_enlarged_and_resampled_images_stay_as_they_are():
    skewed = photographed(page(), 3.0, 0.7)
    resampled = CanvasMap((640, 840), (0.0, 0.0, 840.0, 640.0), skewed.shape[:2])
    images = ImageSet(torch.from_numpy(skewed).permute(2, 0, 1)[None].contiguous(), ("a",), (resampled,))
    assert straightened(images)[0] is images


@pytest.mark.parametrize(("degrees", "low"), [(2.0, 1.0), (0.0, 0.5), (-3.2, 0.45)])
def test_scenes_show_skew_and_light_again(degrees, low):
    straight = page()
    seen = photographed(straight, degrees, gradient(straight.shape, low) if low < 1 else 1.0)
    found, _ = straightened(ImageSet.from_arrays(seen[None]))
    even = found.pixels[0].float() / 255
    # What a perfect search would find: white paper, and one sprite of ink.
    ink = 1 - even.mean(0, keepdim=True)
    sprite = torch.cat([torch.zeros(3, *found.size), ink])
    paper = torch.ones(4, 1, 1)
    behind = Placement(1, (Transform.of_matrix(np.diag([found.size[1], found.size[0], 1.0]), found.size),))
    before = Placement(0, (Transform.shift(0, 0, found.size),))
    whole = Decomposition(Dictionary((sprite, paper), (1,)), ((behind, before),), found.size, True, found.canvas_maps)
    (scene,) = whole.scenes(["page"])
    shown = scene.composite().permute(1, 2, 0).numpy() * 255
    assert scene.size == straight.shape[:2]
    error = np.square(shown - seen).mean()
    assert 10 * math.log10(255**2 / error) > 24, error


def test_skewed_pages_in_bad_light_are_read_as_level_ones(tmp_path):
    straight = [page(0), page(1)]
    bad = [
        photographed(straight[0], 2.5, gradient(straight[0].shape, 0.4)),
        photographed(straight[1], -1.8, gradient(straight[1].shape, 0.6)[:, ::-1] * 0.8),
    ]
    for number, each in enumerate(bad):
        Image.fromarray(each).save(tmp_path / f"{number}.png")
    told = Notes()
    run = delaminate.train(tmp_path, "marionette", preset="text-pages", callback=told)
    assert any("evened out" in note for note in told.notes) and any("skewed" in note for note in told.notes)
    found = delaminate.decompose(run.model, tmp_path)
    letters = sum(len(line) for line in LINES)
    for scene, seen in zip(found, bad, strict=True):
        shown = scene.composite().permute(1, 2, 0).numpy() * 255
        assert shown.shape == seen.shape
        assert 0.9 * letters <= len(scene.layers) - 1 <= 1.1 * letters
        assert np.abs(shown - seen).mean() < 8
    assert len(run.model.dictionary()) - 1 <= 12
    plain = delaminate.train(tmp_path, "marionette", preset="text-pages", settings={"straighten": False})
    assert plain.verdict.figures["explained"] < 0.5 < run.verdict.figures["explained"]


def test_light_is_linear_between_its_points():
    light = Light((((0, 0, 0), (100, 200, 50)), ((200, 0, 0), (100, 100, 250))))
    over = light.over((3, 5)) * 255
    assert over.shape == (3, 5, 3)
    np.testing.assert_allclose(over[1, 2], [100, 75, 75], atol=1e-3)
    np.testing.assert_allclose(over[0, 4], [100, 200, 50], atol=1e-3)
    np.testing.assert_allclose(np.array(light.gain((2.5, 1.5), (3, 5))) * 255, [100, 75, 75], atol=1e-3)


def test_turns_beside_an_enlargement_are_refused():
    with pytest.raises(ShapeError, match="turned by 2"):
        CanvasMap((8, 8), (0.0, 0.0, 8.0, 8.0), (4, 4), zoom=2, turn=2.0)


@pytest.mark.parametrize("lines", [1, 5])
def test_little_light_on_dark_is_not_evened_away(lines):
    dark = np.full((1200, 900, 3), 28, np.uint8)
    ink = (printed(LINES[:lines], (320, 420))[0] == 0).all(2)
    dark[100:420, 100:520][ink] = 225
    found, _ = straightened(ImageSet.from_arrays(dark[None]))
    assert torch.equal(found.pixels[0].permute(1, 2, 0), torch.from_numpy(dark))


@pytest.mark.parametrize("size", [(1, 2100), (4, 10_000), (2100, 1), (1, 1)])
def test_strips_are_no_pages_and_stop_nothing(size):
    for level in (0, 120, 255):
        straightened(ImageSet.from_arrays(np.full((1, *size, 3), level, np.uint8)))

"""What images are is said from the images alone; the record of every kind is `benchmarks/recognise.py`."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.maps import draw_map
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from delaminate.data import ImageSet, draw_images
from delaminate.data.synthetic.captures import draw_capture
from delaminate.methods import METHODS
from delaminate.pipelines.recognise import KINDS, recognise
from delaminate.pipelines.training import resolve_config


def typed(count=4):
    rng, font = np.random.default_rng(0), ImageFont.load_default(16)
    words = ["layers", "of", "images", "are", "found", "in", "what", "recurs", "from", "page", "without", "a", "label"]
    pages = []
    for _ in range(count):
        page = Image.new("RGB", (420, 420), "white")
        for top in range(20, 400, 26):
            ImageDraw.Draw(page).text((25, top), " ".join(rng.choice(words, 9))[:46], "black", font)
        pages.append(np.asarray(page))
    return ImageSet.from_arrays(np.stack(pages))


def cells(count=12, side=96):
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:side, :side]
    pictures = []
    for _ in range(count):
        field = rng.normal(8, 3, (side, side))
        for cy, cx in rng.uniform(0, side, (9, 2)):
            field += 120 / (1 + np.exp(np.hypot(y - cy, x - cx) - 6))
        pictures.append(np.repeat(field.clip(0, 255).astype(np.uint8)[..., None], 3, 2))
    return ImageSet.from_arrays(np.stack(pictures))


def photos(alike, count=40, side=64):
    """Smooth noise of all sizes, as photos have; with a bright thing in the middle of each, or without."""
    rng = np.random.default_rng(2)
    pictures = []
    for _ in range(count):
        noise = sum(
            s * ndimage.gaussian_filter(rng.normal(size=(side, side, 3)), (s, s, 0), mode="wrap") for s in (1, 2, 4, 8)
        )
        y, x = np.mgrid[:side, :side] - side / 2 + rng.uniform(-5, 5, (2, 1, 1))
        noise = noise + (np.hypot(y, x) < rng.uniform(12, 20))[..., None] * rng.uniform(1, 2, 3) * alike
        pictures.append((128 + 45 * noise + rng.normal(0, 2, noise.shape)).clip(0, 255).astype(np.uint8))
    return ImageSet.from_arrays(np.stack(pictures))


def captured(background, index=0):
    frames = draw_capture(index, 0, "dev", background, "png", (1.0, 1.0)).frames[..., :3]
    return ImageSet.from_arrays(np.ascontiguousarray(frames))


COLLECTIONS = {
    "tetrominoes": ("shapes", lambda: draw_images("tetrominoes", 60)),
    "multi-dsprites": ("shapes", lambda: draw_images("multi-dsprites", 60)),
    "floating-sprites": ("pixel-art", lambda: draw_images("floating-sprites", 30)),
    "platform-game": ("pixel-art", lambda: draw_images("platform-game", 8)),
    "side-scroller": ("clip", lambda: draw_images("side-scroller", 30)),
    "maps": (
        "maps",
        lambda: ImageSet.from_arrays(draw_map(np.random.default_rng(0), (16, 16), (400, 480)).picture[None]),
    ),
    "static": ("clip", lambda: captured("static")),
    "panorama": ("clip", lambda: captured("panorama")),
    "typed": ("pages", typed),
    "cells": ("blobs", cells),
    "alike": ("photos-alike", lambda: photos(True)),
    "unlike": ("photos-unlike", lambda: photos(False)),
}


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_collection_of_every_kind_is_recognised(name):
    kind, make = COLLECTIONS[name]
    assert recognise(make()).kind == kind


@pytest.mark.parametrize("name", COLLECTIONS)
def test_every_plan_is_a_training_that_can_be_built(name):
    found = recognise(COLLECTIONS[name][1]())
    if found.plan is None:
        assert found.advice
        return
    method = METHODS[found.plan.method]
    config = resolve_config(method, found.plan.preset, None, found.plan.settings)
    method(method.fill_config(config, COLLECTIONS[name][1]().pixels[:4]))


def test_all_kinds_are_tried():
    assert {kind for kind, _ in COLLECTIONS.values()} == set(KINDS)


def test_enlarged_pixel_art_is_looked_at_at_its_own_size():
    images = draw_images("floating-sprites", 10)
    large = images.pixels.repeat_interleave(3, 2).repeat_interleave(3, 3)
    found = recognise(ImageSet.from_arrays(large))
    assert (found.kind, found.enlargement, found.native_size, found.size) == ("pixel-art", "3", (128, 128), (384, 384))


def test_frames_in_another_order_are_no_clip():
    frames = draw_images("side-scroller", 40)
    shuffled = replace(frames.subset(np.random.default_rng(0).permutation(40)), rate=None)
    assert recognise(replace(frames, rate=None)).in_order and not recognise(shuffled).in_order


def test_the_same_images_give_the_same_answer_and_it_can_be_stored():
    images = draw_images("floating-sprites", 20)
    one, other = recognise(images), recognise(images)
    assert one.facts == other.facts and one.evidence == other.evidence
    assert json.loads(json.dumps(one.to_json()))["kind"] == "pixel-art"


def test_few_photos_are_not_called_alike():
    found = recognise(photos(True, 4))
    assert found.kind == "photos-unlike" and "too few" in found.evidence[1]


def test_images_of_several_sizes_are_taken(tmp_path):
    for n, pixels in enumerate(photos(True, 16).pixels):
        picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        picture.resize((64 + n, 64)).save(tmp_path / f"{n}.png")
    found = recognise(tmp_path)
    assert found.size == (64, 79) and "up to" in found.evidence[0]

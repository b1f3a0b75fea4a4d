"""Clips as people bring them, with default settings: the right sprites, or a plain word."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import delaminate
from delaminate.data.synthetic.captures import draw_capture

pytestmark = pytest.mark.slow
CASES = Path(os.environ.get("DELAMINATE_DATA", "/nowhere")) / "cases_games"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="DELAMINATE_DATA is not set")
HERO, COIN, BULLET, BLOCK = 189, 46, 6, 64


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def areas(model):
    """Pixels of each sprite, backgrounds left out."""
    dictionary = model.dictionary()
    return sorted(
        int((sprite[3] > 0.5).sum())
        for entry, sprite in enumerate(dictionary.sprites)
        if entry not in dictionary.backgrounds
    )


def worst(found):
    return min(row["psnr"] for row in found.rows)


@needs_cases
@pytest.mark.parametrize(
    ("name", "sprites", "background", "least"),
    [
        ("m1_control", [COIN, HERO], "solid", 40),
        ("m1_alpha", [COIN, HERO], "solid", 40),
        ("m2_orient", [HERO], "solid", 60),
        ("m10_dur.gif", [HERO, HERO], "static", 60),
        ("m16_bullets.gif", [BULLET, COIN, HERO], "solid", 30),
        ("poses.gif", [111, HERO], "static", 60),
        ("disposal2_opaque.gif", [BLOCK, BLOCK], "solid", 60),
        ("frame_beyond_screen.gif", [BLOCK, BLOCK], "solid", 60),
        ("m3_zoom_2x3", [HERO, 256, 256], "solid", 20),
        ("m3_zoom3_off1", [HERO, 256, 256], "solid", 20),
    ],
)
def test_public_cases_have_their_sprites(name, sprites, background, least):
    run = delaminate.train(CASES / name, "marionette")
    found = delaminate.decompose(run.model, CASES / name)
    assert areas(run.model) == sprites
    assert background is None or run.model.background_kind == background
    assert worst(found) >= least
    assert run.verdict.level == "good"
    if name == "m1_alpha":
        assert not found.scenes[0].background
    if name == "m2_orient":
        orientations = {p.transforms[0].orientation for scene in found.scenes for p in scene.visible_placements[1:]}
        assert orientations == set(range(8))


@needs_cases
def test_what_does_not_recur_is_said_plainly():
    run = delaminate.train(CASES / "scribbles", "marionette")
    assert run.verdict.level == "nothing"
    assert "text-pages" in run.verdict.text and "redo" in run.verdict.text


@needs_cases
def test_water_that_flows_is_a_sprite_beside_the_hero():
    run = delaminate.train(CASES / "m14_water.gif", "marionette")
    found = delaminate.decompose(run.model, CASES / "m14_water.gif")
    hero, water = areas(run.model)
    assert hero == HERO and water > 16 * 56
    assert worst(found) > 32
    assert run.verdict.level == "good"


@pytest.mark.parametrize(
    "kind",
    [
        "solid", "transparent", "static", "rooms", "panorama",
        pytest.param("parallax", marks=pytest.mark.xfail(strict=True, reason="0021: none is found, before one")),
        "tiles",
    ],
)  # fmt: skip
def test_drawn_captures_have_their_sprites(kind):
    capture = draw_capture(4, background=kind, codec="png", zoom=(1.0, 1.0))
    frames = capture.clean if kind == "transparent" else np.ascontiguousarray(capture.clean[..., :3])
    run = delaminate.train(list(frames), "marionette")
    true = sorted(int((sprite[..., 3] > 0).sum()) for sprite in capture.sprites)
    found = areas(run.model)
    near = sum(any(abs(area - other) <= 0.05 * area for other in found) for area in true)
    assert near >= (1 if kind == "parallax" else len(true) - 1)
    right = {"transparent": ("solid",), "tiles": ("static", "panorama")}.get(kind, (kind,))
    assert run.model.background_kind in right
    assert run.verdict.figures["psnr"] > (34 if kind == "parallax" else 36)

import dataclasses
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.exports import NAMES, clip, disc, scenes
from helpers.pages import Page

from delaminate.errors import ConfigError, FormatError, OutputError, ShapeError
from delaminate.exporters import FORMATS, write_report
from delaminate.exporters.chart import draw_curve, ticks
from delaminate.exporters.figure_texts import EXPLANATIONS, SHARES, explanation
from delaminate.exporters.html import count_tracks, count_usage, segmentation_picture
from delaminate.exporters.residuals import heat_picture, residual_picture
from delaminate.exporters.similarity import sprite_order
from delaminate.files import png_bytes, write_atomic
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.format import residual_file
from delaminate.scene.placements import Dictionary
from delaminate.scene.scenes import Scene

# Of 1: half of an alpha, and what a lossy video keeps.
PRECISION = {"gif": 0.55, "mp4": 0.12}
CURVE = [(step, 1 / (1 + step), stage) for stage in ("search", "refine <b>") for step in range(50)]


def written(tmp_path, **changes):
    arguments = {
        "title": "<script>alert(1)</script> & more",
        "scenes": scenes(),
        "images": torch.stack([scene.composite() for scene in scenes()]),
        "curve": CURVE,
        "figures": {"ari_fg": 0.993, "iou_best": 0.5, "psnr": float("nan"), "own": 3.14159, "<i>": 2.0},
        "explanations": {"own": "A figure of `our` own <b>."},
        "facts": {"Method": "<u>"},
    }
    write_report(tmp_path / "report.html", **{**arguments, **changes})
    return (tmp_path / "report.html").read_text()


def test_the_page_loads_nothing_from_outside_and_escapes_every_name(tmp_path):
    text = written(tmp_path)
    page = Page(text)
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"" in text
    assert not {"script", "link", "iframe", "object", "u", "form"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?:|javascript:", text)
    content = "".join(page.text)
    for name in [*NAMES, "<script>alert(1)</script> & more", "<b>&'\" ü", "refine <b>", "<u>", "A figure of our own"]:
        assert name in content
    assert "(hidden)" in content


def test_figures_are_explained_in_plain_words(tmp_path):
    text = written(tmp_path)
    assert "0.993" in text
    assert "–" in text
    assert "A figure of <code>our</code> own &lt;b&gt;." in text
    assert "chance." in text
    assert all(sentence.endswith(".") for sentence in EXPLANATIONS.values())
    assert "favour" in explanation("miou_best")
    assert explanation("unheard_of_best") == ""


def test_every_figure_of_the_table_has_words():
    table = (Path(__file__).parents[2] / "docs" / "conventions.md").read_text().partition("## Figures")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    keys = {name for row in rows for name in re.findall("`([a-z0-9_]+)`", row)}
    assert len(keys) > 25
    assert keys - {"protocol"} <= set(EXPLANATIONS)
    assert set(EXPLANATIONS) >= SHARES


def test_the_same_arguments_give_the_same_page(tmp_path):
    assert written(tmp_path / "a") == written(tmp_path / "b")


def test_a_page_needs_no_more_than_scenes(tmp_path):
    for number, shown in enumerate([[], scenes()[:1], scenes(background=False) * 9]):
        result = FORMATS["html"].write(shown, tmp_path / str(number))
        Page(result.files[0].read_text())


def test_advice_suits_what_there_is(tmp_path):
    cut = Scene("a", (4, 4), (), Dictionary(()))
    assert "Redraw one sprite" in written(tmp_path / "sprites", scenes=scenes())
    assert "sprite" not in re.sub(
        "<style>.*?</style>", "", written(tmp_path / "cut", scenes=[cut], images=None), flags=re.S
    )
    assert "Rest a little" in written(tmp_path / "own", next_steps=["Rest a little."])


def test_images_come_in_three_forms(tmp_path):
    pictures = [np.zeros((24, 30, 3), np.uint8)] * 3
    first = written(tmp_path / "a", images=pictures)
    assert written(tmp_path / "b", images=np.stack(pictures)) == first
    assert written(tmp_path / "c", images=torch.zeros(3, 3, 24, 30)) == first
    with pytest.raises(ShapeError, match="2 images for 3 scenes"):
        written(tmp_path, images=pictures[:2])
    with pytest.raises(ShapeError, match="uint8"):
        written(tmp_path, images=[np.zeros((24, 30))] * 3)
    with pytest.raises(ShapeError, match="usage"):
        written(tmp_path, usage=[1])


def test_large_pictures_are_shrunk(tmp_path):
    pictures = [np.random.Generator(np.random.PCG64(1)).integers(0, 255, (1500, 2000, 3), dtype=np.uint8)] * 3
    assert len(written(tmp_path, images=pictures)) < 8_000_000


def test_usage_counts_visible_layers_and_regions_have_the_colour_of_their_entry():
    assert count_usage(scenes()) == [6, 2, 3, 3]
    scene = scenes()[0]
    picture = segmentation_picture(scene)
    classes = Decomposition.from_scene(scene).labels()[1][0].numpy()
    assert len({tuple(colour) for colour in picture[classes == 1].tolist()}) == 1
    assert len(np.unique(picture[classes > 0].reshape(-1, 4), axis=0)) == len(np.unique(classes[classes > 0]))


def test_curves_are_drawn_whatever_comes():
    assert draw_curve([]) == ""
    assert draw_curve([(0, 1.0, "a"), (1, float("nan"), "a")]) == ""
    for curve in [
        CURVE,
        [(0, 1.0, "a"), (0, 1.0, "a")],
        [(step, -3.0 + step, "a") for step in range(5)],
        [(step, 10.0**-step, str(step)) for step in range(9)],
        [(step, 1e-3 * step, "a") for step in range(5000)],
    ]:
        text = draw_curve(curve)
        assert "nan" not in text
        assert "inf" not in text
        assert len(text) < 40_000
        Page(text)
    assert draw_curve(CURVE).count("<polyline") == 2
    assert ticks(1.0, 1.0) == [1.0]


def test_what_was_not_explained_is_shown_as_heat(tmp_path):
    shown = scenes()
    originals = torch.stack([scene.composite() for scene in shown])
    originals[:, :, 4:12, 6:20] = 1 - originals[:, :, 4:12, 6:20].round()
    folder = tmp_path / "residuals"
    for scene, original in zip(shown[:2], originals, strict=False):
        picture = residual_picture(original, scene.composite())
        assert (picture[4:12, 6:20] > 0).any()
        assert not picture[:4].any()
        write_atomic(tmp_path / residual_file(scene.name), png_bytes(picture))
    assert "Not explained" not in written(tmp_path, images=None)
    assert written(tmp_path, images=None, residuals=folder).count("Not explained (") == 2
    assert written(tmp_path, images=originals).count("Not explained (") == 3
    heat = heat_picture(np.array([[0, 64, 255]], np.uint8)).astype(int).sum(2)[0]
    assert heat[0] < heat[1] < heat[2]
    large = residual_picture(torch.zeros(3, 300, 500), torch.ones(3, 300, 500))
    assert large.shape == (96, 160)
    assert (large == 255).all()


@pytest.mark.parametrize("data", [b"", b"no picture", png_bytes(np.zeros((2, 2, 3), np.uint8))])
def test_residuals_that_are_none_are_refused(tmp_path, data):
    write_atomic(tmp_path / residual_file(NAMES[0]), data)
    with pytest.raises(FormatError, match="residuals"):
        written(tmp_path, residuals=tmp_path / "residuals")


def test_sprites_that_look_alike_stand_side_by_side_and_tracks_are_counted(tmp_path):
    looks = [(0.9, 0.1, 0.1), (0.1, 0.1, 0.9), (0.1, 0.9, 0.1)]
    sprites = [disc(8, looks[i % 3], i) for i in range(12)]
    dictionary = Dictionary((*sprites, torch.ones(4, 9, 9)), (12,))
    order, alike = sprite_order(dictionary, [1] * 13)
    assert alike
    assert order[-1] == 12
    kinds = [entry % 3 for entry in order[:-1]]
    assert sum(a != b for a, b in pairwise(kinds)) == 2
    assert sprite_order(dictionary, [1] * 13) == (order, alike)
    # Too few sprites, or all of them equal, stand by use.
    assert sprite_order(Dictionary(tuple(sprites[:3])), [1, 5, 3]) == ([1, 2, 0], False)
    assert sprite_order(Dictionary((sprites[0],) * 6), [1, 5, 3, 0, 0, 9])[0] == [5, 1, 2, 0, 3, 4]
    text = written(tmp_path, scenes=clip(), images=None, figures=None)
    assert count_tracks(clip()) == [1, 1, 1, 0, 0, 0]
    assert "used 3 times in 1 track<" in text
    assert "what looks alike side by side" in text


def test_a_long_clip_shows_a_sample(tmp_path):
    shown = clip(background=False)
    many = [dataclasses.replace(shown[i % 5], name=f"frame-{i}.png") for i in range(1000)]
    text = written(tmp_path, scenes=many, images=None)
    assert text.count("<article") == 24
    assert "These are 24 of 1,000, spread evenly." in text
    assert "frame-999.png" in text
    assert len(text) < 3_000_000


def test_the_documents_list_every_format_with_its_extra():
    table = (Path(__file__).parents[2] / "docs" / "exports.md").read_text()
    rows = {
        row[0]: row[3] for row in re.findall(r"^\| `([\w-]+)` \|(.*)\|(.*)\| (?:`(\w+)`|–) \|$", table, re.MULTILINE)
    }
    assert rows == {name: form.extra or "" for name, form in FORMATS.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_what_it_says_and_the_same_bytes_twice(tmp_path, name):
    first, second = (FORMATS[name].write(scenes(), tmp_path / place) for place in ("a", "b"))
    found = {path for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert set(first.files) == found
    assert [path.read_bytes() for path in first.files] == [path.read_bytes() for path in second.files]
    assert first.max_error is None or 0 <= first.max_error < PRECISION.get(name, 0.02)
    (tmp_path / "c").write_text("")
    with pytest.raises(OutputError):
        FORMATS[name].write(scenes(), tmp_path / "c")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_one_frame_a_bare_ground_and_an_empty_scene(tmp_path, name):
    shown = clip()
    for number, part in enumerate([shown[:1], shown[-2:-1], shown[-1:], shown]):
        result = FORMATS[name].write(part, tmp_path / str(number))
        assert result.files
        assert result.max_error is None or result.max_error < PRECISION.get(name, 0.02)


@pytest.mark.parametrize("name", FORMATS)
def test_a_list_without_scenes_is_written_or_refused_in_words(tmp_path, name):
    if name in ("ase", "gif", "apng", "webp", "mp4"):
        with pytest.raises(ConfigError, match="at least one frame"):
            FORMATS[name].write([], tmp_path)
    else:
        assert not FORMATS[name].write([], tmp_path).max_error

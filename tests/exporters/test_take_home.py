"""What people take home to count, to cut out and to cite: objects, cut-outs, catalogue."""

import csv
import dataclasses
import json
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from helpers.exports import clip, composite, decomposition, scenes, solid
from PIL import Image

from delaminate.errors import ConfigError
from delaminate.exporters.catalogue import Found, find_occurrences, mark_doubtful, write_catalogue
from delaminate.exporters.cutouts import write_cutouts
from delaminate.exporters.objects import find_objects, measure, write_objects
from delaminate.exporters.pngs import write_masks
from delaminate.files import png_bytes
from delaminate.pipelines.exporting import export
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform

SIZE = (40, 60)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def masks_scene(*boxes, colour=(0.5, 0.25, 1.0)):
    """A black background, and one layer with rectangles: top, left, bottom, right."""
    raster = torch.zeros(4, *SIZE)
    raster[:3] = torch.tensor(colour)[:, None, None]
    for top, left, bottom, right in boxes:
        raster[3, top:bottom, left:right] = 1
    still = (Transform.shift(0, 0, SIZE),)
    back = torch.zeros(4, *SIZE)
    back[3] = 1
    found = Decomposition(
        Dictionary(()), ((Placement(-1, still, raster=back), Placement(-1, still, raster=raster)),), SIZE, True
    )
    return found.scenes(["a.png"])[0]


def test_a_layer_of_masks_is_as_many_objects_as_it_has_pieces(tmp_path):
    scene = masks_scene((2, 3, 12, 23), (20, 30, 30, 40), (35, 50, 40, 60), (0, 40, 1, 41))
    write_objects([scene], tmp_path)
    rows = rows_of(tmp_path / "objects.csv")
    assert [int(row["area"]) for row in rows] == [200, 100, 50]  # the speck is none
    first = rows[0]
    assert [int(first[key]) for key in ("x", "y", "width", "height")] == [3, 2, 20, 10]
    assert (float(first["centroid_x"]), float(first["centroid_y"])) == (13, 7)
    # A rectangle's second moments: side^2 / 12.
    assert float(first["major_axis"]) == pytest.approx(4 * 20 / np.sqrt(12), abs=1e-3)
    assert float(first["minor_axis"]) == pytest.approx(4 * 10 / np.sqrt(12), abs=1e-3)
    assert float(first["orientation"]) in (0, 180)
    assert [float(first[key]) for key in ("red", "green", "blue")] == pytest.approx([127.5, 63.75, 255], abs=0.01)
    assert [row["touches_border"] for row in rows] == ["0", "0", "1"]
    assert rows_of(tmp_path / "counts.csv") == [
        {"image": "a.png", "objects": "3", "covered": str(round(350 / 2400, 6))}
    ]
    with Image.open(tmp_path / "labels" / "a.png.tif") as image:
        labels = np.asarray(image)
    assert labels.dtype == np.uint16
    assert np.bincount(labels.ravel()).tolist() == [2050, 200, 100, 50]


def test_a_sprite_is_one_object_and_only_what_is_seen_counts(tmp_path):
    sprite = solid((6, 6), 1)
    two = solid((6, 6), 2, torch.tensor([[1.0, 1, 0, 0, 1, 1]] * 6))
    placements = (
        Placement(0, (Transform.shift(5, 5, SIZE),)),
        Placement(0, (Transform.shift(8, 5, SIZE),)),
        Placement(1, (Transform.shift(30, 20, SIZE),)),
        Placement(0, (Transform.shift(-30, 20, SIZE),)),
    )
    (scene,) = Decomposition(Dictionary((sprite, two)), (placements,), SIZE).scenes(["a"])
    (found,) = find_objects([scene])
    assert found.layers == (0, 1, 2, 2)  # a sprite of two halves is two things
    assert [row["area"] for row in measure(scene, found)] == [18, 36, 12, 12]
    hidden = scene.hide(scene.layers[1].id)
    assert next(iter(find_objects([hidden]))).layers == (0, 2, 2)
    write_masks([scene], tmp_path)
    with Image.open(tmp_path / "a" / "instances.png") as image:
        assert ((np.asarray(image) > 0) == (found.labels > 0)).all()


def test_touching_things_are_split_on_request():
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    mask = np.zeros(SIZE, bool)
    for column in (12, 26, 50):
        mask |= (rows - 20) ** 2 + (columns - column) ** 2 <= 64
    scene = masks_scene()
    raster = scene.layers[1].placement.raster.clone()
    raster[3] = torch.from_numpy(mask).float()
    scene = scene.redraw(scene.layers[1].id, raster)
    assert [len(next(iter(find_objects([scene], split))).layers) for split in (False, True)] == [2, 3]


def test_cut_outs_are_trimmed_framed_and_ranked(tmp_path):
    sure, unsure = solid((5, 7), 1), solid((6, 6), 2, 0.6)
    placements = (Placement(0, (Transform.shift(5, 5, SIZE),)), Placement(1, (Transform.shift(-2, 20, SIZE),)))
    (scene,) = Decomposition(Dictionary((sure, unsure)), (placements,), SIZE).scenes(["set/a b.png"])
    result = write_cutouts([scene], tmp_path, margin=2)
    assert [path.name for path in result.files] == ["0001-set_a_b.png", "0002-set_a_b.png", "cutouts.csv"]
    rows = rows_of(tmp_path / "cutouts.csv")
    assert [row["layer"] for row in rows] == ["layer-01", "layer-00"]
    assert [int(rows[0][key]) for key in ("x", "y", "width", "height")] == [0, 20, 4, 6]
    with Image.open(result.files[1]) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (9, 11, 4)
    assert (pixels[2:-2, 2:-2] == np.rint(sure.permute(1, 2, 0).numpy() * 255)).all()
    assert not pixels[:2].any()
    write_cutouts([scene], tmp_path / "white", fill="white", webp=True)
    with Image.open(tmp_path / "white" / "0001-set_a_b.webp") as image:
        assert image.mode == "RGB"
        wanted = np.rint(255 * (0.6 * unsure[:3, 3, 4] + 0.4).numpy())
        assert np.abs(np.asarray(image)[3, 2].astype(int) - wanted).max() <= 1
    for options, words in (({"fill": "#zz"}, "expected 'transparent'"), ({"margin": -1}, "expected 0 to")):
        with pytest.raises(ConfigError, match=words):
            write_cutouts([scene], tmp_path, **options)


def test_names_that_meet_in_one_folder_stay_apart(tmp_path):
    result = write_cutouts(scenes(), tmp_path)
    assert len({path.name for path in result.files}) == len(result.files) == len(rows_of(tmp_path / "cutouts.csv")) + 1


def test_the_catalogue_lists_what_is_seen_of_every_sprite(tmp_path):
    shown = clip(4)
    write_catalogue(shown, tmp_path)
    sprites, found = rows_of(tmp_path / "sprites.csv"), rows_of(tmp_path / "occurrences.csv")
    counts = {row["sprite"]: int(row["occurrences"]) for row in sprites}
    assert sum(counts.values()) == len(found)
    assert "background-0" not in counts
    assert {row["sprite"] for row in sprites} == {f"sprite-{entry:02d}" for entry in range(6) if entry != 4}
    annotations = json.loads((tmp_path / "annotations.json").read_text())
    assert annotations["@context"] == "http://www.w3.org/ns/anno.jsonld"
    assert len(annotations["items"]) == len(found)
    row = found[0]
    box = ",".join(row[key] for key in ("x", "y", "width", "height"))
    assert annotations["items"][0]["target"]["selector"]["value"] == f"xywh=pixel:{box}"
    page = ElementTree.parse(tmp_path / "page" / "shot/1.png.xml").getroot()
    space = "{http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15}"
    regions = list(page.iter(f"{space}GraphicRegion"))
    assert len(regions) == sum(row["image"] == "shot/1.png" for row in found)
    text = (tmp_path / "catalogue.html").read_text()
    assert text.count('class="card entry"') == 5
    assert "script-src 'sha256-" in text
    again = tmp_path / "again"
    write_catalogue(shown, again)
    assert (again / "catalogue.html").read_bytes() == (tmp_path / "catalogue.html").read_bytes()


def test_names_are_escaped_in_the_catalogue_and_formulas_in_its_tables(tmp_path):
    found = decomposition()
    named = dataclasses.replace(found.dictionary, titles=("=HYPERLINK()", "<b>&\"'", "", ""))
    shown = [dataclasses.replace(scene, dictionary=named) for scene in found.scenes(["a", "b", "c"])]
    write_catalogue(shown, tmp_path)
    text = (tmp_path / "catalogue.html").read_text()
    assert "<b>&" not in text
    assert "&lt;b&gt;&amp;" in text
    assert {row["name"] for row in rows_of(tmp_path / "sprites.csv")} >= {"'=HYPERLINK()", "<b>&\"'"}


def test_occurrences_that_fit_far_worse_are_doubtful(tmp_path):
    shown = clip(4)
    (tmp_path / "shot").mkdir()
    for scene in shown:
        residual = np.full(scene.size, 2, np.uint8)
        if scene.name == "shot/2.png":
            residual[28:, :] = 90  # the tiles of this image are badly explained
        (tmp_path / f"{scene.name}.png").write_bytes(png_bytes(residual))
    found = [each for each in find_occurrences(shown, tmp_path) if each.entry == 3]
    mark_doubtful(found)
    assert {each.image for each in found if each.doubtful} == {"shot/2.png"}
    assert all(isinstance(each, Found) for each in found)
    few = found[:3]
    for each in few:
        each.doubtful = False
    mark_doubtful(few)
    assert not any(each.doubtful for each in few)


def test_crops_are_cut_from_the_originals_where_they_are_given(tmp_path):
    shown = clip(4)
    (tmp_path / "in" / "shot").mkdir(parents=True)
    for scene in shown:
        flat = np.full((*scene.size, 3), 77, np.uint8)
        (tmp_path / "in" / scene.name).write_bytes(png_bytes(flat))
    reader = lambda name: np.full((40, 60, 3), 77, np.uint8)  # noqa: E731
    assert all((each.crop == 77).all() for each in find_occurrences(shown, originals=reader))
    small = lambda name: np.zeros((4, 6, 3), np.uint8)  # noqa: E731
    assert any((each.crop != 0).any() for each in find_occurrences(shown, originals=small))
    export(shown, tmp_path / "with", "catalogue", images=tmp_path / "in")
    export(shown, tmp_path / "without", "catalogue")
    pages = [(tmp_path / kind / "catalogue" / "catalogue.html").read_bytes() for kind in ("with", "without")]
    assert pages[0] != pages[1]


def test_crops_show_what_the_scene_shows():
    shown = clip(4)
    for each in find_occurrences(shown):
        scene = next(scene for scene in shown if scene.name == each.image)
        left, top, width, height = each.box
        first, begin = max(top - 3, 0), max(left - 3, 0)
        wanted = composite(scene)[first : top + height + 3, begin : left + width + 3]
        assert np.abs(each.crop / 255 - wanted).max() < 0.003

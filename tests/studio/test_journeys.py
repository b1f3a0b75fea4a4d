"""Six people, from their own files to what they came for, in a browser; what they leave with is read by something else."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pytest
from helpers.browser import Opened, launched
from helpers.small_scenes import write_small_scenes
from PIL import Image

from delaminate.studio.places import EXAMPLES

pytestmark = pytest.mark.slow
PATIENCE = 240_000
"""Milliseconds that a job may take on a busy machine."""


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture
def studio(browser, tmp_path):
    found = Opened(browser, write_small_scenes(tmp_path / "scenes"), tmp_path / "home")
    found.page.goto(f"{found.base}/#/")
    yield found
    for job in found.page.request.get(f"{found.base}/api/jobs").json()["jobs"]:
        found.page.request.post(f"{found.base}/api/jobs/{job['id']}/stop", data={}, headers={"origin": found.base})
    found.close()
    assert found.wrong == []
    assert all(url.startswith((found.base, "data:", "blob:")) for url in found.asked)


def own_files(name, most=None):
    """The images of an example, as files that somebody drops."""
    with zipfile.ZipFile(EXAMPLES / f"{name}.zip") as archive:
        names = [each for each in archive.namelist() if each.startswith("images/")][:most]
        return [
            {"name": each.rpartition("/")[2], "mimeType": "image/png", "buffer": archive.read(each)} for each in names
        ]


def drop(studio, files):
    studio.page.set_input_files("input[type=file]", files)
    studio.page.wait_for_selector(".evidence", timeout=PATIENCE)


def open_example(studio, name):
    studio.page.get_by_role("button", name=name).click()
    studio.page.wait_for_selector(".canvas[data-ready]")
    studio.server.project = studio.page.url.rpartition("/p/")[2].split("/")[0]


def open_layers(studio):
    studio.page.get_by_role("link", name="Open the layers").click(timeout=PATIENCE)
    studio.page.wait_for_selector(".canvas[data-ready]")
    studio.server.project = studio.page.url.rpartition("/p/")[2].split("/")[0]


def take_away(studio, *formats, check=()):
    """Choose formats, and download all: the files by their names."""
    page = studio.page
    page.get_by_role("link", name="Take away", exact=True).click()
    page.get_by_label("png", exact=False).first.wait_for()
    page.locator("label.format:has(b:text-is('png')) input").uncheck()
    for each in formats:
        page.locator(f"label.format:has(b:text-is('{each}')) input").check()
    for label in check:
        page.get_by_label(label).check()
    made = page.locator("article.made").count()
    page.get_by_role("button", name="Make ").click()
    studio.until(lambda: page.locator("article.made").count() > made, "made")
    with page.expect_download() as found:
        page.locator("article.made").first.get_by_role("link", name="Download all").click(timeout=PATIENCE)
    with zipfile.ZipFile(found.value.path()) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def picture(data):
    return Image.open(io.BytesIO(data))


def test_a_game_artist_gets_a_clean_sheet_and_a_map(studio):
    page = studio.page
    drop(studio, own_files("game", 24))
    page.wait_for_selector("text=These are frames of a clip")
    page.get_by_role("button", name="Take them apart").click()
    page.wait_for_selector(".live-sprites li", timeout=PATIENCE)  # sprites as they come
    open_layers(studio)
    page.get_by_role("link", name="Sprites", exact=True).click()
    page.wait_for_selector(".sprite-card")
    before = len(studio.value("/sprites")["sprites"])
    page.locator(".sprite-card").first.click()
    page.wait_for_selector(".crop img")
    page.keyboard.press("n")
    page.keyboard.type("player")
    page.keyboard.press("Enter")
    page.wait_for_selector(".sprite-card b:text-is('player')")
    page.locator(".sprite-card").nth(1).click()
    page.get_by_label("The same as").select_option(label="player")
    page.get_by_role("button", name="Merge").last.click()
    page.wait_for_selector("text=is merged into")
    page.locator(".sprite-card:has(b:text-is('player'))").dblclick()
    page.wait_for_selector(".paint-sheet canvas")
    box = page.locator(".paint-sheet canvas").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("text=Saved")
    files = take_away(studio, "aseprite", "tiled")
    assert len(studio.value("/sprites")["sprites"]) == before - 1
    of = lambda suffix: next(files[name] for name in files if name.startswith("aseprite/") and name.endswith(suffix))  # noqa: E731
    sheet = json.loads(of(".json"))
    assert picture(of(".png")).size == (sheet["meta"]["size"]["w"], sheet["meta"]["size"]["h"])
    assert len(sheet["frames"]) >= before - 2
    assert ET.fromstring(next(data for name, data in files.items() if name.endswith(".tmx"))).tag == "map"


def test_an_animator_paints_in_another_program_and_every_frame_follows(studio):
    psd_tools = pytest.importorskip("psd_tools")
    page = studio.page
    open_example(studio, "A game")
    files = take_away(studio, "ora", "psd")
    name, data = next((name, data) for name, data in files.items() if name.endswith("030.png.ora"))
    stack = psd_tools.PSDImage.open(
        io.BytesIO(next(data for name, data in files.items() if name.endswith("030.png.psd")))
    )
    assert len(list(stack)) == len(studio.value("/scenes/" + scene_named(studio, "030.png"))["layers"])
    edited = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(edited, "w") as new:
        layers = list(ET.fromstring(old.read("stack.xml")).iter("layer"))
        front = next(layer for layer in layers if "sprite-" in layer.get("name"))
        source, sprite = front.get("src"), re.search(r"sprite-\d+", front.get("name"))[0]
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == source:  # as an eraser and a brush would
                pixels = np.asarray(picture(content).convert("RGBA")).copy()
                pixels[4:10, 4:10] = (30, 60, 255, 255)
                out = io.BytesIO()
                Image.fromarray(pixels).save(out, "PNG")
                content = out.getvalue()
            new.writestr(entry, content)
    before = {each["id"]: each["version"] for each in studio.value("/sprites")["sprites"]}
    file = {"name": name.rpartition("/")[2], "mimeType": "image/openraster", "buffer": edited.getvalue()}
    page.set_input_files("input[aria-label='Choose edited files']", [file])
    page.get_by_role("button", name="Change it everywhere").click(timeout=PATIENCE)
    page.wait_for_selector("text=came back")
    after = {each["id"]: each["version"] for each in studio.value("/sprites")["sprites"]}
    assert [each for each in before if before[each] != after[each]] == [sprite]
    moving = [picture(data) for name, data in take_away(studio, "apng").items() if name.startswith("apng/")]
    assert moving[0].n_frames == 60
    page.keyboard.press("Control+z")
    studio.revision(2)


def scene_named(studio, name):
    return next(each["id"] for each in studio.value("/scenes?limit=1000")["scenes"] if each["name"] == name)


def test_a_biologist_counts_throws_out_and_takes_a_table(studio):
    page = studio.page
    drop(studio, own_files("cells"))
    page.wait_for_selector("text=bright spots on dark")
    page.get_by_role("button", name="Count them").click()
    page.wait_for_selector(".verdict", timeout=PATIENCE)
    open_layers(studio)
    layers = len(studio.scene()["layers"])
    page.locator(".layer .pick").first.click()
    page.keyboard.press("Delete")
    studio.revision(1)
    files = take_away(studio, "objects", check=["Count round things apart that touch"])
    rows = list(csv.DictReader(io.StringIO(files["objects/objects.csv"].decode())))
    first = [row for row in rows if row["image"].startswith("field-1")]
    assert len(first) >= layers - 2 and all(float(row["area"]) > 0 for row in first)
    labels = [picture(data) for name, data in files.items() if name.endswith((".tif", ".tiff"))]
    assert len(labels) == 6 and all(each.size == (256, 256) for each in labels)


def test_a_historian_names_letters_and_takes_a_catalogue(studio):
    page = studio.page
    open_example(studio, "Pages")
    page.get_by_role("link", name="Sprites", exact=True).click()
    page.wait_for_selector(".sprite-card")
    page.get_by_label("Sort by").select_option("used")
    page.locator(".sprite-card").first.click()
    page.wait_for_selector(".crop img")
    for letter in "eot":
        page.keyboard.press("n")
        page.keyboard.type(letter)
        page.keyboard.press("Enter")
        page.wait_for_selector(f".sprite-card b:text-is('{letter}')")
        page.wait_for_timeout(300)
    page.locator(".sprite-card:has(b:text-is('e'))").click()
    page.wait_for_selector(".crop img")
    count = next(each["layers"] for each in studio.value("/sprites")["sprites"] if each["title"] == "e")
    page.locator(".crop-link").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Delete")
    page.wait_for_selector("text=Thrown out")
    assert next(each["layers"] for each in studio.value("/sprites")["sprites"] if each["title"] == "e") == count - 1
    files = take_away(studio, "catalogue")
    texts = [data.decode("utf-8-sig") for name, data in files.items() if name.endswith(".csv")]
    tables = [list(csv.DictReader(io.StringIO(text))) for text in texts]
    assert any(len(table) >= count - 1 for table in tables)
    notes = [json.loads(data) for name, data in files.items() if name.endswith((".json", ".jsonld"))]
    assert any("@context" in json.dumps(each) for each in notes)
    assert any(name.endswith(".html") for name in files)


def test_a_shop_gets_cut_outs_on_white(studio):
    page = studio.page
    drop(studio, own_files("figures"))
    page.get_by_text("Another way", exact=True).click()
    page.get_by_role("button", name="Use a model that is ready").click()
    page.locator("label.field:has-text('Model') select").select_option("perturbgan/objects-on-texture")
    page.get_by_role("button", name="Start").click()
    open_layers(studio)
    page.get_by_role("link", name="Take away", exact=True).click()
    page.locator("label.format:has(b:text-is('cutouts')) input").check()
    page.get_by_label("Ground of cut-outs").fill("white")
    page.get_by_label("Margin in pixels").fill("3")
    files = take_away(studio, "cutouts")
    cut = [picture(data) for name, data in files.items() if name.startswith("cutouts/") and name.endswith(".png")]
    assert len(cut) >= 12
    corners = np.stack([np.asarray(each.convert("RGB"))[0, 0] for each in cut])
    assert (corners == 255).all()


def test_a_researcher_changes_a_setting_watches_and_compares(studio):
    page = studio.page
    drop(studio, own_files("blocks"))
    page.get_by_text("Another way", exact=True).click()
    page.get_by_role("button", name="Learn from these images").click()
    page.locator("label.choice:has-text('Things that vary') input").check()
    page.get_by_label("Made for").select_option("tetrominoes")
    page.get_by_label("At most minutes").fill("0.4")
    page.locator("details.settings > summary").click()
    page.get_by_placeholder("Find a setting").fill("num sprites")
    page.get_by_placeholder("Find a setting").fill("num_sprites")
    box = page.locator(".setting", has_text="num sprites").locator("input, select").first
    box.fill("12")
    box.blur()
    page.wait_for_selector("text=1 changed")
    page.wait_for_selector("code:has-text('--set num_sprites=12')")
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector(".live-sprites li", timeout=PATIENCE)
    page.wait_for_selector("text=Take", timeout=PATIENCE)
    page.get_by_role("button", name="Pause").wait_for(state="detached", timeout=PATIENCE)
    page.goto(f"{studio.base}/#/")
    page.get_by_role("link", name="Delaminate: all projects").wait_for()
    projects = page.request.get(f"{studio.base}/api/projects").json()["projects"]
    images = next(each["id"] for each in projects if each["kind"] == "images")
    run = next(each for each in projects if each["kind"] == "run")
    page.goto(f"{studio.base}/#/p/{images}")
    page.get_by_text("Another way", exact=True).click()
    page.get_by_role("button", name="Compare models").click()
    page.locator(f"label.choice:has-text('{run['name']}') input").check()
    page.locator("label.choice:has-text('dti-sprites/tetrominoes') input").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("table", timeout=PATIENCE)
    assert page.locator("th:has-text('num sprites')").count() == 1
    with page.expect_download() as found:
        page.get_by_role("link", name="Download all").click()
    with zipfile.ZipFile(found.value.path()) as archive:
        compared = json.loads(archive.read("comparison.json"))
    assert len(compared["models"]) == 2 and "psnr" in compared["figures"]

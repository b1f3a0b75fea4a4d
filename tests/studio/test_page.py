"""The page in a browser: what people see and do; the browser's own composite against the server's."""

import base64
import gzip
import hashlib
import http.server
import io
import json
import re
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import Opened, launched
from helpers.small_scenes import small_scenes, write_small_scenes
from PIL import Image

import delaminate
from delaminate import studio
from delaminate.scene.collection import SceneSet
from delaminate.scene.loading import load_scenes
from delaminate.scene.saving import save_scenes

PAGE = Path(studio.__file__).parent / "page"
MOST = 150_000
"""Bytes of the whole front end, compressed."""
VENDORED = {
    "konva.module.js": "946c95e2cb91731a84536f46f740e0074ec3403af9f160e2808877cf6b084c25",
    "preact-htm.module.js": "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}


def test_what_is_vendored_is_what_was_released_and_has_its_licence():
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (PAGE / "vendor").glob("*.[jc]s*")}
    assert found == VENDORED
    assert {path.name for path in (PAGE / "vendor").glob("LICENSE.*")} == {
        "LICENSE.htm", "LICENSE.konva", "LICENSE.preact", "LICENSE.uplot",
    }  # fmt: skip


def test_the_front_end_is_small():
    parts = [path for path in PAGE.rglob("*") if path.is_file() and not path.name.startswith("LICENSE")]
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in parts) <= MOST


def test_the_page_asks_nobody_else_and_has_nothing_inline():
    for path in [*PAGE.glob("*.js"), *PAGE.glob("*.html"), *PAGE.glob("*.css")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:https?:|[\"'(])//[\w.]", text), path.name
        assert not re.search(r"innerHTML|\beval\(|new Function|document\.write", text), path.name
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture
def opened(browser, tmp_path):
    found = Opened(browser, write_small_scenes(tmp_path / "scenes"), tmp_path / "home")
    yield found
    found.close()
    assert found.wrong == []
    assert all(url.startswith((found.base, "data:", "blob:")) for url in found.asked)


def test_a_layer_is_hidden_moved_and_given_back_and_a_sprite_repainted(opened):
    page = opened.page
    opened.go("image")
    page.wait_for_selector(".canvas[data-ready]")
    assert page.locator(".layer").count() == 4
    assert page.locator(".thumb").count() == 3

    page.get_by_role("button", name="Hide one").click()
    opened.revision(1)
    assert not opened.layer("one")["visible"]
    page.get_by_role("button", name="Show one").click()
    opened.revision(2)

    before = opened.layer("three")["centre"]
    page.get_by_role("button", name="three", exact=True).click()
    page.evaluate(  # both within the moment for which moves are gathered, however busy the machine is
        "() => [['ArrowLeft', false], ['ArrowUp', true]].forEach(([key, shiftKey]) => document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', { key, shiftKey, bubbles: true, cancelable: true })))"
    )
    opened.revision(3)
    assert opened.layer("three")["centre"] == [before[0] - 1, before[1] - 10]
    page.wait_for_selector("text=move --scene a.png --layer layer-03 --by -1 -10")
    page.keyboard.press("Control+z")
    opened.revision(4)
    assert opened.layer("three")["centre"] == before
    page.keyboard.press("Control+Shift+z")
    opened.revision(5)
    assert opened.layer("three")["centre"] != before

    page.keyboard.press("e")
    page.wait_for_selector(".paint-sheet canvas")
    box = page.locator(".paint-sheet canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1, steps=5)
    page.mouse.up()
    opened.revision(6)
    page.wait_for_selector("text=Saved")
    opened.until(lambda: not opened.value("")["unsaved"], "saved")
    sprite = load_scenes(opened.folder)[0].dictionary.sprites[2]
    assert (sprite[:3, 0] * 255).round().int().unique().tolist() == [32]
    assert (sprite[3, 0] == 1).all()


DROP = """(files) => {
    const bytes = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
    const entries = files.map(([place, text]) => ({
        isFile: true, isDirectory: false, fullPath: `/mine/${place}`,
        file: (found) => found(new File([bytes(text)], place.split("/").at(-1))),
    }));
    const reader = () => { let left = entries; return { readEntries: (found) => { found(left); left = []; } }; };
    const folder = { isFile: false, isDirectory: true, createReader: reader };
    const event = new Event("drop", { bubbles: true, cancelable: true });
    Object.defineProperty(event, "dataTransfer", { value: { items: [{ webkitGetAsEntry: () => folder }] } });
    document.querySelector(".drop").dispatchEvent(event);
}"""


def test_a_folder_of_scenes_is_dropped(opened, tmp_path):
    page, made = opened.page, write_small_scenes(tmp_path / "made")
    page.goto(f"{opened.base}/#/")
    page.wait_for_selector(".drop")
    files = [path for path in made.rglob("*") if path.is_file()]
    told = [[path.relative_to(made).as_posix(), base64.b64encode(path.read_bytes()).decode()] for path in files]
    page.evaluate(DROP, told)
    page.wait_for_selector(".canvas[data-ready]")
    assert page.locator(".thumb").count() == 3
    assert page.locator(".project").inner_text() == "mine"


def test_a_colour_of_a_sprite_becomes_another(opened):
    page = opened.page
    opened.go("paint", "sprite-00")
    page.wait_for_selector(".paint-sheet canvas")
    swatch = page.locator(".swatch").first
    colour = swatch.get_attribute("title")
    swatch.click()
    assert page.locator(".recolour option").all_inner_texts() == ["This sprite", "Every sprite"]  # no poses
    page.locator(".recolour input").fill("#0102f3")
    page.get_by_role("button", name="Replace").click()
    opened.revision(1)
    page.wait_for_selector(f"text=recolour-sprites sprite-00 --colour '{colour}' --to '#0102f3'")
    page.wait_for_selector(".swatch[title='#0102f3'][aria-pressed=true]")
    assert page.locator(f".swatch[title='{colour}']").count() == 0
    page.keyboard.press("Control+z")
    opened.revision(2)
    page.wait_for_selector(f".swatch[title='{colour}']")


def test_before_and_after_are_divided_by_dragging_and_by_keys(opened):
    page = opened.page
    opened.go("image")
    page.wait_for_selector(".canvas[data-ready]")
    page.get_by_role("button", name="Hide one").click()
    opened.revision(1)
    page.keyboard.press("6")
    page.wait_for_selector(".canvas.divided")
    page.wait_for_selector(".caption:has-text('As found')")  # the image itself is not known here
    widths = "() => document.querySelector('.canvas').stage.find('Image').at(-1).width()"
    assert page.evaluate(widths) == 16  # of 32
    x, scale = page.evaluate("() => { const s = document.querySelector('.canvas').stage; return [s.x(), s.scaleX()]; }")
    box = page.locator(".canvas").bounding_box()
    page.mouse.move(box["x"] + x + 16 * scale, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + x + 24 * scale, box["y"] + box["height"] / 2)
    page.mouse.up()
    opened.until(lambda: page.evaluate(widths) == 24, "divided where the pointer is")
    page.locator(".divide").focus()
    page.keyboard.press("Home")
    opened.until(lambda: page.evaluate(widths) == 1, "all of it is as it is now")
    page.keyboard.press("1")
    page.wait_for_selector(".canvas:not(.divided)")
    opened.revision(1)  # nothing was moved
    opened.wrong = [told for told in opened.wrong if "original.png" not in told]


def test_a_layer_is_dragged_on_the_canvas_by_whole_pixels(opened):
    page = opened.page
    opened.go("image")
    page.wait_for_selector(".canvas[data-ready]")
    before = opened.layer("one")["centre"]
    place = page.evaluate(
        "() => { const s = document.querySelector('.canvas').stage; return [s.x(), s.y(), s.scaleX()]; }"
    )
    box = page.locator(".canvas").bounding_box()
    for dx in range(-3, 4):  # sprites are random: find a pixel of it that is not transparent
        at = [
            box["x"] + place[0] + (before[0] + dx + 0.5) * place[2],
            box["y"] + place[1] + (before[1] - 1.5) * place[2],
        ]
        page.mouse.move(*at)
        page.mouse.down()
        page.mouse.move(at[0] + 2.2 * place[2], at[1] + 1.1 * place[2], steps=4)
        page.mouse.up()
        page.wait_for_timeout(400)
        if opened.value("")["revision"]:
            break
    assert opened.layer("one")["centre"] == [before[0] + 2, before[1] + 1]


def test_layers_are_added_copied_swapped_reordered_named_and_deleted(opened):
    page = opened.page
    opened.go("image")
    page.wait_for_selector(".canvas[data-ready]")
    names = lambda: [(each["name"], each["sprite"]) for each in opened.scene()["layers"][1:]]  # noqa: E731
    first = names()
    page.get_by_role("button", name="Add sprite-01").click()
    opened.revision(1)
    page.wait_for_selector(".layer[aria-current]")
    assert names()[:3] == first and names()[3][1] == "sprite-01"
    page.get_by_label("Name", exact=True).fill("new")
    page.keyboard.press("Enter")
    opened.revision(2)
    page.keyboard.press("d")
    opened.revision(3)
    page.wait_for_selector("h2:has-text('6 layers')")
    page.get_by_role("button", name="Swap", exact=True).click()
    page.get_by_role("button", name="Swap in sprite-00").click()
    opened.revision(4)
    assert [sprite for _, sprite in names()[3:]] == ["sprite-01", "sprite-00"]
    page.keyboard.press("[")
    opened.revision(5)
    assert [sprite for _, sprite in names()[3:]] == ["sprite-00", "sprite-01"]
    page.keyboard.press("Delete")
    opened.revision(6)
    assert names() == [*first, ("new", "sprite-01")]
    page.locator(".layer .tool").first.click(modifiers=["Alt"])
    page.wait_for_selector("text=Only 1 layer shown")
    assert opened.value("")["revision"] == 6  # to look at one layer is no edit


def test_a_new_image_is_made_of_the_sprites(opened):
    opened.go("image")
    opened.page.wait_for_selector(".canvas[data-ready]")
    opened.page.get_by_role("button", name="New image of these sprites").click()
    opened.page.get_by_label("Name").fill("level")
    opened.page.get_by_role("button", name="Make it").click()
    opened.page.wait_for_selector(".thumb[aria-current] .name:text-is('level')")
    opened.page.get_by_role("button", name="Add sprite-01").click()
    opened.page.wait_for_selector(".layers-panel .pick >> nth=1")
    opened.revision(1)
    assert len(opened.scene(3)["layers"]) == 2
    assert "add sprite-01 --scene level" in opened.page.locator(".foot code").inner_text()


def test_images_are_sent_and_taken_apart(opened):
    page = opened.page
    page.goto(f"{opened.base}/#/")
    files = []
    for index in range(3):
        data = io.BytesIO()
        Image.fromarray(np.full((35, 35, 3), 60 * index, np.uint8)).save(data, "PNG")
        files.append({"name": f"{index}.png", "mimeType": "image/png", "buffer": data.getvalue()})
    page.set_input_files("input[type=file]", files)
    page.get_by_text("Another way", exact=True).click()
    page.get_by_role("button", name="Use a model that is ready").click()
    page.get_by_label("Model").select_option("dti-sprites/tetrominoes")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("link", name="Open the layers").click(timeout=120_000)
    page.wait_for_selector(".canvas[data-ready]")
    assert page.locator(".thumb").count() == 3
    page.get_by_role("link", name="Take away").click()
    page.get_by_role("button", name="Make 1 format").click()
    with page.expect_download() as found:
        page.get_by_role("link", name="Download all").click(timeout=120_000)
    assert zipfile.ZipFile(found.value.path()).namelist()


def test_the_browser_composites_as_the_server_does(opened):
    page = opened.page
    opened.go("image")
    page.wait_for_selector(".canvas[data-ready]")
    page.wait_for_timeout(200)
    assert np.abs(opened.shown() - opened.composite()).max() <= 1
    page.get_by_role("button", name="two", exact=True).click()
    page.get_by_label("Opacity").fill("0.3")
    opened.revision(1)
    page.keyboard.press("ArrowRight")
    opened.revision(2)
    page.get_by_role("button", name="Hide one").click()
    opened.revision(3)
    page.wait_for_timeout(500)
    assert np.abs(opened.shown() - opened.composite()).max() <= 1


def test_every_screen_opens_narrow_and_wide_light_and_dark(opened):
    page = opened.page
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            for screen in ("image", "sprites/sprite-00", "paint/sprite-00", "take"):
                opened.go(*screen.split("/"))
                page.wait_for_selector("main")
                page.wait_for_timeout(200)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (screen, width)
    page.goto(f"{opened.base}/#/")
    page.wait_for_selector(".project-card")


def test_sprites_are_named_merged_and_dropped(opened):
    page = opened.page
    opened.go("sprites", "sprite-00")
    page.get_by_label("Name", exact=True).fill("hero")
    page.keyboard.press("Enter")
    opened.revision(1)
    page.wait_for_selector(".sprite-card:has-text('hero')")
    page.get_by_label("The same as").select_option("sprite-02")
    page.get_by_role("button", name="Merge").click()
    opened.revision(2)
    page.wait_for_selector("text=is merged into")
    page.wait_for_selector("h1:has-text('2 sprites')")
    page.locator(".sprite-card").first.click()
    page.wait_for_selector(".crop img")
    page.wait_for_timeout(300)
    page.keyboard.press("Delete")
    opened.revision(3)
    page.wait_for_selector("h1:has-text('1 sprite')")


def test_a_notebook_shows_the_studio_in_a_frame_and_others_do_not(browser, tmp_path):
    frame = delaminate.studio(small_scenes())
    port = int(re.search(r":([0-9]+)/", frame.address)[1])
    pages = {
        "/notebook": frame._repr_html_(),
        "/again": f'<iframe src="http://localhost:{port}/api/projects"></iframe>',
    }

    class Notebook(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            data = f"<!doctype html><title>notebook</title>{pages.get(self.path, '')}".encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Notebook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page = browser.new_context().new_page()
        notebook = f"http://localhost:{server.server_port}"
        page.goto(f"{notebook}/notebook")
        inside = page.frame_locator("iframe")
        inside.locator(".canvas[data-ready]").wait_for(timeout=30_000)
        inside.get_by_role("button", name="Hide one").click()
        inside.get_by_role("button", name="Show one").wait_for()
        # The notebook itself may neither read nor write, and no frame shows more than the page.
        for path in ("projects", "jobs"):
            told = page.evaluate(
                f"fetch('http://localhost:{port}/api/{path}', {{credentials: 'include'}}).then(() => 1, () => 0)"
            )
            assert told == 0
        page.goto(f"{notebook}/again")
        page.wait_for_timeout(300)
        assert "small" not in page.frames[-1].content() and "another site" in page.frames[-1].content().lower()
    finally:
        server.shutdown()
        server.server_close()
        frame.close()
    assert not load_scenes(frame.folder)[0].layer("layer-01").visible


def test_layers_of_the_same_images_stand_side_by_side(opened, tmp_path):
    page = opened.page
    page.goto(f"{opened.base}/#/")
    page.get_by_role("button", name="Falling blocks").click()
    page.wait_for_selector(".canvas[data-ready]")
    projects = page.request.get(f"{opened.base}/api/projects").json()["projects"]
    layers = next(each for each in projects if each["name"] == "Falling blocks" and each["kind"] == "scenes")
    asked = {"kind": "decompose", "images": layers["images"], "model": "dti-sprites/tetrominoes", "limit": 4}
    made = page.request.post(f"{opened.base}/api/jobs", data=asked, headers={"origin": opened.base}).json()
    job = lambda: page.request.get(f"{opened.base}/api/jobs/{made['id']}").json()  # noqa: E731
    for _ in range(600):
        if job()["state"] != "running":
            break
        page.wait_for_timeout(100)
    page.goto(f"{opened.base}/#/p/{job()['project']}/image")
    page.get_by_role("link", name="Compare", exact=True).click()
    page.wait_for_selector(".compare-row img")
    opened.until(lambda: page.locator(".compare-row img").count() >= 8, "eight pictures")
    page.get_by_role("button", name="Segmentation").click()
    page.wait_for_timeout(300)
    assert page.locator(".compare-row").count() == 4


AXE = Path(__file__).parents[1] / "vendor" / "axe-core" / "axe.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screen_readers_find_everything_on_every_screen(opened, scheme):
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == AXE_SHA256
    page, wrong = opened.page, {}
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{opened.base}/#/")
    page.get_by_role("button", name="Falling blocks").click()
    page.wait_for_selector(".canvas[data-ready]")
    projects = page.request.get(f"{opened.base}/api/projects").json()["projects"]
    images = next(each["id"] for each in projects if each["kind"] == "images")
    asked = {"kind": "decompose", "images": images, "model": "dti-sprites/tetrominoes", "limit": 2}
    made = page.request.post(f"{opened.base}/api/jobs", data=asked, headers={"origin": opened.base}).json()["id"]
    here = f"p/{opened.server.project}"
    screens = [
        "",
        f"p/{images}",
        f"job/{made}",
        f"{here}/image",
        f"{here}/sprites/sprite-00",
        f"{here}/paint/sprite-00",
    ]
    screens.append(f"{here}/take")
    for screen in screens:
        page.goto(f"{opened.base}/#/{screen}")
        page.wait_for_selector("main h1, .strip h1, .paint-screen")
        page.wait_for_timeout(600)
        for details in page.locator("details:not([open]) > summary").all():
            details.click()
        page.wait_for_timeout(300)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        for each in found["violations"]:
            nodes = [f"{node['html'][:160]} | {node['failureSummary'][:200]}" for node in each["nodes"][:3]]
            wrong[f"{screen}: {each['id']}"] = nodes
    assert not wrong, json.dumps(wrong, indent=1)


@pytest.fixture
def clip(browser, tmp_path):
    scenes = small_scenes(4)
    named = SceneSet(scenes.names, scenes.dictionary, scenes.__getitem__, dict.fromkeys(scenes.names, 40.0))
    save_scenes(named, tmp_path / "scenes")
    found = Opened(browser, tmp_path / "scenes", tmp_path / "home")
    found.go("image")
    found.page.wait_for_selector(".canvas[data-ready]")
    found.page.wait_for_selector(".timeline")
    yield found
    found.close()
    assert found.wrong == []


def of_track(opened, index):
    return next(each for each in opened.scene(index)["layers"] if each["track"] == 1)


def test_a_clip_is_played_stepped_through_and_its_tracks_are_seen(clip):
    page = clip.page
    assert "1 of 4, 0.00 s" in page.locator(".frame-number").inner_text()
    page.keyboard.press(".")
    page.wait_for_selector("text=2 of 4, 0.04 s")
    page.get_by_role("button", name="1 tracks").click()
    assert page.locator(".track").count() == 1 and page.locator(".track-line i").count() == 1
    page.locator(".track-name").click()  # of the frame that is shown already
    page.wait_for_selector(".layer[aria-current]")
    page.keyboard.press(".")
    page.wait_for_selector("text=3 of 4")
    page.wait_for_selector(".layer[aria-current] >> text=one")  # a thing stays selected from frame to frame
    page.keyboard.press("p")
    page.wait_for_selector("text=4 of 4")
    page.wait_for_selector("text=1 of 4")  # over the end, to the beginning
    page.keyboard.press("p")
    page.wait_for_selector("[aria-label='Play (p)']")
    page.keyboard.press("u")
    clip.until(
        lambda: page.evaluate(
            "() => document.querySelector('.canvas').stage.find('Image').slice(1).some((each) => each.visible())"
        ),
        "the frame before or after, faintly",
    )


def test_what_is_done_to_a_track_is_done_in_all_its_frames_as_one_step(clip):
    page = clip.page
    before = [of_track(clip, index)["centre"] for index in range(4)]
    page.get_by_role("button", name="one", exact=True).first.click()
    page.get_by_role("button", name="All 4 frames").click()
    page.keyboard.press("ArrowRight")
    clip.revision(1)
    assert [of_track(clip, index)["centre"] for index in range(4)] == [[x + 1, y] for x, y in before]
    page.get_by_text("Size, turn and colour").click()
    page.get_by_role("button", name="One colour").click()
    clip.revision(2)
    assert all(of_track(clip, index)["gain"] == [0, 0, 0] for index in range(4))
    page.get_by_role("button", name="Hide one").click()
    clip.revision(3)
    assert not any(of_track(clip, index)["visible"] for index in range(4))
    page.get_by_role("button", name="This frame").click()
    page.get_by_role("button", name="Show one").click()
    clip.revision(4)
    assert [of_track(clip, index)["visible"] for index in range(4)] == [True, False, False, False]
    for _ in range(4):
        page.get_by_role("button", name="Undo (Ctrl Z)").click()
    clip.revision(8)
    assert [of_track(clip, index)["centre"] for index in range(4)] == before


def test_several_layers_are_selected_and_changed_together(opened):
    page = opened.page
    opened.go("image")
    page.wait_for_selector(".canvas[data-ready]")
    before = {name: opened.layer(name)["centre"] for name in ("one", "two", "three")}
    page.get_by_role("button", name="one", exact=True).first.click()
    page.get_by_role("button", name="three", exact=True).first.click(modifiers=["Shift"])
    page.wait_for_selector("text=2 layers are selected")
    page.keyboard.press("ArrowDown")
    opened.revision(1)
    moved = {name: opened.layer(name)["centre"] for name in before}
    assert moved == {name: [x, y + (name != "two")] for name, (x, y) in before.items()}
    page.keyboard.press("Delete")
    opened.revision(2)
    assert [each["name"] for each in opened.scene()["layers"]] == ["background", "two"]
    page.keyboard.press("Control+z")
    opened.revision(3)
    assert opened.layer("three")["centre"] == moved["three"]


def test_a_layer_is_sized_turned_mirrored_and_coloured(opened):
    page = opened.page
    opened.go("image")
    page.wait_for_selector(".canvas[data-ready]")
    page.get_by_role("button", name="one", exact=True).first.click()
    page.get_by_text("Size, turn and colour").click()
    page.get_by_label("Size").fill("200")
    page.keyboard.press("Enter")
    opened.revision(1)
    assert opened.layer("one")["matrix"][0] == 2
    page.get_by_role("button", name="Mirror, left to right").click()
    opened.revision(2)
    assert opened.layer("one")["matrix"][0] == -2
    page.get_by_role("button", name="Turn a quarter to the right").click()
    opened.revision(3)
    page.get_by_label("Tint").fill("#ff8000")
    opened.revision(4)
    gain = opened.layer("one")["gain"]
    assert gain[0] == 1 and 0.49 < gain[1] < 0.51 and gain[2] == 0
    page.get_by_role("button", name="Own colours").click()
    opened.revision(5)
    assert opened.layer("one")["gain"] == [1, 1, 1]


def test_a_layer_is_scaled_and_turned_by_its_handles(opened):
    page = opened.page
    opened.go("image")
    page.wait_for_selector(".canvas[data-ready]")
    page.get_by_role("button", name="one", exact=True).first.click()
    page.wait_for_timeout(200)
    corner = (
        "() => { const s = document.querySelector('.canvas').stage, b = s.container().getBoundingClientRect();"
        " const p = s.findOne('.bottom-right').getAbsolutePosition(); return [b.x + p.x, b.y + p.y]; }"
    )
    size, before = opened.layer("one")["raster"], opened.layer("one")["centre"]
    scale = page.evaluate("() => document.querySelector('.canvas').stage.scaleX()")
    x, y = page.evaluate(corner)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + size[0] * scale, y + size[1] * scale, steps=6)
    page.mouse.up()
    opened.revision(1)
    found = opened.layer("one")
    assert abs(found["matrix"][0] - 2) < 0.1 and abs(found["matrix"][4] - 2) < 0.1
    assert abs(found["centre"][0] - before[0] - size[0] / 2) < 0.5
    page.keyboard.press("Control+z")
    opened.revision(2)
    assert opened.layer("one")["centre"] == before


def test_part_of_a_clip_is_chosen_on_its_picture(browser, tmp_path):
    frames = [Image.new("RGB", (32, 24), (30 * number, 0, 90)) for number in range(6)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=50, loop=0)
    opened = Opened(browser, tmp_path / "a.gif", tmp_path / "home")
    page = opened.page
    page.goto(f"{opened.base}/#/p/{opened.server.project}")
    page.wait_for_selector(".recommended .evidence")
    page.get_by_text("Take a part, or stretch contrast").click()
    page.wait_for_function("() => document.querySelector('.part img')?.naturalWidth === 32")
    page.locator(".part").scroll_into_view_if_needed()
    boxes = [None]
    while len(boxes) < 40 and (len(boxes) < 4 or boxes[-1] != boxes[-3]):  # what is above it may still grow
        page.wait_for_timeout(150)
        boxes.append(page.locator(".part").bounding_box())
    box = boxes[-1]
    at = lambda x, y: (box["x"] + box["width"] * x / 32, box["y"] + box["height"] * y / 24)  # noqa: E731
    page.mouse.move(*at(20, 18))
    page.mouse.down()
    page.mouse.move(*at(4, 6), steps=4)
    page.mouse.up()
    page.get_by_label("First frame").fill("3")
    page.wait_for_selector("text=--frames 2: --crop 4,6,16,12")
    page.get_by_role("button", name="Make these images").click()
    page.get_by_text("Look at them").click()
    page.wait_for_selector("text=4 frames")
    assert opened.wrong == []
    opened.close()


def test_a_sprite_is_split_with_a_lasso(opened):
    page = opened.page
    before = opened.composite()
    opened.go("paint", "sprite-00")
    page.wait_for_selector(".paint-sheet canvas")
    page.wait_for_timeout(300)
    page.keyboard.press("l")
    box = page.locator(".paint-sheet canvas").bounding_box()
    at = lambda x, y: (box["x"] + box["width"] * x, box["y"] + box["height"] * y)  # noqa: E731
    page.mouse.move(*at(0.02, 0.02))
    page.mouse.down()
    for corner in ((0.52, 0.02), (0.52, 0.98), (0.02, 0.98)):
        page.mouse.move(*at(*corner), steps=3)
    page.mouse.up()
    opened.revision(1)
    page.wait_for_selector("text=a sprite of its own now")
    assert [each["id"] for each in opened.value("/sprites")["sprites"]][-1] == "sprite-03"
    assert len(opened.scene()["layers"]) == 5
    assert (opened.composite() == before).all()
    page.keyboard.press("Control+z")
    opened.revision(2)
    assert len(opened.value("/sprites")["sprites"]) == 3

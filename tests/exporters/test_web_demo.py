"""The page that takes images apart in a browser: what it is made of, its arithmetic in node, and all of it in Chromium."""

import functools
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.browser import launched
from PIL import Image
from torch.testing import assert_close

from delaminate.data.reading import fit_image
from delaminate.errors import FormatError
from delaminate.exporters import web_demo
from delaminate.exporters.web_demo import DEMO_FILES, RUNTIME_FILES, Runtime, write_web_demo
from delaminate.files import png_bytes
from delaminate.rng import stream

PAGE = Path(web_demo.__file__).parent / "web_demo"
NODE = shutil.which("node")
NPM_PACKAGE = os.environ.get("DELAMINATE_ONNXRUNTIME_WEB")
needs_node = pytest.mark.skipif(NODE is None, reason="needs node")
ABOUT = {"name": "onnxruntime-web", "version": "1.30.0", "license": "MIT"}


def package(about=ABOUT, files=RUNTIME_FILES):
    return {"package.json": json.dumps(about).encode(), **{f"dist/{name}": name.encode() for name in files}}


def as_archive(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def as_folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_the_runtime_is_read_from_an_archive_a_folder_and_a_project(tmp_path):
    as_folder(tmp_path / "project" / "node_modules" / "onnxruntime-web", package())
    places = (
        as_archive(tmp_path / "onnxruntime-web-1.30.0.tgz", package()),
        as_folder(tmp_path / "folder", package()),
        tmp_path / "project",
    )
    for place in places:
        found = Runtime.open(place)
        assert found.files == {name: name.encode() for name in RUNTIME_FILES}
        assert (found.version, found.license) == ("1.30.0", "MIT")


@pytest.mark.parametrize(
    ("files", "word"),
    [
        (package({"name": "left-pad"}), "is not the npm package"),
        ({"dist/ort.js": b""}, "is not the npm package"),
        (package(files=RUNTIME_FILES[:1]), "1.20 or newer"),
    ],
)
def test_other_packages_are_refused(files, word, tmp_path):
    with pytest.raises(FormatError, match=word):
        Runtime.open(as_archive(tmp_path / "other.tgz", files))
    with pytest.raises(FormatError, match=word):
        Runtime.open(as_folder(tmp_path / "other", files))


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "package.tgz").write_bytes(b"no archive")
    for name in ("package.tgz", "missing.tgz"):
        with pytest.raises(FormatError, match=name):
            Runtime.open(tmp_path / name)


def test_the_page_is_whole_and_gone_examples_go(tmp_path):
    runtime = Runtime.open(as_folder(tmp_path / "runtime", package()))
    out = tmp_path / "page"
    write_web_demo(out, runtime, {"title": "Shapes"}, torch.rand(8, 3, 5, 5))
    assert len(list(out.glob("example-*.png"))) == 6
    write_web_demo(out, runtime, {"title": "Shapes"}, torch.rand(2, 3, 5, 5))
    facts = json.loads((out / "model.json").read_text())
    assert facts["title"] == "Shapes"
    assert facts["page"]["examples"] == ["example-1.png", "example-2.png"]
    assert facts["page"]["runtime"] == {"version": "1.30.0", "license": "MIT"}
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {*DEMO_FILES, "model.json", "example-1.png", "example-2.png"}
    assert "MIT" in (out / "ort" / "NOTICE.txt").read_text()


def test_the_page_asks_no_other_origin():
    text = (PAGE / "index.html").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["connect-src"] == "'self'" and rules["style-src"] == "'self'"
    assert rules["script-src"] == "'self' 'wasm-unsafe-eval'"
    for path in PAGE.iterdir():
        for address in re.findall(r"https?://[^\s\"'<]*", path.read_text()):
            assert address in ("http://localhost:8000.", "http://www.w3.org/2000/svg"), path.name


def in_node(tmp_path, script, *arguments):
    """Run a module with everything of pixels.mjs in it."""
    words = f"import * as pixels from {json.dumps((PAGE / 'pixels.mjs').as_uri())};\nimport fs from 'node:fs';\n"
    (tmp_path / "script.mjs").write_text(words + script)
    subprocess.run([NODE, str(tmp_path / "script.mjs"), *map(str, arguments)], check=True, timeout=60)


@needs_node
@pytest.mark.parametrize(
    ("size", "target"),
    [
        ((40, 60), (17, 23)), ((7, 5), (32, 32)), ((64, 64), (64, 64)), ((64, 30), (64, 64)), ((30, 64), (64, 64)),
        ((1, 1), (8, 8)), ((333, 257), (128, 128)), ((240, 320), (64, 64)), ((320, 240), (64, 64)), ((500, 3), (35, 35)),
    ],
)  # fmt: skip
def test_images_are_resized_as_pillow_does_to_the_bit_unless_they_are_tall(size, target, tmp_path):
    pixels = torch.randint(0, 256, (*size, 3), generator=stream("web", *size), dtype=torch.uint8).numpy()
    (tmp_path / "in").write_bytes(pixels.tobytes())
    script = f"""
    const rgb = new Uint8Array(fs.readFileSync(process.argv[2]));
    fs.writeFileSync(process.argv[3], pixels.resized(rgb, {list(size)}, {list(target)}));
    """
    in_node(tmp_path, script, tmp_path / "in", tmp_path / "out")
    found = np.frombuffer((tmp_path / "out").read_bytes(), np.uint8).reshape(*target, 3)
    # Pillow 13 takes the columns of some tall images first, and rounds in between.
    off = np.abs(found.astype(int) - fit_image(pixels, target)[0]).max()
    assert off == 0 or (size == (500, 3) and off == 1)


@needs_node
def test_pictures_and_archives_are_read_by_others(tmp_path):
    rgba = torch.randint(0, 256, (13, 9, 4), generator=stream("web", "png"), dtype=torch.uint8).numpy()
    (tmp_path / "in").write_bytes(rgba.tobytes())
    script = """
    const rgba = new Uint8Array(fs.readFileSync(process.argv[2])), picture = await pixels.png(rgba, [13, 9]);
    fs.writeFileSync(process.argv[3], pixels.zip([['00-background.png', picture], ['ä.txt', new TextEncoder().encode('ö')]]));
    """
    in_node(tmp_path, script, tmp_path / "in", tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["00-background.png", "ä.txt"] and archive.read("ä.txt") == "ö".encode()
        with Image.open(io.BytesIO(archive.read("00-background.png"))) as picture:
            assert picture.mode == "RGBA" and np.array_equal(np.array(picture), rgba)


@needs_node
def test_floats_become_bytes_and_back(tmp_path):
    script = """
    const rgb = Uint8Array.from({ length: 768 }, (_, i) => i >> 1), back = pixels.bytes(pixels.planes(rgb), 3, 256);
    for (let i = 0; i < 256; i++) for (let c = 0; c < 3; c++)
      if (back[i * 4 + c] !== rgb[i * 3 + c] || back[i * 4 + 3] !== 255) throw new Error(`${i}`);
    """
    in_node(tmp_path, script)


# --- in a browser ------------------------------------------------------------------------------------------------------


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(folder):
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder)))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def browser():
    with launched() as found:
        yield found


@pytest.mark.slow
@pytest.mark.skipif(
    NPM_PACKAGE is None, reason="needs DELAMINATE_ONNXRUNTIME_WEB: the .tgz of `npm pack onnxruntime-web`"
)
@pytest.mark.parametrize("name", ["redo/flowers17", "dti-sprites/tetrominoes", "perturbgan/objects-on-texture"])
def test_a_browser_finds_what_python_finds(name, browser, serve, tmp_path):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    from delaminate.methods import load_model
    from delaminate.pipelines.model_export import drawn_images, export_model

    model = load_model(name)
    made = export_model(model, tmp_path / "page", "web-demo", runtime=NPM_PACKAGE)
    drawn = drawn_images(model.dictionary(), model.image_size, 1, seed=3)[0]
    pixels = (drawn.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8).repeat(2, 0).repeat(3, 1)
    (tmp_path / "page" / "picture.png").write_bytes(png_bytes(pixels))
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    address = serve(tmp_path / "page")
    page.goto(address)
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    found = page.evaluate("""async () => {
      const graph = await import('./graph.mjs'), opened = await graph.open();
      const { rgb } = await graph.pixelsOf(await (await fetch('picture.png')).blob(), opened.facts);
      const { outputs } = await graph.takeApart(opened, rgb);
      const [layers, reconstruction] = [outputs.layers, outputs.reconstruction].map(({ data }) => Array.from(data));
      return { rgb: Array.from(rgb), layers, reconstruction };
    }""")
    canvas, _ = fit_image(pixels, model.image_size)
    assert found["rgb"] == canvas.ravel().tolist()
    images = torch.from_numpy(canvas.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        layers, _, rebuilt = model.graph(made.by).eval()(images)[:3]
    others = torch.tensor(found["layers"]).view(layers.shape)
    assert_close(others[:, :, 3:], layers[:, :, 3:], atol=1e-3, rtol=0)
    assert_close(others[:, :, :3] * others[:, :, 3:], layers[:, :, :3] * layers[:, :, 3:], atol=1e-3, rtol=0)
    assert_close(torch.tensor(found["reconstruction"]).view(rebuilt.shape), rebuilt, atol=1e-3, rtol=0)

    # What a person does.
    page.set_input_files("#file", tmp_path / "page" / "picture.png")
    page.wait_for_selector("#layers li")
    assert page.locator("#layers li").count() == int((layers[0, :, 3] > 0).flatten(1).any(1).sum())
    with page.expect_download() as download:
        page.click("#all")
    with zipfile.ZipFile(download.value.path()) as archive, Image.open(archive.open(archive.namelist()[-1])) as picture:
        assert np.abs(np.array(picture, dtype=float)[..., 3] / 255 - layers[0, -1, 3].numpy()).max() < 0.003
    page.set_input_files("#file", Path(__file__))
    page.wait_for_selector("#status.wrong")
    assert "no picture" in page.inner_text("#status")
    assert all(url.startswith((address, "blob:")) for url in asked)


def test_a_page_that_is_opened_as_a_file_says_what_to_do(browser):
    page = browser.new_page()
    page.goto((PAGE / "index.html").as_uri())
    assert "python -m http.server" in page.inner_text("#status")

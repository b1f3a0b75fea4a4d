import base64
import io
import re
import shutil
import subprocess

import numpy as np
import pytest
from defusedxml import ElementTree
from helpers.exports import clip, composite, over, scenes
from PIL import Image

from delaminate.exporters.svg import write_svg

SVG = "{http://www.w3.org/2000/svg}"


def flatten_drawing(path):
    """Composite a drawing from what it says."""
    root = ElementTree.parse(path).getroot()
    canvas = np.zeros((int(root.get("height")), int(root.get("width")), 3))
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    symbols = {}
    for symbol in root.iter(f"{SVG}symbol"):
        image = symbol.find(f"{SVG}image")
        head, data = image.get("href").split(",")
        assert head == "data:image/png;base64"
        assert "image-rendering:pixelated" in image.get("style")
        symbols[symbol.get("id")] = np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))
    for use in root.iter(f"{SVG}use"):
        pixels = symbols[use.get("href").removeprefix("#")]
        assert (int(use.get("height")), int(use.get("width"))) == pixels.shape[:2]
        a, b, c, d, x, y = map(int, re.fullmatch(r"matrix\((.*)\)", use.get("transform"))[1].split())
        assert (abs(a), b, c, d) == (1, 0, 0, 1)
        if use.get("display") != "none":
            left = x - pixels.shape[1] if a < 0 else x
            over(canvas, pixels[:, ::-1] if a < 0 else pixels, left, y, float(use.get("opacity", 1)))
    return canvas, symbols


@pytest.mark.parametrize(
    "shown", [clip(), clip(background=False), scenes(), scenes(False)], ids=["clip", "bare", "a", "b"]
)
def test_drawings_composite_to_the_scenes_within_the_recorded_error(tmp_path, shown):
    result = write_svg(shown, tmp_path)
    assert result.max_error < 0.01
    worst = 0.0
    for scene, path in zip(shown, result.files, strict=True):
        picture, _ = flatten_drawing(path)
        worst = max(worst, np.abs(picture - composite(scene)).max())
    assert worst == pytest.approx(result.max_error, abs=1e-9)


def test_placements_share_their_symbol_and_can_be_mirrored(tmp_path):
    paths = write_svg(clip(), tmp_path).files
    _, symbols = flatten_drawing(paths[1])
    assert list(symbols)[:4] == ["background-0", "sprite-03", "sprite-01", "sprite-02"]
    text = paths[1].read_text()
    assert text.count('href="#sprite-03"') == 10
    assert 'data-track="7"' in text
    assert "matrix(-1 0 0 1 11 19)" in text
    nothing, symbols = flatten_drawing(paths[-1])
    assert not symbols
    assert not nothing.any()


def test_a_browser_shows_the_scene(tmp_path):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    scene = clip()[1]
    path = write_svg([scene], tmp_path).files[0]
    page = tmp_path / "page.html"
    page.write_text(f'<body style="margin:0;background:black">{path.read_text().partition("?>")[2]}')
    shot = tmp_path / "shot.png"
    words = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    words += ["--hide-scrollbars", "--force-device-scale-factor=1", "--force-color-profile=srgb"]
    words += ["--window-size=600,400", f"--screenshot={shot}", page.as_uri()]
    done = subprocess.run(words, capture_output=True, timeout=100)
    if done.returncode or not shot.exists():
        pytest.skip("chromium does not run here")
    height, width = scene.size
    seen = np.asarray(Image.open(shot).convert("RGB"))[:height, :width] / 255
    assert np.abs(seen - composite(scene)).max() < 0.02

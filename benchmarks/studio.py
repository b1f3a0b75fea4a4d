"""Measure the studio in Chromium: size, first paint, dragging, repainting a sprite of a long clip, a gallery, memory.

    python benchmarks/studio.py [--out benchmarks/results/studio.json]

Everything is drawn here with seed 0. One browser and one server on whatever this machine leaves them;
`load` says how busy it was. A scene holds at most 4,096 layers, so that 4,000 are dragged, not 5,000.
Frames are counted while the pointer is moved by steps, by `requestAnimationFrame`, without a screen.
"""

import argparse
import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from delaminate.files import png_bytes
from delaminate.scene.collection import SceneSet
from delaminate.scene.loading import load_scenes
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement, Transform
from delaminate.scene.saving import save_scenes
from delaminate.scene.scenes import Scene, SceneLayer

PAGE = Path(__file__).parents[1] / "src" / "delaminate" / "studio" / "page"
FRAMES = """async ({seconds}) => {
  const times = []; const until = performance.now() + seconds * 1000;
  await new Promise((done) => {
    const tick = (now) => { times.push(now); now < until ? requestAnimationFrame(tick) : done(); };
    requestAnimationFrame(tick);
  });
  return times;
}"""

THUMBNAILS = """async ([place, ids]) => {
  const began = performance.now(); const left = [...ids];
  const some = async () => {
    while (left.length) await (await fetch(`${place}/${left.pop()}/composite.png?side=168&v=1`)).blob();
  };
  await Promise.all(Array.from({length: 6}, some));
  return performance.now() - began;
}"""
"""All thumbnails of a clip, as many at a time as a browser asks for."""


def sprite(seed: int, side: int) -> torch.Tensor:
    """A random sprite."""
    made = torch.randint(0, 256, (4, side, side), generator=torch.Generator().manual_seed(seed)).float() / 255
    made[3] = 1
    return made


def scene(name: str, size: tuple[int, int], count: int, dictionary: Dictionary, seed: int) -> Scene:
    """A grey ground with sprites at random."""
    rng = np.random.default_rng(seed)
    raster = torch.full((4, *size), 0.5)
    raster[3] = 1
    layers = [
        SceneLayer("background", "background", Placement(OWN_RASTER, (Transform.shift(0, 0, size),), raster=raster))
    ]
    for number in range(count):
        y, x = rng.integers(0, size[0] - 16), rng.integers(0, size[1] - 16)
        entry = int(rng.integers(len(dictionary)))
        layers.append(
            SceneLayer(
                f"layer-{number:04d}", f"thing {number}", Placement(entry, (Transform.shift(int(x), int(y), size),))
            )
        )
    return Scene(name, size, tuple(layers), dictionary, background=True)


def write_clip(folder: Path, frames: int, size: tuple[int, int], count: int) -> None:
    """A clip of scenes that share 8 sprites."""
    dictionary = Dictionary(tuple(sprite(number, 16) for number in range(8)))
    names = [f"{index:05d}.png" for index in range(frames)]
    made = SceneSet(names, dictionary, lambda index: scene(names[index], size, count, dictionary, index))
    save_scenes(made, folder, packed=False)


class Studio:
    """A studio of its own, and a page that is let in."""

    def __init__(self, given: Path, home: Path, browser: Any, size: tuple[int, int] = (1280, 800)) -> None:
        began = time.monotonic()
        command = [sys.executable, "-m", "delaminate", "studio", str(given), "--no-browser"]
        environment = {**os.environ, "DELAMINATE_STUDIO": str(home), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        assert self.process.stdout is not None
        found = re.search(r"(http://127\.0\.0\.1:\d+)/\?token=([\w-]+)&project=(\w+)", self.process.stdout.readline())
        assert found
        self.base, self.project = found[1], found[3]
        self.page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
        self.page.set_default_timeout(120_000)
        self.page.goto(f"{self.base}/?token={found[2]}&project={self.project}")
        self.page.wait_for_selector("main h1, .strip h1")
        self.usable = time.monotonic() - began

    def value(self, path: str) -> Any:
        """Ask the API about the project."""
        return self.page.request.get(f"{self.base}/api/projects/{self.project}{path}").json()

    def post(self, path: str, data: Any) -> Any:
        """Tell the API."""
        answer = self.page.request.post(
            f"{self.base}/api/projects/{self.project}{path}", data=data, headers={"origin": self.base}
        )
        assert answer.ok, answer.text()
        return answer.json()

    def until(self, true: Callable[[], bool], seconds: float = 120) -> float:
        """Wait until something is so; say how long."""
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < seconds, "this takes too long"
            time.sleep(0.02)
        return time.monotonic() - began

    def close(self) -> None:
        """End it."""
        self.page.context.close()
        self.process.terminate()
        self.process.wait()


def front_end() -> int:
    """Bytes of the whole page, compressed."""
    parts = [path for path in PAGE.rglob("*") if path.is_file() and not path.name.startswith("LICENSE")]
    return sum(len(gzip.compress(path.read_bytes(), 9)) for path in parts)


def first_paint(place: Path, browser: Any) -> dict[str, Any]:
    """Seconds from the command to a page that can be used, five times; and what the browser itself says of its first paint."""
    write_clip(place / "small", 8, (128, 192), 12)
    seconds, paints = [], []
    for number in range(5):
        studio = Studio(place / "small", place / f"home-{number}", browser)
        studio.page.wait_for_selector(".canvas[data-ready]")
        seconds.append(round(studio.usable, 2))
        paints.append(
            studio.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null")
        )
        studio.close()
    return {"seconds_to_usable": seconds, "median": statistics.median(seconds), "first_contentful_paint_ms": paints}


def dragging(place: Path, browser: Any, count: int) -> dict[str, Any]:
    """Frames a second while a layer is dragged over a scene of 1080p."""
    dictionary = Dictionary(tuple(sprite(number, 16) for number in range(8)))
    folder = place / f"drag-{count}"
    save_scenes([scene("a.png", (1080, 1920), count, dictionary, 0)], folder)
    studio = Studio(folder, place / f"home-drag-{count}", browser, (1920, 1080))
    page = studio.page
    page.wait_for_selector(".canvas[data-ready]")
    page.wait_for_timeout(1500)
    first = studio.value("/scenes")["scenes"][0]["id"]
    layer = studio.value(f"/scenes/{first}")["layers"][-1]
    box = page.locator(".canvas").bounding_box()
    x, y, scale = page.evaluate(
        "() => { const s = document.querySelector('.canvas').stage; return [s.x(), s.y(), s.scaleX()]; }"
    )
    at = [box["x"] + x + layer["centre"][0] * scale, box["y"] + y + layer["centre"][1] * scale]
    page.mouse.move(*at)
    page.mouse.down()
    page.mouse.move(at[0] + 3, at[1] + 3)
    page.evaluate(f"() => {{ globalThis.measured = ({FRAMES})({{seconds: 4}}); }}")
    for step in range(200):
        page.mouse.move(box["x"] + 300 + 400 * np.cos(step / 20) / 2, box["y"] + 300 + 300 * np.sin(step / 20) / 2)
    times = page.evaluate("() => globalThis.measured")
    page.mouse.up()
    gaps = np.diff(np.array(times))
    moved = studio.until(lambda: studio.value("")["revision"] == 1, 20)
    studio.close()
    return {
        "placements": count, "frames_a_second": round(1000 / float(gaps.mean()), 1), "slowest_ms": round(float(gaps.max()), 1),
        "p95_ms": round(float(np.percentile(gaps, 95)), 1), "answered_after_s": round(moved, 2),
    }  # fmt: skip


def repainting(place: Path, browser: Any, frames: int) -> dict[str, Any]:
    """Seconds from a repainted sprite to the open frame, to thumbnails of all frames, and to the files."""
    folder = place / "clip"
    write_clip(folder, frames, (128, 192), 12)
    untouched = {each.name: each.composite() for each in list(load_scenes(folder))[:3]}
    studio = Studio(folder, place / "home-clip", browser)
    page = studio.page
    page.wait_for_selector(".canvas[data-ready]")
    ids = [row["id"] for row in studio.value("/scenes?limit=1000")["scenes"]]
    shows = studio.value("/sprites/sprite-03/occurrences?limit=1")["occurrences"][0]["scene"]
    page.goto(f"{studio.base}/#/p/{studio.project}/image/{shows}")
    page.wait_for_selector(".canvas[data-ready]")
    page.wait_for_timeout(1000)
    made = sprite(99, 16)
    pixels = (made.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    answer = page.request.post(
        f"{studio.base}/api/projects/{studio.project}/pictures", data=png_bytes(pixels),
        headers={"origin": studio.base, "content-type": "application/octet-stream"},
    )  # fmt: skip
    picture = answer.json()["picture"]
    began = time.monotonic()
    studio.post(
        "/edits",
        {"revision": 0, "operations": [{"operation": "repaint-sprite", "sprite": "sprite-03", "picture": picture}]},
    )
    answered = time.monotonic() - began
    page.wait_for_selector(".canvas[data-ready='1']")
    opened = time.monotonic() - began
    studio.until(lambda: not studio.value("")["unsaved"])
    saved = time.monotonic() - began
    thumbnails = page.evaluate(THUMBNAILS, [f"/api/projects/{studio.project}/scenes", ids]) / 1000
    equal = True
    for each in list(load_scenes(folder))[:3]:
        shown = torch.zeros(each.size, dtype=torch.bool)
        for layer in each.layers[1:]:
            if layer.placement.entry == 3:
                left, top = (round(float(layer.placement.transforms[-1].matrix[axis, 2])) for axis in (0, 1))
                shown[top : top + 16, left : left + 16] = True
        equal &= bool((each.composite() == untouched[each.name])[:, ~shown].all())
    studio.close()
    return {
        "frames": frames, "answered_s": round(answered, 3), "open_frame_s": round(opened, 3),
        "all_thumbnails_s": round(thumbnails, 1), "saved_s": round(saved, 1), "untouched_pixels_equal": equal,
    }  # fmt: skip


def gallery(place: Path, browser: Any, count: int) -> dict[str, Any]:
    """Scroll through a gallery: frames, and memory of the page."""
    folder = place / "gallery"
    folder.mkdir()
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (96, 96, 3), np.uint8)
    for index in range(count):
        Image.fromarray(np.roll(base, index, 1)).save(folder / f"{index:05d}.jpg", quality=60)
    studio = Studio(folder, place / "home-gallery", browser)
    page = studio.page
    page.wait_for_selector(".tile img")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.evaluate(f"() => {{ globalThis.measured = ({FRAMES})({{seconds: 10}}); }}")
    for step in range(100):
        page.evaluate(
            "(share) => { const box = document.querySelector('.gallery .long'); box.scrollTop = share * box.scrollHeight; }",
            step / 100,
        )
        page.wait_for_timeout(60)
    gaps = np.diff(np.array(page.evaluate("() => globalThis.measured")))
    heap = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    renderers = [
        int(line.split()[1]) * 1024
        for path in Path("/proc").glob("[0-9]*/status")
        for text in [_read(path)]
        if "chromium" in text and "--type=renderer" in _read(path.with_name("cmdline"))
        for line in text.splitlines()
        if line.startswith("VmRSS")
    ]
    nodes = page.evaluate("document.querySelectorAll('.tile').length")
    studio.close()
    return {
        "images": count, "frames_a_second": round(1000 / float(gaps.mean()), 1), "slowest_ms": round(float(gaps.max()), 1),
        "heap_mb": round(heap["JSHeapUsedSize"] / 1e6, 1), "largest_renderer_mb": round(max(renderers, default=0) / 1e6, 1),
        "tiles_in_the_page": nodes,
    }  # fmt: skip


def _read(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def main() -> None:
    """Measure everything, each part on its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/studio.json"))
    parser.add_argument("--only", choices=("first_paint", "dragging", "repainting", "gallery"))
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("studio: no Chromium. On Debian and Ubuntu: apt install chromium.")
    found: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    found["front_end_gzip_bytes"] = front_end()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, sync_playwright() as play:
        place = Path(name)
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        found["browser"] = browser.version
        parts: dict[str, Callable[[], Any]] = {
            "first_paint": lambda: first_paint(place, browser),
            "dragging": lambda: [dragging(place, browser, count) for count in (1000, 4000)],
            "repainting": lambda: repainting(place, browser, 1000),
            "gallery": lambda: gallery(place, browser, 10_000),
        }
        for part, measure in parts.items():
            if given.only in (None, part):
                found[part] = measure()
                found.setdefault("load", {})[part] = [round(each, 1) for each in os.getloadavg()]
                print(part, json.dumps(found[part]), flush=True)
                given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        browser.close()


if __name__ == "__main__":
    main()

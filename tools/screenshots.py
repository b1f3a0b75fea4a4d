"""Make pictures of every screen of the studio, wide and narrow, light and dark, from the examples that come with it.

    python tools/screenshots.py [--out FOLDER] [--only NAME]

Needs Playwright and a Chromium (`apt install chromium`). `docs/images/studio.png` is `image-1280-light.png`.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WIDTHS = {1280: 800, 390: 844}
SCHEMES = ("light", "dark")


class Studio:
    """A studio of its own, and a page that is let in."""

    def __init__(self, home: Path, browser: Any) -> None:
        command = [sys.executable, "-m", "delaminate", "studio", "--no-browser"]
        environment = {**os.environ, "DELAMINATE_STUDIO": str(home), "PYTHONUNBUFFERED": "1"}
        started = home / "started-in"
        started.mkdir(parents=True)
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True, cwd=started
        )
        assert self.process.stdout is not None
        found = re.search(r"(http://127\.0\.0\.1:\d+)/\?token=([\w-]+)", self.process.stdout.readline())
        assert found, "the studio does not start"
        self.base = found[1]
        self.page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        self.page.set_default_timeout(60_000)
        self.page.goto(f"{self.base}/?token={found[2]}")

    def value(self, path: str) -> Any:
        """Ask the API."""
        answer = self.page.request.get(f"{self.base}/api/{path}")
        assert answer.ok, answer.text()
        return answer.json()

    def post(self, path: str, value: Any) -> Any:
        """Tell the API."""
        answer = self.page.request.post(f"{self.base}/api/{path}", data=value, headers={"origin": self.base})
        assert answer.ok, answer.text()
        return answer.json()

    def until(self, true: Callable[[], Any], seconds: float = 180) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "this takes too long"
            self.page.wait_for_timeout(200)

    def close(self) -> None:
        """End it, and the jobs that it has started."""
        for job in self.value("jobs")["jobs"]:
            if job["state"] in ("running", "paused"):
                self.post(f"jobs/{job['id']}/stop", {})
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def prepare(studio: Studio) -> dict[str, str]:
    """Open the examples, and let a training run: where each screen is."""
    opened = {each["name"]: studio.post(f"places/{each['id']}/open", {}) for each in studio.value("places")["examples"]}
    game, cells = opened["A game"], opened["Many things in an image"]
    images = {row["name"]: row["id"] for row in studio.value("projects")["projects"] if row["kind"] == "images"}
    job = studio.post("jobs", {"kind": "auto", "images": images["A game"], "minutes": 3})
    export = studio.post(f"projects/{game['id']}/exports", {"formats": ["png", "atlas"]})
    studio.until(lambda: studio.value(f"jobs/{export['id']}")["state"] != "running")
    now = f"jobs/{job['id']}"
    studio.until(lambda: studio.value(f"{now}/live")["count"] or studio.value(now)["state"] != "running")
    scene = studio.value(f"projects/{game['id']}/scenes?offset=30&limit=1")["scenes"][0]["id"]
    sprites = studio.value(f"projects/{game['id']}/sprites")["sprites"]
    used = max((each for each in sprites if not each["background"]), key=lambda each: each["layers"])["id"]
    return {
        "image": f"p/{game['id']}/image/{scene}", "sprites": f"p/{game['id']}/sprites/{used}",
        "paint": f"p/{game['id']}/paint/{used}", "take": f"p/{game['id']}/take",
        "look": f"p/{images['A game']}", "learn": f"job/{job['id']}", "cells": f"p/{cells['id']}/image",
        "pages": f"p/{opened['Pages']['id']}/sprites", "start": "",
    }  # fmt: skip


def shoot(studio: Studio, screens: dict[str, str], out: Path) -> list[str]:
    """Take the pictures; say which screens are wider than the window."""
    page, wide = studio.page, []
    for name, place in screens.items():
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            for width, height in WIDTHS.items():
                page.set_viewport_size({"width": width, "height": height})
                page.goto(f"{studio.base}/#/{place}")
                page.wait_for_timeout(300)
                page.wait_for_load_state("networkidle") if name != "learn" else page.wait_for_timeout(500)
                if name == "look":
                    page.wait_for_selector(".evidence")
                if name in ("image", "cells") and width > 900:
                    page.wait_for_selector(".canvas[data-ready]")
                    page.locator(".layer .pick").nth(1).click()
                if name == "sprites":
                    page.wait_for_selector(".doubt")
                page.wait_for_timeout(400)
                studio.until(
                    lambda: page.evaluate("[...document.images].every((e) => e.complete || e.loading === 'lazy')")
                )
                if page.evaluate("document.documentElement.scrollWidth") > width:
                    wide.append(f"{name} at {width}")
                page.screenshot(
                    path=out / f"{name}-{width}-{scheme}.png", full_page=name in ("start", "look", "take", "learn")
                )
    return wide


def main() -> None:
    """Make them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/screenshots"))
    parser.add_argument("--only", help="One screen.")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("screenshots: no Chromium. On Debian and Ubuntu: apt install chromium.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("screenshots: ended"))
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        studio = Studio(Path(home), browser)
        try:
            screens = prepare(studio)
            wide = shoot(studio, {given.only: screens[given.only]} if given.only else screens, given.out)
        finally:
            studio.close()
    if wide:
        sys.exit(f"screenshots: wider than the window: {', '.join(wide)}.")
    print(f"screenshots: {given.out}")


if __name__ == "__main__":
    main()

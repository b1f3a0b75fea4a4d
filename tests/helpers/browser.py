"""A page of a studio of its own, in Debian's Chromium by Playwright."""

import io
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from helpers.kills import Server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def launched():
    """A browser; the test is skipped where there is none."""
    sync = pytest.importorskip("playwright.sync_api", reason="needs Playwright").sync_playwright
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with sync() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Opened:
    """A page of a studio of its own; `wrong` holds what the browser complained of."""

    def __init__(self, browser, folder, home):
        self.folder = folder
        self.server = Server(folder, home)
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        name, value = self.server.cookie.split("=", 1)
        self.base = f"http://127.0.0.1:{self.server.port}"
        self.context.add_cookies([{"name": name, "value": value, "url": self.base}])
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.wrong, self.asked = [], []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda told: self.wrong.append(f"{told.text} {told.location}"))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def go(self, *parts):
        self.page.goto(f"{self.base}/#/p/{self.server.project}/{'/'.join(parts)}")

    def value(self, path):
        answer = self.page.request.get(f"{self.base}/api/projects/{self.server.project}{path}")
        assert answer.ok, answer.text()
        return answer.json()

    def revision(self, number):
        """Wait until the project is there, and the page has it."""
        self.until(lambda: self.value("")["revision"] == number, f"revision {number}")

    def until(self, true, what):
        for _ in range(200):
            if true():
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(what)

    def scene(self, index=0):
        return self.value(f"/scenes/{self.value('/scenes')['scenes'][index]['id']}")

    def layer(self, name):
        return next(each for each in self.scene()["layers"] if each["name"] == name)

    def shown(self):
        """The canvas's image, in the browser's own composite."""
        data = self.page.evaluate(
            "async () => { const canvas = document.querySelector('.canvas').stage.find('Image')[0].image();"
            " const blob = await new Promise((done) => canvas.toBlob(done));"
            " return [...new Uint8Array(await blob.arrayBuffer())]; }"
        )
        return np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB")).astype(int)

    def composite(self):
        scene = self.scene()
        answer = self.page.request.get(
            f"{self.base}/api/projects/{self.server.project}/scenes/{scene['id']}/composite.png"
        )
        return np.asarray(Image.open(io.BytesIO(answer.body())).convert("RGB")).astype(int)

    def close(self):
        self.context.close()
        self.server.kill()

"""Make the README's pictures of real output anew: python tools/pictures.py spots catalogue

`spots` draws fluorescent beads and counts them; `catalogue` draws pages of early print, finds their letters (minutes of one
core) and photographs the catalogue with Playwright and Chromium.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from delaminate import auto, export
from delaminate.data.reading import read_mask
from delaminate.exporters.html import PALETTE, colour_of
from delaminate.rng import numpy_stream

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

IMAGES = ROOT / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"


def spots(place: Path) -> None:
    """Two pictures of beads, and the objects found in them."""
    from ten_collections import beads

    folder, _ = beads(place / "beads")
    auto(folder, place / "out")
    rows = []
    for name in ("000.png", "001.png"):
        with Image.open(folder / name) as image:
            picture = np.asarray(image.convert("RGB")).astype(np.float32)
        labels = read_mask(place / "out" / "exports" / "objects" / "labels" / f"{name}.tif")
        colours = np.array([colour_of(number) for number in range(len(PALETTE))], np.uint8)
        shown = (picture * (255 / picture.max())).astype(np.uint8)
        found = np.where((labels > 0)[..., None], colours[labels % len(PALETTE)], np.uint8(244))
        rows += [shown, found.astype(np.uint8)]
    gap = np.full((rows[0].shape[0], 8, 3), 255, np.uint8)
    joined = np.concatenate([part for row in rows for part in (row, gap)][:-1], 1)
    Image.fromarray(joined).save(IMAGES / "spots.png", optimize=True)


def catalogue(place: Path) -> None:
    """The first cards of a catalogue of letters."""
    from early_print import PAGES, print_page, worn_types
    from playwright.sync_api import sync_playwright

    rng = numpy_stream("early print", 0)
    types = worn_types(rng)
    (place / "pages").mkdir(parents=True, exist_ok=True)
    for number in range(PAGES):
        Image.fromarray(print_page(types, rng)[0]).save(place / "pages" / f"page-{number + 1}.png")
    found = auto(place / "pages", place / "out")
    print(found.text)
    export(place / "out" / "scenes", place / "out", "catalogue", images=place / "pages")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 860}, device_scale_factor=1)
        page.goto((place / "out" / "catalogue" / "catalogue.html").as_uri())
        page.select_option("#sort", "count")
        page.locator("details > summary").first.click()
        page.locator(".controls").scroll_into_view_if_needed()
        page.evaluate("window.scrollTo(0, document.querySelector('.controls').offsetTop)")
        page.screenshot(path=IMAGES / "catalogue.png")
        browser.close()


MAKERS = {"spots": spots, "catalogue": catalogue}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="+", choices=list(MAKERS))
    parser.add_argument("--place", type=Path, help="Where the work is kept; default: nowhere.")
    options = parser.parse_args()
    for name in options.pictures:
        if options.place is not None:
            MAKERS[name](options.place / name)
            continue
        with tempfile.TemporaryDirectory() as folder:
            MAKERS[name](Path(folder))


if __name__ == "__main__":
    main()

"""Make the examples that come with the studio: draw images, take them apart by the library, and pack both.

    python tools/make_examples.py [NAME ...]

Everything is drawn here or by `delaminate.data.synthetic`, whose sprites are by Kenney (CC0); letters are
of Aileron (CC0), Pillow's own font. Each zip holds images/, scenes/ and cover.png; `examples.json` lists them.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from delaminate.data import draw
from delaminate.scene.loading import load_scenes
from delaminate.scene.scenes import Scene
from delaminate.studio.places import EXAMPLES

MOST = 4_000_000
"""Bytes of all examples together."""
TEXT = (
    "shall i compare thee to a summers day? thou art more lovely and more temperate. rough winds do shake the darling buds of "
    "may, and summers lease hath all too short a date. sometime too hot the eye of heaven shines, and often is his gold "
    "complexion dimmd; and every fair from fair sometime declines, by chance or natures changing course untrimmd. but thy "
    "eternal summer shall not fade, nor lose possession of that fair thou owst, nor shall death brag thou wanderst in his "
    "shade, when in eternal lines to time thou growst. so long as men can breathe or eyes can see, so long lives this, and "
    "this gives life to thee. "
)


def drawn(name: str, count: int) -> Callable[[Path], None]:
    """Images of a built-in set, one after another."""

    def write(folder: Path) -> None:
        images = draw(name, count, seed=7).images
        for index, pixels in enumerate(images.pixels):
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / f"{index:03d}.png", optimize=True)

    return write


def pages(folder: Path) -> None:
    """Pages of text, as from a print that wears: each letter a little worn, paper not quite white."""
    font = ImageFont.load_default(17)
    words = (TEXT * 4).split()
    for number in range(4):
        rng = np.random.default_rng(number)
        page, at = Image.new("L", (520, 680), 255), 0
        pen, there = ImageDraw.Draw(page), words[number * 60 :]
        for line in range(22):
            x = 44.0
            while at < len(there) and x + pen.textlength(there[at], font) < 476:
                for letter in there[at]:
                    pen.text((round(x), 48 + 26 * line), letter, 20, font)
                    x += round(pen.textlength(letter, font)) + 1
                x += 7
                at += 1
        ink = ndimage.gaussian_filter(np.asarray(page, np.float32), 0.5)
        worn = ink + rng.normal(0, 5, ink.shape) - 14
        Image.fromarray(worn.clip(0, 255).astype(np.uint8)).save(folder / f"page-{number + 1}.png", optimize=True)


def cells(folder: Path) -> None:
    """Bright spots on dark with the grain of light, as a fluorescence microscope shows nuclei."""
    for number in range(6):
        rng = np.random.default_rng(100 + number)
        y, x = np.mgrid[:256, :256]
        light = np.full((256, 256), 6.0)
        for _ in range(int(rng.integers(18, 34))):
            centre, axes, angle = rng.uniform(12, 244, 2), rng.uniform(6, 12, 2), rng.uniform(0, np.pi)
            dy, dx = y - centre[0], x - centre[1]
            along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
            inside = 1 / (1 + np.exp(8 * (np.hypot(along / axes[0], across / axes[1]) - 1)))
            texture = ndimage.gaussian_filter(rng.normal(0, 1, light.shape), 2)
            light = np.maximum(light, inside * rng.uniform(110, 200) * (1 + 1.2 * texture))
        seen = rng.poisson(light.clip(0)).clip(0, 255).astype(np.uint8)
        picture = np.stack([seen // 6, seen // 2, seen], 2)
        Image.fromarray(picture).save(folder / f"field-{number + 1}.png", optimize=True)


def automatically(images: Path, scenes: Path) -> None:
    """By `delaminate auto`."""
    out = scenes.parent / "auto"
    subprocess.run([sys.executable, "-m", "delaminate", "auto", str(images), "--out", str(out)], check=True)
    (out / "scenes").rename(scenes)


def by_model(model: str) -> Callable[[Path, Path], None]:
    """By a model of the box."""

    def run(images: Path, scenes: Path) -> None:
        subprocess.run(
            [sys.executable, "-m", "delaminate", "decompose", model, str(images), "--out", str(scenes)], check=True
        )

    return run


EXAMPLE = {
    "game": (
        "A game", "60 frames of a side-scroller. Repaint its player once, and every frame follows.",
        drawn("side-scroller", 60), automatically,
    ),
    "pages": ("Pages", "Four printed pages. Name their letters, and find every occurrence.", pages, automatically),
    "cells": (
        "Many things in an image", "Bright spots, as a microscope shows cells. Count them, throw out what is none.",
        cells, automatically,
    ),
    "blocks": (
        "Falling blocks", "32 pictures of the benchmark Tetrominoes. Swap, move and recolour pieces.",
        drawn("tetrominoes", 32), by_model("dti-sprites/tetrominoes"),
    ),
    "figures": (
        "One thing on many grounds", "24 figures on textures, each cut out of its picture.",
        drawn("objects-on-texture", 24), by_model("perturbgan/objects-on-texture"),
    ),
}  # fmt: skip


def cover(scenes: list[Scene]) -> bytes:
    """Four images, 320 x 240."""
    picture = Image.new("RGB", (320, 240))
    side = scenes[0].composite().shape[-1]
    count = 1 if side > 160 else 4
    for place in range(count):
        pixels = (scenes[place * (len(scenes) - 1) // max(count - 1, 1)].composite() * 255).round().byte()
        each = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        wide, high = (320, 240) if count == 1 else (160, 120)
        scale = max(wide / each.width, high / each.height)
        kind = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
        each = each.resize((round(each.width * scale), round(each.height * scale)), kind).crop((0, 0, wide, high))
        picture.paste(each, (160 * (place % 2), 120 * (place // 2)))
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    return data.getvalue()


def make(name: str) -> int:
    """Make an example; say how many bytes it takes."""
    _, _, write, take_apart = EXAMPLE[name]
    with tempfile.TemporaryDirectory() as place:
        images, scenes = Path(place) / "images", Path(place) / "scenes"
        images.mkdir()
        write(images)
        take_apart(images, scenes)
        shutil.rmtree(scenes / "residuals", ignore_errors=True)
        target = EXAMPLES / f"{name}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for folder in (images, scenes):
                for path in sorted(folder.rglob("*")):
                    if path.is_file() and not path.name.startswith("journal"):
                        entry = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}")
                        entry.compress_type = zipfile.ZIP_DEFLATED
                        archive.writestr(entry, path.read_bytes())
            archive.writestr(zipfile.ZipInfo("cover.png"), cover(list(load_scenes(scenes))))
    return target.stat().st_size


def main() -> None:
    """Make the examples that are named, else all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args().names or list(EXAMPLE)
    EXAMPLES.mkdir(exist_ok=True)
    for name in names:
        print(f"{name}: {make(name):,} bytes", flush=True)
    rows = [{"name": name, "title": title, "about": about} for name, (title, about, *_) in EXAMPLE.items()]
    (EXAMPLES / "examples.json").write_text(json.dumps({"examples": rows}, indent=1) + "\n", encoding="utf-8")
    total = sum(path.stat().st_size for path in EXAMPLES.glob("*.zip"))
    if total > MOST:
        sys.exit(f"the examples take {total:,} bytes; expected at most {MOST:,}.")


if __name__ == "__main__":
    main()

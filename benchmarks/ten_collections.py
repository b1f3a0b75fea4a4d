"""Ten collections that no preset was made for, each through `delaminate auto` and nothing else.

    python benchmarks/ten_collections.py                        # all; one after another, resumable
    python benchmarks/ten_collections.py --only clock --out /tmp/ten

Five are real (folders of DELAMINATE_DATA), five are drawn here, unlike all drawn sets of the package. What is recorded: what it
was taken for, the level and the words it ended with, sprites found of those that were drawn (alpha IoU 0.9 at the best shift),
minutes, remarks. Pictures are in OUT/NAME/report.html.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from delaminate import auto
from delaminate.bench.run import machine
from delaminate.data.synthetic.digits import read_idx
from delaminate.scene.loading import load_scenes

RESULT = Path(__file__).parent / "results" / "ten-collections.json"
MINUTES = 10.0


def data() -> Path:
    return Path(os.environ["DELAMINATE_DATA"])


def save(pictures: list[Image.Image], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:03d}.png")
    return folder


# ---- Five that are drawn: what they are made of, as alphas ------------------------------------------------------------


def polygons(folder: Path) -> tuple[Path, list[np.ndarray]]:
    """Antialiased polygons, turned and scaled, on paper."""
    rng = np.random.default_rng(0)
    colours = [(220, 60, 60), (60, 160, 220), (90, 190, 80), (230, 190, 50)]

    def corners(sides: int, centre: np.ndarray, radius: float, turn: float) -> list[tuple[float, float]]:
        return [
            (
                centre[0] + radius * math.cos(turn + 2 * math.pi * j / sides),
                centre[1] + radius * math.sin(turn + 2 * math.pi * j / sides),
            )
            for j in range(sides)
        ]

    pictures = []
    for _ in range(60):
        image = Image.new("RGB", (480, 480), (245, 243, 236))
        draw = ImageDraw.Draw(image)
        for _ in range(int(rng.integers(2, 5))):
            sides, radius = int(rng.choice([3, 4])), float(rng.integers(50, 90))
            draw.polygon(
                corners(sides, rng.integers(90, 390, 2), radius, rng.random() * 6.28), fill=colours[rng.integers(4)]
            )
        pictures.append(image.resize((160, 160), Image.Resampling.BOX))
    return save(pictures, folder), []


def clock(folder: Path) -> tuple[Path, list[np.ndarray]]:
    """A digital clock whose digits change, over a still gradient: a clip."""
    lit = {
        "0": "abcdef",
        "1": "bc",
        "2": "abged",
        "3": "abgcd",
        "4": "fgbc",
        "5": "afgcd",
        "6": "afgedc",
        "7": "abc",
        "8": "abcdefg",
        "9": "abcdfg",
    }
    boxes = {
        "a": (2, 0, 12, 3), "b": (12, 2, 15, 13), "c": (12, 15, 15, 26), "d": (2, 25, 12, 28), "e": (0, 15, 3, 26),
        "f": (0, 2, 3, 13), "g": (2, 12, 12, 16),
    }  # fmt: skip
    shapes = []
    for segments in lit.values():
        shape = np.zeros((28, 15), bool)
        for name in segments:
            left, top, right, bottom = boxes[name]
            shape[top:bottom, left:right] = True
        shapes.append(shape)
    ramp = np.linspace(20, 70, 120)
    ground = (
        np.stack([np.tile(ramp, (60, 1)), np.tile(ramp[::-1], (60, 1)), np.full((60, 120), 60.0)], -1)
        .round()
        .astype(np.uint8)
    )
    pictures = []
    for minute in range(90):
        frame = ground.copy()
        for place, digit in enumerate(f"{7 + minute // 60:02d}{minute % 60:02d}"):
            frame[16:44, 8 + place * 27 :][:, :15][shapes[int(digit)]] = (250, 120, 40)
        pictures.append(Image.fromarray(frame))
    return save(pictures, folder), shapes


def desktop(folder: Path) -> tuple[Path, list[np.ndarray]]:
    """Screens of a desktop: icons at places of a lattice, each screen with others, no two screens alike."""
    rng = np.random.default_rng(1)
    icons = []
    for number in range(7):
        icon = np.zeros((24, 24, 4), np.uint8)
        half = rng.integers(0, 4, (24, 12))
        pattern = np.concatenate([half, half[:, ::-1]], 1)
        colours = rng.integers(30, 240, (4, 3))
        inside = np.hypot(*(np.mgrid[:24, :24] - 11.5)) < 11 - (number % 3)
        block = pattern[::3, ::3].repeat(3, 0).repeat(3, 1)
        icon[..., :3] = colours[block]
        icon[..., 3] = inside * 255
        icons.append(icon)
    pictures = []
    for _ in range(24):
        screen = np.full((180, 260, 3), (52, 92, 120), np.uint8)
        for row in range(4):
            for column in range(6):
                if rng.random() < 0.5:
                    icon = icons[rng.integers(7)]
                    top, left = 8 + row * 42, 10 + column * 42
                    window = screen[top : top + 24, left : left + 24]
                    window[icon[..., 3] > 0] = icon[icon[..., 3] > 0][:, :3]
        pictures.append(Image.fromarray(screen))
    return save(pictures, folder), [icon[..., 3] > 0 for icon in icons]


def fireworks(folder: Path) -> tuple[Path, list[np.ndarray]]:
    """A GIF: three rockets of exact pixels rise over a night sky with stars that stay."""
    rng = np.random.default_rng(2)
    sky = np.full((120, 160, 3), (8, 10, 30), np.uint8)
    for y, x in zip(rng.integers(0, 90, 60), rng.integers(0, 160, 60), strict=True):
        sky[y, x] = rng.integers(120, 255)
    shapes, colours = [], []
    for _ in range(3):
        shape = rng.random((9, 5)) < 0.8
        shape = np.concatenate([shape, shape[:, ::-1][:, 1:]], 1)
        shape[0, :3] = shape[0, -3:] = False
        shape[0, 4] = True
        shapes.append(shape)
        colours.append(rng.integers(90, 255, (*shape.shape, 3)).astype(np.uint8))
    frames = []
    for t in range(60):
        frame = sky.copy()
        for number, (shape, colour) in enumerate(zip(shapes, colours, strict=True)):
            top, left = (
                110 - (2 + number) * ((t + 17 * number) % 50),
                20 + 50 * number + round(6 * math.sin(t / 5 + number)),
            )
            rows = slice(max(top, 0), min(top + shape.shape[0], 120))
            cut = shape[rows.start - top : rows.stop - top]
            frame[rows, left : left + shape.shape[1]][cut] = colour[rows.start - top : rows.stop - top][cut]
        frames.append(Image.fromarray(frame))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fireworks.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50, loop=0)
    return path, shapes


def beads(folder: Path) -> tuple[Path, list[np.ndarray]]:
    """Fluorescent beads of one colour, dim to bright, some touching, with grain."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:256, :256]
    pictures = []
    for _ in range(20):
        light = np.full((256, 256), 4.0)
        for _ in range(int(rng.integers(15, 40))):
            y, x = rng.uniform(12, 244, 2)
            radius, peak = rng.uniform(6, 10), rng.uniform(40, 160)
            light += peak / (1 + np.exp(2 * (np.hypot(rows - y, columns - x) - radius)))
        counts = rng.poisson(light).clip(0, 255).astype(np.uint8)
        pictures.append(Image.fromarray(np.stack([np.zeros_like(counts), counts, np.zeros_like(counts)], -1)))
    return save(pictures, folder), []


# ---- Five that are real -----------------------------------------------------------------------------------------------


def digits(folder: Path) -> tuple[Path, list[np.ndarray]]:
    """200 handwritten digits: things alike in kind, no two equal."""
    images = read_idx(next((data() / "mnist").glob("train-images*")))[:200]
    return save([Image.fromarray(np.asarray(image)) for image in images], folder), []


def real(name: str) -> Callable[[Path], tuple[Path, list[np.ndarray]]]:
    return lambda folder: (data() / name, [])


COLLECTIONS: dict[str, Callable[[Path], tuple[Path, list[np.ndarray]]]] = {
    "polygons": polygons,
    "clock": clock,
    "desktop": desktop,
    "fireworks": fireworks,
    "beads": beads,
    "bullets": real("cases_games/m16_bullets.gif"),
    "nuclei": real("dsb2018_nuclei/images"),
    "pages": real("text_goethe1809/images"),
    "anything": real("ecssd/images"),
    "digits": digits,
}


def found_of(scenes: Path, shapes: list[np.ndarray]) -> int | None:
    """How many of the drawn shapes are sprites, by alpha IoU at the best shift."""
    if not shapes or not (scenes / "summary.json").exists():
        return None
    dictionary = load_scenes(scenes).dictionary
    alphas = [
        (dictionary.sprites[k][3] > 0.5).numpy() for k in range(len(dictionary)) if k not in dictionary.backgrounds
    ]
    return sum(max((overlap(shape, alpha) for alpha in alphas), default=0.0) >= 0.9 for shape in shapes)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """IoU at the best shift, mirrored or not."""
    size = [a + b for a, b in zip(one.shape, other.shape, strict=True)]
    best = 0.0
    for flipped in (other, other[:, ::-1]):
        product = np.fft.irfft2(np.fft.rfft2(one, size) * np.fft.rfft2(flipped[::-1, ::-1], size), size).max()
        best = max(best, float(product / (one.sum() + other.sum() - product)))
    return best


def one(name: str, place: Path) -> dict[str, Any]:
    images, shapes = COLLECTIONS[name](place / name / "images")
    begin, cpu = time.perf_counter(), time.process_time()
    result = auto(images, place / name / "out", minutes=MINUTES)
    place_of_data = str(data())

    def plainly(text: str) -> str:
        return text.replace(place_of_data, "DELAMINATE_DATA")

    return {
        "name": name, "kind": result.recognition.kind, "level": result.level, "finished": result.finished,
        "drawn": len(shapes) or None, "found": found_of(place / name / "out" / "scenes", shapes), "text": plainly(result.text),
        "evidence": list(result.recognition.evidence), "remarks": list(map(plainly, result.remarks)),
        "minutes": round((time.perf_counter() - begin) / 60, 2), "cpu_minutes": round((time.process_time() - cpu) / 60, 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(COLLECTIONS), default=list(COLLECTIONS))
    parser.add_argument("--place", type=Path, default=Path("runs/ten-collections"))
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    record = json.loads(options.out.read_text()) if options.out.exists() else {"rows": []}
    for name in options.only:
        row = one(name, options.place)
        print(json.dumps({key: value for key, value in row.items() if key not in ("evidence", "remarks")}), flush=True)
        rows = [*(each for each in record["rows"] if each["name"] != name), row]
        rows.sort(key=lambda each: list(COLLECTIONS).index(each["name"]))
        record = {
            "command": "python benchmarks/ten_collections.py",
            "minutes": MINUTES,
            "machine": machine(),
            "rows": rows,
        }
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Pages of a book, read by glyphs that were learned from one of them: how much is explained, how well, in how many bytes.

    python benchmarks/pages.py                 # three training pages; writes benchmarks/results/pages-SEED.json
    python benchmarks/pages.py --seeds 0 --pages 4

The pages are those of `text-goethe1809`; the last 20 that were scanned at the book's own size are judged, the training page is
drawn among the others. Beside the glyphs stand the connected components of ink, which learn nothing. Bytes are the length of
an adaptive arithmetic code, not of a file: sprites, shared by the judged pages; placements; and what turns the rebuilt page
into the page itself, pixel by pixel, without loss. `cjb2` (DjVuLibre) writes files, each page for itself; it is left out where
it is not installed.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from scipy.special import gammaln

from delaminate.bench.run import machine
from delaminate.config import to_dict
from delaminate.data import LabelledSet, load_benchmark
from delaminate.engine import Budget, train
from delaminate.methods.marionette import MarioNette
from delaminate.metrics.boxes import Box, BoxMatches, box_iou
from delaminate.metrics.images import ink_explained
from delaminate.pipelines.training import resolve_config
from delaminate.scene.decomposition import Decomposition

RESULTS = Path(__file__).parent / "results"
JUDGED = 20
READ = 0.5
"""A connected region of ink counts as read if sprites cover more than this share of it."""


def learn(page: torch.Tensor, seed: int) -> tuple[MarioNette, float]:
    """Learn glyphs from one page; also return the seconds it took."""
    config = resolve_config(MarioNette, "text-pages", None, {"search_steps": 1, "search_batch": 1})
    model = MarioNette(MarioNette.fill_config(config, page), seed)
    began = time.perf_counter()
    train(model, page, seed=seed, budget=Budget(minutes=20))
    return model, time.perf_counter() - began


# --- bits -------------------------------------------------------------------------------------------------------------


def adaptive_bits(symbols: np.ndarray, count: int, contexts: np.ndarray | None = None) -> float:
    """Length of an adaptive code (Krichevsky and Trofimov, 1981) of symbols below `count`, learned as it goes."""
    contexts = np.zeros_like(symbols) if contexts is None else contexts
    pairs, counts = np.unique(contexts.astype(np.int64) * count + symbols, return_counts=True)
    _, where = np.unique(pairs // count, return_inverse=True)
    totals = np.bincount(where, weights=counts)
    nats = (gammaln(totals + count / 2) - gammaln(count / 2)).sum() - (gammaln(counts + 0.5) - gammaln(0.5)).sum()
    return float(nats / np.log(2))


def _neighbours(picture: np.ndarray, steps: list[tuple[int, int]], first: int = 0) -> np.ndarray:
    """Some neighbours of every pixel as one number; steps go down and right."""
    wide = np.pad(picture.astype(np.int64), 2)
    total = np.zeros(picture.shape, np.int64)
    for bit, (down, right) in enumerate(steps):
        total |= wide[2 + down :, 2 + right :][: picture.shape[0], : picture.shape[1]] << (bit + first)
    return total


BEFORE = [
    (-2, -1),
    (-2, 0),
    (-2, 1),
    (-1, -2),
    (-1, -1),
    (-1, 0),
    (-1, 1),
    (-1, 2),
    (0, -2),
    (0, -1),
]  # JBIG's template
NEAR = [(-1, 0), (-1, 1), (-1, -1), (0, -1)]
AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def picture_bits(picture: np.ndarray) -> float:
    """Bits of a picture of ink, each pixel told by ten before it."""
    return adaptive_bits(picture.ravel().astype(np.int64), 2, _neighbours(picture, BEFORE).ravel())


def residual_bits(ink: np.ndarray, shown: np.ndarray) -> float:
    """Bits of a page where what sprites show is known: each pixel is told by four before it and nine shown (as in JBIG2)."""
    contexts = _neighbours(ink, NEAR) | _neighbours(shown, AROUND, len(NEAR))
    return adaptive_bits(ink.ravel().astype(np.int64), 2, contexts.ravel())


def placement_bits(places: np.ndarray, sprites: int) -> float:
    """Bits of placements (entry, left, top, width, height): which, and how far from the end of the one before."""
    if len(places) == 0:
        return 0.0
    lines = np.cumsum(np.diff(np.sort(places[:, 2] + places[:, 4]), prepend=0) > 6)
    line = lines[np.argsort(np.argsort(places[:, 2] + places[:, 4], kind="stable"), kind="stable")]
    places = places[np.lexsort((places[:, 1], line))]
    across = places[1:, 1] - (places[:-1, 1] + places[:-1, 3])
    down = (places[1:, 2] + places[1:, 4]) - (places[:-1, 2] + places[:-1, 4])
    bits = adaptive_bits(places[:, 0], sprites) + 24.0
    for steps in (across, down):
        far = np.abs(steps) > 31
        bits += adaptive_bits(np.where(far, 63, steps.clip(-31, 31) + 31), 64) + 12.0 * int(far.sum())
    return bits


def jb2_bytes(ink: np.ndarray) -> int | None:
    """Bytes of a page in a DjVu file by `cjb2`, without loss."""
    if shutil.which("cjb2") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        page, file = Path(folder) / "page.pbm", Path(folder) / "page.djvu"
        page.write_bytes(b"P4\n%d %d\n" % ink.shape[::-1] + np.packbits(ink, axis=1).tobytes())
        subprocess.run(["cjb2", "-dpi", "300", str(page), str(file)], check=True, capture_output=True)
        return file.stat().st_size


# --- judging ----------------------------------------------------------------------------------------------------------


def characters(boxes: tuple[Box, ...], places: np.ndarray) -> list[str]:
    """Of every placement the character whose box it is at an IoU of 0.5; empty: none."""
    if not len(boxes) or not len(places):
        return [""] * len(places)
    iou = box_iou(places[:, 1:].astype(np.float64), np.array([box[1:] for box in boxes], dtype=np.float64))
    return [boxes[n][0] if best >= 0.5 else "" for n, best in zip(iou.argmax(1), iou.max(1), strict=True)]


def placed(found: Decomposition) -> np.ndarray:
    """Sprites on a page: entry, left, top, width and height in pixels."""
    rows = []
    for placement in found.images[0][1:]:
        height, width = found.dictionary.sprites[placement.entry].shape[1:]
        left, top = (round(placement.transforms[0].parameters[n]) for n in (2, 5))
        rows.append((placement.entry, left, top, width, height))
    return np.array(rows, dtype=np.int64).reshape(-1, 5)


def judge(model: MarioNette, pages: LabelledSet, rows: list[int]) -> dict[str, float]:
    """Read pages and compare with what is known of them."""
    boxes, inked, read = BoxMatches(), [0, 0], [0, 0]
    classes: dict[int, Counter[str]] = {}
    bits, seconds, extra = Counter[str](), 0.0, 0
    assert pages.labels.boxes is not None and pages.labels.ink is not None
    for row in rows:
        image = pages.images.batch([row])
        began = time.perf_counter()
        found = model.decompose(image)
        seconds += time.perf_counter() - began
        instances = found.labels()[0][0].numpy()
        boxes.update(pages.labels.boxes[row], (), instances)
        inked = [a + b for a, b in zip(inked, ink_explained(image, found.composite(), pages.labels.ink), strict=True)]
        ink, shown, places = image[0].mean(0).numpy() < pages.labels.ink, instances > 0, placed(found)
        extra += int((shown & ~ink).sum())
        regions, count = ndimage.label(ink, np.ones((3, 3)))
        area, covered = (
            np.bincount(regions.ravel(), minlength=count + 1),
            np.bincount(regions[shown], minlength=count + 1),
        )
        read = [read[0] + int(area[1:][covered[1:] > READ * area[1:]].sum()), read[1] + int(area[1:].sum())]
        for entry, character in zip(places[:, 0], characters(pages.labels.boxes[row], places), strict=True):
            if character:
                classes.setdefault(int(entry), Counter())[character] += 1
        bits["placements"] += placement_bits(places, model.store.count)
        bits["residual"] += residual_bits(ink, shown)
        bits["pixels"] += picture_bits(ink)
    sprites = sum(picture_bits(sprite.alpha) for sprite in model.store.sheet().sprites)
    named = [count for each in classes.values() for count in each.values()]
    told = bits["placements"] + bits["residual"] + sprites
    return {
        **{key: round(value, 4) for key, value in boxes.figures().items()},
        "ink_explained": round(inked[0] / inked[1], 4),
        "ink_read": round(read[0] / read[1], 4),
        "paper_inked": round(extra / inked[1], 4),
        "purity": round(sum(max(each.values()) for each in classes.values()) / max(sum(named), 1), 4),
        "classes_used": len(classes),
        "bytes_a_page": round(told / 8 / len(rows)),
        "bytes_sprites": round(sprites / 8 / len(rows)),
        "bytes_placements": round(bits["placements"] / 8 / len(rows)),
        "bytes_residual": round(bits["residual"] / 8 / len(rows)),
        "bytes_without_sprites": round(bits["pixels"] / 8 / len(rows)),
        "seconds_a_page": round(seconds / len(rows), 2),
    }


def components(pages: LabelledSet, rows: list[int]) -> dict[str, float | None]:
    """The same figures of connected components, which learn nothing; and of `cjb2`."""
    boxes, sizes = BoxMatches(), []
    assert pages.labels.boxes is not None and pages.labels.ink is not None
    for row in rows:
        ink = pages.images.batch([row])[0].mean(0).numpy() < pages.labels.ink
        boxes.update(pages.labels.boxes[row], (), ndimage.label(ink, np.ones((3, 3)))[0].astype(np.int64))
        sizes.append(jb2_bytes(ink))
    told = [size for size in sizes if size is not None]
    return {
        **{key: round(value, 4) for key, value in boxes.figures().items()},
        "bytes_a_page_cjb2": round(sum(told) / len(told)) if told else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pages", type=int, default=JUDGED, help="pages that are judged; of fewer nothing is written")
    asked = parser.parse_args()
    pages = load_benchmark("text-goethe1809")
    own = [n for n, frame in enumerate(pages.images.canvas_maps) if frame.is_identity]
    rows, others = own[-asked.pages :], own[:-JUDGED]
    ink = {n: int((pages.images.pixels[n].float().mean(0) < 128).sum()) for n in others}
    full = [n for n in others if 2 * ink[n] >= np.median(list(ink.values()))]
    order = np.random.default_rng(0).permutation(len(full))  # every seed another page
    baseline = components(pages, rows)
    print(f"{'':22}{'precision':>10}{'recall':>8}{'F1':>8}{'ink':>8}{'read':>8}{'purity':>8}{'bytes':>8}", flush=True)
    print(f"{'connected components':22}" + _row(baseline) + f"{'':24}{baseline['bytes_a_page_cjb2'] or '-':>8} (cjb2)")
    for seed in asked.seeds:
        chosen = full[int(order[seed % len(full)])]
        model, seconds = learn(pages.images.pixels[[chosen]], seed)
        figures = judge(model, pages, rows)
        name = pages.images.names[chosen]
        shown = "".join(f"{figures[key]:8.3f}" for key in ("ink_explained", "ink_read", "purity"))
        print(
            f"{f'learned from {name}':22}" + _row(figures) + shown + f"{figures['bytes_a_page']:8}", figures, flush=True
        )
        record: dict[str, Any] = {
            "about": "glyphs learned from one page, judged on other pages of the book",
            "command": f"python benchmarks/pages.py --seeds {seed}",
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "training_page": name,
            "judged_pages": [pages.images.names[n] for n in rows],
            "train_seconds": round(seconds, 1),
            "sprites": model.store.count,
            "figures": figures,
            "connected_components": baseline,
            "config": to_dict(model.config),
        }
        if asked.pages == JUDGED:
            (RESULTS / f"pages-{seed}.json").write_text(json.dumps(record, indent=1) + "\n")


def _row(figures: dict[str, Any]) -> str:
    return f"{figures['box_precision']:10.3f}{figures['box_recall']:8.3f}{figures['box_f1']:8.3f}"


if __name__ == "__main__":
    main()

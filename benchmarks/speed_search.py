"""How long search takes on a clip of a game: 200 frames of 256 x 240 pixels, 60 sprites, 100 tiles.

    python benchmarks/speed_search.py --seed 0 --out benchmarks/results/speed-search-0.json
    python benchmarks/speed_search.py --frames 400          # is it linear in frames?

The clip is drawn: a map of tiles of 16 pixels, over which the camera scrolls, and blobs of 8 to 24 pixels, twelve at a time,
that cross it. It is learned by `train` with default settings in a process of its own. Measured: wall clock, processor time,
the largest memory, sprites learned, and how many of the drawn sprites, seen whole in four frames at least, are among them.
"""

import argparse
import itertools
import json
import resource
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from delaminate import train
from delaminate.bench.run import machine

HEIGHT, WIDTH, SIDE = 240, 256, 16
AT_ONCE = 12


def draw_tiles(rng: np.random.Generator, count: int) -> np.ndarray:
    """Tiles (count, 16, 16, 3) of three colours each, in squares of two pixels."""
    palette = rng.integers(20, 256, (12, 3)).astype(np.uint8)
    few = np.array([rng.choice(12, 3, replace=False) for _ in range(count)])
    fields = rng.integers(0, 3, (count, SIDE // 2, SIDE // 2)).repeat(2, 1).repeat(2, 2)
    return palette[np.take_along_axis(few, fields.reshape(count, -1), 1).reshape(fields.shape)]


def draw_sprite(rng: np.random.Generator) -> np.ndarray:
    """A blob (h, w, 4) of three colours with a dark outline."""
    height, width = rng.integers(8, 25, 2)
    y, x = np.mgrid[:height, :width]
    radius = np.hypot((y - (height - 1) / 2) / (height / 2), (x - (width - 1) / 2) / (width / 2))
    bumps = ndimage.gaussian_filter(rng.normal(size=(height, width)), 1.5)
    labels, _ = ndimage.label(radius + 0.2 * bumps / bumps.std() < 0.95)
    shape = labels == 1 + np.argmax(ndimage.sum(labels > 0, labels, range(1, labels.max() + 1)))
    fields = np.argmax([ndimage.gaussian_filter(rng.normal(size=shape.shape), 1.2) for _ in range(3)], 0)
    rgba = np.dstack([rng.integers(60, 256, (3, 3)).astype(np.uint8)[fields], np.where(shape, 255, 0)]).astype(np.uint8)
    rgba[shape & ~ndimage.binary_erosion(shape), :3] //= 4
    rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def draw_clip(seed: int, frames: int, sprites: int, tiles: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The frames (N, 240, 256, 3), and the sprites that at least four of them show whole."""
    rng = np.random.default_rng([7, seed])
    pictures, drawn = draw_tiles(rng, tiles), [draw_sprite(rng) for _ in range(sprites)]
    shares = 1 / np.arange(1, tiles + 1) ** 0.7
    cells = rng.choice(tiles, (HEIGHT // SIDE, 3 * WIDTH // SIDE), p=shares / shares.sum())
    world = np.concatenate([np.concatenate([pictures[n] for n in row], 1) for row in cells], 0)
    camera = np.abs(
        (2 * np.arange(frames) + world.shape[1]) % (2 * (world.shape[1] - WIDTH)) - (world.shape[1] - WIDTH)
    )
    clip = np.stack([world[:, x : x + WIDTH] for x in camera])
    seen = np.zeros(sprites, np.int64)
    length = max(frames * AT_ONCE // sprites, 5)  # frames for which each is there
    order = itertools.cycle(rng.permutation(sprites).tolist())
    for _ in range(AT_ONCE):
        for start in range(-int(rng.integers(0, length)), frames, length):
            number = next(order)
            top, left = rng.uniform(0, HEIGHT - 24), rng.uniform(0, WIDTH - 24)
            down, right = rng.uniform(-1, 1), rng.choice((-1, 1)) * rng.uniform(0.5, 2.5)
            for now in range(max(start, 0), min(start + length, frames)):
                y, x = int(top + down * (now - start)), int(left + right * (now - start))
                raster = drawn[number] if right > 0 else drawn[number][:, ::-1]
                rows = slice(max(-y, 0), max(min(raster.shape[0], HEIGHT - y), 0))
                columns = slice(max(-x, 0), max(min(raster.shape[1], WIDTH - x), 0))
                part = raster[rows, columns]
                if part.size:
                    y, x = y + rows.start, x + columns.start
                    there = clip[now, y : y + part.shape[0], x : x + part.shape[1]]
                    there[part[..., 3] > 0] = part[part[..., 3] > 0, :3]
                    seen[number] += part.shape == raster.shape
    return clip, [sprite for sprite, count in zip(drawn, seen, strict=True) if count >= 4]


def is_found(sprite: np.ndarray, learned: list[np.ndarray]) -> bool:
    """Whether one of the learned rasters has the sprite's alpha, mirrored or not, up to 5 % of its pixels."""
    alpha = sprite[..., 3] > 0
    for other in (raster[..., 3] > 127 for raster in learned):
        if max(abs(a - b) for a, b in zip(alpha.shape, other.shape, strict=True)) <= 1:
            size = [max(a, b) for a, b in zip(alpha.shape, other.shape, strict=True)]
            mine, theirs = (
                np.pad(each, [(0, n - m) for n, m in zip(size, each.shape, strict=True)]) for each in (alpha, other)
            )
            if max((mine & t).sum() / (mine | t).sum() for t in (theirs, theirs[:, ::-1])) >= 0.95:
                return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--sprites", type=int, default=60)
    parser.add_argument("--tiles", type=int, default=100)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    clip, sprites = draw_clip(options.seed, options.frames, options.sprites, options.tiles)
    started, busy = time.monotonic(), time.process_time()
    run = train(list(clip), "marionette")
    wall, busy = time.monotonic() - started, time.process_time() - busy
    assert run.verdict is not None
    learned = [s.permute(1, 2, 0).mul(255).round().byte().numpy() for s in run.model.dictionary().sprites[:-1]]
    figures = {
        "seconds": round(wall, 1),
        "processor_seconds": round(busy, 1),
        "megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "background": run.model.background_kind,
        "learned": len(learned),
        "true": len(sprites),
        "found": sum(is_found(sprite, learned) for sprite in sprites),
        "explained": run.verdict.figures.get("explained"),
        "psnr": run.verdict.figures["psnr"],
    }
    words = {key: value for key, value in vars(options).items() if key != "out"}
    record = {
        "script": "benchmarks/speed_search.py",
        "options": words,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
    }
    print(json.dumps(figures))
    if options.out is not None:
        options.out.write_text(json.dumps(record | figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

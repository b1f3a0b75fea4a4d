"""Maps drawn of tiles whose size, origin, orientations and palettes are random: how many come back to the byte.

    python benchmarks/drawn_maps.py            # writes benchmarks/results/drawn-maps.json

Each map is exported for Tiled and drawn again from the files by a reader of their own (pytiled-parser and tests/helpers).
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.maps import draw_map
from helpers.tiled_reader import draw_tiled, open_map

from delaminate.bench.run import machine
from delaminate.exporters.tiled import write_tiled
from delaminate.files import from_pixels
from delaminate.matching.tiles import draw, find_tiles
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform

RESULT = Path(__file__).parent / "results" / "drawn-maps.json"
TILES, CELLS = 14, 15  # of a map, and along each side


def decomposition(picture: np.ndarray) -> Decomposition:
    """A scene that is nothing but its background."""
    size = (picture.shape[0], picture.shape[1])
    sprite = from_pixels(np.concatenate([picture, np.full((*size, 1), 255, np.uint8)], -1))
    placement = Placement(0, (Transform.shift(0, 0, size),))
    return Decomposition(Dictionary((sprite,), (0,)), ((placement,),), size, background=True)


def one(seed: int) -> dict[str, bool]:
    """Draw a map, export it, read it."""
    rng = np.random.Generator(np.random.PCG64(seed))
    side = int(rng.integers(16, 65))
    size = (side, side if seed % 4 else int(rng.integers(16, 65)))
    drawn = draw_map(rng, size, (CELLS * size[0], CELLS * size[1]), TILES)
    with tempfile.TemporaryDirectory() as folder:
        write_tiled(decomposition(drawn.picture).scenes(["map"]), folder)
        found = open_map(Path(folder) / "map.tmx")
        pixels = np.rint(draw_tiled(found) * 255).astype(np.uint8)
        tiled = (Path(folder) / "tiles.png").exists()
    right = tiled and (found.tile_size.height, found.tile_size.width) == size
    return {"equal": bool((pixels == drawn.picture).all()), "size": bool(right)}


def seconds(repeats: int) -> float:
    """The median CPU time of taking a map of 2560 x 2048 apart."""
    rng = np.random.Generator(np.random.PCG64(0))
    picture = draw_map(rng, (32, 32), (2048, 2560), 120).picture
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        grid = find_tiles(picture[None])
        times.append(time.process_time() - begin)
        assert grid is not None and (draw(grid)[0] == picture).all()
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = [one(seed) for seed in range(options.maps)]
    result = {
        "command": "python benchmarks/drawn_maps.py",
        "date": time.strftime("%Y-%m-%d"),
        "maps": options.maps,
        "byte_equal": sum(each["equal"] for each in found),
        "tiles_of_the_right_size": sum(each["size"] for each in found),
        "median_cpu_seconds_2560x2048": round(seconds(options.repeats), 3),
        "machine": machine(),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

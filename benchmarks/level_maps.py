"""Maps of real games, as people share them: how many come apart into tiles, into how many, and back to the bit.

    git clone https://github.com/TheVGLC/TheVGLC
    python benchmarks/level_maps.py TheVGLC        # writes benchmarks/results/level-maps.json

The Video Game Level Corpus (Summerville et al., 2016) has pictures of the levels of eight games. Nothing of it is part of
this project. `map` says whether `delaminate auto` takes a picture for a map by itself.
"""

import argparse
import collections
import datetime
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from delaminate.bench.run import machine
from delaminate.matching.tiles import draw, find_tiles
from delaminate.pipelines.recognise import recognise

RESULT = Path(__file__).parent / "results" / "level-maps.json"
MOST_PIXELS = 12_000_000
"""Of a picture that is looked at: sheets of all levels together are left out."""


def one(path: Path, root: Path) -> dict[str, Any] | None:
    """Take a picture apart and draw it again."""
    with Image.open(path) as image:
        if image.width * image.height > MOST_PIXELS:
            return None
        picture = np.asarray(image.convert("RGB"))
    began = time.process_time()
    grid = find_tiles(picture[None])
    seconds = time.process_time() - began
    row: dict[str, Any] = {
        "picture": str(path.relative_to(root)),
        "seconds": round(seconds, 2),
        "map": recognise(path).kind == "maps",
    }
    if grid is None:
        return row | {"size": None}
    equal = bool((draw(grid)[0] == picture).all())
    shown = int((grid.cells >= 0).sum())
    return row | {"size": list(grid.size), "tiles": len(grid.tiles), "cells": shown, "equal": equal}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in (".png", ".gif"))
    rows = [row for row in (one(path, options.folder) for path in paths) if row is not None]
    games = collections.defaultdict(list)
    for row in rows:
        games[row["picture"].split("/")[0]].append(row)
    summary = {
        game: {
            "pictures": len(some),
            "lattices": sum(row["size"] is not None for row in some),
            "maps": sum(row["map"] for row in some),
            "equal": sum(row.get("equal", False) for row in some),
            "sizes": dict(collections.Counter(str(row["size"]) for row in some)),
            "median_seconds": statistics.median(row["seconds"] for row in some),
        }
        for game, some in games.items()
    }
    record = {
        "command": "python benchmarks/level_maps.py TheVGLC", "date": datetime.date.today().isoformat(),
        "machine": machine("cpu"), "games": summary, "rows": rows,
    }  # fmt: skip
    RESULT.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()

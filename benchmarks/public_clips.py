"""Clips as people publish them, each through `delaminate auto` with its defaults: what came out, how well, how long it took.

    git clone https://github.com/Baekalfen/PyBoy && git clone https://github.com/kitao/pyxel
    python benchmarks/public_clips.py PyBoy/extras pyxel/docs/images      # resumable; writes results/public-clips.json

Nothing of the clips is part of this project. Each runs in a process of its own that is ended after --limit CPU seconds: what
does not end by then is recorded as such. `explained` is the share of what is not background that sprites explain; the
verdict's figures are taken from twelve frames.
"""

import argparse
import collections
import datetime
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from delaminate.bench.run import machine

RESULT = Path(__file__).parent / "results" / "public-clips.json"
SUFFIXES = (".gif", ".webp", ".apng", ".mp4", ".webm")
FIGURES = ("sprites_used", "explained", "psnr", "psnr_least", "background")


def one(path: Path, limit: int, out: Path) -> dict[str, Any]:
    """Take one clip apart."""
    shutil.rmtree(out, ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    made = subprocess.run(
        [sys.executable, "-m", "delaminate", "auto", str(path), "--out", str(out)],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 10)),
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    row: dict[str, Any] = {
        "exit": made.returncode,
        "seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
    }
    record = out / "auto.json"
    told = json.loads(record.read_text()) if record.exists() else {}
    if "level" not in told:
        return row | {"level": "unfinished", "text": (made.stderr.strip().splitlines() or [""])[-1]}
    found = told["recognition"]
    row |= {
        "level": told["level"], "kind": found["kind"], "images": found["images"], "size": found["size"],
        "native_size": found["native_size"],
    }  # fmt: skip
    verdict = out / "training" / "verdict.json"
    if verdict.exists():
        figures = json.loads(verdict.read_text())
        row |= {name: figures[name] for name in FIGURES if name in figures}
    return row | {"text": told["text"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=300, help="CPU seconds for a clip")
    parser.add_argument(
        "--part", default="1/1", help="only clips I of N: 1/2 and 2/2 may run side by side, each with a --result"
    )
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--keep", type=Path, help="keep what was made here, for looking at it")
    options = parser.parse_args()
    index, parts = map(int, options.part.split("/"))
    clips = [
        (f"{folder.resolve().name}/{path.relative_to(folder)}", path)
        for folder in options.folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ][index - 1 :: parts]
    rows = json.loads(options.result.read_text())["rows"] if options.result.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, path in clips:
            if name not in rows:
                out = (options.keep or Path(scratch)) / name.replace("/", "_")
                rows[name] = one(path, options.limit, out)
                print(f"{name}: {rows[name]}", flush=True)
                write(options, rows)
    write(options, rows)


def write(options: argparse.Namespace, rows: dict[str, dict[str, Any]]) -> None:
    explained = [row["explained"] for row in rows.values() if row.get("explained") is not None]
    record = {
        "command": "python benchmarks/public_clips.py FOLDERS", "date": datetime.date.today().isoformat(),
        "machine": machine("cpu"), "limit": options.limit, "clips": len(rows),
        "levels": dict(collections.Counter(row["level"] for row in rows.values())),
        "explained": round(statistics.mean(explained), 3) if explained else None,
        "median_seconds": statistics.median(row["seconds"] for row in rows.values()) if rows else None,
        "rows": rows,
    }  # fmt: skip
    options.result.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

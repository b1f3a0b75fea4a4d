"""Kill trainings, decompositions, exports, imports and packing at random moments; each must end as if nothing had happened.

python tools/kill_runs.py [--kills 100] [--seed 0] [--only export]      # writes benchmarks/results/kills.json

Each activity is done once undisturbed. Then it is begun again and again in a folder of its own, killed (SIGKILL) at a moment
drawn evenly from the time that it takes, and gone on with, until it ends: the files that it leaves must be the same to the
byte. A process is forked for each try, so that a try takes as long as its work.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for place in ("tests", "examples"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / place))

import delaminate  # noqa: E402
from delaminate.bench.run import machine  # noqa: E402
from delaminate.data import write_folder  # noqa: E402
from delaminate.data.synthetic.scenes import draw  # noqa: E402
from delaminate.engine.loop import train  # noqa: E402

RESULT = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "kills.json"
Work = Callable[[Path], None]
"""Does an activity in a folder, from its beginning or from where it was cut off."""


def learning(name: str) -> Work:
    """Train the smallest model of a method, with a checkpoint after every step."""

    def work(folder: Path) -> None:
        from helpers import tiny

        out = folder / "run"
        resume = (out / "checkpoint.pt").exists()
        if not resume:
            shutil.rmtree(out, ignore_errors=True)
        train(tiny.model(tiny.CONFIGS[name]), tiny.pixels(), out, seed=1, resume=resume, intervals=tiny.EVERY_STEP)
        shutil.copytree(out / "model", folder / "result", dirs_exist_ok=True)

    return work


def taking_apart(folder: Path) -> None:
    """Decompose drawn images by a model of the box."""
    found = folder.parent / "images"
    out = folder / "result"
    delaminate.decompose("dti-sprites/tetrominoes", found, out, resume=True, batch=2)


def exporting(folder: Path) -> None:
    """Write scenes for several programs."""
    for name in ("png", "coco", "ora", "atlas", "tiled", "cutouts"):
        delaminate.export(folder.parent / "scenes", folder / "result", name, resume=True)


def importing(folder: Path) -> None:
    """Bring an edited sheet of sprites back, in place."""
    scenes = folder / "result"
    if not (folder / "ready").exists():
        shutil.rmtree(scenes, ignore_errors=True)
        shutil.copytree(folder.parent / "scenes", scenes)
        (folder / "ready").touch()
    delaminate.import_edited(folder.parent / "edited" / "atlas", scenes, repaint="everywhere")


def packing(folder: Path) -> None:
    """Pack scenes into few large files."""
    delaminate.pack_scenes(folder.parent / "scenes", folder / "result", overwrite=True)


ACTIVITIES: dict[str, Work] = {
    "decompose": taking_apart,
    "export": exporting,
    "import": importing,
    "scenes pack": packing,
    "train marionette": learning("anchors"),
    "train dti-sprites": learning("matched"),
    "train perturbgan": learning("growing"),
    "train redo": learning("adversary"),
}


def make_ready(place: Path) -> None:
    """Draw images, take them apart, export them, and paint on the exported sheet."""
    from PIL import Image

    write_folder(draw("tetrominoes", 24, seed=3), place / "drawn")
    (place / "drawn" / "images").rename(place / "images")
    delaminate.decompose("dti-sprites/tetrominoes", place / "images", place / "scenes")
    delaminate.export(place / "scenes", place / "edited", "atlas")
    for path in (place / "edited" / "atlas").glob("*.png"):
        with Image.open(path) as sheet:
            painted = sheet.convert("RGBA")
        pixels = painted.load()
        for y in range(painted.height):
            for x in range(painted.width):
                red, green, blue, alpha = pixels[x, y]
                pixels[x, y] = (red // 2, 255 - green, blue, alpha)
        painted.save(path)


def forked(work: Work, folder: Path) -> int:
    """Begin in a process of its own; return its number."""
    child = os.fork()
    if child:
        return child
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 2)
        work(folder)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(child: int, seconds: float | None) -> int | None:
    """Wait so long for a process; its exit code, or None: it still works."""
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if until is not None and time.monotonic() > until:
            return None
        time.sleep(0.002)


def digest(folder: Path) -> dict[str, str]:
    """What every file in a folder holds; of journals, what they tell, in any order."""
    found = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        data = path.read_bytes()
        if path.suffix == ".jsonl":
            data = b"\n".join(sorted(set(data.splitlines())))
        if path.name != "run.json":  # tells when
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(data).hexdigest()[:16]
    return found


def campaign(work: Work, place: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Kill an activity so many times; say how its runs ended.

    Raises:
        AssertionError: It fails undisturbed, or again and again.
    """
    began = time.monotonic()
    (place / "whole").mkdir()
    started = time.monotonic()
    assert ended(forked(work, place / "whole"), None) == 0, (place / "whole" / "log.txt").read_text()
    lasts = time.monotonic() - started
    wanted = digest(place / "whole" / "result")
    assert wanted
    told: dict[str, Any] = {"kills": 0, "runs": 0, "equal": 0, "files": len(wanted), "lasts_seconds": round(lasts, 2)}
    wrong: list[str] = []
    while told["kills"] < kills:
        folder = place / f"run-{told['runs']}"
        folder.mkdir()
        code, tries = None, 0
        while code is None:
            child = forked(work, folder)
            tries += 1
            # In the end it is let go on: else long work would never end.
            code = ended(child, rng.uniform(0, lasts) if told["kills"] < kills and tries < 40 else None)
            if code is None:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                told["kills"] += 1
        found = digest(folder / "result")
        told["runs"] += 1
        told["equal"] += code == 0 and found == wanted
        if code or found != wanted:
            differ = [key for key in {*found, *wanted} if found.get(key) != wanted.get(key)]
            wrong.append(f"exit {code}; {sorted(differ)[:5]}; {(folder / 'log.txt').read_text()[-300:]}")
        else:
            shutil.rmtree(folder)
    told["seconds"] = round(time.monotonic() - began, 1)
    if wrong:
        told["wrong"] = wrong[:5]
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="of each activity")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="activities whose name has this in it")
    options = parser.parse_args()
    rng, rows = random.Random(options.seed), {}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        assert ended(forked(make_ready, root), None) == 0, (root / "log.txt").read_text()
        for name, work in ACTIVITIES.items():
            if options.only is None or options.only in name:
                folder = root / name.replace(" ", "-")
                folder.mkdir()
                for shared in ("images", "scenes", "edited"):
                    (folder / shared).symlink_to(root / shared)
                rows[name] = campaign(work, folder, options.kills, rng)
                print(name, json.dumps(rows[name]), flush=True)
                if options.only is None:
                    words = f"python tools/kill_runs.py --kills {options.kills} --seed {options.seed}"
                    record = {"command": words, "date": time.strftime("%Y-%m-%d"), "machine": machine()}
                    RESULT.write_text(json.dumps(record | {"activities": rows}, indent=1) + "\n")
    if any(row["equal"] < row["runs"] for row in rows.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()

"""Put the best seed of a benchmark into the box.

    python benchmarks/make_zoo.py tetrominoes dti-sprites/tetrominoes
    python benchmarks/make_zoo.py platform-game marionette/platform-game --title "Sprites of a platform game, 230 x 230"
    python benchmarks/make_zoo.py redo-flowers17 redo/flowers17 --measure    # the stored model again; no run is needed

Chooses the run of lowest label-free error (its last check, that of rivals where there are any), as the result files have it,
stores it as float16, loads the stored file again, measures that on the test scenes, and writes the card. Labels play no part
in the choice.
"""

import argparse
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from delaminate import Method, zoo
from delaminate.bench.benchmarks import BENCHES, Bench
from delaminate.bench.run import evaluate_model
from delaminate.bench.tables import SHOWN
from delaminate.methods import load_model, save_model
from delaminate.methods.marionette import MarioNette
from delaminate.methods.perturbgan import PerturbGAN
from delaminate.methods.redo import ReDO

RESULTS = Path(__file__).parent / "results"


FIGURES = "Figures of the stored file"
"""Where a card's figures begin."""
RIVALRY = {"redo": "adversary", "perturbgan": "layers"}
"""The stage whose last check counts, where later stages measure themselves by their own run."""


def last_error(record: dict[str, Any], stage: str = "") -> float:
    """The label-free error of a run's last check, of a stage or of all."""
    checks = [error for name, _, _, error in record["check_curve"] if name.startswith(stage)]
    return float(checks[-1]) if checks else math.inf


def best_of(bench: str, results: Path = RESULTS) -> tuple[dict[str, Any], int]:
    """The record of the finished run of lowest label-free error, and among how many.

    Its run folder need be here, those of others not.
    """
    found = [json.loads(path.read_text()) for path in sorted(results.glob(f"{bench}-[0-9]*.json"))]
    finished = [record for record in found if record["bench"] == bench and record["finished"]]
    if not finished:
        raise SystemExit(f"{results}: no finished run of {bench}; first `delaminate bench {bench}`.")
    stage = RIVALRY.get(BENCHES[bench].method, "")
    best = min(finished, key=lambda record: (last_error(record, stage), record["seed"]))
    return best, len(finished)


def slim(model: Method) -> Method:
    """What decomposes: no empty places in a dictionary of search, no generators beside what finds masks."""
    if isinstance(model, ReDO | PerturbGAN):
        model.config = replace(model.config, bf16=False)
        kept = model.paints if isinstance(model, ReDO) else model.trained[:2]  # generators; generator and encoder
        kept.zero_()
    if not isinstance(model, MarioNette) or model.decomposers != ("search",):
        return model
    sheet = model.store.sheet()
    count = max(len(sheet.sprites), -(-len(sheet.looks) // 2), 1)
    small = MarioNette(replace(model.config, num_sprites=count))
    small.learned.copy_(model.learned)
    small.alive.copy_(model.alive[:count])
    small.colour.copy_(model.colour)
    small.store.put(sheet.sprites, sheet.looks)
    small.store.put_background(sheet.background)
    return small


def tested_on(bench: Bench, count: int) -> str:
    """What the figures are of."""
    data = bench.test_data or bench.data
    if bench.clip:
        return f"the clip `{data}` that it was learned from, {count} frames"
    return f"{count} unseen images of `{data}`" if bench.test else f"`{data}`"


def origin(title: str, bench: str, name: str, best: dict[str, Any], seeds: int, model: Method) -> str:
    """What a model's README says of where it comes from."""
    sprites = len(model.dictionary()) - len(model.dictionary().backgrounds)
    holds = f"{sprites} sprites" if sprites else "only what finds masks, no generators"
    lines = [
        f"# {title}",
        "",
        f"{BENCHES[bench].about.capitalize()}.",
        "",
        f"Made by `{best['command']}`, then `python benchmarks/make_zoo.py {bench} {name}`.",
        f"Seed {best['seed']}, the one of lowest label-free error among {seeds}. Images of "
        f"{model.image_size[0]} x {model.image_size[1]} pixels; {holds}. Stored as float16.",
    ]
    return "\n".join(lines)


def measured(bench: str, model: Method, seed: int) -> str:
    """What a model's README says of how well it does."""
    ways, figures = model.decomposers, evaluate_model(model, BENCHES[bench], seed)
    lines = [
        f"{FIGURES} on {tested_on(BENCHES[bench], figures[ways[0]]['count'])}; the default is `{ways[0]}`:",
        "",
        "| figure | " + " | ".join(f"`--by {by}`" for by in ways) + " |",
        "|---" * (len(ways) + 1) + "|",
    ]
    for key in SHOWN:
        # Speed is the machine's.
        if key in figures[ways[0]] and key != "images_per_second":
            shown = [figures[by].get(key) for by in ways]
            lines.append(f"| `{key}` | " + " | ".join("" if x is None else f"{x:.4f}" for x in shown) + " |")
    return "\n".join(lines) + "\n"


def tabled(body: str) -> list[tuple[str, str, float]]:
    """The figures of a card's table: name, way of decomposing, value."""
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in body.splitlines() if line[:1] == "|"]
    ways = [way.removeprefix("--by ") for way in rows[0][1:]]
    return [(row[0], way, float(cell)) for row in rows[2:] for way, cell in zip(ways, row[1:], strict=True) if cell]


def head(name: str, body: str) -> str:
    """What the hub reads of a card, as YAML; every figure is one of the card's own table."""
    bench = BENCHES[re.search(r"^Made by `delaminate bench (\S+)", body, re.MULTILINE)[1]]
    measured_on = re.search(rf"^{FIGURES} on (.*); the default is", body, re.MULTILINE)[1].replace("`", "")
    metrics = [{"type": figure, "name": f"{figure} by {way}", "value": value} for figure, way, value in tabled(body)]
    result = {
        "task": {"type": "image-segmentation"},
        "dataset": {"name": measured_on, "type": bench.test_data or bench.data},
        "metrics": metrics,
    }
    known = {
        "license": "mit",
        "library_name": "delaminate",
        "pipeline_tag": "image-segmentation",
        "tags": ["unsupervised", "layers", name.split("/")[0]],
        "model-index": [{"name": name, "results": [result]}],
    }
    return zoo.RULE + yaml.safe_dump(known, sort_keys=False, default_flow_style=None, width=120) + zoo.RULE


def store(bench: str, name: str, title: str) -> str:
    """Put the best run's model into the box; return what to say of where it comes from."""
    best, among = best_of(bench)
    run = RESULTS / "runs" / f"{bench}-{best['seed']}"
    if not (run / "model").is_dir():
        raise SystemExit(
            f"{run}: seed {best['seed']} is the best of {among}, and its run is not here: repeat it with --overwrite."
        )
    save_model(slim(load_model(run)), zoo.ROOT / name, half=True)
    return origin(title, bench, name, best, among, load_model(zoo.ROOT / name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=sorted(BENCHES))
    parser.add_argument("name", help="METHOD/NAME in the box")
    parser.add_argument("--title", default="A trained model", help="what it knows, in a few words")
    parser.add_argument("--measure", action="store_true", help="only measure the model that is there")
    options = parser.parse_args()
    folder = zoo.ROOT / options.name
    if options.measure:
        said = zoo.split_card((folder / "README.md").read_text())[1].split(f"\n\n{FIGURES}")[0]
    else:
        said = store(options.bench, options.name, options.title)
    seed = int(re.search(r"^Seed (\d+),", said, re.MULTILINE)[1])
    body = f"{said}\n\n{measured(options.bench, load_model(folder), seed)}"
    text = f"{head(options.name, body)}\n{body}"
    (folder / "README.md").write_text(text)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    print(text, f"\n{size:.1f} MiB in {folder}")


if __name__ == "__main__":
    main()

"""Put the best seed of a benchmark into the box.

    python benchmarks/make_zoo.py tetrominoes dti-sprites/tetrominoes

Chooses the run of lowest label-free error (the last check of its last stage), stores it as float16, loads the stored file
again, measures that on the test scenes, and writes the card. Labels play no part in the choice.
"""

import argparse
import json
from pathlib import Path

from delaminate import zoo
from delaminate.cli.bench import BENCHES, evaluate_model
from delaminate.methods import load_model, save_model

RESULTS = Path(__file__).parent / "results"
SHOWN = ("ari_fg", "ari_fg_helped", "class_miou", "clustering_accuracy", "iou", "psnr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", choices=sorted(BENCHES))
    parser.add_argument("name", help="METHOD/NAME in the box")
    parser.add_argument("--title", default="A trained model", help="what it knows, in a few words")
    options = parser.parse_args()
    records = [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{options.bench}-[0-9]*.json"))]
    here = [r for r in records if (RESULTS / "runs" / f"{options.bench}-{r['seed']}" / "model").is_dir()]
    best = min(here, key=lambda record: record["check_curve"][-1][3])
    run = RESULTS / "runs" / f"{options.bench}-{best['seed']}"
    folder = zoo.ROOT / options.name
    model = load_model(run)
    save_model(model, folder, half=True)
    stored = load_model(folder)
    figures = evaluate_model(stored, BENCHES[options.bench], best["seed"])
    ways = stored.decomposers
    lines = [
        f"# {options.title}",
        "",
        f"{BENCHES[options.bench].about.capitalize()}.",
        "",
        f"Made by `{best['command']}`, then `python benchmarks/make_zoo.py {options.bench} {options.name}`.",
        f"Seed {best['seed']}, the one of lowest label-free error among {len(here)}. Images of "
        f"{model.image_size[0]} x {model.image_size[1]} pixels; {len(model.dictionary())} sprites. Stored as float16.",
        "",
        f"Figures of the stored file on {BENCHES[options.bench].test} unseen test scenes (drawn replica); the default is "
        f"`{ways[0]}`:",
        "",
        "| figure | " + " | ".join(f"`--by {by}`" for by in ways) + " |",
        "|---" * (len(ways) + 1) + "|",
    ]
    for key in SHOWN:
        if key in figures[ways[0]]:
            lines.append(f"| `{key}` | " + " | ".join(f"{figures[by][key]:.4f}" for by in ways) + " |")
    (folder / "README.md").write_text("\n".join(lines) + "\n")
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    print("\n".join(lines), f"\n{size:.1f} MiB in {folder}")


if __name__ == "__main__":
    main()

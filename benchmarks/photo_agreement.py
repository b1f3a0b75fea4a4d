"""Do the two models of flowers in the box cut out the same? On flowers, and on photos that they never saw; without labels.

    python benchmarks/photo_agreement.py            # sets of DELAMINATE_DATA; writes benchmarks/results/photo-agreement.json

`auto` believes the models of the box where they agree. The sample is spread evenly over each set; nothing is drawn at random.
"""

import json
import os
from pathlib import Path

import torch

from delaminate import open_images
from delaminate.bench.run import machine
from delaminate.pipelines.automatic import AGREED
from delaminate.pipelines.photo_choice import SAMPLE, candidates

RESULT = Path(__file__).parent / "results" / "photo-agreement.json"
SETS = ("flowers17_seg", "weizmann_horse", "clothing_ccp", "car_sideview", "butterfly_nature", "pennfudan")


def main() -> None:
    torch.set_num_threads(1)
    rows = {}
    for name in SETS:
        images = open_images(Path(os.environ["DELAMINATE_DATA"]) / name, (128, 128))
        found = candidates(images)
        rows[name] = {
            "photos": min(len(images), SAMPLE),
            "agreement": round(found[0].agreement, 3),
            "models": {each.model: {"sharpness": round(each.sharpness, 2)} for each in found},
            "believed": found[0].agreement >= AGREED,
        }
        print(name, json.dumps(rows[name]), flush=True)
    record = {
        "command": "python benchmarks/photo_agreement.py",
        "machine": machine(),
        "believed_from": AGREED,
        "sets": rows,
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

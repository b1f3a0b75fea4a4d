"""Cut the figures out of scenes that the model in the box has never seen.

python examples/cut_out.py OUT
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from delaminate import Method, draw, load_model
from delaminate.files import to_pixels
from delaminate.scene.saving import save_scenes

PAPER, INK, GAP, ZOOM = (250, 250, 248), (60, 60, 64), 6, 3
ROWS = "never seen before", "where the object is", "cut out"


def main(out: Path, model: Method | None = None, count: int = 10) -> float:
    """Write the scenes and `cut_out.png`; return the mean overlap with what was really drawn."""
    model = model or load_model("perturbgan/objects-on-texture")
    drawn = draw("objects-on-texture", count, split="dev", size=model.image_size)
    images = drawn.images.batch(range(count))
    found = model.decompose(images)
    save_scenes(found.scenes(list(drawn.images.names)), out / "scenes")  # for `delaminate export` and `edit`

    mask = found.layers().alpha[:, 1]  # of the foreground, B 1 H W
    paper = chequered(*model.image_size)
    poster([images, mask.expand_as(images), mask * images + (1 - mask) * paper]).save(out / "cut_out.png")

    # Labels measure, and do nothing else.
    there, seen = drawn.labels.instances[:, None] > 0, mask > 0.5
    both, either = ((some.flatten(1).sum(1)) for some in (there & seen, there | seen))
    return float((both / either).mean())


def chequered(height: int, width: int) -> Tensor:
    """What stands for transparent: squares of light grey, 1 H W."""
    rows, columns = torch.arange(height)[:, None] // 4, torch.arange(width) // 4
    return (0.95 - 0.15 * ((rows + columns) % 2))[None]


def poster(rows: list[Tensor]) -> Image.Image:
    """Rows of pictures (B, 3, H, W), with a line below each."""
    height, width = (ZOOM * side + GAP for side in rows[0].shape[2:])
    whole = Image.new("RGB", (len(rows[0]) * width + GAP, len(rows) * (height + 14) + GAP), PAPER)
    for i, (row, words) in enumerate(zip(rows, ROWS, strict=True)):
        top = GAP + i * (height + 14)
        for j, picture in enumerate(F.interpolate(row, scale_factor=ZOOM, mode="nearest")):
            whole.paste(Image.fromarray(to_pixels(picture)), (GAP + j * width, top))
        ImageDraw.Draw(whole).text((GAP, top + height - GAP), words, fill=INK)
    return whole


if __name__ == "__main__":
    print("overlap:", main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/cut-out")))

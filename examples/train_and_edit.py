"""Train on drawn scenes, take unseen ones apart, and change a scene.

python examples/train_and_edit.py OUT
"""

import sys
from pathlib import Path

from delaminate import DTISprites, draw, save_scenes, train
from delaminate.exporters.pngs import write_pngs


def main(out: Path, images: int = 2_000, steps: int = 16) -> float:
    # Training in five lines: images, a model, go. Labels play no part.
    pixels = draw("tetrominoes", images).images.pixels
    model = DTISprites.preset("tetrominoes", search_steps=steps, search_batch=min(images, 200), distil_steps=0, steps=0)
    train(pixels, model, out=out / "run")
    unseen = draw("tetrominoes", 4, split="dev")
    found = model.decompose(unseen.images.batch(range(4)))

    # A decomposition is what the method reports; each image becomes a document that can be edited.
    error = float((found.composite() - unseen.images.batch(range(4))).square().mean())
    scenes = found.scenes(list(unseen.images.names))
    front = scenes[0].layers[-1].id
    scenes[0] = scenes[0].move(front, 3, 0).recolour(front, (1, 1, 1), (0, 0, 0))
    save_scenes(scenes, out / "scenes")
    write_pngs(scenes, out / "layers")
    return error


if __name__ == "__main__":
    print("mean squared error:", main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example")))

"""Find the sprites of a drawn platform game, take an unseen frame apart, and repaint one sprite.

python examples/sprite_sheet.py OUT
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from delaminate import MarioNette, draw, train
from delaminate.files import to_pixels
from delaminate.scene.collection import with_sprite
from delaminate.scene.placements import Dictionary
from delaminate.scene.saving import save_scenes

PAPER, INK, GAP = (250, 250, 248), (60, 60, 64), 12


def main(out: Path, images: int = 60, steps: int = 3, sprites: int = 150) -> float:
    # Labels play no part; search needs no more than frames in which things recur.
    pixels = draw("platform-game", images).images.pixels
    model = MarioNette.preset("platform-game", search_steps=steps, search_batch=min(images, 40), num_sprites=sprites)
    train(pixels, model, out=out / "run")
    unseen = draw("platform-game", 1, split="dev").images.batch([0])
    found = model.decompose(unseen)
    error = float((found.composite() - unseen).square().mean())

    # A sprite that is repainted is repainted wherever it occurs.
    scene = found.scenes(["frame"])[0]
    entry = most_seen(found.images[0], found.dictionary)
    edited = with_sprite([scene], entry, repainted(found.dictionary.sprites[entry]))[0] if entry is not None else scene
    save_scenes([edited], out / "scenes")
    panels = [unseen[0], scene.composite(), sheet(found.dictionary, unseen.shape[2]), edited.composite()]
    poster(
        panels, ["a frame never seen before", "put together again", "the sprites found", "one of them repainted"]
    ).save(out / "sprite_sheet.png")
    return error


def most_seen(placements: tuple, dictionary: Dictionary) -> int | None:
    """The sprite that covers most of a frame."""
    entries = [placement.entry for placement in placements if placement.entry not in dictionary.backgrounds]
    return max(set(entries), key=lambda k: (entries.count(k) * dictionary.sprites[k][3].sum(), -k), default=None)


def repainted(sprite: Tensor) -> Tensor:
    """The sprite in blue, as bright as it was."""
    bright = sprite[:3].mean(0, keepdim=True)
    return torch.cat([bright * torch.tensor([0.35, 0.75, 1.45]).view(3, 1, 1), sprite[3:]]).clamp(0, 1)


def sheet(dictionary: Dictionary, side: int) -> Tensor:
    """All sprites in rows on grey, twice as large, as many as fit."""
    canvas = torch.full((3, side, side), 0.32)
    top = left = tall = 3
    for entry, sprite in enumerate(dictionary.sprites):
        if entry in dictionary.backgrounds:
            continue
        sprite = sprite.repeat_interleave(2, 1).repeat_interleave(2, 2)
        height, width = sprite.shape[1:]
        if left + width + 3 > side:
            top, left, tall = top + tall + 3, 3, 0
        if top + height + 3 > side:
            break
        window = canvas[:, top : top + height, left : left + width]
        window.copy_(sprite[3:] * sprite[:3] + (1 - sprite[3:]) * window)
        left, tall = left + width + 3, max(tall, height)
    return canvas


def poster(panels: list[Tensor], words: list[str], zoom: int = 2) -> Image.Image:
    """Pictures side by side, two in a row, with a line below each."""
    side = panels[0].shape[2] * zoom
    step = side + GAP, side + GAP + 18
    whole = Image.new("RGB", (2 * step[0] + GAP, 2 * step[1] + GAP), PAPER)
    for index, (panel, text) in enumerate(zip(panels, words, strict=True)):
        left, top = GAP + index % 2 * step[0], GAP + index // 2 * step[1]
        large = F.interpolate(panel[None], scale_factor=zoom, mode="nearest")[0]
        whole.paste(Image.fromarray(to_pixels(large)), (left, top))
        ImageDraw.Draw(whole).text((left, top + side + 3), text, fill=INK)
    return whole


if __name__ == "__main__":
    print("mean squared error:", main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/sprite-sheet")))

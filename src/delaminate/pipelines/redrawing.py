"""Layers of scenes repainted from noise, by a model that can (ReDO), and the grid of pictures that shows what it can do."""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from delaminate.errors import ConfigError
from delaminate.files import png_bytes, write_atomic
from delaminate.methods import Method, load_model
from delaminate.rng import stream
from delaminate.scene.compositing import over
from delaminate.scene.painting import paint
from delaminate.scene.placements import OWN_RASTER
from delaminate.scene.scenes import Scene


class Repainter:
    """Repaints layers of scenes that a model has decomposed; a change for `edit`.

    Args:
        model: A model that can, or the path or name of one.
        seed: Names the noise.

    Raises:
        ConfigError: It cannot.
    """

    most_rows = 8
    drawings = 8

    def __init__(self, model: str | Path | Method, seed: int = 0) -> None:
        self.model = model if isinstance(model, Method) else load_model(model)
        self.seed = seed
        self.rows: dict[tuple[str, str], Tensor] = {}
        if not self.model.can_redraw:
            self.model.repaint(torch.zeros(1, 1, 1, *self.model.image_size), 0, stream("redraw"))  # says why

    def __call__(self, scene: Scene, layer_id: str) -> Scene:
        """Give one layer new colours and keep its alpha: what is painted depends on the regions alone, asked once or twice.

        Raises:
            ConfigError: The scene does not have the model's regions as its layers.
        """
        layers = [layer.id for layer in scene.layers]
        if any(layer.placement.entry != OWN_RASTER for layer in scene.layers):
            raise ConfigError(
                f"redraw: scene {scene.name!r} has layers that show sprites; expected the regions of a photo that this model "
                "has decomposed."
            )
        index, masks = layers.index(layer_id), _seen(scene)
        size = self.model.image_size
        small = _resized(masks.flatten(0, 1)[None], size).clamp(0, 1).view(1, -1, 1, *size)
        small = small / small.sum(1, keepdim=True).clamp_min(1e-6)
        key = scene.name, layer_id
        shown = key in self.rows or len(self.rows) < self.most_rows
        draws = self.drawings if shown else 1
        rng = stream("redraw", self.seed, *key)
        painted = self.model.repaint(small.expand(draws, -1, -1, -1, -1), index, rng)
        if shown:
            picture, mask = _resized(scene.composite()[None], size).clamp(0, 1), small[:, index]
            self.rows[key] = torch.cat([picture, mask.expand(-1, 3, -1, -1), over(painted, mask, picture)])
        colour = F.interpolate(painted[:1], scene.size, mode="bicubic", align_corners=False).clamp(0, 1)
        return scene.redraw(layer_id, torch.cat([colour[0], _alpha(scene, layer_id)]))

    def write_grid(self, path: Path) -> None:
        """Write the rows as one picture: scene, region and eight drawings."""
        lines = [torch.cat([F.pad(tile, (0, 2, 0, 2), value=0.12) for tile in row], 2) for row in self.rows.values()]
        picture = (torch.cat(lines, 1).clamp(0, 1) * 255).round().to(torch.uint8)  # 3 H W
        write_atomic(path, png_bytes(picture.permute(1, 2, 0).contiguous().numpy()))


def _alpha(scene: Scene, layer_id: str) -> Float[Tensor, "1 H W"]:
    window = paint(scene.dictionary, scene.layer(layer_id).placement)
    alpha = torch.zeros(1, *scene.size)
    alpha[:, *window.slices] = window.alpha
    return alpha


def _seen(scene: Scene) -> Float[Tensor, "L 1 H W"]:
    """What is seen of each layer, from back to front: its alpha where no layer in front hides it."""
    left, seen = torch.ones(1, *scene.size), []
    for layer in reversed(scene.layers):
        alpha = _alpha(scene, layer.id).clamp(0, 1)
        seen.append(left * alpha)
        left = left * (1 - alpha)
    return torch.stack(seen[::-1])


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)

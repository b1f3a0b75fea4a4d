"""Regions of saved scenes painted anew by a model of ReDO, and the grid of pictures that shows what it can do."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from delaminate.scene.scenes import Scene


class Painter:
    """Paints layers of scenes that a model of ReDO has taken apart.

    Args:
        model: A folder, a run folder or a zoo name.
        seed: Names the noise.

    Raises:
        ConfigError: It is a model of another method.
    """

    most_rows = 8
    drawings = 8

    def __init__(self, model: str, seed: int) -> None:
        from delaminate.errors import ConfigError
        from delaminate.methods import load_model
        from delaminate.methods.redo import ReDO

        loaded = load_model(model)
        if not isinstance(loaded, ReDO):
            raise ConfigError(f"redraw: {model} is a {loaded.name} model; regions are redrawn by a model of redo.")
        self.model, self.seed = loaded, seed
        self.rows: "dict[tuple[str, str], Tensor]" = {}

    def change(self, scene: "Scene", layer_id: str) -> "Scene":
        """Give one layer new colours and keep its alpha: what is painted depends on the regions alone, asked once or twice.

        Raises:
            ConfigError: The scene does not have the model's regions as its layers.
        """
        import torch
        import torch.nn.functional as F

        from delaminate.errors import ConfigError
        from delaminate.rng import stream
        from delaminate.scene.compositing import over
        from delaminate.scene.painting import paint
        from delaminate.scene.placements import OWN_RASTER

        layers = [layer.id for layer in scene.layers]
        own = all(layer.placement.entry == OWN_RASTER for layer in scene.layers)
        if len(layers) != self.model.config.num_regions or not own:
            raise ConfigError(
                f"redraw: scene {scene.name!r} has {len(layers)} layers; expected the {self.model.config.num_regions} regions "
                "of a photo that this model has taken apart."
            )
        index, masks = layers.index(layer_id), _seen(scene)
        small = (
            _resized(masks.flatten(0, 1)[None], self.model.image_size)
            .clamp(0, 1)
            .view(1, -1, 1, *self.model.image_size)
        )
        small = small / small.sum(1, keepdim=True).clamp_min(1e-6)
        key = scene.name, layer_id
        shown = key in self.rows or len(self.rows) < self.most_rows
        draws = self.drawings if shown else 1
        rng = stream("redraw", self.seed, *key)
        painted = self.model.repaint(small.expand(draws, -1, -1, -1, -1), index, rng)
        if shown:
            picture, mask = _resized(scene.composite()[None], self.model.image_size).clamp(0, 1), small[:, index]
            self.rows[key] = torch.cat([picture, mask.expand(-1, 3, -1, -1), over(painted, mask, picture)])
        colour = F.interpolate(painted[:1], scene.size, mode="bicubic", align_corners=False).clamp(0, 1)
        window = paint(scene.dictionary, scene.layer(layer_id).placement)
        alpha = torch.zeros(1, *scene.size)
        alpha[:, *window.slices] = window.alpha
        return scene.redraw(layer_id, torch.cat([colour[0], alpha]))

    def write_grid(self, path: Path) -> None:
        """Write the rows as one picture."""
        import torch

        from delaminate.files import png_bytes, write_atomic

        lines = [
            torch.cat([torch.nn.functional.pad(tile, (0, 2, 0, 2), value=0.12) for tile in row], 2)
            for row in self.rows.values()
        ]
        picture = (torch.cat(lines, 1).clamp(0, 1) * 255).round().to(torch.uint8)  # 3 H W
        write_atomic(path, png_bytes(picture.permute(1, 2, 0).contiguous().numpy()))


def _seen(scene: "Scene") -> "Tensor":
    """What is seen of each layer, from back to front, (L, 1, H, W): its alpha where no layer in front hides it."""
    import torch

    from delaminate.scene.painting import paint

    left, seen = torch.ones(1, *scene.size), []
    for layer in reversed(scene.layers):
        window = paint(scene.dictionary, layer.placement)
        alpha = torch.zeros(1, *scene.size)
        alpha[:, *window.slices] = window.alpha.clamp(0, 1)
        seen.append(left * alpha)
        left = left * (1 - alpha)
    return torch.stack(seen[::-1])


def _resized(images: "Tensor", size: tuple[int, int]) -> "Tensor":
    import torch.nn.functional as F

    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)

"""Decomposition: what every method finds in a batch of images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from delaminate.errors import ShapeError
from delaminate.scene.canvas_map import CanvasMap, Light, Margins
from delaminate.scene.layers import Layers
from delaminate.scene.painting import blank, composite_placements, paint
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement, Transform
from delaminate.scene.scenes import BORDER, Scene, SceneLayer
from delaminate.scene.views import page_of


@dataclass(frozen=True, eq=False)
class Decomposition:
    """What `decompose` finds in a batch of images.

    Attributes:
        dictionary: The sprites.
        images: Per image its placements, back to front.
        size: Height and width of the canvas in pixels.
        background: The first placement of every image is a background: no object, label 0.
        canvas_maps: How each canvas sits in its original image, or None.
    """

    dictionary: Dictionary
    images: tuple[tuple[Placement, ...], ...]
    size: tuple[int, int]
    background: bool = False
    canvas_maps: tuple[CanvasMap, ...] | None = None

    @classmethod
    def from_rasters(cls, rasters: Float[Tensor, "B L 4 H W"], background: bool) -> "Decomposition":
        """Take layers (colour and alpha, back to front) that show no sprites: each is its own raster, where it stands."""
        size = (rasters.shape[3], rasters.shape[4])
        still = (Transform.shift(0, 0, size),)
        stacks = (tuple(Placement(OWN_RASTER, still, raster=raster) for raster in stack) for stack in rasters.cpu())
        return cls(Dictionary(()), tuple(stacks), size, background)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: slice) -> "Decomposition":
        canvas_maps = None if self.canvas_maps is None else self.canvas_maps[index]
        return replace(self, images=self.images[index], canvas_maps=canvas_maps)

    def composite(self) -> Float[Tensor, "B 3 H W"]:
        """Paint every image: the reconstruction that the method reports."""
        pictures = [composite_placements(self.dictionary, placements, self.size) for placements in self.images]
        return torch.stack(pictures) if pictures else blank(self.dictionary, 3, self.size)[None][:0]

    def layers(self) -> Layers:
        """Rasterise into a dense stack; images with fewer placements get transparent layers in front."""
        count = max((len(placements) for placements in self.images), default=0)
        rgb = blank(self.dictionary, 3, self.size).repeat(len(self), count, 1, 1, 1)
        alpha = blank(self.dictionary, 1, self.size).repeat(len(self), count, 1, 1, 1)
        entry = torch.full((len(self), count), OWN_RASTER)
        for i, placements in enumerate(self.images):
            for j, placement in enumerate(placements):
                window = paint(self.dictionary, placement)
                rows, columns = window.slices
                rgb[i, j, :, rows, columns] = window.rgb
                alpha[i, j, :, rows, columns] = window.alpha
                entry[i, j] = placement.entry
        return Layers(rgb, alpha, entry=entry, background=self.background)

    def _repr_html_(self) -> str:
        facts = {"sprites": str(len(self.dictionary)), "size": f"{self.size[1]} x {self.size[0]} pixels"}
        return page_of(f"{len(self)} images, decomposed", facts, [self[:8].composite()])

    def labels(self) -> tuple[Int[Tensor, "B H W"], Int[Tensor, "B H W"]]:
        """Name the placement, and the dictionary entry + 1, seen most at each pixel; 0 is the background.

        Equal to `segment(layers())`, painting windows only. Own rasters count as entry -1, so class 0.
        """
        instances = torch.zeros(len(self), *self.size, dtype=torch.int64)
        classes = torch.zeros_like(instances)
        for i, placements in enumerate(self.images):
            through = blank(self.dictionary, 1, self.size)[0] + 1
            best = torch.full_like(through, -1.0)
            for j in reversed(range(len(placements))):
                window = paint(self.dictionary, placements[j])
                rows, columns = window.slices
                alpha = window.alpha[0]
                seen = alpha * through[rows, columns]
                wins = (seen >= best[rows, columns]) & (seen > 0)  # nobody wins where nothing is seen
                is_background = self.background and j == 0
                best[rows, columns] = torch.where(wins, seen, best[rows, columns])
                label = 0 if is_background else (j if self.background else j + 1)
                kind = 0 if is_background else placements[j].entry + 1
                instances[i, rows, columns] = torch.where(wins, label, instances[i, rows, columns])
                classes[i, rows, columns] = torch.where(wins, kind, classes[i, rows, columns])
                through[rows, columns] = through[rows, columns] * (1 - alpha)
            if not self.background:
                nothing = through > best
                instances[i][nothing] = 0
                classes[i][nothing] = 0
        return instances, classes

    def at_original(self) -> "tuple[Decomposition, ...]":
        """Map every image to its original size, one decomposition per image.

        Matrices are mapped exactly, sprites are resampled once, and what a crop left out is background. Where the
        originals are enlarged pixel art, sprites are enlarged as it was, pixel by pixel, and nothing is resampled; by blocks
        of unequal sizes only when they are painted.
        """
        if self.canvas_maps is None:
            return tuple(self[i : i + 1] for i in range(len(self)))
        margins = [canvas_map.margins for canvas_map in self.canvas_maps]
        if any(each is not None for each in margins):
            bare = replace(self, canvas_maps=tuple(replace(each, margins=None) for each in self.canvas_maps))
            return tuple(_with_margins(each, own) for each, own in zip(bare.at_original(), margins, strict=True))
        zooms = {canvas_map.zoom for canvas_map in self.canvas_maps}
        steps = (step for placements in self.images for placement in placements for step in placement.transforms)
        plain = all(step.kind == "matrix" for step in steps)
        if len(zooms) == 1 and max(zooms) > 1 and plain:
            return self._enlarged((max(zooms),) * 2, (self.size[0] * max(zooms), self.size[1] * max(zooms)))
        blocks = self.canvas_maps[0].blocks if self.canvas_maps else None
        if blocks is not None and plain and blocks.is_regular and set(self.canvas_maps) == {self.canvas_maps[0]}:
            factor = int(blocks.step[0]), int(blocks.step[1])
            return self._enlarged(factor, blocks.original, blocks.corner)
        singles = []
        for placements, canvas_map in zip(self.images, self.canvas_maps, strict=True):
            if canvas_map.blocks is not None:
                step = Transform.of_blocks(canvas_map.blocks)
                placements = tuple(replace(p, transforms=(*p.transforms, step)) for p in placements)
            elif not canvas_map.is_identity:
                placements = tuple(p.then(canvas_map.to_original, canvas_map.original) for p in placements)
            whole = (CanvasMap.whole(*canvas_map.original),)
            single = replace(self, images=(placements,), size=canvas_map.original, canvas_maps=whole)
            singles.append(single if canvas_map.light is None else _lit(single, canvas_map.light))
        return tuple(singles)

    def _enlarged(
        self, factor: tuple[int, int], size: tuple[int, int], corner: tuple[float, float] = (0.0, 0.0)
    ) -> "tuple[Decomposition, ...]":
        """The images, a decomposition each, with every pixel as a block, on canvases of `size` from `corner` on."""

        def blocks(raster: Tensor) -> Tensor:
            return raster.repeat_interleave(factor[0], 1).repeat_interleave(factor[1], 2)

        def enlarged(placement: Placement) -> Placement:
            *before, last = placement.transforms
            steps = [each.rescaled(factor, (each.size[0] * factor[0], each.size[1] * factor[1])) for each in before]
            steps.append(last.rescaled(factor, size, corner))
            raster = None if placement.raster is None else blocks(placement.raster)
            return replace(placement, transforms=tuple(steps), raster=raster)

        dictionary = replace(self.dictionary, sprites=tuple(blocks(sprite) for sprite in self.dictionary.sprites))
        return tuple(
            Decomposition(dictionary, (tuple(map(enlarged, some)),), size, self.background, (CanvasMap.whole(*size),))
            for some in self.images
        )

    def scenes(self, names: Sequence[str] | None = None) -> list[Scene]:
        """Make one editable scene per image, at the original size.

        Args:
            names: A relative path for each image, such as `a/b.png`; numbered when None.

        Raises:
            ShapeError: There is not one name for each image.
            ConfigError: A name is no relative path.
        """
        if names is None:
            names = [f"image-{index:05d}" for index in range(len(self))]
        if len(names) != len(self):
            raise ShapeError(f"scenes: {len(names)} names for {len(self)} images; expected one each.")
        has_margins = [each.margins is not None for each in self.canvas_maps or ()] or [False] * len(self)
        scenes = []
        for number, (name, single) in enumerate(zip(names, self.at_original(), strict=True)):
            layers, dictionary = [], single.dictionary
            for index, placement in enumerate(single.images[0]):
                own = f"layer {index}" if placement.entry == OWN_RASTER else dictionary.name(placement.entry)
                is_background = self.background and index == 0
                title = "background" if is_background and placement.entry == OWN_RASTER else own
                layer_id = "background" if is_background else f"layer-{index:02d}"
                if has_margins[number] and index == len(single.images[0]) - 1:
                    layer_id = title = BORDER
                layers.append(SceneLayer(layer_id, title, placement))
            scenes.append(Scene(name, single.size, tuple(layers), dictionary, self.background))
        return scenes

    @classmethod
    def from_scene(cls, scene: Scene) -> "Decomposition":
        """Go back from a scene to a decomposition of one image; hidden layers are left out."""
        background = scene.background and bool(scene.layers) and scene.layers[0].visible
        whole = (CanvasMap.whole(*scene.size),)
        return cls(scene.dictionary, (scene.visible_placements,), scene.size, background, whole)


def _lit(single: Decomposition, light: Light) -> Decomposition:
    """Light one image at the original's size as that was: the background pixel by pixel, others as at their middle."""
    lit = []
    for index, placement in enumerate(single.images[0]):
        window = paint(single.dictionary, placement)
        if single.background and index == 0:
            paper = torch.from_numpy(light.over(single.size)).permute(2, 0, 1)
            raster = torch.cat([(window.rgb * paper.to(window.rgb)).clamp(0, 1), window.alpha])
            lit.append(
                Placement(OWN_RASTER, (Transform.shift(0, 0, single.size),), raster=raster, track=placement.track)
            )
            continue
        rows, columns = window.slices
        gain = light.gain(((columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2), single.size)
        colour = tuple(each * gain[channel % 3] for channel, each in enumerate(placement.colour))
        lit.append(replace(placement, colour=colour))
    return replace(single, images=(tuple(lit),))


def _with_margins(single: Decomposition, margins: Margins | None) -> Decomposition:
    """Put the margins around a picture in front of the one image at the original's size."""
    if margins is None:
        return single
    raster = torch.from_numpy(margins.picture(single.size)).permute(2, 0, 1).contiguous()
    border = Placement(OWN_RASTER, (Transform.shift(0, 0, single.size),), raster=raster)
    return replace(single, images=((*single.images[0], border),))

"""DTI-Sprites: the layered image model and its networks."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from delaminate.matching.soft.correlation import Sprites
from delaminate.matching.soft.pursuit import Search
from delaminate.methods.base import Method
from delaminate.methods.dti_sprites.config import FIRST_LAYERS, FIRST_SPRITES, Config
from delaminate.methods.dti_sprites.warping import move_sprites, move_to_canvas, sampling_grid
from delaminate.nets.blocks import BatchedMLP
from delaminate.nets.peaks import CentrePointHead
from delaminate.nets.precision import precision
from delaminate.nets.resnet import ImageEncoder, ResNet, pooled
from delaminate.objectives.reconstruction import select_exhaustive, select_greedy, stack
from delaminate.rng import stream
from delaminate.scene.compositing import composite, pairwise_occlusion
from delaminate.scene.layers import Layers
from delaminate.scene.transforms import NUM_PARAMETERS, colour_parts, morphological, sample, soft_clamp


@dataclass
class Prediction:
    """What the networks say about a batch; parameters by kind of transform.

    Attributes:
        sprite: Each (B, L, K, P).
        layer: Each (B, L, P).
        background: Each (B, P).
        occlusion: (B, L, L), or None for the plain order.
    """

    sprite: dict[str, Tensor]
    layer: dict[str, Tensor]
    background: dict[str, Tensor]
    occlusion: Tensor | None

    def rows(self, some: slice) -> "Prediction":
        """The part about some of the images."""

        def part(each: dict[str, Tensor]) -> dict[str, Tensor]:
            return {kind: values[some] for kind, values in each.items()}

        occlusion = None if self.occlusion is None else self.occlusion[some]
        return Prediction(part(self.sprite), part(self.layer), part(self.background), occlusion)


@dataclass(frozen=True)
class Settled:
    """What of a prediction depends on how far training has come.

    Attributes:
        sprite, background: The transforms that are switched on.
        entries: Indices of the sprites in use.
        empty_price: Of showing a sprite at all; None: none may be left out.
    """

    sprite: list[str]
    background: list[str]
    entries: Int[Tensor, " A"]
    empty_price: float | None


class DTISpritesModel(Method):
    """Sprites as free pixels, and the networks that transform them."""

    name = "dti-sprites"

    def __init__(self, config: Config, seed: int = 0) -> None:
        super().__init__(config, seed)
        c, rng = config, stream(seed, "weights")
        self.sprites_rgb = nn.Parameter(torch.full((c.offered_sprites, 3, *c.sprite_size), c.sprite_colour))
        blob = _gaussian(c.sprite_size, c.alpha_sigma)
        self.sprites_alpha = nn.Parameter(blob.repeat(c.offered_sprites, 1, 1, 1))
        if c.background:
            self.background_rgb = nn.Parameter(torch.full((3, *c.image_size), 0.5))
        self.encoder = self.build_encoder(c, rng)
        width, pairs = self.encoder.width * c.pool**2, c.offered_layers * (c.offered_layers - 1) // 2
        self.heads = nn.ModuleDict()
        if c.finds_numbers:
            self.register_buffer("layers", torch.tensor(float(c.num_layers or FIRST_LAYERS)))  # that search uses
        else:
            self._add_heads(c, width, pairs, rng)
        first = c.num_sprites or FIRST_SPRITES
        self.register_buffer("alive", (torch.arange(c.offered_sprites) < first).float())
        self.register_buffer("progress", torch.zeros(()))  # steps of gradient training done
        self.register_buffer("usage", torch.zeros(c.offered_layers, c.offered_sprites))
        self.register_buffer("learned", torch.zeros(2))  # by search, by the network
        self.register_buffer("scales", torch.ones(7))  # at which search by regions looks
        self.scales: Tensor
        self.layers: Tensor
        self.alive: Tensor
        self.progress: Tensor
        self.usage: Tensor
        self.learned: Tensor

    def _add_heads(self, c: Config, width: int, pairs: int, rng: Generator) -> None:
        """Make the regressors, in the order that their random numbers are drawn in."""
        if c.readout == "peaks":
            self.heads["peaks"] = CentrePointHead(self.encoder.width, self.encoder.stride, rng)
        else:
            for kind in c.layer_transforms:
                self.heads[f"layer_{kind}"] = BatchedMLP(c.offered_layers, width, NUM_PARAMETERS[kind], rng)
        for kind in c.sprite_transforms:
            count = c.offered_layers * c.offered_sprites
            self.heads[f"sprite_{kind}"] = BatchedMLP(count, width, NUM_PARAMETERS[kind], rng)
        if c.background:
            for kind in c.background_transforms:
                self.heads[f"background_{kind}"] = BatchedMLP(1, width, NUM_PARAMETERS[kind], rng)
        if c.soft_occlusion and pairs:
            self.heads["occlusion"] = BatchedMLP(1, width, pairs, rng)

    @property
    def num_layers(self) -> int:
        """Object layers: as given, or as many as search uses by now."""
        return int(self.layers) if self.config.finds_numbers else self.config.num_layers

    def build_encoder(self, config: Config, rng: Generator) -> ImageEncoder:
        """Make the network that looks at images; a subclass may make another one.

        It maps images (B, 3, H, W) in [0, 1] to features (B, width, h, w), one for every `stride` pixels.
        """
        return ResNet(32 if config.encoder == "resnet32" else 18, rng)

    def unlocked(self) -> tuple[list[str], list[str]]:
        """List the sprite and the background transforms that are switched on by now."""
        c, step = self.config, int(self.progress)
        padding = max(len(c.sprite_transforms) - len(c.unlock_steps), 0)
        starts = dict(zip(c.sprite_transforms, (0,) * padding + c.unlock_steps, strict=False))
        sprite = [kind for kind in c.sprite_transforms if step >= starts.get(kind, 0)]
        background = [kind for kind in c.background_transforms if step >= starts.get(kind, 0)]
        return sprite, background

    def settled(self) -> Settled:
        """What is switched on, in use and allowed by now."""
        c = self.config
        price = c.empty_sprite_cost if c.empty_sprite and not self.frozen else None
        return Settled(*self.unlocked(), self.active_entries, price)

    @property
    def frozen(self) -> bool:
        return int(self.progress) < self.config.frozen_steps

    @property
    def active_entries(self) -> Int[Tensor, " A"]:
        """Indices of the sprites in use."""
        return self.alive.nonzero()[:, 0]

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F h w"]:
        """Run the encoder, in bfloat16 where asked for; features come back in the images' type."""
        if self.config.encoder_scale > 1:
            images = F.avg_pool2d(images, self.config.encoder_scale)
        if images.device.type == "cpu" and images.dtype == torch.float32:
            images = images.contiguous(memory_format=torch.channels_last)
        with precision(images.device, self.config.bf16):
            return self.encoder(images).to(images.dtype)

    def predict(self, images: Float[Tensor, "B 3 H W"], settled: Settled | None = None) -> Prediction:
        """Predict all transforms that are switched on, by now or as they were settled."""
        c, batch = self.config, images.shape[0]
        features = self.encode(images)
        flat = pooled(features, c.pool)
        settled = settled or self.settled()
        if c.readout == "peaks":
            maps = self.peaks(features)
            layer = self.from_peaks(maps, *self.peaks.strongest(maps, c.offered_layers))
        else:
            layer = {kind: self.heads[f"layer_{kind}"](flat) for kind in c.layer_transforms}
        sprite = {
            kind: self.heads[f"sprite_{kind}"](flat).view(batch, c.offered_layers, c.offered_sprites, -1)
            for kind in settled.sprite
        }
        background = {}
        if c.background:
            background = {kind: self.heads[f"background_{kind}"](flat)[:, 0] for kind in settled.background}
        occlusion = None
        if "occlusion" in self.heads:
            occlusion = pairwise_occlusion(self.heads["occlusion"](flat)[:, 0], c.offered_layers)
        return Prediction(sprite, layer, background, occlusion)

    def native_log_scale(self) -> float:
        """The `position` parameter s at which one sprite pixel is one canvas pixel (along x)."""
        return math.log(max(self.image_size[1] / self.config.sprite_size[1] - 1, 1e-3))

    def from_peaks(self, maps: Tensor, rows: Tensor, columns: Tensor) -> dict[str, Tensor]:
        """Turn the chosen anchors' outputs into layer parameters."""
        readout = self.peaks
        found = readout.at(maps, rows, columns)  # B L 10
        height, width = self.image_size
        y = (rows + found[..., 1]) * readout.stride + 0.5  # pixels
        x = (columns + found[..., 2]) * readout.stride + 0.5
        # Scale is learned around the native one, slowly.
        s = self.native_log_scale() + 0.1 * found[..., 3]
        scale = 1 + s.exp()
        centre = torch.stack([2 * x / width - 1, 2 * y / height - 1], -1)
        position = torch.cat([s[..., None], -scale[..., None] * centre], -1)
        return {"colour": found[..., 4:], "position": position}

    def planes(self, clamp_alpha: bool) -> Float[Tensor, "K 4 h w"]:
        """RGB and alpha of all sprites; alpha stays raw while noise is to be added."""
        alpha = soft_clamp(self.sprites_alpha) if clamp_alpha else self.sprites_alpha
        return torch.cat([soft_clamp(self.sprites_rgb), alpha], 1)

    @property
    def peaks(self) -> CentrePointHead:
        """The readout of kind `peaks`."""
        readout = self.heads["peaks"]
        assert isinstance(readout, CentrePointHead)
        return readout

    def draw(
        self,
        planes: Float[Tensor, "K 4 h w"] | Float[Tensor, "N K 4 h w"],
        sprite: dict[str, Tensor],
        layer: dict[str, Tensor],
        noise: Float[Tensor, "K 1 H W"] | Float[Tensor, "N K 1 H W"] | None,
        count: int,
    ) -> tuple[Float[Tensor, "N K 3 H W"], Float[Tensor, "N K 1 H W"]]:
        """Put sprites on canvases: N placements of each of K sprites.

        Args:
            planes: Sprites shared by all placements (K, 4, h, w), or one set per placement.
            sprite: Sprite-level parameters, each (N, K, P).
            layer: Layer-level parameters, each (N, P).
            noise: Added to warped alphas where the sprite's square reaches, before the clamp (training).
            count: The number of placements, N.
        """
        moving = [kind for kind in sprite if kind != "colour"]
        if moving and noise is not None:
            planes = torch.cat([planes, torch.ones_like(planes[..., :1, :, :])], -3)
        for kind in moving:
            planes = move_sprites(planes, kind, sprite[kind], self.config.aligned_corners)
        planes, cover = move_to_canvas(planes, layer, self.image_size, noise is not None and not moving)
        planes = planes.expand(count, -1, -1, -1, -1)
        rgb, alpha = planes[:, :, :3], planes[:, :, 3:4]
        if noise is not None:
            cover = planes[:, :, 4:5] if moving else cover
            alpha = soft_clamp(torch.addcmul(alpha, cover, noise)) if cover is not None else soft_clamp(alpha + noise)
        if "colour" in sprite:
            gain, offset = colour_parts(sprite["colour"])  # N K 3
            rgb = torch.addcmul(offset[..., None, None], rgb, gain[..., None, None])
        if "colour" in layer:
            gain, offset = colour_parts(layer["colour"])  # N 3
            rgb = torch.addcmul(offset[:, None, :, None, None], rgb, gain[:, None, :, None, None])
        return soft_clamp(rgb), alpha

    def draw_background(
        self, parameters: dict[str, Tensor], batch: int, picture: Float[Tensor, "3 H W"] | None = None
    ) -> Float[Tensor, "B 3 H W"] | None:
        """Colour and move the background, or a picture in its place, continued beyond its border."""
        if not self.config.background:
            return None
        image = (soft_clamp(self.background_rgb) if picture is None else picture).expand(batch, -1, -1, -1)
        for kind, values in parameters.items():
            if kind == "morphological":
                image = morphological(image, values)
            elif kind != "colour":
                image = sample(
                    image, sampling_grid(kind, values, self.image_size, self.config.aligned_corners), "border"
                )
        if "colour" in parameters:
            gain, offset = colour_parts(parameters["colour"])
            image = torch.addcmul(offset[..., None, None], image, gain[..., None, None])
        return soft_clamp(image)

    def choose(
        self,
        images: Float[Tensor, "B 3 H W"],
        prediction: Prediction,
        noise: Float[Tensor, "K 1 H W"] | None,
    ) -> Int[Tensor, "B L"]:
        """Choose every layer's sprite by least error, without gradient. Indices; K is the empty sprite.

        A CPU takes a few images at a time, so that their candidates stay in its cache.
        """
        height, width = self.image_size
        few = (
            max(1, 2**18 // (self.config.offered_sprites * height * width))
            if images.device.type == "cpu"
            else len(images)
        )
        parts, settled = [slice(start, start + few) for start in range(0, len(images), few)], self.settled()
        return torch.cat([self.choose_together(images[some], prediction.rows(some), noise, settled) for some in parts])

    @torch.no_grad()
    def choose_together(
        self,
        images: Float[Tensor, "B 3 H W"],
        prediction: Prediction,
        noise: Float[Tensor, "K 1 H W"] | None,
        settled: Settled,
        picture: Float[Tensor, "3 H W"] | None = None,
    ) -> Int[Tensor, "B L"]:
        """Choose as `choose` does, for all images at once, before a background or a picture in its place."""
        c, entries, batch = self.config, settled.entries, images.shape[0]
        planes = self.planes(clamp_alpha=noise is None)[entries]
        some_noise = None if noise is None else noise[entries]

        def candidates(layer: int) -> tuple[Tensor, Tensor]:
            sprite = {kind: values[:, layer, entries] for kind, values in prediction.sprite.items()}
            whole = {kind: values[:, layer] for kind, values in prediction.layer.items()}
            return self.draw(planes, sprite, whole, some_noise, batch)

        background, price = self.draw_background(prediction.background, batch, picture), settled.empty_price
        if c.selection == "exhaustive":
            found = select_exhaustive(images, candidates, c.offered_layers, background, prediction.occlusion, price)
        else:
            found = select_greedy(
                images, candidates, c.offered_layers, background, prediction.occlusion, c.passes, price
            )
        names = torch.cat([entries, entries.new_tensor([c.offered_sprites])])
        return names[found]

    def compose(
        self, prediction: Prediction, entry: Int[Tensor, "B L"], noise: Float[Tensor, "K 1 H W"] | None
    ) -> Layers:
        """Draw only the chosen sprites, with gradient: memory does not grow with the number of sprites.

        Sprites and parameters are looked up by products with one-hot rows, whose gradients are sums in a fixed order.
        """
        c, (batch, count) = self.config, entry.shape
        flat = entry.flatten()
        one_hot = F.one_hot(flat, c.offered_sprites + 1)[:, : c.offered_sprites].to(self.sprites_rgb.dtype)
        table = self.planes(clamp_alpha=noise is None)
        if self.frozen:
            table = table.detach()
        planes = (one_hot @ table.flatten(1)).view(batch * count, 1, *table.shape[1:])
        rows = one_hot.view(batch, count, -1, 1)
        sprite = {kind: (values * rows).sum(2).flatten(0, 1)[:, None] for kind, values in prediction.sprite.items()}
        layer = {kind: values.flatten(0, 1) for kind, values in prediction.layer.items()}
        chosen_noise = None
        if noise is not None:
            chosen_noise = (one_hot @ noise.flatten(1)).view(batch * count, 1, *noise.shape[1:])
        rgb, alpha = self.draw(planes, sprite, layer, chosen_noise, batch * count)
        background = self.draw_background(prediction.background, batch)
        rgb = rgb.reshape(batch, count, 3, *self.image_size)
        return stack(rgb, alpha.reshape(batch, count, 1, *self.image_size), prediction.occlusion, background)

    def reconstruct(self, images: Float[Tensor, "B 3 H W"], noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Predict, choose and compose: the reconstruction with gradient, and the chosen entries."""
        prediction = self.predict(images)
        entry = self.choose(images, prediction, noise)
        return composite(self.compose(prediction, entry, noise)), entry

    def candidates(self) -> Sprites:
        """The sprites in use, as search sees them: shadings where placements tint, else RGB."""
        entries = self.active_entries
        rgb = self.sprites_rgb.detach()[entries].clamp(0, 1)
        if self.config.search_tint:
            rgb = rgb.mean(1, keepdim=True)
        return Sprites(rgb, self.sprites_alpha.detach()[entries].clamp(0, 1))

    def search_settings(self) -> Search:
        c = self.config
        return Search(
            num_placements=self.num_layers, price=c.search_placement_cost, passes=1, free_colour=c.search_tint, beam=8
        )


def _gaussian(size: tuple[int, int], sigma: float) -> Float[Tensor, "1 h w"]:
    """A blob about the centre with peak 1, exp(-d^2 / (2 sigma^2))."""
    y, x = (torch.arange(n) - (n - 1) / 2 for n in size)
    return torch.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * sigma**2))[None]

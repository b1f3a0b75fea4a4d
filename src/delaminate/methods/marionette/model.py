"""MarioNette: the model, soft in training and hard at test."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from delaminate.errors import ConfigError
from delaminate.matching.exact.detection import PlacementCost
from delaminate.matching.exact.dictionary import SpriteDictionary, SpriteStore
from delaminate.matching.exact.growth import RegionGrowing
from delaminate.matching.exact.processes import usual_number
from delaminate.matching.exact.readouts import Readout
from delaminate.matching.exact.search import Search
from delaminate.matching.exact.templates import HardSprite
from delaminate.methods.base import Method
from delaminate.methods.marionette.config import LARGE_SPRITES, Config
from delaminate.nets.anchors import (
    apply_matrices,
    bilinear_shift_matrices,
    crop_matrix,
    fixed_order,
    lattice_side,
    lattices,
    shift_matrices,
    windows_of,
)
from delaminate.nets.partial import MLP, PartialEncoder, SpriteDecoder, uniform
from delaminate.nets.precision import has_bfloat16
from delaminate.rng import stream

# Images that inference takes at a time.
FEW = 8


@dataclass
class Soft:
    """A training forward, N = B L R S anchors.

    Attributes:
        image: The reconstruction.
        scores: Of every sprite at every anchor, s_ij; they sum to one.
        switch: Probability that an anchor holds a sprite.
        offsets: Probabilities of the shifts along x and y; none when shifts are continuous.
    """

    image: Float[Tensor, "B 3 H W"]
    scores: Float[Tensor, "N m"]
    switch: Float[Tensor, "B L R S"]
    offsets: tuple[Float[Tensor, "N o"], ...]


@dataclass
class Hard:
    """What a test forward decides about the A anchors that hold a sprite.

    Attributes:
        anchor: Image, layer, row and column.
        entry: The sprite.
        shift: Down and to the right, in pixels from the anchor's window.
        sprites: RGBA (A, 4, k, k), not premultiplied.
        background: What is behind everything, (B, 3, H, W).
        corner: Row and column of the crop of a learned background, (B, 2).
    """

    anchor: Int[Tensor, "A 4"]
    entry: Int[Tensor, " A"]
    shift: Float[Tensor, "A 2"]
    sprites: Float[Tensor, "A 4 k k"]
    background: Float[Tensor, "B 3 H W"]
    corner: Int[Tensor, "B 2"]


class MarioNetteModel(Method):
    """A dictionary of codes, the networks that place its sprites, and the store of what search has found."""

    name = "marionette"
    covers_all = False
    """Every round of search sees all frames."""
    readouts: tuple[Readout, ...] = ()
    """Scores and clocks of the images that are searched."""

    def __init__(self, config: Config, seed: int = 0) -> None:
        super().__init__(config, seed)
        if config.image_size == (0, 0):
            raise ConfigError("marionette: image_size is (0, 0); expected that of the images: --set image_size=[H,W].")
        c, rng = config, stream(seed, "weights")
        d, k, s = c.code_width, c.sprite_size, c.step_size
        self.codes = nn.Parameter(torch.empty(c.num_sprites, d).normal_(generator=rng))
        self.generator = SpriteDecoder(d, (4, k, k), rng)
        self.encoder = PartialEncoder(3, d, s.bit_length() - 1, c.num_layers, rng)
        self.switch = MLP(d, 1, rng)
        self.key = nn.ParameterDict({"weight": uniform((d, d), d, rng), "bias": uniform((d,), d, rng)})
        self.shift_encoder = PartialEncoder(7, d, (k - 1).bit_length(), 1, rng)
        outputs = (s + 1, s + 1) if c.offsets == "discrete" else (2,)
        self.shift_heads = nn.ModuleList(MLP(d, count, rng) for count in outputs)
        if c.background == "learned":
            size = (c.background_size[0] * c.image_size[0], c.background_size[1] * c.image_size[1])
            self.backdrop_code = nn.Parameter(torch.empty(1, c.background_width).normal_(generator=rng))
            self.backdrop = SpriteDecoder(c.background_width, (3, *size), rng)
            if self.scrolls:
                places = [big - small + 1 for big, small in zip(size, c.image_size, strict=True)]
                longest = max(side * s for side in c.grid)
                self.backdrop_encoder = PartialEncoder(3, d, (longest - 1).bit_length(), 1, rng)
                self.backdrop_heads = nn.ModuleList(MLP(d, count, rng) for count in places if count > 1)
        self.register_buffer("colour", torch.zeros(3))  # of a solid background
        self.register_buffer("alive", torch.ones(c.num_sprites))
        self.register_buffer("learned", torch.zeros(2))  # by search, by the network
        self.register_buffer("stored", torch.zeros(()))  # 1: sprites are `pixels`, not what the generator decodes
        self.register_buffer("pixels", torch.zeros(c.num_sprites, 4, k, k))
        self.store = SpriteStore(c.num_sprites, c.largest_sprite)  # what search has found
        self.given: tuple[HardSprite, ...] = ()  # what it begins with
        self.colour: Tensor
        self.alive: Tensor
        self.learned: Tensor
        self.stored: Tensor
        self.pixels: Tensor

    @property
    def active_entries(self) -> Int[Tensor, " K"]:
        """Indices of the sprites in use."""
        return self.alive.nonzero()[:, 0]

    def sheet(self) -> SpriteDictionary:
        """What search has found."""
        return replace(self.store.sheet(), titles=self.config.given_sprites[: self.store.count])

    def search(self) -> Search:
        """How this model looks for sprites."""
        return replace(search_of(self.config), processes=usual_number())

    # --- the dictionary -----------------------------------------------------------------------------------------------

    def normal(self, x: Float[Tensor, "*N d"]) -> Float[Tensor, "*N d"]:
        """Layer normalisation without an affine transformation, unless it is switched off."""
        return F.layer_norm(x, x.shape[-1:]) if self.config.layer_norm else x

    def sprites(self) -> Float[Tensor, "m 4 k k"]:
        """All sprites as RGBA in [0, 1], not premultiplied."""
        return self.pixels if bool(self.stored) else self.generator(self.normal(self.codes))

    @property
    def faded(self) -> bool:
        """Colours are multiplied by alpha before they are averaged."""
        return self.config.premultiplied and self.config.offsets == "discrete"

    def planes(self, sprites: Float[Tensor, "m 4 k k"]) -> Float[Tensor, "m 4 k k"]:
        """What is averaged over sprites and shifts: RGBA, premultiplied or not."""
        if not self.faded:
            return sprites
        return torch.cat([sprites[:, :3] * sprites[:, 3:], sprites[:, 3:]], 1)

    # --- what networks say --------------------------------------------------------------------------------------------

    def encode(self, encoder: PartialEncoder, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B heads h w d"]:
        """Run an encoder, in bfloat16 where asked for; features come back normalised, in the images' type."""
        lower = self.config.bf16 and has_bfloat16(x.device.type)
        features = encoder(x.bfloat16()).to(x.dtype) if lower else encoder(x)
        return self.normal(features)

    def whole_cells(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 _ _"]:
        """Continue images by their right and lower edges to whole cells."""
        (height, width), s = self.image_size, self.config.step_size
        rows, columns = (side * s for side in self.config.grid)
        if (rows, columns) == (height, width):
            return images
        return F.pad(images, (0, columns - width, 0, rows - height), mode="replicate")

    def look(self, cells: Float[Tensor, "B 3 _ _"]) -> tuple[Float[Tensor, "N m"], Float[Tensor, "B L R S"]]:
        """Logits of sprites (Eq. 1) and of switches at all anchors (section 3.2)."""
        features = self.encode(self.encoder, cells)  # B L R S d
        flat = features.flatten(0, 3)
        keys = self.normal(F.linear(flat, self.key["weight"], self.key["bias"]))
        logits = keys @ self.normal(self.codes).T / math.sqrt(self.config.code_width)
        logits = logits.masked_fill(self.alive == 0, -torch.inf)
        return logits, self.switch(flat).view(features.shape[:4])

    def shift_logits(self, crops: Float[Tensor, "N 3 k k"], sprites: Float[Tensor, "N 4 k k"]) -> tuple[Tensor, ...]:
        """Logits of the shifts along x and y, (N, s + 1) each; or the two shifts in pixels, (N, 1) each (section 3.4)."""
        # The frame's half of the first convolution is the same for all layers, but on its own it costs as much as the whole:
        # kernels work on eight channels at a time.
        features = self.encode(self.shift_encoder, torch.cat([crops, sprites], 1)).flatten(0, 3)
        found = tuple(head(features) for head in self.shift_heads)
        if self.config.offsets == "discrete":
            return found
        return torch.tanh(found[0]).mul(-self.config.step_size / 2).split(1, 1)

    def crops(self, cells: Float[Tensor, "B 3 _ _"]) -> Float[Tensor, "B R S 3 k k"]:
        return windows_of(cells, self.config.sprite_size, self.config.step_size)

    # --- drawing ------------------------------------------------------------------------------------------------------

    def draw(
        self, sprites: Float[Tensor, "N 4 k k"], offsets: tuple[Tensor, ...], switch: Float[Tensor, " N"]
    ) -> Float[Tensor, "N 4 w w"]:
        """Shift sprites and fade them by their switches.

        Args:
            sprites: As `planes` gives them, mixed or not.
            offsets: Probabilities of shifts along x and y, or the shifts in pixels.
            switch: Probability that the sprite is there.

        Returns:
            Colour and alpha as `compose` wants them: premultiplied, or both multiplied by the switch (parity).
        """
        c = self.config
        k, s, clip = c.sprite_size, c.step_size, c.clip_window
        if c.offsets == "discrete":
            columns, rows = (shift_matrices(chances, k, clip) for chances in offsets)
            moved = apply_matrices(sprites, rows, columns)
        else:
            # Colours are continued beyond the sprite's border, alpha ends there (authors' code).
            parts = []
            for part, border in ((sprites[:, :3], True), (sprites[:, 3:], False)):
                columns, rows = (bilinear_shift_matrices(shift[:, 0], k, s, clip, border) for shift in offsets)
                parts.append(apply_matrices(part, rows, columns))
            if c.premultiplied:
                parts[0] = parts[0] * parts[1]
            moved = torch.cat(parts, 1)
        return moved * switch[:, None, None, None]

    def compose(
        self, windows: Float[Tensor, "N 4 w w"], background: Float[Tensor, "B 3 H W"], order: list[tuple[int, int]]
    ) -> Float[Tensor, "B 3 H W"]:
        """Paint all sub-lattices of all layers over the background, in the given order (section 3.5)."""
        c = self.config
        size = (*c.grid, 4, *windows.shape[2:])
        canvases = lattices(windows.view(len(background), c.num_layers, *size), c.step_size, self.image_size)
        image = background
        for layer, lattice in order:
            colour, alpha = canvases[layer][lattice].split([3, 1], 1)
            if c.premultiplied:
                image = torch.addcmul(image + colour, alpha, image, value=-1)
            else:
                image = torch.lerp(image, colour, alpha)
        return image

    @property
    def lattice_side(self) -> int:
        """Sub-lattices along an axis."""
        c = self.config
        return lattice_side(c.sprite_size + (0 if c.clip_window else c.step_size), c.step_size)

    def fixed_order(self) -> list[tuple[int, int]]:
        return fixed_order(self.config.num_layers, self.lattice_side)

    @property
    def scrolls(self) -> bool:
        """The background is larger than a frame."""
        return self.config.background == "learned" and max(self.config.background_size) > 1

    def crop_chances(self, cells: Float[Tensor, "B 3 _ _"]) -> tuple[Tensor | None, Tensor | None]:
        """Probabilities of the row and the column where the background is cropped; None where there is one only."""
        if not self.scrolls:
            return None, None
        features = self.encode(self.backdrop_encoder, cells)[:, 0].mean((1, 2))  # a 1 x 1 map
        found = [F.softmax(head(features), 1) for head in self.backdrop_heads]
        high, wide = (factor > 1 for factor in self.config.background_size)
        return (found[0] if high else None), (found[-1] if wide else None)

    def backdrop_image(self) -> Float[Tensor, "3 _ _"]:
        """The learned background, whole."""
        return self.backdrop(self.normal(self.backdrop_code))[0]

    def soft_backdrop(self, cells: Float[Tensor, "B 3 _ _"]) -> Float[Tensor, "B 3 H W"]:
        """What is behind the layers: a colour, or the expected crop of the learned background."""
        if self.config.background != "learned":
            colour = self.colour if self.config.background == "solid" else torch.zeros_like(self.colour)
            return colour.view(1, 3, 1, 1).expand(cells.shape[0], 3, *self.image_size)
        return self.cropped(self.backdrop_image(), *self.crop_chances(cells), cells.shape[0])

    def cropped(
        self, image: Float[Tensor, "3 _ _"], rows: Tensor | None, columns: Tensor | None, batch: int
    ) -> Float[Tensor, "B 3 H W"]:
        """The expected crop of a background; None where there is one row or column only."""
        size, found = self.image_size, image.expand(batch, -1, -1, -1)
        if columns is not None:
            found = image.flatten(0, 1) @ crop_matrix(columns, size[1]).transpose(1, 2)  # B 3 bH, W
            found = found.view(batch, 3, -1, size[1])
        if rows is not None:
            found = crop_matrix(rows, size[0])[:, None] @ found
        return found

    # --- soft and hard ------------------------------------------------------------------------------------------------

    def soft(self, images: Float[Tensor, "B 3 H W"], order: list[tuple[int, int]]) -> Soft:
        """Go forward as in training: mixes of sprites, shifts and switches (Eq. 2)."""
        c, cells = self.config, self.whole_cells(images)
        logits, switch = self.look(cells)
        scores, switch = F.softmax(logits, 1), torch.sigmoid(switch)
        k = c.sprite_size
        # One product instead of N m sprites.
        mixed = (scores @ self.planes(self.sprites()).flatten(1)).view(-1, 4, k, k)
        crops = self.crops(cells)[:, None].expand(-1, c.num_layers, *[-1] * 5).reshape(-1, 3, k, k)
        found = self.shift_logits(crops, mixed)
        offsets = tuple(F.softmax(each, 1) for each in found) if c.offsets == "discrete" else found
        shown = switch
        if c.straight_through:
            shown = switch + (switch.round() - switch).detach()
        windows = self.draw(mixed, offsets, shown.flatten())
        image = self.compose(windows, self.soft_backdrop(cells), order)
        return Soft(image, scores, switch, offsets if c.offsets == "discrete" else ())

    @torch.no_grad()
    def hard(self, images: Float[Tensor, "B 3 H W"]) -> Hard:
        """Decide as at test: one sprite and one shift for each anchor whose switch is above 1/2.

        The shift is still predicted from the mix of sprites, as in training; anchors without a sprite are not looked at.
        """
        c, cells = self.config, self.whole_cells(images)
        k, s = c.sprite_size, c.step_size
        logits, switch = self.look(cells)
        on = torch.sigmoid(switch) > 0.5
        anchor = on.nonzero()
        logits = logits[on.flatten()]
        sprites = self.sprites()
        mixed = (F.softmax(logits, 1) @ self.planes(sprites).flatten(1)).view(-1, 4, k, k)
        entry = logits.argmax(1)
        shift = mixed.new_zeros(len(anchor), 2)
        if len(anchor):
            image, _, row, column = anchor.unbind(1)
            across, down = self.shift_logits(self.crops(cells)[image, row, column], mixed)
            if c.offsets == "discrete":
                shift = s / 2 - torch.stack([down.argmax(1), across.argmax(1)], 1).to(shift.dtype)
            else:
                shift = torch.cat([down, across], 1)
        shown = sprites[entry]
        if c.mix_sprites:
            shown = mixed
            if self.faded:
                tiny = torch.finfo(mixed.dtype).tiny
                shown = torch.cat([mixed[:, :3] / mixed[:, 3:].clamp_min(tiny), mixed[:, 3:]], 1)
        return Hard(anchor, entry, shift, shown, *self._hard_backdrop(cells))

    def _hard_backdrop(self, cells: Float[Tensor, "B 3 _ _"]) -> tuple[Float[Tensor, "B 3 H W"], Int[Tensor, "B 2"]]:
        corner = torch.zeros(len(cells), 2, dtype=torch.int64, device=cells.device)
        if self.config.background != "learned" or self.config.soft_background:
            return self.soft_backdrop(cells), corner
        for axis, chances in enumerate(self.crop_chances(cells)):
            if chances is not None:
                corner[:, axis] = chances.argmax(1)
        image, (height, width) = self.backdrop_image(), self.image_size
        return torch.stack([image[:, y : y + height, x : x + width] for y, x in corner.tolist()]), corner

    @torch.no_grad()
    def reconstruct(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """The hard reconstruction, drawn as in training: what `decompose(...).composite()` paints sprite by sprite."""
        c, found = self.config, self.hard(images)
        if c.offsets == "discrete":
            outcomes = (c.step_size / 2 - found.shift).long()
            offsets = tuple(F.one_hot(outcomes[:, axis], c.step_size + 1).to(found.shift.dtype) for axis in (1, 0))
        else:
            offsets = (found.shift[:, 1:], found.shift[:, :1])
        drawn = self.draw(self.planes(found.sprites), offsets, found.shift.new_ones(len(found.entry)))
        windows = drawn.new_zeros(len(images), c.num_layers, *c.grid, *drawn.shape[1:])
        windows[found.anchor.unbind(1)] = drawn
        return self.compose(windows.flatten(0, 3), found.background, self.fixed_order())


def search_of(c: Config) -> Search:
    """How a model of these settings looks for sprites."""
    reach = ((c.max_sprite or LARGE_SPRITES[0]) - c.search_seed) // 2
    growth = RegionGrowing(c.search_seed, reach, c.match, misfit=min(1.1 - c.match, 0.5))
    price = PlacementCost(c.search_min_pixels, c.search_min_share)
    components = c.search_parts == "components"
    return Search(
        c.tolerance, growth, price, c.num_sprites, flips=c.flips, components=components, chroma=c.chroma,
        largest_region=c.largest_sprite,
    )  # fmt: skip

"""MarioNette: stages, decomposition and storage."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Generator, Tensor

from delaminate.errors import ConfigError, FormatError, ShapeError
from delaminate.matching.exact.dictionary import SpriteStore, hard_sprite, of_eight_bits
from delaminate.matching.exact.noise import LOSSLESS_MATCH, estimate_noise, ink_tolerance, is_noisy
from delaminate.matching.exact.templates import ColourCodes
from delaminate.methods.base import ALIKE, Forecast
from delaminate.methods.graph import LayerGraph
from delaminate.methods.marionette.config import PRESETS, Config
from delaminate.methods.marionette.distillation import Distiller, take_over
from delaminate.methods.marionette.graph import AnchorGraph
from delaminate.methods.marionette.model import FEW, Hard, MarioNetteModel
from delaminate.methods.marionette.training import Backdrop, Matcher, Refiner, background_of, told
from delaminate.methods.players import Stage, StepContext
from delaminate.nets.anchors import (
    pad_transparent,
)
from delaminate.nets.precision import evaluation_mode
from delaminate.objectives.reconstruction import image_error
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import OWN_RASTER, Dictionary, Placement, Transform

LARGE = 4_000_000
"""Pixels at a time from which on it is said beforehand what they take."""
# Bytes and seconds a pixel of search: rough orders, read off single runs on one core of a shared machine, for which no
# script is kept. They serve to warn before hours or gigabytes, and may be off by a factor of two or three.
TRAIN_BYTES, TRAIN_SECONDS = 430, 15e-6
SEARCH_BYTES, HELD_BYTES = 150, 40
SEARCH_SECONDS, SPRITE_SECONDS = 0.5e-6, 0.1e-6
SAMPLE = 12
"""Frames on which a search is judged while it goes on: each is searched, which takes its time."""


class MarioNette(MarioNetteModel):
    """Frames are sprites of a dictionary of codes, one per anchor and layer. (Smirnov et al., NeurIPS 2021)"""

    presets = PRESETS
    background_kind = ""
    """What was taken for the background by a search: solid, static, rooms, panorama or parallax."""
    can_reconstruct_softly = True
    training_signals: ClassVar[Mapping[str, str]] = {
        "unexplained": "The share of all pixels that neither background nor sprites explain after a round of search.",
        "sprites": "Sprites that search has found.",
    }

    @classmethod
    def forecast_training(cls, config: Config, count: int, size: tuple[int, int]) -> Forecast | None:
        together = min(count, config.frames_a_round(size))
        pixels = size[0] * size[1] * together
        if not config.search_steps or pixels <= LARGE:
            return None
        seconds = pixels * TRAIN_SECONDS * config.search_steps
        advice = f"With --set search_batch={max(together // 4, 1)} it takes about a quarter of both."
        return Forecast(pixels * TRAIN_BYTES, seconds, f"{config.search_steps} rounds on {together}", advice)

    def forecast_decomposition(self, count: int, size: tuple[int, int], batch: int) -> Forecast | None:
        pixels = size[0] * size[1]
        if pixels * min(count, batch) <= LARGE:
            return None
        held = pixels * (SEARCH_BYTES + HELD_BYTES * min(count, batch))
        each = SEARCH_SECONDS + SPRITE_SECONDS * len(self.dictionary())
        return Forecast(held, pixels * count * each, str(count))

    @classmethod
    def fill_config(
        cls, config: Config, pixels: UInt8[Tensor, "N 3 H W"], transparent: tuple[int, int, int] | None = None
    ) -> Config:
        config = super().fill_config(config, pixels, transparent)
        if not config.search_steps:
            return config
        if transparent is not None and config.background in ("auto", "solid"):
            config = replace(config, background_colour=transparent)
        images = pixels.permute(0, 2, 3, 1).cpu().numpy()
        if config.straighten and not config.search_tolerance:
            config = replace(config, search_tolerance=ink_tolerance(images))
        if config.search_tolerance and config.search_match:
            return config
        noise = estimate_noise(images)
        if config.search_tolerance:
            noise = replace(noise, match=LOSSLESS_MATCH)
        return replace(
            config,
            search_tolerance=config.search_tolerance or noise.tolerance,
            search_match=config.search_match or noise.match,
            search_chroma=config.search_chroma or noise.chroma,
        )

    @classmethod
    def straightens(cls, config: Config) -> bool:
        return config.straighten

    @property
    def decomposers(self) -> tuple[str, ...]:
        found = tuple(
            name for name, learned in zip(("search", "network"), self.learned.tolist(), strict=True) if learned
        )
        return found or (("search",) if self.config.search_steps else ("network",))

    @property
    def graph_ways(self) -> tuple[str, ...]:
        return ("network",) if "network" in self.decomposers else ()

    def graph(self, by: str) -> LayerGraph:
        return AnchorGraph(self.graph_copy()) if by in self.graph_ways else super().graph(by)

    def accepts_size(self, size: tuple[int, int], by: str) -> bool:
        """Search explains frames of any size, where the background is of one colour."""
        return size == self.image_size or (by == "search" and self.store.ground.shape[1:] == (1, 1))

    def preparation(self, count: int) -> str | None:
        looked_for = self.config.search_steps and self.config.background not in ("learned", "black")
        if looked_for and count * self.image_size[0] * self.image_size[1] >= LARGE:
            return f"Looking for the background of {count} images."
        return None

    def prepare(self, pixels: UInt8[Tensor, "N 3 H W"]) -> tuple[str, ...]:
        """Estimate the background that search needs, from all images; the same each time."""
        if self.config.search_steps and self.config.background != "learned":
            choice = background_of(pixels, self.config)
            self.store.put_background(choice.background)
            self.background_kind, self.readouts = choice.kind, choice.readouts
            self.covers_all = len(pixels) <= self.config.frames_a_round(self.image_size)
            return (told(choice),)
        return ()

    def stages(self) -> tuple[Stage, ...]:
        c = self.config
        found = []
        if c.search_steps:
            found.append(Stage("search", c.search_steps, c.frames_a_round(self.image_size), (Matcher(self),)))
        elif c.background == "solid" and c.steps:
            # Search has found it otherwise.
            found.append(
                Stage("background", 1, c.background_images, (Backdrop(self),), batch_setting="background_images")
            )
        if c.distil_steps:
            found.append(Stage("distil", c.distil_steps, c.distil_batch, (Distiller(self),)))
        if c.steps:
            found.append(Stage("refine", c.steps, c.batch, (Refiner(self),)))
        return tuple(found)

    def give_sprites(self, sprites: Mapping[str, UInt8[np.ndarray, "_h _w 4"]], resume: bool = False) -> None:
        c, given = self.config, tuple(hard_sprite(rgba) for rgba in sprites.values())
        if not c.search_steps:
            raise ConfigError(
                "marionette: only search begins with sprites that are given; expected search_steps above 0."
            )
        if resume and c.given_sprites != tuple(sprites):
            raise ConfigError(
                f"marionette: the run began with {len(c.given_sprites)} sprites that were given, and these are "
                f"{len(given)} others; give the same, or leave them out."
            )
        if len(given) > c.num_sprites:
            raise ConfigError(f"marionette: {len(given)} sprites are given, and num_sprites is {c.num_sprites}.")
        side = max((*(max(sprite.size) for sprite in given), c.largest_sprite))
        largest = c.max_sprite if side == c.largest_sprite else side
        self.config = replace(c, given_sprites=tuple(sprites), max_sprite=largest)
        self.given, self.store = given, SpriteStore(c.num_sprites, side).to(self.colour)

    @torch.no_grad()
    def set_sprites(self, rgba: Float[Tensor, "m 4 k k"]) -> None:
        """Replace the sprites by pixels, edited or found otherwise; from now on the generator is not asked.

        Raises:
            ShapeError: There is not one sprite of the model's size for each entry.
        """
        if rgba.shape != self.pixels.shape:
            raise ShapeError(
                f"marionette: sprites are {tuple(rgba.shape)}; expected {tuple(self.pixels.shape)}, RGBA for each entry."
            )
        self.pixels.copy_(rgba.clamp(0, 1))
        self.stored.fill_(1)

    @torch.no_grad()
    def reconstruct_softly(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """The reconstruction of training, with mixes of sprites and shifts, in the fixed order."""
        return torch.cat([self.soft(some, self.fixed_order()).image for some in images.split(FEW)])

    @torch.no_grad()
    def error(self, images: Float[Tensor, "B 3 H W"], stage: str) -> Float[Tensor, " _n"]:
        if stage == "search":
            sheet, images = self.sheet(), images[:: max(1, len(images) // SAMPLE)]
            return torch.cat(
                [image_error(x, sheet.decompose(x, self.search()).composite().to(x)) for x in images.split(FEW)]
            )
        with evaluation_mode(self):
            return torch.cat([image_error(some, self.reconstruct(some)) for some in images.split(FEW)])

    # --- decomposition ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def dictionary(self) -> Dictionary:
        if not bool(self.learned[1]) and self.config.search_steps:
            return self.sheet().dictionary(self.image_size)
        return self.network_dictionary()

    @torch.no_grad()
    def network_dictionary(self) -> Dictionary:
        """Sprites as the network paints them."""
        rgba = self.sprites()[self.active_entries].cpu()
        if self.config.offsets == "continuous":
            rgba = pad_transparent(rgba)
        sprites = [*rgba.unbind(0)]
        if self.config.background == "black":
            return Dictionary(tuple(sprites))
        if self.config.background == "solid":
            picture = self.colour.cpu().view(3, 1, 1).expand(3, *self.image_size)
        else:
            picture = self.backdrop_image().cpu()
        sprites.append(torch.cat([picture, torch.ones_like(picture[:1])]))
        return Dictionary(tuple(sprites), (len(sprites) - 1,))

    def _decompose(self, images: Float[Tensor, "B 3 H W"], by: str) -> Decomposition:
        if by == "search":
            return self.sheet().decompose(images, self.search())
        dictionary = self.network_dictionary()
        found: list[tuple[Placement, ...]] = []
        for some in images.split(FEW):
            found += placements_of(self, self.hard(some), dictionary)
        return Decomposition(dictionary, tuple(found), self.image_size, self.config.background != "black")

    # --- model folders ------------------------------------------------------------------------------------------------

    optional_tensors = (
        "pixels", "codes", "generator.", "encoder.", "switch.", "key.", "shift_encoder.", "shift_heads.", "backdrop",
        "plane.",
    )  # fmt: skip
    resizable_tensors = ("dictionary.rgba", "background.rgb", "plane.rgba")
    exact_tensors = ("looks", "plane.motion")

    def export_state(self, everything: bool = False) -> dict[str, Tensor]:
        """List the tensors of a model folder: what search found, and the network if it has been trained.

        The generator is left out once its sprites have been replaced.
        """
        searched = everything or bool(self.learned[0])
        trained = everything or bool(self.learned[1]) or not self.config.search_steps
        rgba, sizes, picture = self.store.rgba, self.store.sizes, self.store.ground
        if trained and not searched:
            rgba, sizes = self.sprites(), torch.full_like(sizes, self.config.sprite_size)
            picture = self.backdrop_image() if self.config.background == "learned" else self.colour.view(3, 1, 1)
        found = {"dictionary.rgba": rgba.clone(), "dictionary.sizes": sizes, "background.rgb": picture.clone()}
        found["looks"] = self.store.looks
        if everything or self.store.plane.shape[1:] != (1, 1):
            found |= {"plane.rgba": self.store.plane.clone(), "plane.motion": self.store.plane_motion}
        left_out = ["store.", *(() if trained else self.optional_tensors)]
        if not everything:
            left_out.append("generator." if bool(self.stored) else "pixels")
        found |= {name: value for name, value in self.state_dict().items() if not name.startswith(tuple(left_out))}
        return {name: value.detach() for name, value in found.items()}

    @torch.no_grad()
    def import_state(self, parts: Mapping[str, Tensor]) -> None:
        if bool(parts["learned"][1]) or not self.config.search_steps:
            needed = [name for name in self.state_dict() if name.startswith(self.optional_tensors)]
            if bool(parts["stored"]):
                needed = [name for name in needed if not name.startswith("generator.")]
            else:
                needed.remove("pixels")
            missing = [name for name in needed if name not in parts]
            if missing:
                raise FormatError(f"model folder: {missing[0]} is missing, though the network has been trained.")
        state = self.state_dict()
        for name, value in parts.items():
            if name in state and not name.startswith("store."):
                state[name].copy_(value)
        self.store.looks.copy_(parts["looks"])
        if bool(self.learned[0]):
            if parts["dictionary.rgba"].shape != self.store.rgba.shape:
                raise FormatError(
                    f"model folder: dictionary.rgba is not {tuple(self.store.rgba.shape)} as config.json says."
                )
            self.store.rgba.copy_(of_eight_bits(parts["dictionary.rgba"]))
            self.store.sizes.copy_(parts["dictionary.sizes"])
            self.store.ground = of_eight_bits(parts["background.rgb"].to(self.store.rgba))
            if "plane.rgba" in parts and "plane.motion" in parts:
                self.store.plane = of_eight_bits(parts["plane.rgba"].to(self.store.rgba))
                self.store.plane_motion.copy_(parts["plane.motion"])
            self.store.check("model folder")
        if (bool(self.learned[1]) or not self.config.search_steps) and not bool(self.alive.any()):
            raise FormatError("model folder: no sprite is in use; the model is empty. Train it first.")

    def on_stage_start(self, stage: str) -> None:
        if stage == "search":
            self.learned[0] = 1
        elif stage in ("distil", "refine"):
            self.learned[1] = 1
            if self.config.search_steps:
                take_over(self)

    @property
    def transparent(self) -> tuple[int, int, int] | None:
        colour = self.config.background_colour
        return (colour[0], colour[1], colour[2]) if colour else None

    @property
    def background_text(self) -> str:
        if not self.config.search_steps or self.config.background == "learned":
            return ""
        height, width = int(self.store.ground.shape[1]), int(self.store.ground.shape[2])
        part = f"a picture of {width} x {height} pixels, of which each image shows a part"
        if self.store.plane.shape[1:] != (1, 1):
            still = float(self.store.plane_motion[0]) == 0
            return (
                f"{part}, behind a panel that stands still" if still else "two planes that scroll at different speeds"
            )
        if (height, width) == (1, 1):
            return "nothing (transparent)" if self.config.background_colour else "one colour"
        if (height, width) == self.image_size:
            return "a still picture"
        return part

    def same_colours(self, one: Float[Tensor, "B 3 H W"], other: Float[Tensor, "B 3 H W"]) -> Bool[Tensor, "B H W"]:
        """As search compares colours, where that is wider: a sprite should not explain noise and smeared chroma."""
        if not self.config.search_steps:
            return super().same_colours(one, other)
        codes = ColourCodes(max(ALIKE, self.config.tolerance), self.config.chroma)
        first, second = (each.permute(0, 2, 3, 1).cpu().numpy() for each in (one, other))
        return torch.from_numpy(codes.same(first, second)).to(one.device)

    def advice(self, level: str, by: str) -> str:
        if level == "good" or by != "search":
            return super().advice(level, by)
        tries = []
        if self.config.search_parts == "patches" and self.config.background == "auto":
            tries.append("another background (--set background=solid, static or panorama)")
        if not is_noisy(self.config.tolerance):
            tries.append("for noisy recordings --set search_tolerance=0.2 search_match=0.8")
        if self.config.search_parts == "patches":
            tries.append("for pages of text --preset text-pages")
            tries.append("for photographs of one kind of thing `redo` or `perturbgan`")
        else:
            tries.append("more pages of the same print: a glyph is learned where it recurs")
        said = (
            "What else recurs may be found by other settings"
            if level == "fair"
            else "What does not recur is not found here"
        )
        return f"{said}: try {'; '.join(tries)}."

    def converged(self, context: StepContext) -> str | None:
        if context.stage == "search" and context.values.get("settled"):
            return "a round has found nothing new"
        return None

    def after_update(self, rng: Generator, context: StepContext) -> dict[str, float]:
        return {"dropped": context.values["dropped"]} if context.stage == "distil" else {}


def placements_of(model: MarioNetteModel, found: Hard, dictionary: Dictionary) -> list[tuple[Placement, ...]]:
    """List what was decided about a few images, back to front."""
    c = model.config
    position = {int(entry): index for index, entry in enumerate(model.active_entries)}
    rank = {place: index for index, place in enumerate(model.fixed_order())}
    side = model.lattice_side
    behind: list[tuple[Placement, ...]] = [()] * len(found.background)
    if c.background == "learned" and c.soft_background:
        still = (Transform.shift(0, 0, model.image_size),)
        pictures = torch.cat([found.background, torch.ones_like(found.background[:, :1])], 1).cpu()
        behind = [(Placement(OWN_RASTER, still, raster=picture),) for picture in pictures]
    elif c.background != "black":
        last = dictionary.backgrounds[0]
        behind = [(Placement(last, (Transform.shift(-x, -y, model.image_size),)),) for y, x in found.corner.tolist()]
    placed: list[list[tuple[tuple[int, ...], Placement]]] = [[] for _ in behind]
    shown = found.sprites.cpu() if c.offsets == "discrete" else pad_transparent(found.sprites.cpu())
    rows = zip(found.anchor.tolist(), found.entry.tolist(), found.shift.tolist(), shown, strict=True)
    for (image, layer, row, column), entry, shift, sprite in rows:
        transforms = _transforms(model, row, column, *shift)
        if c.mix_sprites:
            placement = Placement(OWN_RASTER, transforms, raster=sprite)
        else:
            placement = Placement(position[entry], transforms)
        place = rank[layer, row % side * side + column % side]
        placed[image].append(((place, row, column), placement))
    return [
        (*picture, *(placement for _, placement in sorted(each, key=lambda pair: pair[0])))
        for picture, each in zip(behind, placed, strict=True)
    ]


def _transforms(model: MarioNetteModel, row: int, column: int, down: float, across: float) -> tuple[Transform, ...]:
    """Where the sprite of an anchor goes, shifted: straight to the canvas, or through the window that cuts it."""
    c = model.config
    k, s = c.sprite_size, c.step_size
    left, top = (place * s - (k - s) // 2 for place in (column, row))
    ring = 0 if c.offsets == "discrete" else 1
    if c.clip_window and (down, across) != (0, 0):
        inside = Transform.shift(across - ring, down - ring, (k, k))
        return inside, Transform.shift(left, top, model.image_size)
    return (Transform.shift(left + across - ring, top + down - ring, model.image_size),)

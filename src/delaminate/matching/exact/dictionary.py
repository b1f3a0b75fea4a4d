"""A sprite dictionary: what a search has learned, ready to explain any frame."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from scipy import ndimage
from torch import Tensor, nn

from delaminate.errors import DataError, FormatError
from delaminate.matching.exact.background import Background, Plane
from delaminate.matching.exact.detection import Occurrence
from delaminate.matching.exact.search import FrameStack, Search, explained
from delaminate.matching.exact.templates import ColourCodes, HardSprite
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import NEUTRAL, Dictionary, Placement, Transform

TOGETHER = 2**20
"""Pixels of frames that a process takes apart at a time."""
ORIENTATIONS = (0, 4, 2, 6, 1, 3, 5, 7)
"""Mirror images before what is upside down, and that before what is turned; stored by their position here."""
LEAST_ALPHA = 0.02
"""Pixels of a stored sprite with less are none of its own."""
LEAST_GAIN = 0.2
"""A palette swap multiplies no channel by less."""
FLAT = 0.05
"""Colours that vary by less, in [0, 1] units, make a flat patch."""
CLUSTER = 4
"""Neighbouring pixels that differ, from so many on, tell two pictures from each other."""


@dataclass(frozen=True)
class Appearance:
    """One way in which a sprite appears.

    Attributes:
        entry: Which sprite.
        orientation: Which of the eight; bits: 1 swaps rows and columns first, 2 flips top to bottom, 4 left to right.
        colour: Gain of red, green, blue, then offset of each; a palette swap.
    """

    entry: int
    orientation: int = 0
    colour: tuple[float, ...] = NEUTRAL

    def of(self, pattern: HardSprite) -> HardSprite:
        """The sprite as it appears."""
        if self.colour != NEUTRAL:
            gain, offset = np.array(self.colour, np.float32).reshape(2, 3)
            colour = (pattern.colour * gain + offset).clip(0, 1) * pattern.alpha[..., None]
            pattern = HardSprite(colour.astype(np.float32), pattern.alpha, pattern.opacity)
        return pattern.oriented(self.orientation) if self.orientation else pattern


@dataclass(frozen=True, eq=False)
class SpriteDictionary:
    """Sprites, the ways in which they appear, and what lies behind them; titles of the first sprites, if they have any."""

    sprites: tuple[HardSprite, ...]
    looks: tuple[Appearance, ...]
    background: Background
    titles: tuple[str, ...] = ()

    def dictionary(self, size: tuple[int, int]) -> Dictionary:
        """Sprites as RGBA, and the background last; a single colour as large as the canvas."""
        picture = self.background.rgb
        if picture.shape[:2] == (1, 1):
            picture = np.broadcast_to(picture, (*size, 3))
        backdrop = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)
        sprites = [sprite.rgba() for sprite in self.sprites]
        sprites.append(torch.cat([backdrop, torch.ones_like(backdrop[:1])]))
        behind = (len(sprites) - 1,)
        if self.background.plane is not None:
            sprites.append(torch.from_numpy(self.background.plane.rgba).permute(2, 0, 1).contiguous())
        titles = (*self.titles, *[""] * (len(sprites) - len(self.titles))) if self.titles else ()
        return Dictionary(tuple(sprites), behind, titles)

    def decompose(self, images: Float[Tensor, "B 3 H W"], search: Search) -> Decomposition:
        """Explain every image by the sprites, each pasted at whole pixels."""
        size = (images.shape[2], images.shape[3])
        raw = (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        dictionary, found = self.dictionary(size), []
        shown = [look.of(self.sprites[look.entry]) for look in self.looks]
        # Few at a time: memory does not grow with the number of frames.
        few = max(1, search.processes * TOGETHER // (size[0] * size[1]))
        for first in range(0, len(raw), few):
            some = raw[first : first + few]
            offsets = [self.background.locate(frame) for frame in some]
            explanation = explained(FrameStack.of(some, self.background, offsets), shown, search)
            found += [self._placements(*each, shown, size) for each in zip(explanation.places, offsets, strict=True)]
        return Decomposition(dictionary, tuple(found), size, background=True)

    def _placements(
        self,
        places: list[Occurrence],
        offsets: tuple[tuple[int, int], tuple[int, int]],
        shown: list[HardSprite],
        size: tuple[int, int],
    ) -> tuple[Placement, ...]:
        """What was found in a frame, front to back, as placements back to front, behind which the background lies."""
        (top, left), near = offsets
        placements = [Placement(len(self.sprites), (Transform.shift(-left, -top, size),))]
        if self.background.plane is not None:
            placements.append(Placement(len(self.sprites) + 1, (Transform.shift(-near[1], -near[0], size),)))
        for place in reversed(places):
            look = self.looks[place.entry]
            where = Transform.oriented(look.orientation, place.left, place.top, shown[place.entry].size, size)
            placements.append(Placement(look.entry, (where,), look.colour))
        return tuple(placements)


def hard_sprite(rgba: UInt8[np.ndarray, "h w 4"]) -> HardSprite:
    """Make a given sprite of a picture: what is half opaque or more is its own; what is equally thin all over shines through.

    Args:
        rgba: Not premultiplied.

    Raises:
        DataError: No pixel is opaque enough.
    """
    alpha = rgba[..., 3].astype(np.float32) / 255
    there = alpha > LEAST_ALPHA
    is_thin = there.any() and float(np.ptp(alpha[there])) < LEAST_ALPHA and float(alpha[there].mean()) < 0.98
    own = there if is_thin else alpha >= 0.5
    if not own.any():
        raise DataError("a sprite that is given has no pixel that is half opaque or more.")
    cut, _, _ = HardSprite.cut(rgba[..., :3].astype(np.float32) / 255, own)
    return replace(cut, opacity=float(alpha[there].mean()) if is_thin else 1.0, given=True)


def merge_variants(
    patterns: list[HardSprite], codes: ColourCodes, flips: bool = True, recolours: bool = True
) -> tuple[tuple[HardSprite, ...], tuple[Appearance, ...]]:
    """Find patterns that are others, mirrored or in other colours; earlier ones are kept, and given ones.

    Returns:
        The sprites that are left, and for every pattern its appearance: which of them it shows, and how.
    """
    kept: list[HardSprite] = []
    looks: list[Appearance] = []
    for pattern in patterns:
        look = None
        for entry, sprite in enumerate(() if pattern.given else kept):
            for orientation in ORIENTATIONS if flips else (0,):
                look = _as(pattern, sprite, Appearance(entry, orientation), codes, recolours)
                if look is not None:
                    break
            if look is not None:
                break
        if look is None:
            look = Appearance(len(kept))
            kept.append(pattern)
        if look not in looks:
            looks.append(look)
    return tuple(kept), tuple(looks)


def _as(
    pattern: HardSprite, sprite: HardSprite, look: Appearance, codes: ColourCodes, recolours: bool
) -> Appearance | None:
    """The appearance of a sprite that a pattern shows: `look`, or that in other colours; None if it shows neither."""
    shown = look.of(sprite)
    if shown.size != pattern.size or not shown.area or abs(shown.opacity - pattern.opacity) > 0.05:
        return None
    both, either = shown.alpha & pattern.alpha, shown.alpha | pattern.alpha
    if both.sum() < 0.95 * either.sum():
        return None
    ours, theirs = pattern.colour[both], shown.colour[both]
    if _is_same_picture(pattern, shown, codes):
        return look
    if not recolours or len(ours) < 16 or pattern.opacity < 1:
        return None
    swap = []
    for channel in range(3):
        spread = theirs[:, channel].std()
        gain = 1.0 if spread < 1e-3 else float(np.polyfit(theirs[:, channel], ours[:, channel], 1)[0])
        swap.append((gain, float(ours[:, channel].mean() - gain * theirs[:, channel].mean())))
    # A flat patch is any sprite in other colours, with gains of 0; that says nothing.
    if any(gain < LEAST_GAIN for gain, _ in swap) or min(ours.std(0).max(), theirs.std(0).max()) < FLAT:
        return None
    colour = (*(gain for gain, _ in swap), *(offset for _, offset in swap))
    swapped = replace(look, colour=tuple(round(number, 6) for number in colour))
    return swapped if _is_same_picture(pattern, swapped.of(sprite), codes) else None


def _is_same_picture(one: HardSprite, other: HardSprite, codes: ColourCodes) -> bool:
    """Whether two pictures of one size differ by noise only: pixels that differ lie scattered.

    A cluster of pixels that differ tells a 3 from a 2. Colours that recur to the bit leave nothing to noise.
    """
    differs = (one.alpha ^ other.alpha) | (one.alpha & other.alpha & ~codes.same(one.colour, other.colour))
    if codes.exact or not differs.any():
        return not differs.any()
    labels, _ = ndimage.label(differs & (one.alpha & other.alpha))
    inner = int(np.bincount(labels.ravel())[1:].max(initial=0))
    return bool(differs.sum() <= 0.05 * (one.alpha | other.alpha).sum() + 1) and inner < CLUSTER


def of_eight_bits(values: Float[Tensor, "*N"], slack: float = 3e-4) -> Float[Tensor, "*N"]:
    """Undo what float16 did to values that were multiples of 1 / 255; values that never were float16 stay.

    Where two places explain a frame equally well, the last bit of a colour could decide between them.
    """
    if not bool((values == values.half()).all()):
        return values
    exact = (values * 255).round() / 255
    return torch.where((values - exact).abs() <= slack, exact, values)


class SpriteStore(nn.Module):
    """Keeps a sprite dictionary in tensors, so that it travels with a model's state.

    Args:
        count: Sprites, at most.
        side: Height and width of the largest sprite, in pixels.
    """

    def __init__(self, count: int, side: int) -> None:
        super().__init__()
        self.register_buffer("rgba", torch.zeros(count, 4, side, side))
        self.register_buffer("sizes", torch.zeros(count, 2, dtype=torch.int64))
        self.register_buffer("looks", torch.full((2 * count, 8), -1.0))  # entry, orientation, gain and offset; -1: none
        self.register_buffer("ground", torch.zeros(3, 1, 1))  # the background, under the name that runs have stored
        self.register_buffer("plane", torch.zeros(4, 1, 1))  # the near one of two; of 1 x 1 pixels: there is none
        self.register_buffer("plane_motion", torch.zeros(3))  # speed and origin
        self.plane: Tensor
        self.plane_motion: Tensor
        self.rgba: Tensor
        self.sizes: Tensor
        self.looks: Tensor
        self.ground: Tensor

    @torch.no_grad()
    def put(self, sprites: tuple[HardSprite, ...], looks: tuple[Appearance, ...]) -> None:
        """Keep sprites and appearances, as many as there is room for."""
        self.rgba.zero_(), self.sizes.zero_(), self.looks.fill_(-1)
        for entry, sprite in enumerate(sprites[: len(self.rgba)]):
            h, w = (min(n, self.rgba.shape[-1]) for n in sprite.size)
            self.rgba[entry, :, :h, :w] = sprite.rgba()[:, :h, :w].to(self.rgba)
            self.sizes[entry] = torch.tensor([h, w])
        kept = [look for look in looks if look.entry < len(self.rgba)][: len(self.looks)]
        for row, look in enumerate(kept):
            self.looks[row] = torch.tensor([look.entry, float(ORIENTATIONS.index(look.orientation)), *look.colour])

    def put_background(self, background: Background) -> None:
        """Keep a background of any size."""
        self.ground = torch.from_numpy(np.ascontiguousarray(background.rgb)).permute(2, 0, 1).contiguous().to(self.rgba)
        plane = background.plane
        self.plane = torch.zeros_like(self.rgba[:1, :, :1, :1])[0]
        self.plane_motion = torch.zeros_like(self.plane_motion)
        if plane is not None:
            self.plane = torch.from_numpy(plane.rgba).permute(2, 0, 1).contiguous().to(self.rgba)
            self.plane_motion = torch.tensor([plane.speed, *plane.origin]).to(self.plane_motion)

    @property
    def count(self) -> int:
        """Sprites that there are."""
        return int((self.sizes[:, 0] > 0).sum())

    @property
    def background(self) -> Background:
        rgb = self.ground.permute(1, 2, 0).contiguous().cpu().float().numpy()
        if self.plane.shape[1:] == (1, 1):
            return Background(rgb)
        speed, top, left = self.plane_motion.tolist()
        rgba = self.plane.permute(1, 2, 0).contiguous().cpu().float().numpy()
        return Background(rgb, Plane(rgba, speed, (round(top), round(left))))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:
        # Runs of before there were planes have none.
        for name in ("plane", "plane_motion"):
            state.setdefault(f"{prefix}{name}", getattr(self, name))
        super()._load_from_state_dict(state, prefix, *others)

    def sheet(self) -> SpriteDictionary:
        """Read the dictionary back."""
        sprites = []
        for rgba, (h, w) in zip(self.rgba.cpu().float(), self.sizes.tolist(), strict=True):
            if h and w:
                pixels = rgba[:, :h, :w].permute(1, 2, 0).numpy()
                alpha = pixels[..., 3] > LEAST_ALPHA
                opacity = float(pixels[..., 3][alpha].mean()) if alpha.any() else 1.0
                colour = (pixels[..., :3] * alpha[..., None]).astype(np.float32)
                sprites.append(HardSprite(colour, alpha, opacity if opacity < 0.98 else 1.0))
        looks = tuple(
            Appearance(int(row[0]), ORIENTATIONS[int(row[1])], tuple(row[2:]))
            for row in self.looks.tolist()
            if 0 <= row[0] < len(sprites)
        )
        return SpriteDictionary(tuple(sprites), looks, self.background)

    def check(self, where: str) -> None:
        """Refuse tensors that hold no dictionary.

        Raises:
            FormatError: A size or an appearance is out of range, or some are missing in the middle.
        """
        side = self.rgba.shape[-1]
        there = self.sizes > 0
        whole = bool((there[:, 0] == there[:, 1]).all()) and not bool((there[1:] & ~there[:-1]).any())
        if bool(((self.sizes < 0) | (self.sizes > side)).any()) or not whole:
            raise FormatError(f"{where}: sizes of sprites are out of range; expected 1 to {side} pixels, none missing.")
        entry, orientation = self.looks[:, 0], self.looks[:, 1]
        shown = entry != -1
        wrong = shown & (
            (entry < 0) | (entry >= self.count) | (entry != entry.round()) | ~torch.isin(orientation, torch.arange(8.0))
        )
        wrong[1:] |= shown[1:] & ~shown[:-1]
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0, 0])
            raise FormatError(
                f"{where}: appearance {row} is of sprite {float(entry[row]):g}, orientation {float(orientation[row]):g}; "
                f"expected one of the {self.count} sprites, orientation 0 to 7, none missing."
            )

"""An honest line about what came out: after a training, and after images have been taken apart."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from delaminate.data import ImageSet
from delaminate.methods import Method
from delaminate.metrics import psnr
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import OWN_RASTER

Level = Literal["good", "fair", "poor", "nothing"]
GOOD_SHARE, POOR_SHARE = 0.9, 0.5
"""Shares of what is no background that are explained."""
GOOD_PSNR, POOR_PSNR = 28.0, 18.0
"""In dB."""
SAMPLE, WORST, EXACT = 12, 3, 60.0
"""Images on which a training is judged; those of them that are shown, if they are rebuilt below so many dB."""


@dataclass(frozen=True)
class Verdict:
    """What came out, in figures and in words.

    Attributes:
        level: good, fair, poor, or nothing worth having.
        text: A sentence or two: sprites, the share explained, PSNR, what was taken for the background, what to try.
        figures: The same for machines.
        worst: Images that are rebuilt worst, each with its reconstruction and the difference beside it; none where layers
            show the images themselves.
    """

    level: Level
    text: str
    figures: dict[str, Any]
    worst: tuple[UInt8[np.ndarray, "_H _W 3"], ...] = ()


@dataclass(frozen=True, slots=True)
class ImageTally:
    """What a decomposition makes of one image, at the model's size.

    Attributes:
        objects: Placements but for the background.
        shown: The dictionary entries that they show.
        there: Pixels that do not show the background alone.
        explained: Those of them that the decomposition explains.
        psnr: Of its composite, in dB.
    """

    objects: int
    shown: tuple[int, ...]
    there: int
    explained: int
    psnr: float


def count_images(
    method: Method,
    found: Decomposition,
    images: Float[Tensor, "B 3 H W"],
    rebuilt: Float[Tensor, "B 3 H W"],
    errors: list[float],
) -> list[ImageTally]:
    """Count what was found in some images, at the model's size: given their composites, and PSNR in dB."""
    first = 1 if found.background else 0
    there = explained = [0] * len(found)
    if found.background:
        bare = Decomposition(found.dictionary, tuple(some[:1] for some in found.images), found.size, True)
        seen = ~method.same_colours(images, bare.composite().to(images))  # B H W
        right = method.same_colours(images, rebuilt)
        there, explained = seen.sum((1, 2)).tolist(), (seen & right).sum((1, 2)).tolist()
    shown = [tuple(p.entry for p in some[first:] if p.entry != OWN_RASTER) for some in found.images]
    return [
        ImageTally(len(some) - first, *counts)
        for some, counts in zip(found.images, zip(shown, there, explained, errors, strict=True), strict=True)
    ]


@dataclass
class Tally:
    """Adds up what decompositions make of images.

    Attributes:
        method: Which model.
        by: The way of decomposing.
        sprites: How many the dictionary holds, backgrounds left out.
        count: Images.
        shown: Dictionary entries that are in use.
        objects: Placements in all images.
        empty: Images that hold nothing but background.
        there, explained: Pixels that do not show the background alone, and those of them that are explained.
        least: The lowest PSNR in dB.
    """

    method: Method
    by: str
    sprites: int
    count: int = 0
    shown: set[int] = field(default_factory=set)
    objects: int = 0
    empty: int = 0
    there: int = 0
    explained: int = 0
    least: float = math.inf
    _total: float = 0.0

    def add(self, image: ImageTally) -> None:
        """Take up what became of an image."""
        self.count += 1
        self.shown.update(image.shown)
        self.objects += image.objects
        self.empty += image.objects <= 0
        self.there += image.there
        self.explained += image.explained
        self.least = min(self.least, image.psnr)
        self._total += image.psnr

    @property
    def mean(self) -> float:
        """Mean PSNR in dB; 0 where there is no image."""
        return self._total / max(self.count, 1)

    @property
    def share(self) -> float | None:
        """Of the pixels that do not show the background alone, the share that is explained; None where there are none."""
        return self.explained / self.there if self.there else None

    def level(self) -> Level:
        """How good it is."""
        if not self.count:
            return "nothing"
        mean = self.mean
        if self.objects == 0:  # images of the background alone are explained by it
            return "fair" if mean >= GOOD_PSNR and not self.method.copies_input(self.by) else "nothing"
        if self.method.copies_input(self.by):
            return "good"
        share = 1.0 if self.share is None else self.share
        if mean < POOR_PSNR or share < POOR_SHARE:
            return "poor"
        return "good" if mean >= GOOD_PSNR and share >= GOOD_SHARE else "fair"

    def verdict(self) -> Verdict:
        """Say it."""
        level, used, count, empty = self.level(), len(self.shown), self.count, self.empty
        figures: dict[str, Any] = {"level": level, "images": count, "objects": self.objects, "empty": empty}
        said = []
        if self.sprites:
            figures |= {"sprites": self.sprites, "sprites_used": used}
            said.append(f"{self.sprites} sprite{'s' * (self.sprites != 1)}, {used} in use")
        if not self.method.copies_input(self.by):
            figures |= {"psnr": self.mean, "psnr_least": self.least if self.count else 0.0}
            if self.share is not None:
                figures["explained"] = self.share
                said.append(f"{100 * self.share:.0f} % of what is not background explained")
            said.append(f"rebuilt at {self.mean:.1f} dB (the worst image {figures['psnr_least']:.1f})")
        if background := self.method.background_text:
            figures["background"] = background
            said.append(f"background: {background}")
        if empty and level != "nothing":
            said.append(f"{empty} of {count} images hold nothing but background")
        head = {
            "good": "", "fair": "Partly explained: ", "poor": "Badly explained: ", "nothing": "Nothing was found: "
        }[level]  # fmt: skip
        advice = self.method.advice(level, self.by)
        what = (head + "; ".join(said)).rstrip(": ")
        text = " ".join(part for part in (f"{what}." if what else "", advice) if part)
        return Verdict(level, text[:1].upper() + text[1:], figures | {"text": text})


def judge(method: Method, images: ImageSet, sample: int = SAMPLE) -> Verdict:
    """Judge a model by some of the images that it was trained on, without labels."""
    rows = torch.linspace(0, len(images) - 1, min(len(images), sample)).round().long().tolist()
    counted, sprites, shown = [], 0, []
    for row in rows:
        pixels = images.batch([row])
        found = method.decompose(pixels, method.judged_by)
        rebuilt = found.composite().to(pixels)
        counted += count_images(method, found, pixels, rebuilt, psnr(pixels, rebuilt).tolist())
        sprites = len(found.dictionary) - len(found.dictionary.backgrounds)
        shown.append(torch.cat([pixels, rebuilt, (pixels - rebuilt).abs()], 3)[0].mul(255).round().byte())
    tally = Tally(method, method.judged_by, sprites)
    for each in counted:
        tally.add(each)
    verdict = tally.verdict()
    if method.copies_input(method.judged_by):
        return verdict
    worst = sorted((n for n in range(len(rows)) if counted[n].psnr < EXACT), key=lambda n: counted[n].psnr)[:WORST]
    return replace(verdict, worst=tuple(shown[n].permute(1, 2, 0).numpy() for n in worst))
